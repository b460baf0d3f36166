package flow

import (
	"context"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// onboardOptions are those that an onboarding is started with. The next onboarding of the same integration has the same id.
func onboardOptions(in contract.OnboardInput) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID:                       contract.OnboardWorkflowID(in.IntegrationID),
		TaskQueue:                contract.QueueCore,
		WorkflowTaskTimeout:      TaskTimeout,
		WorkflowIDReusePolicy:    enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            "onboarding of a connection",
		TypedSearchAttributes: temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword(contract.AttrOrg).ValueSet(string(in.OrgID)),
			temporal.NewSearchAttributeKeyKeyword(contract.AttrIntegration).ValueSet(string(in.IntegrationID)),
			temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(domain.OnboardingRunning)),
		),
		Priority: temporal.Priority{FairnessKey: string(in.OrgID)},
	}
}

// TellOnboarding tells the onboarding of an integration that its row was made or changed, and starts it when it does not run.
func (c *Client) TellOnboarding(ctx context.Context, in contract.OnboardInput) error {
	o := onboardOptions(in)
	_, err := c.temporal.SignalWithStartWorkflow(ctx, o.ID, contract.SignalOnboarding, nil, o, contract.OnboardWorkflow, in)
	return translate("tell onboarding", err)
}

// ResumeOnboarding lets an onboarding that waits begin anew, and returns when it has done so. It starts the workflow when it
// does not run.
func (c *Client) ResumeOnboarding(ctx context.Context, in contract.OnboardInput, r contract.OnboardResumeRequest) (contract.OnboardStatus, error) {
	return c.updateOnboarding(ctx, in, contract.UpdateResume, r)
}

// CancelOnboarding ends an onboarding; what it did is undone after that.
func (c *Client) CancelOnboarding(ctx context.Context, in contract.OnboardInput, r contract.CancelRequest) (contract.OnboardStatus, error) {
	return c.updateOnboarding(ctx, in, contract.UpdateCancel, r)
}

func (c *Client) updateOnboarding(ctx context.Context, in contract.OnboardInput, name string, arg any) (contract.OnboardStatus, error) {
	return update[contract.OnboardStatus](ctx, "update onboarding", func() (client.WorkflowUpdateHandle, error) {
		return c.temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
			StartWorkflowOperation: c.temporal.NewWithStartWorkflowOperation(onboardOptions(in), contract.OnboardWorkflow, in),
			UpdateOptions:          client.UpdateWorkflowOptions{UpdateName: name, Args: []any{arg}, WaitForStage: client.WorkflowUpdateStageCompleted},
		})
	})
}

// OnboardingStatus asks an onboarding where it stands. A finished one answers as long as Temporal keeps its history.
func (c *Client) OnboardingStatus(ctx context.Context, id domain.IntegrationID) (contract.OnboardStatus, error) {
	return query[contract.OnboardStatus](ctx, c, contract.OnboardWorkflowID(id), contract.QueryStatus)
}
