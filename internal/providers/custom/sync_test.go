package custom_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

func must[T any](t testing.TB, opened any) T {
	t.Helper()
	v, ok := provider.As[T](opened)
	if !ok {
		t.Fatalf("%T lacks the ability", opened)
	}
	return v
}

func seed(crm *crmsim.CRM, n int) {
	for i := range n {
		day := providertest.Now.AddDate(0, 0, i+1)
		crm.Create(crmsim.Event{Kind: "meeting", State: "booked", Title: "Tasting", Starts: day.Format(time.RFC3339), Ends: day.Add(time.Hour).Format(time.RFC3339)})
	}
}

// listAll pulls to the end and returns the distinct ids, the last page and how many pages there were.
func listAll(t testing.TB, p provider.Puller, cursor string) (ids map[string]bool, last provider.Page, pages int) {
	t.Helper()
	ids = map[string]bool{}
	for {
		page, err := p.Pull(t.Context(), cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Changes {
			ids[c.ExternalID] = true
		}
		pages++
		if !page.More {
			return ids, page, pages
		}
		cursor = page.Next
	}
}

func TestListingThatLostOrRepeatedEntriesProvesNothingAndStartsAnew(t *testing.T) {
	t.Parallel()
	for _, f := range []crmsim.Fault{crmsim.FaultMissingPage, crmsim.FaultRepeatPage, crmsim.FaultDropEntry} {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			b := setup(t, crmsim.Options{PageSize: 10}, nil)
			seed(b.crm, 35)
			b.crm.Break(f, 1)
			p := must[provider.Puller](t, b.opened)
			_, last, _ := listAll(t, p, "")
			if last.Complete {
				t.Error("the listing counts as complete")
			}
			ids, last, _ := listAll(t, p, last.Next)
			if len(ids) != 35 || !last.Complete {
				t.Errorf("the listing after it names %d entries, complete %v", len(ids), last.Complete)
			}
		})
	}
}

func TestPageOfAListingCanBePulledAgainAfterAFault(t *testing.T) {
	t.Parallel()
	b := setup(t, crmsim.Options{PageSize: 10}, nil)
	seed(b.crm, 25)
	p := must[provider.Puller](t, b.opened)
	first, err := p.Pull(t.Context(), "")
	if err != nil || !first.More {
		t.Fatal(first, err)
	}
	b.crm.Break(crmsim.FaultSlowSecond, 1)
	if _, err := p.Pull(t.Context(), first.Next); domain.KindOf(err) != domain.KindUnavailable {
		t.Fatalf("error %v, want KindUnavailable", err)
	}
	if ids, last, _ := listAll(t, p, first.Next); len(ids) != 15 || !last.Complete {
		t.Errorf("the rest names %d entries, complete %v", len(ids), last.Complete)
	}
}

func TestFaultsOfACallHaveTheirKinds(t *testing.T) {
	t.Parallel()
	b := setup(t, crmsim.Options{}, nil)
	seed(b.crm, 1)
	for f, want := range map[crmsim.Fault]domain.ErrorKind{crmsim.FaultRateNoWait: domain.KindRateLimited, crmsim.FaultCrash: domain.KindUnavailable,
		crmsim.FaultGarbage: domain.KindUnavailable, crmsim.FaultUnauthorized: domain.KindUnauthenticated} {
		b.crm.Heal()
		b.crm.Break(f, 1)
		_, err := must[provider.Puller](t, b.opened).Pull(t.Context(), "")
		if domain.KindOf(err) != want || strings.Contains(err.Error(), "Marigold") || strings.Contains(err.Error(), apiKey) {
			t.Errorf("%s: error %v of kind %s, want %s", f, err, domain.KindOf(err), want)
		}
	}
	b.crm.Break(crmsim.FaultRejectWrites, 1)
	_, err := must[provider.Writer](t, b.opened).Put(t.Context(), wish())
	if domain.KindOf(err) != domain.KindPermanent {
		t.Errorf("a refused write: error %v of kind %s, want permanent", err, domain.KindOf(err))
	}
}

func TestEntryThatCannotBeUnderstoodIsAProblemAndTheRestIsApplied(t *testing.T) {
	t.Parallel()
	b := setup(t, crmsim.Options{}, nil)
	seed(b.crm, 2)
	odd := b.crm.Create(crmsim.Event{Kind: "meeting", State: "Marigold", Starts: "2027-06-05", Ends: "2027-06-06"})
	page, err := must[provider.Puller](t, b.opened).Pull(t.Context(), "")
	if err != nil || len(page.Changes) != 2 || len(page.Problems) != 1 || page.Problems[0].ExternalID != odd.ID || !page.Complete {
		t.Fatalf("page %+v, error %v", page, err)
	}
	if err := page.Problems[0].Err; domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != "status" || strings.Contains(err.Error(), "Marigold") {
		t.Errorf("problem %v", err)
	}
}

func TestCursorOfOtherSettingsIsGone(t *testing.T) {
	t.Parallel()
	b := setup(t, crmsim.Options{}, nil)
	_, last, _ := listAll(t, must[provider.Puller](t, b.opened), "")
	changed := swap(t, crmsim.Settings(b.srv.URL), `"item.?title"`, `"item.?venue"`)
	if _, err := must[provider.Puller](t, openSettings(t, changed)).Pull(t.Context(), last.Next); domain.KindOf(err) != domain.KindGoneToken {
		t.Errorf("error %v, want KindGoneToken", err)
	}
	var same bytes.Buffer
	if err := json.Compact(&same, crmsim.Settings(b.srv.URL)); err != nil {
		t.Fatal(err)
	}
	if _, err := must[provider.Puller](t, openSettings(t, same.Bytes())).Pull(t.Context(), last.Next); err != nil {
		t.Errorf("the same settings in another layout: %v", err)
	}
}

func TestSystemWithoutTokenIsListedInFullEachTime(t *testing.T) {
	t.Parallel()
	b := setup(t, crmsim.Options{}, func(s []byte) []byte {
		return swap(t, s, `,
    "incremental": {"token": "body.sync", "from": "first"}`, "")
	})
	seed(b.crm, 3)
	p := must[provider.Puller](t, b.opened)
	for cursor, round := "", 0; round < 3; round++ {
		ids, last, _ := listAll(t, p, cursor)
		if len(ids) != 3 || !last.Complete || last.Next == "" {
			t.Fatalf("round %d: %d entries, complete %v, next %q", round, len(ids), last.Complete, last.Next)
		}
		cursor = last.Next
	}
}

// swap replaces a part of settings that must be there.
func swap(t testing.TB, s []byte, old, with string) []byte {
	t.Helper()
	if !bytes.Contains(s, []byte(old)) {
		t.Fatalf("the settings do not hold %s", old)
	}
	return bytes.Replace(s, []byte(old), []byte(with), 1)
}

func wish() provider.Write {
	start := providertest.Now.AddDate(0, 0, 10)
	return provider.Write{Key: "0193c000-0000-7000-8000-000000000001", BookingID: "0193b000-0000-7000-8000-000000000001",
		Category: domain.CategoryWedding, Status: domain.StatusConfirmed, Details: domain.Details{Title: "Wedding"},
		When: domain.When{Zone: "Europe/London", Kind: domain.TimeZoned, Span: domain.Span{Start: start, End: start.Add(8 * time.Hour)}}}
}

func TestLostCreateOfOlderContentIsAdoptedAndBroughtUpToDate(t *testing.T) {
	t.Parallel()
	lookup := func(s []byte) []byte {
		return swap(t, s, `"idempotency_header": "Idempotency-Key",
    "keys_outlive_entries": true`,
			`"lookup": {"path": "/api/events", "query": {"ref": "${entry.booking_id}"}, "items": "body.events"}`)
	}
	noRead := func(s []byte) []byte {
		s = bytes.Replace(s, []byte(`
    "keys_outlive_entries": true,`), nil, 1)
		return swap(t, s, `"read": {
    "path": "/api/events/${entry.external_id}"
  },`, "")
	}
	for name, change := range map[string]func([]byte) []byte{"by key": nil, "by look-up": lookup, "by key without read": noRead,
		"by look-up without read": func(s []byte) []byte { return noRead(lookup(s)) }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, crmsim.Options{}, change)
			w := must[provider.Writer](t, b.opened)
			b.crm.Break(crmsim.FaultLoseAnswer, 1)
			if _, err := w.Put(t.Context(), wish()); !domain.Retryable(err) {
				t.Fatalf("lost answer: %v", err)
			}
			moved := wish()
			moved.When.Start, moved.When.End = moved.When.Start.Add(time.Hour), moved.When.End.Add(time.Hour)
			done, err := w.Put(t.Context(), moved)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(b.crm.Events()); n != 1 || !done.ReadBack.When.Start.Equal(moved.When.Start) || done.ReadBack.Origin != moved.BookingID {
				t.Errorf("%d events, read back %+v", n, done.ReadBack)
			}
			stored, _ := b.crm.Get(done.ExternalID)
			if stored.Rev != done.Revision {
				t.Errorf("revision %q, stored %q", done.Revision, stored.Rev)
			}
		})
	}
}

func TestEntryThatCannotBeReadYetIsNotMadeTwice(t *testing.T) {
	t.Parallel()
	b := setup(t, crmsim.Options{}, func(s []byte) []byte {
		s = swap(t, s, "\n    \"keys_outlive_entries\": true,", "")
		return swap(t, s, `"path": "/api/events/${entry.external_id}"
  },
  "write"`, `"path": "/api/replica/${entry.external_id}"
  },
  "write"`)
	})
	w := must[provider.Writer](t, b.opened)
	for range 3 {
		if _, err := w.Put(t.Context(), wish()); domain.KindOf(err) != domain.KindUnavailable {
			t.Fatalf("error %v, want KindUnavailable", err)
		}
	}
	if n := len(b.crm.Events()); n != 1 {
		t.Errorf("%d events after three tries of one create", n)
	}
}

func TestTimesAreWrittenInTheFormOfTheBooking(t *testing.T) {
	t.Parallel()
	b := setup(t, crmsim.Options{}, nil)
	w := must[provider.Writer](t, b.opened)
	for i, kind := range []domain.TimeKind{domain.TimeZoned, domain.TimeFloating, domain.TimeAllDay} {
		wish := wish()
		wish.Key = fmt.Sprintf("0193c000-0000-7000-8000-%012d", i+10)
		wish.When.Kind = kind
		if kind == domain.TimeAllDay {
			wish.When.Start = time.Date(2027, 6, 4, 23, 0, 0, 0, time.UTC) // midnight of British summer time
			wish.When.End = wish.When.Start.Add(24 * time.Hour)
		}
		done, err := w.Put(t.Context(), wish)
		if err != nil {
			t.Fatal(kind, err)
		}
		if !done.ReadBack.When.Equal(wish.When) {
			t.Errorf("%s: read back %#v, want %#v", kind, done.ReadBack.When, wish.When)
		}
	}
	events := b.crm.Events()
	if events[2].Starts != "2027-06-05" || events[2].Ends != "2027-06-06" || !events[2].AllDay {
		t.Errorf("the all-day event is stored as %+v", events[2])
	}
	if strings.HasSuffix(events[1].Starts, "Z") || events[1].Zone != "" {
		t.Errorf("the floating event is stored as %+v", events[1])
	}
}

func TestOnlyConfiguredPartsBecomeAbilities(t *testing.T) {
	t.Parallel()
	opened := openSettings(t, crmsim.MinimalWebhookSettings())
	if _, ok := provider.As[provider.Puller](opened); ok {
		t.Error("an integration without list is a Puller")
	}
	if _, ok := provider.As[provider.Writer](opened); ok {
		t.Error("an integration without write is a Writer")
	}
	must[provider.WebhookSource](t, opened)
	decoded, err := must[provider.WebhookSource](t, opened).Decode(t.Context(), provider.Webhook{Body: oneKiB(), ReceivedAt: providertest.Now})
	changes := decoded.Changes
	if err != nil || len(changes) != 1 || changes[0].ExternalID != "bk-4711" || changes[0].RemoteVersion != 17 {
		t.Errorf("decoded %v, error %v", changes, err)
	}
}

func TestDeliveryOfTheSimulatorIsVerifiedAndDecoded(t *testing.T) {
	t.Parallel()
	b := setup(t, crmsim.Options{}, nil)
	src := must[provider.WebhookSource](t, b.opened)
	verifier, err := webhookauth.New(src.Intake().Auth, src.Intake().Credentials, webhookauth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []domain.Change
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		if _, err := body.ReadFrom(r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if _, err := verifier.Verify(t.Context(), webhookauth.Request{Header: r.Header, Body: body.Bytes()}, providertest.Now); err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		decoded, err := src.Decode(r.Context(), provider.Webhook{Header: r.Header, Body: body.Bytes(), ReceivedAt: providertest.Now})
		if err != nil {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		mu.Lock()
		got = append(got, decoded.Changes...)
		mu.Unlock()
	}))
	defer hook.Close()
	seed(b.crm, 2)
	b.crm.Delete("ev-000001")
	results, err := b.crm.DeliverPending(t.Context(), hook.Client(), hook.URL)
	if err != nil || len(results) != 3 || len(got) != 3 || got[2].Op != domain.OpRemove {
		t.Errorf("results %+v, changes %+v, error %v", results, got, err)
	}
}

func TestCredentialsGoWhereTheSettingsSay(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = r
	}))
	defer srv.Close()
	all := map[string]string{custom.SecretAPIKey: "k1", custom.SecretToken: "t1", custom.SecretPassword: "p1"}
	for auth, check := range map[string]func(*http.Request) bool{
		`{"kind":"none"}`:                                              func(r *http.Request) bool { return r.Header.Get("Authorization") == "" },
		`{"kind":"bearer"}`:                                            func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer t1" },
		`{"kind":"basic","username":"u"}`:                              func(r *http.Request) bool { u, p, _ := r.BasicAuth(); return u == "u" && p == "p1" },
		`{"kind":"header","header":"X-Key"}`:                           func(r *http.Request) bool { return r.Header.Get("X-Key") == "k1" },
		`{"kind":"header","header":"Authorization","prefix":"Token "}`: func(r *http.Request) bool { return r.Header.Get("Authorization") == "Token k1" },
		`{"kind":"query","param":"key"}`:                               func(r *http.Request) bool { return r.URL.Query().Get("key") == "k1" && r.URL.Query().Get("a") == "b" },
	} {
		settings := fmt.Appendf(nil, `{"base_url":%q,"auth":%s,"probe":{"path":"/x","query":{"a":"b"}},"list":{"path":"/e","items":"body"},
			"mapping":{"external_id":"item.id","category":"'hold'","start":"item.s","end":"item.e"}}`, srv.URL+"/base/", auth)
		if err := must[provider.Prober](t, openWith(t, settings, all)).Probe(t.Context()); err != nil {
			t.Fatal(auth, err)
		}
		mu.Lock()
		if !check(seen) || seen.URL.Path != "/base/x" {
			t.Errorf("%s: the request was %s with %v", auth, seen.URL, seen.Header)
		}
		mu.Unlock()
	}
}

func TestIDStaysOneSegmentOfThePath(t *testing.T) {
	t.Parallel()
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.EscapedPath())
		w.WriteHeader(http.StatusNotFound)
	}))
	defer srv.Close()
	r := must[provider.Reader](t, openSettings(t, crmsim.Settings(srv.URL)))
	for _, id := range []string{"a/../b", "a?x=1#y", "ü %"} {
		if _, err := r.Read(t.Context(), id); domain.KindOf(err) != domain.KindNotFound {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{"", ".", ".."} {
		if _, err := r.Read(t.Context(), id); domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("%q: %v", id, err)
		}
	}
	want := []string{"/api/events/a%2F..%2Fb", "/api/events/a%3Fx=1%23y", "/api/events/%C3%BC%20%25"}
	if strings.Join(asked, " ") != strings.Join(want, " ") {
		t.Errorf("asked for %v, want %v", asked, want)
	}
}

var fence = regexp.MustCompile("(?s)```json([^\n]*)\n(.*?)```")

func TestExamplesOfThePageAreValid(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/custom-provider.md")
	if err != nil {
		t.Fatal(err)
	}
	settings := 0
	for _, block := range fence.FindAllSubmatch(page, -1) {
		if strings.TrimSpace(string(block[1])) != "settings" {
			if !json.Valid(block[2]) {
				t.Errorf("an example is not JSON:\n%s", block[2])
			}
			continue
		}
		settings++
		all := map[string]string{custom.SecretWebhook: webhookSecret, custom.SecretAPIKey: "k", custom.SecretToken: "t", custom.SecretPassword: "p"}
		if err := custom.Validate(block[2], all); err != nil {
			t.Errorf("an example is refused: %v\n%s", err, block[2])
		}
	}
	if settings < 3 {
		t.Errorf("the page has %d examples of settings, want at least 3", settings)
	}
	// The complete one is not only valid: it works.
	complete := fence.FindSubmatch(page[bytes.Index(page, []byte("## A complete example")):])
	if complete == nil {
		t.Fatal("the page has no complete example")
	}
	b := setup(t, crmsim.Options{}, nil)
	seed(b.crm, 3)
	opened := openSettings(t, swap(t, complete[2], "https://crm.example", b.srv.URL))
	if ids, last, _ := listAll(t, must[provider.Puller](t, opened), ""); len(ids) != 3 || !last.Complete {
		t.Errorf("the complete example lists %d entries", len(ids))
	}
	done, err := must[provider.Writer](t, opened).Put(t.Context(), wish())
	if err != nil {
		t.Fatal(err)
	}
	if c, err := must[provider.Reader](t, opened).Read(t.Context(), done.ExternalID); err != nil || c.Hash() != done.ReadBack.Hash() {
		t.Errorf("read %v, error %v", c, err)
	}
	if err := must[provider.Writer](t, opened).Remove(t.Context(), done.ExternalID, done.Revision); err != nil {
		t.Error(err)
	}
	if err := must[provider.Prober](t, opened).Probe(t.Context()); err != nil {
		t.Error(err)
	}
}
