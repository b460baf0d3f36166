package ical

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Occurrence is one event, or one instance of a series.
type Occurrence struct {
	UID          string
	RecurrenceID string            // see Object.InstanceID; "" for a single event
	ID           calendartime.Wall // the same as a wall clock in the series' zone
	Original     Moment            // where the series had it, in the series' form; the start of a single event
	Span         domain.Span       // in UTC; a minute for what takes no time
	Event        Event             // the component that describes it: the master's, or that of an exception
}

// AllDay reports whether the occurrence is written in days.
func (o Occurrence) AllDay() bool { return o.shown().Form == FormDate }

// Zone is the zone in which the occurrence is written; for days and floating times that of Options.
func (o Occurrence) Zone() calendartime.NamedZone { return o.shown().Zone }

func (o Occurrence) shown() Moment {
	if o.Event.HasStart {
		return o.Event.Start
	}
	return o.Original
}

// Repeats reports whether the object is a series, or a part of one.
func (o Object) Repeats() bool {
	if o.Master == nil || len(o.Overrides) > 0 {
		return true
	}
	return o.Master.Get("RRULE") != nil || o.Master.Get("RDATE") != nil
}

// InstanceID names an instance within its series: its RECURRENCE-ID as a clock in the series' zone without that zone
// (20270605T140000), or a day (20270605).
func (o Object) InstanceID(w calendartime.Wall) string {
	form := o.IDs[w].Form
	if o.Master != nil && o.Master.HasStart {
		form = o.Master.Start.Form
	}
	t := time.Date(w.Year, w.Month, w.Day, w.Hour, w.Minute, w.Second, 0, time.UTC)
	if form == FormDate {
		return t.Format("20060102")
	}
	return t.Format("20060102T150405")
}

// Shown is the component that describes an instance: its own, or else the latest that was written for this and future
// instances, or else the master. It must not be asked of an object without a master.
func (o Object) Shown(wall calendartime.Wall) Event {
	if own, ok := o.Overrides[wall]; ok {
		return own
	}
	e, from := *o.Master, calendartime.Wall{}
	for at, x := range o.Overrides {
		if x.ThisAndFuture && x.HasStart && !wall.Before(at) && from.Before(at) {
			e, from = x, at
		}
	}
	return e
}

// Series describes the object for calendartime.Expand. It is for objects with a master that has a start.
func (o Object) Series() (calendartime.Series, error) {
	m := o.Master
	s := calendartime.Series{
		Start: m.Start.Wall, AllDay: m.AllDay(), Loc: m.Start.Zone.Loc,
		Overrides: make(map[calendartime.Wall]calendartime.Override, len(o.Overrides)),
	}
	switch {
	case m.HasEnd && m.AllDay():
		s.End = m.DTEnd.Wall
	case m.HasLength && (m.Length.Days > 0 || m.Length.Exact > 0):
		s.Days, s.Duration = m.Length.Days, m.Length.Exact
	case !m.AllDay():
		s.Duration = m.Span().Duration()
	}
	for i, p := range m.All("RRULE") {
		if i == 0 {
			s.RRULE = p.Value
		} else {
			s.MoreRule = append(s.MoreRule, p.Value)
		}
	}
	for _, p := range m.All("EXRULE") {
		s.EXRULE = append(s.EXRULE, p.Value)
	}
	for wall, e := range o.Overrides {
		x := calendartime.Override{Cancelled: e.Cancelled || !e.HasStart, ThisAndFuture: e.ThisAndFuture}
		if !x.Cancelled {
			x.Span = e.Span()
		}
		s.Overrides[wall] = x
	}
	for _, p := range m.All("RDATE") {
		for _, v := range strings.Split(p.Value, ",") {
			if strings.TrimSpace(v) == "" {
				continue
			}
			start, rest, period := strings.Cut(v, "/")
			from, err := o.Reader.value(p, start)
			if err != nil {
				return s, at(p, err)
			}
			wall := from.In(m.Start)
			if !period {
				s.RDATE = append(s.RDATE, wall)
				continue
			}
			length, err := o.period(from, p, rest)
			if err != nil {
				return s, at(p, err)
			}
			s.Periods = append(s.Periods, calendartime.Period{Start: wall, Days: length.Days, Duration: length.Exact})
		}
	}
	for _, p := range m.All("EXDATE") {
		for _, v := range strings.Split(p.Value, ",") {
			if strings.TrimSpace(v) == "" {
				continue
			}
			from, err := o.Reader.value(p, v)
			if err != nil {
				return s, at(p, err)
			}
			s.EXDATE = append(s.EXDATE, from.In(m.Start))
		}
	}
	return s, nil
}

// period reads the end or the length of an RDATE period.
func (o Object) period(from Moment, p Prop, rest string) (Length, error) {
	if strings.HasPrefix(strings.ToUpper(strings.TrimSpace(rest)), "P") {
		return ParseLength(rest)
	}
	end, err := o.Reader.value(p, rest)
	if err != nil {
		return Length{}, err
	}
	if from.Form == FormDate && end.Form == FormDate {
		return Length{Days: from.Wall.Date().DaysUntil(end.Wall.Date())}, nil
	}
	return Length{Exact: end.Instant().Sub(from.Instant())}, nil
}

// check expands the series over one day, which reads every part of it.
func (o Object) check() error {
	s, err := o.Series()
	if err != nil {
		return err
	}
	at := o.Master.Start.Instant()
	_, err = calendartime.Expand(s, domain.Span{Start: at, End: at.Add(24 * time.Hour)}, 100_000)
	if domain.KindOf(err) == domain.KindTooLarge {
		return nil // the day asked for decides
	}
	return err
}

// Occurrences lists what of the object shares an instant with the window, in no order; cancelled exceptions are among
// them, dates that EXDATE takes out are not. More than maximum are domain.KindTooLarge, and none of them is returned.
func (o Object) Occurrences(window domain.Span, maximum int) ([]Occurrence, error) {
	return o.occurrences(calendartime.NewBudget(seriesLooks), window, maximum)
}

// The budgets of one series and of a whole calendar, in looks of calendartime.
const seriesLooks, calendarLooks = 1_000_000, 30_000_000

func (o Object) occurrences(budget *calendartime.Budget, window domain.Span, maximum int) ([]Occurrence, error) {
	if !o.Repeats() {
		if !o.Master.HasStart || !o.Master.Span().Overlaps(window) {
			return nil, nil
		}
		return []Occurrence{{UID: o.UID, Original: o.Master.Start, Span: o.Master.Span(), Event: *o.Master}}, nil
	}
	var out []Occurrence
	// An exception is told in full by its own component.
	for wall, e := range o.Overrides {
		span := o.spanOf(wall, e)
		if span.Overlaps(window) {
			out = append(out, Occurrence{o.UID, o.InstanceID(wall), wall, o.original(wall), span, e})
		}
	}
	if o.Master != nil && o.Master.HasStart {
		s, err := o.Series()
		if err != nil {
			return nil, err
		}
		found, err := calendartime.ExpandWithin(budget, s, window, maximum)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if _, own := o.Overrides[f.RecurrenceID]; !own {
				id := f.RecurrenceID
				out = append(out, Occurrence{o.UID, o.InstanceID(id), id, o.original(id), f.Span, o.Shown(id)})
			}
		}
	}
	if len(out) > maximum {
		return nil, domain.E(domain.KindTooLarge, "series: more than %d occurrences in the window", maximum)
	}
	return out, nil
}

// original is an instance's place in its series.
func (o Object) original(wall calendartime.Wall) Moment {
	if o.Master == nil || !o.Master.HasStart {
		return o.IDs[wall]
	}
	m := o.Master.Start
	m.Wall = wall
	return m
}

// spanOf is the time of an exception; one that says none is where the series had it.
func (o Object) spanOf(wall calendartime.Wall, e Event) domain.Span {
	if e.HasStart {
		return e.Span()
	}
	id := o.IDs[wall]
	span := domain.Span{Start: id.Instant()}
	span.End = span.Start.Add(time.Minute)
	if id.Form == FormDate {
		span.End = Length{Days: 1}.After(id)
	}
	if o.Master != nil && o.Master.HasStart {
		span.End = span.Start.Add(o.Master.Span().Duration())
	}
	return span
}

// Occurrences lists what takes place from one instant to before another, at most 20 years later: ordered by start, UID
// and recurrence id, at most maximum of them. Where there are more, the series with the most occurrences are left out
// whole, each told as a Problem; the budget never looks like an empty calendar.
func (c Calendar) Occurrences(from, to time.Time, maximum int) ([]Occurrence, []Problem) {
	window := domain.Span{Start: from.UTC(), End: to.UTC()}
	var problems []Problem
	withhold := func(o Object, err error) {
		p := problem(o.component(), err)
		p.UID, p.Lost = o.UID, true
		problems = append(problems, p)
	}
	type part struct {
		of    Object
		found []Occurrence
	}
	var parts []part
	total := 0
	budget := calendartime.NewBudget(calendarLooks)
	for _, o := range c.Objects {
		found, err := o.occurrences(budget, window, max(maximum, 1))
		if err != nil {
			withhold(o, err)
			continue
		}
		if len(found) == 0 {
			continue
		}
		parts = append(parts, part{o, found})
		for total += len(found); total > maximum; {
			most := 0
			for i, p := range parts {
				if len(p.found) > len(parts[most].found) {
					most = i
				}
			}
			total -= len(parts[most].found)
			withhold(parts[most].of, domain.E(domain.KindTooLarge, "calendar: more than %d occurrences in the window", maximum))
			parts = slices.Delete(parts, most, most+1)
		}
	}
	out := make([]Occurrence, 0, total)
	for _, p := range parts {
		out = append(out, p.found...)
	}
	slices.SortStableFunc(out, func(a, b Occurrence) int {
		return cmp.Or(a.Span.Start.Compare(b.Span.Start), cmp.Compare(a.UID, b.UID), cmp.Compare(a.RecurrenceID, b.RecurrenceID))
	})
	slices.SortStableFunc(problems, func(a, b Problem) int { return a.Line - b.Line })
	return out, problems
}

// Excluded lists the instances in the window that EXDATE takes out and that no exception brings back.
func (o Object) Excluded(window domain.Span) ([]calendartime.Wall, error) {
	if o.Master == nil || !o.Master.HasStart {
		return nil, nil
	}
	s, err := o.Series()
	if err != nil {
		return nil, err
	}
	var out []calendartime.Wall
	for _, wall := range s.EXDATE {
		at := o.Master.Start
		at.Wall = wall
		if _, own := o.Overrides[wall]; own || !window.Overlaps(domain.Span{Start: at.Instant(), End: at.Instant().Add(time.Second)}) {
			continue
		}
		out = append(out, wall)
	}
	return out, nil
}

// component is the first component of the object.
func (o Object) component() *Component {
	if o.Master != nil {
		return o.Master.Component
	}
	var first *Component
	for _, e := range o.Overrides {
		if first == nil || e.Line < first.Line {
			first = e.Component
		}
	}
	return first
}
