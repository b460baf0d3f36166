package domain

import (
	"slices"
	"time"
)

// OnboardingID names one onboarding of an integration.
type OnboardingID string

// OnboardingState is where an onboarding stands.
type OnboardingState string

// The states of an onboarding.
const (
	OnboardingRunning    OnboardingState = "running"
	OnboardingWaiting    OnboardingState = "waiting"    // a step was refused; somebody has to mend it, or the system is tried again later
	OnboardingCancelling OnboardingState = "cancelling" // what it did is being undone
	OnboardingDone       OnboardingState = "done"
	OnboardingCancelled  OnboardingState = "cancelled"
	OnboardingFailed     OnboardingState = "failed" // nobody mended it in time
)

// Ended reports whether nothing more happens.
func (s OnboardingState) Ended() bool {
	return s == OnboardingDone || s == OnboardingCancelled || s == OnboardingFailed
}

// OnboardingPatience is how long an onboarding waits for somebody to mend what was refused.
const OnboardingPatience = 30 * 24 * time.Hour

// OnboardStep is one step of an onboarding.
type OnboardStep string

// The steps, in their order.
const (
	OnboardCredentials OnboardStep = "credentials" // the system accepts them, and its settings are completed
	OnboardDuplicate   OnboardStep = "duplicate"   // no other integration of the organisation leads to the same place
	OnboardWebhooks    OnboardStep = "webhooks"    // the system is asked to tell of changes
	OnboardFirstSync   OnboardStep = "first_sync"  // everything that is there is read
	OnboardProbe       OnboardStep = "probe"       // the cheapest call once more, after all of that
	OnboardActivation  OnboardStep = "activation"
)

// OnboardSteps lists all steps in the order in which they are taken.
func OnboardSteps() []OnboardStep {
	return []OnboardStep{OnboardCredentials, OnboardDuplicate, OnboardWebhooks, OnboardFirstSync, OnboardProbe, OnboardActivation}
}

// OnboardStepState is where a step stands.
type OnboardStepState string

// The states of a step.
const (
	OnboardStepPending OnboardStepState = "pending"
	OnboardStepRunning OnboardStepState = "running"
	OnboardStepDone    OnboardStepState = "done"
	OnboardStepSkipped OnboardStepState = "skipped" // the system has nothing of the kind; the note says what that means
	OnboardStepFailed  OnboardStepState = "failed"
	OnboardStepUndone  OnboardStepState = "undone" // done, and taken back because a later step failed
)

// OnboardProgress is one step with what became of it.
type OnboardProgress struct {
	Name      OnboardStep      `json:"name"`
	State     OnboardStepState `json:"state"`
	Note      string           `json:"note,omitempty"`
	StartedAt *time.Time       `json:"started_at,omitempty"`
	EndedAt   *time.Time       `json:"ended_at,omitempty"`
}

// Onboarding brings a connection from credentials to an integration that works, or to none. An integration has one at
// most; a new one takes the place of the one before.
type Onboarding struct {
	ID            OnboardingID      `json:"id"`
	OrgID         OrgID             `json:"-"`
	IntegrationID IntegrationID     `json:"integration_id"`
	State         OnboardingState   `json:"state"`
	Before        IntegrationState  `json:"before"` // the integration's state that is put back if it comes to nothing
	Steps         []OnboardProgress `json:"steps"`
	// Attempt counts from 1. Each begins with the first step; changed settings begin a new one too.
	Attempt   int       `json:"attempt"`
	FaultKind ErrorKind `json:"fault_kind,omitempty"` // of the last refusal
	Fault     string    `json:"fault,omitempty"`      // why it waits, in words
	// Duplicate is the integration that leads to the same account and calendar.
	Duplicate      IntegrationID `json:"duplicate,omitempty"`
	AllowDuplicate bool          `json:"allow_duplicate"` // somebody wants both
	RunID          SyncRunID     `json:"run_id,omitempty"`
	RequestedBy    string        `json:"requested_by"` // token subject
	RetryAt        *time.Time    `json:"retry_at,omitempty"`
	WaitingSince   *time.Time    `json:"waiting_since,omitempty"`
	CreatedAt      time.Time     `json:"created_at"`
	UpdatedAt      time.Time     `json:"updated_at"`
	EndedAt        *time.Time    `json:"ended_at,omitempty"`
}

// NewOnboardSteps are all steps, pending.
func NewOnboardSteps() []OnboardProgress {
	var out []OnboardProgress
	for _, name := range OnboardSteps() {
		out = append(out, OnboardProgress{Name: name, State: OnboardStepPending})
	}
	return out
}

// Current is the first step that is running or failed; "" when there is none.
func (o Onboarding) Current() OnboardStep {
	for _, p := range o.Steps {
		if p.State == OnboardStepRunning || p.State == OnboardStepFailed {
			return p.Name
		}
	}
	return ""
}

// Move takes a step to a state at a time. Steps that the onboarding does not know are left alone.
func (o *Onboarding) Move(name OnboardStep, to OnboardStepState, note string, at time.Time) {
	n := slices.IndexFunc(o.Steps, func(p OnboardProgress) bool { return p.Name == name })
	if n < 0 {
		return
	}
	o.Steps = slices.Clone(o.Steps)
	p := &o.Steps[n]
	switch {
	case to == OnboardStepRunning && p.State != OnboardStepRunning:
		*p = OnboardProgress{Name: name, State: to, Note: note, StartedAt: &at}
		return
	case to == OnboardStepPending:
		*p = OnboardProgress{Name: name, State: to}
		return
	}
	p.State, p.Note = to, note
	if to != OnboardStepRunning && p.EndedAt == nil {
		p.EndedAt = &at
	}
}

// Again begins with the first step anew. One that has ended, or is being undone, stays as it is; it reports whether
// anything changed.
func (o *Onboarding) Again() bool {
	if o.State != OnboardingRunning && o.State != OnboardingWaiting {
		return false
	}
	o.State, o.Steps, o.FaultKind, o.Fault, o.Duplicate, o.RunID = OnboardingRunning, NewOnboardSteps(), "", "", "", ""
	o.RetryAt, o.WaitingSince = nil, nil
	o.Attempt++
	return true
}

// End closes it. Steps that were not ended stay as they are.
func (o *Onboarding) End(state OnboardingState, at time.Time) {
	o.State, o.EndedAt, o.RetryAt, o.WaitingSince = state, &at, nil, nil
}
