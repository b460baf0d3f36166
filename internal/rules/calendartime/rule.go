package calendartime

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/teambition/rrule-go"

	"github.com/wedsync/wedsync/internal/domain"
)

// Bounds of a recurrence rule. Rules come from outside, so each bound limits the work that one of them can cause.
const (
	MaxRuleLength = 1000    // bytes of an RRULE
	maxInterval   = 10_000  // of any frequency
	maxSteps      = 100_000 // instances produced between DTSTART and the end of the window
)

// rule is an RRULE read and checked, still without its start.
type rule struct {
	option rrule.ROption
	until  func(w Wall) bool // nil = no UNTIL
	last   Wall              // no instance that until accepts reads later than this
}

// parseRule reads an RRULE, with or without its name in front, for a series that repeats in loc. Names in
// any case are read. HOURLY is the finest frequency; RSCALE other than GREGORIAN and BYEASTER are refused.
func parseRule(text string, allDay bool, loc *time.Location) (rule, error) {
	if len(text) > MaxRuleLength {
		return rule{}, badRule("at most %d bytes, has %d", MaxRuleLength, len(text))
	}
	text = strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(text)), "RRULE:")
	var r rule
	var kept []string
	seen := map[string]bool{}
	for _, part := range strings.Split(strings.TrimSuffix(text, ";"), ";") {
		name, value, _ := strings.Cut(part, "=")
		if seen[name] {
			return rule{}, badRule("a part occurs twice")
		}
		seen[name] = true
		switch name {
		case "UNTIL":
			if err := r.readUntil(value, allDay, loc); err != nil {
				return rule{}, err
			}
		case "FREQ":
			if value == "MINUTELY" || value == "SECONDLY" {
				return rule{}, badRule("FREQ must be HOURLY or slower")
			}
			kept = append(kept, part)
		case "INTERVAL", "COUNT":
			if n, err := strconv.Atoi(value); err != nil || n < 1 || n > maxInterval {
				return rule{}, badRule("%s must be 1 to %d", name, maxInterval)
			}
			kept = append(kept, part)
		case "RSCALE":
			if value != "GREGORIAN" {
				return rule{}, badRule("RSCALE must be GREGORIAN")
			}
		case "SKIP":
			if value != "OMIT" {
				return rule{}, badRule("SKIP must be OMIT")
			}
		case "BYHOUR", "BYMINUTE", "BYSECOND":
			// RFC 5545 has these ignored where the start is a date.
			if !allDay {
				kept = append(kept, part)
			}
		case "WKST", "BYSETPOS", "BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYDAY":
			kept = append(kept, part)
		default:
			return rule{}, badRule("has a part that RFC 5545 does not know")
		}
	}
	option, err := rrule.StrToROption(strings.Join(kept, ";"))
	if err != nil {
		return rule{}, badRule("cannot be read as an RFC 5545 recurrence rule")
	}
	r.option = *option
	return r, r.check()
}

// check refuses what the expanding library would loop or panic on, and drops values listed twice, which it would
// count twice.
func (r *rule) check() error {
	o := &r.option
	if o.Freq == rrule.HOURLY && o.Interval > 1 && len(o.Byhour) > 0 {
		return badRule("HOURLY with both BYHOUR and INTERVAL is not supported")
	}
	if len(o.Byweekno) > 0 && o.Freq != rrule.YEARLY {
		return badRule("BYWEEKNO needs FREQ=YEARLY")
	}
	limit := 53
	if o.Freq == rrule.MONTHLY || o.Freq == rrule.YEARLY && len(o.Bymonth) > 0 {
		limit = 5
	}
	for _, d := range o.Byweekday {
		if n := d.N(); n > limit || n < -limit {
			return badRule("BYDAY ordinals must be -%d to %d here", limit, limit)
		}
	}
	if o.Freq == rrule.HOURLY && len(o.Bysetpos) > 0 {
		return badRule("HOURLY with BYSETPOS is not supported")
	}
	for _, list := range []*[]int{&o.Bysetpos, &o.Bymonth, &o.Bymonthday, &o.Byyearday, &o.Byweekno, &o.Byhour, &o.Byminute, &o.Bysecond} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	slices.SortFunc(o.Byweekday, func(a, b rrule.Weekday) int {
		return cmp.Or(cmp.Compare(a.Day(), b.Day()), cmp.Compare(a.N(), b.N()))
	})
	o.Byweekday = slices.Compact(o.Byweekday)
	return nil
}

// readUntil keeps UNTIL as a test on the wall clock of an instance. An UNTIL in UTC is compared as an instant, after
// resolving the instance, because a converted wall clock is ambiguous in the hours around a clock change.
func (r *rule) readUntil(value string, allDay bool, loc *time.Location) error {
	const dateForm, localForm, utcForm = "20060102", "20060102T150405", "20060102T150405Z"
	for _, form := range []string{dateForm, localForm, utcForm} {
		t, err := time.Parse(form, value)
		if err != nil || len(value) != len(form) {
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

// instances returns the wall clocks from start to bound, start first whether or not the rule names it: RFC 5545 has
// DTSTART be an instance always, and the first that COUNT counts.
func (r *rule) instances(start, bound Wall) (walls []Wall, err error) {
	if r.until != nil && r.last.Before(bound) {
		bound = r.last
	}
	if bound.Before(start) {
		return []Wall{start}, nil
	}
	defer func() {
		// The library indexes tables by what the rule says; a rule it cannot bear must not end the process.
		if recover() != nil {
			walls, err = nil, badRule("cannot be expanded")
		}
	}()
	// A rule that never matches makes the library walk to the year 9999. The calendar repeats every 400 years, week
	// days included, so the walk is done as near to that year as fits and is short.
	shift := (9999 - bound.Year) / 400 * 400
	option := r.option
	option.Count = 0
	option.Dtstart = start.shifted(shift).utc()
	option.Until = bound.shifted(shift).utc()
	lib, err := rrule.NewRRule(option)
	if err != nil {
		return nil, badRule("has a value out of range")
	}
	walls = append(walls, start)
	next := lib.Iterator()
	for steps := 1; r.option.Count == 0 || len(walls) < r.option.Count; steps++ {
		t, ok := next()
		if !ok {
			break
		}
		if steps > maxSteps {
			return nil, domain.E(domain.KindTooLarge, "recurrence rule: more than %d instances between its start and the end of the window", maxSteps)
		}
		w := wallFromUTC(t).shifted(-shift)
		if w == start || r.until != nil && !r.until(w) {
			continue
		}
		walls = append(walls, w)
	}
	return walls, nil
}

func (w Wall) shifted(years int) Wall {
	w.Year += years
	return w
}

func badRule(format string, args ...any) error { return domain.Invalid("rrule", format, args...) }
