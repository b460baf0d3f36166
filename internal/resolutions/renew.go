package resolutions

import (
	"context"
	"slices"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// maxRenewed bounds how many other conflicts one decision looks at; the rest find new ways when somebody tries theirs, or is
// reminded of them.
const maxRenewed = 25

// Renew looks for ways out of an open conflict as calendars stand now. It is for a decision that was refused: what was
// proposed may have been taken since, and would be refused for ever.
func Renew(ctx context.Context, tx *store.Tx, id domain.ConflictID) error {
	c, err := locked(ctx, tx, id, "")
	if err != nil {
		return err
	}
	return renew(ctx, tx, c)
}

// renewOthers looks for new ways out of the other open conflicts of a resource that proposed the time which was just taken.
// The caller holds the resource's lock.
func renewOthers(ctx context.Context, tx *store.Tx, but domain.ConflictID, taken domain.BookingShape) error {
	list, _, err := tx.Conflicts(ctx, store.ConflictFilter{State: domain.ConflictOpen, Resource: taken.ResourceID}, store.Page{Limit: maxRenewed})
	if err != nil {
		return err
	}
	for _, c := range list {
		if c.ID == but || !slices.ContainsFunc(c.Alternatives, func(a domain.Alternative) bool {
			return a.ResourceID == taken.ResourceID && a.When.Overlaps(taken.When.Span)
		}) {
			continue
		}
		if c, err = tx.LockConflict(ctx, c.ID); err != nil {
			return err
		}
		if err := renew(ctx, tx, c); err != nil {
			return err
		}
	}
	return nil
}

func renew(ctx context.Context, tx *store.Tx, c domain.Conflict) error {
	if c.State != domain.ConflictOpen {
		return nil
	}
	ways, err := apply.Propose(ctx, tx, c)
	if err != nil {
		return err
	}
	if slices.EqualFunc(ways, c.Alternatives, func(a, b domain.Alternative) bool {
		return a.Action == b.Action && a.BookingID == b.BookingID && a.ResourceID == b.ResourceID && a.When.Equal(b.When)
	}) {
		return nil
	}
	c.Alternatives = ways
	if err := tx.UpdateConflict(ctx, c, c.Version); err != nil {
		return err
	}
	return emit(ctx, tx, domain.TopicConflictUpdated, c, nil)
}
