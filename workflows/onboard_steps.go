package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// outcome is what became of a step.
type outcome struct {
	skipped bool
	note    string
	kind    domain.ErrorKind // why it was refused; "" = it was not
}

// errInterrupted says that a step was left because something else is to be done.
var errInterrupted = errors.New("the onboarding goes another way")

func (s *onboarding) step(ctx workflow.Context, name domain.OnboardStep, ref activities.OnboardRef) (outcome, error) {
	switch name {
	case domain.OnboardCredentials:
		return s.ask(ctx, "check credentials", steps.Onboardings.CheckConnection, ref, "the system has nothing that could be asked; its webhooks show whether they are right")
	case domain.OnboardDuplicate:
		var r activities.OnboardStepResult
		err := persistently(ctx, func() error {
			return workflow.ExecuteLocalActivity(database(ctx, "look for the same place"), steps.Onboardings.FindDuplicate, ref).Get(ctx, &r)
		})
		return outcomeOf(r, "the system does not say which account it is"), err
	case domain.OnboardWebhooks:
		return s.webhooks(ctx)
	case domain.OnboardFirstSync:
		return s.firstSync(ctx)
	case domain.OnboardProbe:
		return s.ask(ctx, "probe", steps.Onboardings.ProbeConnection, ref, "the system has no call that proves it")
	case domain.OnboardActivation:
	}
	return outcome{}, nil
}

func outcomeOf(r activities.OnboardStepResult, skipped string) outcome {
	out := outcome{skipped: r.Skipped, kind: r.Refused}
	if r.Skipped {
		out.note = skipped
	}
	return out
}

func (s *onboarding) ask(ctx workflow.Context, summary string, what any, ref activities.OnboardRef, skipped string) (outcome, error) {
	var r activities.OnboardStepResult
	err := s.during(ctx, func(ctx workflow.Context) workflow.Future {
		return workflow.ExecuteActivity(connecting(ctx, summary), what, ref)
	}, &r)
	return outcomeOf(r, skipped), err
}

// during waits for a step that asks the outside, and leaves it when somebody wants the end, or when the row says that this is
// not what is to be done any more. A message that changes nothing, such as one that was told twice, does not disturb it.
func (s *onboarding) during(ctx workflow.Context, begin func(ctx workflow.Context) workflow.Future, out any) error {
	ref := s.ref()
	inner, stop := workflow.WithCancel(ctx)
	defer stop()
	f := begin(inner)
	left := false
	for !f.IsReady() {
		if err := workflow.Await(ctx, func() bool { return f.IsReady() || s.cancelled() || s.told.Len() > 0 }); err != nil {
			// The workflow was cancelled, and the step with it. Nothing may be made while it is undone.
			safe, cancel := workflow.NewDisconnectedContext(ctx)
			defer cancel()
			_ = f.Get(safe, nil)
			return err
		}
		if f.IsReady() {
			break
		}
		for s.told.ReceiveAsync(nil) {
			now, err := s.look(ctx)
			left = left || err == nil && (now.State != domain.OnboardingRunning || now.Onboarding != ref.Onboarding || now.Attempt != ref.Attempt)
		}
		if left = left || s.cancelled(); left {
			stop()
			break
		}
	}
	err := f.Get(ctx, out)
	if left {
		return errInterrupted
	}
	return err
}

// webhooks asks the system to tell of changes. Where that does not work the connection is polled, unless it is not.
func (s *onboarding) webhooks(ctx workflow.Context) (outcome, error) {
	switch {
	case !s.view.CanWatch:
		return outcome{skipped: true, note: "there is nothing to register; webhooks of this system, if it has any, are set up there by hand"}, nil
	case !s.view.Public:
		return outcome{skipped: true, note: "this installation has no public https address, so the system is polled"}, nil
	}
	s.made = true
	var r activities.KeepWatchesResult
	err := s.during(ctx, func(ctx workflow.Context) workflow.Future {
		return workflow.ExecuteActivity(connecting(ctx, "register webhooks"), steps.Watches.KeepWatches,
			activities.KeepWatchesInput{Org: s.in.OrgID, Integration: s.in.IntegrationID, For: activities.WatchesMake})
	}, &r)
	switch {
	case err != nil:
		return outcome{}, err
	case r.Stands:
		return outcome{}, nil
	case r.Kind == domain.KindUnauthenticated || !s.view.Polled:
		if r.Kind == "" {
			r.Kind = domain.KindUnavailable
		}
		return outcome{kind: r.Kind}, nil
	}
	return outcome{skipped: true, note: "the system did not take our address; it is polled, and asked again from time to time"}, nil
}

// firstSync reads everything that is there by a sync of its own, which shows how far it is.
func (s *onboarding) firstSync(ctx workflow.Context) (outcome, error) {
	if !s.view.CanPull {
		return outcome{skipped: true, note: "there is nothing to read; bookings come by webhooks, or only go out"}, nil
	}
	run := s.view.RunID
	var p contract.SyncProgress
	err := s.during(ctx, func(ctx workflow.Context) workflow.Future {
		child := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
			WorkflowID:            contract.SyncWorkflowID(run),
			WorkflowTaskTimeout:   30 * time.Second,
			ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
			WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
			WaitForCancellation:   true,
			StaticSummary:         "first reading",
			TypedSearchAttributes: temporal.NewSearchAttributes(
				temporal.NewSearchAttributeKeyKeyword(contract.AttrOrg).ValueSet(string(s.in.OrgID)),
				temporal.NewSearchAttributeKeyKeyword(contract.AttrIntegration).ValueSet(string(s.in.IntegrationID)),
				temporal.NewSearchAttributeKeyKeyword(contract.AttrProvider).ValueSet(s.view.Provider),
				temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(domain.SyncRunning)),
			),
		})
		return workflow.ExecuteChildWorkflow(child, contract.SyncWorkflow, contract.SyncInput{OrgID: s.in.OrgID, IntegrationID: s.in.IntegrationID,
			RunID: run, By: "onboarding"})
	}, &p)
	if err != nil {
		return outcome{}, err
	}
	note := fmt.Sprintf("read %d entries, %d of them new or changed", p.Seen, p.Applied)
	if p.Rejected > 0 {
		note += fmt.Sprintf("; %d could not be understood", p.Rejected)
	}
	if p.Quarantined > 0 {
		note += fmt.Sprintf("; %d removals wait for a person", p.Quarantined)
	}
	return outcome{note: note}, nil
}

func (s *onboarding) activate(ctx workflow.Context, ref activities.OnboardRef) error {
	err := persistently(ctx, func() error {
		var now activities.OnboardView
		err := workflow.ExecuteLocalActivity(database(ctx, "activate"), steps.Onboardings.ActivateIntegration, ref).Get(ctx, &now)
		if err == nil {
			s.note(now)
		}
		return err
	})
	s.made, s.Tries = false, 0
	return err
}

// refused takes back what was made outside and lets the onboarding wait. A fault that may pass is tried again by itself.
func (s *onboarding) refused(ctx workflow.Context, ref activities.OnboardRef, name domain.OnboardStep, kind domain.ErrorKind) error {
	in := activities.MoveOnboardingInput{OnboardRef: ref, Step: name, To: domain.OnboardStepFailed, Kind: kind}
	if s.made {
		if err := s.undo(ctx); err != nil {
			return err
		}
		if name != domain.OnboardWebhooks {
			in.Undone = []domain.OnboardStep{domain.OnboardWebhooks}
		}
	}
	if retryableKind(kind) {
		in.Retry = workflow.Now(ctx).Add(min(firstRetry<<min(s.Tries, 10), longestRetry))
		s.Tries++
	}
	_, err := s.move(ctx, in)
	return err
}

// undo ends what the system was asked to tell. What cannot be ended now is ended by the integration's own workflow later.
func (s *onboarding) undo(ctx workflow.Context) error {
	err := workflow.ExecuteActivity(connecting(ctx, "take webhooks back"), steps.Watches.KeepWatches,
		activities.KeepWatchesInput{Org: s.in.OrgID, Integration: s.in.IntegrationID, For: activities.WatchesEnd}).Get(ctx, nil)
	if temporal.IsCanceledError(err) {
		return err
	}
	if err != nil {
		workflow.GetLogger(ctx).Warn("webhooks were not taken back; that is tried again with the integration's watches", "error", err)
	}
	s.made = false
	return nil
}

// giveUp undoes everything and ends the onboarding.
func (s *onboarding) giveUp(ctx workflow.Context, state domain.OnboardingState) error {
	if s.made || s.view.CanWatch && s.view.Public {
		if err := s.undo(ctx); err != nil {
			return err
		}
	}
	return persistently(ctx, func() error {
		var now activities.OnboardView
		err := workflow.ExecuteLocalActivity(database(ctx, "end as "+string(state)), steps.Onboardings.EndOnboarding,
			activities.EndOnboardingInput{LoadOnboardingInput: s.input(), State: state}).Get(ctx, &now)
		if err == nil {
			s.note(now)
		}
		return err
	})
}
