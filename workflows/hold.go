package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// Hold ends a hold when its time has come. It sleeps until then; whoever extends or ends the hold wakes it to look anew.
// Readers leave a hold out from its last moment on, so a timer that fires late, or a worker that is away, only delays that
// its copies are taken out of the other systems.
func Hold(ctx workflow.Context, in contract.HoldInput) (contract.HoldStatus, error) {
	status := contract.HoldStatus{State: domain.HoldLive}
	if err := workflow.SetQueryHandler(ctx, contract.QueryStatus, func() (contract.HoldStatus, error) { return status, nil }); err != nil {
		return status, err
	}
	told := workflow.GetSignalChannel(ctx, contract.SignalHold)
	for {
		for told.ReceiveAsync(nil) {
		}
		if err := persistently(ctx, func() error {
			return workflow.ExecuteLocalActivity(database(ctx, "look at the hold"), steps.Holds.ExpireHold,
				activities.ExpireHoldInput{Org: in.OrgID, Booking: in.BookingID}).Get(ctx, &status)
		}); err != nil {
			return status, err
		}
		if status.State != domain.HoldLive {
			attr := temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(status.State))
			if err := workflow.UpsertTypedSearchAttributes(ctx, attr); err != nil {
				workflow.GetLogger(ctx).Warn("state was not shown in the search attributes", "error", err)
			}
			workflow.SetCurrentDetails(ctx, "**"+string(status.State)+"**")
			if told.Len() == 0 {
				return status, nil
			}
			continue
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() && told.Len() == 0 {
			return status, workflow.NewContinueAsNewError(ctx, contract.HoldWorkflow, in)
		}
		workflow.SetCurrentDetails(ctx, "**held** until "+status.ExpiresAt.Format(time.RFC3339))
		timer, cancel := workflow.WithCancel(ctx)
		// At least a second, so that two clocks that differ do not make the workflow spin.
		due := workflow.NewTimer(timer, max(status.ExpiresAt.Sub(workflow.Now(ctx)), time.Second))
		wait := workflow.NewSelector(ctx).AddFuture(due, func(workflow.Future) {}).AddReceive(told, func(workflow.ReceiveChannel, bool) {})
		wait.Select(ctx)
		cancel()
		if ctx.Err() != nil {
			return status, ctx.Err()
		}
	}
}
