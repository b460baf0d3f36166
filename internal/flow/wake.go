package flow

import (
	"context"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// WakeNotify tells the workflow that notifies an organisation's people that there is something to look at, and starts it when it
// does not run.
func (c *Client) WakeNotify(ctx context.Context, org domain.OrgID) error {
	return c.tell(ctx, story{name: contract.NotifyWorkflow, id: contract.NotifyWorkflowID(org), input: contract.NotifyInput{OrgID: org}, org: org, summary: "notifications"},
		contract.SignalWake, contract.WakeSignal{})
}

// WakeAlerts tells the workflow that looks after the alerts of an organisation that something changed, and starts it when it does
// not run.
func (c *Client) WakeAlerts(ctx context.Context, org domain.OrgID) error {
	return c.tell(ctx, story{name: contract.AlertsWorkflow, id: contract.AlertsWorkflowID(org), input: contract.AlertsInput{OrgID: org}, org: org, summary: "alerts"},
		contract.SignalWake, contract.WakeSignal{})
}
