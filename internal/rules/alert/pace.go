package alert

import (
	"math"
	"time"
)

const (
	paceLearn  = 30       // answers before anything is said
	paceMemory = 1. / 240 // weight of a new answer: two hours
	paceRow    = 3        // answers in a row that took longer
	paceMost   = 40       // of a row that are news; what lasts longer is known by then
)

// Pace notices by the way that a connection answers more slowly than just before, so that its answers are handed to the detectors
// at once and not together with later ones. It decides nothing. The zero value knows nothing; it is not safe for concurrent use.
type Pace struct {
	n, row     int32
	mean, vary float64 // of the logarithm of milliseconds
}

// Slower takes how long an answer took, and reports whether it and the two before it took longer than one deviation above the
// mean. Of a healthy connection that is so for about one answer in 200.
func (p *Pace) Slower(took time.Duration) bool {
	x := math.Log(max(float64(took)/float64(time.Millisecond), 1))
	if p.n == 0 {
		p.mean = x
	}
	dev := max(math.Sqrt(p.vary), leastDev)
	if p.n >= paceLearn {
		if p.row++; x <= p.mean+dev {
			p.row = 0
		}
		x = min(max(x, p.mean-clip*dev), p.mean+clip*dev)
	}
	p.n = min(p.n+1, math.MaxInt16)
	weight := max(1/float64(p.n), paceMemory)
	d := x - p.mean
	p.mean += weight * d
	p.vary += weight * (d*d*(1-weight) - p.vary)
	return p.row >= paceRow && p.row < paceMost
}
