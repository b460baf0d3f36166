// Package calendartime turns calendar writing into instants: wall clocks in a zone, local days, and recurring series.
//
// Everything in WedSync that makes an instant from a wall clock goes through Resolve. The standard library's
// time.Date gives other answers than RFC 5545 where clocks jump, and two systems that disagree by an hour about the
// same booking report a conflict that is not there.
//
//	loc, err := calendartime.LoadZone("Europe/Amsterdam")
//	start := calendartime.Resolve(calendartime.Wall{Year: 2027, Month: time.June, Day: 5, Hour: 14}, loc)
//	day := calendartime.AllDay(loc, first, end) // [first, end) in local days, 23 or 25 hours long where clocks change
//	occ, err := calendartime.Expand(series, window, 500)
//
// All functions are pure; the only state is a cache of zone tables. Expand returns occurrences in order of their start
// and either all that touch the window or an error: it never cuts a list short. Errors are domain.KindInvalid for bad
// input and domain.KindTooLarge for a series that is over a bound, and they hold no text of the event.
//
// Test it with go test ./internal/rules/calendartime.
package calendartime
