package activities

import (
	"context"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// Integrations reads and moves the state of connections.
type Integrations struct {
	Store  *store.Store
	Opener *connect.Opener
	// NotifyURL is as in Watches.
	NotifyURL string
}

// LoadIntegrationInput names the integration to read.
type LoadIntegrationInput struct {
	Org         domain.OrgID         `json:"org"`
	Integration domain.IntegrationID `json:"integration"`
}

// LoadIntegration returns what an integration's workflow acts on. It only reads. An integration that does not exist is
// told as deleted, so that its workflow ends.
func (a *Integrations) LoadIntegration(ctx context.Context, in LoadIntegrationInput) (contract.IntegrationConfig, error) {
	var cfg contract.IntegrationConfig
	err := a.Store.TenantRead(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		i, opened, err := open(ctx, tx, a.Opener, in.Integration)
		if domain.KindOf(err) == domain.KindNotFound {
			cfg = contract.IntegrationConfig{State: domain.IntegrationDeleted}
			return nil
		}
		if err != nil && domain.KindOf(err) != domain.KindPermanent {
			return err
		}
		cfg = config(i, opened)
		return planWatches(ctx, tx, i, opened, a.NotifyURL, &cfg)
	})
	return cfg, fail(err)
}

func config(i domain.Integration, opened any) contract.IntegrationConfig {
	_, pulls := provider.As[provider.Puller](opened)
	_, writes := provider.As[provider.Writer](opened)
	return contract.IntegrationConfig{Provider: i.Provider, State: i.State, PollSeconds: int64(i.PollEvery.Seconds()),
		CanPull: pulls && i.Direction.Imports(), CanWrite: writes && (i.Direction.Exports() || i.Copies == domain.CopiesPurging), Version: i.Version, WorkHold: i.WorkHold,
		QuickPull: i.SyncCursor != ""}
}

// SetIntegrationStateInput is the wish that an integration reach a state.
type SetIntegrationStateInput struct {
	Org         domain.OrgID            `json:"org"`
	Integration domain.IntegrationID    `json:"integration"`
	State       domain.IntegrationState `json:"state"`
	By          string                  `json:"by"`
}

// SetIntegrationState stores a pause or resume. Running it again finds the state reached and changes nothing.
func (a *Integrations) SetIntegrationState(ctx context.Context, in SetIntegrationStateInput) (contract.IntegrationConfig, error) {
	var cfg contract.IntegrationConfig
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := tx.Integration(ctx, in.Integration)
		if err != nil {
			return err
		}
		if was.State == domain.IntegrationConnecting {
			return domain.E(domain.KindConflict, "the integration is being connected; cancel its onboarding first")
		}
		reason := string(in.State) + " by " + in.By
		i, err := tx.SetIntegrationState(ctx, in.Integration, in.State, reason)
		if err != nil {
			return err
		}
		if was.State != i.State {
			if err := tx.Audit(ctx, domain.AuditEntry{Actor: in.By, Action: "integration.state", Reason: reason, Subject: "integration/" + string(i.ID),
				Before: map[string]string{"state": string(was.State)}, After: map[string]string{"state": string(i.State)}}); err != nil {
				return err
			}
		}
		_, opened, err := open(ctx, tx, a.Opener, in.Integration)
		if err != nil && domain.KindOf(err) != domain.KindPermanent {
			return err
		}
		cfg = config(i, opened)
		return planWatches(ctx, tx, i, opened, a.NotifyURL, &cfg)
	})
	return cfg, fail(err)
}

// open reads an integration and opens it. The integration is returned also with a permanent fault of its settings.
func open(ctx context.Context, tx *store.Tx, opener *connect.Opener, id domain.IntegrationID) (domain.Integration, any, error) {
	i, err := tx.Integration(ctx, id)
	if err != nil {
		return i, nil, err
	}
	res, err := tx.Resource(ctx, i.ResourceID)
	if err != nil {
		return i, nil, err
	}
	opened, err := opener.Open(i, res.Zone, func() (map[string]string, error) { return tx.IntegrationSecrets(ctx, id) })
	return i, opened, err
}

// needsReconnect notes that a system no longer accepts our credentials.
func needsReconnect(ctx context.Context, s *store.Store, opener *connect.Opener, org domain.OrgID, id domain.IntegrationID, doing string) error {
	return s.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		was, err := tx.Integration(ctx, id)
		if err != nil || was.State != domain.IntegrationActive {
			return err
		}
		reason := doing + ": the system did not accept our credentials"
		if opener.ByConsent(was) {
			reason = doing + ": the system does not accept the consent any more; " + connect.HowToConnect(id)
		}
		if _, err := tx.SetIntegrationState(ctx, id, domain.IntegrationNeedsReconnect, reason); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: "system:connections", Action: "integration.state", Reason: reason,
			Subject: "integration/" + string(id), Before: map[string]string{"state": string(was.State)},
			After: map[string]string{"state": string(domain.IntegrationNeedsReconnect)}})
	})
}
