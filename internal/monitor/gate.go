package monitor

import (
	"sync"
	"time"
)

// gate bounds the probes on their way in a process. The bound follows the need: it grows while probes wait for it, up to the
// most, and shrinks when the process itself falls behind, because more of them would only make all results worse.
type gate struct {
	most int

	mu      sync.Mutex
	inside  int
	limit   int
	starved time.Time // until when it does not grow
}

const (
	leastInFlight = 64
	// A timer that fires so much late shows that the process does not get the processor.
	starvedAfter = 500 * time.Millisecond
	starvedFor   = 2 * time.Second
)

func newGate(most int) *gate { return &gate{most: most, limit: min(leastInFlight, most)} }

// enter takes a place, or reports that there is none now.
func (g *gate) enter(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside >= g.limit {
		if g.limit >= g.most || now.Before(g.starved) {
			return false
		}
		g.limit = min(g.most, g.limit+g.limit/4+1)
	}
	g.inside++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.inside < g.limit/4 && g.limit > min(leastInFlight, g.most) {
		g.limit--
	}
}

// late tells how much too late a timer of the process fired.
func (g *gate) late(now time.Time, by time.Duration) {
	if by < starvedAfter {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Before(g.starved) {
		return
	}
	g.starved = now.Add(starvedFor)
	g.limit = max(g.limit*3/4, min(leastInFlight, g.most))
}

func (g *gate) figures() (inside, limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside, g.limit
}
