package scrape

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/sim/lightbluesim"
)

var now = time.Date(2027, time.March, 1, 9, 0, 0, 0, time.UTC)

// bed is the invented portal and a session at it. Its clock moves on by what the session sleeps.
type bed struct {
	*lightbluesim.Server
	url     string
	client  *httpx.Client
	session *Session

	mu    sync.Mutex
	at    time.Time
	slept []time.Duration
}

func (b *bed) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.at
}

func (b *bed) ahead(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = b.at.Add(d)
}

func (b *bed) sleep(ctx context.Context, d time.Duration) error {
	b.mu.Lock()
	b.slept = append(b.slept, d)
	b.at = b.at.Add(d)
	b.mu.Unlock()
	return ctx.Err()
}

const portalRecipe = `
version: 1
name: Portal
base: BASE
zone: Europe/London
login:
  path: /portal/login
  form: form#login
  fields: {email: "{secret.user}", password: "{secret.password}"}
  refused: p.error
logged_out: {selector: form#login, path: /portal/login}
list:
  path: /portal/shoots?page=1
  container: table#shoots
  rows: table#shoots tr.shoot
  empty: p.none
  total: {selector: p.total, pattern: '(\d+) shoots'}
  next: nav.pages a.next
  identity: [id]
  fields:
    id: {attr: data-id, required: true}
    title: {selector: td.title a, required: true}
    date: {selector: td.date, type: date, formats: [DD/MM/YYYY], required: true}
    start_time: {selector: td.start, type: time, formats: ["HH:mm"]}
    end_time: {selector: td.end, type: time, formats: ["HH:mm"]}
    status: {selector: td.status, map: {Booked: confirmed, Pencilled: tentative, Cancelled: cancelled}}
    location: {selector: td.place}
limits: {pages: 20, interval: 2}
`

// setup starts a portal. change are pairs of texts that are replaced in the recipe.
func setup(t testing.TB, change ...string) *bed {
	t.Helper()
	b := &bed{at: now}
	b.Server = lightbluesim.New(lightbluesim.Options{Now: b.now})
	server := httptest.NewServer(b.Handler())
	t.Cleanup(func() { b.Heal(); server.Close() })
	b.url = server.URL
	var err error
	if b.client, err = httpx.New(httpx.Options{Allow: httpx.AllowPrivate}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.client.Close)
	b.session = b.open(t, lightbluesim.PortalPassword, change...)
	return b
}

func (b *bed) open(t testing.TB, password string, change ...string) *Session {
	t.Helper()
	return program(t, strings.NewReplacer(append(change, "BASE", b.url)...).Replace(portalRecipe)).Session(Options{HTTP: b.client,
		Secrets: map[string]string{"user": lightbluesim.PortalUser, "password": password}, Now: b.now, Sleep: b.sleep, Jitter: func() float64 { return 0.5 }})
}

func program(t testing.TB, text string) *Program {
	t.Helper()
	r, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fill makes n shoots on days of their own.
func (b *bed) fill(n int) (ids []string) {
	for i := range n {
		start := now.AddDate(0, 0, i+1).Add(5 * time.Hour)
		ids = append(ids, b.AddShoot(lightbluesim.Shoot{Title: "Quillfeather wedding", Place: "Mill", Client: "Oakbridge", Start: start, End: start.Add(8 * time.Hour)}))
	}
	return ids
}

func (b *bed) run(t testing.TB) (Result, error) {
	t.Helper()
	return b.session.Run(t.Context(), Window{From: now, Until: now.AddDate(1, 0, 0)})
}

func (b *bed) good(t testing.TB) Result {
	t.Helper()
	r, err := b.run(t)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// asked counts the requests whose text has a part.
func (b *bed) asked(part string) (n int) {
	for _, r := range b.Requests() {
		if strings.Contains(r, part) {
			n++
		}
	}
	return n
}
