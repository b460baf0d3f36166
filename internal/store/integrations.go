package store

import (
	"context"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const integrationColumns = `i.id, i.org_id, i.name, i.provider, i.state, i.state_reason, i.direction, i.resource_id,
	i.settings, i.poll_seconds, i.sync_cursor, i.last_delivery_at, i.last_sync_at, i.created_at, i.updated_at, i.version, i.priority, i.sync,
	i.guard_removals, i.guard_percent, i.held, i.copies, i.work_held_by, i.work_held_until`

// maxReason bounds a stored explanation, in bytes.
const maxReason = 1000

func scanIntegration(row pgx.Row, more ...any) (domain.Integration, error) {
	var i domain.Integration
	var poll int64
	var settings []byte
	var heldBy *domain.MaintenanceID
	var heldUntil *time.Time
	targets := append([]any{&i.ID, &i.OrgID, &i.Name, &i.Provider, &i.State, &i.StateReason, &i.Direction, &i.ResourceID,
		&settings, &poll, &i.SyncCursor, &i.LastDeliveryAt, &i.LastSyncAt, &i.CreatedAt, &i.UpdatedAt, &i.Version, &i.Priority, &i.Sync,
		&i.Guard.Removals, &i.Guard.Percent, &i.Held, &i.Copies, &heldBy, &heldUntil}, more...)
	err := row.Scan(targets...)
	if heldBy != nil && heldUntil != nil {
		i.WorkHold = &domain.WorkHold{By: *heldBy, Until: heldUntil.UTC()}
	}
	i.Settings = json.RawMessage(settings)
	i.PollEvery = time.Duration(poll) * time.Second
	i.LastDeliveryAt, i.LastSyncAt = utc(i.LastDeliveryAt), utc(i.LastSyncAt)
	i.CreatedAt, i.UpdatedAt = i.CreatedAt.UTC(), i.UpdatedAt.UTC()
	return i, err
}

func scanIntegrationRow(row pgx.Row) (domain.Integration, error) { return scanIntegration(row) }

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

// CreateIntegration stores i with its secrets sealed, in state active unless i.State says otherwise, tells the live
// stream and puts a line into the outbox so that its workflow starts. PollEvery is kept in whole seconds. Errors:
// KindInvalid (also for a resource that the tenant does not have), KindConflict for an id in use.
func (tx *Tx) CreateIntegration(ctx context.Context, i domain.Integration, secrets map[string]string) error {
	if err := checkIntegration(i); err != nil {
		return err
	}
	if i.State == "" {
		i.State = domain.IntegrationActive
	}
	_, err := tx.Exec(ctx, `INSERT INTO integrations (id, org_id, name, provider, state, state_reason, direction, resource_id,
			settings, secrets, poll_seconds, sync_cursor, created_at, updated_at, version, priority, sync)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, 1, $14, $15)`,
		i.ID, tx.Org, i.Name, i.Provider, string(i.State), clip(i.StateReason, maxReason), string(i.Direction), i.ResourceID,
		settings(i.Settings), tx.sealSecrets(i.ID, secrets), seconds(i.PollEvery), i.SyncCursor, tx.Now, int16(i.Priority.OrNormal()), policyText(i.Sync))
	if err != nil {
		return fault("create integration", err)
	}
	return tx.integrationChanged(ctx, i.ID, i.State)
}

func (tx *Tx) integrationChanged(ctx context.Context, id domain.IntegrationID, state domain.IntegrationState) error {
	if err := tx.Enqueue(ctx, OutboxIntegrationChanged, string(id), "", tx.Now); err != nil {
		return err
	}
	return tx.Emit(ctx, domain.TopicIntegrationChanged, map[string]string{"integration": string(id), "state": string(state)})
}

// Integration reads one integration without its secrets, also a deleted one; KindNotFound when the tenant has no such.
func (tx *Tx) Integration(ctx context.Context, id domain.IntegrationID) (domain.Integration, error) {
	i, err := scanIntegration(tx.QueryRow(ctx, "SELECT "+integrationColumns+" FROM integrations i WHERE org_id = $1 AND id = $2", tx.Org, id))
	return i, missing("integration", "read integration", err)
}

// IntegrationSecrets opens the secrets of an integration. They must not reach logs, errors or histories.
func (tx *Tx) IntegrationSecrets(ctx context.Context, id domain.IntegrationID) (map[string]string, error) {
	var sealed []byte
	err := tx.QueryRow(ctx, "SELECT secrets FROM integrations WHERE org_id = $1 AND id = $2", tx.Org, id).Scan(&sealed)
	if err != nil {
		return nil, missing("integration", "read secrets", err)
	}
	text, err := tx.sealer.Open(sealed, "integrations", "secrets", string(id))
	if err != nil {
		return nil, fault("read secrets", err)
	}
	return parseSecrets(id, text)
}

// Integrations lists integrations in the order in which they were made, deleted ones left out.
func (tx *Tx) Integrations(ctx context.Context, p Page) ([]domain.Integration, string, error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	after, err := p.afterID(firstUUID)
	if err != nil {
		return nil, "", err
	}
	rows, err := tx.Query(ctx, "SELECT "+integrationColumns+` FROM integrations i
		WHERE org_id = $1 AND id > $2 AND state <> 'deleted' ORDER BY id LIMIT $3`, tx.Org, after, limit+1)
	all, err := collect(rows, err, scanIntegrationRow)
	if err != nil {
		return nil, "", fault("list integrations", err)
	}
	all, next := cut(all, limit, func(i domain.Integration) string { return string(i.ID) })
	return all, next, nil
}

// UpdateIntegration replaces name, direction, resource, settings, sync policy, poll interval and priority, and the secrets unless nil, if the
// stored version is expectVersion, which then grows by one. State, provider and cursor stay, but other filters make the
// next pull a full listing, because they concern entries that were read long ago. Another version, or a
// deleted integration, is KindConflict. It tells the live stream and, through the outbox, the workflow.
func (tx *Tx) UpdateIntegration(ctx context.Context, i domain.Integration, secrets map[string]string, expectVersion int64) error {
	if err := checkIntegration(i); err != nil {
		return err
	}
	var sealed []byte
	if secrets != nil {
		sealed = tx.sealSecrets(i.ID, secrets)
	}
	var state domain.IntegrationState
	err := tx.QueryRow(ctx, `UPDATE integrations SET name = $3, direction = $4, resource_id = $5, settings = $6,
			poll_seconds = $7, secrets = coalesce($8, secrets), updated_at = $9, version = version + 1, priority = $11, sync = $12,
			sync_cursor = CASE WHEN sync -> 'filters' IS DISTINCT FROM $12::jsonb -> 'filters' THEN '' ELSE sync_cursor END,
			identity = CASE WHEN settings IS DISTINCT FROM $6::jsonb THEN NULL ELSE identity END
		WHERE org_id = $1 AND id = $2 AND version = $10 AND state <> 'deleted' RETURNING state`,
		tx.Org, i.ID, i.Name, string(i.Direction), i.ResourceID, settings(i.Settings), seconds(i.PollEvery), sealed, tx.Now,
		expectVersion, int16(i.Priority.OrNormal()), policyText(i.Sync)).Scan(&state)
	if err == pgx.ErrNoRows {
		now, err := tx.Integration(ctx, i.ID)
		if err != nil {
			return err
		}
		if now.State == domain.IntegrationDeleted {
			return domain.E(domain.KindConflict, "integration is deleted")
		}
		return domain.E(domain.KindConflict, "integration has version %d, not %d: it was changed in the meantime", now.Version, expectVersion)
	}
	if err != nil {
		return fault("update integration", err)
	}
	return tx.integrationChanged(ctx, i.ID, state)
}

// SetIntegrationState moves an integration to a state and returns it as stored. A change raises the version and tells
// the live stream and, through the outbox, the workflow; the same state and reason again changes nothing. Deleted is
// final: leaving it is KindConflict.
func (tx *Tx) SetIntegrationState(ctx context.Context, id domain.IntegrationID, state domain.IntegrationState, reason string) (domain.Integration, error) {
	switch state {
	case domain.IntegrationActive, domain.IntegrationPaused, domain.IntegrationNeedsReconnect, domain.IntegrationConnecting, domain.IntegrationDeleted:
	default:
		return domain.Integration{}, domain.Invalid("state", "must be active, paused, needs_reconnect, connecting or deleted")
	}
	reason = clip(reason, maxReason)
	have, err := scanIntegration(tx.QueryRow(ctx, "SELECT "+integrationColumns+` FROM integrations i
		WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE`, tx.Org, id))
	if err != nil {
		return have, missing("integration", "lock integration", err)
	}
	if have.State == state && have.StateReason == reason {
		return have, nil
	}
	if have.State == domain.IntegrationDeleted {
		return have, domain.E(domain.KindConflict, "integration is deleted")
	}
	if state == domain.IntegrationDeleted && have.State == domain.IntegrationConnecting {
		if err := tx.abandonOnboarding(ctx, id); err != nil {
			return have, err
		}
	}
	i, err := scanIntegration(tx.QueryRow(ctx, `UPDATE integrations i SET state = $3, state_reason = $4, updated_at = $5,
		version = version + 1 WHERE org_id = $1 AND id = $2 RETURNING `+integrationColumns, tx.Org, id, string(state), reason, tx.Now))
	if err != nil {
		return i, fault("set integration state", err)
	}
	return i, tx.integrationChanged(ctx, id, state)
}

// SetSyncCursor stores where the next pull begins; "" makes it a full listing. The version stays.
func (tx *Tx) SetSyncCursor(ctx context.Context, id domain.IntegrationID, cursor string) error {
	tag, err := tx.Exec(ctx, "UPDATE integrations SET sync_cursor = $3 WHERE org_id = $1 AND id = $2", tx.Org, id, cursor)
	if err != nil {
		return fault("set sync cursor", err)
	}
	if tag.RowsAffected() == 0 {
		return notFound("integration")
	}
	return nil
}

func checkIntegration(i domain.Integration) error {
	if _, err := domain.ParseID[domain.IntegrationID]("id", string(i.ID)); err != nil {
		return err
	}
	if n := utf8.RuneCountInString(i.Name); n < 1 || n > 120 {
		return domain.Invalid("name", "must have 1 to 120 characters, has %d", n)
	}
	if err := checkText("name", i.Name, 480); err != nil {
		return err
	}
	if i.Provider == "" || len(i.Provider) > 60 {
		return domain.Invalid("provider", "must have 1 to 60 characters")
	}
	if !i.Direction.Imports() && !i.Direction.Exports() {
		return domain.Invalid("direction", "must be import, export or bidirectional")
	}
	if _, err := domain.ParseID[domain.ResourceID]("resource_id", string(i.ResourceID)); err != nil {
		return err
	}
	if len(i.Settings) > 0 && !json.Valid(i.Settings) {
		return domain.Invalid("settings", "must be JSON")
	}
	if i.PollEvery < 0 || i.PollEvery > 30*24*time.Hour {
		return domain.Invalid("poll_seconds", "must be 0 to 2592000")
	}
	return i.Sync.Validate("sync")
}

// policyText is how a sync policy is stored.
func policyText(p domain.SyncPolicy) json.RawMessage {
	text, err := json.Marshal(p)
	if err != nil {
		panic("marshal a policy of plain fields: " + err.Error())
	}
	return text
}

func settings(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("{}")
	}
	return raw
}

// IntakeRecord is what the server needs to verify a webhook before anything is stored.
type IntakeRecord struct {
	Integration domain.Integration
	Secrets     map[string]string // opened; must not reach logs or errors
	Zone        string            // IANA zone of the integration's resource
	// UrgentUntil is the end of the last wedding of the resource that is going on or begins within domain.UrgentWithin of
	// the reading, or of the wedding day that the connection serves, whichever is later; the zero time if there is none.
	UrgentUntil time.Time
	// Credentials are those that were given to it beside its secrets, in order of age.
	Credentials []SealedCredential
}

// IntakeRecord reads across tenants, because a webhook names only its integration. An unknown and a deleted one are
// both KindNotFound.
func (s *Store) IntakeRecord(ctx context.Context, id domain.IntegrationID) (IntakeRecord, error) {
	var r IntakeRecord
	var sealed []byte
	var until *time.Time
	now := s.timestamp()
	// One round trip: after a start every integration is read at once. The credentials are read after the version, by a
	// statement of its own, so that what is read is never older than the version says.
	var both pgx.Batch
	both.Queue(intakeQuery, id, now, now.Add(-longStay), now.Add(domain.UrgentWithin))
	both.Queue(intakeCredentialsQuery, id)
	answers := s.system.SendBatch(ctx, &both)
	defer answers.Close()
	i, err := scanIntegration(answers.QueryRow(), &sealed, &r.Zone, &until)
	if err != nil {
		return r, missing("integration", "read integration for intake", err)
	}
	if until != nil {
		r.UrgentUntil = until.UTC()
	}
	r.Integration = i
	if r.Secrets, err = s.openSecrets(i.OrgID, id, sealed); err != nil {
		return r, err
	}
	r.Credentials, err = s.intakeCredentials(answers, i.OrgID)
	return r, err
}

// intakeQuery looks for weddings the way overlaps are read: most begin within longStay before now, and the few that are
// longer have an index of their own.
const intakeQuery = "SELECT " + integrationColumns + `, i.secrets, r.zone, (SELECT max(ends_at) FROM (
		(SELECT ends_at FROM allocations WHERE resource_id = i.resource_id AND NOT long AND busy_from > $3 AND busy_from < $4
			AND category = 'wedding' AND starts_at < $4 AND ends_at > $2)
		UNION ALL
		(SELECT ends_at FROM allocations WHERE resource_id = i.resource_id AND long AND busy_to > $2
			AND category = 'wedding' AND starts_at < $4 AND ends_at > $2)
		UNION ALL
		(SELECT until FROM wedding_connections WHERE org_id = i.org_id AND integration_id = i.id AND until > $2)) w)
	FROM integrations i JOIN resources r ON r.org_id = i.org_id AND r.id = i.resource_id
	WHERE i.id = $1 AND i.state <> 'deleted'`

// IntegrationVersions returns the version of every integration changed at or after since, deleted ones included. Times
// are those of transactions, which commit a little later: a poller asks from a minute before its last question.
func (s *Store) IntegrationVersions(ctx context.Context, since time.Time) (map[domain.IntegrationID]int64, error) {
	rows, err := s.system.Query(ctx, "SELECT id, version FROM integrations WHERE updated_at >= $1", since)
	out, err := collectMap[domain.IntegrationID, int64](rows, err)
	return out, fault("read integration versions", err)
}

// Exporting returns the integrations of the tenant that take writes.
func (r *Reads) Exporting(out *[]domain.Integration) {
	read(r, "read exporting integrations", out, `SELECT id, org_id, provider, direction, resource_id, state, sync FROM integrations
		WHERE org_id = $1 AND state <> 'deleted' AND direction IN ('export', 'bidirectional') AND copies = 'kept' ORDER BY id`,
		func(row pgx.Row) (i domain.Integration, err error) {
			err = row.Scan(&i.ID, &i.OrgID, &i.Provider, &i.Direction, &i.ResourceID, &i.State, &i.Sync)
			return i, err
		}, r.tx.Org)
}
