package broadcast

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/store"
)

// Storage is what a Waker reads; store.Store, or a fake in tests.
type Storage interface {
	ActiveSubscriptions(ctx context.Context, after domain.SubscriptionID, limit int) ([]store.ServedSubscription, error)
	LaggingSubscriptions(ctx context.Context, after domain.SubscriptionID, limit int) ([]store.ServedSubscription, error)
	SkipSubscription(ctx context.Context, org domain.OrgID, id domain.SubscriptionID, from, to string) error
	StreamAfter(ctx context.Context, cursor string, org domain.OrgID, limit int) ([]domain.Event, string, error)
}

// Signals tells a subscription's workflow; flow.Client, or a fake in tests. Repeating a call does no harm.
type Signals interface {
	WakeSubscription(ctx context.Context, ref flow.SubscriptionRef, s contract.WakeSignal) error
}

// WakerOptions tune a Waker. The zero value of every field takes its default.
type WakerOptions struct {
	Spacing time.Duration // least time between two signals to one subscription; 1 s
	Reload  time.Duration // how often the list of subscriptions is read; 3 s
	Sweep   time.Duration // how often lost wakes are looked for; 30 s
	MaxRate float64       // signals a second to all; 50
	Logger  *slog.Logger
}

func (o *WakerOptions) defaults() {
	for _, d := range []struct {
		v    *time.Duration
		then time.Duration
	}{{&o.Spacing, time.Second}, {&o.Reload, 3 * time.Second}, {&o.Sweep, 30 * time.Second}} {
		if *d.v <= 0 {
			*d.v = d.then
		}
	}
	if o.MaxRate <= 0 {
		o.MaxRate = 50
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

const (
	page       = 500    // subscriptions and events of one read
	maxServed  = 50_000 // subscriptions that are remembered; the others are found by sweeps
	signalTime = 10 * time.Second
)

// Waker wakes the workflows of subscriptions. Make one with NewWaker, give its methods to a hub, and let Run run.
type Waker struct {
	db      Storage
	signals Signals
	o       WakerOptions
	rate    *rate.Limiter

	mu      sync.Mutex
	served  map[domain.OrgID][]store.ServedSubscription
	count   int
	stale   bool // somebody changed a subscription: read the list again
	pending map[flow.SubscriptionRef]contract.WakeSignal
	told    map[flow.SubscriptionRef]time.Time // of the last signal
	news    chan struct{}
}

// NewWaker makes a Waker.
func NewWaker(db Storage, signals Signals, o WakerOptions) *Waker {
	o.defaults()
	return &Waker{db: db, signals: signals, o: o, rate: rate.NewLimiter(rate.Limit(o.MaxRate), int(o.MaxRate)+1), stale: true,
		pending: map[flow.SubscriptionRef]contract.WakeSignal{}, told: map[flow.SubscriptionRef]time.Time{}, news: make(chan struct{}, 1)}
}

// Watching reports whether there is a subscription to watch events for.
func (w *Waker) Watching() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count > 0
}

// Watch notes the subscriptions that want one of the events. It does not block.
func (w *Waker) Watch(events []domain.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range events {
		if e.Topic == domain.TopicSubscriptionChanged {
			w.stale = true
			w.note(flow.SubscriptionRef{Org: e.OrgID, ID: domain.SubscriptionID(e.Refs["subscription"])}, contract.WakeSignal{Changed: true})
		}
		for _, s := range w.served[e.OrgID] {
			if s.Filter.Match(e) {
				w.note(flow.SubscriptionRef{Org: s.Org, ID: s.ID}, contract.WakeSignal{})
			}
		}
	}
}

// note needs mu.
func (w *Waker) note(ref flow.SubscriptionRef, s contract.WakeSignal) {
	s.Changed = s.Changed || w.pending[ref].Changed
	w.pending[ref] = s
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// Run wakes, reloads and sweeps until ctx ends. Faults are logged and tried again.
func (w *Waker) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	parts.Go(func() { w.signalLoop(ctx) })
	parts.Go(func() { w.every(ctx, w.o.Sweep, "sweep of subscriptions", w.sweep) })
	parts.Go(func() { w.reloadLoop(ctx) })
	parts.Wait()
	return nil
}

func (w *Waker) every(ctx context.Context, d time.Duration, what string, do func(context.Context) error) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			w.o.Logger.Warn(what+" did not work; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// reloadLoop keeps the list of subscriptions, at once after a change that the stream told of and now and then besides.
func (w *Waker) reloadLoop(ctx context.Context) {
	last := time.Time{}
	w.every(ctx, min(w.o.Reload, 200*time.Millisecond), "reading subscriptions", func(ctx context.Context) error {
		w.mu.Lock()
		due := w.stale || time.Since(last) >= w.o.Reload
		w.stale = false
		w.mu.Unlock()
		if !due {
			return nil
		}
		last = time.Now()
		return w.reload(ctx)
	})
}

func (w *Waker) reload(ctx context.Context) error {
	served, count, after := map[domain.OrgID][]store.ServedSubscription{}, 0, domain.SubscriptionID("")
	for count < maxServed {
		list, err := w.db.ActiveSubscriptions(ctx, after, page)
		if err != nil {
			return err
		}
		for _, s := range list {
			served[s.Org] = append(served[s.Org], s)
			after = s.ID
		}
		if count += len(list); len(list) < page {
			break
		}
	}
	w.mu.Lock()
	more := count > w.count
	w.served, w.count = served, count
	w.mu.Unlock()
	if more {
		// What happened before this one was known went by unwatched.
		return w.sweep(ctx)
	}
	return nil
}

// signalLoop sends what is noted, each subscription at most once per spacing.
func (w *Waker) signalLoop(ctx context.Context) {
	tick := time.NewTicker(w.o.Spacing / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.news:
		case <-tick.C:
		}
		for _, one := range w.due(time.Now()) {
			if w.rate.Wait(ctx) != nil {
				return
			}
			ask, cancel := context.WithTimeout(ctx, signalTime)
			err := w.signals.WakeSubscription(ask, one.ref, one.signal)
			cancel()
			if err == nil {
				continue
			}
			if ctx.Err() != nil {
				return
			}
			// Temporal is away. What is noted stays noted, and the others would fail as well.
			w.o.Logger.Warn("subscriptions cannot be woken; trying again", "error", err)
			w.mu.Lock()
			w.note(one.ref, one.signal)
			w.mu.Unlock()
			if !rest(ctx, w.o.Spacing) {
				return
			}
		}
	}
}

func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

type wake struct {
	ref    flow.SubscriptionRef
	signal contract.WakeSignal
}

// due takes what may be sent now.
func (w *Waker) due(now time.Time) []wake {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ref, at := range w.told {
		if now.Sub(at) >= w.o.Spacing {
			delete(w.told, ref)
		}
	}
	var out []wake
	for ref, signal := range w.pending {
		if _, lately := w.told[ref]; lately && !signal.Changed {
			continue
		}
		delete(w.pending, ref)
		w.told[ref] = now
		out = append(out, wake{ref, signal})
	}
	return out
}

// sweep looks at every subscription that is behind the stream, a page at a time.
func (w *Waker) sweep(ctx context.Context) error {
	for after := domain.SubscriptionID(""); ; {
		list, err := w.db.LaggingSubscriptions(ctx, after, page)
		if err != nil {
			return err
		}
		for _, s := range list {
			after = s.ID
			if err := w.look(ctx, s); err != nil {
				return err
			}
		}
		if len(list) < page {
			return nil
		}
	}
}

// look wakes s if one of the next events matches, and otherwise moves its position behind them.
func (w *Waker) look(ctx context.Context, s store.ServedSubscription) error {
	ref := flow.SubscriptionRef{Org: s.Org, ID: s.ID}
	wake := func(signal contract.WakeSignal) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.note(ref, signal)
		return nil
	}
	if s.Deleted {
		return wake(contract.WakeSignal{Changed: true})
	}
	events, next, err := w.db.StreamAfter(ctx, s.Cursor, s.Org, page)
	if domain.KindOf(err) == domain.KindGoneToken {
		return wake(contract.WakeSignal{}) // its workflow tells the receiver of the gap
	}
	if err != nil {
		return err
	}
	for _, e := range events {
		if s.Filter.Match(e) {
			return wake(contract.WakeSignal{})
		}
	}
	if next == s.Cursor {
		return nil
	}
	return w.db.SkipSubscription(ctx, s.Org, s.ID, s.Cursor, next)
}
