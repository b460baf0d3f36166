package weddingcare

import (
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

const (
	// LogEvery is how often the log of a day is brought up to date when nothing is told of.
	LogEvery = 10 * time.Minute
	// ProbeEvery is how often the connections of a wedding are asked on its day.
	ProbeEvery = 10 * time.Second
)

// Phase is where a wedding stands at a time, by the times of its care alone.
func Phase(c domain.WeddingCare, now time.Time) domain.CareState {
	switch {
	case !now.Before(c.DayUntil):
		return domain.CareHandedOver
	case !now.Before(c.DayFrom):
		return domain.CareDay
	case !now.Before(c.FreezeFrom):
		return domain.CareFrozen
	case !now.Before(c.PreflightWeek):
		return domain.CarePreflight
	}
	return domain.CareWaiting
}

// again is how long after a preflight with an outcome the next one is made; 0 = never.
func again(s domain.CheckState, phase domain.CareState) time.Duration {
	switch {
	case s == domain.CheckBlocking && phase == domain.CareFrozen:
		return 30 * time.Minute
	case s == domain.CheckBlocking && phase == domain.CarePreflight:
		return time.Hour
	case s == domain.CheckAttention && phase == domain.CareFrozen:
		return 2 * time.Hour
	case s == domain.CheckAttention && phase == domain.CarePreflight:
		return 6 * time.Hour
	}
	return 0
}

// Due reports whether a preflight is to be made now, and why. One that was due before the wedding was booked, or was moved, is
// made at once, and only the newest of several.
func Due(c domain.WeddingCare, now time.Time) (domain.PreflightKind, bool) {
	phase := Phase(c, now)
	var since time.Time
	kind := domain.PreflightWeek
	switch phase {
	case domain.CareWaiting:
		return domain.PreflightAsked, c.WantedAt != nil
	case domain.CarePreflight:
		since = c.PreflightWeek
	case domain.CareFrozen, domain.CareDay:
		since, kind = c.PreflightFreeze, domain.PreflightFreeze
	case domain.CareHandedOver, domain.CareEnded:
		return "", false
	}
	switch {
	case c.PreflightAt == nil || c.PreflightAt.Before(since):
		return kind, true
	case c.WantedAt != nil:
		return domain.PreflightAsked, true
	}
	if wait := again(c.Preflight, phase); wait > 0 && !now.Before(c.PreflightAt.Add(wait)) {
		return domain.PreflightAgain, true
	}
	return "", false
}

// Next is when time alone brings something to do; zero when nothing is left.
func Next(c domain.WeddingCare, now time.Time) time.Time {
	phase := Phase(c, now)
	if phase.Over() {
		return time.Time{}
	}
	var next time.Time
	soonest := func(at time.Time) {
		if at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for _, at := range []time.Time{c.PreflightWeek, c.PreflightFreeze, c.FreezeFrom, c.DayFrom, c.DayUntil} {
		soonest(at)
	}
	if wait := again(c.Preflight, phase); wait > 0 && c.PreflightAt != nil {
		soonest(c.PreflightAt.Add(wait))
	}
	if phase == domain.CareDay {
		soonest(now.Add(LogEvery))
	}
	return next
}

// Findings are what a preflight found wrong, in words for programs, sorted. Reasons are left out: they hold running numbers.
func Findings(checks []domain.Check) []string {
	out := []string{}
	for _, c := range checks {
		if c.State.Level() >= domain.CheckAttention.Level() {
			out = append(out, string(c.State)+" "+string(c.Kind)+" "+string(c.IntegrationID))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Telling is what people are told of a preflight.
type Telling string

// The tellings.
const (
	TellNothing Telling = ""
	TellFailed  Telling = "failed" // it found something that they do not know
	TellPassed  Telling = "passed" // what they know of is over
)

// Tell says what people are told of a preflight, and what they know then.
func Tell(told []string, kind domain.PreflightKind, checks []domain.Check) (Telling, []string) {
	found := Findings(checks)
	switch {
	case len(found) == 0 && len(told) == 0:
		return TellNothing, found
	case len(found) == 0:
		return TellPassed, found
	case kind == domain.PreflightWeek || kind == domain.PreflightFreeze,
		slices.ContainsFunc(found, func(f string) bool { return !slices.Contains(told, f) }):
		return TellFailed, found
	}
	return TellNothing, found
}

// Severity is how severe it is that a preflight found something, by how near the wedding is.
func Severity(s domain.CheckState, phase domain.CareState) domain.Severity {
	near := phase == domain.CareFrozen || phase == domain.CareDay
	switch {
	case s == domain.CheckBlocking && near:
		return domain.SeverityCritical
	case s == domain.CheckBlocking, s == domain.CheckAttention && near:
		return domain.SeverityHigh
	}
	return domain.SeverityMedium
}

// Worst is the outcome of a preflight with some checks: that of the worst one.
func Worst(checks []domain.Check) domain.CheckState {
	worst := domain.CheckNone
	for _, c := range checks {
		if c.State.Level() > worst.Level() {
			worst = c.State
		}
	}
	return worst
}
