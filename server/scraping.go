package server

import (
	"context"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

type listConsentsInput struct {
	IDParam
	PageParams
}

func (s *Server) listScrapeConsents(ctx context.Context, in *listConsentsInput) (*listOutput[domain.ScrapeConsent], error) {
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]domain.ScrapeConsent, string, error) {
		if _, err := tx.Integration(ctx, id); err != nil {
			return nil, "", err
		}
		return tx.ScrapeConsents(ctx, id, in.page())
	})
}

type giveConsentInput struct {
	IDParam
	Body struct {
		Origin string `json:"origin" minLength:"1" maxLength:"400" doc:"Whose pages: the base of the recipe, such as https://portal.example.com"`
		Agreed bool   `json:"agreed" doc:"true: the customer may see these pages by the terms of their operator, and agrees that WedSync reads them"`
		Reason string `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail"`
	}
}

type consentOutput struct{ Body domain.ScrapeConsent }

func (s *Server) giveScrapeConsent(ctx context.Context, in *giveConsentInput) (*consentOutput, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.Body.Reason)
	if err != nil {
		return nil, err
	}
	if !in.Body.Agreed {
		return nil, domain.Invalid("body.agreed", "must be true: without the customer's agreement nothing is read")
	}
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	out := &consentOutput{}
	return out, s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		i, err := tx.Integration(ctx, id)
		if err != nil {
			return err
		}
		if i.State == domain.IntegrationDeleted {
			return domain.E(domain.KindConflict, "integration is deleted")
		}
		out.Body, err = agree(ctx, tx, id, in.Body.Origin, who.Subject, reason)
		return err
	})
}

// agree records a consent and, unless it counted already, its line in the trail.
func agree(ctx context.Context, tx *store.Tx, id domain.IntegrationID, origin, by, reason string) (domain.ScrapeConsent, error) {
	c, made, err := tx.GiveScrapeConsent(ctx, id, origin, by)
	if err != nil || !made {
		return c, err
	}
	return c, tx.Audit(ctx, domain.AuditEntry{Actor: by, Action: "scrape.consent", Reason: reason, Subject: "integration/" + string(id),
		After: map[string]string{"consent": string(c.ID), "origin": c.Origin}})
}

type withdrawConsentInput struct {
	IDParam
	Consent string `path:"consent" maxLength:"36" doc:"UUID in lower case"`
	Reason  string `query:"reason" maxLength:"500" doc:"Why, for the audit trail"`
}

func (s *Server) withdrawScrapeConsent(ctx context.Context, in *withdrawConsentInput) (*struct{}, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	consent, err := parseID[domain.ConsentID]("consent", in.Consent)
	if err != nil {
		return nil, err
	}
	return nil, s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		c, changed, err := tx.WithdrawScrapeConsent(ctx, id, consent, who.Subject)
		if err != nil || !changed {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "scrape.withdraw", Reason: reason, Subject: "integration/" + string(id),
			Before: map[string]string{"consent": string(c.ID), "origin": c.Origin}})
	})
}

type listSnapshotsInput struct {
	IDParam
	PageParams
}

func (s *Server) listSnapshots(ctx context.Context, in *listSnapshotsInput) (*listOutput[domain.Snapshot], error) {
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]domain.Snapshot, string, error) {
		if _, err := tx.Integration(ctx, id); err != nil {
			return nil, "", err
		}
		return tx.Snapshots(ctx, id, in.page())
	})
}

type getSnapshotInput struct {
	IDParam
	Snapshot string `path:"snapshot" maxLength:"36" doc:"UUID in lower case"`
}

type snapshotOutput struct {
	Body struct {
		domain.Snapshot
		Page string `json:"page" doc:"HTML of the page with every value masked"`
	}
}

func (s *Server) getSnapshot(ctx context.Context, in *getSnapshotInput) (*snapshotOutput, error) {
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	snapshot, err := parseID[domain.SnapshotID]("snapshot", in.Snapshot)
	if err != nil {
		return nil, err
	}
	out := &snapshotOutput{}
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		kept, page, err := tx.Snapshot(ctx, id, snapshot)
		out.Body.Snapshot, out.Body.Page = kept, string(page)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
