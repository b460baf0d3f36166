package connect_test

import (
	"context"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/oauthsim"
	"github.com/wedsync/wedsync/internal/store"
)

func TestLinkLeadsThereAndBackOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, oauthsim.Options{})
	state, code := b.link()
	looked, err := b.one.grants.Look(t.Context(), state)
	b.must(err)
	p, err := b.one.grants.Take(t.Context(), state)
	b.must(err)
	if looked.Subject != "admin" || p.Integration.ID != b.i.ID || p.Organization != "Lens & Light" || p.Title != "Calendar" || p.Org != b.org {
		t.Errorf("back from %+v", p)
	}
	for _, again := range []func(context.Context, string) (connect.Pending, error){b.one.grants.Look, b.one.grants.Take} {
		_, err = again(t.Context(), state)
		b.kind(err, domain.KindConflict)
	}
	i, err := b.one.grants.Finish(t.Context(), p, code)
	b.must(err)
	if i.Version <= b.i.Version || b.grant().ConnectedBy != "admin" {
		t.Errorf("version %d, by %s", i.Version, b.grant().ConnectedBy)
	}
	_, err = b.one.grants.Finish(t.Context(), p, code)
	b.kind(err, domain.KindConflict)
	if !b.grant().Active {
		t.Error("a code used twice ended the grant")
	}
}

func TestOldUnknownAndDeletedLinksLeadNowhere(t *testing.T) {
	t.Parallel()
	b := setup(t, oauthsim.Options{})
	for _, state := range []string{"", "x", strings.Repeat("x", 43), strings.Repeat("x", 5000)} {
		_, err := b.one.grants.Take(t.Context(), state)
		b.kind(err, domain.KindNotFound)
	}
	state, _ := b.link()
	b.advance(store.OAuthStateLife)
	_, err := b.one.grants.Take(t.Context(), state)
	b.kind(err, domain.KindConflict)
	state, _ = b.link()
	b.must(b.one.store.Tenant(t.Context(), b.org, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SetIntegrationState(ctx, b.i.ID, domain.IntegrationDeleted, "deleted")
		return err
	}))
	_, err = b.one.grants.Take(t.Context(), state)
	b.kind(err, domain.KindNotFound)
	_, err = b.one.grants.Begin(t.Context(), b.org, connect.BeginRequest{Integration: b.i.ID, Subject: "admin", RedirectURL: back})
	b.kind(err, domain.KindNotFound)
}

func TestConsentToLessThanIsNeededIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, oauthsim.Options{})
	b.at.Scopes = []string{"read", "write"}
	b.sim.Withhold("write")
	state, code := b.link()
	p, err := b.one.grants.Take(t.Context(), state)
	b.must(err)
	_, err = b.one.grants.Finish(t.Context(), p, code)
	b.kind(err, domain.KindForbidden)
}

func TestLinkNeedsAnAddressAndAProviderWithConsent(t *testing.T) {
	t.Parallel()
	b := setup(t, oauthsim.Options{})
	for _, url := range []string{"", "/oauth/callback", "ftp://x/oauth"} {
		_, err := b.one.grants.Begin(t.Context(), b.org, connect.BeginRequest{Integration: b.i.ID, Subject: "admin", RedirectURL: url})
		b.kind(err, domain.KindConflict)
		if !strings.Contains(err.Error(), "WEDSYNC_PUBLIC_URL") {
			t.Error(err)
		}
	}
	other := domain.NewID[domain.OrgID](b.clock())
	b.must(b.one.store.CreateOrganization(t.Context(), domain.Organization{ID: other, Name: "Other", Zone: "Europe/London"}, "admin"))
	_, err := b.one.grants.Begin(t.Context(), other, connect.BeginRequest{Integration: b.i.ID, Subject: "admin", RedirectURL: back})
	b.kind(err, domain.KindNotFound)
	b.at.AuthURL = "https://evil.example/authorize"
	_, err = b.one.grants.Begin(t.Context(), b.org, connect.BeginRequest{Integration: b.i.ID, Subject: "admin", RedirectURL: back})
	b.kind(err, domain.KindInvalid)
}
