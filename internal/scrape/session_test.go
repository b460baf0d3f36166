package scrape

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/sim/lightbluesim"
)

func TestAListIsReadOverAllItsPagesAfterOneLogIn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := b.fill(23)
	r := b.good(t)
	if len(r.Rows) != 23 || r.Pages != 3 || len(r.Faults) != 0 || b.Logins() != 1 {
		t.Fatalf("%d rows on %d pages, %d faults, %d log-ins", len(r.Rows), r.Pages, len(r.Faults), b.Logins())
	}
	want := Row{ID: ids[0], Page: 1, Line: r.Rows[0].Line, Fields: map[string]string{"id": ids[0], "title": "Quillfeather wedding", "date": "2027-03-02",
		"start_time": "14:00", "end_time": "22:00", "status": "confirmed", "location": "Mill"}}
	if diff := cmp.Diff(want, r.Rows[0]); diff != "" || r.Rows[0].Line < 5 {
		t.Errorf("the first row, of line %d:\n%s", r.Rows[0].Line, diff)
	}
}

func TestRequestsKeepTheirPauseWithJitter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(23)
	r := b.good(t)
	if len(b.slept) != r.Requests-1 {
		t.Fatalf("%d pauses between %d requests", len(b.slept), r.Requests)
	}
	for _, d := range b.slept {
		if d != 2250*time.Millisecond {
			t.Errorf("a pause of %s, want 2 s and half of a quarter more", d)
		}
	}
}

func TestOneRequestAtATimeGoesToAHost(t *testing.T) {
	t.Parallel()
	var under, most atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := under.Add(1)
		defer under.Add(-1)
		for {
			had := most.Load()
			if n <= had || most.CompareAndSwap(had, n) {
				break
			}
		}
		_, _ = w.Write([]byte(`<ul><li id="a">x</li></ul>`))
	}))
	defer server.Close()
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p := program(t, `{"version":1,"name":"x","base":"`+server.URL+`","list":{"path":"/","rows":"li","identity":["id"],"fields":{"id":{"attr":"id","required":true}}},"limits":{"interval":0.001}}`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := p.Session(Options{HTTP: client}).Run(t.Context(), Window{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() != 1 {
		t.Errorf("%d requests at once", most.Load())
	}
}

func TestASessionThatEndedIsRenewedWhereverItShows(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]lightbluesim.PortalFaults{"by a redirect": {}, "by the form in place of the list": {Inline: true}} {
		b := setup(t)
		b.fill(5)
		b.good(t)
		b.SetFaults(lightbluesim.Faults{Portal: f})
		b.ExpireSessions()
		if r := b.good(t); len(r.Rows) != 5 || b.Logins() != 2 {
			t.Errorf("%s: %d rows after %d log-ins", name, len(r.Rows), b.Logins())
		}
	}
}

func TestAPortalThatForgetsEverySessionIsNotAskedForEver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(5)
	b.SetFaults(lightbluesim.Faults{Portal: lightbluesim.PortalFaults{Forget: true}})
	_, err := b.run(t)
	if domain.KindOf(err) != domain.KindUnauthenticated || b.asked("POST /portal/login") > mostLogins {
		t.Errorf("%v after %d log-ins", err, b.asked("POST /portal/login"))
	}
}

func TestWrongCredentialsAreUnauthenticatedAndNotShown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.session = b.open(t, "wrong-secret-word")
	_, err := b.run(t)
	if domain.KindOf(err) != domain.KindUnauthenticated || strings.Contains(err.Error(), "wrong-secret-word") || strings.Contains(err.Error(), lightbluesim.PortalUser) {
		t.Errorf("error %v", err)
	}
	if n := b.asked("wrong-secret-word"); n != 0 {
		t.Errorf("the password stood in %d addresses", n)
	}
}

func TestUnchangedPagesAreNotReadAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := b.fill(15)
	if r := b.good(t); r.Same != 0 {
		t.Fatalf("%d pages the same at first", r.Same)
	}
	if r := b.good(t); r.Same != 2 || len(r.Rows) != 15 {
		t.Errorf("%d of %d pages the same, %d rows", r.Same, r.Pages, len(r.Rows))
	}
	b.EditShoot(ids[12], lightbluesim.Shoot{Title: "Other", Start: now, End: now.Add(time.Hour)})
	if r := b.good(t); r.Same != 1 || r.Rows[12].Fields["title"] != "Other" {
		t.Errorf("%d pages the same after a change on the second, whose row is %v", r.Same, r.Rows[12].Fields)
	}
}

func TestDriftIsAFailureAndNeverAnEmptyOrShortList(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault lightbluesim.PortalFaults
		path  string
	}{
		"rows that vanish without a word": {lightbluesim.PortalFaults{NoRows: true}, "recipe.list.rows"},
		"a container that is gone":        {lightbluesim.PortalFaults{NoTable: true}, "recipe.list.container"},
		"a class of another name":         {lightbluesim.PortalFaults{RenameDate: true}, "recipe.list.fields.date"},
		"rows without an identity":        {lightbluesim.PortalFaults{DropID: true}, "recipe.list.fields.id"},
		"half of the dates":               {lightbluesim.PortalFaults{HalfDates: 5}, "recipe.list.fields.date"},
	} {
		b := setup(t)
		b.fill(10)
		b.good(t)
		b.SetFaults(lightbluesim.Faults{Portal: c.fault})
		r, err := b.run(t)
		var drift *Drift
		if !errors.As(err, &drift) || domain.KindOf(err) != domain.KindDrift || len(r.Rows) != 0 {
			t.Errorf("%s: %d rows and %v, want drift", name, len(r.Rows), err)
			continue
		}
		report, page := drift.Snapshot()
		if drift.Path != c.path || !strings.Contains(report, c.path) || len(page) == 0 {
			t.Errorf("%s: drift of %s, want %s; report %s", name, drift.Path, c.path, report)
		}
		for _, word := range []string{"Quillfeather", "Oakbridge", "S-1001", lightbluesim.PortalPassword} {
			if strings.Contains(string(page)+report+err.Error(), word) {
				t.Errorf("%s: %s stands in the snapshot or the report", name, word)
			}
		}
	}
	for name, f := range map[string]lightbluesim.PortalFaults{"an entry too few": {Short: true}, "a list without an end": {Loop: true}} {
		b := setup(t)
		b.fill(15)
		b.SetFaults(lightbluesim.Faults{Portal: f})
		if _, err := b.run(t); domain.KindOf(err) != domain.KindDrift {
			t.Errorf("%s: %v, want drift", name, err)
		}
	}
}

func TestAFewBadRowsAreFaultsOfTheirs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := b.fill(10)
	b.SetFaults(lightbluesim.Faults{Portal: lightbluesim.PortalFaults{HalfDates: 2}})
	r := b.good(t)
	if len(r.Rows) != 8 || len(r.Faults) != 2 || r.Faults[0].ID != ids[0] || r.Faults[0].Field != "date" || r.Faults[0].Line == 0 || r.Unsure {
		t.Errorf("%d rows, faults %v", len(r.Rows), r.Faults)
	}
}

func TestAnEmptyListMustSayThatItIs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if r := b.good(t); !r.Empty || len(r.Rows) != 0 {
		t.Errorf("an empty list: %+v", r)
	}
}

func TestRowsThatComeTwiceCountOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(25)
	b.SetFaults(lightbluesim.Faults{Portal: lightbluesim.PortalFaults{Repeat: true}})
	if r := b.good(t); len(r.Rows) != 25 {
		t.Errorf("%d rows, want 25", len(r.Rows))
	}
}

func TestRobotsAreAskedFirstAndObeyed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		f    lightbluesim.PortalFaults
		kind domain.ErrorKind
		most int // requests beside robots.txt
	}{
		"nothing said":          {lightbluesim.PortalFaults{RobotsStatus: 404}, "", 99},
		"another agent's rules": {lightbluesim.PortalFaults{Robots: "User-agent: other\nDisallow: /\n"}, "", 99},
		"closed":                {lightbluesim.PortalFaults{Robots: "User-agent: *\nDisallow: /portal\n"}, domain.KindForbidden, 0},
		"closed for us":         {lightbluesim.PortalFaults{Robots: "User-agent: *\nAllow: /\n\nUser-agent: WedSync\nDisallow: /portal/login\n"}, domain.KindForbidden, 0},
		"in trouble":            {lightbluesim.PortalFaults{RobotsStatus: 503}, domain.KindUnavailable, 0},
		"too slow for us":       {lightbluesim.PortalFaults{Robots: "User-agent: *\nCrawl-delay: 600\n"}, domain.KindForbidden, 0},
	} {
		b := setup(t)
		b.fill(3)
		b.SetFaults(lightbluesim.Faults{Portal: c.f})
		_, err := b.run(t)
		if domain.KindOf(err) != c.kind || len(b.Requests())-b.asked("/robots.txt") > c.most {
			t.Errorf("%s: %v after %v", name, err, b.Requests())
		}
	}
	b := setup(t)
	b.fill(3)
	b.good(t)
	b.good(t)
	if n := b.asked("/robots.txt"); n != 1 {
		t.Errorf("robots.txt was asked for %d times in a minute", n)
	}
	b.ahead(robotsFor)
	b.good(t)
	if n := b.asked("/robots.txt"); n != 2 {
		t.Errorf("robots.txt was asked for %d times after half a day", n)
	}
}

func TestNoRequestLeavesTheOrigin(t *testing.T) {
	t.Parallel()
	var strangers atomic.Int32
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { strangers.Add(1) }))
	defer stranger.Close()
	for name, page := range map[string]string{
		"a next page":   `<p class="next"><a href="` + stranger.URL + `/x">next</a></p>`,
		"a redirect":    "",
		"a form action": `<form id="f" method="post" action="` + stranger.URL + `"><input name="p"></form>`,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/robots.txt":
				w.WriteHeader(404)
			case page == "":
				http.Redirect(w, r, stranger.URL, http.StatusFound)
			default:
				_, _ = w.Write([]byte(`<ul><li id="a">x</li></ul>` + page))
			}
		}))
		defer server.Close()
		client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		login := ""
		if strings.Contains(page, "form") {
			login = `"login":{"path":"/in","form":"form#f","fields":{"p":"{secret.password}"}},"logged_out":{"selector":"form#f"},`
		}
		p := program(t, `{"version":1,"name":"x","base":"`+server.URL+`",`+login+`"list":{"path":"/","rows":"li","next":"p.next a","identity":["id"],
			"fields":{"id":{"attr":"id","required":true}}},"limits":{"interval":0.001}}`)
		_, err = p.Session(Options{HTTP: client, Secrets: map[string]string{"password": "secret-word"}}).Run(t.Context(), Window{})
		if domain.KindOf(err) != domain.KindPermanent {
			t.Errorf("%s: %v", name, err)
		}
	}
	if strangers.Load() != 0 {
		t.Errorf("%d requests to another host", strangers.Load())
	}
}

func TestPagesAndListsThatAreTooLongAreErrors(t *testing.T) {
	t.Parallel()
	b := setup(t, "pages: 20", "pages: 2")
	b.fill(25)
	if _, err := b.run(t); domain.KindOf(err) != domain.KindTooLarge {
		t.Errorf("a third page: %v", err)
	}
	b = setup(t, "interval: 2", "interval: 2, page_bytes: 1024")
	b.fill(10)
	if _, err := b.run(t); domain.KindOf(err) != domain.KindTooLarge {
		t.Errorf("a page of more than 1024 bytes: %v", err)
	}
}

func TestNumberedPagesEndWhereNothingNewComes(t *testing.T) {
	t.Parallel()
	b := setup(t, "/portal/shoots?page=1", `"/portal/shoots?page={page}"`, "  next: nav.pages a.next\n", "")
	b.fill(25)
	if r := b.good(t); len(r.Rows) != 25 || r.Pages != 4 {
		t.Errorf("%d rows on %d pages", len(r.Rows), r.Pages)
	}
}

func TestAnEmptyPageEndsAListOnlyWhereItShowsThatItIsOne(t *testing.T) {
	t.Parallel()
	const container, empty, total = "  container: table#shoots\n", "  empty: p.none\n", "  total: {selector: p.total, pattern: '(\\d+) shoots'}\n"
	numbered := []string{"/portal/shoots?page=1", `"/portal/shoots?page={page}"`, "  next: nav.pages a.next\n", "", empty, ""}
	for name, v := range map[string]struct {
		left   []string
		unsure bool
	}{
		"with a total":     {[]string{container, ""}, false},
		"with a container": {[]string{total, ""}, false},
		"with neither":     {[]string{container, "", total, ""}, true},
	} {
		b := setup(t, slices.Concat(numbered, v.left)...)
		b.fill(25)
		if r := b.good(t); len(r.Rows) != 25 || r.Unsure != v.unsure {
			t.Errorf("%s: %d rows, unsure %v", name, len(r.Rows), r.Unsure)
		}
	}
}

func TestDatesOfAnAddressHoldNoBlanks(t *testing.T) {
	t.Parallel()
	b := setup(t, "/portal/shoots?page=1", `"/portal/{from}/shoots?from={from}&until={until}"`, "  container:", "  date_format: D MMM YYYY\n  container:")
	at, err := b.session.address(Window{From: now, Until: now.AddDate(0, 3, 0)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if q := at.Query(); at.RequestURI() != "/portal/1%20Mar%202027/shoots?from=1%20Mar%202027&until=1%20Jun%202027" || q.Get("until") != "1 Jun 2027" {
		t.Errorf("the request is for %s", at.RequestURI())
	}
}

func TestARunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(3)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.session.Run(ctx, Window{}); domain.KindOf(err) != domain.KindUnavailable {
		t.Errorf("an ended context: %v", err)
	}
	b.SetFaults(lightbluesim.Faults{Hang: true})
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.session.Run(ctx, Window{}); domain.KindOf(err) != domain.KindUnavailable {
		t.Errorf("a portal that hangs: %v", err)
	}
}

func TestThePauseHoldsOverAllProcesses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var until time.Time // when the turn that somebody has is over
	once := func(_ context.Context, what string, every time.Duration) error {
		if wait := until.Sub(b.now()); wait > 0 {
			return domain.WithRetryAfter(domain.E(domain.KindRateLimited, "another's turn"), wait)
		}
		if every != 2*time.Second || !strings.HasPrefix(what, "scrape\n127.0.0.1:") {
			t.Errorf("a turn of %q each %s", what, every)
		}
		until = b.now().Add(every)
		return nil
	}
	b.session.o.Once = once
	until = b.now().Add(30 * time.Second) // another process was there first
	began := b.now()
	r, err := b.session.Run(t.Context(), Window{})
	if err != nil {
		t.Fatal(err)
	}
	if took := b.now().Sub(began); r.Requests < 2 || took < 30*time.Second+time.Duration(r.Requests-1)*2*time.Second {
		t.Errorf("%d requests in %s", r.Requests, took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	until = b.now().Add(time.Hour)
	if _, err := b.session.Run(ctx, Window{}); domain.KindOf(err) != domain.KindUnavailable {
		t.Errorf("who gives up: %v", err)
	}
}
