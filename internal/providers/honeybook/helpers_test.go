package honeybook

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/providers/providertest"
)

const key = "relay-key-5be0a1f3c2d4"

var secrets = map[string]string{custom.SecretWebhook: key}

// mustOpen opens a connection in Europe/London.
func mustOpen(t testing.TB, settings string) any { return mustOpenIn(t, settings, providertest.Zone) }

func mustOpenIn(t testing.TB, settings, zone string) any {
	t.Helper()
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate, Now: func() time.Time { return providertest.Now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := Registration.Open(provider.Connection{Integration: domain.Integration{Settings: json.RawMessage(settings)}, Secrets: secrets, Zone: loc,
		HTTP: client, Now: func() time.Time { return providertest.Now }})
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func source(t testing.TB, settings string) provider.WebhookSource {
	t.Helper()
	src, ok := provider.As[provider.WebhookSource](mustOpen(t, settings))
	if !ok {
		t.Fatal("not a webhook source")
	}
	return src
}

func post(contentType, body string) provider.Webhook {
	return provider.Webhook{Header: http.Header{"Content-Type": {contentType}}, Body: []byte(body), ReceivedAt: providertest.Now}
}

func jsonPost(body string) provider.Webhook { return post("application/json", body) }
