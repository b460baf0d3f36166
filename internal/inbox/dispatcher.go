package inbox

import (
	"container/heap"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/tracing"
)

// Signals tells workflows that they have work: flow.Client, or a fake in tests. Every call is safe to repeat.
// KindUnavailable means that Temporal cannot be reached; with a time to wait, that it answers and is too busy.
type Signals interface {
	Deliveries(ctx context.Context, ref flow.IntegrationRef, s contract.DeliveriesSignal) error
	Pushes(ctx context.Context, ref flow.IntegrationRef, s contract.PushesSignal) error
	Changed(ctx context.Context, ref flow.IntegrationRef, s contract.ChangedSignal) error
	StartConflict(ctx context.Context, in contract.ConflictInput) error
	RecheckConflict(ctx context.Context, id domain.ConflictID, s contract.RecheckSignal) error
	StartReplay(ctx context.Context, in contract.ReplayInput) error
	FollowTimeline(ctx context.Context, in contract.TimelineInput) error
	TellHold(ctx context.Context, in contract.HoldInput) error
	WakeNotify(ctx context.Context, org domain.OrgID) error
	TellOnboarding(ctx context.Context, in contract.OnboardInput) error
	WakeAlerts(ctx context.Context, org domain.OrgID) error
	WakeMaintenance(ctx context.Context, in contract.MaintenanceInput) error
	TellWedding(ctx context.Context, in contract.WeddingInput) error
}

// DispatcherOptions tune a Dispatcher. The zero value of every field takes its default.
type DispatcherOptions struct {
	// Workers is how many calls to Temporal are under way at once, default 4.
	Workers int
	// Spacing is the least time between two signals of one kind to one workflow, default 250 ms: a workflow takes
	// about five signals a second in the long run.
	Spacing time.Duration
	// MaxRate is the most signals a second to all workflows in the long run, default 200; Burst, default 100, may go
	// out at once after a quiet time. The rate falls by itself while intake or Temporal is under load.
	MaxRate float64
	Burst   int
	// Provider names the provider of an integration that work was found for by a sweep or in the outbox, for the
	// operators who look at the workflow. An error leaves it unnamed. nil leaves all of them unnamed.
	Provider func(ctx context.Context, org domain.OrgID, id domain.IntegrationID) (string, error)
	// MaxIDs bounds the delivery ids kept in memory, default 200,000; MaxTargets the workflows, default 50,000. What
	// is not kept is found by the workflow or by a sweep.
	MaxIDs     int
	MaxTargets int
	// CallTimeout bounds one call to Temporal, default 10 s.
	CallTimeout time.Duration
	// FirstBackOff and LongestBackOff bound the pause after a call that found Temporal down, default 200 ms and 15 s.
	FirstBackOff   time.Duration
	LongestBackOff time.Duration
	// Tracer shows when workflows are told of traced work; nil = tracing is off.
	Tracer *tracing.Tracer
}

func (o *DispatcherOptions) defaults() {
	setDefault(&o.Workers, 4)
	setDefault(&o.Spacing, 250*time.Millisecond)
	setDefault(&o.MaxRate, 200)
	setDefault(&o.Burst, 100)
	setDefault(&o.MaxIDs, 200_000)
	setDefault(&o.MaxTargets, 50_000)
	setDefault(&o.CallTimeout, 10*time.Second)
	setDefault(&o.FirstBackOff, 200*time.Millisecond)
	setDefault(&o.LongestBackOff, 15*time.Second)
}

// Dispatcher sends errands to workflows at a bearable pace. Use it from any number of goroutines.
type Dispatcher struct {
	signals Signals
	o       DispatcherOptions
	log     *slog.Logger
	m       *metrics

	mu       sync.Mutex
	targets  map[string]*target
	heap     targetHeap // those whose time has not come
	turns    turns      // those whose time has come
	shares   shares
	ids      int // kept over all targets, also in flight
	inFlight int
	failures int       // calls in a row that found Temporal down
	calmAt   time.Time // end of the back-off
	pace     pace
	held     bool
	draining bool
	done     []int64 // outbox rows told and not yet fetched by the relay

	providers     sync.Map // domain.IntegrationID -> string
	providerCount atomic.Int64

	wake    chan struct{} // to the scheduler
	told    chan struct{} // to the relay: rows are done
	jobs    chan *target
	stopped context.CancelFunc
	running sync.WaitGroup
	calls   context.Context
}

func newDispatcher(s Signals, o DispatcherOptions, log *slog.Logger, m *metrics) *Dispatcher {
	o.defaults()
	d := &Dispatcher{
		signals: s, o: o, log: log, m: m,
		targets: make(map[string]*target), turns: newTurns(), shares: newShares(),
		pace: newPace(o.MaxRate, o.Burst, time.Now()),
		wake: make(chan struct{}, 1), told: make(chan struct{}, 1), jobs: make(chan *target),
	}
	d.calls, d.stopped = context.WithCancel(context.Background())
	for range o.Workers {
		d.running.Go(d.work)
	}
	d.running.Go(d.schedule)
	return d
}

// Stats is a look at a Dispatcher.
type Stats struct {
	Targets    int  // workflows with an errand, also in flight
	IDs        int  // delivery ids kept for them
	BackingOff bool // Temporal did not answer lately
}

// Stats returns the present figures.
func (d *Dispatcher) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Stats{IDs: d.ids, BackingOff: d.failures > 0}
	for _, t := range d.targets {
		if t.inFlight || !t.errand.empty() {
			s.Targets++
		}
	}
	return s
}

// Hold stops sending; errands go on adding up within the bounds. Release sends them.
func (d *Dispatcher) Hold() { d.setHeld(true) }

// Release ends a Hold.
func (d *Dispatcher) Release() { d.setHeld(false) }

func (d *Dispatcher) setHeld(held bool) {
	d.mu.Lock()
	d.held = held
	d.mu.Unlock()
	d.poke()
}

func (d *Dispatcher) isHeld() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held
}

func (d *Dispatcher) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// deliver takes freshly stored deliveries.
func (d *Dispatcher) deliver(batch []Committed) {
	d.mu.Lock()
	d.pace.observe(len(batch))
	dropped := 0
	for i := range batch {
		c := &batch[i]
		t := d.integration(c.Ref)
		if t == nil {
			dropped++
			continue
		}
		t.errand.traces = addTrace(t.errand.traces, c.Trace)
		if t.errand.addID(c.ID, c.Priority, d.ids < d.o.MaxIDs) {
			d.ids++
		} else {
			dropped++
		}
		d.ready(t)
	}
	d.mu.Unlock()
	if dropped > 0 {
		d.m.dropped.Add(float64(dropped))
	}
	d.poke()
}

func (d *Dispatcher) integration(ref flow.IntegrationRef) *target {
	// The identifier alone is the key: building the workflow id for each delivery would allocate.
	t := d.target(ref.Org, string(ref.ID))
	if t != nil && (t.ref.Provider == "" || t.ref.ID == "") {
		t.ref = ref
	}
	return t
}

// target finds or makes a target; nil when there are too many.
func (d *Dispatcher) target(org domain.OrgID, key string) *target {
	if t := d.targets[key]; t != nil {
		return t
	}
	if len(d.targets) >= d.o.MaxTargets {
		return nil
	}
	t := &target{key: key, org: org, index: -1}
	d.targets[key] = t
	return t
}

// ready puts a target with an errand in line.
func (d *Dispatcher) ready(t *target) {
	if t.since.IsZero() {
		t.since = time.Now()
	}
	if t.place != nil {
		d.turns.raise(t)
		return
	}
	if t.inFlight || t.index >= 0 {
		return
	}
	if t.due.Before(t.since) {
		t.due = t.since
	}
	heap.Push(&d.heap, t)
}

// schedule hands due targets to the workers.
func (d *Dispatcher) schedule() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		t, wait := d.next(time.Now())
		if t != nil {
			select {
			case d.jobs <- t:
				continue
			case <-d.calls.Done():
				d.finish(t, errand{}, nil, 0)
				return
			}
		}
		timer.Reset(wait)
		select {
		case <-d.wake:
		case <-timer.C:
		case <-d.calls.Done():
			return
		}
	}
}

// idleWait is how long the scheduler sleeps when only a poke can bring work.
const idleWait = time.Minute

// next takes the target that is to be told now, or says when to ask again.
func (d *Dispatcher) next(now time.Time) (*target, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pace.advance(now)
	d.promote(now)
	if d.turns.n == 0 {
		if len(d.heap) == 0 {
			return nil, idleWait
		}
		return nil, max(d.heap[0].due.Sub(now), 0)
	}
	if d.held {
		return nil, idleWait
	}
	if d.inFlight >= d.o.Workers {
		return nil, idleWait // the end of a call pokes
	}
	if !d.draining {
		if d.failures > 0 {
			if d.inFlight > 0 {
				return nil, idleWait // one call tries the water
			}
			if now.Before(d.calmAt) {
				return nil, d.calmAt.Sub(now)
			}
		}
		if wait := d.pace.wait(); wait > 0 {
			return nil, wait
		}
		d.pace.spend()
	}
	t := d.turns.pick()
	d.shares.add(t.org, d.pace.pressed(), now)
	t.inFlight = true
	d.inFlight++
	return t, 0
}

// promote puts targets in line whose time has come, and forgets those whose spacing is over and to which nothing came. Those
// of an organisation that takes more than its share rest a little longer.
func (d *Dispatcher) promote(now time.Time) {
	d.shares.advance(now)
	pressed := d.pace.pressed()
	for len(d.heap) > 0 && (d.draining || !now.Before(d.heap[0].due)) {
		t := heap.Pop(&d.heap).(*target)
		if t.errand.empty() {
			delete(d.targets, t.key)
			continue
		}
		if !d.draining && t.errand.priority != domain.PriorityUrgent {
			if wait := d.shares.wait(t.org, d.turns.waiting(t.org), pressed, now); wait > 0 {
				t.due = now.Add(wait)
				heap.Push(&d.heap, t)
				continue
			}
		}
		d.turns.add(t)
	}
}

func (d *Dispatcher) work() {
	for {
		select {
		case t := <-d.jobs:
			d.mu.Lock()
			e, since, to := t.errand, t.since, address{t.ref, t.conflict}
			t.errand, t.since = errand{}, time.Time{}
			d.mu.Unlock()
			start := time.Now()
			d.m.linger.Observe(start.Sub(since).Seconds())
			kept := len(e.ids)
			if to.ref.ID != "" && to.ref.Provider == "" {
				to.ref.Provider = d.provider(to.ref)
			}
			left, err := d.send(to, e)
			d.mu.Lock()
			d.ids -= kept
			d.mu.Unlock()
			d.finish(t, left, err, time.Since(start))
		case <-d.calls.Done():
			return
		}
	}
}

// maxProviders bounds the remembered names of providers.
const maxProviders = 100_000

// provider looks a provider's name up once per integration: it never changes.
func (d *Dispatcher) provider(ref flow.IntegrationRef) string {
	if d.o.Provider == nil {
		return ""
	}
	if name, ok := d.providers.Load(ref.ID); ok {
		return name.(string)
	}
	ctx, cancel := context.WithTimeout(d.calls, d.o.CallTimeout)
	defer cancel()
	name, err := d.o.Provider(ctx, ref.Org, ref.ID)
	if err != nil {
		return ""
	}
	if d.providerCount.Add(1) <= maxProviders {
		d.providers.Store(ref.ID, name)
	}
	return name
}

// finish takes a target back after its call. left is what could not be told because of err.
func (d *Dispatcher) finish(t *target, left errand, err error, took time.Duration) {
	now := time.Now()
	d.mu.Lock()
	wasDown := d.failures
	t.inFlight = false
	d.inFlight--
	switch {
	case err == nil:
		d.failures, t.failures = 0, 0
		d.pace.answered(took)
		t.due = now.Add(d.o.Spacing)
		if len(left.rows) > 0 {
			d.done = append(d.done, left.rows...)
			left.rows = nil
		}
	case domain.KindOf(err) == domain.KindUnavailable && domain.RetryAfter(err) == 0:
		// Nobody answers: all calls pause together, so that a server that comes back is not met by a crowd.
		d.failures++
		d.calmAt = now.Add(backOff(d.failures, d.o.FirstBackOff, d.o.LongestBackOff))
		t.due = now
	default:
		// Temporal answered and would not take it: this workflow pauses, and the others get on more gently.
		t.failures++
		if domain.RetryAfter(err) > 0 {
			d.pace.exhausted()
		}
		t.due = now.Add(max(domain.RetryAfter(err), backOff(t.failures, time.Second, time.Minute)))
	}
	if !left.empty() {
		// Older ids come first: what arrived meanwhile is added behind.
		newer := t.errand
		d.ids -= len(newer.ids)
		t.errand = errand{}
		d.ids += t.errand.merge(left, d.o.MaxIDs-d.ids)
		d.ids += t.errand.merge(newer, d.o.MaxIDs-d.ids)
		t.since = now
	}
	if d.draining && err != nil {
		// The process is going; what is left is found in storage by another one.
		d.abandon(t)
		if d.failures > 0 {
			for _, other := range d.targets {
				d.abandon(other)
			}
		}
	}
	heap.Push(&d.heap, t)
	failures := d.failures
	rows := len(d.done)
	d.mu.Unlock()
	if rows > 0 {
		select {
		case d.told <- struct{}{}:
		default:
		}
	}
	d.poke()
	d.report(t, err, failures, wasDown)
}

// abandon empties a target. One in line leaves it, so that whatever is in line has an errand.
func (d *Dispatcher) abandon(t *target) {
	d.ids -= len(t.errand.ids)
	t.errand = errand{}
	if t.place != nil {
		d.turns.leave(d.turns.orgs[t.org], t)
		heap.Push(&d.heap, t)
	}
}

// report logs the beginning and the end of a trouble, not each call in between.
func (d *Dispatcher) report(t *target, err error, failures, before int) {
	switch {
	case err == nil && before > 0:
		d.log.Info("Temporal answers again; waiting work is being sent")
	case err != nil && failures == 1 && before == 0:
		d.log.Warn("Temporal does not answer; webhooks are kept and sent later", "error", err)
	case err != nil && failures == 0:
		d.log.Warn("Temporal did not take a signal; it is sent again", "target", t.key, "tries", t.failures, "error", err)
	}
}

// backOff doubles from first to longest with the number of failures, and spreads over the upper half.
func backOff(failures int, first, longest time.Duration) time.Duration {
	d := longest
	if failures < 32 {
		d = min(longest, first<<(failures-1))
		if d <= 0 {
			d = longest
		}
	}
	return d/2 + rand.N(d/2+1)
}

// pendingRows returns how many outbox rows wait to be told.
func (d *Dispatcher) pendingRows() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.targets {
		n += len(t.errand.rows)
	}
	return n
}

// takeDone hands over the outbox rows that have been told.
func (d *Dispatcher) takeDone() []int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	rows := d.done
	d.done = nil
	return rows
}

// drain sends everything that waits without lingering, once, and stops the Dispatcher. What Temporal does not take,
// what is held, or what is left when ctx ends, stays in storage for other servers' sweeps.
func (d *Dispatcher) drain(ctx context.Context) error {
	d.mu.Lock()
	d.draining = true
	d.mu.Unlock()
	d.poke()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	defer d.running.Wait()
	defer d.stopped()
	for {
		if d.isHeld() || d.Stats().Targets == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return domain.E(domain.KindUnavailable, "drain the dispatcher: %w", ctx.Err())
		}
	}
}
