package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
)

// Timeline lets the bookings that a timeline exported follow their wedding. It runs only as long as there is something to
// do: whoever changes the wedding starts it, or signals it while it runs.
func Timeline(ctx workflow.Context, in contract.TimelineInput) error {
	follow := workflow.GetSignalChannel(ctx, contract.SignalFollow)
	for {
		for follow.ReceiveAsync(nil) {
		}
		if err := persistently(ctx, func() error {
			return workflow.ExecuteLocalActivity(database(ctx, "follow the wedding"), steps.Timelines.FollowWedding,
				activities.FollowWeddingInput{Org: in.OrgID, Wedding: in.BookingID}).Get(ctx, nil)
		}); err != nil {
			return err
		}
		if follow.Len() == 0 {
			return nil
		}
	}
}
