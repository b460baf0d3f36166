// Package suggest proposes ways out of a conflict: another time on the same day, a date nearby, or another resource at
// the same time.
//
//	ways := suggest.Alternatives(suggest.Request{Subject: booking, Resource: res, Loc: loc, Busy: busy, Others: others, Now: now})
//
// Each way is free of every conflict that package conflict knows, as far as Busy tells, and starts at least LeadTime
// after now. Ways come best first with a score of 0 to 100 and its parts in words; the numbers in the reasons add up
// to the score. The list is varied rather than five neighbouring quarter hours, has three or more ways where the
// calendar has room, and is the same for the same request. Dates are searched up to Horizon days away, and up to
// WideHorizon where fewer than three are found.
//
// An entry of whole days moves by whole days. One with a clock keeps its elapsed length, and on another date the same
// wall clock is preferred, whatever clocks did in between. Moving a wedding is offered with a low score that says so:
// the couple has invited guests.
//
// A wedding that begins within the freeze of the organisation, or is on, is not moved; it may get another resource, and the reasons say how near it
// is. Exchanges are ways that change two or more bookings at once: a swap between two resources, or a split, which hands
// what is in the way over to another resource.
//
// All functions are pure, and reasons hold no personal data.
//
// Test it with go test ./internal/rules/suggest.
package suggest
