package custom

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// webhookWith adds members to the webhook part of settings.
func webhookWith(t *testing.T, members string) json.RawMessage {
	t.Helper()
	var s map[string]map[string]json.RawMessage
	if err := json.Unmarshal(hookSettings(t, nil), &s); err != nil {
		t.Fatal(err)
	}
	hook := s["webhook"]
	if err := json.Unmarshal([]byte(members), &hook); err != nil { // into what is there
		t.Fatal(err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRepeatsAreKnownByWhatTheSettingsSay(t *testing.T) {
	t.Parallel()
	type key struct {
		Header, Path string
		Hash         bool
		For          time.Duration
	}
	for members, want := range map[string]key{
		`{}`:                           {},
		`{"dedupe_header":"X-Id"}`:     {Header: "X-Id"},
		`{"dedupe":{"header":"X-Id"}}`: {Header: "X-Id"},
		`{"dedupe":{"hash":true}}`:     {Hash: true},
		`{"dedupe":{"days":30}}`:       {For: 30 * 24 * time.Hour},
		`{"dedupe_header":"X-Id","dedupe":{"days":400}}`:  {Header: "X-Id", For: 400 * 24 * time.Hour},
		`{"dedupe":{"body_path":"/data/id","days":3650}}`: {Path: "/data/id", For: 3650 * 24 * time.Hour},
	} {
		i := openHooks(t, webhookWith(t, members), time.UTC).Intake()
		if diff := cmp.Diff(want, key{i.DedupeHeader, i.DedupePath, i.DedupeHash, i.DedupeFor}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", members, diff)
		}
	}
	for settings, hints := range map[string]bool{
		`{"webhook":{"verify":{"scheme":"bearer"}}}`:                      false,
		`{"webhook":{"verify":{"scheme":"bearer"},"fetch_back":true}}`:    true,
		`{"webhook":{"verify":{"scheme":"path-token"}}}`:                  true,
		`{"webhook":{"verify":{"scheme":"path-token"},"selective":true}}`: true,
	} {
		settings = `{"base_url":"https://desk.example","auth":{"kind":"none"},"read":{"path":"/e/${entry.external_id}"},
			"mapping":{"external_id":"item.id","category":"'vendor'","start":"item.start","end":"item.end"},` + settings[1:]
		opened, err := open(provider.Connection{Integration: domain.Integration{Settings: json.RawMessage(settings)}, Zone: time.UTC,
			Secrets: map[string]string{SecretWebhook: "Zx8fQ2mN5tRk7Wv1Yb3CdEgH"}})
		if err != nil {
			t.Fatal(err)
		}
		if source, ok := provider.As[provider.WebhookSource](opened); !ok || source.Intake().Hints != hints {
			t.Errorf("%s: want hints %t", settings, hints)
		}
	}
	for members, field := range map[string]string{
		`{"dedupe":{"header":"X-Id","hash":true}}`:              "settings.webhook.dedupe",
		`{"dedupe_header":"X-Id","dedupe":{"body_path":"/id"}}`: "settings.webhook.dedupe",
		`{"dedupe":{"header":"a b"}}`:                           "settings.webhook.dedupe.header",
		`{"dedupe":{"body_path":"id"}}`:                         "settings.webhook.dedupe.body_path",
		`{"dedupe":{"days":29}}`:                                "settings.webhook.dedupe.days",
		`{"dedupe":{"days":3651}}`:                              "settings.webhook.dedupe.days",
		`{"content_encoding":"br"}`:                             "settings.webhook.content_encoding",
	} {
		err := Registration.Validate(webhookWith(t, members), testSecrets)
		if domain.KindOf(err) != domain.KindInvalid || !strings.Contains(err.Error(), field+":") {
			t.Errorf("%s: %v; want a fault of %s", members, err, field)
		}
	}
}

func TestACompressedDeliveryIsReadOnlyWhereDeclared(t *testing.T) {
	t.Parallel()
	const plain = `{"id":"a","start":"2027-06-05","end":"2027-06-06"}`
	var body bytes.Buffer
	w := gzip.NewWriter(&body)
	if _, err := w.Write([]byte(plain)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	d := provider.Webhook{Header: http.Header{"Content-Encoding": {"gzip"}}, Body: body.Bytes(), ReceivedAt: received}
	got, err := openHooks(t, webhookWith(t, `{"content_encoding":"gzip"}`), time.UTC).Decode(t.Context(), d)
	if err != nil || len(got.Changes) != 1 || got.Changes[0].ExternalID != "a" {
		t.Errorf("declared: %+v, %v", got, err)
	}
	if _, err := openHooks(t, webhookWith(t, `{}`), time.UTC).Decode(t.Context(), d); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("not declared: %v; want it invalid", err)
	}
}
