package caldavsim

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
)

// Faults are the ways in which the server fails now. The zero value is a healthy server.
type Faults struct {
	// Status answers every request with it, with RetryAfter in whole seconds when positive. The body repeats the
	// path of the request, as careless servers do.
	Status     int
	RetryAfter time.Duration
	// Hang answers nothing until Heal or until the client goes away.
	Hang bool
	// Delay is waited before every answer; a client that goes away ends it.
	Delay time.Duration
	// LoseAnswers is how many of the next successful writes are stored and then answered by a broken connection.
	LoseAnswers int
	// CutBody breaks the connection in the middle of every body.
	CutBody bool
	// Garbage answers every request with 200 and a web page, EmptyAnswer with 207 and no body.
	Garbage, EmptyAnswer bool
	// ShortMultiget leaves the last resource out of every multiget, without a word.
	ShortMultiget bool
	// NoETagOnPut leaves the ETag out of the answers to PUT.
	NoETagOnPut bool
	// MultiStatusOnFailedPut answers a refused PUT with 207 and the status inside.
	MultiStatusOnFailedPut bool
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

// wait holds a request as the faults demand. It answers false when the client went away meanwhile.
func (s *Server) wait(r *http.Request, f Faults, hang <-chan struct{}) bool {
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
			return false
		}
	}
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return false
		}
	}
	return true
}

// broken answers by the faults that hide the real server, and reports whether one did.
func (f Faults) broken(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case f.Status != 0:
		if f.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
		}
		http.Error(w, "refused: "+r.URL.Path, f.Status)
	case f.Garbage:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!DOCTYPE html><html><body><p>Sign in to the guest network<br></body></html>"))
	case f.EmptyAnswer:
		w.WriteHeader(http.StatusMultiStatus)
	default:
		return false
	}
	return true
}
