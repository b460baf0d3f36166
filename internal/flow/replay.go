package flow

import (
	"context"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// StartReplay starts a replay of deliveries; one that was started already is left alone.
func (c *Client) StartReplay(ctx context.Context, in contract.ReplayInput) error {
	return c.start(ctx, story{name: contract.ReplayWorkflow, id: contract.ReplayWorkflowID(in.ReplayID), input: in, org: in.OrgID, summary: "replay of deliveries",
		attrs: []temporal.SearchAttributeUpdate{keyword(contract.AttrState, domain.ReplayRunning)}}, enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE)
}

// PauseReplay asks a replay to stop for a while, and returns when it has done so.
func (c *Client) PauseReplay(ctx context.Context, id domain.ReplayID, r contract.PauseRequest) (contract.ReplayStateResult, error) {
	return c.updateReplay(ctx, id, contract.UpdatePause, r)
}

// ResumeReplay lets a paused replay go on.
func (c *Client) ResumeReplay(ctx context.Context, id domain.ReplayID, r contract.ResumeRequest) (contract.ReplayStateResult, error) {
	return c.updateReplay(ctx, id, contract.UpdateResume, r)
}

// CancelReplay ends a replay. What it handed in stays.
func (c *Client) CancelReplay(ctx context.Context, id domain.ReplayID, r contract.CancelRequest) (contract.ReplayStateResult, error) {
	return c.updateReplay(ctx, id, contract.UpdateCancel, r)
}

func (c *Client) updateReplay(ctx context.Context, id domain.ReplayID, name string, arg any) (contract.ReplayStateResult, error) {
	return askRunning[contract.ReplayStateResult](ctx, c, "replay", contract.ReplayWorkflowID(id), name, "", arg)
}

// ReplayProgress asks a replay how far it is. A finished one answers as long as Temporal keeps its history.
func (c *Client) ReplayProgress(ctx context.Context, id domain.ReplayID) (contract.ReplayProgress, error) {
	return query[contract.ReplayProgress](ctx, c, contract.ReplayWorkflowID(id), contract.QueryProgress)
}
