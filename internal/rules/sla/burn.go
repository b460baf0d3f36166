package sla

import (
	"math"
	"time"
)

// Z995 is the quantile of the normal distribution for a one-sided bound of 99.5 %, Z975 for one of 97.5 %, which is either end
// of an interval of 95 %.
const (
	Z995 = 2.575829
	Z975 = 1.959964
)

// Count is how many probes there were and how many of them failed, or were slow.
type Count struct {
	N   int64 `json:"n"`
	Bad int64 `json:"bad"`
}

// Share is Bad of N, 0 when there are none.
func (c Count) Share() float64 {
	if c.N <= 0 {
		return 0
	}
	return float64(c.Bad) / float64(c.N)
}

// Wilson returns the Wilson score interval of a share of bad in n at quantile z (E. B. Wilson, 1927), within 0 and 1. Nothing
// is known of nothing: n of 0 or less gives 0 and 1. n need not be whole, so that weighted counts can be used.
func Wilson(bad, n, z float64) (low, high float64) {
	if !(n > 0) {
		return 0, 1
	}
	p := min(max(bad/n, 0), 1)
	z2 := z * z
	centre := p + z2/(2*n)
	half := z * math.Sqrt(p*(1-p)/n+z2/(4*n*n))
	scale := 1 + z2/n
	low, high = max((centre-half)/scale, 0), min((centre+half)/scale, 1)
	// Rounding must not leave a trace of doubt where there is none.
	if p == 0 {
		low = 0
	}
	if p == 1 {
		high = 1
	}
	return low, high
}

// Window is a pair of windows and how fast the budget must burn in both for an alert.
type Window struct {
	Name        string        `json:"name"`
	Long, Short time.Duration `json:"-"`
	Factor      float64       `json:"factor"` // 1 spends the budget in 30 days
	Page        bool          `json:"page"`   // somebody is to look now; otherwise within days
	// Least is how many must have failed in the long window, whatever the bound says. Of a connection that is known since a few
	// minutes, one failure of ten would be 100 times the budget. Three in a row are told by the state of its health.
	Least int64 `json:"-"`
}

// LeastBad is Least of the windows that are longer than an hour.
const LeastBad = 6

// Windows lists the pairs, the fastest first.
func Windows() []Window {
	return []Window{
		{Name: "page quick", Long: time.Hour, Short: 5 * time.Minute, Factor: 14.4, Page: true, Least: 4},
		{Name: "page slow", Long: 6 * time.Hour, Short: 30 * time.Minute, Factor: 6, Page: true, Least: LeastBad},
		{Name: "ticket quick", Long: 24 * time.Hour, Short: 2 * time.Hour, Factor: 3, Least: LeastBad},
		{Name: "ticket slow", Long: 72 * time.Hour, Short: 6 * time.Hour, Factor: 1, Least: LeastBad},
	}
}

// Burn is how fast the budget burns in one pair of windows.
type Burn struct {
	Window
	LongCount  Count   `json:"long"`
	ShortCount Count   `json:"short"`
	Rate       float64 `json:"rate"` // of the long window, as a multiple of the budget
	Sure       float64 `json:"sure"` // the lower bound of Rate
	Firing     bool    `json:"firing"`
}

// Burns looks at every pair of windows. count tells the probes of so long a time until now. The budget is a share; 0 or less
// counts as the smallest that a target can have.
func Burns(budget float64, count func(time.Duration) Count) []Burn {
	budget = max(budget, 1e-5)
	all := Windows()
	out := make([]Burn, 0, len(all))
	for _, w := range all {
		b := Burn{Window: w, LongCount: count(w.Long), ShortCount: count(w.Short)}
		low, _ := Wilson(float64(b.LongCount.Bad), float64(b.LongCount.N), Z995)
		b.Rate, b.Sure = b.LongCount.Share()/budget, low/budget
		b.Firing = b.LongCount.Bad >= w.Least && b.Sure > w.Factor && b.ShortCount.Bad > 0 && b.ShortCount.Share()/budget > w.Factor
		out = append(out, b)
	}
	return out
}

// Fastest returns the first pair that fires; ok is false when none does.
func Fastest(all []Burn) (b Burn, ok bool) {
	for _, b := range all {
		if b.Firing {
			return b, true
		}
	}
	return Burn{}, false
}
