// Package googlesim is the Google Calendar API v3 in one process, for tests and the demo. It models what is hard about
// the real one: sync tokens, three meanings of "cancelled", series, conditional writes, ids that stay taken, channels
// that post before they answer, throttling in both shapes.
//
//	sim := googlesim.New(googlesim.Options{Token: "secret", Calendars: []googlesim.Calendar{{ID: "studio@example.org"}}})
//	server := httptest.NewServer(sim.Handler()) // the API is below /calendar/v3/
//	id := sim.Put("studio@example.org", map[string]any{"summary": "…", "start": …, "end": …})
//	sim.SetFaults(googlesim.Faults{Status: 403, Reason: "rateLimitExceeded"})
//
// # Documented behaviour
//
// In the discovery document of google.golang.org/api/calendar/v3, against which [Contract] checks every request and
// answer, and in the guides on sync, push and errors: nextSyncToken on the last page only; parameters that may not go
// with a sync token (400); 410 fullSyncRequired for a lost token; short and empty pages; changes beyond the time bounds
// of the first call; cancelled exceptions with id, recurringEventId and originalStartTime, other cancelled events with
// nothing but an id; instances only, not their series, with singleEvents; 412 for If-Match; 410 for a second delete; ids of
// the letters a to v and digits, 409 for one that is taken; the sync message of a channel before the answer to
// watch; message numbers that grow with gaps; empty bodies; 403 with usageLimits beside 429; free/busy without titles.
//
// # Seen by others, and taken over
//
// The bodies of 410 and 403, the latter with "Retry after" and a time in its message and without a header; the id of a
// deleted event stays taken, and an update with status confirmed brings the event back; an iCalUID that exists makes an
// insert fail for ever; channels live a week at most; free/busy refuses more than 90 days; a stopped channel may go on
// posting; channelIdNotUnique.
//
// # Assumed
//
// A query that differs from that of its sync token is answered with 400, where the documentation says undefined. A list
// is a snapshot taken at its first page. Moving a series drops its exceptions, and every instance that is gone comes as
// a cancelled one. Series repeat by FREQ, INTERVAL, COUNT and UNTIL with EXDATE; other rules are refused with 400, and
// never go further than three years. ETags are a counter. An attendee is oneself when its mail is the calendar's id.
//
// Absent: access lists, settings, colours, quickAdd, move, batch, search by text.
//
// A Server is safe for concurrent use, keeps everything in memory and starts nothing by itself: messages wait until
// Deliver is called.
package googlesim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Options describe a server. They are fixed at New.
type Options struct {
	Calendars []Calendar
	// Token is the access token that is accepted; "" takes any.
	Token string
	// PageSize is the most items in a page, whatever maxResults asks for; 0 = as many as asked for.
	PageSize int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Client posts to the addresses of channels; nil means http.DefaultClient.
	Client *http.Client
	// PlainHTTP lets channels have http addresses, for receivers on loopback.
	PlainHTTP bool
}

// Calendar is one entry of the calendar list.
type Calendar struct {
	ID         string
	Summary    string
	Zone       string // "" = UTC
	AccessRole string // "" = owner
	Primary    bool
}

// Request is a request as it arrived, for tests to look at.
type Request struct {
	Method, Path string
	Query        url.Values
	Header       http.Header
	Body         []byte
}

// Server is a simulated Calendar API.
type Server struct {
	opt Options
	mux *http.ServeMux

	mu        sync.Mutex
	token     string
	calendars map[string]*calendar
	order     []string
	revision  int64
	epoch     int
	made      int // ids given by the server
	pages     map[string]*listing
	pageKeys  []string
	channels  map[string]*channel
	queue     []message
	requests  []Request
	faults    Faults
	pushes    Pushes
	hang      chan struct{}
}

type calendar struct {
	Calendar
	events map[string]*event
	lost   map[string]lostInstance // instances that are gone, by id
}

// event is a stored event: single, a series, or an exception of one.
type event struct {
	fields   map[string]any
	previous map[string]any // the version before, for StaleRepeats
	rev      int64
}

type lostInstance struct {
	rev      int64
	series   string
	original map[string]any
}

func (e *event) str(name string) string { s, _ := e.fields[name].(string); return s }
func (e *event) cancelled() bool        { return e.str("status") == "cancelled" }
func (e *event) repeats() bool          { return len(list(e.fields["recurrence"])) > 0 }

// New makes a server with empty calendars.
func New(opt Options) *Server {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Client == nil {
		opt.Client = http.DefaultClient
	}
	s := &Server{opt: opt, token: opt.Token, calendars: map[string]*calendar{}, pages: map[string]*listing{}, channels: map[string]*channel{}, epoch: 1}
	for _, c := range opt.Calendars {
		c.AccessRole, c.Zone, c.Summary = cmp.Or(c.AccessRole, "owner"), cmp.Or(c.Zone, "UTC"), cmp.Or(c.Summary, c.ID)
		s.calendars[c.ID] = &calendar{Calendar: c, events: map[string]*event{}, lost: map[string]lostInstance{}}
		s.order = append(s.order, c.ID)
	}
	s.mux = s.routes()
	return s
}

// Handler serves the API below /calendar/v3/.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// SetToken replaces the access token that is accepted.
func (s *Server) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// SetAccess changes what the account may do in a calendar; "" takes the calendar out of the account's sight.
func (s *Server) SetAccess(calendarID, role string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calendars[calendarID].AccessRole = role
}

// Put stores an event as if a person had made it, and returns its id. An id that exists is replaced. It panics on what
// the API would refuse: that is a fault of the test.
func (s *Server) Put(calendarID string, fields map[string]any) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, in := s.mustFind(calendarID), clone(fields)
	id, _ := in["id"].(string)
	if old := c.events[id]; old != nil {
		if f := s.replace(c, old, in); f != nil {
			panic("googlesim: " + f.message)
		}
		return id
	}
	e, f := s.create(c, in)
	if f != nil {
		panic("googlesim: " + f.message)
	}
	return e.str("id")
}

// Patch changes fields of an event or an instance as if a person had done it; nil takes a field away.
func (s *Server) Patch(calendarID, eventID string, fields map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.mustFind(calendarID)
	e := s.find(c, eventID)
	if e == nil {
		panic("googlesim: no event " + eventID)
	}
	if f := s.replace(c, e, merge(e.fields, clone(fields))); f != nil {
		panic("googlesim: " + f.message)
	}
}

// Delete removes an event or an instance as if a person had done it.
func (s *Server) Delete(calendarID, eventID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.mustFind(calendarID)
	if e := s.find(c, eventID); e != nil && !e.cancelled() {
		s.cancel(c, e)
	}
}

// Event returns an event or an instance as the API would show it, nil when there is none. Deleted ones are cancelled.
func (s *Server) Event(calendarID, eventID string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(s.mustFind(calendarID), eventID); e != nil {
		return s.show(e)
	}
	return nil
}

// Events returns the live events of a calendar, series as one each, by id.
func (s *Server) Events(calendarID string) []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.mustFind(calendarID)
	var out []map[string]any
	for _, id := range slices.Sorted(maps.Keys(c.events)) {
		if e := c.events[id]; !e.cancelled() && e.str("recurringEventId") == "" {
			out = append(out, s.show(e))
		}
	}
	return out
}

// ExpireTokens makes every sync and page token given out so far unknown.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	clear(s.pages)
}

// Requests returns what has arrived, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

func (s *Server) mustFind(id string) *calendar {
	c := s.calendars[id]
	if c == nil {
		panic("googlesim: no calendar " + id)
	}
	return c
}

// next gives a new revision. It needs the lock, as everything below.
func (s *Server) next() int64 {
	s.revision++
	return s.revision
}

func etag(rev int64) string { return fmt.Sprintf(`"%d"`, 3181161784712000+rev*2000) }

// clone copies a JSON value by writing and reading it, so that nobody shares a map with the store.
func clone(fields map[string]any) map[string]any {
	b, err := json.Marshal(fields)
	if err != nil {
		panic("googlesim: " + err.Error())
	}
	out := map[string]any{}
	if err := json.Unmarshal(b, &out); err != nil {
		panic("googlesim: " + err.Error())
	}
	return out
}

// merge is a JSON merge patch (RFC 7396): objects are merged, null removes, the rest replaces.
func merge(base, patch map[string]any) map[string]any {
	out := maps.Clone(base)
	for k, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(out, k)
		case map[string]any:
			below, _ := out[k].(map[string]any)
			if below == nil {
				below = map[string]any{}
			}
			out[k] = merge(below, v)
		default:
			out[k] = v
		}
	}
	return out
}

func list(v any) []any                       { l, _ := v.([]any); return l }
func object(v any) map[string]any            { m, _ := v.(map[string]any); return m }
func text(m map[string]any, k string) string { s, _ := m[k].(string); return s }
