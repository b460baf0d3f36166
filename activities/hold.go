package activities

import (
	"context"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/store"
)

// cause says what brought a change, for the history of its booking.
func (b *batch) cause(change int) domain.Cause {
	d := b.waiting[b.owner[change]]
	if d.OriginID != "" {
		return domain.Cause{Kind: domain.CauseReplay, ID: string(d.ID)}
	}
	return domain.Cause{Kind: domain.CauseDelivery, ID: string(d.ID)}
}

func (b *batch) causes() []domain.Cause {
	out := make([]domain.Cause, len(b.changes))
	for n := range out {
		out[n] = b.cause(n)
	}
	return out
}

// hold takes removals out that are too many at once. Their deliveries count as applied: what they say is kept in the
// quarantine, and a person decides.
func (b *batch) hold(ctx context.Context, tx *store.Tx, i domain.Integration) error {
	held, err := guard.Sift(ctx, tx, i, guard.Since(tx.Now, time.Time{}), b.changes, b.cause)
	if err != nil || len(held) == 0 {
		return err
	}
	changes, owner := make([]domain.Change, 0, len(b.changes)), make([]int, 0, len(b.owner))
	for n, c := range b.changes {
		if !held[n] {
			changes, owner = append(changes, c), append(owner, b.owner[n])
		} else if !slices.Contains(b.held, b.owner[n]) {
			b.held = append(b.held, b.owner[n])
		}
	}
	b.changes, b.owner = changes, owner
	return nil
}
