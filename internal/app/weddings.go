package app

import (
	"context"
	"time"

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
