package inbox

import (
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// shares counts the signals of each organisation over the last few seconds, so that one that takes much more than the
// others is told less often, with more in each signal: a little while all is calm, and more while Temporal is busy. That
// takes nothing from what it gets done, and much from the load that everybody shares. It is not safe for concurrent use.
type shares struct {
	told  []toldAt // a queue, oldest first
	head  int
	count map[domain.OrgID]int
}

type toldAt struct {
	org domain.OrgID
	at  time.Time
}

const (
	// shareWindow is how far back signals count.
	shareWindow = 4 * time.Second
	// generousShare is how many times the average an organisation may take. calmShare and leastShare are what it may take
	// in any case, in signals of one window: while all is calm, and while Temporal is busy.
	generousShare = 3
	calmShare     = 20
	leastShare    = 4
)

func newShares() shares { return shares{count: make(map[domain.OrgID]int)} }

func (s *shares) add(org domain.OrgID, now time.Time) {
	s.told = append(s.told, toldAt{org, now})
	s.count[org]++
}

// advance forgets what lies behind the window.
func (s *shares) advance(now time.Time) {
	for s.head < len(s.told) && now.Sub(s.told[s.head].at) >= shareWindow {
		org := s.told[s.head].org
		if s.count[org]--; s.count[org] == 0 {
			delete(s.count, org)
		}
		s.told[s.head] = toldAt{}
		s.head++
	}
	if s.head > 64 && 2*s.head > len(s.told) {
		s.told = append(s.told[:0], s.told[s.head:]...)
		s.head = 0
	}
}

// exceeded reports whether an organisation with inLine signals about to go out takes more than its share. An organisation
// that is alone never does.
func (s *shares) exceeded(org domain.OrgID, inLine int, pressed bool) bool {
	orgs := len(s.count)
	if s.count[org] == 0 {
		orgs++
	}
	if orgs == 1 {
		return false
	}
	least := calmShare
	if pressed {
		least = leastShare
	}
	return s.count[org]+inLine >= max(least, generousShare*(len(s.told)-s.head)/orgs)
}
