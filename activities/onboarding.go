package activities

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// Onboardings brings connections from credentials to integrations that work. What a step found out, and why it was refused,
// is stored by the step itself: such texts are for the person who connects and not for histories.
type Onboardings struct {
	Store  *store.Store
	Opener *connect.Opener
	// NotifyURL is as in Watches.
	NotifyURL string
}

// OnboardRef names an attempt of an onboarding. A step of another one than the current changes nothing.
type OnboardRef struct {
	Org         domain.OrgID         `json:"org"`
	Integration domain.IntegrationID `json:"integration"`
	Onboarding  domain.OnboardingID  `json:"onboarding"`
	Attempt     int                  `json:"attempt"`
}

func (r OnboardRef) of(o domain.Onboarding) bool {
	return o.ID == r.Onboarding && o.Attempt == r.Attempt && o.State == domain.OnboardingRunning
}

// OnboardView is where an onboarding stands, in ids and plain words.
type OnboardView struct {
	Onboarding   domain.OnboardingID    `json:"onboarding"`
	State        domain.OnboardingState `json:"state"`
	Attempt      int                    `json:"attempt"`
	Step         domain.OnboardStep     `json:"step,omitempty"`
	Kind         domain.ErrorKind       `json:"kind,omitempty"`
	RunID        domain.SyncRunID       `json:"run_id,omitempty"`
	RetryAt      time.Time              `json:"retry_at,omitzero"`
	WaitingSince time.Time              `json:"waiting_since,omitzero"`

	Provider string `json:"provider,omitempty"`
	CanPull  bool   `json:"can_pull,omitempty"`  // it can be listed, and its direction imports
	CanWatch bool   `json:"can_watch,omitempty"` // it can be asked to tell of changes, which would be of use
	Public   bool   `json:"public,omitempty"`    // this installation can be posted to
	Polled   bool   `json:"polled,omitempty"`    // it is read from time to time in any case
}

func viewOfOnboarding(o domain.Onboarding) OnboardView {
	v := OnboardView{Onboarding: o.ID, State: o.State, Attempt: o.Attempt, Step: o.Current(), Kind: o.FaultKind, RunID: o.RunID}
	if o.RetryAt != nil {
		v.RetryAt = *o.RetryAt
	}
	if o.WaitingSince != nil {
		v.WaitingSince = *o.WaitingSince
	}
	return v
}

// LoadOnboardingInput names the integration.
type LoadOnboardingInput struct {
	Org         domain.OrgID         `json:"org"`
	Integration domain.IntegrationID `json:"integration"`
}

// LoadOnboarding reads where the onboarding of an integration stands. One of a deleted integration is ended by it. There
// being none is told as one that was cancelled.
func (a *Onboardings) LoadOnboarding(ctx context.Context, in LoadOnboardingInput) (OnboardView, error) {
	var out OnboardView
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = a.view(ctx, tx, in.Integration)
		return err
	})
	return out, fail(err)
}

func (a *Onboardings) view(ctx context.Context, tx *store.Tx, id domain.IntegrationID) (OnboardView, error) {
	o, err := tx.Onboarding(ctx, id)
	if domain.KindOf(err) == domain.KindNotFound {
		return OnboardView{State: domain.OnboardingCancelled}, nil
	}
	if err != nil {
		return OnboardView{}, err
	}
	i, opened, err := open(ctx, tx, a.Opener, id)
	if err != nil && domain.KindOf(err) != domain.KindPermanent {
		return OnboardView{}, err
	}
	if i.State == domain.IntegrationDeleted && !o.State.Ended() {
		if o, _, err = tx.ChangeOnboarding(ctx, id, false, func(o *domain.Onboarding) (bool, error) {
			o.End(domain.OnboardingCancelled, tx.Now)
			return true, nil
		}); err != nil {
			return OnboardView{}, err
		}
	}
	v := viewOfOnboarding(o)
	_, pulls := provider.As[provider.Puller](opened)
	v.Provider, v.CanPull, v.CanWatch = i.Provider, pulls && i.Direction.Imports(), canWatch(i, opened)
	v.Public, v.Polled = a.NotifyURL != "", i.PollEvery > 0
	return v, nil
}

// MoveOnboardingInput says what became of a step.
type MoveOnboardingInput struct {
	OnboardRef
	Step domain.OnboardStep      `json:"step"`
	To   domain.OnboardStepState `json:"to"`
	Note string                  `json:"note,omitempty"`
	// Kind is why the step failed, and Retry when it is tried again without anybody asking; the zero time is never.
	Kind  domain.ErrorKind `json:"kind,omitempty"`
	Retry time.Time        `json:"retry,omitzero"`
	// Undone are earlier steps that were taken back because this one failed.
	Undone []domain.OnboardStep `json:"undone,omitempty"`
}

// MoveOnboarding stores that a step began or ended. With a step that failed the onboarding waits from then on. A repeat, and
// a step of another attempt, changes nothing; the result tells where the onboarding stands in any case.
func (a *Onboardings) MoveOnboarding(ctx context.Context, in MoveOnboardingInput) (OnboardView, error) {
	var out OnboardView
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		if _, _, err := tx.ChangeOnboarding(ctx, in.Integration, false, func(o *domain.Onboarding) (bool, error) {
			if !in.of(*o) {
				return false, nil
			}
			o.Move(in.Step, in.To, in.Note, tx.Now)
			if in.Step == domain.OnboardFirstSync && in.To == domain.OnboardStepRunning && o.RunID == "" {
				o.RunID = domain.NewID[domain.SyncRunID](tx.Now)
			}
			if in.To != domain.OnboardStepFailed {
				return true, nil
			}
			for _, name := range in.Undone {
				o.Move(name, domain.OnboardStepUndone, "taken back, because a later step failed", tx.Now)
			}
			if o.Fault == "" || o.FaultKind != in.Kind {
				o.Fault = reasonFor(in.Kind)
			}
			o.State, o.FaultKind = domain.OnboardingWaiting, in.Kind
			if o.WaitingSince == nil {
				o.WaitingSince = &tx.Now
			}
			if !in.Retry.IsZero() {
				o.RetryAt = &in.Retry
			}
			return true, nil
		}); err != nil {
			return err
		}
		var err error
		out, err = a.view(ctx, tx, in.Integration)
		return err
	})
	return out, fail(err)
}

// AgainOnboardingInput asks for another attempt.
type AgainOnboardingInput struct {
	LoadOnboardingInput
	AllowDuplicate bool `json:"allow_duplicate,omitempty"`
	Auto           bool `json:"auto,omitempty"` // nobody asked; the patience does not begin anew
}

// AgainOnboarding lets an onboarding that waits begin anew. One that does not wait is left alone.
func (a *Onboardings) AgainOnboarding(ctx context.Context, in AgainOnboardingInput) (OnboardView, error) {
	return a.change(ctx, in.LoadOnboardingInput, func(o *domain.Onboarding, _ time.Time) bool {
		if o.State != domain.OnboardingWaiting {
			return false
		}
		since := o.WaitingSince
		o.AllowDuplicate = o.AllowDuplicate || in.AllowDuplicate
		o.Again()
		if in.Auto {
			o.WaitingSince = since
		}
		return true
	})
}

// CancelOnboarding notes that an onboarding is to be undone. One that has ended is left alone.
func (a *Onboardings) CancelOnboarding(ctx context.Context, in LoadOnboardingInput) (OnboardView, error) {
	return a.change(ctx, in, func(o *domain.Onboarding, _ time.Time) bool {
		if o.State.Ended() || o.State == domain.OnboardingCancelling {
			return false
		}
		o.State, o.RetryAt = domain.OnboardingCancelling, nil
		return true
	})
}

func (a *Onboardings) change(ctx context.Context, in LoadOnboardingInput, fn func(o *domain.Onboarding, now time.Time) bool) (OnboardView, error) {
	var out OnboardView
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		if _, _, err := tx.ChangeOnboarding(ctx, in.Integration, false, func(o *domain.Onboarding) (bool, error) { return fn(o, tx.Now), nil }); err != nil {
			return err
		}
		var err error
		out, err = a.view(ctx, tx, in.Integration)
		return err
	})
	return out, fail(err)
}

// EndOnboardingInput says how an onboarding that came to nothing ends.
type EndOnboardingInput struct {
	LoadOnboardingInput
	State domain.OnboardingState `json:"state"` // cancelled or failed
}

// EndOnboarding closes an onboarding once what it did is undone, and puts the integration's state back. A repeat changes
// nothing.
func (a *Onboardings) EndOnboarding(ctx context.Context, in EndOnboardingInput) (OnboardView, error) {
	var out OnboardView
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		o, ended, err := tx.ChangeOnboarding(ctx, in.Integration, false, func(o *domain.Onboarding) (bool, error) {
			if o.State.Ended() {
				return false, nil
			}
			for _, p := range o.Steps {
				if p.Name == domain.OnboardWebhooks && p.State == domain.OnboardStepDone {
					o.Move(p.Name, domain.OnboardStepUndone, "taken back", tx.Now)
				}
			}
			o.End(in.State, tx.Now)
			return true, nil
		})
		if err != nil {
			return err
		}
		if ended {
			reason := "its onboarding was cancelled"
			if in.State == domain.OnboardingFailed {
				reason = "its onboarding waited too long for somebody to mend it"
			}
			if err := a.leave(ctx, tx, o, o.Before, reason, "system:onboarding"); err != nil {
				return err
			}
		}
		out, err = a.view(ctx, tx, in.Integration)
		return err
	})
	return out, fail(err)
}

// leave takes an integration out of the state of being connected, with a line in the trail.
func (a *Onboardings) leave(ctx context.Context, tx *store.Tx, o domain.Onboarding, to domain.IntegrationState, reason, by string) error {
	i, err := tx.Integration(ctx, o.IntegrationID)
	if err != nil || i.State != domain.IntegrationConnecting {
		return err
	}
	if _, err := tx.SetIntegrationState(ctx, i.ID, to, reason); err != nil {
		return err
	}
	return tx.Audit(ctx, domain.AuditEntry{Actor: by, Action: "integration.state", Reason: reason, Subject: "integration/" + string(i.ID),
		Before: map[string]string{"state": string(i.State)}, After: map[string]string{"state": string(to), "onboarding": string(o.ID)}})
}

// ActivateIntegration ends an onboarding well: the integration runs from then on. A repeat, and an attempt that is not the
// current one, changes nothing.
func (a *Onboardings) ActivateIntegration(ctx context.Context, in OnboardRef) (OnboardView, error) {
	var out OnboardView
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		o, ended, err := tx.ChangeOnboarding(ctx, in.Integration, false, func(o *domain.Onboarding) (bool, error) {
			if !in.of(*o) {
				return false, nil
			}
			o.Move(domain.OnboardActivation, domain.OnboardStepDone, "", tx.Now)
			o.FaultKind, o.Fault = "", ""
			o.End(domain.OnboardingDone, tx.Now)
			return true, nil
		})
		if err != nil {
			return err
		}
		if ended {
			if err := a.leave(ctx, tx, o, domain.IntegrationActive, "connected by "+o.RequestedBy, o.RequestedBy); err != nil {
				return err
			}
		}
		out, err = a.view(ctx, tx, in.Integration)
		return err
	})
	return out, fail(err)
}
