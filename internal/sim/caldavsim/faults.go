package caldavsim

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
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
	// Unauthorized is how many of the next requests are answered by 401, as a server does whose parts do not agree.
	Unauthorized int
	// RecurrenceExceptions adds X-RECURRENCE-EXCEPTION to every event that is read, another one each time (iCloud).
	RecurrenceExceptions bool
}

// Front stands before a CalDAV server, simulated or real, and makes it fail. It is safe for concurrent use.
type Front struct {
	next   http.Handler
	served atomic.Int64

	mu     sync.Mutex
	faults Faults
	hang   chan struct{} // closed when held requests may go on; nil when nothing is held
}

// NewFront puts a healthy front before a server.
func NewFront(next http.Handler) *Front { return &Front{next: next} }

// SetFaults replaces the faults. Requests held by an earlier Hang go on.
func (f *Front) SetFaults(faults Faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
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
func (f *Front) Heal() { f.SetFaults(Faults{}) }

// ServeHTTP answers by the faults and otherwise hands the request on.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	faults, hang := f.faults, f.hang
	f.mu.Unlock()
	if !wait(r, faults, hang) || faults.broken(w, r) {
		return
	}
	if f.counts(&f.faults.Unauthorized) {
		w.Header().Set("WWW-Authenticate", `Basic realm="calendars"`)
		http.Error(w, "not this time", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
		return
	}
	if faults.ShortMultiget && r.Method == "REPORT" && rootElement(body).Local == "calendar-multiget" {
		if from, to := bytes.LastIndex(body, []byte("<href")), bytes.LastIndex(body, []byte("</href>")); from >= 0 && to > from {
			body = append(body[:from:from], body[to+len("</href>"):]...)
		}
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	rec := &recorder{header: http.Header{}}
	f.next.ServeHTTP(rec, r)
	if r.Method == http.MethodPut {
		faults.adjustPut(rec, r)
	}
	if wrote := r.Method == http.MethodPut || r.Method == http.MethodDelete; wrote && rec.status/100 == 2 && f.counts(&f.faults.LoseAnswers) {
		panic(http.ErrAbortHandler)
	}
	if faults.RecurrenceExceptions && (r.Method == http.MethodGet || r.Method == "REPORT") {
		line := fmt.Sprintf("X-RECURRENCE-EXCEPTION:%d", f.served.Add(1))
		for _, end := range []string{"\r\n", "&#xD;&#xA;"} { // as it is, and inside XML
			rec.body = *bytes.NewBuffer(bytes.ReplaceAll(rec.body.Bytes(), []byte(end+"END:VEVENT"), []byte(end+line+end+"END:VEVENT")))
		}
	}
	rec.send(w, faults.CutBody)
}

func (f Faults) adjustPut(rec *recorder, r *http.Request) {
	if f.NoETagOnPut {
		rec.header.Del("ETag")
	}
	if f.MultiStatusOnFailedPut && rec.status >= 400 {
		inside := statusLine(rec.status)
		rec.status, rec.header = http.StatusMultiStatus, http.Header{}
		rec.body.Reset()
		writeXML(rec, multistatus{Responses: []response{{Href: r.URL.EscapedPath(), Status: inside}}})
	}
}

// counts uses up one of a number of faults, and reports whether there was one.
func (f *Front) counts(left *int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if *left == 0 {
		return false
	}
	*left--
	return true
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

// wait holds a request as the faults demand. It answers false when the client went away meanwhile.
func wait(r *http.Request, f Faults, hang <-chan struct{}) bool {
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
