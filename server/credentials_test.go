package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/inbox"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

const (
	hookBearer  = `{"webhook":{"verify":{"scheme":"bearer"},"mapping":{"external_id":"item.id","category":"'hold'","start":"'2027-06-05'","end":"'2027-06-06'"}}}`
	firstBearer = "first-bearer-token-0001"
)

// hookServer is a server whose intake runs over the real store.
func hookServer(t *testing.T, change ...func(*IntakeDeps)) (*bundle, *Intake) {
	t.Helper()
	var in *Intake
	var box *inbox.Inbox
	b := setup(t, func(d *Deps) {
		db := d.Store
		var err error
		if box, err = inbox.New(inbox.Deps{Store: db, Signals: &downSignals{}, Log: slog.New(slog.DiscardHandler)}); err != nil {
			t.Fatal(err)
		}
		deps := IntakeDeps{Record: db.IntakeRecord, Versions: db.IntegrationVersions, Provider: intakeProvider, Seal: db.SealDelivery,
			Put: box.Writer.Put, CredentialUses: db.NoteCredentialUses, Log: slog.New(slog.DiscardHandler)}
		for _, f := range change {
			f(&deps)
		}
		if in, err = NewIntake(deps); err != nil {
			t.Fatal(err)
		}
		d.Intake, d.Providers = in, append(d.Providers, custom.Registration)
	})
	t.Cleanup(func() {
		if err := errors.Join(in.Drain(context.Background()), box.Drain(context.Background())); err != nil {
			t.Errorf("drain: %v", err)
		}
	})
	return b, in
}

// connectHook adds an integration with settings and a secret.
func (b *bundle) connectHook(settings, secret string) domain.IntegrationID {
	b.Helper()
	id := domain.NewID[domain.IntegrationID](time.Now())
	secrets := map[string]string{}
	if secret != "" {
		secrets[custom.SecretWebhook] = secret
	}
	if err := b.store.Tenant(b.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		return tx.CreateIntegration(ctx, domain.Integration{ID: id, Name: "CRM", Provider: "custom", Direction: domain.DirectionImport,
			ResourceID: b.a.resource, Settings: []byte(settings)}, secrets)
	}); err != nil {
		b.Fatal(err)
	}
	return id
}

// hook posts a webhook and returns the status.
func (b *bundle) hook(path, authorization, body string) int {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, b.url+"/v1/webhooks/"+path, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	res, err := b.client.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

func TestASecretIsReplacedWithoutLosingAWebhook(t *testing.T) {
	t.Parallel()
	b, in := hookServer(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	id := b.connectHook(hookBearer, firstBearer)
	path := "/v1/integrations/" + string(id) + "/credentials"
	old := b.do("POST", path, admin, `{"label":"old","secret":"second-bearer-token-0002"}`)
	var made struct {
		ID, Label, Secret string
		NotAfter          *time.Time `json:"not_after"`
		LastUsedAt        *time.Time `json:"last_used_at"`
	}
	old.into(t, &made)
	if old.status != 201 || made.Secret != "" {
		t.Fatalf("%d %s", old.status, old.body)
	}
	oldID := made.ID
	if got := b.hook(string(id), "Bearer second-bearer-token-0002", `{"id":"1"}`); got != 202 {
		t.Fatalf("the stored credential: %d", got)
	}
	in.writeUses(t.Context())

	// A new one is made here and shown once; all three match.
	created := b.do("POST", path, admin, `{"label":"new","generate":true,"reason":"rotation"}`)
	created.into(t, &made)
	if created.status != 201 || len(made.Secret) < 40 {
		t.Fatalf("%d %s", created.status, created.body)
	}
	newID, secret := made.ID, made.Secret
	for i, one := range []string{firstBearer, "second-bearer-token-0002", secret} {
		if got := b.hook(string(id), "Bearer "+one, `{"id":"a`+string(rune('0'+i))+`"}`); got != 202 {
			t.Errorf("credential %d: %d", i, got)
		}
	}
	in.writeUses(t.Context())
	list := b.do("GET", path, admin, "")
	var items struct {
		Items []struct {
			ID         string
			LastUsedAt *time.Time `json:"last_used_at"`
		}
	}
	list.into(t, &items)
	if len(items.Items) != 2 || items.Items[0].LastUsedAt == nil || items.Items[1].LastUsedAt == nil || items.Items[1].ID != newID {
		t.Errorf("list: %s", list.body)
	}
	if strings.Contains(string(list.body), secret) || strings.Contains(string(list.body), "bearer-token") {
		t.Errorf("the list shows a secret: %s", list.body)
	}

	// The old one gets an end, first in the future and then, by the clock of the row, in the past.
	end := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	if got := b.do("PATCH", path+"/"+oldID, admin, `{"not_after":"`+end+`"}`); got.status != 200 || !strings.Contains(string(got.body), end) {
		t.Errorf("set the end: %d %s", got.status, got.body)
	}
	if got := b.hook(string(id), "Bearer second-bearer-token-0002", `{"id":"b"}`); got != 202 {
		t.Errorf("before its end: %d", got)
	}
	b.do("PATCH", path+"/"+oldID, admin, `{"not_after":"2020-01-01T00:00:00Z"}`).problem(t, 422, "invalid")
	if got := b.do("DELETE", path+"/"+oldID+"?reason=idle", admin, ""); got.status != 204 {
		t.Errorf("remove: %d %s", got.status, got.body)
	}
	if got := b.hook(string(id), "Bearer second-bearer-token-0002", `{"id":"c"}`); got != 401 {
		t.Errorf("after its removal: %d", got)
	}
	if got := b.hook(string(id), "Bearer "+secret, `{"id":"c"}`); got != 202 {
		t.Errorf("the new one: %d", got)
	}
	b.do("DELETE", path+"/"+oldID, admin, "").problem(t, 404, "not_found")

	trail := string(b.do("GET", "/v1/audit?limit=50", admin, "").body)
	for _, action := range []string{"credential.add", "credential.update", "credential.remove"} {
		if !strings.Contains(trail, action) {
			t.Errorf("the trail lacks %s", action)
		}
	}
	if strings.Contains(trail, secret) || strings.Contains(trail, "bearer-token") {
		t.Error("the trail shows a secret")
	}
}

func TestCredentialsThatCouldNotWorkAreRefused(t *testing.T) {
	t.Parallel()
	b, _ := hookServer(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	id := b.connectHook(hookBearer, firstBearer)
	path := "/v1/integrations/" + string(id) + "/credentials"
	for name, c := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"too short":            {`{"label":"x","secret":"short"}`, 422, "invalid"},
		"neither":              {`{"label":"x"}`, 422, "invalid"},
		"both":                 {`{"label":"x","secret":"0123456789abcdef","generate":true}`, 422, "invalid"},
		"no label":             {`{"generate":true}`, 422, "invalid"},
		"past end":             {`{"label":"x","generate":true,"not_after":"2020-01-01T00:00:00Z"}`, 422, "invalid"},
		"same as in settings":  {`{"label":"x","secret":"` + firstBearer + `"}`, 409, "conflict"},
		"unknown field":        {`{"label":"x","generate":true,"id":"y"}`, 422, "invalid"},
		"control in the label": {`{"label":"x\u0000","generate":true}`, 422, "invalid"},
	} {
		got := b.do("POST", path, admin, c.body)
		if p := got.problem(t, c.status, c.code); strings.Contains(string(got.body), firstBearer) {
			t.Errorf("%s: the answer shows a secret: %+v", name, p)
		}
	}
	for i := range webhookauth.MaxSecrets - 1 {
		if got := b.do("POST", path, admin, `{"label":"x","generate":true}`); got.status != 201 {
			t.Fatalf("credential %d: %d %s", i+2, got.status, got.body)
		}
	}
	b.do("POST", path, admin, `{"label":"x","generate":true}`).problem(t, 409, "conflict")
}

func TestAnotherServerNoticesANewCredentialByItself(t *testing.T) {
	t.Parallel()
	b, _ := hookServer(t)
	// The second server shares nothing but the database, and nobody tells it.
	other, err := NewIntake(IntakeDeps{Record: b.store.IntakeRecord, Versions: b.store.IntegrationVersions, Provider: intakeProvider, Seal: b.store.SealDelivery,
		Put: func(context.Context, store.NewDelivery, string) (store.InsertedDelivery, error) {
			return store.InsertedDelivery{}, nil
		}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- other.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	id := b.connectHook(hookBearer, firstBearer)
	count := func() int {
		e, err := other.cache.get(t.Context(), id)
		if err != nil {
			return 0
		}
		return len(e.slots)
	}
	await(t, func() bool { return count() == 1 })
	if got := b.do("POST", "/v1/integrations/"+string(id)+"/credentials", b.token(b.a.org, domain.RoleAdmin), `{"label":"x","generate":true}`); got.status != 201 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	await(t, func() bool { return count() == 2 })
}

func TestPathTokensAreTakenAtTheirAddressOnlyAndNotLogged(t *testing.T) {
	t.Parallel()
	b, _ := hookServer(t)
	const token = "q7Zr3vXk9LmT2nWb5yHc8D"
	settings := `{"base_url":"https://crm.example","mapping":{"external_id":"item.id","category":"'hold'","start":"'2027-06-05'","end":"'2027-06-06'"},
		"webhook":{"verify":{"scheme":"path-token"}},"read":{"path":"/entries/${entry.external_id}"}}`
	id := b.connectHook(settings, token)
	for path, want := range map[string]int{string(id) + "/" + token: 202, string(id): 401, string(id) + "/" + token + "x": 401, string(id) + "/" + token + "/x": 401,
		string(id) + "?token=" + token: 401} {
		if got := b.hook(path, "", `{"id":"1"}`); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	if got := b.do("GET", "/v1/webhooks/"+string(id)+"/"+token, "", ""); got.status != 405 {
		t.Errorf("GET: %d", got.status)
	}
	made := b.do("POST", "/v1/integrations/"+string(id)+"/credentials", b.token(b.a.org, domain.RoleAdmin), `{"label":"x","generate":true}`)
	var view credentialView
	made.into(t, &view)
	if at, ok := strings.CutPrefix(view.WebhookURL, b.url+"/v1/webhooks/"); !ok || b.hook(at, "", `{"id":"2"}`) != 202 {
		t.Errorf("the address of the answer does not work: %s", made.body)
	}
	if log := b.log.String(); strings.Contains(log, token) || strings.Contains(log, view.Secret) {
		t.Error("the log shows a token")
	}
}

// noSets is a sender whose keys cannot be had.
type noSets struct{}

func (noSets) Key(context.Context, string, string) (webhookauth.PublicKey, error) {
	return webhookauth.PublicKey{}, domain.E(domain.KindUnavailable, "down")
}

func (n noSets) Signer(ctx context.Context, url string, _ func(webhookauth.PublicKey) bool) (webhookauth.PublicKey, error) {
	return n.Key(ctx, url, "")
}

func TestAnIntegrationThatNeedsNoSecretIsCreatedWithoutOneAndMissingKeysAre503(t *testing.T) {
	t.Parallel()
	b, _ := hookServer(t, func(d *IntakeDeps) { d.KeySets = noSets{} })
	admin := b.token(b.a.org, domain.RoleAdmin)
	settings := strings.Replace(hookBearer, `{"scheme":"bearer"}`,
		`{"scheme":"jwt","jwt":{"algorithms":["RS256"],"issuer":"i","audience":"a","jwks_url":"https://crm.example/jwks"}}`, 1)
	got := b.do("POST", "/v1/integrations", admin, `{"name":"x","provider":"custom","direction":"import","resource_id":"`+string(b.a.resource)+`","settings":`+settings+`}`)
	var made struct{ ID string }
	got.into(t, &made)
	if got.status != 201 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	const token = "Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.e30.AAAA"
	if got := b.hook(made.ID, token, `{"id":"1"}`); got != 503 {
		t.Errorf("no keys: %d, want 503", got)
	}
	if got := b.hook(made.ID, "Bearer x", `{"id":"1"}`); got != 401 {
		t.Errorf("no token: %d, want 401", got)
	}
	b.do("POST", "/v1/integrations/"+made.ID+"/credentials", admin, `{"label":"x","secret":"0123456789abcdef"}`).problem(t, 422, "invalid")
	b.do("POST", "/v1/integrations/"+made.ID+"/credentials", admin, `{"label":"x","generate":true}`).problem(t, 422, "invalid")
}

func TestACredentialThatNoLongerFitsDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	intake := provider.Intake{Auth: webhookauth.Config{Scheme: webhookauth.Bearer}, Credentials: webhookauth.Plain(webhookauth.Secret(firstBearer))}
	stored := []store.SealedCredential{{WebhookCredential: domain.WebhookCredential{ID: "a"}, Secret: "short"}}
	for range 9 {
		stored = append(stored, store.SealedCredential{WebhookCredential: domain.WebhookCredential{ID: "b"}, Secret: "0123456789abcdef"})
	}
	all := withStored(intake, stored, webhookauth.Options{}, slog.New(slog.DiscardHandler))
	if len(all) != webhookauth.MaxSecrets || all[1].ID != "b" || len(intake.Credentials) != 1 {
		t.Errorf("%d credentials", len(all))
	}
	if _, err := webhookauth.New(intake.Auth, all, webhookauth.Options{}); err != nil {
		t.Error(err)
	}
}
