package alert

import (
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// silencesAtOnce bounds the occurrences of one silence that overlap at one time.
const silencesAtOnce = 100

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
	if _, err := occurrences(s, domain.Span{Start: s.StartsAt, End: s.EndsAt}); err != nil {
		return err
	}
	// A day a year from now shows whether the rule can be followed for long.
	later := s.StartsAt.AddDate(1, 0, 0)
	_, err := occurrences(s, domain.Span{Start: later, End: later.Add(24 * time.Hour)})
	return err
}

func occurrences(s domain.Silence, window domain.Span) ([]calendartime.Occurrence, error) {
	loc, err := calendartime.LoadZone(s.Zone)
	if err != nil {
		return nil, domain.Invalid("zone", "must be an IANA zone name")
	}
	return calendartime.Expand(calendartime.Series{Start: calendartime.WallOf(s.StartsAt, loc), Loc: loc, Duration: s.EndsAt.Sub(s.StartsAt), RRULE: s.RRULE},
		window, silencesAtOnce)
}
