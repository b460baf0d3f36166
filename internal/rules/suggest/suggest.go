package suggest

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/conflict"
)

// The bounds of what is offered.
const (
	LeadTime    = 2 * time.Hour // nothing is offered to start sooner than this, or than Resource.LeadMinutes where those are longer
	Horizon     = 14            // days to either side that are searched first
	WideHorizon = 60            // days to either side where the first search finds fewer than three
	// Freeze is how long before its start a wedding is no longer moved, where Request.Freeze does not say. It may still get another
	// resource, with words that say so, and whatever is placed before the end of such a wedding says so too.
	Freeze     = 48 * time.Hour
	DefaultMax = 5  // ways offered when the request does not say
	MostWays   = 20 // the largest Max

	enough     = 3
	maxMovable = 30 * 24 * time.Hour // longer bookings are only offered another resource
)

// Request is a booking that should give way, and the calendars around it.
type Request struct {
	Subject  domain.Booking // its details are not looked at
	Place    domain.Point   // where it is; zero when that is not known
	Resource domain.Resource
	Loc      *time.Location // zone of Resource
	// Busy are the resource's blocking bookings within WideHorizon days and two more of the subject. An entry of
	// the subject itself is passed over.
	Busy   []conflict.Candidate
	Others []Other
	Now    time.Time
	Freeze time.Duration // how long before a wedding the organisation's freeze begins; 0 means Freeze
	Max    int           // how many ways at most; 0 means DefaultMax
	// Skills are what another resource must have; nil means those of Resource.
	Skills []string
}

// Other is a resource that might take the booking over. Only those of the same kind with all skills of the subject's
// resource are offered.
type Other struct {
	Resource domain.Resource
	Loc      *time.Location
	Busy     []conflict.Candidate // blocking bookings within two days of the subject
}

// way is a proposal before it is put into words.
type way struct {
	facts
	action   domain.ResolveAction
	resource domain.Resource
	loc      *time.Location
	busy     []conflict.Candidate
	span     domain.Span
	date     calendartime.Date
	score    int
}

// Alternatives returns ranked ways out, best first. It is empty for a booking that does not block or is over, and
// where nothing is free.
func Alternatives(r Request) []domain.Alternative {
	if !r.Subject.Blocks() || !r.Subject.When.Valid() || !r.Subject.When.End.After(r.Now) {
		return nil
	}
	limit := r.Max
	if limit <= 0 {
		limit = DefaultMax
	}
	limit = min(limit, MostWays)
	s := newSearch(r)
	s.reassign()
	picks := s.best(Horizon, limit)
	if daytime(picks) < min(enough, limit) {
		picks = s.best(WideHorizon, limit)
	}
	out := make([]domain.Alternative, 0, len(picks))
	for _, p := range picks {
		out = append(out, s.tell(p))
	}
	return out
}

// daytime counts the ways that people would not be astonished by.
func daytime(ways []way) int {
	n := 0
	for _, w := range ways {
		if !w.night {
			n++
		}
	}
	return n
}

// best collects moves within a number of days and picks from them and the other resources.
func (s *search) best(days, limit int) []way {
	pool := append(slices.Clone(s.elsewhere), s.moves(days)...)
	var picks []way
	if limit >= enough {
		picks = s.oneOfEach(pool)
	}
	picks = s.pick(picks, pool, limit, firstChoice)
	picks = s.pick(picks, pool, limit, secondChoice)
	if len(picks) < enough {
		// Little is free: take the same stretches at a finer step rather than offer too few ways.
		picks = s.pick(picks, append(pool, s.fine(days)...), min(enough, limit), anyChoice)
	}
	slices.SortFunc(picks, compare)
	return picks
}

func compare(a, b way) int {
	return cmp.Or(
		cmp.Compare(b.score, a.score),
		cmp.Compare(a.action, b.action),
		a.span.Start.Compare(b.span.Start),
		cmp.Compare(a.resource.ID, b.resource.ID),
	)
}

// variety says how alike the picked ways may be.
type variety struct {
	sameDay, perDate, reassigned int
	apart                        time.Duration // between starts on one date
}

var (
	firstChoice  = variety{sameDay: 2, perDate: 1, reassigned: 2, apart: 2 * time.Hour}
	secondChoice = variety{sameDay: 4, perDate: 2, reassigned: MostWays, apart: 2 * time.Hour}
	anyChoice    = variety{sameDay: MostWays, perDate: MostWays, reassigned: MostWays, apart: 15 * time.Minute}
)

// pick adds the best ways of the pool to those picked, as varied as v asks, and never one that clashes.
func (s *search) pick(picks, pool []way, limit int, v variety) []way {
	slices.SortFunc(pool, compare)
	for _, w := range pool {
		if len(picks) >= limit {
			break
		}
		if fits(picks, w, v) && s.clear(w.resource, w.loc, w.span, w.busy) {
			picks = append(picks, w)
		}
	}
	return picks
}

// oneOfEach picks the best way by day of each sort: same day, other date, other resource. People weigh the sorts
// differently than points do, so each gets a place.
func (s *search) oneOfEach(pool []way) (picks []way) {
	slices.SortFunc(pool, compare)
	for _, sort := range []func(w way) bool{
		func(w way) bool { return w.action == domain.ActionMove && w.days == 0 },
		func(w way) bool { return w.action == domain.ActionMove && w.days != 0 },
		func(w way) bool { return w.action == domain.ActionReassign },
	} {
		i := slices.IndexFunc(pool, func(w way) bool { return sort(w) && !w.night && s.clear(w.resource, w.loc, w.span, w.busy) })
		if i >= 0 {
			picks = append(picks, pool[i])
		}
	}
	return picks
}

func fits(picks []way, w way, v variety) bool {
	alike := 0
	for _, p := range picks {
		if p.action != w.action {
			continue
		}
		if w.action == domain.ActionReassign {
			if p.resource.ID == w.resource.ID {
				return false
			}
			alike++
			continue
		}
		if p.date == w.date {
			alike++
			if p.span.Start.Sub(w.span.Start).Abs() < v.apart {
				return false
			}
		}
	}
	switch {
	case w.action == domain.ActionReassign:
		return alike < v.reassigned
	case w.days == 0:
		return alike < v.sameDay
	}
	return alike < v.perDate
}

// clear asks package conflict about one placement.
func (s *search) clear(res domain.Resource, loc *time.Location, span domain.Span, busy []conflict.Candidate) bool {
	c := conflict.Candidate{BookingID: s.Subject.ID, Category: s.Subject.Category, Status: s.Subject.Status, Event: span,
		Busy: conflict.Busy(res, span, s.Subject.Category), Place: s.Place, CreatedAt: s.Subject.CreatedAt}
	// Two days more than anything that could clash; what is left is few.
	around := c.Busy.Pad(48*time.Hour, 48*time.Hour)
	s.near = s.near[:0]
	for i := range busy {
		if b := &busy[i]; b.Busy.Overlaps(around) || b.Event.Overlaps(around) {
			s.near = append(s.near, *b)
		}
	}
	return conflict.Clear(s.Now, res, loc, c, s.near)
}

// earliest is when what is offered to all of the resources may begin.
func earliest(now time.Time, of ...domain.Resource) time.Time {
	lead := LeadTime
	for _, r := range of {
		lead = max(lead, time.Duration(r.LeadMinutes)*time.Minute)
	}
	return now.Add(lead)
}

// reassign tries the subject's own time on each other resource.
func (s *search) reassign() {
	span := domain.Span{Start: s.Subject.When.Start.UTC(), End: s.Subject.When.End.UTC()}
	for _, o := range s.Others {
		if span.Start.Before(earliest(s.Now, o.Resource)) {
			continue
		}
		if o.Resource.ID == s.Resource.ID || o.Loc == nil || o.Resource.Kind != s.Resource.Kind || !hasSkills(o.Resource, s.skills()) ||
			!s.clear(o.Resource, o.Loc, span, o.Busy) {
			continue
		}
		first := calendartime.DateOf(span.Start, o.Loc)
		day := calendartime.AllDay(o.Loc, first, first.AddDays(1))
		w := way{action: domain.ActionReassign, resource: o.Resource, loc: o.Loc, busy: o.Busy, span: span, date: s.date}
		w.facts = facts{elsewhere: true, weekday: sameWeekday, late: s.frozen(s.Subject.Category, span), freeze: s.freeze(),
			near:  span.Start.Before(s.freezeEnd(o.Busy, s.Subject.ID)),
			quiet: !slices.ContainsFunc(s.near, func(c conflict.Candidate) bool { return c.Status != domain.StatusCancelled && c.Event.Overlaps(day) })}
		w.score = w.points()
		s.elsewhere = append(s.elsewhere, w)
	}
}

// freeze is how long before its start a wedding is no longer moved.
func (r Request) freeze() time.Duration { return cmp.Or(r.Freeze, Freeze) }

// frozen reports whether a booking is a wedding that begins within the freeze, or is on.
func (r Request) frozen(c domain.Category, event domain.Span) bool {
	return c == domain.CategoryWedding && event.Start.Sub(r.Now) <= r.freeze() && event.End.After(r.Now)
}

// freezeEnd is the end of the last wedding that is frozen, but for one booking; zero when none is.
func (r Request) freezeEnd(busy []conflict.Candidate, except domain.BookingID) (end time.Time) {
	for i := range busy {
		b := &busy[i]
		if b.Category == domain.CategoryWedding && b.BookingID != except && b.Status != domain.StatusCancelled && r.frozen(b.Category, b.Event) && b.Event.End.After(end) {
			end = b.Event.End
		}
	}
	return end
}

func (r Request) skills() []string {
	if r.Skills != nil {
		return r.Skills
	}
	return r.Resource.Skills
}

// hasSkills reports whether a resource has all of the skills, whatever the case of the letters.
func hasSkills(candidate domain.Resource, skills []string) bool {
	for _, skill := range skills {
		if !slices.ContainsFunc(candidate.Skills, func(have string) bool { return strings.EqualFold(have, skill) }) {
			return false
		}
	}
	return true
}

// tell puts a way into the form that is stored and shown.
func (s *search) tell(w way) domain.Alternative {
	when := s.Subject.When
	when.Span = w.span
	if w.action == domain.ActionReassign && when.Kind == domain.TimeFloating && w.loc.String() != when.Zone {
		// A floating clock would mean another instant in the other resource's zone.
		when.Kind = domain.TimeZoned
	}
	return domain.Alternative{Action: w.action, BookingID: s.Subject.ID, ResourceID: w.resource.ID, When: when, Score: w.score, Reasons: w.reasons(w.date)}
}
