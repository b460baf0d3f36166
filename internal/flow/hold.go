package flow

import (
	"context"

	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// TellHold tells the workflow of a hold that the hold was made, extended or ended, and starts it when it does not run.
func (c *Client) TellHold(ctx context.Context, in contract.HoldInput) error {
	return c.tell(ctx, story{name: contract.HoldWorkflow, id: contract.HoldWorkflowID(in.BookingID), input: in, org: in.OrgID, summary: "hold of a time",
		attrs: []temporal.SearchAttributeUpdate{keyword(contract.AttrState, domain.HoldLive)}}, contract.SignalHold, nil)
}
