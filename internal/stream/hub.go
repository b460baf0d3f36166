package stream

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Channel is the Postgres notification channel that wakes the reader.
const Channel = "wedsync_stream"

// Source is where committed events come from; *store.Store is one.
type Source interface {
	// StreamAfter returns up to limit events after cursor in order, of org or of all when org is "", and the cursor to
	// go on from. A cursor that is none is KindInvalid, one that is no longer known is KindGoneToken.
	StreamAfter(ctx context.Context, cursor string, org domain.OrgID, limit int) ([]domain.Event, string, error)
	// StreamHead returns the cursor of now.
	StreamHead(ctx context.Context) (string, error)
	// Listen calls wake after each notification, and returns when ctx ends or listening breaks off.
	Listen(ctx context.Context, channel string, wake func()) error
}

// Options bounds a hub. Zero values take the defaults named.
type Options struct {
	Poll      time.Duration // how often to look without a notification; 250 ms
	Heartbeat time.Duration // sign of life on a quiet stream; 15 s
	Buffer    int           // events a subscriber may be behind before it is dropped; 256
	PerOrg    int           // subscribers of one organisation in this process; 100
	Total     int           // subscribers in this process; 2000
	// WriteTimeout is how long one write to a subscriber may take; 10 s.
	WriteTimeout time.Duration
	Logger       *slog.Logger
	Now          func() time.Time
}

func (o *Options) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&o.Poll, 250*time.Millisecond)
	set(&o.Heartbeat, 15*time.Second)
	set(&o.WriteTimeout, 10*time.Second)
	if o.Buffer <= 0 {
		o.Buffer = 256
	}
	if o.PerOrg <= 0 {
		o.PerOrg = 100
	}
	if o.Total <= 0 {
		o.Total = 2000
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Reasons why a stream ends, told to the client in the data of the last event.
const (
	ReasonSlow     = "slow"          // it fell behind by more than its buffer
	ReasonExpired  = "token_expired" // the token that opened it has expired
	ReasonShutdown = "shutdown"      // the server stops; another one takes over
)

// Hub follows the stream and hands events out. Make one with New and let Run run.
type Hub struct {
	source Source
	o      Options
	page   int           // events per read of the tail: half a buffer, so that one page never fills an empty one
	wake   chan struct{} // holds one: there may be news

	mu       sync.Mutex
	position string // everything up to here was handed out; "" while nobody subscribes
	joining  []*joining
	subs     map[domain.OrgID][]*subscriber
	total    int
	closed   bool
	counts   Counts
}

// Counts are the hub's numbers for metrics.
type Counts struct {
	Subscribers int    // now
	Events      uint64 // handed to a subscriber
	Dropped     uint64 // subscribers that were too slow
	Refused     uint64 // subscribers beyond a limit
	Failures    uint64 // reads of the stream that did not work
}

// New makes a hub over source.
func New(source Source, o Options) *Hub {
	o.defaults()
	return &Hub{source: source, o: o, page: max(1, o.Buffer/2), wake: make(chan struct{}, 1), subs: make(map[domain.OrgID][]*subscriber)}
}

// Counts returns the hub's numbers.
func (h *Hub) Counts() Counts {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.counts
	c.Subscribers = h.total
	return c
}

// Run follows the stream until ctx ends, then closes every subscriber with ReasonShutdown and refuses new ones. It
// returns nil: faults of the source are logged and tried again.
func (h *Hub) Run(ctx context.Context) error {
	var listening sync.WaitGroup
	listening.Go(func() { h.listen(ctx) })
	defer listening.Wait()
	defer h.shutdown()
	poll := time.NewTicker(h.o.Poll)
	defer poll.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.wake:
		case <-poll.C:
		}
		err := h.round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if (err != nil) != failing {
			if failing = err != nil; failing {
				h.o.Logger.Warn("live stream cannot be read; trying on", "error", err)
			} else {
				h.o.Logger.Info("live stream is read again")
			}
		}
		if err != nil {
			h.mu.Lock()
			h.counts.Failures++
			h.mu.Unlock()
			pause(ctx, time.Second)
		}
	}
}

// listen keeps a notification connection open. Polling covers its gaps.
func (h *Hub) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if err := h.source.Listen(ctx, Channel, h.poke); err != nil && ctx.Err() == nil {
			h.o.Logger.Warn("listening for live events broke off; polling meanwhile", "error", err)
		}
		pause(ctx, time.Second)
	}
}

func (h *Hub) poke() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// round reads everything new, hands it out, and then lets in those who asked to join before it began. So a new
// subscriber's position is not before anything it could have seen, here or from another server.
func (h *Hub) round(ctx context.Context) error {
	h.mu.Lock()
	joining := h.joining
	h.joining = nil
	h.mu.Unlock()
	err := h.drain(ctx, len(joining) > 0)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, j := range joining {
		if err != nil {
			j.done <- joined{err: err}
			continue
		}
		j.done <- h.admit(j.org)
	}
	if h.total == 0 {
		h.position = ""
	}
	return err
}

// drain brings the position up to what can be read now. Without subscribers it only takes the head, if needed.
func (h *Hub) drain(ctx context.Context, needed bool) error {
	for {
		h.mu.Lock()
		from := h.position
		h.mu.Unlock()
		if from == "" {
			if !needed {
				return nil
			}
			head, err := h.source.StreamHead(ctx)
			if err != nil {
				return err
			}
			h.mu.Lock()
			h.position = head
			h.mu.Unlock()
			return nil
		}
		events, next, err := h.source.StreamAfter(ctx, from, "", h.page)
		if domain.KindOf(err) == domain.KindGoneToken {
			h.reset()
			continue
		}
		if err != nil {
			return err
		}
		h.handOut(next, events)
		if len(events) < h.page {
			return nil
		}
		// Catching up page after page without a breath would overflow the buffers of subscribers that are not slow. This
		// waits for time, not for anybody.
		pause(ctx, time.Millisecond)
	}
}

// handOut gives events to their subscribers and moves the position on.
func (h *Hub) handOut(next string, events []domain.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.position = next
	for _, e := range events {
		for _, s := range slices.Clone(h.subs[e.OrgID]) {
			select {
			case s.events <- e:
				h.counts.Events++
			default:
				h.counts.Dropped++
				h.remove(s, ReasonSlow)
			}
		}
	}
}

// reset drops everybody when the hub's own position is no longer known; they resume by their own ids.
func (h *Hub) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropAll(ReasonSlow)
	h.position = ""
}

func (h *Hub) shutdown() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, j := range h.joining {
		j.done <- joined{err: errStopping}
	}
	h.joining = nil
	h.dropAll(ReasonShutdown)
}

func (h *Hub) dropAll(reason string) {
	for _, list := range h.subs {
		for _, s := range slices.Clone(list) {
			h.remove(s, reason)
		}
	}
}

// subscriber is one open stream.
type subscriber struct {
	org    domain.OrgID
	events chan domain.Event // closed when the hub lets go of it; reason says why
	reason string            // written before events is closed
}

// errTooMany is what a subscriber beyond a limit gets.
func errTooMany(what string, limit int) error {
	return domain.WithRetryAfter(domain.E(domain.KindRateLimited, "at most %d live streams %s", limit, what), 10*time.Second)
}

var errStopping = domain.E(domain.KindUnavailable, "the server is stopping")

// joining is a subscriber that waits for the next round.
type joining struct {
	org  domain.OrgID
	done chan joined // holds one
}

type joined struct {
	s   *subscriber
	at  string
	err error
}

// subscribe joins org's subscribers and returns the position after which live events begin.
func (h *Hub) subscribe(ctx context.Context, org domain.OrgID) (*subscriber, string, error) {
	j := &joining{org: org, done: make(chan joined, 1)}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, "", errStopping
	}
	h.joining = append(h.joining, j)
	h.mu.Unlock()
	h.poke()
	select {
	case d := <-j.done:
		return d.s, d.at, d.err
	case <-ctx.Done():
		go func() { // a round may be about to admit it
			if d := <-j.done; d.s != nil {
				h.leave(d.s)
			}
		}()
		return nil, "", domain.E(domain.KindUnavailable, "join live stream: %w", ctx.Err())
	}
}

// admit needs mu.
func (h *Hub) admit(org domain.OrgID) joined {
	switch {
	case h.closed:
		return joined{err: errStopping}
	case h.total >= h.o.Total:
		h.counts.Refused++
		return joined{err: errTooMany("per server", h.o.Total)}
	case len(h.subs[org]) >= h.o.PerOrg:
		h.counts.Refused++
		return joined{err: errTooMany("per organisation", h.o.PerOrg)}
	}
	s := &subscriber{org: org, events: make(chan domain.Event, h.o.Buffer)}
	h.subs[org] = append(h.subs[org], s)
	h.total++
	return joined{s: s, at: h.position}
}

// leave takes s out; it may have been dropped already.
func (h *Hub) leave(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(s, "")
}

// remove needs mu.
func (h *Hub) remove(s *subscriber, reason string) {
	list := h.subs[s.org]
	i := slices.Index(list, s)
	if i < 0 {
		return
	}
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(h.subs, s.org)
	} else {
		h.subs[s.org] = list
	}
	h.total-- // the next round gives the position up when nobody is left
	s.reason = reason
	close(s.events)
}
