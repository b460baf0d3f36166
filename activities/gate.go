package activities

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Gate bounds how many batches of deliveries a worker process applies at once, in all and for one organisation while
// others have work too. Temporal's slots know no organisations: without it one with many busy connections would hold all
// of them, and the database beside. Who waits is let in by order of coming, past those whose organisation has its share.
//
// A nil Gate lets everybody in. Use one from any number of goroutines.
type Gate struct {
	all, each int
	now       func() time.Time

	mu      sync.Mutex
	inside  int
	busy    map[domain.OrgID]int
	waiting list.List // of *entrant
	// The organisation that came last, and when another one did: as long as that is recent, each has its share only.
	last  domain.OrgID
	mixed time.Time
}

type entrant struct {
	org domain.OrgID
	let chan struct{}
}

// aloneAfter is how long no other organisation must have come for one to have everything.
const aloneAfter = time.Second

// NewGate lets in up to all batches at once, and a sixth of that, at least one, of an organisation that is not alone.
func NewGate(all int) *Gate {
	return &Gate{all: max(all, 1), each: max(all/6, 1), now: time.Now, busy: make(map[domain.OrgID]int)}
}

// enterWithin bounds the wait for room, so that it takes little of the time that a step has.
const enterWithin = 3 * time.Second

// Enter waits for room, at most three seconds. leave must be called once at the end of the batch. Errors are
// KindUnavailable: no room in time, or ctx ended.
func (g *Gate) Enter(ctx context.Context, org domain.OrgID) (leave func(), err error) {
	if g == nil {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, enterWithin)
	defer cancel()
	g.mu.Lock()
	if g.last != org {
		if g.last != "" {
			g.mixed = g.now()
		}
		g.last = org
	}
	e := &entrant{org: org, let: make(chan struct{})}
	place := g.waiting.PushBack(e)
	g.admit()
	g.mu.Unlock()
	select {
	case <-e.let:
		return func() { g.leave(org) }, nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-e.let: // both happened: the room goes to the next one
		g.out(org)
	default:
		g.waiting.Remove(place)
	}
	return nil, domain.E(domain.KindUnavailable, "wait for a turn to apply: %w", ctx.Err())
}

func (g *Gate) leave(org domain.OrgID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.out(org)
}

func (g *Gate) out(org domain.OrgID) {
	g.inside--
	if g.busy[org]--; g.busy[org] == 0 {
		delete(g.busy, org)
	}
	g.admit()
}

// admit lets in whoever may come in. The list is as long as the worker has slots, so it is short.
func (g *Gate) admit() {
	each := g.each
	if g.now().Sub(g.mixed) >= aloneAfter {
		each = g.all
	}
	for at := g.waiting.Front(); at != nil && g.inside < g.all; {
		next := at.Next()
		if e := at.Value.(*entrant); g.busy[e.org] < each {
			g.waiting.Remove(at)
			g.inside++
			g.busy[e.org]++
			close(e.let)
		}
		at = next
	}
}
