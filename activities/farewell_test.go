package activities_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/oauth"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/sim/oauthsim"
	"github.com/wedsync/wedsync/internal/store"
)

// TestPurgeBeforeDisconnectingTakesTheGrantBack looks at what the system is told once no copy is left, and at the line in
// the audit trail.
func TestPurgeBeforeDisconnectingTakesTheGrantBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		outcome string
		revoked int
		prepare func(*testing.T, *desk, *httptest.Server, *provider.OAuth)
	}{
		"told":             {"told", 1, func(*testing.T, *desk, *httptest.Server, *provider.OAuth) {}},
		"no way to tell":   {"no_way", 0, func(_ *testing.T, _ *desk, _ *httptest.Server, at *provider.OAuth) { at.RevokeURL = "" }},
		"system is down":   {"not_told", 0, func(_ *testing.T, _ *desk, srv *httptest.Server, _ *provider.OAuth) { srv.Close() }},
		"another lives on": {"kept", 0, func(t *testing.T, d *desk, _ *httptest.Server, _ *provider.OAuth) { d.grant(t, d.crm, "of the other") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := setup(t)
			sim := oauthsim.New(oauthsim.Options{})
			srv := httptest.NewServer(sim)
			t.Cleanup(srv.Close)
			out, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
			d.must(err)
			t.Cleanup(out.Close)
			at := provider.OAuth{AuthURL: srv.URL + "/authorize", TokenURL: srv.URL + "/token", RevokeURL: srv.URL + "/revoke"}
			find := func(name string) (provider.Registration, bool) {
				return provider.Registration{Name: name, Open: d.open, OAuth: func(json.RawMessage, bool) (provider.OAuth, error) { return at, nil }}, name == "outside"
			}
			d.opener = connect.New(find, nil, d.clock, 0).WithGrants(connect.NewGrants(connect.GrantsOptions{Store: d.Store, Find: find, Now: d.clock,
				Client: func(string) (*oauth.Client, error) {
					return oauth.New(oauth.Client{ID: "client", Secret: "secret", Loopback: true, HTTP: out})
				}}))
			d.grant(t, d.cal, "refresh-of-the-calendar")
			d.arrive(d.crm, change("w", domain.CategoryVendor, 1, 2))
			push := func() {
				run(d, d.pushes().PushBookings, activities.PushBookingsInput{Org: d.org, Integration: d.cal.ID})
			}
			push()
			d.tenant(func(ctx context.Context, tx *store.Tx) error {
				_, ended, err := guard.StartPurge(ctx, tx, domain.Purge{ID: domain.NewID[domain.PurgeID](tx.Now), IntegrationID: d.cal.ID, RequestedBy: "alex", Reason: "leaving", Disconnect: true})
				if ended != nil {
					t.Error("it ended before its copies were removed")
				}
				return err
			})
			c.prepare(t, d, srv, &at)
			push()
			if got := d.state(d.cal.ID); got != domain.IntegrationDeleted {
				t.Fatalf("integration is %s", got)
			}
			push() // once more, as after a lost answer: nothing is told twice
			if got := sim.Counts().Revocations; got != c.revoked {
				t.Errorf("%d revocations, want %d", got, c.revoked)
			}
			var lines []domain.AuditEntry
			d.tenant(func(ctx context.Context, tx *store.Tx) error {
				all, _, err := tx.AuditEntries(ctx, store.Page{Limit: store.MaxPage})
				lines = nil
				for _, e := range all {
					if e.Action == "integration.revoke" {
						lines = append(lines, e)
					}
				}
				return err
			})
			if len(lines) != 1 || lines[0].After["outcome"] != c.outcome || lines[0].Actor != "system:purge" || lines[0].Reason == "" ||
				lines[0].Subject != "integration/"+string(d.cal.ID) || strings.Contains(lines[0].Reason, "refresh-of") {
				t.Errorf("the trail says %+v, want one line of %s", lines, c.outcome)
			}
		})
	}
}

// grant gives an integration a grant as a consent would.
func (d *desk) grant(t *testing.T, i domain.Integration, refresh string) {
	t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		return tx.PutOAuthGrant(ctx, store.OAuthGrant{IntegrationID: i.ID, Tokens: store.OAuthTokens{Access: "access", Refresh: refresh}, ExpiresAt: tx.Now.Add(time.Hour), ConnectedBy: "alex"})
	})
}
