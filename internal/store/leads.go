package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const leadColumns = "id, org_id, integration_id, request_hash, state, reason, requested_by, created_at, settled_at"

func scanLead(row pgx.Row) (l domain.SentLead, err error) {
	var hash []byte
	err = row.Scan(&l.ID, &l.OrgID, &l.IntegrationID, &hash, &l.State, &l.Reason, &l.RequestedBy, &l.CreatedAt, &l.SettledAt)
	l.CreatedAt, l.SettledAt = l.CreatedAt.UTC(), utc(l.SettledAt)
	if err == nil && copy(l.RequestHash[:], hash) != len(l.RequestHash) {
		err = fmt.Errorf("enquiry %s has a hash of %d bytes", l.ID, len(hash))
	}
	return l, err
}

// leadWindow is the time for which aDay counts.
const leadWindow = 24 * time.Hour

// BeginLead notes an enquiry before it is sent, or returns the one with its id that was noted before (begun is false). It is
// KindConflict when that one said something else, and KindRateLimited with the time to wait when aDay of the integration's
// were sent in the last 24 hours; what was refused does not count. State and times of l are set here.
func (tx *Tx) BeginLead(ctx context.Context, l domain.SentLead, aDay int) (noted domain.SentLead, begun bool, err error) {
	// The lock keeps two at once from both taking the last place.
	var state domain.IntegrationState
	var rests *time.Time
	if err := tx.QueryRow(ctx, "SELECT state, work_held_until FROM integrations WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE", tx.Org, l.IntegrationID).Scan(&state, &rests); err != nil {
		return noted, false, missing("integration", "lock integration", err)
	}
	noted, err = scanLead(tx.QueryRow(ctx, "SELECT "+leadColumns+" FROM leads WHERE org_id = $1 AND id = $2", tx.Org, l.ID))
	switch err := missing("enquiry", "read enquiry", err); {
	case err == nil && (noted.RequestHash != l.RequestHash || noted.IntegrationID != l.IntegrationID):
		return noted, false, domain.E(domain.KindConflict, "the key was used for another enquiry")
	case err == nil:
		return noted.At(tx.Now), false, nil
	case domain.KindOf(err) != domain.KindNotFound:
		return noted, false, err
	}
	if state != domain.IntegrationActive {
		return noted, false, domain.E(domain.KindConflict, "the integration is %s", state)
	}
	if rests != nil && rests.After(tx.Now) {
		return noted, false, domain.WithRetryAfter(domain.E(domain.KindUnavailable, "the integration is in maintenance"), rests.Sub(tx.Now))
	}
	var sent int
	var oldest *time.Time
	if err := tx.QueryRow(ctx, "SELECT count(*), min(created_at) FROM leads WHERE org_id = $1 AND integration_id = $2 AND created_at > $3 AND state <> 'refused'",
		tx.Org, l.IntegrationID, tx.Now.Add(-leadWindow)).Scan(&sent, &oldest); err != nil {
		return noted, false, fault("count enquiries", err)
	}
	if sent >= aDay {
		wait := leadWindow
		if oldest != nil {
			wait = oldest.Add(leadWindow).Sub(tx.Now)
		}
		return noted, false, domain.WithRetryAfter(domain.E(domain.KindRateLimited, "%d enquiries were sent in the last 24 hours, which is what the settings allow", sent), wait)
	}
	l.State, l.CreatedAt, l.OrgID = domain.LeadSending, tx.Now, tx.Org
	if _, err := tx.Exec(ctx, "INSERT INTO leads (id, org_id, integration_id, request_hash, state, requested_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		l.ID, tx.Org, l.IntegrationID, l.RequestHash[:], string(l.State), l.RequestedBy, l.CreatedAt); err != nil {
		return noted, false, fault("note enquiry", err)
	}
	return l, true, nil
}

// SettleLead notes what became of an enquiry that was being sent.
func (tx *Tx) SettleLead(ctx context.Context, id domain.LeadID, state domain.LeadState, reason string) (domain.SentLead, error) {
	l, err := scanLead(tx.QueryRow(ctx, "UPDATE leads SET state = $3, reason = $4, settled_at = $5 WHERE org_id = $1 AND id = $2 AND state = 'sending' RETURNING "+leadColumns,
		tx.Org, id, string(state), reason, tx.Now))
	return l, missing("enquiry", "settle enquiry", err)
}

// Leads lists the enquiries of an integration by their ids.
func (tx *Tx) Leads(ctx context.Context, integration domain.IntegrationID, p Page) ([]domain.SentLead, string, error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	after, err := p.afterID(firstUUID)
	if err != nil {
		return nil, "", err
	}
	rows, err := tx.Query(ctx, "SELECT "+leadColumns+" FROM leads WHERE org_id = $1 AND integration_id = $2 AND id > $3 ORDER BY id LIMIT $4", tx.Org, integration, after, limit+1)
	all, err := collect(rows, err, scanLead)
	if err != nil {
		return nil, "", fault("list enquiries", err)
	}
	for i := range all {
		all[i] = all[i].At(tx.Now)
	}
	all, next := cut(all, limit, func(l domain.SentLead) string { return string(l.ID) })
	return all, next, nil
}
