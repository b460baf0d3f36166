// Package weddingday decides when a wedding is looked over, when its freeze begins and ends, and what must not happen by
// itself meanwhile. All of it follows from the wedding's own time in the zone of its place, so a wedding that moves takes
// everything along.
//
//	t := weddingday.Plan(b.When.Start, b.When.End, zone, weddingday.Standard)
//	f := weddingday.FreezeOf(b.ID, b.When, resource.Zone, weddingday.Standard)
//	if f, on := weddingday.On(freezes, now); on { … } // nothing risky until f.Until
//
// Days and hours before a wedding are counted on the wall clock: two days before a wedding at 14:00 is 14:00, also when
// clocks change in between. All results are in UTC. Periods out of bounds are the caller's fault, see [Periods.Validate];
// nothing here fails.
//
// Functions are pure and take the time as an argument. Test them with go test ./internal/rules/weddingday.
package weddingday

import (
	"cmp"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Periods are how long before a wedding something begins.
type Periods struct {
	Preflight time.Duration // the first look; whole days
	Freeze    time.Duration // the second look and the freeze; whole hours
}

// Standard is a week and 48 hours.
var Standard = PeriodsOf(domain.StandardFreezeSettings())

// PeriodsOf are the periods of an organisation's settings.
func PeriodsOf(s domain.FreezeSettings) Periods {
	return Periods{Preflight: time.Duration(s.PreflightDays) * 24 * time.Hour, Freeze: time.Duration(s.FreezeHours) * time.Hour}
}

// Validate checks the bounds of [domain.FreezeSettings]; prefix is put before the names of fields.
func (p Periods) Validate(prefix string) error {
	if p.Preflight%(24*time.Hour) != 0 {
		return domain.Invalid(prefix+"preflight", "must be whole days")
	}
	if p.Freeze%time.Hour != 0 {
		return domain.Invalid(prefix+"freeze", "must be whole hours")
	}
	return domain.FreezeSettings{PreflightDays: int(p.Preflight / (24 * time.Hour)), FreezeHours: int(p.Freeze / time.Hour), Holds: domain.FreezeHoldsAll}.Validate(prefix)
}

// winding is how long after its end a wedding's day goes on at the least: guests leave, vendors load out, and what they
// changed on the way is still to be taken.
const winding = 6 * time.Hour

// Reach is how far from a wedding's own time its freeze may lie: who looks for the freezes of a moment reads the weddings
// that begin less than Ahead after it and ended less than Behind before it.
const (
	Ahead  = domain.MaxFreezeHours*time.Hour + 26*time.Hour // the day's own hours, and clocks that change
	Behind = 32 * time.Hour                                 // to the midnight after the end, or winding
)

// Times are the moments of one wedding, in UTC and in order.
type Times struct {
	PreflightWeek   time.Time // the first look
	PreflightFreeze time.Time // the second look, at the beginning of the freeze
	FreezeFrom      time.Time
	DayFrom         time.Time // local midnight of the first day
	DayUntil        time.Time // midnight after the last day, or six hours after the end where that is later
	FreezeUntil     time.Time // as DayUntil
}

// Plan tells the moments of a wedding from starts to ends in a zone. The day itself is frozen whatever the periods are.
func Plan(starts, ends time.Time, zone *time.Location, p Periods) Times {
	day := dayOf(starts, ends, zone)
	from := earlier(before(starts, p.Freeze, zone), day.Start)
	return Times{PreflightWeek: earlier(before(starts, p.Preflight, zone), from), PreflightFreeze: from, FreezeFrom: from,
		DayFrom: day.Start, DayUntil: day.End, FreezeUntil: day.End}
}

// dayOf is from the local midnight before a wedding to the one after it. A wedding that ends at midnight has ended by then.
func dayOf(starts, ends time.Time, zone *time.Location) domain.Span {
	last := starts
	if ends.After(starts) {
		last = ends.Add(-1)
	}
	until := calendartime.DayStart(calendartime.DateOf(last, zone).AddDays(1), zone)
	return domain.Span{Start: calendartime.DayStart(calendartime.DateOf(starts, zone), zone).UTC(), End: later(until, ends.Add(winding)).UTC()}
}

// before is a time earlier on the wall clock.
func before(t time.Time, d time.Duration, zone *time.Location) time.Time {
	w := calendartime.WallOf(t, zone)
	shifted := time.Date(w.Year, w.Month, w.Day, w.Hour, w.Minute, w.Second, 0, time.UTC).Add(-d)
	return calendartime.Resolve(calendartime.WallOf(shifted, time.UTC), zone).UTC()
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Freeze is the time around a wedding in which nothing risky happens by itself in its organisation.
type Freeze struct {
	Booking domain.BookingID `json:"booking_id"` // the wedding
	From    time.Time        `json:"from"`
	Until   time.Time        `json:"until"`
	Zone    string           `json:"zone"`  // of the wedding's place
	Day     domain.Span      `json:"day"`   // from DayFrom to DayUntil
	Event   domain.Span      `json:"event"` // the wedding itself
}

// FreezeOf is the freeze of a wedding. resourceZone is where the booked resource works.
func FreezeOf(id domain.BookingID, when domain.When, resourceZone string, p Periods) Freeze {
	zone := ZoneOf(when.Zone, resourceZone)
	t := Plan(when.Start, when.End, zone, p)
	return Freeze{Booking: id, From: t.FreezeFrom, Until: t.FreezeUntil, Zone: zone.String(), Day: domain.Span{Start: t.DayFrom, End: t.DayUntil},
		Event: domain.Span{Start: when.Start.UTC(), End: when.End.UTC()}}
}

// ZoneOf is the zone in which a wedding takes place: that of its booking, or of the booked resource where the booking was
// written in UTC, which says nothing about a place. Names that are not known count as UTC.
func ZoneOf(booking, resource string) *time.Location {
	for _, name := range []string{booking, resource} {
		if name == "" || name == "UTC" {
			continue
		}
		if loc, err := calendartime.LoadZone(name); err == nil {
			return loc
		}
	}
	return time.UTC
}

// Running reports whether the freeze is on at a moment.
func (f Freeze) Running(at time.Time) bool { return !at.Before(f.From) && at.Before(f.Until) }

// Touches reports whether the freeze shares an instant with [from, until).
func (f Freeze) Touches(from, until time.Time) bool {
	return f.From.Before(until) && from.Before(f.Until)
}

// On returns the freeze that is on at a moment, of several the one that ends last.
func On(freezes []Freeze, at time.Time) (last Freeze, on bool) {
	for _, f := range freezes {
		if f.Running(at) && (!on || f.Until.After(last.Until)) {
			last, on = f, true
		}
	}
	return last, on
}

// Stops reports whether something that would happen by itself at a moment, and concerns a span of time, must wait for a
// person, and the freeze that says so. With [domain.FreezeHoldsAll] every running freeze does; else those within which the
// span lies, wholly or in part.
func Stops(freezes []Freeze, at time.Time, about domain.Span, holds domain.FreezeHolds) (Freeze, bool) {
	if holds == domain.FreezeHoldsNear {
		freezes = slices.DeleteFunc(slices.Clone(freezes), func(f Freeze) bool { return !f.Touches(about.Start, about.End) })
	}
	return On(freezes, at)
}

// Thaw is when no freeze is on any more, from a moment on: freezes that follow each other without a break count as one. It
// is the moment itself when none is on.
func Thaw(freezes []Freeze, at time.Time) time.Time {
	sorted := slices.Clone(freezes)
	slices.SortFunc(sorted, func(a, b Freeze) int { return a.From.Compare(b.From) })
	for _, f := range sorted {
		if f.Running(at) {
			at = f.Until
		}
	}
	return at
}

// Deploying reports whether a wedding's day is on at a moment, or begins within a time after it: then the platform is not
// changed. It is narrower than the freeze, because on a platform with many organisations some freeze is always on.
func (f Freeze) Deploying(at time.Time, within time.Duration) bool {
	return f.Day.Start.Before(at.Add(within+1)) && at.Before(f.Day.End)
}

// Sort puts freezes in the order of their weddings.
func Sort(freezes []Freeze) {
	slices.SortFunc(freezes, func(a, b Freeze) int {
		return cmp.Or(a.Event.Start.Compare(b.Event.Start), cmp.Compare(a.Booking, b.Booking))
	})
}
