// Package weddingcare decides what is done for a wedding and when, judges whether everything that it rests on will hold through
// the day, and puts the report of the day together.
//
//	state := weddingcare.Phase(care, now)            // waiting, preflight, frozen, day, handed over
//	kind, due := weddingcare.Due(care, now)          // whether a preflight is to be made now, and why
//	checks := weddingcare.Judge(facts, now)          // what a preflight found, the worst first
//	report := weddingcare.Report(care, log, left, now)
//	text := weddingcare.PreflightText(preflight, zone)
//
// # Times
//
// Times are in the care, which package weddings fills by rules/weddingday. A preflight that found something is made again: of
// what is in danger every hour, and every half hour within the freeze; of what needs a look every six hours, and every two. On the
// day connections are watched instead.
//
// # Telling
//
// People are told of what they do not know yet, and of the end. The preflights of seven days and of 48 hours before are told
// whenever they found anything; one in between only what is new.
//
// Everything is pure; the time is an argument. Checks hold ids, labels of connections and plain words, no personal data. Test with
// go test ./internal/rules/weddingcare.
package weddingcare
