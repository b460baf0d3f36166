package reconcile

import (
	"slices"

	"github.com/wedsync/wedsync/internal/domain"
)

// wantPushes says which systems must be told about the touched bookings.
func (w *world) wantPushes() {
	changed, wanted := map[domain.BookingID]bool{}, map[domain.BookingID]bool{}
	order := slices.Clone(w.touched)
	for _, id := range order {
		changed[id], wanted[id] = true, true
	}
	for _, l := range w.links {
		if (w.resend[l.BookingID] || w.restore[l.BookingID]) && !wanted[l.BookingID] {
			wanted[l.BookingID] = true
			order = append(order, l.BookingID)
		}
	}
	for _, id := range order {
		b, ok := w.bookings[id]
		if !ok {
			continue
		}
		for _, target := range w.in.Exports {
			if !changed[id] && target.ID != w.in.From.ID {
				continue
			}
			if op, ok := w.wish(*b, target); ok {
				w.pushes = append(w.pushes, domain.Push{ID: newID[domain.PushID](w), OrgID: w.in.Org,
					IntegrationID: target.ID, BookingID: id, Op: op, WantVersion: b.Version, State: domain.PushPending,
					CreatedAt: w.in.Now, UpdatedAt: w.in.Now})
			}
		}
	}
}

// wish decides what one system should hold of one booking.
func (w *world) wish(b domain.Booking, target domain.Integration) (domain.PushOp, bool) {
	var links []domain.Link
	gained := false
	for _, l := range w.linksOf(b.ID) {
		links = append(links, *l)
		gained = gained || l.IntegrationID == target.ID && w.gained[l]
	}
	s := StandingOf(links, target.ID)
	from := target.ID == w.in.From.ID
	switch {
	case s.Asked:
		return "", false
	case s.Own != nil:
		// The system has the event as an entry of its own. What a person decided here, or by a hand on a copy of ours, is
		// written to it; what another system says is not, because both keep their own entries and may already talk to
		// each other.
		if !from && (w.byPerson[b.ID] || w.byHand[b.ID]) || from && w.restore[b.ID] {
			return domain.PushPut, true
		}
		// Our copy beside the system's own entry would show the time as taken twice.
		return domain.PushRemove, s.Mirror != nil || gained || from && w.resend[b.ID]
	case s.Filtered:
		return domain.PushRemove, s.Mirror != nil || from && w.resend[b.ID]
	case from && w.told[b.ID] && !w.resend[b.ID]:
		return "", false
	case Shown(b, target):
		return domain.PushPut, true
	case s.Mirror != nil || w.wasShown(b.ID, target):
		// Also without a known copy: one may be on its way there now.
		return domain.PushRemove, true
	}
	return "", false
}

func (w *world) wasShown(id domain.BookingID, target domain.Integration) bool {
	was := w.before[id]
	return was != nil && Shown(*was, target)
}
