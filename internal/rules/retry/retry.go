// Package retry is the published schedule by which a delivery is tried again: the one place where its times stand. The
// API returns it, docs/webhooks.md prints it, and activities ask it for the next try.
//
// The waits grow from 5 s by a factor of three up to 12 h. Fifteen tries, fourteen waits: 73 h 40 min at the least, so a
// vendor or a setting that is broken from Friday evening to Monday evening costs nothing. Up to a fifth of each wait is
// added at random, so that what failed together does not come back together.
//
// Everything is pure: the time and the share of jitter are arguments. Test with go test ./internal/rules/retry.
package retry

import "time"

// Tries is how often a delivery is tried before it is a dead letter.
const Tries = 15

const (
	first   = 5 * time.Second
	factor  = 3
	longest = 12 * time.Hour
	// JitterPercent is the most that is added to a wait, in percent of it.
	JitterPercent = 20
)

// Wait is the least time between a try and the next one; try is 1 for the first. It is 0 behind the last.
func Wait(try int) time.Duration {
	if try < 1 || try >= Tries {
		return 0
	}
	d := first
	for i := 1; i < try && d < longest; i++ {
		d *= factor
	}
	return min(d, longest)
}

// Next is when to try again after a try that ended at now, false if that was the last one. share is where in the jitter
// the wait lies, 0 to 1. least is a wait that the other side asked for; a longer one replaces the schedule's.
func Next(now time.Time, try int, share float64, least time.Duration) (time.Time, bool) {
	wait := Wait(try)
	if wait == 0 {
		return time.Time{}, false
	}
	wait += time.Duration(float64(wait) * JitterPercent / 100 * min(max(share, 0), 1))
	return now.Add(max(wait, least)), true
}

// Step is one line of the schedule.
type Step struct {
	AfterTry int           // the try that did not work, 1..14
	Wait     time.Duration // until the next one, without jitter
	Elapsed  time.Duration // since the first try, without jitter
}

// Schedule lists every wait.
func Schedule() []Step {
	steps := make([]Step, 0, Tries-1)
	var sum time.Duration
	for try := 1; try < Tries; try++ {
		wait := Wait(try)
		sum += wait
		steps = append(steps, Step{AfterTry: try, Wait: wait, Elapsed: sum})
	}
	return steps
}
