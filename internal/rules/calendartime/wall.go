package calendartime

import (
	"fmt"
	"sort"
	"time"
)

// Wall is what a clock and a calendar on the wall show, without a zone. It is comparable and serves as a map key.
type Wall struct {
	Year                 int
	Month                time.Month
	Day                  int
	Hour, Minute, Second int
}

// WallOf reads the wall clock of an instant in a zone. Fractions of a second are dropped.
func WallOf(t time.Time, loc *time.Location) Wall {
	t = t.In(loc)
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	return Wall{Year: year, Month: month, Day: day, Hour: hour, Minute: minute, Second: second}
}

// Valid reports whether the wall clock names a date that exists and a time from 00:00:00 to 23:59:59, in the years 1
// to 9999. It says nothing about zones: a clock that a zone skips is valid.
func (w Wall) Valid() bool {
	return w.Year >= 1 && w.Year <= 9999 && w == wallFromUTC(w.utc())
}

// Date returns the calendar day.
func (w Wall) Date() Date { return Date{Year: w.Year, Month: w.Month, Day: w.Day} }

// Before reports whether w reads earlier than o.
func (w Wall) Before(o Wall) bool { return w.utc().Before(o.utc()) }

// AddDays moves the date by whole days and keeps the clock.
func (w Wall) AddDays(n int) Wall {
	w.Day += n
	return wallFromUTC(w.utc())
}

// String is the local form of ISO 8601, such as 2027-06-05T14:00:00.
func (w Wall) String() string {
	return fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02d", w.Year, int(w.Month), w.Day, w.Hour, w.Minute, w.Second)
}

// utc reads the wall clock as if it were UTC, where no clock is ever skipped or repeated.
func (w Wall) utc() time.Time {
	return time.Date(w.Year, w.Month, w.Day, w.Hour, w.Minute, w.Second, 0, time.UTC)
}

func wallFromUTC(t time.Time) Wall { return WallOf(t, time.UTC) }

// Resolve returns the instant of a wall clock in a zone as RFC 5545 section 3.3.5 wants it: a clock that is skipped
// is read with the offset in force before the gap, one that occurs twice means the first. Fields outside their usual
// range carry over as in time.Date. The result is in loc; loc must not be nil.
func Resolve(w Wall, loc *time.Location) time.Time {
	t, _ := resolve(w, loc)
	return t
}

// widestOffset is more than any zone has ever been away from UTC.
const widestOffset = 16 * time.Hour

// resolve also returns the instant at which the gap around w ended, or the zero time when w is not skipped. It only
// asks for offsets: time.Time.ZoneBounds gives an end in the past on the last day of leap years.
func resolve(w Wall, loc *time.Location) (at, gap time.Time) {
	want := w.utc()
	// Whatever instant shows w lies between these two, and no zone has changed its clock twice in such a short time.
	before, after := offsetAt(want.Add(-widestOffset), loc), offsetAt(want.Add(widestOffset), loc)
	at = want.Add(-before)
	if before == after || offsetAt(at, loc) == before {
		return at.In(loc), time.Time{}
	}
	if later := want.Add(-after); offsetAt(later, loc) == after {
		return later.In(loc), time.Time{}
	}
	// The clock jumped over w between these two instants.
	low, high := want.Add(-after).Unix(), at.Unix()
	n := sort.Search(int(high-low), func(i int) bool { return offsetAt(time.Unix(low+int64(i), 0), loc) == after })
	return at.In(loc), time.Unix(low+int64(n), 0).In(loc)
}

func offsetAt(t time.Time, loc *time.Location) time.Duration {
	_, seconds := t.In(loc).Zone()
	return time.Duration(seconds) * time.Second
}
