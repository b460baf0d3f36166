package domain

import "time"

// Organization is a tenant: one wedding business.
type Organization struct {
	ID        OrgID     `json:"id"`
	Name      string    `json:"name"` // business name, 1..120 characters
	Zone      string    `json:"zone"` // IANA zone in which the business thinks
	CreatedAt time.Time `json:"created_at"`
}

// ResourceKind says what is rented out.
type ResourceKind string

// The kinds of resources.
const (
	ResourcePerson ResourceKind = "person" // photographer, planner, musician
	ResourceTeam   ResourceKind = "team"   // a band, a crew
	ResourceRoom   ResourceKind = "room"   // a venue or a part of it
)

// Resource is something that can be booked and must not be booked twice.
type Resource struct {
	ID           ResourceID    `json:"id"`
	OrgID        OrgID         `json:"-"`
	Name         string        `json:"name"` // personal; sealed in storage
	Kind         ResourceKind  `json:"kind"`
	Zone         string        `json:"zone"`     // IANA zone where it works; resolves floating and all-day times
	Capacity     int           `json:"capacity"` // how many bookings it can serve at once, 1..100
	BufferBefore time.Duration `json:"-"`        // set-up and travel before each booking, 0..48 h
	BufferAfter  time.Duration `json:"-"`        // teardown and travel after each booking, 0..48 h
	Hours        WorkingHours  `json:"working_hours"`
	Skills       []string      `json:"skills"` // what it can do, for suggesting another resource; at most 20
	// OneWeddingADay refuses a second wedding on the same local day even where the hours do not touch.
	OneWeddingADay bool `json:"one_wedding_a_day"`
	// LeadMinutes is how long before its beginning a booking is offered to the resource at the latest, 0..MaxLeadMinutes. It
	// guides what is offered; it neither refuses nor reports what is booked all the same.
	LeadMinutes int `json:"lead_minutes"`
	// Travel is how long the way from one booking to the next takes. It counts where one booking is served at a time.
	Travel    Travel     `json:"travel"`
	Blackouts []Blackout `json:"blackouts"` // days without clients, in the order in which they were added; at most 100
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
	Version   int64      `json:"version"` // grows by one with each change
}

// WorkingHours are the local hours of a week in which a resource takes appointments, in minutes after midnight of
// the resource's zone. Empty means around the clock. Weddings may lie outside: hours guide suggestions and raise a
// low conflict, they do not refuse.
type WorkingHours []DayHours

// DayHours is one open stretch of a weekday. A day may have several.
type DayHours struct {
	Weekday time.Weekday `json:"weekday"` // 0 = Sunday
	From    int          `json:"from"`    // minutes after local midnight, 0..1439
	To      int          `json:"to"`      // minutes after local midnight, From+1..1440
}

// MaxLeadMinutes bounds Resource.LeadMinutes: a leap year.
const MaxLeadMinutes = 366 * 24 * 60

// Validate checks the resource's limits.
func (r Resource) Validate() error {
	if n := len(r.Name); n < 1 || n > 200 {
		return Invalid("name", "must have 1 to 200 bytes, has %d", n)
	}
	switch r.Kind {
	case ResourcePerson, ResourceTeam, ResourceRoom:
	default:
		return Invalid("kind", "must be person, team or room, not %q", string(r.Kind))
	}
	if r.Zone == "" || len(r.Zone) > 64 {
		return Invalid("zone", "must be an IANA zone name of 1 to 64 characters")
	}
	if r.Capacity < 1 || r.Capacity > 100 {
		return Invalid("capacity", "must be 1 to 100, is %d", r.Capacity)
	}
	const maxBuffer = 48 * time.Hour
	if r.BufferBefore < 0 || r.BufferBefore > maxBuffer {
		return Invalid("buffer_before_minutes", "must be 0 to 2880")
	}
	if r.BufferAfter < 0 || r.BufferAfter > maxBuffer {
		return Invalid("buffer_after_minutes", "must be 0 to 2880")
	}
	if r.LeadMinutes < 0 || r.LeadMinutes > MaxLeadMinutes {
		return Invalid("lead_minutes", "must be 0 to %d", MaxLeadMinutes)
	}
	if len(r.Skills) > 20 {
		return Invalid("skills", "at most 20, has %d", len(r.Skills))
	}
	for _, s := range r.Skills {
		if len(s) < 1 || len(s) > 60 {
			return Invalid("skills", "each must have 1 to 60 bytes")
		}
	}
	if len(r.Hours) > 28 {
		return Invalid("working_hours", "at most 28 stretches, has %d", len(r.Hours))
	}
	for _, h := range r.Hours {
		if h.Weekday < time.Sunday || h.Weekday > time.Saturday || h.From < 0 || h.To > 1440 || h.From >= h.To {
			return Invalid("working_hours", "each needs weekday 0..6 and 0 <= from < to <= 1440 minutes")
		}
	}
	if err := r.Travel.Validate(); err != nil {
		return err
	}
	return validateBlackouts(r.Blackouts)
}
