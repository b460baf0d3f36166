package outbound

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
	"github.com/wedsync/wedsync/internal/vault"
)

// bed is a database that several processes share.
type bed struct {
	url   string
	ring  *vault.Keyring
	clock *clock
	own   *store.Store
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{clock: newClock()}
	b.url, b.ring = storetest.URL(t), storetest.Ring(t)
	b.own = b.process(t)
	return b
}

// owner looks at the database by itself.
func (b *bed) owner(t *testing.T) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), b.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) }) // nothing is pending on it
	return c
}

func (b *bed) process(t *testing.T) *store.Store {
	t.Helper()
	return storetest.Open(t, b.url, b.ring, store.Options{MaxConns: 3, SystemMaxConns: 2, Now: b.clock.now})
}

func (b *bed) integration(t *testing.T) domain.Integration {
	t.Helper()
	now := time.Now()
	i := domain.Integration{ID: domain.NewID[domain.IntegrationID](now), OrgID: domain.NewID[domain.OrgID](now), Name: "Studio", Provider: "crm",
		State: domain.IntegrationActive, Direction: domain.DirectionImport, ResourceID: domain.NewID[domain.ResourceID](now)}
	err := b.own.CreateOrganization(t.Context(), domain.Organization{ID: i.OrgID, Name: "Lens & Light", Zone: "UTC"}, "test")
	if err == nil {
		err = b.own.Tenant(t.Context(), i.OrgID, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.CreateResource(ctx, domain.Resource{ID: i.ResourceID, Name: "One", Kind: domain.ResourcePerson, Zone: "UTC", Capacity: 1}); err != nil {
				return err
			}
			return tx.CreateIntegration(ctx, i, nil)
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func (b *bed) circuits(t *testing.T, i domain.Integration) []domain.Circuit {
	t.Helper()
	var all map[domain.IntegrationID][]domain.Circuit
	if err := b.own.TenantRead(t.Context(), i.OrgID, func(ctx context.Context, tx *store.Tx) (err error) {
		all, err = tx.Circuits(ctx, i.ID)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all[i.ID]
}

// knows reports whether a process knows of a circuit or a pause.
func knows(d *Discipline) bool {
	d.circuits.Lock()
	defer d.circuits.Unlock()
	return len(d.circuits.byPlace) > 0
}

func TestWorkersShareACircuitAndOneOfThemProbes(t *testing.T) {
	t.Parallel()
	b, v := newBed(t), newVendor(t)
	i := b.integration(t)
	r := provider.Registration{Name: "crm", Rates: wide}
	process := func() (*Discipline, func(context.Context, string) error) {
		d := newDiscipline(t, Options{Store: b.process(t), Now: b.clock.now, Refresh: 20 * time.Millisecond})
		return d, caller(t, d, i, r)
	}
	_, one := process()
	second, two := process()
	v.status.Store(500)
	for range 5 {
		if err := one(t.Context(), v.URL); errors.Is(err, ErrHeld) {
			t.Fatal(err)
		}
	}
	// The other worker hears of it without a call of its own.
	await(t, func() bool { return knows(second) })
	wantHeld(t, two(t.Context(), v.URL), domain.KindUnavailable, time.Second, 10*time.Second)
	if all := b.circuits(t, i); len(all) != 1 || all[0].State != domain.CircuitOpen || all[0].RequestID != "req-4711" || all[0].Openings != 1 {
		t.Fatalf("circuits: %+v", all)
	}
	// A worker that starts now knows it too.
	third, three := process()
	await(t, func() bool { return knows(third) })

	b.clock.advance(10 * time.Second)
	before := v.calls.Load()
	var mu sync.Mutex
	sent := 0
	var calls sync.WaitGroup
	for _, call := range []func(context.Context, string) error{one, two, three} {
		for range 5 {
			calls.Go(func() {
				if err := call(t.Context(), v.URL); !errors.Is(err, ErrHeld) {
					mu.Lock()
					defer mu.Unlock()
					sent++
				}
			})
		}
	}
	calls.Wait()
	if n := v.calls.Load() - before; n != 1 || sent != 1 {
		t.Fatalf("%d probes reached the vendor, %d calls were sent; want one", n, sent)
	}
	b.clock.advance(20 * time.Second)
	v.status.Store(200)
	await(t, func() bool { return two(t.Context(), v.URL) == nil })
	await(t, func() bool { return one(t.Context(), v.URL) == nil && three(t.Context(), v.URL) == nil })
	if all := b.circuits(t, i); len(all) != 0 {
		t.Errorf("circuits after the vendor came back: %+v", all)
	}
}

func TestAPauseHoldsForAllWorkers(t *testing.T) {
	t.Parallel()
	b, v := newBed(t), newVendor(t)
	i := b.integration(t)
	r := provider.Registration{Name: "crm", Rates: wide}
	process := func() (*Discipline, func(context.Context, string) error) {
		d := newDiscipline(t, Options{Store: b.process(t), Now: b.clock.now, Refresh: 20 * time.Millisecond})
		return d, caller(t, d, i, r)
	}
	_, one := process()
	second, two := process()
	v.status.Store(429)
	v.after.Store("60")
	if err := one(t.Context(), v.URL); httpx.StatusOf(err) != 429 {
		t.Fatal(err)
	}
	v.status.Store(200)
	v.after.Store("")
	await(t, func() bool { return knows(second) })
	wantHeld(t, two(t.Context(), v.URL), domain.KindRateLimited, 59*time.Second, time.Minute)
	if all := b.circuits(t, i); len(all) != 1 || all[0].State != domain.CircuitPaused {
		t.Errorf("circuits: %+v", all)
	}
	b.clock.advance(time.Minute)
	if err := errors.Join(one(t.Context(), v.URL), two(t.Context(), v.URL)); err != nil {
		t.Error(err)
	}
	if all := b.circuits(t, i); len(all) != 0 {
		t.Errorf("a pause that is over is told: %+v", all)
	}
}

func TestALimitHoldsOverWorkers(t *testing.T) {
	t.Parallel()
	b, v := newBed(t), newVendor(t)
	i := b.integration(t)
	const burst, perSecond = 40, 5
	r := provider.Registration{Name: "crm", Rates: func(provider.Connection) []provider.Limit {
		return []provider.Limit{{Scope: provider.PerIntegration, PerSecond: perSecond, Burst: burst}}
	}}
	began := time.Now()
	var calls sync.WaitGroup
	for range 3 {
		d := newDiscipline(t, Options{Store: b.process(t), MaxTurn: 2 * time.Second})
		for range 6 {
			call := caller(t, d, i, r)
			calls.Go(func() {
				for time.Since(began) < 3*time.Second {
					if err := call(t.Context(), v.URL); err != nil && !errors.Is(err, ErrHeld) {
						t.Error(err)
						return
					} else if err != nil {
						<-time.After(10 * time.Millisecond)
					}
				}
			})
		}
	}
	calls.Wait()
	most := burst + perSecond*time.Since(began).Seconds()
	if n := float64(v.calls.Load()); n > most || n < burst/2 {
		t.Errorf("%g calls of three workers in %s, the limit allows %g", n, time.Since(began), most)
	}
}
