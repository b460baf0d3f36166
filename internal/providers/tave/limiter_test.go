package tave

import (
	"context"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/tavesim"
)

func TestAfterARefusalNothingIsSentUntilThePauseIsOver(t *testing.T) {
	t.Parallel()
	for name, asked := range map[string]time.Duration{"with Retry-After": 9 * time.Second, "without": 0} {
		b := setup(t, tavesim.Options{})
		second := b.connect(t, b.conn.settings, domain.DirectionImport, b.key)
		b.sim.SetFaults(tavesim.Faults{Status: 429, RetryAfter: asked})
		err := b.conn.Probe(t.Context())
		wantKind(t, err, domain.KindRateLimited)
		pause := domain.RetryAfter(err)
		if asked > 0 && pause != asked || pause <= 0 {
			t.Errorf("%s: waits %s", name, pause)
		}
		b.sim.Heal()
		before := b.sim.Requests()["GET /studio/me"]
		for _, c := range []*connection{b.conn, second} {
			if err := c.Probe(t.Context()); domain.KindOf(err) != domain.KindRateLimited || domain.RetryAfter(err) != pause {
				t.Errorf("%s: %v", name, err)
			}
		}
		if b.sim.Requests()["GET /studio/me"] != before {
			t.Errorf("%s: something was sent during the pause", name)
		}
		b.pass(pause)
		if err := b.conn.Probe(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRateHalvesWithRefusalsAndGrowsBack(t *testing.T) {
	t.Parallel()
	l := newLimiter(8)
	at := providertest.Now
	var pauses []time.Duration
	for range 9 {
		pauses = append(pauses, l.refused(at, 0))
	}
	if pauses[0] != firstPause || pauses[1] != 2*firstPause || pauses[8] != longestPause {
		t.Errorf("pauses %v", pauses)
	}
	if got := float64(l.tokens.Limit()); got != leastRate {
		t.Errorf("rate %g after many refusals, want %g", got, leastRate)
	}
	for range 19 {
		l.well()
	}
	if got := float64(l.tokens.Limit()); got != 8 || l.tokens.Burst() != 40 {
		t.Errorf("rate %g and burst %d after answers, want 8 and 40", got, l.tokens.Burst())
	}
	l.refused(at, time.Hour)
	if err := l.wait(t.Context(), at.Add(30*time.Minute)); domain.RetryAfter(err) != 30*time.Minute {
		t.Errorf("waits %v", err)
	}
	if l.refused(at, time.Second); l.wait(t.Context(), at.Add(time.Minute)) == nil {
		t.Error("a shorter pause ended a longer one")
	}
}

func TestTurnsThatAreFarOffAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	l := newLimiter(0.01)
	if err := l.wait(t.Context(), providertest.Now); err != nil {
		t.Fatal(err)
	}
	if err := l.wait(t.Context(), providertest.Now); domain.KindOf(err) != domain.KindRateLimited || domain.RetryAfter(err) < time.Minute {
		t.Errorf("%v", err)
	}
	l = newLimiter(0.2)
	if err := l.wait(t.Context(), providertest.Now); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantKind(t, l.wait(ctx, providertest.Now), domain.KindUnavailable)
}

func TestConnectionsOfOneKeyShareTheirRate(t *testing.T) {
	t.Parallel()
	a := limiterOf("limits.example", "k1", 4)
	if b := limiterOf("limits.example", "k1", 2); a != b || float64(a.tokens.Limit()) != 2 {
		t.Error("one key has two rates, or not the one of the newest settings")
	}
	if b := limiterOf("limits.example", "k2", 4); a == b {
		t.Error("two keys share a rate")
	}
}
