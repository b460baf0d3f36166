package activities

import (
	"context"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

// arrival says which delivery told of the entry of a change.
func (b *batch) arrival(change int) store.EntryArrival {
	c := &b.changes[change]
	return store.EntryArrival{ExternalID: c.ExternalID, Removed: c.Op == domain.OpRemove, Delivery: b.waiting[b.owner[change]].ID}
}

// dropOvertaken takes out the changes to entries of which a newer delivery was applied already. Vendors send whole
// entries, so the newest says all that is true.
func (b *batch) dropOvertaken(ctx context.Context, tx *store.Tx, integration domain.IntegrationID) error {
	entries := make([]store.EntryArrival, len(b.changes))
	for n := range b.changes {
		entries[n] = b.arrival(n)
	}
	late, err := tx.Newer(ctx, integration, entries)
	if err != nil || len(late) == 0 {
		return err
	}
	var changes []domain.Change
	var owner []int
	for n := range b.changes {
		if late[n] {
			b.overtaken = append(b.overtaken, b.owner[n])
			continue
		}
		changes, owner = append(changes, b.changes[n]), append(owner, b.owner[n])
	}
	b.changes, b.owner = changes, owner
	return nil
}

// overtake remembers the entries of deliveries that went before older ones. A change that was refused said nothing.
func (b *batch) overtake(ctx context.Context, tx *store.Tx, integration domain.IntegrationID, taken store.Waiting, effects []reconcile.Outcome) error {
	var entries []store.EntryArrival
	for n, e := range effects {
		if e.Effect != reconcile.EffectRejected && taken.Overtakes(b.waiting[b.owner[n]].Delivery) {
			entries = append(entries, b.arrival(n))
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return tx.Overtake(ctx, integration, entries)
}
