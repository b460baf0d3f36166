package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// The history of a delivery keeps its first tries, which show how it began to go wrong, and its last ones.
const (
	firstAttempts = 3
	lastAttempts  = 20
	maxWorker     = 200
)

// historyParts write the history in the statement that finishes deliveries, so that an outcome and its line are one. What
// was finished before is not in done and gets no line.
const historyParts = `
		tried AS (
			INSERT INTO delivery_attempts (org_id, delivery_id, n, at, outcome, reason, duration_ms, worker)
			SELECT $1, done.id, done.attempts, $6, done.state, done.reason, t.millis, t.worker
			FROM done JOIN unnest($2::uuid[], $9::int[], $10::text[]) t(id, millis, worker) ON t.id = done.id AND t.millis IS NOT NULL
			ON CONFLICT DO NOTHING),
		thinned AS (
			DELETE FROM delivery_attempts a USING done
			WHERE a.org_id = $1 AND a.delivery_id = done.id AND a.n > 3 AND a.n <= done.attempts - 20),`

func (t *DeliveryTry) millis() *int32 {
	if t == nil {
		return nil
	}
	n := int32(min(max(t.Took.Milliseconds(), 0), time.Hour.Milliseconds()))
	return &n
}

func (t *DeliveryTry) worker() string {
	if t == nil {
		return ""
	}
	return clip(t.Worker, maxWorker)
}

// DeliveryAttempts returns the history of a delivery, oldest first: at most its first 3 and its last 20 tries. A delivery
// that was applied on its first try has no line in storage and is told from its row.
func (tx *Tx) DeliveryAttempts(ctx context.Context, d domain.Delivery) ([]domain.DeliveryAttempt, error) {
	rows, err := tx.Query(ctx, `SELECT n, at, outcome, reason, duration_ms, worker FROM delivery_attempts
		WHERE org_id = $1 AND delivery_id = $2 ORDER BY n LIMIT $3`, tx.Org, d.ID, firstAttempts+lastAttempts)
	out, err := collect(rows, err, func(row pgx.Row) (a domain.DeliveryAttempt, err error) {
		err = row.Scan(&a.N, &a.At, &a.Outcome, &a.Reason, &a.DurationMS, &a.Worker)
		a.At = a.At.UTC()
		return a, err
	})
	if err != nil {
		return nil, fault("read attempts", err)
	}
	if len(out) == 0 && d.Attempts == 1 && d.AppliedAt != nil {
		out = append(out, domain.DeliveryAttempt{N: 1, At: *d.AppliedAt, Outcome: d.State, Reason: d.Reason})
	}
	return out, nil
}
