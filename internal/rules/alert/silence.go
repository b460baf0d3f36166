package alert

import (
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

const (
	// silencesAtOnce bounds the occurrences of one silence that overlap at one time.
	silencesAtOnce = 100
	// lastLooks bounds the steps in which the last occurrence of a rule is looked for, and lastWindows how far ahead: a century.
	lastLooks   = 20_000
	lastWindows = 5
)

// Silent says until when a silence keeps alerts quiet at a time; ok is false when it does not. Occurrences that touch count as
// one only where they overlap. Errors are those of zone and rule, with the field.
func Silent(s domain.Silence, at time.Time) (until time.Time, ok bool, err error) {
	if s.EndedAt != nil && !at.Before(*s.EndedAt) || at.Before(s.StartsAt) {
		return time.Time{}, false, nil
	}
	if s.RRULE == "" {
		return s.EndsAt, at.Before(s.EndsAt), nil
	}
	all, err := occurrences(s, domain.Span{Start: at, End: at.Add(time.Nanosecond)})
	for _, o := range all {
		if o.Span.End.After(until) && !o.Span.Start.After(at) {
			until, ok = o.Span.End, true
		}
	}
	return until, ok, err
}

// CheckSilence refuses a silence whose zone or rule cannot be understood, or that has too many occurrences at a time.
func CheckSilence(s domain.Silence) error {
	if err := s.Validate(""); err != nil {
		return err
	}
	// A day a year from now shows whether the rule can be followed for long.
	later := s.StartsAt.AddDate(1, 0, 0)
	for _, window := range []domain.Span{{Start: s.StartsAt, End: s.EndsAt}, {Start: later, End: later.Add(24 * time.Hour)}} {
		if _, err := occurrences(s, window); domain.KindOf(err) == domain.KindTooLarge {
			return domain.Invalid("rrule", "comes too often: at most %d times while one lasts, and on a day", silencesAtOnce)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func occurrences(s domain.Silence, window domain.Span) ([]calendartime.Occurrence, error) {
	all, err := seriesOf(s)
	if err != nil {
		return nil, err
	}
	return calendartime.Expand(all, window, silencesAtOnce)
}

func seriesOf(s domain.Silence) (calendartime.Series, error) {
	loc, err := calendartime.LoadZone(s.Zone)
	if err != nil {
		return calendartime.Series{}, domain.Invalid("zone", "must be an IANA zone name")
	}
	return calendartime.Series{Start: calendartime.WallOf(s.StartsAt, loc), Loc: loc, Duration: s.EndsAt.Sub(s.StartsAt), RRULE: s.RRULE}, nil
}

// Over reports whether a silence is over for good: the only occurrence, or the last one of a rule that ends, is. A rule without
// an end never is, nor one whose end is not found in bounded time.
func Over(s domain.Silence, at time.Time) bool {
	if at.Before(s.EndsAt) {
		return false
	}
	if s.RRULE == "" {
		return true
	}
	if rule := strings.ToUpper(s.RRULE); !strings.Contains(rule, "UNTIL=") && !strings.Contains(rule, "COUNT=") {
		return false
	}
	all, err := seriesOf(s)
	if err != nil {
		return false
	}
	looks := calendartime.NewBudget(lastLooks)
	for range lastWindows {
		window := domain.Span{Start: at, End: at.Add(calendartime.MaxWindow)}
		if left, err := calendartime.ExpandWithin(looks, all, window, 1); err != nil || len(left) > 0 {
			return false
		}
		at = window.End
	}
	return true
}
