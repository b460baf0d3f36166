package app

import (
	"context"

	"github.com/wedsync/wedsync/internal/domain"
)

// PollAtOnce is what the care for a wedding asks for when a connection tells of no news on the day.
func (c *Core) PollAtOnce(ctx context.Context, org domain.OrgID, id domain.IntegrationID) error {
	return c.pollAtOnce(ctx, org, id, "")
}

// KeepWeddings is the part of a server that looks for weddings that nobody looks after.
func (c *Core) KeepWeddings(ctx context.Context) { c.keepWeddings(ctx) }
