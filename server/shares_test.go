package server

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/share"
	"github.com/wedsync/wedsync/internal/store"
)

// weddingDay is a wedding with a timeline of a band and a florist, and words that nobody with a link may see.
type weddingDay struct {
	*bundle
	band, florist domain.ResourceID
	id            string
	operator      string
	version       int64
}

func newWeddingDay(b *bundle) *weddingDay {
	b.Helper()
	d := &weddingDay{bundle: b, operator: b.token(b.a.org, domain.RoleOperator), band: domain.NewID[domain.ResourceID](time.Now()), florist: domain.NewID[domain.ResourceID](time.Now())}
	b.must(b.store.Tenant(b.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		for id, name := range map[domain.ResourceID]string{d.band: "The Quavers", d.florist: "Fern Florist"} {
			if err := tx.CreateResource(ctx, domain.Resource{ID: id, Name: name, Kind: domain.ResourceTeam, Zone: "Europe/London", Capacity: 1}); err != nil {
				return err
			}
		}
		return nil
	}))
	var made struct{ ID string }
	b.do("POST", "/v1/bookings", d.operator, `{"resource_id":"`+string(b.a.spare)+`","category":"wedding","when":{"start":"2030-06-15T12:00:00Z","end":"2030-06-15T22:00:00Z","zone":"Europe/London"},
		"details":{"title":"SECRET-TITLE","location":"Mill Barn","notes":"SECRET-PRICE","contact":"SECRET-PHONE"}}`).into(b, &made)
	d.id = made.ID
	d.plan(`"place":"Lawn"`)
	return d
}

// plan sets the timeline; more is a field of the band's item.
func (d *weddingDay) plan(more string) {
	d.Helper()
	version := ""
	if d.version > 0 {
		version = `"version":` + string(rune('0'+d.version)) + `,`
	}
	got := d.do("PUT", "/v1/bookings/"+d.id+"/timeline", d.operator, `{`+version+`"items":[{"key":"vows","kind":"ceremony","title":"Vows","duration_minutes":45},
		{"key":"band","kind":"music","title":"First dance",`+more+`,"resource_id":"`+string(d.band)+`","offset_minutes":300,"duration_minutes":60},
		{"key":"flowers","kind":"setup","title":"SECRET-OF-FLORIST","resource_id":"`+string(d.florist)+`","offset_minutes":-120,"duration_minutes":60}]}`)
	if got.status != 200 {
		d.Fatalf("%d %s", got.status, got.body)
	}
	d.version++
}

func (d *weddingDay) share(body string) (path string, made shareView) {
	d.Helper()
	got := d.do("POST", "/v1/bookings/"+d.id+"/shares", d.operator, body)
	if got.status != 201 {
		d.Fatalf("%d %s", got.status, got.body)
	}
	got.into(d, &made)
	path, ok := strings.CutPrefix(made.URL, d.url)
	if !ok || path != "/s/"+made.Token {
		d.Fatalf("made %+v", made)
	}
	return path, made
}

func (d *weddingDay) view(path string) (v share.View) {
	d.Helper()
	got := d.do("GET", path, "", "", header("Accept", "application/json"))
	if got.status != 200 {
		d.Fatalf("%d %s", got.status, got.body)
	}
	got.into(d, &v)
	return v
}

func keys(v share.View) (out []string) {
	for _, i := range v.Items {
		out = append(out, i.Key)
	}
	return out
}

func TestALinkShowsTheWeddingAndNothingElse(t *testing.T) {
	t.Parallel()
	d := newWeddingDay(setup(t))
	couple, _ := d.share(`{"role":"couple","label":"SECRET-LABEL","title":"Ada and Ben"}`)
	vendor, _ := d.share(`{"role":"vendor","label":"SECRET-LABEL","resource_id":"` + string(d.band) + `"}`)
	if diff := cmp.Diff([]string{"flowers", "vows", "band"}, keys(d.view(couple))); diff != "" {
		t.Errorf("the couple (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"vows", "band"}, keys(d.view(vendor))); diff != "" {
		t.Errorf("the band (-want +got):\n%s", diff)
	}
	for name, c := range map[string]struct {
		path         string
		sees, hidden []string
	}{
		"couple": {couple, []string{"Ada and Ben", "Mill Barn", "Vows", "First dance", "The Quavers", "Fern Florist", "SECRET-OF-FLORIST", "18:00 to 19:00"}, []string{"<button"}},
		"vendor": {vendor, []string{"Wedding on 15 June 2030", "Mill Barn", "Vows", "First dance", "The Quavers", "<button", "18:00 to 19:00"}, []string{"Fern Florist", "SECRET-OF-FLORIST"}},
	} {
		got := d.do("GET", c.path, "", "", header("Accept", "text/html,application/xhtml+xml"))
		page := string(got.body)
		if got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/html") {
			t.Fatalf("%s: %d %s", name, got.status, page)
		}
		for _, word := range c.sees {
			if !strings.Contains(page, word) {
				t.Errorf("%s does not see %s", name, word)
			}
		}
		hidden := append(c.hidden, "SECRET-TITLE", "SECRET-PRICE", "SECRET-PHONE", "SECRET-LABEL", "Ada\"", "Photographer", string(d.a.org), d.id, string(d.band), "<script", "Coffee with Bo")
		for _, word := range hidden {
			if strings.Contains(page, word) {
				t.Errorf("%s sees %s", name, word)
			}
			if raw := d.do("GET", c.path, "", "", header("Accept", "application/json")); strings.Contains(string(raw.body), word) && word != "<button" {
				t.Errorf("%s reads %s as JSON", name, word)
			}
		}
		for k, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow, noarchive",
			"Content-Security-Policy": sharePolicy, "X-Frame-Options": "DENY"} {
			if got.header.Get(k) != want {
				t.Errorf("%s is %q, want %q", k, got.header.Get(k), want)
			}
		}
	}
	if log := d.log.String(); strings.Contains(log, "wsl_") || strings.Contains(log, "SECRET") || strings.Contains(log, "Ada and Ben") {
		t.Error("the log names a token or a person")
	}
}

func TestAVendorConfirmsWhatItSeesAndTheTimelineShowsIt(t *testing.T) {
	t.Parallel()
	d := newWeddingDay(setup(t))
	couple, _ := d.share(`{"role":"couple","label":"couple"}`)
	vendor, made := d.share(`{"role":"vendor","label":"band","resource_id":"` + string(d.band) + `"}`)
	band := d.view(vendor).Items[1]
	if !band.MayConfirm || band.Revision == "" {
		t.Fatalf("%+v", band)
	}
	say := func(path, item, revision string) reply {
		raw, err := json.Marshal(itemBody{item, revision})
		d.must(err)
		return d.do("POST", path+"/confirm", "", string(raw), header("Accept", "application/json"))
	}
	say(vendor, "flowers", band.Revision).problem(t, 404, "not_found")
	say(vendor, "nothing", band.Revision).problem(t, 404, "not_found")
	say(vendor, "vows", band.Revision).problem(t, 404, "not_found")
	say(vendor, "band", "0000").problem(t, 409, "conflict")
	say(couple, "band", band.Revision).problem(t, 403, "forbidden")
	say(vendor, "", "").problem(t, 422, "invalid")
	for range 2 { // the second time changes nothing
		if got := say(vendor, "band", band.Revision); got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	var timeline struct {
		Items []struct {
			Key       string
			Confirmed *domain.Confirmation
			Outdated  bool `json:"changed_since_confirmed"`
		}
	}
	read := func() {
		t.Helper()
		timeline.Items = nil
		d.do("GET", "/v1/bookings/"+d.id+"/timeline", d.operator, "").into(t, &timeline)
	}
	read()
	if c := timeline.Items[1].Confirmed; c == nil || c.ShareID != made.ID || c.ResourceID != d.band || timeline.Items[1].Outdated || timeline.Items[0].Confirmed != nil {
		t.Errorf("the timeline shows %+v", timeline.Items)
	}
	if item := d.view(couple).Items[2]; item.ConfirmedAt == nil || item.Outdated || item.Vendor != "The Quavers" {
		t.Errorf("the couple sees %+v", item)
	}
	// A form from a page, after the place changed.
	d.plan(`"place":"Barn"`)
	read()
	if !timeline.Items[1].Outdated {
		t.Error("the confirmation of another place counts still")
	}
	form := header("Content-Type", "application/x-www-form-urlencoded")
	got := d.do("POST", vendor+"/confirm", "", url.Values{"item": {"band"}, "revision": {band.Revision}}.Encode(), form)
	if got.status != 409 || !strings.Contains(string(got.body), "changed since it was shown") {
		t.Errorf("the old state: %d %s", got.status, got.body)
	}
	d.do("POST", vendor+"/confirm", "", "item=band&revision="+band.Revision, form, header("Sec-Fetch-Site", "cross-site")).problem(t, 403, "forbidden")
	now := d.view(vendor).Items[1]
	got = d.do("POST", vendor+"/confirm", "", url.Values{"item": {"band"}, "revision": {now.Revision}}.Encode(), form)
	if got.status != http.StatusSeeOther || got.header.Get("Location") != vendor {
		t.Errorf("%d to %q", got.status, got.header.Get("Location"))
	}
	read()
	if timeline.Items[1].Outdated {
		t.Error("confirmed anew, and outdated still")
	}
	var trail struct{ Items []domain.AuditEntry }
	d.do("GET", "/v1/audit?limit=50", d.token(d.a.org, domain.RoleAdmin), "").into(t, &trail)
	n := 0
	for _, e := range trail.Items {
		if e.Action == "timeline.confirm" && e.Actor == "share:"+string(made.ID) && e.Subject == "booking/"+d.id {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d confirmations in the trail", n)
	}
}

func TestALinkEndsWhenItIsRevokedAndWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	var clock = struct{ ahead time.Duration }{}
	d := newWeddingDay(setup(t, func(deps *Deps) { deps.Now = func() time.Time { return time.Now().Add(clock.ahead) } }))
	path, made := d.share(`{"role":"couple","label":"couple"}`)
	if made.ExpiresAt.Format(time.DateOnly) != "2030-07-15" {
		t.Errorf("without an end it ends at %s", made.ExpiresAt)
	}
	d.view(path)
	d.view(path)
	list := "/v1/bookings/" + d.id + "/shares"
	var all struct{ Items []shareView }
	d.do("GET", list, d.operator, "").into(t, &all)
	if len(all.Items) != 1 || all.Items[0].Accesses != 2 || all.Items[0].LastUsedAt == nil || all.Items[0].Token != "" || all.Items[0].URL != "" || all.Items[0].Label != "couple" {
		t.Errorf("listed %+v", all.Items)
	}
	d.do("DELETE", list+"/"+string(made.ID), d.token(d.b.org, domain.RoleAdmin), "").problem(t, 404, "not_found")
	d.do("DELETE", "/v1/bookings/"+string(d.a.booking)+"/shares/"+string(made.ID), d.operator, "").problem(t, 404, "not_found")
	for range 2 { // the second time changes nothing
		if got := d.do("DELETE", list+"/"+string(made.ID)+"?reason=leaked", d.operator, ""); got.status != 204 {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	d.do("GET", path, "", "").problem(t, 410, "gone")
	d.do("POST", path+"/confirm", "", "item=a&revision=b", header("Content-Type", "application/x-www-form-urlencoded")).problem(t, 410, "gone")
	d.do("GET", path+"/live", "", "").problem(t, 410, "gone")
	soon, err := json.Marshal(time.Now().Add(time.Hour))
	d.must(err)
	path, _ = d.share(`{"role":"couple","label":"short","expires_at":` + string(soon) + `}`)
	d.view(path)
	clock.ahead = 2 * time.Hour
	d.do("GET", path, "", "").problem(t, 410, "gone")
}

func TestWrongLinksNameTheField(t *testing.T) {
	t.Parallel()
	d := newWeddingDay(setup(t))
	at := "/v1/bookings/" + d.id + "/shares"
	for body, field := range map[string]string{
		`{"role":"vendor","label":"x"}`: "body.resource_id", `{"role":"couple","label":"x","resource_id":"` + string(d.band) + `"}`: "body.resource_id",
		`{"role":"vendor","label":"x","resource_id":"` + string(d.b.resource) + `"}`: "body.resource_id", `{"role":"guest","label":"x"}`: "body.role",
		`{"role":"couple","label":"a\u0001"}`: "body.label", `{"role":"couple","label":"x","title":"a\nb"}`: "body.title",
		`{"role":"couple","label":"x","expires_at":"2020-01-01T00:00:00Z"}`: "body.expires_at", `{"role":"couple","label":"x","expires_at":"2099-01-01T00:00:00Z"}`: "body.expires_at",
	} {
		p := d.do("POST", at, d.operator, body).problem(t, 422, "invalid")
		if len(p.Errors) != 1 || p.Errors[0].Field != field {
			t.Errorf("%s: %+v, want field %s", body, p, field)
		}
	}
	d.do("POST", at, d.token(d.a.org, domain.RoleViewer), `{"role":"couple","label":"x"}`).problem(t, 403, "forbidden")
	d.do("POST", at, d.token(d.b.org, domain.RoleAdmin), `{"role":"couple","label":"x"}`).problem(t, 404, "not_found")
}

func TestGuessingLinksIsUnknownAndSlowedDown(t *testing.T) {
	t.Parallel()
	d := newWeddingDay(setup(t, func(deps *Deps) { deps.Options.FeedRate = 1 }))
	path, made := d.share(`{"role":"couple","label":"x"}`)
	slowed := false
	for _, token := range []string{"x", made.Token[:len(made.Token)-1], made.Token + "A", "wsl_" + strings.Repeat("A", 100)} {
		got := d.do("GET", "/s/"+token, "", "")
		if got.status == http.StatusTooManyRequests {
			slowed = got.header.Get("Retry-After") != ""
			break
		}
		got.problem(t, 404, "not_found")
	}
	if got := d.do("GET", path, "", ""); !slowed || got.status != http.StatusTooManyRequests {
		t.Errorf("after the guesses the address still gets %d", got.status)
	}
}

func TestAnOpenStreamOfALinkSaysThatSomethingChangedAndNoIDs(t *testing.T) {
	t.Parallel()
	d := newWeddingDay(setup(t))
	path, made := d.share(`{"role":"couple","label":"x"}`)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", d.url+path+"/live", nil)
	d.must(err)
	res, err := http.DefaultTransport.RoundTrip(req)
	d.must(err)
	defer res.Body.Close()
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	d.plan(`"place":"Barn"`)
	var text strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(text.String(), "event: changed\ndata: {}") {
		n, err := res.Body.Read(buf)
		text.Write(buf[:n])
		if err != nil {
			t.Fatalf("%v after %q", err, text.String())
		}
	}
	if said := text.String(); strings.Contains(said, d.id) || strings.Contains(said, string(d.a.org)) || strings.Contains(said, "timeline.changed") {
		t.Errorf("the stream says %q", said)
	}
	// Revoked, it ends by itself.
	if got := d.do("DELETE", "/v1/bookings/"+d.id+"/shares/"+string(made.ID), d.operator, ""); got.status != 204 {
		t.Fatal(got.status)
	}
	for {
		if _, err := res.Body.Read(buf); err != nil {
			if ctx.Err() != nil {
				t.Error("the stream of a revoked link goes on")
			}
			return
		}
	}
}
