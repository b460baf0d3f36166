package connect

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/oauth"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// GrantsOptions is what grants stand on. All fields but Now and Parallel are required.
type GrantsOptions struct {
	Store *store.Store
	Find  func(name string) (provider.Registration, bool)
	// Client returns the installation's registration for a provider. Its error says what has to be configured.
	Client func(provider string) (*oauth.Client, error)
	// Own makes a client of a registration that belongs to an integration (provider.Registration.OAuthClient); nil = there
	// are none.
	Own func(provider.OAuthClient) (*oauth.Client, error)
	Now func() time.Time // nil = time.Now
	// Gate is what calls to the token endpoint of an integration pass; nil = none.
	Gate func(domain.Integration) httpx.Gate
	// Parallel bounds how many integrations of one provider this process refreshes at once, each on a connection of the
	// tenant pool, so that a slow token endpoint cannot use up the pool; 0 = 2.
	Parallel int
}

// Grants keeps the OAuth grants of integrations: it begins and finishes consents, and makes token sources. Safe for any
// number of goroutines and processes.
type Grants struct {
	o GrantsOptions

	mu      sync.Mutex
	slots   map[string]chan struct{} // by provider
	unsaved map[domain.IntegrationID]*renewal
}

// NewGrants makes the keeper of grants.
func NewGrants(o GrantsOptions) *Grants {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Parallel <= 0 {
		o.Parallel = 2
	}
	return &Grants{o: o, slots: map[string]chan struct{}{}, unsaved: map[domain.IntegrationID]*renewal{}}
}

// BeginRequest is the wish of an admin to connect an integration.
type BeginRequest struct {
	Integration domain.IntegrationID
	Subject     string
	Reason      string   // for the audit trail
	Binding     [32]byte // SHA-256 of what the admin's browser or program showed
	Browser     bool     // the browser that comes back must show it again
	RedirectURL string   // where the system sends the browser back to
}

// Begun is a consent that was asked for.
type Begun struct {
	URL       string // of the system, for the admin's browser
	Title     string // of the system
	ExpiresAt time.Time
}

// Begin makes the link by which a person consents. It works once and for store.OAuthStateLife. Errors: KindNotFound,
// KindConflict for a provider without OAuth, for one that is not set up, and for too many links that wait.
func (g *Grants) Begin(ctx context.Context, org domain.OrgID, r BeginRequest) (Begun, error) {
	if u, err := url.Parse(r.RedirectURL); err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !oauth.Loopback(u.Hostname())) {
		return Begun{}, domain.E(domain.KindConflict, "systems send browsers back over https only: set WEDSYNC_PUBLIC_URL to how browsers reach this server, such as https://sync.example.com")
	}
	var out Begun
	err := g.o.Store.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		i, err := live(ctx, tx, r.Integration)
		if err != nil {
			return err
		}
		reg, at, client, err := g.of(ctx, tx, i)
		if err != nil {
			return err
		}
		state, verifier := oauth.NewSecret(), oauth.NewSecret()
		link, err := client.AuthURL(at, oauth.Request{RedirectURL: r.RedirectURL, State: state, Verifier: verifier})
		if err != nil {
			return err
		}
		s, err := tx.CreateOAuthState(ctx, state, store.OAuthState{IntegrationID: i.ID, Subject: r.Subject, Binding: r.Binding, Browser: r.Browser,
			Verifier: verifier, RedirectURL: r.RedirectURL})
		if err != nil {
			return err
		}
		out = Begun{URL: link, Title: reg.Title, ExpiresAt: s.ExpiresAt}
		return tx.Audit(ctx, domain.AuditEntry{Actor: r.Subject, Action: "integration.connect", Reason: r.Reason, Subject: "integration/" + string(i.ID),
			Before: map[string]string{"state": string(i.State)}, After: map[string]string{"link": s.ID}})
	})
	return out, err
}

// live reads an integration that is not deleted.
func live(ctx context.Context, tx *store.Tx, id domain.IntegrationID) (domain.Integration, error) {
	i, err := tx.Integration(ctx, id)
	if err == nil && i.State == domain.IntegrationDeleted {
		err = domain.E(domain.KindNotFound, "no such integration")
	}
	return i, err
}

// of says how the grant of an integration is got. tx is that of the caller, nil = there is none.
func (g *Grants) of(ctx context.Context, tx *store.Tx, i domain.Integration) (provider.Registration, oauth.Endpoint, *oauth.Client, error) {
	reg, at, err := g.endpoint(i)
	if err != nil {
		return reg, at, nil, err
	}
	client, err := g.client(ctx, tx, i)
	return reg, at, client, err
}

// client is who asks for the grant of an integration, through the gate of its token endpoint.
func (g *Grants) client(ctx context.Context, tx *store.Tx, i domain.Integration) (*oauth.Client, error) {
	client, err := g.asker(ctx, tx, i)
	if err != nil || g.o.Gate == nil {
		return client, err
	}
	gated := *client
	gated.HTTP = client.HTTP.Through(g.o.Gate(i))
	return &gated, nil
}

// asker is this installation, or who is registered in the integration's settings.
func (g *Grants) asker(ctx context.Context, tx *store.Tx, i domain.Integration) (*oauth.Client, error) {
	reg, ok := g.o.Find(i.Provider)
	if !ok || reg.OAuthClient == nil || g.o.Own == nil {
		return g.o.Client(i.Provider)
	}
	var secrets map[string]string
	read := func(ctx context.Context, tx *store.Tx) (err error) {
		secrets, err = tx.IntegrationSecrets(ctx, i.ID)
		return err
	}
	var err error
	if tx != nil {
		err = read(ctx, tx)
	} else {
		err = g.o.Store.TenantRead(ctx, i.OrgID, read)
	}
	if err != nil {
		return nil, err
	}
	own, err := reg.OAuthClient(i.Settings, secrets)
	if err != nil {
		return nil, err
	}
	return g.o.Own(own)
}

func (g *Grants) endpoint(i domain.Integration) (provider.Registration, oauth.Endpoint, error) {
	reg, ok := g.o.Find(i.Provider)
	if !ok || !reg.Consents(i.Settings) {
		return reg, oauth.Endpoint{}, domain.E(domain.KindConflict, "integrations of %s are not connected by consent; they have secrets", i.Provider)
	}
	e, err := reg.OAuth(i.Settings, i.Direction.Exports())
	return reg, oauth.Endpoint{AuthURL: e.AuthURL, TokenURL: e.TokenURL, RevokeURL: e.RevokeURL, Scopes: e.Scopes, Params: e.Params}, err
}

// Pending is a consent that came back.
type Pending struct {
	Org          domain.OrgID
	Organization string // its name
	Integration  domain.Integration
	Title        string // of the system
	Subject      string // the admin who asked
	Binding      [32]byte
	Browser      bool
	Placed       bool // the integration worked before, and it is known where it led

	state store.OAuthState
}

// Look returns what the consent of a state is for and changes nothing. A state that is unknown is KindNotFound, one that was
// used or is too old KindConflict.
func (g *Grants) Look(ctx context.Context, state string) (Pending, error) {
	return g.come(ctx, state, false)
}

// Take is Look, and ends the link: it works once, whatever comes of it.
func (g *Grants) Take(ctx context.Context, state string) (Pending, error) {
	return g.come(ctx, state, true)
}

func (g *Grants) come(ctx context.Context, state string, take bool) (Pending, error) {
	unknown := domain.E(domain.KindNotFound, "nobody asked for this consent here, or it was long ago")
	if len(state) != len(oauth.NewSecret()) {
		return Pending{}, unknown
	}
	org, err := g.o.Store.OAuthStateOrg(ctx, state)
	if domain.KindOf(err) == domain.KindNotFound {
		return Pending{}, unknown
	}
	if err != nil {
		return Pending{}, err
	}
	var p Pending
	err = g.o.Store.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		s, err := tx.OAuthState(ctx, state)
		switch {
		case domain.KindOf(err) == domain.KindNotFound:
			return unknown
		case err != nil:
			return err
		case s.Used:
			return domain.E(domain.KindConflict, "this link was used already; ask for a new one")
		case !tx.Now.Before(s.ExpiresAt):
			return domain.E(domain.KindConflict, "this link is older than %s; ask for a new one", store.OAuthStateLife)
		}
		i, err := live(ctx, tx, s.IntegrationID)
		if err != nil {
			return err
		}
		grant, err := tx.OAuthGrant(ctx, i.ID)
		if err != nil && domain.KindOf(err) != domain.KindNotFound {
			return err
		}
		reg, _ := g.o.Find(i.Provider)
		p = Pending{Org: org, Integration: i, Title: reg.Title, Subject: s.Subject, Binding: s.Binding, Browser: s.Browser, Placed: grant.Place != nil, state: s}
		if take {
			return tx.UseOAuthState(ctx, s.ID)
		}
		return nil
	})
	if err != nil {
		return Pending{}, err
	}
	o, err := g.o.Store.Organization(ctx, org)
	p.Organization = o.Name
	return p, err
}

// Granted is what a person gave, not stored yet. Its token source tells which account it is of, before another grant
// gives way to it.
type Granted struct {
	tokens  oauth.Tokens
	refused atomic.Bool
}

// Token is provider.TokenSource.
func (t *Granted) Token(context.Context) (string, error) {
	if t.refused.Load() {
		return "", domain.E(domain.KindUnauthenticated, "the system refuses the token that it just gave")
	}
	return t.tokens.Access, nil
}

// Refused is provider.TokenSource.
func (t *Granted) Refused(token string) {
	if token == t.tokens.Access {
		t.refused.Store(true)
	}
}

// Finish is Exchange and Keep.
func (g *Grants) Finish(ctx context.Context, p Pending, code string) (domain.Integration, error) {
	granted, err := g.Exchange(ctx, p, code)
	if err != nil {
		return domain.Integration{}, err
	}
	return g.Keep(ctx, p, granted)
}

// Exchange takes tokens for the code of a consent and stores nothing. KindForbidden when the person gave less than the
// integration needs, KindConflict when the code does not count any more.
func (g *Grants) Exchange(ctx context.Context, p Pending, code string) (*Granted, error) {
	_, at, client, err := g.of(ctx, nil, p.Integration)
	if err != nil {
		return nil, err
	}
	// Whoever closes the page must not make the code useless half-way.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	t, err := client.Exchange(ctx, at, code, p.state.RedirectURL, p.state.Verifier)
	switch {
	case domain.KindOf(err) == domain.KindUnauthenticated:
		return nil, domain.E(domain.KindConflict, "%s does not accept the code of the consent any more; ask for a new link", p.Title)
	case err != nil:
		return nil, err
	case t.Refresh == "":
		return nil, domain.E(domain.KindConflict, "%s gave no lasting access; remove WedSync from the apps of that account and connect again", p.Title)
	}
	if t.Scopes == nil {
		t.Scopes = at.Scopes
	}
	if lacks := oauth.Missing(at.Scopes, t.Scopes); len(lacks) > 0 {
		return nil, domain.E(domain.KindForbidden, "%d of the permissions that are needed were not given; connect again and leave every box ticked", len(lacks))
	}
	return &Granted{tokens: t}, nil
}

// Keep stores what was granted in place of the grant before. The integration's state stays; its version rises, so that
// every process opens it anew.
func (g *Grants) Keep(ctx context.Context, p Pending, granted *Granted) (domain.Integration, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	t := granted.tokens
	var i domain.Integration
	err := g.o.Store.Tenant(ctx, p.Org, func(ctx context.Context, tx *store.Tx) (err error) {
		if i, err = tx.TouchIntegration(ctx, p.Integration.ID); err != nil {
			return err
		}
		if err := tx.PutOAuthGrant(ctx, store.OAuthGrant{IntegrationID: i.ID, Tokens: store.OAuthTokens{Access: t.Access, Refresh: t.Refresh},
			ExpiresAt: t.ExpiresAt, Scopes: t.Scopes, ConnectedBy: p.Subject}); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: p.Subject, Action: "integration.connected", Reason: "consent given", Subject: "integration/" + string(i.ID),
			After: map[string]string{"link": p.state.ID}})
	})
	return i, err
}

// finishTimeout bounds a consent's exchange, and its storing.
const finishTimeout = 25 * time.Second

// farewellTimeout bounds telling a system of the end of a grant, and the line about it.
const farewellTimeout = 5 * time.Second

// Ended is a grant that was dropped with its integration.
type Ended struct {
	Integration domain.Integration // with the settings that it had
	Grant       store.OAuthGrant   // the zero value where there was none
	Alone       bool               // no other integration of the organisation is connected to the same provider
}

// Farewell ends a dropped grant in the system, once the drop is committed, and leaves a line in the audit trail of what
// came of it. It is best effort and takes 10 s at most: what cannot be told now is not told later, and the line says what
// the person can do. A grant is left alone while another integration of the organisation is connected to the same
// provider, because Google ends all grants of an account at once. The error is that of the system, or of the line.
func (g *Grants) Farewell(ctx context.Context, e Ended, by string) error {
	if e.Grant.Tokens.Refresh == "" {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	ask, cancel := context.WithTimeout(ctx, farewellTimeout)
	defer cancel()
	_, at, client, err := g.of(ask, nil, e.Integration)
	outcome, reason := "told", "the system was told that the grant is over"
	switch {
	case err != nil:
		outcome, reason = "not_told", "this installation can no longer reach the system; remove WedSync among the apps of the account"
	case !e.Alone:
		outcome, reason = "kept", "another integration is connected to the same system, which might lose its grant too"
	case at.RevokeURL == "":
		outcome, reason = "no_way", "the system has no way to be told; remove WedSync among the apps of the account"
	default:
		err = client.Revoke(ask, at, e.Grant.Tokens.Refresh)
		if err != nil {
			outcome, reason = "not_told", "the system could not be told; remove WedSync among the apps of the account"
		}
	}
	note, end := context.WithTimeout(ctx, farewellTimeout)
	defer end()
	return errors.Join(err, g.o.Store.Tenant(note, e.Integration.OrgID, func(ctx context.Context, tx *store.Tx) error {
		return tx.Audit(ctx, domain.AuditEntry{Actor: by, Action: "integration.revoke", Reason: reason, Subject: "integration/" + string(e.Integration.ID),
			After: map[string]string{"outcome": outcome}})
	}))
}

// Connected reports whether an integration has a grant that was not refused.
func (g *Grants) Connected(ctx context.Context, i domain.Integration) (yes bool, err error) {
	err = g.o.Store.TenantRead(ctx, i.OrgID, func(ctx context.Context, tx *store.Tx) error {
		grant, err := tx.OAuthGrant(ctx, i.ID)
		yes = err == nil && grant.Active
		if domain.KindOf(err) == domain.KindNotFound {
			return nil
		}
		return err
	})
	return yes, err
}

// slot waits for the right to refresh one integration of a provider.
func (g *Grants) slot(ctx context.Context, provider string) (release func(), err error) {
	g.mu.Lock()
	c := g.slots[provider]
	if c == nil {
		c = make(chan struct{}, g.o.Parallel)
		g.slots[provider] = c
	}
	g.mu.Unlock()
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, domain.E(domain.KindUnavailable, "wait for other refreshes: %w", ctx.Err())
	}
}
