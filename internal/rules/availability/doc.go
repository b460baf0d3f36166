// Package availability answers when a resource is free for a booking, and why it is not at other times.
//
//	answer, err := availability.Windows(now, res, loc, window, busy, availability.Want{Category: domain.CategoryConsultation, Duration: time.Hour})
//
// It agrees with package conflict: a booking of the wanted category that lies anywhere inside a free window, however
// long, causes no conflict, and one of the wanted length that lies partly outside every free window causes one or is
// in the past. The one exception is a booking of exactly whole local days, for which conflict is more lenient than
// for one with clock times (no buffers, no hours within the day); windows are about clock times.
//
// Free windows and blocked stretches together cover the whole window asked about. Both are in order of start; blocked
// stretches may overlap where several rules hold at once. Reasons name categories, times and numbers, never people.
// All functions are pure.
//
// Test it with go test ./internal/rules/availability.
package availability
