package outbound

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/ratelimit"
	"github.com/wedsync/wedsync/internal/store"
)

const (
	// slotsFor is how long slots are leased. A call ends before: it began while at least slotsSpare was left, which is more than
	// one exchange may take.
	slotsFor, slotsSpare = 45 * time.Second, 35 * time.Second
	// slotsAsk is how often slots are asked for while calls wait, slotsKeep while calls are under way, so that others get their part,
	// and slotsRest how long they are kept when nobody calls.
	slotsAsk, slotsKeep, slotsRest = 100 * time.Millisecond, time.Second, time.Second
)

// pool is what this process has of the calls that may be under way at the same time. It exists while somebody calls.
type pool struct {
	most    int
	held    int       // slots that are leased
	using   int       // of them
	until   time.Time // no call begins with them after
	waiting ratelimit.Turns[domain.IntegrationID, *waiter]
	alive   int // of them, those that have not given up
	wake    chan struct{}
}

// slot waits for the right to have one more call under way. leave must be called once.
func (d *Discipline) slot(ctx context.Context, key ratelimit.Key, most int, member domain.IntegrationID) (leave func(), err error) {
	d.slots.Lock()
	p := d.slots.byKey[key]
	if p == nil {
		p = &pool{most: most, wake: make(chan struct{}, 1)}
		d.slots.byKey[key] = p
		go d.lease(key, p) // it ends soon after those who call
	}
	p.most = most
	leave = func() {
		d.slots.Lock()
		defer d.slots.Unlock()
		p.using--
		p.hand(d.o.Now())
		p.rouse()
	}
	if p.alive == 0 && p.begin(d.o.Now()) {
		d.slots.Unlock()
		return leave, nil
	}
	w := &waiter{let: make(chan struct{})}
	p.waiting.Push(member, w)
	p.alive++
	p.rouse()
	d.slots.Unlock()

	patience := d.patience(ctx)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.let:
		return leave, nil
	case <-ctx.Done():
	case <-timer.C:
	}
	d.slots.Lock()
	defer d.slots.Unlock()
	select {
	case <-w.let: // both happened
		return leave, nil
	default:
	}
	w.gone = true
	p.alive--
	if err := ctx.Err(); err != nil {
		return nil, domain.E(domain.KindUnavailable, "wait for other calls: %w: %w", ErrHeld, err)
	}
	return nil, held(domain.KindRateLimited, patience, "as many calls as this system allows are under way")
}

// begin takes a slot if one is free. It runs under the lock, as hand and rouse do.
func (p *pool) begin(now time.Time) bool {
	if p.using >= min(p.held, p.most) || !now.Before(p.until) {
		return false
	}
	p.using++
	return true
}

// hand gives free slots to those who wait, in turns by integration.
func (p *pool) hand(now time.Time) {
	for p.alive > 0 && p.begin(now) {
		for {
			w, _ := p.waiting.Pop()
			if !w.gone {
				close(w.let)
				p.alive--
				break
			}
		}
	}
}

func (p *pool) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// lease keeps slots leased for as long as they are needed, and gives them back.
func (d *Discipline) lease(key ratelimit.Key, p *pool) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var asked, idle time.Time
	for over := false; ; {
		select {
		case <-d.life.Done():
			return // what is leased ends by itself
		case <-timer.C:
		case <-p.wake:
		}
		now := time.Now() // of this goroutine's own pauses; what is decided goes by Options.Now
		d.slots.Lock()
		want, had := min(p.using+p.alive, p.most), p.held
		d.slots.Unlock()
		pause := slotsKeep
		switch since := now.Sub(asked); {
		case want == 0 && idle.IsZero():
			idle, pause = now, slotsRest
		case want == 0 && now.Sub(idle) < slotsRest:
			pause = slotsRest - now.Sub(idle)
		case want == 0:
			over = true
		default:
			idle = time.Time{}
			if since < slotsAsk {
				pause = slotsAsk - since
			} else if want > had || since >= slotsKeep {
				asked, pause = now, d.ask(key, p)
			}
		}
		if over {
			d.slots.Lock()
			if over = p.using+p.alive == 0; over {
				delete(d.slots.byKey, key)
			}
			d.slots.Unlock()
		}
		if over {
			d.give(key)
			return
		}
		timer.Reset(pause)
	}
}

// ask leases slots and hands them out. It returns when to ask again.
func (d *Discipline) ask(key ratelimit.Key, p *pool) time.Duration {
	d.slots.Lock()
	want, using, most := min(p.using+p.alive, p.most), p.using, p.most
	p.held = using // nothing begins before the answer, which may be that others need some
	d.slots.Unlock()
	granted, at := want, d.o.Now()
	if d.o.Store != nil {
		ctx, cancel := context.WithTimeout(d.life, storeWithin)
		var err error
		granted, err = d.o.Store.LeaseSlots(ctx, store.SlotsAsk{Key: key, Holder: d.self, Want: want, Using: using, Most: most, For: slotsFor}, time.Time{})
		cancel()
		if err != nil && d.life.Err() == nil {
			d.unleased(err)
			granted = min(want, max(1, most/2))
		}
	}
	d.slots.Lock()
	defer d.slots.Unlock()
	p.held, p.until = granted, at.Add(slotsFor-slotsSpare)
	p.hand(at)
	if p.alive > 0 {
		return slotsAsk
	}
	return slotsKeep
}

// give tells others that this process needs no slots any more.
func (d *Discipline) give(key ratelimit.Key) {
	if d.o.Store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(d.life, storeWithin)
	defer cancel()
	if err := d.o.Store.ReturnSlots(ctx, key, d.self); err != nil && d.life.Err() == nil {
		d.unleased(err) // the lease ends by itself
	}
}
