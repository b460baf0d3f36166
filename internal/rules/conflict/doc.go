// Package conflict decides which bookings of one resource clash, how bad each clash is, and who gives way.
//
// The caller collects the blocking bookings near in time (cancelled and free ones left out) and asks Detect about one of
// them, the subject. Detect is a pure function: the same arguments give the same findings in the same order, however
// the neighbours are ordered. It never reports what is over, never compares a booking with itself, and gives at most
// one finding per pair of bookings, the strongest.
//
// The rules, in the order of their strength:
//
//   - overlap: the bookings' own times share an instant (resources that serve one booking at once).
//   - capacity: more bookings at once than a resource with room for several can serve, set-up and travel included.
//   - same_day: two weddings on one local day, for resources that take one wedding a day. A wedding uses the days on
//     which it takes time between 06:00 and midnight, so a party until 02:00 leaves the next day free.
//   - travel: teardown, the way to the next place and set-up take longer than the time in between. The way comes from
//     the great-circle distance and the resource's speed, or is a fixed time where a place is not known (travel.go). It
//     counts for resources that serve one booking at once: who of several goes where is not known.
//   - buffer: only set-up, teardown or travel time is in the way. A travel entry is what that time is for, so travel
//     clashes with bookings themselves, never with their buffers. Entries of whole days have no buffers.
//   - blackout: a booking for clients on a day that the resource keeps free of them (blackout.go).
//   - off_hours: a client appointment outside working hours. Weddings, travel, holds, maintenance and personal
//     entries keep no hours. An entry of whole days states no hour, so it is only off hours on a day without any.
//
// Severity is in severity.go as one table. Explanations name categories, times and numbers, never people.
//
// Test it with go test ./internal/rules/conflict.
package conflict
