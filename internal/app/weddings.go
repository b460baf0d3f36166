package app

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/store"
)

const (
	// weddingsEvery is how often a server looks for weddings that nobody looks after: those from before an upgrade, and those
	// whose workflow was lost.
	weddingsEvery = 10 * time.Minute
	// weddingsLate is how long after its next time the care for a wedding counts as lost.
	weddingsLate   = 10 * time.Minute
	weddingsAtOnce = 500
)

// keepWeddings has the workflows of weddings started that do not run, until ctx ends.
func (c *Core) keepWeddings(ctx context.Context) {
	tick := time.NewTicker(weddingsEvery)
	defer tick.Stop()
	for {
		if err := c.sweepWeddings(ctx); err != nil && ctx.Err() == nil {
			c.Log.Warn("weddings that nobody looks after could not be looked for; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (c *Core) sweepWeddings(ctx context.Context) error {
	all, err := c.Store.Organizations(ctx)
	if err != nil {
		return err
	}
	for _, o := range all {
		if err := c.Store.Tenant(ctx, o.ID, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.SweepWeddings(ctx, weddingsLate, weddingsAtOnce)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// pollAtOnce has a connection polled at once that tells of no news on the day of a wedding: it fails over to quick polls, and one
// whose system posts nothing is read now, whatever its interval. Of one that is paused, or that cannot be read, its workflow
// refuses it with the reason.
func (c *Core) pollAtOnce(ctx context.Context, org domain.OrgID, id domain.IntegrationID, _ string) error {
	name, err := c.providerName(ctx, org, id)
	if err != nil {
		return err
	}
	ref := flow.IntegrationRef{Org: org, ID: id, Provider: name}
	_, err = c.Flow.Failover(ctx, ref, contract.FailoverRequest{To: contract.FailoverToPolling, Cause: domain.OverWeddingDay, By: "system:wedding"})
	if domain.KindOf(err) == domain.KindConflict {
		_, err = c.Flow.Resync(ctx, ref, contract.ResyncRequest{RunID: domain.NewID[domain.SyncRunID](time.Now()), By: "system:wedding"})
	}
	return err
}
