package flow

import (
	"context"

	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

func maintenance(in contract.MaintenanceInput) story {
	return story{name: contract.MaintenanceWorkflow, id: contract.MaintenanceWorkflowID(in.MaintenanceID), input: in, org: in.OrgID, summary: "maintenance",
		attrs: []temporal.SearchAttributeUpdate{keyword(contract.AttrState, domain.MaintenanceProposed)}}
}

// WakeMaintenance tells the workflow of a window that something changed on which it depends, and starts it when it does not run.
func (c *Client) WakeMaintenance(ctx context.Context, in contract.MaintenanceInput) error {
	return c.tell(ctx, maintenance(in), contract.SignalWake, contract.WakeSignal{})
}

// ApproveMaintenance lets a proposed window take place.
func (c *Client) ApproveMaintenance(ctx context.Context, in contract.MaintenanceInput, r contract.ApproveRequest) (contract.MaintenanceStatus, error) {
	return ask[contract.MaintenanceStatus](ctx, c, maintenance(in), contract.UpdateApprove, "", r)
}

// CancelMaintenance ends a window: one that has not begun does not take place, one that has is let go early.
func (c *Client) CancelMaintenance(ctx context.Context, in contract.MaintenanceInput, r contract.CancelRequest) (contract.MaintenanceStatus, error) {
	return ask[contract.MaintenanceStatus](ctx, c, maintenance(in), contract.UpdateCancel, "", r)
}

// RescheduleMaintenance moves a window, or makes it longer or shorter.
func (c *Client) RescheduleMaintenance(ctx context.Context, in contract.MaintenanceInput, r contract.RescheduleRequest) (contract.MaintenanceStatus, error) {
	return ask[contract.MaintenanceStatus](ctx, c, maintenance(in), contract.UpdateReschedule, "", r)
}

// MaintenanceStatus asks the workflow of a window where it stands. A finished one answers as long as Temporal keeps its history.
func (c *Client) MaintenanceStatus(ctx context.Context, id domain.MaintenanceID) (contract.MaintenanceStatus, error) {
	return query[contract.MaintenanceStatus](ctx, c, contract.MaintenanceWorkflowID(id), contract.QueryStatus)
}
