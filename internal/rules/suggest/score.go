package suggest

import (
	"fmt"
	"time"

	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/conflict"
)

// The points of a way. Keeping everything would be 100: the day 40, its weekday 15, the clock 30, the resource 15.
const (
	sameDayPoints     = 40
	otherDayPoints    = 34 // less one for each day away, at least leastDayPoints
	leastDayPoints    = 2
	sameWeekdayPoints = 15
	likeWeekdayPoints = 7 // both on working days, or both on the weekend
	sameClockPoints   = 30
	otherClockPoints  = 28 // less one for each 12 minutes away
	resourcePoints    = 15
	quietPoints       = 5   // the other resource has nothing else that day
	nightPoints       = -30 // starts outside 08:00-20:00
	noticePoints      = -10 // earlier than planned and within shortNotice
	weddingPoints     = -50 // a wedding's time was promised
	weddingDatePoints = -30 // and its date even more
	nearWeddingPoints = -15 // the resource has a wedding within the freeze
	lateWeddingPoints = -40 // a wedding within the freeze gets another resource

	shortNotice = 48 * time.Hour
)

type weekdayLikeness int

const (
	otherWeekday weekdayLikeness = iota
	likeWeekday
	sameWeekday
)

func likeness(a, b time.Weekday) weekdayLikeness {
	weekend := func(d time.Weekday) bool { return d == time.Saturday || d == time.Sunday }
	switch {
	case a == b:
		return sameWeekday
	case weekend(a) == weekend(b):
		return likeWeekday
	}
	return otherWeekday
}

// facts is what the score of a way depends on.
type facts struct {
	days      int // later than planned; negative is earlier
	minutes   int // the clock later than planned; negative is earlier
	weekday   weekdayLikeness
	elsewhere bool          // on another resource
	quiet     bool          // which has nothing else that day
	wedding   bool          // a wedding would move
	late      bool          // a wedding that is frozen would get another resource
	near      bool          // placed before the end of a wedding of the resource that is frozen
	freeze    time.Duration // how long before a wedding it is frozen
	night     bool
	notice    time.Duration // until the start, when that is short; 0 = not short
}

type part struct {
	points int
	text   func() string
}

// parts lists the score in pieces; text is only made for ways that are offered.
func (f facts) parts(date calendartime.Date) []part {
	fixed := func(s string) func() string { return func() string { return s } }
	list := make([]part, 0, 10)
	if f.days == 0 {
		list = append(list, part{sameDayPoints, fixed("same day")})
	} else {
		list = append(list, part{max(otherDayPoints-abs(f.days), leastDayPoints), func() string {
			unit := "days"
			if abs(f.days) == 1 {
				unit = "day"
			}
			return fmt.Sprintf("%d %s %s, on %s", abs(f.days), unit, direction(f.days), calendartime.DayStart(date, time.UTC).Format("Mon 2 January 2006"))
		}})
	}
	switch f.weekday {
	case sameWeekday:
		list = append(list, part{sameWeekdayPoints, fixed("same weekday")})
	case likeWeekday:
		list = append(list, part{likeWeekdayPoints, fixed("same part of the week")})
	case otherWeekday:
	}
	if f.minutes == 0 {
		list = append(list, part{sameClockPoints, fixed("same clock time")})
	} else {
		list = append(list, part{max(otherClockPoints-abs(f.minutes)/12, 0), func() string {
			return "the clock " + conflict.Length(time.Duration(abs(f.minutes))*time.Minute) + " " + direction(f.minutes)
		}})
	}
	if f.elsewhere {
		list = append(list, part{0, fixed("another resource of the same kind with the same skills")})
		if f.quiet {
			list = append(list, part{quietPoints, fixed("which has nothing else that day")})
		}
	} else {
		list = append(list, part{resourcePoints, fixed("same resource")})
	}
	if f.night {
		list = append(list, part{nightPoints, fixed("starts outside 08:00-20:00")})
	}
	if f.notice > 0 {
		list = append(list, part{noticePoints, func() string { return "short notice of " + conflict.Length(f.notice.Truncate(time.Hour)) }})
	}
	if f.wedding {
		list = append(list, part{weddingPoints, fixed("a wedding should only move if the couple wishes it")})
		if f.days != 0 {
			list = append(list, part{weddingDatePoints, fixed("to another date even less")})
		}
	}
	if f.late {
		list = append(list, part{lateWeddingPoints, func() string { return fmt.Sprintf("the wedding begins within %d h or is on", int(f.freeze.Hours())) }})
	}
	if f.near {
		list = append(list, part{nearWeddingPoints, func() string { return fmt.Sprintf("within %d h of a wedding of the resource", int(f.freeze.Hours())) }})
	}
	return list
}

// points is the score, 0 to 100.
func (f facts) points() int {
	sum := 0
	for _, p := range f.parts(calendartime.Date{}) {
		sum += p.points
	}
	return max(sum, 0)
}

// reasons says each part with its number; the numbers add up to points.
func (f facts) reasons(date calendartime.Date) []string {
	var out []string
	sum := 0
	for _, p := range f.parts(date) {
		sum += p.points
		out = append(out, fmt.Sprintf("%s: %+d", p.text(), p.points))
	}
	if sum < 0 {
		out = append(out, fmt.Sprintf("scores end at 0: %+d", -sum))
	}
	return out
}

func direction(n int) string {
	if n < 0 {
		return "earlier"
	}
	return "later"
}

func abs(n int) int { return max(n, -n) }
