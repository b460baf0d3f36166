package restsim

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Fault is a way to fail.
type Fault string

// The faults.
const (
	FaultMissingPage   Fault = "missing-page"   // a page other than the first is left out
	FaultDuplicatePage Fault = "duplicate-page" // a page other than the first holds what the one before held
	FaultShrink        Fault = "shrink"         // the first entry goes before a page other than the first is answered
	FaultShortPage     Fault = "short-page"     // a page leaves out its last entry and says nothing
	FaultCursorExpired Fault = "cursor-expired" // 410 to a page other than the first
	FaultUnauthorized  Fault = "unauthorized"   // 401
	FaultRateLimit     Fault = "rate-limit"     // 429 with Retry-After
	FaultRateLimitMute Fault = "rate-mute"      // 429 without
	FaultSoftLimit     Fault = "soft-limit"     // 200 with {"error": {"code": "quota", "retry_in": 9}}
	FaultServerError   Fault = "server-error"   // 503 with Retry-After
	FaultCutBody       Fault = "cut-body"       // half of a good answer, then the connection breaks
	FaultGarbage       Fault = "garbage"        // 200 with a page of HTML
	FaultEmptyAnswer   Fault = "empty-answer"   // 200 without a body
	FaultHang          Fault = "hang"           // no answer until Heal
	FaultLoseAnswer    Fault = "lose-answer"    // a write is carried out, then the connection breaks
)

// RetryAfter is the wait that FaultRateLimit and FaultServerError tell.
const RetryAfter = 7 * time.Second

// Break makes the API fail so many times, or until Heal when times is negative.
func (s *Server) Break(f Fault, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[f] = times
}

// Heal ends all faults and lets calls go that hang.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
	close(s.healed)
	s.healed = make(chan struct{})
}

func (s *Server) broken(f Fault) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.brokenLocked(f)
}

func (s *Server) brokenLocked(f Fault) bool {
	left := s.faults[f]
	if left > 0 {
		s.faults[f]--
	}
	return left != 0
}

// failBefore answers a request that is to fail before anything is done.
func (s *Server) failBefore(w http.ResponseWriter, r *http.Request) bool {
	wait := strconv.Itoa(int(RetryAfter / time.Second))
	switch {
	case s.broken(FaultHang):
		s.mu.Lock()
		healed := s.healed
		s.mu.Unlock()
		select {
		case <-healed:
			return false
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	case s.broken(FaultUnauthorized):
		problem(w, http.StatusUnauthorized, "bad_token")
	case s.broken(FaultRateLimit):
		w.Header().Set("Retry-After", wait)
		problem(w, http.StatusTooManyRequests, "quota")
	case s.broken(FaultRateLimitMute):
		problem(w, http.StatusTooManyRequests, "quota")
	case s.broken(FaultSoftLimit):
		write(w, http.StatusOK, map[string]any{"error": map[string]any{"code": "quota", "retry_in": 9}})
	case s.broken(FaultServerError):
		w.Header().Set("Retry-After", wait)
		problem(w, http.StatusServiceUnavailable, "back_soon")
	case s.broken(FaultEmptyAnswer):
		w.WriteHeader(http.StatusOK)
	case s.broken(FaultGarbage):
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html><body>Please sign in, Marigold</body></html>")) // the client may be gone
	default:
		return false
	}
	return true
}

func (s *Server) answer(w http.ResponseWriter, status int, v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answerLocked(w, status, v)
}

func (s *Server) answerLocked(w http.ResponseWriter, status int, v any) {
	if !s.brokenLocked(FaultCutBody) {
		write(w, status, v)
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic("restsim: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b[:len(b)/2]) // broken on purpose
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	panic(http.ErrAbortHandler)
}

func (s *Server) answerWrite(w http.ResponseWriter, status int, v any) {
	if s.brokenLocked(FaultLoseAnswer) {
		panic(http.ErrAbortHandler)
	}
	s.answerLocked(w, status, v)
}

func write(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("restsim: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client may be gone
}

func problem(w http.ResponseWriter, status int, code string) {
	write(w, status, map[string]any{"error": map[string]any{"code": code}})
}
