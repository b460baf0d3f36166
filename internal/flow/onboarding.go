package flow

import (
	"context"

	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// onboarding is that of an integration. The next one of the same integration has the same id.
func onboarding(in contract.OnboardInput) story {
	return story{name: contract.OnboardWorkflow, id: contract.OnboardWorkflowID(in.IntegrationID), input: in, org: in.OrgID, summary: "onboarding of a connection",
		attrs: []temporal.SearchAttributeUpdate{keyword(contract.AttrIntegration, in.IntegrationID), keyword(contract.AttrState, domain.OnboardingRunning)}}
}

// TellOnboarding tells the onboarding of an integration that its row was made or changed, and starts it when it does not run.
func (c *Client) TellOnboarding(ctx context.Context, in contract.OnboardInput) error {
	return c.tell(ctx, onboarding(in), contract.SignalOnboarding, nil)
}

// ResumeOnboarding lets an onboarding that waits begin anew, and returns when it has done so. It starts the workflow when it
// does not run.
func (c *Client) ResumeOnboarding(ctx context.Context, in contract.OnboardInput, r contract.OnboardResumeRequest) (contract.OnboardStatus, error) {
	return ask[contract.OnboardStatus](ctx, c, onboarding(in), contract.UpdateResume, "", r)
}

// CancelOnboarding ends an onboarding; what it did is undone after that.
func (c *Client) CancelOnboarding(ctx context.Context, in contract.OnboardInput, r contract.CancelRequest) (contract.OnboardStatus, error) {
	return ask[contract.OnboardStatus](ctx, c, onboarding(in), contract.UpdateCancel, "", r)
}

// OnboardingStatus asks an onboarding where it stands. A finished one answers as long as Temporal keeps its history.
func (c *Client) OnboardingStatus(ctx context.Context, id domain.IntegrationID) (contract.OnboardStatus, error) {
	return query[contract.OnboardStatus](ctx, c, contract.OnboardWorkflowID(id), contract.QueryStatus)
}
