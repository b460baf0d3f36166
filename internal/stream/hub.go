package stream

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Channel is the Postgres notification channel that wakes the reader.
const Channel = "wedsync_stream"

// Source is where committed events come from; *store.Store is one.
type Source interface {
	// StreamAfter returns up to limit events after cursor in order, of org or of all when org is "", and the cursor to
	// go on from. A cursor that is none is KindInvalid, one after which events are missing is KindGoneToken with the
	// cursor from which they are kept.
	StreamAfter(ctx context.Context, cursor string, org domain.OrgID, limit int) ([]domain.Event, string, error)
	// StreamHead returns the cursor of now.
	StreamHead(ctx context.Context) (string, error)
	// Listen calls wake after each notification, and returns when ctx ends or listening breaks off.
	Listen(ctx context.Context, channel string, wake func()) error
}

// Options bounds a hub. Zero values take the defaults named.
type Options struct {
	Poll      time.Duration // how often to look without a notification; 250 ms
	Heartbeat time.Duration // longest time without a sign of life; 15 s
	Buffer    int           // events a subscriber may be behind before it is dropped; 256
	PerOrg    int           // subscribers of one organisation in this process; 1000
	Total     int           // subscribers in this process; 6000
	// Backlogs is how many subscribers may read what they missed at the same time, each a page at a time; the others wait
	// their turn. 8.
	Backlogs int
	// Watch is given every page of new events, of all organisations, while Watching says so. It must not block. Both or
	// none are set.
	Watch    func([]domain.Event)
	Watching func() bool
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
		o.PerOrg = 1000
	}
	if o.Total <= 0 {
		o.Total = 6000
	}
	if o.Backlogs <= 0 {
		o.Backlogs = 8
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
	turns  chan struct{} // one for each backlog that is being read

	mu       sync.Mutex
	position string // everything up to here was handed out; "" while nobody subscribes
	joining  []*joining
	subs     map[domain.OrgID]map[*subscriber]struct{}
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
	return &Hub{source: source, o: o, page: max(1, o.Buffer/2), wake: make(chan struct{}, 1), turns: make(chan struct{}, o.Backlogs),
		subs: make(map[domain.OrgID]map[*subscriber]struct{})}
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
	err := h.drain(ctx, len(joining) > 0 || h.watching())
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, j := range joining {
		if err != nil {
			j.done <- joined{err: err}
			continue
		}
		j.done <- h.admit(j.org, j.filter)
	}
	if h.total == 0 && !h.watching() {
		h.position = ""
	}
	return err
}

func (h *Hub) watching() bool { return h.o.Watching != nil && h.o.Watching() }

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

// handOut gives events to the subscribers that want them and moves the position on. An event is rendered once, however
// many there are.
func (h *Hub) handOut(next string, events []domain.Event) {
	if h.watching() && len(events) > 0 {
		h.o.Watch(events)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.position = next
	for i := range events {
		e := &events[i]
		var shared *frame
		for s := range h.subs[e.OrgID] {
			if !s.filter.Match(*e) {
				continue
			}
			if shared == nil {
				shared = render(*e)
			}
			if len(s.queue) >= h.o.Buffer {
				h.counts.Dropped++
				h.remove(s, ReasonSlow)
				continue
			}
			h.counts.Events++
			s.queue = append(s.queue, shared)
			s.poke()
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
	for _, all := range h.subs {
		for s := range all {
			h.remove(s, reason)
		}
	}
}

// subscriber is one open stream. Idle it holds no buffer: the queue grows with what waits and is given up when taken. All
// fields but news belong to the hub's lock.
type subscriber struct {
	org    domain.OrgID
	filter domain.EventFilter
	queue  []*frame
	news   chan struct{} // holds one: the queue is not empty, or gone is set
	gone   bool          // the hub let go of it; reason says why
	reason string
}

func (s *subscriber) poke() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// take returns what waits for s, and whether the hub let go of it after that.
func (h *Hub) take(s *subscriber) (queue []*frame, gone bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	queue, s.queue = s.queue, nil
	return queue, s.gone
}

// passed returns the position up to which s was given everything, "" while something waits for it.
func (h *Hub) passed(s *subscriber) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(s.queue) > 0 || s.gone {
		return ""
	}
	return h.position
}

// errOrgFull and errFull are what a subscriber beyond a limit gets: the first is for its organisation to mend, the second
// is for us.
func errOrgFull(limit int) error {
	return domain.WithRetryAfter(domain.E(domain.KindRateLimited, "at most %d live streams per organisation and server", limit), 10*time.Second)
}

func errFull(limit int) error {
	return domain.WithRetryAfter(domain.E(domain.KindUnavailable, "this server has its %d live streams", limit), 10*time.Second)
}

var errStopping = domain.E(domain.KindUnavailable, "the server is stopping")

// joining is a subscriber that waits for the next round.
type joining struct {
	org    domain.OrgID
	filter domain.EventFilter
	done   chan joined // holds one
}

type joined struct {
	s   *subscriber
	at  string
	err error
}

// full says why there is no place for one more of org, nil if there is one. It needs mu.
func (h *Hub) full(org domain.OrgID) error {
	switch {
	case h.closed:
		return errStopping
	case h.total >= h.o.Total:
		h.counts.Refused++
		return errFull(h.o.Total)
	case len(h.subs[org]) >= h.o.PerOrg:
		h.counts.Refused++
		return errOrgFull(h.o.PerOrg)
	}
	return nil
}

// room refuses early, before a backlog is read for nothing.
func (h *Hub) room(org domain.OrgID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.full(org)
}

// subscribe joins org's subscribers and returns the position after which live events begin.
func (h *Hub) subscribe(ctx context.Context, org domain.OrgID, filter domain.EventFilter) (*subscriber, string, error) {
	j := &joining{org: org, filter: filter, done: make(chan joined, 1)}
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
func (h *Hub) admit(org domain.OrgID, filter domain.EventFilter) joined {
	if err := h.full(org); err != nil {
		return joined{err: err}
	}
	s := &subscriber{org: org, filter: filter, news: make(chan struct{}, 1)}
	if h.subs[org] == nil {
		h.subs[org] = make(map[*subscriber]struct{})
	}
	h.subs[org][s] = struct{}{}
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
	if s.gone {
		return
	}
	delete(h.subs[s.org], s)
	if len(h.subs[s.org]) == 0 {
		delete(h.subs, s.org)
	}
	h.total-- // the next round gives the position up when nobody is left
	s.gone, s.reason = true, reason
	s.poke()
}
