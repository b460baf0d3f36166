package flow

import (
	"context"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// TellWedding tells the workflow that looks after a wedding that the wedding was booked, moved, changed or cancelled, and starts it
// when it does not run.
func (c *Client) TellWedding(ctx context.Context, in contract.WeddingInput) error {
	o := client.StartWorkflowOptions{
		ID:                    contract.WeddingWorkflowID(in.BookingID),
		TaskQueue:             contract.QueueCore,
		WorkflowTaskTimeout:   TaskTimeout,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		StaticSummary:         "care for a wedding",
		TypedSearchAttributes: temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyKeyword(contract.AttrOrg).ValueSet(string(in.OrgID)),
			temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(domain.CareWaiting))),
		Priority: temporal.Priority{FairnessKey: string(in.OrgID)},
	}
	_, err := c.temporal.SignalWithStartWorkflow(ctx, o.ID, contract.SignalWedding, nil, o, contract.WeddingWorkflow, in)
	return translate("tell wedding", err)
}
