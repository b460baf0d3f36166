package connect_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/oauth"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/sim/oauthsim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
	"github.com/wedsync/wedsync/internal/vault"
)

const back = "https://sync.example.test/oauth/callback"

// bundle is an organisation with an integration of a provider with OAuth, over a database of its own.
type bundle struct {
	*testing.T
	url  string
	ring *vault.Keyring
	sim  *oauthsim.Server
	at   provider.OAuth
	out  *httpx.Client
	org  domain.OrgID
	i    domain.Integration
	gate func(domain.Integration) httpx.Gate // of processes that start from then on
	one  process

	mu  sync.Mutex
	now time.Time
}

// process is what each process has of its own.
type process struct {
	store  *store.Store
	grants *connect.Grants
}

func (b *bundle) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bundle) advance(by time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(by)
}

func (b *bundle) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bundle) kind(err error, want domain.ErrorKind) {
	b.Helper()
	if got := domain.KindOf(err); got != want {
		b.Fatalf("kind is %q, want %q: %v", got, want, err)
	}
}

func setup(t *testing.T, o oauthsim.Options) *bundle {
	t.Helper()
	b := &bundle{T: t, now: time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC)}
	b.url, b.ring = storetest.URL(t), storetest.Ring(t)
	o.Now = b.clock
	b.sim = oauthsim.New(o)
	srv := httptest.NewServer(b.sim)
	t.Cleanup(srv.Close)
	b.at = provider.OAuth{AuthURL: srv.URL + "/authorize", TokenURL: srv.URL + "/token", RevokeURL: srv.URL + "/revoke", Scopes: []string{"read"}}
	var err error
	b.out, err = httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
	b.must(err)
	t.Cleanup(b.out.Close)
	b.one = b.process()
	b.org = domain.NewID[domain.OrgID](b.now)
	b.must(b.one.store.CreateOrganization(t.Context(), domain.Organization{ID: b.org, Name: "Lens & Light", Zone: "Europe/London"}, "admin"))
	res := domain.Resource{ID: domain.NewID[domain.ResourceID](b.now), Name: "One", Kind: domain.ResourcePerson, Zone: "Europe/London", Capacity: 1}
	b.i = domain.Integration{ID: domain.NewID[domain.IntegrationID](b.now), OrgID: b.org, Name: "Calendar", Provider: "cal", State: domain.IntegrationNeedsReconnect,
		Direction: domain.DirectionImport, ResourceID: res.ID, Settings: json.RawMessage(`{}`)}
	b.must(b.one.store.Tenant(t.Context(), b.org, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CreateResource(ctx, res); err != nil {
			return err
		}
		return tx.CreateIntegration(ctx, b.i, nil)
	}))
	return b
}

func (b *bundle) find(name string) (provider.Registration, bool) {
	return provider.Registration{Name: name, Title: "Calendar", Open: func(c provider.Connection) (any, error) { return c.Tokens, nil },
		OAuth: func(_ json.RawMessage, writes bool) (provider.OAuth, error) {
			at := b.at
			if writes {
				at.Scopes = append([]string{"write"}, at.Scopes...)
			}
			return at, nil
		}}, name == "cal"
}

// process starts another one over the same database.
func (b *bundle) process() process {
	b.Helper()
	s := storetest.Open(b.T, b.url, b.ring, store.Options{MaxConns: 4, SystemMaxConns: 2, Now: b.clock})
	return process{s, connect.NewGrants(connect.GrantsOptions{Store: s, Find: b.find, Now: b.clock, Gate: b.gate, Client: func(string) (*oauth.Client, error) {
		return oauth.New(oauth.Client{ID: "client", Secret: "secret", Loopback: true, HTTP: b.out, Now: b.clock})
	}})}
}

func (b *bundle) source(p process) provider.TokenSource {
	b.Helper()
	s, err := p.grants.Source(b.i)
	b.must(err)
	return s
}

// link begins a consent and goes to the system with it; it returns state and code of the way back.
func (b *bundle) link() (state, code string) {
	b.Helper()
	begun, err := b.one.grants.Begin(b.Context(), b.org, connect.BeginRequest{Integration: b.i.ID, Subject: "admin", RedirectURL: back})
	b.must(err)
	to, err := b.sim.Consent(begun.URL)
	b.must(err)
	u, err := url.Parse(to)
	b.must(err)
	return u.Query().Get("state"), u.Query().Get("code")
}

// consent connects the integration.
func (b *bundle) consent() {
	b.Helper()
	state, code := b.link()
	p, err := b.one.grants.Take(b.Context(), state)
	b.must(err)
	_, err = b.one.grants.Finish(b.Context(), p, code)
	b.must(err)
}

func (b *bundle) grant() (g store.OAuthGrant) {
	b.Helper()
	b.must(b.one.store.TenantRead(b.Context(), b.org, func(ctx context.Context, tx *store.Tx) (err error) {
		g, err = tx.OAuthGrant(ctx, b.i.ID)
		return err
	}))
	return g
}

func (b *bundle) token(s provider.TokenSource) string {
	b.Helper()
	t, err := s.Token(b.Context())
	b.must(err)
	if !b.sim.Valid(t) {
		b.Fatal("the system does not know the token")
	}
	return t
}
