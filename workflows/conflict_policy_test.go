package workflows_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

func TestPolicyDecidesBeforeAnybodyIsReminded(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityHigh)
	s.row.PolicyDue = true
	s.policy = func(int) (activities.ConflictView, error) {
		s.becomes(domain.ConflictResolving)
		s.row.PolicyDue, s.row.Decided, s.row.Reason = false, "policy/p decided move", "the other was confirmed first"
		return s.row, nil
	}
	s.verify = func(n int) (activities.VerifyResolutionResult, error) {
		if n == 2 {
			s.becomes(domain.ConflictResolved)
		}
		return activities.VerifyResolutionResult{ConflictView: s.row, Step: "verified"}, nil
	}
	got := s.run(24 * time.Hour)
	if got.State != domain.ConflictResolved || s.count("ApplyConflictPolicy") != 1 || s.count("RemindConflict") != 0 || s.count("BeginResolution") != 0 {
		t.Errorf("status %+v, calls %v", got, s.calls)
	}
	if first := s.after("VerifyResolution", 1); first > time.Second {
		t.Errorf("the systems were looked at after %s", first)
	}
}

func TestPolicyThatNamesNobodyLeavesThePersonTheirTime(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityHigh)
	s.row.PolicyDue = true
	s.policy = func(n int) (activities.ConflictView, error) {
		if n == 1 {
			return activities.ConflictView{}, errDown
		}
		s.row.PolicyDue, s.row.Reason = false, "both are confirmed weddings"
		return s.row, nil
	}
	s.at(time.Hour, func() {
		if got := ask[contract.ConflictStatus](s.stage, contract.QueryStatus); got.State != domain.ConflictOpen || !strings.Contains(got.Step, "both are confirmed weddings") {
			t.Errorf("status %+v", got)
		}
	})
	// An admin asks for the policy of today.
	s.at(2*time.Hour, func() {
		s.row.PolicyDue = true
		s.recheck()
	})
	s.run(7 * time.Hour)
	if s.count("RemindConflict") != 1 || s.after("RemindConflict", 1) != 6*time.Hour {
		t.Errorf("reminded after %s", s.after("RemindConflict", 1))
	}
	if n := s.count("ApplyConflictPolicy"); n != 3 {
		t.Errorf("the policy was asked %d times, want one failure, the first and one on demand", n)
	}
}

func TestDecisionOfAPersonComesBeforeThePolicy(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityHigh)
	s.row.PolicyDue = true
	s.policy = func(int) (activities.ConflictView, error) { return activities.ConflictView{}, errDown }
	s.at(time.Minute, func() { s.resolve("1", moveIt) })
	s.at(time.Hour, func() { s.row.State = domain.ConflictResolved })
	got := s.run(2 * time.Hour)
	before := s.count("ApplyConflictPolicy")
	if got.State != domain.ConflictResolved || s.count("BeginResolution") != 1 || before == 0 {
		t.Errorf("status %+v, calls %v", got, s.calls)
	}
}

func TestDeadlineIsEscalatedOnceAndRemindersDouble(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityMedium)
	s.row.DeadlineAt = start.Add(10 * time.Hour)
	s.late = func(in activities.EscalateConflictInput) (activities.ConflictView, error) {
		if !in.Deadline.Equal(start.Add(10 * time.Hour)) {
			t.Errorf("the deadline is %v", in.Deadline)
		}
		s.row.DeadlineAt, s.row.Escalated = time.Time{}, true
		return s.row, nil
	}
	s.at(time.Hour, func() {
		if got := ask[contract.ConflictStatus](s.stage, contract.QueryStatus); !got.NextAlarm.Equal(start.Add(10*time.Hour)) || !got.DeadlineAt.Equal(got.NextAlarm) {
			t.Errorf("status %+v", got)
		}
	})
	s.run(35 * time.Hour)
	if n := s.count("EscalateConflict"); n != 1 || s.after("EscalateConflict", 1) != 10*time.Hour {
		t.Errorf("escalated %d times, first after %s", n, s.after("EscalateConflict", 1))
	}
	if one, two := s.after("RemindConflict", 1), s.after("RemindConflict", 2); one != 22*time.Hour || two != 34*time.Hour {
		t.Errorf("reminded after %s and %s, want half a day after the escalation and again", one, two)
	}
}

func TestDeadlineThatCannotBeStoredIsTriedAgainWithoutHaste(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityMedium)
	s.row.DeadlineAt = start.Add(time.Hour)
	s.late = func(activities.EscalateConflictInput) (activities.ConflictView, error) {
		if s.Now().Before(start.Add(3 * time.Hour)) {
			return activities.ConflictView{}, errDown
		}
		s.row.DeadlineAt, s.row.Escalated = time.Time{}, true
		return s.row, nil
	}
	s.run(5 * time.Hour)
	if n := s.total(); !s.row.Escalated || n > 150 {
		t.Errorf("escalated %v after %d calls", s.row.Escalated, n)
	}
}

func ignoreUntil(at time.Time) contract.ResolveRequest {
	return contract.ResolveRequest{Action: domain.ActionIgnore, Until: &at, DecisionID: "d1", By: "alex", Version: 3}
}

func TestIgnoredConflictComesBackWhenItWasToldTo(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityCritical)
	until := start.Add(5 * 24 * time.Hour)
	s.begin = func(int) (activities.ConflictView, error) {
		s.becomes(domain.ConflictIgnored)
		s.row.IgnoredUntil = until
		return s.row, nil
	}
	s.wake = func(in activities.WakeConflictInput) (activities.ConflictView, error) {
		if !in.Until.Equal(until) {
			t.Errorf("woken for %v", in.Until)
		}
		s.becomes(domain.ConflictOpen)
		s.row.IgnoredUntil = time.Time{}
		return s.row, nil
	}
	var first *updated[contract.ResolveResult]
	s.at(30*time.Minute, func() { first = s.resolve("1", ignoreUntil(until)) })
	s.at(24*time.Hour, func() {
		if got := ask[contract.ConflictStatus](s.stage, contract.QueryStatus); got.State != domain.ConflictIgnored || !got.NextAlarm.Equal(until) || !got.IgnoredUntil.Equal(until) {
			t.Errorf("status %+v", got)
		}
		s.recheck() // a booking changed, and they still clash as before
	})
	got := s.run(5*24*time.Hour + 90*time.Minute)
	if first == nil || first.err != nil || first.result.State != domain.ConflictIgnored {
		t.Errorf("decision %+v", first)
	}
	if s.count("WakeConflict") != 1 || s.after("WakeConflict", 1) != 5*24*time.Hour || s.count("RemindConflict") != 1 || got.State != domain.ConflictCleared {
		t.Errorf("status %+v, calls %v, woken after %s", got, s.calls, s.after("WakeConflict", 1))
	}
	if n := s.total(); n > 10 {
		t.Errorf("%d calls for five quiet days", n)
	}
}

func TestIgnoredConflictMayBeDecidedEarlierOrDisappear(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]domain.ConflictState{"decided": domain.ConflictResolved, "cleared": domain.ConflictCleared} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newQuarrel(t, domain.SeverityHigh)
			until := start.Add(5 * 24 * time.Hour)
			s.begin = func(n int) (activities.ConflictView, error) {
				s.becomes(domain.ConflictIgnored)
				s.row.IgnoredUntil = until
				if n == 2 {
					s.becomes(domain.ConflictResolving)
					s.row.IgnoredUntil = time.Time{}
				}
				return s.row, nil
			}
			s.at(time.Hour, func() { s.resolve("1", ignoreUntil(until)) })
			s.at(24*time.Hour, func() {
				if end == domain.ConflictCleared {
					s.becomes(end)
					s.recheck()
					return
				}
				r := moveIt
				r.DecisionID, r.Version = "d2", s.row.Version
				s.resolve("2", r)
				s.row.State = domain.ConflictResolving
			})
			s.at(25*time.Hour, func() {
				if end == domain.ConflictResolved {
					s.becomes(end)
					s.recheck()
				}
			})
			got := s.run(26 * time.Hour)
			if got.State != end || s.count("WakeConflict") != 0 || s.count("RemindConflict") != 0 {
				t.Errorf("status %+v, calls %v", got, s.calls)
			}
		})
	}
}

func TestStuckConflictIsTriedAgainAndTold(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityCritical)
	s.verify = func(n int) (activities.VerifyResolutionResult, error) {
		switch {
		case s.Now().Before(start.Add(2 * time.Hour)):
			s.row.State = domain.ConflictUndoing
		case s.Now().Before(start.Add(8 * time.Hour)):
			s.row.State = domain.ConflictStuck
		default:
			s.row.State = domain.ConflictOpen
		}
		s.row.Decided = "alex decided move"
		return activities.VerifyResolutionResult{ConflictView: s.row, Step: "1 of 2 systems do not take the decision back; they are tried again"}, nil
	}
	var meanwhile *updated[contract.ResolveResult]
	s.at(time.Hour, func() { s.resolve("1", moveIt) })
	s.at(90*time.Minute, func() {
		r := moveIt
		r.DecisionID, r.Version = "d2", 9
		meanwhile = s.resolve("2", r)
	})
	s.at(7*time.Hour, func() {
		if got := ask[contract.ConflictStatus](s.stage, contract.QueryStatus); got.State != domain.ConflictStuck || !strings.Contains(got.Step, "1 of 2") {
			t.Errorf("status %+v", got)
		}
	})
	s.run(9 * time.Hour)
	if meanwhile == nil || meanwhile.refused == nil || !strings.Contains(meanwhile.refused.Error(), "alex decided move") {
		t.Errorf("a decision while the first was taken back: %+v", meanwhile)
	}
	if n := s.count("RemindConflict"); n < 4 || n > 8 {
		t.Errorf("%d reminders in six stuck hours of a critical conflict", n)
	}
	if n := s.count("VerifyResolution"); n < 20 || n > 60 {
		t.Errorf("%d looks", n)
	}
}

func TestStuckConflictTakesANewDecision(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityHigh)
	begun := 0
	s.begin = func(n int) (activities.ConflictView, error) {
		begun = n
		s.becomes(domain.ConflictResolving)
		return s.row, nil
	}
	s.verify = func(int) (activities.VerifyResolutionResult, error) {
		if s.row.State = domain.ConflictStuck; begun == 2 {
			s.row.State = domain.ConflictResolved
		}
		return activities.VerifyResolutionResult{ConflictView: s.row, Step: "looked"}, nil
	}
	var second *updated[contract.ResolveResult]
	s.at(time.Hour, func() { s.resolve("1", moveIt) })
	s.at(3*time.Hour, func() {
		r := moveIt
		r.DecisionID, r.Version = "d2", s.row.Version
		second = s.resolve("2", r)
	})
	got := s.run(24 * time.Hour)
	if got.State != domain.ConflictResolved || second == nil || second.err != nil || second.refused != nil {
		t.Errorf("status %+v, second decision %+v", got, second)
	}
}

func TestSecondPersonIsToldWhoDecidedWhat(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityHigh)
	begin := s.begin
	s.begin = func(n int) (activities.ConflictView, error) {
		s.row.Decided = "alex decided move of booking b"
		return begin(n)
	}
	s.look = func(int) (activities.ConflictView, error) { return s.row, nil }
	var at, later *updated[contract.ResolveResult]
	other := moveIt
	other.DecisionID, other.By, other.Action = "d2", "robin", domain.ActionCancel
	s.at(time.Hour, func() {
		s.resolve("1", moveIt)
		at = s.resolve("2", other)
	})
	s.at(2*time.Hour, func() { later = s.resolve("3", other) })
	s.at(3*time.Hour, func() { s.row.State = domain.ConflictResolved })
	s.run(4 * time.Hour)
	for name, u := range map[string]*updated[contract.ResolveResult]{"at the same moment": at, "an hour later": later} {
		if u == nil || u.refused == nil || !strings.Contains(u.refused.Error(), "alex decided move") {
			t.Errorf("%s: %+v", name, u)
		}
	}
	if s.count("BeginResolution") != 1 {
		t.Errorf("%d decisions were begun", s.count("BeginResolution"))
	}
}

func TestNewRunKeepsDeadlineReminderAndTimeOfReturn(t *testing.T) {
	t.Parallel()
	s := newQuarrel(t, domain.SeverityMedium)
	s.row.DeadlineAt = start.Add(20 * time.Hour)
	s.at(time.Hour, func() {
		s.SetContinueAsNewSuggested(true)
		s.recheck()
	})
	s.ExecuteWorkflow(contract.ConflictWorkflow, s.in)
	in := carried[contract.ConflictInput](s.stage)
	if c := in.Carried; c == nil || !c.RemindAt.Equal(start.Add(24*time.Hour)) || !c.NextAlarm.Equal(start.Add(20*time.Hour)) {
		t.Fatalf("carried %+v", in.Carried)
	}
	next := newQuarrel(t, domain.SeverityMedium)
	next.in, next.row.DeadlineAt = in, start.Add(20*time.Hour)
	next.SetStartTime(start.Add(time.Hour))
	next.late = func(activities.EscalateConflictInput) (activities.ConflictView, error) {
		next.row.DeadlineAt, next.row.Escalated = time.Time{}, true
		return next.row, nil
	}
	next.run(22 * time.Hour)
	if next.after("EscalateConflict", 1) != 20*time.Hour {
		t.Errorf("escalated after %s", next.after("EscalateConflict", 1))
	}
}
