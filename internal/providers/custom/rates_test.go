package custom_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/outbound"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/sim/restsim"
)

func TestLimitsOfADefinitionAreTheRatesOfItsIntegration(t *testing.T) {
	t.Parallel()
	host := provider.Limit{Scope: provider.PerHost}
	for doc, want := range map[string][]provider.Limit{
		`{}`:                        nil,
		`{"limits":null}`:           nil,
		`{"limits":{"requests":0}}`: nil, // not valid, so the usual ones
		`not json`:                  nil,
		`{"limits":{"requests":7}}`: {{PerSecond: 7, Burst: 1}, host},
		`{"limits":{"requests":90,"per_seconds":60,"burst":5,"concurrent":2}}`: {{PerSecond: 1.5, Burst: 5, AtOnce: 2}, host},
	} {
		got := custom.Registration.Rates(provider.Connection{Integration: domain.Integration{Settings: []byte(doc)}})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", doc, diff)
		}
	}
}

func TestLimitsHoldOverWorkersAndRefusedCallsWereNotSent(t *testing.T) {
	t.Parallel()
	r := setupRest(t, restsim.Options{}, nil)
	settings := restSettings(t, r.url, restsim.Page, true, func(_, all map[string]any) {
		all["limits"] = map[string]any{"requests": 1, "per_seconds": 3600, "burst": 2}
	})
	d, err := outbound.New(t.Context(), outbound.Options{MaxTurn: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	conn := provider.Connection{Integration: domain.Integration{ID: "0193a000-0000-7000-8000-000000000001", Provider: "custom", Settings: settings},
		Secrets: map[string]string{custom.SecretToken: restToken}, Zone: time.UTC}
	sent := 0
	for range 2 { // the integration is opened anew, as another worker and a changed setting do
		conn.HTTP = client.Through(d.For(conn.Integration, custom.Registration, conn))
		opened, err := custom.Registration.Open(conn)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			_, err = must[provider.Puller](t, opened).Pull(t.Context(), "")
			if err != nil {
				break
			}
			sent++
		}
		if domain.KindOf(err) != domain.KindRateLimited || domain.RetryAfter(err) < time.Minute {
			t.Fatalf("after %d: %v, wait %s", sent, err, domain.RetryAfter(err))
		}
	}
	if n := len(r.sim.Asked()); n != sent || sent < 2 || sent > 3 {
		t.Errorf("%d requests were sent and %d answered, want two and one of credit", n, sent)
	}
}
