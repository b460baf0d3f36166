package flow

import (
	"context"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// WakeAlerts tells the workflow that looks after the alerts of an organisation that something changed, and starts it when it does
// not run.
func (c *Client) WakeAlerts(ctx context.Context, org domain.OrgID) error {
	o := client.StartWorkflowOptions{
		ID:                    contract.AlertsWorkflowID(org),
		TaskQueue:             contract.QueueCore,
		WorkflowTaskTimeout:   TaskTimeout,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		StaticSummary:         "alerts",
		TypedSearchAttributes: temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyKeyword(contract.AttrOrg).ValueSet(string(org))),
		Priority:              temporal.Priority{FairnessKey: string(org)},
	}
	_, err := c.temporal.SignalWithStartWorkflow(ctx, o.ID, contract.SignalWake, contract.WakeSignal{}, o, contract.AlertsWorkflow, contract.AlertsInput{OrgID: org})
	return translate("wake alerts", err)
}
