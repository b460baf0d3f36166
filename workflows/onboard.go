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

// Onboard brings a connection from credentials to an integration that works: it checks the credentials, looks for another
// connection to the same place, asks the system to tell of changes, reads everything, probes once more, and only then lets
// the integration run. A step that is refused takes back what the steps before it made outside, and the onboarding waits
// until somebody has mended it, for thirty days; a system that cannot be reached is tried again without anybody asking.
// Where it stands is in Postgres. The workflow follows the row: changed settings begin anew, a deleted integration ends it.
func Onboard(ctx workflow.Context, in contract.OnboardInput) (contract.OnboardStatus, error) {
	s := &onboarding{in: in, told: workflow.GetSignalChannel(ctx, contract.SignalOnboarding)}
	if in.Carried != nil {
		s.OnboardCarried = *in.Carried
	}
	s.Runs++
	if err := s.setup(ctx); err != nil {
		return s.status(), err
	}
	err := s.run(ctx)
	if temporal.IsCanceledError(err) {
		// An operator ended the workflow itself. What it made is undone all the same.
		s.enough = true
		safe, cancel := workflow.NewDisconnectedContext(ctx)
		defer cancel()
		err = errors.Join(err, s.run(safe))
	}
	return s.status(), err
}

type onboarding struct {
	in contract.OnboardInput
	contract.OnboardCarried
	told workflow.ReceiveChannel

	view   activities.OnboardView
	loaded bool
	orders []*onboardOrder
	enough bool // the workflow itself was cancelled
	made   bool // this run asked the system to tell of changes
	shown  domain.OnboardingState
}

// onboardOrder is what a person asked for, noted by its handler and carried out by the loop.
type onboardOrder struct {
	cancel         bool
	allowDuplicate bool
	done           bool
	err            error
}

const (
	// firstRetry is the wait before a system that could not be reached is tried again; it doubles up to longestRetry.
	firstRetry   = 5 * time.Minute
	longestRetry = 6 * time.Hour
)

func (s *onboarding) setup(ctx workflow.Context) error {
	if err := workflow.SetQueryHandler(ctx, contract.QueryStatus, func() (contract.OnboardStatus, error) { return s.status(), nil }); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, contract.UpdateResume, func(ctx workflow.Context, r contract.OnboardResumeRequest) (contract.OnboardStatus, error) {
		return s.take(ctx, &onboardOrder{allowDuplicate: r.AllowDuplicate})
	}, workflow.UpdateHandlerOptions{Validator: func(_ workflow.Context, r contract.OnboardResumeRequest) error { return s.may(r.By) }}); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, contract.UpdateCancel, func(ctx workflow.Context, _ contract.CancelRequest) (contract.OnboardStatus, error) {
		return s.take(ctx, &onboardOrder{cancel: true})
	}, workflow.UpdateHandlerOptions{Validator: func(_ workflow.Context, r contract.CancelRequest) error { return s.may(r.By) }})
}

func (s *onboarding) status() contract.OnboardStatus {
	return contract.OnboardStatus{OnboardingID: s.view.Onboarding, State: s.view.State, Step: s.view.Step, Attempt: s.view.Attempt, Kind: s.view.Kind,
		RunID: s.view.RunID, RetryAt: s.view.RetryAt, Runs: s.Runs}
}

// may refuses what makes no sense. The first message of a run may come before the row was read.
func (s *onboarding) may(by string) error {
	if by == "" {
		return temporal.NewApplicationError("by: who asks is required", "Invalid")
	}
	if s.loaded && s.view.State.Ended() && s.told.Len() == 0 {
		return errOnboarded
	}
	return nil
}

var errOnboarded = temporal.NewApplicationError("the onboarding has ended", "Refused")

func (s *onboarding) take(ctx workflow.Context, o *onboardOrder) (contract.OnboardStatus, error) {
	if !o.cancel && s.loaded && s.view.State == domain.OnboardingRunning {
		return s.status(), nil // it goes on already
	}
	s.orders = append(s.orders, o)
	if err := workflow.Await(ctx, func() bool { return o.done }); err != nil {
		return contract.OnboardStatus{}, err
	}
	return s.status(), o.err
}

func (s *onboarding) run(ctx workflow.Context) error {
	for {
		for s.told.ReceiveAsync(nil) {
		}
		if err := s.load(ctx); err != nil {
			return err
		}
		s.carryOut(ctx)
		s.describe(ctx)
		var err error
		switch s.view.State {
		case domain.OnboardingRunning:
			err = s.attempt(ctx)
		case domain.OnboardingCancelling:
			err = s.giveUp(ctx, domain.OnboardingCancelled)
		case domain.OnboardingWaiting:
			err = s.wait(ctx)
		case domain.OnboardingDone, domain.OnboardingCancelled, domain.OnboardingFailed:
			if err := workflow.Await(ctx, func() bool { return len(s.orders) > 0 || s.told.Len() > 0 || workflow.AllHandlersFinished(ctx) }); err != nil {
				return err
			}
			if len(s.orders) == 0 && s.told.Len() == 0 {
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
}

func (s *onboarding) load(ctx workflow.Context) error {
	return persistently(ctx, func() error {
		now, err := s.look(ctx)
		if err == nil {
			s.note(now)
		}
		return err
	})
}

func (s *onboarding) look(ctx workflow.Context) (now activities.OnboardView, err error) {
	err = workflow.ExecuteLocalActivity(database(ctx, "look at the onboarding"), steps.Onboardings.LoadOnboarding, s.input()).Get(ctx, &now)
	return now, err
}

func (s *onboarding) input() activities.LoadOnboardingInput {
	return activities.LoadOnboardingInput{Org: s.in.OrgID, Integration: s.in.IntegrationID}
}

func (s *onboarding) ref() activities.OnboardRef {
	return activities.OnboardRef{Org: s.in.OrgID, Integration: s.in.IntegrationID, Onboarding: s.view.Onboarding, Attempt: s.view.Attempt}
}

func (s *onboarding) note(v activities.OnboardView) { s.view, s.loaded = v, true }

// carryOut does what people asked for, in order.
func (s *onboarding) carryOut(ctx workflow.Context) {
	if s.enough {
		s.enough = false
		s.orders = append([]*onboardOrder{{cancel: true}}, s.orders...)
	}
	for len(s.orders) > 0 {
		o := s.orders[0]
		s.orders = s.orders[1:]
		ended := s.view.State.Ended()
		var now activities.OnboardView
		var err error
		switch {
		case ended && !o.cancel || ended && s.view.State != domain.OnboardingCancelled:
			o.err = errOnboarded
		case o.cancel:
			err = workflow.ExecuteLocalActivity(database(ctx, "cancel"), steps.Onboardings.CancelOnboarding, s.input()).Get(ctx, &now)
		default:
			s.Tries = 0
			err = workflow.ExecuteLocalActivity(database(ctx, "begin anew"), steps.Onboardings.AgainOnboarding,
				activities.AgainOnboardingInput{LoadOnboardingInput: s.input(), AllowDuplicate: o.allowDuplicate}).Get(ctx, &now)
		}
		switch {
		case err != nil:
			o.err = temporal.NewApplicationError("it could not be stored; try again", "Unavailable", err)
		case o.err == nil:
			s.note(now)
		}
		o.done = true
	}
}

// cancelled reports whether somebody wants the end.
func (s *onboarding) cancelled() bool {
	for _, o := range s.orders {
		if o.cancel {
			return true
		}
	}
	return false
}

// attempt takes the steps in their order until one is refused or the row says that something else is to be done.
func (s *onboarding) attempt(ctx workflow.Context) error {
	ref := s.ref()
	for _, name := range domain.OnboardSteps() {
		if going, err := s.move(ctx, activities.MoveOnboardingInput{OnboardRef: ref, Step: name, To: domain.OnboardStepRunning}); err != nil || !going {
			return err
		}
		s.describe(ctx)
		if name == domain.OnboardActivation {
			return s.activate(ctx, ref)
		}
		out, err := s.step(ctx, name, ref)
		switch {
		case errors.Is(err, errInterrupted):
			return nil
		case temporal.IsCanceledError(err):
			return err
		case err != nil || out.kind != "":
			kind := out.kind
			if err != nil {
				kind = kindOf(err)
			}
			return s.refused(ctx, ref, name, kind)
		}
		to := domain.OnboardStepDone
		if out.skipped {
			to = domain.OnboardStepSkipped
		}
		if going, err := s.move(ctx, activities.MoveOnboardingInput{OnboardRef: ref, Step: name, To: to, Note: out.note}); err != nil || !going {
			return err
		}
	}
	return nil
}

// move stores a step. going says that the attempt is still the current one.
func (s *onboarding) move(ctx workflow.Context, in activities.MoveOnboardingInput) (going bool, err error) {
	err = persistently(ctx, func() error {
		var now activities.OnboardView
		err := workflow.ExecuteLocalActivity(database(ctx, string(in.Step)+" "+string(in.To)), steps.Onboardings.MoveOnboarding, in).Get(ctx, &now)
		if err == nil {
			s.note(now)
		}
		return err
	})
	return err == nil && s.view.State == domain.OnboardingRunning && s.view.Onboarding == in.Onboarding && s.view.Attempt == in.Attempt && !s.cancelled(), err
}

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

// wait lets a person mend what was refused. It returns when somebody asks, when the row changed, or when its time has come.
func (s *onboarding) wait(ctx workflow.Context) error {
	now := workflow.Now(ctx)
	over := s.view.WaitingSince.Add(domain.OnboardingPatience)
	if !over.After(now) {
		return s.giveUp(ctx, domain.OnboardingFailed)
	}
	if due(s.view.RetryAt, now) {
		return persistently(ctx, func() error {
			return workflow.ExecuteLocalActivity(database(ctx, "try again"), steps.Onboardings.AgainOnboarding,
				activities.AgainOnboardingInput{LoadOnboardingInput: s.input(), Auto: true}).Get(ctx, nil)
		})
	}
	if workflow.GetInfo(ctx).GetContinueAsNewSuggested() && workflow.AllHandlersFinished(ctx) && s.told.Len() == 0 && len(s.orders) == 0 {
		carried := s.OnboardCarried
		return workflow.NewContinueAsNewError(ctx, contract.OnboardWorkflow,
			contract.OnboardInput{OrgID: s.in.OrgID, IntegrationID: s.in.IntegrationID, Carried: &carried})
	}
	until := over
	if !s.view.RetryAt.IsZero() && s.view.RetryAt.Before(until) {
		until = s.view.RetryAt
	}
	// At least a second, so that two clocks that differ do not make the workflow spin.
	called, err := workflow.AwaitWithTimeout(ctx, max(until.Sub(now), time.Second), func() bool { return s.told.Len() > 0 || len(s.orders) > 0 })
	if called {
		s.Tries = 0 // somebody did something about it
	}
	return err
}

// describe tells operators in Temporal UI where the onboarding stands.
func (s *onboarding) describe(ctx workflow.Context) {
	text := fmt.Sprintf("**%s** · attempt %d", s.view.State, s.view.Attempt)
	if s.view.Step != "" {
		text += " · " + string(s.view.Step)
	}
	if s.view.Kind != "" {
		text += " · refused: " + string(s.view.Kind)
	}
	if s.view.RunID != "" {
		text += "\n\nreading: `sync/" + string(s.view.RunID) + "`"
	}
	if !s.view.RetryAt.IsZero() {
		text += "\n\ntried again " + s.view.RetryAt.Format(time.RFC3339)
	}
	workflow.SetCurrentDetails(ctx, text)
	if s.shown == s.view.State {
		return
	}
	s.shown = s.view.State
	attr := temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(s.view.State))
	if err := workflow.UpsertTypedSearchAttributes(ctx, attr); err != nil {
		workflow.GetLogger(ctx).Warn("state was not shown in the search attributes", "error", err)
	}
}
