package caldav

import (
	"strings"
	"time"

	"github.com/emersion/go-ical"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// maxInstances is the most instances of one series in the window; more are a Problem.
const maxInstances = 2000

// changes lists what a resource says. onlyWindow leaves out single entries outside the window.
func (c *connection) changes(r *resource, window domain.Span, onlyWindow bool) ([]domain.Change, []provider.Problem) {
	if r.repeats() {
		return c.seriesChanges(r, window)
	}
	span := domain.Span{}
	if r.master.hasStart {
		span = r.master.span()
		if onlyWindow && !span.Overlaps(window) {
			return nil, nil
		}
	}
	ch := c.change(r, *r.master, span, "")
	if err := ch.Validate(); err != nil {
		return nil, []provider.Problem{{ExternalID: r.path, Err: err}}
	}
	return []domain.Change{ch}, nil
}

func (c *connection) seriesChanges(r *resource, window domain.Span) ([]domain.Change, []provider.Problem) {
	var out []domain.Change
	var problems []provider.Problem
	add := func(ch domain.Change) {
		if err := ch.Validate(); err != nil {
			problems = append(problems, provider.Problem{ExternalID: ch.ExternalID, Err: err})
			return
		}
		out = append(out, ch)
	}
	for wall, e := range r.overrides {
		// An override is told in full by its own component; those of a series are also counted by the rule.
		span := domain.Span{}
		if e.hasStart {
			if span = e.span(); !span.Overlaps(window) {
				continue
			}
		}
		add(c.change(r, e, span, r.instanceID(wall)))
	}
	if r.master == nil || !r.master.hasStart {
		return out, problems
	}
	if r.master.comp.Props.Get("EXRULE") != nil {
		problems = append(problems, provider.Problem{ExternalID: r.path,
			Err: domain.Invalid("exrule", "is not applied: the series may block more than its owner sees")})
	}
	series, gone, err := r.series()
	if err == nil {
		var found []calendartime.Occurrence
		if found, err = calendartime.Expand(series, window, maxInstances); err == nil {
			for _, o := range found {
				if _, own := r.overrides[o.RecurrenceID]; !own {
					add(c.change(r, r.shown(o.RecurrenceID), o.Span, r.instanceID(o.RecurrenceID)))
				}
			}
		}
	}
	if err != nil {
		return nil, []provider.Problem{{ExternalID: r.path, Err: err}}
	}
	for _, wall := range gone {
		at := r.master.start
		at.wall = wall
		if _, own := r.overrides[wall]; own || !window.Overlaps(domain.Span{Start: at.instant(), End: at.instant().Add(time.Second)}) {
			continue
		}
		out = append(out, domain.Change{Op: domain.OpRemove, ExternalID: r.path + "#" + r.instanceID(wall), Revision: r.etag})
	}
	return out, problems
}

// shown is the component that describes an instance without one of its own: the master, or the latest override for
// this and future instances.
func (r *resource) shown(wall calendartime.Wall) event {
	e, from := *r.master, calendartime.Wall{}
	for at, o := range r.overrides {
		if o.thisAndFuture && o.hasStart && !wall.Before(at) && from.Before(at) {
			e, from = o, at
		}
	}
	return e
}

// series describes the master for expansion; gone are the instances that EXDATE takes out.
func (r *resource) series() (calendartime.Series, []calendartime.Wall, error) {
	m := r.master
	s := calendartime.Series{
		Start: m.start.wall, AllDay: m.start.form == formDate, Loc: m.start.zone.loc,
		Overrides: map[calendartime.Wall]calendartime.Override{},
	}
	switch {
	case m.hasEnd && m.start.form == formDate:
		s.End = m.dtend.wall
	case m.hasLength && (m.length.days > 0 || m.length.exact > 0):
		s.Days, s.Duration = m.length.days, m.length.exact
	case m.start.form != formDate:
		s.Duration = m.span().Duration()
	}
	if p := m.comp.Props.Get(ical.PropRecurrenceRule); p != nil {
		s.RRULE = p.Value
	}
	if len(m.comp.Props.Values(ical.PropRecurrenceRule)) > 1 {
		return s, nil, domain.Invalid("rrule", "occurs more than once")
	}
	for wall, e := range r.overrides {
		o := calendartime.Override{Cancelled: e.cancelled || !e.hasStart, ThisAndFuture: e.thisAndFuture}
		if !o.Cancelled {
			o.Span = e.span()
		}
		s.Overrides[wall] = o
	}
	for _, p := range m.comp.Props.Values(ical.PropRecurrenceDates) {
		for _, v := range strings.Split(p.Value, ",") {
			start, rest, period := strings.Cut(v, "/")
			at, err := r.listed("rdate", p, start)
			if err != nil {
				return s, nil, err
			}
			wall := at.in(m.start)
			s.RDATE = append(s.RDATE, wall)
			if _, own := s.Overrides[wall]; !period || own {
				continue
			}
			span, err := r.period(at, p, rest)
			if err != nil {
				return s, nil, err
			}
			s.Overrides[wall] = calendartime.Override{Span: span}
		}
	}
	for _, p := range m.comp.Props.Values(ical.PropExceptionDates) {
		for _, v := range strings.Split(p.Value, ",") {
			at, err := r.listed("exdate", p, v)
			if err != nil {
				return s, nil, err
			}
			s.EXDATE = append(s.EXDATE, at.in(m.start))
		}
	}
	return s, s.EXDATE, nil
}

// listed reads one value of an RDATE or EXDATE.
func (r *resource) listed(field string, p ical.Prop, value string) (moment, error) {
	date := strings.EqualFold(p.Params.Get(ical.ParamValue), "DATE")
	return r.reader.value(field, value, date, p.Params.Get(ical.PropTimezoneID))
}

// period reads the end or the length of an RDATE period.
func (r *resource) period(at moment, p ical.Prop, rest string) (domain.Span, error) {
	span := domain.Span{Start: at.instant()}
	if strings.HasPrefix(rest, "P") {
		l, err := parseLength(rest)
		if err != nil {
			return span, err
		}
		span.End = l.after(at)
	} else {
		end, err := r.listed("rdate", p, rest)
		if err != nil {
			return span, err
		}
		span.End = end.instant()
	}
	if !span.Valid() {
		return span, domain.Invalid("rdate", "must hold periods that end after they start, by at most 366 days")
	}
	return span, nil
}

// instance finds one instance of a series, wherever it lies; ok is false when the series does not have it.
func (c *connection) instance(r *resource, wall calendartime.Wall) (domain.Change, bool, error) {
	if !r.repeats() {
		return domain.Change{}, false, nil
	}
	if e, own := r.overrides[wall]; own {
		span := domain.Span{}
		if e.hasStart {
			span = e.span()
		}
		return c.change(r, e, span, r.instanceID(wall)), true, nil
	}
	if r.master == nil || !r.master.hasStart {
		return domain.Change{}, false, nil
	}
	series, _, err := r.series()
	if err != nil {
		return domain.Change{}, false, err
	}
	at := r.master.start
	at.wall = wall
	const reach = 60 * 24 * time.Hour // an override for this and future instances may have moved it
	window := domain.Span{Start: at.instant().Add(-reach), End: at.instant().Add(reach)}
	found, err := calendartime.Expand(series, window, maxInstances)
	if err != nil {
		return domain.Change{}, false, err
	}
	for _, o := range found {
		if o.RecurrenceID == wall {
			return c.change(r, r.shown(wall), o.Span, r.instanceID(wall)), true, nil
		}
	}
	return domain.Change{}, false, nil
}
