package inbox

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/failpoint"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/store"
)

// Inserter stores deliveries: store.Store, or a fake in tests. It stores all of a batch or nothing, and returns one
// result per row in order.
type Inserter interface {
	InsertDeliveries(ctx context.Context, batch []store.NewDelivery) ([]store.InsertedDelivery, error)
}

// WriterOptions tune a Writer. The zero value of every field takes its default.
type WriterOptions struct {
	// Committers is how many batches are stored at the same time, default 3. Each needs a connection of the pool.
	Committers int
	// MaxRows and MaxBytes bound one batch, default 256 rows and 4 MiB of content. One larger delivery is a batch of
	// its own.
	MaxRows  int
	MaxBytes int
	// MinRows is what a committer waits for while another one is committing, default 40, and Linger for how long at most,
	// default 2 ms. One commit of 32 rows costs much less than two of 16. Without a commit under way there is no wait.
	MinRows int
	Linger  time.Duration
	// QueueRows and QueueBytes bound what waits for a committer, default 4096 rows and 64 MiB of content.
	QueueRows  int
	QueueBytes int
	// CommitTimeout bounds one statement with its commit, default 10 s.
	CommitTimeout time.Duration
	// MaxWait bounds how long a caller waits for its commit, default 15 s, whatever its own context allows: vendors give
	// up after that anyway.
	MaxWait time.Duration
}

func (o *WriterOptions) defaults() {
	setDefault(&o.Committers, 3)
	setDefault(&o.MaxRows, 256)
	setDefault(&o.MaxBytes, 4<<20)
	setDefault(&o.MinRows, 40)
	setDefault(&o.Linger, 2*time.Millisecond)
	setDefault(&o.QueueRows, 4096)
	setDefault(&o.QueueBytes, 64<<20)
	setDefault(&o.CommitTimeout, 10*time.Second)
	setDefault(&o.MaxWait, 15*time.Second)
}

func setDefault[T int | int64 | float64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// queueWait is told to callers that find the queue full: a queue of default size empties in less.
const queueWait = time.Second

var (
	errQueueFull  = domain.WithRetryAfter(domain.E(domain.KindUnavailable, "the intake queue is full"), queueWait)
	errCommitSlow = domain.WithRetryAfter(domain.E(domain.KindUnavailable, "storage is too slow"), storageWait)
	errDraining   = domain.WithRetryAfter(domain.E(domain.KindUnavailable, "the server is stopping"), queueWait)
)

// Writer is the group commit of deliveries. Use it from any number of goroutines.
type Writer struct {
	db        Inserter
	o         WriterOptions
	committed func([]Committed)
	m         *metrics

	mu      sync.Mutex
	arrived sync.Cond
	queue   ring
	bytes   int
	busy    int         // commits under way
	linger  *time.Timer // ends the wait for MinRows
	waiting bool        // linger is running
	overdue bool        // it has ended
	closed  bool
	nearly  atomic.Bool // the queue is nearly full

	waitings   sync.Pool
	committers sync.WaitGroup
}

// Committed is a delivery that was stored for the first time.
type Committed struct {
	Ref      flow.IntegrationRef
	ID       domain.DeliveryID
	Priority domain.Priority
	Trace    domain.Trace // zero = not traced
}

// waiting is one queued delivery. It goes back to the pool only when its caller got the outcome, so a caller that
// left early costs an allocation and nothing else.
type waiting struct {
	delivery store.NewDelivery
	provider string
	stored   store.InsertedDelivery
	err      error
	done     chan struct{}
	timer    *time.Timer
}

// newWriter starts the committers. committed is called after each commit with the deliveries that are new; it must not
// block and must not keep the slice.
func newWriter(db Inserter, o WriterOptions, m *metrics, committed func([]Committed)) *Writer {
	o.defaults()
	w := &Writer{db: db, o: o, committed: committed, m: m}
	w.arrived.L = &w.mu
	w.waitings.New = func() any {
		e := &waiting{done: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
		e.timer.Stop()
		return e
	}
	w.linger = time.AfterFunc(time.Hour, w.endLinger)
	w.linger.Stop()
	for range o.Committers {
		w.committers.Go(w.commitLoop)
	}
	return w
}

// Put stores a delivery and returns its id, or the id of the earlier delivery that it repeats. provider names the
// integration's provider to the workflow. The end of ctx ends the wait, not the storing. d.Content belongs to the
// Writer from here on.
//
// Errors are KindUnavailable for all that may work later: queue full, storage down, server stopping, ctx ended.
func (w *Writer) Put(ctx context.Context, d store.NewDelivery, provider string) (store.InsertedDelivery, error) {
	e := w.waitings.Get().(*waiting)
	e.delivery, e.provider, e.err = d, provider, nil
	if err := w.enqueue(e); err != nil {
		w.waitings.Put(e)
		return store.InsertedDelivery{}, err
	}

	e.timer.Reset(w.o.MaxWait)
	select {
	case <-e.done:
		e.timer.Stop()
	case <-e.timer.C:
		return store.InsertedDelivery{}, errCommitSlow
	case <-ctx.Done():
		e.timer.Stop()
		return store.InsertedDelivery{}, domain.E(domain.KindUnavailable, "wait for the commit: %w", ctx.Err())
	}
	stored, err := e.stored, e.err
	e.delivery = store.NewDelivery{}
	w.waitings.Put(e)
	return stored, err
}

func (w *Writer) enqueue(e *waiting) error {
	n := len(e.delivery.Content)
	w.mu.Lock()
	switch {
	case w.closed:
		w.mu.Unlock()
		return errDraining
	case w.queue.len() >= w.o.QueueRows, w.bytes > 0 && w.bytes+n > w.o.QueueBytes:
		w.mu.Unlock()
		w.m.queueFull.Inc()
		return errQueueFull
	}
	w.queue.push(e)
	w.bytes += n
	w.gauge()
	wake := w.worthTaking()
	w.mu.Unlock()
	if wake {
		w.arrived.Signal()
	}
	return nil
}

// drain refuses new deliveries and waits until all queued ones are stored or refused, or ctx ends.
func (w *Writer) drain(ctx context.Context) error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.arrived.Broadcast()
	done := make(chan struct{})
	go func() {
		w.committers.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return domain.E(domain.KindUnavailable, "drain the intake queue: %w", ctx.Err())
	}
}

// Full reports whether seven eighths of the queue are taken, in rows or bytes. It costs nothing: ask it before reading
// what could not be queued.
func (w *Writer) Full() bool { return w.nearly.Load() }

// gauge runs under the lock.
func (w *Writer) gauge() {
	if full := 8*w.queue.len() >= 7*w.o.QueueRows || 8*w.bytes >= 7*w.o.QueueBytes; full != w.nearly.Load() {
		w.nearly.Store(full)
	}
}

func (w *Writer) depth() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queue.len()
}

func (w *Writer) commitLoop() {
	batch := make([]*waiting, 0, w.o.MaxRows)
	rows := make([]store.NewDelivery, 0, w.o.MaxRows)
	fresh := make([]Committed, 0, w.o.MaxRows)
	for {
		if batch = w.take(batch[:0]); len(batch) == 0 {
			return
		}
		w.commit(batch, rows, fresh)
		clear(batch)
		w.mu.Lock()
		w.busy--
		w.mu.Unlock()
	}
}

// worthTaking decides whether a batch begins now. It runs under the lock.
func (w *Writer) worthTaking() bool {
	n := w.queue.len()
	switch {
	case n == 0:
		return false
	case n >= w.o.MinRows, w.busy == 0, w.overdue, w.closed:
		return true
	case !w.waiting:
		w.waiting = true
		w.linger.Reset(w.o.Linger)
	}
	return false
}

func (w *Writer) endLinger() {
	w.mu.Lock()
	w.waiting, w.overdue = false, w.queue.len() > 0
	w.mu.Unlock()
	w.arrived.Signal()
}

// take waits for work and returns what queued up, within the bounds of a batch; nothing means that the Writer is
// closed and empty.
func (w *Writer) take(batch []*waiting) []*waiting {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.worthTaking() {
		if w.closed {
			return nil
		}
		w.arrived.Wait()
	}
	w.busy++
	w.overdue = false
	if w.waiting {
		w.waiting = false
		w.linger.Stop()
	}
	size := 0
	for w.queue.len() > 0 && len(batch) < w.o.MaxRows {
		n := len(w.queue.first().delivery.Content)
		if len(batch) > 0 && size+n > w.o.MaxBytes {
			break
		}
		batch = append(batch, w.queue.pop())
		size += n
	}
	w.bytes -= size
	w.gauge()
	return batch
}

// commit stores a batch and tells every caller. When the batch is refused for what it holds, its halves are tried, so
// that one delivery that can never be stored does not take its neighbours with it.
func (w *Writer) commit(batch []*waiting, rows []store.NewDelivery, fresh []Committed) {
	rows = rows[:0]
	for _, e := range batch {
		rows = append(rows, e.delivery)
	}
	if failpoint.AckEarly {
		batch = acknowledgeEarly(batch)
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), w.o.CommitTimeout)
	stored, err := w.db.InsertDeliveries(ctx, rows)
	cancel()
	if err == nil && len(stored) != len(batch) {
		err = domain.E(domain.KindInternal, "store deliveries: %d results for %d rows", len(stored), len(batch))
	}
	w.m.commits.Observe(time.Since(start).Seconds())
	w.m.batchRows.Observe(float64(len(batch)))
	clear(rows)
	if err != nil && len(batch) > 1 && !domain.Retryable(err) {
		half := len(batch) / 2
		w.commit(batch[:half], rows, fresh)
		w.commit(batch[half:], rows, fresh)
		return
	}
	if err != nil {
		w.m.commitErrors.Inc()
		// Whatever the cause, the vendor keeps the webhook and sends it again: nothing was acknowledged.
		err = domain.WithRetryAfter(domain.E(domain.KindUnavailable, "store delivery: %w", err), storageWait)
		for _, e := range batch {
			e.stored, e.err = store.InsertedDelivery{}, err
			e.done <- struct{}{}
		}
		return
	}
	failpoint.Hit(failpoint.AfterCommit)
	fresh = fresh[:0]
	for i, e := range batch {
		if !stored[i].Duplicate {
			fresh = append(fresh, Committed{ID: stored[i].ID, Priority: e.delivery.Priority, Trace: e.delivery.Trace, Ref: flow.IntegrationRef{
				Org: e.delivery.OrgID, ID: e.delivery.IntegrationID, Provider: e.provider}})
		}
		e.stored = stored[i]
		e.done <- struct{}{} // e belongs to its caller again
	}
	if len(fresh) > 0 {
		failpoint.HitAnswered(failpoint.AfterAnswer, string(fresh[0].ID))
		w.committed(fresh)
	}
}

// acknowledgeEarly answers before anything is stored. It exists in one build only, with a fault on purpose that the chaos
// run must find, and returns stand-ins that nobody waits for.
func acknowledgeEarly(batch []*waiting) []*waiting {
	alone := make([]*waiting, len(batch))
	for i, e := range batch {
		alone[i] = &waiting{delivery: e.delivery, provider: e.provider, done: make(chan struct{}, 16)}
		e.stored = store.InsertedDelivery{ID: e.delivery.ID}
		e.done <- struct{}{}
	}
	return alone
}

// storageWait is told to vendors while storage is failing.
const storageWait = 5 * time.Second

// ring is a queue that keeps its room.
type ring struct {
	items []*waiting
	head  int
	n     int
}

func (r *ring) len() int        { return r.n }
func (r *ring) first() *waiting { return r.items[r.head] }

func (r *ring) push(e *waiting) {
	if r.n == len(r.items) {
		grown := make([]*waiting, max(64, 2*len(r.items)))
		for i := range r.n {
			grown[i] = r.items[(r.head+i)%len(r.items)]
		}
		r.items, r.head = grown, 0
	}
	r.items[(r.head+r.n)%len(r.items)] = e
	r.n++
}

func (r *ring) pop() *waiting {
	e := r.items[r.head]
	r.items[r.head] = nil
	r.head = (r.head + 1) % len(r.items)
	r.n--
	return e
}
