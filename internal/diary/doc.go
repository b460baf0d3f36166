// Package diary answers from storage when resources are free: Availability for some resources over months, with the reason
// for every stretch that is not free; WhoIsFree for a date across an organisation; Suggest for other times, other
// resources and exchanges for a booking.
//
// What is taken is decided by rules/availability, rules/conflict and rules/suggest; this package reads what they need in
// one or two round trips, however many resources there are, and adds how fresh the connected systems are that it is known
// from. Time that is free only as far as we know, because a system could not be read since some time, is never told as
// free: it is told as unknown since then.
//
// Holds that are over take no time, whether or not their booking was cancelled yet. Everything here only reads. Errors:
// KindInvalid with the field of the question, KindNotFound for a resource or a booking that the tenant does not have.
//
// Test it on real Postgres (go test ./internal/diary); internal/bench/conflicts measures it.
package diary
