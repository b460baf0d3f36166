package googlesim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Faults are the ways in which the API fails now. The zero value is a healthy one.
type Faults struct {
	// Status answers every request with it; Reason names the error, usageLimits is its domain when it is about a limit.
	Status int
	Reason string
	// RetryAfter goes into the header of the same name, RetryInMessage into the text, as a time.
	RetryAfter, RetryInMessage time.Duration
	// Hang answers nothing until Heal or until the client goes away.
	Hang bool
	// LoseAnswers is how many of the next successful writes are carried out and then answered by a broken connection.
	LoseAnswers int
	// CutBody breaks the connection in the middle of every body, Garbage answers with a web page, EmptyAnswer with 200
	// and nothing.
	CutBody, Garbage, EmptyAnswer bool
	// RepeatPage lets the token of the first page lead to the same page again, SkipPage past the page that follows; each
	// happens once.
	RepeatPage, SkipPage bool
	// EmptyPages puts a page without items before every list.
	EmptyPages bool
	// StaleRepeats lists the version before of every changed event once more, at the end.
	StaleRepeats bool
	// HideDeleted answers 404 for deleted events, whose ids stay taken all the same.
	HideDeleted bool
	// BareTombstones leaves everything but the id out of cancelled exceptions too.
	BareTombstones bool
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

func (s *Server) loses() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.LoseAnswers == 0 {
		return false
	}
	s.faults.LoseAnswers--
	return true
}

// held waits as a Hang demands. It answers false when the client went away.
func held(r *http.Request, hang <-chan struct{}) bool {
	if hang == nil {
		return true
	}
	select {
	case <-hang:
		return true
	case <-r.Context().Done():
		return false
	}
}

// broken answers by the faults that hide the API, and reports whether one did.
func (f Faults) broken(w http.ResponseWriter, now time.Time) bool {
	switch {
	case f.Status != 0:
		fail := &failure{status: f.Status, reason: f.Reason, message: "The request was refused."}
		if strings.Contains(strings.ToLower(f.Reason), "limit") || f.Reason == "quotaExceeded" || f.Reason == "accessNotConfigured" {
			fail.domain, fail.message = "usageLimits", "Rate Limit Exceeded"
		}
		if f.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
		}
		if f.RetryInMessage > 0 {
			fail.message += ". Retry after " + retryAt(now, f.RetryInMessage)
		}
		answer(w, nil, fail)
	case f.Garbage:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!DOCTYPE html><html><body><p>Sign in to the guest network<br></body></html>"))
	case f.EmptyAnswer:
		w.WriteHeader(http.StatusOK)
	default:
		return false
	}
	return true
}

// recorder keeps an answer until it is decided how much of it the client gets.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// mask leaves only the selected fields in the body, and reports whether the selection can be read.
func (r *recorder) mask(selection string) bool {
	tree, rest, ok := readMask(selection)
	var body map[string]any
	if !ok || rest != "" || json.Unmarshal(r.body.Bytes(), &body) != nil {
		return false
	}
	b, err := json.Marshal(tree.apply(body))
	if err != nil {
		return false
	}
	r.body.Reset()
	r.body.Write(b)
	return true
}

func (r *recorder) send(w http.ResponseWriter, cut bool) {
	for k, v := range r.header {
		w.Header()[k] = v
	}
	if r.status == http.StatusNoContent || r.status == http.StatusNotModified {
		w.WriteHeader(r.status)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(r.body.Len()))
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

// fieldMask is a partial response selection: a(b,c),d/e. A nil tree selects all.
type fieldMask map[string]fieldMask

// readMask reads a selection up to a closing parenthesis or the end.
func readMask(s string) (tree fieldMask, rest string, ok bool) {
	tree = fieldMask{}
	for {
		end := strings.IndexAny(s, ",()")
		if end < 0 {
			end = len(s)
		}
		names := strings.Split(s[:end], "/")
		at := tree
		var last string
		for i, name := range names {
			if name == "" {
				return nil, "", false
			}
			if i < len(names)-1 {
				if at[name] == nil {
					at[name] = fieldMask{}
				}
				at = at[name]
			}
			last = name
		}
		at[last] = nil
		if s = s[end:]; strings.HasPrefix(s, "(") {
			below, after, ok := readMask(s[1:])
			if !ok || !strings.HasPrefix(after, ")") {
				return nil, "", false
			}
			at[last], s = below, after[1:]
		}
		if !strings.HasPrefix(s, ",") {
			return tree, s, true
		}
		s = s[1:]
	}
}

func (m fieldMask) apply(v any) any {
	if m == nil {
		return v
	}
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, below := range m {
			if part, there := v[name]; there {
				out[name] = below.apply(part)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = m.apply(v[i])
		}
		return out
	}
	return v
}
