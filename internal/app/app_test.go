package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/demo"
	"github.com/wedsync/wedsync/internal/devstack"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/token"
	"github.com/wedsync/wedsync/internal/vault"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// log writes a stack's lines to the test's log.
type log struct{ t *testing.T }

func (l log) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

// TestTheDemoHoldsOnAFreshStack is the whole main job on real Postgres, real Temporal and a real CalDAV protocol.
func TestTheDemoHoldsOnAFreshStack(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts Postgres and Temporal")
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 18*time.Minute)
	defer cancel()
	cfg := app.Defaults()
	cfg.LogLevel = "error"
	err := app.Dev(ctx, app.DevOptions{HTTPAddr: "127.0.0.1:0", Ephemeral: true, Private: true, Config: cfg, Out: log{t},
		Serving: func(ctx context.Context, r app.Ready) error {
			story := demo.Run(ctx, demo.Target{HTTP: r.HTTP, AdminToken: r.AdminToken, TemporalUI: r.TemporalUI},
				demo.Options{Out: log{t}, Builtin: true, Patience: 2 * time.Minute})
			defer story.Close(ctx)
			return story.Err()
		}})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTemporalDownIsInvisibleToVendors takes webhooks while nothing listens at Temporal's address, starts Temporal and a
// worker, and waits until every acknowledged webhook is applied once.
func TestTemporalDownIsInvisibleToVendors(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts Postgres and Temporal")
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 18*time.Minute)
	defer cancel()
	say := func(line string) { t.Log(line) }
	database, err := devstack.Start(ctx, devstack.Options{Ephemeral: true, Private: true, SkipTemporal: true, Log: say, Postgres: devstack.PostgresOptions{Fast: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = database.Stop(context.WithoutCancel(ctx)) }()
	if _, err := store.Migrate(ctx, database.DatabaseURL()); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)

	cfg := app.Defaults()
	cfg.DatabaseURL, cfg.TemporalAddress, cfg.LogLevel, cfg.AllowPrivate = database.DatabaseURL(), fmt.Sprintf("127.0.0.1:%d", port), "error", true
	cfg.Keys = vault.GenerateKey()
	cfg.TokenKeys = "test:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32))
	core, err := app.Open(ctx, cfg, "server")
	if err != nil {
		t.Fatal(err)
	}
	defer core.Close()
	org := domain.NewID[domain.OrgID](time.Now())
	if err := core.Store.CreateOrganization(ctx, domain.Organization{ID: org, Name: "Studio", Zone: "UTC"}, "test"); err != nil {
		t.Fatal(err)
	}
	admin, err := cfg.Mint(token.Grant{Org: org, Role: domain.RoleAdmin, Subject: "test"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve, stopServer := context.WithCancel(ctx)
	defer stopServer()
	served := make(chan error, 1)
	go func() { served <- app.RunServer(serve, core, l) }()
	api := apiclient.New("http://"+l.Addr().String(), admin)
	defer api.Close()

	var resource, integration struct {
		ID  string `json:"id"`
		URL string `json:"webhook_url"`
	}
	mustCall(t, api, http.MethodPost, "/v1/resources", map[string]any{"name": "One", "kind": "person", "zone": "UTC"}, &resource)
	secret := "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("s"), 32))
	mustCall(t, api, http.MethodPost, "/v1/integrations", map[string]any{"name": "CRM", "provider": "custom", "direction": "import",
		"resource_id": resource.ID, "settings": crmsim.MinimalWebhookSettings(), "secrets": map[string]string{"webhook_secret": secret}}, &integration)

	const count = 30
	for n := range count {
		start := time.Now().UTC().AddDate(0, 1, n).Truncate(time.Hour)
		key := fmt.Sprintf("e%03d", n)
		body, err := json.Marshal(map[string]any{"id": key, "type": "event.created", "data": map[string]any{"id": key, "category": "consultation",
			"start": start.Format(time.RFC3339), "end": start.Add(time.Hour).Format(time.RFC3339), "zone": "UTC", "title": "Meeting"}})
		if err != nil {
			t.Fatal(err)
		}
		header, err := webhookauth.Sign(webhookauth.Config{Scheme: webhookauth.StandardWebhooks}, webhookauth.Secret(secret), "msg_"+key, time.Now(), body)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, integration.URL, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		req.Header.Set("Content-Type", "application/json")
		if status, err := api.Send(req, nil); status != http.StatusAccepted {
			t.Fatalf("webhook %d with Temporal down: %d %v; want 202", n, status, err)
		}
	}

	temporal, err := devstack.Start(ctx, devstack.Options{Ephemeral: true, Private: true, SkipPostgres: true, TemporalPort: port, Log: say,
		Temporal: devstack.TemporalOptions{SearchAttributes: contract.SearchAttributes(), InMemory: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = temporal.Stop(context.WithoutCancel(ctx)) }()
	work, stopWorker := context.WithCancel(ctx)
	worked := make(chan error, 1)
	go func() { worked <- app.RunWorker(work, core) }()
	defer func() {
		stopServer()
		stopWorker()
		for _, done := range []chan error{served, worked} {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}()

	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var bookings struct {
			Items []domain.Booking `json:"items"`
		}
		mustCall(t, api, http.MethodGet, "/v1/bookings?limit=200", nil, &bookings)
		if len(bookings.Items) > count {
			t.Fatalf("%d bookings from %d webhooks", len(bookings.Items), count)
		}
		if len(bookings.Items) == count {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%d of %d webhooks applied", len(bookings.Items), count)
		case <-tick.C:
		}
	}
}

func mustCall(t *testing.T, api *apiclient.Client, method, path string, in, out any) {
	t.Helper()
	if _, err := api.Do(t.Context(), method, path, in, out); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestEveryFaultOfTheSettingsIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	c := app.Defaults()
	c.DatabaseConns, c.MaxBody, c.LogFormat, c.Queues = 1, 3, "xml", []string{"none"}
	err := c.Validate(true)
	if err == nil {
		t.Fatal("no error")
	}
	for _, field := range []string{"database-url", "database-conns", "max-body", "log-format", "keys", "token-keys", "queues"} {
		if !strings.Contains(err.Error(), field+":") {
			t.Errorf("%s is not named in %q", field, err)
		}
	}
	c = app.Defaults()
	c.DatabaseURL, c.Keys = "postgres://localhost/wedsync", vault.GenerateKey()
	if err := c.Validate(false); err != nil {
		t.Errorf("a worker needs no token keys: %v", err)
	}
}

func TestADamagedOrMissingReadyFileIsOneLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := app.ReadReady(dir); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("missing: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ready.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := app.ReadReady(dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("damaged: %v", err)
	}
}
