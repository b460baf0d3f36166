package reconcile

import (
	"slices"
	"strings"

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
	if how != byMarker && !w.in.From.Direction.Imports() {
		return Outcome{Effect: EffectUnknown, Reason: "this connection only writes; entries of others there are left alone"}
	}
	if id == "" {
		if _, ok := w.in.Resources[w.in.From.ResourceID]; !ok {
			return Outcome{Effect: EffectRejected, Reason: "the integration's resource does not exist"}
		}
		b := domain.Booking{ID: domain.NewID[domain.BookingID](w.in.Now), ResourceID: w.in.From.ResourceID, Category: c.Category,
			Status: c.Status, When: c.When, Details: c.Details, Private: c.Private, Free: c.Free, SourceID: w.in.From.ID}
		w.put(b)
		w.told[b.ID] = true
		w.link(c, b.ID, false)
		return Outcome{Effect: EffectCreated, BookingID: b.ID}
	}
	mirror := how == byMarker
	w.link(c, id, mirror)
	if b := w.bookings[id]; mirror && (!b.Blocks() || !(b.When.Start.Equal(c.When.Start) && b.When.End.Equal(c.When.End))) {
		w.resend[id] = true
	}
	if mirror {
		return Outcome{Effect: EffectEcho, BookingID: id, Reason: "our own copy, found by its origin marker"}
	}
	// The system turns out to have the event as its own, so our copy beside it, written or only wished for, goes away.
	w.resend[id] = true
	return Outcome{Effect: EffectLinked, BookingID: id, Reason: "same event as one known from another system, by " + how}
}

func (w *world) link(c domain.Change, booking domain.BookingID, mirror bool) {
	l := w.addLink(domain.Link{ID: domain.NewID[domain.LinkID](w.in.Now), OrgID: w.in.Org, IntegrationID: w.in.From.ID, BookingID: booking,
		ExternalID: c.ExternalID, UID: c.UID, Revision: c.Revision, Mirror: mirror, Hash: c.Hash(), RemoteVersion: c.RemoteVersion})
	w.newLinks[l] = true
	w.touchLink(l)
}

// update handles an entry whose mapping row exists.
func (w *world) update(l *domain.Link, c domain.Change) Outcome {
	hash := c.Hash()
	if c.RemoteVersion > 0 && l.RemoteVersion > 0 && c.RemoteVersion < l.RemoteVersion {
		return Outcome{Effect: EffectStale, BookingID: l.BookingID, Reason: "an older version than the one applied"}
	}
	// A cancelled entry is a removed one, so the repeat of a cancellation finds its link gone.
	gone := l.RemovedAt != nil && !(c.Status == domain.StatusCancelled && !l.Mirror)
	if !gone && hash == l.Hash {
		if l.Revision != c.Revision || l.RemoteVersion != c.RemoteVersion {
			l.Revision, l.RemoteVersion = c.Revision, c.RemoteVersion
			w.touchLink(l)
		}
		effect := EffectUnchanged
		if l.Mirror {
			effect = EffectEcho
		}
		return Outcome{Effect: effect, BookingID: l.BookingID}
	}
	b, ok := w.bookings[l.BookingID]
	if !ok {
		return Outcome{Effect: EffectRejected, Reason: "the booking of this link is not known"}
	}
	returned := l.RemovedAt != nil
	l.RemovedAt, l.Hash, l.Revision, l.RemoteVersion = nil, hash, c.Revision, c.RemoteVersion
	if c.UID != "" {
		l.UID = c.UID
	}
	w.touchLink(l)

	next := *b
	switch {
	case l.Mirror && !w.in.From.Direction.Imports():
		// Only we write there, so a hand on our copy is undone.
		w.resend[b.ID] = true
		return Outcome{Effect: EffectEcho, BookingID: b.ID, Reason: "our copy was altered there and is restored"}
	case l.Mirror:
		// The person moved our copy in their calendar: the time is meant, the reduced texts of the copy are not.
		if c.Status != domain.StatusCancelled {
			next.When = c.When
		} else {
			w.resend[b.ID] = true
		}
	default:
		owner := next.SourceID == w.in.From.ID || next.SourceID == ""
		if c.Status == domain.StatusCancelled {
			if !w.lives(b.ID, l) {
				next.Status = domain.StatusCancelled
			}
			l.RemovedAt, returned = &w.in.Now, false
		} else {
			next.When, next.Status = c.When, c.Status
		}
		if owner && c.Status != domain.StatusCancelled {
			next.Category, next.Private, next.Free, next.Details = c.Category, c.Private, c.Free, c.Details
		}
	}
	if same(*b, next) {
		if returned {
			return Outcome{Effect: EffectLinked, BookingID: b.ID, Reason: "the entry is back"}
		}
		return Outcome{Effect: EffectUnchanged, BookingID: b.ID}
	}
	w.put(next)
	w.told[b.ID] = true
	return Outcome{Effect: EffectUpdated, BookingID: b.ID}
}

// remove handles a proved removal. A provider whose entries have parts (instances of a series) names them
// "entry#part"; removing the entry removes its parts.
func (w *world) remove(c domain.Change) Outcome {
	var gone []*domain.Link
	stale := domain.BookingID("")
	for _, l := range w.links {
		if l.IntegrationID != w.in.From.ID || l.RemovedAt != nil ||
			l.ExternalID != c.ExternalID && !strings.HasPrefix(l.ExternalID, c.ExternalID+"#") {
			continue
		}
		if c.RemoteVersion > 0 && c.RemoteVersion < l.RemoteVersion {
			stale = l.BookingID
			continue
		}
		gone = append(gone, l)
	}
	if len(gone) == 0 && stale != "" {
		return Outcome{Effect: EffectStale, BookingID: stale, Reason: "an older version than the one applied"}
	}
	if len(gone) == 0 {
		return Outcome{Effect: EffectUnknown, Reason: "nothing known by this id"}
	}
	out := Outcome{Effect: EffectRemoved, BookingID: gone[0].BookingID}
	for _, l := range gone {
		l.RemovedAt = &w.in.Now
		// Kept, so that an older version that arrives after the removal does not bring the entry back.
		l.RemoteVersion = max(l.RemoteVersion, c.RemoteVersion)
		w.touchLink(l)
		b, ok := w.bookings[l.BookingID]
		if !ok {
			continue
		}
		if l.Mirror {
			// A deleted copy of ours does not cancel the event, and busy time must not vanish from the calendar.
			w.resend[b.ID] = true
			continue
		}
		if b.Status != domain.StatusCancelled && !w.lives(b.ID, l) {
			next := *b
			next.Status = domain.StatusCancelled
			w.put(next)
			w.told[b.ID] = true
		}
	}
	return out
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
		a.Details == b.Details && a.Private == b.Private && a.Free == b.Free
}
