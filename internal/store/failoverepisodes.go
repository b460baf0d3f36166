package store

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const episodeColumns = `id, integration_id, provider, kind, cause, reason, started_by, good_until, began_at, polling_at, ended_at, polls, caught_up`

func scanEpisode(row pgx.Row) (e domain.FailoverEpisode, err error) {
	err = row.Scan(&e.ID, &e.IntegrationID, &e.Provider, &e.Kind, &e.Cause, &e.Reason, &e.By, &e.GoodUntil, &e.BeganAt, &e.PollingAt, &e.EndedAt, &e.Polls, &e.CaughtUp)
	e.GoodUntil, e.BeganAt, e.PollingAt, e.EndedAt = utc(e.GoodUntil), e.BeganAt.UTC(), utc(e.PollingAt), utc(e.EndedAt)
	return e, err
}

// BeginEpisode stores an episode.
func (tx *Tx) BeginEpisode(ctx context.Context, e domain.FailoverEpisode) error {
	if _, err := domain.ParseID[domain.EpisodeID]("id", string(e.ID)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO failover_episodes (id, org_id, integration_id, provider, kind, cause, reason, started_by, good_until, began_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, e.ID, tx.Org, e.IntegrationID, e.Provider, e.Kind, string(e.Cause), clip(e.Reason, maxReason), clip(e.By, 200),
		e.GoodUntil, e.BeganAt)
	return fault("begin episode", err)
}

// EpisodePolling notes that the first poll of an episode has worked; the first note stands.
func (tx *Tx) EpisodePolling(ctx context.Context, id domain.EpisodeID) error {
	_, err := tx.Exec(ctx, "UPDATE failover_episodes SET polling_at = coalesce(polling_at, $3) WHERE org_id = $1 AND id = $2", tx.Org, id, tx.Now)
	return fault("note the first poll", err)
}

// EndEpisode ends an episode and returns it; one that ended before stays as it is.
func (tx *Tx) EndEpisode(ctx context.Context, id domain.EpisodeID) (domain.FailoverEpisode, error) {
	e, err := scanEpisode(tx.QueryRow(ctx, `UPDATE failover_episodes SET ended_at = coalesce(ended_at, $3) WHERE org_id = $1 AND id = $2 RETURNING `+episodeColumns,
		tx.Org, id, tx.Now))
	return e, missing("episode", "end episode", err)
}

// Episodes lists those of an integration, or of all for "", newest first.
func (tx *Tx) Episodes(ctx context.Context, integration domain.IntegrationID, p Page) ([]domain.FailoverEpisode, string, error) {
	q := newQuery("SELECT " + episodeColumns + " FROM failover_episodes")
	q.where("org_id = %s", tx.Org)
	if integration != "" {
		q.where("integration_id = %s", integration)
	}
	return newestFirst(ctx, tx, "episodes", q, p, scanEpisode, func(e domain.FailoverEpisode) string { return string(e.ID) })
}

// WantCatchUp has a connection read at once after an outage, from where the last complete reading stopped, and notes the episode.
// One whose episode is still open is read once more for both.
func (tx *Tx) WantCatchUp(ctx context.Context, id domain.IntegrationID, cause domain.FailoverCause, reason string, began time.Time) error {
	if err := tx.makeFailover(ctx, id); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO failover_episodes (id, org_id, integration_id, provider, kind, cause, reason, started_by, good_until, began_at)
		SELECT $3, org_id, id, provider, 'outage', $4, $5, 'system:monitor', last_sync_at, $6 FROM integrations i WHERE org_id = $1 AND id = $2
			AND NOT EXISTS (SELECT 1 FROM failover_episodes e WHERE e.org_id = $1 AND e.integration_id = $2 AND e.ended_at IS NULL AND e.kind = 'outage')`,
		tx.Org, id, domain.NewID[domain.EpisodeID](tx.Now), string(cause), clip(reason, maxReason), began)
	if err != nil {
		return fault("begin catching up", err)
	}
	return tx.WantPullOf(ctx, id)
}

// WantPullOf notes that a connection is to be read soon, and tells its workflow.
func (tx *Tx) WantPullOf(ctx context.Context, id domain.IntegrationID) error {
	if err := tx.makeFailover(ctx, id); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE failovers SET pull_wanted_at = coalesce(pull_wanted_at, $3) WHERE org_id = $1 AND integration_id = $2", tx.Org, id, tx.Now); err != nil {
		return fault("want pull", err)
	}
	return tx.Enqueue(ctx, OutboxIntegrationChanged, string(id), "", tx.Now)
}

// NotePolled adds a reading that came to its end to the open episodes of its connection, and ends the outages that it caught up:
// those that were noted before it began. Call it in the transaction that ends the run.
func (tx *Tx) NotePolled(ctx context.Context, run domain.SyncRun) error {
	rows, err := tx.Query(ctx, `UPDATE failover_episodes SET polls = polls + 1, caught_up = caught_up + $4,
			ended_at = CASE WHEN kind = 'outage' AND id < $5 THEN $3 ELSE ended_at END
		WHERE org_id = $1 AND integration_id = $2 AND ended_at IS NULL AND began_at <= $6 RETURNING `+episodeColumns,
		tx.Org, run.IntegrationID, tx.Now, run.Applied+run.Removed, idAt(run.StartedAt), run.StartedAt)
	open, err := collect(rows, err, scanEpisode)
	if err != nil {
		return fault("note a reading", err)
	}
	for _, e := range open {
		if e.EndedAt == nil {
			continue
		}
		if err := tx.TellEpisode(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// idAt is what sorts behind every identifier made before a time.
func idAt(t time.Time) rowID {
	return domain.NewIDFrom[rowID](t.Add(time.Millisecond), func(b []byte) { clear(b) })
}

// TellEpisode tells the live stream and the audit trail what an episode that ended brought.
func (tx *Tx) TellEpisode(ctx context.Context, e domain.FailoverEpisode) error {
	n := strconv.FormatInt(e.CaughtUp, 10)
	if err := tx.Emit(ctx, domain.TopicCaughtUp, map[string]string{"integration": string(e.IntegrationID), "episode": string(e.ID), "kind": e.Kind, "changes": n}); err != nil {
		return err
	}
	return tx.Audit(ctx, domain.AuditEntry{Actor: "system:failover", Action: "integration.caught_up", Reason: n + " changes caught up", Subject: "integration/" + string(e.IntegrationID),
		After: map[string]string{"episode": string(e.ID), "kind": e.Kind, "polls": strconv.Itoa(e.Polls), "changes": n}})
}
