package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// This file lets connections rest for a window of maintenance: their work is held beside their state, so that a person's pause stays
// what it was, and health is in maintenance by [Tx.Maintain].

// MaintainedIntegrations returns the connections that a window covers, in the order of their ids, at most limit+1. Those that are
// being made are left out: their onboarding decides.
func (tx *Tx) MaintainedIntegrations(ctx context.Context, m domain.Maintenance, limit int) ([]domain.IntegrationID, error) {
	var everything bool
	var providers []string
	var ids []domain.IntegrationID
	for _, s := range m.Scopes {
		switch s.Kind {
		case domain.ScopeOrganization:
			everything = true
		case domain.ScopePlatform:
			providers = append(providers, s.Target)
		case domain.ScopeIntegration:
			ids = append(ids, domain.IntegrationID(s.Target))
		}
	}
	rows, err := tx.Query(ctx, `SELECT id FROM integrations WHERE org_id = $1 AND state NOT IN ('deleted', 'connecting') AND ($2 OR provider = ANY ($3) OR id = ANY ($4))
		ORDER BY id LIMIT $5`, tx.Org, everything, arrayOf(append([]string{}, providers...)), arrayOf(append([]domain.IntegrationID{}, ids...)), limit+1)
	out, err := collect(rows, err, func(row pgx.Row) (id domain.IntegrationID, err error) {
		err = row.Scan(&id)
		return id, err
	})
	return out, fault("read integrations of a maintenance", err)
}

// MaintainableIntegrations returns the connections that windows can cover, by provider, in the order of their ids, 10,000 in all at most.
func (tx *Tx) MaintainableIntegrations(ctx context.Context) (map[string][]domain.IntegrationID, error) {
	rows, err := tx.Query(ctx, "SELECT provider, id FROM integrations WHERE org_id = $1 AND state NOT IN ('deleted', 'connecting') ORDER BY id LIMIT 10000", tx.Org)
	if err != nil {
		return nil, fault("read integrations for maintenance", err)
	}
	out := map[string][]domain.IntegrationID{}
	var provider string
	var id domain.IntegrationID
	_, err = pgx.ForEachRow(rows, []any{&provider, &id}, func() error {
		out[provider] = append(out[provider], id)
		return nil
	})
	return out, fault("read integrations for maintenance", err)
}

// HoldWork lets connections rest until a time, for a window. Their workflows are told; what they are doing finishes, and deliveries
// are stored as before. Holding again changes the time. When another window holds one of them it is KindConflict, and nothing is held.
// Call [Tx.LockMaintenance] before.
func (tx *Tx) HoldWork(ctx context.Context, window domain.MaintenanceID, ids []domain.IntegrationID, until time.Time, text string) error {
	var others int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM integrations WHERE org_id = $1 AND id = ANY ($3) AND work_held_by <> $2 AND work_held_until > $4",
		tx.Org, window, arrayOf(ids), tx.Now).Scan(&others); err != nil {
		return fault("look who holds work", err)
	}
	if others > 0 {
		return domain.E(domain.KindConflict, "another maintenance holds %d of the connections", others)
	}
	if _, err := tx.Exec(ctx, "UPDATE integrations SET work_held_by = $2, work_held_until = $4 WHERE org_id = $1 AND id = ANY ($3)", tx.Org, window, arrayOf(ids), until); err != nil {
		return fault("hold work", err)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO maintenance_members (org_id, window_id, integration_id, held_at) SELECT $1, $2, id, $4 FROM unnest($3::uuid[]) id
		ON CONFLICT DO NOTHING`, tx.Org, window, arrayOf(ids), tx.Now); err != nil {
		return fault("note held connections", err)
	}
	for _, id := range ids {
		if err := tx.Maintain(ctx, id, &until, text); err != nil {
			return err
		}
		if err := tx.Enqueue(ctx, OutboxIntegrationChanged, string(id), "", tx.Now); err != nil {
			return err
		}
	}
	return nil
}

// ReleaseWork lets the connections of a window go on, counts what waited, and tells their workflows. Releasing again changes nothing.
func (tx *Tx) ReleaseWork(ctx context.Context, window domain.MaintenanceID) (held int, err error) {
	rows, err := tx.Query(ctx, `SELECT m.integration_id, i.work_held_by = $2 AS ours, (SELECT count(*) FROM deliveries WHERE integration_id = m.integration_id AND state = 'received')
			+ (SELECT count(*) FROM pushes WHERE integration_id = m.integration_id AND state = 'pending')
		FROM maintenance_members m JOIN integrations i ON i.org_id = m.org_id AND i.id = m.integration_id
		WHERE m.org_id = $1 AND m.window_id = $2 AND m.released_at IS NULL ORDER BY 1`, tx.Org, window)
	type member struct {
		id   domain.IntegrationID
		ours *bool
		held int
	}
	all, err := collect(rows, err, func(row pgx.Row) (m member, err error) {
		err = row.Scan(&m.id, &m.ours, &m.held)
		return m, err
	})
	if err != nil {
		return 0, fault("count held work", err)
	}
	if len(all) == 0 {
		return 0, nil
	}
	if _, err := tx.Exec(ctx, "UPDATE integrations SET work_held_by = NULL, work_held_until = NULL WHERE org_id = $1 AND work_held_by = $2", tx.Org, window); err != nil {
		return 0, fault("release work", err)
	}
	if _, err := tx.Exec(ctx, `UPDATE maintenance_members m SET released_at = $3, held = v.held FROM unnest($4::uuid[], $5::int[]) v(id, held)
		WHERE m.org_id = $1 AND m.window_id = $2 AND m.integration_id = v.id`, tx.Org, window, tx.Now,
		column(all, func(m member) domain.IntegrationID { return m.id }), column(all, func(m member) int32 { return int32(m.held) })); err != nil {
		return 0, fault("note released connections", err)
	}
	for _, m := range all {
		held += m.held
		if m.ours == nil || !*m.ours {
			continue // its time was over, and another window has it
		}
		if err := tx.Maintain(ctx, m.id, nil, ""); err != nil {
			return held, err
		}
		if err := tx.Enqueue(ctx, OutboxIntegrationChanged, string(m.id), "", tx.Now); err != nil {
			return held, err
		}
	}
	return held, nil
}

// NoteQuiet notes that nothing of a connection goes on any more, and whether it is read after the window, and has the window looked
// at once that is so of all of them. A repeat changes nothing.
func (tx *Tx) NoteQuiet(ctx context.Context, window domain.MaintenanceID, id domain.IntegrationID, pulls bool) error {
	tag, err := tx.Exec(ctx, `UPDATE maintenance_members SET quiet_at = $4, pulls = $5 WHERE org_id = $1 AND window_id = $2 AND integration_id = $3 AND quiet_at IS NULL`,
		tx.Org, window, id, tx.Now, pulls)
	if err != nil {
		return fault("note that a connection rests", err)
	}
	if tag.RowsAffected() == 0 {
		return nil
	}
	var going int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM maintenance_members WHERE org_id = $1 AND window_id = $2 AND quiet_at IS NULL", tx.Org, window).Scan(&going); err != nil {
		return fault("count connections that go on", err)
	}
	if going > 0 {
		return nil
	}
	return tx.WakeMaintenance(ctx, window)
}

// MaintenanceMembers returns the connections of a window that has begun, in the order of their ids. What waits still is counted now:
// deliveries that nobody has tried to apply and writes that nobody has tried, of those that had come when it was let go on.
// A connection goes on by its own clock when its time is over, so what it read since then counts, also before the window looked.
func (tx *Tx) MaintenanceMembers(ctx context.Context, window domain.MaintenanceID) ([]domain.MaintenanceMember, error) {
	rows, err := tx.Query(ctx, `SELECT m.integration_id, m.held_at, m.quiet_at, m.released_at, m.pulls, m.held,
			CASE WHEN m.released_at IS NULL THEN 0 ELSE (SELECT count(*) FROM deliveries d WHERE d.integration_id = m.integration_id AND d.state = 'received' AND d.received_at <= m.released_at)
				+ (SELECT count(*) FROM pushes p WHERE p.integration_id = m.integration_id AND p.state = 'pending' AND p.updated_at <= m.released_at) END,
			(SELECT min(r.ended_at) FROM (SELECT started_at, ended_at FROM sync_runs WHERE org_id = m.org_id AND integration_id = m.integration_id ORDER BY id DESC LIMIT 20) r
				WHERE m.released_at IS NOT NULL AND r.started_at >= least(m.released_at, w.ends_at))
		FROM maintenance_members m JOIN maintenance_windows w ON w.org_id = m.org_id AND w.id = m.window_id WHERE m.org_id = $1 AND m.window_id = $2 ORDER BY m.integration_id`, tx.Org, window)
	all, err := collect(rows, err, func(row pgx.Row) (m domain.MaintenanceMember, err error) {
		err = row.Scan(&m.IntegrationID, &m.HeldAt, &m.QuietAt, &m.ReleasedAt, &m.Pulls, &m.Held, &m.Left, &m.ReadAt)
		m.HeldAt, m.QuietAt, m.ReleasedAt, m.ReadAt = m.HeldAt.UTC(), utc(m.QuietAt), utc(m.ReleasedAt), utc(m.ReadAt)
		return m, err
	})
	return all, fault("read connections of a maintenance", err)
}

// ResourcesOfMaintenance returns the resources whose bookings the connections of a window carry; none for one of every connection.
func (tx *Tx) ResourcesOfMaintenance(ctx context.Context, m domain.Maintenance) ([]domain.ResourceID, error) {
	for _, s := range m.Scopes {
		if s.Kind == domain.ScopeOrganization {
			return nil, nil
		}
	}
	ids, err := tx.MaintainedIntegrations(ctx, m, domain.MaxMaintained)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, "SELECT DISTINCT resource_id FROM integrations WHERE org_id = $1 AND id = ANY ($2) ORDER BY 1", tx.Org, arrayOf(ids))
	all, err := collect(rows, err, func(row pgx.Row) (id domain.ResourceID, err error) {
		err = row.Scan(&id)
		return id, err
	})
	return all, fault("read resources of a maintenance", err)
}
