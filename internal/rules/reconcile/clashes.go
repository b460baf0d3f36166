package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/conflict"
)

// PairKey names a pair of bookings regardless of order; a conflict with only one booking pairs it with "".
func PairKey(a, b domain.BookingID) string {
	if a > b {
		a, b = b, a
	}
	return string(a) + "+" + string(b)
}

// Fingerprint names the times that clash, so that an accepted clash is reported again when they change.
func Fingerprint(f conflict.Found) string {
	return fmt.Sprintf("%s %d %d", f.Kind, f.Overlap.Start.Unix(), f.Overlap.End.Unix())
}

// whileTentative marks what was accepted only as long as one of the two is tentative.
const whileTentative = " tentative"

// AcceptedWhileTentative is the fingerprint of a clash that a person accepted by making one of the two tentative.
func AcceptedWhileTentative(f conflict.Found) string { return Fingerprint(f) + whileTentative }

// accepted reports whether a person accepted a clash, of which fingerprint is kept.
func accepted(fingerprint string, f conflict.Found) bool {
	return fingerprint == Fingerprint(f) || f.Tentative && fingerprint == AcceptedWhileTentative(f)
}

// settleClashes gives every touched booking its allocation and compares the clashes found with those known.
func (w *world) settleClashes() {
	concerned := slices.Clone(w.touched)
	for _, id := range w.touched {
		w.reallocate(id)
	}
	for _, id := range w.rejudged {
		if !slices.Contains(w.touched, id) {
			concerned = append(concerned, id)
			w.reallocate(id)
		}
	}
	w.promote()

	known := map[string]domain.Conflict{}
	// Whether a vendor can keep a timeline is told by the timeline, not by bookings.
	open := slices.DeleteFunc(slices.Clone(w.in.Conflicts), func(c domain.Conflict) bool { return c.Kind == domain.ConflictTimeline })
	for _, c := range open {
		known[string(c.ResourceID)+" "+PairKey(c.BookingID, c.OtherID)] = c
	}
	settled, judged := map[string]bool{}, map[domain.BookingID]bool{}
	for _, id := range concerned {
		judged[id] = true
		b := w.bookings[id]
		if res, ok := w.in.Resources[b.ResourceID]; ok && b.Blocks() && !b.Lapsed(w.in.Now) {
			w.detect(res, w.candidate(*b, res), known, settled)
		}
	}
	for _, o := range w.crowds() {
		judged[o.by.BookingID] = true
		w.detect(o.res, o.by, known, settled)
	}
	w.detectLeftCrowds(open, known, settled, judged)
	for _, c := range open {
		if settled[string(c.ResourceID)+" "+PairKey(c.BookingID, c.OtherID)] || !judged[c.BookingID] && !judged[c.OtherID] {
			continue
		}
		who := c.BookingID
		if !judged[who] {
			who = c.OtherID
		}
		w.rechecks = append(w.rechecks, Recheck{ConflictID: c.ID, BookingID: who})
		if c.State.Carrying() {
			// Its workflow is carrying out a decision or taking one back, and will verify and close it.
			continue
		}
		c.State, c.UpdatedAt, c.ClosedAt = domain.ConflictCleared, w.in.Now, &w.in.Now
		c.Version++
		w.cleared = append(w.cleared, c)
	}
}

func (w *world) detect(res Resource, by conflict.Candidate, known map[string]domain.Conflict, settled map[string]bool) {
	for _, f := range conflict.Detect(w.in.Now, res.Resource, res.Loc, by, w.neighbours(by, res)) {
		key := string(res.ID) + " " + PairKey(f.BookingID, f.OtherID)
		if settled[key] {
			continue
		}
		settled[key] = true
		w.clashes = append(w.clashes, f)
		w.found(res.ID, f, known[key])
	}
}

type crowd struct {
	res Resource
	by  conflict.Candidate
}

// crowds lists the bookings, not touched themselves, whose capacity conflict may have gone because another booking made
// room. As in promote, only what was read in full can be judged.
func (w *world) crowds() []crowd {
	near := w.disturbed()
	var out []crowd
	judged := slices.Concat(w.touched, w.rejudged)
	for _, c := range w.in.Conflicts {
		res, ok := w.in.Resources[c.ResourceID]
		if !ok || c.Kind != domain.ConflictCapacity || slices.Contains(judged, c.BookingID) || slices.Contains(judged, c.OtherID) {
			continue
		}
		for _, o := range w.occupied[c.ResourceID] {
			if o.BookingID == c.BookingID && slices.ContainsFunc(near, func(s domain.Span) bool { return s.Contains(o.Busy) }) {
				out = append(out, crowd{res, o.Candidate})
			}
		}
	}
	return out
}

// detectLeftCrowds finds the crowds of which nobody would be told any more. A capacity conflict names two of all who are
// there at once: when one of them goes, the conflict goes, and the others may still be too many.
func (w *world) detectLeftCrowds(open []domain.Conflict, known map[string]domain.Conflict, settled map[string]bool, judged map[domain.BookingID]bool) {
	near := w.disturbed()
	if len(near) == 0 {
		return
	}
	named := map[domain.BookingID]bool{}
	name := func(kind domain.ConflictKind, a, b domain.BookingID) {
		if kind == domain.ConflictCapacity {
			named[a], named[b] = true, true
		}
	}
	for _, c := range open {
		if !judged[c.BookingID] && !judged[c.OtherID] {
			name(c.Kind, c.BookingID, c.OtherID)
		}
	}
	for pair := range w.in.Dismissed { // a person accepted it
		a, b, _ := strings.Cut(pair, "+")
		name(domain.ConflictCapacity, domain.BookingID(a), domain.BookingID(b))
	}
	told := 0
	for _, resID := range slices.Sorted(maps.Keys(w.occupied)) {
		res, ok := w.in.Resources[resID]
		if !ok || res.Capacity <= 1 {
			continue
		}
		list := w.occupied[resID]
		for _, o := range list {
			for ; told < len(w.clashes); told++ {
				name(w.clashes[told].Kind, w.clashes[told].BookingID, w.clashes[told].OtherID)
			}
			if judged[o.BookingID] || named[o.BookingID] || !slices.ContainsFunc(near, func(s domain.Span) bool { return s.Contains(o.Busy) }) {
				continue
			}
			there, heard := 0, false
			for _, p := range list {
				if !p.Event.Start.After(o.Event.Start) && p.Event.End.After(o.Event.Start) {
					there++
					heard = heard || named[p.BookingID]
				}
			}
			if there > res.Capacity && !heard {
				judged[o.BookingID] = true
				w.detect(res, o.Candidate, known, settled)
			}
		}
	}
}

func (w *world) found(res domain.ResourceID, f conflict.Found, was domain.Conflict) {
	if was.ID == "" {
		if accepted(w.in.Dismissed[PairKey(f.BookingID, f.OtherID)], f) {
			return
		}
		w.opened = append(w.opened, domain.Conflict{ID: newID[domain.ConflictID](w), OrgID: w.in.Org, Kind: f.Kind,
			Severity: f.Severity, State: domain.ConflictOpen, ResourceID: res, BookingID: f.BookingID, OtherID: f.OtherID,
			Overlap: f.Overlap, Explanation: f.Explanation, DetectedAt: w.in.Now, UpdatedAt: w.in.Now, Version: 1})
		return
	}
	if was.Kind == f.Kind && was.Severity == f.Severity && was.BookingID == f.BookingID && was.Overlap.Start.Equal(f.Overlap.Start) &&
		was.Overlap.End.Equal(f.Overlap.End) && was.Explanation == f.Explanation {
		return
	}
	if was.State == domain.ConflictIgnored && (was.Kind != f.Kind || was.Severity.Level() < f.Severity.Level() ||
		!was.Overlap.Start.Equal(f.Overlap.Start) || !was.Overlap.End.Equal(f.Overlap.End)) {
		// What a person wanted to hear of later is something else now, or became worse.
		was.State = domain.ConflictOpen
	}
	was.Kind, was.Severity, was.BookingID, was.OtherID = f.Kind, f.Severity, f.BookingID, f.OtherID
	was.Overlap, was.Explanation, was.UpdatedAt = f.Overlap, f.Explanation, w.in.Now
	was.Version++
	w.updated = append(w.updated, was)
	w.rechecks = append(w.rechecks, Recheck{ConflictID: was.ID, BookingID: f.BookingID})
}

// reallocate takes a booking's old stretch away and gives it its new one.
func (w *world) reallocate(id domain.BookingID) {
	had, was := false, Occupied{}
	before, touched := w.before[id]
	for res, list := range w.occupied {
		if touched && before == nil {
			break // a new booking has none yet
		}
		w.occupied[res] = slices.DeleteFunc(list, func(o Occupied) bool {
			if o.BookingID != id {
				return false
			}
			had, was = true, o
			return true
		})
	}
	b := w.bookings[id]
	if before != nil && before.Blocks() {
		had = true
	}
	res, ok := w.in.Resources[b.ResourceID]
	if !b.Blocks() || !ok || b.Lapsed(w.in.Now) {
		delete(w.moved, id)
		if had {
			w.freed[id] = true
		}
		return
	}
	if was.AllocationID == "" {
		was.AllocationID = newID[domain.AllocationID](w)
	}
	o := Occupied{AllocationID: was.AllocationID, Occupied: conflict.Occupied{Candidate: w.candidate(*b, res)}}
	o.Slot, o.Exclusive = conflict.Slot(res.Resource, o.Candidate, w.slots(o.Candidate, b.ResourceID))
	if o.Status == domain.StatusTentative {
		o.HeldUntil = b.HeldUntil
	}
	if o.Status != domain.StatusConfirmed {
		// Only confirmed bookings hold time against others in the database.
		o.Exclusive = false
	}
	if o.Slot < 0 {
		o.Slot = 0
	}
	w.occupied[b.ResourceID] = append(w.occupied[b.ResourceID], o)
	if touched || o != was {
		w.moved[id] = o
	}
}

// promote lets confirmed allocations that overlapped when they were recorded take part in the exclusion constraint
// again once their clash is gone.
func (w *world) promote() {
	near := w.disturbed()
	for resID, list := range w.occupied {
		res, ok := w.in.Resources[resID]
		if !ok {
			continue
		}
		for i := range list {
			o := list[i]
			if o.Exclusive || o.Status != domain.StatusConfirmed || !slices.ContainsFunc(near, func(s domain.Span) bool { return s.Contains(o.Busy) }) {
				continue
			}
			if slot, free := conflict.Slot(res.Resource, o.Candidate, w.slots(o.Candidate, resID)); free {
				list[i].Slot, list[i].Exclusive = slot, true
				w.moved[o.BookingID] = list[i]
			}
		}
	}
}

// disturbed lists the stretches around the old and new times of the touched bookings that were there before; new ones make
// no room. Everything in them was read, so an allocation wholly inside one can be judged; beyond them it cannot.
func (w *world) disturbed() []domain.Span {
	var out []domain.Span
	add := func(b *domain.Booking) {
		span := b.When.Span
		if res, ok := w.in.Resources[b.ResourceID]; ok {
			span = conflict.EventOf(b.When, res.Loc)
		}
		out = append(out, Reach(span))
	}
	for _, id := range w.touched {
		if was := w.before[id]; was != nil {
			add(was)
			add(w.bookings[id])
		}
	}
	for _, id := range w.rejudged {
		add(w.bookings[id])
	}
	return out
}

// slots lists what is busy at the time of a booking, without itself.
func (w *world) slots(of conflict.Candidate, res domain.ResourceID) []conflict.Occupied {
	var out []conflict.Occupied
	list := w.occupied[res]
	for i := range list { // not copied: a batch goes through all of it for each booking
		o := &list[i]
		if o.Busy.Overlaps(of.Busy) && o.BookingID != of.BookingID {
			out = append(out, o.Occupied)
		}
	}
	return out
}

// reach is how far around a booking its neighbours can matter: a local day on each side, for the same-day rule, with
// room for the widest zones.
const reach = 38 * time.Hour

// Reach widens a span to everything that could clash with a booking in it.
func Reach(s domain.Span) domain.Span { return s.Pad(reach, reach) }

// ReachOfNew is Reach for an entry that no link is known for and that names no booking of ours. It moves nothing and makes no
// room, so what shares its time matters, and what may be the same event; for a wedding where there is one a day, the day; and
// for one that travels what the way leads to.
func ReachOfNew(res Resource, c domain.Change) domain.Span {
	busy := conflict.Busy(res.Resource, conflict.EventOf(c.When, res.Loc), c.Category)
	apart := 2 * NearTime
	if res.Capacity <= 1 && res.Travel != (domain.Travel{}) {
		apart = domain.MaxWay
		if res.Travel.SpeedKmh == 0 {
			apart = max(2*NearTime, time.Duration(res.Travel.FixedMinutes)*time.Minute)
		}
	}
	if res.OneWeddingADay && c.Category == domain.CategoryWedding {
		return Reach(busy)
	}
	return busy.Pad(apart, apart)
}

func (w *world) neighbours(of conflict.Candidate, res Resource) []conflict.Candidate {
	near := Reach(of.Busy)
	b := w.bookings[of.BookingID]
	held := b != nil && b.Status == domain.StatusTentative && !b.HeldUntil.IsZero()
	var out []conflict.Candidate
	list := w.occupied[res.ID]
	for i := range list {
		o := &list[i]
		if held && !o.HeldUntil.IsZero() {
			// Neither is booked. Whether two holds may have one time was decided when the second was made.
			continue
		}
		if o.BookingID != of.BookingID && o.Busy.Overlaps(near) {
			out = append(out, o.Candidate)
		}
	}
	return out
}
