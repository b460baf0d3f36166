package domain_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestStepsOfAnOnboardingKeepTheirTimesAndBeginAnew(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC)
	later := at.Add(time.Minute)
	o := domain.Onboarding{State: domain.OnboardingRunning, Attempt: 1, Steps: domain.NewOnboardSteps()}
	before := o.Steps
	o.Move(domain.OnboardCredentials, domain.OnboardStepRunning, "", at)
	if o.Current() != domain.OnboardCredentials || before[0].State != domain.OnboardStepPending {
		t.Errorf("current %q; the list before says %q", o.Current(), before[0].State)
	}
	o.Move(domain.OnboardCredentials, domain.OnboardStepRunning, "", later) // a repeat keeps when it began
	o.Move(domain.OnboardCredentials, domain.OnboardStepDone, "", later)
	o.Move(domain.OnboardCredentials, domain.OnboardStepUndone, "taken back", later.Add(time.Hour))
	want := domain.OnboardProgress{Name: domain.OnboardCredentials, State: domain.OnboardStepUndone, Note: "taken back", StartedAt: &at, EndedAt: &later}
	if diff := cmp.Diff(want, o.Steps[0]); diff != "" {
		t.Error(diff)
	}
	o.Move("unknown", domain.OnboardStepDone, "", at)
	o.State, o.Fault, o.FaultKind, o.WaitingSince, o.RunID = domain.OnboardingWaiting, "no", domain.KindInvalid, &at, "run"
	if !o.Again() || o.Attempt != 2 || o.State != domain.OnboardingRunning || o.Fault != "" || o.WaitingSince != nil || o.RunID != "" {
		t.Errorf("begun anew it is %+v", o)
	}
	if diff := cmp.Diff(domain.NewOnboardSteps(), o.Steps); diff != "" {
		t.Error(diff)
	}
	for _, ended := range []domain.OnboardingState{domain.OnboardingDone, domain.OnboardingCancelled, domain.OnboardingFailed} {
		o.End(ended, later)
		if !ended.Ended() || o.Again() || o.State != ended || o.EndedAt == nil {
			t.Errorf("%s: begun anew: %+v", ended, o)
		}
	}
	if domain.OnboardingCancelling.Ended() {
		t.Error("cancelling is no end")
	}
}
