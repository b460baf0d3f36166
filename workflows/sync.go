package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/freshness"
)

// pagesAtOnce is how many pages one activity reads at most. A page of each of our providers has a few hundred entries, so
// that progress is told every few thousand.
const pagesAtOnce = 16

// restartLimit is how often one run begins its listing anew after the system lost our cursor.
const restartLimit = 3

// Sync is one pull or full resync of an integration. The position is stored with each page's effects, so a run that
// dies mid-way goes on where it was. Absence from a listing removes nothing by itself: candidates are asked for one
// by one, and many at once are quarantined.
func Sync(ctx workflow.Context, in contract.SyncInput) (contract.SyncProgress, error) {
	p := contract.SyncProgress{State: domain.SyncRunning, Phase: "pull", StartedAt: workflow.Now(ctx)}
	if in.Carried != nil {
		p = *in.Carried
	}
	if err := workflow.SetQueryHandler(ctx, contract.QueryProgress, func() (contract.SyncProgress, error) { return p, nil }); err != nil {
		return p, err
	}
	err := runSync(ctx, in, &p)
	if workflow.IsContinueAsNewError(err) {
		return p, err
	}
	switch {
	case err == nil:
		p.State = domain.SyncDone
	case temporal.IsCanceledError(err):
		p.State = domain.SyncCancelled
	default:
		p.State = domain.SyncFailed
	}
	p.Phase, p.ETA = "done", nil
	// The end is recorded and told even when the run was cancelled.
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	if storeErr := endSync(ctx, in, p, err); storeErr != nil {
		workflow.GetLogger(ctx).Error("the end of the run was not stored", "error", storeErr)
	}
	attr := temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(p.State))
	if attrErr := workflow.UpsertTypedSearchAttributes(ctx, attr); attrErr != nil {
		workflow.GetLogger(ctx).Warn("state was not shown in the search attributes", "error", attrErr)
	}
	told := workflow.SignalExternalWorkflow(ctx, contract.IntegrationWorkflowID(in.IntegrationID), "", contract.SignalSynced,
		contract.SyncedSignal{RunID: in.RunID, State: p.State}).Get(ctx, nil)
	if told != nil {
		workflow.GetLogger(ctx).Info("the integration's workflow is not running any more", "error", told)
	}
	return p, err
}

func runSync(ctx workflow.Context, in contract.SyncInput, p *contract.SyncProgress) error {
	ref := activities.SyncRef{Org: in.OrgID, Integration: in.IntegrationID, Run: in.RunID}
	if in.Carried == nil {
		if err := persistently(ctx, func() error {
			return workflow.ExecuteLocalActivity(database(ctx, "begin run"), steps.Syncs.StartSyncRun,
				activities.StartSyncRunInput{SyncRef: ref, Full: in.Full, By: in.By}).Get(ctx, nil)
		}); err != nil {
			return err
		}
	}
	for p.Phase == "pull" {
		var page activities.PullPageResult
		err := workflow.ExecuteActivity(reading(ctx, fmt.Sprintf("page %d", p.Pages+1)), steps.Syncs.PullPage,
			activities.PullPageInput{SyncRef: ref, Pages: pagesAtOnce}).Get(ctx, &page)
		if isKind(err, domain.KindGoneToken) && p.Restarts < restartLimit {
			p.Restarts++
			continue
		}
		if err != nil {
			return err
		}
		p.Pages += 1 + page.Further
		p.Seen += page.Seen
		p.Applied += page.Applied
		p.Unchanged += page.Unchanged
		p.Removed += page.Removed
		p.Rejected += page.Rejected
		p.Expected = page.Expected
		pace(ctx, p)
		switch {
		case page.More:
		case page.Complete:
			p.Phase = "confirm"
		default:
			p.Phase = "done"
		}
		describeSync(ctx, *p)
		if page.More && workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			in.Carried = p
			return workflow.NewContinueAsNewError(ctx, contract.SyncWorkflow, in)
		}
	}
	if p.Phase == "confirm" {
		var out activities.ConfirmRemovalsResult
		if err := workflow.ExecuteActivity(reading(ctx, "prove removals"), steps.Syncs.ConfirmRemovals,
			activities.ConfirmRemovalsInput{SyncRef: ref}).Get(ctx, &out); err != nil {
			return err
		}
		p.Removed += out.Removed
		p.Proved = out.Removed
		p.Quarantined += out.Quarantined
	}
	return nil
}

// pace tells how fast the listing is read and when it will be over.
func pace(ctx workflow.Context, p *contract.SyncProgress) {
	if p.StartedAt.IsZero() {
		return // begun by a run that did not keep the time
	}
	progress := freshness.Progress(p.StartedAt, workflow.Now(ctx), p.Seen, p.Expected)
	p.PerSecond, p.ETA = progress.PerSecond, progress.ETA
}

func endSync(ctx workflow.Context, in contract.SyncInput, p contract.SyncProgress, cause error) error {
	describeSync(ctx, p)
	input := activities.EndSyncRunInput{SyncRef: activities.SyncRef{Org: in.OrgID, Integration: in.IntegrationID, Run: in.RunID},
		State: p.State, Kind: kindOf(cause), Removed: p.Proved, Quarantined: p.Quarantined}
	return persistently(ctx, func() error {
		return workflow.ExecuteLocalActivity(database(ctx, "end run"), steps.Syncs.EndSyncRun, input).Get(ctx, nil)
	})
}

// persistently repeats a database step through an outage of about an hour and a half.
func persistently(ctx workflow.Context, step func() error) error {
	for n := 1; ; n++ {
		err := step()
		if err == nil || n > 25 || !retryableKind(kindOf(err)) || temporal.IsCanceledError(err) {
			return err
		}
		if err := workflow.Sleep(ctx, backoff(n)); err != nil {
			return err
		}
	}
}

func describeSync(ctx workflow.Context, p contract.SyncProgress) {
	text := fmt.Sprintf("**%s** (%s) · pages %d · read %d · changed %d · unchanged %d · removed %d", p.State, p.Phase, p.Pages,
		p.Seen, p.Applied, p.Unchanged, p.Removed)
	if p.State == domain.SyncRunning && p.Expected > 0 {
		text += fmt.Sprintf(" · of about %d", p.Expected)
	}
	if p.State == domain.SyncRunning && p.PerSecond > 0 {
		text += fmt.Sprintf(" · %.1f a second", p.PerSecond)
	}
	if p.State == domain.SyncRunning && p.ETA != nil {
		text += " · until about " + p.ETA.Format(time.RFC3339)
	}
	if p.Quarantined > 0 {
		text += fmt.Sprintf("\n\n%d removals were **held back**: too many at once", p.Quarantined)
	}
	if p.Rejected > 0 {
		text += fmt.Sprintf("\n\n%d entries could not be understood", p.Rejected)
	}
	workflow.SetCurrentDetails(ctx, text)
}

// kindOf returns the domain kind that an activity's error was given at its border, KindInternal for others.
func kindOf(err error) domain.ErrorKind {
	if err == nil {
		return ""
	}
	var app *temporal.ApplicationError
	if errors.As(err, &app) && app.Type() != "" {
		return domain.ErrorKind(app.Type())
	}
	var timeout *temporal.TimeoutError
	if errors.As(err, &timeout) {
		return domain.KindUnavailable
	}
	return domain.KindInternal
}

func isKind(err error, kind domain.ErrorKind) bool { return err != nil && kindOf(err) == kind }
