package flow

import (
	"context"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

func maintenanceOptions(in contract.MaintenanceInput) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID:                       contract.MaintenanceWorkflowID(in.MaintenanceID),
		TaskQueue:                contract.QueueCore,
		WorkflowTaskTimeout:      TaskTimeout,
		WorkflowIDReusePolicy:    enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            "maintenance",
		TypedSearchAttributes: temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyKeyword(contract.AttrOrg).ValueSet(string(in.OrgID)),
			temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(domain.MaintenanceProposed))),
		Priority: temporal.Priority{FairnessKey: string(in.OrgID)},
	}
}

// WakeMaintenance tells the workflow of a window that something changed on which it depends, and starts it when it does not run.
func (c *Client) WakeMaintenance(ctx context.Context, in contract.MaintenanceInput) error {
	o := maintenanceOptions(in)
	_, err := c.temporal.SignalWithStartWorkflow(ctx, o.ID, contract.SignalWake, contract.WakeSignal{}, o, contract.MaintenanceWorkflow, in)
	return translate("wake maintenance", err)
}

// ApproveMaintenance lets a proposed window take place.
func (c *Client) ApproveMaintenance(ctx context.Context, in contract.MaintenanceInput, r contract.ApproveRequest) (contract.MaintenanceStatus, error) {
	return c.updateMaintenance(ctx, in, contract.UpdateApprove, r)
}

// CancelMaintenance ends a window: one that has not begun does not take place, one that has is let go early.
func (c *Client) CancelMaintenance(ctx context.Context, in contract.MaintenanceInput, r contract.CancelRequest) (contract.MaintenanceStatus, error) {
	return c.updateMaintenance(ctx, in, contract.UpdateCancel, r)
}

// RescheduleMaintenance moves a window, or makes it longer or shorter.
func (c *Client) RescheduleMaintenance(ctx context.Context, in contract.MaintenanceInput, r contract.RescheduleRequest) (contract.MaintenanceStatus, error) {
	return c.updateMaintenance(ctx, in, contract.UpdateReschedule, r)
}

func (c *Client) updateMaintenance(ctx context.Context, in contract.MaintenanceInput, name string, arg any) (contract.MaintenanceStatus, error) {
	return update[contract.MaintenanceStatus](ctx, "update maintenance", func() (client.WorkflowUpdateHandle, error) {
		return c.temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
			StartWorkflowOperation: c.temporal.NewWithStartWorkflowOperation(maintenanceOptions(in), contract.MaintenanceWorkflow, in),
			UpdateOptions:          client.UpdateWorkflowOptions{UpdateName: name, Args: []any{arg}, WaitForStage: client.WorkflowUpdateStageCompleted},
		})
	})
}

// MaintenanceStatus asks the workflow of a window where it stands. A finished one answers as long as Temporal keeps its history.
func (c *Client) MaintenanceStatus(ctx context.Context, id domain.MaintenanceID) (contract.MaintenanceStatus, error) {
	return query[contract.MaintenanceStatus](ctx, c, contract.MaintenanceWorkflowID(id), contract.QueryStatus)
}
