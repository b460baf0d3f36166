package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const purgeColumns = `id, org_id, integration_id, copies,
	(SELECT count(*) FROM links l WHERE l.org_id = p.org_id AND l.integration_id = p.integration_id AND l.mirror AND l.removed_at IS NULL) AS left_there,
	(SELECT count(*) FROM pushes x WHERE x.org_id = p.org_id AND x.integration_id = p.integration_id AND x.op = 'remove' AND x.state = 'failed'
		AND x.updated_at >= p.created_at) AS failed,
	disconnect, requested_by, reason, created_at, ended_at, overrides_freeze`

func scanPurge(row pgx.Row) (p domain.Purge, err error) {
	err = row.Scan(&p.ID, &p.OrgID, &p.IntegrationID, &p.Copies, &p.Left, &p.Failed, &p.Disconnect, &p.RequestedBy, &p.Reason, &p.CreatedAt, &p.EndedAt, &p.OverridesFreeze)
	p.CreatedAt, p.EndedAt = p.CreatedAt.UTC(), utc(p.EndedAt)
	if p.EndedAt != nil {
		p.Left, p.Failed = 0, 0
	}
	return p, err
}

// LastPurge returns the newest purge of an integration with its progress; KindNotFound when there is none.
func (tx *Tx) LastPurge(ctx context.Context, integration domain.IntegrationID) (domain.Purge, error) {
	p, err := scanPurge(tx.QueryRow(ctx, "SELECT "+purgeColumns+" FROM purges p WHERE org_id = $1 AND integration_id = $2 ORDER BY id DESC LIMIT 1", tx.Org, integration))
	return p, missing("purge", "read purge", err)
}

// Mirrors returns our live copies in an integration, past ones included.
func (tx *Tx) Mirrors(ctx context.Context, integration domain.IntegrationID) ([]domain.Link, error) {
	rows, err := tx.Query(ctx, "SELECT "+linkColumns+" FROM links WHERE org_id = $1 AND integration_id = $2 AND mirror AND removed_at IS NULL ORDER BY id", tx.Org, integration)
	out, err := collect(rows, err, scanLink)
	return out, fault("read copies", err)
}

// StartPurge wishes that every copy of ours in an integration be removed, by the ordinary path of pushes, and that no new
// ones be written. One that is going on already is returned instead (started is false), with Disconnect and OverridesFreeze set if they are
// wished now, and pushes that were given up are tried anew. Without any copy it is over at once. The version of the
// integration rises, so that its workflow hears of it.
func (tx *Tx) StartPurge(ctx context.Context, p domain.Purge) (purge domain.Purge, started bool, err error) {
	if err := checkText("reason", p.Reason, maxReason); err != nil {
		return purge, false, err
	}
	i, err := scanIntegration(tx.QueryRow(ctx, "SELECT "+integrationColumns+` FROM integrations i WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE`, tx.Org, p.IntegrationID))
	if err != nil {
		return purge, false, missing("integration", "lock integration", err)
	}
	if i.State == domain.IntegrationDeleted {
		return purge, false, domain.E(domain.KindConflict, "integration is deleted")
	}
	copies, err := tx.Mirrors(ctx, i.ID)
	if err != nil {
		return purge, false, err
	}
	tag, err := tx.Exec(ctx, `INSERT INTO purges (id, org_id, integration_id, copies, disconnect, requested_by, reason, created_at, overrides_freeze)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (org_id, integration_id) WHERE ended_at IS NULL
		DO UPDATE SET disconnect = purges.disconnect OR excluded.disconnect, overrides_freeze = purges.overrides_freeze OR excluded.overrides_freeze`,
		p.ID, tx.Org, i.ID, len(copies), p.Disconnect, clip(p.RequestedBy, 200), p.Reason, tx.Now, p.OverridesFreeze)
	if err != nil || tag.RowsAffected() != 1 {
		return purge, false, fault("start purge", err)
	}
	if _, err := tx.Exec(ctx, "UPDATE integrations SET copies = 'purging', updated_at = $3, version = version + 1 WHERE org_id = $1 AND id = $2", tx.Org, i.ID, tx.Now); err != nil {
		return purge, false, fault("start purge", err)
	}
	if err := tx.integrationChanged(ctx, i.ID, i.State); err != nil {
		return purge, false, err
	}
	if err := tx.wishRemoval(ctx, i.ID, copies); err != nil {
		return purge, false, err
	}
	if purge, err = tx.LastPurge(ctx, i.ID); err != nil {
		return purge, false, err
	}
	return purge, purge.ID == p.ID, nil
}

// wishRemoval makes pushes that remove copies, and tells the integration's workflow.
func (tx *Tx) wishRemoval(ctx context.Context, integration domain.IntegrationID, copies []domain.Link) error {
	if len(copies) == 0 {
		return nil
	}
	var wishes []domain.Push
	for _, l := range copies {
		wishes = append(wishes, domain.Push{ID: domain.NewID[domain.PushID](tx.Now), IntegrationID: integration, BookingID: l.BookingID, Op: domain.PushRemove,
			WantVersion: l.WrittenVersion, UpdatedAt: tx.Now})
	}
	if err := tx.StorePushes(ctx, wishes); err != nil {
		return err
	}
	return tx.Enqueue(ctx, OutboxPush, string(integration), "", tx.Now)
}

// StorePushes stores wishes; a booking has one per integration, the newest. A booking that is named twice is stored once.
func (tx *Tx) StorePushes(ctx context.Context, pushes []domain.Push) error {
	seen := make(map[domain.Push]bool, len(pushes))
	var once []domain.Push
	for _, p := range pushes {
		key := domain.Push{IntegrationID: p.IntegrationID, BookingID: p.BookingID}
		if !seen[key] {
			seen[key], once = true, append(once, p)
		}
	}
	b := &pgx.Batch{}
	tx.queuePushes(b, once)
	if b.Len() == 0 {
		return nil
	}
	return fault("store pushes", tx.SendBatch(ctx, b).Close())
}

// AdvancePurge looks whether a purge is over: it ends when no copy is left. Copies that appeared since it began, by a
// write that was under way, are wished away too. ended is true once.
func (tx *Tx) AdvancePurge(ctx context.Context, integration domain.IntegrationID) (p domain.Purge, ended bool, err error) {
	if p, err = tx.LastPurge(ctx, integration); err != nil || p.EndedAt != nil {
		return p, false, err
	}
	if p.Left > 0 {
		rows, err := tx.Query(ctx, "SELECT "+linkColumns+` FROM links l WHERE org_id = $1 AND integration_id = $2 AND mirror AND removed_at IS NULL AND NOT EXISTS (
			SELECT 1 FROM pushes x WHERE x.org_id = $1 AND x.integration_id = $2 AND x.booking_id = l.booking_id AND x.state <> 'done') ORDER BY id`, tx.Org, integration)
		missed, err := collect(rows, err, scanLink)
		if err != nil {
			return p, false, fault("read copies", err)
		}
		return p, false, tx.wishRemoval(ctx, integration, missed)
	}
	tag, err := tx.Exec(ctx, "UPDATE purges SET ended_at = $3 WHERE org_id = $1 AND id = $2 AND ended_at IS NULL", tx.Org, p.ID, tx.Now)
	if err != nil || tag.RowsAffected() == 0 {
		return p, false, fault("end purge", err)
	}
	p.EndedAt = &tx.Now
	var state domain.IntegrationState
	if err := tx.QueryRow(ctx, `UPDATE integrations SET copies = 'purged', updated_at = $3, version = version + 1 WHERE org_id = $1 AND id = $2 AND copies = 'purging'
		RETURNING state`, tx.Org, integration, tx.Now).Scan(&state); err != nil && err != pgx.ErrNoRows {
		return p, false, fault("end purge", err)
	} else if err == nil {
		if err := tx.integrationChanged(ctx, integration, state); err != nil {
			return p, false, err
		}
	}
	return p, true, nil
}

// KeepCopies lets copies be written to an integration again after a purge. One that is going on ends where it is. It
// reports whether anything changed.
func (tx *Tx) KeepCopies(ctx context.Context, integration domain.IntegrationID) (bool, error) {
	tag, err := tx.Exec(ctx, "UPDATE integrations SET copies = 'kept' WHERE org_id = $1 AND id = $2 AND copies <> 'kept'", tx.Org, integration)
	if err != nil || tag.RowsAffected() == 0 {
		return false, fault("keep copies", err)
	}
	_, err = tx.Exec(ctx, "UPDATE purges SET ended_at = $3 WHERE org_id = $1 AND integration_id = $2 AND ended_at IS NULL", tx.Org, integration, tx.Now)
	return true, fault("end purge", err)
}
