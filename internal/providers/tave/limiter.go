package tave

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/wedsync/wedsync/internal/domain"
)

// The vendor publishes no quota. So the rate starts at what the settings allow, halves with every refusal and grows back by
// a twentieth of it with every answer. internal/outbound does the same for all workers together (provider.Limit.Slows); this
// limiter stands for calls that do not pass it, as probes do not.
const (
	leastRate    = 0.5
	longestTurn  = 20 * time.Second // a turn that is further off is refused, so that a step of work stays short
	firstPause   = 5 * time.Second  // after a refusal that does not say for how long
	longestPause = 5 * time.Minute
)

// limiter spaces the requests made with one key, over all connections of the process.
type limiter struct {
	tokens *rate.Limiter

	mu       sync.Mutex
	most     float64
	until    time.Time // nothing is sent before
	refusals int       // in a row
}

func newLimiter(most float64) *limiter {
	return &limiter{tokens: rate.NewLimiter(rate.Limit(most), burst(most)), most: most}
}

// burst is how much may be asked at once after a rest: five seconds' worth, so that a walk for news, which is five to ten
// requests, does not wait between them at the usual rate.
func burst(most float64) int { return max(1, int(5*most)) }

// wait returns when it is the caller's turn.
func (l *limiter) wait(ctx context.Context, now time.Time) error {
	l.mu.Lock()
	pause := l.until.Sub(now)
	l.mu.Unlock()
	if pause > 0 {
		return domain.WithRetryAfter(domain.E(domain.KindRateLimited, "the studio asked for a pause"), pause)
	}
	turn := l.tokens.Reserve()
	delay := turn.Delay()
	atMost := longestTurn
	if deadline, ok := ctx.Deadline(); ok {
		atMost = min(atMost, time.Until(deadline))
	}
	if delay > atMost {
		turn.Cancel()
		return domain.WithRetryAfter(domain.E(domain.KindRateLimited, "the rate set for the studio is used up"), delay)
	}
	if delay <= 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		turn.Cancel()
		return domain.E(domain.KindUnavailable, "wait for a turn at the studio: %w", ctx.Err())
	}
}

// refused slows down after a 429 and returns how long the pause is: as asked for, else longer each time.
func (l *limiter) refused(now time.Time, asked time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusals++
	pause := asked
	if pause <= 0 {
		pause = min(firstPause<<min(l.refusals-1, 10), longestPause)
	}
	if until := now.Add(pause); until.After(l.until) {
		l.until = until
	}
	slower := max(float64(l.tokens.Limit())/2, min(leastRate, l.most))
	l.tokens.SetLimit(rate.Limit(slower))
	l.tokens.SetBurst(1)
	return pause
}

// well lets the rate grow back.
func (l *limiter) well() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusals = 0
	if now := float64(l.tokens.Limit()); now < l.most {
		if now += l.most / 20; now >= l.most {
			now = l.most
			l.tokens.SetBurst(burst(l.most))
		}
		l.tokens.SetLimit(rate.Limit(now))
	}
}

// allow sets the most that the settings allow.
func (l *limiter) allow(most float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.most == most {
		return
	}
	l.most = most
	if float64(l.tokens.Limit()) > most || l.refusals == 0 {
		l.tokens.SetLimit(rate.Limit(most))
		l.tokens.SetBurst(burst(most))
	}
}

// maxLimiters bounds the memory for limiters.
const maxLimiters = 20_000

var limiters = struct {
	mu   sync.Mutex
	list map[[32]byte]*limiter
}{list: map[[32]byte]*limiter{}}

// limiterOf returns the limiter of a key. Keys are remembered as digests.
func limiterOf(host, key string, most float64) *limiter {
	id := sha256.Sum256([]byte(host + "\n" + key))
	limiters.mu.Lock()
	defer limiters.mu.Unlock()
	if l := limiters.list[id]; l != nil {
		l.allow(most)
		return l
	}
	if len(limiters.list) >= maxLimiters {
		for other := range limiters.list { // any one: it is made anew when it is needed
			delete(limiters.list, other)
			break
		}
	}
	l := newLimiter(most)
	limiters.list[id] = l
	return l
}

// keyed lets one goroutine at a time work on a key.
type keyed struct {
	mu   sync.Mutex
	held map[string]*hold
}

type hold struct {
	turn  chan struct{}
	users int
}

// enter waits for the key. leave must be called once.
func (k *keyed) enter(ctx context.Context, key string) (leave func(), err error) {
	k.mu.Lock()
	h := k.held[key]
	if h == nil {
		h = &hold{turn: make(chan struct{}, 1)}
		k.held[key] = h
	}
	h.users++
	k.mu.Unlock()
	drop := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if h.users--; h.users == 0 {
			delete(k.held, key)
		}
	}
	select {
	case h.turn <- struct{}{}:
		return func() { <-h.turn; drop() }, nil
	case <-ctx.Done():
		drop()
		return nil, domain.E(domain.KindUnavailable, "wait for another write of the same copy: %w", ctx.Err())
	}
}
