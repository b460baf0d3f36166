package store

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// SetGuard stores from when removals of an integration wait for a person. The version stays.
func (tx *Tx) SetGuard(ctx context.Context, id domain.IntegrationID, g domain.Guard) error {
	if err := g.Validate("guard"); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, "UPDATE integrations SET guard_removals = $3, guard_percent = $4 WHERE org_id = $1 AND id = $2", tx.Org, id, g.Removals, g.Percent)
	if err != nil {
		return fault("set guard", err)
	}
	if tag.RowsAffected() == 0 {
		return notFound("integration")
	}
	return nil
}

// Entry is the entry that an external id belongs to: the parts of a series ("entry#part") are one entry.
func Entry(externalID string) string {
	if at := strings.IndexByte(externalID, '#'); at > 0 {
		return externalID[:at]
	}
	return externalID
}

// LinksToGo returns the live links of bookings not over yet that removals of entries would end, parts included. Copies
// of ours are left out: their removal cancels nothing.
func (tx *Tx) LinksToGo(ctx context.Context, integration domain.IntegrationID, entries []string) ([]domain.Link, error) {
	const head = `SELECT ` + linkColumnsOfL + `
		FROM links l JOIN bookings b ON b.org_id = l.org_id AND b.id = l.booking_id
		WHERE l.org_id = $1 AND l.integration_id = $2 AND l.removed_at IS NULL AND NOT l.mirror AND b.ends_at > $4 AND `
	rows, err := tx.Query(ctx, head+`l.external_id = ANY($3::text[])
		UNION `+head+`strpos(l.external_id, '#') > 1 AND left(l.external_id, strpos(l.external_id, '#') - 1) = ANY($3::text[])`,
		tx.Org, integration, entries, tx.Now)
	out, err := collect(rows, err, scanLink)
	return out, fault("read links to go", err)
}

// CountRemovals returns how many entries of an integration were removed since a time, and how many it was known to have
// then. Entries that are over, left out by filters, or copies of ours do not count. Known is counted only when it matters: when removed and
// more are more than few.
func (tx *Tx) CountRemovals(ctx context.Context, integration domain.IntegrationID, since time.Time, more, few int) (removed, known int, err error) {
	err = tx.QueryRow(ctx, `SELECT count(DISTINCT split_part(l.external_id, '#', 1)) FROM links l
		JOIN bookings b ON b.org_id = l.org_id AND b.id = l.booking_id
		WHERE l.org_id = $1 AND l.integration_id = $2 AND l.removed_at >= $3 AND NOT l.mirror AND b.ends_at > $4
			AND strpos(l.agreed::text, '"f":true') = 0`,
		tx.Org, integration, since, tx.Now).Scan(&removed)
	if err != nil {
		return 0, 0, fault("count removals", err)
	}
	if removed+more <= few {
		return removed, 0, nil
	}
	err = tx.QueryRow(ctx, `SELECT count(DISTINCT split_part(l.external_id, '#', 1)) FROM links l
		JOIN bookings b ON b.org_id = l.org_id AND b.id = l.booking_id
		WHERE l.org_id = $1 AND l.integration_id = $2 AND l.removed_at IS NULL AND NOT l.mirror AND b.ends_at > $3`,
		tx.Org, integration, tx.Now).Scan(&known)
	return removed, known + removed, fault("count entries", err)
}

// OwnLinks returns the live links of an integration to bookings not over yet: those of its own entries, or our copies.
func (tx *Tx) OwnLinks(ctx context.Context, integration domain.IntegrationID, mirrors bool) ([]domain.Link, error) {
	rows, err := tx.Query(ctx, `SELECT `+linkColumnsOfL+`
		FROM links l JOIN bookings b ON b.org_id = l.org_id AND b.id = l.booking_id
		WHERE l.org_id = $1 AND l.integration_id = $2 AND l.removed_at IS NULL AND l.mirror = $3 AND b.ends_at > $4 ORDER BY l.id`,
		tx.Org, integration, mirrors, tx.Now)
	out, err := collect(rows, err, scanLink)
	return out, fault("read links of integration", err)
}

const quarantineColumns = `id, org_id, integration_id, cause_kind, cause_id, state, known, missing,
	(SELECT count(*) FROM quarantined_removals r WHERE r.org_id = q.org_id AND r.quarantine_id = q.id) AS held,
	left_over, reason, created_at, updated_at, expires_at, decided_by, decided_at, decision`

func scanQuarantine(row pgx.Row) (q domain.Quarantine, err error) {
	err = row.Scan(&q.ID, &q.OrgID, &q.IntegrationID, &q.Cause.Kind, &q.Cause.ID, &q.State, &q.Known, &q.Missing, &q.Held, &q.Left, &q.Reason,
		&q.CreatedAt, &q.UpdatedAt, &q.ExpiresAt, &q.DecidedBy, &q.DecidedAt, &q.Decision)
	q.CreatedAt, q.UpdatedAt, q.ExpiresAt, q.DecidedAt = q.CreatedAt.UTC(), q.UpdatedAt.UTC(), q.ExpiresAt.UTC(), utc(q.DecidedAt)
	return q, err
}

// NewHold is what is to be held.
type NewHold struct {
	Integration    domain.IntegrationID
	Cause          domain.Cause
	Known, Missing int
	Reason         string // in words, without personal data
	Rows           []domain.HeldRemoval
}

// Hold puts removals into the open quarantine of an integration, or opens one. What is held in it already is not added again,
// so a repeat changes nothing but what was counted. It returns the quarantine as stored, whether it was opened now, and
// how many rows were added. Audit lines and live events are the caller's.
func (tx *Tx) Hold(ctx context.Context, h NewHold) (q domain.Quarantine, opened bool, added int, err error) {
	if _, err := tx.ExpireQuarantine(ctx, h.Integration); err != nil {
		return q, false, 0, err
	}
	id := domain.NewID[domain.QuarantineID](tx.Now)
	expires := tx.Now.Add(domain.QuarantineTime)
	var stored domain.QuarantineID
	err = tx.QueryRow(ctx, `INSERT INTO quarantines (id, org_id, integration_id, cause_kind, cause_id, known, missing, reason, created_at, updated_at, expires_at, due_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $10)
		ON CONFLICT (org_id, integration_id) WHERE state = 'open' DO UPDATE SET known = greatest(quarantines.known, excluded.known),
			missing = greatest(quarantines.missing, excluded.missing), updated_at = excluded.updated_at
		RETURNING id`, id, tx.Org, h.Integration, string(h.Cause.Kind), clip(h.Cause.ID, 200), h.Known, h.Missing, clip(h.Reason, maxReason), tx.Now, expires).Scan(&stored)
	if err != nil {
		return q, false, 0, fault("open quarantine", err)
	}
	// One that came back and goes again is held again, by its newest version.
	err = tx.QueryRow(ctx, `WITH held AS (SELECT link_id FROM quarantined_removals WHERE org_id = $1 AND quarantine_id = $2 AND link_id = ANY($4::uuid[]) AND outcome = ''),
		put AS (INSERT INTO quarantined_removals AS r (org_id, quarantine_id, link_id, booking_id, kind, remote_version, at)
			SELECT DISTINCT ON (link_id) $1::uuid, $2::uuid, link_id, booking_id, kind, remote_version, $3::timestamptz
			FROM unnest($4::uuid[], $5::uuid[], $6::text[], $7::bigint[]) n(link_id, booking_id, kind, remote_version) ORDER BY link_id, remote_version DESC
			ON CONFLICT (org_id, quarantine_id, link_id) DO UPDATE SET outcome = '', kind = excluded.kind, remote_version = excluded.remote_version, at = excluded.at
				WHERE r.outcome <> '' OR r.remote_version < excluded.remote_version
			RETURNING link_id)
		SELECT count(*) FROM put WHERE link_id NOT IN (SELECT link_id FROM held)`, tx.Org, stored, tx.Now,
		column(h.Rows, func(r domain.HeldRemoval) domain.LinkID { return r.LinkID }),
		column(h.Rows, func(r domain.HeldRemoval) domain.BookingID { return r.BookingID }),
		column(h.Rows, func(r domain.HeldRemoval) string { return string(r.Kind) }),
		column(h.Rows, func(r domain.HeldRemoval) int64 { return r.RemoteVersion })).Scan(&added)
	if err != nil {
		return q, false, 0, fault("hold removals", err)
	}
	if _, err := tx.Exec(ctx, "UPDATE integrations SET held = true WHERE org_id = $1 AND id = $2 AND NOT held", tx.Org, h.Integration); err != nil {
		return q, false, 0, fault("mark integration as held", err)
	}
	q, err = scanQuarantine(tx.QueryRow(ctx, "UPDATE quarantines q SET left_over = left_over + $3 WHERE org_id = $1 AND id = $2 RETURNING "+quarantineColumns, tx.Org, stored, added))
	return q, stored == id, added, fault("count held removals", err)
}

// HeldAmong returns which of the links are in the open quarantine of an integration without an outcome.
func (tx *Tx) HeldAmong(ctx context.Context, integration domain.IntegrationID, links []domain.LinkID) (map[domain.LinkID]bool, error) {
	rows, err := tx.Query(ctx, `SELECT r.link_id FROM quarantines q JOIN quarantined_removals r ON r.org_id = q.org_id AND r.quarantine_id = q.id
		WHERE q.org_id = $1 AND q.integration_id = $2 AND q.state = 'open' AND r.outcome = '' AND r.link_id = ANY($3::uuid[])`, tx.Org, integration, arrayOf(links))
	list, err := collect(rows, err, func(row pgx.Row) (id domain.LinkID, err error) { return id, row.Scan(&id) })
	out := make(map[domain.LinkID]bool, len(list))
	for _, id := range list {
		out[id] = true
	}
	return out, fault("read held removals", err)
}

// ComeBack notes that entries of the open quarantine of an integration exist after all. A version that is older than that of a
// held removal proves nothing, unless the entry was asked for. When none is left, the quarantine ends as restored. changed is
// false when nothing of it was held.
func (tx *Tx) ComeBack(ctx context.Context, integration domain.IntegrationID, entries []domain.Change) (q domain.Quarantine, changed bool, err error) {
	tag, err := tx.Exec(ctx, `UPDATE quarantined_removals r SET outcome = 'back' FROM quarantines q, links l, unnest($3::text[], $4::bigint[]) n(external_id, remote_version)
		WHERE q.org_id = $1 AND q.integration_id = $2 AND q.state = 'open' AND r.org_id = q.org_id AND r.quarantine_id = q.id AND r.outcome = ''
			AND l.org_id = r.org_id AND l.booking_id = r.booking_id AND l.id = r.link_id AND l.integration_id = $2 AND l.external_id = n.external_id
			AND (n.remote_version = 0 OR n.remote_version >= r.remote_version)`, tx.Org, integration,
		column(entries, func(c domain.Change) string { return c.ExternalID }),
		column(entries, func(c domain.Change) int64 {
			if c.Asked {
				return 0
			}
			return c.RemoteVersion
		}))
	if err != nil || tag.RowsAffected() == 0 {
		return q, false, fault("note entries that came back", err)
	}
	q, err = scanQuarantine(tx.QueryRow(ctx, `UPDATE quarantines q SET left_over = left_over - $3, updated_at = $4
		WHERE org_id = $1 AND integration_id = $2 AND state = 'open' RETURNING `+quarantineColumns, tx.Org, integration, tag.RowsAffected(), tx.Now))
	if err != nil || q.Left > 0 {
		return q, true, fault("note entries that came back", err)
	}
	q, _, err = tx.DecideQuarantine(ctx, q.ID, domain.QuarantineRestored, "system:guard", "every entry came back")
	return q, true, err
}

// Quarantine reads one; KindNotFound when the tenant has no such.
func (tx *Tx) Quarantine(ctx context.Context, id domain.QuarantineID) (domain.Quarantine, error) {
	q, err := scanQuarantine(tx.QueryRow(ctx, "SELECT "+quarantineColumns+" FROM quarantines q WHERE org_id = $1 AND id = $2", tx.Org, id))
	return q, missing("quarantine", "read quarantine", err)
}

// QuarantineFilter narrows a list; empty fields do not.
type QuarantineFilter struct {
	State       domain.QuarantineState
	Integration domain.IntegrationID
}

// Quarantines lists quarantines, newest first.
func (tx *Tx) Quarantines(ctx context.Context, f QuarantineFilter, p Page) ([]domain.Quarantine, string, error) {
	q := newQuery("SELECT " + quarantineColumns + " FROM quarantines q")
	q.where("org_id = %s", tx.Org)
	if f.State != "" {
		q.where("state = %s", string(f.State))
	}
	if f.Integration != "" {
		q.where("integration_id = %s", f.Integration)
	}
	return newestFirst(ctx, tx, "quarantines", q, p, scanQuarantine, func(x domain.Quarantine) string { return string(x.ID) })
}

// HeldRow is a held removal with the link that it is about.
type HeldRow struct {
	domain.HeldRemoval
	Link domain.Link
}

// HeldRows lists the removals of a quarantine in the order of their links. undone leaves out those with an outcome.
func (tx *Tx) HeldRows(ctx context.Context, id domain.QuarantineID, undone bool, p Page) ([]HeldRow, string, error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	after, err := p.afterID(firstUUID)
	if err != nil {
		return nil, "", err
	}
	q := newQuery(`SELECT r.quarantine_id, r.link_id, r.booking_id, r.kind, r.remote_version, r.at, r.outcome, l.id, l.org_id, l.integration_id, l.booking_id,
			l.external_id, l.uid, l.revision, l.mirror, l.hash, l.remote_version, l.written_version, l.seen_run, l.removed_at, l.updated_at
		FROM quarantined_removals r JOIN links l ON l.org_id = r.org_id AND l.booking_id = r.booking_id AND l.id = r.link_id`)
	q.where("r.org_id = %s AND r.quarantine_id = %s AND r.link_id > %s", tx.Org, id, after)
	if undone {
		q.where("r.outcome = ''")
	}
	q.add(" ORDER BY r.link_id LIMIT %s", limit+1)
	rows, err := tx.Query(ctx, q.text(), q.args...)
	all, err := collect(rows, err, scanHeldRow)
	if err != nil {
		return nil, "", fault("list held removals", err)
	}
	all, next := cut(all, limit, func(r HeldRow) string { return string(r.LinkID) })
	return all, next, nil
}

func scanHeldRow(row pgx.Row) (h HeldRow, err error) {
	l := &h.Link
	err = row.Scan(&h.QuarantineID, &h.LinkID, &h.BookingID, &h.Kind, &h.RemoteVersion, &h.At, &h.Outcome, &l.ID, &l.OrgID, &l.IntegrationID, &l.BookingID,
		&l.ExternalID, &l.UID, &l.Revision, &l.Mirror, &l.Hash, &l.RemoteVersion, &l.WrittenVersion, &l.SeenRun, &l.RemovedAt, &l.UpdatedAt)
	h.At, l.RemovedAt, l.UpdatedAt = h.At.UTC(), utc(l.RemovedAt), l.UpdatedAt.UTC()
	return h, err
}

// HeldOf returns the held removals of a booking, newest first, with the state of their quarantines.
func (tx *Tx) HeldOf(ctx context.Context, booking domain.BookingID) ([]domain.HeldRemoval, map[domain.QuarantineID]domain.QuarantineState, error) {
	states := map[domain.QuarantineID]domain.QuarantineState{}
	rows, err := tx.Query(ctx, `SELECT r.quarantine_id, r.link_id, r.booking_id, r.kind, r.at, r.outcome, q.state
		FROM quarantined_removals r JOIN quarantines q ON q.org_id = r.org_id AND q.id = r.quarantine_id
		WHERE r.org_id = $1 AND r.booking_id = $2 ORDER BY r.at DESC, r.quarantine_id DESC LIMIT 100`, tx.Org, booking)
	out, err := collect(rows, err, func(row pgx.Row) (r domain.HeldRemoval, err error) {
		var state domain.QuarantineState
		err = row.Scan(&r.QuarantineID, &r.LinkID, &r.BookingID, &r.Kind, &r.At, &r.Outcome, &state)
		r.At, states[r.QuarantineID] = r.At.UTC(), state
		return r, err
	})
	return out, states, fault("read held removals of booking", err)
}

// DecideQuarantine records what a person decided about an open quarantine. The same decision again is answered with the
// quarantine as it is (decided is false); another one is KindConflict. Removals are carried out by package guard.
func (tx *Tx) DecideQuarantine(ctx context.Context, id domain.QuarantineID, state domain.QuarantineState, by, why string) (q domain.Quarantine, decided bool, err error) {
	switch state {
	case domain.QuarantineApproved, domain.QuarantineRestored:
	case domain.QuarantineOpen, domain.QuarantineExpired:
		return q, false, domain.Invalid("state", "must be approved or restored")
	default:
		return q, false, domain.Invalid("state", "must be approved or restored")
	}
	if err := checkText("reason", why, maxReason); err != nil {
		return q, false, err
	}
	// The integration's row is locked first, as by everybody who holds.
	if _, err := tx.Exec(ctx, `UPDATE integrations SET held = false WHERE org_id = $1 AND id = (SELECT integration_id FROM quarantines
		WHERE org_id = $1 AND id = $2 AND state = 'open')`, tx.Org, id); err != nil {
		return q, false, fault("release integration", err)
	}
	q, err = scanQuarantine(tx.QueryRow(ctx, `UPDATE quarantines q SET state = $3, decided_by = $4, decided_at = $5, decision = $6, updated_at = $5,
			due_at = CASE WHEN left_over > 0 THEN $7::timestamptz END
		WHERE org_id = $1 AND id = $2 AND state = 'open' RETURNING `+quarantineColumns, tx.Org, id, string(state), clip(by, 200), tx.Now, why, tx.Now.Add(dueLater)))
	if err == nil {
		return q, true, nil
	}
	if err != pgx.ErrNoRows {
		return q, false, fault("decide quarantine", err)
	}
	if q, err = tx.Quarantine(ctx, id); err != nil {
		return q, false, err
	}
	if q.State != state {
		return q, false, domain.E(domain.KindConflict, "the quarantine is %s already", q.State)
	}
	return q, false, nil
}

// dueLater is when the keeper goes on with a decided quarantine that whoever decided left unfinished.
const dueLater = time.Minute

// ExpireQuarantine ends the open quarantine of an integration whose time is over: its bookings stay.
func (tx *Tx) ExpireQuarantine(ctx context.Context, integration domain.IntegrationID) (expired []domain.Quarantine, err error) {
	return tx.expire(ctx, "integration_id = $2 AND expires_at <= $3", integration, tx.Now)
}

// EndQuarantine ends the open quarantine of an integration as expired before its time, because nobody can decide it any
// more.
func (tx *Tx) EndQuarantine(ctx context.Context, integration domain.IntegrationID, why string) (ended []domain.Quarantine, err error) {
	return tx.expire(ctx, "integration_id = $2 AND $3::text <> ''", integration, why)
}

func (tx *Tx) expire(ctx context.Context, which string, integration domain.IntegrationID, arg any) ([]domain.Quarantine, error) {
	why := "nobody decided in time; the bookings stay"
	if text, ok := arg.(string); ok {
		why = text
	}
	rows, err := tx.Query(ctx, `UPDATE quarantines q SET state = 'expired', decided_by = 'system:guard', decided_at = $4, decision = $5, updated_at = $4,
		left_over = 0, due_at = NULL WHERE org_id = $1 AND state = 'open' AND `+which+" RETURNING "+quarantineColumns, tx.Org, integration, arg, tx.Now, why)
	list, err := collect(rows, err, scanQuarantine)
	if err != nil || len(list) == 0 {
		return nil, fault("expire quarantine", err)
	}
	ids := column(list, func(q domain.Quarantine) domain.QuarantineID { return q.ID })
	if _, err := tx.Exec(ctx, "UPDATE quarantined_removals SET outcome = 'kept' WHERE org_id = $1 AND quarantine_id = ANY($2::uuid[]) AND outcome = ''", tx.Org, ids); err != nil {
		return nil, fault("keep held removals", err)
	}
	_, err = tx.Exec(ctx, "UPDATE integrations SET held = false WHERE org_id = $1 AND id = $2", tx.Org, integration)
	return list, fault("release integration", err)
}

// LockRemoval locks a held removal and reports whether it still has no outcome.
func (tx *Tx) LockRemoval(ctx context.Context, id domain.QuarantineID, link domain.LinkID) (undone bool, err error) {
	err = tx.QueryRow(ctx, "SELECT outcome = '' FROM quarantined_removals WHERE org_id = $1 AND quarantine_id = $2 AND link_id = $3 FOR UPDATE",
		tx.Org, id, link).Scan(&undone)
	return undone, missing("held removal", "lock held removal", err)
}

// SettleRemoval stores the outcome of a held removal that was locked without one, and returns how many are left.
func (tx *Tx) SettleRemoval(ctx context.Context, id domain.QuarantineID, link domain.LinkID, outcome domain.HeldOutcome) (left int, err error) {
	if _, err := tx.Exec(ctx, "UPDATE quarantined_removals SET outcome = $4 WHERE org_id = $1 AND quarantine_id = $2 AND link_id = $3",
		tx.Org, id, link, string(outcome)); err != nil {
		return 0, fault("settle held removal", err)
	}
	err = tx.QueryRow(ctx, `UPDATE quarantines SET left_over = left_over - 1, updated_at = $3, due_at = CASE WHEN left_over > 1 THEN $4::timestamptz END
		WHERE org_id = $1 AND id = $2 RETURNING left_over`, tx.Org, id, tx.Now, tx.Now.Add(dueLater)).Scan(&left)
	return left, fault("count held removals", err)
}

// FinishQuarantine ends what is left of a decided quarantine whose entries are not known any more.
func (tx *Tx) FinishQuarantine(ctx context.Context, id domain.QuarantineID) error {
	if _, err := tx.Exec(ctx, "UPDATE quarantined_removals SET outcome = 'kept' WHERE org_id = $1 AND quarantine_id = $2 AND outcome = ''", tx.Org, id); err != nil {
		return fault("finish quarantine", err)
	}
	_, err := tx.Exec(ctx, "UPDATE quarantines SET left_over = 0, due_at = NULL, updated_at = $3 WHERE org_id = $1 AND id = $2 AND state <> 'open'", tx.Org, id, tx.Now)
	return fault("finish quarantine", err)
}

// DueQuarantine is one that has to be looked at.
type DueQuarantine struct {
	Org domain.OrgID
	ID  domain.QuarantineID
}

// DueQuarantines takes up to limit quarantines of all tenants that are due: open ones whose time is over, and decided
// ones that are not carried out yet. Each comes back a minute later unless it was finished.
func (s *Store) DueQuarantines(ctx context.Context, limit int) ([]DueQuarantine, error) {
	now := s.timestamp()
	rows, err := s.system.Query(ctx, `UPDATE quarantines q SET due_at = $2 FROM (SELECT org_id, id FROM quarantines WHERE due_at <= $1
			ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) d
		WHERE q.org_id = d.org_id AND q.id = d.id RETURNING q.org_id, q.id`, now, now.Add(dueLater), limit)
	out, err := collect(rows, err, func(row pgx.Row) (d DueQuarantine, err error) { return d, row.Scan(&d.Org, &d.ID) })
	return out, fault("take up quarantines", err)
}
