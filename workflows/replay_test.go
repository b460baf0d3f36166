package workflows_test

import (
	"context"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/workflows"
)

const replay1 = domain.ReplayID("01900000-0000-7000-8000-000000000031")

// replaying is a replay over rows that are numbers.
type replaying struct {
	*stage
	input   contract.ReplayInput
	view    activities.ReplayView
	pages   []int // limits asked for
	states  []activities.SetReplayStateInput
	pageErr func(n int) error
	setErr  func(n int) error
}

func newReplaying(t *testing.T, total, rate int) *replaying {
	s := &replaying{stage: newStage(t, contract.ReplayWorkflowID(replay1)), input: contract.ReplayInput{OrgID: org, ReplayID: replay1},
		view: activities.ReplayView{State: domain.ReplayRunning, Rate: rate, Total: total}}
	s.RegisterWorkflowWithOptions(workflows.Replay, workflow.RegisterOptions{Name: contract.ReplayWorkflow})
	s.RegisterActivity(&replayRows{s})
	return s
}

// replayRows stands in for the activities.
type replayRows struct{ s *replaying }

func (a *replayRows) BeginReplay(_ context.Context, _ activities.ReplayRef) (activities.ReplayView, error) {
	a.s.called("BeginReplay")
	return a.s.view, nil
}

func (a *replayRows) ReplayPage(_ context.Context, in activities.ReplayPageInput) (out activities.ReplayPageResult, err error) {
	n := a.s.called("ReplayPage")
	if a.s.pageErr != nil {
		if err := a.s.pageErr(n); err != nil {
			return out, err
		}
	}
	a.s.pages = append(a.s.pages, in.Limit)
	v := &a.s.view
	out.Took = min(in.Limit, v.Total-v.Seen)
	v.Seen += out.Took
	v.Replayed += out.Took
	out.More, out.ReplayView = out.Took == in.Limit, *v
	return out, nil
}

func (a *replayRows) SetReplayState(_ context.Context, in activities.SetReplayStateInput) (activities.ReplayView, error) {
	n := a.s.called("SetReplayState")
	if a.s.setErr != nil {
		if err := a.s.setErr(n); err != nil {
			return activities.ReplayView{}, err
		}
	}
	a.s.states = append(a.s.states, in)
	a.s.view.State = in.State
	return a.s.view, nil
}

func (s *replaying) run() (p contract.ReplayProgress) {
	s.t.Helper()
	s.ExecuteWorkflow(contract.ReplayWorkflow, s.input)
	if s.GetWorkflowError() == nil {
		s.must(s.GetWorkflowResult(&p))
	}
	return p
}

func (s *replaying) endedAs(state domain.ReplayState) {
	s.t.Helper()
	if len(s.states) == 0 || s.states[len(s.states)-1].State != state {
		s.t.Errorf("the end was stored as %+v, want %s", s.states, state)
	}
}

func TestReplayKeepsItsRateAndEndsWhenNothingIsLeft(t *testing.T) {
	t.Parallel()
	s := newReplaying(t, 250, 50)
	got := s.run()
	want := contract.ReplayProgress{State: domain.ReplayDone, Rate: 50, Total: 250, Seen: 250, Replayed: 250, Pages: 6}
	if got != want {
		t.Errorf("result %+v, want %+v", got, want)
	}
	s.endedAs(domain.ReplayDone)
	if at := s.after("ReplayPage", 6); at < 5*time.Second || at > 6*time.Second {
		t.Errorf("250 deliveries at 50/s took %s", at)
	}
	if got := ask[contract.ReplayProgress](s.stage, contract.QueryProgress); got != want {
		t.Errorf("progress %+v", got)
	}

	fast := newReplaying(t, 250, 1000)
	fast.run()
	if at := fast.after("ReplayPage", 3); at < 200*time.Millisecond || at > time.Second || fast.pages[0] != 100 {
		t.Errorf("250 deliveries at 1000/s took %s in pages of %v", at, fast.pages)
	}
}

func TestReplayIsPausedResumedAndCancelledByPeople(t *testing.T) {
	t.Parallel()
	s := newReplaying(t, 1000, 10)
	var paused, resumed, cancelled *updated[contract.ReplayStateResult]
	s.at(5*time.Second+500*time.Millisecond, func() {
		paused = update[contract.ReplayStateResult](s.stage, contract.UpdatePause, "p", contract.PauseRequest{By: "alex"})
	})
	seen := 0
	s.at(10*time.Second, func() { seen = ask[contract.ReplayProgress](s.stage, contract.QueryProgress).Seen })
	var nobody *updated[contract.ReplayStateResult]
	s.at(time.Hour-time.Second, func() {
		nobody = update[contract.ReplayStateResult](s.stage, contract.UpdateResume, "n", contract.ResumeRequest{})
		if got := ask[contract.ReplayProgress](s.stage, contract.QueryProgress); got.Seen != seen || got.State != domain.ReplayPaused {
			t.Errorf("while paused %+v, had seen %d", got, seen)
		}
	})
	s.at(time.Hour, func() {
		resumed = update[contract.ReplayStateResult](s.stage, contract.UpdateResume, "r", contract.ResumeRequest{By: "alex"})
	})
	s.at(time.Hour+10*time.Second+500*time.Millisecond, func() {
		cancelled = update[contract.ReplayStateResult](s.stage, contract.UpdateCancel, "c", contract.CancelRequest{By: "alex"})
	})
	got := s.run()
	if got.State != domain.ReplayCancelled || got.Seen != seen+110 || seen != 60 {
		t.Errorf("result %+v, seen %d before the pause", got, seen)
	}
	if paused.result.State != domain.ReplayPaused || resumed.result.State != domain.ReplayRunning || cancelled.result.State != domain.ReplayCancelled {
		t.Errorf("answers %+v %+v %+v", paused, resumed, cancelled)
	}
	if nobody.refused == nil {
		t.Error("an order by nobody was accepted")
	}
	if len(s.states) != 3 {
		t.Errorf("states stored: %+v", s.states)
	}
}

func TestLongReplayGoesOnInANewRun(t *testing.T) {
	t.Parallel()
	s := newReplaying(t, 100, 10)
	s.pageErr = func(n int) error {
		s.SetContinueAsNewSuggested(n == 3)
		return nil
	}
	s.run()
	in := carried[contract.ReplayInput](s.stage)
	if in.Carried == nil || in.Carried.Seen != 30 || in.Carried.Pages != 3 || in.ReplayID != replay1 || len(s.states) != 0 {
		t.Fatalf("input %+v, states %+v", in, s.states)
	}
	next := newReplaying(t, 100, 10)
	next.input, next.view = in, s.view
	if got := next.run(); got.Seen != 100 || got.State != domain.ReplayDone || next.count("BeginReplay") != 0 {
		t.Errorf("result %+v", got)
	}
}

func TestPausedReplayStaysPausedInANewRun(t *testing.T) {
	t.Parallel()
	s := newReplaying(t, 100, 10)
	s.input.Carried = &contract.ReplayProgress{State: domain.ReplayPaused, Rate: 10, Total: 100, Seen: 30, Pages: 3}
	s.at(time.Hour, func() {
		if n := s.count("ReplayPage"); n != 0 {
			t.Errorf("%d pages while paused", n)
		}
		update[contract.ReplayStateResult](s.stage, contract.UpdateCancel, "c", contract.CancelRequest{By: "alex"})
	})
	if got := s.run(); got.State != domain.ReplayCancelled || got.Seen != 0 {
		t.Errorf("result %+v", got)
	}
}

func TestReplayOutlastsADatabaseThatIsDownAndStillAnswers(t *testing.T) {
	t.Parallel()
	s := newReplaying(t, 25, 10)
	s.pageErr = func(n int) error {
		if n > 1 && n < 12 {
			return errDown
		}
		return nil
	}
	if got := s.run(); got.State != domain.ReplayDone || got.Seen != 25 {
		t.Errorf("result %+v", got)
	}

	down := newReplaying(t, 25, 10)
	down.pageErr = func(int) error { return errDown }
	down.at(10*time.Minute, func() {
		update[contract.ReplayStateResult](down.stage, contract.UpdateCancel, "c", contract.CancelRequest{By: "alex"})
	})
	if got := down.run(); got.State != domain.ReplayCancelled {
		t.Errorf("cancelled during the outage: %+v", got)
	}
}

func TestFaultAndCancelledWorkflowAreRecorded(t *testing.T) {
	t.Parallel()
	s := newReplaying(t, 25, 10)
	s.pageErr = func(int) error { return refusedAs(domain.KindInvalid, "no") }
	s.run()
	s.ended(errDown)
	s.endedAs(domain.ReplayFailed)
	if s.states[0].Kind != domain.KindInvalid {
		t.Errorf("end %+v", s.states[0])
	}

	s = newReplaying(t, 1000, 10)
	s.at(5*time.Second, s.CancelWorkflow)
	s.run()
	s.ended(temporal.NewCanceledError())
	s.endedAs(domain.ReplayCancelled)
}

func TestStateThatCannotBeStoredIsToldAndTheReplayGoesOn(t *testing.T) {
	t.Parallel()
	s := newReplaying(t, 100, 10)
	s.setErr = func(n int) error {
		if n <= 3 {
			return errDown
		}
		return nil
	}
	var paused *updated[contract.ReplayStateResult]
	s.at(2*time.Second, func() {
		paused = update[contract.ReplayStateResult](s.stage, contract.UpdatePause, "p", contract.PauseRequest{By: "alex"})
	})
	if got := s.run(); got.State != domain.ReplayDone || got.Seen != 100 {
		t.Errorf("result %+v", got)
	}
	if paused.err == nil {
		t.Error("the pause was answered as done")
	}
}
