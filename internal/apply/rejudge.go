package apply

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/place"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

// rejudgeBatch is how many bookings are looked at anew in one decision.
const rejudgeBatch = 200

// forever is behind every booking.
const forever = 200 * 366 * day

// RejudgeResource looks at the coming bookings of a resource anew, after its rules changed: buffers, capacity, hours, travel,
// days without clients. Their versions stay; conflicts open, change and clear as with any change. It runs in the caller's
// transaction, so rules and conflicts agree at every moment.
func RejudgeResource(ctx context.Context, tx *store.Tx, id domain.ResourceID, why string) (Result, error) {
	if err := tx.LockResources(ctx, []domain.ResourceID{id}); err != nil {
		return Result{}, err
	}
	coming, err := tx.AllocationsNear(ctx, []store.Near{{Resource: id, Span: domain.Span{Start: tx.Now, End: tx.Now.Add(forever)}}})
	if err != nil {
		return Result{}, err
	}
	slices.SortFunc(coming, func(a, b store.BusyAllocation) int {
		if n := a.BookedAt.Compare(b.BookedAt); n != 0 {
			return n // who was first keeps a place where places are short
		}
		return strings.Compare(string(a.BookingID), string(b.BookingID))
	})
	ids := make([]domain.BookingID, len(coming))
	for i, a := range coming {
		ids[i] = a.BookingID
	}
	return rejudge(ctx, tx, ids, why)
}

// RejudgePlaces looks at the coming bookings anew that are at another place now than by the venues before. The caller holds
// LockVenues and has changed them already.
func RejudgePlaces(ctx context.Context, tx *store.Tx, before []domain.Venue, why string) (Result, error) {
	venues, err := tx.Venues(ctx)
	if err != nil {
		return Result{}, err
	}
	was, is := place.Learn(before), place.Learn(venues)
	var (
		ids       []domain.BookingID
		resources []domain.ResourceID
	)
	const page = 1000
	for after := domain.BookingID(""); ; {
		list, err := tx.ComingBookings(ctx, after, page)
		if err != nil {
			return Result{}, err
		}
		for _, b := range list {
			if was.Find(b.Details.Location) != is.Find(b.Details.Location) {
				ids, resources = append(ids, b.ID), append(resources, b.ResourceID)
			}
		}
		if len(list) < page {
			break
		}
		after = list[len(list)-1].ID
	}
	// All at once and in order, as everybody takes these locks.
	if err := tx.LockResources(ctx, resources); err != nil {
		return Result{}, err
	}
	return rejudge(ctx, tx, ids, why)
}

func rejudge(ctx context.Context, tx *store.Tx, ids []domain.BookingID, why string) (Result, error) {
	var all Result
	for batch := range slices.Chunk(ids, rejudgeBatch) {
		items := make([]reconcile.Item, len(batch))
		for i, id := range batch {
			items[i].Rejudge = id
		}
		r, err := run(ctx, tx, domain.Integration{}, items, time.Time{}, actor{name: "system:detection", reason: why})
		if err != nil {
			return all, err
		}
		all.Opened, all.Cleared = append(all.Opened, r.Opened...), append(all.Cleared, r.Cleared...)
		all.conflicts, all.Clashes = append(all.conflicts, r.conflicts...), append(all.Clashes, r.Clashes...)
	}
	return all, nil
}
