package google

import (
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/googlesim"
)

func TestThrottlingInBothShapesIsRateLimitedAndRefusalIsNot(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	for name, c := range map[string]struct {
		fault googlesim.Faults
		kind  domain.ErrorKind
		wait  time.Duration
	}{
		"403 per user":            {googlesim.Faults{Status: 403, Reason: "userRateLimitExceeded"}, domain.KindRateLimited, 0},
		"403 with a time":         {googlesim.Faults{Status: 403, Reason: "rateLimitExceeded", RetryInMessage: 90 * time.Second}, domain.KindRateLimited, 90 * time.Second},
		"403 with a header":       {googlesim.Faults{Status: 403, Reason: "rateLimitExceeded", RetryAfter: 5 * time.Second}, domain.KindRateLimited, 5 * time.Second},
		"403 quota":               {googlesim.Faults{Status: 403, Reason: "quotaExceeded"}, domain.KindRateLimited, 0},
		"429 with a header":       {googlesim.Faults{Status: 429, Reason: "rateLimitExceeded", RetryAfter: 7 * time.Second}, domain.KindRateLimited, 7 * time.Second},
		"429 with a time":         {googlesim.Faults{Status: 429, Reason: "rateLimitExceeded", RetryInMessage: 3 * time.Hour}, domain.KindRateLimited, time.Hour},
		"403 for good":            {googlesim.Faults{Status: 403, Reason: "insufficientPermissions"}, domain.KindForbidden, 0},
		"403 not the organiser":   {googlesim.Faults{Status: 403, Reason: "forbiddenForNonOrganizer"}, domain.KindForbidden, 0},
		"403 API not switched on": {googlesim.Faults{Status: 403, Reason: "accessNotConfigured"}, domain.KindForbidden, 0},
		"500":                     {googlesim.Faults{Status: 500, Reason: "backendError"}, domain.KindUnavailable, 0},
		"400":                     {googlesim.Faults{Status: 400, Reason: "badRequest"}, domain.KindPermanent, 0},
	} {
		b.sim.SetFaults(c.fault)
		before := len(b.sim.Requests())
		_, err := b.conn.Pull(t.Context(), "")
		if domain.KindOf(err) != c.kind || domain.RetryAfter(err) != c.wait {
			t.Errorf("%s: kind %q, wait %s (%v), want %q and %s", name, domain.KindOf(err), domain.RetryAfter(err), err, c.kind, c.wait)
		}
		if n := len(b.sim.Requests()) - before; n != 1 {
			t.Errorf("%s: %d requests: the client must not repeat by itself", name, n)
		}
		if strings.Contains(err.Error(), studio) || strings.Contains(err.Error(), "Retry after") {
			t.Errorf("%s: the error repeats what Google wrote or whom it is about: %v", name, err)
		}
	}
}

func TestRefusedTokenIsToldOnceAndTheNextOneIsUsed(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	b.tokens.row = []string{"stale", secret}
	if _, err := b.conn.Put(t.Context(), write(0)); err != nil { // with its body a second time
		t.Fatal(err)
	}
	if len(b.tokens.refused) != 1 || b.tokens.refused[0] != "stale" || len(b.sim.Events(studio)) != 1 {
		t.Errorf("refused %v, %d events", b.tokens.refused, len(b.sim.Events(studio)))
	}
	b.tokens.row, b.tokens.refused = []string{"stale", "stale too"}, nil
	_, err := b.conn.Pull(t.Context(), "")
	wantKind(t, err, domain.KindUnauthenticated)
	if len(b.tokens.refused) != 1 {
		t.Errorf("two dead tokens were told %d times", len(b.tokens.refused))
	}
	b.tokens.row, b.tokens.refused = []string{"stale"}, nil
	before := len(b.sim.Requests())
	_, err = b.conn.Pull(t.Context(), "")
	wantKind(t, err, domain.KindUnauthenticated)
	if n := len(b.sim.Requests()) - before; n != 1 {
		t.Errorf("%d requests with the only token", n)
	}
}

func TestGrantThatIsGoneNeedsAReconnect(t *testing.T) {
	t.Parallel()
	b := setup(t, change{})
	for _, kind := range []domain.ErrorKind{domain.KindUnauthenticated, domain.KindUnavailable} {
		b.tokens.err = domain.E(kind, "refresh: invalid_grant or a token endpoint that is down")
		for name, call := range map[string]func() error{
			"pull":   func() error { _, err := b.conn.Pull(t.Context(), ""); return err },
			"read":   func() error { _, err := b.conn.Read(t.Context(), "abcde"); return err },
			"put":    func() error { _, err := b.conn.Put(t.Context(), write(0)); return err },
			"remove": func() error { return b.conn.Remove(t.Context(), "abcde", `"1"`) },
			"probe":  func() error { return b.conn.Probe(t.Context()) },
		} {
			if err := call(); domain.KindOf(err) != kind {
				t.Errorf("%s: %v, want %s", name, err, kind)
			}
		}
	}
	if n := len(b.sim.Requests()); n != 0 {
		t.Errorf("%d requests without a token", n)
	}
	wantKind(t, openWithout(t, b.conn.settings).Probe(t.Context()), domain.KindUnauthenticated)
}
