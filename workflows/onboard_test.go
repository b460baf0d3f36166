package workflows_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/workflows"
)

// joining is an onboarding whose row is in memory. The steps answer what the test says.
type joining struct {
	*stage
	mu    sync.Mutex
	row   domain.Onboarding
	gone  bool // the integration was deleted
	can   activities.OnboardView
	did   []string // steps and what was done outside, in order
	state domain.IntegrationState

	check func(n int) (activities.OnboardStepResult, error)
	twice func(n int) (activities.OnboardStepResult, error)
	watch func(n int, wish activities.WatchWish) (activities.KeepWatchesResult, error)
	read  func(ctx workflow.Context, n int) (contract.SyncProgress, error)
	probe func(n int) (activities.OnboardStepResult, error)
	store func(step domain.OnboardStep) error
}

func newJoining(t *testing.T) *joining {
	s := &joining{stage: newStage(t, contract.OnboardWorkflowID(integration)), state: domain.IntegrationConnecting,
		row: domain.Onboarding{ID: "01900000-0000-7000-8000-0000000000a1", State: domain.OnboardingRunning, Attempt: 1, Steps: domain.NewOnboardSteps(), Before: domain.IntegrationPaused},
		can: activities.OnboardView{Provider: "outside", CanPull: true, CanWatch: true, Public: true, Polled: true}}
	s.RegisterWorkflowWithOptions(workflows.Onboard, workflow.RegisterOptions{Name: contract.OnboardWorkflow})
	s.RegisterWorkflowWithOptions(func(ctx workflow.Context, in contract.SyncInput) (contract.SyncProgress, error) {
		n := s.called("Sync")
		s.note("sync")
		if in.RunID != s.row.RunID || in.By != "onboarding" || in.Full {
			t.Errorf("a sync with %+v", in)
		}
		if s.read == nil {
			return contract.SyncProgress{State: domain.SyncDone, Seen: 7, Applied: 5}, nil
		}
		return s.read(ctx, n)
	}, workflow.RegisterOptions{Name: contract.SyncWorkflow})
	s.RegisterActivity(&onboardRow{s})
	return s
}

func (s *joining) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.did = append(s.did, what)
}

// onboardRow stands in for the activities, with the rules of the noun itself.
type onboardRow struct{ s *joining }

func (a *onboardRow) view() activities.OnboardView {
	s := a.s
	if s.gone && !s.row.State.Ended() {
		s.row.End(domain.OnboardingCancelled, s.Now())
	}
	v := s.can
	v.Onboarding, v.State, v.Attempt, v.Step, v.Kind, v.RunID = s.row.ID, s.row.State, s.row.Attempt, s.row.Current(), s.row.FaultKind, s.row.RunID
	if s.row.RetryAt != nil {
		v.RetryAt = *s.row.RetryAt
	}
	if s.row.WaitingSince != nil {
		v.WaitingSince = *s.row.WaitingSince
	}
	return v
}

func (a *onboardRow) is(in activities.OnboardRef) bool {
	return in.Org == org && in.Integration == integration && a.s.row.ID == in.Onboarding && a.s.row.Attempt == in.Attempt && a.s.row.State == domain.OnboardingRunning
}

func (a *onboardRow) LoadOnboarding(context.Context, activities.LoadOnboardingInput) (activities.OnboardView, error) {
	return a.view(), nil
}

func (a *onboardRow) MoveOnboarding(_ context.Context, in activities.MoveOnboardingInput) (activities.OnboardView, error) {
	s := a.s
	if s.store != nil {
		if err := s.store(in.Step); err != nil {
			return activities.OnboardView{}, err
		}
	}
	if !a.is(in.OnboardRef) {
		return a.view(), nil
	}
	now := s.Now()
	s.row.Move(in.Step, in.To, in.Note, now)
	if in.Step == domain.OnboardFirstSync && in.To == domain.OnboardStepRunning && s.row.RunID == "" {
		s.row.RunID = domain.NewID[domain.SyncRunID](now)
	}
	if in.To == domain.OnboardStepFailed {
		for _, name := range in.Undone {
			s.row.Move(name, domain.OnboardStepUndone, "", now)
		}
		s.row.State, s.row.FaultKind = domain.OnboardingWaiting, in.Kind
		if s.row.WaitingSince == nil {
			s.row.WaitingSince = &now
		}
		if !in.Retry.IsZero() {
			s.row.RetryAt = &in.Retry
		}
	}
	return a.view(), nil
}

func (a *onboardRow) AgainOnboarding(_ context.Context, in activities.AgainOnboardingInput) (activities.OnboardView, error) {
	s := a.s
	if s.row.State == domain.OnboardingWaiting {
		since := s.row.WaitingSince
		s.row.AllowDuplicate = s.row.AllowDuplicate || in.AllowDuplicate
		s.row.Again()
		if in.Auto {
			s.row.WaitingSince = since
		}
	}
	return a.view(), nil
}

func (a *onboardRow) CancelOnboarding(context.Context, activities.LoadOnboardingInput) (activities.OnboardView, error) {
	if !a.s.row.State.Ended() {
		a.s.row.State = domain.OnboardingCancelling
	}
	return a.view(), nil
}

func (a *onboardRow) EndOnboarding(_ context.Context, in activities.EndOnboardingInput) (activities.OnboardView, error) {
	if !a.s.row.State.Ended() {
		a.s.row.End(in.State, a.s.Now())
		a.s.state = a.s.row.Before
	}
	return a.view(), nil
}

func (a *onboardRow) ActivateIntegration(_ context.Context, in activities.OnboardRef) (activities.OnboardView, error) {
	if a.is(in) {
		a.s.row.Move(domain.OnboardActivation, domain.OnboardStepDone, "", a.s.Now())
		a.s.row.End(domain.OnboardingDone, a.s.Now())
		a.s.state = domain.IntegrationActive
	}
	return a.view(), nil
}

func (a *onboardRow) CheckConnection(context.Context, activities.OnboardRef) (activities.OnboardStepResult, error) {
	a.s.note("check")
	return answer(a.s.script, "CheckConnection", a.s.check)
}

func (a *onboardRow) FindDuplicate(context.Context, activities.OnboardRef) (activities.OnboardStepResult, error) {
	a.s.note("duplicate")
	return answer(a.s.script, "FindDuplicate", a.s.twice)
}

func (a *onboardRow) ProbeConnection(context.Context, activities.OnboardRef) (activities.OnboardStepResult, error) {
	a.s.note("probe")
	return answer(a.s.script, "ProbeConnection", a.s.probe)
}

// run plays the onboarding to its end.
func (s *joining) run() (out contract.OnboardStatus) {
	s.t.Helper()
	s.wish = func(n int, in activities.KeepWatchesInput) (activities.KeepWatchesResult, error) {
		s.note("watches " + string(in.For))
		if s.watch == nil {
			return activities.KeepWatchesResult{Stands: in.For == activities.WatchesMake}, nil
		}
		return s.watch(n, in.For)
	}
	s.ExecuteWorkflow(contract.OnboardWorkflow, contract.OnboardInput{OrgID: org, IntegrationID: integration})
	if !s.IsWorkflowCompleted() {
		s.t.Fatal("the workflow did not end")
	}
	if s.GetWorkflowError() == nil {
		s.must(s.GetWorkflowResult(&out))
	}
	return out
}

func (s *joining) steps() string {
	var out []string
	for _, p := range s.row.Steps {
		out = append(out, string(p.State))
	}
	return strings.Join(out, " ")
}

func (s *joining) want(did ...string) {
	s.t.Helper()
	if !slices.Equal(s.did, did) {
		s.t.Errorf("did %q, want %q", s.did, did)
	}
}

func refusal(kind domain.ErrorKind) func(int) (activities.OnboardStepResult, error) {
	return func(int) (activities.OnboardStepResult, error) {
		return activities.OnboardStepResult{Refused: kind}, nil
	}
}

// mended is refused the first time only.
func mended(kind domain.ErrorKind) func(int) (activities.OnboardStepResult, error) {
	return func(n int) (activities.OnboardStepResult, error) {
		if n == 1 {
			return activities.OnboardStepResult{Refused: kind}, nil
		}
		return activities.OnboardStepResult{}, nil
	}
}

// once waits until the onboarding waits for somebody, and does something then.
func (s *joining) once(state domain.OnboardingState, fn func()) {
	var look func()
	look = func() {
		if s.row.State == state {
			fn()
			return
		}
		s.at(time.Second, look)
	}
	s.at(time.Second, look)
}

func (s *joining) resume(allow bool) *updated[contract.OnboardStatus] {
	return update[contract.OnboardStatus](s.stage, contract.UpdateResume, "", contract.OnboardResumeRequest{By: "admin-1", AllowDuplicate: allow})
}

func (s *joining) cancelIt() *updated[contract.OnboardStatus] {
	return update[contract.OnboardStatus](s.stage, contract.UpdateCancel, "", contract.CancelRequest{By: "admin-1"})
}

func TestOnboardingTakesItsStepsInOrderAndActivates(t *testing.T) {
	t.Parallel()
	s := newJoining(t)
	if out := s.run(); out.State != domain.OnboardingDone || out.Attempt != 1 || s.state != domain.IntegrationActive {
		t.Errorf("ended as %+v, the integration is %s", out, s.state)
	}
	s.want("check", "duplicate", "watches make", "sync", "probe")
	if s.steps() != "done done done done done done" || !strings.HasPrefix(s.row.Steps[3].Note, "read 7 entries, 5 of them") {
		t.Errorf("steps are %s: %+v", s.steps(), s.row.Steps)
	}
}

func TestOnboardingSkipsWhatASystemDoesNotHave(t *testing.T) {
	t.Parallel()
	s := newJoining(t)
	s.can = activities.OnboardView{Provider: "outside"}
	skip := func(int) (activities.OnboardStepResult, error) {
		return activities.OnboardStepResult{Skipped: true}, nil
	}
	s.check, s.twice, s.probe = skip, skip, skip
	if out := s.run(); out.State != domain.OnboardingDone || s.steps() != "skipped skipped skipped skipped skipped done" {
		t.Errorf("ended as %+v with steps %s", out, s.steps())
	}
	for _, p := range s.row.Steps[:5] {
		if p.Note == "" {
			t.Errorf("nothing says why %s was skipped", p.Name)
		}
	}
	s.want("check", "duplicate", "probe")
}

// TestOnboardingThatIsRefusedUndoesWaitsAndGoesOn refuses each step once. What stood outside is taken back, nothing runs, and
// after somebody mended it everything is done from the beginning.
func TestOnboardingThatIsRefusedUndoesWaitsAndGoesOn(t *testing.T) {
	t.Parallel()
	whole := []string{"check", "duplicate", "watches make", "sync", "probe"}
	for name, c := range map[string]struct {
		prepare func(s *joining)
		kind    domain.ErrorKind
		steps   string // while it waits
		first   []string
	}{
		"credentials": {func(s *joining) { s.check = mended(domain.KindUnauthenticated) }, domain.KindUnauthenticated,
			"failed pending pending pending pending pending", whole[:1]},
		"duplicate": {func(s *joining) { s.twice = mended(domain.KindConflict) }, domain.KindConflict,
			"done failed pending pending pending pending", whole[:2]},
		"webhooks": {func(s *joining) {
			s.watch = func(n int, wish activities.WatchWish) (activities.KeepWatchesResult, error) {
				if n == 1 {
					return activities.KeepWatchesResult{Failed: 1, Kind: domain.KindUnauthenticated}, nil
				}
				return activities.KeepWatchesResult{Stands: wish == activities.WatchesMake}, nil
			}
		}, domain.KindUnauthenticated, "done done failed pending pending pending", []string{"check", "duplicate", "watches make", "watches end"}},
		"first sync": {func(s *joining) {
			s.read = func(_ workflow.Context, n int) (contract.SyncProgress, error) {
				if n == 1 {
					return contract.SyncProgress{}, refusedAs(domain.KindUnauthenticated, "no longer")
				}
				return contract.SyncProgress{State: domain.SyncDone}, nil
			}
		}, domain.KindUnauthenticated, "done done undone failed pending pending", []string{"check", "duplicate", "watches make", "sync", "watches end"}},
		"probe": {func(s *joining) { s.probe = mended(domain.KindForbidden) }, domain.KindForbidden,
			"done done undone done failed pending", append(slices.Clone(whole), "watches end")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newJoining(t)
			c.prepare(s)
			var resumed *updated[contract.OnboardStatus]
			s.once(domain.OnboardingWaiting, func() {
				if got := ask[contract.OnboardStatus](s.stage, contract.QueryStatus); got.State != domain.OnboardingWaiting || got.Kind != c.kind {
					t.Errorf("while it waits it says %+v", got)
				}
				if s.steps() != c.steps || s.state != domain.IntegrationConnecting || s.row.RetryAt != nil {
					t.Errorf("steps %s, integration %s, retry %v", s.steps(), s.state, s.row.RetryAt)
				}
				s.want(c.first...)
				s.at(9*24*time.Hour, func() { resumed = s.resume(false) }) // somebody comes back days later
			})
			out := s.run()
			if out.State != domain.OnboardingDone || out.Attempt != 2 || s.state != domain.IntegrationActive || s.steps() != "done done done done done done" {
				t.Errorf("ended as %+v with %s, the integration is %s", out, s.steps(), s.state)
			}
			if resumed == nil || resumed.err != nil || resumed.refused != nil || resumed.result.State != domain.OnboardingRunning {
				t.Errorf("resumed: %+v", resumed)
			}
			s.want(append(slices.Clone(c.first), whole...)...)
		})
	}
}

func TestOnboardingGoesOnWhenItsSettingsChange(t *testing.T) {
	t.Parallel()
	s := newJoining(t)
	s.check = mended(domain.KindInvalid)
	s.once(domain.OnboardingWaiting, func() {
		s.row.Again() // as the API does with new credentials
		s.SignalWorkflow(contract.SignalOnboarding, nil)
	})
	if out := s.run(); out.State != domain.OnboardingDone || out.Attempt != 2 {
		t.Errorf("ended as %+v", out)
	}
}

func TestSettingsThatChangeDuringTheFirstSyncBeginAnew(t *testing.T) {
	t.Parallel()
	s := newJoining(t)
	s.read = func(ctx workflow.Context, n int) (contract.SyncProgress, error) {
		if n == 1 {
			return contract.SyncProgress{}, workflow.Sleep(ctx, 24*time.Hour)
		}
		return contract.SyncProgress{State: domain.SyncDone}, nil
	}
	s.at(time.Minute, func() { s.SignalWorkflow(contract.SignalOnboarding, nil) }) // told twice: nothing changed
	s.at(time.Hour, func() {
		if s.count("Sync") != 1 || s.row.Attempt != 1 {
			t.Error("a message that changes nothing disturbed it")
		}
		s.row.Again()
		s.SignalWorkflow(contract.SignalOnboarding, nil)
	})
	if out := s.run(); out.State != domain.OnboardingDone || out.Attempt != 2 || s.after("Sync", 2) > 2*time.Hour {
		t.Errorf("ended as %+v; the second reading began after %s", out, s.after("Sync", 2))
	}
	s.want("check", "duplicate", "watches make", "sync", "check", "duplicate", "watches make", "sync", "probe")
}

func TestADuplicateIsConnectedWhenSomebodyWantsBoth(t *testing.T) {
	t.Parallel()
	s := newJoining(t)
	s.twice = func(int) (activities.OnboardStepResult, error) {
		if s.row.AllowDuplicate {
			return activities.OnboardStepResult{}, nil
		}
		return activities.OnboardStepResult{Refused: domain.KindConflict}, nil
	}
	s.once(domain.OnboardingWaiting, func() { s.resume(true) })
	if out := s.run(); out.State != domain.OnboardingDone || !s.row.AllowDuplicate {
		t.Errorf("ended as %+v", out)
	}
}

func TestASystemThatIsDownIsTriedAgainByItself(t *testing.T) {
	t.Parallel()
	s := newJoining(t)
	up := start.Add(12 * time.Hour)
	s.check = func(int) (activities.OnboardStepResult, error) {
		if s.Now().Before(up) {
			return activities.OnboardStepResult{}, refusedAs(domain.KindUnavailable, "the system is down")
		}
		return activities.OnboardStepResult{}, nil
	}
	s.once(domain.OnboardingWaiting, func() {
		if s.row.RetryAt == nil || s.row.FaultKind != domain.KindUnavailable {
			t.Errorf("it waits with %+v", s.row)
		}
	})
	out := s.run()
	if n := s.count("CheckConnection"); out.State != domain.OnboardingDone || n < 4 || n > 12 {
		t.Errorf("ended as %+v after %d checks", out, n)
	}
}

func TestAddressThatIsNotTakenLeavesPolling(t *testing.T) {
	t.Parallel()
	for name, polled := range map[string]bool{"polled": true, "not polled": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newJoining(t)
			s.can.Polled = polled
			s.watch = func(int, activities.WatchWish) (activities.KeepWatchesResult, error) {
				return activities.KeepWatchesResult{Failed: 1, Kind: domain.KindPermanent}, nil
			}
			s.once(domain.OnboardingWaiting, func() { s.cancelIt() })
			out := s.run()
			if polled && (out.State != domain.OnboardingDone || s.row.Steps[2].State != domain.OnboardStepSkipped) {
				t.Errorf("ended as %+v: %s", out, s.steps())
			}
			if !polled && (out.State != domain.OnboardingCancelled || s.row.FaultKind != domain.KindPermanent) {
				t.Errorf("ended as %+v: %s", out, s.steps())
			}
		})
	}
}

func TestACancelledOnboardingLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for name, when := range map[string]domain.OnboardingState{"while it waits": domain.OnboardingWaiting, "while it reads": domain.OnboardingRunning} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newJoining(t)
			ended := false
			s.read = func(ctx workflow.Context, _ int) (contract.SyncProgress, error) {
				err := workflow.Sleep(ctx, 24*time.Hour)
				ended = temporal.IsCanceledError(err)
				return contract.SyncProgress{}, err
			}
			if when == domain.OnboardingWaiting {
				s.read, s.probe = nil, refusal(domain.KindForbidden)
			}
			var u *updated[contract.OnboardStatus]
			s.at(10*time.Minute, func() { u = s.cancelIt() })
			out := s.run()
			if out.State != domain.OnboardingCancelled || s.state != domain.IntegrationPaused || u == nil || u.err != nil || u.result.State != domain.OnboardingCancelling {
				t.Errorf("ended as %+v, the integration is %s; the update said %+v", out, s.state, u)
			}
			if when == domain.OnboardingRunning && !ended {
				t.Error("the reading was not cancelled")
			}
			if s.did[len(s.did)-1] != "watches end" || s.after("Sync", 1) > 10*time.Minute {
				t.Errorf("did %q", s.did)
			}
		})
	}
}

func TestAnOperatorWhoCancelsTheWorkflowLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s := newJoining(t)
	s.probe = refusal(domain.KindForbidden)
	s.once(domain.OnboardingWaiting, func() { s.CancelWorkflow() })
	s.run()
	if err := s.GetWorkflowError(); !temporal.IsCanceledError(err) {
		t.Errorf("the workflow ended with %v", err)
	}
	if s.row.State != domain.OnboardingCancelled || s.state != domain.IntegrationPaused || s.did[len(s.did)-1] != "watches end" {
		t.Errorf("the row is %s, the integration %s, did %q", s.row.State, s.state, s.did)
	}
}

func TestAnIntegrationThatIsDeletedEndsItsOnboarding(t *testing.T) {
	t.Parallel()
	s := newJoining(t)
	s.read = func(ctx workflow.Context, _ int) (contract.SyncProgress, error) {
		return contract.SyncProgress{}, workflow.Sleep(ctx, 24*time.Hour)
	}
	s.at(time.Minute, func() {
		s.gone = true
		s.SignalWorkflow(contract.SignalOnboarding, nil)
	})
	if out := s.run(); out.State != domain.OnboardingCancelled || s.count("ProbeConnection") != 0 || s.state != domain.IntegrationConnecting {
		t.Errorf("ended as %+v", out)
	}
}

func TestNobodyWhoMendsItEndsItAfterThirtyDays(t *testing.T) {
	t.Parallel()
	s := newJoining(t)
	s.probe = func(int) (activities.OnboardStepResult, error) {
		return activities.OnboardStepResult{}, refusedAs(domain.KindInternal, "a fault")
	}
	out := s.run()
	if out.State != domain.OnboardingFailed || s.state != domain.IntegrationPaused {
		t.Errorf("ended as %+v, the integration is %s", out, s.state)
	}
	if took := s.Now().Sub(start); took < domain.OnboardingPatience || took > domain.OnboardingPatience+longest {
		t.Errorf("it took %s", took)
	}
}

// longest is how long past its patience an onboarding may notice that it is over.
const longest = 7 * time.Hour

func TestAnOnboardingThatWaitsLongTakesANewRun(t *testing.T) {
	t.Parallel()
	s := newJoining(t)
	s.check = refusal(domain.KindUnauthenticated)
	s.SetContinueAsNewSuggested(true)
	s.run()
	in := carried[contract.OnboardInput](s.stage)
	if in.OrgID != org || in.IntegrationID != integration || in.Carried == nil || in.Carried.Runs != 1 {
		t.Errorf("the new run gets %+v", in)
	}
}

func TestOnboardingSurvivesAnOutageOfTheDatabase(t *testing.T) {
	t.Parallel()
	s := newJoining(t)
	down := 0
	s.store = func(step domain.OnboardStep) error {
		if down++; step == domain.OnboardProbe && s.count("ProbeConnection") == 0 && down < 40 {
			return errDown
		}
		return nil
	}
	if out := s.run(); out.State != domain.OnboardingDone || s.count("Sync") != 1 {
		t.Errorf("ended as %+v after %d readings", out, s.count("Sync"))
	}
}

func TestUpdatesOfAnOnboardingAreChecked(t *testing.T) {
	t.Parallel()
	s := newJoining(t)
	s.check = mended(domain.KindInvalid)
	var nobody, early, late *updated[contract.OnboardStatus]
	s.once(domain.OnboardingWaiting, func() {
		nobody = update[contract.OnboardStatus](s.stage, contract.UpdateResume, "", contract.OnboardResumeRequest{})
		early = s.resume(false)
		late = s.resume(false) // it goes on already
	})
	s.run()
	if nobody.refused == nil || early.err != nil || !early.done || late.err != nil || !late.done {
		t.Errorf("nobody %+v, early %+v, late %+v", nobody, early, late)
	}
}
