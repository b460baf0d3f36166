package flow

import (
	"context"

	"github.com/wedsync/wedsync/internal/contract"
)

// FollowTimeline tells the workflow of a wedding's timeline that the wedding changed, and starts it when it does not run.
func (c *Client) FollowTimeline(ctx context.Context, in contract.TimelineInput) error {
	return c.tell(ctx, story{name: contract.TimelineWorkflow, id: contract.TimelineWorkflowID(in.BookingID), input: in, org: in.OrgID, summary: "timeline of a wedding"},
		contract.SignalFollow, nil)
}
