package conflict

import (
	"fmt"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

const dayForm = "Mon 2 January 2006"

// explain puts a clash into one sentence. yields is the booking that gives way; stays is unused for blackout and off_hours.
func explain(h hit, res domain.Resource, loc *time.Location, yields, stays Candidate) string {
	zone := " (" + loc.String() + ")"
	a, b := timeOf(yields.Event, loc), timeOf(stays.Event, loc)
	switch h.kind {
	case domain.ConflictOffHours:
		return fmt.Sprintf("%s %s lies outside the working hours, which are %s%s", name(yields), a.full(), hoursOf(res, h.overlap, loc), zone)
	case domain.ConflictBlackout:
		return fmt.Sprintf("%s %s lies on days that the resource keeps free of clients, %s%s", name(yields), a.full(), BlackoutWords(h.blackout), zone)
	case domain.ConflictTravel:
		return sentence(a, b, name(yields), name(stays), beside(yields.Event, stays.Event)) + "; " + travelWords(h, res, yields, stays) + zone
	case domain.ConflictCapacity:
		what := "bookings"
		if h.weaker {
			what = "bookings, set-up and travel time included,"
		}
		return fmt.Sprintf("%s %s is one of %d %s at once in %s; the resource can serve %d%s", name(yields), a.full(), h.atOnce, what,
			timeOf(h.overlap, loc).full(), res.Capacity, zone)
	case domain.ConflictSameDay:
		return fmt.Sprintf("%s %s and %s %s are both on %s; the resource takes one wedding a day%s", name(yields), a.without(h.overlap, loc),
			name(stays), b.without(h.overlap, loc), h.overlap.Start.In(loc).Format(dayForm), zone)
	case domain.ConflictBuffer:
		return sentence(a, b, name(yields), name(stays), beside(yields.Event, stays.Event)) +
			"; set-up and travel time is short by " + Length(h.overlap.Duration()) + zone
	case domain.ConflictOverlap, domain.ConflictTimeline:
	}
	verb, by := "overlaps", ""
	switch {
	case yields.Event.Contains(stays.Event) && stays.Event.Contains(yields.Event):
		verb = "is at the same time as"
	case stays.Event.Contains(yields.Event):
		verb = "lies inside"
	case yields.Event.Contains(stays.Event):
		verb = "covers"
	default:
		by = ", by " + Length(h.overlap.Duration())
	}
	return sentence(a, b, name(yields), name(stays), verb) + by + zone
}

// sentence joins two timed things by a verb and says their day once when it is the same.
func sentence(a, b told, aName, bName, verb string) string {
	if a.day != "" && a.day == b.day {
		return fmt.Sprintf("%s %s %s %s %s on %s", aName, a.clock, verb, bName, b.clock, a.day)
	}
	return fmt.Sprintf("%s %s %s %s %s", aName, a.full(), verb, bName, b.full())
}

func beside(a, b domain.Span) string {
	switch {
	case a.End.Equal(b.Start):
		return "ends right before"
	case b.End.Equal(a.Start):
		return "begins right after"
	case a.End.Before(b.Start):
		return "ends " + Length(b.Start.Sub(a.End)) + " before"
	}
	return "begins " + Length(a.Start.Sub(b.End)) + " after"
}

// name is the category with its firmness. An unknown category is not repeated, since it may come from outside.
func name(c Candidate) string {
	word := "booking"
	if c.Category.Valid() {
		word = string(c.Category)
	}
	if tentative(c) {
		return "tentative " + word
	}
	return word
}

// told is a span in words: within one local day a clock and the day, otherwise only a clock that names its days.
type told struct{ clock, day string }

func (t told) full() string {
	if t.day == "" {
		return t.clock
	}
	return t.clock + " on " + t.day
}

// without leaves the day out where the reader is told it anyway.
func (t told) without(day domain.Span, loc *time.Location) string {
	if t.day == day.Start.In(loc).Format(dayForm) {
		return t.clock
	}
	return t.full()
}

func timeOf(s domain.Span, loc *time.Location) told {
	start, end := s.Start.In(loc), s.End.In(loc)
	if first, last, ok := calendartime.WholeDays(s, loc); ok {
		if n := first.DaysUntil(last); n > 1 {
			return told{clock: fmt.Sprintf("all day from %s for %d days", start.Format(dayForm), n)}
		}
		return told{clock: "all day", day: start.Format(dayForm)}
	}
	first := calendartime.DateOf(start, loc)
	switch {
	case calendartime.DateOf(end, loc) == first:
		return told{clock: start.Format("15:04") + "-" + end.Format("15:04"), day: start.Format(dayForm)}
	case end.Equal(calendartime.DayStart(first.AddDays(1), loc)):
		return told{clock: start.Format("15:04") + "-24:00", day: start.Format(dayForm)}
	}
	return told{clock: "from " + start.Format("15:04 on "+dayForm) + " to " + end.Format("15:04 on "+dayForm)}
}

// hoursOf lists the working hours of the local day on which a span begins.
func hoursOf(res domain.Resource, s domain.Span, loc *time.Location) string {
	day := calendartime.DateOf(s.Start, loc).Weekday()
	var parts []string
	for _, h := range res.Hours {
		if h.Weekday == day {
			parts = append(parts, fmt.Sprintf("%02d:%02d-%02d:%02d", h.From/60, h.From%60, h.To/60, h.To%60))
		}
	}
	if len(parts) == 0 {
		return "none on " + day.String() + "s"
	}
	return strings.Join(parts, " and ") + " on " + day.String() + "s"
}

// Length is a duration as people say it: "30 min", "2 h", "2 h 30 min", "3 days 2 h". Seconds only appear below a
// minute.
func Length(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%d s", int(d.Seconds()))
	}
	minutes := int(d.Minutes())
	var parts []string
	if days := minutes / 1440; days == 1 {
		parts = append(parts, "1 day")
	} else if days > 1 {
		parts = append(parts, fmt.Sprintf("%d days", days))
	}
	if hours := minutes / 60 % 24; hours > 0 {
		parts = append(parts, fmt.Sprintf("%d h", hours))
	}
	if m := minutes % 60; m > 0 {
		parts = append(parts, fmt.Sprintf("%d min", m))
	}
	return strings.Join(parts, " ")
}

// Describe names a booking by its category and time, such as "wedding 12:00-23:00 on Sat 5 June 2027", without
// personal data.
func Describe(c Candidate, loc *time.Location) string {
	return name(c) + " " + timeOf(c.Event, loc).full()
}
