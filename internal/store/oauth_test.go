package store

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

var testTokens = OAuthTokens{Access: "acc3ss-t0ken", Refresh: "r3fresh-t0ken"}

// oauth gives an integration a grant and a link that waits, and returns the state of the link.
func (b *bundle) oauth(org domain.OrgID, id domain.IntegrationID) string {
	b.t.Helper()
	state := "state-of-" + string(id)
	b.tenant(org, func(tx *Tx) error {
		if err := tx.PutOAuthGrant(b.t.Context(), OAuthGrant{IntegrationID: id, Tokens: testTokens, ExpiresAt: tx.Now.Add(time.Hour),
			Scopes: []string{"calendar"}, ConnectedBy: "admin"}); err != nil {
			return err
		}
		_, err := tx.CreateOAuthState(b.t.Context(), state, OAuthState{IntegrationID: id, Subject: "admin", Binding: [32]byte{1}, Browser: true,
			Verifier: "ver1fier", RedirectURL: "https://sync.example/oauth/callback"})
		return err
	})
	return state
}

func (b *bundle) grant(org domain.OrgID, id domain.IntegrationID) (g OAuthGrant) {
	b.t.Helper()
	b.tenant(org, func(tx *Tx) (err error) {
		g, err = tx.OAuthGrant(b.t.Context(), id)
		return err
	})
	return g
}

func TestGrantIsSealedAndNewerTokensWin(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i := b.integration(org)
	b.tenant(org, func(tx *Tx) error {
		_, err := tx.OAuthGrant(ctx, i.ID)
		wantKind(t, err, domain.KindNotFound)
		return nil
	})
	state := b.oauth(org, i.ID)
	first := b.grant(org, i.ID)
	if first.Tokens != testTokens || !first.Active || first.Version != 1 || first.ConnectedBy != "admin" || !cmp.Equal(first.Scopes, []string{"calendar"}) {
		t.Fatalf("grant %+v", first)
	}
	var row string
	b.tenant(org, func(tx *Tx) error { return tx.NoteOAuthPlace(ctx, i.ID, []byte(`{"account":"ada@example.test"}`)) })
	b.must(b.owner().QueryRow(ctx, "SELECT (SELECT g::text FROM oauth_grants g) || (SELECT s::text || encode(state_hash, 'escape') || encode(verifier, 'escape') FROM oauth_states s)").Scan(&row))
	for _, secret := range []string{testTokens.Access, testTokens.Refresh, "ver1fier", state, "ada@example.test"} {
		if strings.Contains(row, secret) {
			t.Errorf("%s lies open in the table", secret)
		}
	}
	renew := func(g OAuthGrant, access, refresh string, granted []string) (stored bool) {
		b.tenant(org, func(tx *Tx) (err error) {
			stored, err = tx.RenewOAuthGrant(ctx, g, OAuthTokens{access, refresh}, tx.Now.Add(2*time.Hour), granted)
			return err
		})
		return stored
	}
	if !renew(first, "a2", "r2", nil) || renew(first, "a3", "r3", nil) {
		t.Error("of two refreshes of one version not exactly the first was stored")
	}
	second := b.grant(org, i.ID)
	if second.Tokens != (OAuthTokens{"a2", "r2"}) || second.Version != 2 || !cmp.Equal(second.Scopes, first.Scopes) {
		t.Errorf("after the refresh %+v", second)
	}
	end := func(g OAuthGrant) (ended bool) {
		b.tenant(org, func(tx *Tx) (err error) {
			ended, err = tx.EndOAuthGrant(ctx, g)
			return err
		})
		return ended
	}
	if end(first) || !end(second) || end(second) || b.grant(org, i.ID).Active {
		t.Error("a refusal of old tokens ended the grant, or that of the present ones did not")
	}
	b.oauth2(org, i.ID)
	if g := b.grant(org, i.ID); !g.Active || g.Version != 3 || g.ID != first.ID || g.Tokens.Access != "again" {
		t.Errorf("after a new consent %+v", g)
	}
	if end(second) || renew(second, "late", "late", nil) {
		t.Error("what began before the new consent touched it")
	}
}

// oauth2 consents once more.
func (b *bundle) oauth2(org domain.OrgID, id domain.IntegrationID) {
	b.t.Helper()
	b.tenant(org, func(tx *Tx) error {
		return tx.PutOAuthGrant(b.t.Context(), OAuthGrant{IntegrationID: id, Tokens: OAuthTokens{"again", "again"}, ExpiresAt: tx.Now, ConnectedBy: "other"})
	})
}

func TestGrantIsHeldByOneTransactionAtATime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	other := b.open(b.ring) // another process
	holds, free, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- b.Tenant(t.Context(), org, func(ctx context.Context, tx *Tx) error {
			if err := tx.LockOAuthGrant(ctx, i.ID); err != nil {
				return err
			}
			close(holds)
			<-free
			return nil
		})
	}()
	<-holds
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := other.Tenant(short, org, func(ctx context.Context, tx *Tx) error { return tx.LockOAuthGrant(ctx, i.ID) })
	wantKind(t, err, domain.KindUnavailable)
	// While it is held, nothing that is committed meanwhile waits to be shown: the lock gives the transaction no number.
	b.tenant(org, func(tx *Tx) error { return tx.Emit(t.Context(), domain.TopicBookingChanged, nil) })
	var held bool
	b.must(b.owner().QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
		WHERE l.locktype = 'advisory' AND a.datname = current_database() AND a.backend_xid IS NOT NULL)`).Scan(&held))
	if held {
		t.Error("the transaction that holds the lock has a number")
	}
	close(free)
	b.must(<-done)
	b.must(other.Tenant(t.Context(), org, func(ctx context.Context, tx *Tx) error { return tx.LockOAuthGrant(ctx, i.ID) }))
}

func TestLinkWorksOnceAndForTenMinutesOnly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org, foreign := b.org(), b.org()
	i := b.integration(org)
	state := b.oauth(org, i.ID)
	if got, err := b.OAuthStateOrg(ctx, state); err != nil || got != org {
		t.Fatalf("state of %s, %v", got, err)
	}
	_, err := b.OAuthStateOrg(ctx, state+"x")
	wantKind(t, err, domain.KindNotFound)
	b.tenant(foreign, func(tx *Tx) error {
		_, err := tx.OAuthState(ctx, state)
		wantKind(t, err, domain.KindNotFound)
		return nil
	})
	b.tenant(org, func(tx *Tx) error {
		s, err := tx.OAuthState(ctx, state)
		if err != nil {
			return err
		}
		want := OAuthState{ID: s.ID, IntegrationID: i.ID, Subject: "admin", Binding: [32]byte{1}, Browser: true, Verifier: "ver1fier",
			RedirectURL: "https://sync.example/oauth/callback", CreatedAt: tx.Now, ExpiresAt: tx.Now.Add(OAuthStateLife)}
		if d := cmp.Diff(want, s); d != "" {
			t.Errorf("link (-want +got):\n%s", d)
		}
		return tx.UseOAuthState(ctx, s.ID)
	})
	b.tenant(org, func(tx *Tx) error {
		s, err := tx.OAuthState(ctx, state)
		if !s.Used {
			t.Error("a used link is not told as used")
		}
		return err
	})
	link := func(name string) error {
		return b.Tenant(ctx, org, func(ctx context.Context, tx *Tx) error {
			_, err := tx.CreateOAuthState(ctx, name, OAuthState{IntegrationID: i.ID, Subject: "a"})
			return err
		})
	}
	for n := range MaxOAuthStates {
		b.must(link(strings.Repeat("s", n+1)))
	}
	wantKind(t, link("one too many"), domain.KindConflict)
	b.clock.advance(OAuthStateLife + time.Second)
	b.must(link("later"))
	b.clock.advance(keepOAuthStates + time.Hour)
	b.must(link("next day"))
	var rows int
	b.must(b.owner().QueryRow(ctx, "SELECT count(*) FROM oauth_states WHERE org_id = $1", org).Scan(&rows))
	if rows != 1 {
		t.Errorf("%d links are kept, want the newest only", rows)
	}
}

func TestDroppedGrantTellsWhetherAnotherIntegrationSharesTheProvider(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	one, two := b.integration(org), b.integration(org)
	b.oauth(org, one.ID)
	b.oauth(org, two.ID)
	drop := func(id domain.IntegrationID) (g OAuthGrant, alone bool) {
		b.tenant(org, func(tx *Tx) (err error) {
			g, alone, err = tx.DropOAuthGrant(ctx, id)
			return err
		})
		return g, alone
	}
	if g, alone := drop(one.ID); alone || g.Tokens != testTokens {
		t.Errorf("the first of two: %+v, alone %t", g, alone)
	}
	if _, alone := drop(two.ID); !alone {
		t.Error("the last one is not told as alone")
	}
	b.tenant(org, func(tx *Tx) error {
		_, _, err := tx.DropOAuthGrant(ctx, two.ID)
		wantKind(t, err, domain.KindNotFound)
		return nil
	})
}

func TestRotationOfKeysCoversGrantsAndLinks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	state := b.oauth(org, i.ID)
	ring, err := b.ring.WithNewKey()
	b.must(err)
	both := b.open(ring)
	done := map[string]int{}
	_, err = both.RotateKeys(t.Context(), func(table string, n int) { done[table] = n })
	b.must(err)
	if done["oauth_grants"] != 1 || done["oauth_states"] != 1 {
		t.Fatalf("resealed %v", done)
	}
	b.must(both.Tenant(t.Context(), org, func(ctx context.Context, tx *Tx) error {
		g, err := tx.OAuthGrant(ctx, i.ID)
		if err != nil || g.Tokens != testTokens || g.Version != 1 {
			t.Errorf("grant %+v, %v", g, err)
		}
		s, err := tx.OAuthState(ctx, state)
		if s.Verifier != "ver1fier" {
			t.Errorf("link %v, %v", s.Verifier, err)
		}
		return err
	}))
}
