package server

import (
	"context"
	"encoding/json"
	"time"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

type createIntegrationInput struct {
	KeyHeader
	Body struct {
		Name        string            `json:"name" minLength:"1" maxLength:"120" doc:"Label for people; no personal data"`
		Provider    string            `json:"provider" minLength:"1" maxLength:"60" example:"custom"`
		Direction   domain.Direction  `json:"direction,omitempty" enum:"import,export,bidirectional" default:"bidirectional"`
		ResourceID  string            `json:"resource_id" maxLength:"36" doc:"The resource whose bookings it carries"`
		Settings    json.RawMessage   `json:"settings,omitempty" doc:"As the provider's settings_schema says"`
		Secrets     map[string]string `json:"secrets,omitempty" writeOnly:"true" doc:"Taken and sealed; never returned"`
		Sync        domain.SyncPolicy `json:"sync,omitzero" doc:"What is taken and shown, and who wins when both sides changed"`
		PollSeconds int64             `json:"poll_seconds,omitempty" minimum:"0" maximum:"2592000" doc:"How often to read the system; 0 = only when asked"`
		Priority    domain.Priority   `json:"priority,omitempty" enum:"high,normal,bulk" doc:"Of deliveries that no rule of the provider decides about; a wedding at hand makes them urgent"`
		Guard       *domain.Guard     `json:"guard,omitempty" doc:"More removals than both at once wait for a person; 5 and 20 percent if absent"`
		// PagesConsent is recorded in the transaction that makes the integration, so that the first reading finds it.
		PagesConsent *pagesConsent `json:"pages_consent,omitempty" doc:"The customer's consent that pages are read, for providers that read them; the same as give-scrape-consent, and recorded with the integration"`
		Onboard      bool          `json:"onboard,omitempty" doc:"Bring it to work step by step, which can be followed; what is wrong with credentials or settings is mended on the way. Without it the system is asked at once, and the integration runs or is refused"`
		Reason       string        `json:"reason,omitempty" maxLength:"500"`
	}
}

type pagesConsent struct {
	Origin string `json:"origin" minLength:"1" maxLength:"400" doc:"Whose pages: the base of the recipe, such as https://portal.example.com"`
	Agreed bool   `json:"agreed" doc:"true: the customer may see these pages by the terms of their operator, and agrees that WedSync reads them"`
}

func (s *Server) createIntegration(ctx context.Context, in *createIntegrationInput) (*integrationOutput, error) {
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	resource, err := domain.ParseID[domain.ResourceID]("body.resource_id", b.ResourceID)
	if err != nil {
		return nil, err
	}
	if b.PagesConsent != nil && !b.PagesConsent.Agreed {
		return nil, domain.Invalid("body.pages_consent.agreed", "must be true: without the customer's agreement nothing is read")
	}
	id, repeatable := newOrRepeated[domain.IntegrationID](in.Key, who, "integration", s.now())
	if repeatable {
		if had, err := s.readIntegration(ctx, id); err == nil {
			return s.integrationOutput(ctx, had), nil
		} else if domain.KindOf(err) != domain.KindNotFound {
			return nil, err
		}
	}
	i := domain.Integration{ID: id, OrgID: who.Org, Name: b.Name, Provider: b.Provider, State: domain.IntegrationActive, StateReason: "created",
		Direction: b.Direction, ResourceID: resource, Settings: b.Settings, Sync: b.Sync, PollEvery: time.Duration(b.PollSeconds) * time.Second, Priority: b.Priority.OrNormal()}
	if s.byConsent(i) {
		i.State, i.StateReason = domain.IntegrationNeedsReconnect, "not connected yet: "+connect.HowToConnect(id)
	}
	if i.Settings, err = s.checkIntegration(ctx, i, b.Secrets, !b.Onboard); err != nil {
		return nil, err
	}
	before := domain.IntegrationPaused
	if b.Onboard {
		if i.State == domain.IntegrationNeedsReconnect {
			before = i.State
		}
		i.State, i.StateReason = domain.IntegrationConnecting, "is being connected"
	}
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CreateIntegration(ctx, i, b.Secrets); err != nil {
			return err
		}
		if b.Guard != nil {
			if err := tx.SetGuard(ctx, id, *b.Guard); err != nil {
				return err
			}
		}
		if err := tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "integration.create", Reason: reason,
			Subject: "integration/" + string(id), After: integrationFacts(i, b.Secrets)}); err != nil {
			return err
		}
		if b.PagesConsent != nil {
			if _, err := agree(ctx, tx, id, b.PagesConsent.Origin, who.Subject, reason); err != nil {
				return err
			}
		}
		if b.Onboard {
			if _, err := beginIn(ctx, tx, i, before, false, who.Subject, reason); err != nil {
				return err
			}
		}
		i, err = tx.Integration(ctx, id)
		return err
	})
	if repeatable && domain.KindOf(err) == domain.KindConflict {
		i, err = s.readIntegration(ctx, id) // the same request came twice at once
	}
	if err != nil {
		return nil, err
	}
	return s.integrationOutput(ctx, i), nil
}
