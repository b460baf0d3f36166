package activities

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/outbound"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
)

// canary is in every secret, in the title of the booking and in the addresses of watches: nothing that is told may hold it.
const canary = "canary-7f3a91c2"

// echo is an outside system that fails and says everything it was told: in its body, its headers and its redirects.
type echo struct {
	*httptest.Server
	how   atomic.Value // string
	calls atomic.Int64
}

var echoWays = []string{"400", "401", "403", "404", "409", "410", "412", "422", "429", "500", "503", "302", "garbage", "cut", "hang up"}

func newEcho(t *testing.T) *echo {
	t.Helper()
	e := &echo{}
	e.how.Store("500")
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.calls.Add(1)
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		said := r.Method + " " + r.URL.String() + "\n" + string(body)
		for name, values := range r.Header {
			said += "\n" + name + ": " + strings.Join(values, ", ")
		}
		how := e.how.Load().(string)
		key := r.Header.Get("Authorization") + r.Header.Get("X-Api-Key")
		for _, name := range []string{"X-Request-Id", "Www-Authenticate", "X-Error"} {
			w.Header().Set(name, strings.TrimPrefix(key, "Bearer "))
		}
		w.Header().Set("Location", "http://"+r.Host+"/elsewhere?key="+strings.ReplaceAll(key, " ", "+"))
		w.Header().Set("Content-Type", "application/json")
		answer, _ := json.Marshal(map[string]any{"error": map[string]any{"message": said, "code": said, "errors": []map[string]string{{"reason": said, "message": said}}},
			"detail": map[string]string{said: said}, "title": said})
		switch how {
		case "hang up":
			panic(http.ErrAbortHandler)
		case "cut":
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(answer)
			return
		case "garbage":
			_, _ = io.WriteString(w, said)
			return
		}
		var status int
		_, _ = fmt.Sscanf(how, "%d", &status)
		w.WriteHeader(status)
		_, _ = w.Write(answer)
	}))
	t.Cleanup(e.Close)
	return e
}

type canaryToken struct{}

func (canaryToken) Token(context.Context) (string, error) { return canary + "-token-1", nil }
func (canaryToken) Refused(string)                        {}

// canarySettings are what a connection to the echo needs, by provider, and the secrets that must have a form.
func canarySettings(url string) (settings map[string]string, secrets map[string]map[string]string) {
	development := fmt.Sprintf(`{"development":{"api":%q}}`, url)
	return map[string]string{
			"custom":    string(crmsim.Settings(url)),
			"tave":      fmt.Sprintf(`{"api_url":%q,"lead_studio":"one","jobs":{"wedding":"Wedding"},"requests_per_second":10000}`, url+"/api/v2"),
			"caldav":    fmt.Sprintf(`{"url":%q,"username":"studio"}`, url+"/"),
			"google":    fmt.Sprintf(`{"calendar":"primary","development":{"api":%q}}`, url),
			"outlook":   fmt.Sprintf(`{"calendar":"one","graph_url":%q}`, url+"/v1.0"),
			"ics":       "{}",
			"lightblue": development,
			"scrape":    `{"recipe":` + strings.ReplaceAll(canaryRecipe, "SERVER", url) + `}`,
			"honeybook": fmt.Sprintf(`{"lead_form":{"enabled":true,"vendor_id":"v1","vendor_name":"Studio","company_id":"5f0e1d2c3b4a59687766554a","contact_form_id":"f1","per_day":100,"url":%q}}`, url),
			"calendly":  development, "acuity": development, "calcom": development,
		}, map[string]map[string]string{
			"custom":    {"webhook_secret": "whsec_" + base64.StdEncoding.EncodeToString([]byte(canary+canary))},
			"ics":       {"url": url + "/" + canary + ".ics"},
			"lightblue": {"feed_url": url + "/" + canary + ".ics"},
		}
}

// canaryRecipe signs in and lists.
const canaryRecipe = `{"version":1,"name":"Portal","base":"SERVER",
	"login":{"path":"/login","form":"form#login","fields":{"email":"{secret.user}","password":"{secret.password}"},"refused":"p.error"},
	"logged_out":{"selector":"form#login"},
	"list":{"path":"/shoots","container":"table#shoots","rows":"tr.shoot","empty":"p.none","identity":["id"],"fields":{
		"id":{"attr":"data-id","required":true},"title":{"selector":"td.title","required":true},
		"date":{"selector":"td.date","type":"date","formats":["DD/MM/YYYY"],"required":true}}},
	"limits":{"interval":0.001}}`

func TestNothingThatIsToldOfAFailureHoldsASecretOrAName(t *testing.T) {
	t.Parallel()
	for _, r := range providers.All() {
		t.Run(r.Name, func(t *testing.T) {
			t.Parallel()
			e := newEcho(t)
			settings, forms := canarySettings(e.URL)
			if settings[r.Name] == "" {
				t.Fatalf("%s is not tried: say in canarySettings how it is pointed at the failing system", r.Name)
			}
			direction := domain.DirectionBidirectional
			if r.Name == "ics" || r.Name == "honeybook" || r.Name == "scrape" {
				direction = domain.DirectionImport
			}
			var logged bytes.Buffer
			log := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
			client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.Close)
			now := time.Now()
			var opened any
			// Each way of failing meets a connection that nothing is known of, with circuits that open.
			for n, how := range echoWays {
				// An account of its own, since providers remember what an account refused.
				secrets := map[string]string{}
				for _, s := range r.Secrets {
					secrets[s.Name] = fmt.Sprintf("%s-%s-%d", canary, strings.ReplaceAll(s.Name, "_", "-"), n)
				}
				maps.Copy(secrets, forms[r.Name])
				d, err := outbound.New(t.Context(), outbound.Options{Log: log})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(d.Close)
				find := func(string) (provider.Registration, bool) {
					one := r
					one.OAuth, one.Rates = nil, nil
					one.Open = func(c provider.Connection) (any, error) {
						c.Tokens = canaryToken{}
						return r.Open(c)
					}
					return one, true
				}
				i := domain.Integration{ID: domain.NewID[domain.IntegrationID](now), OrgID: domain.NewID[domain.OrgID](now), Provider: r.Name, Version: 1,
					Direction: direction, Settings: json.RawMessage(settings[r.Name])}
				opened, err = connect.New(find, client, time.Now, 0).WithOutbound(d).WithConsents(func(context.Context, domain.Integration, string) (provider.Consent, error) {
					return provider.Consent{By: "the studio", At: now}, nil
				}).Open(i, "Europe/London", func() (map[string]string, error) { return secrets, nil })
				if err != nil {
					t.Fatalf("open: %v", err)
				}
				e.how.Store(how)
				before := e.calls.Load()
				for name, err := range failures(t.Context(), opened, e.URL) {
					if err == nil {
						continue
					}
					log.Warn("it did not work", "error", err)
					told := []string{err.Error(), fmt.Sprintf("%+v", err), textOf(err), httpx.RequestIDOf(err), fail(err).Error()}
					failure := temporalFailure(fail(err))
					for _, text := range append(told, failure, logged.String()) {
						if what := leak(text, secrets); what != "" {
							t.Errorf("%s, %s: %s is told: %s", how, name, what, text)
						}
					}
				}
				if e.calls.Load() == before {
					t.Errorf("%s: the system was never called, the test proves nothing", how)
				}
			}
		})
	}
}

func temporalFailure(err error) string {
	return temporal.GetDefaultFailureConverter().ErrorToFailure(err).String()
}

// leak names what a text must not hold.
func leak(text string, secrets map[string]string) string {
	for _, s := range secrets {
		for _, pair := range []string{s, "studio:" + s, secrets["user_id"] + ":" + s} {
			if strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(pair))) {
				return "an encoded secret"
			}
		}
		if strings.Contains(text, s) {
			return "a secret"
		}
	}
	if strings.Contains(text, canary) {
		return "a marked text"
	}
	return ""
}

// failures calls everything that a connection can do.
func failures(ctx context.Context, opened any, address string) map[string]error {
	out := map[string]error{}
	note := func(name string, call func() error) {
		for n := range 3 {
			out[fmt.Sprintf("%s %d", name, n)] = caught(name, call)
		}
	}
	start := time.Date(2027, 6, 12, 10, 0, 0, 0, time.UTC)
	write := provider.Write{Key: string(domain.NewID[domain.PushID](start)), BookingID: domain.NewID[domain.BookingID](start), Category: domain.CategoryWedding,
		Status: domain.StatusConfirmed, When: domain.When{Span: domain.Span{Start: start, End: start.Add(time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned},
		Details: domain.Details{Title: canary + " and partner", Notes: canary, Contact: canary + "@example.test"}}
	if p, ok := provider.As[provider.Puller](opened); ok {
		note("pull", func() error { _, err := p.Pull(ctx, ""); return err })
	}
	if p, ok := provider.As[provider.Reader](opened); ok {
		note("read", func() error { _, err := p.Read(ctx, canary+"-1"); return err })
	}
	if p, ok := provider.As[provider.Writer](opened); ok {
		note("put", func() error { _, err := p.Put(ctx, write); return err })
		again := write
		again.ExternalID, again.Revision = canary+"-1", "r1"
		note("change", func() error { _, err := p.Put(ctx, again); return err })
		note("remove", func() error { return p.Remove(ctx, canary+"-1", "r1") })
	}
	if p, ok := provider.As[provider.LeadSender](opened); ok {
		note("lead", func() error {
			return p.SendLead(ctx, provider.Lead{FullName: canary, Email: canary + "@example.test", EventType: "Wedding", Details: canary})
		})
	}
	if p, ok := provider.As[provider.Prober](opened); ok {
		note("probe", func() error { return p.Probe(ctx) })
	}
	if p, ok := provider.As[provider.Onboarder](opened); ok {
		note("onboard", func() error { _, err := p.Onboard(ctx); return err })
	}
	if p, ok := provider.As[provider.Watcher](opened); ok {
		id := string(domain.NewID[domain.WatchID](start))
		note("watch", func() error {
			_, err := p.Watch(ctx, provider.WatchRequest{ID: id, URL: address + provider.NotifyPath + id, Secret: canary + strings.Repeat("s", 28), Until: time.Now().Add(time.Hour)})
			return err
		})
		note("renew", func() error {
			_, err := p.Renew(ctx, provider.Watched{ID: id, RemoteID: canary, ExpiresAt: time.Now().Add(time.Hour)}, time.Now().Add(2*time.Hour))
			return err
		})
		note("unwatch", func() error { return p.Unwatch(ctx, provider.Watched{ID: id, RemoteID: canary}) })
	}
	return out
}
