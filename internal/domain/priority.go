package domain

import "time"

// Priority says what is applied first while more waits than can be done at once. A smaller number goes first, so that an
// ascending index yields the order. Priorities order work of one integration and the turns of integrations; they never
// change what is applied in the end.
type Priority int8

// The priorities. Anything but these is read as PriorityNormal by [Priority.OrNormal].
const (
	PriorityUrgent Priority = 1 // the resource, or its organisation, has a wedding within UrgentWithin
	PriorityHigh   Priority = 2 // the provider's rule or the integration's setting says so
	PriorityNormal Priority = 3 // whatever nobody said anything about
	PriorityBulk   Priority = 4 // replays, routed deliveries, imports: nobody waits for a single one
)

// UrgentWithin is how near a wedding makes deliveries urgent: two days before it begins, and until it is over.
const UrgentWithin = 48 * time.Hour

// Priorities lists all of them, most urgent first.
func Priorities() []Priority {
	return []Priority{PriorityUrgent, PriorityHigh, PriorityNormal, PriorityBulk}
}

// String returns the name used in settings, rules and metrics; "unknown" for a value that is none of the four.
func (p Priority) String() string {
	switch p {
	case PriorityUrgent:
		return "urgent"
	case PriorityHigh:
		return "high"
	case PriorityNormal:
		return "normal"
	case PriorityBulk:
		return "bulk"
	}
	return "unknown"
}

// Valid reports whether p is one of the four.
func (p Priority) Valid() bool { return p >= PriorityUrgent && p <= PriorityBulk }

// OrNormal returns p, or PriorityNormal for the zero value and anything else that is no priority.
func (p Priority) OrNormal() Priority {
	if p.Valid() {
		return p
	}
	return PriorityNormal
}

// ParsePriority reads a name as String writes it. Anything else is KindInvalid and names the field.
func ParsePriority(field, name string) (Priority, error) {
	for _, p := range Priorities() {
		if p.String() == name {
			return p, nil
		}
	}
	return 0, Invalid(field, "must be urgent, high, normal or bulk")
}

// MarshalText writes the name; the zero value is written as normal.
func (p Priority) MarshalText() ([]byte, error) { return []byte(p.OrNormal().String()), nil }

// UnmarshalText reads a name.
func (p *Priority) UnmarshalText(text []byte) error {
	parsed, err := ParsePriority("priority", string(text))
	if err != nil {
		return err
	}
	*p = parsed
	return nil
}
