package store

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/tracing"
)

// OutboxKind says what is to be told to Temporal.
type OutboxKind string

// The kinds of outbox lines, with what Target and Ref name.
const (
	OutboxPush               OutboxKind = "push"                // integration; booking
	OutboxConflictStart      OutboxKind = "conflict_start"      // conflict
	OutboxConflictRecheck    OutboxKind = "conflict_recheck"    // conflict; booking
	OutboxIntegrationChanged OutboxKind = "integration_changed" // integration
	OutboxDelivery           OutboxKind = "delivery"            // integration; delivery that waits for it
	OutboxDeliveries         OutboxKind = "deliveries"          // integration: deliveries wait that intake did not tell of
	OutboxReplayStart        OutboxKind = "replay_start"        // replay
	OutboxTimeline           OutboxKind = "timeline"            // booking of a wedding whose timeline is to follow it
	OutboxHold               OutboxKind = "hold"                // booking of a hold that was made, changed or ended
)

// OutboxOnboarding says that the onboarding of an integration, which is the target, was begun, changed or cancelled.
const OutboxOnboarding OutboxKind = "onboarding"

// OutboxNotify says that people of an organisation, which is the target, may have to be told of something.
const OutboxNotify OutboxKind = "notify"

// ChannelOutbox is notified after a commit that put lines into the outbox, see [Store.Listen].
const ChannelOutbox = "wedsync_outbox"

// outboxLease is how long a claimed line stays with its claimer before another may take it.
const outboxLease = 30 * time.Second

// OutboxRow is one line to be told to Temporal. Telling it twice must do no harm: a claimer may die between telling and
// deleting.
type OutboxRow struct {
	ID        int64
	Org       domain.OrgID
	Kind      OutboxKind
	Target    string // id of an integration or a conflict
	Ref       string // id of a booking or a delivery, or ""
	DueAt     time.Time
	Attempts  int // claims so far, this one included
	CreatedAt time.Time
	Trace     domain.Trace // of the step that wrote it; zero when that was not traced
}

type outboxLine struct {
	kind   OutboxKind
	target rowID
	ref    rowID
	due    time.Time
	trace  domain.Trace
}

// Enqueue puts a line into the outbox, to be told at due or later. It is written with the rest of the transaction; equal
// lines of one transaction are written once. The trace that ctx holds goes with it.
func (tx *Tx) Enqueue(ctx context.Context, kind OutboxKind, target, ref string, due time.Time) error {
	if _, err := domain.ParseID[rowID]("target", target); err != nil {
		return err
	}
	if ref != "" {
		if _, err := domain.ParseID[rowID]("ref", ref); err != nil {
			return err
		}
	}
	line := outboxLine{kind, rowID(target), rowID(ref), due, tracing.Of(ctx)}
	if !slices.Contains(tx.outbox, line) {
		tx.outbox = append(tx.outbox, line)
	}
	return nil
}

func (tx *Tx) queueOutbox(b *pgx.Batch) {
	if len(tx.outbox) == 0 {
		return
	}
	b.Queue(`INSERT INTO outbox (org_id, kind, target_id, ref_id, due_at, created_at, trace)
		SELECT $1, kind, target, ref, due, $6, trace
		FROM unnest($2::text[], $3::uuid[], $4::uuid[], $5::timestamptz[], $7::bytea[]) v(kind, target, ref, due, trace)`,
		tx.Org, column(tx.outbox, func(l outboxLine) string { return string(l.kind) }),
		column(tx.outbox, func(l outboxLine) rowID { return l.target }),
		column(tx.outbox, func(l outboxLine) rowID { return l.ref }),
		column(tx.outbox, func(l outboxLine) time.Time { return l.due }), tx.Now,
		column(tx.outbox, func(l outboxLine) []byte { return l.trace.Bytes() }))
}

func scanOutbox(row pgx.Row) (r OutboxRow, err error) {
	var trace []byte
	err = row.Scan(&r.ID, &r.Org, &r.Kind, &r.Target, &r.Ref, &r.DueAt, &r.Attempts, &r.CreatedAt, &trace)
	r.Trace = domain.TraceFrom(trace)
	r.DueAt, r.CreatedAt = r.DueAt.UTC(), r.CreatedAt.UTC()
	return r, err
}

// ClaimOutbox takes up to limit due lines of all tenants, the longest due first. A claimed line is nobody else's for 30
// seconds; it comes back after that unless [Store.DeleteOutbox] removed it. Claimers never wait for each other.
func (s *Store) ClaimOutbox(ctx context.Context, limit int) ([]OutboxRow, error) {
	now := s.timestamp()
	rows, err := s.system.Query(ctx, `UPDATE outbox o SET due_at = $2, attempts = o.attempts + 1
		FROM (SELECT id, due_at FROM outbox WHERE due_at <= $1 ORDER BY due_at, id LIMIT $3 FOR UPDATE SKIP LOCKED) due
		WHERE o.id = due.id
		RETURNING o.id, o.org_id, o.kind, o.target_id, o.ref_id, due.due_at, o.attempts, o.created_at, o.trace`,
		now, now.Add(outboxLease), limit)
	out, err := collect(rows, err, scanOutbox)
	if err != nil {
		return nil, fault("claim outbox", err)
	}
	slices.SortFunc(out, func(a, b OutboxRow) int {
		if c := a.DueAt.Compare(b.DueAt); c != 0 {
			return c
		}
		return int(min(max(a.ID-b.ID, -1), 1))
	})
	return out, nil
}

// DeleteOutbox removes lines that were told. Unknown ids are no error.
func (s *Store) DeleteOutbox(ctx context.Context, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := s.system.Exec(ctx, "DELETE FROM outbox WHERE id = ANY($1)", arrayOf(ids))
	return fault("delete outbox", err)
}

// OutboxWaiting returns how many lines wait, counted up to 100,000, and how long the oldest has been due; for metrics.
func (s *Store) OutboxWaiting(ctx context.Context) (count int, oldest time.Duration, err error) {
	var due *time.Time
	err = s.system.QueryRow(ctx, `SELECT (SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT 100000) x),
		(SELECT min(due_at) FROM outbox)`).Scan(&count, &due)
	if err == nil && due != nil {
		oldest = max(0, s.timestamp().Sub(*due))
	}
	return count, oldest, fault("count outbox", err)
}
