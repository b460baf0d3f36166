package scrape

import (
	"context"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// maxGates bounds the memory of hosts.
const maxGates = 4096

// gate lets one request at a time to a host, over all sessions of the process.
type gate struct {
	turn  chan struct{}
	last  time.Time // when the last request ended
	users int
}

var gates = struct {
	mu   sync.Mutex
	list map[string]*gate
}{list: map[string]*gate{}}

// enter waits for the host's turn. leave must be called once, with the time.
func enter(ctx context.Context, host string) (last time.Time, leave func(time.Time), err error) {
	gates.mu.Lock()
	g := gates.list[host]
	if g == nil {
		if len(gates.list) >= maxGates {
			for other, idle := range gates.list {
				if idle.users == 0 {
					delete(gates.list, other)
					break
				}
			}
		}
		g = &gate{turn: make(chan struct{}, 1)}
		gates.list[host] = g
	}
	g.users++
	gates.mu.Unlock()
	done := func() {
		gates.mu.Lock()
		defer gates.mu.Unlock()
		g.users--
	}
	select {
	case g.turn <- struct{}{}:
		return g.last, func(now time.Time) { g.last = now; <-g.turn; done() }, nil
	case <-ctx.Done():
		done()
		return time.Time{}, nil, domain.E(domain.KindUnavailable, "wait for the turn at a host: %w", ctx.Err())
	}
}

// pauseOf is the time between two requests: up to a quarter more than the least, so that readers do not keep step.
func pauseOf(least time.Duration, jitter float64) time.Duration {
	return least + time.Duration(float64(least)*min(max(jitter, 0), 1)/4)
}

// sleep waits by the real clock.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
