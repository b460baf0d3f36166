package apply

import (
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
)

// history says of every booking that a plan writes what caused it. Where several changes of a batch made one version of
// a booking, the last of them is named.
func history(in reconcile.Input, plan reconcile.Plan, who actor) []domain.BookingChange {
	if len(plan.Bookings) == 0 {
		return nil
	}
	last := map[domain.BookingID]int{}
	entries := map[string]int{}
	for n, o := range plan.Outcomes {
		if o.BookingID != "" && o.Effect.Changes() {
			last[o.BookingID] = n
		}
		if c := in.Items[n].Change; c != nil {
			entries[c.ExternalID] = n
		}
	}
	// The removal of an entry names one of its bookings; those of its parts are found by their links.
	for _, l := range plan.Links {
		if _, known := last[l.BookingID]; known || l.IntegrationID != in.From.ID {
			continue
		}
		entry, _, _ := strings.Cut(l.ExternalID, "#")
		if n, ok := entries[entry]; ok {
			last[l.BookingID] = n
		}
	}
	out := make([]domain.BookingChange, 0, len(plan.Bookings))
	for _, w := range plan.Bookings {
		n, known := last[w.Booking.ID]
		out = append(out, domain.BookingChange{BookingID: w.Booking.ID, Version: w.Booking.Version, At: in.Now, Cause: who.cause(in, n, known),
			Fields: domain.ChangedFields(w.Was, w.Booking)})
	}
	return out
}

func (a actor) cause(in reconcile.Input, item int, known bool) domain.Cause {
	switch {
	case len(a.causes) == 1:
		return a.causes[0]
	case known && item < len(a.causes):
		return a.causes[item]
	case in.From.ID != "":
		return domain.Cause{Kind: domain.CauseIntegration, ID: string(in.From.ID)}
	}
	if part, ok := strings.CutPrefix(a.name, "system:"); ok {
		return domain.Cause{Kind: domain.CauseSystem, ID: part}
	}
	return domain.Cause{Kind: domain.CausePerson, ID: a.name}
}
