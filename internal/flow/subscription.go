package flow

import (
	"context"

	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// SubscriptionRef names a subscription to its workflow.
type SubscriptionRef struct {
	Org domain.OrgID
	ID  domain.SubscriptionID
}

func (r SubscriptionRef) story() story {
	return story{name: contract.SubscriptionWorkflow, id: contract.SubscriptionWorkflowID(r.ID), input: contract.SubscriptionInput{OrgID: r.Org, SubscriptionID: r.ID},
		org: r.Org, summary: "outgoing webhooks", attrs: []temporal.SearchAttributeUpdate{keyword(contract.AttrState, domain.SubscriptionActive)}}
}

// WakeSubscription tells a subscription that events wait or that its row changed, and starts its workflow if there is
// none.
func (c *Client) WakeSubscription(ctx context.Context, ref SubscriptionRef, s contract.WakeSignal) error {
	return c.tell(ctx, ref.story(), contract.SignalWake, s)
}

// PauseSubscription stops sending; the position in the stream is kept.
func (c *Client) PauseSubscription(ctx context.Context, ref SubscriptionRef, r contract.PauseRequest) (contract.SubscriptionStateResult, error) {
	return ask[contract.SubscriptionStateResult](ctx, c, ref.story(), contract.UpdatePause, "", r)
}

// ResumeSubscription goes on after a pause or after the subscription was disabled.
func (c *Client) ResumeSubscription(ctx context.Context, ref SubscriptionRef, r contract.SubscriptionResumeRequest) (contract.SubscriptionStateResult, error) {
	return ask[contract.SubscriptionStateResult](ctx, c, ref.story(), contract.UpdateResume, "", r)
}

// TestSubscription sends a test message and waits for the receiver's answer.
func (c *Client) TestSubscription(ctx context.Context, ref SubscriptionRef, r contract.TestRequest) (contract.TestResult, error) {
	return ask[contract.TestResult](ctx, c, ref.story(), contract.UpdateTest, "test-"+string(r.ID), r)
}

// SubscriptionStatus asks a subscription's workflow where it stands.
func (c *Client) SubscriptionStatus(ctx context.Context, id domain.SubscriptionID) (contract.SubscriptionStatus, error) {
	return query[contract.SubscriptionStatus](ctx, c, contract.SubscriptionWorkflowID(id), contract.QueryStatus)
}
