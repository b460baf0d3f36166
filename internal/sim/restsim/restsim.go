// Package restsim is a small booking system with a REST API that pages in any of the six ways that APIs of that kind
// have: numbered pages, offsets, cursors, a link in the body, the Link header (RFC 8288) and HAL. Tests of custom
// definitions use it in place of a vendor's service.
//
//	sim := restsim.New(restsim.Options{Paging: restsim.Cursor, PageSize: 10, Token: "t"})
//	server := httptest.NewServer(sim)
//	e := sim.Add(restsim.Entry{Kind: "wedding", Starts: "2027-06-05T14:00:00Z", Ends: "2027-06-05T23:00:00Z"})
//	sim.Break(restsim.FaultMissingPage, 1)
//
// All of it is assumed: no vendor is meant. What is documented are the forms of links only: RFC 8288, and the internet
// draft draft-kelly-json-hal. The assumptions that matter:
//
//   - Lists are in the order in which entries were made. Pages and offsets count positions, so they shift when an entry
//     before them goes; cursors and the link in the body name the last entry instead, and do not.
//   - updated_since gives what changed at that time or later. With Options.Tombstones removed entries are among it.
//   - Idempotency-Key makes a create repeatable for as long as its entry lives.
//   - A change takes the version it is for as If-Match, and is refused by 412 if there is a newer one.
//
// The server's clock is Options.Now, and each change moves it on by a second, so that no two happen at once. All methods
// may be called by several goroutines.
package restsim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Paging is a way in which lists are cut into pages.
type Paging string

// The ways, with what an answer holds beside the entries.
const (
	Page       Paging = "page"        // ?page=2: {"entries", "page", "pages", "total"}
	Offset     Paging = "offset"      // ?offset=20: {"entries", "has_more", "total"}
	Cursor     Paging = "cursor"      // ?cursor=…: {"entries", "next_cursor", "total"}
	NextLink   Paging = "next_link"   // {"entries", "next", "total"}; next is a whole address
	LinkHeader Paging = "link_header" // a list alone; Link and X-Total-Count headers
	HAL        Paging = "hal"         // {"_embedded": {"entries"}, "_links": {"next": {"href"}}, "total"}
)

// Pagings lists the ways.
func Pagings() []Paging { return []Paging{Page, Offset, Cursor, NextLink, LinkHeader, HAL} }

// Options sets a system up. The zero value pages by numbers, 20 entries a page, and needs no credentials.
type Options struct {
	Paging     Paging
	PageSize   int  // the most entries of a page, whatever is asked for; 0 = 20
	NoTotal    bool // answers do not name the number of entries
	Tombstones bool
	Token      string                  // bearer token that every request must show; "" = any
	Valid      func(token string) bool // asked in place of Token
	Now        func() time.Time        // nil = time.Now
}

// Entry is a booking.
type Entry struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`  // wedding, meeting
	State   string `json:"state"` // booked, option, cancelled
	Starts  string `json:"starts_at"`
	Ends    string `json:"ends_at"`
	Name    string `json:"name,omitempty"`
	Place   string `json:"place,omitempty"`
	Ref     string `json:"ref,omitempty"` // whatever a client left there
	Version int    `json:"version"`
	Updated string `json:"updated_at"`
	Removed bool   `json:"removed,omitempty"`

	seq int
}

// Server is the simulator.
type Server struct {
	opt Options

	mu      sync.Mutex
	entries []*Entry // in the order in which they were made
	keys    map[string]*Entry
	ticks   int
	faults  map[Fault]int
	healed  chan struct{}
	asked   []string
}

// New makes an empty system.
func New(o Options) *Server {
	if o.Paging == "" {
		o.Paging = Page
	}
	if o.PageSize == 0 {
		o.PageSize = 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Server{opt: o, keys: map[string]*Entry{}, faults: map[Fault]int{}, healed: make(chan struct{})}
}

// Add makes an entry, as somebody at the system does.
func (s *Server) Add(e Entry) Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.add(e)
}

func (s *Server) add(e Entry) *Entry {
	e.seq = len(s.entries) + 1
	e.ID, e.Removed, e.Version = fmt.Sprintf("en%05d", e.seq), false, 0
	s.entries = append(s.entries, &e)
	s.changed(&e)
	return &e
}

// changed gives an entry its next version.
func (s *Server) changed(e *Entry) {
	s.ticks++
	e.Version++
	e.Updated = s.clock().Format(time.RFC3339)
}

func (s *Server) clock() time.Time {
	return s.opt.Now().UTC().Add(time.Duration(s.ticks) * time.Second)
}

// Edit changes an entry and reports whether there is one.
func (s *Server) Edit(id string, change func(*Entry)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.live(id)
	if e == nil {
		return false
	}
	change(e)
	s.changed(e)
	return true
}

// Remove removes an entry and reports whether there was one.
func (s *Server) Remove(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.live(id)
	if e == nil {
		return false
	}
	e.Removed = true
	s.changed(e)
	return true
}

// Get returns an entry that exists.
func (s *Server) Get(id string) (Entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.live(id); e != nil {
		return *e, true
	}
	return Entry{}, false
}

// All returns the entries that exist.
func (s *Server) All() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Entry
	for _, e := range s.entries {
		if !e.Removed {
			out = append(out, *e)
		}
	}
	return out
}

// Asked returns the requests so far, each as method and address, without their credentials.
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

func (s *Server) live(id string) *Entry {
	for _, e := range s.entries {
		if e.ID == id && !e.Removed {
			return e
		}
	}
	return nil
}

// ServeHTTP answers the API.
//
//	GET    /v1/me                                           who am I
//	GET    /v1/entries?limit=&updated_since=&ref=           a list, paged as Options.Paging says
//	POST   /v1/entries                                      create; Idempotency-Key
//	GET, PATCH, DELETE /v1/entries/{id}                     one entry; If-Match with PATCH and DELETE
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI())
	w.Header().Set("Date", s.clock().Format(http.TimeFormat))
	s.mu.Unlock()
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if s.opt.Valid != nil && !s.opt.Valid(token) || s.opt.Valid == nil && s.opt.Token != "" && token != s.opt.Token {
		problem(w, http.StatusUnauthorized, "bad_token")
		return
	}
	if s.failBefore(w, r) {
		return
	}
	id, one := strings.CutPrefix(r.URL.Path, "/v1/entries/")
	switch {
	case r.URL.Path == "/v1/me" && r.Method == http.MethodGet:
		s.answer(w, http.StatusOK, map[string]any{"ok": true, "name": "simulated"})
	case r.URL.Path == "/v1/entries" && r.Method == http.MethodGet:
		s.list(w, r)
	case r.URL.Path == "/v1/entries" && r.Method == http.MethodPost:
		s.post(w, r)
	case one:
		s.one(w, r, id)
	default:
		problem(w, http.StatusNotFound, "no_such_resource")
	}
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit := s.opt.PageSize
	if n, err := strconv.Atoi(q.Get("limit")); err == nil && n > 0 && n < limit {
		limit = n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all, ok := s.matching(q)
	if !ok {
		problem(w, http.StatusBadRequest, "bad_time")
		return
	}
	start, ok := s.start(q, all, limit)
	if !ok {
		problem(w, http.StatusBadRequest, "bad_page")
		return
	}
	if start > 0 {
		switch {
		case s.brokenLocked(FaultCursorExpired):
			problem(w, http.StatusGone, "cursor_expired")
			return
		case s.brokenLocked(FaultShrink):
			all[0].Removed = true
			s.changed(all[0])
			if all, _ = s.matching(q); s.opt.Paging == Cursor || s.opt.Paging == NextLink {
				start-- // they name an entry, which is one further to the front now
			}
		case s.brokenLocked(FaultMissingPage):
			start += limit
		case s.brokenLocked(FaultDuplicatePage):
			start = max(0, start-limit)
		}
	}
	start = min(start, len(all))
	end := min(start+limit, len(all))
	entries := make([]Entry, 0, end-start)
	for _, e := range all[start:end] {
		entries = append(entries, *e)
	}
	if len(entries) > 0 && s.brokenLocked(FaultShortPage) {
		entries = entries[:len(entries)-1]
	}
	s.page(w, r, entries, all, start, end, limit)
}

// matching finds the entries that a list is about.
func (s *Server) matching(q url.Values) ([]*Entry, bool) {
	var since time.Time
	if text := q.Get("updated_since"); text != "" {
		var err error
		if since, err = time.Parse(time.RFC3339, text); err != nil {
			return nil, false
		}
	}
	var all []*Entry
	for _, e := range s.entries {
		at, err := time.Parse(time.RFC3339, e.Updated)
		switch {
		case err != nil, e.Removed && (since.IsZero() || !s.opt.Tombstones), at.Before(since):
		case q.Get("ref") != "" && (e.Ref != q.Get("ref") || e.Removed):
		default:
			all = append(all, e)
		}
	}
	return all, true
}

// start finds where a page begins.
func (s *Server) start(q url.Values, all []*Entry, limit int) (int, bool) {
	number := func(name string, least int) (int, bool) {
		if q.Get(name) == "" {
			return least, true
		}
		n, err := strconv.Atoi(q.Get(name))
		return n, err == nil && n >= least && n < 1<<30
	}
	switch s.opt.Paging {
	case Offset:
		return number("offset", 0)
	case Cursor, NextLink:
		if q.Get("cursor") == "" {
			return 0, true
		}
		seq, err := strconv.Atoi(strings.TrimPrefix(q.Get("cursor"), "after-"))
		for i, e := range all {
			if e.seq > seq {
				return i, err == nil
			}
		}
		return len(all), err == nil
	case Page, LinkHeader, HAL:
	}
	n, ok := number("page", 1)
	return (n - 1) * limit, ok
}

// page writes an answer in the form of the paging.
func (s *Server) page(w http.ResponseWriter, r *http.Request, entries []Entry, all []*Entry, start, end, limit int) {
	more := end < len(all)
	q := r.URL.Query()
	link := func(name, value string) string {
		q.Set(name, value)
		return "http://" + r.Host + r.URL.Path + "?" + q.Encode()
	}
	cursor := ""
	if more && end > 0 {
		cursor = "after-" + strconv.Itoa(all[end-1].seq)
	}
	asked := 1
	if n, err := strconv.Atoi(q.Get("page")); err == nil {
		asked = n
	}
	next := strconv.Itoa(asked + 1)
	out := map[string]any{"entries": entries}
	if !s.opt.NoTotal {
		out["total"] = len(all)
	}
	switch s.opt.Paging {
	case Page:
		out["page"], out["pages"] = asked, (len(all)+limit-1)/limit
	case Offset:
		out["has_more"] = more
	case Cursor:
		out["next_cursor"] = nil
		if more {
			out["next_cursor"] = cursor
		}
	case NextLink:
		if more {
			out["next"] = link("cursor", cursor)
		}
	case LinkHeader:
		if !s.opt.NoTotal {
			w.Header().Set("X-Total-Count", strconv.Itoa(len(all)))
		}
		links := `<` + link("page", "1") + `>; rel="first"`
		if more {
			links += `, <` + link("page", next) + `>; title="further, \"more\""; rel="prefetch next"`
		}
		w.Header().Set("Link", links)
		s.answerLocked(w, http.StatusOK, entries)
		return
	case HAL:
		delete(out, "entries")
		out["_embedded"] = map[string]any{"entries": entries}
		links := map[string]any{"self": map[string]any{"href": r.URL.RequestURI()}}
		if more {
			q.Set("page", next)
			links["next"] = map[string]any{"href": r.URL.Path + "?" + q.Encode()}
		}
		out["_links"] = links
	}
	s.answerLocked(w, http.StatusOK, out)
}

func (s *Server) post(w http.ResponseWriter, r *http.Request) {
	var e Entry
	if !readEntry(w, r, &e) {
		return
	}
	key := r.Header.Get("Idempotency-Key")
	s.mu.Lock()
	defer s.mu.Unlock()
	made := s.keys[key]
	if key == "" || made == nil || made.Removed {
		if made = s.add(e); key != "" {
			s.keys[key] = made
		}
	}
	s.answerWrite(w, http.StatusCreated, *made)
}

func (s *Server) one(w http.ResponseWriter, r *http.Request, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.live(id)
	if e == nil {
		problem(w, http.StatusNotFound, "no_such_entry")
		return
	}
	if match := r.Header.Get("If-Match"); r.Method != http.MethodGet && match != "" && match != strconv.Itoa(e.Version) {
		problem(w, http.StatusPreconditionFailed, "changed_meanwhile")
		return
	}
	switch r.Method {
	case http.MethodGet:
		s.answerLocked(w, http.StatusOK, *e)
	case http.MethodPatch:
		next := *e
		if !readEntry(w, r, &next) {
			return
		}
		next.ID, next.seq, next.Version, next.Removed = e.ID, e.seq, e.Version, false
		*e = next
		s.changed(e)
		s.answerWrite(w, http.StatusOK, *e)
	case http.MethodDelete:
		e.Removed = true
		s.changed(e)
		s.answerWrite(w, http.StatusOK, map[string]any{"removed": true})
	default:
		problem(w, http.StatusMethodNotAllowed, "no_such_method")
	}
}

// readEntry fills e with what a body names.
func readEntry(w http.ResponseWriter, r *http.Request, e *Entry) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil || json.Unmarshal(body, e) != nil {
		problem(w, http.StatusBadRequest, "not_an_entry")
		return false
	}
	if e.Starts == "" || e.Ends == "" {
		problem(w, http.StatusUnprocessableEntity, "times_missing")
		return false
	}
	return true
}
