package flow

import (
	"context"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// WakeNotify tells the workflow that notifies an organisation's people that there is something to look at, and starts it when it
// does not run.
func (c *Client) WakeNotify(ctx context.Context, org domain.OrgID) error {
	o := client.StartWorkflowOptions{
		ID:                    contract.NotifyWorkflowID(org),
		TaskQueue:             contract.QueueCore,
		WorkflowTaskTimeout:   TaskTimeout,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		StaticSummary:         "notifications",
		TypedSearchAttributes: temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyKeyword(contract.AttrOrg).ValueSet(string(org))),
		Priority:              temporal.Priority{FairnessKey: string(org)},
	}
	_, err := c.temporal.SignalWithStartWorkflow(ctx, o.ID, contract.SignalWake, contract.WakeSignal{}, o, contract.NotifyWorkflow, contract.NotifyInput{OrgID: org})
	return translate("wake notifications", err)
}
