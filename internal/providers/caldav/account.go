package caldav

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
)

// What an account may be asked at a service that publishes no limits and answers 503 when it has had enough. The figures
// are ours: they stay well below what calendar programs of the vendor do, and let a listing of thousands of entries
// through in minutes.
const (
	accountRate  = 2                // requests a second
	accountBurst = 60               // requests: several pages of a listing
	accountPause = time.Minute      // after 429 or 503 without Retry-After
	pollEvery    = time.Minute      // between two polls of one calendar
	maxAccounts  = 20_000           // remembered at once
	pollJitter   = 10 * time.Second // at most, so that calendars do not fall into step
)

// account is the allowance of one account, shared by all connections of this process that use it: a studio often
// connects several calendars of one person. What all processes together may ask is Registration.Rates; this one stands for
// probes too, which pass no gate of internal/outbound, so that they hear of the pauses of this process.
type account struct {
	mu     sync.Mutex
	tokens float64
	at     time.Time // when tokens was right
	closed time.Time // until when nothing is asked
	polled map[string]time.Time
}

// accounts are those in use by this process.
type accounts struct {
	mu  sync.Mutex
	all map[[32]byte]*account
}

var shared = accounts{all: map[[32]byte]*account{}}

// of finds the account of a user at a server.
func (a *accounts) of(server *url.URL, user string) *account {
	key := sha256.Sum256([]byte(strings.ToLower(server.Host) + "\n" + strings.ToLower(user)))
	a.mu.Lock()
	defer a.mu.Unlock()
	if have := a.all[key]; have != nil {
		return have
	}
	for other := range a.all {
		if len(a.all) < maxAccounts {
			break
		}
		delete(a.all, other) // any: those in use are kept by their connections
	}
	made := &account{tokens: accountBurst, polled: map[string]time.Time{}}
	a.all[key] = made
	return made
}

// take uses up one request. Without one left it tells how long to wait.
func (a *account) take(now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if wait := a.closed.Sub(now); wait > 0 {
		return slower("the server asked for a pause", wait)
	}
	if past := now.Sub(a.at); !a.at.IsZero() && past > 0 {
		a.tokens = min(accountBurst, a.tokens+past.Seconds()*accountRate)
	}
	if a.at.Before(now) {
		a.at = now
	}
	if a.tokens < 1 {
		return slower("the account's allowance is used up", time.Duration((1-a.tokens)/accountRate*float64(time.Second)))
	}
	a.tokens--
	return nil
}

// once is provider.Connection.Once for this process alone.
func (a *account) once(clock func() time.Time) func(context.Context, string, time.Duration) error {
	return func(_ context.Context, what string, every time.Duration) error {
		now := clock()
		a.mu.Lock()
		defer a.mu.Unlock()
		if wait := a.polled[what].Add(every).Sub(now); wait > 0 {
			return domain.WithRetryAfter(domain.E(domain.KindRateLimited, "it is nobody's turn"), wait)
		}
		a.polled[what] = now
		return nil
	}
}

// note looks at an answer for a wish to be left alone.
func (a *account) note(res *httpx.Response, err error, now time.Time) {
	if res == nil || res.Status != http.StatusTooManyRequests && res.Status != http.StatusServiceUnavailable {
		return
	}
	wait := domain.RetryAfter(err)
	if wait <= 0 {
		wait = accountPause
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if until := now.Add(wait); until.After(a.closed) {
		a.closed = until
	}
}

// slower is the error of a request that is not sent.
func slower(why string, wait time.Duration) error {
	return domain.WithRetryAfter(domain.E(domain.KindRateLimited, "%s", why), wait+jitter(wait))
}

// jitter is what is added to a wait, so that those who wait do not fall into step.
func jitter(wait time.Duration) time.Duration { return rand.N(min(pollJitter, wait/4+time.Second)) }
