package broadcast

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// AnnouncerOptions tune an Announcer. The zero value of every field takes its default.
type AnnouncerOptions struct {
	Every  time.Duration // between two announcements; 250 ms
	Max    int           // ids that wait for the next one; more are not announced; 100,000
	Logger *slog.Logger
}

// Announcer tells the live streams of webhooks that were stored. Use it from any number of goroutines.
type Announcer struct {
	write func(ctx context.Context, all []store.Accepted) error
	o     AnnouncerOptions
	lost  atomic.Uint64

	mu      sync.Mutex
	waiting map[source][]domain.DeliveryID
	n       int
}

type source struct {
	org         domain.OrgID
	integration domain.IntegrationID
}

// NewAnnouncer makes an Announcer that stores events with write, such as store.Store.AnnounceAccepted.
func NewAnnouncer(write func(ctx context.Context, all []store.Accepted) error, o AnnouncerOptions) *Announcer {
	if o.Every <= 0 {
		o.Every = 250 * time.Millisecond
	}
	if o.Max <= 0 {
		o.Max = 100_000
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Announcer{write: write, o: o, waiting: map[source][]domain.DeliveryID{}}
}

// Accepted notes a webhook that was stored. It never blocks.
func (a *Announcer) Accepted(org domain.OrgID, integration domain.IntegrationID, id domain.DeliveryID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n >= a.o.Max {
		a.lost.Add(1)
		return
	}
	a.n++
	key := source{org, integration}
	a.waiting[key] = append(a.waiting[key], id)
}

// Lost is how many webhooks were stored and not announced.
func (a *Announcer) Lost() uint64 { return a.lost.Load() }

// Run announces until ctx ends, and once more after that.
func (a *Announcer) Run(ctx context.Context) error {
	tick := time.NewTicker(a.o.Every)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			if err := a.flush(end); err != nil {
				a.o.Logger.Warn("the last accepted webhooks were not announced", "error", err)
			}
			return nil
		case <-tick.C:
		}
		err := a.flush(ctx)
		if (err != nil) != failing && ctx.Err() == nil {
			if failing = err != nil; failing {
				a.o.Logger.Warn("accepted webhooks cannot be announced; trying again", "error", err)
			}
		}
	}
}

// flush writes what waits, and keeps it when that does not work.
func (a *Announcer) flush(ctx context.Context) error {
	a.mu.Lock()
	taken, n := a.waiting, a.n
	a.waiting, a.n = map[source][]domain.DeliveryID{}, 0
	a.mu.Unlock()
	if n == 0 {
		return nil
	}
	all := make([]store.Accepted, 0, len(taken))
	for key, ids := range taken {
		all = append(all, store.Accepted{Org: key.org, Integration: key.integration, IDs: ids})
	}
	err := a.write(ctx, all)
	if err == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n+n > a.o.Max {
		a.lost.Add(uint64(n))
		return err
	}
	a.n += n
	for key, ids := range taken {
		a.waiting[key] = append(ids, a.waiting[key]...)
	}
	return err
}
