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
	return c.wake(ctx, org, "notifications", contract.NotifyWorkflowID(org), contract.NotifyWorkflow, contract.NotifyInput{OrgID: org})
}

// WakeAlerts tells the workflow that looks after the alerts of an organisation that something changed, and starts it when it does
// not run.
func (c *Client) WakeAlerts(ctx context.Context, org domain.OrgID) error {
	return c.wake(ctx, org, "alerts", contract.AlertsWorkflowID(org), contract.AlertsWorkflow, contract.AlertsInput{OrgID: org})
}

func (c *Client) wake(ctx context.Context, org domain.OrgID, what, id, name string, input any) error {
	o := client.StartWorkflowOptions{
		ID:                    id,
		TaskQueue:             contract.QueueCore,
		WorkflowTaskTimeout:   TaskTimeout,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		StaticSummary:         what,
		TypedSearchAttributes: temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyKeyword(contract.AttrOrg).ValueSet(string(org))),
		Priority:              temporal.Priority{FairnessKey: string(org)},
	}
	_, err := c.temporal.SignalWithStartWorkflow(ctx, id, contract.SignalWake, contract.WakeSignal{}, o, name, input)
	return translate("wake "+what, err)
}
