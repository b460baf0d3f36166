package crmsim

import (
	"net/http"
	"strconv"
	"time"
)

// Fault is a way in which the API fails.
type Fault string

// The faults of the API.
const (
	FaultUnauthorized Fault = "unauthorized"  // 401
	FaultRateLimit    Fault = "rate-limit"    // 429 with Retry-After
	FaultRateNoWait   Fault = "rate-no-wait"  // 429 without Retry-After
	FaultServerError  Fault = "server-error"  // 503 with Retry-After
	FaultCrash        Fault = "crash"         // 500
	FaultCutBody      Fault = "cut-body"      // half of a good answer, then the connection breaks
	FaultGarbage      Fault = "garbage"       // 200 with a page of HTML
	FaultEmptyAnswer  Fault = "empty-answer"  // 200 without a body
	FaultHang         Fault = "hang"          // no answer
	FaultLoseAnswer   Fault = "lose-answer"   // a write is carried out, then the connection breaks
	FaultDropEntry    Fault = "drop-entry"    // a page leaves out its last event and says nothing
	FaultMissingPage  Fault = "missing-page"  // the token of the next page skips one
	FaultRepeatPage   Fault = "repeat-page"   // the token of the next page leads to the same events again, once
	FaultSlowSecond   Fault = "slow-second"   // a page other than the first answers 503
	FaultRejectWrites Fault = "reject-writes" // 422 to every write
)

// RetryAfter is the wait that FaultRateLimit and FaultServerError tell.
const RetryAfter = 7 * time.Second

type fault struct{ left int } // negative = until Heal

// Break makes the API fail: times times, or until Heal when times is negative.
func (c *CRM) Break(f Fault, times int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults[f] = &fault{left: times}
}

// Heal ends all faults of the API and of the webhooks, and lets hanging calls go on.
func (c *CRM) Heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.faults)
	clear(c.hooks)
	close(c.healed)
	c.healed = make(chan struct{})
}

// broken reports whether a fault is to happen now, and counts it.
func (c *CRM) broken(f Fault) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.brokenLocked(f)
}

func (c *CRM) brokenLocked(f Fault) bool {
	b := c.faults[f]
	if b == nil || b.left == 0 {
		return false
	}
	if b.left > 0 {
		b.left--
	}
	return true
}

// failBefore answers a request that is to fail before anything is done.
func (c *CRM) failBefore(w http.ResponseWriter, r *http.Request) (failed bool) {
	wait := strconv.Itoa(int(RetryAfter / time.Second))
	switch {
	case c.broken(FaultHang):
		c.mu.Lock()
		healed := c.healed
		c.mu.Unlock()
		select {
		case <-healed:
			return false
		case <-c.closed:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	case c.broken(FaultUnauthorized):
		problem(w, http.StatusUnauthorized, "unknown key")
	case c.broken(FaultRateLimit):
		w.Header().Set("Retry-After", wait)
		problem(w, http.StatusTooManyRequests, "slow down")
	case c.broken(FaultRateNoWait):
		problem(w, http.StatusTooManyRequests, "slow down")
	case c.broken(FaultServerError):
		w.Header().Set("Retry-After", wait)
		problem(w, http.StatusServiceUnavailable, "back soon")
	case c.broken(FaultCrash):
		problem(w, http.StatusInternalServerError, "something broke")
	case r.URL.Query().Get("page") != "" && c.broken(FaultSlowSecond):
		problem(w, http.StatusServiceUnavailable, "back soon")
	case r.Method != http.MethodGet && c.broken(FaultRejectWrites):
		problem(w, http.StatusUnprocessableEntity, "not accepted")
	case c.broken(FaultEmptyAnswer):
		w.WriteHeader(http.StatusOK)
	case c.broken(FaultGarbage):
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html><body>Please sign in, Marigold</body></html>"))
	default:
		return false
	}
	return true
}
