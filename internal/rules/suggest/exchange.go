package suggest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/conflict"
)

// ExchangeKind says how bookings change hands.
type ExchangeKind string

// The kinds of exchanges.
const (
	// Swap gives the subject to another resource, and the one booking in its way there to the subject's resource.
	Swap ExchangeKind = "swap"
	// Split leaves the subject where it is wanted and hands what is in its way over to another resource.
	Split ExchangeKind = "split"
)

// Step gives a booking to a resource; its time stays.
type Step struct {
	BookingID domain.BookingID  `json:"booking_id,omitempty"` // "" is the booking asked about, which is not stored yet
	From      domain.ResourceID `json:"from"`
	To        domain.ResourceID `json:"to"`
	When      domain.Span       `json:"when"`
}

// Exchange is a way that takes all of its steps together.
type Exchange struct {
	Kind    ExchangeKind `json:"kind"`
	Steps   []Step       `json:"steps"`
	Clears  int          `json:"clears"`  // clashes that are gone afterwards
	Score   int          `json:"score"`   // 0..100, higher is better
	Reasons []string     `json:"reasons"` // the parts of the score in words; their numbers add up to it
}

// The points of an exchange. Nothing about times changes, which is 85 as for another resource.
const (
	stepPoints       = -10 // for each booking of somebody else that changes hands
	clearsPoints     = 5   // for each clash beyond the first
	mostClearsPoints = 15
	seniorPoints     = -15 // a booking that should stay changes hands
	handedPoints     = -30 // a wedding changes hands
	longestHanded    = 7 * 24 * time.Hour
)

// Exchanges returns ranked exchanges, best first. Each leaves no clash of the bookings that it touches, as far as Busy
// tells; for Others it must reach as far around the bookings that clash with the subject as around the subject. Only
// bookings of clients change hands, of resources of the same kind with the skills needed; a wedding within the freeze does not,
// and nothing that begins within LeadTime or the lead of a resource concerned. stored says that the subject exists: then a single booking handed over is left
// to the way out of the conflict between the two.
func Exchanges(r Request, stored bool) []Exchange {
	if !r.Subject.Blocks() || !r.Subject.When.Valid() || r.Loc == nil || r.Subject.When.Start.Before(r.Now.Add(LeadTime)) {
		return nil
	}
	x := &exchanges{Request: r, stored: stored, subject: conflict.Candidate{BookingID: r.Subject.ID, Category: r.Subject.Category, Status: r.Subject.Status,
		Event: r.Subject.When.Span, Place: r.Place, CreatedAt: r.Subject.CreatedAt}}
	// What changes hands is at most longestHanded long and clashes with the subject, so no more of the calendar matters.
	around := x.subject.Event.Pad(longestHanded+r.Resource.BufferBefore, longestHanded+r.Resource.BufferAfter)
	own := Other{Resource: r.Resource, Loc: r.Loc, Busy: without(near(r.Busy, around), r.Subject.ID)}
	here := x.clashes(own, x.subject, own.Busy)
	var out []Exchange
	for _, o := range r.Others {
		if o.Resource.ID == r.Resource.ID || o.Loc == nil || o.Resource.Kind != r.Resource.Kind || !hasSkills(o.Resource, r.skills()) {
			continue
		}
		if x.earliest = earliest(r.Now, r.Resource, o.Resource); x.subject.Event.Start.Before(x.earliest) {
			continue
		}
		if contains(o.Busy, r.Subject.ID) {
			o.Busy = without(o.Busy, r.Subject.ID)
		}
		if e, ok := x.swap(own, o, here); ok {
			out = append(out, e)
		}
		if e, ok := x.split(own, o, here); ok {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Exchange) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Kind, b.Kind), cmp.Compare(len(a.Steps), len(b.Steps)),
			cmp.Compare(a.Steps[0].To, b.Steps[0].To), cmp.Compare(a.Steps[0].BookingID, b.Steps[0].BookingID))
	})
	limit := r.Max
	if limit <= 0 {
		limit = DefaultMax
	}
	return out[:min(len(out), limit, MostWays)]
}

type exchanges struct {
	Request
	stored   bool
	subject  conflict.Candidate
	earliest time.Time // when what changes hands may begin, for the resource that is looked at
}

// hurdle is what a booking meets on a resource.
type hurdle struct {
	by       []conflict.Candidate // each once
	offHours bool                 // or on a day that is kept free of clients
}

func (h hurdle) none() bool { return len(h.by) == 0 && !h.offHours }

// clashes asks package conflict what a booking would meet on a resource.
func (x *exchanges) clashes(at Other, c conflict.Candidate, busy []conflict.Candidate) (h hurdle) {
	c.Busy = conflict.Busy(at.Resource, c.Event, c.Category)
	for _, f := range conflict.Detect(x.Now, at.Resource, at.Loc, c, near(busy, c.Busy)) {
		id := f.OtherID
		if id == c.BookingID {
			id = f.BookingID
		}
		if f.Kind == domain.ConflictOffHours || f.Kind == domain.ConflictBlackout {
			h.offHours = true
			continue
		}
		if i := slices.IndexFunc(busy, func(b conflict.Candidate) bool { return b.BookingID == id }); i >= 0 && !contains(h.by, id) {
			h.by = append(h.by, busy[i])
		}
	}
	return h
}

// free reports whether a booking would meet nothing on a resource. It is quicker than clashes, which says what.
func (x *exchanges) free(at Other, c conflict.Candidate, busy []conflict.Candidate) bool {
	c.Busy = conflict.Busy(at.Resource, c.Event, c.Category)
	return conflict.Clear(x.Now, at.Resource, at.Loc, c, near(busy, c.Busy))
}

// near keeps what could clash, two days more than anything that could.
func near(busy []conflict.Candidate, around domain.Span) []conflict.Candidate {
	around = around.Pad(48*time.Hour, 48*time.Hour)
	out := make([]conflict.Candidate, 0, 8)
	for i := range busy {
		if b := &busy[i]; b.Busy.Overlaps(around) || b.Event.Overlaps(around) {
			out = append(out, *b)
		}
	}
	return out
}

func contains(list []conflict.Candidate, id domain.BookingID) bool {
	return slices.ContainsFunc(list, func(c conflict.Candidate) bool { return c.BookingID == id })
}

func without(list []conflict.Candidate, ids ...domain.BookingID) []conflict.Candidate {
	return slices.DeleteFunc(slices.Clone(list), func(c conflict.Candidate) bool { return slices.Contains(ids, c.BookingID) })
}

// transferable reports whether a booking may get another resource: it is a client's, far enough away, and no wedding that
// is frozen.
func (x *exchanges) transferable(c conflict.Candidate) bool {
	return conflict.HasBuffers(c.Category) && c.Status != domain.StatusCancelled && !c.Event.Start.Before(x.earliest) &&
		!x.frozen(c.Category, c.Event) && c.Event.Duration() <= longestHanded
}

// placed is a booking as it would stand on a resource.
func placed(at Other, c conflict.Candidate) conflict.Candidate {
	c.Busy = conflict.Busy(at.Resource, c.Event, c.Category)
	return c
}

func (x *exchanges) swap(own, other Other, here hurdle) (Exchange, bool) {
	if here.none() || x.frozen(x.subject.Category, x.subject.Event) || x.free(other, x.subject, other.Busy) {
		return Exchange{}, false
	}
	there := x.clashes(other, x.subject, other.Busy)
	if len(there.by) != 1 || there.offHours {
		return Exchange{}, false
	}
	back := there.by[0]
	if !x.transferable(back) || !hasSkills(own.Resource, other.Resource.Skills) {
		return Exchange{}, false
	}
	rest := without(other.Busy, back.BookingID)
	if !x.free(own, back, own.Busy) || !x.free(other, x.subject, rest) {
		return Exchange{}, false
	}
	clears := len(here.by) + len(x.clashes(other, back, rest).by)
	steps := []Step{{BookingID: x.subject.BookingID, From: own.Resource.ID, To: other.Resource.ID, When: x.subject.Event},
		{BookingID: back.BookingID, From: other.Resource.ID, To: own.Resource.ID, When: back.Event}}
	return x.tell(Swap, steps, clears, []conflict.Candidate{back}, own, other), true
}

func (x *exchanges) split(own, other Other, here hurdle) (Exchange, bool) {
	if len(here.by) == 0 || here.offHours || x.stored && len(here.by) == 1 {
		return Exchange{}, false
	}
	ids := make([]domain.BookingID, len(here.by))
	all := slices.Clone(other.Busy)
	for i, c := range here.by {
		if !x.transferable(c) {
			return Exchange{}, false
		}
		ids[i] = c.BookingID
		all = append(all, placed(other, c))
	}
	clears := len(here.by)
	steps := make([]Step, len(here.by))
	for i, c := range here.by {
		if !x.free(other, c, without(all, c.BookingID)) {
			return Exchange{}, false
		}
		clears += len(x.clashes(own, c, without(own.Busy, ids...)).by)
		steps[i] = Step{BookingID: c.BookingID, From: own.Resource.ID, To: other.Resource.ID, When: c.Event}
	}
	if !x.free(own, x.subject, without(own.Busy, ids...)) {
		return Exchange{}, false
	}
	return x.tell(Split, steps, clears, here.by, own, other), true
}

// tell scores an exchange. moved are the bookings of others that change hands.
func (x *exchanges) tell(kind ExchangeKind, steps []Step, clears int, moved []conflict.Candidate, resources ...Other) Exchange {
	e := Exchange{Kind: kind, Steps: steps, Clears: clears}
	sum := 0
	part := func(points int, text string) {
		sum += points
		e.Reasons = append(e.Reasons, fmt.Sprintf("%s: %+d", text, points))
	}
	part(sameDayPoints+sameWeekdayPoints+sameClockPoints, "all times stay")
	if n := len(moved); n == 1 {
		part(stepPoints, "a booking of another client changes hands")
	} else {
		part(n*stepPoints, fmt.Sprintf("%d bookings of other clients change hands", n))
	}
	if clears > 1 {
		part(min((clears-1)*clearsPoints, mostClearsPoints), fmt.Sprintf("clears %d clashes at once", clears))
	}
	if slices.ContainsFunc(moved, func(c conflict.Candidate) bool { return !conflict.GivesWay(c, x.subject) }) {
		part(seniorPoints, "a booking that should stay is among them")
	}
	wedding := kind == Swap && x.subject.Category == domain.CategoryWedding && x.stored
	if wedding || slices.ContainsFunc(moved, func(c conflict.Candidate) bool { return c.Category == domain.CategoryWedding }) {
		part(handedPoints, "a wedding gets another resource")
	}
	if slices.ContainsFunc(resources, func(o Other) bool {
		end := x.freezeEnd(o.Busy, x.subject.BookingID)
		return slices.ContainsFunc(steps, func(s Step) bool { return s.When.Start.Before(end) })
	}) {
		part(nearWeddingPoints, fmt.Sprintf("within %d h of a wedding of one of the resources", int(x.freeze().Hours())))
	}
	if sum < 0 {
		part(-sum, "scores end at 0")
	}
	e.Score = sum
	return e
}
