package server

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// onboardTimeout bounds asking an outside system while an admin waits.
const onboardTimeout = 20 * time.Second

// maxSettings and maxSecret bound what an integration may be given, in bytes.
const (
	maxSettings = 256 << 10
	maxSecret   = 16 << 10
	maxSecrets  = 20
)

// checkIntegration refuses what could never work: an unknown provider or resource, settings or secrets that the provider
// does not take. With onboard it also lets the outside system complete the settings. It returns the settings to store.
func (s *Server) checkIntegration(ctx context.Context, i domain.Integration, secrets map[string]string, onboard bool) (json.RawMessage, error) {
	reg, known := s.providers[i.Provider]
	if !known {
		return nil, domain.Invalid("body.provider", "must be one of %s", strings.Join(slices.Sorted(maps.Keys(s.providers)), ", "))
	}
	if strings.ContainsFunc(i.Name, isControl) || !utf8.ValidString(i.Name) {
		return nil, domain.Invalid("body.name", "must be printable text")
	}
	settings := i.Settings
	if len(bytes.TrimSpace(settings)) == 0 || string(bytes.TrimSpace(settings)) == "null" {
		settings = json.RawMessage("{}")
	}
	if len(settings) > maxSettings {
		return nil, domain.Invalid("body.settings", "at most %d bytes, has %d", maxSettings, len(settings))
	}
	if err := i.Sync.Validate("body.sync"); err != nil {
		return nil, err
	}
	if len(secrets) > maxSecrets {
		return nil, domain.Invalid("body.secrets", "at most %d, has %d", maxSecrets, len(secrets))
	}
	for name, value := range secrets {
		if len(name) > 60 || len(value) > maxSecret {
			return nil, domain.Invalid("body.secrets", "names have at most 60 bytes and values at most %d", maxSecret)
		}
		if !slices.ContainsFunc(reg.Secrets, func(f provider.SecretField) bool { return f.Name == name }) {
			return nil, domain.Invalid("body.secrets", "%s takes only: %s", reg.Name, secretNames(reg))
		}
	}
	for _, f := range reg.Secrets {
		if f.Required && secrets[f.Name] == "" {
			return nil, domain.Invalid("body.secrets."+f.Name, "is required: %s", f.Doc)
		}
	}
	if reg.Validate != nil {
		if err := reg.Validate(settings, secrets); err != nil {
			return nil, err
		}
	}
	given := i
	given.Settings = settings
	if err := checkRepeats(reg, provider.Connection{Integration: given, Secrets: secrets, Zone: time.UTC, Now: s.now}, s.o.DeliveriesKept); err != nil {
		return nil, err
	}
	if reg.Consents(settings) {
		if _, err := reg.OAuth(settings, i.Direction.Exports()); err != nil {
			return nil, err
		}
	}
	var zone string
	err := s.deps.Store.TenantRead(ctx, i.OrgID, func(ctx context.Context, tx *store.Tx) error {
		r, err := tx.Resource(ctx, i.ResourceID)
		zone = r.Zone
		return err
	})
	if domain.KindOf(err) == domain.KindNotFound {
		return nil, domain.Invalid("body.resource_id", "no such resource")
	}
	if err != nil {
		return nil, err
	}
	if onboard && s.deps.Onboard != nil {
		ask, cancel := context.WithTimeout(ctx, onboardTimeout)
		defer cancel()
		i.Settings = settings
		if settings, err = s.deps.Onboard(ask, i, secrets, zone, nil); err != nil {
			return nil, onboardFault(err)
		}
	}
	return settings, nil
}

// onboardFault keeps an outside system's refusal of its credentials apart from one of ours.
func onboardFault(err error) error {
	switch domain.KindOf(err) {
	case domain.KindUnauthenticated, domain.KindForbidden:
		return domain.Invalid("body.secrets", "the outside system does not accept them: %s", err.Error())
	case domain.KindNotFound, domain.KindConflict, domain.KindGoneToken, domain.KindTooLarge, domain.KindPermanent, domain.KindDrift:
		return domain.Invalid("body.settings", "the outside system does not fit them: %s", err.Error())
	case domain.KindInvalid, domain.KindRateLimited, domain.KindUnavailable, domain.KindInternal, "":
	}
	return err
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

func secretNames(reg provider.Registration) string {
	if len(reg.Secrets) == 0 {
		return "none"
	}
	var names []string
	for _, f := range reg.Secrets {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}
