package inbox

import (
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// shares counts the signals of each organisation over the last few seconds, so that one that takes much more than the
// others is told less often, with more in each signal: a little while all is calm, and more while Temporal is busy. That
// takes nothing from what it gets done, and much from the load that everybody shares. Its signals are spread evenly: as
// many at once would make the others wait at that moment. It is not safe for concurrent use.
type shares struct {
	told []toldAt // a queue, oldest first
	head int
	orgs map[domain.OrgID]share
}

type share struct {
	count  int     // signals in the window
	tokens float64 // signals that may go out at once, as of at
	at     time.Time
}

type toldAt struct {
	org domain.OrgID
	at  time.Time
}

const (
	// shareWindow is how far back signals count.
	shareWindow = 4 * time.Second
	// freeShare is how many signals may go out at once after a rest.
	freeShare = 4
	// generousShare is how many times the average of the others an organisation may take. calmShare and leastShare are what it may
	// take in any case, in signals of one window: while all is calm, and while Temporal is busy.
	generousShare = 3
	calmShare     = 20
	leastShare    = 4
)

func newShares() shares { return shares{orgs: make(map[domain.OrgID]share)} }

func (s *shares) add(org domain.OrgID, pressed bool, now time.Time) {
	_, tokens := s.tokens(org, pressed, now)
	s.told = append(s.told, toldAt{org, now})
	s.orgs[org] = share{s.orgs[org].count + 1, max(tokens-1, -freeShare), now}
}

// advance forgets what lies behind the window.
func (s *shares) advance(now time.Time) {
	for s.head < len(s.told) && now.Sub(s.told[s.head].at) >= shareWindow {
		org := s.told[s.head].org
		if o := s.orgs[org]; o.count == 1 {
			delete(s.orgs, org)
		} else {
			o.count--
			s.orgs[org] = o
		}
		s.told[s.head] = toldAt{}
		s.head++
	}
	if s.head > 64 && 2*s.head > len(s.told) {
		s.told = append(s.told[:0], s.told[s.head:]...)
		s.head = 0
	}
}

// wait returns how long the next signal to an organisation, with inLine signals about to go out, has to wait; 0 when it
// takes no more than its share. One that is alone never waits.
func (s *shares) wait(org domain.OrgID, inLine int, pressed bool, now time.Time) time.Duration {
	gap, tokens := s.tokens(org, pressed, now)
	return max(0, time.Duration((1+float64(inLine)-tokens)*float64(gap)))
}

// tokens returns the time in which an organisation gets a further signal, 0 when it is alone, and those it has.
func (s *shares) tokens(org domain.OrgID, pressed bool, now time.Time) (gap time.Duration, tokens float64) {
	o, others := s.orgs[org], len(s.orgs)
	if o.count > 0 {
		others--
	}
	if others == 0 {
		return 0, freeShare
	}
	least := calmShare
	if pressed {
		least = leastShare
	}
	gap = shareWindow / time.Duration(max(least, generousShare*(len(s.told)-s.head-o.count)/others))
	if o.count == 0 {
		return gap, freeShare
	}
	return gap, min(freeShare, o.tokens+float64(now.Sub(o.at))/float64(gap))
}
