package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// Wedding looks after one wedding: seven days and 48 hours before it everything that it rests on is checked, then its freeze is
// announced, its day is watched, and a report is handed over after it. Each look reads the booking anew and says what is due and
// when time alone brings the next thing, so a wedding that moves takes everything along: whoever changes it sends a signal. It ends
// when the day is over or the wedding is off, and a wedding that comes back starts it again.
func Wedding(ctx workflow.Context, in contract.WeddingInput) (contract.WeddingStatus, error) {
	w := &weddingStory{in: in, told: workflow.GetSignalChannel(ctx, contract.SignalWedding)}
	w.status.State = domain.CareWaiting
	if err := workflow.SetQueryHandler(ctx, contract.QueryStatus, func() (contract.WeddingStatus, error) { return w.status, nil }); err != nil {
		return w.status, err
	}
	for {
		for w.told.ReceiveAsync(nil) {
		}
		var out activities.LookAfterWeddingResult
		if err := persistently(ctx, func() error {
			return workflow.ExecuteLocalActivity(database(ctx, "look after the wedding"), steps.Weddings.LookAfterWedding,
				activities.WeddingRef{Org: in.OrgID, Wedding: in.BookingID}).Get(ctx, &out)
		}); err != nil {
			return w.status, err
		}
		w.status = out.Status
		w.show(ctx, out.Preflight)
		if len(out.FailOver) > 0 {
			if err := w.failOver(ctx, out.FailOver); err != nil {
				return w.status, err
			}
		}
		if out.Preflight != "" {
			if err := w.preflight(ctx, out); err != nil {
				return w.status, err
			}
			continue
		}
		if w.told.Len() > 0 {
			continue
		}
		if out.Done {
			return w.status, nil
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			return w.status, workflow.NewContinueAsNewError(ctx, contract.WeddingWorkflow, in)
		}
		if err := w.wait(ctx); err != nil {
			return w.status, err
		}
	}
}

type weddingStory struct {
	in     contract.WeddingInput
	told   workflow.ReceiveChannel
	status contract.WeddingStatus
	shown  contract.WeddingStatus
}

// wait ends when the next thing is due, or before when somebody tells of a change.
func (w *weddingStory) wait(ctx workflow.Context) error {
	timer, cancel := workflow.WithCancel(ctx)
	defer cancel()
	// At least a second, so that two clocks that differ do not make the workflow spin.
	due := workflow.NewTimer(timer, max(w.status.NextAt.Sub(workflow.Now(ctx)), time.Second))
	workflow.NewSelector(ctx).
		AddFuture(due, func(workflow.Future) {}).
		AddReceive(w.told, func(workflow.ReceiveChannel, bool) {}).
		Select(ctx)
	return ctx.Err()
}

// preflight asks every connection and has everything judged. Whoever could not be asked is judged as such.
func (w *weddingStory) preflight(ctx workflow.Context, due activities.LookAfterWeddingResult) error {
	var asked activities.AskConnectionsResult
	if len(due.Connections) > 0 {
		err := workflow.ExecuteActivity(checking(ctx), steps.Weddings.AskConnections,
			activities.AskConnectionsInput{Org: w.in.OrgID, Connections: due.Connections}).Get(ctx, &asked)
		if temporal.IsCanceledError(err) {
			return err
		}
		if err != nil {
			workflow.GetLogger(ctx).Warn("connections could not be asked; the preflight says so", "error", err)
		}
	}
	return persistently(ctx, func() error {
		return workflow.ExecuteLocalActivity(database(ctx, "check what the wedding rests on"), steps.Weddings.CheckWedding,
			activities.CheckWeddingInput{Org: w.in.OrgID, Wedding: w.in.BookingID, Kind: due.Preflight, Answers: asked.Answers}).Get(ctx, nil)
	})
}

// failOver has connections polled at once that stopped telling of news on the day. What does not work is noted, and people are told
// by their alerts in any case.
func (w *weddingStory) failOver(ctx workflow.Context, connections []domain.IntegrationID) error {
	return persistently(ctx, func() error {
		return workflow.ExecuteLocalActivity(database(ctx, "poll connections that tell of no news"), steps.Weddings.FailOverWedding,
			activities.FailOverWeddingInput{Org: w.in.OrgID, Wedding: w.in.BookingID, Connections: connections}).Get(ctx, nil)
	})
}

// show tells operators in Temporal UI where it stands.
func (w *weddingStory) show(ctx workflow.Context, due domain.PreflightKind) {
	s := w.status
	if s.State != w.shown.State || s.Date != w.shown.Date {
		attrs := []temporal.SearchAttributeUpdate{temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(s.State))}
		if s.Date != "" {
			attrs = append(attrs, temporal.NewSearchAttributeKeyKeyword(contract.AttrWeddingDate).ValueSet(s.Date))
		}
		if err := workflow.UpsertTypedSearchAttributes(ctx, attrs...); err != nil {
			workflow.GetLogger(ctx).Warn("state was not shown in the search attributes", "error", err)
		}
	}
	text := "**" + string(s.State) + "**"
	if s.Date != "" {
		text += " · wedding on " + s.Date
	}
	if s.Preflight != "" {
		text += " · preflight " + string(s.Preflight)
	}
	if due != "" {
		text += " · checking now"
	}
	if !s.State.Over() {
		text += fmt.Sprintf("\n\nfreeze from %s · day from %s until %s · looks again at %s", s.FreezeAt.Format(time.RFC3339), s.DayFrom.Format(time.RFC3339),
			s.DayUntil.Format(time.RFC3339), s.NextAt.Format(time.RFC3339))
	}
	workflow.SetCurrentDetails(ctx, text)
	w.shown = s
}
