package reconcile

import "github.com/wedsync/wedsync/internal/domain"

// Settle is a person's answer to an edit conflict.
type Settle struct {
	Edit   domain.EditConflict
	Choice domain.EditChoice
}

// ask opens an edit conflict about an entry, or brings the open one up to date. The link's common state stays as it was.
func (w *world) ask(l *domain.Link, b domain.Booking, c domain.Change) Outcome {
	kind := domain.EditBothChanged
	if c.Op == domain.OpRemove || c.Status == domain.StatusCancelled {
		kind = domain.EditRemoved
	}
	if l.Agreed.Asked == "" {
		l.Agreed.Asked = newID[domain.EditConflictID](w)
	}
	w.putEdit(domain.EditConflict{ID: l.Agreed.Asked, OrgID: w.in.Org, IntegrationID: l.IntegrationID, BookingID: b.ID, ExternalID: l.ExternalID,
		Kind: kind, State: domain.EditOpen, ThereIsSource: w.thereIsSource(l, b), There: c, BookingAt: b.Version, DetectedAt: w.in.Now, UpdatedAt: w.in.Now, Version: 1})
	reason := "changed here and there since both agreed: a person decides"
	if w.in.Ask[b.ID] {
		reason = "a wedding is near or on, so a person decides"
	}
	return Outcome{Effect: EffectAsked, BookingID: b.ID, Reason: reason}
}

// unask closes the question about an entry that needs no answer any more.
func (w *world) unask(l *domain.Link) {
	if l.Agreed.Asked == "" {
		return
	}
	w.putEdit(domain.EditConflict{ID: l.Agreed.Asked, OrgID: w.in.Org, IntegrationID: l.IntegrationID, BookingID: l.BookingID, ExternalID: l.ExternalID,
		State: domain.EditCleared, Reason: "both sides agree again", UpdatedAt: w.in.Now, ClosedAt: &w.in.Now})
	l.Agreed.Asked = ""
	w.touchLink(l)
	w.resend[l.BookingID] = true
}

// putEdit keeps one row per question.
func (w *world) putEdit(e domain.EditConflict) {
	for i, had := range w.edits {
		if had.ID == e.ID {
			if e.State != domain.EditOpen && had.State == domain.EditOpen && had.Version == 1 && e.There.Op == "" {
				e.Kind, e.There, e.ThereIsSource, e.BookingAt, e.DetectedAt = had.Kind, had.There, had.ThereIsSource, had.BookingAt, had.DetectedAt
			}
			w.edits[i] = e
			return
		}
	}
	w.edits = append(w.edits, e)
}

// applySettle carries a person's answer out.
func (w *world) applySettle(s Settle) Outcome {
	l := w.byExternal[s.Edit.ExternalID]
	if l == nil || l.Agreed.Asked != s.Edit.ID {
		return Outcome{Effect: EffectRejected, Reason: "the question is closed already"}
	}
	b, ok := w.bookings[l.BookingID]
	if !ok {
		return Outcome{Effect: EffectRejected, Reason: "the booking of this link is not known"}
	}
	there := s.Edit.There
	gone := there.Op == domain.OpRemove || there.Status == domain.StatusCancelled
	l.Agreed.Asked = ""
	w.touchLink(l)
	switch {
	case s.Choice == domain.ChooseBoth && !gone:
		w.keepBoth(l, *b, there)
	case s.Choice == domain.ChooseBoth || (s.Choice == domain.ChooseSource) != s.Edit.ThereIsSource:
		w.overrule(l, *b, there)
	case gone:
		next := *b
		next.Status = domain.StatusCancelled
		w.put(next)
	default:
		w.take(l, *b, there)
	}
	w.byPerson[b.ID] = true
	return Outcome{Effect: EffectUpdated, BookingID: b.ID}
}
