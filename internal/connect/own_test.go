package connect_test

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/oauth"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/sim/oauthsim"
	"github.com/wedsync/wedsync/internal/store"
)

func TestIntegrationWithAClientOfItsOwnIsConnectedByIt(t *testing.T) {
	t.Parallel()
	b := setup(t, oauthsim.Options{Rotate: true, ClientID: "theirs", ClientSecret: "their secret"})
	find := func(name string) (provider.Registration, bool) {
		return provider.Registration{Name: name, Title: "Own", Open: func(c provider.Connection) (any, error) { return c.Tokens, nil },
			OAuth:     func(json.RawMessage, bool) (provider.OAuth, error) { return b.at, nil },
			ByConsent: func(settings json.RawMessage) bool { return string(settings) != `{"consent": false}` },
			OAuthClient: func(_ json.RawMessage, secrets map[string]string) (provider.OAuthClient, error) {
				return provider.OAuthClient{ID: "theirs", Secret: secrets["client_secret"], Basic: true}, nil
			}}, name == "own"
	}
	grants := connect.NewGrants(connect.GrantsOptions{Store: b.one.store, Find: find, Now: b.clock,
		Client: func(string) (*oauth.Client, error) {
			return nil, domain.E(domain.KindConflict, "this installation is not registered")
		},
		Own: func(own provider.OAuthClient) (*oauth.Client, error) {
			return oauth.New(oauth.Client{ID: own.ID, Secret: own.Secret, Basic: own.Basic, Loopback: true, HTTP: b.out, Now: b.clock})
		}})
	i := b.i
	i.ID, i.Provider = domain.NewID[domain.IntegrationID](b.now), "own"
	b.must(b.one.store.Tenant(t.Context(), b.org, func(ctx context.Context, tx *store.Tx) error {
		return tx.CreateIntegration(ctx, i, map[string]string{"client_secret": "their secret"})
	}))
	begun, err := grants.Begin(t.Context(), b.org, connect.BeginRequest{Integration: i.ID, Subject: "admin", RedirectURL: back})
	b.must(err)
	if !strings.Contains(begun.URL, "client_id=theirs") {
		t.Fatalf("the link is %s", begun.URL)
	}
	to, err := b.sim.Consent(begun.URL)
	b.must(err)
	u, err := url.Parse(to)
	b.must(err)
	p, err := grants.Take(t.Context(), u.Query().Get("state"))
	b.must(err)
	_, err = grants.Finish(t.Context(), p, u.Query().Get("code"))
	b.must(err)
	source, err := grants.Source(i)
	b.must(err)
	old := b.token(source)
	b.sim.Refuse(old)
	source.Refused(old)
	if b.token(source) == old {
		t.Error("the refused token is given again")
	}
	if c := b.sim.Counts(); c.Refreshes != 1 || c.Refused != 0 {
		t.Errorf("%+v", c)
	}
	i.Settings = json.RawMessage(`{"consent": false}`)
	if _, err := grants.Source(i); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("settings without a consent: %v", err)
	}
}
