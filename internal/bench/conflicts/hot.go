package conflicts

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/vault"
)

// hotBatch is how many changes one transaction applies, as many as a worker takes of a connection's deliveries at once.
const hotBatch = 100

// hot lets many writers apply to one resource, so that all queue for its lock.
func (b *bed) hot(ctx context.Context, url string, ring *vault.Keyring, r *Result) error {
	db, err := store.Open(ctx, url, ring, store.Options{AppName: "bench hot", MaxConns: b.o.Writers + 2, SystemMaxConns: 2})
	if err != nil {
		return err
	}
	defer db.Close()
	before, err := b.deadlocks(ctx)
	if err != nil {
		return err
	}
	var (
		next, applied atomic.Int64
		writers       sync.WaitGroup
		faults        = make([]error, b.o.Writers)
		began         = time.Now()
		end           = began.Add(b.o.HotFor)
	)
	for w := range b.o.Writers {
		writers.Go(func() {
			for time.Now().Before(end) && faults[w] == nil {
				batch := make([]domain.Change, hotBatch)
				for i := range batch {
					batch[i] = b.hotChange(int(next.Add(1) - 1))
				}
				faults[w] = b.hotApply(ctx, db, batch)
				if faults[w] == nil {
					applied.Add(hotBatch)
				}
			}
		})
	}
	writers.Wait()
	took := time.Since(began)
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("apply to one resource: %w", err)
	}
	// The server adds up its figures a second after a connection falls idle.
	rest := time.NewTimer(2 * time.Second)
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := b.deadlocks(ctx)
	if err != nil {
		return err
	}
	r.HotPerSecond, r.Deadlocks = float64(applied.Load())/took.Seconds(), after-before
	b.o.Say(fmt.Sprintf("one resource, %d writers, batches of %d: %.0f applied a second, %d deadlocks", b.o.Writers, hotBatch, r.HotPerSecond, r.Deadlocks))
	return nil
}

// hotApply tries again when it had to wait for the lock for too long, as activities do.
func (b *bed) hotApply(ctx context.Context, db *store.Store, batch []domain.Change) (err error) {
	for range 5 {
		err = db.Tenant(ctx, b.org, func(ctx context.Context, tx *store.Tx) error {
			result, err := apply.Changes(ctx, tx, b.from[0], batch)
			for _, o := range result.Outcomes {
				if err == nil && !o.Effect.Changes() {
					err = fmt.Errorf("change had the effect %s: %s", o.Effect, o.Reason)
				}
			}
			return err
		})
		if domain.KindOf(err) != domain.KindUnavailable {
			return err
		}
	}
	return err
}

// hotChange is the n-th new booking of the resource, on a quarter hour of its own.
func (b *bed) hotChange(n int) domain.Change {
	const quarters = 32 // of a day, from 15:00 on
	hour := 15 + float64(n/b.perLoaded%quarters)/4
	date := n%b.perLoaded + n/(quarters*b.perLoaded)*b.perLoaded
	start, end := day(date, hour), day(date, hour+0.25)
	return domain.Change{Op: domain.OpUpsert, ExternalID: fmt.Sprintf("hot-%d", n), Category: domain.CategoryConsultation, Status: domain.StatusConfirmed,
		Details: domain.Details{Title: fmt.Sprint("Visit ", n), Contact: "a couple"}, When: domain.When{Span: domain.Span{Start: start, End: end}, Zone: "UTC", Kind: domain.TimeZoned}}
}

func (b *bed) deadlocks(ctx context.Context) (n int64, err error) {
	err = b.owner.QueryRow(ctx, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count deadlocks: %w", err)
	}
	return n, nil
}
