package connect_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/outbound"
	"github.com/wedsync/wedsync/internal/sim/oauthsim"
)

// turnstile lets calls through, or refuses them.
type turnstile struct {
	shut    bool
	entered []string // hosts
	left    []error
}

func (g *turnstile) Enter(req *http.Request) (func(*httpx.Response, error), error) {
	if g.shut {
		return nil, domain.WithRetryAfter(domain.E(domain.KindUnavailable, "%w: it does not answer", outbound.ErrHeld), 30*time.Second)
	}
	g.entered = append(g.entered, req.URL.Host)
	return func(_ *httpx.Response, err error) { g.left = append(g.left, err) }, nil
}

func TestTokensAreAskedForThroughTheGateOfTheirIntegration(t *testing.T) {
	t.Parallel()
	b := setup(t, oauthsim.Options{})
	b.consent()
	g := &turnstile{shut: true}
	b.gate = func(i domain.Integration) httpx.Gate {
		if i.ID != b.i.ID {
			t.Errorf("the gate of %s", i.ID)
		}
		return g
	}
	s := b.source(b.process())
	b.advance(2 * time.Hour)
	for range 2 {
		_, err := s.Token(t.Context())
		if b.kind(err, domain.KindUnavailable); !errors.Is(err, outbound.ErrHeld) || domain.RetryAfter(err) != 30*time.Second {
			t.Errorf("held back: %v, wait %s", err, domain.RetryAfter(err))
		}
	}
	if n := b.sim.Counts().Refreshes; n != 0 {
		t.Fatalf("%d refreshes while calls are held back", n)
	}
	g.shut = false
	b.advance(30 * time.Second)
	b.token(s)
	if n := b.sim.Counts().Refreshes; n != 1 || len(g.entered) != 1 || len(g.left) != 1 || g.left[0] != nil {
		t.Errorf("%d refreshes, entered %v, left %v", n, g.entered, g.left)
	}
}
