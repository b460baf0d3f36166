package caldav

import (
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-ical"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// form is how a date or time is written.
type form int

const (
	formUTC      form = iota // 20270605T130000Z
	formZoned                // TZID and a wall clock
	formFloating             // a wall clock alone
	formDate                 // a day
)

// moment is a DTSTART, DTEND, RECURRENCE-ID and the like. A date has the clock 00:00:00.
type moment struct {
	form form
	wall calendartime.Wall
	zone zone   // the zone that resolves it: its own, UTC, or the resource's for dates and floating times
	tzid string // as written, for formZoned
}

func (m moment) instant() time.Time {
	if m.form == formDate {
		return calendartime.DayStart(m.wall.Date(), m.zone.loc).UTC()
	}
	return calendartime.Resolve(m.wall, m.zone.loc).UTC()
}

// in returns the wall clock that m shows in a series' zone.
func (m moment) in(series moment) calendartime.Wall {
	switch {
	case m.form == formDate && series.form == formDate:
		return m.wall
	case m.form == formDate:
		// A date that names an instance of a timed series means the instance of that day.
		return m.wall.Date().At(series.wall.Hour, series.wall.Minute)
	case series.form == formDate:
		return m.wall.Date().At(0, 0)
	case m.form == series.form && m.form == formFloating, m.form == formZoned && m.tzid == series.tzid:
		return m.wall // no way through an instant: a clock that occurs twice stays itself
	}
	return calendartime.WallOf(m.instant(), series.zone.loc)
}

func (m moment) kind() domain.TimeKind {
	switch m.form {
	case formDate:
		return domain.TimeAllDay
	case formFloating:
		return domain.TimeFloating
	case formUTC, formZoned:
	}
	return domain.TimeZoned
}

// reader reads the times of one resource.
type reader struct {
	zones *zoneSet
	local zone // of the integration's resource
}

func (r reader) moment(field string, p *ical.Prop) (moment, error) {
	return r.value(field, p.Value, strings.EqualFold(p.Params.Get(ical.ParamValue), "DATE"), p.Params.Get(ical.PropTimezoneID))
}

func (r reader) value(field, value string, date bool, tzid string) (moment, error) {
	value = strings.TrimSpace(value)
	if date || len(value) == 8 {
		// Some programs write a clock behind a VALUE=DATE, or a TZID on a date: neither means anything.
		if len(value) > 8 {
			value = value[:8]
		}
		t, err := time.Parse("20060102", value)
		if err != nil {
			return moment{}, domain.Invalid(field, "must be a day written YYYYMMDD")
		}
		return moment{form: formDate, wall: calendartime.WallOf(t, time.UTC), zone: r.local}, nil
	}
	utc := strings.HasSuffix(value, "Z")
	value = strings.TrimSuffix(value, "Z")
	if strings.HasSuffix(value, "60") { // a leap second, which no wall clock here knows
		value = value[:len(value)-2] + "59"
	}
	t, err := time.Parse("20060102T150405", value)
	if err != nil {
		return moment{}, domain.Invalid(field, "must be a time written YYYYMMDDTHHMMSS")
	}
	m := moment{form: formUTC, wall: calendartime.WallOf(t, time.UTC), zone: zone{"UTC", time.UTC}}
	switch {
	case utc:
	case tzid != "":
		if m.zone, err = r.zones.resolve(tzid); err != nil {
			return moment{}, err
		}
		m.form, m.tzid = formZoned, tzid
	default:
		m.form, m.zone = formFloating, r.local
	}
	return m, nil
}

// length is a DURATION: whole days on the calendar and an exact rest.
type length struct {
	days  int
	exact time.Duration
}

func parseLength(value string) (length, error) {
	bad := domain.Invalid("duration", "must be written like P1DT2H30M or P2W, at most 366 days")
	s := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(value)), "+")
	s, ok := strings.CutPrefix(s, "P")
	if !ok || s == "" {
		return length{}, bad
	}
	var l length
	clock := false
	for s != "" {
		if rest, t := strings.CutPrefix(s, "T"); t && !clock {
			s, clock = rest, true
			continue
		}
		i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		if i < 1 {
			return length{}, bad
		}
		n, err := strconv.Atoi(s[:i])
		if err != nil || n > 366*24*3600 {
			return length{}, bad
		}
		unit := s[i]
		s = s[i+1:]
		switch {
		case !clock && unit == 'W':
			l.days += 7 * n
		case !clock && unit == 'D':
			l.days += n
		case clock && unit == 'H':
			l.exact += time.Duration(n) * time.Hour
		case clock && unit == 'M':
			l.exact += time.Duration(n) * time.Minute
		case clock && unit == 'S':
			l.exact += time.Duration(n) * time.Second
		default:
			return length{}, bad
		}
		if l.days > 366 || l.exact > domain.MaxSpan {
			return length{}, bad
		}
	}
	return l, nil
}

// after returns the instant a length after m.
func (l length) after(m moment) time.Time {
	later := m
	later.wall = m.wall.AddDays(l.days)
	if m.form == formDate {
		later.wall = m.wall.AddDays(l.days + int(l.exact/(24*time.Hour)))
		return later.instant()
	}
	return later.instant().Add(l.exact)
}
