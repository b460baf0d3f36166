package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Request says whose stream to serve, and from where on.
type Request struct {
	Org    domain.OrgID
	After  string    // Last-Event-ID; "" starts with what happens from now on
	Topics []string  // prefixes of topics, such as "conflict."; empty takes all
	Until  time.Time // when the stream must end; zero = never
}

// Limits of a request.
const (
	MaxTopics     = 20
	MaxTopicBytes = 60
	MaxCursor     = 60
)

// ParseTopics reads the value of ?topics=a,b. At most MaxTopics prefixes of MaxTopicBytes letters, dots and
// underscores are accepted.
func ParseTopics(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	list := strings.Split(s, ",")
	if len(list) > MaxTopics {
		return nil, domain.Invalid("topics", "at most %d, has %d", MaxTopics, len(list))
	}
	for _, p := range list {
		if len(p) < 1 || len(p) > MaxTopicBytes || strings.Trim(p, "abcdefghijklmnopqrstuvwxyz._") != "" {
			return nil, domain.Invalid("topics", "each must have 1 to %d lower-case letters, dots or underscores", MaxTopicBytes)
		}
	}
	return list, nil
}

func (q Request) wants(t domain.Topic) bool {
	for _, p := range q.Topics {
		if strings.HasPrefix(string(t), p) {
			return true
		}
	}
	return len(q.Topics) == 0
}

// backlogPage is how many events one read of a backlog takes.
const backlogPage = 200

// Serve writes the stream to w until the client leaves, the token ends, or the hub lets go of it. An error is returned
// only while nothing was written, so that the caller can answer with it; afterwards the stream itself says why it ends.
func (h *Hub) Serve(w http.ResponseWriter, r *http.Request, q Request) error {
	if len(q.After) > MaxCursor {
		return domain.Invalid("Last-Event-ID", "at most %d characters, has %d", MaxCursor, len(q.After))
	}
	ctx := r.Context()
	out := &writer{w: w, rc: http.NewResponseController(w), timeout: h.o.WriteTimeout, q: q}

	// First without a place among the subscribers: a long backlog must not overflow the buffer of live events.
	seen := &recent{max: remembered}
	if q.After != "" {
		switch err := h.backlog(ctx, out, q, seen); {
		case domain.KindOf(err) == domain.KindGoneToken && !out.begun:
			out.reset = true
		case domain.KindOf(err) == domain.KindInvalid && !out.begun:
			return domain.Invalid("Last-Event-ID", "is no id of an event of this stream")
		case err != nil && !out.begun:
			return err
		case err != nil:
			return nil // the client resumes
		}
	}
	s, at, err := h.subscribe(ctx, q.Org)
	if err != nil {
		if out.begun {
			return nil
		}
		return err
	}
	defer h.leave(s)

	// Then once more: what was committed between the last page and the place. Some of what was read may come again
	// through the buffer, because the hub may have been behind the database.
	switch {
	case q.After == "" || out.reset:
		out.begin(at)
	default:
		if err := h.backlog(ctx, out, q, seen); err != nil {
			if out.begun {
				return nil
			}
			return err
		}
		out.begin(out.last)
	}
	if out.err == nil {
		h.follow(ctx, out, s, q, seen)
	}
	return nil
}

// backlog writes what the database has after out.last, or after q.After at first.
func (h *Hub) backlog(ctx context.Context, out *writer, q Request, seen *recent) error {
	if out.last == "" {
		out.last = q.After
	}
	for {
		events, next, err := h.source.StreamAfter(ctx, out.last, q.Org, backlogPage)
		if err != nil {
			return err
		}
		if len(events) > 0 {
			out.begin(out.last)
		}
		for _, e := range events {
			seen.add(e.Cursor)
			if out.event(e); out.err != nil {
				return out.err
			}
		}
		out.last = next
		out.flush()
		if out.err != nil || len(events) < backlogPage {
			return out.err
		}
	}
}

// follow writes live events until something ends the stream.
func (h *Hub) follow(ctx context.Context, out *writer, s *subscriber, q Request, seen *recent) {
	beat := time.NewTicker(h.o.Heartbeat)
	defer beat.Stop()
	var expired <-chan time.Time
	if !q.Until.IsZero() {
		t := time.NewTimer(q.Until.Sub(h.o.Now()))
		defer t.Stop()
		expired = t.C
	}
	for out.err == nil {
		select {
		case <-ctx.Done():
			return
		case <-expired:
			out.closed(ReasonExpired)
			return
		case <-beat.C:
			out.beat()
		case e, open := <-s.events:
			for open {
				if !seen.has(e.Cursor) {
					seen = nil // live events come in order: past the first new one nothing repeats
					out.event(e)
				}
				select {
				case e, open = <-s.events:
					continue
				default:
				}
				break
			}
			if !open {
				out.closed(s.reason)
				return
			}
			out.flush()
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

// writer writes server-sent events, each write bounded in time. The first error stays.
type writer struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	q       Request
	begun   bool
	reset   bool   // tell the client that it missed events
	last    string // id to resume from
	buf     bytes.Buffer
	err     error
}

// begin sends the header, the time to wait before coming back, and a first id, once.
func (o *writer) begin(at string) {
	if o.begun {
		return
	}
	o.begun, o.last = true, at
	h := o.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies must pass events on at once
	o.w.WriteHeader(http.StatusOK)
	o.buf.WriteString("retry: 2000\n")
	if o.reset {
		o.id(at)
		o.buf.WriteString("event: stream.reset\ndata: {\"reason\":\"events since the given id are no longer kept\"}\n\n")
	} else {
		o.id(at)
		o.buf.WriteString("\n")
	}
	o.flush()
}

// id writes an id line. Cursors have no line breaks; one that had would end the frame early, so it is left out.
func (o *writer) id(cursor string) {
	if cursor != "" && !strings.ContainsAny(cursor, "\r\n\x00") {
		o.buf.WriteString("id: " + cursor + "\n")
	}
}

func (o *writer) event(e domain.Event) {
	o.last = e.Cursor
	if !o.q.wants(e.Topic) {
		return
	}
	data, err := json.Marshal(e)
	if err != nil {
		o.err = err
		return
	}
	o.id(e.Cursor)
	o.buf.WriteString("event: " + string(e.Topic) + "\ndata: ")
	o.buf.Write(data)
	o.buf.WriteString("\n\n")
	if o.buf.Len() > 32<<10 {
		o.flush()
	}
}

// beat shows that the stream lives, and moves the client's id over events that its filter left out.
func (o *writer) beat() {
	o.id(o.last)
	o.buf.WriteString(": alive\n\n")
	o.flush()
}

func (o *writer) closed(reason string) {
	if reason == "" {
		return
	}
	o.id(o.last)
	o.buf.WriteString("event: stream.closed\ndata: {\"reason\":\"" + reason + "\"}\n\n")
	o.flush()
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
