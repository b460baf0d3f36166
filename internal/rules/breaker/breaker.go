// Package breaker decides when calls to an outside system that does not answer are held back, and when one call may try
// whether it answers again. It is a state machine of values: callers keep a [State], ask [State.Ask] before a call and
// put the outcome in with [State.Note].
//
//	verdict := state.Ask(now)            // Go, Try (one call, as a probe) or Hold
//	state = state.Note(now, rules, breaker.Failed, share)
//
// What it promises: only what is told as [Failed] opens a circuit. It opens after Rules.InRow failures one after the other, or when
// of at least Rules.Least calls within Rules.Window the part Rules.Ratio failed. While it is open no call is allowed before
// State.Until; then exactly one is, which the caller claims with [State.Claim]. A probe that fails opens the circuit for
// twice as long, up to Rules.Longest; one that works closes it, and everything before is forgotten.
//
// Nothing here reads a clock or draws a number: time and the share of jitter are arguments. A time that goes back is
// taken as no time passing. To test: go test ./internal/rules/breaker
package breaker

import "time"

// Rules say when a circuit opens and for how long.
type Rules struct {
	InRow  int           // failures one after the other that open it, at least 1
	Ratio  float64       // part of the calls within Window that opens it, 0 to 1
	Least  int           // calls within Window below which Ratio says nothing
	Window time.Duration // counts are of one to two of these
	First  time.Duration // until the first probe
	Most   time.Duration // between probes at the most, before jitter
	Probe  time.Duration // how long a probe that does not report keeps others out
}

// Default is what WedSync runs with: a vendor that is gone is asked 10 s after the fifth failure, then 20 s, 40 s, 80 s
// and every two minutes, by one worker.
var Default = Rules{InRow: 5, Ratio: 0.5, Least: 20, Window: 30 * time.Second, First: 10 * time.Second, Most: 2 * time.Minute, Probe: 45 * time.Second}

// JitterPercent is the most that is added to a wait, so that what was held back together does not come back together.
const JitterPercent = 20

// Outcome is how a call ended.
type Outcome int

// The outcomes.
const (
	Worked  Outcome = iota // the system answered, whatever it said of the entry
	Failed                 // it did not answer, in time or at all, or said that it cannot
	Unknown                // nothing is known of it: the caller gave up, or nothing was sent
)

// Verdict says what may be done now.
type Verdict int

// The verdicts.
const (
	Go   Verdict = iota // call
	Try                 // one call may be made, after Claim
	Hold                // no call before Until
)

// State is what is known of one system. The zero value is a closed circuit that nothing happened to.
type State struct {
	Open  bool
	Until time.Time // while open: no call before
	Trips int       // openings since it was last closed
	InRow int       // failures since the last success

	began      time.Time // of the present window
	calls, bad int       // in it
	was        [2]int    // the same of the window before
}

// Ask tells whether a call may be made.
func (s State) Ask(now time.Time) Verdict {
	switch {
	case !s.Open:
		return Go
	case now.Before(s.Until):
		return Hold
	}
	return Try
}

// Claim takes the one probe: whoever asks before it reports, or before Rules.Probe has passed, is told to hold.
func (s State) Claim(now time.Time, r Rules) State {
	s.Until = now.Add(r.Probe)
	return s
}

// Note is the state after a call that was let through while the circuit was closed. The outcome of a call that was still under way
// when it opened changes nothing. share is where in the jitter a wait lies, 0 to 1.
func (s State) Note(now time.Time, r Rules, o Outcome, share float64) State {
	if s.Open || o == Unknown {
		return s
	}
	s = s.turn(now, r)
	s.calls++
	if o == Worked {
		s.InRow = 0
		if s.bad == 0 && s.was[1] == 0 {
			return State{} // nothing bad is remembered, so nothing has to be kept
		}
	} else {
		s.InRow++
		s.bad++
	}
	calls, bad := s.calls+s.was[0], s.bad+s.was[1]
	if o == Failed && (s.InRow >= r.InRow || calls >= r.Least && float64(bad) >= r.Ratio*float64(calls)) {
		return State{Open: true, Trips: 1, InRow: s.InRow, Until: now.Add(Wait(r, 1, share))}
	}
	return s
}

// Probed is the state after the probe. A probe of which nothing is known leaves the next one to whoever comes, after
// Rules.First.
func (s State) Probed(now time.Time, r Rules, o Outcome, share float64) State {
	switch o {
	case Worked:
		return State{}
	case Failed:
		s.Trips++
		s.InRow++
		s.Until = now.Add(Wait(r, s.Trips, share))
	case Unknown:
		s.Until = now.Add(Wait(r, 1, share))
	}
	return s
}

// turn moves the window on.
func (s State) turn(now time.Time, r Rules) State {
	switch age := now.Sub(s.began); {
	case s.began.IsZero(), age >= 2*r.Window:
		s.began, s.calls, s.bad, s.was = now, 0, 0, [2]int{}
	case age >= r.Window:
		s.began, s.was, s.calls, s.bad = s.began.Add(r.Window), [2]int{s.calls, s.bad}, 0, 0
	}
	return s
}

// Stale reports whether a closed circuit's counts are too old to matter, so that it can be forgotten.
func (s State) Stale(now time.Time, r Rules) bool { return !s.Open && now.Sub(s.began) >= 2*r.Window }

// Wait is how long a circuit stays open after its n-th opening in a row, n from 1.
func Wait(r Rules, n int, share float64) time.Duration {
	d := r.First
	for i := 1; i < n && d < r.Most; i++ {
		d *= 2
	}
	d = min(d, r.Most)
	return d + time.Duration(float64(d)*JitterPercent/100*min(max(share, 0), 1))
}
