// Package graphsim is the calendar part of Microsoft Graph in one process, for tests and the demo: one mailbox with its
// calendars, deltas of a calendar view, conditional writes, subscriptions and their notifications, throttling and faults.
//
//	sim := graphsim.New(graphsim.Options{Token: "secret", Calendars: []graphsim.Calendar{{Name: "Calendar"}}})
//	server := httptest.NewServer(sim.Handler())
//	id := sim.Add("Calendar", graphsim.Event{Subject: "Tasting", Start: start, End: end})
//	sim.SetFaults(graphsim.Faults{Status: 503, RetryAfter: 7 * time.Second})
//	sim.Deliver(ctx) // posts the notifications that have gathered
//
// # Documented behaviour
//
// From the pages event-delta, delta-query-events, outlook-immutable-id, change-notifications and throttling-limits:
// the window of a calendar view is fixed by the first call and is part of the tokens; pages are followed by
// @odata.nextLink until an @odata.deltaLink; $select, $expand, $filter, $orderby and $search are refused there; @removed
// is told of deleted events and also of any event outside the window that was added, changed or deleted; a lost token is
// answered by 410 with a Location whose token is empty, or by 40x syncStateNotFound; ids differ with and without the
// preference IdType="ImmutableId", and only the immutable one stays when an event is moved; Prefer outlook.timezone and
// outlook.body-content-type shape answers; times of an all-day event are midnights; If-Match answers 412; subscriptions
// check both addresses before they are answered, carry clientState in each item, are renewed by PATCH and shortened to
// a maximum; lifecycle notifications; 429 and 503 with Retry-After.
//
// # Seen by others, and modelled
//
// Occurrences in a delta carry only id, type, seriesMasterId, start and end; a master carries the dates of its first
// occurrence; a series that changed is sent whole, on one page, and a deleted occurrence is not told by itself; one
// entity may come several times, older states after newer ones (Options.Replays); a second subscription to the same
// resource and address is a 409; a fifth request at the same time is a 429.
//
// # Assumed
//
// An immutable id is not found without the preference, and the other way round. A POST with a transactionId that an
// existing event has is answered 201 with that event, or 409 with Options.RefuseRepeats; with Options.KeepTransactions
// deleted events keep theirs. Answers to POST and PATCH have no extended properties. An event is found only under its own
// calendar. Text bodies come with CRLF and one more at the end. Zone names are stored as Windows names. Patching a
// property, an extended one too, makes a new ETag and a new lastModifiedDateTime. Series are daily or weekly. $batch,
// attachments, attendees' answers, shared mailboxes and other users are absent.
//
// A Server is safe for concurrent use. It keeps everything in memory and starts nothing by itself: notifications wait for
// Deliver.
package graphsim

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Reset is how a lost delta token is answered.
type Reset int

// The ways.
const (
	ResetGone      Reset = iota // 410 with Location
	ResetSyncState              // 400 syncStateNotFound
	ResetNotFound               // 404 SyncStateNotFound
)

// Options describe a mailbox. They are fixed at New.
type Options struct {
	Token     string     // the bearer token that is accepted; see SetToken
	Calendars []Calendar // the first is the default one
	Now       func() time.Time
	// PageSize is the number of rows of a page without a preference, 0 = 10; MaxPage bounds the preference, 0 = 1000.
	PageSize, MaxPage int
	ResetBy           Reset
	// RefuseRepeats answers a used transactionId by 409. KeepTransactions keeps those of deleted events taken.
	RefuseRepeats, KeepTransactions bool
	// Replays sends the state before the last change again, after the newest one. NoMasters leaves masters out of deltas.
	// RemovedOccurrences tells each deleted occurrence by an @removed of its own. LooseLinks puts another host into links.
	Replays, NoMasters, RemovedOccurrences, LooseLinks bool
	// MaxSubscription is the longest life of a subscription, 0 = 4,230 minutes.
	MaxSubscription time.Duration
	// Client posts handshakes and notifications; nil means one with a limit of 10 s.
	Client *http.Client
}

// Calendar is one calendar of the mailbox.
type Calendar struct {
	Name     string
	ReadOnly bool // canEdit is false, and writes are refused
}

// Event is an event as another client writes it. Empty words take Graph's defaults.
type Event struct {
	Subject, Body, Location     string
	Start, End                  time.Time
	Zone                        string // of the author, a Windows name; "" = UTC
	AllDay                      bool   // Start and End are dates then, read in UTC
	ShowAs, Sensitivity, Answer string // Answer is responseStatus.response
	Cancelled                   bool
	Categories                  []string
	NoText                      bool // subject, body and iCalUId are null
	Repeat                      Repeat
}

// Repeat makes a series of an event.
type Repeat struct {
	Days  int // distance of the occurrences; 0 = no series
	Count int
}

type calendar struct {
	Calendar
	id        string
	isDefault bool
}

// item is a stored event, a master or an exception.
type item struct {
	id, mutable string
	cal         *calendar
	rev         int64
	change      int64 // of the ETag
	created     time.Time
	modified    time.Time
	deleted     bool
	ev          Event
	transaction string
	props       map[string]string
	before      *item // the state before the last change

	exceptions map[string]*item // by original date
	gone       map[string]int64 // original date -> revision
	master     *item            // of an exception
	date       string           // of an exception
}

// Server is a simulated mailbox.
type Server struct {
	front
	opt     Options
	handler http.Handler

	mu            sync.Mutex
	token         string
	calendars     []*calendar
	items         map[string]*item // by immutable id, deleted ones too
	rev           int64
	epoch         int
	busy, peak    int
	requests      map[string]int // method -> number
	strangers     int            // requests without the preference of immutable ids
	invited       int
	subscriptions map[string]*subscription
	made          int
	pending       []note
}

// New makes a mailbox with empty calendars.
func New(opt Options) *Server {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.PageSize == 0 {
		opt.PageSize = 10
	}
	if opt.MaxPage == 0 {
		opt.MaxPage = 1000
	}
	if opt.MaxSubscription == 0 {
		opt.MaxSubscription = 4230 * time.Minute
	}
	if opt.Client == nil {
		opt.Client = &http.Client{Timeout: 10 * time.Second}
	}
	s := &Server{opt: opt, token: opt.Token, items: map[string]*item{}, epoch: 1, requests: map[string]int{}, subscriptions: map[string]*subscription{}}
	for i, c := range opt.Calendars {
		s.calendars = append(s.calendars, &calendar{Calendar: c, id: name("AAMkcal", c.Name), isDefault: i == 0})
	}
	s.handler = s.routes()
	return s
}

// Handler serves the API below /v1.0.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// name makes an opaque id.
func name(prefix string, parts ...string) string {
	sum := sha256.Sum256([]byte(fmt.Sprintf("%q", parts)))
	return prefix + base64.URLEncoding.EncodeToString(sum[:])
}

// CalendarID returns the id of a calendar by its name.
func (s *Server) CalendarID(name string) string { return s.calendar(name).id }

func (s *Server) calendar(name string) *calendar {
	for _, c := range s.calendars {
		if c.Name == name || c.id == name {
			return c
		}
	}
	panic("graphsim: no calendar " + name)
}

// SetToken replaces the accepted bearer token, as when it ends.
func (s *Server) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// Add stores an event as if another client had written it, and returns its immutable id.
func (s *Server) Add(calendar string, e Event) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(s.calendar(calendar), e).id
}

func (s *Server) add(c *calendar, e Event) *item {
	s.made++
	n := fmt.Sprint(s.made)
	it := &item{id: name("AAkA", c.id, n), mutable: name("AAMk", c.id, n), cal: c, created: s.opt.Now().UTC(),
		props: map[string]string{}, exceptions: map[string]*item{}, gone: map[string]int64{}}
	it.ev = normal(e)
	s.items[it.id] = it
	s.touch(it, "created")
	return it
}

func normal(e Event) Event {
	if e.Zone == "" {
		e.Zone = "UTC"
	}
	if e.ShowAs == "" {
		e.ShowAs = "busy"
	}
	if e.Sensitivity == "" {
		e.Sensitivity = "normal"
	}
	if e.Answer == "" {
		e.Answer = "organizer"
	}
	e.Start, e.End, e.Categories = e.Start.UTC(), e.End.UTC(), slices.Clone(e.Categories)
	return e
}

// touch notes a change of an item and tells the subscriptions. It needs the lock.
func (s *Server) touch(it *item, what string) {
	s.rev++
	top := it
	if it.master != nil {
		top = it.master
	}
	// Times grow with every change, as on a server, also under a clock that stands still.
	at := s.opt.Now().UTC().Add(time.Duration(s.rev) * time.Millisecond)
	for _, one := range []*item{it, top} {
		one.rev, one.change, one.modified = s.rev, s.rev, at
	}
	s.note(top, what)
}

// Edit replaces an event, of whoever wrote it, and keeps its id and properties.
func (s *Server) Edit(id string, e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.must(id)
	old := *it
	old.before = nil
	it.before, it.ev = &old, normal(e)
	if old.ev.Repeat != e.Repeat {
		it.exceptions, it.gone = map[string]*item{}, map[string]int64{}
	}
	s.touch(it, "updated")
}

func (s *Server) must(id string) *item {
	it, ok := s.items[id]
	if !ok || it.deleted {
		panic("graphsim: no event " + id)
	}
	return it
}

// Delete removes an event or a series.
func (s *Server) Delete(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(s.must(id))
}

func (s *Server) drop(it *item) {
	it.deleted = true
	s.touch(it, "deleted")
}

// Occurrence returns the immutable id of an occurrence of a series by its original date, such as 2027-03-04.
func (s *Server) Occurrence(master, date string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, _ := occurrenceIDs(s.must(master), date)
	return id
}

func occurrenceIDs(m *item, date string) (immutable, mutable string) {
	return name("AAoc", m.id, date), name("AAMo", m.mutable, date)
}

// DeleteOccurrence takes one occurrence out of a series.
func (s *Server) DeleteOccurrence(master, date string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropOccurrence(s.must(master), date)
}

func (s *Server) dropOccurrence(m *item, date string) {
	delete(m.exceptions, date)
	s.touch(m, "updated")
	m.gone[date] = s.rev
}

// EditOccurrence makes an exception of an occurrence.
func (s *Server) EditOccurrence(master, date string, e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.except(s.must(master), date, normal(e))
}

func (s *Server) except(m *item, date string, e Event) *item {
	id, mutable := occurrenceIDs(m, date)
	it := m.exceptions[date]
	if it == nil {
		it = &item{id: id, mutable: mutable, cal: m.cal, created: m.created, props: map[string]string{}, master: m, date: date}
		m.exceptions[date] = it
	}
	it.ev = e
	s.touch(it, "updated")
	return it
}

// Duplicate makes a person's copy of an event with all its properties, and returns the copy's id.
func (s *Server) Duplicate(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := s.must(id)
	it := s.add(from.cal, from.ev)
	it.props, it.transaction = maps.Clone(from.props), from.transaction
	return it.id
}

// Rehouse changes the mutable id of an event, as a move between folders does.
func (s *Server) Rehouse(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.must(id)
	it.mutable = name("AAMk", it.mutable)
	s.touch(it, "updated")
}

// StripMarkers takes all extended properties off an event.
func (s *Server) StripMarkers(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.must(id)
	it.props = map[string]string{}
	s.touch(it, "updated")
}

// Count returns how many events exist, a series being one.
func (s *Server) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, it := range s.items {
		if !it.deleted {
			n++
		}
	}
	return n
}

// Event returns a stored event by its immutable id.
func (s *Server) Event(id string) (Event, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it, _ := s.find(id, true)
	if it == nil {
		return Event{}, false
	}
	return it.ev, true
}

// ExpireTokens makes every delta token given out so far unknown.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
}

// Requests returns how many requests with a method arrived.
func (s *Server) Requests(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[method]
}

// Peak returns the most requests that the mailbox worked on at the same time, refused ones included.
func (s *Server) Peak() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak
}

// WithoutImmutableIDs returns how many requests to the mailbox lacked the preference of immutable ids.
func (s *Server) WithoutImmutableIDs() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.strangers
}

// Invited returns how many attendees were ever written: each would have got a mail.
func (s *Server) Invited() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.invited
}
