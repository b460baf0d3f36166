package server

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// feed publishes the calendar of a tenant's resource and returns its path.
func (b *bundle) feed(x tenant, body string) (path string, made feedView) {
	b.Helper()
	got := b.do("POST", "/v1/resources/"+string(x.resource)+"/feeds", b.token(x.org, domain.RoleAdmin), body)
	if got.status != 201 {
		b.Fatalf("%d %s", got.status, got.body)
	}
	got.into(b, &made)
	path, ok := strings.CutPrefix(made.URL, b.url)
	if !ok || path != "/feeds/"+made.Token+".ics" || len(made.Token) != 43 {
		b.Fatalf("made %+v", made)
	}
	return path, made
}

func TestAFeedIsMadeReadListedAndRevoked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	path, made := b.feed(b.a, `{"label":"Studio","detail":"titles","reason":"for the florist"}`)
	got := b.do("GET", path, "", "")
	text := string(got.body)
	if got.status != 200 || got.header.Get("Content-Type") != "text/calendar; charset=utf-8" || strings.Count(text, "BEGIN:VEVENT\r\n") != 2 ||
		!strings.Contains(text, "SUMMARY:Wedding of Ada\r\n") || !strings.Contains(text, "X-WR-CALNAME:Studio\r\n") || strings.Contains(text, "METHOD") {
		t.Fatalf("%d %s", got.status, text)
	}
	if c := got.header.Get("Cache-Control"); !strings.HasPrefix(c, "private") {
		t.Errorf("Cache-Control is %q", c)
	}
	list := "/v1/resources/" + string(b.a.resource) + "/feeds"
	var all struct{ Items []feedView }
	b.do("GET", list, admin, "").into(t, &all)
	if len(all.Items) != 1 || all.Items[0].ID != made.ID || all.Items[0].Token != "" || all.Items[0].URL != "" || all.Items[0].LastReadAt == nil {
		t.Errorf("listed: %+v", all.Items)
	}
	for range 2 { // the second time changes nothing
		if got := b.do("DELETE", list+"/"+string(made.ID)+"?reason=leaked", admin, ""); got.status != 204 {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	b.do("GET", path, "", "").problem(t, 410, "gone")
	var trail struct{ Items []domain.AuditEntry }
	b.do("GET", "/v1/audit?limit=10", admin, "").into(t, &trail)
	said := ""
	for _, e := range trail.Items {
		said += e.Action + "/" + e.Reason + " "
	}
	if strings.Count(said, "feed.revoke/leaked ") != 1 || strings.Count(said, "feed.create/for the florist ") != 1 {
		t.Errorf("the trail says %s", said)
	}
	if strings.Contains(b.log.String(), made.Token) {
		t.Error("the token of a feed is in the log")
	}
}

func TestAFeedThatDidNotChangeIsNotSentAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path, _ := b.feed(b.a, `{"label":"Studio"}`)
	first := b.do("GET", path, "", "")
	tag, changed := first.header.Get("ETag"), first.header.Get("Last-Modified")
	if tag == "" || changed == "" {
		t.Fatalf("ETag %q, Last-Modified %q", tag, changed)
	}
	for name, opt := range map[string]option{"If-None-Match": header("If-None-Match", tag), "If-Modified-Since": header("If-Modified-Since", changed)} {
		if got := b.do("GET", path, "", "", opt); got.status != 304 || len(got.body) != 0 || got.header.Get("ETag") != tag {
			t.Errorf("%s: %d with %d bytes", name, got.status, len(got.body))
		}
	}
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE bookings SET status = 'cancelled', updated_at = now() WHERE org_id = $1 AND id = $2", b.a.org, b.a.booking)
		return err
	}))
	got := b.do("GET", path, "", "", header("If-None-Match", tag))
	if got.status != 200 || got.header.Get("ETag") == tag || strings.Count(string(got.body), "BEGIN:VEVENT") != 1 {
		t.Errorf("after a cancellation: %d, ETag %s", got.status, got.header.Get("ETag"))
	}
	// Within the same second too, somebody who has only a date must see the change.
	if got := b.do("GET", path, "", "", header("If-Modified-Since", changed)); got.status != 200 {
		t.Errorf("If-Modified-Since from before the change: %d", got.status)
	}
}

func TestHeadOfAFeedIsItsAnswerWithoutTheBody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	path, made := b.feed(b.a, `{"label":"Studio"}`)
	got, head := b.do("GET", path, "", ""), b.do("HEAD", path, "", "")
	if head.status != 200 || len(head.body) != 0 || head.header.Get("Content-Length") != strconv.Itoa(len(got.body)) {
		t.Errorf("%d with %d bytes, Content-Length %s, want that of %d", head.status, len(head.body), head.header.Get("Content-Length"), len(got.body))
	}
	for _, name := range []string{"Content-Type", "ETag", "Last-Modified", "Cache-Control", "Content-Disposition"} {
		if head.header.Get(name) != got.header.Get(name) || head.header.Get(name) == "" {
			t.Errorf("%s is %q, that of GET %q", name, head.header.Get(name), got.header.Get(name))
		}
	}
	if again := b.do("HEAD", path, "", "", header("If-None-Match", got.header.Get("ETag"))); again.status != 304 || len(again.body) != 0 {
		t.Errorf("unchanged: %d with %d bytes", again.status, len(again.body))
	}
	if got := b.do("DELETE", "/v1/resources/"+string(b.a.resource)+"/feeds/"+string(made.ID), admin, ""); got.status != 204 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	for path, want := range map[string]int{path: 410, "/feeds/" + strings.Repeat("A", 43) + ".ics": 404} {
		if got := b.do("HEAD", path, "", ""); got.status != want || len(got.body) != 0 {
			t.Errorf("%d with %d bytes, want %d", got.status, len(got.body), want)
		}
	}
}

func TestAFeedShowsItsResourceAndWindowAndNothingElse(t *testing.T) {
	t.Parallel()
	b := setup(t)
	busy, _ := b.feed(b.a, `{"label":"Studio"}`)
	text := string(b.do("GET", busy, "", "").body)
	if strings.Count(text, "SUMMARY:Busy\r\n") != 2 || strings.Contains(text, "Ada") || strings.Contains(text, "Bo") && strings.Contains(text, "Coffee") {
		t.Errorf("a feed of busy times says %s", text)
	}
	soon, _ := b.feed(b.a, `{"label":"Soon","future_days":30}`)
	if text := string(b.do("GET", soon, "", "").body); strings.Contains(text, "VEVENT") {
		t.Errorf("half a year ahead is not within 30 days: %s", text)
	}
	spare := b.a
	spare.resource = b.a.spare
	other, _ := b.feed(spare, `{"label":"Spare"}`)
	if text := string(b.do("GET", other, "", "").body); strings.Contains(text, "VEVENT") || !strings.Contains(text, "END:VCALENDAR\r\n") {
		t.Errorf("the other resource has no bookings: %s", text)
	}
	foreign, _ := b.feed(b.b, `{"label":"Foreign"}`)
	theirs := string(b.do("GET", foreign, "", "").body)
	if strings.Contains(theirs, string(b.a.booking)) || !strings.Contains(theirs, string(b.b.booking)) {
		t.Errorf("the feed of another organisation shows %s", theirs)
	}
}

func TestOneTenantCannotListOrRevokeTheFeedsOfAnother(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path, made := b.feed(b.b, `{"label":"Theirs"}`)
	admin := b.token(b.a.org, domain.RoleAdmin)
	for _, resource := range []domain.ResourceID{b.a.resource, b.b.resource} {
		b.do("DELETE", "/v1/resources/"+string(resource)+"/feeds/"+string(made.ID), admin, "").problem(t, 404, "not_found")
	}
	var all struct{ Items []feedView }
	b.do("GET", "/v1/resources/"+string(b.a.resource)+"/feeds", admin, "").into(t, &all)
	if len(all.Items) != 0 {
		t.Errorf("lists %+v", all.Items)
	}
	b.do("POST", "/v1/resources/"+string(b.b.resource)+"/feeds", admin, `{"label":"x"}`).problem(t, 404, "not_found")
	if got := b.do("GET", path, "", ""); got.status != 200 {
		t.Errorf("their feed answers %d", got.status)
	}
}

func TestWrongFeedsNameTheField(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	at := "/v1/resources/" + string(b.a.resource) + "/feeds"
	for body, field := range map[string]string{
		`{"label":""}`:                     "body.label",
		`{"label":"a\u0001b"}`:             "body.label",
		`{"label":"x","detail":"all"}`:     "body.detail",
		`{"label":"x","past_days":-1}`:     "body.past_days",
		`{"label":"x","future_days":0}`:    "body.future_days",
		`{"label":"x","future_days":1101}`: "body.future_days",
	} {
		p := b.do("POST", at, admin, body).problem(t, 422, "invalid")
		if len(p.Errors) != 1 || p.Errors[0].Field != field {
			t.Errorf("%s: %+v, want field %s", body, p, field)
		}
	}
	for range domain.MaxFeeds {
		b.feed(b.a, `{"label":"x"}`)
	}
	b.do("POST", at, admin, `{"label":"x"}`).problem(t, 409, "conflict")
}

func TestGuessingFeedsIsUnknownAndSlowedDown(t *testing.T) {
	t.Parallel()
	b := setup(t, func(d *Deps) { d.Options.FeedRate = 1 })
	path, made := b.feed(b.a, `{"label":"x"}`)
	for _, file := range []string{"x.ics", made.Token, made.Token + ".ics.ics", made.Token[:42] + "_.ics"} {
		got := b.do("GET", "/feeds/"+file, "", "")
		if got.status == http.StatusTooManyRequests {
			if got.header.Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
			break
		}
		got.problem(t, 404, "not_found")
	}
	// Each guess cost ten of twenty requests.
	if got := b.do("GET", path, "", ""); got.status != http.StatusTooManyRequests {
		t.Errorf("after the guesses the address still gets %d", got.status)
	}
}
