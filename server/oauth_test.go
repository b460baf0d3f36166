package server

import (
	"context"
	"encoding/json"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/oauth"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/sim/oauthsim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/token"
)

const testCallback = "https://sync.example.test" + CallbackPath

// consents is a server with a provider that is connected by consent.
type consents struct {
	*bundle
	sim   *oauthsim.Server
	admin string
	id    domain.IntegrationID
}

func setupConsents(t *testing.T, change ...func(*Deps)) *consents {
	t.Helper()
	c := &consents{sim: oauthsim.New(oauthsim.Options{Redirects: []string{testCallback}})}
	srv := httptest.NewServer(c.sim)
	t.Cleanup(srv.Close)
	out, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(out.Close)
	calendar := provider.Registration{Name: "cal", Title: "Test Calendar", Doc: "A calendar for tests.", SettingsSchema: json.RawMessage(`{"type":"object"}`),
		Open: func(provider.Connection) (any, error) { return struct{}{}, nil },
		OAuth: func(settings json.RawMessage, writes bool) (provider.OAuth, error) {
			if strings.Contains(string(settings), "nowhere") {
				return provider.OAuth{}, domain.Invalid("settings.tenant", "is unknown")
			}
			at := provider.OAuth{AuthURL: srv.URL + "/authorize", TokenURL: srv.URL + "/token", RevokeURL: srv.URL + "/revoke", Scopes: []string{"read"}}
			if writes {
				at.Scopes = append(at.Scopes, "write")
			}
			return at, nil
		}}
	find := func(name string) (provider.Registration, bool) { return calendar, name == "cal" }
	c.bundle = setup(t, append([]func(*Deps){func(d *Deps) {
		d.Providers = append(d.Providers, calendar)
		d.Options.CallbackURL = testCallback
		d.Grants = connect.NewGrants(connect.GrantsOptions{Store: d.Store, Find: find, Client: func(string) (*oauth.Client, error) {
			return oauth.New(oauth.Client{ID: "client", Secret: "secret", Loopback: true, HTTP: out})
		}})
	}}, change...)...)
	c.admin = c.token(c.a.org, domain.RoleAdmin)
	c.id = c.create("import")
	return c
}

func (c *consents) create(direction string) domain.IntegrationID {
	c.Helper()
	got := c.do("POST", "/v1/integrations", c.admin, `{"name":"Studio calendar","provider":"cal","direction":"`+direction+`","resource_id":"`+string(c.a.resource)+`"}`)
	if got.status != 201 {
		c.Fatalf("%d %s", got.status, got.body)
	}
	var i domain.Integration
	got.into(c, &i)
	return i.ID
}

func (c *consents) integration(id domain.IntegrationID) (i domain.Integration) {
	c.Helper()
	c.must(c.store.TenantRead(c.Context(), c.a.org, func(ctx context.Context, tx *store.Tx) (err error) {
		i, err = tx.Integration(ctx, id)
		return err
	}))
	return i
}

func (c *consents) connected(id domain.IntegrationID) bool {
	c.Helper()
	yes, err := c.server.deps.Grants.Connected(c.Context(), c.integration(id))
	c.must(err)
	return yes
}

// link asks the API for a link, and returns the query with which the system sends the browser back.
func (c *consents) link(id domain.IntegrationID) url.Values {
	c.Helper()
	got := c.do("POST", "/v1/integrations/"+string(id)+"/connect", c.admin, `{"reason":"new phone"}`)
	if got.status != 200 {
		c.Fatalf("%d %s", got.status, got.body)
	}
	var out struct {
		URL       string    `json:"url"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	got.into(c, &out)
	if left := time.Until(out.ExpiresAt); left < 9*time.Minute || left > 10*time.Minute {
		c.Errorf("the link ends in %s", left)
	}
	return c.agree(out.URL)
}

func (c *consents) agree(link string) url.Values {
	c.Helper()
	to, err := c.sim.Consent(link)
	c.must(err)
	u, err := url.Parse(to)
	c.must(err)
	if base := *u; base.Scheme+"://"+base.Host+base.Path != testCallback {
		c.Fatalf("came back to %s", to)
	}
	return u.Query()
}

func (c *consents) back(q url.Values, opts ...option) reply {
	c.Helper()
	got := c.do("GET", CallbackPath+"?"+q.Encode(), "", "", opts...)
	if got.header.Get("Location") != "" {
		c.Errorf("the callback leads away to %s", got.header.Get("Location"))
	}
	return got
}

func (c *consents) confirm(q url.Values, opts ...option) reply {
	c.Helper()
	return c.do("POST", CallbackPath, "", url.Values{"state": q["state"], "code": q["code"]}.Encode(),
		append([]option{header("Content-Type", "application/x-www-form-urlencoded"), header("Sec-Fetch-Site", "same-origin")}, opts...)...)
}

func TestConsentAskedForByTheAPIIsConfirmedAndSetsTheIntegrationGoing(t *testing.T) {
	t.Parallel()
	c := setupConsents(t)
	if i := c.integration(c.id); i.State != domain.IntegrationNeedsReconnect || !strings.Contains(i.StateReason, "wedsync integration connect "+string(c.id)) {
		t.Fatalf("created as %s: %s", i.State, i.StateReason)
	}
	q := c.link(c.id)
	page := c.back(q)
	for _, want := range []string{"Lens &amp; Light", "Studio calendar", "admin@example.test", "Test Calendar"} {
		if page.status != 200 || !strings.Contains(string(page.body), want) {
			t.Errorf("the page that asks lacks %q: %d %s", want, page.status, page.body)
		}
	}
	if c.connected(c.id) {
		t.Fatal("connected before anybody confirmed")
	}
	done := c.confirm(q)
	if done.status != 200 || !strings.Contains(string(done.body), "is connected") || !strings.Contains(string(done.body), `href="/"`) {
		t.Fatalf("%d %s", done.status, done.body)
	}
	i := c.integration(c.id)
	if !c.connected(c.id) || i.State != domain.IntegrationActive || i.StateReason != "connected by admin@example.test" {
		t.Errorf("%s: %s", i.State, i.StateReason)
	}
	c.flow.mu.Lock()
	resyncs := len(c.flow.resyncs)
	c.flow.mu.Unlock()
	if resyncs != 1 {
		t.Errorf("%d syncs were asked for", resyncs)
	}
	for _, action := range []string{"integration.connect", "integration.connected", "integration.state"} {
		if e := c.lastAction(c.a, action); e.Actor != "admin@example.test" || e.Subject != "integration/"+string(c.id) {
			t.Errorf("%s: %+v", action, e)
		}
	}
	var grant store.OAuthGrant
	c.must(c.store.TenantRead(t.Context(), c.a.org, func(ctx context.Context, tx *store.Tx) (err error) {
		grant, err = tx.OAuthGrant(ctx, c.id)
		return err
	}))
	shown := c.log.String() + string(done.body) + string(c.do("GET", "/v1/audit?limit=200", c.admin, "").body) + string(c.do("GET", "/v1/integrations/"+string(c.id), c.admin, "").body)
	for _, secret := range []string{q.Get("state"), q.Get("code"), grant.Tokens.Access, grant.Tokens.Refresh} {
		if secret == "" || strings.Contains(shown, secret) {
			t.Errorf("%q was shown", secret)
		}
	}
}

func TestLinkCountsOnce(t *testing.T) {
	t.Parallel()
	c := setupConsents(t)
	q := c.link(c.id)
	if got := c.confirm(q); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	asked := c.sim.Counts().Exchanges
	for name, got := range map[string]reply{"callback": c.back(q), "confirmed": c.confirm(q)} {
		if got.status != 409 || !strings.Contains(string(got.body), "used already") {
			t.Errorf("%s again: %d %s", name, got.status, got.body)
		}
	}
	if c.sim.Counts().Exchanges != asked || !c.connected(c.id) {
		t.Error("a repeated link reached the system, or ended the grant")
	}
	for name, bad := range map[string]url.Values{"no state": {"code": {"x"}}, "unknown state": {"code": {"x"}, "state": {oauth.NewSecret()}},
		"two states": {"code": {"x"}, "state": {q.Get("state"), q.Get("state")}}, "huge": {"code": {"x"}, "state": {strings.Repeat("s", 9000)}}} {
		if got := c.back(bad); got.status != 404 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}

var pageLink = regexp.MustCompile(`<a href="(http[^"]+)">Continue`)

// press is the button of the dashboard; it returns the way back and the cookie that comes along.
func (c *consents) press(w *browser) (url.Values, option) {
	c.Helper()
	got := w.post("/do/integrations/"+string(c.id)+"/connect", url.Values{})
	m := pageLink.FindStringSubmatch(string(got.body))
	if got.status != 200 || m == nil || got.header.Get("Refresh") != "0; url="+html.UnescapeString(m[1]) {
		c.Fatalf("%d %s %s", got.status, got.header.Get("Refresh"), got.body)
	}
	set := got.header.Get("Set-Cookie")
	for _, part := range []string{"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"} {
		if !strings.Contains(set, part) {
			c.Errorf("the cookie lacks %s: %s", part, set)
		}
	}
	cookie, _, _ := strings.Cut(set, ";")
	return c.agree(html.UnescapeString(m[1])), header("Cookie", cookie)
}

func TestDashboardConnectsInTheSameSessionOnly(t *testing.T) {
	t.Parallel()
	c := setupConsents(t)
	w := c.signIn(domain.RoleAdmin)
	if !strings.Contains(w.page, ">Reconnect<") {
		t.Error("the dashboard has no button to connect")
	}
	if operator := c.signIn(domain.RoleOperator); strings.Contains(operator.page, ">Reconnect<") {
		t.Error("an operator sees the button")
	} else if got := operator.post("/do/integrations/"+string(c.id)+"/connect", url.Values{}); got.status != 403 {
		t.Errorf("an operator presses it: %d", got.status)
	}
	other, err := c.issuer.Mint(token.Grant{Org: c.a.org, Role: domain.RoleAdmin, Subject: "other@example.test"}, time.Hour, time.Now())
	c.must(err)
	for name, opts := range map[string][]option{"without the cookie": nil, "with another session's": {header("Cookie", "wedsync-connect="+connectSecret(other))},
		"with the session in its place": {header("Cookie", "wedsync-connect="+strings.TrimPrefix(w.cookie, "wedsync="))}} {
		q, cookie := c.press(w)
		if got := c.back(q, opts...); got.status != 403 || c.connected(c.id) {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		if got := c.back(q, cookie); got.status != 409 {
			t.Errorf("%s, then the right one: %d, want it spent", name, got.status)
		}
	}
	q, _ := c.press(w)
	if got := c.confirm(q, header("Cookie", w.cookie)); got.status != 403 || c.connected(c.id) {
		t.Errorf("a link of the dashboard was confirmed like one of the API: %d", got.status)
	}
	q, cookie := c.press(w)
	if got := c.back(q, cookie); got.status != 200 || !strings.Contains(string(got.body), "is connected") || !c.connected(c.id) {
		t.Errorf("%d %s", got.status, got.body)
	}
	if w.load(); strings.Contains(w.page, ">Reconnect<") {
		t.Error("the button is still there")
	}
}

func TestStrangersLinkIsNotConfirmedInAnotherSession(t *testing.T) {
	t.Parallel()
	c := setupConsents(t)
	foreign, err := c.issuer.Mint(token.Grant{Org: c.b.org, Role: domain.RoleAdmin, Subject: "admin@example.test"}, time.Hour, time.Now())
	c.must(err)
	colleague, err := c.issuer.Mint(token.Grant{Org: c.a.org, Role: domain.RoleAdmin, Subject: "other@example.test"}, time.Hour, time.Now())
	c.must(err)
	for name, opts := range map[string][]option{
		"session of another organisation": {header("Cookie", "wedsync="+foreign)}, "session of a colleague": {header("Cookie", "wedsync="+colleague)},
		"form of another site": {header("Sec-Fetch-Site", "cross-site")}, "another origin": {header("Sec-Fetch-Site", ""), header("Origin", "https://evil.example")},
	} {
		if got := c.confirm(c.link(c.id), opts...); got.status != 403 || c.connected(c.id) {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if got := c.confirm(c.link(c.id), header("Cookie", "wedsync="+c.admin)); got.status != 200 || !c.connected(c.id) {
		t.Errorf("the session of who asked: %d %s", got.status, got.body)
	}
}

func TestRefusalOfAPersonIsShownInOurWords(t *testing.T) {
	t.Parallel()
	c := setupConsents(t)
	for code, want := range map[string]string{"access_denied": "consent was not given", "server_error": "try again", "invalid_scope": "invalid_scope",
		"<script>alert(1)</script>": "nothing that is known"} {
		q := c.link(c.id)
		q.Del("code")
		q.Set("error", code)
		q.Set("error_description", "Visit evil.example, ada@example.test")
		q.Set("next", "https://evil.example")
		got := c.back(q)
		body := string(got.body)
		if got.status < 400 || !strings.Contains(body, want) || strings.Contains(body, "<script>alert") || strings.Contains(body, "evil.example") || strings.Contains(body, "ada@") {
			t.Errorf("%s: %d %s", code, got.status, body)
		}
		if again := c.back(q); again.status != 409 {
			t.Errorf("%s again: %d", code, again.status)
		}
	}
	if c.connected(c.id) {
		t.Error("connected")
	}
}

func TestSystemThatFailsLeavesTheIntegrationUnconnected(t *testing.T) {
	t.Parallel()
	c := setupConsents(t)
	c.sim.Break(oauthsim.Fault{Status: 503})
	if got := c.confirm(c.link(c.id)); got.status != 503 || c.connected(c.id) {
		t.Errorf("endpoint down: %d %s", got.status, got.body)
	}
	q := c.link(c.id)
	q.Set("code", "made-up")
	if got := c.confirm(q); got.status != 409 || c.connected(c.id) {
		t.Errorf("made-up code: %d %s", got.status, got.body)
	}
	both := c.create("bidirectional")
	c.sim.Withhold("write")
	if got := c.confirm(c.link(both)); got.status != 403 || !strings.Contains(string(got.body), "leave every box ticked") || c.connected(both) {
		t.Errorf("half a consent: %d %s", got.status, got.body)
	}
	c.flow.fail(domain.E(domain.KindUnavailable, "Temporal cannot be reached"))
	if got := c.confirm(c.link(c.id)); got.status != 200 || c.integration(c.id).State != domain.IntegrationActive {
		t.Errorf("without Temporal: %d %s", got.status, got.body)
	}
}

func TestSettingsAreCompletedAfterTheConsent(t *testing.T) {
	t.Parallel()
	var fault error
	c := setupConsents(t, func(d *Deps) {
		d.Onboard = func(_ context.Context, i domain.Integration, _ map[string]string, zone string, _ provider.TokenSource) (json.RawMessage, error) {
			if i.Version == 0 {
				return i.Settings, nil // at creation
			}
			if zone != "Europe/London" {
				return nil, domain.E(domain.KindInternal, "zone %s", zone)
			}
			return json.RawMessage(`{"calendar":"primary"}`), fault
		}
	})
	fault = domain.E(domain.KindNotFound, "no such calendar")
	if got := c.confirm(c.link(c.id)); got.status != 422 || !strings.Contains(string(got.body), "no such calendar") || c.integration(c.id).State != domain.IntegrationNeedsReconnect {
		t.Errorf("%d %s", got.status, got.body)
	}
	fault = nil
	if got := c.confirm(c.link(c.id)); got.status != 200 || !sameJSON(c.integration(c.id).Settings, json.RawMessage(`{"calendar":"primary"}`)) {
		t.Errorf("%d %s: %s", got.status, got.body, c.integration(c.id).Settings)
	}
}

func TestPausedIntegrationStaysPausedWhenReconnected(t *testing.T) {
	t.Parallel()
	c := setupConsents(t)
	c.must(c.store.Tenant(t.Context(), c.a.org, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SetIntegrationState(ctx, c.id, domain.IntegrationPaused, "paused by x")
		return err
	}))
	if got := c.confirm(c.link(c.id)); got.status != 200 || !strings.Contains(string(got.body), "paused") || c.integration(c.id).State != domain.IntegrationPaused {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestAConsentLetsAnOnboardingGoOn(t *testing.T) {
	t.Parallel()
	c := setupConsents(t)
	var i domain.Integration
	made := c.do("POST", "/v1/integrations", c.admin, `{"name":"Calendar","provider":"cal","direction":"import","onboard":true,"resource_id":"`+string(c.a.resource)+`"}`)
	made.into(t, &i)
	if made.status != 201 || i.State != domain.IntegrationConnecting {
		t.Fatalf("%d %s", made.status, made.body)
	}
	c.onboard(c.a, string(i.ID), func(o *domain.Onboarding) {
		now := c.server.now()
		o.State, o.FaultKind, o.WaitingSince = domain.OnboardingWaiting, domain.KindUnauthenticated, &now
	})
	var v onboardingView
	path := "/v1/integrations/" + string(i.ID) + "/onboarding"
	if c.do("GET", path, c.admin, "").into(t, &v); !strings.Contains(v.Next, "connect it on the dashboard") || v.Before != domain.IntegrationNeedsReconnect {
		t.Errorf("it waits as %+v", v)
	}
	c.outboxOf(string(i.ID))
	if got := c.confirm(c.link(i.ID)); got.status != 200 || !strings.Contains(string(got.body), "being brought to work") {
		t.Errorf("%d %s", got.status, got.body)
	}
	v = onboardingView{}
	if c.do("GET", path, c.admin, "").into(t, &v); v.State != domain.OnboardingRunning || v.Attempt != 2 || c.integration(i.ID).State != domain.IntegrationConnecting ||
		c.outboxOf(string(i.ID)) != 1 {
		t.Errorf("after the consent it is %+v", v)
	}
	c.flow.mu.Lock()
	defer c.flow.mu.Unlock()
	if len(c.flow.resyncs) != 0 {
		t.Error("a sync was asked for beside the onboarding")
	}
}

func TestMorePermissionsNeedANewConsent(t *testing.T) {
	t.Parallel()
	c := setupConsents(t)
	if got := c.confirm(c.link(c.id)); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	path := "/v1/integrations/" + string(c.id)
	version := c.do("GET", path, c.admin, "").header.Get("ETag")
	got := c.do("PATCH", path, c.admin, `{"direction":"bidirectional"}`, header("If-Match", version))
	var i struct {
		State      domain.IntegrationState `json:"state"`
		ConnectURL string                  `json:"connect_url"`
	}
	got.into(t, &i)
	if got.status != 200 || i.State != domain.IntegrationNeedsReconnect || i.ConnectURL != c.url+path+"/connect" {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if got := c.confirm(c.link(c.id)); got.status != 200 || c.integration(c.id).State != domain.IntegrationActive {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestDeletionTakesTheGrantBackUnlessItIsShared(t *testing.T) {
	t.Parallel()
	c := setupConsents(t)
	second := c.create("import")
	for _, id := range []domain.IntegrationID{c.id, second} {
		if got := c.confirm(c.link(id)); got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	for n, id := range []domain.IntegrationID{c.id, second} {
		if got := c.do("DELETE", "/v1/integrations/"+string(id), c.admin, ""); got.status != 204 {
			t.Fatalf("%d %s", got.status, got.body)
		}
		if got := c.sim.Counts().Revocations; got != n {
			t.Errorf("%d revocations after deleting %d of two of one provider", got, n+1)
		}
		if e := c.lastAction(c.a, "integration.revoke"); e.Subject != "integration/"+string(id) || e.Actor != "admin@example.test" || e.After["outcome"] != []string{"kept", "told"}[n] {
			t.Errorf("the trail says %+v", e)
		}
		c.must(c.store.TenantRead(t.Context(), c.a.org, func(ctx context.Context, tx *store.Tx) error {
			if _, err := tx.OAuthGrant(ctx, id); domain.KindOf(err) != domain.KindNotFound {
				t.Errorf("the grant is kept: %v", err)
			}
			return nil
		}))
	}
}

// accounts lets the system complete settings as one account sees them: its own calendar and no other.
func accounts(chosen *string) func(*Deps) {
	return func(d *Deps) {
		d.Onboard = func(ctx context.Context, i domain.Integration, _ map[string]string, _ string, tokens provider.TokenSource) (json.RawMessage, error) {
			if tokens == nil {
				return i.Settings, nil // nobody has consented now
			}
			if token, err := tokens.Token(ctx); err != nil || token == "" {
				return nil, domain.E(domain.KindInternal, "asked without a token: %w", err)
			}
			var s struct {
				Account string `json:"account"`
			}
			if err := json.Unmarshal(i.Settings, &s); err != nil {
				return nil, err
			}
			if s.Account != "" && s.Account != *chosen {
				return nil, domain.Invalid("settings.calendar", "is not in the account's calendar list")
			}
			return json.RawMessage(`{"account":"` + *chosen + `","calendar":"main"}`), nil
		}
	}
}

func TestConsentOfAnotherAccountIsRefusedAndTheGrantBeforeStays(t *testing.T) {
	t.Parallel()
	account := "ada"
	c := setupConsents(t, accounts(&account))
	if got := c.confirm(c.link(c.id)); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	grant := func() (g store.OAuthGrant) {
		c.must(c.store.TenantRead(t.Context(), c.a.org, func(ctx context.Context, tx *store.Tx) (err error) {
			g, err = tx.OAuthGrant(ctx, c.id)
			return err
		}))
		return g
	}
	was := grant()
	if !strings.Contains(string(was.Place), "ada") {
		t.Fatalf("the place is %s", was.Place)
	}
	account = "bob"
	got := c.confirm(c.link(c.id))
	if got.status != 409 || !strings.Contains(string(got.body), "Nothing was changed") || !strings.Contains(string(got.body), "calendar list") {
		t.Errorf("another account: %d %s", got.status, got.body)
	}
	if now := grant(); now.Tokens != was.Tokens || now.Version != was.Version || c.integration(c.id).State != domain.IntegrationActive {
		t.Errorf("the grant or the state changed: version %d, was %d", now.Version, was.Version)
	}
	if e := c.lastAction(c.a, "integration.connect.refused"); e.Actor != "admin@example.test" || e.Subject != "integration/"+string(c.id) || strings.Contains(e.Reason, "bob") {
		t.Errorf("the trail says %+v", e)
	}
	account = "ada"
	if got := c.confirm(c.link(c.id)); got.status != 200 || grant().Tokens == was.Tokens {
		t.Errorf("the same account: %d %s", got.status, got.body)
	}
	for _, e := range c.trail(c.a) {
		if e.Action == "integration.move" {
			t.Errorf("the same account counts as another: %+v", e)
		}
	}
}

// TestReconnectOfAnotherAccountHoldsEverythingThatTheOldOneBrought takes the old account out of the settings once its
// grant is gone, and consents with another one.
func TestReconnectOfAnotherAccountHoldsEverythingThatTheOldOneBrought(t *testing.T) {
	t.Parallel()
	account := "ada"
	c := setupConsents(t, accounts(&account))
	if got := c.confirm(c.link(c.id)); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	mine := c.a
	mine.integration = c.id
	ids := c.bring(mine, 2)
	c.must(c.store.Tenant(t.Context(), c.a.org, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.SetSyncCursor(ctx, c.id, "somewhere"); err != nil {
			return err
		}
		g, err := tx.OAuthGrant(ctx, c.id)
		if err != nil {
			return err
		}
		if _, err := tx.EndOAuthGrant(ctx, g); err != nil {
			return err
		}
		_, err = tx.SetIntegrationState(ctx, c.id, domain.IntegrationNeedsReconnect, "the grant is gone")
		return err
	}))
	path := "/v1/integrations/" + string(c.id)
	if got := c.do("PATCH", path, c.admin, `{"settings":{}}`, header("If-Match", c.do("GET", path, c.admin, "").header.Get("ETag"))); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	var held listBody[domain.Quarantine]
	if c.do("GET", "/v1/quarantines?state=open", c.admin, "").into(t, &held); len(held.Items) != 0 {
		t.Errorf("taking the account out of the settings held %+v", held.Items)
	}
	account = "bob"
	if got := c.confirm(c.link(c.id)); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	i := c.integration(c.id)
	if i.State != domain.IntegrationActive || i.SyncCursor != "" || !strings.Contains(string(i.Settings), "bob") {
		t.Errorf("%s, cursor %q, settings %s", i.State, i.SyncCursor, i.Settings)
	}
	c.do("GET", "/v1/quarantines?state=open", c.admin, "").into(t, &held)
	if len(held.Items) != 1 || held.Items[0].Held != 2 || held.Items[0].IntegrationID != c.id {
		t.Errorf("held: %+v", held.Items)
	}
	for _, id := range ids {
		var b domain.Booking
		if c.do("GET", "/v1/bookings/"+string(id), c.admin, "").into(t, &b); b.Status != domain.StatusConfirmed {
			t.Errorf("a booking is %s", b.Status)
		}
	}
	if e := c.lastAction(c.a, "integration.move"); e.Actor != "admin@example.test" || e.After["held"] != "2" {
		t.Errorf("the trail says %+v", e)
	}
	// The new account is the known one from now on.
	if got := c.confirm(c.link(c.id)); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	moves := 0
	for _, e := range c.trail(c.a) {
		if e.Action == "integration.move" {
			moves++
		}
	}
	if moves != 1 {
		t.Errorf("%d moves", moves)
	}
	shown := c.log.String() + string(c.do("GET", "/v1/audit?limit=200", c.admin, "").body)
	for _, who := range []string{"\"bob\"", "\"ada\""} {
		if strings.Contains(shown, who) {
			t.Errorf("log or trail name the account %s", who)
		}
	}
	account = "ada"
	if got := c.confirm(c.link(c.id)); got.status != 409 {
		t.Errorf("back to the first account: %d %s", got.status, got.body)
	}
}

func TestWhatIsNotSetUpIsNamed(t *testing.T) {
	t.Parallel()
	c := setupConsents(t, func(d *Deps) { d.Options.CallbackURL = "http://sync.example.test" + CallbackPath })
	path := "/v1/integrations/" + string(c.id) + "/connect"
	if p := c.do("POST", path, c.admin, "").problem(t, 409, "conflict"); !strings.Contains(p.Detail, "WEDSYNC_PUBLIC_URL") {
		t.Error(p.Detail)
	}
	c.do("POST", "/v1/integrations/"+string(c.a.integration)+"/connect", c.admin, "").problem(t, 409, "conflict")
	c.do("POST", path, c.token(c.b.org, domain.RoleAdmin), "").problem(t, 404, "not_found")
	p := c.do("POST", "/v1/integrations", c.admin, `{"name":"x","provider":"cal","resource_id":"`+string(c.a.resource)+`","settings":{"tenant":"nowhere"}}`).problem(t, 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Field != "settings.tenant" {
		t.Errorf("%+v", p)
	}
	var kinds struct{ Items []providerView }
	c.do("GET", "/v1/providers", c.admin, "").into(t, &kinds)
	for _, k := range kinds.Items {
		if k.Consent != (k.Name == "cal") {
			t.Errorf("%s is told as connected by consent: %t", k.Name, k.Consent)
		}
	}
}

func TestPagesOfAConsentCarryTheStrictPolicy(t *testing.T) {
	t.Parallel()
	c := setupConsents(t)
	h := c.back(c.link(c.id)).header
	if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self'") || h.Get("Referrer-Policy") != "no-referrer" ||
		h.Get("Cache-Control") != "no-store" || h.Get("X-Frame-Options") != "DENY" {
		t.Errorf("headers %v", h)
	}
	if got := c.do(http.MethodPut, CallbackPath, "", ""); got.status != 405 {
		t.Errorf("PUT: %d", got.status)
	}
}
