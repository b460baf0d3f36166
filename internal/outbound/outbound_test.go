package outbound

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/ratelimit"
)

// vendor is an outside system that answers as it is told.
type vendor struct {
	*httptest.Server
	status atomic.Int64
	after  atomic.Value // Retry-After
	calls  atomic.Int64
	under  atomic.Int64 // under way
	peak   atomic.Int64
	hold   atomic.Value // chan struct{}: requests wait for it
	ids    sync.Map     // values of Client-Request-Id
}

func newVendor(t *testing.T) *vendor {
	t.Helper()
	v := &vendor{}
	v.status.Store(200)
	v.after.Store("")
	v.hold.Store((chan struct{})(nil))
	v.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.calls.Add(1)
		now := v.under.Add(1)
		defer v.under.Add(-1)
		for was := v.peak.Load(); now > was && !v.peak.CompareAndSwap(was, now); was = v.peak.Load() {
		}
		v.ids.Store(r.Header.Get("Client-Request-Id"), true)
		if c := v.hold.Load().(chan struct{}); c != nil {
			select {
			case <-c:
			case <-r.Context().Done():
			}
		}
		if a := v.after.Load().(string); a != "" {
			w.Header().Set("Retry-After", a)
		}
		w.Header().Set("X-Request-Id", "req-4711")
		w.WriteHeader(int(v.status.Load()))
	}))
	t.Cleanup(v.Close)
	return v
}

// clock is moved by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Now()} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func newDiscipline(t *testing.T, o Options) *Discipline {
	t.Helper()
	if o.Random == nil {
		o.Random = func() float64 { return 0 }
	}
	d, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func newIntegration() domain.Integration {
	now := time.Now()
	return domain.Integration{ID: domain.NewID[domain.IntegrationID](now), OrgID: domain.NewID[domain.OrgID](now)}
}

// wide are limits that never matter.
func wide(provider.Connection) []provider.Limit {
	return []provider.Limit{{Scope: provider.PerIntegration, PerSecond: 1e6, Burst: 1e6}}
}

// caller calls the vendor for an integration and returns the error.
func caller(t *testing.T, d *Discipline, i domain.Integration, r provider.Registration) func(ctx context.Context, url string) error {
	t.Helper()
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	gated := client.Through(d.For(i, r, provider.Connection{Integration: i}))
	return func(ctx context.Context, url string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/ann?key=hush", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = gated.Do(req)
		return err
	}
}

// value adds up what a metric says.
func value(t *testing.T, from prometheus.Gatherer, name string) (sum float64) {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// await asks until it is so, within a minute.
func await(t *testing.T, so func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !so(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen within a minute")
		}
	}
}

func wantHeld(t *testing.T, err error, kind domain.ErrorKind, least, most time.Duration) {
	t.Helper()
	if !errors.Is(err, ErrHeld) || domain.KindOf(err) != kind || domain.RetryAfter(err) < least || domain.RetryAfter(err) > most {
		t.Fatalf("held %t, kind %s, wait %s; want %s between %s and %s: %v", errors.Is(err, ErrHeld), domain.KindOf(err), domain.RetryAfter(err), kind, least, most, err)
	}
}

func TestAVendorThatIsGoneIsLeftAloneUntilOneProbeWorks(t *testing.T) {
	t.Parallel()
	v, c := newVendor(t), newClock()
	registry := prometheus.NewRegistry()
	d := newDiscipline(t, Options{Now: c.now, Metrics: registry})
	call := caller(t, d, newIntegration(), provider.Registration{Name: "crm", Rates: wide})
	other := caller(t, d, newIntegration(), provider.Registration{Name: "crm", Rates: wide})
	v.status.Store(503)
	for range 5 {
		if err := call(t.Context(), v.URL); httpx.StatusOf(err) != 503 || errors.Is(err, ErrHeld) {
			t.Fatal(err)
		}
	}
	err := call(t.Context(), v.URL)
	wantHeld(t, err, domain.KindUnavailable, 9*time.Second, 10*time.Second)
	if text := err.Error(); !strings.Contains(text, "status 503") || !strings.Contains(text, "req-4711") || strings.Contains(text, "ann") || strings.Contains(text, "hush") {
		t.Errorf("the error says %q", text)
	}
	if n := v.calls.Load(); n != 5 {
		t.Errorf("%d calls reached the vendor, want 5", n)
	}
	if err := other(t.Context(), v.URL); errors.Is(err, ErrHeld) {
		t.Errorf("another integration is held back too: %v", err)
	}
	if got := value(t, registry, "wedsync_outbound_circuits"); got != 1 {
		t.Errorf("%g circuits are told to be open or paused, want 1", got)
	}
	if got := value(t, registry, "wedsync_outbound_held_total"); got != 1 {
		t.Errorf("%g calls are told to be held back, want 1", got)
	}
	// Of many at once, one is the probe.
	c.advance(10 * time.Second)
	release := make(chan struct{})
	v.hold.Store(release)
	before := v.calls.Load()
	results := make(chan error, 20)
	for range 20 {
		go func() { results <- call(t.Context(), v.URL) }()
	}
	for range 19 {
		wantHeld(t, <-results, domain.KindUnavailable, time.Second, time.Minute)
	}
	v.hold.Store((chan struct{})(nil))
	close(release)
	if err := <-results; httpx.StatusOf(err) != 503 || v.calls.Load() != before+1 {
		t.Fatalf("%d calls, the probe ended with %v", v.calls.Load()-before, err)
	}
	wantHeld(t, call(t.Context(), v.URL), domain.KindUnavailable, 19*time.Second, 20*time.Second)
	c.advance(20 * time.Second)
	v.status.Store(200)
	for range 3 {
		if err := call(t.Context(), v.URL); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(d.circuits.byPlace); n != 1 { // that of the other integration
		t.Errorf("%d circuits are remembered, want 1", n)
	}
}

func TestRefusalsOfAnEntryOpenNothing(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	d := newDiscipline(t, Options{})
	call := caller(t, d, newIntegration(), provider.Registration{Name: "crm", Rates: wide})
	for _, status := range []int64{400, 401, 403, 404, 409, 410, 412, 422, 501} {
		v.status.Store(status)
		for range 8 {
			if err := call(t.Context(), v.URL); int64(httpx.StatusOf(err)) != status {
				t.Fatalf("status %d: %v", status, err)
			}
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 30 {
		if err := call(gone, v.URL); errors.Is(err, ErrHeld) {
			t.Fatal("callers that gave up opened it")
		}
	}
	if n := len(d.circuits.byPlace); n != 0 {
		t.Errorf("%d circuits are remembered", n)
	}
}

func TestRetryAfterIsObeyedByEveryCallOfTheIntegration(t *testing.T) {
	t.Parallel()
	v, c := newVendor(t), newClock()
	call := caller(t, newDiscipline(t, Options{Now: c.now}), newIntegration(), provider.Registration{Name: "crm", Rates: wide})
	v.status.Store(429)
	v.after.Store("120")
	if err := call(t.Context(), v.URL); httpx.StatusOf(err) != 429 || domain.RetryAfter(err) != 2*time.Minute {
		t.Fatal(err)
	}
	v.status.Store(200)
	wantHeld(t, call(t.Context(), v.URL), domain.KindRateLimited, 119*time.Second, 2*time.Minute)
	c.advance(2 * time.Minute)
	if err := call(t.Context(), v.URL); err != nil || v.calls.Load() != 2 {
		t.Errorf("%d calls, %v", v.calls.Load(), err)
	}
}

func TestOneIntegrationDoesNotKeepOthersFromAHost(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	d := newDiscipline(t, Options{MaxTurn: time.Minute})
	shared := provider.Registration{Name: "crm", Rates: func(provider.Connection) []provider.Limit {
		return []provider.Limit{{Scope: provider.PerHost, PerSecond: 20, Burst: 1}}
	}}
	greedy, modest := caller(t, d, newIntegration(), shared), caller(t, d, newIntegration(), shared)
	ctx, stop := context.WithCancel(t.Context())
	var greedyDone atomic.Int64
	var calls sync.WaitGroup
	for range 200 {
		calls.Go(func() {
			if greedy(ctx, v.URL) == nil {
				greedyDone.Add(1)
			}
		})
	}
	waiting := func() (n int) {
		d.limits.Lock()
		defer d.limits.Unlock()
		for _, t := range d.limits.turns {
			n += t.alive
		}
		return n
	}
	await(t, func() bool { return waiting() >= 150 })
	before := greedyDone.Load()
	if err := modest(t.Context(), v.URL); err != nil {
		t.Fatal(err)
	}
	if passed := greedyDone.Load() - before; passed > 30 {
		t.Errorf("%d calls of the greedy integration passed before the first of the modest one", passed)
	}
	stop()
	calls.Wait()
}

func TestATurnThatIsFarOffIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	d := newDiscipline(t, Options{MaxTurn: 100 * time.Millisecond})
	call := caller(t, d, newIntegration(), provider.Registration{Name: "crm", Rates: func(provider.Connection) []provider.Limit {
		return []provider.Limit{{Scope: provider.PerIntegration, PerSecond: 0.1, Burst: 1}}
	}})
	var refused error
	for n := 0; refused == nil && n < 10; n++ {
		refused = call(t.Context(), v.URL)
	}
	wantHeld(t, refused, domain.KindRateLimited, time.Second, time.Minute)
	if n := v.calls.Load(); n > 3 {
		t.Errorf("%d calls at a limit of one in ten seconds", n)
	}
}

func TestIntegrationsOfOneAccountShareItsLimit(t *testing.T) {
	t.Parallel()
	d := newDiscipline(t, Options{})
	of := func(account string) *gate {
		r := provider.Registration{Name: "crm", Rates: func(provider.Connection) []provider.Limit {
			return []provider.Limit{{Scope: provider.PerAccount, Account: account, PerSecond: 1, Burst: 1}}
		}}
		return d.For(newIntegration(), r, provider.Connection{}).(*gate)
	}
	key := func(account string) ratelimit.Key { return of(account).limits[0].key }
	if one, again := key("key-one"), key("key-one"); one != again {
		t.Error("two integrations of one account have two limits")
	}
	one, two, none, unknown := key("key-one"), key("key-two"), key(""), key("")
	if one == two || none == unknown {
		t.Error("different accounts share a limit")
	}
}

func TestAnIDIsSentWhereTheVendorTakesOne(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	d := newDiscipline(t, Options{})
	for _, x := range []struct {
		header string
		want   int
	}{{"", 0}, {"client-request-id", 36}} {
		v.ids.Clear()
		if err := caller(t, d, newIntegration(), provider.Registration{Name: "crm", Rates: wide, RequestIDHeader: x.header})(t.Context(), v.URL); err != nil {
			t.Fatal(err)
		}
		v.ids.Range(func(id, _ any) bool {
			if len(id.(string)) != x.want {
				t.Errorf("header %q: sent %q", x.header, id)
			}
			return true
		})
	}
}

func TestManyDifferentLimitsAreRoundedDown(t *testing.T) {
	t.Parallel()
	d := newDiscipline(t, Options{})
	for n := range 2 * maxShapes {
		l := provider.Limit{PerSecond: 1 + float64(n)/100, Burst: 3 + n}
		if s := d.shapeOf(l); s.perSecond > l.PerSecond || s.burst > l.Burst {
			t.Fatalf("%+v became %+v", l, s)
		}
	}
	if n := len(d.limits.shared); n > maxShapes+100 {
		t.Errorf("%d limits are told apart", n)
	}
}

func TestWithoutPostgresEachProcessGoesOn(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	one := b.process(t)
	var log bytes.Buffer
	d := newDiscipline(t, Options{Store: one, Log: slog.New(slog.NewTextHandler(&log, nil)), Refresh: time.Hour})
	one.Close()
	v := newVendor(t)
	i := b.integration(t)
	call := caller(t, d, i, provider.Registration{Name: "crm"})
	for range 12 {
		if err := call(t.Context(), v.URL); err != nil {
			t.Fatal(err)
		}
	}
	v.status.Store(500)
	for range 5 {
		if err := call(t.Context(), v.URL); errors.Is(err, ErrHeld) {
			t.Fatal(err)
		}
	}
	wantHeld(t, call(t.Context(), v.URL), domain.KindUnavailable, time.Second, time.Minute)
}
