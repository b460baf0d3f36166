package outbound

import (
	"context"
	"math"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/ratelimit"
	"github.com/wedsync/wedsync/internal/store"
)

// shape is how fast: all keys with the same are leased together.
type shape struct {
	perSecond float64
	burst     int
}

// place is one limit of one thing.
type place struct {
	shape shape
	key   ratelimit.Key
}

const (
	// leased is the part of a limit that is counted in Postgres, and freely the part of it that every process gives without asking:
	// with up to ten processes the limit holds.
	leased, freely = 0.9, 0.01
	// maxShapes bounds how many different limits are told apart exactly; settings of integrations choose them.
	maxShapes = 256
	// pumpEvery is how often tokens are looked for while somebody waits.
	pumpEvery = 25 * time.Millisecond
)

// shapeOf rounds a limit down to a power of two when too many different ones are in use.
func (d *Discipline) shapeOf(l provider.Limit) shape {
	s := shape{l.PerSecond, max(l.Burst, 1)}
	d.limits.Lock()
	defer d.limits.Unlock()
	if _, known := d.limits.shared[s]; known || len(d.limits.shared) < maxShapes {
		d.sharedOf(s)
		return s
	}
	s = shape{math.Pow(2, math.Floor(math.Log2(s.perSecond))), 1 << int(math.Log2(float64(s.burst)))}
	d.sharedOf(s)
	return s
}

// sharedOf returns the counter of a shape. It runs under the lock.
func (d *Discipline) sharedOf(s shape) *ratelimit.Shared {
	if had := d.limits.shared[s]; had != nil {
		return had
	}
	whole := store.AllowanceLimit{Rate: s.perSecond * leased, Burst: max(1, int(math.Round(float64(s.burst)*leased)))}
	made := ratelimit.NewShared(ratelimit.SharedOptions{Rate: whole.Rate, Burst: whole.Burst, Lease: d.leaseOf(whole), Free: freely,
		Credit: max(1, s.burst/25), Ahead: 200 * time.Millisecond, Spare: true})
	d.limits.shared[s] = made
	d.tasks.Go(func() { made.Run(d.life, d.o.Now, d.unleased) })
	return made
}

// leaseOf takes tokens from Postgres or, for a process that is alone, from itself.
func (d *Discipline) leaseOf(whole store.AllowanceLimit) func(context.Context, []ratelimit.Ask) ([]int, error) {
	if d.o.Store == nil {
		own := ratelimit.New[ratelimit.Key](ratelimit.Options{Rate: whole.Rate, Burst: whole.Burst})
		return func(_ context.Context, asks []ratelimit.Ask) ([]int, error) {
			now := d.o.Now()
			got := make([]int, len(asks))
			for i, a := range asks {
				own.Charge(a.Key, a.Used, now)
				if n := min(a.Want, own.Peek(a.Key, now).Remaining); n > 0 && own.Allow(a.Key, n, now).OK {
					got[i] = n
				}
			}
			return got, nil
		}
	}
	return func(ctx context.Context, asks []ratelimit.Ask) ([]int, error) {
		own := make([]store.OutboundAsk, len(asks))
		for i, a := range asks {
			own[i] = store.OutboundAsk{Key: a.Key, Want: a.Want, Used: a.Used}
		}
		d.meter.leases.Inc()
		return d.o.Store.LeaseOutbound(ctx, whole, own, time.Time{})
	}
}

func (d *Discipline) unleased(err error) {
	d.meter.unleased.Inc()
	d.says.Do(func() {
		d.o.Log.Warn("limits of outside systems cannot be shared; this process gives half of each by itself", "error", err)
	})
}

// turnstile is where calls wait for tokens of one limit. It exists while somebody waits.
type turnstile struct {
	queue ratelimit.Turns[domain.IntegrationID, *waiter]
	alive int // waiters that have not given up
}

type waiter struct {
	let  chan struct{}
	gone bool
}

// turn takes a token, in turns by integration.
func (d *Discipline) turn(ctx context.Context, s shape, key ratelimit.Key, member domain.IntegrationID) error {
	at := place{s, key}
	d.limits.Lock()
	shared := d.sharedOf(s)
	t := d.limits.turns[at]
	if t == nil {
		if shared.Allow(key, 1, d.o.Now()).OK {
			d.limits.Unlock()
			return nil
		}
		t = &turnstile{}
		d.limits.turns[at] = t
		go d.pump(at, t, shared) // it ends with those who wait
	}
	patience := d.patience(ctx)
	if wait := time.Duration(float64(t.queue.Before(member)) / s.perSecond * float64(time.Second)); wait > patience {
		d.limits.Unlock()
		return held(domain.KindRateLimited, wait, "the rate for this system is used up")
	}
	w := &waiter{let: make(chan struct{})}
	t.queue.Push(member, w)
	t.alive++
	d.limits.Unlock()

	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.let:
		return nil
	case <-ctx.Done():
	case <-timer.C:
	}
	d.limits.Lock()
	defer d.limits.Unlock()
	select {
	case <-w.let: // both happened
		return nil
	default:
	}
	w.gone = true
	t.alive--
	if err := ctx.Err(); err != nil {
		return domain.E(domain.KindUnavailable, "wait for a turn: %w: %w", ErrHeld, err)
	}
	// Of a rate that is slower than one token in MaxTurn the next one is further off.
	return held(domain.KindRateLimited, max(patience, time.Duration(float64(time.Second)/s.perSecond)), "the rate for this system is used up")
}

// patienceKey is that of a context's value.
type patienceKey struct{}

// WithPatience makes calls under ctx wait for their turn for d at most, where that is shorter than Options.MaxTurn; 0 waits not
// at all. It is for callers who hold something that others need, such as a transaction.
func WithPatience(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, patienceKey{}, d)
}

func (d *Discipline) patience(ctx context.Context) time.Duration {
	if p, ok := ctx.Value(patienceKey{}).(time.Duration); ok {
		return min(p, d.o.MaxTurn)
	}
	return d.o.MaxTurn
}

// pump hands tokens to those who wait, until nobody does.
func (d *Discipline) pump(at place, t *turnstile, shared *ratelimit.Shared) {
	timer := time.NewTimer(pumpEvery)
	defer timer.Stop()
	for {
		d.limits.Lock()
		for t.alive > 0 && shared.Allow(at.key, 1, d.o.Now()).OK {
			for {
				w, _ := t.queue.Pop()
				if !w.gone {
					close(w.let)
					t.alive--
					break
				}
			}
		}
		over := t.alive == 0
		if over {
			delete(d.limits.turns, at)
		}
		d.limits.Unlock()
		if over {
			return
		}
		timer.Reset(pumpEvery)
		select {
		case <-timer.C:
		case <-d.life.Done():
			// Who waits is let through after MaxTurn at the latest; the process ends.
			d.limits.Lock()
			delete(d.limits.turns, at)
			d.limits.Unlock()
			return
		}
	}
}
