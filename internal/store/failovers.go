package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// This file is how news of connections come, and the way to another mode. What happened is in failoverepisodes.go.

const failoverColumns = `f.integration_id, f.provider, f.mode, f.cause, f.reason, f.moved_by, f.since, f.due_at, f.held, f.poll_every_ms, f.pull_wanted_at,
	f.suspect, f.suspect_text, f.suspected_at, f.found_at, f.found, f.notices_before, f.repair_at, f.repairs, f.flaps, f.flapped_at, f.muted_until,
	f.muted_notices, f.episode_id`

func scanFailover(row pgx.Row) (f domain.Failover, err error) {
	var every int64
	err = row.Scan(&f.IntegrationID, &f.Provider, &f.Mode, &f.Cause, &f.Reason, &f.By, &f.Since, &f.DueAt, &f.Held, &every, &f.PullWantedAt,
		&f.Suspect, &f.SuspectText, &f.SuspectedAt, &f.FoundAt, &f.Found, &f.NoticesBefore, &f.RepairAt, &f.Repairs, &f.Flaps, &f.FlappedAt, &f.MutedUntil,
		&f.MutedNotices, &f.Episode)
	f.Since, f.PollEvery = f.Since.UTC(), millis(every)
	for _, t := range []**time.Time{&f.DueAt, &f.PullWantedAt, &f.SuspectedAt, &f.FoundAt, &f.RepairAt, &f.FlappedAt, &f.MutedUntil} {
		*t = utc(*t)
	}
	return f, err
}

// Failover reads how news of a connection come. One that never was anything but as usual is told so, since it was made.
// KindNotFound for an integration that the tenant does not have.
func (tx *Tx) Failover(ctx context.Context, id domain.IntegrationID) (domain.Failover, error) {
	return tx.failover(ctx, id, "")
}

// LockFailover is Failover for writing: a row is made if there is none, and stays locked until the transaction ends.
func (tx *Tx) LockFailover(ctx context.Context, id domain.IntegrationID) (domain.Failover, error) {
	if err := tx.makeFailover(ctx, id); err != nil {
		return domain.Failover{}, err
	}
	return tx.failover(ctx, id, " FOR UPDATE")
}

func (tx *Tx) failover(ctx context.Context, id domain.IntegrationID, lock string) (domain.Failover, error) {
	f, err := scanFailover(tx.QueryRow(ctx, "SELECT "+failoverColumns+" FROM failovers f WHERE org_id = $1 AND integration_id = $2"+lock, tx.Org, id))
	if err != pgx.ErrNoRows {
		return f, fault("read failover", err)
	}
	f = domain.Failover{IntegrationID: id, Mode: domain.FailoverUsual}
	err = tx.QueryRow(ctx, "SELECT provider, created_at FROM integrations WHERE org_id = $1 AND id = $2", tx.Org, id).Scan(&f.Provider, &f.Since)
	f.Since = f.Since.UTC()
	return f, missing("integration", "read failover", err)
}

func (tx *Tx) makeFailover(ctx context.Context, id domain.IntegrationID) error {
	_, err := tx.Exec(ctx, `INSERT INTO failovers (org_id, integration_id, provider, since) SELECT org_id, id, provider, created_at FROM integrations
		WHERE org_id = $1 AND id = $2 ON CONFLICT DO NOTHING`, tx.Org, id)
	return fault("make failover", err)
}

// Failovers returns the connections of the tenant that are not as usual, in the order of ids.
func (tx *Tx) Failovers(ctx context.Context) ([]domain.Failover, error) {
	rows, err := tx.Query(ctx, "SELECT "+failoverColumns+` FROM failovers f JOIN integrations i ON i.org_id = f.org_id AND i.id = f.integration_id
		WHERE f.org_id = $1 AND f.mode <> 'usual' AND i.state <> 'deleted' ORDER BY f.integration_id LIMIT 1000`, tx.Org)
	out, err := collect(rows, err, scanFailover)
	return out, fault("list failovers", err)
}

// SaveFailover stores a row that LockFailover returned. Where it moved, Since must be the time of the transaction.
func (tx *Tx) SaveFailover(ctx context.Context, f domain.Failover) error {
	_, err := tx.Exec(ctx, `UPDATE failovers SET mode = $3, cause = $4, reason = $5, moved_by = $6, since = $7, due_at = $8, held = $9, poll_every_ms = $10,
			pull_wanted_at = $11, suspect = $12, suspect_text = $13, suspected_at = $14, found_at = $15, found = $16, notices_before = $17, repair_at = $18,
			repairs = $19, flaps = $20, flapped_at = $21, muted_until = $22, muted_notices = $23, episode_id = $24
		WHERE org_id = $1 AND integration_id = $2`, tx.Org, f.IntegrationID, string(f.Mode), string(f.Cause), clip(f.Reason, maxReason), clip(f.By, 200), f.Since, f.DueAt,
		f.Held, f.PollEvery.Milliseconds(), f.PullWantedAt, string(f.Suspect), clip(f.SuspectText, maxReason), f.SuspectedAt, f.FoundAt, f.Found, f.NoticesBefore,
		f.RepairAt, f.Repairs, f.Flaps, f.FlappedAt, f.MutedUntil, f.MutedNotices, f.Episode)
	return fault("store failover", err)
}

// SuspectPushes notes that something speaks against what the system of a connection posts, and has its workflow judge that. One
// that is not as usual any more is left alone: what it is suspected of was judged.
func (tx *Tx) SuspectPushes(ctx context.Context, id domain.IntegrationID, cause domain.FailoverCause, text string) error {
	if err := tx.makeFailover(ctx, id); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, `UPDATE failovers SET suspect = $3, suspect_text = $4, suspected_at = $5, due_at = $5
		WHERE org_id = $1 AND integration_id = $2 AND mode = 'usual'`, tx.Org, id, string(cause), clip(text, maxReason), tx.Now)
	if err != nil || tag.RowsAffected() == 0 {
		return fault("suspect webhooks", err)
	}
	return tx.Enqueue(ctx, OutboxIntegrationChanged, string(id), "", tx.Now)
}

// FoundUntold notes that a reading found n changes of which nobody had told, in the transaction that applied them. It is judged
// after grace, in which a message may still come.
func (tx *Tx) FoundUntold(ctx context.Context, id domain.IntegrationID, n int, grace time.Duration) error {
	if err := tx.makeFailover(ctx, id); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `UPDATE failovers SET found_at = $3, found = found + $4,
			due_at = CASE WHEN mode = 'usual' THEN least(coalesce(due_at, $5), $5) ELSE due_at END
		WHERE org_id = $1 AND integration_id = $2`, tx.Org, id, tx.Now, n, tx.Now.Add(grace))
	return fault("note untold changes", err)
}

// PushEvidence is what storage knows of what a system posts.
type PushEvidence struct {
	LastPush *time.Time // the newest webhook that was applied or left out, or message to a watch
	Posted   int        // webhooks since a time that were applied or left out, counted up to 100
	Notices  int64      // messages to watches so far, of those that are still known
	StandsAt *time.Time // since when a watch stands that is not doubted
	Watches  []domain.Watch
	PolledAt *time.Time // when the newest reading ended that began since the time
	Polls    int        // such readings
	LastSync *time.Time
	Down     bool // by its health
}

// mostPosted bounds how far webhooks are counted.
const mostPosted = 100

// PushEvidence reads it, for what was since a time.
func (tx *Tx) PushEvidence(ctx context.Context, id domain.IntegrationID, since time.Time) (e PushEvidence, err error) {
	var delivery, sync, notice *time.Time
	err = tx.QueryRow(ctx, `SELECT i.last_delivery_at, i.last_sync_at,
			(SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE integration_id = $2 AND state <> 'received' AND id >= $4 AND received_at >= $3
				AND state <> 'retrying' AND origin_id IS NULL LIMIT $5) d),
			(SELECT max(ended_at) FROM sync_runs s WHERE s.org_id = $1 AND s.integration_id = $2 AND s.id >= $4 AND s.state = 'done' AND s.started_at >= $3),
			(SELECT count(*) FROM sync_runs s WHERE s.org_id = $1 AND s.integration_id = $2 AND s.id >= $4 AND s.state = 'done' AND s.started_at >= $3),
			coalesce((SELECT h.state = 'down' FROM integration_health h WHERE h.org_id = $1 AND h.integration_id = $2), false)
		FROM integrations i WHERE i.org_id = $1 AND i.id = $2`, tx.Org, id, since, idFrom(since), mostPosted).
		Scan(&delivery, &sync, &e.Posted, &e.PolledAt, &e.Polls, &e.Down)
	if err != nil {
		return e, missing("integration", "read what is posted", err)
	}
	err = tx.QueryRow(ctx, `SELECT coalesce(sum(notices), 0)::bigint, max(last_notice_at), max(made_at) FILTER (WHERE state = 'active' AND NOT doubted)
		FROM watches WHERE org_id = $1 AND integration_id = $2`, tx.Org, id).Scan(&e.Notices, &notice, &e.StandsAt)
	if err != nil {
		return e, fault("read messages to watches", err)
	}
	e.LastPush, e.LastSync, e.StandsAt, e.PolledAt = utc(newer(delivery, notice)), utc(sync), utc(e.StandsAt), utc(e.PolledAt)
	rows, err := tx.Query(ctx, "SELECT "+watchColumns+" FROM watches w WHERE org_id = $1 AND integration_id = $2 AND state IN ('pending', 'active')", tx.Org, id)
	e.Watches, err = collect(rows, err, func(row pgx.Row) (domain.Watch, error) { return scanWatch(row) })
	return e, fault("read watches", err)
}

func newer(a, b *time.Time) *time.Time {
	if a == nil || b != nil && b.After(*a) {
		return b
	}
	return a
}

// idFrom is what sorts before every identifier made at a time or later, by a clock that is at most a minute behind ours.
func idFrom(t time.Time) rowID {
	return domain.NewIDFrom[rowID](t.Add(-time.Minute), func(b []byte) { clear(b) })
}

// DoubtWatches has every address that a system posts to made anew, at once. It reports how many there were.
func (tx *Tx) DoubtWatches(ctx context.Context, id domain.IntegrationID) (int, error) {
	tag, err := tx.Exec(ctx, `UPDATE watches SET doubted = state = 'active', renew_after = $3 WHERE org_id = $1 AND integration_id = $2 AND state IN ('active', 'pending')`,
		tx.Org, id, tx.Now)
	return int(tag.RowsAffected()), fault("doubt watches", err)
}

// PlatformFailovers counts the connections of a platform that run and failed over, and all of it that run, of all tenants together.
// One that was paused or deleted meanwhile keeps its mode and takes nobody's place.
func (s *Store) PlatformFailovers(ctx context.Context, provider string) (over, total int, err error) {
	err = s.system.QueryRow(ctx, `SELECT (SELECT count(*) FROM failovers f JOIN integrations i ON i.org_id = f.org_id AND i.id = f.integration_id
			WHERE f.provider = $1 AND f.mode <> 'usual' AND i.state = 'active'),
		(SELECT count(*) FROM integrations WHERE provider = $1 AND state = 'active')`, provider).Scan(&over, &total)
	return over, total, fault("count failovers of a platform", err)
}
