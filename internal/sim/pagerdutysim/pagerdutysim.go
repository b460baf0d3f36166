// Package pagerdutysim is the Events API v2 of PagerDuty, as far as incidents go, as an http.Handler with faults.
//
//	sim := pagerdutysim.New("0123456789abcdef0123456789abcdef") // integration keys of known services
//	srv := httptest.NewServer(sim)                              // post to srv.URL + "/v2/enqueue"
//	sim.Fail(pagerdutysim.Limited, pagerdutysim.LostAnswer)
//	… sim.Incidents()
//
// Documented behaviour: POST /v2/enqueue takes JSON with routing_key of 32 characters, event_action (trigger, acknowledge or
// resolve) and, for a trigger, payload with summary (at most 1024 characters), source and severity (critical, error, warning or
// info). An event that is taken is answered 202 with {"status":"success","message":"Event processed","dedup_key":…}; one that is
// wrong 400 with {"status":"invalid event","message":…,"errors":[…]}; too many 429. A trigger opens an incident for its dedup_key,
// or joins the open one; acknowledge and resolve need a dedup_key, and change nothing when no incident is open for it.
//
// Assumed: that an unknown routing_key of the right form is taken with 202 and then nothing comes of it, since the API answers
// before it looks; that a 429 says nothing of how long to wait; and that a trigger after resolve opens another incident.
//
// A Server may be used by many goroutines at once and holds no clock.
package pagerdutysim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"unicode/utf8"
)

// Fault is what the server does with one request.
type Fault int

// The faults.
const (
	None       Fault = iota
	Limited          // 429
	Down             // 500
	Cut              // closes without an answer; nothing is kept
	LostAnswer       // keeps the event and closes without an answer
)

// Event is what was posted and taken.
type Event struct {
	RoutingKey string `json:"routing_key"`
	Action     string `json:"event_action"`
	DedupKey   string `json:"dedup_key"`
	Payload    *struct {
		Summary   string            `json:"summary"`
		Source    string            `json:"source"`
		Severity  string            `json:"severity"`
		Timestamp string            `json:"timestamp"`
		Component string            `json:"component"`
		Class     string            `json:"class"`
		Details   map[string]string `json:"custom_details"`
	} `json:"payload"`
	Client    string `json:"client"`
	ClientURL string `json:"client_url"`
}

// Incident is what a service shows.
type Incident struct {
	RoutingKey string
	DedupKey   string
	Status     string // triggered, acknowledged or resolved
	Summary    string // of the first trigger
	Severity   string // of the last trigger
	Triggers   int
}

// Server is the simulator.
type Server struct {
	mu        sync.Mutex
	services  []string
	faults    []Fault
	events    []Event
	incidents []Incident
	asked     int
	made      int // dedup keys that it chose
}

// New makes a server with services of some integration keys.
func New(keys ...string) *Server { return &Server{services: keys} }

// Fail gives the next requests their faults; None is one without.
func (s *Server) Fail(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// Events returns what was taken, in order.
func (s *Server) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// Incidents returns the incidents of all services, in the order in which they were opened.
func (s *Server) Incidents() []Incident {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.incidents)
}

// Asked is how many requests there were.
func (s *Server) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// ServeHTTP takes an event.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 512<<10))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	fault := None
	if len(s.faults) > 0 {
		fault, s.faults = s.faults[0], s.faults[1:]
	}
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	refuse := func(text string) {
		answer(http.StatusBadRequest, map[string]any{"status": "invalid event", "message": "Event object is invalid", "errors": []string{text}})
	}
	switch fault {
	case Limited:
		answer(http.StatusTooManyRequests, map[string]any{"status": "throttle exceeded", "message": "Requests for this service are arriving too quickly."})
		return
	case Down:
		answer(http.StatusInternalServerError, map[string]any{"status": "internal error"})
		return
	case Cut:
		panic(http.ErrAbortHandler)
	case None, LostAnswer:
	}
	if r.Method != http.MethodPost || r.URL.Path != "/v2/enqueue" {
		answer(http.StatusNotFound, map[string]any{"status": "not found"})
		return
	}
	var e Event
	if err != nil || json.Unmarshal(body, &e) != nil {
		refuse("the body is not JSON")
		return
	}
	if text := wrong(e); text != "" {
		refuse(text)
		return
	}
	if e.DedupKey == "" {
		s.made++
		e.DedupKey = fmt.Sprintf("made-%d", s.made)
	}
	s.events = append(s.events, e)
	if slices.Contains(s.services, e.RoutingKey) {
		s.take(e)
	}
	if fault == LostAnswer {
		panic(http.ErrAbortHandler)
	}
	answer(http.StatusAccepted, map[string]any{"status": "success", "message": "Event processed", "dedup_key": e.DedupKey})
}

func wrong(e Event) string {
	switch {
	case len(e.RoutingKey) != 32:
		return "'routing_key' must have 32 characters"
	case len(e.DedupKey) > 255:
		return "'dedup_key' is longer than 255 characters"
	}
	switch e.Action {
	case "trigger":
		switch {
		case e.Payload == nil:
			return "'payload' is missing"
		case e.Payload.Summary == "" || utf8.RuneCountInString(e.Payload.Summary) > 1024:
			return "'payload.summary' must have 1 to 1024 characters"
		case e.Payload.Source == "":
			return "'payload.source' is missing or blank"
		case !slices.Contains([]string{"critical", "error", "warning", "info"}, e.Payload.Severity):
			return "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')"
		}
	case "acknowledge", "resolve":
		if e.DedupKey == "" {
			return "'dedup_key' is missing"
		}
	default:
		return "'event_action' must be trigger, acknowledge or resolve"
	}
	return ""
}

// take needs mu.
func (s *Server) take(e Event) {
	i := slices.IndexFunc(s.incidents, func(o Incident) bool {
		return o.RoutingKey == e.RoutingKey && o.DedupKey == e.DedupKey && o.Status != "resolved"
	})
	switch {
	case e.Action == "trigger" && i < 0:
		s.incidents = append(s.incidents, Incident{RoutingKey: e.RoutingKey, DedupKey: e.DedupKey, Status: "triggered", Summary: e.Payload.Summary, Severity: e.Payload.Severity, Triggers: 1})
	case i < 0:
	case e.Action == "trigger":
		s.incidents[i].Triggers++
		s.incidents[i].Severity = e.Payload.Severity
	case e.Action == "acknowledge":
		s.incidents[i].Status = "acknowledged"
	default:
		s.incidents[i].Status = "resolved"
	}
}
