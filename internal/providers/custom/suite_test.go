package custom_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
)

const (
	apiKey        = "key-0123456789abcdef"
	webhookSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
)

var secrets = map[string]string{custom.SecretAPIKey: apiKey, custom.SecretWebhook: webhookSecret}

// bundle is a simulator with a connection to it.
type bundle struct {
	crm    *crmsim.CRM
	srv    *httptest.Server
	opened any
	skew   atomic.Int64 // of the system's clock
}

func setup(t testing.TB, opt crmsim.Options, change func(settings []byte) []byte) *bundle {
	t.Helper()
	opt.APIKey, opt.WebhookSecret = apiKey, webhookSecret
	b := &bundle{}
	opt.Now = func() time.Time { return providertest.Now.Add(time.Duration(b.skew.Load())) }
	crm := crmsim.New(opt)
	srv := httptest.NewServer(providertest.Dated(opt.Now, crm))
	srv.Config.ErrorLog = nil
	t.Cleanup(func() { crm.Close(); srv.Close() })
	settings := []byte(crmsim.Settings(srv.URL))
	if change != nil {
		settings = change(settings)
	}
	b.crm, b.srv, b.opened = crm, srv, openSettings(t, settings)
	return b
}

func openSettings(t testing.TB, settings []byte) any {
	t.Helper()
	return openWith(t, settings, secrets)
}

func openWith(t testing.TB, settings []byte, secrets map[string]string) any {
	t.Helper()
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate, Now: func() time.Time { return providertest.Now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	zone, err := time.LoadLocation(providertest.Zone)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := custom.Registration.Open(provider.Connection{
		Integration: domain.Integration{Settings: settings}, Secrets: secrets, Zone: zone, HTTP: client,
		Now: func() time.Time { return providertest.Now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// world is the simulator as the suite sees it.
type world struct{ *bundle }

func eventOf(e providertest.Entry) crmsim.Event {
	state := map[domain.BookingStatus]string{"": "booked", domain.StatusConfirmed: "booked", domain.StatusTentative: "pencilled", domain.StatusCancelled: "cancelled"}[e.Status]
	return crmsim.Event{Kind: "meeting", State: state, Title: e.Title,
		Starts: e.When.Start.UTC().Format(time.RFC3339), Ends: e.When.End.UTC().Format(time.RFC3339)}
}

func (w world) Seed(_ testing.TB, e providertest.Entry) string { return w.crm.Create(eventOf(e)).ID }

func (w world) Edit(t testing.TB, id string, e providertest.Entry) {
	t.Helper()
	if _, ok := w.crm.Update(id, func(ev *crmsim.Event) {
		now := eventOf(e)
		ev.State, ev.Title, ev.Starts, ev.Ends, ev.AllDay = now.State, now.Title, now.Starts, now.Ends, false
	}); !ok {
		t.Fatalf("no event %s to edit", id)
	}
}

func (w world) Delete(t testing.TB, id string) {
	t.Helper()
	if !w.crm.Delete(id) {
		t.Fatalf("no event %s to delete", id)
	}
}

func (w world) Count(testing.TB) int { return len(w.crm.Events()) }

func (w world) Fault(t testing.TB, f providertest.Fault) bool {
	w.Heal(t)
	switch f {
	case providertest.FaultForgetTokens:
		w.crm.ForgetTokens()
	case providertest.FaultShortListing:
		w.crm.Break(crmsim.FaultDropEntry, -1)
	case providertest.FaultRateLimitMute:
		w.crm.Break(crmsim.FaultRateNoWait, -1)
	case providertest.FaultLoseAnswer:
		w.crm.Break(crmsim.FaultLoseAnswer, 1)
	case providertest.FaultRepeatPage:
		w.crm.Break(crmsim.FaultRepeatPage, 1)
	case providertest.FaultMissingPage:
		w.crm.Break(crmsim.FaultMissingPage, 1)
	case providertest.FaultServerError, providertest.FaultRateLimit, providertest.FaultUnauthorized, providertest.FaultCutBody,
		providertest.FaultGarbage, providertest.FaultEmptyAnswer, providertest.FaultHang:
		w.crm.Break(crmsim.Fault(f), -1)
	default:
		return false
	}
	return true
}

func (w world) Heal(testing.TB)                        { w.crm.Heal() }
func (w world) Skew(_ testing.TB, ahead time.Duration) { w.skew.Store(int64(ahead)) }

// Lives are those of an event that is made, moved and called off, and of one that is moved and stays.
func (w world) Lives(_ testing.TB, ahead time.Duration) []providertest.Life {
	crm := crmsim.New(crmsim.Options{Now: func() time.Time { return providertest.Now.Add(ahead) }})
	defer crm.Close()
	var lives []providertest.Life
	for _, name := range []string{"an event that is moved", "an event that is called off"} {
		ev := crm.Create(crmsim.Event{Kind: "wedding", State: "pencilled", Title: "Wedding of Marigold", Starts: "2027-06-05T14:00:00", Ends: "2027-06-05T23:30:00", Zone: "Europe/London"})
		crm.Update(ev.ID, func(e *crmsim.Event) {
			e.State, e.Starts, e.Ends = "booked", "2027-06-06T14:00:00", "2027-06-06T23:30:00"
		})
		if len(lives) > 0 {
			crm.Delete(ev.ID)
		}
		life := providertest.Life{Name: name}
		for _, m := range crm.TakeMessages() {
			life.Deliveries = append(life.Deliveries, provider.Webhook{Header: http.Header{}, Body: m.Body, ReceivedAt: providertest.Now})
		}
		lives = append(lives, life)
	}
	return lives
}

func harness(t testing.TB) providertest.Harness {
	crm := crmsim.New(crmsim.Options{Now: func() time.Time { return providertest.Now }})
	ev := crm.Create(crmsim.Event{Kind: "wedding", State: "booked", Title: "Wedding of Marigold", Venue: "Barn", Client: "Quillfeather",
		Starts: "2027-06-05T14:00:00", Ends: "2027-06-05T23:30:00", Zone: "Europe/London"})
	crm.Update(ev.ID, func(e *crmsim.Event) { e.AllDay, e.Starts, e.Ends = true, "2027-06-05", "2027-06-07" })
	crm.Delete(ev.ID)
	var deliveries []providertest.Delivery
	for _, m := range crm.TakeMessages() {
		deliveries = append(deliveries, providertest.Delivery{Name: m.Type, Changes: 1,
			Webhook: provider.Webhook{Header: http.Header{}, Body: m.Body, ReceivedAt: providertest.Now}})
	}
	hook := func(body string) provider.Webhook {
		return provider.Webhook{Header: http.Header{}, Body: []byte(body), ReceivedAt: providertest.Now}
	}
	deliveries = append(deliveries, providertest.Delivery{Name: "other type", Webhook: hook(`{"id":"m","type":"invoice.paid","data":{}}`)})
	return providertest.Harness{
		Registration: custom.Registration,
		Lacks: map[string]string{"puller/entries that go between two pages hide no others": "the simulated system pages by position and tells removals only in " +
			"what changed since; what slips past is asked for before it counts as gone, and is listed the next time"},
		Open: func(t testing.TB) (any, providertest.World) {
			b := setup(t, crmsim.Options{PageSize: 10}, nil)
			return b.opened, world{b}
		},
		Many:       35,
		Deliveries: deliveries,
		NotDeliveries: []provider.Webhook{
			hook(`{}`), hook(`[]`), hook(`null`), hook(`"Marigold"`), hook(`{"type":"event.created"}`),
			hook(`{"type":"event.created","data":{"id":"e","kind":"wedding","state":"Marigold","starts":"2027-06-05","ends":"2027-06-06"}}`),
			hook(`{"type":"event.created","type":"event.deleted","data":{"id":"e","deleted":true}}`),
		},
		Secrets: []string{apiKey, webhookSecret},
	}
}

func TestCustomProviderPassesTheSuite(t *testing.T) {
	t.Parallel()
	providertest.Run(t, harness(t))
}

func FuzzDecode(f *testing.F) { providertest.FuzzDecode(f, harness(f)) }

// BenchmarkDecode decodes a webhook of 1 KiB under the minimal settings.
func BenchmarkDecode(b *testing.B) {
	src, ok := provider.As[provider.WebhookSource](openSettings(b, crmsim.MinimalWebhookSettings()))
	if !ok {
		b.Fatal("not a webhook source")
	}
	body := oneKiB()
	d := provider.Webhook{Header: http.Header{}, Body: body, ReceivedAt: providertest.Now}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if c, err := src.Decode(b.Context(), d); err != nil || len(c.Changes) != 1 {
			b.Fatal(c, err)
		}
	}
}

func oneKiB() []byte {
	head := `{"id":"msg_1","type":"booking.updated","data":{"id":"bk-4711","version":17,"category":"wedding","status":"confirmed",` +
		`"start":"2027-06-05T14:00:00+01:00","end":"2027-06-05T23:30:00+01:00","zone":"Europe/London","title":"A wedding","location":"The barn",` +
		`"contact":"someone@example.org","private":false,"tags":["outdoor","two shooters"],"fee":{"amount":240000,"currency":"GBP"},"notes":"`
	tail := `"}}`
	return fmt.Appendf(nil, "%s%0*d%s", head, 1024-len(head)-len(tail), 7, tail)
}
