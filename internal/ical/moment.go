package ical

import (
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Form is how a date or time is written.
type Form int

// The forms of RFC 5545 sections 3.3.4 and 3.3.5.
const (
	FormUTC      Form = iota // 20270605T130000Z
	FormZoned                // TZID and a wall clock
	FormFloating             // a wall clock alone
	FormDate                 // a day
)

// Moment is a DTSTART, DTEND, RECURRENCE-ID and the like. A date has the clock 00:00:00.
type Moment struct {
	Form Form
	Wall calendartime.Wall
	Zone calendartime.NamedZone // what resolves it: its own, UTC, or Options.Zone for dates and floating times
	TZID string                 // as written, for FormZoned
}

// Instant resolves the moment, in UTC. A date is the first instant of its local day.
func (m Moment) Instant() time.Time {
	if m.Form == FormDate {
		return calendartime.DayStart(m.Wall.Date(), m.Zone.Loc).UTC()
	}
	return calendartime.Resolve(m.Wall, m.Zone.Loc).UTC()
}

// In returns the wall clock that m shows in a series that starts with the given moment.
func (m Moment) In(series Moment) calendartime.Wall {
	switch {
	case m.Form == FormDate && series.Form == FormDate:
		return m.Wall
	case m.Form == FormDate:
		// A date that names an instance of a timed series means the instance of that day.
		wall := series.Wall
		wall.Year, wall.Month, wall.Day = m.Wall.Year, m.Wall.Month, m.Wall.Day
		return wall
	case series.Form == FormDate:
		return m.Wall.Date().At(0, 0)
	case m.Form == FormFloating, m.Form == FormZoned && m.TZID == series.TZID:
		// No way through an instant: a clock that occurs twice stays itself. A clock without a zone among ones with a
		// zone was meant in theirs.
		return m.Wall
	}
	return calendartime.WallOf(m.Instant(), series.Zone.Loc)
}

// Kind is the form in the words of domain.
func (m Moment) Kind() domain.TimeKind {
	switch m.Form {
	case FormDate:
		return domain.TimeAllDay
	case FormFloating:
		return domain.TimeFloating
	case FormUTC, FormZoned:
	}
	return domain.TimeZoned
}

// Reader reads the times of one calendar: it knows the zones that the calendar defines.
type Reader struct {
	zones *zoneSet
	local calendartime.NamedZone
}

// Moment reads a date or time. The error is domain.KindInvalid on the property's name in lower case, or on "tzid".
func (r Reader) Moment(p Prop) (Moment, error) { return r.value(p, p.Value) }

// value reads one of the values of a property.
func (r Reader) value(p Prop, value string) (Moment, error) {
	field := strings.ToLower(p.Name)
	value = strings.ToUpper(strings.TrimSpace(value))
	if strings.EqualFold(p.Param("VALUE"), "DATE") || len(value) == len("20060102") {
		// Some programs write a clock behind a VALUE=DATE, or a TZID on a date: neither means anything.
		if len(value) > 8 {
			value = value[:8]
		}
		wall, ok := readDay(value)
		if !ok {
			return Moment{}, domain.Invalid(field, "must be an existing day written YYYYMMDD")
		}
		return Moment{Form: FormDate, Wall: wall, Zone: r.local}, nil
	}
	value, utc := strings.CutSuffix(value, "Z")
	if strings.HasSuffix(value, "60") { // a leap second, which no wall clock here knows
		value = value[:len(value)-2] + "59"
	}
	t, err := time.Parse("20060102T150405", value)
	if err != nil || t.Year() < 1 || len(value) != len("20060102T150405") {
		return Moment{}, domain.Invalid(field, "must be an existing time written YYYYMMDDTHHMMSS")
	}
	m := Moment{Form: FormUTC, Wall: calendartime.WallOf(t, time.UTC), Zone: calendartime.UTC}
	tzid := p.Param("TZID")
	switch {
	case utc:
	case tzid != "":
		if m.Zone, err = r.zones.resolve(tzid); err != nil {
			return Moment{}, err
		}
		m.Form, m.TZID = FormZoned, tzid
	default:
		m.Form, m.Zone = FormFloating, r.local
	}
	return m, nil
}

func readDay(value string) (calendartime.Wall, bool) {
	t, err := time.Parse("20060102", value)
	return calendartime.WallOf(t, time.UTC), err == nil && t.Year() >= 1
}

// Length is a DURATION: whole days on the calendar and an exact rest.
type Length struct {
	Days  int
	Exact time.Duration
}

// ParseLength reads a DURATION of at most 366 days that does not run backwards.
func ParseLength(value string) (Length, error) {
	bad := domain.Invalid("duration", "must be written like P1DT2H30M or P2W, at most 366 days")
	s := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(value)), "+")
	s, ok := strings.CutPrefix(s, "P")
	if !ok || s == "" {
		return Length{}, bad
	}
	var l Length
	clock := false
	for s != "" {
		if rest, t := strings.CutPrefix(s, "T"); t && !clock {
			s, clock = rest, true
			continue
		}
		i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		if i < 1 {
			return Length{}, bad
		}
		n, err := strconv.Atoi(s[:i])
		if err != nil || n > 366*24*3600 {
			return Length{}, bad
		}
		unit := s[i]
		s = s[i+1:]
		switch {
		case !clock && unit == 'W':
			l.Days += 7 * n
		case !clock && unit == 'D':
			l.Days += n
		case clock && unit == 'H':
			l.Exact += time.Duration(n) * time.Hour
		case clock && unit == 'M':
			l.Exact += time.Duration(n) * time.Minute
		case clock && unit == 'S':
			l.Exact += time.Duration(n) * time.Second
		default:
			return Length{}, bad
		}
		if l.Days > 366 || l.Exact > domain.MaxSpan {
			return Length{}, bad
		}
	}
	return l, nil
}

// After returns the instant a length after m: days on the wall clock first, then the exact rest.
func (l Length) After(m Moment) time.Time {
	later := m
	later.Wall = m.Wall.AddDays(l.Days)
	if m.Form == FormDate {
		later.Wall = m.Wall.AddDays(l.Days + int(l.Exact/(24*time.Hour)))
		return later.Instant()
	}
	return later.Instant().Add(l.Exact)
}
