package maintenance

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Code says in one word why a time is closed.
type Code string

// The codes.
const (
	Freeze  Code = "freeze"  // of a wedding; nothing overrides it
	Weekday Code = "weekday" // the organisation allows none on such a day
	Hours   Code = "hours"   // the organisation allows none at such an hour
	Season  Code = "season"  // the organisation closed these days
)

// Closure is a stretch in which there may be no maintenance.
type Closure struct {
	domain.Span
	Code    Code             `json:"code"`
	Booking domain.BookingID `json:"booking_id,omitempty"` // the wedding of a freeze
	Text    string           `json:"text"`                 // why, in words without personal data
}

// Frozen makes the closure of a wedding's freeze.
func Frozen(wedding domain.BookingID, span domain.Span) Closure {
	return Closure{Span: domain.Span{Start: span.Start.UTC(), End: span.End.UTC()}, Code: Freeze, Booking: wedding, Text: "the freeze of a wedding"}
}

// Calendar is what an organisation allows, in its zone.
type Calendar struct {
	zone        *time.Location
	weekdays    [7]bool
	from, until int // minutes after local midnight
	seasons     []season
}

type season struct {
	name        string
	yearly      bool
	first, last calendartime.Date // of a yearly one only month and day count
}

// MaxSearch is the longest stretch that is looked at at once.
const MaxSearch = 400 * 24 * time.Hour

// CalendarOf reads settings; zone is that of the organisation, for settings that name none. Errors are KindInvalid with the field,
// without prefix.
func CalendarOf(s domain.MaintenanceSettings, zone string) (Calendar, error) {
	if err := s.Validate(""); err != nil {
		return Calendar{}, err
	}
	if s.Zone != "" {
		zone = s.Zone
	}
	c := Calendar{from: s.FromMinute, until: s.UntilMinute}
	var err error
	if c.zone, err = calendartime.LoadZone(zone); err != nil {
		return Calendar{}, err
	}
	for _, day := range s.Weekdays {
		c.weekdays[day] = true
	}
	for n, one := range s.Seasons {
		read, err := readSeason(one)
		if err != nil {
			return Calendar{}, domain.Invalid(fmt.Sprintf("seasons[%d].from", n), "from and until must be days that exist, the first not after the last unless they come back every year")
		}
		c.seasons = append(c.seasons, read)
	}
	return c, nil
}

func readSeason(s domain.Season) (out season, err error) {
	out = season{name: s.Name, yearly: len(s.From) == len("01-02")}
	prefix := ""
	if out.yearly {
		prefix = "2028-" // a leap year, so that 02-29 is a day
	}
	if out.first, err = calendartime.ParseDate(prefix + s.From); err != nil {
		return out, err
	}
	if out.last, err = calendartime.ParseDate(prefix + s.Until); err != nil {
		return out, err
	}
	if !out.yearly && out.last.Before(out.first) {
		return out, domain.Invalid("until", "must not be before from")
	}
	return out, nil
}

func (s season) holds(d calendartime.Date) bool {
	if !s.yearly {
		return !d.Before(s.first) && !s.last.Before(d)
	}
	key := func(d calendartime.Date) int { return int(d.Month)*100 + d.Day }
	day, first, last := key(d), key(s.first), key(s.last)
	if first <= last {
		return day >= first && day <= last
	}
	return day >= first || day <= last
}

// Zone is on whose clock days and hours are meant.
func (c Calendar) Zone() *time.Location { return c.zone }

// Closures returns what is closed in a stretch: the freezes that touch it and what the calendar closes, cut to the stretch, in the
// order of their beginnings. Neighbouring days that are closed for one reason are one closure. A stretch longer than MaxSearch is
// cut.
func Closures(span domain.Span, freezes []Closure, c Calendar) []Closure {
	span = bounded(span)
	var out []Closure
	add := func(one Closure) {
		if part := one.Span.Intersect(span); part.Start.Before(part.End) {
			one.Span = part
			out = append(out, one)
		}
	}
	for _, f := range freezes {
		add(f)
	}
	if c.zone != nil {
		for _, one := range c.closed(span) {
			add(one)
		}
	}
	slices.SortFunc(out, func(a, b Closure) int {
		return cmp.Or(a.Start.Compare(b.Start), a.End.Compare(b.End), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Booking, b.Booking))
	})
	return out
}

func bounded(span domain.Span) domain.Span {
	if span.End.Sub(span.Start) > MaxSearch {
		span.End = span.Start.Add(MaxSearch)
	}
	return domain.Span{Start: span.Start.UTC(), End: span.End.UTC()}
}

// closed goes through the local days of a stretch.
func (c Calendar) closed(span domain.Span) []Closure {
	var out []Closure
	add := func(start, end time.Time, code Code, text string) {
		if !start.Before(end) {
			return
		}
		for n := len(out) - 1; n >= 0 && n >= len(out)-4; n-- {
			if last := &out[n]; last.Code == code && last.Text == text && last.End.Equal(start) {
				last.End = end.UTC()
				return
			}
		}
		out = append(out, Closure{Span: domain.Span{Start: start.UTC(), End: end.UTC()}, Code: code, Text: text})
	}
	first, end := calendartime.DateOf(span.Start, c.zone), calendartime.DateOf(span.End, c.zone).AddDays(1)
	for day := first; day.Before(end); day = day.AddDays(1) {
		from, until := calendartime.DayStart(day, c.zone), calendartime.DayStart(day.AddDays(1), c.zone)
		if !c.weekdays[day.Weekday()] {
			add(from, until, Weekday, "no maintenance on a "+day.Weekday().String())
		}
		for _, s := range c.seasons {
			if s.holds(day) {
				add(from, until, Season, s.name)
			}
		}
		at := func(minute int) time.Time {
			if minute == 0 {
				return from
			}
			if minute == 1440 {
				return until
			}
			t := calendartime.Resolve(day.At(minute/60, minute%60), c.zone)
			return latest(from, earliest(t, until))
		}
		text := fmt.Sprintf("maintenance is allowed from %s to %s", clock(c.from), clock(c.until))
		if c.from < c.until {
			add(from, at(c.from), Hours, text)
			add(at(c.until), until, Hours, text)
		} else {
			add(at(c.until), at(c.from), Hours, text)
		}
	}
	return out
}

func clock(minute int) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// State is whether maintenance may be at a time, and when that changes.
type State struct {
	Open bool `json:"open"`
	// Next is when it changes; nil when it does not before the end of what was looked at.
	Next *time.Time `json:"next_change,omitempty"`
	// Closed are the closures that are in force, empty when it is open; Then those that close it at Next.
	Closed []Closure `json:"closed"`
	Then   []Closure `json:"then,omitempty"`
}

// StateAt tells whether a time is open. Closures are those of a stretch in which the time lies and which ends at horizon.
func StateAt(at time.Time, closures []Closure, horizon time.Time) State {
	s := State{Closed: []Closure{}}
	for _, c := range closures {
		if !c.Start.After(at) && c.End.After(at) {
			s.Closed = append(s.Closed, c)
		}
	}
	s.Open = len(s.Closed) == 0
	var next time.Time
	if s.Open {
		for _, c := range closures {
			if c.Start.After(at) && (next.IsZero() || c.Start.Before(next)) {
				next = c.Start
			}
		}
		for _, c := range closures {
			if !next.IsZero() && c.Start.Equal(next) {
				s.Then = append(s.Then, c)
			}
		}
	} else {
		// Closures that touch or overlap each other are one closed time. They are in the order of their beginnings.
		next = at
		for _, c := range closures {
			if !c.Start.After(next) && c.End.After(next) {
				next = c.End
			}
		}
	}
	if !next.IsZero() && next.Before(horizon) {
		next = next.UTC()
		s.Next = &next
	} else {
		s.Then = nil
	}
	return s
}

// InTheWay returns the closures that overlap a stretch.
func InTheWay(span domain.Span, closures []Closure) []Closure {
	var out []Closure
	for _, c := range closures {
		if c.Overlaps(span) {
			out = append(out, c)
		}
	}
	return out
}

// Free returns what is left of a stretch without closures and what is taken, in order.
func Free(span domain.Span, closures []Closure, taken []domain.Span) []domain.Span {
	span = bounded(span)
	busy := make([]domain.Span, 0, len(closures)+len(taken))
	for _, c := range closures {
		busy = append(busy, c.Span)
	}
	busy = append(busy, taken...)
	slices.SortFunc(busy, func(a, b domain.Span) int { return cmp.Or(a.Start.Compare(b.Start), a.End.Compare(b.End)) })
	var out []domain.Span
	from := span.Start
	for _, b := range busy {
		if !b.End.After(from) || !b.Start.Before(b.End) {
			continue
		}
		if !b.Start.Before(span.End) {
			break
		}
		if b.Start.After(from) {
			out = append(out, domain.Span{Start: from, End: b.Start.UTC()})
		}
		from = b.End.UTC()
	}
	if from.Before(span.End) {
		out = append(out, domain.Span{Start: from, End: span.End})
	}
	return out
}
