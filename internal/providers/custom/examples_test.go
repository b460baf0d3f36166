package custom_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/openapitest"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/oauthsim"
	"github.com/wedsync/wedsync/internal/sim/restsim"
	"github.com/wedsync/wedsync/internal/sim/tavesim"
)

// example gives the settings of a shipped definition, with the addresses of simulators in place of those it names.
func example(t testing.TB, name string, pairs ...string) []byte {
	t.Helper()
	text, err := os.ReadFile("../../../docs/examples/definitions/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(string(text), pairs[i]) {
			t.Fatalf("%s does not name %s", name, pairs[i])
		}
		text = []byte(strings.Replace(string(text), pairs[i], pairs[i+1], 1))
	}
	report := custom.Lint(t.Context(), text)
	if !report.OK() {
		// The samples are recorded at the address of the file, and links in them lead there.
		for _, f := range report.Findings {
			t.Log(f)
		}
		t.Fatal("the example has errors")
	}
	return report.Settings
}

// restWorld is a restsim as the suite's world.
type restWorld struct {
	sim  *restsim.Server
	skew *atomic.Int64 // of the system's clock
}

// clockOf is a clock that is ahead of the provider's by what skew says.
func clockOf(skew *atomic.Int64) func() time.Time {
	return func() time.Time { return providertest.Now.Add(time.Duration(skew.Load())) }
}

func (w restWorld) Skew(_ testing.TB, ahead time.Duration) { w.skew.Store(int64(ahead)) }

func restEntry(e providertest.Entry) restsim.Entry {
	state := map[domain.BookingStatus]string{"": "booked", domain.StatusConfirmed: "booked", domain.StatusTentative: "option", domain.StatusCancelled: "cancelled"}[e.Status]
	return restsim.Entry{Kind: "meeting", State: state, Name: e.Title, Starts: e.When.Start.UTC().Format(time.RFC3339), Ends: e.When.End.UTC().Format(time.RFC3339)}
}

func (w restWorld) Seed(_ testing.TB, e providertest.Entry) string { return w.sim.Add(restEntry(e)).ID }

func (w restWorld) Edit(t testing.TB, id string, e providertest.Entry) {
	t.Helper()
	now := restEntry(e)
	if !w.sim.Edit(id, func(have *restsim.Entry) {
		have.State, have.Name, have.Starts, have.Ends = now.State, now.Name, now.Starts, now.Ends
	}) {
		t.Fatalf("no entry %s", id)
	}
}

func (w restWorld) Delete(t testing.TB, id string) {
	t.Helper()
	if !w.sim.Remove(id) {
		t.Fatalf("no entry %s", id)
	}
}

func (w restWorld) Count(testing.TB) int { return len(w.sim.All()) }
func (w restWorld) Heal(testing.TB)      { w.sim.Heal() }

func (w restWorld) Fault(t testing.TB, f providertest.Fault) bool {
	w.Heal(t)
	fault, times := restsim.Fault(f), -1
	switch f {
	case providertest.FaultRateLimitMute:
		fault = restsim.FaultRateLimitMute
	case providertest.FaultShortListing:
		fault = restsim.FaultShortPage
	case providertest.FaultLoseAnswer:
		times = 1
	case providertest.FaultRepeatPage:
		fault, times = restsim.FaultDuplicatePage, 1
	case providertest.FaultMissingPage:
		fault, times = restsim.FaultMissingPage, 1
	case providertest.FaultServerError, providertest.FaultRateLimit, providertest.FaultUnauthorized, providertest.FaultCutBody,
		providertest.FaultGarbage, providertest.FaultEmptyAnswer, providertest.FaultHang:
	default:
		return false
	}
	w.sim.Break(fault, times)
	return true
}

// desk opens the example booking desk on simulators.
func desk(t testing.TB) (any, deskWorld) {
	t.Helper()
	skew := &atomic.Int64{}
	now := clockOf(skew)
	// Tokens live for less than the clock is moved by, so that some end before their time.
	auth := oauthsim.New(oauthsim.Options{ClientID: "wedsync", ClientSecret: "sesame-of-the-desk", Now: now, Life: 5 * time.Minute})
	login := httptest.NewServer(auth)
	sim := restsim.New(restsim.Options{Paging: restsim.Cursor, PageSize: 10, Tombstones: true, Valid: auth.Valid, Now: now})
	srv := httptest.NewServer(sim)
	srv.Config.ErrorLog, login.Config.ErrorLog = nil, nil
	t.Cleanup(func() { sim.Heal(); srv.Close(); login.Close() })
	settings := example(t, "booking-desk.yaml", "https://desk.example/v1", srv.URL+"/v1", "https://login.desk.example/token", login.URL+"/token",
		"limits: {requests: 600, per_seconds: 60, burst: 50, concurrent: 4}", "limits: {requests: 10000, burst: 10000, concurrent: 100}")
	return openWith(t, settings, map[string]string{custom.SecretClient: "sesame-of-the-desk", custom.SecretWebhook: "0123456789abcdef0123456789abcdef"}), deskWorld{restWorld{sim, skew}, new([]providertest.Life)}
}

// deskWorld is a restWorld whose webhooks name entries and say nothing of them.
type deskWorld struct {
	restWorld
	lives *[]providertest.Life
}

// Lives are those of an entry that changes and of one that was removed. Whatever is told, the entry is asked for.
func (w deskWorld) Lives(t testing.TB, _ time.Duration) []providertest.Life {
	if *w.lives != nil {
		return *w.lives // of the same entries
	}
	stays, goes := w.Seed(t, providertest.Entry{Title: "A meeting", When: domain.When{Span: domain.Span{Start: providertest.Now.AddDate(0, 0, 3), End: providertest.Now.AddDate(0, 0, 4)}}}),
		w.Seed(t, providertest.Entry{Title: "Another", When: domain.When{Span: domain.Span{Start: providertest.Now.AddDate(0, 0, 5), End: providertest.Now.AddDate(0, 0, 6)}}})
	w.Delete(t, goes)
	life := func(name, id string, kinds ...string) (l providertest.Life) {
		l.Name = name
		for n, kind := range kinds {
			l.Deliveries = append(l.Deliveries, provider.Webhook{Header: http.Header{}, ReceivedAt: providertest.Now, Body: fmt.Appendf(nil, `{"id":"m%d","type":"entry.%s","entry":{"id":%q}}`, n, kind, id)})
		}
		return l
	}
	*w.lives = []providertest.Life{life("an entry that stays", stays, "made", "changed", "changed"), life("an entry that goes", goes, "made", "changed", "removed")}
	return *w.lives
}

func TestExampleDeskPassesTheSuite(t *testing.T) {
	t.Parallel()
	providertest.Run(t, providertest.Harness{
		Registration: custom.Registration,
		Open: func(t testing.TB) (any, providertest.World) {
			return desk(t)
		},
		Many:    35,
		Secrets: []string{"sesame-of-the-desk"},
		Deliveries: []providertest.Delivery{{Name: "not about entries", Webhook: provider.Webhook{Header: http.Header{}, Body: []byte(`{"id":"m","type":"invoice.paid"}`), ReceivedAt: providertest.Now}},
			{Name: "an entry that is gone", Changes: 1, Webhook: provider.Webhook{Header: http.Header{}, Body: []byte(`{"id":"m","type":"entry.removed","entry":{"id":"en00009"}}`), ReceivedAt: providertest.Now}}},
		NotDeliveries: []provider.Webhook{{Header: http.Header{}, Body: []byte(`{}`), ReceivedAt: providertest.Now}, {Header: http.Header{}, Body: []byte(`{"type":"entry.changed"}`), ReceivedAt: providertest.Now}},
	})
}

func TestExampleDeskObeysAQuotaThatAnswersWithSuccess(t *testing.T) {
	t.Parallel()
	opened, w := desk(t)
	w.sim.Break(restsim.FaultSoftLimit, 1)
	_, err := must[provider.Puller](t, opened).Pull(t.Context(), "")
	if domain.KindOf(err) != domain.KindRateLimited || domain.RetryAfter(err) != 9*time.Second {
		t.Errorf("%v, wait %s", err, domain.RetryAfter(err))
	}
}

func TestExampleVenuePassesTheSuite(t *testing.T) {
	t.Parallel()
	providertest.Run(t, providertest.Harness{
		Registration: custom.Registration,
		Lacks: map[string]string{"puller/entries that go between two pages hide no others": "the simulated system pages by position; the listing says that it is not " +
			"whole, and the next one is"},
		Open: func(t testing.TB) (any, providertest.World) {
			skew := &atomic.Int64{}
			sim := restsim.New(restsim.Options{Paging: restsim.HAL, PageSize: 10, Token: restToken, Now: clockOf(skew)})
			srv := httptest.NewServer(sim)
			t.Cleanup(func() { sim.Heal(); srv.Close() })
			settings := example(t, "venue-diary.json", "https://diary.example", srv.URL, `"requests": 60, "per_seconds": 60, "burst": 10`, `"requests": 10000, "burst": 10000`)
			return openWith(t, settings, map[string]string{custom.SecretToken: restToken}), restWorld{sim, skew}
		},
		Many:    35,
		Secrets: []string{restToken},
	})
}

const specPath = "../../../../shared/specs/vsco-openapi.json"

// TestExampleOfAPublicAPIAgreesWithItsVendorsDocument runs the definition of VSCO Workspace against the simulator of that
// system, with every exchange held against the vendor's OpenAPI document where it is beside the checkout.
func TestExampleOfAPublicAPIAgreesWithItsVendorsDocument(t *testing.T) {
	t.Parallel()
	undecided := "the document declares 401 and 404 for almost no operation"
	doc := openapitest.Load(t, specPath, openapitest.Options{Base: tavesim.Base, Answers: map[int]openapitest.Undeclared{
		401: {Schema: "Error", Why: undecided}, 404: {Schema: "Error", Why: undecided}}})
	now := providertest.Now
	opt := tavesim.Options{Key: "sesame", Zone: providertest.Zone, Now: func() time.Time { return now }}
	if doc != nil {
		opt.Wrap = func(h http.Handler) http.Handler { return doc.Wrap(t, h) }
	}
	sim := tavesim.New(opt)
	srv := httptest.NewServer(sim.Handler())
	t.Cleanup(func() { sim.Heal(); srv.Close() })
	settings := example(t, "vsco-jobs.yaml", "https://workspace.vsco.co/api/v2", srv.URL+tavesim.Base,
		"limits: {requests: 1, per_seconds: 1, burst: 5, concurrent: 2}", "limits: {requests: 10000, burst: 10000}")
	secrets := map[string]string{custom.SecretAPIKey: "sesame", custom.SecretWebhook: "uNguEssab1e-Part-0f-the-Address-4711"}
	opened := openWith(t, settings, secrets)
	if err := must[provider.Prober](t, opened).Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	types := sim.All("job-type")
	var ids []string
	for i := range 250 {
		job := tavesim.Object{"stage": "booked", "jobTypeId": types[i%2], "eventDate": now.AddDate(0, 0, i+1).Format(time.DateOnly), "name": fmt.Sprint("Job ", i)}
		if i%50 == 0 {
			job["stage"], job["closed"] = "lead", true
		}
		ids = append(ids, sim.Add("job", job))
	}
	sim.Add("job", tavesim.Object{"stage": "lead", "jobTypeId": types[0], "name": "No date yet"})
	p := must[provider.Puller](t, opened)
	named, last, err := walk(t, p, "")
	if err != nil || !last.Complete || len(named) != 250 {
		t.Fatalf("%d named, complete %t, error %v", len(named), last.Complete, err)
	}
	now = now.Add(time.Hour)
	sim.Edit("job", ids[7], tavesim.Object{"eventDate": "2028-01-01"})
	before := requestsOf(sim)
	named, last, err = walk(t, p, last.Next)
	if err != nil || named[ids[7]] != 1 || last.Complete {
		t.Errorf("after a change: %d named, complete %t, error %v", len(named), last.Complete, err)
	}
	if n := requestsOf(sim) - before; n > 3 {
		t.Errorf("one change cost %d requests", n)
	}
	got, err := must[provider.WebhookSource](t, opened).Decode(t.Context(), provider.Webhook{Header: http.Header{}, Body: []byte(`{"targetId":"` + ids[7] + `"}`), ReceivedAt: now})
	if err != nil || len(got.Changes) != 1 || got.Changes[0].When.Kind != domain.TimeAllDay || got.Changes[0].When.Start.Format(time.DateOnly) != "2028-01-01" {
		t.Errorf("%+v, %v", got.Changes, err)
	}
	for fault, want := range map[*tavesim.Faults]domain.ErrorKind{{Status: 401}: domain.KindUnauthenticated, {Status: 429}: domain.KindRateLimited,
		{Status: 503}: domain.KindUnavailable, {CutBody: true}: domain.KindUnavailable, {Garbage: true}: domain.KindUnavailable} {
		sim.SetFaults(*fault)
		if _, err := p.Pull(t.Context(), ""); domain.KindOf(err) != want {
			t.Errorf("%+v: %v", *fault, err)
		}
		sim.Heal()
	}
	sim.SetFaults(tavesim.Faults{ShortPages: true})
	if _, last, err := walk(t, p, ""); err == nil && last.Complete {
		t.Error("a listing whose pages leave entries out counts as complete")
	}
	sim.Heal()
	sim.Delete("job", ids[3])
	if _, err := must[provider.Reader](t, opened).Read(t.Context(), ids[3]); domain.KindOf(err) != domain.KindNotFound {
		t.Errorf("a removed job: %v", err)
	}
	if _, err := must[provider.Puller](t, openWith(t, settings, map[string]string{custom.SecretAPIKey: "other", custom.SecretWebhook: secrets[custom.SecretWebhook]})).Pull(t.Context(), ""); domain.KindOf(err) != domain.KindUnauthenticated {
		t.Errorf("a wrong key: %v", err)
	}
	if doc == nil {
		return
	}
	for _, op := range []string{"GET /studio/me", "GET /job", "GET /job/{id}"} {
		if doc.Checked()[op] == 0 {
			t.Errorf("%s was not exchanged", op)
		}
	}
}

func requestsOf(sim *tavesim.Server) (n int) {
	for _, one := range sim.Requests() {
		n += one
	}
	return n
}
