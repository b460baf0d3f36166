package tavesim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Faults are the ways in which the servers fail now. The zero value is a healthy studio.
type Faults struct {
	// Status answers every request with it, with RetryAfter in whole seconds when positive. The text repeats the address
	// and the key of the request, as careless servers do. After is how many requests are answered well before.
	Status     int
	RetryAfter time.Duration
	After      int
	// Redirect answers every request with 302 to this address.
	Redirect string
	// Hang answers nothing until Heal or until the client goes away.
	Hang bool
	// LoseAnswers is how many of the next successful writes are stored and then answered by a broken connection.
	LoseAnswers int
	// CutBody breaks the connection in the middle of every body.
	CutBody bool
	// Garbage answers every request with 200 and a web page, EmptyAnswer with 200 and no body.
	Garbage, EmptyAnswer bool
	// ShortPages leaves the last item out of every page that has one, RepeatPages answers the first page for every page, and
	// SkipPages the next one for every page but the first.
	ShortPages, RepeatPages, SkipPages bool
}

// front makes the servers fail.
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

// now returns the faults for one more request.
func (f *front) now() (Faults, chan struct{}) {
	f.fmu.Lock()
	defer f.fmu.Unlock()
	if f.faults.After > 0 {
		f.faults.After--
		return Faults{}, nil
	}
	return f.faults, f.hang
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
		refuse(w, faults.Status, "refused: "+r.URL.String()+" "+r.Header.Get("X-API-KEY"))
		return
	case faults.Redirect != "":
		http.Redirect(w, r, faults.Redirect, http.StatusFound)
		return
	case faults.Garbage:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!DOCTYPE html><html><body><p>Sign in to the guest network<br></body></html>")
		return
	case faults.EmptyAnswer:
		w.WriteHeader(http.StatusOK)
		return
	}
	if q := r.URL.Query(); faults.RepeatPages && q.Has("page") {
		q.Set("page", "1")
		r.URL.RawQuery = q.Encode()
	}
	if q := r.URL.Query(); faults.SkipPages {
		if n, err := strconv.Atoi(q.Get("page")); err == nil && n > 1 {
			q.Set("page", strconv.Itoa(n+1))
			r.URL.RawQuery = q.Encode()
		}
	}
	rec := &recorder{header: http.Header{}}
	s.handler.ServeHTTP(rec, r)
	if r.Method != http.MethodGet && rec.status/100 == 2 && s.loses() {
		panic(http.ErrAbortHandler)
	}
	if faults.ShortPages {
		rec.shorten()
	}
	rec.send(w, faults.CutBody)
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

// shorten leaves out the last item of a list.
func (r *recorder) shorten() {
	var o Object
	if json.Unmarshal(r.body.Bytes(), &o) != nil || !strings.HasSuffix(text(o["type"]), "-collection") {
		return
	}
	if items, _ := o["items"].([]any); len(items) > 0 {
		o["items"] = items[:len(items)-1]
		b, err := json.Marshal(o)
		if err != nil {
			panic("tavesim: " + err.Error())
		}
		r.body.Reset()
		r.body.Write(b)
	}
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
