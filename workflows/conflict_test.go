package workflows_test

import (
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// quarrel is a conflict's workflow over a row that a test may change.
type quarrel struct {
	*stage
	row activities.ConflictView
	in  contract.ConflictInput
}

func newQuarrel(t *testing.T, severity domain.Severity) *quarrel {
	s := &quarrel{stage: newStage(t, contract.ConflictWorkflowID(clash)),
		row: activities.ConflictView{State: domain.ConflictOpen, Severity: severity, Version: 3},
		in:  contract.ConflictInput{OrgID: org, ConflictID: clash, Severity: severity}}
	s.look = func(int) (activities.ConflictView, error) { return s.row, nil }
	s.remind = func(int) (activities.ConflictView, error) {
		s.row.Version++
		return s.row, nil
	}
	s.begin = func(int) (activities.ConflictView, error) {
		s.row.State = domain.ConflictResolving
		s.row.Version++
		return s.row, nil
	}
	s.verify = func(int) (activities.VerifyResolutionResult, error) {
		return activities.VerifyResolutionResult{ConflictView: s.row, Step: "waiting for 1 of 2 systems to take the change"}, nil
	}
	return s
}

func (s *quarrel) recheck() {
	s.SignalWorkflow(contract.SignalRecheck, contract.RecheckSignal{BookingID: "b"})
}

func (s *quarrel) becomes(state domain.ConflictState) {
	s.row.State = state
	s.row.Version++
}

// run lets the conflict clear itself after a while.
func (s *quarrel) run(lives time.Duration) contract.ConflictStatus {
	s.t.Helper()
	s.at(lives, func() {
		if s.row.State.Open() {
			s.becomes(domain.ConflictCleared)
		}
		s.recheck()
	})
	s.ExecuteWorkflow(contract.ConflictWorkflow, s.in)
	s.ended(nil)
	var out contract.ConflictStatus
	s.must(s.GetWorkflowResult(&out))
	return out
}

var moveIt = contract.ResolveRequest{Action: domain.ActionMove, BookingID: "b", When: &domain.When{Zone: "UTC"}, DecisionID: "d1", By: "alex", Version: 3}

func (s *quarrel) resolve(id string, r contract.ResolveRequest) *updated[contract.ResolveResult] {
	return update[contract.ResolveResult](s.stage, contract.UpdateResolve, id, r)
}

func TestClashThatDisappearsEndsItsStory(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityLow)
	got := s.run(time.Hour)
	if got.State != domain.ConflictCleared || s.count("LoadConflict") != 2 || s.count("RemindConflict") != 0 {
		t.Errorf("status %+v, calls %v", got, s.calls)
	}
}

func TestRemindersComeBySeverityAndNearness(t *testing.T) {
	t.Parallel()
	date := func(after time.Duration) string { return start.Add(after).Format(time.DateOnly) }
	for name, tc := range map[string]struct {
		severity domain.Severity
		wedding  string
		want     time.Duration
	}{
		"low":                     {domain.SeverityLow, "", 72 * time.Hour},
		"medium":                  {domain.SeverityMedium, "", 24 * time.Hour},
		"high":                    {domain.SeverityHigh, "", 6 * time.Hour},
		"critical":                {domain.SeverityCritical, "", time.Hour},
		"far wedding":             {domain.SeverityMedium, date(100 * 24 * time.Hour), 24 * time.Hour},
		"wedding within 2 weeks":  {domain.SeverityMedium, date(10 * 24 * time.Hour), 12 * time.Hour},
		"wedding tomorrow":        {domain.SeverityMedium, date(24 * time.Hour), time.Hour},
		"wedding over":            {domain.SeverityCritical, date(-5 * 24 * time.Hour), 7 * 24 * time.Hour},
		"date that is not a date": {domain.SeverityHigh, "none", 6 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newQuarrel(t, tc.severity)
			s.in.WeddingDate, s.row.WeddingDate = tc.wedding, tc.wedding
			s.at(tc.want+time.Minute, func() {
				if got := ask[contract.ConflictStatus](s.stage, contract.QueryStatus); got.Reminders != 1 || !got.NextAlarm.Equal(start.Add(2*tc.want)) {
					t.Errorf("status %+v", got)
				}
			})
			s.run(2*tc.want + time.Minute)
			if first, second, n := s.after("RemindConflict", 1), s.after("RemindConflict", 2), s.count("RemindConflict"); first != tc.want || second != 2*tc.want || n != 2 {
				t.Errorf("reminders after %s and %s, %d in all, want every %s", first, second, n, tc.want)
			}
		})
	}
}

func TestSeverityThatRisesBringsTheReminderForward(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityLow)
	s.at(time.Hour, func() {
		s.row.Severity = domain.SeverityCritical
		s.recheck()
	})
	s.run(3 * time.Hour)
	if got := s.after("RemindConflict", 1); got != 2*time.Hour {
		t.Errorf("first reminder after %s, want an hour after it became critical", got)
	}
}

func TestDecisionIsBegunVerifiedAndClosed(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityHigh)
	var first, second, late *updated[contract.ResolveResult]
	s.at(time.Hour, func() { first = s.resolve("1", moveIt) })
	s.at(time.Hour+time.Second, func() {
		again := moveIt
		again.DecisionID, again.Version = "d2", 4
		second = s.resolve("2", again)
	})
	s.at(90*time.Minute, func() {
		s.row.State = domain.ConflictResolved
		s.recheck()
	})
	s.at(90*time.Minute+time.Second, func() { late = s.resolve("3", moveIt) })
	got := s.run(2 * time.Hour)
	if got.State != domain.ConflictResolved || s.count("BeginResolution") != 1 || s.count("RemindConflict") != 0 {
		t.Errorf("status %+v, calls %v", got, s.calls)
	}
	if first == nil || !first.done || first.err != nil || first.result.State != domain.ConflictResolving {
		t.Errorf("first decision: %+v", first)
	}
	if second == nil || second.refused == nil {
		t.Errorf("second decision: %+v", second)
	}
	if late != nil && late.refused == nil && late.err == nil {
		t.Errorf("decision on a closed conflict: %+v", late)
	}
	// Looks without a signal grow rare: half an hour has room for 30 s, 1, 2, 4, 8 and 15 minutes.
	if n := s.count("VerifyResolution"); n > 9 {
		t.Errorf("%d looks in half an hour", n)
	}
}

func TestSystemPausedForDaysIsNotAskedWithoutEnd(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityHigh)
	s.at(time.Hour, func() { s.resolve("1", moveIt) })
	s.at(8*24*time.Hour, func() { s.row.State = domain.ConflictResolved })
	s.run(9 * 24 * time.Hour)
	if n := s.count("VerifyResolution"); n > 24*4*8+20 {
		t.Errorf("%d looks in eight days", n)
	}
}

func TestDecisionThatIsRefusedLeavesTheConflictOpen(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityHigh)
	s.begin = func(n int) (activities.ConflictView, error) {
		if n == 1 {
			return activities.ConflictView{}, refusedAs(domain.KindConflict, "it would make another clash: 30 minutes overlap")
		}
		s.becomes(domain.ConflictDismissed)
		return s.row, nil
	}
	var first, second *updated[contract.ResolveResult]
	s.at(time.Hour, func() { first = s.resolve("1", moveIt) })
	s.at(2*time.Hour, func() {
		second = s.resolve("2", contract.ResolveRequest{Action: domain.ActionKeepBoth, DecisionID: "d2", By: "alex", Version: 3})
	})
	got := s.run(24 * time.Hour)
	if first == nil || !first.done || first.err == nil || !strings.Contains(first.err.Error(), "refused: it would make another clash: 30 minutes overlap") {
		t.Errorf("first decision: %+v", first)
	}
	if got.State != domain.ConflictDismissed || second == nil || second.err != nil || second.result.State != domain.ConflictDismissed {
		t.Errorf("status %+v, second decision: %+v", got, second)
	}
}

func TestDecisionOnAConflictThatIsOverMeanwhileEndsTheStory(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityHigh)
	s.begin = func(int) (activities.ConflictView, error) {
		return activities.ConflictView{}, refusedAs(domain.KindConflict, "the conflict is cleared")
	}
	var u *updated[contract.ResolveResult]
	s.at(time.Hour, func() {
		s.becomes(domain.ConflictCleared)
		u = s.resolve("1", moveIt)
	})
	s.ExecuteWorkflow(contract.ConflictWorkflow, s.in)
	s.ended(nil)
	if u == nil || !u.done || u.err == nil {
		t.Errorf("decision: %+v", u)
	}
}

func TestDecisionThatComesWithTheEndIsAnswered(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityHigh)
	var u *updated[contract.ResolveResult]
	s.look = func(n int) (activities.ConflictView, error) {
		if n == 2 {
			s.becomes(domain.ConflictCleared)
			u = s.resolve("1", moveIt)
		}
		return s.row, nil
	}
	s.begin = func(int) (activities.ConflictView, error) {
		return activities.ConflictView{}, refusedAs(domain.KindConflict, "the conflict is cleared")
	}
	s.at(time.Hour, s.recheck)
	s.ExecuteWorkflow(contract.ConflictWorkflow, s.in)
	s.ended(nil)
	if u == nil || u.refused == nil && (!u.done || u.err == nil) {
		t.Errorf("decision: %+v", u)
	}
}

func TestUndoneDecisionLetsAnotherOneIn(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityHigh)
	s.verify = func(n int) (activities.VerifyResolutionResult, error) {
		if n == 1 {
			s.becomes(domain.ConflictOpen)
			return activities.VerifyResolutionResult{ConflictView: s.row, Step: "a system refused, so the booking was put back: locked"}, nil
		}
		s.becomes(domain.ConflictResolved)
		return activities.VerifyResolutionResult{ConflictView: s.row, Step: "resolved"}, nil
	}
	var second *updated[contract.ResolveResult]
	s.at(time.Hour, func() { s.resolve("1", moveIt) })
	s.at(2*time.Hour, func() {
		if got := ask[contract.ConflictStatus](s.stage, contract.QueryStatus); got.State != domain.ConflictOpen || got.Step == "" {
			t.Errorf("status %+v", got)
		}
		r := moveIt
		r.DecisionID, r.Version = "d2", s.row.Version
		second = s.resolve("2", r)
	})
	got := s.run(24 * time.Hour)
	if got.State != domain.ConflictResolved || second == nil || second.err != nil || !second.done || s.count("BeginResolution") != 2 {
		t.Errorf("status %+v, second %+v", got, second)
	}
}

func TestDecisionsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityHigh)
	all := map[string]*updated[contract.ResolveResult]{}
	s.at(time.Minute, func() {
		for name, spoil := range map[string]func(*contract.ResolveRequest){
			"nobody":            func(r *contract.ResolveRequest) { r.By = "" },
			"no decision":       func(r *contract.ResolveRequest) { r.DecisionID = "" },
			"no time":           func(r *contract.ResolveRequest) { r.When = nil },
			"no booking":        func(r *contract.ResolveRequest) { r.BookingID = "" },
			"no resource":       func(r *contract.ResolveRequest) { r.Action = domain.ActionReassign },
			"nothing to cancel": func(r *contract.ResolveRequest) { r.Action, r.BookingID = domain.ActionCancel, "" },
			"unknown action":    func(r *contract.ResolveRequest) { r.Action = "forget" },
			"old version":       func(r *contract.ResolveRequest) { r.Version = 2 },
		} {
			r := moveIt
			spoil(&r)
			all[name] = s.resolve(name, r)
		}
	})
	s.run(time.Hour)
	for name, u := range all {
		if u.refused == nil || u.accepted {
			t.Errorf("%s was not refused: %+v", name, u)
		}
	}
	if s.count("BeginResolution") != 0 {
		t.Error("a decision was begun")
	}
}

func TestConflictOutlivesADatabaseThatIsDown(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityHigh)
	down := func() bool { return s.Now().Before(start.Add(2 * time.Hour)) }
	s.look = func(int) (activities.ConflictView, error) {
		if down() {
			return activities.ConflictView{}, errDown
		}
		return s.row, nil
	}
	begin := s.begin
	s.begin = func(n int) (activities.ConflictView, error) {
		if down() {
			return activities.ConflictView{}, errDown
		}
		return begin(n)
	}
	var u *updated[contract.ResolveResult]
	s.at(time.Hour, func() { u = s.resolve("1", moveIt) })
	s.at(4*time.Hour, func() { s.row.State = domain.ConflictResolved })
	got := s.run(24 * time.Hour)
	if got.State != domain.ConflictResolved || u == nil || u.err != nil || u.result.State != domain.ConflictResolving {
		t.Errorf("status %+v, decision %+v", got, u)
	}
	if n := s.total(); n > 250 {
		t.Errorf("%d calls", n)
	}
}

func TestConflictThatDoesNotExistEnds(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityHigh)
	s.look = func(int) (activities.ConflictView, error) {
		return activities.ConflictView{}, refusedAs(domain.KindNotFound, "no such conflict")
	}
	s.ExecuteWorkflow(contract.ConflictWorkflow, s.in)
	s.ended(nil)
}

func TestCancelledConflictEnds(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityHigh)
	s.at(time.Hour, s.CancelWorkflow)
	s.ExecuteWorkflow(contract.ConflictWorkflow, s.in)
	s.ended(temporal.NewCanceledError())
}

func TestNewRunOfAConflictKnowsItsReminders(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityHigh)
	s.at(7*time.Hour, func() {
		s.SetContinueAsNewSuggested(true)
		s.recheck()
	})
	s.ExecuteWorkflow(contract.ConflictWorkflow, s.in)
	in := carried[contract.ConflictInput](s.stage)
	if c := in.Carried; c == nil || c.Reminders != 1 || !c.NextAlarm.Equal(start.Add(12*time.Hour)) || c.State != domain.ConflictOpen || !c.Recheck {
		t.Fatalf("input %+v", in)
	}
	next := newQuarrel(t, domain.SeverityHigh)
	next.in = in
	next.SetStartTime(start.Add(7 * time.Hour))
	got := next.run(6 * time.Hour)
	if got.Reminders != 2 || next.after("RemindConflict", 1) != 12*time.Hour {
		t.Errorf("status %+v, reminder after %s", got, next.after("RemindConflict", 1))
	}
}

func TestNewRunGoesOnWithADecision(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityHigh)
	s.at(time.Hour, func() { s.resolve("1", moveIt) })
	s.at(2*time.Hour, func() { s.SetContinueAsNewSuggested(true) })
	s.ExecuteWorkflow(contract.ConflictWorkflow, s.in)
	in := carried[contract.ConflictInput](s.stage)
	if c := in.Carried; c == nil || c.State != domain.ConflictResolving || c.Pending != nil {
		t.Fatalf("input %+v", in)
	}
	next := newQuarrel(t, domain.SeverityHigh)
	next.in = in
	next.row.State = domain.ConflictResolving
	next.at(time.Hour, func() { next.row.State = domain.ConflictResolved })
	if got := next.run(2 * time.Hour); got.State != domain.ConflictResolved || next.count("BeginResolution") != 0 {
		t.Errorf("status %+v, calls %v", got, next.calls)
	}

	// An earlier version carried the decision that it had taken up.
	in.Carried.Pending = &moveIt
	older := newQuarrel(t, domain.SeverityHigh)
	older.in = in
	older.row.State = domain.ConflictResolving
	older.begin = func(int) (activities.ConflictView, error) { return older.row, nil } // taken already
	older.at(time.Hour, func() { older.row.State = domain.ConflictResolved })
	if got := older.run(2 * time.Hour); got.State != domain.ConflictResolved {
		t.Errorf("status %+v", got)
	}
}
