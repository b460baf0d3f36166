package oauth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/oauth"
	"github.com/wedsync/wedsync/internal/sim/oauthsim"
)

const back = "https://sync.example.test/oauth/callback"

type bundle struct {
	*testing.T
	sim    *oauthsim.Server
	client *oauth.Client
	at     oauth.Endpoint
}

func setup(t *testing.T, o oauthsim.Options) *bundle {
	t.Helper()
	sim := oauthsim.New(o)
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	b := &bundle{T: t, sim: sim, client: newClient(t, httpx.Options{Allow: httpx.AllowPrivate}), at: oauth.Endpoint{AuthURL: srv.URL + "/authorize",
		TokenURL: srv.URL + "/token", RevokeURL: srv.URL + "/revoke", Scopes: []string{"calendar.read", "calendar.write"},
		Params: map[string]string{"access_type": "offline", "client_id": "never", "state": "never"}}}
	return b
}

func newClient(t *testing.T, o httpx.Options) *oauth.Client {
	t.Helper()
	out, err := httpx.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(out.Close)
	c, err := oauth.New(oauth.Client{ID: "client", Secret: "secret", Loopback: true, HTTP: out})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// consent sends the browser there and back, and returns the code.
func (b *bundle) consent(verifier string) string {
	b.Helper()
	state := oauth.NewSecret()
	link, err := b.client.AuthURL(b.at, oauth.Request{RedirectURL: back, State: state, Verifier: verifier})
	if err != nil {
		b.Fatal(err)
	}
	to, err := b.sim.Consent(link)
	if err != nil {
		b.Fatal(err)
	}
	u, err := url.Parse(to)
	if err != nil || u.Query().Get("state") != state || u.Query().Get("code") == "" {
		b.Fatalf("came back to %s, %v", to, err)
	}
	return u.Query().Get("code")
}

func (b *bundle) tokens() oauth.Tokens {
	b.Helper()
	verifier := oauth.NewSecret()
	got, err := b.client.Exchange(b.Context(), b.at, b.consent(verifier), back, verifier)
	if err != nil {
		b.Fatal(err)
	}
	return got
}

func wantKind(t testing.TB, err error, kind domain.ErrorKind) {
	t.Helper()
	if got := domain.KindOf(err); got != kind {
		t.Fatalf("kind is %q, want %q: %v", got, kind, err)
	}
}

func TestChallengeIsThatOfTheStandard(t *testing.T) {
	t.Parallel()
	// RFC 7636, appendix B.
	if got := oauth.Challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"); got != "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" {
		t.Error(got)
	}
	if a, b := oauth.NewSecret(), oauth.NewSecret(); a == b || len(a) != 43 {
		t.Errorf("secrets %s and %s", a, b)
	}
}

func TestConsentGivesTokensAndCodeAndVerifierMustFit(t *testing.T) {
	t.Parallel()
	b := setup(t, oauthsim.Options{})
	before := time.Now()
	got := b.tokens()
	if !b.sim.Valid(got.Access) || got.Refresh == "" || !cmp.Equal(got.Scopes, b.at.Scopes) ||
		got.ExpiresAt.Before(before.Add(time.Hour)) || got.ExpiresAt.After(time.Now().Add(time.Hour)) {
		t.Errorf("scopes %v until %s", got.Scopes, got.ExpiresAt)
	}
	verifier := oauth.NewSecret()
	code := b.consent(verifier)
	_, err := b.client.Exchange(t.Context(), b.at, code, back, oauth.NewSecret())
	wantKind(t, err, domain.KindUnauthenticated)
	_, err = b.client.Exchange(t.Context(), b.at, code, back, verifier)
	wantKind(t, err, domain.KindUnauthenticated) // a code works once, also after a wrong try
	_, err = b.client.Exchange(t.Context(), b.at, b.consent(verifier), back+"2", verifier)
	wantKind(t, err, domain.KindUnauthenticated)
}

func TestRefreshTokensStayWithGoogleAndChangeWithMicrosoft(t *testing.T) {
	t.Parallel()
	for name, rotate := range map[string]bool{"stays": false, "changes": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, oauthsim.Options{Rotate: rotate})
			first := b.tokens()
			second, err := b.client.Refresh(t.Context(), b.at, first.Refresh)
			if err != nil {
				t.Fatal(err)
			}
			if second.Access == first.Access || !b.sim.Valid(second.Access) || (second.Refresh != "") != rotate {
				t.Errorf("rotation is %t", second.Refresh != "")
			}
			_, err = b.client.Refresh(t.Context(), b.at, first.Refresh)
			if rotate {
				wantKind(t, err, domain.KindUnauthenticated)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRefusalsHaveTheirKindAndShowNothing(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault oauthsim.Fault
		kind  domain.ErrorKind
		wait  time.Duration
	}{
		"grant gone":         {oauthsim.Fault{Status: 400, Body: `{"error":"invalid_grant","error_description":"of ada@example.test"}`}, domain.KindUnauthenticated, 0},
		"interaction":        {oauthsim.Fault{Status: 400, Body: `{"error":"interaction_required"}`}, domain.KindUnauthenticated, 0},
		"server fault":       {oauthsim.Fault{Status: 500, Body: `{"error":"invalid_grant"}`}, domain.KindUnavailable, 0},
		"busy":               {oauthsim.Fault{Status: 503, RetryAfter: "7"}, domain.KindUnavailable, 7 * time.Second},
		"too many":           {oauthsim.Fault{Status: 429, RetryAfter: "30", Body: `{"error":"invalid_grant"}`}, domain.KindRateLimited, 30 * time.Second},
		"busy, in words":     {oauthsim.Fault{Status: 400, Body: `{"error":"temporarily_unavailable"}`}, domain.KindUnavailable, 0},
		"wrong client":       {oauthsim.Fault{Status: 401, Body: `{"error":"invalid_client"}`}, domain.KindPermanent, 0},
		"unknown word":       {oauthsim.Fault{Status: 400, Body: `{"error":"ada@example.test"}`}, domain.KindPermanent, 0},
		"no JSON":            {oauthsim.Fault{Status: 400, Body: `ada@example.test`}, domain.KindPermanent, 0},
		"redirect":           {oauthsim.Fault{Status: 302}, domain.KindPermanent, 0},
		"lost":               {oauthsim.Fault{Lost: true}, domain.KindUnavailable, 0},
		"empty":              {oauthsim.Fault{Status: 200, Body: ``}, domain.KindUnavailable, 0},
		"no token":           {oauthsim.Fault{Status: 200, Body: `{"token_type":"Bearer"}`}, domain.KindUnavailable, 0},
		"another kind":       {oauthsim.Fault{Status: 200, Body: `{"access_token":"s3cret","token_type":"mac"}`}, domain.KindUnavailable, 0},
		"token with newline": {oauthsim.Fault{Status: 200, Body: `{"access_token":"s3cret\n"}`}, domain.KindUnavailable, 0},
		"huge":               {oauthsim.Fault{Status: 200, Body: `{"access_token":"` + strings.Repeat("s", oauth.MaxAnswer) + `"}`}, domain.KindUnavailable, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, oauthsim.Options{})
			first := b.tokens()
			b.sim.Break(tc.fault)
			_, err := b.client.Refresh(t.Context(), b.at, first.Refresh)
			wantKind(t, err, tc.kind)
			if got := domain.RetryAfter(err); got != tc.wait {
				t.Errorf("to wait %s, want %s", got, tc.wait)
			}
			for _, secret := range []string{"ada@", first.Refresh, first.Access, "s3cret", "client_secret", "sss"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows %q: %v", secret, err)
				}
			}
		})
	}
}

func TestSlowEndpointIsUnavailable(t *testing.T) {
	t.Parallel()
	b := setup(t, oauthsim.Options{})
	first := b.tokens()
	asked, release := b.sim.Hold()
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	_, err := b.client.Refresh(ctx, b.at, first.Refresh)
	wantKind(t, err, domain.KindUnavailable)
}

func TestRevocationIsBestKnownAndRepeatable(t *testing.T) {
	t.Parallel()
	b := setup(t, oauthsim.Options{})
	first := b.tokens()
	for range 2 {
		if err := b.client.Revoke(t.Context(), b.at, first.Refresh); err != nil {
			t.Fatal(err)
		}
	}
	if b.sim.Valid(first.Access) {
		t.Error("the grant still works")
	}
	_, err := b.client.Refresh(t.Context(), b.at, first.Refresh)
	wantKind(t, err, domain.KindUnauthenticated)
	b.at.RevokeURL = ""
	if err := b.client.Revoke(t.Context(), b.at, first.Refresh); err != nil {
		t.Error(err)
	}
	// Google answers so for a token that it does not know any more.
	google := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprint(w, `{"error":"invalid_token"}`)
	}))
	defer google.Close()
	b.at.RevokeURL = google.URL
	if err := b.client.Revoke(t.Context(), b.at, first.Refresh); err != nil {
		t.Error(err)
	}
}

func TestSecretGoesToTheKnownHostsOnly(t *testing.T) {
	t.Parallel()
	out, err := httpx.New(httpx.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := oauth.New(oauth.Client{ID: "client", Secret: "secret", Hosts: []string{"login.example.com", ".id.example.com"}, HTTP: out})
	if err != nil {
		t.Fatal(err)
	}
	req := oauth.Request{RedirectURL: back, State: oauth.NewSecret(), Verifier: oauth.NewSecret()}
	for to, ok := range map[string]bool{
		"https://login.example.com/a?tenant=1": true, "https://LOGIN.example.com/a": true, "https://eu.id.example.com/a": true,
		"https://login.example.com:443/a": true, "http://login.example.com/a": false, "https://login.example.com.evil.test/a": false,
		"https://evil.test/login.example.com": false, "https://.id.example.com/": false, "https://id.example.com/": false,
		"https://login.example.com@evil.test/": false, "https://x@login.example.com/": false, "https://login.example.com:8443/": false,
		"//login.example.com/a": false, "javascript:alert(1)": false, "https://127.0.0.1/": false, "": false, "https://login.example.com/#x": false,
	} {
		_, err := c.AuthURL(oauth.Endpoint{AuthURL: to}, req)
		if (err == nil) != ok {
			t.Errorf("authorization at %q: %v", to, err)
		}
		if !ok {
			_, err := c.Refresh(t.Context(), oauth.Endpoint{TokenURL: to}, "refresh")
			if domain.KindOf(err) != domain.KindInvalid && domain.KindOf(err) != domain.KindPermanent || domain.FieldOf(err) != "token_url" {
				t.Errorf("token at %q: %v", to, err)
			}
		}
	}
}

func TestMissingScopesAreFoundWhateverTheirSpelling(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ want, granted, missing string }{
		{"a b", "b a c", ""},
		{"a b", "a", "b"},
		{"https://graph.microsoft.com/Calendars.ReadWrite offline_access", "calendars.readwrite User.Read", ""},
		{"https://graph.microsoft.us/Calendars.Read", "Calendars.Read", ""},
		{"Calendars.ReadWrite", "https://graph.microsoft.com/Calendars.Read", "Calendars.ReadWrite"},
		{"https://www.googleapis.com/auth/calendar.events openid email", "https://www.googleapis.com/auth/calendar.readonly", "https://www.googleapis.com/auth/calendar.events"},
	} {
		if got := strings.Join(oauth.Missing(strings.Fields(tc.want), strings.Fields(tc.granted)), " "); got != tc.missing {
			t.Errorf("%q of %q: missing %q, want %q", tc.want, tc.granted, got, tc.missing)
		}
	}
}

func TestTokensAreNotPrinted(t *testing.T) {
	t.Parallel()
	v := oauth.Tokens{Access: "acc3ss", Refresh: "r3fresh"}
	for _, verb := range []string{"%v", "%+v", "%s", "%#v"} {
		if s := fmt.Sprintf(verb, v); strings.Contains(s, "acc3ss") || strings.Contains(s, "r3fresh") {
			t.Errorf("%s prints %s", verb, s)
		}
	}
}
