package domain

import (
	"math"
	"strconv"
	"time"
)

// VenueID names a known venue of an organisation.
type VenueID string

// BlackoutID names a stretch of days on which a resource takes no clients.
type BlackoutID string

// Point is a place on the globe in decimal degrees (WGS 84). The zero value means that the place is not known: 0° N 0° E
// is open sea.
type Point struct {
	Lat float64 `json:"latitude"`  // -90..90, north is positive
	Lon float64 `json:"longitude"` // -180..180, east is positive
}

// Known reports whether the point says a place.
func (p Point) Known() bool { return p != Point{} }

// Validate checks the limits; prefix is put before the names of fields.
func (p Point) Validate(prefix string) error {
	switch {
	case math.IsNaN(p.Lat) || p.Lat < -90 || p.Lat > 90:
		return Invalid(prefix+"latitude", "must be -90 to 90")
	case math.IsNaN(p.Lon) || p.Lon < -180 || p.Lon > 180:
		return Invalid(prefix+"longitude", "must be -180 to 180")
	case !p.Known():
		return Invalid(prefix+"latitude", "0, 0 is open sea and stands for a place that is not known")
	}
	return nil
}

// Venue is a place that an organisation knows. Bookings are at it when their location names it. Names and point are sealed in
// storage, because some are homes.
type Venue struct {
	ID      VenueID  `json:"id"`
	OrgID   OrgID    `json:"-"`
	Name    string   `json:"name"`    // 1..200 bytes
	Aliases []string `json:"aliases"` // other ways in which it is written; at most 20 of 1..200 bytes
	Point
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Version   int64     `json:"version"` // grows by one with each change
}

// Limits of venues.
const (
	MaxVenues    = 500 // per organisation: they are read with the changes that are applied
	MaxAliases   = 20
	MaxVenueName = 200 // bytes
)

// Validate checks the limits; prefix is put before the names of fields.
func (v Venue) Validate(prefix string) error {
	if n := len(v.Name); n < 1 || n > MaxVenueName {
		return Invalid(prefix+"name", "must have 1 to %d bytes, has %d", MaxVenueName, n)
	}
	if len(v.Aliases) > MaxAliases {
		return Invalid(prefix+"aliases", "at most %d, has %d", MaxAliases, len(v.Aliases))
	}
	for _, a := range v.Aliases {
		if n := len(a); n < 1 || n > MaxVenueName {
			return Invalid(prefix+"aliases", "each must have 1 to %d bytes, one has %d", MaxVenueName, n)
		}
	}
	return v.Point.Validate(prefix)
}

// Travel says how long a resource's way between two bookings at different places takes. The zero value leaves ways to
// the buffers.
type Travel struct {
	// SpeedKmh is the speed over the great-circle distance, 0..300 km/h; 0 = distances are not looked at.
	SpeedKmh int `json:"speed_kmh"`
	// MinMinutes is the least that a measured way between two places counts, 0..1440.
	MinMinutes int `json:"min_minutes"`
	// FixedMinutes is the way where it cannot be measured: a place is not known, or there is no speed; 0..1440.
	FixedMinutes int `json:"fixed_minutes"`
}

// Limits of travel.
const (
	MaxSpeedKmh = 300
	// MaxWay bounds how long any way counts. Whoever crosses the globe between two bookings is asked about a day, which
	// keeps the search for neighbours local.
	MaxWay = 24 * time.Hour
)

// Validate checks the limits.
func (t Travel) Validate() error {
	const most = int(MaxWay / time.Minute)
	for _, f := range []struct {
		name      string
		n, atMost int
	}{{"travel.speed_kmh", t.SpeedKmh, MaxSpeedKmh}, {"travel.min_minutes", t.MinMinutes, most}, {"travel.fixed_minutes", t.FixedMinutes, most}} {
		if f.n < 0 || f.n > f.atMost {
			return Invalid(f.name, "must be 0 to %d, is %d", f.atMost, f.n)
		}
	}
	return nil
}

// Blackout is a stretch of whole local days on which a resource takes no clients.
type Blackout struct {
	ID     BlackoutID `json:"id"`
	From   string     `json:"from"`   // first day, YYYY-MM-DD in the resource's zone
	To     string     `json:"to"`     // last day, which belongs to it
	Yearly bool       `json:"yearly"` // again every year from then on, on the same days
	Reason string     `json:"reason"` // in the admin's words; at most 200 bytes, no personal data is asked for
}

// Limits of blackouts.
const (
	MaxBlackouts      = 100 // per resource
	MaxBlackoutDays   = 366
	MaxBlackoutReason = 200 // bytes
)

// Validate checks the days and the limits; prefix is put before the names of fields.
func (b Blackout) Validate(prefix string) error {
	from, err := time.Parse(time.DateOnly, b.From)
	if err != nil {
		return Invalid(prefix+"from", "must be an existing day written YYYY-MM-DD")
	}
	to, err := time.Parse(time.DateOnly, b.To)
	if err != nil {
		return Invalid(prefix+"to", "must be an existing day written YYYY-MM-DD")
	}
	if to.Before(from) {
		return Invalid(prefix+"to", "must not be before from")
	}
	if days := int(to.Sub(from)/(24*time.Hour)) + 1; days > MaxBlackoutDays {
		return Invalid(prefix+"to", "at most %d days at once, it would be %d", MaxBlackoutDays, days)
	}
	if len(b.Reason) > MaxBlackoutReason {
		return Invalid(prefix+"reason", "at most %d bytes, has %d", MaxBlackoutReason, len(b.Reason))
	}
	return nil
}

func validateBlackouts(list []Blackout) error {
	if len(list) > MaxBlackouts {
		return Invalid("blackouts", "at most %d, has %d", MaxBlackouts, len(list))
	}
	for i, b := range list {
		if err := b.Validate("blackouts[" + strconv.Itoa(i) + "]."); err != nil {
			return err
		}
	}
	return nil
}
