package server

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// trail returns the actions on record, newest first.
func (b *bundle) trail(x tenant) []domain.AuditEntry {
	b.Helper()
	var got struct{ Items []domain.AuditEntry }
	b.do("GET", "/v1/audit?limit=200", b.token(x.org, domain.RoleAdmin), "").into(b, &got)
	return got.Items
}

func (b *bundle) lastAction(x tenant, action string) domain.AuditEntry {
	b.Helper()
	for _, e := range b.trail(x) {
		if e.Action == action {
			return e
		}
	}
	b.Fatalf("no %s in the audit trail", action)
	return domain.AuditEntry{}
}

func TestIntegrationLivesFromCreationToDeletion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	created := b.do("POST", "/v1/integrations", admin, `{"name":"My site","provider":"plain","direction":"import","resource_id":"`+string(b.a.resource)+
		`","settings":{"a":1},"secrets":{"key":"s3cr3t-word"},"poll_seconds":600,"reason":"the new site"}`)
	if created.status != 201 || created.header.Get("ETag") != `"1"` {
		t.Fatalf("%d %s %s", created.status, created.header.Get("ETag"), created.body)
	}
	var i map[string]any
	created.into(t, &i)
	id, _ := i["id"].(string)
	if i["webhook_url"] != b.url+"/v1/webhooks/"+id || i["poll_seconds"] != 600.0 || i["state"] != "active" || !cmp.Equal(i["settings"], map[string]any{"a": 1.0}) {
		t.Errorf("created %v", i)
	}
	path := "/v1/integrations/" + id
	changed := b.do("PATCH", path, admin, `{"name":"Our site","secrets":{"extra":"an0ther-word"},"settings":{"a":2}}`, header("If-Match", `"1"`))
	if changed.status != 200 || changed.header.Get("ETag") != `"2"` {
		t.Fatalf("%d %s", changed.status, changed.body)
	}
	var secrets map[string]string
	b.must(b.store.TenantRead(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) (err error) {
		secrets, err = tx.IntegrationSecrets(ctx, domain.IntegrationID(id))
		return err
	}))
	if d := cmp.Diff(map[string]string{"key": "s3cr3t-word", "extra": "an0ther-word"}, secrets); d != "" {
		t.Errorf("secrets (-want +got):\n%s", d)
	}
	removed := b.do("PATCH", path, admin, `{"version":2,"secrets":{"extra":""}}`)
	if removed.status != 200 {
		t.Fatalf("%d %s", removed.status, removed.body)
	}
	b.do("PATCH", path, admin, `{"version":3,"secrets":{"key":""}}`).problem(t, 422, "invalid")
	if got := b.do("DELETE", path+"?reason=moved+away", admin, ""); got.status != 204 || len(got.body) != 0 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	b.do("GET", path, admin, "").problem(t, 404, "not_found")
	b.do("DELETE", path, admin, "").problem(t, 404, "not_found")

	wantReasons := map[string]string{"integration.create": "the new site", "integration.update": "requested", "integration.delete": "moved away"}
	for action, reason := range wantReasons {
		e := b.lastAction(b.a, action)
		if e.Actor != "admin@example.test" || e.Reason != reason || e.Subject != "integration/"+id {
			t.Errorf("%s: %+v", action, e)
		}
	}
	everything := string(created.body) + string(changed.body) + string(b.do("GET", "/v1/audit?limit=200", admin, "").body) + b.log.String()
	for _, secret := range []string{"s3cr3t-word", "an0ther-word", "very-secret-value"} {
		if strings.Contains(everything, secret) {
			t.Errorf("secret %q was shown", secret)
		}
	}
	if n, err := b.store.VerifyAudit(t.Context(), b.a.org); err != nil || n == 0 {
		t.Errorf("audit trail: %d entries, %v", n, err)
	}
}

func TestBadIntegrationIsRefusedWithFieldAndReason(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	with := func(change string) string {
		base := map[string]any{"name": "x", "provider": "plain", "resource_id": string(b.a.resource), "secrets": map[string]any{"key": "hush-hush"}}
		var over map[string]any
		if err := json.Unmarshal([]byte(change), &over); err != nil {
			t.Fatal(err)
		}
		for k, v := range over {
			base[k] = v
		}
		out, err := json.Marshal(base)
		b.must(err)
		return string(out)
	}
	for name, tc := range map[string]struct{ body, field, reason string }{
		"no name":              {with(`{"name":""}`), "body.name", "1"},
		"long name":            {with(`{"name":"` + strings.Repeat("n", 121) + `"}`), "body.name", "120"},
		"unknown provider":     {with(`{"provider":"nope"}`), "body.provider", "plain"},
		"resource no id":       {with(`{"resource_id":"x"}`), "body.resource_id", "36"},
		"unknown direction":    {with(`{"direction":"up"}`), "body.direction", "import"},
		"required secret gone": {with(`{"secrets":{}}`), "body.secrets.key", "required"},
		"unknown secret":       {with(`{"secrets":{"key":"hush-hush","other":"hush-hush"}}`), "body.secrets", "key, extra"},
		"secret no text":       {with(`{"secrets":{"key":5}}`), "body.secrets.key", "string"},
		"poll too long":        {with(`{"poll_seconds":2592001}`), "body.poll_seconds", "2592000"},
		"wrong expression":     {with(`{"settings":{"title":"wrong"}}`), "settings.mapping.title", "line 1, column 3"},
		"unknown field":        {with(`{"nmae":"x"}`), "body.nmae", "unexpected"},
		"reason too long":      {with(`{"reason":"` + strings.Repeat("é", 300) + `"}`), "body.reason", "500"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := b.do("POST", "/v1/integrations", admin, tc.body)
			p := got.problem(t, 422, "invalid")
			found := false
			for _, e := range p.Errors {
				found = found || e.Field == tc.field && strings.Contains(e.Reason, tc.reason)
			}
			if !found {
				t.Errorf("errors %+v, want field %s with %q", p.Errors, tc.field, tc.reason)
			}
			if strings.Contains(string(got.body), "hush") {
				t.Errorf("the answer repeats a secret: %s", got.body)
			}
		})
	}
	for name, body := range map[string]string{"no JSON": `{"name":`, "another kind of JSON": `[]`, "nothing": ``} {
		got := b.do("POST", "/v1/integrations", admin, body)
		if got.status != 400 && got.status != 422 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	b.do("POST", "/v1/integrations", admin, `{"name":"`+strings.Repeat("x", 1<<20)+`"}`).problem(t, 413, "too_large")
	b.do("POST", "/v1/integrations", admin, `a=b`, header("Content-Type", "application/x-www-form-urlencoded"))
	p := b.do("GET", "/v1/integrations?limit=500", admin, "").problem(t, 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Field != "query.limit" || !strings.Contains(p.Errors[0].Reason, "200") {
		t.Errorf("limit 500: %+v", p.Errors)
	}
	p = b.do("GET", "/v1/integrations?colour=red", admin, "").problem(t, 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Field != "query.colour" {
		t.Errorf("unknown query parameter: %+v", p.Errors)
	}
	b.do("GET", "/v1/integrations?after=garbage", admin, "").problem(t, 422, "invalid")
}

func TestOnboardingCompletesSettingsOrSaysWhyNot(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var fault error
	b := setup(t, func(d *Deps) {
		d.Onboard = func(ctx context.Context, i domain.Integration, secrets map[string]string, zone string, _ provider.TokenSource) (json.RawMessage, error) {
			mu.Lock()
			defer mu.Unlock()
			if _, bounded := ctx.Deadline(); !bounded || zone != "Europe/London" || secrets["key"] == "" {
				return nil, domain.E(domain.KindInternal, "asked without bound, zone or secrets")
			}
			return json.RawMessage(`{"found":"/calendar"}`), fault
		}
	})
	admin := b.token(b.a.org, domain.RoleAdmin)
	body := `{"name":"x","provider":"plain","resource_id":"` + string(b.a.resource) + `","secrets":{"key":"k"}}`
	if got := b.do("POST", "/v1/integrations", admin, body); got.status != 201 || !strings.Contains(string(got.body), "/calendar") {
		t.Fatalf("%d %s", got.status, got.body)
	}
	for _, tc := range []struct {
		fault  error
		status int
		code   string
		field  string
	}{
		{domain.E(domain.KindUnauthenticated, "refused the password"), 422, "invalid", "body.secrets"},
		{domain.E(domain.KindNotFound, "no calendar there"), 422, "invalid", "body.settings"},
		{domain.E(domain.KindUnavailable, "no answer"), 503, "unavailable", ""},
	} {
		mu.Lock()
		fault = tc.fault
		mu.Unlock()
		p := b.do("POST", "/v1/integrations", admin, body).problem(t, tc.status, tc.code)
		if tc.field != "" && (len(p.Errors) != 1 || p.Errors[0].Field != tc.field) {
			t.Errorf("%v: %+v", tc.fault, p)
		}
	}
}

func TestSameIdempotencyKeyMakesOneThing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin, other := b.token(b.a.org, domain.RoleAdmin), b.token(b.b.org, domain.RoleAdmin)
	body := `{"name":"Hall","kind":"room","zone":"Europe/Berlin"}`
	ids := make(chan string, 8)
	var all sync.WaitGroup
	for range cap(ids) {
		all.Go(func() {
			var r struct{ ID string }
			got := b.do("POST", "/v1/resources", admin, body, header("Idempotency-Key", "once"))
			if got.status != 201 {
				t.Errorf("%d %s", got.status, got.body)
				return
			}
			got.into(t, &r)
			ids <- r.ID
		})
	}
	all.Wait()
	close(ids)
	first := <-ids
	for id := range ids {
		if id != first {
			t.Errorf("ids %s and %s for one key", first, id)
		}
	}
	var foreign struct{ ID string }
	b.do("POST", "/v1/resources", other, body, header("Idempotency-Key", "once")).into(t, &foreign)
	if foreign.ID == "" || foreign.ID == first {
		t.Errorf("another organisation's key made %q, the same as %q", foreign.ID, first)
	}
}

func TestLostUpdatesAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	path := "/v1/resources/" + string(b.a.resource)
	etag := b.do("GET", path, admin, "").header.Get("ETag")
	if got := b.do("PATCH", path, admin, `{"buffer_before_minutes":30,"skills":["drone"]}`, header("If-Match", etag)); got.status != 200 || got.header.Get("ETag") == etag {
		t.Fatalf("%d %s", got.status, got.body)
	}
	b.do("PATCH", path, admin, `{"capacity":2}`, header("If-Match", etag)).problem(t, 412, "conflict")
	b.do("PATCH", path, admin, `{"capacity":2,"version":1}`).problem(t, 409, "conflict")
	b.do("PATCH", path, admin, `{"capacity":2}`).problem(t, 428, "version_required")
	b.do("PATCH", path, admin, `{"capacity":2}`, header("If-Match", "W/x")).problem(t, 400, "invalid")
	var r struct {
		Capacity int
		Before   int `json:"buffer_before_minutes"`
		Skills   []string
	}
	b.do("GET", path, admin, "").into(t, &r)
	if r.Capacity != 1 || r.Before != 30 || !cmp.Equal(r.Skills, []string{"drone"}) {
		t.Errorf("after one change: %+v", r)
	}
}

func TestPauseResumeAndResyncAskTheWorkflow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator := b.token(b.a.org, domain.RoleOperator)
	path := "/v1/integrations/" + string(b.a.integration)
	var i struct{ State string }
	b.do("POST", path+"/pause", operator, `{"reason":"holidays"}`).into(t, &i)
	if i.State != "paused" {
		t.Errorf("after pause: %s", i.State)
	}
	if e := b.lastAction(b.a, "integration.pause"); e.Reason != "holidays" || e.Actor != "operator@example.test" || e.Before["state"] != "active" {
		t.Errorf("audit of the pause: %+v", e)
	}
	got := b.do("POST", path+"/resync", operator, `{"full":true}`, header("Idempotency-Key", "k"))
	var run struct {
		RunID string `json:"run_id"`
	}
	got.into(t, &run)
	if got.status != 202 || got.header.Get("Location") != "/v1/syncs/"+run.RunID {
		t.Fatalf("%d %s %s", got.status, got.header.Get("Location"), got.body)
	}
	b.do("POST", path+"/resync", operator, `{"full":true}`, header("Idempotency-Key", "k"))
	b.flow.mu.Lock()
	for _, r := range b.flow.resyncs {
		if string(r.RunID) != run.RunID || !r.Full || r.By != "operator@example.test" {
			t.Errorf("asked for %+v", r)
		}
	}
	b.flow.progress = &contract.SyncProgress{State: domain.SyncRunning, Phase: "pull", Pages: 3, Seen: 120}
	b.flow.mu.Unlock()
	var progress struct {
		State string
		Live  *contract.SyncProgress
	}
	b.do("GET", "/v1/syncs/"+run.RunID, operator, "").into(t, &progress)
	if progress.State != "running" || progress.Live == nil || progress.Live.Seen != 120 {
		t.Errorf("progress %+v", progress)
	}
	var runs struct{ Items []domain.SyncRun }
	b.do("GET", path+"/syncs", operator, "").into(t, &runs)
	if len(runs.Items) != 2 {
		t.Errorf("%d runs, want 2", len(runs.Items))
	}

	b.flow.fail(domain.E(domain.KindConflict, "the integration is not paused"))
	p := b.do("POST", path+"/resume", operator, "").problem(t, 409, "conflict")
	if p.Detail != "the integration is not paused" {
		t.Errorf("a refused resume says %q", p.Detail)
	}
	if e := b.lastAction(b.a, "integration.resume.refused"); e.Reason != "conflict" {
		t.Errorf("audit of the refusal: %+v", e)
	}
	b.flow.fail(domain.WithRetryAfter(domain.E(domain.KindUnavailable, "Temporal is away"), 7*time.Second))
	down := b.do("POST", path+"/resync", operator, "")
	down.problem(t, 503, "unavailable")
	if down.header.Get("Retry-After") != "7" {
		t.Errorf("Retry-After %q", down.header.Get("Retry-After"))
	}
	if got := b.do("GET", path, operator, ""); got.status != 200 {
		t.Errorf("reading while Temporal is away: %d", got.status)
	}
}

func TestReadingContentIsOnRecord(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	path := "/v1/deliveries/" + string(b.a.delivery)
	if got := b.do("GET", path, admin, ""); strings.Contains(string(got.body), "content\":") {
		t.Errorf("a delivery shows its content: %s", got.body)
	}
	var c struct {
		Content []byte
		Type    string `json:"content_type"`
	}
	b.do("GET", path+"/content?reason=support+case+7", admin, "").into(t, &c)
	if string(c.Content) != `{"a"}` || c.Type != "application/json" {
		t.Errorf("content %q of type %q", c.Content, c.Type)
	}
	if e := b.lastAction(b.a, "delivery.read_content"); e.Reason != "support case 7" || e.Subject != "delivery/"+string(b.a.delivery) {
		t.Errorf("audit: %+v", e)
	}
	b.do("POST", path+"/replay", admin, "").problem(t, 409, "conflict")
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		return tx.FinishDeliveries(ctx, []store.DeliveryOutcome{{ID: b.a.delivery, State: domain.DeliveryDead, Reason: "not understood"}})
	}))
	b.flow.fail(domain.E(domain.KindUnavailable, "Temporal is away")) // the outbox keeps it
	if got := b.do("POST", path+"/replay", admin, ""); got.status != 202 || !strings.Contains(string(got.body), `"state":"received"`) {
		t.Errorf("replay: %d %s", got.status, got.body)
	}
}

func TestProvidersAreDescribed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var got struct{ Items []map[string]any }
	b.do("GET", "/v1/providers", b.token(b.a.org, domain.RoleViewer), "").into(t, &got)
	want := []map[string]any{{"name": "plain", "title": "Plain", "doc": "A system for tests.", "settings_schema": map[string]any{"type": "object"}, "consent": false,
		"secrets":   []any{map[string]any{"name": "key", "doc": "the key", "required": true}, map[string]any{"name": "extra", "doc": "another", "required": false}},
		"abilities": []any{map[string]any{"name": "list", "has": false, "how": "It is for tests."}}, "limits": []any{"It is not there."}, "mappings": false}}
	if d := cmp.Diff(want, got.Items); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
