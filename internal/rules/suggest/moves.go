package suggest

import (
	"sort"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/availability"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/conflict"
)

// search holds what is worked out once per request.
type search struct {
	Request
	zone      *time.Location // in which the subject's wall clock is read
	start     calendartime.Wall
	date      calendartime.Date
	wholeDays int // above 0 for an all-day subject
	movable   bool
	elsewhere []way
	near      []conflict.Candidate // scratch of clear
	free      []domain.Span        // of the days last asked for
	freeDays  int
	busyUntil time.Time // end of the last wedding of the resource that is frozen; zero when none is
}

func newSearch(r Request) *search {
	s := &search{Request: r, zone: r.Loc}
	zone, err := calendartime.LoadZone(r.Subject.When.Zone)
	s.movable = r.Loc != nil && r.Subject.When.Duration() <= maxMovable
	if r.Subject.When.Kind == domain.TimeAllDay {
		// The dates of a whole-day entry are those of its own zone, even where that is UTC.
		if err == nil {
			s.zone = zone
		}
		if s.movable {
			first, end, whole := calendartime.WholeDays(r.Subject.When.Span, s.zone)
			s.wholeDays, s.movable = first.DaysUntil(end), whole
		}
	} else if err == nil && zone != time.UTC {
		// UTC says that the source gave only instants; people there live by the resource's clock.
		s.zone = zone
	}
	if s.zone == nil {
		s.zone = time.UTC
	}
	s.movable = s.movable && !r.frozen(r.Subject.Category, r.Subject.When.Span)
	s.busyUntil = r.freezeEnd(r.Busy, r.Subject.ID)
	s.start = calendartime.WallOf(r.Subject.When.Start, s.zone)
	s.date = s.start.Date()
	return s
}

// moves lists placements on the same resource up to days away.
func (s *search) moves(days int) []way {
	if !s.movable {
		return nil
	}
	if s.wholeDays > 0 {
		return s.wholeDayMoves(days)
	}
	s.findFree(days)
	var out []way
	for offset := -days; offset <= days; offset++ {
		out = s.movesOn(out, s.date.AddDays(offset), offset == 0)
	}
	return out
}

func (s *search) wholeDayMoves(days int) []way {
	var out []way
	for offset := -days; offset <= days; offset++ {
		first := s.date.AddDays(offset)
		span := calendartime.AllDay(s.zone, first, first.AddDays(s.wholeDays))
		if offset == 0 || span.Start.Before(earliest(s.Now, s.Resource)) || !span.Valid() || !s.clear(s.Resource, s.Loc, span, s.Busy) {
			continue
		}
		out = append(out, s.move(span))
	}
	return out
}

// findFree asks once for the stretches in which the subject could lie.
func (s *search) findFree(days int) {
	if s.freeDays == days {
		return
	}
	s.free, s.freeDays = nil, days
	length := s.Subject.When.Duration()
	window := calendartime.AllDay(s.zone, s.date.AddDays(-days), s.date.AddDays(days+1))
	window.End = window.End.Add(length)
	if soonest := earliest(s.Now.UTC(), s.Resource); window.Start.Before(soonest) {
		window.Start = soonest
	}
	busy := make([]conflict.Candidate, 0, len(s.Busy))
	for _, b := range s.Busy {
		if b.BookingID != s.Subject.ID {
			busy = append(busy, b)
		}
	}
	free, err := availability.Free(s.Now, s.Resource, s.Loc, window, busy, availability.Want{Category: s.Subject.Category, Duration: length, Place: s.Place})
	if err != nil {
		return // a window that has passed, or an unknown category: nothing can be offered
	}
	s.free = free
}

// dayHours are the wall clocks between which a start astonishes nobody.
const (
	dayBegins = 8 * 60
	dayEnds   = 20 * 60
)

// movesOn adds the placements that start on a date: at the same clock, else as near to it as each free stretch
// allows, by day and at all; on the subject's own date also every quarter hour, since the clock matters most there.
func (s *search) movesOn(out []way, d calendartime.Date, own bool) []way {
	length := s.Subject.When.Duration()
	day := calendartime.AllDay(s.zone, d, d.AddDays(1))
	wish := calendartime.Resolve(calendartime.Wall{Year: d.Year, Month: d.Month, Day: d.Day,
		Hour: s.start.Hour, Minute: s.start.Minute, Second: s.start.Second}, s.zone).UTC()
	morning := calendartime.Resolve(d.At(dayBegins/60, 0), s.zone).UTC()
	evening := calendartime.Resolve(d.At(dayEnds/60, 0), s.zone).UTC()
	for _, f := range s.touching(day) {
		low, high := f.Start, f.End.Add(-length)
		if low.Before(day.Start) {
			low = day.Start
		}
		if last := day.End.Add(-time.Minute); high.After(last) {
			high = last
		}
		if high.Before(low) {
			continue
		}
		if own {
			for at := alignUp(low, high); !at.After(high); at = at.Add(quarter).Truncate(quarter) {
				out = s.add(out, at)
			}
			continue
		}
		nearest := nearestTo(wish, low, high)
		out = s.add(out, nearest)
		if nearest.Before(morning) || nearest.After(evening) {
			if low.Before(morning) {
				low = morning
			}
			if high.After(evening) {
				high = evening
			}
			if !high.Before(low) {
				out = s.add(out, nearestTo(wish, low, high))
			}
		}
	}
	return out
}

// fine lists every quarter hour of the free stretches, and their first and last moments, for calendars so full that
// nothing else is left. A few hundred are plenty.
func (s *search) fine(days int) []way {
	if !s.movable || s.wholeDays > 0 {
		return nil
	}
	s.findFree(days)
	length := s.Subject.When.Duration()
	var out []way
	for _, f := range s.free {
		high := f.End.Add(-length)
		for at := alignUp(f.Start, high); !at.After(high) && len(out) < 500; at = at.Add(quarter) {
			out = s.add(out, at)
		}
		out = s.add(out, alignDown(high, f.Start))
	}
	return out
}

// touching returns the free stretches that share an instant with a day.
func (s *search) touching(day domain.Span) []domain.Span {
	from := sort.Search(len(s.free), func(i int) bool { return s.free[i].End.After(day.Start) })
	to := from
	for to < len(s.free) && s.free[to].Start.Before(day.End) {
		to++
	}
	return s.free[from:to]
}

// add appends a start unless it is where the subject already is.
func (s *search) add(out []way, start time.Time) []way {
	if start.Equal(s.Subject.When.Start) {
		return out
	}
	return append(out, s.move(domain.Span{Start: start, End: start.Add(s.Subject.When.Duration())}))
}

func (s *search) move(span domain.Span) way {
	at := calendartime.WallOf(span.Start, s.zone)
	w := way{action: domain.ActionMove, resource: s.Resource, loc: s.Loc, busy: s.Busy, span: span, date: at.Date()}
	w.facts = facts{
		days:    s.date.DaysUntil(w.date),
		weekday: likeness(s.date.Weekday(), w.date.Weekday()),
		wedding: s.Subject.Category == domain.CategoryWedding,
		near:    span.Start.Before(s.busyUntil),
		freeze:  s.freeze(),
	}
	if s.wholeDays == 0 {
		clock := at.Hour*60 + at.Minute
		w.minutes = clock - s.start.Hour*60 - s.start.Minute
		w.night = w.minutes != 0 && (clock < dayBegins || clock > dayEnds)
	}
	if notice := span.Start.Sub(s.Now); notice < shortNotice && span.Start.Before(s.Subject.When.Start) {
		w.notice = notice
	}
	w.score = w.points()
	return w
}

const quarter = 15 * time.Minute

// nearestTo returns wish if it lies in [low, high], else the nearest round time inside.
func nearestTo(wish, low, high time.Time) time.Time {
	switch {
	case wish.Before(low):
		return alignUp(low, high)
	case wish.After(high):
		return alignDown(high, low)
	}
	return wish
}

// alignUp returns the first time in [low, high] that is as round as fits: a quarter hour, five minutes, one minute,
// or low itself.
func alignUp(low, high time.Time) time.Time {
	for _, step := range []time.Duration{quarter, 5 * time.Minute, time.Minute} {
		if at := low.Add(step - 1).Truncate(step); !at.After(high) {
			return at
		}
	}
	return low
}

// alignDown returns the last time in [low, high] that is as round as fits.
func alignDown(high, low time.Time) time.Time {
	for _, step := range []time.Duration{quarter, 5 * time.Minute, time.Minute} {
		if at := high.Truncate(step); !at.Before(low) {
			return at
		}
	}
	return high
}
