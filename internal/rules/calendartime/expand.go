package calendartime

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// MaxWindow is the longest window that Expand accepts.
const MaxWindow = 20 * 366 * 24 * time.Hour

// Series is a repeating entry as its author wrote it, in the author's zone.
type Series struct {
	Start  Wall           // DTSTART, always the first instance
	AllDay bool           // whole local days; clocks in every Wall are ignored
	Loc    *time.Location // the zone it repeats in; for floating series the zone of the resource

	// The length. End (DTEND) wins when given; it fixes the elapsed time of every instance. Otherwise Days are
	// added on the wall clock and Duration as elapsed time (DURATION:P1DT2H is Days 1, Duration 2 h). An all-day series
	// without a length lasts one day; a timed one needs a length above zero.
	End      Wall
	Days     int
	Duration time.Duration

	RRULE    string   // without line folding; "" when only RDATE repeats
	MoreRule []string // further RRULEs, which some programs write; their instances are added
	EXRULE   []string // rules of instances that do not take place, of RFC 2445 and still in old calendars
	RDATE    []Wall   // further instances, in Loc
	Periods  []Period // further instances with a length of their own
	EXDATE   []Wall   // instances that do not take place, in Loc

	// Overrides replace single instances, keyed by their RECURRENCE-ID in Loc. One whose instance the rule does not
	// produce, or that EXDATE removes, still takes place: a ghost on the calendar is seen, a lost booking is not.
	Overrides map[Wall]Override
}

// Period is an RDATE of the form PERIOD. Its length is as in Series: Days on the wall clock, then Duration.
type Period struct {
	Start    Wall
	Days     int
	Duration time.Duration
}

// Override is what became of one instance.
type Override struct {
	Cancelled bool        // it does not take place; Span is ignored
	Span      domain.Span // its own time, not longer than domain.MaxSpan
	// ThisAndFuture applies the change to later instances too, until the next such override: the same shift of the
	// wall clock and the same length, or none of them when Cancelled.
	ThisAndFuture bool
}

// Occurrence is one instance of a series. RecurrenceID is where the rule put it, also after a move, and names it
// within the series; its clock is 00:00:00 in an all-day series.
type Occurrence struct {
	RecurrenceID Wall
	Span         domain.Span
}

// Expand lists the instances that share an instant with window, ordered by start, then by recurrence id. More than
// maximum of them, or a series that needs too many steps to reach the window, is domain.KindTooLarge; a rule, date or
// length that cannot be understood is domain.KindInvalid with the field.
func Expand(s Series, window domain.Span, maximum int) ([]Occurrence, error) {
	return ExpandWithin(NewBudget(maxLooks), s, window, maximum)
}

// ExpandWithin is Expand with a budget shared with other series. A series that does not fit into what is left of it is
// domain.KindTooLarge; one series takes no more than Expand would give it.
func ExpandWithin(b *Budget, s Series, window domain.Span, maximum int) ([]Occurrence, error) {
	own := NewBudget(min(maxLooks, b.looks))
	given := own.looks
	defer func() { b.looks -= given - max(own.looks, 0) }()
	p, err := prepare(s, window, maximum)
	if err != nil {
		return nil, err
	}
	p.budget = own
	walls, err := p.walls(window)
	if err != nil {
		return nil, err
	}
	var out []Occurrence
	add := func(id Wall, span domain.Span) error {
		// A local day that the zone left out has no length and takes no time.
		if !span.End.After(span.Start) || !span.Overlaps(window) {
			return nil
		}
		if len(out) == maximum {
			return domain.E(domain.KindTooLarge, "series: more than %d occurrences in the window", maximum)
		}
		out = append(out, Occurrence{RecurrenceID: id, Span: span})
		return nil
	}
	for _, w := range walls {
		if _, own := p.overrides[w]; own {
			continue
		}
		if span, ok := p.span(w); ok {
			if err := add(w, span); err != nil {
				return nil, err
			}
		}
	}
	for id, o := range p.overrides {
		if o.Cancelled {
			continue
		}
		if err := add(id, domain.Span{Start: o.Span.Start.UTC(), End: o.Span.End.UTC()}); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b Occurrence) int {
		return cmp.Or(a.Span.Start.Compare(b.Span.Start), a.RecurrenceID.utc().Compare(b.RecurrenceID.utc()))
	})
	return out, nil
}

// plan is a series with everything checked and in one form.
type plan struct {
	Series
	elapsed   time.Duration // exact part of the length
	rules     []rule
	exclude   []rule
	budget    *Budget
	periods   map[Wall]Period
	overrides map[Wall]Override
	onward    []onward // ThisAndFuture overrides by recurrence id
}

type onward struct {
	from      Wall
	cancelled bool
	shift     time.Duration // on the wall clock
	elapsed   time.Duration
	days      int
	wholeDays bool
}

func prepare(s Series, window domain.Span, maximum int) (plan, error) {
	p := plan{Series: s}
	if s.Loc == nil {
		return p, domain.Invalid("zone", "is required")
	}
	if !window.End.After(window.Start) || window.Duration() > MaxWindow || window.Start.Year() < 1 || window.End.Year() > 9990 {
		return p, domain.Invalid("window", "must end after it starts, last at most %d days and lie in the years 1 to 9990", int(MaxWindow.Hours()/24))
	}
	if maximum < 1 {
		return p, domain.Invalid("max", "must be at least 1, is %d", maximum)
	}
	if !s.Start.Valid() || s.Start.Year > 9900 {
		return p, domain.Invalid("dtstart", "must be an existing date and time up to the year 9900")
	}
	p.Start = p.form(s.Start)
	if err := p.readLength(); err != nil {
		return p, err
	}
	for _, list := range []struct {
		field string
		walls *[]Wall
	}{{"rdate", &p.RDATE}, {"exdate", &p.EXDATE}} {
		if len(*list.walls) > maxSteps {
			return p, domain.Invalid(list.field, "at most %d dates, has %d", maxSteps, len(*list.walls))
		}
		formed := make([]Wall, len(*list.walls))
		for i, w := range *list.walls {
			if !w.Valid() {
				return p, domain.Invalid(list.field, "must hold existing dates and times")
			}
			formed[i] = p.form(w)
		}
		*list.walls = formed
	}
	if err := p.readPeriods(); err != nil {
		return p, err
	}
	if err := p.readRules(); err != nil {
		return p, err
	}
	return p, p.readOverrides()
}

// maxRules bounds the RRULEs and the EXRULEs of a series.
const maxRules = 20

func (p *plan) readRules() error {
	texts := p.MoreRule
	if p.RRULE != "" {
		texts = append([]string{p.RRULE}, texts...)
	}
	if len(texts) > maxRules || len(p.EXRULE) > maxRules {
		return badRule("at most %d in a series", maxRules)
	}
	for _, text := range texts {
		r, err := parseRule(text, p.AllDay, p.Loc)
		if err != nil {
			return err
		}
		p.rules = append(p.rules, r)
	}
	for _, text := range p.EXRULE {
		r, err := parseRule(text, p.AllDay, p.Loc)
		if err != nil {
			if e := (*domain.Error)(nil); errors.As(err, &e) {
				e.Field = "exrule"
			}
			return err
		}
		p.exclude = append(p.exclude, r)
	}
	return nil
}

func (p *plan) readPeriods() error {
	p.periods = make(map[Wall]Period, len(p.Periods))
	if len(p.Periods) > maxSteps {
		return domain.Invalid("rdate", "at most %d dates, has %d", maxSteps, len(p.Periods))
	}
	for _, d := range p.Periods {
		if !d.Start.Valid() || d.Days < 0 || d.Days > 366 || d.Duration < 0 || d.Duration > domain.MaxSpan || d.Days == 0 && d.Duration == 0 {
			return domain.Invalid("rdate", "must hold periods that begin at an existing time and last at most 366 days")
		}
		d.Start = p.form(d.Start)
		p.periods[d.Start] = d
	}
	return nil
}

// form drops the clock of an all-day series' dates, so that they compare equal however they were written.
func (p *plan) form(w Wall) Wall {
	if p.AllDay {
		return w.Date().At(0, 0)
	}
	return w
}

func (p *plan) readLength() error {
	if p.Days < 0 || p.Days > 366 || p.Duration < 0 || p.Duration > domain.MaxSpan {
		return domain.Invalid("duration", "must be 0 to 366 days")
	}
	if p.End != (Wall{}) && !p.End.Valid() {
		return domain.Invalid("dtend", "must be an existing date and time")
	}
	switch {
	case p.AllDay && p.End != (Wall{}):
		p.Days = p.Start.Date().DaysUntil(p.End.Date())
		// An end on the first day itself is a common slip for "this one day".
		if p.Days == 0 {
			p.Days = 1
		}
	case p.AllDay:
		if p.Duration%day != 0 {
			return domain.Invalid("duration", "must be whole days in an all-day series")
		}
		p.Days = max(p.Days+int(p.Duration/day), 1)
	case p.End != (Wall{}):
		p.Days, p.elapsed = 0, Resolve(p.End, p.Loc).Sub(Resolve(p.Start, p.Loc))
	default:
		p.elapsed = p.Duration
	}
	if p.Days < 0 || p.Days > 366 || p.elapsed < 0 || p.elapsed > domain.MaxSpan || p.Days == 0 && p.elapsed == 0 {
		return domain.Invalid("dtend", "must be after the start, by at most 366 days")
	}
	return nil
}

func (p *plan) readOverrides() error {
	p.overrides = make(map[Wall]Override, len(p.Overrides))
	for id, o := range p.Overrides {
		if !id.Valid() {
			return domain.Invalid("recurrence_id", "must be an existing date and time")
		}
		if !o.Cancelled && !o.Span.Valid() {
			return domain.Invalid("override", "must end after it starts, by at most 366 days")
		}
		id = p.form(id)
		if _, twice := p.overrides[id]; twice {
			return domain.Invalid("recurrence_id", "names one instance twice")
		}
		p.overrides[id] = o
		if !o.ThisAndFuture {
			continue
		}
		on := onward{from: id, cancelled: o.Cancelled}
		if !o.Cancelled {
			on.shift = WallOf(o.Span.Start, p.Loc).utc().Sub(id.utc())
			on.elapsed = o.Span.Duration()
			if first, end, whole := WholeDays(o.Span, p.Loc); p.AllDay && whole {
				on.days, on.wholeDays = first.DaysUntil(end), true
			}
		}
		p.onward = append(p.onward, on)
	}
	slices.SortFunc(p.onward, func(a, b onward) int { return a.from.utc().Compare(b.from.utc()) })
	return nil
}

// walls lists the recurrence ids, in order and once each, that can lie in the window.
func (p *plan) walls(window domain.Span) ([]Wall, error) {
	// An instance that reads later than bound starts after the window in every zone, and one that reads earlier than low
	// ends before it, unless an override moves it by shift.
	bound := window.End.UTC().Add(widestOffset)
	low := window.Start.UTC().Add(-widestOffset - p.elapsed - time.Duration(p.Days)*day)
	for _, o := range p.onward {
		bound = maxTime(bound, window.End.UTC().Add(widestOffset-o.shift))
		if early := window.Start.UTC().Add(-widestOffset - o.shift - o.elapsed - time.Duration(o.days)*day); early.Before(low) {
			low = early
		}
	}
	if last := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC); bound.After(last) {
		bound = last
	}
	if first := p.Start.utc(); low.Before(first) {
		low = first
	}
	walls := append([]Wall{p.Start}, p.RDATE...)
	for w := range p.periods {
		walls = append(walls, w)
	}
	for _, r := range p.rules {
		more, err := r.instances(p.Start, wallFromUTC(low), wallFromUTC(bound), true, p.budget)
		if err != nil {
			return nil, err
		}
		walls = append(walls, more...)
	}
	slices.SortFunc(walls, func(a, b Wall) int { return a.utc().Compare(b.utc()) })
	walls = slices.Compact(walls)
	gone := make(map[Wall]bool, len(p.EXDATE))
	for _, w := range p.EXDATE {
		gone[w] = true
	}
	for _, r := range p.exclude {
		more, err := r.instances(p.Start, wallFromUTC(low), wallFromUTC(bound), false, p.budget)
		if err != nil {
			return nil, err
		}
		for _, w := range more {
			gone[w] = true
		}
	}
	return slices.DeleteFunc(walls, func(w Wall) bool { return gone[w] }), nil
}

const day = 24 * time.Hour

// span returns the time of an instance without an override of its own; ok is false for one cancelled by a
// ThisAndFuture override.
func (p *plan) span(w Wall) (domain.Span, bool) {
	days, elapsed, whole := p.Days, p.elapsed, p.AllDay
	if d, own := p.periods[w]; own {
		days, elapsed = d.Days, d.Duration
		if whole {
			days, elapsed = max(1, days+int(elapsed/day)), 0
		}
	}
	for i := len(p.onward) - 1; i >= 0; i-- {
		if o := p.onward[i]; !w.Before(o.from) {
			if o.cancelled {
				return domain.Span{}, false
			}
			w, days, elapsed, whole = wallFromUTC(w.utc().Add(o.shift)), o.days, o.elapsed, o.wholeDays
			if whole {
				elapsed = 0
			}
			break
		}
	}
	if whole {
		return AllDay(p.Loc, w.Date(), w.Date().AddDays(days)), true
	}
	start := Resolve(w, p.Loc).UTC()
	return domain.Span{Start: start, End: Resolve(w.AddDays(days), p.Loc).UTC().Add(elapsed)}, true
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
