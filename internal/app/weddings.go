package app

import (
	"context"
	"errors"
	"fmt"
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
	c.keep(ctx, weddingsEvery, "weddings that nobody looks after could not be looked for; trying again", c.sweepWeddings)
}

func (c *Core) sweepWeddings(ctx context.Context) error {
	return c.eachOrganization(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SweepWeddings(ctx, weddingsLate, weddingsAtOnce)
		return err
	})
}

// keep makes a pass now and from time to time, until ctx ends.
func (c *Core) keep(ctx context.Context, every time.Duration, warning string, pass func(context.Context) error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := pass(ctx); err != nil && ctx.Err() == nil {
			c.Log.Warn(warning, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// eachOrganization does something for every organisation, also for those behind one for which it does not work.
func (c *Core) eachOrganization(ctx context.Context, do func(ctx context.Context, tx *store.Tx) error) error {
	all, err := c.Store.Organizations(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, o := range all {
		if err := c.Store.Tenant(ctx, o.ID, do); err != nil && len(faults) < 10 {
			faults = append(faults, fmt.Errorf("organization %s: %w", o.ID, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(faults...)
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
		_, err = c.Flow.Resync(ctx, ref, contract.ResyncRequest{RunID: domain.NewID[domain.SyncRunID](c.Store.Now()), By: "system:wedding"})
	}
	return err
}
