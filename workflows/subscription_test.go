package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/workflows"
)

const receiverID = domain.SubscriptionID("01900000-0000-7000-8000-000000000031")

// sender stands in for the steps of a subscription.
type sender struct {
	*script
	send func(n int) (activities.SendEventsResult, error)
}

func (s *sender) SendEvents(context.Context, activities.SubscriptionStep) (activities.SendEventsResult, error) {
	return answer(s.script, "SendEvents", s.send)
}

func (s *sender) SendTest(_ context.Context, in activities.SendTestInput) (contract.TestResult, error) {
	return answer(s.script, "SendTest", func(int) (contract.TestResult, error) {
		return contract.TestResult{Delivered: true, Status: 204, MessageID: string(in.Test.ID)}, nil
	})
}

func (s *sender) SetSubscriptionState(_ context.Context, in activities.SetSubscriptionStateInput) (domain.SubscriptionState, error) {
	return answer(s.script, "SetSubscriptionState", func(int) (domain.SubscriptionState, error) { return in.State, nil })
}

// broadcastStage lets the workflow send as the function says; nil finds nothing to send.
func broadcastStage(t *testing.T, send func(n int) (activities.SendEventsResult, error)) *stage {
	t.Helper()
	s := newStage(t, contract.SubscriptionWorkflowID(receiverID))
	if send == nil {
		send = func(int) (activities.SendEventsResult, error) {
			return activities.SendEventsResult{State: domain.SubscriptionActive}, nil
		}
	}
	steps := &sender{script: s.script, send: send}
	s.RegisterActivity(steps.SendEvents)
	s.RegisterActivity(steps.SendTest)
	s.RegisterActivity(steps.SetSubscriptionState)
	return s
}

func (s *stage) runSubscription() {
	s.ExecuteWorkflow(workflows.Subscription, contract.SubscriptionInput{OrgID: org, SubscriptionID: receiverID})
}

func TestIdleSubscriptionDoesNothingUntilItIsWoken(t *testing.T) {
	t.Parallel()
	over := false
	s := broadcastStage(t, nil)
	s.at(1000*time.Hour, func() {
		if n := s.count("SendEvents"); n != 1 {
			t.Errorf("%d looks in 1,000 hours, want the first one only", n)
		}
		s.SignalWorkflow(contract.SignalWake, contract.WakeSignal{})
	})
	s.at(1001*time.Hour, func() {
		if n := s.count("SendEvents"); n != 2 {
			t.Errorf("%d looks after a wake, want 2", n)
		}
		over = true
		s.CancelWorkflow()
	})
	s.runSubscription()
	if !over {
		t.Error("ended early")
	}
}

func TestWakesDoNotShortenTheWaitForTheNextAttemptAndChangesDo(t *testing.T) {
	t.Parallel()
	s := broadcastStage(t, func(n int) (activities.SendEventsResult, error) {
		if n >= 3 {
			return activities.SendEventsResult{State: domain.SubscriptionDeleted}, nil
		}
		return activities.SendEventsResult{State: domain.SubscriptionActive, Failed: 1, RetryAt: start.Add(time.Duration(n) * 10 * time.Hour)}, nil
	})
	s.at(time.Hour, func() { s.SignalWorkflow(contract.SignalWake, contract.WakeSignal{}) })
	s.at(12*time.Hour, func() { s.SignalWorkflow(contract.SignalWake, contract.WakeSignal{Changed: true}) })
	s.runSubscription()
	s.ended(nil)
	if second, third := s.after("SendEvents", 2), s.after("SendEvents", 3); second < 10*time.Hour || second > 11*time.Hour || third < 12*time.Hour || third > 13*time.Hour {
		t.Errorf("tried again after %s and %s, want after 10 h and, by the change, 12 h", second, third)
	}
}

func TestStorageFaultIsWaitedOut(t *testing.T) {
	t.Parallel()
	s := broadcastStage(t, func(n int) (activities.SendEventsResult, error) {
		if n <= 5 { // all tries of the first step
			return activities.SendEventsResult{}, errDown
		}
		return activities.SendEventsResult{State: domain.SubscriptionDeleted}, nil
	})
	s.runSubscription()
	s.ended(nil)
	if n := s.count("SendEvents"); n != 6 {
		t.Errorf("%d looks, want 6", n)
	}
}

func TestPeoplePauseResumeAndTestASubscription(t *testing.T) {
	t.Parallel()
	s := broadcastStage(t, nil)
	var paused, resumed *updated[contract.SubscriptionStateResult]
	var tested *updated[contract.TestResult]
	var nobody, nameless *updated[contract.SubscriptionStateResult]
	s.at(time.Minute, func() {
		nobody = update[contract.SubscriptionStateResult](s, contract.UpdatePause, "u0", contract.PauseRequest{})
		nameless = update[contract.SubscriptionStateResult](s, contract.UpdateTest, "u1", contract.TestRequest{By: "admin-1"})
		paused = update[contract.SubscriptionStateResult](s, contract.UpdatePause, "u2", contract.PauseRequest{By: "admin-1"})
	})
	s.at(2*time.Minute, func() {
		if got := ask[contract.SubscriptionStatus](s, contract.QueryStatus); got.State != domain.SubscriptionPaused {
			t.Errorf("status %+v", got)
		}
		tested = update[contract.TestResult](s, contract.UpdateTest, "u3", contract.TestRequest{ID: "t1", By: "admin-1"})
		resumed = update[contract.SubscriptionStateResult](s, contract.UpdateResume, "u4", contract.SubscriptionResumeRequest{By: "admin-1", FromNow: true})
	})
	s.at(3*time.Minute, func() {
		if n := s.count("SendEvents"); n != 2 {
			t.Errorf("%d looks, want one at the start and one after the resume", n)
		}
		s.CancelWorkflow()
	})
	s.runSubscription()
	if nobody.refused == nil || nameless.refused == nil {
		t.Error("a pause by nobody or a test without an id was let in")
	}
	if !paused.done || paused.err != nil || !resumed.done || resumed.err != nil || resumed.result.State != domain.SubscriptionActive {
		t.Errorf("paused %+v, resumed %+v", paused, resumed)
	}
	if !tested.done || tested.err != nil || tested.result.MessageID != "t1" {
		t.Errorf("tested %+v", tested)
	}
}
