package connect_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/scrape"
	"github.com/wedsync/wedsync/internal/sim/lightbluesim"
	"github.com/wedsync/wedsync/internal/sim/oauthsim"
	"github.com/wedsync/wedsync/internal/store"
)

func TestPagesAreReadFromTheConsentUntilItIsWithdrawn(t *testing.T) {
	t.Parallel()
	b := setup(t, oauthsim.Options{})
	sim := lightbluesim.New(lightbluesim.Options{Now: b.clock})
	start := b.clock().Add(48 * time.Hour)
	sim.AddShoot(lightbluesim.Shoot{Title: "Wedding", Start: start, End: start.Add(8 * time.Hour)})
	server := httptest.NewServer(sim.Handler())
	defer server.Close()
	i := b.i
	i.Provider, i.Settings = "scrape", json.RawMessage(`{"recipe":{"version":1,"name":"Portal","base":"`+server.URL+`",
		"login":{"path":"/portal/login","form":"form#login","fields":{"email":"{secret.user}","password":"{secret.password}"}},
		"logged_out":{"selector":"form#login"},
		"list":{"path":"/portal/shoots","rows":"tr.shoot","identity":["id"],"fields":{"id":{"attr":"data-id","required":true},
			"title":{"selector":"td.title","required":true},"date":{"selector":"td.date","type":"date","formats":["DD/MM/YYYY"],"required":true}}},
		"limits":{"interval":0.001}}}`)
	opened, err := connect.New(func(string) (provider.Registration, bool) { return scrape.Registration, true }, b.out, b.clock, 0).
		WithConsents(connect.StoredConsents(b.one.store)).
		Open(i, "Europe/London", func() (map[string]string, error) {
			return map[string]string{"user": lightbluesim.PortalUser, "password": lightbluesim.PortalPassword}, nil
		})
	b.must(err)
	puller := opened.(provider.Puller)
	pull := func(want domain.ErrorKind) {
		t.Helper()
		page, err := puller.Pull(t.Context(), "")
		b.kind(err, want)
		if want == "" && len(page.Changes) != 1 {
			t.Errorf("%d entries, want 1", len(page.Changes))
		}
	}
	pull(domain.KindForbidden)
	if n := len(sim.Requests()); n != 0 {
		t.Fatalf("%d requests without consent", n)
	}
	var given domain.ScrapeConsent
	tenant := func(fn func(ctx context.Context, tx *store.Tx) error) {
		b.must(b.one.store.Tenant(t.Context(), b.org, fn))
	}
	tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		given, _, err = tx.GiveScrapeConsent(ctx, i.ID, server.URL, "owner")
		return err
	})
	pull("")
	tenant(func(ctx context.Context, tx *store.Tx) error {
		_, _, err := tx.WithdrawScrapeConsent(ctx, i.ID, given.ID, "owner")
		return err
	})
	pull(domain.KindForbidden)
}
