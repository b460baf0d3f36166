package workflows_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

func asApplication(err error, to **temporal.ApplicationError) bool { return errors.As(err, to) }

// quietSteps stands in for the step that tells a window that a connection rests.
type quietSteps struct {
	s     *connection
	told  []activities.NoteQuietInput
	after []time.Duration
	fault func(n int) error
}

func (q *quietSteps) NoteQuiet(_ context.Context, in activities.NoteQuietInput) error {
	if q.fault != nil {
		if err := q.fault(q.s.called("NoteQuiet")); err != nil {
			return err
		}
	}
	q.told = append(q.told, in)
	q.after = append(q.after, q.s.Now().Sub(start).Round(time.Second))
	return nil
}

func newResting(t *testing.T) (*connection, *quietSteps) {
	s := newConnection(t)
	q := &quietSteps{s: s}
	s.RegisterActivity(q)
	return s, q
}

// rest puts the connection to rest between two times after the start, unless it is let go before.
func (s *connection) rest(from, until time.Duration) {
	s.at(from, func() {
		s.config.WorkHold = &domain.WorkHold{By: resting, Until: start.Add(until)}
		s.SignalWorkflow(contract.SignalChanged, contract.ChangedSignal{})
	})
}

func TestAConnectionAtRestDoesNothingUntilItsTimeIsOver(t *testing.T) {
	t.Parallel()
	s, q := newResting(t)
	s.syncing(time.Second, false)
	s.config.PollSeconds = 600
	s.rest(time.Hour, 3*time.Hour)
	var at [4]int
	calls := func() int { return s.count("ApplyDeliveries") + s.count("PushBookings") + len(s.syncs) }
	s.at(time.Hour+time.Minute, func() { at[0] = calls() })
	s.at(2*time.Hour, func() {
		s.deliver()
		s.SignalWorkflow(contract.SignalPushes, contract.PushesSignal{Count: 1})
	})
	s.at(3*time.Hour-time.Minute, func() { at[1], at[2] = calls(), len(s.syncs) })
	s.at(3*time.Hour+time.Minute, func() { at[3] = calls() })
	s.run(4 * time.Hour)
	if at[0] != at[1] {
		t.Errorf("%d steps while it rested", at[1]-at[0])
	}
	if at[3] < at[1]+3 || len(s.syncs) <= at[2] {
		t.Errorf("after it rested: %d steps, %d readings", at[3]-at[1], len(s.syncs)-at[2])
	}
	if len(q.told) != 1 || q.told[0].Maintenance != resting || q.told[0].Integration != integration || !q.told[0].Pulls || q.after[0] != time.Hour {
		t.Errorf("told %+v after %v", q.told, q.after)
	}
	if n := s.count("LoadIntegration"); n > 24 {
		t.Errorf("the row was read %d times", n)
	}
}

func TestWhatGoesOnFinishesBeforeAConnectionRests(t *testing.T) {
	t.Parallel()
	s, q := newResting(t)
	s.syncing(20*time.Minute, false)
	s.at(time.Minute, func() {
		if u := update[contract.ResyncResult](s.stage, contract.UpdateResync, "resync", contract.ResyncRequest{RunID: run1, By: "admin-1"}); u.refused != nil {
			t.Error(u.refused)
		}
	})
	s.rest(2*time.Minute, 3*time.Hour)
	s.run(4 * time.Hour)
	if len(q.after) != 1 || q.after[0] != 21*time.Minute {
		t.Errorf("it came to rest after %v", q.after)
	}
}

func TestAConnectionThatIsLetGoEarlyGoesOnAtOnce(t *testing.T) {
	t.Parallel()
	s, q := newResting(t)
	s.syncing(time.Second, false)
	s.rest(time.Hour, 10*time.Hour)
	s.at(90*time.Minute, s.deliver)
	s.at(2*time.Hour, func() {
		s.config.WorkHold = nil
		s.SignalWorkflow(contract.SignalChanged, contract.ChangedSignal{})
	})
	s.run(3 * time.Hour)
	last := s.after("ApplyDeliveries", s.count("ApplyDeliveries"))
	if last != 2*time.Hour || s.after("PushBookings", s.count("PushBookings")) != 2*time.Hour || len(s.syncs) != 1 || len(q.told) != 1 {
		t.Errorf("applied %s after the start, %d readings, told %d times", last, len(s.syncs), len(q.told))
	}
}

func TestAPersonMayPauseAConnectionThatRests(t *testing.T) {
	t.Parallel()
	s, _ := newResting(t)
	s.syncing(time.Second, false)
	s.rest(time.Hour, 2*time.Hour)
	s.at(90*time.Minute, func() {
		u := update[contract.StateResult](s.stage, contract.UpdatePause, "pause", contract.PauseRequest{By: "admin-1"})
		if u.refused != nil {
			t.Error(u.refused)
		}
	})
	var before int
	s.at(95*time.Minute, func() { before = s.count("ApplyDeliveries") })
	s.at(150*time.Minute, func() {
		if got := ask[contract.IntegrationStatus](s.stage, contract.QueryStatus); got.State != domain.IntegrationPaused || s.count("ApplyDeliveries") != before {
			t.Errorf("after the maintenance it is %s, %d steps", got.State, s.count("ApplyDeliveries")-before)
		}
	})
	s.at(160*time.Minute, func() {
		update[contract.StateResult](s.stage, contract.UpdateResume, "resume", contract.ResumeRequest{By: "admin-1"})
	})
	s.run(3 * time.Hour)
	if s.count("ApplyDeliveries") <= before {
		t.Error("what waited is not applied when it is resumed")
	}
}

func TestAFailedWordOfRestIsSaidAgain(t *testing.T) {
	t.Parallel()
	s, q := newResting(t)
	s.syncing(time.Second, false)
	q.fault = func(n int) error {
		if n < 8 {
			return errDown
		}
		return nil
	}
	s.rest(time.Hour, 3*time.Hour)
	s.run(4 * time.Hour)
	if len(q.told) != 1 || q.after[0] > time.Hour+5*time.Minute {
		t.Errorf("told %d times, after %v", len(q.told), q.after)
	}
}

func TestANewRunGoesOnResting(t *testing.T) {
	t.Parallel()
	s, _ := newResting(t)
	s.config.WorkHold = &domain.WorkHold{By: resting, Until: start.Add(time.Hour)}
	s.SetContinueAsNewSuggested(true)
	s.execute()
	if in := carried[contract.IntegrationInput](s.stage); in.Carried == nil || !in.Carried.Rested {
		t.Errorf("the new run gets %+v", in.Carried)
	}
}
