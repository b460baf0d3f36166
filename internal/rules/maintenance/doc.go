// Package maintenance decides when connections may rest, and what follows in the course of a window of maintenance.
//
//	closed := maintenance.Closures(search, freezes, calendar)        // stretches in which there may be none, and why
//	state := maintenance.StateAt(at, closed, search.End)             // open or closed then, and when that changes
//	ways, err := maintenance.Propose(maintenance.Ask{Search: search, Duration: time.Hour, Closures: closed, Now: now})
//	step := maintenance.Next(window, facts)                          // what is due of a window, or when something will be
//
// A calendar is open only where everything is open: no freeze of a wedding (weddings bring theirs, package weddingday), a weekday
// and hours on which the organisation allows it, no season that it closed. Saturdays are closed unless it says otherwise. Free time
// is the time that is searched without all that, and Propose ranks stretches of it: little traffic first, then times at which the
// provider is in maintenance of its own, a margin before whatever closes next, and the night. All local times are read by
// calendartime, so a day has 23 or 25 hours where clocks change.
//
// Next is the one table of what follows what. A freeze ends a window at every step: before it began it is cancelled or moved, and
// while it runs its connections are let go on. Nothing overrides a freeze.
//
// Everything is pure: the time is an argument, the same question has the same answer, and the work is bounded: a year is searched in
// some ten thousand steps. Answers are in the order of time, proposals from the best to the worst. Errors are domain.KindInvalid.
//
// Test with go test ./internal/rules/maintenance: tables, and properties over random calendars (nothing proposed touches anything
// closed; what is open and what is closed add up; changes of the clock).
package maintenance
