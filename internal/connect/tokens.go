package connect

import (
	"context"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/oauth"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

const (
	// tokenMargin is how long a token must still be good for: the minute that is promised, and clocks that differ.
	tokenMargin = 90 * time.Second
	// askTimeout bounds one question to a token endpoint. It is below the lock timeout of the database, so that those
	// who wait for the lock outlast it.
	askTimeout = 8 * time.Second
	// flightTimeout bounds a refresh with everything around it.
	flightTimeout = 40 * time.Second
	// storeTries is how often tokens that were got are stored before they wait in memory for the next call.
	storeTries = 5
)

// Source returns the token source of an integration as it stands, with settings and direction. It asks nobody: without
// a grant its first token is an error. Errors are those of the settings.
func (g *Grants) Source(i domain.Integration) (provider.TokenSource, error) {
	_, at, err := g.endpoint(i)
	if err != nil {
		return nil, err
	}
	return &source{g: g, of: i, org: i.OrgID, id: i.ID, provider: i.Provider, at: at}, nil
}

// source is a provider.TokenSource over the stored grant. Of all goroutines that need a new token one asks, and of all
// processes one at a time; the others take what it stored.
type source struct {
	g        *Grants
	of       domain.Integration
	org      domain.OrgID
	id       domain.IntegrationID
	provider string
	at       oauth.Endpoint

	mu      sync.Mutex
	have    held
	refused string // an access token that the system did not take
	flight  *flight
	pause   time.Time // the endpoint asked not to be asked before
	paused  error
}

// held is an access token that is stored.
type held struct {
	access  string
	expires time.Time
}

// flight is one way to a token, which any number of callers wait for.
type flight struct {
	done chan struct{}
	got  held
	err  error
}

// renewal is what an endpoint gave for a version of the grant.
type renewal struct {
	of     store.OAuthGrant
	tokens oauth.Tokens
}

// Token is provider.TokenSource.
func (s *source) Token(ctx context.Context) (string, error) {
	s.mu.Lock()
	now := s.g.o.Now()
	if s.have.access != "" && s.have.access != s.refused && now.Add(tokenMargin).Before(s.have.expires) {
		defer s.mu.Unlock()
		return s.have.access, nil
	}
	if now.Before(s.pause) {
		defer s.mu.Unlock()
		return "", domain.WithRetryAfter(s.paused, s.pause.Sub(now))
	}
	f := s.flight
	if f == nil {
		f = &flight{done: make(chan struct{})}
		s.flight = f
		// A caller that gives up must not cut off a rotation half-way: the old refresh token would be dead and the new one
		// lost. So the flight has a time limit of its own.
		away, cancel := context.WithTimeout(context.WithoutCancel(ctx), flightTimeout)
		go func() {
			defer cancel()
			s.fly(away, f)
		}()
	}
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.got.access, f.err
	case <-ctx.Done():
		return "", domain.E(domain.KindUnavailable, "wait for an access token: %w", ctx.Err())
	}
}

// Refused is provider.TokenSource.
func (s *source) Refused(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if token != "" && token == s.have.access {
		s.refused = token
	}
}

func (s *source) fly(ctx context.Context, f *flight) {
	s.mu.Lock()
	refused := s.refused
	s.mu.Unlock()
	f.got, f.err = s.get(ctx, refused)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight = nil
	if f.err == nil {
		s.have, s.paused, s.pause = f.got, nil, time.Time{}
	} else if wait := domain.RetryAfter(f.err); wait > 0 {
		s.paused, s.pause = f.err, s.g.o.Now().Add(wait)
	}
	close(f.done)
}

// get takes the stored token if it will do, and renews it otherwise.
func (s *source) get(ctx context.Context, refused string) (held, error) {
	if err := s.g.save(ctx, s.org, s.id); err != nil {
		return held{}, err
	}
	var grant store.OAuthGrant
	err := s.g.o.Store.TenantRead(ctx, s.org, func(ctx context.Context, tx *store.Tx) (err error) {
		grant, err = tx.OAuthGrant(ctx, s.id)
		return err
	})
	if err == nil && s.usable(grant, refused) {
		return held{grant.Tokens.Access, grant.ExpiresAt}, nil
	}
	if err == nil && !grant.Active || domain.KindOf(err) == domain.KindNotFound {
		return held{}, s.gone()
	}
	if err != nil {
		return held{}, tokenFault("read the grant", err)
	}
	client, err := s.g.client(ctx, nil, s.of)
	if err != nil {
		return held{}, tokenFault("get an access token", err)
	}
	release, err := s.g.slot(ctx, s.provider)
	if err != nil {
		return held{}, err
	}
	defer release()
	return s.renew(ctx, client, refused)
}

func (s *source) usable(g store.OAuthGrant, refused string) bool {
	return g.Active && g.Tokens.Access != refused && s.g.o.Now().Add(tokenMargin).Before(g.ExpiresAt)
}

// renew asks the endpoint under the lock of the grant, after reading the grant again. What it gave is committed before
// anybody sees the access token.
func (s *source) renew(ctx context.Context, client *oauth.Client, refused string) (held, error) {
	var (
		got  held
		end  error // an outcome that is to be committed
		once *renewal
	)
	err := s.g.o.Store.Tenant(ctx, s.org, func(ctx context.Context, tx *store.Tx) error {
		end = nil
		if err := tx.LockOAuthGrant(ctx, s.id); err != nil {
			return err
		}
		grant, err := tx.OAuthGrant(ctx, s.id)
		switch {
		case domain.KindOf(err) == domain.KindNotFound || err == nil && !grant.Active:
			end = s.gone()
			return nil
		case err != nil:
			return err
		case s.usable(grant, refused):
			got = held{grant.Tokens.Access, grant.ExpiresAt} // somebody else was quicker
			return nil
		}
		if once == nil { // the transaction may be run again, the question may not
			ask, cancel := context.WithTimeout(ctx, askTimeout)
			t, err := client.Refresh(ask, s.at, grant.Tokens.Refresh)
			cancel()
			if domain.KindOf(err) == domain.KindUnauthenticated {
				end = s.gone()
				return s.end(ctx, tx, grant)
			}
			if err != nil {
				return err
			}
			if t.Refresh == "" {
				t.Refresh = grant.Tokens.Refresh
			}
			once = &renewal{of: grant, tokens: t}
		}
		got = held{once.tokens.Access, once.tokens.ExpiresAt}
		stored, err := tx.RenewOAuthGrant(ctx, once.of, store.OAuthTokens{Access: once.tokens.Access, Refresh: once.tokens.Refresh}, once.tokens.ExpiresAt, once.tokens.Scopes)
		if err == nil && !stored {
			end = errReplaced
		}
		return err
	})
	if err != nil && once != nil {
		// The endpoint has given new tokens and perhaps ended the old one: nothing but the new ones will do from now on.
		s.g.remember(s.id, once)
		if err = s.g.save(ctx, s.org, s.id); err == nil {
			return s.reread(ctx, refused)
		}
	}
	switch {
	case err != nil:
		return held{}, tokenFault("refresh the access token", err)
	case end != nil:
		return held{}, end
	case got.access == refused:
		return held{}, domain.E(domain.KindUnauthenticated, "the system refuses the token that its own token endpoint gave anew")
	}
	return got, nil
}

// errReplaced is met when a person consents anew during a refresh.
var errReplaced = domain.E(domain.KindUnavailable, "the grant was replaced in the meantime; ask again")

// remember keeps tokens that were got and could not be stored. They belong to the process and not to the source: a
// change of the integration makes another source.
func (g *Grants) remember(id domain.IntegrationID, r *renewal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unsaved[id] = r
}

// save stores what was remembered of an integration, with several tries.
func (g *Grants) save(ctx context.Context, org domain.OrgID, id domain.IntegrationID) error {
	g.mu.Lock()
	u := g.unsaved[id]
	g.mu.Unlock()
	if u == nil {
		return nil
	}
	var err error
	for try := range storeTries {
		if try > 0 {
			t := time.NewTimer(100 * time.Millisecond << try)
			select {
			case <-ctx.Done():
				t.Stop()
				return tokenFault("store renewed tokens", err)
			case <-t.C:
			}
		}
		err = g.o.Store.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
			// Not stored means that something newer stands there, or these very tokens after a commit whose answer was lost.
			_, err := tx.RenewOAuthGrant(ctx, u.of, store.OAuthTokens{Access: u.tokens.Access, Refresh: u.tokens.Refresh}, u.tokens.ExpiresAt, u.tokens.Scopes)
			return err
		})
		if err == nil {
			g.mu.Lock()
			if g.unsaved[id] == u {
				delete(g.unsaved, id)
			}
			g.mu.Unlock()
			return nil
		}
	}
	return tokenFault("store renewed tokens", err)
}

func (s *source) reread(ctx context.Context, refused string) (held, error) {
	var grant store.OAuthGrant
	err := s.g.o.Store.TenantRead(ctx, s.org, func(ctx context.Context, tx *store.Tx) (err error) {
		grant, err = tx.OAuthGrant(ctx, s.id)
		return err
	})
	switch {
	case domain.KindOf(err) == domain.KindNotFound || err == nil && !grant.Active:
		return held{}, s.gone()
	case err != nil:
		return held{}, tokenFault("read the grant", err)
	case grant.Tokens.Access == refused:
		return held{}, errReplaced
	}
	return held{grant.Tokens.Access, grant.ExpiresAt}, nil
}

// end notes that the system refused the refresh token, unless another one is stored by now.
func (s *source) end(ctx context.Context, tx *store.Tx, grant store.OAuthGrant) error {
	ended, err := tx.EndOAuthGrant(ctx, grant)
	if err != nil || !ended {
		return err
	}
	return tx.Audit(ctx, domain.AuditEntry{Actor: "system:connections", Action: "integration.disconnected", Reason: "the system says that the consent is gone",
		Subject: "integration/" + string(s.id)})
}

func (s *source) gone() error {
	return domain.E(domain.KindUnauthenticated, "integration %s is not connected: %s", s.id, HowToConnect(s.id))
}

// HowToConnect says what an admin can do about an integration without a working grant.
func HowToConnect(id domain.IntegrationID) string {
	return "connect it on the dashboard, or with: wedsync integration connect " + string(id)
}

// tokenFault keeps to the two kinds that a token source promises, and rate_limited. A client of this installation that
// is not accepted, or not set up, is no fault of the grant: all works again once an operator has mended it.
func tokenFault(doing string, err error) error {
	switch kind := domain.KindOf(err); kind {
	case domain.KindRateLimited, domain.KindUnauthenticated:
		return domain.E(kind, "%s: %w", doing, err)
	default:
		return domain.E(domain.KindUnavailable, "%s: %w", doing, err)
	}
}
