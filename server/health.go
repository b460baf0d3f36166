package server

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/domain"
)

// A probe may ask every second, and several may; the parts are asked at most once in healthFresh.
const (
	healthBound = 2 * time.Second
	healthFresh = time.Second
)

// partState is how one part answered.
type partState struct {
	OK     bool   `json:"ok"`
	Error  string `json:"error,omitempty"`
	TookMS int64  `json:"took_ms"`
}

// health asks the parts that a server stands on.
type health struct {
	parts    map[string]func(context.Context) error
	now      func() time.Time
	draining *atomic.Bool

	mu    sync.Mutex // held while asking, so that probes that come meanwhile share the answer
	asked time.Time
	last  map[string]partState
}

func newHealth(d Deps, draining *atomic.Bool) *health {
	return &health{now: d.Now, draining: draining, parts: map[string]func(context.Context) error{"postgres": d.Store.Ping, "temporal": d.Flow.Ping}}
}

func (h *health) ask(ctx context.Context) map[string]partState {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last != nil && h.now().Sub(h.asked) < healthFresh {
		return h.last
	}
	// One prober that goes away must not make the answer for the others.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthBound)
	defer cancel()
	answers := make(map[string]partState, len(h.parts))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, ping := range h.parts {
		wg.Go(func() {
			started := time.Now()
			done := make(chan error, 1)
			go func() { done <- ping(ctx) }()
			var err error
			select {
			case err = <-done:
			case <-ctx.Done(): // a part that does not keep to its context is not waited for
				err = domain.E(domain.KindUnavailable, "no answer within %s", healthBound)
			}
			state := partState{OK: err == nil, TookMS: time.Since(started).Milliseconds()}
			if err != nil {
				state.Error = string(domain.KindOf(err))
			}
			mu.Lock()
			defer mu.Unlock()
			answers[name] = state
		})
	}
	wg.Wait()
	h.last, h.asked = answers, h.now()
	return answers
}

// healthz answers as long as the process does.
func (s *Server) healthz(c echo.Context) error {
	return c.JSON(http.StatusOK, map[string]string{"status": "alive"})
}

// readyz is 200 while this server can keep its promise to vendors, which takes Postgres only: with Temporal away it
// still takes webhooks, and a load balancer must not turn them away. That is status "degraded". With ?all=1 it is 503
// unless every part answers, for those who wait for a whole system to be up.
func (s *Server) readyz(c echo.Context) error {
	parts := s.health.ask(c.Request().Context())
	status, word := http.StatusOK, "ready"
	if !parts["temporal"].OK {
		word = "degraded"
		if c.QueryParam("all") != "" {
			status = http.StatusServiceUnavailable
		}
	}
	if !parts["postgres"].OK {
		status, word = http.StatusServiceUnavailable, "unavailable"
	}
	if s.draining.Load() {
		status, word = http.StatusServiceUnavailable, "draining"
	}
	if status != http.StatusOK {
		c.Response().Header().Set("Retry-After", "1")
	}
	return c.JSON(status, map[string]any{"status": word, "parts": parts})
}
