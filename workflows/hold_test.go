package workflows_test

import (
	"context"
	"testing"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/workflows"
)

const held = domain.BookingID("01900000-0000-7000-8000-000000000041")

// holding is a hold whose row is in memory.
type holding struct {
	*stage
	state   domain.HoldState
	expires time.Time
	clock   time.Duration // how far the store's clock is behind the workflow's
	fault   func(n int) error
}

func newHolding(t *testing.T) *holding {
	s := &holding{stage: newStage(t, contract.HoldWorkflowID(held)), state: domain.HoldLive, expires: start.Add(48 * time.Hour)}
	s.RegisterWorkflowWithOptions(workflows.Hold, workflow.RegisterOptions{Name: contract.HoldWorkflow})
	s.RegisterActivity(&holdRow{s})
	return s
}

// holdRow stands in for the activities.
type holdRow struct{ s *holding }

func (a *holdRow) ExpireHold(context.Context, activities.ExpireHoldInput) (contract.HoldStatus, error) {
	n := a.s.called("ExpireHold")
	if a.s.fault != nil {
		if err := a.s.fault(n); err != nil {
			return contract.HoldStatus{}, err
		}
	}
	if a.s.state == domain.HoldLive && !a.s.expires.After(a.s.Now().Add(-a.s.clock)) {
		a.s.state = domain.HoldExpired
	}
	return contract.HoldStatus{State: a.s.state, ExpiresAt: a.s.expires}, nil
}

func (s *holding) run() (out contract.HoldStatus) {
	s.t.Helper()
	s.ExecuteWorkflow(contract.HoldWorkflow, contract.HoldInput{OrgID: org, BookingID: held})
	s.ended(nil)
	s.must(s.GetWorkflowResult(&out))
	return out
}

func TestAHoldEndsWhenItsTimeHasCome(t *testing.T) {
	t.Parallel()
	s := newHolding(t)
	s.at(time.Hour, func() {
		if got := ask[contract.HoldStatus](s.stage, contract.QueryStatus); got.State != domain.HoldLive || !got.ExpiresAt.Equal(s.expires) {
			t.Errorf("asked after an hour: %+v", got)
		}
	})
	if out := s.run(); out.State != domain.HoldExpired || s.count("ExpireHold") != 2 || s.after("ExpireHold", 2) != 48*time.Hour {
		t.Errorf("ended as %+v after %s", out, s.after("ExpireHold", 2))
	}
}

func TestAnExtendedHoldLastsLonger(t *testing.T) {
	t.Parallel()
	s := newHolding(t)
	s.at(47*time.Hour, func() {
		s.expires = start.Add(100 * time.Hour)
		s.SignalWorkflow(contract.SignalHold, nil)
	})
	if out := s.run(); out.State != domain.HoldExpired || s.after("ExpireHold", s.count("ExpireHold")) != 100*time.Hour {
		t.Errorf("ended as %+v after %s", out, s.after("ExpireHold", s.count("ExpireHold")))
	}
}

func TestAConfirmedHoldEndsAtOnce(t *testing.T) {
	t.Parallel()
	s := newHolding(t)
	s.at(time.Hour, func() {
		s.state = domain.HoldConfirmed
		s.SignalWorkflow(contract.SignalHold, nil)
	})
	if out := s.run(); out.State != domain.HoldConfirmed || s.after("ExpireHold", s.count("ExpireHold")) != time.Hour {
		t.Errorf("ended as %+v after %s", out, s.after("ExpireHold", s.count("ExpireHold")))
	}
}

func TestAHoldWaitsForTheStoresClockAndThroughAnOutage(t *testing.T) {
	t.Parallel()
	s := newHolding(t)
	s.clock = 10 * time.Second
	s.fault = func(n int) error {
		if n > 1 && n < 8 {
			return errDown
		}
		return nil
	}
	out := s.run()
	late := s.after("ExpireHold", s.count("ExpireHold")) - 48*time.Hour
	if out.State != domain.HoldExpired || late < 10*time.Second || late > 2*time.Minute || s.count("ExpireHold") > 40 {
		t.Errorf("ended as %+v, %s late, after %d looks", out, late, s.count("ExpireHold"))
	}
}

func TestAHoldThatIsToldOftenTakesANewRun(t *testing.T) {
	t.Parallel()
	s := newHolding(t)
	s.SetContinueAsNewSuggested(true)
	s.ExecuteWorkflow(contract.HoldWorkflow, contract.HoldInput{OrgID: org, BookingID: held})
	if in := carried[contract.HoldInput](s.stage); in.OrgID != org || in.BookingID != held {
		t.Errorf("the new run gets %+v", in)
	}
}
