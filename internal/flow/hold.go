package flow

import (
	"context"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// TellHold tells the workflow of a hold that the hold was made, extended or ended, and starts it when it does not run.
func (c *Client) TellHold(ctx context.Context, in contract.HoldInput) error {
	o := client.StartWorkflowOptions{
		ID:                    contract.HoldWorkflowID(in.BookingID),
		TaskQueue:             contract.QueueCore,
		WorkflowTaskTimeout:   TaskTimeout,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		StaticSummary:         "hold of a time",
		TypedSearchAttributes: temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyKeyword(contract.AttrOrg).ValueSet(string(in.OrgID)),
			temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(domain.HoldLive))),
		Priority: temporal.Priority{FairnessKey: string(in.OrgID)},
	}
	_, err := c.temporal.SignalWithStartWorkflow(ctx, o.ID, contract.SignalHold, nil, o, contract.HoldWorkflow, in)
	return translate("tell hold", err)
}
