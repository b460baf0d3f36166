// Package caldavsim is a CalDAV server in one process for tests and the demo. Its protocol core is the caldav server of
// github.com/emersion/go-webdav; around it stand the parts that package lacks and that a two-way client needs:
// collection synchronisation, change tags, conditional writes and deletes, truncation, authentication and faults.
//
//	sim := caldavsim.New(caldavsim.Options{Username: "studio", Password: "pw", Calendars: []caldavsim.Calendar{{Name: "weddings"}}})
//	server := httptest.NewServer(sim.Handler())
//	path := sim.PutEvent("weddings", "first.ics", "BEGIN:VCALENDAR…")
//	sim.SetFaults(caldavsim.Faults{Status: 503, RetryAfter: 7 * time.Second})
//
// # Documented behaviour
//
// Discovery (RFC 6764 well-known redirect, RFC 5397 principal, RFC 4791 home set), PROPFIND, calendar-multiget and
// calendar-query (RFC 4791), one kind of component and one UID per resource, UIDs unique in a calendar, no METHOD,
// If-Match and If-None-Match on PUT and DELETE (RFC 9110), sync-collection with tokens, 404 members and truncation by
// 507 on the collection (RFC 6578), the precondition valid-sync-token as 403, Retry-After on 429 and 503.
//
// # Seen on real servers, and offered as options or faults
//
// valid-sync-token as 409, and the bare 500 of Xandikos 0.2.8 for an unknown token; a failed PUT answered by 207 with
// the status inside (Xandikos); no ETag in the answer to a PUT (Cyrus when it rewrites an object); a multiget that
// leaves members out, and X-RECURRENCE-EXCEPTION that comes and goes (iCloud, as reported by others); a 401 in passing;
// getctag, which no RFC names.
//
// # Assumed
//
// Tokens are "data:,wedsync-sim-EPOCH-REVISION"; ETags are one counter for the whole server; a GET
// gives the bytes that were stored, a report the spelling of go-ical, which sorts properties; a GET of a collection is
// refused; scheduling,
// free-busy, access lists and calendar creation are absent.
//
// The faults live in a [Front], which can also stand before a real server.
//
// A Server is safe for concurrent use. It keeps everything in memory and starts nothing by itself.
package caldavsim

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-ical"
	"github.com/emersion/go-webdav/caldav"
)

// Options describe a server. They are fixed at New.
type Options struct {
	// Username and Password guard every path by basic authentication; both empty means open to all.
	Username, Password string
	Calendars          []Calendar
	// HomeBase is put before the paths of calendar-home-set, to place the calendars on another host: a scheme and
	// host without a path, "" for this host.
	HomeBase string
	// PageLimit is the largest number of members in one answer to sync-collection; more are truncated by 507.
	// 0 = no limit.
	PageLimit int
	// TokenRefusal is the status for an unknown sync token: 403 (default) and 409 come with the precondition
	// valid-sync-token, 500 comes bare.
	TokenRefusal int
	// NoSyncCollection leaves out the sync-collection report, NoCTag the getctag property, as old servers do.
	NoSyncCollection, NoCTag bool
	// Now is the clock for modification times; nil means time.Now.
	Now func() time.Time
}

// Calendar is one collection of a server.
type Calendar struct {
	Name        string   // the last part of its path
	DisplayName string   // "" = Name
	Components  []string // nil = VEVENT only
	ReadOnly    bool     // writes are refused with 403, and the privileges say so
}

// Event is a stored resource.
type Event struct {
	Path string // escaped as in an URL
	ETag string // with its quotes
	Data string // the bytes as stored
}

// Server is a simulated CalDAV server.
type Server struct {
	*Front  // the faults
	opt     Options
	handler http.Handler

	mu        sync.Mutex
	calendars map[string]*collection // by path
	revision  int64                  // of the whole server, grows by one with every change
	epoch     int                    // tokens of an earlier epoch are unknown
	requests  int
}

type collection struct {
	Calendar
	path    string
	objects map[string]*object // by path
	gone    map[string]int64   // path of a removed object -> revision of its removal
	ctag    int64
}

type object struct {
	raw      []byte
	parsed   *ical.Calendar
	uid      string
	revision int64
	modified time.Time
}

func (o *object) etag() string { return fmt.Sprintf("e%d", o.revision) }

// New makes a server with empty calendars.
func New(opt Options) *Server {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.TokenRefusal == 0 {
		opt.TokenRefusal = http.StatusForbidden
	}
	s := &Server{opt: opt, calendars: map[string]*collection{}, epoch: 1}
	for _, c := range opt.Calendars {
		p := s.home() + c.Name + "/"
		if c.Components == nil {
			c.Components = []string{ical.CompEvent}
		}
		if c.DisplayName == "" {
			c.DisplayName = c.Name
		}
		s.calendars[p] = &collection{Calendar: c, path: p, objects: map[string]*object{}, gone: map[string]int64{}}
	}
	s.handler = &caldav.Handler{Backend: (*backend)(s)}
	s.Front = NewFront(http.HandlerFunc(s.serve))
	return s
}

func (s *Server) principal() string {
	if s.opt.Username == "" {
		return "/anyone/"
	}
	return "/" + path.Clean(s.opt.Username) + "/"
}

func (s *Server) home() string { return s.principal() + "calendars/" }

// CalendarPath returns the path of a calendar by its name, with the slash at the end.
func (s *Server) CalendarPath(name string) string { return s.home() + name + "/" }

// PutEvent stores a resource as if another client had written it, without conditions, and returns its path. It panics
// when the calendar does not exist or the data is no iCalendar: both are faults of the test.
func (s *Server) PutEvent(calendar, name, data string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.calendars[s.CalendarPath(calendar)]
	if !ok {
		panic("caldavsim: no calendar " + calendar)
	}
	parsed, uid, err := parse([]byte(data))
	if err != nil {
		panic("caldavsim: " + err.Error())
	}
	p := c.path + name
	s.store(c, p, []byte(data), parsed, uid)
	return p
}

// DeleteEvent removes a resource as if another client had done it. Unknown paths are ignored.
func (s *Server) DeleteEvent(p string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.calendars[path.Dir(p)+"/"]; ok && c.objects[p] != nil {
		s.drop(c, p)
	}
}

// Events returns the resources of a calendar, sorted by path.
func (s *Server) Events(calendar string) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.calendars[s.CalendarPath(calendar)]
	if !ok {
		return nil
	}
	var out []Event
	for _, p := range slices.Sorted(maps.Keys(c.objects)) {
		o := c.objects[p]
		out = append(out, Event{Path: p, ETag: `"` + o.etag() + `"`, Data: string(o.raw)})
	}
	return out
}

// Requests returns how many requests have arrived.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// ExpireTokens makes every sync token given out so far unknown.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
}

// store and drop need the lock.
func (s *Server) store(c *collection, p string, raw []byte, parsed *ical.Calendar, uid string) *object {
	s.revision++
	o := &object{raw: bytes.Clone(raw), parsed: parsed, uid: uid, revision: s.revision, modified: s.opt.Now()}
	c.objects[p], c.ctag = o, s.revision
	delete(c.gone, p)
	return o
}

func (s *Server) drop(c *collection, p string) {
	s.revision++
	delete(c.objects, p)
	c.gone[p], c.ctag = s.revision, s.revision
}

// parse reads a resource and checks what RFC 4791 section 4.1 demands. The decoder panics on some broken lines.
func parse(raw []byte) (cal *ical.Calendar, uid string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("no iCalendar: %v", p)
		}
	}()
	if cal, err = ical.NewDecoder(bytes.NewReader(raw)).Decode(); err != nil {
		return nil, "", err
	}
	kind, uid, err := caldav.ValidateCalendarObject(cal)
	if err != nil {
		return nil, "", err
	}
	if kind == "" || uid == "" {
		return nil, "", fmt.Errorf("a resource needs a component with a UID")
	}
	if err := ical.NewEncoder(&bytes.Buffer{}).Encode(cal); err != nil {
		return nil, "", err
	}
	return cal, uid, nil
}

func (c *collection) supports(component string) bool {
	return slices.ContainsFunc(c.Components, func(s string) bool { return strings.EqualFold(s, component) })
}
