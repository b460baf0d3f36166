package scrape

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/lightbluesim"
)

const recipe = `{"version":1,"name":"Portal","base":"SERVER",
	"login":{"path":"/portal/login","form":"form#login","fields":{"email":"{secret.user}","password":"{secret.password}"},"refused":"p.error"},
	"logged_out":{"selector":"form#login"},
	"list":{"path":"/portal/shoots?page=1","container":"table#shoots","rows":"tr.shoot","empty":"p.none","next":"nav.pages a.next","identity":["id"],"fields":{
		"id":{"attr":"data-id","required":true},"title":{"selector":"td.title","required":true},
		"date":{"selector":"td.date","type":"date","formats":["DD/MM/YYYY"],"required":true},
		"start_time":{"selector":"td.start","type":"time","formats":["HH:mm"]},"end_time":{"selector":"td.end","type":"time","formats":["HH:mm"]},
		"status":{"selector":"td.status","map":{"Booked":"confirmed","Pencilled":"tentative","Lost":"lost"}},
		"location":{"selector":"td.place"},"contact":{"selector":"td.client"}}},
	"limits":{"interval":0.001}}`

// bed is the invented portal and a connection to it.
type bed struct {
	*lightbluesim.Server
	conn   *connection
	agreed bool
	skew   atomic.Int64 // of the portal's clock

	mu    sync.Mutex
	asked []string // origins
}

func setup(t testing.TB, more string) *bed {
	t.Helper()
	b := &bed{agreed: true}
	theirs := func() time.Time { return providertest.Now.Add(time.Duration(b.skew.Load())) }
	b.Server = lightbluesim.New(lightbluesim.Options{Now: theirs})
	server := httptest.NewServer(providertest.Dated(theirs, b.Handler()))
	t.Cleanup(func() { b.Heal(); server.Close() })
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	zone, err := time.LoadLocation(providertest.Zone)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := Registration.Open(provider.Connection{
		Integration: domain.Integration{Provider: "scrape", Direction: domain.DirectionImport,
			Settings: json.RawMessage(`{"recipe":` + strings.ReplaceAll(recipe, "SERVER", server.URL) + more + `}`)},
		Secrets: map[string]string{"user": lightbluesim.PortalUser, "password": lightbluesim.PortalPassword}, Zone: zone, HTTP: client,
		Now: func() time.Time { return providertest.Now },
		Consents: func(_ context.Context, origin string) (provider.Consent, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.asked = append(b.asked, origin); !b.agreed {
				return provider.Consent{}, domain.E(domain.KindNotFound, "no such consent")
			}
			return provider.Consent{By: "owner", At: providertest.Now}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.conn = opened.(*connection)
	return b
}

func (b *bed) add(days int, hours time.Duration) string {
	start := providertest.Now.AddDate(0, 0, days)
	return b.AddShoot(lightbluesim.Shoot{Title: "Wedding", Start: start, End: start.Add(hours * time.Hour), Place: "Mill", Client: "Somebody"})
}

func (b *bed) pull(t testing.TB, cursor string) provider.Page {
	t.Helper()
	p, err := b.conn.Pull(t.Context(), cursor)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWithoutConsentNothingIsAsked(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	b.add(3, 8)
	cursor := b.pull(t, "").Next
	b.agreed = false // withdrawn
	before := len(b.Requests())
	_, pulled := b.conn.Pull(t.Context(), cursor)
	_, read := b.conn.Read(t.Context(), "S-1001")
	for name, err := range map[string]error{"pull": pulled, "read": read, "probe": b.conn.Probe(t.Context())} {
		if domain.KindOf(err) != domain.KindForbidden || !strings.Contains(err.Error(), "agreed") {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.conn.agreed = nil
	if err := b.conn.Probe(t.Context()); domain.KindOf(err) != domain.KindForbidden {
		t.Errorf("without a record of consents: %v", err)
	}
	if n := len(b.Requests()); n != before {
		t.Errorf("%d requests without consent", n-before)
	}
	if !strings.HasPrefix(b.asked[0], "http://127.0.0.1:") {
		t.Errorf("consent was asked for %s", b.asked[0])
	}
}

func TestRowsBecomeBookingsInTheirZone(t *testing.T) {
	t.Parallel()
	b := setup(t, `,"category_default":"wedding"`)
	zone := time.UTC
	day := time.Date(2027, time.June, 5, 0, 0, 0, 0, zone) // clocks as they are shown
	b.AddShoot(lightbluesim.Shoot{Title: "Timed", Start: day.Add(14 * time.Hour), End: day.Add(22 * time.Hour)})
	b.AddShoot(lightbluesim.Shoot{Title: "Into the night", Start: day.Add(18 * time.Hour), End: day.Add(26 * time.Hour), Status: "Pencilled"})
	b.AddShoot(lightbluesim.Shoot{Title: "Whole day", Start: day, AllDay: true})
	b.AddShoot(lightbluesim.Shoot{Title: "Lost", Start: day, AllDay: true, Status: "Lost"})
	p := b.pull(t, "")
	if len(p.Changes) != 3 || len(p.Problems) != 1 || p.Complete {
		t.Fatalf("%d changes, problems %v, complete %v", len(p.Changes), p.Problems, p.Complete)
	}
	if err := p.Problems[0].Err; p.Problems[0].ExternalID != "S-1004" || domain.FieldOf(err) != "status" || strings.Contains(err.Error(), "lost") {
		t.Errorf("the problem is of %s: %v", p.Problems[0].ExternalID, err)
	}
	utc := func(day, hour int) time.Time { return time.Date(2027, time.June, day, hour, 0, 0, 0, time.UTC) }
	for i, want := range []struct {
		span   domain.Span
		kind   domain.TimeKind
		status domain.BookingStatus
	}{
		{domain.Span{Start: utc(5, 13), End: utc(5, 21)}, domain.TimeZoned, domain.StatusConfirmed},
		{domain.Span{Start: utc(5, 17), End: utc(6, 1)}, domain.TimeZoned, domain.StatusTentative},
		{domain.Span{Start: utc(4, 23), End: utc(5, 23)}, domain.TimeAllDay, domain.StatusConfirmed},
	} {
		c := p.Changes[i]
		if !c.When.Start.Equal(want.span.Start) || !c.When.End.Equal(want.span.End) || c.When.Kind != want.kind || c.Status != want.status ||
			c.Category != domain.CategoryWedding || c.When.Zone != providertest.Zone {
			t.Errorf("%s: %s %s %s", c.ExternalID, c.When.Span, c.When.Kind, c.Status)
		}
	}
}

func TestTheLastDayIsTakenWholeWhereItsTimeIsNotTold(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	got, err := b.conn.when(map[string]string{"date": "2027-06-05", "end_date": "2027-06-07", "start_time": "14:00"})
	if want := (domain.Span{Start: time.Date(2027, time.June, 5, 13, 0, 0, 0, time.UTC), End: time.Date(2027, time.June, 7, 23, 0, 0, 0, time.UTC)}); err != nil ||
		!got.Start.Equal(want.Start) || !got.End.Equal(want.End) || got.Kind != domain.TimeZoned {
		t.Errorf("%s, %v; want %s", got.Span, err, want)
	}
	got, err = b.conn.when(map[string]string{"date": "2027-06-05", "end_date": "2027-06-05", "start_time": "14:00"})
	if err != nil || got.Duration() != b.conn.settings.length() {
		t.Errorf("on one day: %s, %v", got.Span, err)
	}
}

func TestAListThatShowsNothingAnyMoreRemovesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	id := b.add(3, 8)
	cursor := b.pull(t, "").Next
	b.RemoveShoot(id) // the portal now says that it has none
	if _, err := b.conn.Pull(t.Context(), cursor); domain.KindOf(err) != domain.KindDrift {
		t.Errorf("a list that became empty: %v", err)
	}
	if p := b.pull(t, ""); p.Complete || len(p.Changes) != 0 {
		t.Errorf("a full listing without rows: complete %v", p.Complete)
	}
	if _, err := b.conn.Read(t.Context(), id); domain.KindOf(err) != domain.KindUnavailable {
		t.Errorf("an entry of an empty list: %v", err)
	}
}

func TestDriftComesWithItsEvidence(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	b.add(3, 8)
	cursor := b.pull(t, "").Next
	b.SetFaults(lightbluesim.Faults{Portal: lightbluesim.PortalFaults{RenameDate: true}})
	for _, from := range []string{"", cursor} {
		_, err := b.conn.Pull(t.Context(), from)
		report, page, ok := provider.EvidenceOf(err)
		if domain.KindOf(err) != domain.KindDrift || !ok || !strings.Contains(report, "recipe.list.fields.date") || !bytes.Contains(page, []byte(`class="when"`)) {
			t.Errorf("%v: evidence %v, %s", err, ok, report)
		}
		if bytes.Contains(page, []byte("Somebody")) || strings.Contains(err.Error(), "Wedding") {
			t.Error("the evidence holds values of the page")
		}
	}
	if _, _, ok := provider.EvidenceOf(errors.New("x")); ok {
		t.Error("any error has evidence")
	}
}

func TestAnEntryWithAFaultIsNotMissing(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	for day := range 5 {
		b.add(day+1, 8)
	}
	cursor := b.pull(t, "").Next
	b.SetFaults(lightbluesim.Faults{Portal: lightbluesim.PortalFaults{HalfDates: 1}})
	p := b.pull(t, cursor)
	if len(p.Problems) != 1 || p.Problems[0].ExternalID != "S-1001" || len(p.Changes) != 0 {
		t.Fatalf("problems %v, %d changes", p.Problems, len(p.Changes))
	}
	b.Heal()
	if p := b.pull(t, p.Next); len(p.Changes) != 0 || len(p.Problems) != 0 {
		t.Errorf("after the fault: %d changes", len(p.Changes))
	}
	b.SetFaults(lightbluesim.Faults{Portal: lightbluesim.PortalFaults{HalfDates: 1}})
	if _, err := b.conn.Read(t.Context(), "S-9999"); domain.KindOf(err) != domain.KindUnavailable {
		t.Errorf("an unknown entry while a row cannot be read: %v", err)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	t.Parallel()
	good := map[string]string{"user": "u", "password": "p"}
	whole := strings.ReplaceAll(recipe, "SERVER", "http://127.0.0.1:1")
	for name, c := range map[string]struct {
		settings string
		secrets  map[string]string
		want     string
	}{
		"all well":        {`{"recipe":` + whole + `}`, good, ""},
		"no recipe":       {`{}`, good, "settings.recipe"},
		"a text":          {`{"recipe":"x"}`, good, "settings.recipe"},
		"a wrong one":     {`{"recipe":{"version":1}}`, good, "settings.recipe.name"},
		"no password":     {`{"recipe":` + whole + `}`, map[string]string{"user": "u"}, "secrets.password"},
		"no title":        {`{"recipe":` + strings.Replace(whole, `"title"`, `"heading"`, 1) + `}`, good, "settings.recipe.list.fields"},
		"no date":         {`{"recipe":` + strings.Replace(whole, `"date"`, `"day"`, 1) + `}`, good, "settings.recipe.list.fields"},
		"a text for time": {`{"recipe":` + strings.Replace(whole, `"type":"time","formats":["HH:mm"]`, `"type":"text"`, 1) + `}`, good, "settings.recipe.list.fields.start_time.type"},
		"no length":       {`{"recipe":` + whole + `,"minutes":0}`, good, "settings.minutes"},
	} {
		err := Registration.Validate(json.RawMessage(c.settings), c.secrets)
		if c.want == "" && err != nil || c.want != "" && (domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != c.want) {
			t.Errorf("%s: %v, want a fault of %q", name, err, c.want)
		}
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Registration.SettingsSchema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("https://wedsync.example/settings.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := compiler.Compile("https://wedsync.example/settings.json")
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(`{"recipe":` + whole + `}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(v); err != nil {
		t.Errorf("good settings do not fit the schema: %v", err)
	}
}

func TestTheOriginOfSettingsIsWhatAConsentIsGivenFor(t *testing.T) {
	t.Parallel()
	got, err := Origin([]byte(`{"recipe":` + strings.NewReplacer("SERVER", "https://Portal.Example.com/", "0.001", "1").Replace(recipe) + `}`))
	if err != nil || got != "https://portal.example.com" {
		t.Errorf("%q, %v", got, err)
	}
}

// world is a bed as the suite's world. One entry lies far in the past: a list without any proves nothing.
type world struct{ *bed }

func shoot(e providertest.Entry) lightbluesim.Shoot {
	status := "Booked"
	if e.Status == domain.StatusTentative {
		status = "Pencilled"
	}
	zone, err := time.LoadLocation(providertest.Zone)
	if err != nil {
		panic(err)
	}
	return lightbluesim.Shoot{Title: e.Title, Start: e.When.Start.In(zone), End: e.When.End.In(zone), Status: status}
}

func (w world) Seed(_ testing.TB, e providertest.Entry) string     { return w.AddShoot(shoot(e)) }
func (w world) Edit(_ testing.TB, id string, e providertest.Entry) { w.EditShoot(id, shoot(e)) }
func (w world) Delete(_ testing.TB, id string)                     { w.RemoveShoot(id) }
func (w world) Count(testing.TB) int                               { return w.Shoots() - 1 }
func (w world) Heal(testing.TB)                                    { w.Server.Heal() }
func (w world) Skew(_ testing.TB, ahead time.Duration)             { w.skew.Store(int64(ahead)) }

func (w world) Fault(_ testing.TB, f providertest.Fault) bool {
	faults, ok := map[providertest.Fault]lightbluesim.Faults{
		providertest.FaultServerError:   {Status: http.StatusServiceUnavailable, RetryAfter: providertest.RetryAfter},
		providertest.FaultRateLimit:     {Status: http.StatusTooManyRequests, RetryAfter: providertest.RetryAfter},
		providertest.FaultRateLimitMute: {Status: http.StatusTooManyRequests},
		providertest.FaultUnauthorized:  {BadKey: true},
		providertest.FaultCutBody:       {CutBody: true},
		providertest.FaultGarbage:       {HTML: true},
		providertest.FaultEmptyAnswer:   {Nothing: true},
		providertest.FaultHang:          {Hang: true},
		providertest.FaultRepeatPage:    {Portal: lightbluesim.PortalFaults{Repeat: true}},
		providertest.FaultMissingPage:   {Portal: lightbluesim.PortalFaults{Skip: true}},
	}[f]
	if ok {
		w.SetFaults(faults)
	}
	return ok
}

func TestSuite(t *testing.T) {
	t.Parallel()
	providertest.Run(t, providertest.Harness{
		Registration: Registration, Secrets: []string{lightbluesim.PortalPassword, lightbluesim.PortalUser},
		Open: func(t testing.TB) (any, providertest.World) {
			b := setup(t, "")
			old := providertest.Now.AddDate(-5, 0, 0)
			b.AddShoot(lightbluesim.Shoot{Title: "Long ago", Start: old, End: old.Add(time.Hour)})
			return b.conn, world{b}
		},
		Lacks: map[string]string{
			"puller/forgotten cursor is a gone token and a full listing helps": "pages give no cursors that a portal could forget",
			"puller/missing page is noticed":                                   "this portal's recipe names no total; one that does notices it, see package lightblue",
		},
	})
}

func TestHealthIsAskedForWithoutRequestsWhereTheLastReadingTells(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	b.add(3, 8)
	b.pull(t, "")
	before := len(b.Requests())
	for range 5 {
		if err := b.conn.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.Requests()) - before; n != 0 {
		t.Errorf("%d requests for the health of a portal that was just read", n)
	}
	b.conn.now = func() time.Time { return providertest.Now.Add(probeFor) }
	b.SetFaults(lightbluesim.Faults{BadKey: true})
	for range 3 {
		if err := b.conn.Probe(t.Context()); domain.KindOf(err) != domain.KindUnauthenticated {
			t.Errorf("refused credentials: %v", err)
		}
	}
	tries := 0
	for _, r := range b.Requests() {
		if r == "POST /portal/login" {
			tries++
		}
	}
	if tries != 2 {
		t.Errorf("%d log-ins, want the first and one that is refused", tries)
	}
	b.Heal()
	if _, err := b.conn.Pull(t.Context(), ""); err != nil { // a reading does not wait
		t.Fatal(err)
	}
	if err := b.conn.Probe(t.Context()); err != nil {
		t.Errorf("after a reading that ended well: %v", err)
	}
}
