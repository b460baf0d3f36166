package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const drillColumns = `id, integration_id, state, requested_by, began_at, watch_until, muted_until, asked_at, noticed_at, noticed_itself, polling_at, unmuted_at,
	ended_at, posted, changes, lost, duplicated, max_lag_ms, verdict`

func scanDrill(row pgx.Row) (d domain.Drill, err error) {
	var lag int64
	err = row.Scan(&d.ID, &d.IntegrationID, &d.State, &d.RequestedBy, &d.BeganAt, &d.WatchUntil, &d.MutedUntil, &d.AskedAt, &d.NoticedAt, &d.NoticedItself, &d.PollingAt,
		&d.UnmutedAt, &d.EndedAt, &d.Posted, &d.Changes, &d.Lost, &d.Duplicated, &lag, &d.Verdict)
	d.BeganAt, d.WatchUntil, d.MutedUntil, d.MaxLag = d.BeganAt.UTC(), d.WatchUntil.UTC(), d.MutedUntil.UTC(), millis(lag)
	for _, t := range []**time.Time{&d.AskedAt, &d.NoticedAt, &d.PollingAt, &d.UnmutedAt, &d.EndedAt} {
		*t = utc(*t)
	}
	return d, err
}

// staleDrill is how long a drill takes at the very most.
const staleDrill = time.Hour

// CreateDrill stores a drill that begins and lets what its system posts lie until MutedUntil. KindConflict when another one of the
// organisation is under way, or the integration does not run as usual.
func (tx *Tx) CreateDrill(ctx context.Context, d domain.Drill) error {
	if _, err := domain.ParseID[domain.DrillID]("id", string(d.ID)); err != nil {
		return err
	}
	if err := checkText("requested_by", d.RequestedBy, 200); err != nil {
		return err
	}
	// Of two that begin at once the second waits here and then sees the first.
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 33))", string(tx.Org)); err != nil {
		return fault("lock drills", err)
	}
	f, err := tx.LockFailover(ctx, d.IntegrationID)
	if err != nil {
		return err
	}
	if f.Mode != domain.FailoverUsual {
		return domain.E(domain.KindConflict, "the integration is %s already", f.Mode)
	}
	// One whose connection was deleted or paused for long holds nobody up.
	if _, err := tx.Exec(ctx, `UPDATE drills SET state = 'failed', ended_at = $2, verdict = 'its connection stopped meanwhile' WHERE org_id = $1 AND ended_at IS NULL AND began_at < $3`,
		tx.Org, tx.Now, tx.Now.Add(-staleDrill)); err != nil {
		return fault("end drills that were left", err)
	}
	var other bool
	if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM drills WHERE org_id = $1 AND ended_at IS NULL)", tx.Org).Scan(&other); err != nil {
		return fault("look for a drill", err)
	}
	if other {
		return domain.E(domain.KindConflict, "a drill of this organisation is under way")
	}
	if _, err := tx.Exec(ctx, `INSERT INTO drills (id, org_id, integration_id, state, requested_by, began_at, watch_until, muted_until) VALUES ($1, $2, $3, 'watching', $4, $5, $6, $7)`,
		d.ID, tx.Org, d.IntegrationID, d.RequestedBy, tx.Now, d.WatchUntil, d.MutedUntil); err != nil {
		return fault("store drill", err)
	}
	f.MutedUntil, f.MutedNotices, f.DueAt = &d.MutedUntil, 0, &tx.Now
	if err := tx.SaveFailover(ctx, f); err != nil {
		return err
	}
	return tx.Enqueue(ctx, OutboxIntegrationChanged, string(d.IntegrationID), "", tx.Now)
}

// Drill reads one; KindNotFound when the tenant has no such.
func (tx *Tx) Drill(ctx context.Context, id domain.DrillID) (domain.Drill, error) {
	d, err := scanDrill(tx.QueryRow(ctx, "SELECT "+drillColumns+" FROM drills WHERE org_id = $1 AND id = $2", tx.Org, id))
	return d, missing("drill", "read drill", err)
}

// RunningDrill reads the drill of an integration that is under way, locked; KindNotFound when there is none.
func (tx *Tx) RunningDrill(ctx context.Context, id domain.IntegrationID) (domain.Drill, error) {
	d, err := scanDrill(tx.QueryRow(ctx, "SELECT "+drillColumns+" FROM drills WHERE org_id = $1 AND integration_id = $2 AND ended_at IS NULL FOR UPDATE", tx.Org, id))
	return d, missing("drill", "read drill", err)
}

// SaveDrill stores how far a drill is, and tells the live stream.
func (tx *Tx) SaveDrill(ctx context.Context, d domain.Drill) error {
	if _, err := tx.Exec(ctx, `UPDATE drills SET state = $3, asked_at = $4, noticed_at = $5, noticed_itself = $6, polling_at = $7, unmuted_at = $8, ended_at = $9, posted = $10,
			changes = $11, lost = $12, duplicated = $13, max_lag_ms = $14, verdict = $15 WHERE org_id = $1 AND id = $2`, tx.Org, d.ID, string(d.State), d.AskedAt, d.NoticedAt,
		d.NoticedItself, d.PollingAt, d.UnmutedAt, d.EndedAt, d.Posted, d.Changes, d.Lost, d.Duplicated, d.MaxLag.Milliseconds(), clip(d.Verdict, maxReason)); err != nil {
		return fault("store drill", err)
	}
	return tx.Emit(ctx, domain.TopicDrill, map[string]string{"drill": string(d.ID), "integration": string(d.IntegrationID), "state": string(d.State)})
}

// Drills lists those of an integration, or of all for "", newest first.
func (tx *Tx) Drills(ctx context.Context, integration domain.IntegrationID, p Page) ([]domain.Drill, string, error) {
	q := newQuery("SELECT " + drillColumns + " FROM drills")
	q.where("org_id = %s", tx.Org)
	if integration != "" {
		q.where("integration_id = %s", integration)
	}
	return newestFirst(ctx, tx, "drills", q, p, scanDrill, func(d domain.Drill) string { return string(d.ID) })
}

// Lain is a webhook that a drill let lie, and what became of it afterwards.
type Lain struct {
	State      domain.DeliveryState
	Entity     string
	ReceivedAt time.Time
	Reason     string
}

// Lain returns the webhooks of an integration that came in [from, to), the oldest first, at most limit.
func (tx *Tx) Lain(ctx context.Context, id domain.IntegrationID, from, to time.Time, limit int) ([]Lain, error) {
	rows, err := tx.Query(ctx, `SELECT state, entity, received_at, reason FROM deliveries WHERE integration_id = $1 AND org_id = $2 AND id >= $3 AND id < $4
		AND received_at >= $5 AND received_at < $6 AND origin_id IS NULL ORDER BY id LIMIT $7`, id, tx.Org, idFrom(from), idAt(to.Add(time.Minute)), from, to, limit)
	out, err := collect(rows, err, func(row pgx.Row) (l Lain, err error) {
		err = row.Scan(&l.State, &l.Entity, &l.ReceivedAt, &l.Reason)
		l.ReceivedAt = l.ReceivedAt.UTC()
		return l, err
	})
	return out, fault("read what lay", err)
}

// SyncsIn returns the readings of an integration that began in [from, to) and came to their end, the oldest first, at most 1,000.
func (tx *Tx) SyncsIn(ctx context.Context, id domain.IntegrationID, from, to time.Time) ([]domain.SyncRun, error) {
	rows, err := tx.Query(ctx, "SELECT "+syncColumns+` FROM sync_runs WHERE org_id = $1 AND integration_id = $2 AND id >= $3 AND state = 'done' AND started_at >= $4 AND started_at < $5
		ORDER BY id LIMIT 1000`, tx.Org, id, idFrom(from), from, to)
	out, err := collect(rows, err, scanSyncRun)
	return out, fault("read readings of a time", err)
}

// PutDrillSchedule sets how often connections are exercised; every_days = 0 ends it.
func (tx *Tx) PutDrillSchedule(ctx context.Context, everyDays int, next time.Time, by string) error {
	if everyDays == 0 {
		_, err := tx.Exec(ctx, "DELETE FROM drill_schedules WHERE org_id = $1", tx.Org)
		return fault("end drill schedule", err)
	}
	if everyDays < 1 || everyDays > 365 {
		return domain.Invalid("every_days", "must be 0 (never) to 365, is %d", everyDays)
	}
	if err := checkText("by", by, 200); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO drill_schedules (org_id, every_days, next_at, updated_by, updated_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (org_id) DO UPDATE SET every_days = excluded.every_days, next_at = excluded.next_at, updated_by = excluded.updated_by, updated_at = excluded.updated_at`,
		tx.Org, everyDays, next, by, tx.Now)
	return fault("store drill schedule", err)
}

// DrillSchedule reads it; KindNotFound when there is none.
func (tx *Tx) DrillSchedule(ctx context.Context) (s domain.DrillSchedule, err error) {
	err = tx.QueryRow(ctx, "SELECT every_days, next_at, updated_by, updated_at FROM drill_schedules WHERE org_id = $1", tx.Org).Scan(&s.EveryDays, &s.NextAt, &s.UpdatedBy, &s.UpdatedAt)
	s.NextAt, s.UpdatedAt = s.NextAt.UTC(), s.UpdatedAt.UTC()
	return s, missing("drill schedule", "read drill schedule", err)
}

// TakeDrillTurn moves a schedule that is due on to its next time and reports whether it was: of several callers one is told so.
func (tx *Tx) TakeDrillTurn(ctx context.Context, next func(days int) time.Time) (bool, error) {
	var days int
	err := tx.QueryRow(ctx, "SELECT every_days FROM drill_schedules WHERE org_id = $1 AND next_at <= $2 FOR UPDATE", tx.Org, tx.Now).Scan(&days)
	if err == pgx.ErrNoRows {
		return false, nil
	}
	if err != nil {
		return false, fault("take a turn of drills", err)
	}
	_, err = tx.Exec(ctx, "UPDATE drill_schedules SET next_at = $2 WHERE org_id = $1", tx.Org, next(days))
	return err == nil, fault("take a turn of drills", err)
}

// DueDrills returns up to limit organisations whose schedule of drills is due.
func (s *Store) DueDrills(ctx context.Context, limit int) ([]domain.OrgID, error) {
	rows, err := s.system.Query(ctx, "SELECT org_id FROM drill_schedules WHERE next_at <= $1 ORDER BY next_at LIMIT $2", s.timestamp(), limit)
	out, err := collect(rows, err, func(row pgx.Row) (id domain.OrgID, err error) {
		err = row.Scan(&id)
		return id, err
	})
	return out, fault("look for drills that are due", err)
}

// DrillTurns returns the integrations of the tenant that run, those first whose last drill is the longest ago or never was.
func (tx *Tx) DrillTurns(ctx context.Context) ([]domain.IntegrationID, error) {
	rows, err := tx.Query(ctx, `SELECT i.id FROM integrations i WHERE i.org_id = $1 AND i.state = 'active'
		ORDER BY (SELECT max(d.began_at) FROM drills d WHERE d.org_id = $1 AND d.integration_id = i.id) NULLS FIRST, i.id LIMIT 1000`, tx.Org)
	out, err := collect(rows, err, func(row pgx.Row) (id domain.IntegrationID, err error) {
		err = row.Scan(&id)
		return id, err
	})
	return out, fault("read whose turn it is", err)
}
