package httpx

import (
	"context"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/wedsync/wedsync/internal/domain"
)

// maxHosts bounds the memory of limiters: hosts come from settings of integrations, so strangers choose them.
const maxHosts = 8192

// hosts keeps one token bucket per host.
type hosts struct {
	limit rate.Limit
	burst int

	mu   sync.Mutex
	list map[string]*rate.Limiter
}

func newHosts(limit rate.Limit, burst int) *hosts {
	return &hosts{limit: limit, burst: burst, list: make(map[string]*rate.Limiter)}
}

// wait returns when it is host's turn. It refuses at once when the turn is further off than atMost, or than the
// context lasts.
func (h *hosts) wait(ctx context.Context, host string, atMost time.Duration) error {
	turn := h.limiter(host).Reserve()
	delay := turn.Delay()
	if deadline, ok := ctx.Deadline(); ok {
		atMost = min(atMost, time.Until(deadline))
	}
	if delay > atMost {
		turn.Cancel()
		return domain.WithRetryAfter(domain.E(domain.KindRateLimited, "%w", errBusy), delay)
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
		return ctx.Err()
	}
}

func (h *hosts) limiter(host string) *rate.Limiter {
	host = strings.ToLower(host)
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.list[host]
	if l == nil {
		if len(h.list) >= maxHosts {
			h.evict()
		}
		l = rate.NewLimiter(h.limit, h.burst)
		h.list[host] = l
	}
	return l
}

// evict drops a bucket, a full one if a few tries find one: forgetting a full bucket forgets nothing.
func (h *hosts) evict() {
	var victim string
	tries := 0
	for host, l := range h.list {
		victim = host
		if tries++; tries == 16 || l.Tokens() >= float64(h.burst) {
			break
		}
	}
	delete(h.list, victim)
}
