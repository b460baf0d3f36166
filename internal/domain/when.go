package domain

import (
	"fmt"
	"time"
)

// Span is a half-open interval of instants [Start, End), both in UTC.
type Span struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// MaxSpan is the longest booking accepted. Longer ones are almost always input faults, and the bound keeps
// overlap look-ups local.
const MaxSpan = 366 * 24 * time.Hour

// Valid reports whether the span is non-empty and at most MaxSpan long.
func (s Span) Valid() bool { return s.End.After(s.Start) && s.End.Sub(s.Start) <= MaxSpan }

// Overlaps reports whether the two spans share an instant; touching ends do not.
func (s Span) Overlaps(o Span) bool { return s.Start.Before(o.End) && o.Start.Before(s.End) }

// Intersect returns the shared part; it is empty (Valid is false) when they do not overlap.
func (s Span) Intersect(o Span) Span {
	r := s
	if o.Start.After(r.Start) {
		r.Start = o.Start
	}
	if o.End.Before(r.End) {
		r.End = o.End
	}
	return r
}

// Contains reports whether o lies wholly inside s.
func (s Span) Contains(o Span) bool { return !o.Start.Before(s.Start) && !o.End.After(s.End) }

// Pad widens the span on both sides.
func (s Span) Pad(before, after time.Duration) Span {
	return Span{Start: s.Start.Add(-before), End: s.End.Add(after)}
}

// Duration returns End - Start.
func (s Span) Duration() time.Duration { return s.End.Sub(s.Start) }

// String is RFC 3339 start/end, for logs.
func (s Span) String() string {
	return s.Start.UTC().Format(time.RFC3339) + "/" + s.End.UTC().Format(time.RFC3339)
}

// TimeKind says how a time was written at its source, so that it can be written back in the same form.
type TimeKind string

// The kinds of times.
const (
	TimeZoned    TimeKind = "zoned"    // a wall clock in a named zone, or an instant
	TimeAllDay   TimeKind = "all_day"  // whole local days [start date, end date) of the zone
	TimeFloating TimeKind = "floating" // a wall clock without zone, resolved in the zone of the resource
)

// When is the time of a booking: the instants it was resolved to, and the zone and form it was written in.
// For all-day times the dates are Start and End seen in Zone.
type When struct {
	Span
	Zone string   `json:"zone"` // IANA name; "UTC" when the source gave only instants
	Kind TimeKind `json:"kind"`
}

// Validate checks the span, the zone's presence and the kind; field prefixes the names in the error.
func (w When) Validate(field string) error {
	if w.Start.IsZero() || w.End.IsZero() {
		return Invalid(field, "start and end are required")
	}
	if !w.End.After(w.Start) {
		return Invalid(field, "end must be after start")
	}
	if w.Duration() > MaxSpan {
		return Invalid(field, "may last at most %d days", int(MaxSpan.Hours()/24))
	}
	if w.Zone == "" || len(w.Zone) > 64 {
		return Invalid(field+".zone", "must be an IANA zone name of 1 to 64 characters")
	}
	switch w.Kind {
	case TimeZoned, TimeAllDay, TimeFloating:
		return nil
	}
	return Invalid(field+".kind", "must be zoned, all_day or floating, not %q", string(w.Kind))
}

// Equal reports whether both describe the same time in the same form.
func (w When) Equal(o When) bool {
	return w.Start.Equal(o.Start) && w.End.Equal(o.End) && w.Zone == o.Zone && w.Kind == o.Kind
}

// GoString keeps test output short.
func (w When) GoString() string { return fmt.Sprintf("When(%s %s %s)", w.Span, w.Zone, w.Kind) }
