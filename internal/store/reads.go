package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Reads are several look-ups made in one round trip, in the order in which they were queued; each sees what was
// committed before it began. Out parameters are filled by Do.
type Reads struct {
	tx    *Tx
	b     pgx.Batch
	after []func()
}

// Reads begins a set of look-ups.
func (tx *Tx) Reads() *Reads { return &Reads{tx: tx} }

// Do makes the look-ups. Nothing queued is no round trip.
func (r *Reads) Do(ctx context.Context) error {
	if r.b.Len() > 0 {
		if err := r.tx.SendBatch(ctx, &r.b).Close(); err != nil {
			return fault("read", err)
		}
	}
	for _, fn := range r.after {
		fn()
	}
	return nil
}

// read queues a query whose rows are scanned into out.
func read[T any](r *Reads, doing string, out *[]T, sql string, scan func(pgx.Row) (T, error), args ...any) {
	r.b.Queue(sql, args...).Query(func(rows pgx.Rows) error {
		list, err := collect(rows, nil, scan)
		*out = list
		return fault(doing, err)
	})
}
