// Package freshness decides how far behind a connection is and whether that is too far, and when a listing will be read.
//
// Lag is the time from a change in an outside system to its effect here. The target is published: 60 s for a connection
// whose system posts when something changed (a watch), the poll interval and 60 s for one that is only polled, and none
// for one that is read when somebody asks. docs/operations.md prints it.
//
// Everything is pure: the time is an argument. Test with go test ./internal/rules/freshness.
package freshness

import (
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Allowance is what a connection may take from hearing of a change to its effect.
const Allowance = 60 * time.Second

// Window is of how many changes the rolling figures are.
const Window = 100

// Target is the lag that is aimed at; 0 = none.
func Target(watched bool, poll time.Duration) time.Duration {
	switch {
	case watched:
		return Allowance
	case poll > 0:
		return poll + Allowance
	}
	return 0
}

// Seen is what is known about a change that was read at a time.
type Seen struct {
	ChangedAt  *time.Time // by the clock of the system
	NoticedAt  *time.Time // when the system told that something had changed
	ReadBefore *time.Time // when the listing was last read to its end; nil = never
	First      bool       // the listing began at its beginning, so what it names may be of any age
}

// Lag measures a change that took effect at now. The time of the change counts; where the system does not tell it, that
// of its notice; where there was none, the time since the last reading, which is the most that it can have been. Entries
// of a first or full listing are measured only if they are known to have changed since the last reading. A clock that
// runs ahead of ours gives no lag below 0.
func Lag(now time.Time, s Seen) (time.Duration, bool) {
	var from time.Time
	switch {
	case s.First && (s.ChangedAt == nil || s.ReadBefore == nil || s.ChangedAt.Before(*s.ReadBefore)):
		return 0, false
	case s.ChangedAt != nil:
		from = *s.ChangedAt
	case s.NoticedAt != nil:
		from = *s.NoticedAt
	case s.ReadBefore != nil:
		from = *s.ReadBefore
	default:
		return 0, false
	}
	return max(now.Sub(from), 0), true
}

// Measured is what was measured of a connection.
type Measured struct {
	Lags       []time.Duration // the last ones, the newest at the end; at most Window
	Changes    int64
	Late       int64
	MeasuredAt *time.Time
	Watches    []domain.Watch // that are not over
	Wanted     *time.Time     // a notice since which nothing was read
}

// Of sums up how fresh a connection is at now. A connection is late when its last change was, when a notice waits for
// longer than the target, or when the listing was last read longer ago than polling allows. One that does not run is not
// late: its state says so already.
func Of(now time.Time, i domain.Integration, m Measured) domain.Freshness {
	watched := slices.ContainsFunc(m.Watches, func(w domain.Watch) bool { return w.State == domain.WatchActive })
	f := domain.Freshness{Target: Target(watched, i.PollEvery), Samples: len(m.Lags), Changes: m.Changes, LateCount: m.Late,
		MeasuredAt: m.MeasuredAt, Watches: m.Watches}
	if !i.Direction.Imports() {
		f.Target = 0
	}
	f.TargetMS = f.Target.Milliseconds()
	if n := len(m.Lags); n > 0 {
		sorted := slices.Sorted(slices.Values(m.Lags))
		f.LastMS, f.P50MS, f.P95MS = ms(m.Lags[n-1]), ms(rank(sorted, 50)), ms(rank(sorted, 95))
	}
	if f.Target == 0 || i.State != domain.IntegrationActive || i.WorkHold.In(now) {
		return f
	}
	polled := Target(false, i.PollEvery)
	switch {
	case m.Wanted != nil && now.Sub(*m.Wanted) > f.Target:
		f.LateReason = "the system told of a change, and it was not read in time"
	case polled > 0 && i.LastSyncAt != nil && now.Sub(*i.LastSyncAt) > polled:
		f.LateReason = "the system was last read longer ago than it should be"
	case len(m.Lags) > 0 && m.Lags[len(m.Lags)-1] > f.Target:
		f.LateReason = "the last change took longer than it should"
	}
	f.Late = f.LateReason != ""
	return f
}

// rank is the smallest of the sorted values that percent of them do not exceed.
func rank(sorted []time.Duration, percent int) time.Duration {
	return sorted[max((len(sorted)*percent+99)/100, 1)-1]
}

func ms(d time.Duration) *int64 {
	n := d.Milliseconds()
	return &n
}

// longestETA is the longest time ahead for which an end is foretold; a listing that slow says nothing of its end.
const longestETA = 365 * 24 * time.Hour

// Progress tells how far a listing is that began at started, has read seen entries by now and has expected ones in all; 0
// when that is not known.
func Progress(started, now time.Time, seen, expected int) domain.Progress {
	p := domain.Progress{Expected: max(expected, 0)}
	took := now.Sub(started)
	if took <= 0 || seen <= 0 {
		return p
	}
	p.PerSecond = float64(int64(10*float64(seen)/took.Seconds()+0.5)) / 10
	if p.Expected == 0 {
		return p
	}
	p.Percent = min(int(int64(seen)*100/int64(p.Expected)), 99)
	left := max(p.Expected-seen, 0)
	rest := float64(took) / float64(seen) * float64(left)
	if rest > float64(longestETA) {
		return p
	}
	eta := now.Add(time.Duration(rest)).Truncate(time.Second)
	p.ETA = &eta
	return p
}
