package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/vault"
)

const uiOrigin = "http://localhost:8233"

func allowToken(r *http.Request) error {
	switch r.Header.Get("Authorization") {
	case "Bearer operator":
		return nil
	case "Bearer viewer":
		return domain.E(domain.KindForbidden, "secret reason")
	case "Bearer slow":
		return domain.E(domain.KindUnavailable, "secret reason")
	}
	return errors.New("secret reason")
}

func newServer(t *testing.T, ring *vault.Keyring, maxBody int64) *httptest.Server {
	t.Helper()
	h, err := NewHandler(New(ring), HandlerOptions{Authorize: allowToken, UIOrigin: uiOrigin, MaxBody: maxBody})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

func TestEndpointSpeaksTemporalsRemoteCodecProtocol(t *testing.T) {
	t.Parallel()
	ring := newRing(t)
	srv := newServer(t, ring, 0)
	remote := converter.NewRemotePayloadCodec(converter.RemotePayloadCodecOptions{
		Endpoint: srv.URL + "/codec",
		ModifyRequest: func(r *http.Request) error {
			r.Header.Set("Authorization", "Bearer operator")
			return nil
		},
	})
	plain, err := converter.GetDefaultDataConverter().ToPayloads("one", map[string]int{"two": 2})
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := remote.Encode(plain.Payloads)
	if err != nil {
		t.Fatal(err)
	}
	local, err := New(ring).Decode(sealed)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := remote.Decode(sealed)
	if err != nil {
		t.Fatal(err)
	}
	for i := range plain.Payloads {
		if !proto.Equal(plain.Payloads[i], local[i]) || !proto.Equal(plain.Payloads[i], opened[i]) {
			t.Errorf("payload %d changed", i)
		}
	}
}

func TestEndpointAnswersByTheTable(t *testing.T) {
	t.Parallel()
	ring := newRing(t)
	srv := newServer(t, ring, 2000)
	payload, err := DataConverter(ring).ToPayload("Perrin")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := protojson.Marshal(&commonpb.Payloads{Payloads: []*commonpb.Payload{payload}})
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := DataConverter(newRing(t)).ToPayload("Oduya")
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := protojson.Marshal(&commonpb.Payloads{Payloads: []*commonpb.Payload{foreign}})
	if err != nil {
		t.Fatal(err)
	}
	const asJSON = "application/json"
	for _, c := range []struct {
		name, method, path, token, origin, kind, body string
		want                                          int
	}{
		{"command line without origin", "POST", "/codec/decode", "operator", "", asJSON, string(sealed), 200},
		{"the UI", "POST", "/codec/decode", "operator", uiOrigin, asJSON + "; charset=utf-8", string(sealed), 200},
		{"nothing to decode", "POST", "/codec/decode", "operator", uiOrigin, asJSON, "{}", 200},
		{"fields of a later version", "POST", "/codec/decode", "operator", uiOrigin, asJSON, `{"later":1}`, 200},
		{"no token", "POST", "/codec/decode", "", uiOrigin, asJSON, string(sealed), 401},
		{"encode without token", "POST", "/codec/encode", "", uiOrigin, asJSON, "{}", 401},
		{"token without the right", "POST", "/codec/decode", "viewer", uiOrigin, asJSON, string(sealed), 403},
		{"permission not known", "POST", "/codec/decode", "slow", uiOrigin, asJSON, string(sealed), 503},
		{"another origin", "POST", "/codec/decode", "operator", "http://localhost:8234", asJSON, string(sealed), 403},
		{"origin with the same start", "POST", "/codec/decode", "operator", uiOrigin + ".example.com", asJSON, string(sealed), 403},
		{"null origin", "POST", "/codec/decode", "operator", "null", asJSON, string(sealed), 403},
		{"preflight from another origin", "OPTIONS", "/codec/decode", "", "https://example.com", "", "", 403},
		{"preflight", "OPTIONS", "/codec/decode", "", uiOrigin, "", "", 204},
		{"get", "GET", "/codec/decode", "operator", "", "", "", 405},
		{"another path", "POST", "/codec/other", "operator", "", asJSON, "{}", 404},
		{"a form", "POST", "/codec/decode", "operator", "", "text/plain", "{}", 415},
		{"no JSON", "POST", "/codec/decode", "operator", "", asJSON, "Perrin", 400},
		{"no base64", "POST", "/codec/decode", "operator", "", asJSON, `{"payloads":[{"data":"Perrin!"}]}`, 400},
		{"empty body", "POST", "/codec/decode", "operator", "", asJSON, "", 400},
		{"unknown key", "POST", "/codec/decode", "operator", "", asJSON, string(unknown), 400},
		{"too large", "POST", "/codec/decode", "operator", "", asJSON, `{"later":"` + strings.Repeat("x", 2000) + `"}`, 413},
		{"too large without token", "POST", "/codec/decode", "", "", asJSON, strings.Repeat("x", 5000), 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			req, err := http.NewRequestWithContext(t.Context(), c.method, srv.URL+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range map[string]string{"Origin": c.origin, "Content-Type": c.kind} {
				if value != "" {
					req.Header.Set(name, value)
				}
			}
			if c.token != "" {
				req.Header.Set("Authorization", "Bearer "+c.token)
			}
			res, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var body bytes.Buffer
			if _, err := body.ReadFrom(res.Body); err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != c.want {
				t.Fatalf("status %d, want %d: %s", res.StatusCode, c.want, &body)
			}
			allowed := res.Header.Get("Access-Control-Allow-Origin")
			if (allowed == uiOrigin) != (c.origin == uiOrigin) || (allowed != "" && allowed != uiOrigin) {
				t.Errorf("allows origin %q", allowed)
			}
			if res.Header.Get("Vary") != "Origin" || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("caches may keep it: %v", res.Header)
			}
			if c.want >= 400 {
				var p struct {
					Status int
					Title  string
					Detail string
				}
				if err := json.Unmarshal(body.Bytes(), &p); err != nil || p.Status != c.want || p.Title == "" || p.Detail == "" {
					t.Errorf("not a problem: %s", &body)
				}
				if res.Header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("content type %q", res.Header.Get("Content-Type"))
				}
				for _, word := range []string{"secret reason", "Perrin", "Oduya"} {
					if strings.Contains(body.String(), word) {
						t.Errorf("shows %q: %s", word, &body)
					}
				}
			}
		})
	}
}

func TestHandlerOptionsAreChecked(t *testing.T) {
	t.Parallel()
	c := New(newRing(t))
	for name, o := range map[string]HandlerOptions{
		"Authorize":                  {},
		"UIOrigin: want scheme://":   {Authorize: allowToken, UIOrigin: "*"},
		"UIOrigin: want scheme://h":  {Authorize: allowToken, UIOrigin: "http://localhost:8233/"},
		"UIOrigin: want scheme://ho": {Authorize: allowToken, UIOrigin: "null"},
		"MaxBody: -1":                {Authorize: allowToken, MaxBody: -1},
	} {
		if _, err := NewHandler(c, o); err == nil || !strings.Contains(err.Error(), name) || domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewHandler(nil, HandlerOptions{Authorize: allowToken}); err == nil {
		t.Error("accepted no codec")
	}
}
