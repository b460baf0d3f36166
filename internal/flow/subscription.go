package flow

import (
	"context"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// SubscriptionRef names a subscription to its workflow.
type SubscriptionRef struct {
	Org domain.OrgID
	ID  domain.SubscriptionID
}

func (r SubscriptionRef) options() client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID:                       contract.SubscriptionWorkflowID(r.ID),
		TaskQueue:                contract.QueueCore,
		WorkflowTaskTimeout:      TaskTimeout,
		WorkflowIDReusePolicy:    enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            "outgoing webhooks",
		TypedSearchAttributes: temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword(contract.AttrOrg).ValueSet(string(r.Org)),
			temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(domain.SubscriptionActive)),
		),
		Priority: temporal.Priority{FairnessKey: string(r.Org)},
	}
}

func (r SubscriptionRef) input() contract.SubscriptionInput {
	return contract.SubscriptionInput{OrgID: r.Org, SubscriptionID: r.ID}
}

// WakeSubscription tells a subscription that events wait or that its row changed, and starts its workflow if there is
// none.
func (c *Client) WakeSubscription(ctx context.Context, ref SubscriptionRef, s contract.WakeSignal) error {
	o := ref.options()
	_, err := c.temporal.SignalWithStartWorkflow(ctx, o.ID, contract.SignalWake, s, o, contract.SubscriptionWorkflow, ref.input())
	return translate("signal subscription", err)
}

// PauseSubscription stops sending; the position in the stream is kept.
func (c *Client) PauseSubscription(ctx context.Context, ref SubscriptionRef, r contract.PauseRequest) (contract.SubscriptionStateResult, error) {
	return updateSubscription[contract.SubscriptionStateResult](ctx, c, ref, contract.UpdatePause, "", r)
}

// ResumeSubscription goes on after a pause or after the subscription was disabled.
func (c *Client) ResumeSubscription(ctx context.Context, ref SubscriptionRef, r contract.SubscriptionResumeRequest) (contract.SubscriptionStateResult, error) {
	return updateSubscription[contract.SubscriptionStateResult](ctx, c, ref, contract.UpdateResume, "", r)
}

// TestSubscription sends a test message and waits for the receiver's answer.
func (c *Client) TestSubscription(ctx context.Context, ref SubscriptionRef, r contract.TestRequest) (contract.TestResult, error) {
	return updateSubscription[contract.TestResult](ctx, c, ref, contract.UpdateTest, "test-"+string(r.ID), r)
}

// SubscriptionStatus asks a subscription's workflow where it stands.
func (c *Client) SubscriptionStatus(ctx context.Context, id domain.SubscriptionID) (contract.SubscriptionStatus, error) {
	return query[contract.SubscriptionStatus](ctx, c, contract.SubscriptionWorkflowID(id), contract.QueryStatus)
}

func updateSubscription[R any](ctx context.Context, c *Client, ref SubscriptionRef, name, id string, arg any) (R, error) {
	return update[R](ctx, "update subscription", func() (client.WorkflowUpdateHandle, error) {
		return c.temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
			StartWorkflowOperation: c.temporal.NewWithStartWorkflowOperation(ref.options(), contract.SubscriptionWorkflow, ref.input()),
			UpdateOptions: client.UpdateWorkflowOptions{
				UpdateID: id, UpdateName: name, Args: []any{arg}, WaitForStage: client.WorkflowUpdateStageCompleted,
			},
		})
	})
}
