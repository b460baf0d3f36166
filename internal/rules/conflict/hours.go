package conflict

import (
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// KeepsHours reports whether bookings of the category should lie inside working hours.
func KeepsHours(c domain.Category) bool {
	switch c {
	case domain.CategoryEngagement, domain.CategoryVendor, domain.CategoryConsultation:
		return true
	case domain.CategoryWedding, domain.CategoryTravel, domain.CategoryHold, domain.CategoryMaintenance, domain.CategoryPersonal:
	}
	return false
}

// OpenHours returns the working time of the resource around a window: sorted, touching stretches joined, each whole
// even where it reaches out of the window. A resource without hours is open throughout.
func OpenHours(res domain.Resource, loc *time.Location, window domain.Span) []domain.Span {
	if len(res.Hours) == 0 {
		return []domain.Span{window}
	}
	var open []domain.Span
	// One day more on either side joins stretches across the midnights at the window's edges.
	last := calendartime.DateOf(window.End, loc).AddDays(1)
	for d := calendartime.DateOf(window.Start, loc).AddDays(-1); !last.Before(d); d = d.AddDays(1) {
		for _, h := range res.Hours {
			if h.Weekday != d.Weekday() {
				continue
			}
			if s := (domain.Span{Start: clock(d, h.From, loc), End: clock(d, h.To, loc)}); s.End.After(s.Start) {
				open = append(open, s)
			}
		}
	}
	return Join(open)
}

// clock is the instant of minutes after midnight on a local day; 1440 is the start of the next day.
func clock(d calendartime.Date, minutes int, loc *time.Location) time.Time {
	switch minutes {
	case 0:
		return calendartime.DayStart(d, loc).UTC()
	case 1440:
		return calendartime.DayStart(d.AddDays(1), loc).UTC()
	}
	return calendartime.Resolve(d.At(minutes/60, minutes%60), loc).UTC()
}

// Join sorts spans by start and merges those that overlap or touch. It reuses the slice.
func Join(spans []domain.Span) []domain.Span {
	slices.SortFunc(spans, func(a, b domain.Span) int { return a.Start.Compare(b.Start) })
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && !s.Start.After(out[n-1].End) {
			if s.End.After(out[n-1].End) {
				out[n-1].End = s.End
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// WeddingDay is the part of a local day that a wedding must touch to use the day: from 06:00 to midnight. What is
// left of the night before belongs to the party that began it.
func WeddingDay(d calendartime.Date, loc *time.Location) domain.Span {
	return domain.Span{Start: clock(d, 6*60, loc), End: clock(d, 24*60, loc)}
}

// WeddingDays lists the local days that a wedding uses, in order.
func WeddingDays(event domain.Span, loc *time.Location) []calendartime.Date {
	var days []calendartime.Date
	last := calendartime.DateOf(event.End, loc)
	for d := calendartime.DateOf(event.Start, loc); !last.Before(d); d = d.AddDays(1) {
		if WeddingDay(d, loc).Overlaps(event) {
			days = append(days, d)
		}
	}
	return days
}

// sharedDay returns the first local day that both weddings use.
func sharedDay(a, b domain.Span, loc *time.Location) (day domain.Span, ok bool) {
	// Most weddings are weeks apart; no local day or days can bridge more than this.
	if gap := 48 * time.Hour; a.End.Add(gap).Before(b.Start) || b.End.Add(gap).Before(a.Start) {
		return domain.Span{}, false
	}
	others := WeddingDays(b, loc)
	for _, d := range WeddingDays(a, loc) {
		if slices.Contains(others, d) {
			return calendartime.AllDay(loc, d, d.AddDays(1)), true
		}
	}
	return domain.Span{}, false
}

// outside returns the first part of an event that lies outside working hours.
func outside(res domain.Resource, loc *time.Location, event domain.Span) (part domain.Span, ok bool) {
	if len(res.Hours) == 0 {
		return domain.Span{}, false
	}
	open := OpenHours(res, loc, event)
	if first, end, whole := calendartime.WholeDays(event, loc); whole {
		for d := first; d.Before(end); d = d.AddDays(1) {
			day := calendartime.AllDay(loc, d, d.AddDays(1))
			if day.End.After(day.Start) && !slices.ContainsFunc(open, day.Overlaps) {
				return day, true
			}
		}
		return domain.Span{}, false
	}
	at := event.Start
	for _, o := range open {
		if !o.End.After(at) {
			continue
		}
		if o.Start.After(at) {
			break
		}
		at = o.End
	}
	if !at.Before(event.End) {
		return domain.Span{}, false
	}
	part = domain.Span{Start: at, End: event.End}
	for _, o := range open {
		if o.Start.After(at) {
			part.End = minTime(part.End, o.Start)
			break
		}
	}
	return part, true
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
