package workflows_test

import (
	"errors"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/workflows"
)

// pulling is a sync run whose integration listens.
type pulling struct {
	*stage
	told  []contract.SyncedSignal
	ends  []activities.EndSyncRunInput
	input contract.SyncInput
}

func newPulling(t *testing.T) *pulling {
	s := &pulling{stage: newStage(t, contract.SyncWorkflowID(run1)),
		input: contract.SyncInput{OrgID: org, IntegrationID: integration, RunID: run1, Full: true, By: "alex"}}
	s.RegisterWorkflowWithOptions(workflows.Sync, workflow.RegisterOptions{Name: contract.SyncWorkflow})
	s.end = func(_ int, in activities.EndSyncRunInput) error {
		s.ends = append(s.ends, in)
		return nil
	}
	s.OnSignalExternalWorkflow("default-test-namespace", contract.IntegrationWorkflowID(integration), "", contract.SignalSynced,
		contract.SyncedSignal{RunID: run1, State: domain.SyncDone}).Return(func(_, _, _, _ string, arg any) error {
		s.told = append(s.told, arg.(contract.SyncedSignal))
		return nil
	}).Maybe()
	for _, state := range []domain.SyncState{domain.SyncFailed, domain.SyncCancelled} {
		s.OnSignalExternalWorkflow("default-test-namespace", contract.IntegrationWorkflowID(integration), "", contract.SignalSynced,
			contract.SyncedSignal{RunID: run1, State: state}).Return(func(_, _, _, _ string, arg any) error {
			s.told = append(s.told, arg.(contract.SyncedSignal))
			return nil
		}).Maybe()
	}
	return s
}

func (s *pulling) run() contract.SyncProgress {
	s.t.Helper()
	s.ExecuteWorkflow(contract.SyncWorkflow, s.input)
	var p contract.SyncProgress
	if s.GetWorkflowError() == nil {
		s.must(s.GetWorkflowResult(&p))
	}
	return p
}

func (s *pulling) endedAs(state domain.SyncState) {
	s.t.Helper()
	if len(s.ends) == 0 || s.ends[len(s.ends)-1].State != state {
		s.t.Errorf("the end was stored as %+v, want %s", s.ends, state)
	}
	if len(s.told) != 1 || s.told[0] != (contract.SyncedSignal{RunID: run1, State: state}) {
		s.t.Errorf("the integration was told %+v, want %s", s.told, state)
	}
}

func TestRunReadsEveryPageProvesRemovalsAndTellsItsIntegration(t *testing.T) {
	t.Parallel()
	s := newPulling(t)
	s.page = func(n int) (activities.PullPageResult, error) {
		return activities.PullPageResult{Seen: 10, Applied: 3, Unchanged: 5, Removed: 1, Rejected: 1, More: n < 3, Complete: n == 3}, nil
	}
	s.prove = func(int) (activities.ConfirmRemovalsResult, error) {
		return activities.ConfirmRemovalsResult{Removed: 2, Quarantined: 4}, nil
	}
	got := s.run()
	want := contract.SyncProgress{State: domain.SyncDone, Phase: "done", Pages: 3, Seen: 30, Applied: 9, Unchanged: 15, Removed: 5, Proved: 2,
		Quarantined: 4, Rejected: 3, StartedAt: start}
	if got != want {
		t.Errorf("result %+v, want %+v", got, want)
	}
	s.endedAs(domain.SyncDone)
	if e := s.ends[0]; e.Removed != 2 || e.Quarantined != 4 || e.Kind != "" {
		t.Errorf("end is %+v", e)
	}
	if got := ask[contract.SyncProgress](s.stage, contract.QueryProgress); got != want {
		t.Errorf("progress %+v", got)
	}
}

func TestIncompleteListingProvesNothing(t *testing.T) {
	t.Parallel()
	s := newPulling(t)
	if got := s.run(); got.Pages != 1 || s.count("ConfirmRemovals") != 0 {
		t.Errorf("result %+v, %d proofs", got, s.count("ConfirmRemovals"))
	}
}

func TestLostPositionIsFollowedByANewListingOnlySoOften(t *testing.T) {
	t.Parallel()
	s := newPulling(t)
	s.page = func(n int) (activities.PullPageResult, error) {
		if n < 3 {
			return activities.PullPageResult{}, refusedAs(domain.KindGoneToken, "unknown cursor")
		}
		return activities.PullPageResult{Seen: 1}, nil
	}
	if got := s.run(); got.Restarts != 2 || got.State != domain.SyncDone {
		t.Errorf("result %+v", got)
	}

	s = newPulling(t)
	s.page = func(int) (activities.PullPageResult, error) {
		return activities.PullPageResult{}, refusedAs(domain.KindGoneToken, "unknown cursor")
	}
	s.run()
	s.ended(errDown)
	s.endedAs(domain.SyncFailed)
	if n := s.count("PullPage"); n != 4 || s.ends[0].Kind != domain.KindGoneToken {
		t.Errorf("%d listings, end %+v", n, s.ends)
	}
}

func TestRefusalEndsTheRunAtOnceAndOutagesDoNot(t *testing.T) {
	t.Parallel()
	s := newPulling(t)
	s.page = func(int) (activities.PullPageResult, error) {
		return activities.PullPageResult{}, refusedAs(domain.KindUnauthenticated, "token expired")
	}
	s.run()
	s.ended(errDown)
	s.endedAs(domain.SyncFailed)
	if s.count("PullPage") != 1 || s.ends[0].Kind != domain.KindUnauthenticated {
		t.Errorf("%d tries, end %+v", s.count("PullPage"), s.ends)
	}

	s = newPulling(t)
	s.page = func(n int) (activities.PullPageResult, error) {
		if n < 8 {
			return activities.PullPageResult{}, errDown
		}
		return activities.PullPageResult{Seen: 1}, nil
	}
	if got := s.run(); got.State != domain.SyncDone {
		t.Errorf("result %+v", got)
	}
}

func TestWhatTimedOutIsTriedAgainWithinTwoMinutes(t *testing.T) {
	t.Parallel()
	s := newPulling(t)
	const tries = 10 // that the test environment makes at the most
	s.page = func(n int) (activities.PullPageResult, error) {
		if n < tries {
			return activities.PullPageResult{}, errDown
		}
		return activities.PullPageResult{Seen: 1}, nil
	}
	if got := s.run(); got.State != domain.SyncDone {
		t.Errorf("result %+v", got)
	}
	for n := 2; n <= tries; n++ {
		if wait := s.after("PullPage", n) - s.after("PullPage", n-1); wait > 2*time.Minute+time.Second || n <= 5 && wait > 10*time.Second {
			t.Errorf("try %d came %s after the one before", n, wait)
		}
	}
}

func TestSystemThatStaysAwayFailsTheRunAfterAnHour(t *testing.T) {
	t.Parallel()
	s := newPulling(t)
	s.page = func(int) (activities.PullPageResult, error) { return activities.PullPageResult{}, errDown }
	s.run()
	s.ended(errDown)
	s.endedAs(domain.SyncFailed)
	if s.ends[0].Kind != domain.KindUnavailable || s.count("PullPage") > 40 {
		t.Errorf("%d tries, end %+v", s.count("PullPage"), s.ends)
	}
}

func TestDatabaseThatIsDownDelaysBeginAndEnd(t *testing.T) {
	t.Parallel()
	s := newPulling(t)
	s.start = func(n int) error {
		if n < 10 {
			return errDown
		}
		return nil
	}
	s.end = func(n int, in activities.EndSyncRunInput) error {
		if n < 10 {
			return errDown
		}
		s.ends = append(s.ends, in)
		return nil
	}
	if got := s.run(); got.State != domain.SyncDone {
		t.Errorf("result %+v", got)
	}
	s.endedAs(domain.SyncDone)
}

func TestCancelledRunIsRecordedAndTold(t *testing.T) {
	t.Parallel()
	s := newPulling(t)
	s.page = func(int) (activities.PullPageResult, error) { return activities.PullPageResult{}, errDown }
	s.at(5*time.Minute, s.CancelWorkflow)
	s.run()
	s.ended(temporal.NewCanceledError())
	s.endedAs(domain.SyncCancelled)
}

func TestLongRunGoesOnInANewOne(t *testing.T) {
	t.Parallel()
	s := newPulling(t)
	s.page = func(n int) (activities.PullPageResult, error) {
		s.SetContinueAsNewSuggested(n == 5)
		return activities.PullPageResult{Seen: 10, More: n < 9}, nil
	}
	s.run()
	in := carried[contract.SyncInput](s.stage)
	if in.Carried == nil || in.Carried.Pages != 5 || in.Carried.Seen != 50 || in.RunID != run1 || len(s.told) != 0 || len(s.ends) != 0 {
		t.Fatalf("input %+v, told %+v, ends %+v", in, s.told, s.ends)
	}

	next := newPulling(t)
	next.input = in
	next.page = func(n int) (activities.PullPageResult, error) {
		return activities.PullPageResult{Seen: 10, More: n < 4}, nil
	}
	if got := next.run(); got.Pages != 9 || got.Seen != 90 || next.count("StartSyncRun") != 0 {
		t.Errorf("result %+v", got)
	}
	next.endedAs(domain.SyncDone)
}

func TestRunEndsAlthoughItsIntegrationIsGone(t *testing.T) {
	t.Parallel()
	s := newStage(t, contract.SyncWorkflowID(run1))
	s.RegisterWorkflowWithOptions(workflows.Sync, workflow.RegisterOptions{Name: contract.SyncWorkflow})
	s.OnSignalExternalWorkflow("default-test-namespace", contract.IntegrationWorkflowID(integration), "", contract.SignalSynced,
		contract.SyncedSignal{RunID: run1, State: domain.SyncDone}).Return(errors.New("no such workflow"))
	s.ExecuteWorkflow(contract.SyncWorkflow, contract.SyncInput{OrgID: org, IntegrationID: integration, RunID: run1, By: "alex"})
	s.ended(nil)
}

func TestProgressTellsThePaceAndTheEnd(t *testing.T) {
	t.Parallel()
	s := newPulling(t)
	s.page = func(n int) (activities.PullPageResult, error) {
		if n == 2 {
			return activities.PullPageResult{}, errDown // a minute passes over the tries
		}
		return activities.PullPageResult{Seen: 250, Applied: 250, Expected: 1000, More: n < 6, Complete: n == 6}, nil
	}
	s.at(500*time.Millisecond, func() {
		if got := ask[contract.SyncProgress](s.stage, contract.QueryProgress); got.Expected != 1000 || got.Seen != 250 || !got.StartedAt.Equal(start) {
			t.Errorf("progress is %+v", got)
		}
	})
	p := s.run()
	if p.Expected != 1000 || p.ETA != nil || p.PerSecond <= 0 || p.State != domain.SyncDone {
		t.Errorf("progress at the end is %+v", p)
	}
}
