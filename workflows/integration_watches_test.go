package workflows_test

import (
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// notice is a message of the system: its row says since when a pull is wanted, and the workflow is told to look.
func (s *connection) notice() {
	s.config.PullWanted = s.Now()
	s.SignalWorkflow(contract.SignalChanged, contract.ChangedSignal{Version: 2})
}

// began is what the first step of a sync does to the row.
func (s *connection) began() { s.config.PullWanted = time.Time{} }

func TestWatchesAreKeptWhenTheyAreDue(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.config.WatchesDue = start
	s.keep = func(n int) (activities.KeepWatchesResult, error) {
		s.config.WatchesDue = s.Now().Add(time.Hour)
		return activities.KeepWatchesResult{Renewed: 1, NextDue: s.config.WatchesDue}, nil
	}
	s.at(90*time.Minute, func() {
		if got := ask[contract.IntegrationStatus](s.stage, contract.QueryStatus); got.WatchesDue.Sub(start).Round(time.Minute) != 2*time.Hour {
			t.Errorf("status is %+v", got)
		}
		s.deliver() // what else happens does not make them due
	})
	s.at(5*time.Hour+30*time.Minute, func() { s.config.WatchesDue = time.Time{} })
	s.run(5*time.Hour + 30*time.Minute)
	if n := s.count("KeepWatches"); n != 6 {
		t.Errorf("kept %d times in five hours and a half", n)
	}
}

func TestConnectionsWithoutWatchesDoNotAskForAny(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.run(48 * time.Hour)
	if n := s.count("KeepWatches"); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

func TestMessageIsFollowedByAPullAtOnceAndABurstByOneMore(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.config.PollSeconds = 3600
	s.syncing(time.Second, false)
	var first, burst int
	s.at(10*time.Minute, s.notice)
	s.at(10*time.Minute+200*time.Millisecond, func() { first = len(s.syncs); s.began() })
	for n := range 8 {
		s.at(10*time.Minute+time.Duration(300+n*400)*time.Millisecond, s.notice)
	}
	s.at(10*time.Minute+5*time.Second+100*time.Millisecond, func() { burst = len(s.syncs); s.began() })
	s.run(30 * time.Minute)
	if first != 1 || burst != 2 || len(s.syncs) != 2 {
		t.Errorf("%d pulls at once, %d after the burst, %d in all", first, burst, len(s.syncs))
	}
	for _, in := range s.syncs {
		if in.Full {
			t.Error("a message led to a full listing")
		}
	}
}

func TestMessageDuringAPullIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.syncing(time.Minute, false)
	s.at(time.Minute, s.notice)
	s.at(time.Minute+time.Second, s.began)
	s.at(time.Minute+30*time.Second, s.notice)
	s.at(2*time.Minute+10*time.Second, s.began)
	s.run(time.Hour)
	if len(s.syncs) != 2 {
		t.Errorf("%d pulls: %+v", len(s.syncs), s.syncs)
	}
}

func TestMessageOfAPausedConnectionWaitsForItsResume(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.syncing(time.Second, false)
	s.at(time.Minute, func() {
		update[contract.StateResult](s.stage, contract.UpdatePause, "p", contract.PauseRequest{By: "alex"})
	})
	s.at(2*time.Minute, s.notice)
	s.at(10*time.Minute, func() {
		if len(s.syncs) != 0 {
			t.Error("a paused connection was read")
		}
		update[contract.StateResult](s.stage, contract.UpdateResume, "r", contract.ResumeRequest{By: "alex"})
	})
	s.at(10*time.Minute+500*time.Millisecond, s.began)
	s.run(time.Hour)
	if len(s.syncs) != 1 {
		t.Errorf("%d pulls after the resume", len(s.syncs))
	}
}

func TestNewWatchIsFollowedByAPull(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.config.WatchesDue = start
	s.syncing(time.Second, false)
	s.keep = func(int) (activities.KeepWatchesResult, error) {
		s.config.WatchesDue, s.config.PullWanted = s.Now().Add(100*time.Hour), s.Now()
		return activities.KeepWatchesResult{Made: 1, Pull: true, NextDue: s.config.WatchesDue}, nil
	}
	s.at(500*time.Millisecond, s.began)
	s.at(time.Hour-time.Second, func() { s.config.WatchesDue = time.Time{} })
	s.run(time.Hour)
	if len(s.syncs) != 1 || s.count("KeepWatches") != 1 {
		t.Errorf("%d pulls, kept %d times", len(s.syncs), s.count("KeepWatches"))
	}
}

func TestWatchesThatCannotBeKeptDoNotStopPolling(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.config.PollSeconds, s.config.WatchesDue = 600, start
	s.syncing(time.Second, false)
	s.keep = func(int) (activities.KeepWatchesResult, error) {
		if s.Now().After(start.Add(8 * time.Hour)) {
			s.config.WatchesDue = time.Time{}
			return activities.KeepWatchesResult{}, nil
		}
		return activities.KeepWatchesResult{}, refusedAs(domain.KindPermanent, "a step that does not work")
	}
	s.run(10*time.Hour + time.Minute)
	if n := len(s.syncs); n < 59 || n > 61 {
		t.Errorf("%d polls in ten hours, want 60", n)
	}
	// Every sync reads the row again, which says that they are due; that does not make the waits shorter.
	if n := s.count("KeepWatches"); n < 10 || n > 16 {
		t.Errorf("tried %d times in eight hours", n)
	}
}

func TestPausedConnectionEndsItsWatches(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.set = func(in activities.SetIntegrationStateInput) (contract.IntegrationConfig, error) {
		s.config.State, s.config.Version, s.config.WatchesDue = in.State, s.config.Version+1, s.Now()
		return s.config, nil
	}
	s.keep = func(int) (activities.KeepWatchesResult, error) {
		s.config.WatchesDue = time.Time{}
		return activities.KeepWatchesResult{Ended: 1}, nil
	}
	s.at(time.Minute, func() {
		update[contract.StateResult](s.stage, contract.UpdatePause, "p", contract.PauseRequest{By: "alex"})
	})
	s.run(time.Hour)
	if s.count("KeepWatches") != 1 || s.after("KeepWatches", 1).Round(time.Second) != time.Minute {
		t.Errorf("kept %d times, first after %s", s.count("KeepWatches"), s.after("KeepWatches", 1))
	}
}

func TestDeletedConnectionEndsItsWatchesBeforeItsWorkflow(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.keep = func(n int) (activities.KeepWatchesResult, error) {
		s.config.WatchesDue = time.Time{}
		if n < 3 {
			s.config.WatchesDue = s.Now().Add(time.Minute)
		}
		return activities.KeepWatchesResult{NextDue: s.config.WatchesDue}, nil
	}
	s.at(time.Hour, func() {
		s.config.State, s.config.WatchesDue = domain.IntegrationDeleted, s.Now()
		s.SignalWorkflow(contract.SignalChanged, contract.ChangedSignal{Version: 99})
	})
	s.at(time.Hour+30*time.Second, func() {
		s.deliver()
		if s.IsWorkflowCompleted() {
			t.Error("the workflow ended before its watches")
		}
	})
	s.execute()
	s.ended(nil)
	if n := s.count("KeepWatches"); n != 3 {
		t.Errorf("kept %d times", n)
	}
	if n := s.count("ApplyDeliveries"); n != 1 {
		t.Errorf("a deleted connection applied deliveries: %d batches", n)
	}
}

func TestNewRunWaitsForTheStepThatKeepsWatches(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.config.WatchesDue = start
	s.keep = func(int) (activities.KeepWatchesResult, error) {
		return activities.KeepWatchesResult{NextDue: start.Add(time.Hour)}, nil
	}
	s.SetContinueAsNewSuggested(true)
	s.execute()
	in := carried[contract.IntegrationInput](s.stage)
	if s.count("KeepWatches") != 1 || in.Carried.Config != nil {
		t.Errorf("kept %d times, carried %+v", s.count("KeepWatches"), in.Carried)
	}
}
