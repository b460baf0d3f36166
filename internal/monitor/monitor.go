// Package monitor asks connected systems whether they are well and decides by rules/health what that says about them.
//
//	p := monitor.New(monitor.Deps{Store: db, Open: open, Reconnect: reconnect, Log: log}, monitor.Options{})
//	beat, err := p.Run(ctx, shard, last, heartbeat, told) // one call per shard, until ctx ends
//
// A shard is a sixteenth of all connections (domain.ProbeShard). Each connection has its own moment within the interval, taken
// from its id, so the load is even; it keeps it over restarts. A failure counts only when a second try meets it too, or most
// connections of its platform meet it at the same time; then two of them in a row are enough to be down, where a single connection
// takes three. At most Options.InFlight probes are on their way in a process, as many as it takes and fewer when the process itself is starved:
// with an interval of 30 s and 5,000 connections, 25 are enough on a good day and about 1,700 while nobody answers. Each
// platform has a limiter of its own.
//
// What is promised: moves of health are stored when they are decided, within seconds of the result. Results are stored when
// something failed or takes longer than just before, at once, and every two minutes otherwise; a crash loses the good results since then, and no move. A
// result is counted once, however often it is sent. What fails while the prober itself is late, or while its own connection
// is in doubt, is unknown and never a failure of theirs. Connections that are paused, in maintenance or need a reconnect are
// not asked.
//
// The rules are tried in rules/health; this package is tried with a clock of its own (testing/synctest) and a store in
// memory, and over Postgres in package activities. make bench-monitor measures it.
package monitor

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/health"
	"github.com/wedsync/wedsync/internal/store"
)

// Store is what the prober needs of storage: store.Store.
type Store interface {
	ProbeTargets(ctx context.Context, shard int) ([]store.ProbeTarget, error)
	ProbeLooks(ctx context.Context, shard int) (map[domain.IntegrationID]store.ProbeLook, error)
	SaveProbes(ctx context.Context, batches []store.ProbeBatch) error
	MoveHealths(ctx context.Context, org domain.OrgID, moves []store.HealthMove) ([]domain.HealthChange, error)
}

// Deps is what a Prober needs.
type Deps struct {
	Store Store
	// Open returns the provider's value for a connection at its version. It is called for every probe, so it must remember.
	Open func(ctx context.Context, t store.ProbeTarget) (any, error)
	// Reconnect notes that a system does not accept our credentials any more. It may be called twice.
	Reconnect func(ctx context.Context, org domain.OrgID, id domain.IntegrationID) error
	// Observe is told of every result, for detectors that live in the process; nil = nobody. It must not block.
	Observe func(t store.ProbeTarget, r domain.ProbeResult)
	Log     *slog.Logger
}

// Options tune a Prober. The zero value of every field takes its default.
type Options struct {
	Every    time.Duration // between two probes of a connection that says nothing else; default 30 s
	Timeout  time.Duration // of one try; default 10 s
	Confirm  time.Duration // wait before the second try; default 1 s
	InFlight int           // most probes on their way in this process; default 2,000
	// Control asks something that works whenever our own connection does, such as a well-known address; nil = there is
	// nothing to ask, and only many platforms failing together put our connection in doubt.
	Control func(ctx context.Context) error
}

// Bounds of Every, in settings.
const (
	LeastEvery = 5 * time.Second
	MostEvery  = time.Hour
)

// Defaults returns o with its defaults filled in.
func (o Options) Defaults() Options {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&o.Every, 30 * time.Second}, {&o.Timeout, 10 * time.Second}, {&o.Confirm, time.Second}} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	if o.InFlight == 0 {
		o.InFlight = 2000
	}
	return o
}

// Prober probes shards in one process; they share its limits. Use it from any number of goroutines.
type Prober struct {
	d    Deps
	o    Options
	gate *gate
	see  *sight

	mu        sync.Mutex
	platforms map[string]*platform
}

// platform limits how fast the connections of one platform are asked, and remembers how many first tries failed lately.
type platform struct {
	targets int
	limit   *rate.Limiter
	slots   [togetherSlots]health.Tally
	began   int64 // of the newest slot, in units of togetherSlot
}

const (
	togetherSlots = 3
	togetherSlot  = 5 * time.Second
	// togetherLeast is how many first tries it takes to say that a platform fails as a whole.
	togetherLeast = 20
)

// together counts a first try, and reports whether most first tries of the platform failed in the last seconds. Then each is
// confirmed by the others, and a second try would only make twice as many wait for their time to run out.
func (p *Prober) together(name string, now time.Time, failed bool) bool {
	return p.tally(name, now, func(t *health.Tally) {
		t.Asked++
		if failed {
			t.Failed++
		}
	})
}

// failing reports whether most first tries of a platform failed in the last seconds.
func (p *Prober) failing(name string, now time.Time) bool {
	return p.tally(name, now, func(*health.Tally) {})
}

func (p *Prober) tally(name string, now time.Time, note func(newest *health.Tally)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.platforms[name]
	if one == nil {
		return false
	}
	at := now.UnixNano() / int64(togetherSlot)
	for n := min(at-one.began, togetherSlots); n > 0; n-- {
		copy(one.slots[1:], one.slots[:togetherSlots-1])
		one.slots[0] = health.Tally{}
	}
	one.began = max(one.began, at)
	note(&one.slots[0])
	var sum health.Tally
	for _, t := range one.slots {
		sum.Asked, sum.Failed = sum.Asked+t.Asked, sum.Failed+t.Failed
	}
	return sum.Asked >= togetherLeast && 2*sum.Failed > sum.Asked
}

// New makes a Prober.
func New(d Deps, o Options) *Prober {
	o = o.Defaults()
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return &Prober{d: d, o: o, gate: newGate(o.InFlight), see: newSight(o.Control), platforms: map[string]*platform{}}
}

// spare is by how much a platform may be asked faster than its connections need on average, and quick what it may be asked at
// once in any case: phases are even but not exact, and boosts and new connections come beside them.
const (
	spare = 1.5
	quick = 10
)

// count notes that a shard has more or fewer connections of a platform.
func (p *Prober) count(name string, more int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.platforms[name]
	if one == nil {
		one = &platform{limit: rate.NewLimiter(0, 0)}
		p.platforms[name] = one
	}
	one.targets += more
	perSecond := spare*float64(one.targets)/p.o.Every.Seconds() + 2
	one.limit.SetLimit(rate.Limit(perSecond))
	one.limit.SetBurst(quick + int(perSecond))
}

// may takes a turn of a platform, or reports that there is none now.
func (p *Prober) may(name string) bool {
	p.mu.Lock()
	one := p.platforms[name]
	p.mu.Unlock()
	return one == nil || one.limit.Allow()
}
