package reconcile

import (
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

func (w *world) applyChange(c domain.Change) Outcome {
	if err := c.Validate(); err != nil {
		return Outcome{Effect: EffectRejected, Reason: err.Error()}
	}
	if c.Op == domain.OpRemove {
		return w.remove(c)
	}
	if c.Status == domain.StatusCancelled {
		// Cancelled entries often come without a time. It means nothing, and must not make a repeat look like news.
		c.When = domain.When{}
	}
	if l := w.byExternal[c.ExternalID]; l != nil {
		return w.update(l, c)
	}
	return w.appear(c)
}

// appear handles an entry without a mapping row.
func (w *world) appear(c domain.Change) Outcome {
	id, how := w.match(c)
	if c.Status == domain.StatusCancelled && how != byMarker {
		// A link to it would count as a system that still has the event.
		return Outcome{Effect: EffectUnknown, Reason: "cancelled before it was known here"}
	}
	if how == byCarrier {
		// It is left to the tool that brought it: what we took away would be brought again, or taken away in its source.
		return Outcome{Effect: EffectEcho, BookingID: id, Reason: "a copy of ours in another system, carried here beside the one we wrote"}
	}
	if how != byMarker && !w.in.From.Direction.Imports() {
		return Outcome{Effect: EffectUnknown, Reason: "this connection only writes; entries of others there are left alone"}
	}
	if why := w.filter.leavesOut(c); why != "" && how != byMarker {
		if id != "" {
			// The system has the event, so a copy of ours beside it would show the time as taken twice.
			l := w.link(c, id, false)
			l.How = how
			l.RemovedAt, l.Agreed.Filtered = &w.in.Now, true
			w.resend[id] = true
		}
		return Outcome{Effect: EffectFiltered, BookingID: id, Reason: "left out by the filter " + why}
	}
	if id == "" {
		if _, ok := w.in.Resources[w.in.From.ResourceID]; !ok {
			return Outcome{Effect: EffectRejected, Reason: "the integration's resource does not exist"}
		}
		b := domain.Booking{ID: newID[domain.BookingID](w), ResourceID: w.in.From.ResourceID, Category: c.Category,
			Status: c.Status, When: c.When, Details: c.Details, Private: c.Private, Free: c.Free, SourceID: w.in.From.ID}
		w.put(b)
		w.told[b.ID] = true
		w.link(c, b.ID, false)
		return Outcome{Effect: EffectCreated, BookingID: b.ID}
	}
	if how == byMarker {
		return w.adopt(c, id)
	}
	w.link(c, id, false).How = how
	// The system turns out to have the event as its own, so our copy beside it, written or only wished for, goes away.
	w.resend[id] = true
	return Outcome{Effect: EffectLinked, BookingID: id, Reason: "same event as one known from another system, by " + how}
}

// adopt takes a copy of ours over whose mapping row is not there.
func (w *world) adopt(c domain.Change, id domain.BookingID) Outcome {
	b := w.bookings[id]
	if w.hasCopyBeside(id, c) {
		// Made by a try whose answer was lost; one of them goes.
		w.resend[id] = true
	}
	l := w.link(c, id, true)
	l.How = byMarker
	if w.hasOwnLink(id) {
		// Another hand carried our copy to the system that has the event itself.
		w.resend[id] = true
		return Outcome{Effect: EffectEcho, BookingID: id, Reason: "a copy of ours beside the system's own entry"}
	}
	if c.Status != domain.StatusCancelled && b.Blocks() && minutes(b.When) == minutes(c.When) {
		return Outcome{Effect: EffectEcho, BookingID: id, Reason: "our own copy, found by its origin marker"}
	}
	if w.neverMoved(*b) && b.Blocks() && c.Status != domain.StatusCancelled && w.in.From.Direction.Imports() {
		// The booking never had another time, so this one is by a hand on the copy, before the answer to our write came.
		return w.takeTime(l, *b, c)
	}
	w.resend[id] = true
	return Outcome{Effect: EffectEcho, BookingID: id, Reason: "our own copy, found by its origin marker"}
}

func (w *world) link(c domain.Change, booking domain.BookingID, mirror bool) *domain.Link {
	l := w.addLink(domain.Link{ID: newID[domain.LinkID](w), OrgID: w.in.Org, IntegrationID: w.in.From.ID, BookingID: booking,
		ExternalID: c.ExternalID, UID: c.UID, Revision: c.Revision, Mirror: mirror, Hash: c.Hash(), RemoteVersion: c.RemoteVersion})
	agree(l, *w.bookings[booking], c, w.told[booking])
	w.newLinks[l] = true
	w.touchLink(l)
	return l
}

// update handles an entry whose mapping row exists.
func (w *world) update(l *domain.Link, c domain.Change) Outcome {
	hash := c.Hash()
	if w.older(l, c) {
		return w.stale(l, c, l.RemovedAt != nil || hash != l.Hash || c.Revision != l.Revision)
	}
	if why := w.filter.leavesOut(c); why != "" && !l.Mirror && c.Status != domain.StatusCancelled && w.in.From.Direction.Imports() {
		return w.withdraw(l, c, hash, why)
	}
	// A cancelled entry is a removed one, so the repeat of a cancellation finds its link gone.
	gone := l.RemovedAt != nil && !(c.Status == domain.StatusCancelled && !l.Mirror)
	if !gone && hash == l.Hash {
		if l.Revision != c.Revision || l.RemoteVersion != c.RemoteVersion {
			if w.outdated(l) {
				// An older revision of the same must not be taken for the newest: the next write would be refused, and the answer of
				// one that is under way taken for old news.
				return w.stalePage(l)
			}
			l.Revision, l.RemoteVersion = c.Revision, c.RemoteVersion
			w.touchLink(l)
		}
		effect := EffectUnchanged
		if l.Mirror {
			effect = EffectEcho
		}
		return Outcome{Effect: effect, BookingID: l.BookingID}
	}
	if w.outdated(l) {
		return w.stalePage(l)
	}
	b, ok := w.bookings[l.BookingID]
	if !ok {
		return Outcome{Effect: EffectRejected, Reason: "the booking of this link is not known"}
	}
	if !l.Mirror && !w.in.From.Direction.Imports() && c.Status != domain.StatusCancelled {
		return Outcome{Effect: EffectUnknown, BookingID: b.ID, Reason: "this connection only writes; entries of others there are left alone"}
	}
	returned := l.RemovedAt != nil
	l.RemovedAt, l.Hash, l.Revision, l.RemoteVersion, l.Agreed.Filtered = nil, hash, c.Revision, c.RemoteVersion, false
	if c.UID != "" {
		l.UID = c.UID
	}
	w.touchLink(l)
	switch {
	case !returned && wroteThis(l, c):
		return w.ownWrite(l, *b, c)
	case l.Mirror:
		// One that was taken for removed may have another beside it by now.
		w.resend[b.ID] = w.resend[b.ID] || returned
		return w.updateCopy(l, *b, c)
	case c.Status == domain.StatusCancelled:
		return w.goneThere(l, *b, c)
	}
	return w.updateOwn(l, *b, c, returned)
}

// withdraw handles an entry that the connection's filters leave out now: it counts as removed, but is remembered as
// being there.
func (w *world) withdraw(l *domain.Link, c domain.Change, hash, why string) Outcome {
	if l.RemovedAt != nil && l.Agreed.Filtered {
		if l.Hash != hash || l.Revision != c.Revision || l.RemoteVersion != c.RemoteVersion {
			l.Hash, l.Revision, l.RemoteVersion = hash, c.Revision, c.RemoteVersion
			w.touchLink(l)
		}
		return Outcome{Effect: EffectFiltered, BookingID: l.BookingID, Reason: "left out by the filter " + why}
	}
	if l.RemovedAt != nil && w.outdated(l) {
		return w.stalePage(l)
	}
	was := l.RemovedAt
	l.RemovedAt, l.Hash, l.Revision, l.RemoteVersion, l.Agreed.Filtered = &w.in.Now, hash, c.Revision, c.RemoteVersion, true
	w.touchLink(l)
	b, ok := w.bookings[l.BookingID]
	if ok && was == nil && wedding(*b) && !w.lives(b.ID, l) && w.mustAsk(*b) {
		return w.ask(l, *b, domain.Change{Op: domain.OpRemove, ExternalID: c.ExternalID, RemoteVersion: c.RemoteVersion})
	}
	w.unask(l)
	if ok && was == nil {
		w.cancel(*b, l)
		w.told[b.ID] = true
	}
	return Outcome{Effect: EffectRemoved, BookingID: l.BookingID, Reason: "left out by the filter " + why}
}

// remove handles a proved removal. A provider whose entries have parts (instances of a series) names them
// "entry#part"; removing the entry removes its parts.
func (w *world) remove(c domain.Change) Outcome {
	var gone, stale []*domain.Link
	for _, l := range w.links {
		if l.IntegrationID != w.in.From.ID || l.RemovedAt != nil && !l.Agreed.Filtered ||
			l.ExternalID != c.ExternalID && !strings.HasPrefix(l.ExternalID, c.ExternalID+"#") {
			continue
		}
		if w.older(l, c) {
			stale = append(stale, l)
			continue
		}
		if w.outdated(l) {
			return w.stalePage(l)
		}
		gone = append(gone, l)
	}
	if len(gone) == 0 && len(stale) > 0 {
		return w.stale(stale[0], c, true)
	}
	if len(gone) == 0 {
		return Outcome{Effect: EffectUnknown, Reason: "nothing known by this id"}
	}
	out := Outcome{Effect: EffectRemoved, BookingID: gone[0].BookingID}
	for _, l := range gone {
		filtered := l.Agreed.Filtered
		l.RemovedAt, l.Agreed.Filtered = &w.in.Now, false
		// Kept, so that an older version that arrives after the removal does not bring the entry back.
		l.RemoteVersion = max(l.RemoteVersion, c.RemoteVersion)
		w.touchLink(l)
		b, ok := w.bookings[l.BookingID]
		if !ok {
			continue
		}
		if l.Mirror || filtered {
			// A deleted copy of ours does not cancel the event, and busy time must not vanish from the calendar.
			w.unask(l)
			w.resend[b.ID] = true
			continue
		}
		if o := w.goneThere(l, *b, c); len(gone) == 1 {
			out = o
		}
	}
	return out
}

// settled is how long after the last word about an entry a system may still show an older state of it: some answer from copies of
// their data. What an entry says later than that, it says.
const settled = time.Minute

// readAt is when a change was read from the system, at the earliest; zero = it was posted.
func (w *world) readAt(c domain.Change) time.Time {
	if c.Asked && w.in.ReadAt.IsZero() {
		return w.in.Now // it was asked for by this very transaction
	}
	return w.in.ReadAt
}

// older reports whether the system's own order puts a change before what is known. It does not bind an entry that was asked for by
// itself when all else had settled, because orders are often times of a clock, which can step back.
func (w *world) older(l *domain.Link, c domain.Change) bool {
	return c.RemoteVersion > 0 && c.RemoteVersion < l.RemoteVersion &&
		(!c.Asked || w.changed[l] || w.readAt(c).Sub(l.UpdatedAt) < settled)
}

// stale leaves an older change alone. news says that it is something else than what is known.
func (w *world) stale(l *domain.Link, c domain.Change, news bool) Outcome {
	return Outcome{Effect: EffectStale, BookingID: l.BookingID, Reason: "an older version than the one applied",
		Doubt: news && !w.changed[l] && !w.readAt(c).IsZero()}
}

// outdated reports whether a link was changed after the page was asked for that the item comes from. What the page says
// of the entry may then be older than what is known.
func (w *world) outdated(l *domain.Link) bool {
	return !w.in.ReadAt.IsZero() && l.UpdatedAt.After(w.in.ReadAt) && !w.changed[l]
}

func (w *world) stalePage(l *domain.Link) Outcome {
	w.reread = true
	return Outcome{Effect: EffectStale, BookingID: l.BookingID, Reason: "the entry changed while the page was read, which must be read again"}
}

// lives reports whether another system still has the booking as an entry of its own.
func (w *world) lives(id domain.BookingID, except *domain.Link) bool {
	return slices.ContainsFunc(w.linksOf(id), func(l *domain.Link) bool { return l != except && !l.Mirror && l.RemovedAt == nil })
}

func (w *world) applyManual(want domain.Booking) Outcome {
	if _, ok := w.in.Resources[want.ResourceID]; !ok {
		return Outcome{Effect: EffectRejected, Reason: "resource_id: no such resource"}
	}
	if err := want.When.Validate("when"); err != nil {
		return Outcome{Effect: EffectRejected, Reason: err.Error()}
	}
	// The limits of what systems report hold for people too.
	as := domain.Change{Op: domain.OpUpsert, ExternalID: "manual", Category: want.Category, Status: want.Status, When: want.When, Details: want.Details}
	if err := as.Validate(); err != nil {
		return Outcome{Effect: EffectRejected, Reason: err.Error()}
	}
	b, known := w.bookings[want.ID]
	if known && b.MergedInto != "" {
		return Outcome{Effect: EffectRejected, Reason: "id: the booking was linked with booking " + string(b.MergedInto) + ", which stands for it"}
	}
	if known {
		// Where a booking came from is not a matter of wishes.
		want.SourceID, want.BesideID = b.SourceID, b.BesideID
	}
	if known && same(*b, want) {
		return Outcome{Effect: EffectUnchanged, BookingID: b.ID}
	}
	w.put(want)
	w.byPerson[want.ID] = true
	if known {
		return Outcome{Effect: EffectUpdated, BookingID: want.ID}
	}
	return Outcome{Effect: EffectCreated, BookingID: want.ID}
}

// same reports whether two states of a booking mean the same.
func same(a, b domain.Booking) bool {
	return a.ResourceID == b.ResourceID && a.Category == b.Category && a.Status == b.Status && a.When.Equal(b.When) &&
		a.Details == b.Details && a.Private == b.Private && a.Free == b.Free && a.HeldUntil.Equal(b.HeldUntil)
}
