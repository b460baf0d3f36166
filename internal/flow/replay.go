package flow

import (
	"context"
	"errors"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// StartReplay starts a replay of deliveries; one that was started already is left alone.
func (c *Client) StartReplay(ctx context.Context, in contract.ReplayInput) error {
	_, err := c.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                    contract.ReplayWorkflowID(in.ReplayID),
		TaskQueue:             contract.QueueCore,
		WorkflowTaskTimeout:   TaskTimeout,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		StaticSummary:         "replay of deliveries",
		TypedSearchAttributes: temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword(contract.AttrOrg).ValueSet(string(in.OrgID)),
			temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(domain.ReplayRunning)),
		),
		Priority: temporal.Priority{FairnessKey: string(in.OrgID)},
	}, contract.ReplayWorkflow, in)
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &started) {
		return nil
	}
	return translate("start replay", err)
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
	return update[contract.ReplayStateResult](ctx, "update replay", func() (client.WorkflowUpdateHandle, error) {
		return c.temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: contract.ReplayWorkflowID(id), UpdateName: name,
			Args: []any{arg}, WaitForStage: client.WorkflowUpdateStageCompleted})
	})
}

// ReplayProgress asks a replay how far it is. A finished one answers as long as Temporal keeps its history.
func (c *Client) ReplayProgress(ctx context.Context, id domain.ReplayID) (contract.ReplayProgress, error) {
	return query[contract.ReplayProgress](ctx, c, contract.ReplayWorkflowID(id), contract.QueryProgress)
}
