package graphsim

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Faults are the ways in which the server fails now. The zero value is a healthy server.
type Faults struct {
	// Status answers every request with it, with RetryAfter in whole seconds when positive. The message repeats the
	// address of the request, as careless servers do.
	Status     int
	RetryAfter time.Duration
	// Hang answers nothing until Heal or until the client goes away.
	Hang bool
	// LoseAnswers is how many of the next successful writes are stored and then answered by a broken connection.
	LoseAnswers int
	// CutBody breaks the connection in the middle of every body.
	CutBody bool
	// Garbage answers every request with 200 and a web page, EmptyAnswer with 200 and no body.
	Garbage, EmptyAnswer bool

	// RepeatPage lets the link of the first page of changes lead to the same page again, SkipPage past the page that follows;
	// each happens once.
	RepeatPage, SkipPage bool

	// DropNotes, DuplicateNotes and ReverseNotes lose all notifications of a delivery, post them twice, or post them in
	// reverse order, each by itself.
	DropNotes, DuplicateNotes, ReverseNotes bool
}

// front makes a server fail.
type front struct {
	fmu    sync.Mutex
	faults Faults
	hang   chan struct{} // closed when held requests may go on; nil when nothing is held
}

// SetFaults replaces the faults. Requests held by an earlier Hang go on.
func (f *front) SetFaults(faults Faults) {
	f.fmu.Lock()
	defer f.fmu.Unlock()
	if f.hang != nil {
		close(f.hang)
		f.hang = nil
	}
	f.faults = faults
	if faults.Hang {
		f.hang = make(chan struct{})
	}
}

// Heal ends all faults.
func (f *front) Heal() { f.SetFaults(Faults{}) }

func (f *front) now() (Faults, chan struct{}) {
	f.fmu.Lock()
	defer f.fmu.Unlock()
	return f.faults, f.hang
}

// astray reports whether the link of a first page is to lead astray now.
func (f *front) astray() (repeat, skip bool) {
	f.fmu.Lock()
	defer f.fmu.Unlock()
	repeat, skip = f.faults.RepeatPage, f.faults.SkipPage
	f.faults.RepeatPage, f.faults.SkipPage = false, false
	return repeat, skip
}

func (f *front) loses() bool {
	f.fmu.Lock()
	defer f.fmu.Unlock()
	if f.faults.LoseAnswers == 0 {
		return false
	}
	f.faults.LoseAnswers--
	return true
}

// serve answers by the faults and otherwise hands the request on.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if leave, ok := s.enter(w, r); !ok {
		return
	} else {
		defer leave()
	}
	faults, hang := s.now()
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
			return
		}
	}
	switch {
	case faults.Status != 0:
		if faults.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(faults.RetryAfter/time.Second)))
		}
		refuse(w, faults.Status, "UnknownError", "refused: "+r.URL.String())
		return
	case faults.Garbage:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!DOCTYPE html><html><body><p>Sign in to the guest network<br></body></html>")
		return
	case faults.EmptyAnswer:
		w.WriteHeader(http.StatusOK)
		return
	}
	rec := &recorder{header: http.Header{}}
	s.handler.ServeHTTP(rec, r)
	if r.Method != http.MethodGet && rec.status/100 == 2 && s.loses() {
		panic(http.ErrAbortHandler)
	}
	rec.send(w, faults.CutBody)
}

// maxConcurrent is how many requests of one app a mailbox works on at the same time.
const maxConcurrent = 4

// enter counts a request and lets at most four of the mailbox in. Subscriptions are another service.
func (s *Server) enter(w http.ResponseWriter, r *http.Request) (leave func(), ok bool) {
	mailbox := strings.HasPrefix(r.URL.Path, "/v1.0/me/")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[r.Method]++
	if !mailbox {
		return func() {}, true
	}
	if !prefers(r, `IdType="ImmutableId"`) {
		s.strangers++
	}
	s.peak = max(s.peak, s.busy+1)
	if s.busy == maxConcurrent {
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests, "ApplicationThrottled", "Application is over its MailboxConcurrency limit.")
		return nil, false
	}
	s.busy++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.busy--
	}, true
}

// recorder keeps an answer until it is decided how much of it the client gets.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}

func (r *recorder) send(w http.ResponseWriter, cut bool) {
	for k, v := range r.header {
		w.Header()[k] = v
	}
	r.WriteHeader(http.StatusOK)
	if r.status != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(r.body.Len()))
	}
	w.WriteHeader(r.status)
	if cut && r.body.Len() > 0 {
		_, _ = w.Write(r.body.Bytes()[:r.body.Len()/2])
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(r.body.Bytes())
}
