package monitor

import (
	"context"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/rules/health"
)

// sight watches our own connection to the outside. With something to control it by, that decides; without, many platforms
// that fail together do (health.Doubt).
type sight struct {
	control func(ctx context.Context) error

	mu     sync.Mutex
	slots  [sightSlots]map[string]health.Tally
	began  int64 // of the newest slot, in units of sightSlot
	blind  bool
	since  time.Time // when it became blind, or saw again
	asking bool
	asked  time.Time
}

const (
	sightSlots = 4
	sightSlot  = 10 * time.Second
	// controlFresh is for how long an answer of the control is believed while probes fail.
	controlFresh   = 5 * time.Second
	controlTimeout = 3 * time.Second
	// sightWindow is how far back failures are in doubt when it turns out that we are blind.
	sightWindow = sightSlots * sightSlot
)

func newSight(control func(ctx context.Context) error) *sight { return &sight{control: control} }

// note counts a result of a platform, and tells whether our own connection is in doubt. It asks the control, if there is one,
// when something failed, or did lately.
func (s *sight) note(ctx context.Context, now time.Time, platform string, failed bool) bool {
	s.mu.Lock()
	s.turn(now)
	slot := s.slots[0]
	if slot == nil {
		slot = map[string]health.Tally{}
		s.slots[0] = slot
	}
	t := slot[platform]
	t.Asked++
	if failed {
		t.Failed++
	}
	slot[platform] = t
	if s.control == nil {
		s.set(now, health.Doubt(s.sum()))
		defer s.mu.Unlock()
		return s.blind
	}
	if (failed || s.blind) && !s.asking && now.Sub(s.asked) >= controlFresh {
		s.asking = true
		s.mu.Unlock()
		ask, cancel := context.WithTimeout(ctx, controlTimeout)
		err := s.control(ask)
		cancel()
		s.mu.Lock()
		s.asking, s.asked = false, time.Now()
		if ctx.Err() == nil {
			s.set(s.asked, err != nil)
		}
	}
	defer s.mu.Unlock()
	return s.blind
}

// state tells whether our own connection is in doubt, and since when it is as it is.
func (s *sight) state() (blind bool, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blind, s.since
}

func (s *sight) set(now time.Time, blind bool) {
	if s.blind != blind {
		s.blind, s.since = blind, now
	}
}

// turn makes room for the slot of now.
func (s *sight) turn(now time.Time) {
	at := now.UnixNano() / int64(sightSlot)
	for n := min(at-s.began, sightSlots); n > 0; n-- {
		copy(s.slots[1:], s.slots[:sightSlots-1])
		s.slots[0] = nil
	}
	s.began = max(s.began, at)
}

func (s *sight) sum() map[string]health.Tally {
	out := map[string]health.Tally{}
	for _, slot := range s.slots {
		for name, t := range slot {
			sum := out[name]
			out[name] = health.Tally{Asked: sum.Asked + t.Asked, Failed: sum.Failed + t.Failed}
		}
	}
	return out
}
