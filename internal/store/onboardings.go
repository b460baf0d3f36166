package store

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const onboardingColumns = `o.id, o.org_id, o.integration_id, o.state, o.before_state, o.steps, o.attempt, o.fault_kind, o.fault, o.duplicate_of, o.allow_duplicate,
	o.run_id, o.requested_by, o.retry_at, o.waiting_since, o.created_at, o.updated_at, o.ended_at`

func scanOnboarding(row pgx.Row) (o domain.Onboarding, err error) {
	var steps []byte
	err = row.Scan(&o.ID, &o.OrgID, &o.IntegrationID, &o.State, &o.Before, &steps, &o.Attempt, &o.FaultKind, &o.Fault, &o.Duplicate, &o.AllowDuplicate,
		&o.RunID, &o.RequestedBy, &o.RetryAt, &o.WaitingSince, &o.CreatedAt, &o.UpdatedAt, &o.EndedAt)
	if err != nil {
		return o, err
	}
	o.RetryAt, o.WaitingSince, o.EndedAt = utc(o.RetryAt), utc(o.WaitingSince), utc(o.EndedAt)
	o.CreatedAt, o.UpdatedAt = o.CreatedAt.UTC(), o.UpdatedAt.UTC()
	return o, json.Unmarshal(steps, &o.Steps)
}

// BeginOnboarding takes an integration that does not run into onboarding: its state becomes connecting, and a line in the
// outbox starts the workflow. One that is under way already is returned with begun false, so it may be repeated. before is
// the state that is put back if nothing comes of it. Errors: KindNotFound, KindConflict for an active or deleted one.
func (tx *Tx) BeginOnboarding(ctx context.Context, o domain.Onboarding, before domain.IntegrationState) (out domain.Onboarding, begun bool, err error) {
	if _, err := domain.ParseID[domain.OnboardingID]("id", string(o.ID)); err != nil {
		return out, false, err
	}
	if err := checkText("requested_by", o.RequestedBy, 200); err != nil {
		return out, false, err
	}
	i, err := scanIntegration(tx.QueryRow(ctx, "SELECT "+integrationColumns+" FROM integrations i WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE", tx.Org, o.IntegrationID))
	if err != nil {
		return out, false, missing("integration", "lock integration", err)
	}
	switch i.State {
	case domain.IntegrationDeleted:
		return out, false, domain.E(domain.KindConflict, "integration is deleted")
	case domain.IntegrationActive:
		return out, false, domain.E(domain.KindConflict, "the integration is active already")
	case domain.IntegrationPaused, domain.IntegrationNeedsReconnect, domain.IntegrationConnecting:
	}
	have, err := tx.Onboarding(ctx, o.IntegrationID)
	if err == nil && !have.State.Ended() {
		return have, false, nil
	}
	if err != nil && domain.KindOf(err) != domain.KindNotFound {
		return out, false, err
	}
	o.Steps, o.Attempt, o.State = domain.NewOnboardSteps(), 1, domain.OnboardingRunning
	if _, err := tx.Exec(ctx, `INSERT INTO onboardings (integration_id, org_id, id, state, before_state, steps, attempt, allow_duplicate, requested_by, created_at, updated_at)
		VALUES ($1, $2, $3, 'running', $4, $5, 1, $6, $7, $8, $8) ON CONFLICT (org_id, integration_id) DO UPDATE SET id = excluded.id, state = excluded.state,
			before_state = excluded.before_state, steps = excluded.steps, attempt = 1, fault_kind = '', fault = '', duplicate_of = NULL,
			allow_duplicate = excluded.allow_duplicate, run_id = NULL, requested_by = excluded.requested_by, retry_at = NULL, waiting_since = NULL,
			created_at = excluded.created_at, updated_at = excluded.updated_at, ended_at = NULL`,
		o.IntegrationID, tx.Org, o.ID, string(before), stepsText(o.Steps), o.AllowDuplicate, o.RequestedBy, tx.Now); err != nil {
		return out, false, fault("begin onboarding", err)
	}
	if _, err := tx.SetIntegrationState(ctx, o.IntegrationID, domain.IntegrationConnecting, "is being connected"); err != nil {
		return out, false, err
	}
	if out, err = tx.Onboarding(ctx, o.IntegrationID); err != nil {
		return out, false, err
	}
	return out, true, tx.tellOnboarding(ctx, out, true)
}

func stepsText(steps []domain.OnboardProgress) []byte {
	text, err := json.Marshal(steps)
	if err != nil {
		panic("marshal steps of plain fields: " + err.Error())
	}
	return text
}

// tellOnboarding tells the live stream where an onboarding stands, and its workflow if that is to look.
func (tx *Tx) tellOnboarding(ctx context.Context, o domain.Onboarding, workflow bool) error {
	if workflow {
		if err := tx.Enqueue(ctx, OutboxOnboarding, string(o.IntegrationID), "", tx.Now); err != nil {
			return err
		}
	}
	refs := map[string]string{"integration": string(o.IntegrationID), "state": string(o.State)}
	if step := o.Current(); step != "" {
		refs["step"] = string(step)
	}
	return tx.Emit(ctx, domain.TopicOnboardingChanged, refs)
}

// Onboarding reads the newest onboarding of an integration; KindNotFound when there was none.
func (tx *Tx) Onboarding(ctx context.Context, integration domain.IntegrationID) (domain.Onboarding, error) {
	o, err := scanOnboarding(tx.QueryRow(ctx, "SELECT "+onboardingColumns+" FROM onboardings o WHERE org_id = $1 AND integration_id = $2", tx.Org, integration))
	return o, missing("onboarding", "read onboarding", err)
}

// LiveOnboardings reads the onboardings of integrations that have not ended, by integration.
func (tx *Tx) LiveOnboardings(ctx context.Context, of ...domain.IntegrationID) (map[domain.IntegrationID]domain.Onboarding, error) {
	rows, err := tx.Query(ctx, "SELECT "+onboardingColumns+" FROM onboardings o WHERE org_id = $1 AND integration_id = ANY($2::uuid[]) AND ended_at IS NULL", tx.Org, arrayOf(of))
	all, err := collect(rows, err, scanOnboarding)
	out := make(map[domain.IntegrationID]domain.Onboarding, len(all))
	for _, o := range all {
		out[o.IntegrationID] = o
	}
	return out, fault("read onboardings", err)
}

// ChangeOnboarding locks the newest onboarding of an integration and stores what change makes of it; change may run again
// with its transaction, and reports whether there is anything to store. wake tells the workflow. It returns the row as it
// stands then. The integration stays locked until the transaction ends.
func (tx *Tx) ChangeOnboarding(ctx context.Context, integration domain.IntegrationID, wake bool, change func(o *domain.Onboarding) (bool, error)) (domain.Onboarding, bool, error) {
	// Whoever begins one locks the integration first too.
	if _, err := tx.Exec(ctx, "SELECT 1 FROM integrations WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE", tx.Org, integration); err != nil {
		return domain.Onboarding{}, false, fault("lock integration", err)
	}
	o, err := scanOnboarding(tx.QueryRow(ctx, "SELECT "+onboardingColumns+" FROM onboardings o WHERE org_id = $1 AND integration_id = $2 FOR UPDATE", tx.Org, integration))
	if err != nil {
		return o, false, missing("onboarding", "lock onboarding", err)
	}
	changed, err := change(&o)
	if err != nil || !changed {
		return o, false, err
	}
	o.Fault = clip(o.Fault, maxReason)
	o.UpdatedAt = tx.Now
	if _, err := tx.Exec(ctx, `UPDATE onboardings SET state = $3, steps = $4, attempt = $5, fault_kind = $6, fault = $7, duplicate_of = $8, allow_duplicate = $9,
			run_id = $10, retry_at = $11, waiting_since = $12, updated_at = $13, ended_at = $14 WHERE org_id = $1 AND integration_id = $2`,
		tx.Org, integration, string(o.State), stepsText(o.Steps), o.Attempt, string(o.FaultKind), o.Fault, o.Duplicate, o.AllowDuplicate,
		o.RunID, o.RetryAt, o.WaitingSince, o.UpdatedAt, o.EndedAt); err != nil {
		return o, false, fault("store onboarding", err)
	}
	return o, true, tx.tellOnboarding(ctx, o, wake)
}

// SameIdentity is another integration of one provider, as far as known where it leads.
type SameIdentity struct {
	domain.Integration
	Identity []byte // keyed hash; nil = not known, or under a key that is not the newest
}

// IdentityHash hides where a connection leads: a keyed hash of what its provider says. Equal places of one organisation
// have equal hashes while the first key of the ring stays.
func (tx *Tx) IdentityHash(provider, identity string) []byte {
	return tx.sealer.Fingerprint([]byte(identity), "integrations", "identity", provider)
}

// SetIdentity notes where an integration leads. Call Identities before it, in the same transaction.
func (tx *Tx) SetIdentity(ctx context.Context, id domain.IntegrationID, hash []byte) error {
	_, err := tx.Exec(ctx, "UPDATE integrations SET identity = $3 WHERE org_id = $1 AND id = $2 AND identity IS DISTINCT FROM $3", tx.Org, id, hash)
	return fault("store identity", err)
}

// maxIdentities bounds the integrations of one provider that are compared, the newest first.
const maxIdentities = 1000

// Identities locks the identities of a provider's integrations until the transaction ends, so that of two that lead to one
// place the second sees the first, and reads those of all others than one, deleted ones left out.
func (tx *Tx) Identities(ctx context.Context, provider string, except domain.IntegrationID) ([]SameIdentity, error) {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "identities of "+provider+" "+string(tx.Org)); err != nil {
		return nil, fault("lock identities", err)
	}
	rows, err := tx.Query(ctx, "SELECT "+integrationColumns+`, i.identity FROM integrations i
		WHERE org_id = $1 AND provider = $2 AND state <> 'deleted' AND id <> $3 ORDER BY id DESC LIMIT $4`, tx.Org, provider, except, maxIdentities)
	all, err := collect(rows, err, func(row pgx.Row) (s SameIdentity, err error) {
		s.Integration, err = scanIntegration(row, &s.Identity)
		if len(s.Identity) > 0 && !tx.sealer.Current(s.Identity) {
			s.Identity = nil
		}
		return s, err
	})
	return all, fault("read identities", err)
}

// abandonOnboarding ends the onboarding of an integration that is deleted, and wakes its workflow.
func (tx *Tx) abandonOnboarding(ctx context.Context, integration domain.IntegrationID) error {
	_, _, err := tx.ChangeOnboarding(ctx, integration, true, func(o *domain.Onboarding) (bool, error) {
		if o.State.Ended() {
			return false, nil
		}
		o.End(domain.OnboardingCancelled, tx.Now)
		return true, nil
	})
	if domain.KindOf(err) == domain.KindNotFound {
		return nil
	}
	return err
}
