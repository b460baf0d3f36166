package conflict

import (
	"fmt"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// HeedsBlackouts reports whether bookings of the category must not lie on a day that is kept free of clients. A resource
// that is away may well travel, be in repair, or have something of its own.
func HeedsBlackouts(c domain.Category) bool {
	switch c {
	case domain.CategoryWedding, domain.CategoryEngagement, domain.CategoryVendor, domain.CategoryConsultation, domain.CategoryHold:
		return true
	case domain.CategoryTravel, domain.CategoryMaintenance, domain.CategoryPersonal:
	}
	return false
}

// Closed is a stretch that a blackout takes.
type Closed struct {
	Span     domain.Span
	Blackout domain.Blackout
}

// ClosedDays lists the stretches of a window that blackouts take from a booking of the category, by their start, each whole
// even where it reaches out of the window. Of a day, a wedding needs the part from 06:00 (WeddingDay), so a party until
// 02:00 may run into a day that is kept free; other bookings need all of it. A blackout whose days cannot be read takes
// nothing.
func ClosedDays(res domain.Resource, loc *time.Location, window domain.Span, c domain.Category) []Closed {
	if len(res.Blackouts) == 0 || !HeedsBlackouts(c) || !window.End.After(window.Start) {
		return nil
	}
	first, last := calendartime.DateOf(window.Start, loc), calendartime.DateOf(window.End, loc)
	var out []Closed
	for _, b := range res.Blackouts {
		for _, days := range daysOf(b, first, last) {
			if c != domain.CategoryWedding {
				out = append(out, Closed{calendartime.AllDay(loc, days.from, days.to.AddDays(1)), b})
				continue
			}
			for d := days.from; !days.to.Before(d); d = d.AddDays(1) {
				if !d.Before(first) && !last.Before(d) {
					out = append(out, Closed{WeddingDay(d, loc), b})
				}
			}
		}
	}
	out = slices.DeleteFunc(out, func(c Closed) bool { return !c.Span.Overlaps(window) })
	slices.SortStableFunc(out, func(a, b Closed) int { return a.Span.Start.Compare(b.Span.Start) })
	return out
}

type dates struct{ from, to calendartime.Date }

// daysOf lists when a blackout is, as far as it touches the days from first to last.
func daysOf(b domain.Blackout, first, last calendartime.Date) []dates {
	from, err := calendartime.ParseDate(b.From)
	if err != nil {
		return nil
	}
	to, err := calendartime.ParseDate(b.To)
	if err != nil || to.Before(from) {
		return nil
	}
	touches := func(d dates) bool { return !d.to.Before(first) && !last.Before(d.from) }
	if !b.Yearly {
		if d := (dates{from, to}); touches(d) {
			return []dates{d}
		}
		return nil
	}
	var out []dates
	// A stretch over New Year begins in the year before.
	for year := max(first.Year-1, from.Year); year <= last.Year; year++ {
		if d := (dates{sameDayIn(from, year), sameDayIn(to, year+to.Year-from.Year)}); touches(d) {
			out = append(out, d)
		}
	}
	return out
}

// sameDayIn is a day in another year; 29 February is the 28th where the year has none.
func sameDayIn(d calendartime.Date, year int) calendartime.Date {
	in := calendartime.Date{Year: year, Month: d.Month, Day: d.Day}
	if got := in.AddDays(0); got.Month != d.Month {
		return got.AddDays(-1)
	}
	return in
}

// closed returns the first part of an event that lies in a blackout.
func closed(res domain.Resource, loc *time.Location, subject Candidate) (part domain.Span, by domain.Blackout, ok bool) {
	for _, c := range ClosedDays(res, loc, subject.Event, subject.Category) {
		return c.Span.Intersect(subject.Event), c.Blackout, true
	}
	return domain.Span{}, domain.Blackout{}, false
}

// BlackoutWords names the days of a blackout without its reason, which may say more than everybody should read.
func BlackoutWords(b domain.Blackout) string {
	day := func(s string) string {
		d, err := time.Parse(time.DateOnly, s)
		if err != nil {
			return "an unknown day"
		}
		if b.Yearly {
			return d.Format("2 January")
		}
		return d.Format(dayForm)
	}
	words := day(b.From)
	if b.To != b.From {
		words = fmt.Sprintf("%s to %s", day(b.From), day(b.To))
	}
	if b.Yearly {
		words += " of every year"
	}
	return words
}
