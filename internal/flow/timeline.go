package flow

import (
	"context"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/contract"
)

// FollowTimeline tells the workflow of a wedding's timeline that the wedding changed, and starts it when it does not run.
func (c *Client) FollowTimeline(ctx context.Context, in contract.TimelineInput) error {
	o := client.StartWorkflowOptions{
		ID:                    contract.TimelineWorkflowID(in.BookingID),
		TaskQueue:             contract.QueueCore,
		WorkflowTaskTimeout:   TaskTimeout,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		StaticSummary:         "timeline of a wedding",
		TypedSearchAttributes: temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyKeyword(contract.AttrOrg).ValueSet(string(in.OrgID))),
		Priority:              temporal.Priority{FairnessKey: string(in.OrgID)},
	}
	_, err := c.temporal.SignalWithStartWorkflow(ctx, o.ID, contract.SignalFollow, nil, o, contract.TimelineWorkflow, in)
	return translate("tell timeline", err)
}
