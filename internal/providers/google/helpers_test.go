package google

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/sim/googlesim"
)

const (
	studio = "studio@example.org"
	secret = "sesame-opens-nothing"
)

// contract is Google's discovery document, read where the module lies.
var contract = sync.OnceValues(func() (*googlesim.Contract, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "google.golang.org/api").Output()
	if err != nil {
		return nil, fmt.Errorf("find the module google.golang.org/api: %w", err)
	}
	f, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "calendar", "v3", "calendar-api.json"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return googlesim.ReadContract(f)
})

// tokens is a grant with a row of access tokens: each that is refused makes place for the next.
type tokens struct {
	mu      sync.Mutex
	row     []string
	refused []string
	err     error
}

func (s *tokens) Token(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return "", s.err
	}
	return s.row[0], ctx.Err()
}

func (s *tokens) Refused(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused = append(s.refused, token); len(s.row) > 1 && s.row[0] == token {
		s.row = s.row[1:]
	}
}

// bundle is a simulator and a connection to it.
type bundle struct {
	sim    *googlesim.Server
	conn   *connection
	tokens *tokens
	server *httptest.Server
	ahead  atomic.Int64 // of the clock of the connection, in nanoseconds
	skew   atomic.Int64 // of Google's clock alone
}

func (b *bundle) now() time.Time { return providertest.Now.Add(time.Duration(b.ahead.Load())) }

func (b *bundle) theirs() time.Time { return b.now().Add(time.Duration(b.skew.Load())) }

type change struct {
	settings  func(*settings)
	sim       func(*googlesim.Options)
	direction domain.Direction
}

func setup(t testing.TB, c change) *bundle {
	t.Helper()
	b := &bundle{tokens: &tokens{row: []string{secret}}}
	opt := googlesim.Options{
		Token: secret, Now: b.theirs,
		Calendars: []googlesim.Calendar{{ID: studio, Primary: true, Zone: providertest.Zone}},
	}
	if c.sim != nil {
		c.sim(&opt)
	}
	b.sim = googlesim.New(opt)
	doc, err := contract()
	if err != nil {
		t.Fatal(err)
	}
	b.server = httptest.NewServer(providertest.Dated(b.theirs, doc.Wrap(b.sim.Handler(), func(breach string) { t.Error(breach) })))
	t.Cleanup(func() { b.sim.Heal(); b.server.Close() })
	s := settings{Calendar: studio, Access: accessOwner, Development: development{API: b.server.URL + "/calendar/v3/"}}
	if c.settings != nil {
		c.settings(&s)
	}
	if c.direction == "" {
		c.direction = domain.DirectionBidirectional
	}
	b.conn = connect(t, b, s, c.direction)
	return b
}

func connect(t testing.TB, b *bundle, s settings, d domain.Direction) *connection {
	t.Helper()
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate, Now: b.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	zone, err := calendartime.LoadZone(providertest.Zone)
	if err != nil {
		t.Fatal(err)
	}
	c := provider.Connection{Integration: domain.Integration{Provider: "google", Settings: raw, Direction: d}, Zone: zone, HTTP: client, Now: b.now}
	if b.tokens != nil {
		c.Tokens = b.tokens
	}
	opened, err := Registration.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return opened.(*connection)
}

// openWithout opens a connection that has no grant.
func openWithout(t testing.TB, s settings) *connection {
	t.Helper()
	return connect(t, &bundle{}, s, domain.DirectionBidirectional)
}

// timed are the fields of an event of some hours.
func timed(title string, start time.Time, d time.Duration) map[string]any {
	return map[string]any{"summary": title,
		"start": map[string]any{"dateTime": start.Format(time.RFC3339), "timeZone": "UTC"},
		"end":   map[string]any{"dateTime": start.Add(d).Format(time.RFC3339), "timeZone": "UTC"}}
}

// with adds fields.
func with(base map[string]any, more map[string]any) map[string]any {
	for k, v := range more {
		base[k] = v
	}
	return base
}

// soon is a time in the window, n days ahead.
func soon(n int) time.Time { return providertest.Now.Add(time.Duration(n) * day) }

func write(n int) provider.Write {
	start := soon(n + 1)
	return provider.Write{
		Key:       fmt.Sprintf("0193c000-0000-7000-8000-%012x", n),
		BookingID: domain.BookingID(fmt.Sprintf("0193b000-0000-7000-8000-%012x", n)),
		Category:  domain.CategoryWedding, Status: domain.StatusConfirmed,
		When:    domain.When{Span: domain.Span{Start: start, End: start.Add(8 * time.Hour)}, Zone: "UTC", Kind: domain.TimeZoned},
		Details: domain.Details{Title: "Wedding", Location: "Old barn; gate 2, left", Notes: "First line\nSecond line", Contact: "Robin"},
	}
}

// pullAll reads all pages after a cursor into one.
func pullAll(t testing.TB, c *connection, cursor string) provider.Page {
	t.Helper()
	var all provider.Page
	for range 200 {
		page, err := c.Pull(t.Context(), cursor)
		if err != nil {
			t.Fatalf("pull: %v", err)
		}
		all.Changes = append(all.Changes, page.Changes...)
		all.Problems = append(all.Problems, page.Problems...)
		all.Next, all.Complete = page.Next, page.Complete
		if !page.More {
			return all
		}
		cursor = page.Next
	}
	t.Fatal("a listing of more than 200 pages")
	return all
}

// byID finds the last change of an entry.
func byID(t testing.TB, page provider.Page, id string) domain.Change {
	t.Helper()
	for i := len(page.Changes) - 1; i >= 0; i-- {
		if page.Changes[i].ExternalID == id {
			return page.Changes[i]
		}
	}
	t.Fatalf("no change of %s among %d, problems %v", id, len(page.Changes), page.Problems)
	return domain.Change{}
}

func wantKind(t testing.TB, err error, kind domain.ErrorKind) {
	t.Helper()
	if domain.KindOf(err) != kind {
		t.Errorf("error of kind %q (%v), want %q", domain.KindOf(err), err, kind)
	}
}

// world is the simulator as the suite's world.
type world struct{ *bundle }

func fields(e providertest.Entry) map[string]any {
	f := timed(e.Title, e.When.Start, e.When.Duration())
	if e.Status != "" {
		f["status"] = string(e.Status)
	}
	return f
}

func (w world) Seed(_ testing.TB, e providertest.Entry) string { return w.sim.Put(studio, fields(e)) }
func (w world) Edit(_ testing.TB, id string, e providertest.Entry) {
	w.sim.Patch(studio, id, fields(e))
}
func (w world) Delete(_ testing.TB, id string) { w.sim.Delete(studio, id) }
func (w world) Count(testing.TB) int           { return len(w.sim.Events(studio)) }
func (w world) Heal(testing.TB)                { w.sim.Heal() }

func (w world) Skew(_ testing.TB, ahead time.Duration) { w.skew.Store(int64(ahead)) }
func (w world) Tell(t testing.TB) {
	if _, err := w.sim.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (w world) Fault(_ testing.TB, f providertest.Fault) bool {
	if f == providertest.FaultForgetTokens {
		w.sim.ExpireTokens()
		return true
	}
	faults, ok := map[providertest.Fault]googlesim.Faults{
		providertest.FaultServerError:   {Status: 503, Reason: "backendError", RetryAfter: providertest.RetryAfter},
		providertest.FaultRateLimit:     {Status: 429, Reason: "rateLimitExceeded", RetryAfter: providertest.RetryAfter},
		providertest.FaultRateLimitMute: {Status: 429, Reason: "rateLimitExceeded"},
		providertest.FaultUnauthorized:  {Status: 401, Reason: "authError"},
		providertest.FaultCutBody:       {CutBody: true},
		providertest.FaultGarbage:       {Garbage: true},
		providertest.FaultEmptyAnswer:   {EmptyAnswer: true},
		providertest.FaultHang:          {Hang: true},
		providertest.FaultLoseAnswer:    {LoseAnswers: 1},
		providertest.FaultRepeatPage:    {RepeatPage: true},
		providertest.FaultMissingPage:   {SkipPage: true},
	}[f]
	if ok {
		w.sim.SetFaults(faults)
	}
	return ok
}
