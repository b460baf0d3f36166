package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/oauthsim"
	"github.com/wedsync/wedsync/internal/sim/restsim"
)

// program is the whole program with one person in it, driven by its own commands.
type program struct {
	*testing.T
	api      *apiclient.Client
	url      string
	token    string
	resource string
	day      time.Time
}

// TestASystemIsConnectedByADefinitionFromTheFirstQuestionToTheLastWrite takes definitions from wedsync integration new through
// the whole program, on real Postgres, real Temporal and a simulated system.
func TestASystemIsConnectedByADefinitionFromTheFirstQuestionToTheLastWrite(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts Postgres and Temporal")
	}
	t.Parallel()
	ready := serveAll(t)
	for _, part := range []struct {
		name string
		tell func(*program)
	}{{"a machine's own credentials", (*program).byItself}, {"a person's consent", (*program).byConsent}} {
		t.Run(part.name, func(t *testing.T) {
			p := &program{T: t, url: ready.HTTP, token: ready.AdminToken, api: apiclient.New(ready.HTTP, ready.AdminToken),
				day: time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 2, 0)}
			t.Cleanup(p.api.Close)
			var resource struct {
				ID string `json:"id"`
			}
			p.call(http.MethodPost, "/v1/resources", map[string]any{"name": part.name, "kind": "room", "zone": "Europe/London"}, &resource)
			p.resource = resource.ID
			part.tell(p)
		})
	}
}

// serveAll runs the whole program until the test ends.
func serveAll(t *testing.T) app.Ready {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := app.Defaults()
	cfg.LogLevel, cfg.PublicURL = "error", "http://"+addr
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	serving, ended := make(chan app.Ready, 1), make(chan error, 1)
	go func() {
		ended <- app.Dev(ctx, app.DevOptions{HTTPAddr: addr, Ephemeral: true, Private: true, Config: cfg, Out: io.Discard,
			Serving: func(ctx context.Context, r app.Ready) error {
				serving <- r
				<-ctx.Done()
				return nil
			}})
	}()
	select {
	case r := <-serving:
		t.Cleanup(func() {
			stop()
			if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		return r
	case err := <-ended:
		stop()
		t.Fatal(err)
		return app.Ready{}
	}
}

func (p *program) call(method, path string, in, out any) {
	p.Helper()
	if _, err := p.api.Do(p.Context(), method, path, in, out); err != nil {
		p.Fatalf("%s %s: %v", method, path, err)
	}
}

// run runs a command as a person does, and returns what it printed.
func (p *program) run(args ...string) string {
	p.Helper()
	out, errs, err := runWith(p.T, "", args...)
	if err != nil {
		p.Fatalf("wedsync %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
	return out
}

// reaching are the flags by which a command reaches the program.
func (p *program) reaching(args ...string) []string {
	return append(args, "--url", p.url, "--token", p.token)
}

func (p *program) await(what string, check func() error) {
	p.Helper()
	limit, stop := context.WithTimeout(p.Context(), 2*time.Minute)
	defer stop()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-limit.Done():
			p.Fatalf("waited in vain for %s: %v", what, err)
		case <-tick.C:
		}
	}
}

// at is ten o'clock in UTC on the nth day of the story.
func (p *program) at(n int) time.Time { return p.day.AddDate(0, 0, n).Add(10 * time.Hour) }

func (p *program) entry(name string, n int) restsim.Entry {
	return restsim.Entry{Kind: "wedding", State: "booked", Name: name, Starts: p.at(n).Format(time.RFC3339), Ends: p.at(n).Add(8 * time.Hour).Format(time.RFC3339)}
}

// stands waits until exactly these bookings stand: when each begins, by title.
func (p *program) stands(what string, want map[string]time.Time) (byTitle map[string]domain.Booking) {
	p.Helper()
	p.await(what, func() error {
		var out struct{ Items []domain.Booking }
		p.call(http.MethodGet, "/v1/bookings?limit=200&resource="+p.resource, nil, &out)
		byTitle = map[string]domain.Booking{}
		n := 0
		for _, b := range out.Items {
			if b.Status == domain.StatusCancelled {
				continue
			}
			if at, ok := want[b.Details.Title]; !ok || !at.Equal(b.When.Start) {
				return fmt.Errorf("%s at %s, which is not wanted", b.Details.Title, b.When.Start)
			}
			byTitle[b.Details.Title] = b
			n++
		}
		if n != len(want) || len(byTitle) != len(want) {
			return fmt.Errorf("%d bookings, want %d", n, len(want))
		}
		return nil
	})
	return byTitle
}

// define writes a definition of a simulated booking desk with the command, lets lint check it, and makes an integration of it.
func (p *program) define(base, auth string, more ...string) (integration, hook string) {
	p.Helper()
	dir := p.TempDir()
	file := filepath.Join(dir, "desk.yaml")
	p.run(append([]string{"integration", "new", "--no-input", "--name", "Desk " + auth, "--base-url", base + "/v1", "--auth", auth, "--client-id", "client",
		"--list-path", "/entries", "--items", "body.entries", "--paging", "cursor", "--next", "body.?next_cursor", "--total", "body.total",
		"--since-param", "updated_since", "--updated", "item.updated_at", "--category", "{'wedding': 'wedding'}[?item.kind].orValue('vendor')",
		"--status", "{'option': 'tentative', 'cancelled': 'cancelled'}[?item.state].orValue('confirmed')", "--start", "item.starts_at", "--end", "item.ends_at",
		"--zone", "-", "--title", "item.?name", "--version", "item.version", "--origin", "item.?ref", "--write", "--webhook", "hmac-sha256", "--hook-items", "[body.entry]",
		"--fetch-back", "--requests", "5000", "--out", file}, more...)...)
	if out := p.run("integration", "lint", file); !strings.Contains(out, "0 errors") || !strings.Contains(out, "client_secret, webhook_secret") {
		p.Fatalf("lint says\n%s", out)
	}
	var files []string
	for name, secret := range map[string]string{"client_secret": "secret", "webhook_secret": hookSecret} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
			p.Fatal(err)
		}
		files = append(files, "--secret-file", name+"="+path)
	}
	var made struct {
		ID   string `json:"id"`
		Hook string `json:"webhook_url"`
	}
	out := p.run(p.reaching(append([]string{"integration", "new", "--no-input", "--from", file, "--apply", "--resource", p.resource}, files...)...)...)
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.ID == "" || strings.Contains(out, hookSecret) {
		p.Fatalf("%v: %s", err, out)
	}
	return made.ID, made.Hook
}

const hookSecret = "0123456789abcdef0123456789abcdef"

// post sends a webhook of the desk and returns the status of the answer.
func (p *program) post(hook, body string, signed bool) int {
	p.Helper()
	mac := hmac.New(sha256.New, []byte(hookSecret))
	_, _ = io.WriteString(mac, body)
	req, err := http.NewRequestWithContext(p.Context(), http.MethodPost, hook, strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if signed {
		req.Header.Set("X-Signature", hex.EncodeToString(mac.Sum(nil)))
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

// serve gives a handler an address until the part ends.
func (p *program) serve(h http.Handler) string {
	srv := httptest.NewServer(h)
	p.Cleanup(srv.Close)
	return srv.URL
}

// byItself: client credentials, pages, a thin webhook that is read back, and writes.
func (p *program) byItself() {
	auth := oauthsim.New(oauthsim.Options{})
	sim := restsim.New(restsim.Options{Paging: restsim.Cursor, PageSize: 2, Tombstones: true, Valid: auth.Valid})
	p.Cleanup(sim.Heal)
	want := map[string]time.Time{}
	for n := range 5 {
		name := fmt.Sprintf("Marigold %d", n)
		sim.Add(p.entry(name, n+1))
		want[name] = p.at(n + 1)
	}
	id, hook := p.define(p.serve(sim), "client_credentials", "--token-url", p.serve(auth)+"/token")
	p.run(p.reaching("integration", "resync", id)...)
	known := p.stands("five entries of three pages", want)
	pages := 0
	for _, asked := range sim.Asked() {
		if strings.Contains(asked, "cursor=after-") {
			pages++
		}
	}
	if pages < 2 || auth.Counts().Own == 0 || known["Marigold 0"].Category != domain.CategoryWedding {
		p.Errorf("%d further pages, %d tokens, %s", pages, auth.Counts().Own, known["Marigold 0"].Category)
	}

	// A webhook names an entry and says nothing of it. It comes twice, and once without a signature.
	first := sim.All()[0].ID
	sim.Edit(first, func(e *restsim.Entry) {
		e.Starts, e.Ends = p.at(11).Format(time.RFC3339), p.at(12).Format(time.RFC3339)
	})
	changed := fmt.Sprintf(`{"id":"m1","entry":{"id":%q}}`, first)
	if status := p.post(hook, changed, false); status != http.StatusUnauthorized {
		p.Errorf("a webhook without a signature was answered %d", status)
	}
	for range 2 {
		if status := p.post(hook, changed, true); status/100 != 2 {
			p.Errorf("a webhook was answered %d", status)
		}
	}
	want["Marigold 0"] = p.at(11)
	if now := p.stands("the entry that a webhook named", want); now["Marigold 0"].ID != known["Marigold 0"].ID {
		p.Error("it is another booking")
	}
	sim.Remove(first)
	p.post(hook, fmt.Sprintf(`{"id":"m2","entry":{"id":%q}}`, first), true)
	delete(want, "Marigold 0")
	p.stands("the end of an entry that a webhook named", want)

	p.writes(sim, want)
}

// writes: a booking made here is one entry there, although the answer was lost; it is moved, and taken out again.
func (p *program) writes(sim *restsim.Server, want map[string]time.Time) {
	p.Helper()
	sim.Break(restsim.FaultLoseAnswer, 1)
	var made domain.Booking
	p.call(http.MethodPost, "/v1/bookings", map[string]any{"resource_id": p.resource, "category": "wedding", "status": "confirmed", "reason": "story",
		"when": map[string]any{"start": p.at(20), "end": p.at(20).Add(8 * time.Hour), "zone": "Europe/London"}, "details": map[string]any{"title": "Quillfeather"}}, &made)
	want["Quillfeather"] = p.at(20)
	copied := func(what string, at *time.Time) {
		p.Helper()
		p.await(what, func() error {
			var found []restsim.Entry
			for _, e := range sim.All() {
				if e.Ref == string(made.ID) {
					found = append(found, e)
				}
			}
			if at == nil {
				if len(found) != 0 {
					return fmt.Errorf("%d entries are left", len(found))
				}
				return nil
			}
			if len(found) != 1 || found[0].Name != "Quillfeather" {
				return fmt.Errorf("entries %+v", found)
			}
			if start, err := time.Parse(time.RFC3339, found[0].Starts); err != nil || !start.Equal(*at) {
				return fmt.Errorf("it is at %s", found[0].Starts)
			}
			return nil
		})
	}
	change := func(fields map[string]any) {
		p.Helper()
		var b domain.Booking
		p.call(http.MethodGet, "/v1/bookings/"+string(made.ID), nil, &b)
		fields["version"], fields["reason"] = b.Version, "story"
		p.call(http.MethodPatch, "/v1/bookings/"+string(made.ID), fields, nil)
	}
	start, later := p.at(20), p.at(21)
	copied("one entry of the booking", &start)
	change(map[string]any{"when": map[string]any{"start": later, "end": later.Add(8 * time.Hour)}})
	want["Quillfeather"] = later
	copied("the entry to move", &later)
	p.stands("the booking once, with its copy", want)
	change(map[string]any{"status": "cancelled"})
	delete(want, "Quillfeather")
	copied("the entry to go", nil)
	p.stands("the bookings without it", want)
}

// byConsent: a person lets WedSync in, tokens are refreshed, the grant is taken away, and given again.
func (p *program) byConsent() {
	auth := oauthsim.New(oauthsim.Options{Rotate: true, Redirects: []string{p.url + "/oauth/callback"}, Life: 5 * time.Second})
	sim := restsim.New(restsim.Options{Paging: restsim.Cursor, PageSize: 2, Tombstones: true, Valid: auth.Valid})
	p.Cleanup(sim.Heal)
	login := p.serve(auth)
	sim.Add(p.entry("Oakbridge", 1))
	id, _ := p.define(p.serve(sim), "authorization_code", "--auth-url", login+"/authorize", "--token-url", login+"/token")
	state := func() (i domain.Integration) {
		p.Helper()
		p.call(http.MethodGet, "/v1/integrations/"+id, nil, &i)
		return i
	}
	if i := state(); i.State != domain.IntegrationNeedsReconnect || !strings.Contains(i.StateReason, "wedsync integration connect "+id) {
		p.Errorf("before the consent it is %s: %s", i.State, i.StateReason)
	}
	p.consent(id)
	want := map[string]time.Time{"Oakbridge": p.at(1)}
	if i := state(); i.State != domain.IntegrationActive {
		p.Errorf("after the consent it is %s: %s", i.State, i.StateReason)
	}
	p.run(p.reaching("integration", "resync", id)...)
	p.stands("what is read with a grant", want)

	// Access tokens end within seconds, and every refresh ends the refresh token before it.
	p.await("a refresh", func() error {
		p.run(p.reaching("integration", "resync", id)...)
		if c := auth.Counts(); c.Refreshes < 2 || c.Exchanges != 1 {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	p.writes(sim, want)

	// The person takes the grant away. Nothing is lost, and the next consent brings what came meanwhile.
	auth.RevokeAll()
	sim.Add(p.entry("Larkspur", 2))
	p.await("the loss of the grant to be noticed", func() error {
		if i := state(); i.State == domain.IntegrationNeedsReconnect {
			if !strings.Contains(i.StateReason, "wedsync integration connect "+id) {
				p.Errorf("it says %s", i.StateReason)
			}
			return nil
		}
		// Its run fails; that is how the loss is noticed.
		if out, _, err := runWith(p.T, "", p.reaching("integration", "resync", id)...); err == nil {
			return fmt.Errorf("a run without a grant ends well: %s", out)
		}
		return errors.New("it does not need to be reconnected yet")
	})
	p.stands("what was read before", want)
	p.consent(id)
	want["Larkspur"] = p.at(2)
	p.run(p.reaching("integration", "resync", id)...)
	p.stands("what came meanwhile", want)
	if c := auth.Counts(); c.Exchanges != 2 {
		p.Errorf("%+v", c)
	}
}

// consent is what an admin and a browser do: ask for the link, follow it, agree there, come back and confirm.
func (p *program) consent(id string) {
	p.Helper()
	link := strings.TrimSpace(p.run(p.reaching("integration", "connect", id)...))
	if u, err := url.Parse(link); err != nil || u.Query().Get("code_challenge_method") != "S256" || u.Query().Has("client_secret") {
		p.Fatalf("the link is %s, %v", link, err)
	}
	browser := &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	visit := func(method, address string, form url.Values, status int) http.Header {
		p.Helper()
		req, err := http.NewRequestWithContext(p.Context(), method, address, bytes.NewBufferString(form.Encode()))
		if err != nil {
			p.Fatal(err)
		}
		if form != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Sec-Fetch-Site", "same-origin")
		}
		res, err := browser.Do(req)
		if err != nil {
			p.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != status {
			p.Fatalf("%s %s was answered %d, want %d", method, req.URL.Path, res.StatusCode, status)
		}
		return res.Header
	}
	back := visit(http.MethodGet, link, nil, http.StatusFound).Get("Location")
	visit(http.MethodGet, back, nil, http.StatusOK)
	came, err := url.Parse(back)
	if err != nil {
		p.Fatal(err)
	}
	q := came.Query()
	came.RawQuery = ""
	visit(http.MethodPost, came.String(), url.Values{"state": {q.Get("state")}, "code": {q.Get("code")}}, http.StatusOK)
}
