package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// TestDeadLettersOfAWrongMappingAreReplayedOnceItIsMended makes dead letters by a wrong mapping, mends it, finds out by a
// dry run what a replay would do, replays, and sees each booking applied exactly once.
func TestDeadLettersOfAWrongMappingAreReplayedOnceItIsMended(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts Postgres and Temporal")
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cfg := app.Defaults()
	cfg.LogLevel = "error"
	err := app.Dev(ctx, app.DevOptions{HTTPAddr: "127.0.0.1:0", Ephemeral: true, Private: true, Config: cfg, Out: log{t},
		Serving: func(ctx context.Context, r app.Ready) error {
			api := apiclient.New(r.HTTP, r.AdminToken)
			defer api.Close()
			replayStory(ctx, t, api)
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
}

type listOf[T any] struct {
	Items []T `json:"items"`
}

func replayStory(ctx context.Context, t *testing.T, api *apiclient.Client) {
	t.Helper()
	await := func(what string, ok func() bool) {
		t.Helper()
		limit, stop := context.WithTimeout(ctx, 2*time.Minute)
		defer stop()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for !ok() {
			select {
			case <-limit.Done():
				t.Fatalf("waited in vain for %s", what)
			case <-tick.C:
			}
		}
	}
	var resource, integration struct {
		ID      string `json:"id"`
		URL     string `json:"webhook_url"`
		Version int64  `json:"version"`
	}
	mustCall(t, api, http.MethodPost, "/v1/resources", map[string]any{"name": "One", "kind": "person", "zone": "UTC"}, &resource)
	secret := "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("s"), 32))
	right := crmsim.MinimalWebhookSettings()
	wrong := json.RawMessage(bytes.ReplaceAll(right, []byte("body.data.start"), []byte("body.data.begins")))
	if bytes.Equal(right, wrong) {
		t.Fatal("the settings have no start to be spoilt")
	}
	mustCall(t, api, http.MethodPost, "/v1/integrations", map[string]any{"name": "CRM", "provider": "custom", "direction": "import",
		"resource_id": resource.ID, "settings": wrong, "secrets": map[string]string{"webhook_secret": secret}}, &integration)
	const count = 12
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
			t.Fatalf("webhook %d: %d %v", n, status, err)
		}
	}
	deliveries := func(query string) []domain.Delivery {
		var out listOf[domain.Delivery]
		mustCall(t, api, http.MethodGet, "/v1/deliveries?limit=200&"+query, nil, &out)
		return out.Items
	}
	bookings := func() []domain.Booking {
		var out listOf[domain.Booking]
		mustCall(t, api, http.MethodGet, "/v1/bookings?limit=200", nil, &out)
		return out.Items
	}
	await("the dead letters", func() bool { return len(deliveries("state=dead")) == count })
	var one struct {
		domain.Delivery
		History []domain.DeliveryAttempt `json:"history"`
	}
	mustCall(t, api, http.MethodGet, "/v1/deliveries/"+string(deliveries("state=dead")[0].ID), nil, &one)
	if len(one.History) != 1 || one.History[0].Outcome != domain.DeliveryDead || one.History[0].Worker == "" || one.Reason == "" {
		t.Errorf("a dead letter's history: %+v", one)
	}

	mustCall(t, api, http.MethodGet, "/v1/integrations/"+integration.ID, nil, &integration)
	mustCall(t, api, http.MethodPatch, "/v1/integrations/"+integration.ID, map[string]any{"settings": right, "version": integration.Version}, nil)
	replay := func(dry bool) domain.Replay {
		var r domain.Replay
		mustCall(t, api, http.MethodPost, "/v1/replays", map[string]any{"filter": map[string]any{"state": "dead", "integration": integration.ID},
			"dry_run": dry, "rate": 1000, "reason": "mapping mended"}, &r)
		await("the end of a replay", func() bool {
			mustCall(t, api, http.MethodGet, "/v1/replays/"+string(r.ID), nil, &r)
			return r.State == domain.ReplayDone
		})
		return r
	}
	dry := replay(true)
	if dry.Total != count || dry.Tally.Outcomes[domain.DeliveryApplied] != count || dry.Tally.Effects["created"] != count || len(dry.Samples) != count {
		t.Errorf("dry run %+v", dry)
	}
	if n := len(bookings()); n != 0 || len(deliveries("state=dead")) != count {
		t.Fatalf("the dry run left %d bookings and %d dead letters", n, len(deliveries("state=dead")))
	}
	if r := replay(false); r.Replayed != count {
		t.Errorf("replay %+v", r)
	}
	await("every booking", func() bool { return len(deliveries("state=applied")) == count })
	was := bookings()
	if len(was) != count || len(deliveries("state=dead")) != 0 || len(deliveries("entity=e003&state=applied")) != 1 {
		t.Fatalf("%d bookings, %d dead letters", len(was), len(deliveries("state=dead")))
	}

	// Everything once more, dead letters and copies alike: one copy of each, and no booking changes.
	var again domain.Replay
	mustCall(t, api, http.MethodPost, "/v1/replays", map[string]any{"all": true, "rate": 1000}, &again)
	await("the second replay", func() bool {
		var now struct {
			domain.Replay
			Deliveries map[domain.DeliveryState]int `json:"deliveries"`
		}
		mustCall(t, api, http.MethodGet, "/v1/replays/"+string(again.ID), nil, &now)
		again = now.Replay
		return again.State == domain.ReplayDone && now.Deliveries[domain.DeliveryApplied]+now.Deliveries[domain.DeliveryIgnored] == count
	})
	now := bookings()
	if again.Replayed != count || again.Tally.Skipped[domain.SkipRepeated] != count || len(now) != count {
		t.Errorf("second replay %+v, %d bookings", again, len(now))
	}
	for n := range min(len(was), len(now)) {
		if was[n].ID != now[n].ID || was[n].Version != now[n].Version {
			t.Errorf("booking %d was version %d and is %d", n, was[n].Version, now[n].Version)
		}
	}
}
