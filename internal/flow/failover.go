package flow

import (
	"context"

	"github.com/wedsync/wedsync/internal/contract"
)

// Failover sends an integration over to quick polls at once, or back to what its system posts. It returns when that is stored; the
// first poll, or the closing one, begins then. One that is there already is not moved, so it may be repeated. KindConflict when
// it cannot be: it does not run, its system posts nothing, or it cannot be listed; the text says so.
func (c *Client) Failover(ctx context.Context, ref IntegrationRef, r contract.FailoverRequest) (contract.FailoverResult, error) {
	return ask[contract.FailoverResult](ctx, c, ref.story(), contract.UpdateFailover, "", r)
}
