package connect_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/oauth"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/sim/oauthsim"
	"github.com/wedsync/wedsync/internal/store"
)

// both runs a test against a system that keeps refresh tokens, as Google does, and one that rotates and ends them.
func both(t *testing.T, test func(t *testing.T, b *bundle)) {
	t.Parallel()
	for name, rotate := range map[string]bool{"kept as by Google": false, "rotated as by Microsoft": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, oauthsim.Options{Rotate: rotate})
			b.consent()
			test(t, b)
		})
	}
}

// crowd asks every source from many goroutines at once and returns the tokens they got.
func (b *bundle) crowd(each int, before func(provider.TokenSource), sources ...provider.TokenSource) map[string]int {
	b.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[string]int{}
	start := make(chan struct{})
	for n := range each * len(sources) {
		wg.Go(func() {
			<-start
			s := sources[n%len(sources)]
			if before != nil {
				before(s)
			}
			t, err := s.Token(b.Context())
			if err != nil {
				t = err.Error()
			}
			mu.Lock()
			got[t]++
			mu.Unlock()
		})
	}
	close(start)
	wg.Wait()
	return got
}

func TestFiftyCallersOfTwoProcessesRefreshOnce(t *testing.T) {
	both(t, func(t *testing.T, b *bundle) {
		one, two := b.source(b.one), b.source(b.process())
		first := b.token(one)
		if again := b.token(two); again != first || b.sim.Counts().Refreshes != 0 {
			t.Fatalf("a token that is good was refreshed %d times", b.sim.Counts().Refreshes)
		}
		b.advance(time.Hour - time.Minute) // good for one more minute, which is too little
		got := b.crowd(25, nil, one, two)
		if n := b.sim.Counts().Refreshes; n != 1 || len(got) != 1 || got[first] != 0 {
			t.Errorf("%d refreshes gave %d tokens", n, len(got))
		}
		b.token(one)
		if n := b.sim.Counts().Refreshes; n != 1 {
			t.Errorf("%d refreshes after the next call", n)
		}
	})
}

func TestRefusedTokenIsRefreshedOnceByAll(t *testing.T) {
	both(t, func(t *testing.T, b *bundle) {
		one, two := b.source(b.one), b.source(b.process())
		first := b.token(one)
		b.token(two)
		b.sim.Refuse(first)
		got := b.crowd(25, func(s provider.TokenSource) { s.Refused(first) }, one, two)
		if n := b.sim.Counts().Refreshes; n != 1 || len(got) != 1 || got[first] != 0 {
			t.Errorf("%d refreshes gave %d tokens, the refused one %d times", n, len(got), got[first])
		}
		// A late 401 to the old token does not count against the new one.
		one.Refused(first)
		b.token(one)
		if n := b.sim.Counts().Refreshes; n != 1 {
			t.Errorf("%d refreshes after a late refusal", n)
		}
	})
}

func TestCrashAfterStoringLosesNothing(t *testing.T) {
	both(t, func(t *testing.T, b *bundle) {
		b.advance(2 * time.Hour)
		second := b.token(b.source(b.one))
		b.one.store.Close() // the process is gone; only Postgres knows what it got
		b.one = b.process()
		next := b.source(b.one)
		if got := b.token(next); got != second || b.sim.Counts().Refreshes != 1 {
			t.Errorf("%d refreshes", b.sim.Counts().Refreshes)
		}
		b.advance(2 * time.Hour)
		b.token(next)
		if n := b.sim.Counts().Refreshes; n != 2 {
			t.Errorf("%d refreshes", n)
		}
	})
}

func TestTokensAreStoredBeforeAnybodySeesThem(t *testing.T) {
	both(t, func(t *testing.T, b *bundle) {
		b.advance(2 * time.Hour)
		got := b.token(b.source(b.one))
		if g := b.grant(); g.Tokens.Access != got || g.Version != 2 || !g.ExpiresAt.Equal(b.clock().Add(time.Hour)) {
			t.Errorf("stored version %d until %s", g.Version, g.ExpiresAt)
		}
	})
}

func TestLostAnswerIsAskedForAgainWhereTheSystemAllowsIt(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]oauthsim.Options{"kept": {}, "rotated with grace": {Rotate: true, Grace: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, o)
			b.consent()
			b.advance(2 * time.Hour)
			b.sim.Break(oauthsim.Fault{Lost: true})
			s := b.source(b.one)
			_, err := s.Token(t.Context())
			b.kind(err, domain.KindUnavailable)
			if !b.grant().Active {
				t.Fatal("a lost answer ended the grant")
			}
			b.token(s)
		})
	}
}

func TestLostAnswerOfAStrictRotationNeedsAPersonAndSaysSo(t *testing.T) {
	t.Parallel()
	b := setup(t, oauthsim.Options{Rotate: true})
	b.consent()
	was := b.grant()
	b.advance(2 * time.Hour)
	b.sim.Break(oauthsim.Fault{Lost: true})
	s := b.source(b.one)
	_, err := s.Token(t.Context())
	b.kind(err, domain.KindUnavailable)
	_, err = s.Token(t.Context())
	b.kind(err, domain.KindUnauthenticated)
	if !strings.Contains(err.Error(), "wedsync integration connect "+string(b.i.ID)) {
		t.Errorf("the error does not say what to do: %v", err)
	}
	for _, secret := range []string{was.Tokens.Access, was.Tokens.Refresh} {
		if strings.Contains(err.Error(), secret) {
			t.Error("the error shows a token")
		}
	}
	asked := b.sim.Counts().Refreshes
	_, err = b.source(b.process()).Token(t.Context())
	b.kind(err, domain.KindUnauthenticated)
	if b.grant().Active || b.sim.Counts().Refreshes != asked {
		t.Error("a dead grant is asked about again")
	}
	b.consent()
	b.token(s)
}

func TestConsentTakenBackEndsTheGrant(t *testing.T) {
	both(t, func(t *testing.T, b *bundle) {
		s := b.source(b.one)
		first := b.token(s)
		b.sim.RevokeAll()
		s.Refused(first)
		_, err := s.Token(t.Context())
		b.kind(err, domain.KindUnauthenticated)
		if b.grant().Active {
			t.Error("the grant is still told as working")
		}
		var ended int
		b.must(b.one.store.TenantRead(t.Context(), b.org, func(ctx context.Context, tx *store.Tx) error {
			all, _, err := tx.AuditEntries(ctx, store.Page{})
			for _, e := range all {
				if e.Action == "integration.disconnected" {
					ended++
				}
			}
			return err
		}))
		if ended != 1 {
			t.Errorf("%d lines in the audit trail, want 1", ended)
		}
	})
}

func TestCallerThatGivesUpDoesNotCutOffTheRefresh(t *testing.T) {
	both(t, func(t *testing.T, b *bundle) {
		b.advance(2 * time.Hour)
		asked, release := b.sim.Hold()
		s := b.source(b.one)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := s.Token(ctx)
			done <- err
		}()
		<-asked
		cancel()
		b.kind(<-done, domain.KindUnavailable)
		release()
		b.token(s)
		if n := b.sim.Counts().Refreshes; n != 1 {
			t.Errorf("%d refreshes", n)
		}
	})
}

func TestDatabaseThatFailsAfterTheAnswerIsToldLater(t *testing.T) {
	both(t, func(t *testing.T, b *bundle) {
		b.advance(2 * time.Hour)
		asked, release := b.sim.Hold()
		s := b.source(b.one)
		type answer struct {
			token string
			err   error
		}
		done := make(chan answer, 1)
		go func() {
			token, err := s.Token(t.Context())
			done <- answer{token, err}
		}()
		<-asked
		// The connection that holds the lock dies while the endpoint thinks.
		conn, err := pgx.Connect(t.Context(), b.url)
		b.must(err)
		defer conn.Close(context.WithoutCancel(t.Context()))
		var ended int
		b.must(conn.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid
			WHERE l.locktype = 'advisory' AND a.datname = current_database()`).Scan(&ended))
		if ended != 1 {
			t.Fatalf("%d connections hold the lock", ended)
		}
		release()
		got := <-done
		b.must(got.err)
		if g := b.grant(); g.Tokens.Access != got.token || b.sim.Counts().Refreshes != 1 || !b.sim.Valid(got.token) {
			t.Errorf("%d refreshes, version %d", b.sim.Counts().Refreshes, g.Version)
		}
		b.advance(2 * time.Hour)
		b.token(s) // with the refresh token that was nearly lost
	})
}

func TestNewConsentDuringARefreshWins(t *testing.T) {
	both(t, func(t *testing.T, b *bundle) {
		b.advance(2 * time.Hour)
		state, code := b.link()
		asked, release := b.sim.Hold()
		s := b.source(b.one)
		done := make(chan error, 1)
		go func() {
			_, err := s.Token(t.Context())
			done <- err
		}()
		<-asked
		other := b.process()
		p, err := other.grants.Take(t.Context(), state)
		b.must(err)
		finished := make(chan error, 1)
		go func() {
			_, err := other.grants.Finish(t.Context(), p, code)
			finished <- err
		}()
		<-asked
		release()
		b.must(<-finished)
		<-done // with the old token or told to ask again, as it happens
		g := b.grant()
		if got := b.token(b.source(other)); got != g.Tokens.Access || !g.Active {
			t.Errorf("version %d", g.Version)
		}
		b.advance(2 * time.Hour)
		b.token(s)
	})
}

func TestEndpointInTroubleEndsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, oauthsim.Options{Rotate: true})
	b.consent()
	b.advance(2 * time.Hour)
	s := b.source(b.one)
	b.sim.Break(oauthsim.Fault{Status: 503}, oauthsim.Fault{Status: 401, Body: `{"error":"invalid_client"}`}, oauthsim.Fault{Status: 429, RetryAfter: "20"})
	for _, want := range []domain.ErrorKind{domain.KindUnavailable, domain.KindUnavailable, domain.KindRateLimited, domain.KindRateLimited} {
		_, err := s.Token(t.Context())
		b.kind(err, want)
	}
	// The last answer came without a question: the endpoint asked for 20 s of rest.
	if n := b.sim.Counts().Refreshes; n != 0 || !b.grant().Active {
		t.Errorf("%d refreshes, active %t", n, b.grant().Active)
	}
	b.advance(21 * time.Second)
	b.token(s)
}

func TestWithoutGrantOrClientTheErrorSaysWhatToDo(t *testing.T) {
	t.Parallel()
	b := setup(t, oauthsim.Options{})
	_, err := b.source(b.one).Token(t.Context())
	b.kind(err, domain.KindUnauthenticated)
	b.consent()
	b.advance(2 * time.Hour)
	unset := connect.NewGrants(connect.GrantsOptions{Store: b.one.store, Find: b.find, Now: b.clock, Client: func(string) (*oauth.Client, error) {
		return nil, domain.E(domain.KindConflict, "set WEDSYNC_GOOGLE_CLIENT_ID")
	}})
	s, err := unset.Source(b.i)
	b.must(err)
	_, err = s.Token(t.Context())
	b.kind(err, domain.KindUnavailable)
	if !strings.Contains(err.Error(), "WEDSYNC_GOOGLE_CLIENT_ID") {
		t.Error(err)
	}
	opened, err := connect.New(b.find, b.out, b.clock, 0).WithGrants(b.one.grants).Open(b.i, "Europe/London", func() (map[string]string, error) { return nil, nil })
	b.must(err)
	b.token(opened.(provider.TokenSource))
}
