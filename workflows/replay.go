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

// Replay hands deliveries in once more, page by page and no faster than asked. Copies and position commit together, so a
// run that dies goes on where it was. People pause it, let it go on, or end it where it is.
func Replay(ctx workflow.Context, in contract.ReplayInput) (contract.ReplayProgress, error) {
	s := &replay{in: in, ref: activities.ReplayRef{Org: in.OrgID, Replay: in.ReplayID}}
	s.State = domain.ReplayRunning
	if in.Carried != nil {
		s.ReplayProgress = *in.Carried
	}
	if err := s.setup(ctx); err != nil {
		return s.ReplayProgress, err
	}
	err := s.run(ctx)
	if workflow.IsContinueAsNewError(err) {
		return s.ReplayProgress, err
	}
	return s.ReplayProgress, s.end(ctx, err)
}

// replayPages bounds the deliveries of one step.
const replayPages = 100

type replay struct {
	in  contract.ReplayInput
	ref activities.ReplayRef
	contract.ReplayProgress
	orders []*replayOrder
	nextAt time.Time // no page before this, also when somebody paused and resumed in between
}

// replayOrder is what a person asked for, noted by its handler and carried out by the loop.
type replayOrder struct {
	state domain.ReplayState
	done  bool
	err   error
}

func (s *replay) setup(ctx workflow.Context) error {
	if err := workflow.SetQueryHandler(ctx, contract.QueryProgress, func() (contract.ReplayProgress, error) { return s.ReplayProgress, nil }); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, contract.UpdatePause, func(ctx workflow.Context, _ contract.PauseRequest) (contract.ReplayStateResult, error) {
		return s.take(ctx, domain.ReplayPaused)
	}, workflow.UpdateHandlerOptions{Validator: func(_ workflow.Context, r contract.PauseRequest) error { return s.may(r.By) }}); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, contract.UpdateResume, func(ctx workflow.Context, _ contract.ResumeRequest) (contract.ReplayStateResult, error) {
		return s.take(ctx, domain.ReplayRunning)
	}, workflow.UpdateHandlerOptions{Validator: func(_ workflow.Context, r contract.ResumeRequest) error { return s.may(r.By) }}); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, contract.UpdateCancel, func(ctx workflow.Context, _ contract.CancelRequest) (contract.ReplayStateResult, error) {
		return s.take(ctx, domain.ReplayCancelled)
	}, workflow.UpdateHandlerOptions{Validator: func(_ workflow.Context, r contract.CancelRequest) error { return s.may(r.By) }})
}

// may refuses what makes no sense; asking for the state that is there already is fine.
func (s *replay) may(by string) error {
	if by == "" {
		return temporal.NewApplicationError("by: who asks is required", "Invalid")
	}
	if s.State.Ended() {
		return temporal.NewApplicationError("the replay has ended", "Refused")
	}
	return nil
}

func (s *replay) take(ctx workflow.Context, state domain.ReplayState) (contract.ReplayStateResult, error) {
	o := &replayOrder{state: state}
	s.orders = append(s.orders, o)
	if err := workflow.Await(ctx, func() bool { return o.done }); err != nil {
		return contract.ReplayStateResult{}, err
	}
	return contract.ReplayStateResult{State: s.State}, o.err
}

func (s *replay) run(ctx workflow.Context) error {
	if s.in.Carried == nil {
		if err := persistently(ctx, func() error {
			var v activities.ReplayView
			err := workflow.ExecuteLocalActivity(database(ctx, "count deliveries"), steps.Replays.BeginReplay, s.ref).Get(ctx, &v)
			if err == nil {
				s.note(v)
			}
			return err
		}); err != nil {
			return err
		}
	}
	for !s.State.Ended() {
		s.carryOut(ctx)
		s.describe(ctx)
		switch {
		case len(s.orders) > 0:
			continue
		case s.State.Ended():
			return nil
		case workflow.GetInfo(ctx).GetContinueAsNewSuggested() && workflow.AllHandlersFinished(ctx):
			carried := s.ReplayProgress
			return workflow.NewContinueAsNewError(ctx, contract.ReplayWorkflow,
				contract.ReplayInput{OrgID: s.in.OrgID, ReplayID: s.in.ReplayID, Carried: &carried})
		case s.State == domain.ReplayPaused:
			if err := workflow.Await(ctx, s.asked); err != nil {
				return err
			}
			continue
		}
		if wait := s.nextAt.Sub(workflow.Now(ctx)); wait > 0 {
			if _, err := workflow.AwaitWithTimeout(ctx, wait, s.asked); err != nil {
				return err
			}
			if s.asked() {
				continue
			}
		}
		page, err := s.page(ctx)
		if err != nil {
			return err
		}
		if s.State != domain.ReplayRunning {
			continue
		}
		if !page.More {
			return nil
		}
		s.nextAt = workflow.Now(ctx).Add(time.Duration(page.Took) * time.Second / time.Duration(max(s.Rate, 1)))
	}
	return nil
}

func (s *replay) asked() bool { return len(s.orders) > 0 }

// page takes the next deliveries. While the database cannot be reached people are still answered: it stops trying when
// one asks.
func (s *replay) page(ctx workflow.Context) (page activities.ReplayPageResult, err error) {
	for n := 1; ; n++ {
		err = workflow.ExecuteLocalActivity(database(ctx, fmt.Sprintf("page %d", s.Pages+1)), steps.Replays.ReplayPage,
			activities.ReplayPageInput{ReplayRef: s.ref, Limit: min(max(s.Rate, 1), replayPages)}).Get(ctx, &page)
		if err == nil {
			s.Pages++
			s.note(page.ReplayView)
			return page, nil
		}
		if n > 25 || !retryableKind(kindOf(err)) || temporal.IsCanceledError(err) {
			return page, err
		}
		called, waitErr := workflow.AwaitWithTimeout(ctx, backoff(n), s.asked)
		if waitErr != nil {
			return page, waitErr
		}
		if called {
			page.More = true
			return page, nil
		}
	}
}

func (s *replay) note(v activities.ReplayView) {
	s.State, s.DryRun, s.Rate, s.Total, s.Seen, s.Replayed, s.Skipped = v.State, v.DryRun, v.Rate, v.Total, v.Seen, v.Replayed, v.Skipped
}

// carryOut does what people asked for, in order.
func (s *replay) carryOut(ctx workflow.Context) {
	for len(s.orders) > 0 {
		o := s.orders[0]
		s.orders = s.orders[1:]
		if err := s.set(ctx, o.state, ""); err != nil {
			o.err = temporal.NewApplicationError("the state could not be stored; try again", "Unavailable", err)
		}
		o.done = true
	}
}

func (s *replay) set(ctx workflow.Context, state domain.ReplayState, kind domain.ErrorKind) error {
	var v activities.ReplayView
	err := workflow.ExecuteLocalActivity(database(ctx, "become "+string(state)), steps.Replays.SetReplayState,
		activities.SetReplayStateInput{ReplayRef: s.ref, State: state, Kind: kind}).Get(ctx, &v)
	if err == nil {
		s.note(v)
		attr := temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(s.State))
		if attrErr := workflow.UpsertTypedSearchAttributes(ctx, attr); attrErr != nil {
			workflow.GetLogger(ctx).Warn("state was not shown in the search attributes", "error", attrErr)
		}
	}
	return err
}

// end records how it ended, also when the workflow itself was cancelled, and answers whoever still asks.
func (s *replay) end(ctx workflow.Context, cause error) error {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	if !s.State.Ended() {
		state := domain.ReplayDone
		switch {
		case temporal.IsCanceledError(cause):
			state = domain.ReplayCancelled
		case cause != nil:
			state = domain.ReplayFailed
		}
		kind := kindOf(cause)
		if state != domain.ReplayFailed {
			kind = ""
		}
		if err := persistently(ctx, func() error { return s.set(ctx, state, kind) }); err != nil {
			workflow.GetLogger(ctx).Error("the end of the replay was not stored", "error", err)
			s.State = state
		}
	}
	for len(s.orders) > 0 {
		o := s.orders[0]
		s.orders = s.orders[1:]
		if o.state != s.State {
			o.err = temporal.NewApplicationError("the replay has ended", "Refused")
		}
		o.done = true
	}
	s.describe(ctx)
	if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }); err != nil {
		return err
	}
	return cause
}

func (s *replay) describe(ctx workflow.Context) {
	what := "replay"
	if s.DryRun {
		what = "dry run"
	}
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("**%s** (%s) · %d of %d looked at · handed in %d · skipped %d · at most %d/s",
		s.State, what, s.Seen, s.Total, s.Replayed, s.Skipped, s.Rate))
}
