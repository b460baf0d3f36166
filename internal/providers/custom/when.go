package custom

import (
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// moment is a start or an end as it was written.
type moment struct {
	form    form
	instant time.Time         // formInstant
	wall    calendartime.Wall // the clock as written, in every form but a timestamp's and a duration's
	length  time.Duration     // formLength
	written bool              // wall is set
}

type form int

const (
	formNone    form = iota
	formInstant      // a timestamp, or a text with an offset
	formWall         // a date and time without an offset
	formDate         // a date alone
	formLength       // a duration, for an end
)

// when maps the times of an entry.
func (m *mapper) when(w *work) (domain.When, error) {
	var zero domain.When
	r := reader{w: w}
	startVal := r.value(m.start)
	endVal := r.value(m.end)
	zoneName := r.text(m.zone)
	flag := r.value(m.allDay)
	if r.err != nil {
		return zero, r.err
	}
	start, err := readMoment("start", startVal)
	if err != nil {
		return zero, err
	}
	end, err := readMoment("end", endVal)
	if err != nil {
		return zero, err
	}
	if start.form == formNone {
		return zero, domain.Invalid("start", "has no value")
	}
	zone := m.local
	if zoneName != "" {
		if zone, err = calendartime.LoadZone(zoneName); err != nil {
			return zero, err
		}
	}
	allDay := start.form == formDate
	switch v := flag.(type) {
	case nil:
	case types.Bool:
		if bool(v) != allDay && allDay {
			return zero, domain.Invalid("start", "is a date without a time, but all_day is false")
		}
		allDay = bool(v)
	default:
		return zero, domain.Invalid("all_day", "must be true or false, is %s", valueWord(v))
	}
	if allDay {
		return wholeDays(start, end, zone)
	}
	return timed(start, end, zone, zoneName != "")
}

// timed makes instants. A wall clock is resolved in the zone of the entry, or floats in that of the resource.
func timed(start, end moment, zone *time.Location, named bool) (domain.When, error) {
	when := domain.When{Kind: domain.TimeZoned, Zone: zone.String()}
	switch {
	case start.form == formInstant && !named:
		when.Zone = "UTC"
	case start.form == formWall && !named:
		when.Kind = domain.TimeFloating
	}
	when.Start = start.at(zone)
	switch end.form {
	case formNone:
		return domain.When{}, domain.Invalid("end", "has no value")
	case formDate:
		return domain.When{}, domain.Invalid("end", "is a date, but start has a time")
	case formLength:
		when.End = when.Start.Add(end.length)
	case formInstant, formWall:
		when.End = end.at(zone)
	}
	if !when.End.After(when.Start) {
		return domain.When{}, domain.Invalid("end", "must be after start")
	}
	if when.Duration() > domain.MaxSpan {
		return domain.When{}, domain.Invalid("end", "at most %d days after start", int(domain.MaxSpan.Hours()/24))
	}
	return when, nil
}

func (m moment) at(zone *time.Location) time.Time {
	if m.form == formInstant {
		return m.instant.UTC()
	}
	return calendartime.Resolve(m.wall, zone).UTC()
}

// wholeDays makes local days. Dates are taken as they were written, never by way of UTC, since that moves a day for
// everybody who does not live in London.
func wholeDays(start, end moment, zone *time.Location) (domain.When, error) {
	first, err := start.day("start", zone)
	if err != nil {
		return domain.When{}, err
	}
	var last calendartime.Date // exclusive
	switch end.form {
	case formNone:
		last = first.AddDays(1)
	case formLength:
		days := int(end.length / (24 * time.Hour))
		if end.length%(24*time.Hour) != 0 || days < 1 {
			return domain.When{}, domain.Invalid("end", "a duration of an all-day entry must be whole days")
		}
		last = first.AddDays(days)
	default:
		if last, err = end.day("end", zone); err != nil {
			return domain.When{}, err
		}
		midnight := calendartime.Wall{Year: last.Year, Month: last.Month, Day: last.Day}
		if end.form != formDate && end.written && end.wall != midnight {
			last = last.AddDays(1) // 23:59 on the last day includes that day
		}
		if last == first {
			last = last.AddDays(1) // the same date twice is the common way to write one day
		}
	}
	if !first.Before(last) {
		return domain.When{}, domain.Invalid("end", "must not be before start")
	}
	when := domain.When{Kind: domain.TimeAllDay, Zone: zone.String(), Span: calendartime.AllDay(zone, first, last)}
	if when.Duration() > domain.MaxSpan {
		return domain.When{}, domain.Invalid("end", "at most %d days after start", int(domain.MaxSpan.Hours()/24))
	}
	return when, nil
}

func (m moment) day(field string, zone *time.Location) (calendartime.Date, error) {
	if m.written {
		return m.wall.Date(), nil
	}
	// A timestamp has lost the date that was written. Midnight in the zone is safe to read; anything else would be
	// a guess that is one day off for half of the world.
	d := calendartime.DateOf(m.instant, zone)
	if calendartime.DayStart(d, zone).Equal(m.instant) {
		return d, nil
	}
	// The end of a last day is often made of its midnight and 24 hours, without regard to a day of 23 or 25.
	before := m.instant.Add(-24 * time.Hour)
	if d = calendartime.DateOf(before, zone); field == "end" && calendartime.DayStart(d, zone).Equal(before) {
		return d.AddDays(1), nil
	}
	return d, domain.Invalid(field, "an all-day entry needs a date as text; a timestamp must be midnight in its zone")
}

// readMoment reads a value of start or end.
func readMoment(field string, v ref.Val) (moment, error) {
	switch v := v.(type) {
	case nil:
		return moment{}, nil
	case types.Timestamp:
		return checkYears(field, moment{form: formInstant, instant: v.Time})
	case types.Duration:
		if field == "end" {
			return moment{form: formLength, length: v.Duration}, nil
		}
	case types.String:
		if v == "" {
			return moment{}, nil
		}
		return readTimeText(field, string(v))
	}
	w := wantTime
	if field == "end" {
		w = wantEnd
	}
	return moment{}, domain.Invalid(field, "must be %s, is %s", wantWords[w], valueWord(v))
}

// readTimeText reads a date, a local time or an RFC 3339 time. Seconds may be missing and a space may stand for T.
func readTimeText(field, s string) (moment, error) {
	bad := func() (moment, error) {
		return moment{}, domain.Invalid(field, "must be YYYY-MM-DD, YYYY-MM-DDTHH:MM[:SS] or the same with Z or an offset; parse_time reads other notations")
	}
	if len(s) < len(time.DateOnly) || len(s) > 40 {
		return bad()
	}
	date, err := calendartime.ParseDate(s[:len(time.DateOnly)])
	if err != nil {
		return bad()
	}
	m := moment{written: true, form: formDate, wall: date.At(0, 0)}
	rest := s[len(time.DateOnly):]
	if rest == "" {
		return checkYears(field, m)
	}
	if rest[0] != 'T' && rest[0] != 't' && rest[0] != ' ' {
		return bad()
	}
	clock, rest, ok := cutClock(rest[1:])
	if !ok {
		return bad()
	}
	m.wall.Hour, m.wall.Minute, m.wall.Second = clock[0], clock[1], clock[2]
	if rest == "" {
		m.form = formWall
		return checkYears(field, m)
	}
	offset, ok := readOffset(rest)
	if !ok {
		return bad()
	}
	m.form = formInstant
	m.instant = time.Date(m.wall.Year, m.wall.Month, m.wall.Day, m.wall.Hour, m.wall.Minute, m.wall.Second, 0, time.UTC).Add(-offset)
	return checkYears(field, m)
}

// cutClock reads HH:MM, HH:MM:SS or HH:MM:SS.fraction; the fraction is dropped, as bookings have none.
func cutClock(s string) (clock [3]int, rest string, ok bool) {
	for i := range clock {
		if i > 0 {
			if s == "" || s[0] != ':' {
				return clock, s, i == 2
			}
			s = s[1:]
		}
		if clock[i], ok = twoDigits(s); !ok || clock[i] > [3]int{23, 59, 59}[i] {
			return clock, s, false
		}
		s = s[2:]
	}
	if s != "" && (s[0] == '.' || s[0] == ',') {
		n := 1
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		if n == 1 {
			return clock, s, false
		}
		s = s[n:]
	}
	return clock, s, true
}

func readOffset(s string) (time.Duration, bool) {
	if s == "Z" || s == "z" {
		return 0, true
	}
	if len(s) != 6 && len(s) != 5 || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	hours, ok := twoDigits(s[1:])
	minutes, ok2 := twoDigits(s[len(s)-2:])
	if !ok || !ok2 || hours > 23 || minutes > 59 || len(s) == 6 && s[3] != ':' {
		return 0, false
	}
	d := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if s[0] == '-' {
		d = -d
	}
	return d, true
}

func twoDigits(s string) (int, bool) {
	if len(s) < 2 || s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9' {
		return 0, false
	}
	return int(s[0]-'0')*10 + int(s[1]-'0'), true
}

// checkYears keeps to years that every store and calendar can hold.
func checkYears(field string, m moment) (moment, error) {
	year := m.wall.Year
	if !m.written {
		year = m.instant.Year()
	}
	if year < 1900 || year > 2999 {
		return moment{}, domain.Invalid(field, "must be in the years 1900 to 2999")
	}
	return m, nil
}
