// Package slacksim is the receiving end of an incoming webhook of Slack, and of systems that take the same form, as an
// http.Handler with faults.
//
//	sim := slacksim.New()
//	srv := httptest.NewServer(sim)          // post to srv.URL + "/services/T000/B000/XXXX"
//	sim.Fail(slacksim.Limited, slacksim.LostAnswer)
//	… sim.Messages()
//
// Documented behaviour: a POST of JSON with text or blocks is answered 200 with the body "ok"; an unreadable one 400
// "invalid_payload", a message without text and blocks 400 "no_text"; an address that was switched off 404 "no_service"; an
// archived channel 410 "channel_is_archived"; 403 "action_prohibited"; more than about one message a second 429 with
// Retry-After; faults of Slack 500 "rollup_error". The address is the only secret, and there is no idempotency.
//
// Assumed: which status goes with a fault that the documentation names without one, and that nothing tells a repeat.
//
// A Server may be used by many goroutines at once and holds no clock.
package slacksim

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Fault is what the server does with one request.
type Fault int

// The faults.
const (
	None       Fault = iota
	Limited          // 429 with Retry-After: 7
	Down             // 500
	Gone             // 404 no_service
	Archived         // 410
	Prohibited       // 403
	Slow             // no answer until the client goes
	Cut              // closes without an answer; nothing is kept
	LostAnswer       // keeps the message and closes without an answer
)

// Message is what was posted.
type Message struct {
	Path   string
	Text   string            `json:"text"`
	Blocks []json.RawMessage `json:"blocks"`
	Raw    []byte
}

// Server is the simulator.
type Server struct {
	mu       sync.Mutex
	faults   []Fault
	messages []Message
	asked    int
}

// New makes a server.
func New() *Server { return &Server{} }

// Fail gives the next requests their faults; None is one without.
func (s *Server) Fail(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// Messages returns what was taken, in order.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.messages...)
}

// Asked is how many requests there were.
func (s *Server) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// ServeHTTP takes a message.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	s.mu.Lock()
	s.asked++
	fault := None
	if len(s.faults) > 0 {
		fault, s.faults = s.faults[0], s.faults[1:]
	}
	s.mu.Unlock()
	answer := func(status int, text string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
	switch fault {
	case Limited:
		w.Header().Set("Retry-After", "7")
		answer(http.StatusTooManyRequests, "rate_limited")
		return
	case Down:
		answer(http.StatusInternalServerError, "rollup_error")
		return
	case Gone:
		answer(http.StatusNotFound, "no_service")
		return
	case Archived:
		answer(http.StatusGone, "channel_is_archived")
		return
	case Prohibited:
		answer(http.StatusForbidden, "action_prohibited")
		return
	case Slow:
		<-r.Context().Done()
		return
	case Cut:
		panic(http.ErrAbortHandler)
	case None, LostAnswer:
	}
	var m Message
	switch {
	case err != nil || r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") || json.Unmarshal(body, &m) != nil:
		answer(http.StatusBadRequest, "invalid_payload")
		return
	case m.Text == "" && len(m.Blocks) == 0:
		answer(http.StatusBadRequest, "no_text")
		return
	}
	m.Path, m.Raw = r.URL.Path, body
	s.mu.Lock()
	s.messages = append(s.messages, m)
	s.mu.Unlock()
	if fault == LostAnswer {
		panic(http.ErrAbortHandler)
	}
	answer(http.StatusOK, "ok")
}
