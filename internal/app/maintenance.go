package app

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/upkeep"
)

// maintenanceEvery is how often a server looks which windows of maintenance are to be proposed and which are over for long.
const maintenanceEvery = time.Hour

// keepMaintenance proposes windows of maintenance that nobody has to ask for, until ctx ends.
func (c *Core) keepMaintenance(ctx context.Context) {
	c.keep(ctx, maintenanceEvery, "windows of maintenance could not be proposed; trying again", c.sweepMaintenance)
}

func (c *Core) sweepMaintenance(ctx context.Context) error {
	return c.eachOrganization(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := upkeep.Sweep(ctx, tx)
		return err
	})
}
