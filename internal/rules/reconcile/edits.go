package reconcile

import (
	"slices"

	"github.com/wedsync/wedsync/internal/domain"
)

// ownWrite takes over an entry that shows what we wrote before the answer is known. What was written is the common state.
func (w *world) ownWrite(l *domain.Link, b domain.Booking, c domain.Change) Outcome {
	if minutes(c.When) == minutes(b.When) {
		noted := l.Agreed.Writing
		agree(l, b, c, false)
		l.Agreed.Writing = noted
	} else {
		l.Agreed.Shape, l.Agreed.Since = times(c.When)+" "+string(b.Status), 0
		l.Agreed.There, l.Agreed.ThereTexts = thereOf(c, l.Mirror), textsOfEntry(c)
	}
	return Outcome{Effect: EffectEcho, BookingID: b.ID, Reason: "our own write, seen before its answer"}
}

// updateOwn handles news of an entry that is the system's own. Time with status and texts are told apart: when only one of
// them was edited there, the other stays as it is here.
func (w *world) updateOwn(l *domain.Link, b domain.Booking, c domain.Change, returned bool) Outcome {
	known := !returned && l.Agreed.There != ""
	moved := !known || l.Agreed.There != thereOf(c, false)
	reworded := w.owns(b) && (!known || l.Agreed.ThereTexts != textsOfEntry(c))
	next := w.taking(b, c, moved, reworded)
	if wedding(b) && !wedding(next) && next.Status != domain.StatusCancelled && w.mustAsk(b) {
		return w.ask(l, b, c)
	}
	if known && !same(b, next) && (moved && editedHere(l, b) && shapeOf(b) != shapeOf(next) ||
		reworded && rewordedHere(l, b) && textsOfBooking(b) != textsOfBooking(next)) {
		switch w.judge(l, b, c) {
		case askThem:
			return w.ask(l, b, c)
		case bothStay:
			return w.keepBoth(l, b, c)
		case weWin:
			w.unask(l)
			return w.overrule(l, b, c)
		case theyWin:
		}
	}
	w.unask(l)
	if same(b, next) {
		if known && (moved || reworded) {
			// Both sides were edited to the same.
			agree(l, b, c, false)
		} else if known {
			l.Agreed.There, l.Agreed.ThereTexts, l.Agreed.Modified = thereOf(c, false), textsOfEntry(c), changedAt(c)
		} else {
			agree(l, b, c, false)
		}
		if returned {
			return Outcome{Effect: EffectLinked, BookingID: b.ID, Reason: "the entry is back"}
		}
		return Outcome{Effect: EffectUnchanged, BookingID: b.ID}
	}
	w.put(next)
	w.told[b.ID] = true
	agree(l, *w.bookings[b.ID], c, true)
	return Outcome{Effect: EffectUpdated, BookingID: b.ID}
}

// wedding reports whether a booking is one that takes time, which is what a freeze follows from.
func wedding(b domain.Booking) bool { return b.Category == domain.CategoryWedding && b.Blocks() }

// mustAsk reports whether a person decides about a booking, whoever changed it. The caller of Decide says so in Input.Ask,
// after a plan that names the booking as judged.
func (w *world) mustAsk(b domain.Booking) bool {
	if !w.in.Ask[b.ID] && !slices.Contains(w.judged, b.ID) {
		w.judged = append(w.judged, b.ID)
	}
	return w.in.Ask[b.ID]
}

// owns reports whether the From system decides about a booking's texts.
func (w *world) owns(b domain.Booking) bool {
	return b.SourceID == w.in.From.ID || b.SourceID == ""
}

// taking is the booking with an entry's time and texts.
func (w *world) taking(b domain.Booking, c domain.Change, time, texts bool) domain.Booking {
	if time {
		b.When, b.Status = c.When, c.Status
	}
	if texts {
		b.Category, b.Private, b.Free, b.Details = c.Category, c.Private, c.Free, c.Details
	}
	return b
}

// updateCopy handles news of a copy of ours. The time is meant, the reduced texts of the copy are not.
func (w *world) updateCopy(l *domain.Link, b domain.Booking, c domain.Change) Outcome {
	switch {
	case b.MergedInto != "":
		w.resend[b.ID] = true
		return Outcome{Effect: EffectEcho, BookingID: b.ID, Reason: "a copy of a booking that was linked with another, which goes away"}
	case !w.in.From.Direction.Imports():
		// Only we write there, so a hand on our copy is undone.
		w.resend[b.ID] = true
		return Outcome{Effect: EffectEcho, BookingID: b.ID, Reason: "our copy was altered there and is restored"}
	case c.Status == domain.StatusCancelled:
		w.unask(l)
		w.resend[b.ID] = true
		return Outcome{Effect: EffectEcho, BookingID: b.ID, Reason: "our copy was cancelled there and is restored"}
	case l.Agreed.There == thereOf(c, true):
		w.unask(l)
		return Outcome{Effect: EffectEcho, BookingID: b.ID, Reason: "our copy was reworded there; its time stands"}
	case times(b.When) == times(c.When) && b.Status != domain.StatusCancelled:
		w.unask(l)
		agree(l, b, c, false)
		return Outcome{Effect: EffectEcho, BookingID: b.ID, Reason: "our copy shows the booking's time"}
	case editedHere(l, b):
		switch w.judge(l, b, c) {
		case askThem:
			return w.ask(l, b, c)
		case bothStay:
			return w.keepBoth(l, b, c)
		case weWin:
			w.unask(l)
			return w.overrule(l, b, c)
		case theyWin:
		}
	}
	w.unask(l)
	return w.takeTime(l, b, c)
}

// takeTime gives the booking the time to which its copy was moved by hand.
func (w *world) takeTime(l *domain.Link, b domain.Booking, c domain.Change) Outcome {
	next := b
	next.When = c.When
	if b.Status == domain.StatusCancelled {
		next.Status = domain.StatusConfirmed
	}
	w.put(next)
	w.told[b.ID], w.byHand[b.ID] = true, true
	agree(l, *w.bookings[b.ID], c, true)
	if l.WrittenVersion == b.Version {
		l.WrittenVersion = w.bookings[b.ID].Version
	} else {
		// What was to be written there since, such as other texts, is not there yet.
		w.resend[b.ID] = true
	}
	return Outcome{Effect: EffectUpdated, BookingID: b.ID}
}

// take gives the booking what an entry says, whoever else changed it.
func (w *world) take(l *domain.Link, b domain.Booking, c domain.Change) {
	if l.Mirror {
		w.takeTime(l, b, c)
		return
	}
	w.put(w.taking(b, c, true, w.owns(b)))
	w.told[b.ID] = true
	agree(l, *w.bookings[b.ID], c, true)
}

// overrule lets the booking stand against an entry, which is written over where that is allowed.
func (w *world) overrule(l *domain.Link, b domain.Booking, c domain.Change) Outcome {
	agree(l, b, c, false)
	if l.Mirror || l.RemovedAt != nil {
		w.resend[b.ID] = true
	} else {
		w.restore[b.ID] = true
	}
	return Outcome{Effect: EffectEcho, BookingID: b.ID, Reason: "changed here and there since both agreed: the state here stands"}
}

// keepBoth makes the version that would be lost a booking of its own.
func (w *world) keepBoth(l *domain.Link, b domain.Booking, c domain.Change) Outcome {
	other := b
	other.ID, other.BesideID, other.SourceID, other.CreatedAt = newID[domain.BookingID](w), b.ID, "", w.in.Now
	w.unask(l)
	if l.Mirror {
		// The copy becomes again what it was a copy of, and what was made of it gets a copy of its own.
		other.When, other.Status = c.When, domain.StatusConfirmed
		w.overrule(l, b, c)
	} else {
		w.take(l, b, c)
	}
	if other.Blocks() {
		w.put(other)
		w.byPerson[other.ID] = true
		return Outcome{Effect: EffectUpdated, BookingID: b.ID, Reason: "changed here and there since both agreed: both versions are kept"}
	}
	return Outcome{Effect: EffectUpdated, BookingID: b.ID}
}

// goneThere handles an entry of the system's own that is no longer there; its link is still as it was but for RemovedAt.
func (w *world) goneThere(l *domain.Link, b domain.Booking, c domain.Change) Outcome {
	out := Outcome{Effect: EffectRemoved, BookingID: b.ID}
	if c.Status == domain.StatusCancelled {
		out.Effect = EffectUpdated
	}
	l.RemovedAt = &w.in.Now
	from := w.in.From.Direction
	switch {
	case !from.Imports():
		// What happens there is not our guide; the time must show there.
		w.unask(l)
		w.resend[b.ID] = true
		return out
	case b.Status == domain.StatusCancelled || w.lives(b.ID, l):
	case from.Exports() && (editedHere(l, b) || w.owns(b) && rewordedHere(l, b)):
		// A system that is never written to could not have known of the edit, and its word counts.
		switch w.judge(l, b, c) {
		case askThem:
			return w.ask(l, b, c)
		case weWin, bothStay:
			w.unask(l)
			w.overrule(l, b, c)
			out.Reason = "removed there while it was changed here: the change stands"
			return out
		case theyWin:
		}
	}
	w.unask(l)
	if c.Status == domain.StatusCancelled && (b.Status == domain.StatusCancelled || w.lives(b.ID, l)) {
		out.Effect = EffectUnchanged
	}
	w.cancel(b, l)
	return out
}

// cancel ends a booking unless another system still has it as an entry of its own.
func (w *world) cancel(b domain.Booking, except *domain.Link) {
	if b.Status == domain.StatusCancelled || w.lives(b.ID, except) {
		return
	}
	b.Status = domain.StatusCancelled
	w.put(b)
	w.told[b.ID] = true
}
