package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// greeting is an answer to a handshake, as the sender sees it.
type greeting struct {
	Status     int
	Type, Body string
}

func (r *intakeRig) greet(t *testing.T, req *http.Request) greeting {
	t.Helper()
	e := echo.New()
	e.GET("/v1/webhooks/:integration", r.Intake.Handle)
	e.POST("/v1/webhooks/:integration", r.Intake.Handle)
	recorder := httptest.NewRecorder()
	e.ServeHTTP(recorder, req)
	w := recorder.Result()
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if w.StatusCode == http.StatusOK && w.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Error("the type of the answer may be guessed")
	}
	return greeting{w.StatusCode, w.Header.Get("Content-Type"), string(body)}
}

// withChallenge makes an integration with a scheme and a handshake.
func withChallenge(verify string) func(*store.IntakeRecord) {
	return func(r *store.IntakeRecord) {
		text := string(r.Integration.Settings)
		start := strings.Index(text, `"verify"`)
		end := start + strings.Index(text[start:], "}") + 1
		r.Integration.Settings = []byte(text[:start] + `"verify":` + verify + text[end:])
		r.Secrets["webhook_verify_token"] = "a-verify-token-made-up"
	}
}

func TestHandshakesThatAreNotSignedAreAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{})
	graph := rig.add(withChallenge(`{"scheme":"standard-webhooks","challenge":"microsoft-graph"}`))
	meta := rig.add(withChallenge(`{"scheme":"github","challenge":"meta"}`))
	x := rig.add(withChallenge(`{"scheme":"hmac","header":"X-Twitter-Webhooks-Signature","encoding":"base64","prefix":"sha256=","challenge":"x"}`))
	mac := hmac.New(sha256.New, []byte(intakeSecret))
	mac.Write([]byte("Y2hhbGxlbmdl"))
	crc := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	const plain, jsonType = "text/plain; charset=utf-8", "application/json"
	for name, c := range map[string]struct {
		method, path string
		want         greeting
	}{
		"Graph": {"POST", string(graph) + "?validationToken=" + url.QueryEscape("Validation: Testing client application reachability"),
			greeting{200, plain, "Validation: Testing client application reachability"}},
		"Graph with a script": {"POST", string(graph) + "?validationToken=" + url.QueryEscape("<script>alert(1)</script>"),
			greeting{200, plain, "&lt;script&gt;alert(1)&lt;/script&gt;"}},
		"Meta": {"GET", string(meta) + "?hub.mode=subscribe&hub.verify_token=a-verify-token-made-up&hub.challenge=1158201444",
			greeting{200, plain, "1158201444"}},
		"X": {"GET", string(x) + "?crc_token=Y2hhbGxlbmdl", greeting{200, jsonType, `{"response_token":"sha256=` + crc + `"}`}},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, "http://example.com/v1/webhooks/"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, rig.greet(t, req)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
	for name, c := range map[string]struct {
		method, path string
		status       int
	}{
		"GET of an integration without a handshake":    {"GET", string(rig.id) + "?crc_token=abc", 404},
		"GET without a query":                          {"GET", string(meta), 404},
		"Meta with another token":                      {"GET", string(meta) + "?hub.mode=subscribe&hub.verify_token=another-token-made-up&hub.challenge=1", 404},
		"Meta without a token":                         {"GET", string(meta) + "?hub.mode=subscribe&hub.challenge=1", 404},
		"Meta with a page as the challenge":            {"GET", string(meta) + "?hub.mode=subscribe&hub.verify_token=a-verify-token-made-up&hub.challenge=%3Cb%3E", 404},
		"Meta's by POST":                               {"POST", string(meta) + "?hub.mode=subscribe&hub.verify_token=a-verify-token-made-up&hub.challenge=1", 415},
		"Graph's by GET":                               {"GET", string(graph) + "?validationToken=x", 404},
		"Graph's for an integration of another sender": {"POST", string(meta) + "?validationToken=x", 415},
		"Graph's of 2 KiB":                             {"POST", string(graph) + "?validationToken=" + strings.Repeat("x", 2048), 415},
		"an integration that does not exist":           {"GET", "01890000-0000-7000-8000-000000000000?crc_token=abc", 404},
		"a body to be signed as the token":             {"GET", string(x) + "?crc_token=" + url.QueryEscape(`{"booking":1}`), 404},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, "http://example.com/v1/webhooks/"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := rig.greet(t, req); got.Status != c.status || strings.Contains(got.Body, "script") {
			t.Errorf("%s: %+v, want %d", name, got, c.status)
		}
	}
	if n := rig.stored(); n != 0 {
		t.Errorf("%d handshakes were stored", n)
	}
}

func TestHandshakesThatAreSignedAreAnsweredForGenuineRequestsOnly(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{})
	slack := rig.add(withChallenge(`{"scheme":"slack","challenge":"slack"}`))
	zoom := rig.add(withChallenge(`{"scheme":"zoom","challenge":"zoom"}`))
	mac := hmac.New(sha256.New, []byte(intakeSecret))
	mac.Write([]byte("plain-token"))
	for name, c := range map[string]struct {
		cfg        webhookauth.Config
		path, body string
		want       greeting
	}{
		"Slack": {webhookauth.Config{Scheme: webhookauth.Slack}, string(slack), `{"token":"x","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}`,
			greeting{200, "application/json", `{"challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}`}},
		"Zoom": {webhookauth.Config{Scheme: webhookauth.Zoom}, string(zoom), `{"payload":{"plainToken":"plain-token"},"event_ts":1,"event":"endpoint.url_validation"}`,
			greeting{200, "application/json", fmt.Sprintf(`{"plainToken":"plain-token","encryptedToken":"%s"}`, hex.EncodeToString(mac.Sum(nil)))}},
	} {
		h, err := webhookauth.Sign(c.cfg, webhookauth.Secret(intakeSecret), "", *rig.now.Load(), []byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		request := func() *http.Request {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://example.com/v1/webhooks/"+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			return req
		}
		genuine, forged := request(), request()
		for k, v := range h {
			genuine.Header[k] = v
		}
		if diff := cmp.Diff(c.want, rig.greet(t, genuine)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
		if got := rig.greet(t, forged); got.Status != 401 || strings.Contains(got.Body, "plain-token") {
			t.Errorf("%s without a signature: %+v", name, got)
		}
	}
	if n := rig.stored(); n != 0 {
		t.Errorf("%d handshakes were stored", n)
	}
}
