package caldav

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/sim/caldavsim"
)

const (
	user     = "studio"
	password = "sesame-opens-nothing"
)

// bundle is a simulator and a connection to it.
type bundle struct {
	sim  *caldavsim.Server
	conn *connection
	url  string
	skew atomic.Int64 // of the server's clock
}

func (b *bundle) theirs() time.Time { return providertest.Now.Add(time.Duration(b.skew.Load())) }

// pagesOfDAV says why no page of a CalDAV server can go astray unseen.
const pagesOfDAV = "a listing names resources, each with a version; a server that cuts it short says so by 507, and bodies are asked for by name"

func setup(t testing.TB, opt caldavsim.Options, edit ...func(*settings)) *bundle {
	t.Helper()
	opt.Username, opt.Password = user, password
	b := &bundle{}
	opt.Now = b.theirs
	if opt.Calendars == nil {
		opt.Calendars = []caldavsim.Calendar{{Name: "weddings"}}
	}
	sim := caldavsim.New(opt)
	server := httptest.NewServer(providertest.Dated(b.theirs, sim.Handler()))
	t.Cleanup(func() { sim.Heal(); server.Close() })
	s := settings{URL: server.URL, Username: user, Calendar: server.URL + sim.CalendarPath("weddings")}
	for _, e := range edit {
		e(&s)
	}
	b.sim, b.conn, b.url = sim, connect(t, s), server.URL
	return b
}

func connect(t testing.TB, s settings) *connection {
	t.Helper()
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := Registration.Open(provider.Connection{
		Integration: domain.Integration{Provider: "caldav", Settings: raw},
		Secrets:     map[string]string{"password": password},
		Zone:        mustZone(t, providertest.Zone), HTTP: client,
		Now: func() time.Time { return providertest.Now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return opened.(*connection)
}

func mustZone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := calendartime.LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// entryICS writes an entry as another program would.
func entryICS(uid string, e providertest.Entry) string {
	status := map[domain.BookingStatus]string{domain.StatusTentative: "TENTATIVE", domain.StatusCancelled: "CANCELLED"}[e.Status]
	if status == "" {
		status = "CONFIRMED"
	}
	const form = "20060102T150405Z"
	return vevent("UID:"+uid, "SUMMARY:"+escapeText(e.Title), "STATUS:"+status,
		"DTSTART:"+e.When.Start.UTC().Format(form), "DTEND:"+e.When.End.UTC().Format(form))
}

// vevent wraps lines into a resource with one VEVENT.
func vevent(lines ...string) string {
	return calendar("BEGIN:VEVENT", "DTSTAMP:20270101T000000Z", strings.Join(lines, "\r\n"), "END:VEVENT")
}

func calendar(lines ...string) string {
	return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Other//Program//EN\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VCALENDAR\r\n"
}

// simWorld is the simulator as the suite's world.
type simWorld struct {
	*bundle
	seeded atomic.Int64
}

func (w *simWorld) Seed(_ testing.TB, e providertest.Entry) string {
	n := w.seeded.Add(1)
	return w.sim.PutEvent("weddings", fmt.Sprintf("entry-%d.ics", n), entryICS(fmt.Sprintf("entry-%d", n), e))
}

func (w *simWorld) Edit(t testing.TB, id string, e providertest.Entry) {
	for _, stored := range w.sim.Events("weddings") {
		if stored.Path == id {
			w.sim.PutEvent("weddings", id[strings.LastIndex(id, "/")+1:], entryICS(uidIn(t, stored.Data), e))
			return
		}
	}
	t.Fatalf("no entry %s", id)
}

func (w *simWorld) Delete(_ testing.TB, id string) { w.sim.DeleteEvent(id) }
func (w *simWorld) Count(testing.TB) int           { return len(w.sim.Events("weddings")) }
func (w *simWorld) Heal(testing.TB)                { w.sim.Heal() }

func (w *simWorld) Skew(_ testing.TB, ahead time.Duration) { w.skew.Store(int64(ahead)) }

func (w *simWorld) Fault(_ testing.TB, f providertest.Fault) bool {
	if f == providertest.FaultForgetTokens {
		w.sim.ExpireTokens()
		return true
	}
	return setFault(w.sim.Front, f)
}

// setFault arms a fault of a front.
func setFault(front *caldavsim.Front, f providertest.Fault) bool {
	faults, ok := map[providertest.Fault]caldavsim.Faults{
		providertest.FaultServerError:   {Status: 503, RetryAfter: providertest.RetryAfter},
		providertest.FaultRateLimit:     {Status: 429, RetryAfter: providertest.RetryAfter},
		providertest.FaultRateLimitMute: {Status: 429},
		providertest.FaultUnauthorized:  {Status: 401},
		providertest.FaultCutBody:       {CutBody: true},
		providertest.FaultGarbage:       {Garbage: true},
		providertest.FaultEmptyAnswer:   {EmptyAnswer: true},
		providertest.FaultShortListing:  {ShortMultiget: true},
		providertest.FaultHang:          {Hang: true},
		providertest.FaultLoseAnswer:    {LoseAnswers: 1},
	}[f]
	if ok {
		front.SetFaults(faults)
	}
	return ok
}

func uidIn(t testing.TB, data string) string {
	t.Helper()
	for _, l := range strings.Split(data, "\r\n") {
		if uid, ok := strings.CutPrefix(l, "UID:"); ok {
			return uid
		}
	}
	t.Fatal("the resource has no UID")
	return ""
}

func TestSuite(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		name   string
		opt    caldavsim.Options
		faults caldavsim.Faults
		lacks  map[string]string
	}{
		{name: "sync tokens"},
		{name: "truncated answers", opt: caldavsim.Options{PageLimit: 30}},
		{name: "tokens refused with 409", opt: caldavsim.Options{TokenRefusal: 409}},
		{name: "tokens refused with 500", opt: caldavsim.Options{TokenRefusal: 500}},
		{name: "change tags only", opt: caldavsim.Options{NoSyncCollection: true},
			lacks: map[string]string{
				"puller/forgotten cursor is a gone token and a full listing helps": "without sync tokens there is nothing that the server could forget",
				"puller/changes after the cursor are pulled":                       "ETags do not tell what was removed; TestRemovalWithoutSyncTokensIsGoneToken covers it",
			}},
		{name: "etags only", opt: caldavsim.Options{NoSyncCollection: true, NoCTag: true},
			lacks: map[string]string{
				"puller/forgotten cursor is a gone token and a full listing helps": "without sync tokens there is nothing that the server could forget",
				"puller/changes after the cursor are pulled":                       "ETags do not tell what was removed; TestRemovalWithoutSyncTokensIsGoneToken covers it",
			}},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			lacks := map[string]string{"hazard/duplicate page": pagesOfDAV, "hazard/missing page": pagesOfDAV}
			for name, why := range v.lacks {
				lacks[name] = why
			}
			providertest.Run(t, providertest.Harness{
				Registration: Registration, Many: 2*pageSize + 10, Secrets: []string{password}, Lacks: lacks,
				Open: func(t testing.TB) (any, providertest.World) {
					b := setup(t, v.opt)
					return b.conn, &simWorld{bundle: b}
				},
			})
		})
	}
}
