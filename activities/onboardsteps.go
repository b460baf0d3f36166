package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

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
		if !provider.SameSettings(before, i.Settings) {
			return domain.E(domain.KindConflict, "the settings changed while the system was asked")
		}
		if !provider.SameSettings(before, settings) {
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
