package stream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

// log is a source in memory, with faults on demand.
type log struct {
	mu     sync.Mutex
	events []domain.Event
	oldest int // events up to here are no longer kept
	fault  error
	reads  int
	stall  chan struct{} // when set, reads of all organisations wait for it
	wake   func()
}

func (l *log) append(org domain.OrgID, topic domain.Topic, notify bool) string {
	l.mu.Lock()
	c := strconv.Itoa(len(l.events) + 1)
	l.events = append(l.events, domain.Event{Cursor: c, OrgID: org, Topic: topic, At: time.Unix(0, 0).UTC(), Refs: map[string]string{"n": c}})
	wake := l.wake
	l.mu.Unlock()
	if notify && wake != nil {
		wake()
	}
	return c
}

func (l *log) StreamAfter(ctx context.Context, cursor string, org domain.OrgID, limit int) ([]domain.Event, string, error) {
	l.mu.Lock()
	stall := l.stall
	l.mu.Unlock()
	if stall != nil && org == "" {
		select {
		case <-stall:
		case <-ctx.Done():
			return nil, "", ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	if l.fault != nil {
		return nil, "", l.fault
	}
	n, err := strconv.Atoi(cursor)
	if err != nil || n < 0 {
		return nil, "", domain.Invalid("cursor", "is no number")
	}
	if n < l.oldest {
		return nil, strconv.Itoa(l.oldest), domain.E(domain.KindGoneToken, "older than what is kept")
	}
	var out []domain.Event
	next := cursor
	for i := n; i < len(l.events) && len(out) < limit; i++ {
		if e := l.events[i]; org == "" || e.OrgID == org {
			out = append(out, e)
		}
		next = l.events[i].Cursor
	}
	return out, next, nil
}

func (l *log) StreamHead(context.Context) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strconv.Itoa(len(l.events)), l.fault
}

func (l *log) Listen(ctx context.Context, _ string, wake func()) error {
	l.mu.Lock()
	l.wake = wake
	l.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

func (l *log) readCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads
}

const (
	orgA domain.OrgID = "00000000-0000-7000-8000-00000000000a"
	orgB domain.OrgID = "00000000-0000-7000-8000-00000000000b"
)

type bundle struct {
	*testing.T
	log *log
	hub *Hub
	url string
}

func setup(t *testing.T, o Options) *bundle { t.Helper(); return setupWithin(t, o, 0) }

// setupWithin is setup with a server that bounds its reads and writes, as real ones do.
func setupWithin(t *testing.T, o Options, timeout time.Duration) *bundle {
	t.Helper()
	b := &bundle{T: t, log: &log{}}
	if o.Poll == 0 {
		o.Poll = 5 * time.Millisecond
	}
	b.hub = New(b.log, o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.hub.Run(ctx) }()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		filter, err := ParseFilter(r.URL.Query())
		q := Request{Org: domain.OrgID(r.URL.Query().Get("org")), After: r.Header.Get("Last-Event-ID"), Filter: filter}
		if until := r.URL.Query().Get("for"); until != "" {
			d, _ := time.ParseDuration(until)
			q.Until = time.Now().Add(d)
		}
		if err == nil {
			err = b.hub.Serve(w, r, q)
		}
		if err != nil {
			http.Error(w, string(domain.KindOf(err))+": "+err.Error(), http.StatusTeapot)
		}
	}))
	srv.Config.ReadTimeout, srv.Config.WriteTimeout = timeout, timeout
	srv.Start()
	b.url = srv.URL
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		srv.Close()
	})
	return b
}

// sse is one server-sent event.
type sse struct{ id, event, data, comment string }

type client struct {
	t      *testing.T
	status int
	body   *bufio.Reader
	close  func()
}

func (b *bundle) open(org domain.OrgID, after, query string) *client {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"?org="+string(org)+query, nil)
	if err != nil {
		b.Fatal(err)
	}
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	c := &client{t: b.T, status: res.StatusCode, body: bufio.NewReader(res.Body), close: func() { cancel(); _ = res.Body.Close() }}
	b.Cleanup(c.close)
	return c
}

// next reads one frame; ok is false at the end of the stream.
func (c *client) next() (f sse, ok bool) {
	c.t.Helper()
	for {
		line, err := c.body.ReadString('\n')
		if err != nil {
			return f, false
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			return f, true
		}
		k, v, _ := strings.Cut(line, ":")
		v = strings.TrimPrefix(v, " ")
		switch k {
		case "id":
			f.id = v
		case "event":
			f.event = v
		case "data":
			f.data = v
		case "":
			f.comment = v
		}
	}
}

// ids reads n events that are not signs of life.
func (c *client) ids(n int) []string {
	c.t.Helper()
	var out []string
	for len(out) < n {
		f, ok := c.next()
		if !ok {
			c.t.Fatalf("the stream ended after %v, want %d events", out, n)
		}
		if f.event != "" {
			out = append(out, f.id)
		}
	}
	return out
}

func numbers(from, to int) []string {
	var out []string
	for i := from; i <= to; i++ {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

func TestSubscriberSeesOnlyItsOrganisation(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{})
	a := b.open(orgA, "", "")
	if f, _ := a.next(); f.id != "0" {
		t.Fatalf("first frame %+v, want the id of the head, 0", f)
	}
	b.log.append(orgB, "booking.changed", true)
	b.log.append(orgA, "booking.changed", true)
	f, _ := a.next()
	want := sse{id: "2", event: "booking.changed", data: `{"topic":"booking.changed","at":"1970-01-01T00:00:00Z","refs":{"n":"2"}}`}
	if d := cmp.Diff(want, f, cmp.AllowUnexported(sse{})); d != "" {
		t.Errorf("frame (-want +got):\n%s", d)
	}
}

func TestEventsArriveWithoutNotification(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{})
	a := b.open(orgA, "", "")
	a.next()
	b.log.append(orgA, "booking.changed", false)
	if d := cmp.Diff([]string{"1"}, a.ids(1)); d != "" {
		t.Error(d)
	}
}

func TestResumeHasNoGapAndNoRepeat(t *testing.T) {
	t.Parallel()
	for _, behind := range []bool{false, true} {
		t.Run(fmt.Sprintf("hub behind the database %t", behind), func(t *testing.T) {
			t.Parallel()
			b := setup(t, Options{Buffer: 64})
			keep := b.open(orgA, "", "") // keeps the hub's position
			keep.next()
			if behind {
				b.log.mu.Lock()
				b.log.stall = make(chan struct{})
				b.log.mu.Unlock()
			}
			const before, after, resume = 1000, 200, 900
			for range before {
				b.log.append(orgA, "booking.changed", true)
			}
			c := b.open(orgA, strconv.Itoa(resume), "")
			if d := cmp.Diff(numbers(resume+1, 950), c.ids(50)); d != "" {
				t.Fatal(d)
			}
			if behind {
				b.log.mu.Lock()
				close(b.log.stall)
				b.log.stall = nil
				b.log.mu.Unlock()
			}
			got := c.ids(before - 950)
			for i := range after {
				b.log.append(orgA, "booking.changed", i%2 == 0)
				got = append(got, c.ids(1)...)
			}
			if d := cmp.Diff(numbers(951, before+after), got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestBadLastEventIDIsInvalidBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{})
	for _, id := range []string{"x", "-1", strings.Repeat("1", MaxCursor+1)} {
		c := b.open(orgA, id, "")
		text, _ := c.body.ReadString(0)
		if c.status != http.StatusTeapot || !strings.HasPrefix(text, "invalid: Last-Event-ID: ") {
			t.Errorf("%q: %d %s", id, c.status, text)
		}
	}
}

func TestTooOldIDIsToldOfTheGapAndGetsWhatIsKept(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{})
	for range 10 {
		b.log.append(orgA, "booking.changed", false)
	}
	b.log.oldest = 5
	c := b.open(orgA, "3", "")
	if f, _ := c.next(); f.event != "stream.gap" || f.id != "5" || !strings.Contains(f.data, `"from":"5"`) {
		t.Fatalf("got %+v, want stream.gap from 5", f)
	}
	if d := cmp.Diff(numbers(6, 10), c.ids(5)); d != "" {
		t.Error(d)
	}
	b.log.append(orgA, "booking.changed", true)
	if d := cmp.Diff([]string{"11"}, c.ids(1)); d != "" {
		t.Error(d)
	}
}

func TestTopicsFilterByPrefix(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{Heartbeat: 20 * time.Millisecond})
	c := b.open(orgA, "", "&topics=conflict.,sync.progress")
	c.next()
	b.log.append(orgA, "conflict.opened", true)
	b.log.append(orgA, "booking.changed", true)
	b.log.append(orgA, "sync.progress", true)
	b.log.append(orgA, "booking.changed", true)
	if d := cmp.Diff([]string{"1", "3"}, c.ids(2)); d != "" {
		t.Error(d)
	}
	for {
		f, ok := c.next()
		if !ok || f.event != "" {
			t.Fatalf("got %+v, want a sign of life", f)
		}
		if f.id == "4" {
			break // the id moves over events that were left out
		}
	}
}

func TestSlowSubscriberIsDroppedAndOthersAreNot(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{Buffer: 16})
	quick := b.open(orgA, "", "")
	quick.next()
	slow, _, err := b.hub.subscribe(t.Context(), orgA, domain.EventFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		b.log.append(orgA, "booking.changed", true)
		if d := cmp.Diff([]string{strconv.Itoa(i + 1)}, quick.ids(1)); d != "" {
			t.Fatal(d)
		}
	}
	if queue, gone := b.hub.take(slow); len(queue) != 16 || !gone || slow.reason != ReasonSlow {
		t.Errorf("the slow one got %d events and reason %q, want 16 and %q", len(queue), slow.reason, ReasonSlow)
	}
	if c := b.hub.Counts(); c.Dropped != 1 || c.Subscribers != 1 {
		t.Errorf("counts %+v, want one dropped and one left", c)
	}
}

// stuck is a client that reads nothing: every write waits for its deadline.
type stuck struct {
	http.ResponseWriter
	mu       sync.Mutex
	deadline time.Time
	writes   int
}

func (s *stuck) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	return nil
}
func (s *stuck) Flush() {}
func (s *stuck) Write(p []byte) (int, error) {
	s.mu.Lock()
	s.writes++
	wait, first := time.Until(s.deadline), s.writes == 1
	s.mu.Unlock()
	if first {
		return len(p), nil
	}
	<-time.After(wait)
	return 0, errors.New("i/o timeout")
}

func TestStuckClientDoesNotHoldItsPlace(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{WriteTimeout: 10 * time.Millisecond})
	w := &stuck{ResponseWriter: httptest.NewRecorder()}
	done := make(chan error, 1)
	go func() {
		done <- b.hub.Serve(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), Request{Org: orgA})
	}()
	await(t, func() bool { return b.hub.Counts().Subscribers == 1 })
	b.log.append(orgA, "booking.changed", true)
	if err := <-done; err != nil {
		t.Errorf("serve: %v", err)
	}
	await(t, func() bool { return b.hub.Counts().Subscribers == 0 })
}

func TestStreamEndsWithItsToken(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{})
	c := b.open(orgA, "", "&for=30ms")
	c.next()
	if f, _ := c.next(); f.event != "stream.closed" || !strings.Contains(f.data, ReasonExpired) {
		t.Errorf("got %+v, want stream.closed with %s", f, ReasonExpired)
	}
	if _, more := c.next(); more {
		t.Error("the stream went on after its token expired")
	}
}

func TestStreamOutlivesTheServersTimeouts(t *testing.T) {
	t.Parallel()
	const timeout = 300 * time.Millisecond
	b := setupWithin(t, Options{Heartbeat: 20 * time.Millisecond}, timeout)
	c := b.open(orgA, "", "")
	for end := time.Now().Add(3 * timeout); time.Now().Before(end); {
		if _, ok := c.next(); !ok {
			t.Fatal("the stream ended")
		}
	}
	b.log.append(orgA, "booking.changed", true)
	if d := cmp.Diff([]string{"1"}, c.ids(1)); d != "" {
		t.Error(d)
	}
}

func TestIdleHubDoesNotRead(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{Poll: time.Millisecond})
	b.log.append(orgA, "booking.changed", true)
	c := b.open(orgA, "", "")
	c.next()
	await(t, func() bool { return b.log.readCount() > 0 })
	c.close()
	await(t, func() bool { return b.hub.Counts().Subscribers == 0 })
	await(t, func() bool {
		b.hub.mu.Lock()
		defer b.hub.mu.Unlock()
		return b.hub.position == ""
	})
	quiet := b.log.readCount()
	for range 10 {
		b.hub.poke()
		await(t, func() bool { return len(b.hub.wake) == 0 })
	}
	if n := b.log.readCount(); n != quiet {
		t.Errorf("%d reads without subscribers", n-quiet)
	}
	again := b.open(orgA, "", "") // and it begins anew at the head
	again.next()
	b.log.append(orgA, "booking.changed", true)
	if d := cmp.Diff([]string{"2"}, again.ids(1)); d != "" {
		t.Error(d)
	}
}

func TestStreamsOutliveAFaultOfTheDatabase(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{Heartbeat: 10 * time.Millisecond})
	c := b.open(orgA, "", "")
	c.next()
	b.log.mu.Lock()
	b.log.fault = domain.E(domain.KindUnavailable, "database away")
	b.log.mu.Unlock()
	b.log.append(orgA, "booking.changed", true)
	await(t, func() bool { return b.hub.Counts().Failures > 0 })
	if f, ok := c.next(); !ok || f.comment != "alive" {
		t.Fatalf("got %+v %t, want a sign of life", f, ok)
	}
	late := b.open(orgB, "", "")
	if text, _ := late.body.ReadString(0); !strings.HasPrefix(text, "unavailable: ") {
		t.Errorf("new stream during the fault: %d %s, want unavailable", late.status, text)
	}
	b.log.mu.Lock()
	b.log.fault = nil
	b.log.mu.Unlock()
	if d := cmp.Diff([]string{"1"}, c.ids(1)); d != "" {
		t.Error(d)
	}
}

func TestShutdownTellsSubscribers(t *testing.T) {
	t.Parallel()
	b := setup(t, Options{})
	c := b.open(orgA, "", "")
	c.next()
	b.hub.shutdown()
	if f, _ := c.next(); f.event != "stream.closed" || !strings.Contains(f.data, ReasonShutdown) {
		t.Errorf("got %+v, want stream.closed with %s", f, ReasonShutdown)
	}
	if late := b.open(orgA, "", ""); late.status != http.StatusTeapot {
		t.Errorf("a stream opened after the shutdown: %d", late.status)
	}
}

func await(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("the awaited state did not come within 10 s")
		}
	}
}
