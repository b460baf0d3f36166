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
	for _, o := range w.outcomes {
		if o.BookingID != "" && w.resend[o.BookingID] && !wanted[o.BookingID] {
			wanted[o.BookingID] = true
			order = append(order, o.BookingID)
		}
	}
	for _, l := range w.links {
		if w.resend[l.BookingID] && !wanted[l.BookingID] {
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
				w.pushes = append(w.pushes, domain.Push{ID: domain.NewID[domain.PushID](w.in.Now), OrgID: w.in.Org,
					IntegrationID: target.ID, BookingID: id, Op: op, WantVersion: b.Version, State: domain.PushPending,
					CreatedAt: w.in.Now, UpdatedAt: w.in.Now})
			}
		}
	}
}

// wish decides what one system should hold of one booking.
func (w *world) wish(b domain.Booking, target domain.Integration) (domain.PushOp, bool) {
	var own, mirror *domain.Link
	for _, l := range w.linksOf(b.ID) {
		if l.IntegrationID != target.ID || l.RemovedAt != nil {
			continue
		}
		if l.Mirror {
			mirror = l
		} else {
			own = l
		}
	}
	from := target.ID == w.in.From.ID
	switch {
	case own != nil:
		// The system has the event as an entry of its own. What a person decided here is written to it; what another
		// system says is not, because both keep their own entries and may already talk to each other.
		if w.byPerson[b.ID] && !from {
			return domain.PushPut, true
		}
		// Our copy beside the system's own entry would show the time as taken twice.
		return domain.PushRemove, mirror != nil || from && w.resend[b.ID]
	case from && w.told[b.ID] && !w.resend[b.ID]:
		return "", false
	case b.Blocks() && b.ResourceID == target.ResourceID:
		return domain.PushPut, true
	case mirror != nil:
		return domain.PushRemove, true
	}
	return "", false
}
