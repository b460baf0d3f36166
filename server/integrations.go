package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/freshness"
	"github.com/wedsync/wedsync/internal/store"
)

// onboardTimeout bounds asking an outside system while an admin waits.
const onboardTimeout = 20 * time.Second

type providerView struct {
	Name             string                 `json:"name" example:"custom"`
	Title            string                 `json:"title"`
	Doc              string                 `json:"doc"`
	SettingsSchema   json.RawMessage        `json:"settings_schema" doc:"JSON Schema of settings"`
	Secrets          []provider.SecretField `json:"secrets" doc:"The secrets that it takes"`
	DefinitionSchema json.RawMessage        `json:"definition_schema,omitempty" doc:"JSON Schema of definition files, which wedsync integration lint checks"`
	Abilities        []provider.Ability     `json:"abilities" doc:"What a connection can do, and cannot, and why"`
	Limits           []string               `json:"limits" doc:"What the system does not offer, in plain words"`
	Mappings         bool                   `json:"mappings" doc:"Its webhooks are read by mappings that can be changed; see list-samples"`
	Consent          bool                   `json:"consent" doc:"A person lets WedSync in, by the link of connect-integration; where settings decide it, connect_url of an integration tells"`
}

func (s *Server) listProviders(_ context.Context, _ *struct{}) (*listOutput[providerView], error) {
	var out []providerView
	for _, name := range slices.Sorted(maps.Keys(s.providers)) {
		p := s.providers[name]
		v := providerView{Name: p.Name, Title: p.Title, Doc: p.Doc, SettingsSchema: p.SettingsSchema, DefinitionSchema: p.DefinitionSchema, Secrets: p.Secrets, Consent: p.OAuth != nil && p.ByConsent == nil,
			Abilities: append([]provider.Ability{}, p.Abilities...), Limits: append([]string{}, p.Limits...), Mappings: p.Mappings != nil}
		if len(v.SettingsSchema) == 0 {
			v.SettingsSchema = json.RawMessage("{}")
		}
		if v.Secrets == nil {
			v.Secrets = []provider.SecretField{}
		}
		out = append(out, v)
	}
	return list(out, ""), nil
}

type integrationView struct {
	domain.Integration
	PollSeconds int64            `json:"poll_seconds" doc:"How often the system is read; 0 = only when asked"`
	WebhookURL  string           `json:"webhook_url" doc:"Where the system posts its webhooks"`
	ConnectURL  string           `json:"connect_url,omitempty" doc:"Where an admin asks (POST) for the link of a consent; absent where the system has secrets instead"`
	Circuits    []domain.Circuit `json:"circuits,omitempty" doc:"Hosts of the system that are not called now, because they do not answer or asked for a pause"`
	// Freshness is told when one integration is read.
	Freshness *domain.Freshness `json:"freshness,omitempty" doc:"How far behind what changes in the system it is; when one integration is read"`
	// Health is told when integrations are read or listed.
	Health *healthBrief `json:"health,omitempty" doc:"How it is observed to do; more at /health"`
}

// healthBrief is the health of an integration in a list.
type healthBrief struct {
	State  domain.HealthState  `json:"state" enum:"unknown,up,degraded,failing_over,polling,down,needs_reconnect,paused,maintenance"`
	Reason domain.HealthReason `json:"reason"`
	Since  time.Time           `json:"since"`
}

type integrationOutput struct {
	ETag string `header:"ETag"`
	Body integrationView
}

func (s *Server) viewIntegration(ctx context.Context, i domain.Integration) integrationView {
	v := integrationView{Integration: i, PollSeconds: int64(i.PollEvery / time.Second),
		WebhookURL: s.baseURL(ctx) + "/v1/webhooks/" + string(i.ID)}
	if s.byConsent(i) {
		v.ConnectURL = s.baseURL(ctx) + "/v1/integrations/" + string(i.ID) + "/connect"
	}
	return v
}

// hold adds what calls are held back. An active integration then says so where people look for reasons.
func (v *integrationView) hold(circuits []domain.Circuit) {
	v.Circuits = circuits
	if v.State != domain.IntegrationActive || len(circuits) == 0 {
		return
	}
	c := circuits[0]
	if c.State == domain.CircuitPaused {
		v.StateReason = c.Host + " asked not to be called until " + c.Until.Format(time.RFC3339)
	} else {
		v.StateReason = c.Host + " does not answer; it is tried again at " + c.Until.Format(time.RFC3339) + ": " + c.Reason
	}
}

func (s *Server) integrationOutput(ctx context.Context, i domain.Integration) *integrationOutput {
	return &integrationOutput{ETag: etag(i.Version), Body: s.viewIntegration(ctx, i)}
}

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

// maxSettings and maxSecret bound what an integration may be given, in bytes.
const (
	maxSettings = 256 << 10
	maxSecret   = 16 << 10
	maxSecrets  = 20
)

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

// integrationFacts is what the trail keeps of an integration: plain values and the names of its secrets.
func integrationFacts(i domain.Integration, secrets map[string]string) map[string]string {
	facts := map[string]string{"provider": i.Provider, "direction": string(i.Direction), "resource": string(i.ResourceID),
		"state": string(i.State), "poll_seconds": strconv.FormatInt(int64(i.PollEvery/time.Second), 10), "priority": i.Priority.OrNormal().String()}
	if i.Sync.EditConflicts != "" {
		facts["edit_conflicts"] = string(i.Sync.EditConflicts)
	}
	if i.Sync.Private != "" {
		facts["private"] = string(i.Sync.Private)
	}
	if !reflect.DeepEqual(i.Sync.Filters, domain.SyncFilters{}) {
		facts["filters"] = "set"
	}
	if i.Guard != (domain.Guard{}) {
		facts["guard"] = fmt.Sprintf("%d, %d%%", i.Guard.Removals, i.Guard.Percent)
	}
	if i.Version > 0 {
		facts["version"] = strconv.FormatInt(i.Version, 10)
	}
	if len(secrets) > 0 {
		facts["secrets_set"] = strings.Join(slices.Sorted(maps.Keys(secrets)), ",")
	}
	return facts
}

// readIntegration reads one that is not deleted.
func (s *Server) readIntegration(ctx context.Context, id domain.IntegrationID) (i domain.Integration, err error) {
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		i, err = present(ctx, tx, id)
		return err
	})
	return i, err
}

// present reads an integration; a deleted one is gone for the API.
func present(ctx context.Context, tx *store.Tx, id domain.IntegrationID) (domain.Integration, error) {
	i, err := tx.Integration(ctx, id)
	if err == nil && i.State == domain.IntegrationDeleted {
		return domain.Integration{}, domain.E(domain.KindNotFound, "no such integration")
	}
	return i, err
}

func (s *Server) listIntegrations(ctx context.Context, in *PageParams) (*listOutput[integrationView], error) {
	var out []integrationView
	var next string
	err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		all, more, err := tx.Integrations(ctx, in.page())
		if err != nil {
			return err
		}
		out, next = out[:0], more
		circuits, err := tx.Circuits(ctx, "")
		if err != nil {
			return err
		}
		ids := make([]domain.IntegrationID, len(all))
		for n, i := range all {
			ids[n] = i.ID
		}
		healths, err := tx.HealthOf(ctx, ids...)
		for _, i := range all {
			v := s.viewIntegration(ctx, i)
			if h, ok := healths[i.ID]; ok {
				v.Health = &healthBrief{h.State, h.Reason, h.Since}
			}
			v.hold(circuits[i.ID])
			out = append(out, v)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return list(out, next), nil
}

func (s *Server) getIntegration(ctx context.Context, in *IDParam) (*integrationOutput, error) {
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	var i domain.Integration
	var fresh domain.Freshness
	var health domain.Health
	var circuits map[domain.IntegrationID][]domain.Circuit
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		if i, err = present(ctx, tx, id); err != nil {
			return err
		}
		if circuits, err = tx.Circuits(ctx, id); err != nil {
			return err
		}
		if health, err = tx.Health(ctx, id); err != nil {
			return err
		}
		measured, err := tx.Freshness(ctx, id)
		fresh = freshness.Of(tx.Now, i, measured[id])
		return err
	})
	if err != nil {
		return nil, err
	}
	out := s.integrationOutput(ctx, i)
	out.Body.Freshness, out.Body.Health = &fresh, &healthBrief{health.State, health.Reason, health.Since}
	out.Body.hold(circuits[id])
	return out, nil
}

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

// forget makes webhooks that reach this process see a change at once; others notice a second later.
func (s *Server) forget(id domain.IntegrationID) {
	if s.deps.Intake != nil {
		s.deps.Intake.Invalidate(id)
	}
}

// riskyChange is a change of an integration that is not made while a wedding is near or on.
type riskyChange struct {
	act   freeze.Act
	field string
}

// riskyChanges finds what a change alters of how a system is read and written. Names, credentials and intervals may change at
// any time: a wedding day is when they are mended. Nor does it matter for an integration that does not run yet.
func riskyChanges(was, now domain.Integration, settings bool, g *domain.Guard) (out []riskyChange) {
	if was.State == domain.IntegrationConnecting {
		return nil
	}
	add := func(changed bool, act freeze.Act, field string) {
		if changed {
			out = append(out, riskyChange{act, field})
		}
	}
	add(settings && !sameMeaning(was.Settings, now.Settings), freeze.ActSettings, "body.settings")
	add(was.Direction != now.Direction, freeze.ActDirection, "body.direction")
	add(was.ResourceID != now.ResourceID, freeze.ActResource, "body.resource_id")
	add(!reflect.DeepEqual(was.Sync, now.Sync), freeze.ActSync, "body.sync")
	add(g != nil && *g != was.Guard, freeze.ActGuard, "body.guard")
	return out
}

// sameMeaning reports whether two texts mean the same.
func sameMeaning(a, b json.RawMessage) bool {
	var x, y any
	for _, one := range []struct {
		raw json.RawMessage
		out *any
	}{{a, &x}, {b, &y}} {
		d := json.NewDecoder(bytes.NewReader(one.raw))
		d.UseNumber() // ids may be longer than a float is exact
		if d.Decode(one.out) != nil {
			return bytes.Equal(a, b)
		}
	}
	return reflect.DeepEqual(x, y)
}

type deleteIntegrationInput struct {
	IDParam
	FreezeHeader
	Purge  bool   `query:"purge" doc:"Take our copies out first; the integration is deleted when none is left, see its purge"`
	Reason string `query:"reason" maxLength:"500" doc:"Why, for the audit trail"`
}

func (s *Server) deleteIntegration(ctx context.Context, in *deleteIntegrationInput) (*struct{}, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	if in.Purge {
		_, err := s.purge(ctx, in.ID, reason, false, true, in.FreezeHeader)
		return nil, err
	}
	var ended connect.Ended
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := present(ctx, tx, id)
		if err != nil {
			return err
		}
		if was.State != domain.IntegrationConnecting {
			if _, err := freeze.Person(ctx, tx, freeze.ActDisconnect, "id", "integration/"+string(id), in.override(ctx)); err != nil {
				return err
			}
		}
		i, err := tx.SetIntegrationState(ctx, id, domain.IntegrationDeleted, "deleted by an admin")
		if err != nil {
			return err
		}
		ended.Integration = was
		if ended.Grant, ended.Alone, err = tx.DropOAuthGrant(ctx, id); err != nil && domain.KindOf(err) != domain.KindNotFound {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "integration.delete", Reason: reason,
			Subject: "integration/" + string(id), Before: integrationFacts(was, nil), After: integrationFacts(i, nil)})
	})
	if err != nil {
		return nil, err
	}
	s.forget(id)
	s.farewell(ctx, &ended, who.Subject)
	return nil, nil
}
