package conflict

import (
	"cmp"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Found is one clash. BookingID should give way, OtherID should stay; OtherID is empty for blackout and off_hours.
type Found struct {
	Kind      domain.ConflictKind
	Severity  domain.Severity
	BookingID domain.BookingID
	OtherID   domain.BookingID
	// Overlap is where they clash: the shared time, the shared local day for same_day, the stretch over capacity, the
	// time that both claim for buffers and the way, or the first part in a blackout or outside hours.
	Overlap domain.Span
	// Explanation says the rule and the numbers in words. It depends on the bookings and the resource, not on now, so
	// it only changes when they do.
	Explanation string
	// Tentative says that it would not be there without tentative bookings.
	Tentative bool
}

// Detect finds what clashes with the subject among its neighbours, in the resource's zone loc. Neighbours are the
// resource's blocking bookings, each once, as far away from the subject as two days or both buffers together. Ones
// further away, cancelled ones and the subject itself are passed over. Nothing is found about bookings that ended at
// or before now. The most severe come first.
func Detect(now time.Time, res domain.Resource, loc *time.Location, subject Candidate, neighbours []Candidate) []Found {
	var out []Found
	each(now, res, loc, subject, neighbours, func(h hit) bool {
		out = append(out, h.found(now, res, loc, subject))
		return true
	})
	slices.SortFunc(out, func(a, b Found) int {
		return cmp.Or(
			cmp.Compare(b.Severity.Level(), a.Severity.Level()),
			cmp.Compare(strength(a.Kind), strength(b.Kind)),
			a.Overlap.Start.Compare(b.Overlap.Start),
			cmp.Compare(a.BookingID, b.BookingID),
			cmp.Compare(a.OtherID, b.OtherID),
		)
	})
	return out
}

// Clear reports whether Detect would find nothing. It is the quicker question for trying out many times.
func Clear(now time.Time, res domain.Resource, loc *time.Location, subject Candidate, neighbours []Candidate) bool {
	clear := true
	each(now, res, loc, subject, neighbours, func(hit) bool {
		clear = false
		return false
	})
	return clear
}

// strength orders kinds, the strongest first.
func strength(k domain.ConflictKind) int {
	return slices.Index([]domain.ConflictKind{domain.ConflictOverlap, domain.ConflictCapacity, domain.ConflictSameDay,
		domain.ConflictTravel, domain.ConflictBuffer, domain.ConflictBlackout, domain.ConflictOffHours}, k)
}

// hit is a clash before it is put into words.
type hit struct {
	kind      domain.ConflictKind
	other     Candidate // zero for blackout and off_hours
	overlap   domain.Span
	weaker    bool // only buffers or only the day clash
	tentative bool // it would not be there without tentative bookings
	atOnce    int  // bookings at once, for capacity
	way       Way  // for travel
	blackout  domain.Blackout
}

func (h hit) found(now time.Time, res domain.Resource, loc *time.Location, subject Candidate) Found {
	f := Found{Kind: h.kind, BookingID: subject.BookingID, Overlap: h.overlap, Tentative: h.tentative}
	yields, stays := subject, h.other
	switch h.kind {
	case domain.ConflictOffHours:
		f.Severity = domain.SeverityLow
	case domain.ConflictBlackout:
		// A day kept free counts like an entry without a client.
		f.Severity = severity(now, subject, Candidate{Category: domain.CategoryPersonal}, false, tentative(subject))
	default:
		if GivesWay(h.other, subject) {
			yields, stays = h.other, subject
		}
		f.BookingID, f.OtherID = yields.BookingID, stays.BookingID
		f.Severity = severity(now, yields, stays, h.weaker, h.tentative)
	}
	f.Explanation = explain(h, res, loc, yields, stays)
	return f
}

// each calls yield for every clash of the subject until yield returns false.
func each(now time.Time, res domain.Resource, loc *time.Location, subject Candidate, neighbours []Candidate, yield func(hit) bool) {
	if over(subject, now) {
		return
	}
	var crowd hit
	crowded := false
	if res.Capacity > 1 {
		if crowd, crowded = capacity(now, res.Capacity, subject, neighbours); crowded && !yield(crowd) {
			return
		}
	}
	for _, n := range neighbours {
		if n.BookingID == subject.BookingID || over(n, now) || crowded && n.BookingID == crowd.other.BookingID {
			continue
		}
		if h, ok := pair(res, loc, subject, n); ok && !yield(h) {
			return
		}
	}
	if part, by, ok := closed(res, loc, subject); ok {
		// A day without clients has no working hours, so nothing is said of them.
		yield(hit{kind: domain.ConflictBlackout, overlap: part, blackout: by})
		return
	}
	if KeepsHours(subject.Category) {
		if part, ok := outside(res, loc, subject.Event); ok {
			yield(hit{kind: domain.ConflictOffHours, overlap: part})
		}
	}
}

// over reports whether a booking can no longer clash.
func over(c Candidate, now time.Time) bool {
	return c.Status == domain.StatusCancelled || !c.Event.End.After(now)
}

// pair applies the rules that need only two bookings, the strongest first.
func pair(res domain.Resource, loc *time.Location, a, b Candidate) (hit, bool) {
	h := hit{other: b, tentative: tentative(a) || tentative(b)}
	single := res.Capacity <= 1
	if single && a.Event.Overlaps(b.Event) {
		h.kind, h.overlap = domain.ConflictOverlap, a.Event.Intersect(b.Event)
		return h, true
	}
	if res.OneWeddingADay && a.Category == domain.CategoryWedding && b.Category == domain.CategoryWedding {
		if day, ok := sharedDay(a.Event, b.Event, loc); ok {
			h.kind, h.overlap, h.weaker = domain.ConflictSameDay, day, true
			return h, true
		}
	}
	if !single {
		return hit{}, false
	}
	if way := WayOf(res, a, b); way.Took > 0 {
		if both := claim(a, b, way.Took); both.End.After(both.Start) {
			h.kind, h.overlap, h.weaker, h.way = domain.ConflictTravel, both, true, way
			return h, true
		}
		return hit{}, false
	}
	if shared := share(a, b); shared.End.After(shared.Start) {
		h.kind, h.overlap, h.weaker = domain.ConflictBuffer, shared, true
		return h, true
	}
	return hit{}, false
}

func tentative(c Candidate) bool { return c.Status == domain.StatusTentative }

// share is the time that two bookings both claim, buffers included. Travel may lie in the buffers of another booking,
// which is what they are for. It is empty, end not after start, when they share none.
func share(a, b Candidate) domain.Span {
	if a.Category == domain.CategoryTravel || b.Category == domain.CategoryTravel {
		return a.Event.Intersect(b.Event)
	}
	return a.Busy.Intersect(b.Busy)
}

// capacity looks for instants of the subject at which more bookings than the resource can serve want it. Events alone
// are tried first, then buffers too. Among the bookings at those instants the one that gives way first is named.
func capacity(now time.Time, room int, subject Candidate, neighbours []Candidate) (hit, bool) {
	type claim struct {
		by   Candidate
		span domain.Span
	}
	var claims []claim
	collect := func(shared func(a, b Candidate) domain.Span) {
		claims = claims[:0]
		for _, n := range neighbours {
			if n.BookingID == subject.BookingID || over(n, now) {
				continue
			}
			if s := shared(subject, n); s.End.After(s.Start) {
				claims = append(claims, claim{n, s})
			}
		}
	}
	spans := func(firmOnly bool) []domain.Span {
		var out []domain.Span
		for _, c := range claims {
			if !firmOnly || !tentative(c.by) {
				out = append(out, c.span)
			}
		}
		return out
	}
	for _, weaker := range []bool{false, true} {
		if weaker {
			collect(share)
		} else {
			collect(func(a, b Candidate) domain.Span { return a.Event.Intersect(b.Event) })
		}
		if len(claims) < room {
			continue
		}
		full := Crowded(spans(false), room)
		if len(full) == 0 {
			continue
		}
		h := hit{kind: domain.ConflictCapacity, weaker: weaker}
		named := false
		for _, c := range claims {
			if i := slices.IndexFunc(full, c.span.Overlaps); i >= 0 && (!named || GivesWay(c.by, h.other)) {
				h.other, h.overlap, named = c.by, full[i], true
			}
		}
		h.tentative = tentative(subject) || !slices.ContainsFunc(Crowded(spans(true), room), h.overlap.Overlaps)
		h.atOnce = 1 + most(spans(false), h.overlap)
		return h, true
	}
	return hit{}, false
}

// Crowded returns the stretches, sorted and joined, covered by at least n of the spans. Empty spans count for nothing.
func Crowded(spans []domain.Span, n int) []domain.Span {
	edges := edgesOf(spans)
	var out []domain.Span
	count := 0
	for i, e := range edges {
		count += e.step
		if i+1 < len(edges) && count >= n && edges[i+1].at.After(e.at) {
			out = append(out, domain.Span{Start: e.at, End: edges[i+1].at})
		}
	}
	return Join(out)
}

// most is the largest number of spans that cover one instant inside within.
func most(spans []domain.Span, within domain.Span) int {
	inside := make([]domain.Span, len(spans))
	for i, s := range spans {
		inside[i] = s.Intersect(within)
	}
	count, top := 0, 0
	for _, e := range edgesOf(inside) {
		count += e.step
		top = max(top, count)
	}
	return top
}

type edge struct {
	at   time.Time
	step int
}

// edgesOf lists where spans begin (+1) and end (-1) in order of time; at one instant ends come first, because spans
// are half-open.
func edgesOf(spans []domain.Span) []edge {
	edges := make([]edge, 0, 2*len(spans))
	for _, s := range spans {
		if s.End.After(s.Start) {
			edges = append(edges, edge{s.Start, 1}, edge{s.End, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.step, b.step)) })
	return edges
}
