package app

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/drills"
)

// drillsEvery is how often a server looks whose connections are to be exercised.
const drillsEvery = 5 * time.Minute

// keepDrills begins recovery drills whose time has come, until ctx ends.
func (c *Core) keepDrills(ctx context.Context) {
	tick := time.NewTicker(drillsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		began, err := drills.Due(ctx, c.Store)
		if err != nil && ctx.Err() == nil {
			c.Log.Warn("drills that are due were not begun; trying again", "error", err)
		}
		if began > 0 {
			c.Log.Info("drills begun", "count", began)
		}
	}
}
