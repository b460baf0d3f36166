package honeybook

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/honeybooksim"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// verified runs a step of a studio and returns what the intake says of its post, and the post.
func verified(t *testing.T, intake provider.Intake, o honeybooksim.Options, pathToken string) (webhookauth.Result, error) {
	t.Helper()
	o.Now = func() time.Time { return providertest.Now }
	verifier, err := webhookauth.New(intake.Auth, intake.Credentials, webhookauth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var result webhookauth.Result
	var reason error
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		result, reason = verifier.Verify(context.WithoutCancel(r.Context()), webhookauth.Request{Header: r.Header, Method: r.Method, URL: r.URL.String(), Body: body, PathToken: pathToken}, providertest.Now)
	}))
	defer srv.Close()
	studio := honeybooksim.New(o)
	studio.Client("Marigold", "marigold@example.com")
	if _, err := studio.Deliver(t.Context(), srv.Client(), srv.URL); err != nil {
		t.Fatal(err)
	}
	return result, reason
}

func TestStepsProveThemselvesByEveryScheme(t *testing.T) {
	t.Parallel()
	const whsec, other = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
	for name, c := range map[string]struct{ verify, secret, wrong string }{
		"key in a header":   {`null`, key, "another-key-0123456789"},
		"bearer":            {`{"scheme":"bearer"}`, key, "another-key-0123456789"},
		"basic":             {`{"scheme":"basic"}`, "studio:a-long-password", "studio:another-password"},
		"hmac":              {`{"scheme":"hmac","header":"X-Signature","timestamp_header":"X-Time","content":"{timestamp}.{body}"}`, key, "another-key-0123456789"},
		"hmac of the body":  {`{"scheme":"hmac-sha256","header":"X-Signature","encoding":"base64"}`, key, "another-key-0123456789"},
		"standard webhooks": {`{"scheme":"standard-webhooks"}`, whsec, other},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opened, err := Registration.Open(provider.Connection{Integration: domain.Integration{Settings: json.RawMessage(`{"verify":` + c.verify + `}`)},
				Secrets: map[string]string{custom.SecretWebhook: c.secret}})
			if err != nil {
				t.Fatal(err)
			}
			src, _ := provider.As[provider.WebhookSource](opened)
			intake := src.Intake()
			if got, reason := verified(t, intake, honeybooksim.Options{Auth: intake.Auth, Secret: webhookauth.Secret(c.secret)}, ""); reason != nil || got.Hint {
				t.Errorf("a genuine post: %+v, %v", got, reason)
			}
			if _, reason := verified(t, intake, honeybooksim.Options{Auth: intake.Auth, Secret: webhookauth.Secret(c.wrong)}, ""); reason == nil {
				t.Error("a post with another secret is taken")
			}
			if _, reason := verified(t, intake, honeybooksim.Options{}, ""); reason == nil {
				t.Error("a post without any proof is taken")
			}
		})
	}
}

func TestPathTokenIsAHintOnly(t *testing.T) {
	t.Parallel()
	const token = "q7Zr3vXk9LmT2nWb5yHc8D"
	opened, err := Registration.Open(provider.Connection{Integration: domain.Integration{Settings: json.RawMessage(`{"verify":{"scheme":"path-token"}}`)},
		Secrets: map[string]string{custom.SecretWebhook: token}})
	if err != nil {
		t.Fatal(err)
	}
	src, _ := provider.As[provider.WebhookSource](opened)
	if got, reason := verified(t, src.Intake(), honeybooksim.Options{}, token); reason != nil || !got.Hint {
		t.Errorf("%+v, %v", got, reason)
	}
	if _, reason := verified(t, src.Intake(), honeybooksim.Options{}, token[1:]); reason == nil {
		t.Error("another address is taken")
	}
}
