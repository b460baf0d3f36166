package caldav

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/caldavsim"
)

func simple(n int) string {
	return vevent(fmt.Sprintf("UID:u%d", n), "DTSTART:20270605T130000Z", "DURATION:PT1H", fmt.Sprintf("SUMMARY:entry %d", n))
}

func seed(b *bundle, count int) {
	for n := range count {
		b.sim.PutEvent("weddings", fmt.Sprintf("e%04d.ics", n), simple(n))
	}
}

func TestRemovalWithoutSyncTokensIsGoneToken(t *testing.T) {
	t.Parallel()
	for _, noTag := range []bool{false, true} {
		b := setup(t, caldavsim.Options{NoSyncCollection: true, NoCTag: noTag})
		seed(b, 3)
		page := pullAll(t, b.conn, "")
		changed := b.sim.PutEvent("weddings", "e0001.ics", strings.ReplaceAll(simple(1), "entry", "changed"))
		added := b.sim.PutEvent("weddings", "e0009.ics", simple(9))
		page = pullAll(t, b.conn, page.Next)
		if len(page.Changes) != 2 || page.Complete {
			t.Errorf("%d changes, complete %v; want the changed and the added", len(page.Changes), page.Complete)
		}
		byID(t, page, changed)
		byID(t, page, added)
		b.sim.DeleteEvent(changed)
		if _, err := b.conn.Pull(t.Context(), page.Next); domain.KindOf(err) != domain.KindGoneToken {
			t.Errorf("error %v, want KindGoneToken", err)
		}
		if page = pullAll(t, b.conn, ""); !page.Complete || len(page.Changes) != 3 {
			t.Errorf("full listing: %d entries, complete %v", len(page.Changes), page.Complete)
		}
	}
}

func TestQuietCalendarWithChangeTagCostsOneRequest(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{NoSyncCollection: true})
	seed(b, 60)
	page := pullAll(t, b.conn, "")
	before := b.sim.Requests()
	pullAll(t, b.conn, page.Next)
	if n := b.sim.Requests() - before; n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestCalendarTooLargeForETagsIsListedAnew(t *testing.T) {
	t.Parallel()
	members := make([]member, maxDigested+1)
	for i := range members {
		members[i] = member{path: fmt.Sprint(i), etag: `"1"`}
	}
	if _, over := remember(members); !over {
		t.Error("a listing over the limit is remembered")
	}
	digests, over := remember(members[:maxDigested])
	if over || len(recall(digests)) != maxDigested {
		t.Errorf("%d of %d remembered", len(recall(digests)), maxDigested)
	}
}

func TestChangeBetweenTwoPagesIsToldAgain(t *testing.T) {
	t.Parallel()
	for _, opt := range []caldavsim.Options{{}, {NoSyncCollection: true}, {PageLimit: 250}} {
		b := setup(t, opt)
		seed(b, pageSize+100)
		first, err := b.conn.Pull(t.Context(), "")
		if err != nil || !first.More {
			t.Fatalf("first page: %v, more %v", err, first.More)
		}
		early := b.sim.PutEvent("weddings", "e0000.ics", strings.ReplaceAll(simple(0), "entry", "changed"))
		rest := pullAll(t, b.conn, first.Next)
		after := pullAll(t, b.conn, rest.Next)
		got := provider.Page{Changes: append(append(first.Changes, rest.Changes...), after.Changes...)}
		seen := map[string]string{}
		for _, c := range got.Changes {
			seen[c.ExternalID] = c.Details.Title
		}
		if len(seen) != pageSize+100 || seen[early] != "changed 0" {
			t.Errorf("%+v: %d entries, the one changed meanwhile is %q", opt, len(seen), seen[early])
		}
	}
}

func TestServerThatTruncatesWithoutAdvanceIsAnError(t *testing.T) {
	t.Parallel()
	c := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PROPFIND" {
			multi(w, `<response><href>/home/</href><propstat><prop><resourcetype><collection/><C:calendar/></resourcetype><sync-token>t</sync-token></prop><status>HTTP/1.1 200 OK</status></propstat></response>`)
			return
		}
		multi(w, `<response><href>/home/</href><status>HTTP/1.1 507 Insufficient Storage</status></response><sync-token>same</sync-token>`)
	})
	page, err := c.Pull(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pull(t.Context(), page.Next); domain.KindOf(err) != domain.KindUnavailable {
		t.Errorf("error %v, want KindUnavailable", err)
	}
}

func TestListingThatStraysFromTheCalendarIsAnError(t *testing.T) {
	t.Parallel()
	for _, href := range []string{"/other/a.ics", "/home/../other/a.ics", "/home/sub/a.ics", "mailto:x", ""} {
		c := scripted(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "PROPFIND" {
				multi(w, `<response><href>/home/</href><propstat><prop><resourcetype><C:calendar/></resourcetype><sync-token>t</sync-token></prop><status>HTTP/1.1 200 OK</status></propstat></response>`)
				return
			}
			multi(w, `<response><href>`+href+`</href><propstat><prop><getetag>"1"</getetag></prop><status>HTTP/1.1 200 OK</status></propstat></response><sync-token>t</sync-token>`)
		})
		if _, err := c.Pull(t.Context(), ""); err == nil {
			t.Errorf("%q is taken for a resource of the calendar", href)
		}
	}
}

func TestCalendarThatIsGoneProvesNothingAboutItsEntries(t *testing.T) {
	t.Parallel()
	c := scripted(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	_, err := c.Read(t.Context(), "/home/a.ics")
	if err == nil || domain.KindOf(err) == domain.KindNotFound {
		t.Errorf("read: error %v, want one that is not KindNotFound", err)
	}
	if _, err := c.Pull(t.Context(), ""); domain.KindOf(err) != domain.KindNotFound {
		t.Errorf("pull: error %v, want KindNotFound", err)
	}
}

func TestCursorEndsWithItsSettingsAndItsWindow(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{})
	page := pullAll(t, b.conn, "")
	other := connect(t, settings{URL: b.url, Username: user, Calendar: b.conn.settings.Calendar, CategoryDefault: domain.CategoryHold})
	if _, err := other.Pull(t.Context(), page.Next); domain.KindOf(err) != domain.KindGoneToken {
		t.Errorf("under other settings: %v, want KindGoneToken", err)
	}
	later := *b.conn
	later.now = func() time.Time { return providertest.Now.Add(windowStep) }
	if _, err := later.Pull(t.Context(), page.Next); err != nil {
		t.Errorf("a week later: %v", err)
	}
	later.now = func() time.Time { return providertest.Now.Add(windowStep + 24*time.Hour) }
	if _, err := later.Pull(t.Context(), page.Next); domain.KindOf(err) != domain.KindGoneToken {
		t.Errorf("eight days later: %v, want KindGoneToken", err)
	}
}

func TestDiscoveryFillsInTheOnlyCalendarThatFits(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{Calendars: []caldavsim.Calendar{
		{Name: "weddings"}, {Name: "tasks", Components: []string{"VTODO"}}, {Name: "birthdays", ReadOnly: true}}})
	for _, at := range []string{b.url, b.url + "/" + user + "/", b.url + "/nowhere/"} {
		c := connect(t, settings{URL: at, Username: user})
		raw, err := c.Onboard(t.Context())
		if err != nil {
			t.Errorf("from %s: %v", at, err)
			continue
		}
		var s settings
		if err := json.Unmarshal(raw, &s); err != nil || s.Calendar != b.url+b.sim.CalendarPath("weddings") || s.URL != at {
			t.Errorf("from %s: %s, %v", at, raw, err)
		}
		if err := validate(raw, map[string]string{"password": "x"}); err != nil {
			t.Errorf("the completed settings are not valid: %v", err)
		}
	}
}

func TestExportNeedsACalendarThatCanBeWritten(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{Calendars: []caldavsim.Calendar{{Name: "weddings", ReadOnly: true}}})
	for _, calendar := range []string{"", b.conn.settings.Calendar} {
		c := connect(t, settings{URL: b.url, Username: user, Calendar: calendar})
		if _, err := c.Onboard(t.Context()); err != nil {
			t.Errorf("import: %v", err)
		}
		c.exports = true
		if _, err := c.Onboard(t.Context()); domain.FieldOf(err) != "settings.calendar" {
			t.Errorf("export: error %v, want one on settings.calendar", err)
		}
	}
}

func TestResourceTooLargeIsAProblemAndHidesNoOther(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{})
	seed(b, 5)
	large := b.sim.PutEvent("weddings", "large.ics", vevent("UID:large", "DTSTART:20270605T130000Z", "DURATION:PT1H", "ATTACH:"+strings.Repeat("x", 100_000)))
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate, MaxBody: 20_000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	b.conn.http = client
	page := pullAll(t, b.conn, "")
	if len(page.Changes) != 5 || len(page.Problems) != 1 || page.Problems[0].ExternalID != large || domain.KindOf(page.Problems[0].Err) != domain.KindTooLarge {
		t.Errorf("%d changes, problems %v", len(page.Changes), page.Problems)
	}
}

func TestDiscoveryNamesTheChoices(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{Calendars: []caldavsim.Calendar{{Name: "weddings"}, {Name: "band"}}})
	_, err := connect(t, settings{URL: b.url, Username: user}).Onboard(t.Context())
	if domain.FieldOf(err) != "settings.calendar" || !strings.Contains(err.Error(), "/studio/calendars/band/, /studio/calendars/weddings/") {
		t.Errorf("error %v, want the two paths", err)
	}
}

// hosts answers for several host names without a network.
type hosts map[string]http.Handler

func (h hosts) Do(r *http.Request) (*httpx.Response, error) {
	handler, ok := h[r.URL.Host]
	if !ok {
		return nil, domain.E(domain.KindUnavailable, "no such host")
	}
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, r)
	res := &httpx.Response{Status: rec.Code, Header: rec.Header(), Body: rec.Body.Bytes(), URL: r.URL}
	if rec.Code/100 != 2 {
		return res, domain.E(domain.KindPermanent, "status %d", rec.Code)
	}
	return res, nil
}

func (h hosts) DoRead(r *http.Request, _ int64, read func(io.Reader) error) (*httpx.Response, error) {
	res, err := h.Do(r)
	if err == nil && res.Status/100 == 2 {
		err = read(bytes.NewReader(res.Body))
	}
	return res, err
}

func (h hosts) DoFollow(r *http.Request, limit int, allow func(*url.URL) bool) (*httpx.Response, error) {
	res, err := h.Do(r)
	if res == nil || res.Status/100 != 3 || limit == 0 {
		return res, err
	}
	next, parseErr := r.URL.Parse(res.Header.Get("Location"))
	if parseErr != nil || next.Host != r.URL.Host && !allow(next) {
		return res, err
	}
	again := r.Clone(r.Context())
	again.URL = next
	if again.Body, err = r.GetBody(); err != nil {
		return nil, err
	}
	return h.DoFollow(again, limit-1, allow)
}

func TestDiscoveryFollowsToAnotherHostOnlyUnderTheSameDomain(t *testing.T) {
	t.Parallel()
	for home, allowed := range map[string]bool{"https://p07.example.com": true, "https://example.com.evil.net": false, "http://p07.example.com": false} {
		sim := caldavsim.New(caldavsim.Options{Username: user, Password: password, HomeBase: home, Calendars: []caldavsim.Calendar{{Name: "weddings"}}})
		far := 0
		world := hosts{"dav.example.com": sim.Handler()}
		u, _ := url.Parse(home)
		world[u.Host] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			far++
			sim.Handler().ServeHTTP(w, r)
		})
		raw, _ := json.Marshal(settings{URL: "https://dav.example.com", Username: user})
		c, err := openWith(provider.Connection{Integration: domain.Integration{Settings: raw}, Secrets: map[string]string{"password": password}}, world)
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.Onboard(t.Context())
		if allowed && (err != nil || !strings.Contains(string(out), home+"/studio/calendars/weddings/")) {
			t.Errorf("%s: %s, %v", home, out, err)
		}
		if !allowed && (err == nil || far != 0) {
			t.Errorf("%s: error %v after %d requests to that host; want an error and none", home, err, far)
		}
	}
}

func TestBadSettingsNameTheField(t *testing.T) {
	t.Parallel()
	secrets := map[string]string{"password": "x"}
	for raw, field := range map[string]string{
		`{"username":"a"}`:                       "settings.url",
		`{"url":"ftp://x","username":"a"}`:       "settings.url",
		`{"url":"https://u:p@x","username":"a"}`: "settings.url",
		`{"url":"https://x"}`:                    "settings.username",
		`{"url":"https://x","username":"a","calendar":"https://evil.example/"}`:                      "settings.calendar",
		`{"url":"https://x","username":"a","category_default":"feast"}`:                              "settings.category_default",
		`{"url":"https://x","username":"a","category_rules":[{"category":"wedding","contains":[]}]}`: "settings.category_rules[0].contains",
		`{"url":"https://x","username":"a","window_past_days":-1}`:                                   "settings.window_past_days",
		`{"url":"https://x","username":"a","window_future_days":0}`:                                  "settings.window_future_days",
		`{"url":"https://x","username":"a","window_future_days":"9"}`:                                "settings.window_future_days",
		`{"url":"https://x","username":"a","colour":"red"}`:                                          "settings",
	} {
		if err := validate(json.RawMessage(raw), secrets); domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != field {
			t.Errorf("%s: %v, want KindInvalid on %s", raw, err, field)
		}
	}
	good := json.RawMessage(`{"url":"https://x.example","username":"a","calendar":"/cal/a","window_past_days":0}`)
	if err := validate(good, secrets); err != nil {
		t.Error(err)
	}
	if err := validate(good, nil); domain.FieldOf(err) != "secrets.password" {
		t.Errorf("without a password: %v", err)
	}
}

// scripted is a connection to a server that answers as a test says; its calendar is /home/.
func scripted(t *testing.T, answer http.HandlerFunc) *connection {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return connect(t, settings{URL: server.URL, Username: user, Calendar: "/home/"})
}

func multi(w http.ResponseWriter, inner string) {
	w.WriteHeader(http.StatusMultiStatus)
	_, _ = fmt.Fprintf(w, `<multistatus xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">%s</multistatus>`, inner)
}
