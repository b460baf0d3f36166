package ics

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/rules/icsfeed"
	"github.com/wedsync/wedsync/internal/sim/icssim"
)

// bundle is a publisher and a connection to it. The clock of the connection can be moved.
type bundle struct {
	*icssim.Server
	conn   *connection
	url    string
	ahead  atomic.Int64
	skew   atomic.Int64 // of the publisher's clock
	seeded atomic.Int64
}

const secretPath = "/private-3f9b51c2.ics"

func setup(t testing.TB, settings ...string) *bundle {
	t.Helper()
	b := &bundle{}
	theirs := func() time.Time { return providertest.Now.Add(time.Duration(b.skew.Load())) }
	b.Server = icssim.New(theirs)
	server := httptest.NewServer(providertest.Dated(theirs, b.Handler()))
	t.Cleanup(func() { b.Heal(); server.Close() })
	b.url = server.URL
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	zone, err := time.LoadLocation(providertest.Zone)
	if err != nil {
		t.Fatal(err)
	}
	raw := "{}"
	if len(settings) > 0 {
		raw = settings[0]
	}
	opened, err := Registration.Open(provider.Connection{
		Integration: domain.Integration{Provider: "ics", Direction: domain.DirectionImport, Settings: json.RawMessage(raw)},
		Secrets:     map[string]string{"url": server.URL + secretPath}, Zone: zone, HTTP: client,
		Now: func() time.Time { return providertest.Now.Add(time.Duration(b.ahead.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	b.conn = opened.(*connection)
	// An event long ago: a calendar that never had any proves nothing, and is a case of its own.
	b.Put("long-ago", "SUMMARY:Opening", "DTSTART:20100101T100000Z", "DTEND:20100101T110000Z")
	return b
}

func lines(e providertest.Entry) []string {
	status := map[domain.BookingStatus]string{domain.StatusTentative: "TENTATIVE", domain.StatusCancelled: "CANCELLED"}[e.Status]
	if status == "" {
		status = "CONFIRMED"
	}
	const form = "20060102T150405Z"
	return []string{"SUMMARY:" + e.Title, "STATUS:" + status, "DTSTART:" + e.When.Start.UTC().Format(form), "DTEND:" + e.When.End.UTC().Format(form)}
}

func (b *bundle) Seed(_ testing.TB, e providertest.Entry) string {
	id := fmt.Sprintf("entry-%d", b.seeded.Add(1))
	b.Put(id, lines(e)...)
	return id
}

// world is the bundle as the suite's world.
type world struct{ *bundle }

func (w world) Edit(_ testing.TB, id string, e providertest.Entry) { w.Put(id, lines(e)...) }
func (w world) Delete(_ testing.TB, id string)                     { w.bundle.Delete(id) }
func (w world) Count(testing.TB) int                               { return w.bundle.Count() }
func (w world) Heal(testing.TB)                                    { w.bundle.Heal() }
func (w world) Skew(_ testing.TB, ahead time.Duration)             { w.skew.Store(int64(ahead)) }

func (w world) Fault(_ testing.TB, f providertest.Fault) bool {
	faults, ok := map[providertest.Fault]icssim.Faults{
		providertest.FaultServerError:   {Status: http.StatusServiceUnavailable, RetryAfter: providertest.RetryAfter},
		providertest.FaultRateLimit:     {Status: http.StatusTooManyRequests, RetryAfter: providertest.RetryAfter},
		providertest.FaultRateLimitMute: {Status: http.StatusTooManyRequests},
		providertest.FaultUnauthorized:  {Status: http.StatusUnauthorized},
		providertest.FaultCutBody:       {CutBody: true, NoValidators: true},
		providertest.FaultGarbage:       {HTML: true},
		providertest.FaultEmptyAnswer:   {Nothing: true},
		providertest.FaultShortListing:  {Half: true, NoValidators: true},
		providertest.FaultHang:          {Hang: true},
	}[f]
	if ok {
		w.SetFaults(faults)
	}
	return ok
}

func TestSuite(t *testing.T) {
	t.Parallel()
	providertest.Run(t, providertest.Harness{
		Registration: Registration, Secrets: []string{secretPath},
		Lacks: map[string]string{"puller/forgotten cursor is a gone token and a full listing helps": "the publisher knows of no cursor that it could forget",
			"hazard/duplicate page": "a calendar is one file, without pages", "hazard/missing page": "a calendar is one file, without pages"},
		Open: func(t testing.TB) (any, providertest.World) {
			b := setup(t)
			return b.conn, world{b}
		},
	})
}

func (b *bundle) pull(t *testing.T, cursor string) provider.Page {
	t.Helper()
	page, err := b.conn.Pull(t.Context(), cursor)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func ids(page provider.Page) []string {
	out := []string{}
	for _, c := range page.Changes {
		out = append(out, c.ExternalID)
	}
	slices.Sort(out)
	return out
}

func TestAnUnchangedFeedIsAskedForByItsValidators(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Put("a", "SUMMARY:One", "DTSTART:20270605T100000Z", "DTEND:20270605T110000Z")
	full := b.pull(t, "")
	quiet := b.pull(t, full.Next)
	if all, unsent := b.Requests(); all != 2 || unsent != 1 || len(quiet.Changes) != 0 || quiet.Next != full.Next || quiet.Complete {
		t.Errorf("%d requests, %d answered by 304, %d changes", all, unsent, len(quiet.Changes))
	}
	b.SetFaults(icssim.Faults{NoValidators: true, Shuffle: true})
	for range 3 {
		if page := b.pull(t, full.Next); len(page.Changes) != 0 {
			t.Errorf("another order is told as %d changes", len(page.Changes))
		} else {
			full = page
		}
	}
}

func TestWhatIsNoWholeFeedIsAnErrorAndNeverADeletion(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]icssim.Faults{
		"no byte": {Nothing: true}, "a page of HTML": {HTML: true}, "half": {Half: true}, "cut off": {CutBody: true}, "no event any more": {NoEvents: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.Put("a", "SUMMARY:One", "DTSTART:20270605T100000Z", "DTEND:20270605T110000Z")
			full := b.pull(t, "")
			f.NoValidators = true
			b.SetFaults(f)
			if page, err := b.conn.Pull(t.Context(), full.Next); domain.KindOf(err) != domain.KindUnavailable {
				t.Errorf("pull: %+v, %v", page, err)
			}
			if page, err := b.conn.Pull(t.Context(), ""); page.Complete || err == nil && !f.NoEvents {
				t.Errorf("full listing: complete %v, %v", page.Complete, err)
			}
			if _, err := b.conn.Read(t.Context(), "a"); domain.KindOf(err) != domain.KindUnavailable {
				t.Errorf("read: %v", err)
			}
		})
	}
}

func TestAWithdrawnAddressStopsTheIntegrationAndRemovesNothing(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusNotFound, http.StatusGone} {
		b := setup(t)
		full := b.pull(t, "")
		b.SetFaults(icssim.Faults{Status: status})
		_, pulled := b.conn.Pull(t.Context(), full.Next)
		_, read := b.conn.Read(t.Context(), "long-ago")
		for _, err := range []error{pulled, read, b.conn.Probe(t.Context())} {
			if domain.KindOf(err) != domain.KindUnauthenticated || strings.Contains(err.Error(), "private") {
				t.Errorf("status %d: %v", status, err)
			}
		}
	}
}

func TestAMissingEntryAsksForAFullListingAndIsProvedByRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Put("a", "SUMMARY:One", "DTSTART:20270605T100000Z", "DTEND:20270605T110000Z")
	b.Put("b", "SUMMARY:Two", "DTSTART:20270606T100000Z", "DTEND:20270606T110000Z")
	full := b.pull(t, "")
	b.Delete("a")
	b.Put("c", "SUMMARY:Three", "DTSTART:20270607T100000Z", "DTEND:20270607T110000Z")
	news := b.pull(t, full.Next)
	if !slices.Equal(ids(news), []string{"c"}) || news.Complete {
		t.Errorf("the news are %v", ids(news))
	}
	if _, err := b.conn.Pull(t.Context(), news.Next); domain.KindOf(err) != domain.KindGoneToken {
		t.Errorf("%v, want KindGoneToken", err)
	}
	if again := b.pull(t, ""); !again.Complete || !slices.Equal(ids(again), []string{"b", "c"}) {
		t.Errorf("complete %v: %v", again.Complete, ids(again))
	}
	if _, err := b.conn.Read(t.Context(), "a"); domain.KindOf(err) != domain.KindNotFound {
		t.Errorf("%v, want KindNotFound", err)
	}
	// One that is outside the window is not listed, and is there.
	if ch, err := b.conn.Read(t.Context(), "long-ago"); err != nil || ch.Details.Title != "Opening" {
		t.Errorf("%+v, %v", ch, err)
	}
}

func TestSeriesAreToldInstanceByInstance(t *testing.T) {
	t.Parallel()
	b := setup(t, `{"window_future_days":60}`)
	b.Put("weekly", "SUMMARY:Fair", "DTSTART;TZID=Europe/Berlin:20270306T100000", "DTEND;TZID=Europe/Berlin:20270306T120000", "RRULE:FREQ=WEEKLY;COUNT=5", "EXDATE;TZID=Europe/Berlin:20270313T100000")
	page := b.pull(t, "")
	want := []string{"weekly#20270306T100000", "weekly#20270320T100000", "weekly#20270327T100000", "weekly#20270403T100000"}
	if !slices.Equal(ids(page), want) {
		t.Fatalf("%v", ids(page))
	}
	for _, c := range page.Changes {
		read, err := b.conn.Read(t.Context(), c.ExternalID)
		if err != nil || read.Hash() != c.Hash() || c.UID != c.ExternalID || c.When.Zone != "Europe/Berlin" {
			t.Errorf("%s reads as %+v, %v", c.ExternalID, read, err)
		}
	}
	for _, id := range []string{"weekly", "weekly#20270313T100000", "weekly#20270410T100000", "weekly#nonsense"} {
		if _, err := b.conn.Read(t.Context(), id); domain.KindOf(err) != domain.KindNotFound {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestTheWindowSlidesByFullListingsWithoutDeletions(t *testing.T) {
	t.Parallel()
	b := setup(t, `{"window_past_days":1,"window_future_days":30}`)
	b.Put("daily", "SUMMARY:Open", "DTSTART:20270301T100000Z", "DTEND:20270301T110000Z", "RRULE:FREQ=DAILY")
	full := b.pull(t, "")
	b.ahead.Store(int64(5 * day))
	b.Put("new", "SUMMARY:New", "DTSTART:20270310T100000Z", "DTEND:20270310T110000Z")
	if page := b.pull(t, full.Next); !slices.Equal(ids(page), []string{"new"}) {
		t.Errorf("five days later the news are %v", ids(page))
	}
	b.ahead.Store(int64(8 * day))
	if _, err := b.conn.Pull(t.Context(), full.Next); domain.KindOf(err) != domain.KindGoneToken {
		t.Errorf("eight days later: %v, want KindGoneToken", err)
	}
	page := b.pull(t, "")
	if !page.Complete || slices.Contains(ids(page), "daily#20270303T100000") || !slices.Contains(ids(page), "daily#20270407T100000") {
		t.Errorf("the window of the new listing: %v", ids(page))
	}
	if _, err := b.conn.Read(t.Context(), "daily#20270303T100000"); err != nil {
		t.Errorf("an instance that left the window is taken for gone: %v", err)
	}
}

func TestWhatCannotBeReadIsAProblemAndStays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Put("a", "SUMMARY:One", "DTSTART:20270605T100000Z", "DTEND:20270605T110000Z")
	b.Put("odd", "SUMMARY:Odd", "DTSTART;TZID=Nowhere/Land:20270605T100000")
	page := b.pull(t, "")
	if page.Complete || !slices.Equal(ids(page), []string{"a"}) || len(page.Problems) != 1 || page.Problems[0].ExternalID != "odd" {
		t.Errorf("%+v", page)
	}
	if _, err := b.conn.Read(t.Context(), "odd"); err == nil || domain.KindOf(err) == domain.KindNotFound {
		t.Errorf("read: %v", err)
	}
}

func TestEntriesWithoutUsableUIDsHaveIDsOfTheirOwn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	long := strings.Repeat("x", 600)
	b.Put("", "SUMMARY:One", "DTSTART:20270605T100000Z", "DTEND:20270605T110000Z")
	b.Put(long, "SUMMARY:Two", "DTSTART:20270606T100000Z", "DTEND:20270606T110000Z")
	b.Put("with#hash", "SUMMARY:Three", "DTSTART:20270607T100000Z", "DTEND:20270607T110000Z")
	page := b.pull(t, "")
	if len(page.Changes) != 3 || len(page.Problems) != 0 {
		t.Fatalf("%+v", page)
	}
	for _, c := range page.Changes {
		if read, err := b.conn.Read(t.Context(), c.ExternalID); err != nil || read.Hash() != c.Hash() {
			t.Errorf("%s: %v", c.ExternalID, err)
		}
	}
}

func TestAFeedOfOursIsKnownAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := domain.BookingID("01900000-0000-7000-8000-000000000001")
	ours := []string{"SUMMARY:Busy", "DTSTART:20270605T100000Z", "DTEND:20270605T110000Z", "X-WEDSYNC-BOOKING:" + icsfeed.Marker(id), "X-WEDSYNC-CATEGORY:wedding"}
	b.Put(icsfeed.UID(id), ours...)
	b.Put("copied-by-a-person", ours...)
	for _, c := range b.pull(t, "").Changes {
		if own := c.ExternalID == icsfeed.UID(id); own != (c.Origin == id) || own != (c.Category == domain.CategoryWedding) {
			t.Errorf("%s has origin %q and category %s", c.ExternalID, c.Origin, c.Category)
		}
	}
}

func TestRedirectsAreFollowedAndTheSecretStaysOutOfErrors(t *testing.T) {
	t.Parallel()
	b, target := setup(t), setup(t)
	target.Put("a", "SUMMARY:One", "DTSTART:20270605T100000Z", "DTEND:20270605T110000Z")
	b.SetFaults(icssim.Faults{Redirect: target.url + "/elsewhere.ics"})
	if page := b.pull(t, ""); !slices.Equal(ids(page), []string{"a"}) {
		t.Errorf("%v", ids(page))
	}
	b.SetFaults(icssim.Faults{Redirect: b.url + secretPath})
	if _, err := b.conn.Pull(t.Context(), ""); err == nil || strings.Contains(err.Error(), "private") {
		t.Errorf("a circle of redirects: %v", err)
	}
}

func TestAddressesAreChecked(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"webcal://example.test/a.ics?x=1": "https://example.test/a.ics?x=1", "webcals://example.test/a": "https://example.test/a",
		" https://example.test/a#part ": "https://example.test/a", "WEBCAL://example.test/a": "https://example.test/a",
		"": "", "ftp://example.test/a": "", "https://u:p@example.test/a": "", "/a.ics": "", "https://": "", "https://example.test/" + strings.Repeat("x", maxURL): "",
	} {
		u, err := parseAddress(raw)
		switch {
		case want == "" && (domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != "secrets.url"):
			t.Errorf("%.40q: %v, want KindInvalid on secrets.url", raw, err)
		case want != "" && (err != nil || u.String() != want):
			t.Errorf("%q became %v, %v", raw, u, err)
		}
	}
	if _, err := Registration.Open(provider.Connection{HTTP: &httpx.Client{}, Integration: domain.Integration{Direction: domain.DirectionBidirectional, Settings: json.RawMessage("{}")},
		Secrets: map[string]string{"url": "https://example.test/a"}}); domain.KindOf(err) != domain.KindPermanent {
		t.Errorf("a subscription that is to be written: %v", err)
	}
}

func FuzzFeed(f *testing.F) {
	f.Add([]byte("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:a\r\nDTSTART:20270605T100000Z\r\nRRULE:FREQ=DAILY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"))
	f.Add([]byte("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20270605\r\nCATEGORIES:a\\,b,c\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"))
	f.Add([]byte("<html>"))
	f.Add([]byte{})
	c := &connection{zone: time.UTC, now: func() time.Time { return providertest.Now }}
	f.Fuzz(func(t *testing.T, body []byte) {
		got := &fetched{body: body}
		if err := c.read(got); err != nil {
			if domain.KindOf(err) != domain.KindUnavailable && domain.KindOf(err) != domain.KindTooLarge {
				t.Fatalf("error of kind %s", domain.KindOf(err))
			}
			return
		}
		changes, _, _ := c.changes(got, c.window())
		seen := map[string]bool{}
		for _, ch := range changes {
			if err := ch.Validate(); err != nil || seen[ch.ExternalID] {
				t.Fatalf("%q told twice or wrong: %v", ch.ExternalID, err)
			}
			seen[ch.ExternalID] = true
		}
	})
}
