package server

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/trial"
)

// Bounds of trying a mapping.
const (
	maxTrialChanges = 100              // shown of one delivery
	maxTrialHeaders = 50               // of a sample
	backtestPage    = 20               // deliveries read and tried in one go
	backtestTime    = 20 * time.Second // then the answer tells how far it came
	backtestsAtOnce = 2                // in this process; each keeps a core busy
)

type trySample struct {
	Headers     map[string]string `json:"headers,omitempty" doc:"As the system would send them"`
	ContentType string            `json:"content_type,omitempty" maxLength:"200" doc:"Instead of a header; default the first of content_types"`
	Body        json.RawMessage   `json:"body" doc:"A text is taken as it is; any other JSON is the body itself"`
}

type testMappingInput struct {
	IDParam
	Body struct {
		Settings   json.RawMessage `json:"settings,omitempty" doc:"To be tried instead of the stored ones: all settings, or the part that reads webhooks"`
		Sample     *trySample      `json:"sample,omitempty" doc:"What to read; or delivery_id"`
		DeliveryID string          `json:"delivery_id,omitempty" maxLength:"36" doc:"A stored delivery to read; leaves a line in the audit trail"`
	}
}

type testMappingOutput struct {
	Body struct {
		Verification string                 `json:"verification" enum:"not done" doc:"Signatures are not a part of this"`
		Outcome      trial.Outcome          `json:"outcome" enum:"applied,ignored,dead"`
		Reason       string                 `json:"reason,omitempty"`
		Steps        []provider.ExplainStep `json:"steps"`
		EventType    string                 `json:"event_type,omitempty"`
		Priority     string                 `json:"priority,omitempty" doc:"What the rules set"`
		Route        []domain.IntegrationID `json:"route" doc:"The integrations that would get it as well"`
		Changes      []domain.Change        `json:"changes" doc:"The first 100"`
		ChangesTotal int                    `json:"changes_total"`
		Cost         uint64                 `json:"cost" doc:"Steps of evaluation; simple paths cost nothing"`
	}
}

// reading is a connection opened for trying.
type reading struct {
	explain func(ctx context.Context, d provider.Webhook) provider.Explanation
	keep    []string // headers that it reads
}

// tryOut opens an integration under its own settings, or those given, without changing anything.
func (s *Server) tryOut(i domain.Integration, zone string, secrets map[string]string, given json.RawMessage) (reading, error) {
	reg, known := s.providers[i.Provider]
	if !known {
		return reading{}, domain.E(domain.KindConflict, "provider %q is not part of this program", i.Provider)
	}
	if given = bytes.TrimSpace(given); len(given) > 0 && string(given) != "null" {
		if len(given) > maxSettings {
			return reading{}, domain.Invalid("body.settings", "at most %d bytes, has %d", maxSettings, len(given))
		}
		settings := given
		if reg.Trial != nil {
			var err error
			if settings, err = reg.Trial(i.Settings, given); err != nil {
				return reading{}, err
			}
		}
		if reg.Validate != nil {
			if err := reg.Validate(settings, secrets); err != nil {
				return reading{}, err
			}
		}
		i.Settings = settings
	}
	loc, err := loadZone("zone", zone)
	if err != nil {
		return reading{}, err
	}
	opened, err := reg.Open(provider.Connection{Integration: i, Secrets: secrets, Zone: loc, Now: s.now})
	if err != nil {
		return reading{}, domain.E(domain.KindInvalid, "open the connection: %w", err)
	}
	explainer, ok := provider.As[provider.Explainer](opened)
	source, takes := provider.As[provider.WebhookSource](opened)
	if !ok || !takes {
		return reading{}, domain.E(domain.KindInvalid, "the webhooks of this connection are not read by a mapping")
	}
	return reading{explain: explainer.Explain, keep: source.Intake().KeepHeaders}, nil
}

// trialGround is what trying needs of an integration.
type trialGround struct {
	integration domain.Integration
	zone        string
	secrets     map[string]string
}

func (s *Server) trialGround(ctx context.Context, tx *store.Tx, id domain.IntegrationID) (g trialGround, err error) {
	if g.integration, err = present(ctx, tx, id); err != nil {
		return g, err
	}
	r, err := tx.Resource(ctx, g.integration.ResourceID)
	if err != nil {
		return g, err
	}
	g.zone = r.Zone
	g.secrets, err = tx.IntegrationSecrets(ctx, id)
	return g, err
}

func asWebhook(d domain.RawDelivery) provider.Webhook {
	header := make(http.Header, len(d.Headers))
	for k, v := range d.Headers {
		header.Set(k, v)
	}
	return provider.Webhook{Header: header, Body: d.Body, ReceivedAt: d.ReceivedAt}
}

// sampleWebhook makes a delivery of what a person wrote.
func sampleWebhook(in *trySample, now time.Time) (provider.Webhook, error) {
	if len(in.Headers) > maxTrialHeaders {
		return provider.Webhook{}, domain.Invalid("body.sample.headers", "at most %d, has %d", maxTrialHeaders, len(in.Headers))
	}
	out := provider.Webhook{Header: http.Header{}, Body: in.Body, ReceivedAt: now}
	for name, value := range in.Headers {
		if len(name) > 100 || len(value) > maxKeptHeader {
			return out, domain.Invalid("body.sample.headers", "names have at most 100 bytes and values at most %d", maxKeptHeader)
		}
		out.Header.Set(name, value)
	}
	if in.ContentType != "" {
		out.Header.Set("Content-Type", in.ContentType)
	}
	var text string
	if json.Unmarshal(in.Body, &text) == nil {
		out.Body = []byte(text)
	}
	return out, nil
}

// testMapping reads one delivery and tells how. Nothing is stored and nobody is called.
func (s *Server) testMapping(ctx context.Context, in *testMappingInput) (*testMappingOutput, error) {
	who, b := callerOf(ctx), &in.Body
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	var ground trialGround
	var d provider.Webhook
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if ground, err = s.trialGround(ctx, tx, id); err != nil {
			return err
		}
		if (b.Sample == nil) == (b.DeliveryID == "") {
			return domain.Invalid("body", "needs either sample or delivery_id")
		}
		if b.Sample != nil {
			d, err = sampleWebhook(b.Sample, s.now())
			return err
		}
		delivery, err := domain.ParseID[domain.DeliveryID]("body.delivery_id", b.DeliveryID)
		if err != nil {
			return err
		}
		raw, err := tx.DeliveryContent(ctx, delivery)
		if domain.KindOf(err) == domain.KindNotFound || err == nil && raw.IntegrationID != id {
			return domain.Invalid("body.delivery_id", "no such delivery of this integration")
		}
		if err != nil {
			return err
		}
		d = asWebhook(raw)
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "delivery.test_mapping", Reason: "requested", Subject: "delivery/" + b.DeliveryID,
			After: map[string]string{"integration": string(id)}})
	})
	if err != nil {
		return nil, err
	}
	try, err := s.tryOut(ground.integration, ground.zone, ground.secrets, b.Settings)
	if err != nil {
		return nil, err
	}
	return trialResult(try.explain(ctx, d)), nil
}

// trialResult is how a delivery was read, for people.
func trialResult(got provider.Explanation) *testMappingOutput {
	out := &testMappingOutput{}
	o := &out.Body
	o.Verification, o.Outcome, o.Reason, o.Steps, o.EventType, o.Cost = "not done", trial.OutcomeOf(got), trial.Reason(got), got.Steps, got.Decoded.EventType, got.Cost
	if got.Priority.Valid() {
		o.Priority = got.Priority.String()
	}
	o.Route, o.ChangesTotal = append([]domain.IntegrationID{}, got.Decoded.Route...), len(got.Decoded.Changes)
	o.Changes = append([]domain.Change{}, got.Decoded.Changes[:min(maxTrialChanges, len(got.Decoded.Changes))]...)
	if o.Steps == nil {
		o.Steps = []provider.ExplainStep{}
	}
	return out
}

type backtestInput struct {
	IDParam
	Body struct {
		Settings json.RawMessage `json:"settings" doc:"To be tried: all settings, or the part that reads webhooks"`
		Last     int             `json:"last,omitempty" minimum:"1" maximum:"1000" default:"100" doc:"How many of the newest deliveries to try"`
	}
}

type backtestLine struct {
	DeliveryID domain.DeliveryID `json:"delivery_id"`
	ReceivedAt time.Time         `json:"received_at"`
	Kind       trial.Kind        `json:"kind" enum:"same,changed,newly_applied,newly_ignored,newly_dead"`
	Fields     []string          `json:"fields" doc:"Names of what differs; never values"`
	Outcome    trial.Outcome     `json:"outcome" enum:"applied,ignored,dead" doc:"Under the settings that are tried"`
	Reason     string            `json:"reason,omitempty"`
	// At is where in the settings reading it failed, as far as that is known.
	At *provider.Position `json:"at,omitempty" doc:"Where in the settings that are tried reading it failed; absent when that is not known"`
}

// faultAt is the place of the last fault among steps; nil when none is known.
func faultAt(steps []provider.ExplainStep) *provider.Position {
	for _, step := range slices.Backward(steps) {
		if step.Fault != nil && step.Fault.Line > 0 {
			at := step.Fault.Position
			return &at
		}
	}
	return nil
}

type backtestOutput struct {
	Body struct {
		Tried      int                `json:"tried"`
		Erased     int                `json:"erased" doc:"Deliveries whose content is no longer kept; they are not tried"`
		Counts     map[trial.Kind]int `json:"counts"`
		Complete   bool               `json:"complete" doc:"false: time was up before all were tried"`
		NewHeaders []string           `json:"new_headers" doc:"Headers that the new settings read and that were not kept of stored deliveries: they are missing in this trial"`
		Cost       uint64             `json:"cost"`
		Deliveries []backtestLine     `json:"deliveries" doc:"Newest first"`
	}
}

// backtestMapping reads stored deliveries by the present settings and by others, and tells what would change. It stores
// nothing but a line in the audit trail.
func (s *Server) backtestMapping(ctx context.Context, in *backtestInput) (*backtestOutput, error) {
	b := &in.Body
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	if given := bytes.TrimSpace(b.Settings); len(given) == 0 || string(given) == "null" {
		return nil, domain.Invalid("body.settings", "is required: what is to be tried")
	}
	return s.backtest(ctx, id, b.Last, func(ground trialGround) (reading, error) {
		return s.tryOut(ground.integration, ground.zone, ground.secrets, b.Settings)
	})
}

// backtest reads the last deliveries of an integration by its present settings and by those that other opens.
func (s *Server) backtest(ctx context.Context, id domain.IntegrationID, last int, other func(trialGround) (reading, error)) (*backtestOutput, error) {
	who := callerOf(ctx)
	if s.backtests.Add(1) > backtestsAtOnce {
		s.backtests.Add(-1)
		return nil, domain.WithRetryAfter(domain.E(domain.KindRateLimited, "%d mappings are tried over stored deliveries already", backtestsAtOnce), 5*time.Second)
	}
	defer s.backtests.Add(-1)
	end := s.now().Add(backtestTime)
	if last == 0 {
		last = 100
	}
	var ground trialGround
	if err := s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) (err error) {
		if ground, err = s.trialGround(ctx, tx, id); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "integration.backtest", Reason: "requested", Subject: "integration/" + string(id),
			After: map[string]string{"last": strconv.Itoa(last)}})
	}); err != nil {
		return nil, err
	}
	now, err := s.tryOut(ground.integration, ground.zone, ground.secrets, nil)
	if err != nil {
		return nil, err
	}
	then, err := other(ground)
	if err != nil {
		return nil, err
	}
	out := &backtestOutput{}
	o := &out.Body
	o.NewHeaders, o.Deliveries, o.Counts = []string{}, []backtestLine{}, map[trial.Kind]int{}
	for _, k := range trial.Kinds() {
		o.Counts[k] = 0
	}
	for _, name := range then.keep {
		if !slices.Contains(now.keep, name) {
			o.NewHeaders = append(o.NewHeaders, name)
		}
	}
	var before domain.DeliveryID
	for left := last; left > 0; {
		var page []store.RecentDelivery
		size := min(backtestPage, left)
		if err := s.deps.Store.TenantRead(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
			page, err = tx.RecentDeliveries(ctx, id, before, size)
			return err
		}); err != nil {
			return nil, err
		}
		for _, d := range page {
			if s.now().After(end) {
				return out, nil
			}
			before, left = d.ID, left-1
			if d.Erased {
				o.Erased++
				continue
			}
			was, is := now.explain(ctx, asWebhook(d.RawDelivery)), then.explain(ctx, asWebhook(d.RawDelivery))
			if ctx.Err() != nil {
				return nil, domain.E(domain.KindUnavailable, "try the mapping: %w", ctx.Err())
			}
			kind, fields := trial.Compare(was, is)
			o.Tried++
			o.Counts[kind]++
			o.Cost += is.Cost
			line := backtestLine{DeliveryID: d.ID, ReceivedAt: d.ReceivedAt, Kind: kind, Fields: fields, Outcome: trial.OutcomeOf(is), Reason: trial.Reason(is)}
			if line.Outcome == trial.Dead {
				line.At = faultAt(is.Steps)
			}
			o.Deliveries = append(o.Deliveries, line)
		}
		if len(page) < size {
			break
		}
	}
	o.Complete = true
	return out, nil
}
