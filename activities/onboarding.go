package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/guard"
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

// OnboardStepResult is what a step found out.
type OnboardStepResult struct {
	Skipped bool             `json:"skipped,omitempty"` // the system has nothing of the kind
	Refused domain.ErrorKind `json:"refused,omitempty"` // why it failed; in words in the onboarding's row
}

// checkTimeout bounds the questions of one check. Whoever needs longer would be asked again.
const checkTimeout = time.Minute

// CheckConnection asks the system whether it accepts the credentials, and completes the settings where it can. It changes
// nothing in the system. Running it again asks again. A refusal is a result; errors are faults that may pass.
func (a *Onboardings) CheckConnection(ctx context.Context, in OnboardRef) (OnboardStepResult, error) {
	var out OnboardStepResult
	err := beating(ctx, func(ctx context.Context) (err error) {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		for range 3 {
			if out, err = a.check(ctx, in); domain.KindOf(err) != domain.KindConflict {
				return err
			}
		}
		return domain.E(domain.KindUnavailable, "the settings changed again and again while the system was asked")
	})
	return a.outcome(ctx, in, out, err)
}

// check is KindConflict when the settings changed while the system was asked.
func (a *Onboardings) check(ctx context.Context, in OnboardRef) (out OnboardStepResult, err error) {
	var i domain.Integration
	var opened any
	var by string
	err = a.Store.TenantRead(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		o, err := tx.Onboarding(ctx, in.Integration)
		if err != nil {
			return err
		}
		by = o.RequestedBy
		i, opened, err = open(ctx, tx, a.Opener, in.Integration)
		return err
	})
	if err != nil {
		return out, err
	}
	if err := connect.Fits(i.Direction, opened); err != nil {
		return out, err
	}
	onboarder, ok := provider.As[provider.Onboarder](opened)
	if !ok {
		return a.probe(ctx, opened)
	}
	var settings json.RawMessage
	if err := caught("check credentials", func() (err error) {
		settings, err = onboarder.Onboard(ctx)
		return err
	}); err != nil {
		if domain.KindOf(err) == domain.KindConflict {
			err = domain.E(domain.KindPermanent, "%w", err)
		}
		return out, err
	}
	return out, a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		now, err := tx.Integration(ctx, in.Integration)
		if err != nil {
			return err
		}
		before := now.Settings
		if !sameSettings(before, i.Settings) {
			return domain.E(domain.KindConflict, "the settings changed while the system was asked")
		}
		if !sameSettings(before, settings) {
			now.Settings = settings
			if err := tx.UpdateIntegration(ctx, now, nil, now.Version); err != nil {
				return err
			}
			if now, err = tx.Integration(ctx, in.Integration); err != nil {
				return err
			}
		}
		_, err = guard.Settle(ctx, tx, before, now, by)
		return err
	})
}

// sameSettings compares JSON by what it says.
func sameSettings(a, b json.RawMessage) bool {
	var x, y any
	for _, one := range []struct {
		raw json.RawMessage
		out *any
	}{{a, &x}, {b, &y}} {
		d := json.NewDecoder(bytes.NewReader(one.raw))
		d.UseNumber() // ids may be longer than a float is exact
		if d.Decode(one.out) != nil {
			return false
		}
	}
	return reflect.DeepEqual(x, y)
}

// ProbeConnection makes the system's cheapest call. Running it again asks again.
func (a *Onboardings) ProbeConnection(ctx context.Context, in OnboardRef) (OnboardStepResult, error) {
	var out OnboardStepResult
	err := beating(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		var opened any
		err := a.Store.TenantRead(ctx, in.Org, func(ctx context.Context, tx *store.Tx) (err error) {
			_, opened, err = open(ctx, tx, a.Opener, in.Integration)
			return err
		})
		if err == nil {
			out, err = a.probe(ctx, opened)
		}
		return err
	})
	return a.outcome(ctx, in, out, err)
}

func (a *Onboardings) probe(ctx context.Context, opened any) (OnboardStepResult, error) {
	prober, ok := provider.As[provider.Prober](opened)
	if !ok {
		return OnboardStepResult{Skipped: true}, nil
	}
	err := caught("probe", func() error { return prober.Probe(ctx) })
	if domain.KindOf(err) == domain.KindConflict {
		err = domain.E(domain.KindPermanent, "%w", err)
	}
	return OnboardStepResult{}, err
}

// outcome tells refusals, which somebody has to mend, from faults that may pass. The words of a refusal are stored.
func (a *Onboardings) outcome(ctx context.Context, in OnboardRef, out OnboardStepResult, err error) (OnboardStepResult, error) {
	if err == nil || domain.Retryable(err) || ctx.Err() != nil {
		return out, fail(err)
	}
	kind, text := domain.KindOf(err), textOf(err)
	storeErr := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		i, err := tx.Integration(ctx, in.Integration)
		if err != nil {
			return err
		}
		if kind == domain.KindUnauthenticated && a.Opener.ByConsent(i) {
			text = "nobody has let WedSync into the account yet, or not any more; " + connect.HowToConnect(i.ID)
		}
		_, _, err = tx.ChangeOnboarding(ctx, in.Integration, false, func(o *domain.Onboarding) (bool, error) {
			if !in.of(*o) {
				return false, nil
			}
			o.FaultKind, o.Fault = kind, text
			return true, nil
		})
		return err
	})
	return OnboardStepResult{Refused: kind}, fail(storeErr)
}

// FindDuplicate looks for another integration of the organisation that leads to the same account and calendar, and stores
// where this one leads. Places are compared by keyed hashes; those that are not stored yet are made from settings, without a
// call to any system. Running it again comes to the same.
func (a *Onboardings) FindDuplicate(ctx context.Context, in OnboardRef) (OnboardStepResult, error) {
	var out OnboardStepResult
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		out = OnboardStepResult{}
		i, opened, err := open(ctx, tx, a.Opener, in.Integration)
		if err != nil {
			return err
		}
		identity := identityOf(opened)
		if identity == "" {
			out.Skipped = true
			return nil
		}
		hash := tx.IdentityHash(i.Provider, identity)
		others, err := tx.Identities(ctx, i.Provider, i.ID)
		if err != nil {
			return err
		}
		var same domain.IntegrationID
		for _, other := range others {
			if other.Identity == nil && other.State != domain.IntegrationConnecting {
				if other.Identity, err = a.learn(ctx, tx, other.Integration); err != nil {
					return err
				}
			}
			if bytes.Equal(other.Identity, hash) {
				same = other.ID // the last is the oldest
			}
		}
		o, _, err := tx.ChangeOnboarding(ctx, in.Integration, false, func(o *domain.Onboarding) (bool, error) {
			if !in.of(*o) || o.Duplicate == same {
				return false, nil
			}
			o.Duplicate = same
			if same != "" && !o.AllowDuplicate {
				o.FaultKind, o.Fault = domain.KindConflict, "the same account and calendar are connected already, by integration "+string(same)
			}
			return true, nil
		})
		if err != nil {
			return err
		}
		if same != "" && !o.AllowDuplicate {
			out.Refused = domain.KindConflict
			return nil
		}
		return tx.SetIdentity(ctx, i.ID, hash)
	})
	if domain.KindOf(err) == domain.KindPermanent {
		return a.outcome(ctx, in, out, err)
	}
	return out, fail(err)
}

func identityOf(opened any) string {
	if named, ok := provider.As[provider.Identifier](opened); ok {
		return named.Identity()
	}
	return ""
}

// learn finds out where an integration leads that was connected before this was kept. nil = it does not say.
func (a *Onboardings) learn(ctx context.Context, tx *store.Tx, i domain.Integration) ([]byte, error) {
	_, opened, err := open(ctx, tx, a.Opener, i.ID)
	if err != nil {
		if slices.Contains([]domain.ErrorKind{domain.KindPermanent, domain.KindNotFound}, domain.KindOf(err)) {
			return nil, nil // it cannot be opened, so it leads nowhere
		}
		return nil, err
	}
	identity := identityOf(opened)
	if identity == "" {
		return nil, nil
	}
	hash := tx.IdentityHash(i.Provider, identity)
	return hash, tx.SetIdentity(ctx, i.ID, hash)
}
