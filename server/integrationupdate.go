package server

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

type updateIntegrationInput struct {
	IDParam
	VersionHeader
	FreezeHeader
	Body struct {
		Version     int64              `json:"version,omitempty" minimum:"1" doc:"The version that the change was made from, unless If-Match says it"`
		Name        *string            `json:"name,omitempty" minLength:"1" maxLength:"120"`
		Direction   *domain.Direction  `json:"direction,omitempty" enum:"import,export,bidirectional"`
		ResourceID  *string            `json:"resource_id,omitempty" maxLength:"36"`
		Settings    json.RawMessage    `json:"settings,omitempty" doc:"Replaces all settings"`
		Secrets     map[string]string  `json:"secrets,omitempty" writeOnly:"true" doc:"Replaces the named secrets; an empty value removes one; others stay"`
		Sync        *domain.SyncPolicy `json:"sync,omitempty" doc:"Replaces the whole policy"`
		PollSeconds *int64             `json:"poll_seconds,omitempty" minimum:"0" maximum:"2592000"`
		Priority    *domain.Priority   `json:"priority,omitempty" enum:"high,normal,bulk"`
		Guard       *domain.Guard      `json:"guard,omitempty" doc:"More removals than both at once wait for a person"`
		Reason      string             `json:"reason,omitempty" maxLength:"500"`
	}
}

func (s *Server) updateIntegration(ctx context.Context, in *updateIntegrationInput) (*integrationOutput, error) {
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	var was domain.Integration
	var secrets map[string]string
	if err := s.deps.Store.TenantRead(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if was, err = present(ctx, tx, id); err != nil {
			return err
		}
		secrets, err = tx.IntegrationSecrets(ctx, id)
		return err
	}); err != nil {
		return nil, err
	}
	expect, err := in.expect(b.Version, was.Version)
	if err != nil {
		return nil, err
	}
	now := was
	if b.Name != nil {
		now.Name = *b.Name
	}
	if b.Direction != nil {
		now.Direction = *b.Direction
	}
	if b.ResourceID != nil {
		if now.ResourceID, err = domain.ParseID[domain.ResourceID]("body.resource_id", *b.ResourceID); err != nil {
			return nil, err
		}
	}
	if len(b.Settings) > 0 {
		now.Settings = b.Settings
	}
	if b.Sync != nil {
		now.Sync = *b.Sync
	}
	if b.PollSeconds != nil {
		now.PollEvery = time.Duration(*b.PollSeconds) * time.Second
	}
	if b.Priority != nil {
		now.Priority = *b.Priority
	}
	merged := maps.Clone(secrets)
	if merged == nil {
		merged = map[string]string{}
	}
	for name, value := range b.Secrets {
		if value == "" {
			delete(merged, name)
		} else {
			merged[name] = value
		}
	}
	// Only new settings or credentials are worth asking the outside system about.
	ask := len(b.Settings) > 0 || len(b.Secrets) > 0
	anew := was.State == domain.IntegrationConnecting && (ask || b.Direction != nil || b.ResourceID != nil)
	if was.State == domain.IntegrationConnecting {
		ask = false // its onboarding does so
	}
	if now.Settings, err = s.checkIntegration(ctx, now, merged, ask); err != nil {
		return nil, err
	}
	if len(b.Secrets) == 0 {
		merged = nil // keeps what is sealed
	}
	risky := riskyChanges(was, now, len(b.Settings) > 0, b.Guard)
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		for _, r := range risky {
			if _, err := freeze.Person(ctx, tx, r.act, r.field, "integration/"+string(id), in.override(ctx)); err != nil {
				return err
			}
		}
		if err := tx.UpdateIntegration(ctx, now, merged, expect); err != nil {
			return err
		}
		if err := guarded(ctx, tx, was, now, b.Guard, b.Direction != nil, who.Subject); err != nil {
			return err
		}
		stored, err := tx.Integration(ctx, id)
		if err != nil {
			return err
		}
		if err := s.checkScopes(ctx, tx, stored); err != nil {
			return err
		}
		if stored, err = tx.Integration(ctx, id); err != nil {
			return err
		}
		now = stored
		if anew {
			if err := beginAnew(ctx, tx, id); err != nil {
				return err
			}
		}
		if was.Sync.Private != now.Sync.Private || was.Sync.MirrorTitle != now.Sync.MirrorTitle {
			if err := tx.RewriteCopies(ctx, id); err != nil {
				return err
			}
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "integration.update", Reason: reason,
			Subject: "integration/" + string(id), Before: integrationFacts(was, nil), After: integrationFacts(stored, b.Secrets)})
	})
	if err != nil {
		return nil, err
	}
	s.forget(id)
	return s.integrationOutput(ctx, now), nil
}

// riskyChange is a change of an integration that is not made while a wedding is near or on.
type riskyChange struct {
	act   freeze.Act
	field string
}

// riskyChanges finds what a change alters of how a system is read and written. Names, credentials and intervals may change at
// any time: a wedding day is when they are mended. Nor does it matter for an integration that never ran.
func riskyChanges(was, now domain.Integration, settings bool, g *domain.Guard) (out []riskyChange) {
	if neverRan(was) {
		return nil
	}
	add := func(changed bool, act freeze.Act, field string) {
		if changed {
			out = append(out, riskyChange{act, field})
		}
	}
	add(settings && !provider.SameSettings(was.Settings, now.Settings), freeze.ActSettings, "body.settings")
	add(was.Direction != now.Direction, freeze.ActDirection, "body.direction")
	add(was.ResourceID != now.ResourceID, freeze.ActResource, "body.resource_id")
	add(!reflect.DeepEqual(was.Sync, now.Sync), freeze.ActSync, "body.sync")
	add(g != nil && *g != was.Guard, freeze.ActGuard, "body.guard")
	return out
}

// neverRan reports whether an integration is being connected for the first time: one that worked before, and is connected anew,
// has something to lose.
func neverRan(i domain.Integration) bool {
	return i.State == domain.IntegrationConnecting && i.LastSyncAt == nil && i.LastDeliveryAt == nil
}
