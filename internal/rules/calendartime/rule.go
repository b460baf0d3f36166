package calendartime

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Bounds of a recurrence rule. Rules come from outside, so each bound limits the work that one of them can cause.
const (
	MaxRuleLength = 1000      // bytes of an RRULE
	maxInterval   = 10_000    // of any frequency
	maxCount      = 1_000_000 // of COUNT; maxSteps ends the work before that
	maxSteps      = 100_000   // instances produced up to the end of the window, counted from DTSTART or the window's start
	maxLooks      = 1_000_000 // days and periods looked at in one series
)

// frequency is FREQ, from the coarsest to the finest.
type frequency int

const (
	yearly frequency = iota
	monthly
	weekly
	daily
	hourly
	minutely
	secondly
)

var frequencies = map[string]frequency{
	"YEARLY": yearly, "MONTHLY": monthly, "WEEKLY": weekly, "DAILY": daily, "HOURLY": hourly, "MINUTELY": minutely, "SECONDLY": secondly,
}

var weekdays = map[string]time.Weekday{
	"SU": time.Sunday, "MO": time.Monday, "TU": time.Tuesday, "WE": time.Wednesday, "TH": time.Thursday, "FR": time.Friday, "SA": time.Saturday,
}

// rule is an RRULE read and checked, still without its start.
type rule struct {
	freq            frequency
	interval, count int // count 0 = without end
	wkst            time.Weekday
	lists           map[string][]int // the BY parts of numbers, ascending, each value once
	byday           []ordinalDay
	until           func(w Wall) bool // nil = no UNTIL
	last            Wall              // no instance that until accepts reads later than this
}

// ordinalDay is a value of BYDAY; n is 0 for every such day of the period.
type ordinalDay struct {
	n   int
	day time.Weekday
}

// ranges are the limits of RFC 5545 section 3.3.10; negative values count from the end where from is negative.
var ranges = map[string]struct{ from, to int }{
	"BYSECOND": {0, 60}, "BYMINUTE": {0, 59}, "BYHOUR": {0, 23}, "BYMONTHDAY": {-31, 31}, "BYYEARDAY": {-366, 366},
	"BYWEEKNO": {-53, 53}, "BYMONTH": {1, 12}, "BYSETPOS": {-366, 366},
}

// parseRule reads an RRULE or EXRULE, with or without its name in front, for a series that repeats in loc. Names in any
// case are read. RSCALE other than GREGORIAN and SKIP other than OMIT are refused.
func parseRule(text string, allDay bool, loc *time.Location) (rule, error) {
	if len(text) > MaxRuleLength {
		return rule{}, badRule("at most %d bytes, has %d", MaxRuleLength, len(text))
	}
	text = strings.ToUpper(strings.TrimSpace(text))
	text = strings.TrimPrefix(strings.TrimPrefix(text, "EXRULE:"), "RRULE:")
	r := rule{freq: -1, interval: 1, wkst: time.Monday, lists: map[string][]int{}}
	seen := map[string]bool{}
	for _, part := range strings.Split(strings.TrimSuffix(text, ";"), ";") {
		name, value, _ := strings.Cut(part, "=")
		if seen[name] {
			return rule{}, badRule("a part occurs twice")
		}
		seen[name] = true
		if err := r.readPart(name, value, allDay, loc); err != nil {
			return rule{}, err
		}
	}
	return r, r.check(allDay)
}

func (r *rule) readPart(name, value string, allDay bool, loc *time.Location) error {
	var ok bool
	switch name {
	case "FREQ":
		if r.freq, ok = frequencies[value]; !ok {
			return badRule("FREQ must be YEARLY, MONTHLY, WEEKLY, DAILY, HOURLY, MINUTELY or SECONDLY")
		}
	case "INTERVAL":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > maxInterval {
			return badRule("INTERVAL must be 1 to %d", maxInterval)
		}
		r.interval = n
	case "COUNT":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > maxCount {
			return badRule("COUNT must be 1 to %d", maxCount)
		}
		r.count = n
	case "UNTIL":
		return r.readUntil(value, allDay, loc)
	case "WKST":
		if r.wkst, ok = weekdays[value]; !ok {
			return badRule("WKST must be a day of the week such as MO")
		}
	case "BYDAY":
		return r.readDays(value)
	case "RSCALE":
		if value != "GREGORIAN" {
			return badRule("RSCALE must be GREGORIAN")
		}
	case "SKIP":
		if value != "OMIT" {
			return badRule("SKIP must be OMIT")
		}
	default:
		limits, known := ranges[name]
		if !known {
			return badRule("has a part that RFC 5545 does not know")
		}
		var list []int
		for _, v := range strings.Split(value, ",") {
			n, err := strconv.Atoi(v)
			if err != nil || n < limits.from || n > limits.to || n == 0 && limits.from < 0 {
				return badRule("%s must hold numbers from %d to %d", name, limits.from, limits.to)
			}
			if name == "BYSECOND" {
				n = min(n, 59) // a leap second, which no wall clock here knows
			}
			list = append(list, n)
		}
		slices.Sort(list)
		r.lists[name] = slices.Compact(list)
		if allDay && (name == "BYHOUR" || name == "BYMINUTE" || name == "BYSECOND") {
			delete(r.lists, name) // RFC 5545 has these ignored where the start is a date
		}
	}
	return nil
}

func (r *rule) readDays(value string) error {
	for _, v := range strings.Split(value, ",") {
		if len(v) < 2 {
			return badRule("BYDAY must hold days such as SA or -1SA")
		}
		day, ok := weekdays[v[len(v)-2:]]
		n, err := 0, error(nil)
		if number := v[:len(v)-2]; number != "" {
			if n, err = strconv.Atoi(number); n == 0 {
				ok = false
			}
		}
		if !ok || err != nil {
			return badRule("BYDAY must hold days such as SA or -1SA")
		}
		if d := (ordinalDay{n, day}); !slices.Contains(r.byday, d) {
			r.byday = append(r.byday, d)
		}
	}
	return nil
}

// check refuses what has no meaning. Combinations that RFC 5545 forbids but that have one, such as BYMONTHDAY in a
// weekly rule, limit the days, and an ordinal in BYDAY that has nothing to count in is passed over: that is how the
// programs that write such rules read them.
func (r *rule) check(allDay bool) error {
	if r.freq < 0 {
		return badRule("FREQ is required")
	}
	if allDay && r.freq > daily {
		return badRule("FREQ must be DAILY or slower for a series of days")
	}
	limit := 53
	if r.freq == monthly || r.freq == yearly && len(r.lists["BYMONTH"]) > 0 {
		limit = 5
	}
	for _, d := range r.byday {
		if d.n > limit || d.n < -limit {
			return badRule("BYDAY ordinals must be -%d to %d here", limit, limit)
		}
	}
	if len(r.lists["BYSETPOS"]) > 0 && len(r.lists) == 1 && len(r.byday) == 0 {
		return badRule("BYSETPOS needs another BY part to choose from")
	}
	return nil
}

// readUntil keeps UNTIL as a test on the wall clock of an instance. An UNTIL in UTC is compared as an instant, after
// resolving the instance, because a converted wall clock is ambiguous in the hours around a clock change.
func (r *rule) readUntil(value string, allDay bool, loc *time.Location) error {
	const dateForm, localForm, utcForm = "20060102", "20060102T150405", "20060102T150405Z"
	for _, form := range []string{dateForm, localForm, utcForm} {
		t, err := time.Parse(form, value)
		if err != nil || len(value) != len(form) || t.Year() < 1 {
			continue
		}
		if form == utcForm && allDay {
			// Some systems write the last day as midnight UTC, others as local midnight in UTC. Midnight UTC
			// means the day as written; converting it would lose a day west of Greenwich.
			if hour, minute, second := t.Clock(); hour+minute+second != 0 {
				t = WallOf(t, loc).utc()
			}
		}
		switch {
		case allDay, form == dateForm:
			r.last = dateFromUTC(t).At(23, 59)
			r.last.Second = 59
		case form == localForm:
			r.last = wallFromUTC(t)
		default:
			r.last = wallFromUTC(t.Add(widestOffset)) // no clock shows more at this instant
			r.until = func(w Wall) bool { return !Resolve(w, loc).After(t) }
			return nil
		}
		r.until = func(w Wall) bool { return !r.last.Before(w) }
		return nil
	}
	return badRule("UNTIL must be a date, a local time or a time in UTC")
}

func badRule(format string, args ...any) error { return domain.Invalid("rrule", format, args...) }
