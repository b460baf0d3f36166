package apply

import (
	"context"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/conflict"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

// ClashOf looks whether the bookings of a conflict still clash as things stand now, and how. What is over does not clash
// any more. For an answer that a change rests on, the conflict's resource must be locked.
func ClashOf(ctx context.Context, tx *store.Tx, c domain.Conflict) (found conflict.Found, still bool, err error) {
	ids := []domain.BookingID{c.BookingID}
	if c.OtherID != "" {
		ids = append(ids, c.OtherID)
	}
	bookings, err := tx.BookingsByID(ctx, ids)
	if err != nil {
		return found, false, err
	}
	for _, id := range ids {
		// Of a crowd the other one named is an example; the rest may still be too many.
		b, ok := bookings[id]
		if example := c.Kind == domain.ConflictCapacity && id == c.OtherID; !example && (!ok || !b.Blocks() || b.ResourceID != c.ResourceID && c.Kind != domain.ConflictTimeline) {
			return found, false, nil
		}
	}
	if c.Kind == domain.ConflictTimeline {
		// It is the timeline that tells when it is mended.
		b := bookings[c.BookingID]
		return conflict.Found{Kind: c.Kind, Severity: c.Severity, BookingID: c.BookingID, Overlap: c.Overlap, Explanation: c.Explanation}, b.When.End.After(tx.Now), nil
	}
	resource, err := tx.Resource(ctx, c.ResourceID)
	if err != nil {
		return found, false, err
	}
	loc, err := calendartime.LoadZone(resource.Zone)
	if err != nil {
		return found, false, err
	}
	b := bookings[c.BookingID]
	event := conflict.EventOf(b.When, loc)
	subject := conflict.Candidate{BookingID: b.ID, Category: b.Category, Status: b.Status, Event: event, Busy: conflict.Busy(resource, event, b.Category),
		CreatedAt: b.CreatedAt}
	near, err := tx.AllocationsNear(ctx, []store.Near{{Resource: c.ResourceID, Span: reconcile.Reach(subject.Busy)}})
	if err != nil {
		return found, false, err
	}
	var neighbours []conflict.Candidate
	for _, a := range near {
		if a.BookingID == b.ID {
			subject.Place = a.Place
			continue
		}
		neighbours = append(neighbours, candidate(a))
	}
	for _, f := range conflict.Detect(tx.Now, resource, loc, subject, neighbours) {
		if reconcile.PairKey(f.BookingID, f.OtherID) == reconcile.PairKey(c.BookingID, c.OtherID) ||
			c.Kind == domain.ConflictCapacity && f.Kind == domain.ConflictCapacity {
			return f, true, nil
		}
	}
	return found, false, nil
}
