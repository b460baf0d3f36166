package activities

import (
	"context"
	"strings"

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

// dropEnded takes out the changes to entries that nobody knows and whose end was told already, by versions that say that it came
// after them: a removal that overtakes the creation on its way to us. There is no link that could remember it, so the deliveries
// themselves do, for as long as their contents are kept. Entries without versions have no order, and what arrives last counts; one
// that was asked for is there.
func (b *batch) dropEnded(ctx context.Context, tx *store.Tx, integration domain.IntegrationID, opened any) error {
	ends := map[string]int64{} // by entry: the version of its end
	end := func(c domain.Change) {
		if c.Op == domain.OpRemove || c.Status == domain.StatusCancelled {
			ends[c.ExternalID] = max(ends[c.ExternalID], c.RemoteVersion)
		}
	}
	begins := func(c domain.Change) bool {
		return c.Op == domain.OpUpsert && c.Status != domain.StatusCancelled && c.RemoteVersion > 0 && !c.Asked
	}
	var asked []string
	for _, c := range b.changes {
		if begins(c) {
			asked = append(asked, c.ExternalID)
		}
	}
	told, err := tx.Farewells(ctx, integration, asked)
	if err != nil {
		return err
	}
	for _, d := range told {
		if !strings.HasPrefix(d.Reason, string(reconcile.EffectUnknown)) {
			continue
		}
		if got, err := b.read(ctx, opened, nil, d); err == nil { // settings of today may not read it: then it says nothing
			for _, c := range got.Changes {
				end(c)
			}
		}
	}
	var changes []domain.Change
	var owner []int
	for n, c := range b.changes {
		if begins(c) && c.RemoteVersion < ends[c.ExternalID] {
			b.farewells = append(b.farewells, b.owner[n])
			continue
		}
		end(c) // of this batch, for what comes after it
		changes, owner = append(changes, c), append(owner, b.owner[n])
	}
	b.changes, b.owner = changes, owner
	return nil
}

// overtake remembers the entries of deliveries that went before older ones, also before those of this batch that are to be
// tried again. A change that was refused said nothing. A replay is as old as what it repeats.
func (b *batch) overtake(ctx context.Context, tx *store.Tx, integration domain.IntegrationID, taken store.Waiting, effects []reconcile.Outcome) error {
	again := false
	for n, err := range b.errs {
		again = again || err != nil && b.failed(b.waiting[n], err).State == domain.DeliveryRetrying
	}
	var entries []store.EntryArrival
	for n, e := range effects {
		if d := b.waiting[b.owner[n]].Delivery; e.Effect != reconcile.EffectRejected && (again || taken.Overtakes(d)) {
			entry := b.arrival(n)
			entry.Delivery = d.Position()
			entries = append(entries, entry)
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return tx.Overtake(ctx, integration, entries)
}
