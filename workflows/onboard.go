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
