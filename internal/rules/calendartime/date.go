package calendartime

import (
	"fmt"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Date is a calendar day without a zone. It is comparable and serves as a map key.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// ParseDate reads YYYY-MM-DD. Anything else, and a day that does not exist, is domain.KindInvalid on field "date".
func ParseDate(s string) (Date, error) {
	if len(s) == len(time.DateOnly) {
		if t, err := time.Parse(time.DateOnly, s); err == nil && t.Year() >= 1 {
			return dateFromUTC(t), nil
		}
	}
	return Date{}, domain.Invalid("date", "must be an existing day written YYYY-MM-DD")
}

// DateOf returns the local day of an instant.
func DateOf(t time.Time, loc *time.Location) Date { return dateFromUTC(t.In(loc)) }

func dateFromUTC(t time.Time) Date {
	year, month, day := t.Date()
	return Date{Year: year, Month: month, Day: day}
}

func (d Date) utc() time.Time { return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC) }

// AddDays returns the day n days later, or earlier for a negative n.
func (d Date) AddDays(n int) Date { return dateFromUTC(d.utc().AddDate(0, 0, n)) }

// DaysUntil counts the days from d to o; it is negative when o is earlier.
func (d Date) DaysUntil(o Date) int { return int(o.utc().Sub(d.utc()) / (24 * time.Hour)) }

// Weekday returns the day of the week.
func (d Date) Weekday() time.Weekday { return d.utc().Weekday() }

// Before reports whether d is earlier than o.
func (d Date) Before(o Date) bool { return d.utc().Before(o.utc()) }

// At puts a clock on the day.
func (d Date) At(hour, minute int) Wall {
	return Wall{Year: d.Year, Month: d.Month, Day: d.Day, Hour: hour, Minute: minute}
}

// String is YYYY-MM-DD.
func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, int(d.Month), d.Day) }

// DayStart returns the first instant of a local day, in loc. Where midnight is skipped that is when the clock
// resumes, such as 01:00 in São Paulo on 2018-11-04. A day that a zone left out altogether starts, without length,
// where the next one does.
func DayStart(d Date, loc *time.Location) time.Time {
	at, gap := resolve(d.At(0, 0), loc)
	if !gap.IsZero() {
		return gap.In(loc)
	}
	return at
}

// AllDay returns the instants, in UTC, of the local days [first, end). The span is empty when end is not after first.
func AllDay(loc *time.Location, first, end Date) domain.Span {
	return domain.Span{Start: DayStart(first, loc).UTC(), End: DayStart(end, loc).UTC()}
}

// WholeDays reports whether a span is made of whole local days, and which: [first, end).
func WholeDays(s domain.Span, loc *time.Location) (first, end Date, ok bool) {
	first, end = DateOf(s.Start, loc), DateOf(s.End, loc)
	ok = first.Before(end) && DayStart(first, loc).Equal(s.Start) && DayStart(end, loc).Equal(s.End)
	return first, end, ok
}
