// Package icssim is a web server that publishes one calendar file, for tests of subscriptions and the demo.
//
//	sim := icssim.New(time.Now)
//	server := httptest.NewServer(sim.Handler()) // the feed is at every path that ends in .ics
//	sim.Put("a@example.test", "SUMMARY:Viewing", "DTSTART:20270605T100000Z", "DTEND:20270605T110000Z")
//	sim.SetFaults(icssim.Faults{Half: true})
//
// # Documented behaviour
//
// ETag with If-None-Match and Last-Modified with If-Modified-Since (RFC 9110), 304 without a body, Retry-After on 429 and
// 503, an iCalendar stream of VEVENTs (RFC 5545).
//
// # Seen on real publishers, and offered as options or faults
//
// No validators at all; the same content in another order at every request; a page of HTML with 200 for whoever is not
// signed in; a file that breaks off without its length having said so; nothing at all; a calendar that is suddenly without events; 404
// and 410 for an address that was withdrawn.
//
// A Server is safe for concurrent use. It keeps everything in memory and starts nothing by itself.
package icssim

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Faults are the ways in which the server fails now. The zero value is a healthy server.
type Faults struct {
	// Status answers every request with it, with RetryAfter in whole seconds when positive.
	Status     int
	RetryAfter time.Duration
	// Hang answers nothing until Heal or until the client goes away.
	Hang bool
	// CutBody breaks the connection in the middle of the body.
	CutBody bool
	// Half sends the first half and ends the answer properly. HTML sends a page, Nothing no byte, NoEvents a calendar
	// without any event.
	Half, HTML, Nothing, NoEvents bool
	// NoValidators leaves out ETag and Last-Modified, and answers no condition.
	NoValidators bool
	// Shuffle gives the events in another order each time.
	Shuffle bool
	// Redirect sends everybody to this address.
	Redirect string
}

// Server publishes a calendar.
type Server struct {
	now func() time.Time

	mu       sync.Mutex
	events   map[string][]string // by UID: lines without BEGIN, END and UID
	extra    []string            // lines before the events, such as a VTIMEZONE
	changed  time.Time
	faults   Faults
	hang     chan struct{}
	requests int
	unsent   int // answered by 304
}

// New makes an empty calendar.
func New(now func() time.Time) *Server {
	return &Server{now: now, events: map[string][]string{}, changed: now()}
}

// Put publishes an event, or replaces the one with this UID.
func (s *Server) Put(uid string, lines ...string) {
	s.change(func() { s.events[uid] = slices.Clone(lines) })
}

// Delete takes an event out.
func (s *Server) Delete(uid string) { s.change(func() { delete(s.events, uid) }) }

// Extra replaces the lines before the events.
func (s *Server) Extra(lines ...string) { s.change(func() { s.extra = slices.Clone(lines) }) }

func (s *Server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	// Last-Modified has seconds; two contents must not share one.
	s.changed = s.changed.Add(time.Second)
	if now := s.now(); now.After(s.changed) {
		s.changed = now
	}
}

// Count is how many events are published.
func (s *Server) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.events)
}

// Requests counts requests, and how many of them were answered by 304.
func (s *Server) Requests() (all, unsent int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests, s.unsent
}

// SetFaults replaces the faults. Requests held by an earlier Hang go on.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hang != nil {
		close(s.hang)
		s.hang = nil
	}
	s.faults = f
	if f.Hang {
		s.hang = make(chan struct{})
	}
}

// Heal ends all faults.
func (s *Server) Heal() { s.SetFaults(Faults{}) }

// Handler serves the feed at every path that ends in .ics.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	f, hang := s.faults, s.hang
	body, changed := s.file(), s.changed.UTC().Truncate(time.Second)
	s.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
			return
		}
	}
	switch {
	case f.Status != 0:
		if f.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
		}
		http.Error(w, "refused: "+r.URL.Path, f.Status)
		return
	case f.Redirect != "":
		http.Redirect(w, r, f.Redirect, http.StatusFound)
		return
	case !strings.HasSuffix(r.URL.Path, ".ics") || r.Method != http.MethodGet:
		http.NotFound(w, r)
		return
	case f.HTML:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!DOCTYPE html><html><body>Please sign in</body></html>"))
		return
	case f.Nothing:
		w.WriteHeader(http.StatusOK)
		return
	}
	sum := sha256.Sum256([]byte(body))
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	w.Header().Set("Content-Type", "text/calendar; charset=utf-8")
	if !f.NoValidators {
		w.Header().Set("ETag", tag)
		w.Header().Set("Last-Modified", changed.Format(http.TimeFormat))
		since, err := http.ParseTime(r.Header.Get("If-Modified-Since"))
		match := r.Header.Get("If-None-Match")
		if match == tag || match == "" && err == nil && !changed.After(since) {
			s.mu.Lock()
			s.unsent++
			s.mu.Unlock()
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if f.Half {
		body = body[:len(body)/2]
	}
	if f.CutBody {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write([]byte(body[:len(body)/2]))
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write([]byte(body))
}

// file is the calendar as it is published. The caller holds the lock.
func (s *Server) file() string {
	lines := append([]string{"BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Other//Publisher//EN"}, s.extra...)
	uids := slices.Sorted(maps.Keys(s.events))
	if s.faults.Shuffle && s.requests%2 == 0 {
		slices.Reverse(uids)
	}
	for _, uid := range uids {
		if s.faults.NoEvents {
			break
		}
		lines = append(lines, "BEGIN:VEVENT", "UID:"+uid)
		lines = append(append(lines, s.events[uid]...), "END:VEVENT")
	}
	return strings.Join(append(lines, "END:VCALENDAR"), "\r\n") + "\r\n"
}
