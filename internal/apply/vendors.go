package apply

import (
	"context"
	"slices"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/conflict"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

// VendorClash is what one vendor cannot keep of a wedding's timeline.
type VendorClash struct {
	ResourceID  domain.ResourceID
	Overlap     domain.Span // of the earliest pair of items
	Short       bool        // nothing asks for the vendor in two places at once; only time is short
	Explanation string      // in words, without personal data
	Mark        string      // is the same while the same pairs clash: what a person accepted is not reported again
}

// TimelineConflicts brings the conflicts of a wedding's timeline to what clashes is now: one for each vendor. A wedding that is
// cancelled or over has none. The caller holds the timeline's lock.
func TimelineConflicts(ctx context.Context, tx *store.Tx, wedding domain.Booking, clashes []VendorClash) error {
	known, err := tx.ConflictsAmong(ctx, []domain.BookingID{wedding.ID})
	if err != nil {
		return err
	}
	loc, err := calendartime.LoadZone(wedding.When.Zone)
	if err != nil {
		return err
	}
	if wedding.Status == domain.StatusCancelled || !wedding.When.End.After(tx.Now) {
		clashes = nil
	}
	var plan reconcile.Plan
	open := slices.DeleteFunc(known.Open, func(c domain.Conflict) bool { return c.Kind != domain.ConflictTimeline || c.BookingID != wedding.ID })
	marks := map[domain.ConflictID]string{}
	who := conflict.Candidate{BookingID: wedding.ID, Category: wedding.Category, Status: wedding.Status, Event: wedding.When.Span}
	for _, v := range clashes {
		severity := conflict.OfTimeline(tx.Now, who, v.Short)
		at := slices.IndexFunc(open, func(c domain.Conflict) bool { return c.ResourceID == v.ResourceID })
		if at < 0 {
			if known.Dismissed[timelinePair(wedding.ID, v.ResourceID)] == v.Mark {
				continue
			}
			c := domain.Conflict{ID: domain.NewID[domain.ConflictID](tx.Now), OrgID: tx.Org, Kind: domain.ConflictTimeline, Severity: severity,
				State: domain.ConflictOpen, ResourceID: v.ResourceID, BookingID: wedding.ID, Overlap: v.Overlap, Explanation: v.Explanation,
				DetectedAt: tx.Now, UpdatedAt: tx.Now, Version: 1}
			plan.Opened, marks[c.ID] = append(plan.Opened, c), v.Mark
			continue
		}
		c := open[at]
		open = slices.Delete(open, at, at+1)
		if c.Explanation == v.Explanation && c.Severity == severity && c.Overlap.Start.Equal(v.Overlap.Start) && c.Overlap.End.Equal(v.Overlap.End) {
			continue
		}
		c.Explanation, c.Severity, c.Overlap, c.UpdatedAt = v.Explanation, severity, v.Overlap, tx.Now
		c.Version++
		plan.Updated, marks[c.ID] = append(plan.Updated, c), v.Mark
	}
	for _, c := range open {
		c.State, c.UpdatedAt, c.ClosedAt = domain.ConflictCleared, tx.Now, &tx.Now
		c.Version++
		plan.Cleared = append(plan.Cleared, c)
	}
	var e store.Effects
	for _, list := range [][]domain.Conflict{plan.Cleared, plan.Updated, plan.Opened} {
		for _, c := range list {
			if c.State == domain.ConflictOpen || c.State == domain.ConflictCleared {
				plan.Rechecks = append(plan.Rechecks, reconcile.Recheck{ConflictID: c.ID, BookingID: wedding.ID})
			}
			e.Conflicts = append(e.Conflicts, store.ConflictRow{Conflict: c, Pair: timelinePair(wedding.ID, c.ResourceID), Fingerprint: marks[c.ID],
				WeddingDate: wedding.When.Start.In(loc).Format("2006-01-02")})
		}
	}
	if len(e.Conflicts) == 0 {
		return nil
	}
	if err := tx.StoreEffects(ctx, e); err != nil {
		return err
	}
	plan.Rechecks = slices.DeleteFunc(plan.Rechecks, func(r reconcile.Recheck) bool {
		return slices.ContainsFunc(plan.Opened, func(c domain.Conflict) bool { return c.ID == r.ConflictID })
	})
	return tell(ctx, tx, plan, actor{name: "system:detection"})
}

// timelinePair names a wedding's timeline and a vendor among the pairs that clash. It is no pair of bookings, so it meets none.
func timelinePair(wedding domain.BookingID, vendor domain.ResourceID) string {
	return string(wedding) + "+timeline+" + string(vendor)
}
