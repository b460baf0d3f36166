package workflows_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

func active() contract.IntegrationConfig {
	return contract.IntegrationConfig{Provider: "custom", State: domain.IntegrationActive, CanPull: true, CanWrite: true, Version: 1}
}

// connection is an integration's workflow with settings that a test may change.
type connection struct {
	*stage
	config contract.IntegrationConfig
	syncs  []contract.SyncInput
}

func newConnection(t *testing.T) *connection {
	s := &connection{stage: newStage(t, contract.IntegrationWorkflowID(integration)), config: active()}
	s.load = func(int) (contract.IntegrationConfig, error) { return s.config, nil }
	s.set = func(in activities.SetIntegrationStateInput) (contract.IntegrationConfig, error) {
		s.config.State = in.State
		s.config.Version++
		return s.config, nil
	}
	return s
}

// syncing registers a sync that takes a while, and tells its parent unless it is told to fail.
func (s *connection) syncing(takes time.Duration, fails bool) {
	s.RegisterWorkflowWithOptions(func(ctx workflow.Context, in contract.SyncInput) (contract.SyncProgress, error) {
		s.syncs = append(s.syncs, in)
		if err := workflow.Sleep(ctx, takes); err != nil {
			return contract.SyncProgress{}, err
		}
		if fails {
			return contract.SyncProgress{}, temporal.NewApplicationError("terminated", "terminated")
		}
		err := workflow.SignalExternalWorkflow(ctx, contract.IntegrationWorkflowID(integration), "", contract.SignalSynced,
			contract.SyncedSignal{RunID: in.RunID, State: domain.SyncDone}).Get(ctx, nil)
		return contract.SyncProgress{State: domain.SyncDone}, err
	}, workflow.RegisterOptions{Name: contract.SyncWorkflow})
}

// run lets the workflow live for a while and then deletes the integration.
func (s *connection) run(lives time.Duration) {
	s.t.Helper()
	s.at(lives, func() {
		s.config.State = domain.IntegrationDeleted
		s.SignalWorkflow(contract.SignalChanged, contract.ChangedSignal{Version: 99})
	})
	s.execute()
	s.ended(nil)
}

// execute runs a connection whose first pull is behind.
func (s *connection) execute() {
	s.ExecuteWorkflow(contract.IntegrationWorkflow, contract.IntegrationInput{OrgID: org, IntegrationID: integration,
		Carried: &contract.IntegrationCarried{Deliveries: true, Pushes: true}})
}

func (s *connection) deliver() {
	s.SignalWorkflow(contract.SignalDeliveries, contract.DeliveriesSignal{IDs: []domain.DeliveryID{"x"}})
}

func TestFirstRunLooksForWorkLeftBehindAndReadsTheSystem(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.syncing(time.Second, false)
	s.at(time.Hour, func() {
		s.config.State = domain.IntegrationDeleted
		s.SignalWorkflow(contract.SignalChanged, contract.ChangedSignal{Version: 99})
	})
	s.ExecuteWorkflow(contract.IntegrationWorkflow, contract.IntegrationInput{OrgID: org, IntegrationID: integration})
	s.ended(nil)
	if s.count("ApplyDeliveries") != 1 || s.count("PushBookings") != 1 || s.count("LoadIntegration") != 3 || len(s.syncs) != 1 {
		t.Errorf("calls: %v, syncs %+v", s.calls, s.syncs)
	}
}

func TestSignalsAreAppliedUntilNothingIsLeft(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.apply = func(n int) (activities.ApplyDeliveriesResult, error) {
		return activities.ApplyDeliveriesResult{Applied: 10, Dead: 1, Ignored: 2, Retried: 3, More: n > 1 && n < 40}, nil
	}
	s.at(time.Minute, func() { s.deliver(); s.deliver() })
	s.at(2*time.Minute, func() {
		got := ask[contract.IntegrationStatus](s.stage, contract.QueryStatus)
		want := contract.IntegrationCounts{Signals: 2, Applied: 400, Dead: 40, Ignored: 80, Retried: 120}
		if got.Counts != want || got.State != domain.IntegrationActive || got.Runs != 1 {
			t.Errorf("status is %+v", got)
		}
	})
	s.run(time.Hour)
	if n := s.count("ApplyDeliveries"); n != 40 {
		t.Errorf("%d batches, want 40", n)
	}
}

func TestRetryComesAtItsTimeAndOnce(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.apply = func(n int) (activities.ApplyDeliveriesResult, error) {
		if n == 1 {
			return activities.ApplyDeliveriesResult{Retried: 1, NextDue: start.Add(10 * time.Minute)}, nil
		}
		return activities.ApplyDeliveriesResult{Applied: 1}, nil
	}
	s.run(time.Hour)
	if at := s.after("ApplyDeliveries", 2); at != 10*time.Minute || s.count("ApplyDeliveries") != 2 {
		t.Errorf("second try after %s, %d in all", at, s.count("ApplyDeliveries"))
	}
}

func TestClockOfTheDatabaseThatLagsMakesNoBusyLoop(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	// The database's clock is half a minute behind: for it nothing is due yet.
	s.apply = func(int) (activities.ApplyDeliveriesResult, error) {
		if s.Now().Before(start.Add(40 * time.Second)) {
			return activities.ApplyDeliveriesResult{NextDue: start.Add(10 * time.Second)}, nil
		}
		return activities.ApplyDeliveriesResult{Applied: 1}, nil
	}
	s.push = func(int) (activities.PushBookingsResult, error) {
		if s.Now().Before(start.Add(40 * time.Second)) {
			return activities.PushBookingsResult{NextDue: start.Add(10 * time.Second)}, nil
		}
		return activities.PushBookingsResult{Done: 1}, nil
	}
	s.run(time.Hour)
	if a, p := s.count("ApplyDeliveries"), s.count("PushBookings"); a > 40 || p > 40 {
		t.Errorf("%d applies and %d pushes in half a minute", a, p)
	}
}

func TestPushesRetryAtTheirTimeAndBackOffWhenTheStepFails(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.push = func(n int) (activities.PushBookingsResult, error) {
		switch {
		case n == 1:
			return activities.PushBookingsResult{Done: 50, More: true}, nil
		case n == 2:
			return activities.PushBookingsResult{Done: 1, Retried: 1, NextDue: start.Add(10 * time.Minute)}, nil
		case n <= 5:
			return activities.PushBookingsResult{}, refusedAs(domain.KindPermanent, "settings")
		}
		return activities.PushBookingsResult{Done: 1}, nil
	}
	s.at(5*time.Hour, func() {
		if got := ask[contract.IntegrationStatus](s.stage, contract.QueryStatus).Counts.Pushed; got != 52 {
			t.Errorf("%d pushed, want 52", got)
		}
		s.SignalWorkflow(contract.SignalPushes, contract.PushesSignal{Count: 1})
	})
	s.run(6 * time.Hour)
	for n, want := range map[int]time.Duration{3: 10 * time.Minute, 4: 11 * time.Minute, 5: 13 * time.Minute, 6: 17 * time.Minute, 7: 5 * time.Hour} {
		if got := s.after("PushBookings", n); got != want {
			t.Errorf("push %d after %s, want %s", n, got, want)
		}
	}
	if n := s.count("PushBookings"); n != 7 {
		t.Errorf("%d pushes", n)
	}
}

func TestCopyThatChangedThereIsReadAtOnce(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.syncing(time.Second, false)
	s.push = func(n int) (activities.PushBookingsResult, error) {
		return activities.PushBookingsResult{Retried: 1, Pull: n == 1}, nil
	}
	s.run(time.Hour)
	if len(s.syncs) != 1 || s.syncs[0].Full || s.syncs[0].By != "schedule" {
		t.Errorf("syncs are %+v", s.syncs)
	}
}

func TestRefusedCredentialsAreNoticedAtOnce(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(s *connection){
		"by a push": func(s *connection) {
			s.push = func(int) (activities.PushBookingsResult, error) {
				s.config.State = domain.IntegrationNeedsReconnect
				return activities.PushBookingsResult{Reconnect: true}, nil
			}
		},
		"by a delivery": func(s *connection) {
			s.config.CanWrite = false
			s.apply = func(int) (activities.ApplyDeliveriesResult, error) {
				s.config.State = domain.IntegrationNeedsReconnect
				return activities.ApplyDeliveriesResult{NeedsReload: true}, nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newConnection(t)
			refuse(s)
			var pause *updated[contract.StateResult]
			s.at(time.Minute, func() {
				if got := ask[contract.IntegrationStatus](s.stage, contract.QueryStatus).State; got != domain.IntegrationNeedsReconnect {
					t.Errorf("state is %s", got)
				}
				s.deliver()
				pause = update[contract.StateResult](s.stage, contract.UpdatePause, "p", contract.PauseRequest{By: "alex"})
			})
			s.run(time.Hour)
			if pause == nil || pause.refused == nil {
				t.Error("pausing what does not run was not refused")
			}
			if n := s.count("ApplyDeliveries"); n != 1 {
				t.Errorf("%d applies while nothing may be applied", n)
			}
		})
	}
}

func TestPauseKeepsWorkWaitingAndResumeTakesItUp(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.config.PollSeconds = 60
	s.syncing(time.Second, false)
	var pause, again, resume *updated[contract.StateResult]
	var resync *updated[contract.ResyncResult]
	s.at(time.Second, func() {
		pause = update[contract.StateResult](s.stage, contract.UpdatePause, "p1", contract.PauseRequest{By: "alex"})
	})
	s.at(10*time.Second, func() {
		again = update[contract.StateResult](s.stage, contract.UpdatePause, "p2", contract.PauseRequest{By: "alex"})
	})
	s.at(20*time.Second, s.deliver)
	s.at(21*time.Second, func() { s.SignalWorkflow(contract.SignalPushes, contract.PushesSignal{Count: 1}) })
	s.at(22*time.Second, func() {
		resync = update[contract.ResyncResult](s.stage, contract.UpdateResync, "r", contract.ResyncRequest{RunID: run1, By: "alex"})
	})
	s.at(time.Hour, func() {
		if a, p, y := s.count("ApplyDeliveries"), s.count("PushBookings"), len(s.syncs); a != 1 || p != 1 || y != 0 {
			t.Errorf("while paused: %d applies, %d pushes, %d syncs", a, p, y)
		}
		resume = update[contract.StateResult](s.stage, contract.UpdateResume, "r1", contract.ResumeRequest{By: "alex"})
	})
	s.run(time.Hour + 30*time.Second)
	if resync == nil || resync.refused == nil {
		t.Error("a resync of a paused integration was not refused")
	}
	for name, u := range map[string]*updated[contract.StateResult]{"pause": pause, "second pause": again} {
		if u == nil || !u.done || u.err != nil || u.result.State != domain.IntegrationPaused {
			t.Errorf("%s: %+v", name, u)
		}
	}
	if resume == nil || !resume.done || resume.err != nil || resume.result.State != domain.IntegrationActive {
		t.Errorf("resume: %+v", resume)
	}
	if a, p, n := s.count("ApplyDeliveries"), s.count("PushBookings"), s.count("SetIntegrationState"); a != 2 || p != 2 || n != 2 {
		t.Errorf("%d applies, %d pushes, %d states set", a, p, n)
	}
}

func TestStateThatCannotBeStoredIsToldToThePerson(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.set = func(activities.SetIntegrationStateInput) (contract.IntegrationConfig, error) {
		return contract.IntegrationConfig{}, errDown
	}
	var pause *updated[contract.StateResult]
	s.at(time.Second, func() {
		pause = update[contract.StateResult](s.stage, contract.UpdatePause, "p1", contract.PauseRequest{By: "alex"})
	})
	s.run(time.Hour)
	if pause == nil || !pause.done || pause.err == nil {
		t.Errorf("pause: %+v", pause)
	}
}

func TestMessagesThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.config.CanPull = false
	var all map[string]*updated[contract.StateResult]
	s.at(time.Minute, func() {
		all = map[string]*updated[contract.StateResult]{
			"pause":   update[contract.StateResult](s.stage, contract.UpdatePause, "1", contract.PauseRequest{}),
			"resume":  update[contract.StateResult](s.stage, contract.UpdateResume, "2", contract.ResumeRequest{}),
			"resync":  update[contract.StateResult](s.stage, contract.UpdateResync, "3", contract.ResyncRequest{RunID: run1}),
			"no run":  update[contract.StateResult](s.stage, contract.UpdateResync, "4", contract.ResyncRequest{By: "alex"}),
			"no pull": update[contract.StateResult](s.stage, contract.UpdateResync, "5", contract.ResyncRequest{RunID: run1, By: "alex"}),
		}
	})
	s.run(time.Hour)
	for name, u := range all {
		if u.refused == nil || u.accepted {
			t.Errorf("%s was not refused: %+v", name, u)
		}
	}
}

func TestResyncBeforeSettingsAreReadIsCheckedAgainstThem(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.config.CanPull = false
	s.load = func(n int) (contract.IntegrationConfig, error) {
		if n <= 3 {
			return contract.IntegrationConfig{}, errDown
		}
		return s.config, nil
	}
	var u *updated[contract.ResyncResult]
	s.at(0, func() {
		u = update[contract.ResyncResult](s.stage, contract.UpdateResync, "r", contract.ResyncRequest{RunID: run1, By: "alex"})
	})
	s.run(time.Hour)
	if u == nil || !u.done || u.err == nil || !strings.Contains(u.err.Error(), "cannot be listed") {
		t.Errorf("resync: %+v", u)
	}
}

func TestResyncsRunOneAfterTheOtherAndOnce(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.syncing(10*time.Minute, false)
	resync := func(n int, run domain.SyncRunID) *updated[contract.ResyncResult] {
		return update[contract.ResyncResult](s.stage, contract.UpdateResync, fmt.Sprint("r", n), contract.ResyncRequest{RunID: run, Full: true, By: "alex"})
	}
	var first, repeat, second, over *updated[contract.ResyncResult]
	s.at(time.Minute, func() { first = resync(1, run1) })
	s.at(2*time.Minute, func() { repeat, second = resync(2, run1), resync(3, run2) })
	s.at(3*time.Minute, func() {
		got := ask[contract.IntegrationStatus](s.stage, contract.QueryStatus)
		if got.Current == nil || *got.Current != run1 {
			t.Errorf("status is %+v", got)
		}
		for n := range 4 {
			resync(10+n, domain.NewID[domain.SyncRunID](start))
		}
		over = resync(20, domain.NewID[domain.SyncRunID](start))
	})
	s.at(15*time.Minute, func() { repeat = resync(30, run1) })
	s.run(3 * time.Hour)
	if first == nil || first.result != (contract.ResyncResult{RunID: run1, WorkflowID: contract.SyncWorkflowID(run1)}) || second.result.Queued != 1 {
		t.Errorf("first %+v, second %+v", first, second)
	}
	if over.refused == nil {
		t.Error("the sixth waiting resync was not refused")
	}
	if repeat.err != nil || !repeat.done {
		t.Errorf("repeat: %+v", repeat)
	}
	if len(s.syncs) != 6 || s.syncs[0].RunID != run1 || s.syncs[1].RunID != run2 || !s.syncs[0].Full || s.syncs[0].By != "alex" {
		t.Errorf("syncs are %+v", s.syncs)
	}
}

func TestSyncThatDiesWithoutAWordIsOver(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.syncing(time.Minute, true)
	s.at(time.Minute, func() {
		update[contract.ResyncResult](s.stage, contract.UpdateResync, "1", contract.ResyncRequest{RunID: run1, By: "alex"})
		update[contract.ResyncResult](s.stage, contract.UpdateResync, "2", contract.ResyncRequest{RunID: run2, By: "alex"})
	})
	s.at(time.Hour, func() {
		got := ask[contract.IntegrationStatus](s.stage, contract.QueryStatus)
		if got.Current != nil || got.LastRun == nil || *got.LastRun != run2 || got.Counts.Syncs != 2 {
			t.Errorf("status is %+v", got)
		}
	})
	s.run(2 * time.Hour)
}

func TestPollingKeepsItsRhythm(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.config.PollSeconds = 600
	s.syncing(time.Minute, false)
	s.run(10*time.Hour + time.Minute)
	if n := len(s.syncs); n < 59 || n > 61 {
		t.Errorf("%d polls in ten hours, want 60", n)
	}
	seen := map[domain.SyncRunID]bool{}
	for _, in := range s.syncs {
		if seen[in.RunID] {
			t.Error("a run id was used twice")
		}
		seen[in.RunID] = true
	}
}

func TestDatabaseThatIsDownIsAskedEverLessAndThenGoesOn(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	back := 2 * time.Hour
	s.apply = func(int) (activities.ApplyDeliveriesResult, error) {
		if s.Now().Before(start.Add(back)) {
			return activities.ApplyDeliveriesResult{}, errDown
		}
		return activities.ApplyDeliveriesResult{Applied: 7}, nil
	}
	for n := range 100 {
		s.at(time.Duration(n)*time.Minute, s.deliver)
	}
	s.at(time.Hour, func() {
		if got := ask[contract.IntegrationStatus](s.stage, contract.QueryStatus); got.Failures == 0 || got.Counts.Applied != 0 {
			t.Errorf("status is %+v", got)
		}
	})
	s.at(back+6*time.Minute, func() {
		if got := ask[contract.IntegrationStatus](s.stage, contract.QueryStatus); got.Failures != 0 || got.Counts.Applied != 7 {
			t.Errorf("status is %+v", got)
		}
	})
	s.run(3 * time.Hour)
	// Three tries a round, a round every five minutes at the most.
	if n := s.count("ApplyDeliveries"); n > 3*(8+24)+1 {
		t.Errorf("%d calls of a database that is down", n)
	}
}

func TestSettingsThatCannotBeReadAreReadLater(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.load = func(n int) (contract.IntegrationConfig, error) {
		if s.Now().Before(start.Add(time.Hour)) {
			return contract.IntegrationConfig{}, errDown
		}
		return s.config, nil
	}
	s.at(time.Minute, s.deliver)
	s.run(3 * time.Hour)
	if a, l := s.count("ApplyDeliveries"), s.count("LoadIntegration"); a != 1 || l > 70 {
		t.Errorf("%d applies, %d loads", a, l)
	}
}

func TestNewSettingsLetWaitingWorkThrough(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.at(time.Minute, func() {
		s.config.Version++
		s.SignalWorkflow(contract.SignalChanged, contract.ChangedSignal{Version: 2})
	})
	s.run(time.Hour)
	if a, p := s.count("ApplyDeliveries"), s.count("PushBookings"); a != 2 || p != 2 {
		t.Errorf("%d applies, %d pushes", a, p)
	}
}

func TestDeletedIntegrationEndsWithWordsForWhoeverWaits(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.set = func(activities.SetIntegrationStateInput) (contract.IntegrationConfig, error) {
		return contract.IntegrationConfig{}, refusedAs(domain.KindConflict, "integration is deleted")
	}
	var pause *updated[contract.StateResult]
	s.at(time.Minute, func() {
		s.config.State = domain.IntegrationDeleted
		s.SignalWorkflow(contract.SignalChanged, contract.ChangedSignal{Version: 2})
		pause = update[contract.StateResult](s.stage, contract.UpdatePause, "p", contract.PauseRequest{By: "alex"})
	})
	s.execute()
	s.ended(nil)
	if pause == nil || pause.refused == nil && !pause.done {
		t.Errorf("pause: %+v", pause)
	}
}

func TestCancelledIntegrationEnds(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.at(time.Minute, s.CancelWorkflow)
	s.execute()
	s.ended(temporal.NewCanceledError())
}

func TestNewRunLosesNothing(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.syncing(20*time.Minute, false)
	due := start.Add(3 * time.Hour)
	s.apply = func(n int) (activities.ApplyDeliveriesResult, error) {
		return activities.ApplyDeliveriesResult{Applied: 1, NextDue: due}, nil
	}
	s.push = func(n int) (activities.PushBookingsResult, error) {
		return activities.PushBookingsResult{Done: 1, NextDue: due.Add(time.Hour)}, nil
	}
	s.at(time.Minute, func() {
		update[contract.ResyncResult](s.stage, contract.UpdateResync, "1", contract.ResyncRequest{RunID: run1, By: "alex"})
	})
	s.at(2*time.Minute, func() {
		update[contract.ResyncResult](s.stage, contract.UpdateResync, "2", contract.ResyncRequest{RunID: run2, Full: true, By: "alex"})
	})
	// The history is long while a sync runs: the new run begins all the same, and these messages come at the last moment.
	s.at(3*time.Minute, func() {
		s.SetCurrentHistoryLength(50_000)
		s.SetContinueAsNewSuggested(true)
		s.deliver()
		s.deliver()
		s.SignalWorkflow(contract.SignalPushes, contract.PushesSignal{Count: 1})
		s.SignalWorkflow(contract.SignalChanged, contract.ChangedSignal{Version: 2})
	})
	s.execute()
	in := carried[contract.IntegrationInput](s.stage)
	c := in.Carried
	if in.OrgID != org || in.IntegrationID != integration || c == nil {
		t.Fatalf("input is %+v", in)
	}
	if c.Counts.Signals != 2 || c.Runs != 1 || !c.DeliveriesDue.Equal(due) || c.Current == nil || *c.Current != run1 ||
		len(c.Resyncs) != 1 || c.Resyncs[0].RunID != run2 || !c.Resyncs[0].Full || c.Config != nil {
		t.Errorf("carried %+v", c)
	}
	// What the signals asked for was done, or is carried.
	if !c.Pushes && s.count("PushBookings") < 2 || !c.Deliveries && s.count("ApplyDeliveries") < 2 {
		t.Errorf("carried %+v after %v", c, s.calls)
	}
}

func TestNewRunGoesOnWhereTheOldOneWas(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.syncing(time.Second, false)
	current := run1
	s.at(time.Hour, func() {
		if len(s.syncs) != 0 {
			t.Errorf("a second sync began beside the one carried: %+v", s.syncs)
		}
		s.SignalWorkflow(contract.SignalSynced, contract.SyncedSignal{RunID: run1, State: domain.SyncDone})
	})
	s.at(5*time.Hour, func() {
		s.config.State = domain.IntegrationDeleted
		s.SignalWorkflow(contract.SignalChanged, contract.ChangedSignal{Version: 99})
	})
	s.ExecuteWorkflow(contract.IntegrationWorkflow, contract.IntegrationInput{OrgID: org, IntegrationID: integration, Carried: &contract.IntegrationCarried{
		DeliveriesDue: start.Add(2 * time.Hour), Current: &current, Runs: 4, Resyncs: []contract.ResyncRequest{{RunID: run2, By: "alex"}},
		Counts: contract.IntegrationCounts{Applied: 5}}})
	s.ended(nil)
	if s.count("ApplyDeliveries") != 1 || s.after("ApplyDeliveries", 1) != 2*time.Hour || s.count("PushBookings") != 0 {
		t.Errorf("calls: %v, first apply after %s", s.calls, s.after("ApplyDeliveries", 1))
	}
	if len(s.syncs) != 1 || s.syncs[0].RunID != run2 {
		t.Errorf("syncs are %+v", s.syncs)
	}
}

func TestSyncThatNeverReportsDoesNotStopAllSyncsForEver(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.config.PollSeconds = 3600
	s.syncing(time.Second, false)
	current := run1
	s.at(48*time.Hour, func() {
		s.config.State = domain.IntegrationDeleted
		s.SignalWorkflow(contract.SignalChanged, contract.ChangedSignal{Version: 99})
	})
	s.ExecuteWorkflow(contract.IntegrationWorkflow, contract.IntegrationInput{OrgID: org, IntegrationID: integration,
		Carried: &contract.IntegrationCarried{Current: &current, Runs: 1}})
	s.ended(nil)
	if n := len(s.syncs); n < 20 {
		t.Errorf("%d syncs in the second day", n)
	}
}

func TestWritesInProgressAreWaitedForBeforeANewRun(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.SetContinueAsNewSuggested(true)
	s.execute()
	in := carried[contract.IntegrationInput](s.stage)
	if in.Carried.Pushes || s.count("PushBookings") != 1 {
		t.Errorf("carried %+v, calls %v", in.Carried, s.calls)
	}
}

func TestNewRunCarriesWhatCouldNotBeDone(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.load = func(int) (contract.IntegrationConfig, error) { return contract.IntegrationConfig{}, errDown }
	s.at(30*time.Minute, func() {
		s.SetContinueAsNewSuggested(true)
		s.deliver()
		s.SignalWorkflow(contract.SignalPushes, contract.PushesSignal{Count: 1})
	})
	s.ExecuteWorkflow(contract.IntegrationWorkflow, contract.IntegrationInput{OrgID: org, IntegrationID: integration, Carried: &contract.IntegrationCarried{Runs: 1}})
	c := carried[contract.IntegrationInput](s.stage).Carried
	if !c.Deliveries || c.Failures == 0 || c.Runs != 2 {
		t.Errorf("carried %+v", c)
	}
}

func TestAConnectionThatIsBeingMadeIsLeftToItsOnboarding(t *testing.T) {
	t.Parallel()
	s := newStage(t, contract.IntegrationWorkflowID(integration))
	s.load = func(n int) (contract.IntegrationConfig, error) {
		state := domain.IntegrationConnecting
		switch {
		case s.Now().After(start.Add(2 * time.Hour)):
			state = domain.IntegrationDeleted
		case s.Now().After(start.Add(time.Hour)):
			state = domain.IntegrationActive // nobody has told the workflow yet
		}
		return contract.IntegrationConfig{Provider: "outside", State: state, CanPull: true, CanWrite: true, Version: int64(n)}, nil
	}
	var pause, resume *updated[contract.StateResult]
	var resync *updated[contract.ResyncResult]
	s.at(time.Minute, func() {
		pause = update[contract.StateResult](s, contract.UpdatePause, "", contract.PauseRequest{By: "admin-1"})
		resume = update[contract.StateResult](s, contract.UpdateResume, "", contract.ResumeRequest{By: "admin-1"})
		resync = update[contract.ResyncResult](s, contract.UpdateResync, "", contract.ResyncRequest{RunID: run1, By: "admin-1"})
	})
	s.set = func(in activities.SetIntegrationStateInput) (contract.IntegrationConfig, error) {
		return contract.IntegrationConfig{Provider: "outside", State: in.State, Version: 99}, nil
	}
	var late *updated[contract.StateResult]
	s.at(time.Hour+time.Minute, func() {
		if n := s.count("ApplyDeliveries") + s.count("PushBookings") + s.count("PullPage") + s.count("KeepWatches"); n != 0 {
			t.Errorf("%d things were done while it was being connected", n)
		}
		late = update[contract.StateResult](s, contract.UpdatePause, "", contract.PauseRequest{By: "admin-1"})
	})
	s.at(2*time.Hour+time.Minute, func() { s.SignalWorkflow(contract.SignalChanged, contract.ChangedSignal{Version: 2}) })
	s.ExecuteWorkflow(contract.IntegrationWorkflow, contract.IntegrationInput{OrgID: org, IntegrationID: integration})
	s.ended(nil)
	if pause.err == nil || resume.err == nil || resync.err == nil {
		t.Errorf("pause %v, resume %v, resync %v", pause.err, resume.err, resync.err)
	}
	if late.err != nil || late.result.State != domain.IntegrationPaused {
		t.Errorf("paused once it runs: %+v", late)
	}
}
