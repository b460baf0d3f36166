package server

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

// browser keeps the session cookie and posts forms as a page would.
type browser struct {
	*bundle
	cookie string
	page   string
}

var csrfField = regexp.MustCompile(`name="csrf" value="([0-9a-f]{64})"`)

func (b *bundle) signIn(role domain.Role) *browser {
	b.Helper()
	raw := b.token(b.a.org, role)
	got := b.do("POST", "/sign-in", "", url.Values{"token": {" " + raw + "\n"}}.Encode(), header("Content-Type", "application/x-www-form-urlencoded"),
		header("Sec-Fetch-Site", "same-origin"))
	if got.status != 303 || got.header.Get("Location") != "/" {
		b.Fatalf("sign in: %d %s", got.status, got.body)
	}
	set := got.header.Get("Set-Cookie")
	for _, part := range []string{"HttpOnly", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(set, part) {
			b.Errorf("the session cookie lacks %s: %s", part, set)
		}
	}
	cookie, _, _ := strings.Cut(set, ";")
	w := &browser{bundle: b, cookie: cookie}
	w.load()
	return w
}

func (w *browser) load() {
	w.Helper()
	got := w.do("GET", "/", "", "", header("Cookie", w.cookie))
	if got.status != 200 {
		w.Fatalf("dashboard: %d %s", got.status, got.body)
	}
	w.page = string(got.body)
}

func (w *browser) post(path string, form url.Values, opts ...option) reply {
	w.Helper()
	if form.Get("csrf") == "" {
		form.Set("csrf", csrfField.FindStringSubmatch(w.page)[1])
	}
	opts = append([]option{header("Cookie", w.cookie), header("Content-Type", "application/x-www-form-urlencoded"), header("Sec-Fetch-Site", "same-origin")}, opts...)
	return w.do("POST", path, "", form.Encode(), opts...)
}

func TestDashboardShowsWhatMatters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.signIn(domain.RoleOperator)
	for _, want := range []string{"Lens &amp; Light", "Studio CRM", "Active", "Double booking", "Photographer One", "Ways out, best first", "Resolve with this",
		"Keep both", "Wedding of Ada", "operator@example.test", `aria-live="polite"`, "(Europe/London)"} {
		if !strings.Contains(w.page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if n := strings.Count(w.page, "Resolve with this"); n < 3 {
		t.Errorf("%d ways out, want at least three", n)
	}
	for _, bad := range []string{"<script>", "style=", "onclick", "//cdn", "https://"} {
		if strings.Contains(w.page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	viewer := b.signIn(domain.RoleViewer)
	for _, bad := range []string{"Resolve with this", ">Pause", "Full resync"} {
		if strings.Contains(viewer.page, bad) {
			t.Errorf("a viewer sees %q", bad)
		}
	}
}

func TestDashboardButtonsDoWhatTheySay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.signIn(domain.RoleOperator)
	path := "/do/integrations/" + string(b.a.integration)
	if got := w.post(path+"/pause", url.Values{}); got.status != 303 || got.header.Get("Location") != "/?done=pause" {
		t.Fatalf("%d %s", got.status, got.body)
	}
	w.load()
	if !strings.Contains(w.page, "Paused") || !strings.Contains(w.page, ">Resume") {
		t.Error("the page does not show the pause")
	}
	if got := w.post(path+"/resync", url.Values{"full": {"1"}}); got.status != 303 {
		t.Errorf("resync: %d %s", got.status, got.body)
	}
	b.flow.fail(domain.E(domain.KindUnavailable, "Temporal cannot be reached"))
	if got := w.post(path+"/resume", url.Values{}); got.status != 503 || !strings.Contains(string(got.body), "Temporal cannot be reached.") || !strings.Contains(string(got.body), "Open conflicts") {
		t.Errorf("a fault is not shown on the page: %d", got.status)
	}
	b.flow.fail(nil)
	if got := w.post(path+"/explode", url.Values{}); got.status != 404 {
		t.Errorf("an unknown button: %d", got.status)
	}
	conflict := "/do/conflicts/" + string(b.a.conflict)
	if got := w.post(conflict, url.Values{"version": {"1"}, "choice": {"0"}, "reason": {"agreed"}}); got.status != 303 || got.header.Get("Location") != "/?done=resolve" {
		t.Errorf("resolve: %d %s", got.status, got.body)
	}
	for _, choice := range []url.Values{{"choice": {"tentative"}}, {"choice": {"ignore"}, "hours": {"24"}}} {
		choice.Set("version", "1")
		if got := w.post(conflict, choice); got.status != 303 {
			t.Errorf("%v: %d %s", choice, got.status, got.body)
		}
	}
	if got := w.post(conflict, url.Values{"version": {"1"}, "choice": {"ignore"}, "hours": {"soon"}}); got.status != 400 {
		t.Errorf("put off until soon: %d", got.status)
	}
	b.flow.mu.Lock()
	defer b.flow.mu.Unlock()
	if n := len(b.flow.resolved); n != 3 || b.flow.resolved[1].Action != domain.ActionTentative || b.flow.resolved[2].Action != domain.ActionIgnore ||
		b.flow.resolved[2].Until == nil {
		t.Fatalf("told %+v", b.flow.resolved)
	}
	if b.flow.resolved[0].Version != 1 || len(b.flow.resyncs) != 1 || !b.flow.resyncs[0].Full {
		t.Errorf("told %+v and %+v", b.flow.resolved, b.flow.resyncs)
	}
}

func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.signIn(domain.RoleOperator)
	path := "/do/integrations/" + string(b.a.integration) + "/pause"
	stranger := b.signIn(domain.RoleAdmin)
	for name, got := range map[string]reply{
		"no csrf token":          w.post(path, url.Values{"csrf": {"0"}}),
		"another session's":      w.post(path, url.Values{"csrf": {csrfField.FindStringSubmatch(stranger.page)[1]}}),
		"sent from another site": w.post(path, url.Values{}, header("Sec-Fetch-Site", "cross-site")),
		"another origin":         w.post(path, url.Values{}, header("Sec-Fetch-Site", ""), header("Origin", "https://evil.example")),
	} {
		if got.status != 403 {
			t.Errorf("%s: %d %s, want 403", name, got.status, got.body)
		}
	}
	if got := b.do("POST", "/sign-in", "", "token=x", header("Content-Type", "application/x-www-form-urlencoded"), header("Sec-Fetch-Site", "cross-site")); got.status != 403 {
		t.Errorf("sign-in from another site: %d", got.status)
	}
	out := w.post("/sign-out", url.Values{})
	if set := out.header.Get("Set-Cookie"); out.status != 303 || !strings.Contains(set, "Max-Age=0") {
		t.Errorf("sign out: %d %s", out.status, set)
	}
}

func TestSessionCookieIsBoundToTheHostOverTLS(t *testing.T) {
	t.Parallel()
	b := setup(t, func(d *Deps) { d.Options.PublicURL = "https://sync.example.test/" })
	got := b.do("POST", "/sign-in", "", url.Values{"token": {b.token(b.a.org, domain.RoleViewer)}}.Encode(), header("Content-Type", "application/x-www-form-urlencoded"))
	if set := got.header.Get("Set-Cookie"); !strings.HasPrefix(set, "__Host-wedsync=") || !strings.Contains(set, "Secure") {
		t.Errorf("cookie %s", set)
	}
	var i struct {
		URL string `json:"webhook_url"`
	}
	b.do("GET", "/v1/integrations/"+string(b.a.integration), b.token(b.a.org, domain.RoleViewer), "").into(t, &i)
	if i.URL != "https://sync.example.test/v1/webhooks/"+string(b.a.integration) {
		t.Errorf("webhook url %s", i.URL)
	}
}

func TestPagesCarryAStrictPolicy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, path := range []string{"/sign-in", "/docs", "/assets/live.js", "/v1/integrations"} {
		h := b.do("GET", path, "", "").header
		csp := h.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Referrer-Policy") != "no-referrer" || h.Get("X-Request-Id") == "" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
	got := b.do("GET", "/assets/app.css", "", "")
	if again := b.do("GET", "/assets/app.css", "", "", header("If-None-Match", got.header.Get("ETag"))); again.status != http.StatusNotModified {
		t.Errorf("an unchanged file: %d", again.status)
	}
	b.do("GET", "/assets/..%2fdashboard.html", "", "").problem(t, 404, "not_found")
}
