// Package ical reads iCalendar (RFC 5545) as calendars in the wild write it, and says when everything in it takes place.
// It is the one way in for all of WedSync: CalDAV resources, subscribed files and "wedsync calendar inspect".
//
//	cal, problems, err := ical.Read(r, ical.Options{Zone: venue})
//	found, more := cal.Occurrences(from, to, 2000)
//	for _, o := range found {
//		fmt.Println(o.UID, o.RecurrenceID, o.Span, o.Event.Text("SUMMARY"), o.Event.Busy())
//	}
//
// # What is promised
//
// Read fails (KindInvalid, KindTooLarge, or the reader's own error) only when there is no calendar in the input, or when
// it is over a bound. Whatever else cannot be understood is a Problem with its line, and the rest is read. A Problem
// that is Lost names an entry or a series that is left out altogether: whoever keeps copies must leave those of its UID
// as they are, because not being readable is not being deleted. The same goes for a calendar that is Truncated: its end
// is missing, so what it does not name may well exist. A single value of a series that cannot be read makes the whole
// series Lost: half a series would look like a changed one.
//
// Days and floating times belong to Options.Zone and never pass through UTC on their way to it; a day is resolved to
// instants only in a Span. TZIDs are resolved by calendartime.ResolveZoneName, then by the VTIMEZONE of the same
// calendar; both keep the name as it was written.
//
// Occurrences come in order of start, UID and recurrence id. A series with more occurrences in the window than allowed
// is withheld whole, as a Problem of KindTooLarge: never cut short.
//
// Errors hold property names and limits, and no text of the calendar.
//
// # Testing
//
// go test ./internal/ical; FuzzRead holds Read and Occurrences to these promises on any input.
package ical
