package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Request says whose stream to serve, and from where on.
type Request struct {
	Org    domain.OrgID
	After  string             // Last-Event-ID; "" starts with what happens from now on
	Filter domain.EventFilter // the zero value takes all
	Until  time.Time          // when the stream must end; zero = never
	// Bare says of each event only that something changed, for readers who may not know ids.
	Bare bool
}

// MaxCursor is the longest Last-Event-ID, in bytes.
const MaxCursor = 60

// ParseFilter reads a filter from the query parameters topics, wedding, integration and resource. Each may be repeated
// and may hold several values parted by commas. A topic that ends in a dot stands for all below it, as one that ends in
// ".*" does. Errors are of kind invalid and name the parameter and its limit.
func ParseFilter(q url.Values) (domain.EventFilter, error) {
	var f domain.EventFilter
	topics, err := values(q, "topics")
	if err != nil {
		return f, err
	}
	for i, t := range topics {
		if strings.HasSuffix(t, ".") {
			topics[i] = t + "*"
		}
	}
	f.Topics = topics
	if f.Weddings, err = ids[domain.BookingID](q, "wedding"); err != nil {
		return f, err
	}
	if f.Integrations, err = ids[domain.IntegrationID](q, "integration"); err != nil {
		return f, err
	}
	if f.Resources, err = ids[domain.ResourceID](q, "resource"); err != nil {
		return f, err
	}
	return f, f.Check("")
}

func values(q url.Values, name string) ([]string, error) {
	var out []string
	for _, v := range q[name] {
		if v == "" {
			continue
		}
		if out = append(out, strings.Split(v, ",")...); len(out) > domain.MaxFilterValues {
			return nil, domain.Invalid(name, "at most %d, has more", domain.MaxFilterValues)
		}
	}
	return out, nil
}

func ids[T domain.AnyID](q url.Values, name string) ([]T, error) {
	list, err := values(q, name)
	if err != nil {
		return nil, err
	}
	var out []T
	for _, v := range list {
		id, err := domain.ParseID[T](name, v)
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, nil
}

// backlogPage is how many events one read of a backlog takes.
const backlogPage = 200

// Serve writes the stream to w until the client leaves, the token ends, or the hub lets go of it. An error is returned
// only while nothing was written, so that the caller can answer with it; afterwards the stream itself says why it ends.
func (h *Hub) Serve(w http.ResponseWriter, r *http.Request, q Request) error {
	if len(q.After) > MaxCursor {
		return domain.Invalid("Last-Event-ID", "at most %d characters, has %d", MaxCursor, len(q.After))
	}
	if err := h.room(q.Org); err != nil {
		return err
	}
	ctx := r.Context()
	out := &writer{w: w, rc: http.NewResponseController(w), timeout: h.o.WriteTimeout, q: q}

	// First without a place among the subscribers: a long backlog must not overflow the queue of live events.
	if q.After != "" {
		switch _, err := h.backlog(ctx, out, q, nil); {
		case domain.KindOf(err) == domain.KindInvalid && !out.begun:
			return domain.Invalid("Last-Event-ID", "is no id of an event of this stream")
		case err != nil && !out.begun:
			return err
		case err != nil:
			return nil // the client resumes
		}
	}
	s, at, err := h.subscribe(ctx, q.Org, q.Filter)
	if err != nil {
		if out.begun {
			return nil
		}
		return err
	}
	defer h.leave(s)

	// Then once more: what was committed between the last page and the place. Some of that may come again through the
	// queue, because the hub may be behind what was just read. What was read before has a place before the hub's, since
	// the round that gave the place began after it.
	seen := &recent{max: remembered}
	if q.After != "" {
		n, err := h.backlog(ctx, out, q, seen)
		if err != nil {
			if out.begun {
				return nil
			}
			return err
		}
		if n > 0 {
			at = out.last
		}
	}
	out.begin(at)
	out.last = at
	out.shrink()
	if out.err == nil {
		h.follow(ctx, out, s, q, seen)
	}
	return nil
}

// backlog writes what the database has after out.last, or after q.After at first, and returns how many events of the
// organisation that were, wanted or not. Each page is one bounded read in the order of the index, and moves the client's
// id on even if nothing of it is wanted, so that a client that is interrupted does not begin anew.
func (h *Hub) backlog(ctx context.Context, out *writer, q Request, seen *recent) (n int, err error) {
	select {
	case h.turns <- struct{}{}:
		defer func() { <-h.turns }()
	case <-ctx.Done():
		return 0, domain.E(domain.KindUnavailable, "wait to read missed events: %w", ctx.Err())
	}
	if out.last == "" {
		out.last = q.After
	}
	for {
		events, next, err := h.source.StreamAfter(ctx, out.last, q.Org, backlogPage)
		if domain.KindOf(err) == domain.KindGoneToken && next != "" && next != out.last {
			out.gap(next)
			continue
		}
		if err != nil {
			return n, err
		}
		if len(events) > 0 {
			out.begin(out.last)
		}
		for _, e := range events {
			if seen != nil {
				seen.add(e.Cursor)
			}
			out.last = e.Cursor
			if !q.Filter.Match(e) {
				continue
			}
			if out.frame(render(e)); out.err != nil {
				return n, out.err
			}
		}
		n += len(events)
		out.last = next
		if len(events) == backlogPage && out.begun {
			out.mark()
		}
		out.flush()
		if out.err != nil || len(events) < backlogPage {
			return n, out.err
		}
	}
}

// follow writes live events until something ends the stream.
func (h *Hub) follow(ctx context.Context, out *writer, s *subscriber, q Request, seen *recent) {
	// The first sign of life comes at any time within the interval, so that clients that connected together do not go on
	// together.
	beat := time.NewTimer(h.o.Heartbeat/4 + rand.N(h.o.Heartbeat*3/4+1))
	defer beat.Stop()
	var expired <-chan time.Time
	if !q.Until.IsZero() {
		t := time.NewTimer(q.Until.Sub(h.o.Now()))
		defer t.Stop()
		expired = t.C
	}
	ahead := len(seen.ids) > 0 // of the hub, by what was read beside it
	for out.err == nil {
		select {
		case <-ctx.Done():
			return
		case <-expired:
			out.closed(ReasonExpired)
			return
		case <-beat.C:
			if at := h.passed(s); at != "" && !ahead {
				out.last = at
			}
			out.beat()
			beat.Reset(h.o.Heartbeat*3/4 + rand.N(h.o.Heartbeat/4+1))
		case <-s.news:
			queue, gone := h.take(s)
			for _, f := range queue {
				if !seen.has(f.cursor) {
					// Live events come in order: past the first new one nothing repeats.
					seen, ahead = nil, false
					out.last = f.cursor
					out.frame(f)
				}
			}
			if gone {
				out.closed(s.reason)
				return
			}
			out.flush()
			out.shrink()
		}
	}
}

// remembered is how many events the hub may be behind the database for a resumed stream to show no repeat.
const remembered = 8192

// recent remembers the last ids that were sent, to recognise those that come again through the buffer.
type recent struct {
	max  int
	ids  map[string]struct{}
	line []string
}

func (r *recent) add(id string) {
	if r.ids == nil {
		r.ids = make(map[string]struct{})
	}
	if len(r.line) >= r.max {
		delete(r.ids, r.line[0])
		r.line = r.line[1:]
	}
	r.ids[id] = struct{}{}
	r.line = append(r.line, id)
}

func (r *recent) has(id string) bool {
	if r == nil {
		return false
	}
	_, ok := r.ids[id]
	return ok
}

// frame is an event as it is sent, shared by all who get it.
type frame struct {
	cursor string
	bytes  []byte
}

func render(e domain.Event) *frame {
	data, err := json.Marshal(e)
	if err != nil {
		panic("marshal texts and a time: " + err.Error())
	}
	var b bytes.Buffer
	b.Grow(len(data) + len(e.Cursor) + len(e.Topic) + 24)
	id(&b, e.Cursor)
	b.WriteString("event: " + string(e.Topic) + "\ndata: ")
	b.Write(data)
	b.WriteString("\n\n")
	return &frame{e.Cursor, b.Bytes()}
}

// id writes an id line. Cursors have no line breaks; one that had would end the frame early, so it is left out.
func id(b *bytes.Buffer, cursor string) {
	if cursor != "" && !strings.ContainsAny(cursor, "\r\n\x00") {
		b.WriteString("id: " + cursor + "\n")
	}
}

// writer writes server-sent events, each write bounded in time. The first error stays.
type writer struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	q       Request
	begun   bool
	last    string // id to resume from
	buf     bytes.Buffer
	err     error
}

// begin sends the header, the time to wait before coming back, and a first id, once.
func (o *writer) begin(at string) {
	if o.begun {
		return
	}
	o.head()
	o.last = at
	id(&o.buf, at)
	o.buf.WriteString("\n")
	o.flush()
}

func (o *writer) head() {
	o.begun = true
	h := o.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies must pass events on at once
	o.w.WriteHeader(http.StatusOK)
	o.buf.WriteString("retry: 2000\n")
}

// gap tells the client that events are missing between its id and from, where the stream goes on.
func (o *writer) gap(from string) {
	if !o.begun {
		o.head()
	}
	o.last = from
	id(&o.buf, from)
	o.buf.WriteString("event: " + string(domain.TopicStreamGap) +
		"\ndata: {\"reason\":\"events after the given id are no longer kept\",\"from\":\"" + from + "\"}\n\n")
	o.flush()
}

func (o *writer) frame(f *frame) {
	if o.q.Bare {
		id(&o.buf, f.cursor)
		o.buf.WriteString("event: changed\ndata: {}\n\n")
	} else {
		o.buf.Write(f.bytes)
	}
	if o.buf.Len() > 32<<10 {
		o.flush()
	}
}

// mark moves the client's id over events that its filter left out.
func (o *writer) mark() {
	id(&o.buf, o.last)
	o.buf.WriteString("\n")
}

// beat shows that the stream lives, and moves the id on as mark does.
func (o *writer) beat() {
	id(&o.buf, o.last)
	o.buf.WriteString(": alive\n\n")
	o.flush()
	o.shrink()
}

func (o *writer) closed(reason string) {
	if reason == "" {
		return
	}
	id(&o.buf, o.last)
	o.buf.WriteString("event: stream.closed\ndata: {\"reason\":\"" + reason + "\"}\n\n")
	o.flush()
}

// shrink gives up a buffer that an idle stream does not need.
func (o *writer) shrink() {
	if o.err == nil && o.buf.Len() == 0 && o.buf.Cap() > 512 {
		o.buf = bytes.Buffer{}
	}
}

func (o *writer) flush() {
	if o.err != nil || o.buf.Len() == 0 {
		return
	}
	// Writers without deadlines (tests' recorders) do not block.
	_ = o.rc.SetWriteDeadline(time.Now().Add(o.timeout))
	_, o.err = o.buf.WriteTo(o.w)
	if o.err == nil {
		o.err = o.rc.Flush()
	}
}
