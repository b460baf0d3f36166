package flow

import (
	"context"

	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// TellWedding tells the workflow that looks after a wedding that the wedding was booked, moved, changed or cancelled, and starts it
// when it does not run.
func (c *Client) TellWedding(ctx context.Context, in contract.WeddingInput) error {
	return c.tell(ctx, story{name: contract.WeddingWorkflow, id: contract.WeddingWorkflowID(in.BookingID), input: in, org: in.OrgID, summary: "care for a wedding",
		attrs: []temporal.SearchAttributeUpdate{keyword(contract.AttrState, domain.CareWaiting)}}, contract.SignalWedding, nil)
}
