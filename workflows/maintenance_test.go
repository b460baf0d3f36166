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
	"github.com/wedsync/wedsync/internal/rules/maintenance"
	"github.com/wedsync/wedsync/internal/upkeep"
	"github.com/wedsync/wedsync/workflows"
)

const resting = domain.MaintenanceID("01900000-0000-7000-8000-000000000051")

// upkeeping is a window whose row is in memory and which takes the real course: the rules decide, the workflow keeps the time.
type upkeeping struct {
	*stage
	row   domain.Maintenance
	facts maintenance.Facts
	fault func(step string) error
	seen  []step // every change of state
}

type step struct {
	state domain.MaintenanceState
	after time.Duration
}

func newUpkeeping(t *testing.T) *upkeeping {
	begins := start.Add(100 * time.Hour)
	s := &upkeeping{stage: newStage(t, contract.MaintenanceWorkflowID(resting)), row: domain.Maintenance{ID: resting, StartsAt: begins, EndsAt: begins.Add(4 * time.Hour),
		State: domain.MaintenanceProposed, Approval: domain.ApprovalByPerson, Version: 1}}
	s.facts.Settings = domain.StandardMaintenanceSettings()
	s.RegisterWorkflowWithOptions(workflows.Maintenance, workflow.RegisterOptions{Name: contract.MaintenanceWorkflow})
	s.RegisterActivity(&upkeepRow{s})
	return s
}

// upkeepRow stands in for the activities.
type upkeepRow struct{ s *upkeeping }

func (a *upkeepRow) failing(name string) error {
	a.s.called(name)
	if a.s.fault != nil {
		return a.s.fault(name)
	}
	return nil
}

func (a *upkeepRow) become(state domain.MaintenanceState) {
	if a.s.row.State != state {
		a.s.row.State = state
		a.s.row.Version++
		a.s.seen = append(a.s.seen, step{state, a.s.Now().Sub(start).Round(time.Second)})
	}
}

// course carries out what the rules say until they say wait.
func (a *upkeepRow) course() contract.MaintenanceStatus {
	var due time.Time
	for range 10 {
		m, f, now := &a.s.row, a.s.facts, a.s.Now().UTC()
		f.Now = now
		if f.Frozen != nil && (m.State.Ended() || !f.Frozen.Overlaps(domain.Span{Start: now, End: m.EndsAt})) {
			f.Frozen = nil
		}
		next := maintenance.Next(*m, f)
		if next.Action == maintenance.Wait {
			due = next.Due
			break
		}
		switch next.Action {
		case maintenance.Approve:
			a.become(domain.MaintenanceApproved)
		case maintenance.Refuse:
			a.become(domain.MaintenanceRefused)
		case maintenance.Announce:
			lead := next.Lead
			m.Announced = &lead
			a.become(domain.MaintenanceAnnounced)
		case maintenance.Cancel:
			a.become(domain.MaintenanceCancelled)
		case maintenance.Drain:
			m.BeganAt = &now
			a.become(domain.MaintenanceDraining)
		case maintenance.Run:
			a.become(domain.MaintenanceRunning)
		case maintenance.Release:
			m.ReleasedAt = &now
			a.become(domain.MaintenanceReplaying)
		case maintenance.Finish:
			a.become(domain.MaintenanceDone)
		}
	}
	return contract.MaintenanceStatus{State: a.s.row.State, StartsAt: a.s.row.StartsAt, EndsAt: a.s.row.EndsAt, DueAt: due, Connections: a.s.facts.Connections, Version: a.s.row.Version}
}

func (a *upkeepRow) AdvanceMaintenance(context.Context, activities.MaintenanceRef) (contract.MaintenanceStatus, error) {
	if err := a.failing("AdvanceMaintenance"); err != nil {
		return contract.MaintenanceStatus{}, err
	}
	return a.course(), nil
}

func (a *upkeepRow) DecideMaintenance(_ context.Context, in activities.DecideMaintenanceInput) (contract.MaintenanceStatus, error) {
	if err := a.failing("DecideMaintenance"); err != nil {
		return contract.MaintenanceStatus{}, err
	}
	now := a.s.Now().UTC()
	switch in.Verb {
	case upkeep.Approve:
		a.become(domain.MaintenanceApproved)
	case upkeep.Cancel:
		if a.s.row.State.Holds() {
			a.s.row.ReleasedAt = &now
			a.become(domain.MaintenanceReplaying)
		} else {
			a.become(domain.MaintenanceCancelled)
		}
	case upkeep.Reschedule:
		if !in.StartsAt.IsZero() {
			a.s.row.StartsAt = in.StartsAt
		}
		a.s.row.EndsAt = in.EndsAt
	}
	return a.course(), nil
}

func (s *upkeeping) wake() { s.SignalWorkflow(contract.SignalWake, contract.WakeSignal{}) }

// approve has an admin approve it, and returns how that went once it did.
func (s *upkeeping) approve(after time.Duration) func() *updated[contract.MaintenanceStatus] {
	u := &updated[contract.MaintenanceStatus]{}
	s.at(after, func() {
		u = update[contract.MaintenanceStatus](s.stage, contract.UpdateApprove, "approve", contract.ApproveRequest{By: "admin-1"})
	})
	return func() *updated[contract.MaintenanceStatus] { return u }
}

func (s *upkeeping) execute() (out contract.MaintenanceStatus) {
	s.t.Helper()
	s.ExecuteWorkflow(contract.MaintenanceWorkflow, contract.MaintenanceInput{OrgID: org, MaintenanceID: resting})
	s.ended(nil)
	s.must(s.GetWorkflowResult(&out))
	return out
}

func (s *upkeeping) want(states ...step) {
	s.t.Helper()
	if len(s.seen) != len(states) {
		s.t.Fatalf("it went %v, want %v", s.seen, states)
	}
	for n, w := range states {
		if got := s.seen[n]; got.state != w.state || (got.after-w.after).Abs() > 2*time.Second {
			s.t.Errorf("step %d is %v, want %v", n, got, w)
		}
	}
}

func TestAWindowIsApprovedAnnouncedTwiceRunsAndEnds(t *testing.T) {
	t.Parallel()
	s := newUpkeeping(t)
	s.facts.Connections = 2
	s.approve(time.Hour)
	s.at(100*time.Hour+3*time.Second, func() { // the last connection has come to rest, which wakes the window
		s.facts.Quiet = 2
		s.wake()
	})
	s.at(101*time.Hour, func() {
		if got := ask[contract.MaintenanceStatus](s.stage, contract.QueryStatus); got.State != domain.MaintenanceRunning || got.Connections != 2 || !got.DueAt.Equal(s.row.EndsAt) {
			t.Errorf("asked while it runs: %+v", got)
		}
		s.facts.Left = 3
	})
	s.at(104*time.Hour+12*time.Second, func() { s.facts.Left = 0 })
	if out := s.execute(); out.State != domain.MaintenanceDone {
		t.Errorf("ended as %+v", out)
	}
	s.want(step{domain.MaintenanceApproved, time.Hour}, step{domain.MaintenanceAnnounced, 28 * time.Hour}, step{domain.MaintenanceDraining, 100 * time.Hour},
		step{domain.MaintenanceRunning, 100*time.Hour + 3*time.Second}, step{domain.MaintenanceReplaying, 104 * time.Hour},
		step{domain.MaintenanceDone, 104*time.Hour + 15*time.Second})
	if s.row.Announced == nil || *s.row.Announced != 60 || s.count("AdvanceMaintenance") > 16 {
		t.Errorf("announced %v, %d looks", s.row.Announced, s.count("AdvanceMaintenance"))
	}
}

func TestAWindowThatNobodyApprovesIsRefused(t *testing.T) {
	t.Parallel()
	s := newUpkeeping(t)
	if out := s.execute(); out.State != domain.MaintenanceRefused || s.count("AdvanceMaintenance") != 2 {
		t.Errorf("ended as %+v after %d looks", out, s.count("AdvanceMaintenance"))
	}
	s.want(step{domain.MaintenanceRefused, 100 * time.Hour})
}

func TestAnAutomaticWindowApprovesItselfWhenItsNoticeBegins(t *testing.T) {
	t.Parallel()
	s := newUpkeeping(t)
	s.row.Approval = domain.ApprovalAutomatic
	s.facts.Settings.AnnounceMinutes = []int{60}
	s.execute()
	s.want(step{domain.MaintenanceApproved, 28 * time.Hour}, step{domain.MaintenanceAnnounced, 99 * time.Hour}, step{domain.MaintenanceDraining, 100 * time.Hour},
		step{domain.MaintenanceRunning, 100 * time.Hour}, step{domain.MaintenanceReplaying, 104 * time.Hour}, step{domain.MaintenanceDone, 104 * time.Hour})
}

func TestAWeddingThatMovesInCancelsAWindowAndEndsOneThatRuns(t *testing.T) {
	t.Parallel()
	s := newUpkeeping(t)
	frozen := maintenance.Frozen("w", domain.Span{Start: s.row.StartsAt.Add(time.Hour), End: s.row.EndsAt.Add(48 * time.Hour)})
	s.approve(time.Hour)
	s.at(30*time.Hour, func() { s.facts.Frozen = &frozen; s.wake() })
	s.execute()
	s.want(step{domain.MaintenanceApproved, time.Hour}, step{domain.MaintenanceAnnounced, 28 * time.Hour}, step{domain.MaintenanceCancelled, 30 * time.Hour})

	s = newUpkeeping(t)
	s.approve(time.Hour)
	s.at(100*time.Hour+10*time.Minute, func() { s.facts.Frozen = &frozen; s.wake() })
	s.execute()
	s.want(step{domain.MaintenanceApproved, time.Hour}, step{domain.MaintenanceAnnounced, 28 * time.Hour}, step{domain.MaintenanceDraining, 100 * time.Hour},
		step{domain.MaintenanceRunning, 100 * time.Hour}, step{domain.MaintenanceReplaying, 100*time.Hour + 10*time.Minute}, step{domain.MaintenanceDone, 100*time.Hour + 10*time.Minute})
}

func TestAWeddingThatNobodyToldOfIsSeenAtTheBeginning(t *testing.T) {
	t.Parallel()
	s := newUpkeeping(t)
	frozen := maintenance.Frozen("w", domain.Span{Start: s.row.StartsAt.Add(time.Hour), End: s.row.EndsAt.Add(48 * time.Hour)})
	s.approve(time.Hour)
	s.at(99*time.Hour+30*time.Minute, func() { s.facts.Frozen = &frozen }) // without a wake
	s.execute()
	s.want(step{domain.MaintenanceApproved, time.Hour}, step{domain.MaintenanceAnnounced, 28 * time.Hour}, step{domain.MaintenanceCancelled, 100 * time.Hour})
}

func TestPeopleMakeAWindowLongerOrEndIt(t *testing.T) {
	t.Parallel()
	s := newUpkeeping(t)
	s.approve(time.Hour)
	var longer, wrong, late, ended, again *updated[contract.MaintenanceStatus]
	s.at(101*time.Hour, func() {
		longer = update[contract.MaintenanceStatus](s.stage, contract.UpdateReschedule, "longer", contract.RescheduleRequest{By: "admin-1", EndsAt: s.row.EndsAt.Add(2 * time.Hour)})
	})
	s.at(102*time.Hour, func() {
		wrong = update[contract.MaintenanceStatus](s.stage, contract.UpdateReschedule, "wrong", contract.RescheduleRequest{By: "admin-1", EndsAt: start})
		late = update[contract.MaintenanceStatus](s.stage, contract.UpdateReschedule, "late", contract.RescheduleRequest{By: "admin-1", StartsAt: s.Now().Add(time.Hour)})
		again = update[contract.MaintenanceStatus](s.stage, contract.UpdateApprove, "again", contract.ApproveRequest{By: "admin-1"})
	})
	s.at(105*time.Hour, func() {
		ended = update[contract.MaintenanceStatus](s.stage, contract.UpdateCancel, "end", contract.CancelRequest{By: "admin-1"})
	})
	s.execute()
	s.want(step{domain.MaintenanceApproved, time.Hour}, step{domain.MaintenanceAnnounced, 28 * time.Hour}, step{domain.MaintenanceDraining, 100 * time.Hour},
		step{domain.MaintenanceRunning, 100 * time.Hour}, step{domain.MaintenanceReplaying, 105 * time.Hour}, step{domain.MaintenanceDone, 105 * time.Hour})
	if longer.err != nil || !longer.done || longer.result.State != domain.MaintenanceRunning || !longer.result.EndsAt.Equal(start.Add(106*time.Hour)) {
		t.Errorf("longer: %+v", longer)
	}
	if wrong.refused == nil || late.refused == nil || again.refused == nil || wrong.accepted || late.accepted || again.accepted {
		t.Errorf("refused: %v, %v, %v", wrong.refused, late.refused, again.refused)
	}
	if ended.err != nil || ended.refused != nil || !ended.done {
		t.Errorf("ended: %+v", ended)
	}
}

func TestARefusalOfTheRulesIsToldInWords(t *testing.T) {
	t.Parallel()
	s := newUpkeeping(t)
	s.fault = func(name string) error {
		if name == "DecideMaintenance" {
			return refusedAs(domain.KindConflict, "maintenance is closed then: the freeze of a wedding")
		}
		return nil
	}
	approval := s.approve(time.Hour)
	var nobody *updated[contract.MaintenanceStatus]
	s.at(2*time.Hour, func() {
		nobody = update[contract.MaintenanceStatus](s.stage, contract.UpdateCancel, "nobody", contract.CancelRequest{})
	})
	s.execute()
	u := approval()
	var told *temporal.ApplicationError
	if !u.done || !asApplication(u.err, &told) || told.Message() != "maintenance is closed then: the freeze of a wedding" || s.count("DecideMaintenance") != 1 {
		t.Errorf("%+v after %d tries", u, s.count("DecideMaintenance"))
	}
	if nobody.refused == nil {
		t.Error("nobody cancelled it")
	}
}

func TestAWindowLivesThroughAnOutageOfStorage(t *testing.T) {
	t.Parallel()
	s := newUpkeeping(t)
	s.approve(time.Hour)
	down := false
	s.fault = func(string) error {
		if down {
			return errDown
		}
		return nil
	}
	var meanwhile *updated[contract.MaintenanceStatus]
	s.at(103*time.Hour+59*time.Minute, func() { down = true })
	s.at(104*time.Hour+5*time.Minute, func() {
		meanwhile = update[contract.MaintenanceStatus](s.stage, contract.UpdateCancel, "end", contract.CancelRequest{By: "admin-1"})
	})
	s.at(104*time.Hour+20*time.Minute, func() { down = false })
	if out := s.execute(); out.State != domain.MaintenanceDone {
		t.Errorf("ended as %+v", out)
	}
	if last := s.seen[len(s.seen)-1].after; last < 104*time.Hour+20*time.Minute || last > 104*time.Hour+26*time.Minute || s.count("AdvanceMaintenance") > 60 {
		t.Errorf("it ended %s after the start, after %d looks", last, s.count("AdvanceMaintenance"))
	}
	if !meanwhile.done || meanwhile.err == nil {
		t.Errorf("who asks meanwhile is not told: %+v", meanwhile)
	}
}

func TestAWindowThatIsWokenOftenTakesANewRun(t *testing.T) {
	t.Parallel()
	s := newUpkeeping(t)
	s.SetContinueAsNewSuggested(true)
	s.ExecuteWorkflow(contract.MaintenanceWorkflow, contract.MaintenanceInput{OrgID: org, MaintenanceID: resting})
	if in := carried[contract.MaintenanceInput](s.stage); in.OrgID != org || in.MaintenanceID != resting || in.Carried == nil || in.Carried.Runs != 1 {
		t.Errorf("the new run gets %+v", in)
	}
}
