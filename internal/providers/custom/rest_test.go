package custom_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/oauthsim"
	"github.com/wedsync/wedsync/internal/sim/restsim"
)

func decodeCursor(s string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	return string(b), err
}

func readAll(t testing.TB, r *http.Request) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// openAt opens settings with a clock that stands, and the tokens of a consent.
func openAt(t testing.TB, settings []byte, secrets map[string]string, now time.Time, tokens provider.TokenSource) any {
	t.Helper()
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	opened, err := custom.Registration.Open(provider.Connection{Integration: domain.Integration{Settings: settings}, Secrets: secrets, HTTP: client,
		Now: func() time.Time { return now }, Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// oauthRest is a restsim behind an oauthsim.
func oauthRest(t testing.TB, grant, clientAuth string, tokens provider.TokenSource) (*oauthsim.Server, provider.Puller) {
	t.Helper()
	auth := oauthsim.New(oauthsim.Options{ClientID: "client", ClientSecret: "open-sesame", Now: func() time.Time { return providertest.Now }})
	login := httptest.NewServer(auth)
	t.Cleanup(login.Close)
	sim := restsim.New(restsim.Options{Valid: auth.Valid, Now: func() time.Time { return providertest.Now }})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	settings := restSettings(t, srv.URL, restsim.Page, true, func(_, all map[string]any) {
		a := map[string]any{"kind": "oauth2", "grant": grant, "client_id": "client", "token_url": login.URL + "/token", "scopes": []string{"read"}}
		if clientAuth != "" {
			a["client_auth"] = clientAuth
		}
		if grant == "authorization_code" {
			a["auth_url"] = login.URL + "/authorize"
		}
		all["auth"] = a
	})
	return auth, must[provider.Puller](t, openAt(t, settings, map[string]string{custom.SecretClient: "open-sesame"}, providertest.Now, tokens))
}

func TestClientCredentialsGiveOneTokenForManyRequests(t *testing.T) {
	t.Parallel()
	for _, clientAuth := range []string{"", "body", "basic"} {
		auth, p := oauthRest(t, "client_credentials", clientAuth, nil)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := p.Pull(t.Context(), ""); err != nil {
					t.Error(clientAuth, err)
				}
			})
		}
		wg.Wait()
		if n := auth.Counts().Own; n != 1 {
			t.Errorf("%q: %d tokens", clientAuth, n)
		}
	}
}

func TestRefusedClientAsksForAReconnectAndAFaultOfTheLoginDoesNot(t *testing.T) {
	t.Parallel()
	auth, p := oauthRest(t, "client_credentials", "", nil)
	for _, c := range []struct {
		fault oauthsim.Fault
		want  domain.ErrorKind
	}{
		{oauthsim.Fault{Status: 401, Body: `{"error":"invalid_client"}`}, domain.KindUnauthenticated},
		{oauthsim.Fault{Status: 503}, domain.KindUnavailable},
		{oauthsim.Fault{Status: 429, RetryAfter: "9"}, domain.KindRateLimited},
		{oauthsim.Fault{Status: 400, Body: `{"error":"invalid_scope"}`}, domain.KindPermanent},
		{oauthsim.Fault{Status: 200, Body: `{}`}, domain.KindUnavailable},
	} {
		auth.Break(c.fault)
		if _, err := p.Pull(t.Context(), ""); domain.KindOf(err) != c.want || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%+v: %v of kind %s", c.fault, err, domain.KindOf(err))
		}
	}
	if _, err := p.Pull(t.Context(), ""); err != nil {
		t.Error(err)
	}
}

// granted is a token source as package connect gives it.
type granted struct {
	tokens  []string
	refused []string
}

func (g *granted) Token(context.Context) (string, error) {
	if len(g.tokens) == 0 {
		return "", domain.E(domain.KindUnauthenticated, "gone")
	}
	return g.tokens[0], nil
}

func (g *granted) Refused(token string) {
	g.refused = append(g.refused, token)
	g.tokens = g.tokens[1:]
}

func TestTokenThatIsRefusedIsReplacedOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tokens []string
		want   domain.ErrorKind
		used   int
	}{{[]string{"old", "good"}, "", 1}, {[]string{"old", "older", "good"}, domain.KindUnauthenticated, 2}, {nil, domain.KindUnauthenticated, 0}} {
		g := &granted{tokens: c.tokens}
		sim := restsim.New(restsim.Options{Token: "good"})
		srv := httptest.NewServer(sim)
		t.Cleanup(srv.Close)
		settings := restSettings(t, srv.URL, restsim.Page, true, func(l, all map[string]any) {
			l["method"], l["body"] = "GET", nil
			all["auth"] = map[string]any{"kind": "oauth2", "grant": "authorization_code", "client_id": "c", "token_url": srv.URL + "/t", "auth_url": srv.URL + "/a"}
			delete(l, "body")
		})
		p := must[provider.Puller](t, openAt(t, settings, map[string]string{custom.SecretClient: "secret"}, providertest.Now, g))
		if _, err := p.Pull(t.Context(), ""); domain.KindOf(err) != c.want || len(g.refused) != c.used {
			t.Errorf("%v: %v, refused %v", c.tokens, err, g.refused)
		}
	}
}

func TestConsentIsAskedForByAuthorizationCodeAlone(t *testing.T) {
	t.Parallel()
	reg := custom.Registration
	for settings, want := range map[string]bool{
		`{"auth":{"kind":"oauth2","grant":"authorization_code","client_id":"c","auth_url":"https://a.example/x","token_url":"https://T.example/t","scopes":["s"]}}`: true,
		`{"auth":{"kind":"oauth2","grant":"client_credentials","client_id":"c","token_url":"https://t.example/t"}}`:                                                 false,
		`{"auth":{"kind":"bearer"}}`: false, `{}`: false, `[]`: false, ``: false,
	} {
		if got := reg.Consents([]byte(settings)); got != want {
			t.Errorf("%s: %t", settings, got)
		}
		if !want {
			continue
		}
		at, err := reg.OAuth([]byte(settings), true)
		if err != nil || at.AuthURL != "https://a.example/x" || len(at.Scopes) != 1 {
			t.Errorf("%+v %v", at, err)
		}
		own, err := reg.OAuthClient([]byte(settings), map[string]string{custom.SecretClient: "s"})
		if err != nil || own.ID != "c" || own.Secret != "s" || strings.Join(own.Hosts, " ") != "a.example t.example" {
			t.Errorf("hosts %v, %v", own.Hosts, err)
		}
		if _, err := reg.OAuthClient([]byte(settings), nil); domain.KindOf(err) != domain.KindInvalid {
			t.Error("a client without a secret is taken")
		}
	}
}

func TestRulesOfErrorsDecideBeforeTheStatus(t *testing.T) {
	t.Parallel()
	rules := []map[string]any{
		{"status": []int{200}, "when": "body.?error.?code.orValue('') == 'quota'", "kind": "rate_limited", "retry_after": "body.error.retry_in"},
		{"status": []int{404}, "when": "body.code == 'maintenance'", "kind": "unavailable"},
		{"status": []int{400}, "when": "body.code == 'gone' && status == 400", "kind": "not_found"},
		{"when": "headers['x-why'] == 'key'", "kind": "unauthenticated"},
	}
	status, body, why := 200, "", ""
	url := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Why", why)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
	opened := openWith(t, restSettings(t, url, restsim.Page, true, func(_, all map[string]any) { all["errors"] = rules }), map[string]string{custom.SecretToken: "t"})
	read := must[provider.Reader](t, opened)
	for _, c := range []struct {
		status    int
		body, why string
		want      domain.ErrorKind
		wait      time.Duration
	}{
		{200, `{"error":{"code":"quota","retry_in":9,"name":"Marigold"}}`, "", domain.KindRateLimited, 9 * time.Second},
		{404, `{"code":"maintenance"}`, "", domain.KindUnavailable, 0},
		{404, `{}`, "", domain.KindNotFound, 0},
		{404, `<html>`, "", domain.KindNotFound, 0},
		{400, `{"code":"gone"}`, "", domain.KindNotFound, 0},
		{400, `{"code":"other"}`, "", domain.KindPermanent, 0},
		{400, `{}`, "key", domain.KindUnauthenticated, 0},
		{503, ``, "", domain.KindUnavailable, 0},
	} {
		status, body, why = c.status, c.body, c.why
		_, err := read.Read(t.Context(), "e")
		if domain.KindOf(err) != c.want || domain.RetryAfter(err) != c.wait || strings.Contains(err.Error(), "Marigold") {
			t.Errorf("%d %s: %v of kind %s, wait %s", c.status, c.body, err, domain.KindOf(err), domain.RetryAfter(err))
		}
	}
}

func TestLimitsPutRequestsOffWithTheTimeToWait(t *testing.T) {
	t.Parallel()
	r := setupRest(t, restsim.Options{}, func(_, all map[string]any) {
		all["limits"] = map[string]any{"requests": 1, "per_seconds": 3600, "burst": 2}
	})
	p := must[provider.Puller](t, r.opened)
	for n := range 3 {
		_, err := p.Pull(t.Context(), "")
		if n < 2 {
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		if wait := domain.RetryAfter(err); domain.KindOf(err) != domain.KindRateLimited || wait < 30*time.Minute || wait > time.Hour {
			t.Errorf("request %d: %v, wait %s", n+1, err, wait)
		}
	}
	if n := len(r.sim.Asked()); n != 2 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestConcurrentBoundHolds(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now, most := 0, 0
	release := make(chan struct{})
	url := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		<-release
		mu.Lock()
		now--
		mu.Unlock()
		_, _ = w.Write([]byte(`{"entries":[],"total":0}`))
	})
	p := must[provider.Puller](t, openWith(t, restSettings(t, url, restsim.Page, true, func(_, all map[string]any) {
		all["limits"] = map[string]any{"requests": 1000, "burst": 100, "concurrent": 2}
	}), map[string]string{custom.SecretToken: "t"}))
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if _, err := p.Pull(t.Context(), ""); err != nil {
				t.Error(err)
			}
		})
	}
	for range 6 {
		release <- struct{}{}
	}
	wg.Wait()
	if most > 2 {
		t.Errorf("%d requests at once", most)
	}
}

func TestThinDeliveriesAreReadBack(t *testing.T) {
	t.Parallel()
	sim := restsim.New(restsim.Options{Token: restToken})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	e := sim.Add(restsim.Entry{Kind: "wedding", State: "booked", Starts: "2027-06-05", Ends: "2027-06-06"})
	settings := restSettings(t, srv.URL, restsim.Page, true, func(_, all map[string]any) {
		all["webhook"] = map[string]any{"verify": map[string]any{"scheme": "standard-webhooks"}, "fetch_back": true, "items": "body.ids", "mapping": map[string]any{"external_id": "item"}}
	})
	hook := must[provider.WebhookSource](t, openWith(t, settings, map[string]string{custom.SecretToken: restToken, custom.SecretWebhook: webhookSecret}))
	got, err := hook.Decode(t.Context(), provider.Webhook{Header: http.Header{}, Body: []byte(`{"ids":["` + e.ID + `","en99999","` + e.ID + `"]}`), ReceivedAt: providertest.Now})
	if err != nil || len(got.Changes) != 2 || got.Changes[0].Op != domain.OpUpsert || got.Changes[0].When.Kind != domain.TimeAllDay || got.Changes[1].Op != domain.OpRemove {
		t.Errorf("%+v, %v", got, err)
	}
	sim.Break(restsim.FaultServerError, 1)
	_, err = hook.Decode(t.Context(), provider.Webhook{Header: http.Header{}, Body: []byte(`{"ids":["` + e.ID + `"]}`), ReceivedAt: providertest.Now})
	if domain.KindOf(err) != domain.KindUnavailable {
		t.Errorf("while the system is down: %v", err)
	}
}

func TestProbeHoldsTheAnswerAgainstWhatIsExpected(t *testing.T) {
	t.Parallel()
	body := ""
	url := answering(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
	opened := openWith(t, restSettings(t, url, restsim.Page, true, func(_, all map[string]any) {
		all["probe"] = map[string]any{"path": "/me", "expect": "body.ok"}
	}), map[string]string{custom.SecretToken: "t"})
	for b, want := range map[string]domain.ErrorKind{`{"ok":true}`: "", `{"ok":false}`: domain.KindUnavailable, `{}`: domain.KindUnavailable, ``: domain.KindUnavailable} {
		body = b
		if err := must[provider.Prober](t, opened).Probe(t.Context()); domain.KindOf(err) != want {
			t.Errorf("%s: %v", b, err)
		}
	}
}

func TestNewSettingsAreRefusedWithTheirPlace(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(list, all map[string]any){
		"settings.list.paging.kind":           func(l, _ map[string]any) { l["paging"] = map[string]any{"kind": "scroll"} },
		"settings.list.paging.more":           func(l, _ map[string]any) { l["paging"] = map[string]any{"kind": "hal", "more": "true"} },
		"settings.list.paging.first":          func(l, _ map[string]any) { l["paging"] = map[string]any{"kind": "page", "first": 7} },
		"settings.list.next":                  func(l, _ map[string]any) { l["paging"] = map[string]any{"kind": "cursor"} },
		"settings.list.incremental.watermark": func(l, _ map[string]any) { l["incremental"] = map[string]any{"watermark": "item.x", "token": "body.t"} },
		"settings.list.incremental.format":    func(l, _ map[string]any) { l["incremental"] = map[string]any{"watermark": "item.x", "format": "iso"} },
		"settings.list.incremental.full_every_hours": func(l, _ map[string]any) {
			l["incremental"] = map[string]any{"token": "body.t", "full_every_hours": -1}
		},
		"settings.list.incremental.order": func(l, _ map[string]any) {
			l["incremental"] = map[string]any{"token": "body.t", "order": "newest_first"}
		},
		"settings.limits.requests": func(_, a map[string]any) { a["limits"] = map[string]any{"requests": 0} },
		"settings.errors[0].kind": func(_, a map[string]any) {
			a["errors"] = []any{map[string]any{"status": []int{500}, "kind": "not_found"}}
		},
		"settings.errors[0].when": func(_, a map[string]any) {
			a["errors"] = []any{map[string]any{"status": []int{200}, "kind": "permanent"}}
		},
		"settings.errors[0].retry_after": func(_, a map[string]any) {
			a["errors"] = []any{map[string]any{"kind": "permanent", "retry_after": "1"}}
		},
		"settings.auth.grant": func(_, a map[string]any) {
			a["auth"] = map[string]any{"kind": "oauth2", "client_id": "c", "token_url": "https://t.example/"}
		},
		"settings.auth.token_url": func(_, a map[string]any) {
			a["auth"] = map[string]any{"kind": "oauth2", "grant": "client_credentials", "client_id": "c", "token_url": "http://t.example/"}
		},
		"settings.auth.revoke_url": func(_, a map[string]any) { // the protocol's client would refuse the port
			a["auth"] = map[string]any{"kind": "oauth2", "grant": "authorization_code", "client_id": "c", "token_url": "https://t.example:443/",
				"auth_url": "https://t.example/", "revoke_url": "https://t.example:8443/"}
		},
		"settings.auth.auth_url": func(_, a map[string]any) {
			a["auth"] = map[string]any{"kind": "oauth2", "grant": "client_credentials", "client_id": "c", "token_url": "https://t.example/", "auth_url": "https://a.example/"}
		},
		"settings.auth.scopes": func(_, a map[string]any) { a["auth"] = map[string]any{"kind": "bearer", "scopes": []string{"s"}} },
		"settings.read": func(_, a map[string]any) {
			delete(a, "read")
			a["webhook"] = map[string]any{"verify": map[string]any{"scheme": "standard-webhooks"}, "fetch_back": true}
		},
	} {
		err := custom.Validate(restSettings(t, "https://a.example", restsim.Page, true, change), map[string]string{custom.SecretToken: "t", custom.SecretClient: "s", custom.SecretWebhook: webhookSecret})
		if domain.KindOf(err) != domain.KindInvalid || !strings.Contains(err.Error(), want+":") {
			t.Errorf("%s: %v", want, err)
		}
		if many, ok := err.(interface{ Unwrap() []error }); ok && len(many.Unwrap()) > 2 {
			t.Errorf("%s: %d faults: %v", want, len(many.Unwrap()), errors.Join(many.Unwrap()...))
		}
	}
}
