package store

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/ratelimit"
)

func TestLeasesTakeWhatIsThereAndComeBackWithTime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, two := b.org(), b.org()
	unknown := domain.NewID[domain.OrgID](b.clock.now())
	l := AllowanceLimit{Rate: 10, Burst: 20}
	at := b.clock.now()
	lease := func(after time.Duration, asks ...AllowanceAsk) []int {
		t.Helper()
		got, err := b.LeaseAllowances(t.Context(), l, asks, at.Add(after))
		b.must(err)
		return got
	}
	for _, step := range []struct {
		name  string
		after time.Duration
		asks  []AllowanceAsk
		want  []int
	}{
		{"the first ask of several", 0, []AllowanceAsk{{two, 5, 0}, {unknown, 5, 0}, {one, 15, 0}}, []int{5, 0, 15}},
		{"what is left", 0, []AllowanceAsk{{one, 15, 0}}, []int{5}},
		{"nothing left", 0, []AllowanceAsk{{one, 15, 0}, {two, 1, 0}}, []int{0, 1}},
		{"half a second later", 500 * time.Millisecond, []AllowanceAsk{{one, 15, 0}}, []int{5}},
		{"what was used already counts first", time.Second, []AllowanceAsk{{one, 15, 3}}, []int{2}},
		{"a debt is paid before anything is given", time.Second, []AllowanceAsk{{one, 1, 10}}, []int{0}},
		{"paid", 2 * time.Second, []AllowanceAsk{{one, 1, 0}}, []int{0}},
		{"and beyond", 2100 * time.Millisecond, []AllowanceAsk{{one, 5, 0}}, []int{1}},
		{"never more than the burst", time.Hour, []AllowanceAsk{{one, 100, 0}}, []int{20}},
		{"a clock that went back", time.Minute, []AllowanceAsk{{one, 1, 0}}, []int{0}},
	} {
		if diff := cmp.Diff(step.want, lease(step.after, step.asks...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	if got, err := b.LeaseAllowances(t.Context(), l, []AllowanceAsk{{two, 1, 0}}, time.Time{}); err != nil || len(got) != 1 {
		t.Errorf("by the clock of the database: %v, %v", got, err)
	}
	if _, err := b.LeaseAllowances(t.Context(), AllowanceLimit{}, nil, at); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("no limit: %v", err)
	}
}

func TestSimultaneousLeasesNeverGiveMoreThanThereIs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	orgs := []domain.OrgID{b.org(), b.org(), b.org()}
	at := b.clock.now()
	var mu sync.Mutex
	total := map[domain.OrgID]int{}
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for range 20 {
				asks := make([]AllowanceAsk, len(orgs))
				for i := range orgs {
					asks[i] = AllowanceAsk{Org: orgs[(i+worker)%len(orgs)], Want: 3}
				}
				got, err := b.LeaseAllowances(context.WithoutCancel(t.Context()), AllowanceLimit{Rate: 1, Burst: 100}, asks, at)
				if err != nil {
					t.Errorf("lease: %v", err)
					return
				}
				mu.Lock()
				for i, n := range got {
					total[asks[i].Org] += n
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for _, org := range orgs {
		if total[org] != 100 {
			t.Errorf("%d tokens leased; want the 100 there are", total[org])
		}
	}
}

// TestTheLimitOfAnOrganisationHoldsOverThreeServers drives three limiters on one Postgres with a clock of the test.
func TestTheLimitOfAnOrganisationHoldsOverThreeServers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		offered [3]float64 // a second
		dies    int        // the server that stops half way with what it holds, -1 for none
		most    int
	}{
		"uneven load":             {[3]float64{2500, 900, 100}, -1, 6050},
		"one dies with its lease": {[3]float64{1500, 1500, 1500}, 0, 5550},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			org := b.org()
			raw, _ := domain.ParseUUID(string(org))
			const rate, burst, seconds = 500, 500, 10
			at := b.clock.now()
			now := at
			var servers [3]*ratelimit.Shared
			for i := range servers {
				servers[i] = ratelimit.NewShared(ratelimit.SharedOptions{Rate: rate, Burst: burst, Lease: func(ctx context.Context, asks []ratelimit.Ask) ([]int, error) {
					if len(asks) != 1 || asks[0].Key != ratelimit.Key(raw) {
						t.Errorf("asked for %+v", asks)
					}
					return b.LeaseAllowances(ctx, AllowanceLimit{Rate: rate, Burst: burst}, []AllowanceAsk{{org, asks[0].Want, asks[0].Used}}, now)
				}})
			}
			given := 0
			var owed [3]float64
			const step = 10 * time.Millisecond
			for ; now.Before(at.Add(seconds * time.Second)); now = now.Add(step) {
				for i, s := range servers {
					if i == c.dies && now.Sub(at) > seconds*time.Second/2 {
						continue
					}
					for owed[i] += c.offered[i] * step.Seconds(); owed[i] >= 1; owed[i]-- {
						if s.Allow(raw, 1, now).OK {
							given++
						}
					}
					if now.Sub(at)%(4*step) == time.Duration(i)*step {
						b.must(s.Refill(t.Context(), now))
					}
				}
			}
			// 5,500: the burst at once, and the rate for ten seconds.
			if given < 4950 || given > c.most {
				t.Errorf("%d given in %d s; want 5500 within 10 %%, and at most %d", given, seconds, c.most)
			}
		})
	}
}

func TestWaitingDeliveriesAreCountedUpToALimit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	elsewhere := b.org()
	b.deliver(org, b.integration(org).ID, 5)
	b.deliver(elsewhere, b.integration(elsewhere).ID, 2)
	for limits, want := range map[[2]int]int{{3, 9}: 3, {100, 100}: 7, {100, 4}: 6, {5, 4}: 5} {
		if n, err := b.WaitingDeliveryCount(t.Context(), limits[0], limits[1]); err != nil || n != want {
			t.Errorf("up to %d, and %d of each: %d, %v; want %d", limits[0], limits[1], n, err, want)
		}
	}
}

// What waits because somebody paused an integration is no sign that workers do not keep up, and must not turn away the
// webhooks of others.
func TestDeliveriesThatWaitOnPurposeAreNoBacklog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	busy := b.integration(org)
	b.deliver(org, busy.ID, 2)
	count := func(when string, want int) {
		t.Helper()
		if n, err := b.WaitingDeliveryCount(t.Context(), 100, 100); err != nil || n != want {
			t.Errorf("%s: %d wait, %v; want %d", when, n, err, want)
		}
	}
	held := b.integration(org)
	b.deliver(org, held.ID, 3)
	for _, state := range []domain.IntegrationState{domain.IntegrationPaused, domain.IntegrationNeedsReconnect, domain.IntegrationConnecting} {
		count("before it is "+string(state), 5)
		set := func(state domain.IntegrationState) {
			b.tenant(org, func(tx *Tx) error {
				_, err := tx.SetIntegrationState(t.Context(), held.ID, state, "by a test")
				return err
			})
		}
		set(state)
		count(string(state), 2)
		piles, err := b.WaitingPiles(t.Context(), 3, 10)
		if diff := cmp.Diff(map[domain.IntegrationID]int{held.ID: 3}, piles); err != nil || diff != "" {
			t.Errorf("piles while %s, %v (-want +got):\n%s", state, err, diff)
		}
		set(domain.IntegrationActive)
		count("when it goes on", 5)
	}
	_, err := b.owner().Exec(t.Context(), "UPDATE integrations SET work_held_by = $2, work_held_until = $3 WHERE id = $1", busy.ID, domain.NewID[domain.MaintenanceID](b.clock.now()), b.timestamp().Add(time.Hour))
	b.must(err)
	count("one of them in a window of maintenance", 3)
	b.clock.advance(2 * time.Hour)
	count("after it", 5)
	if piles, err := b.WaitingPiles(t.Context(), 1, 1); err != nil || piles[busy.ID] != 1 {
		t.Errorf("piles counted up to one: %v, %v", piles, err)
	}
}

func TestARepeatIsRecognisedForAsLongAsItsIntegrationSays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	put := func(window time.Duration) InsertedDelivery {
		t.Helper()
		d := b.delivery(org, i.ID, "same")
		if window > 0 {
			d.RepeatsSince = b.clock.now().Add(-window)
		}
		out, err := b.InsertDeliveries(t.Context(), []NewDelivery{d, b.delivery(org, i.ID, string(d.ID))})
		b.must(err)
		return out[0]
	}
	const month = 30 * 24 * time.Hour
	first := put(month)
	b.clock.advance(month)
	if again := put(month); !again.Duplicate || again.ID != first.ID {
		t.Errorf("on the last day: %+v; want the repeat of %s", again, first.ID)
	}
	b.clock.advance(time.Second)
	if again := put(0); !again.Duplicate || again.ID != first.ID {
		t.Errorf("without an end: %+v; want the repeat of %s", again, first.ID)
	}
	// Later, many at once: one is new, the others repeat that one.
	got := make([]InsertedDelivery, 8)
	var all sync.WaitGroup
	for n := range got {
		d := b.delivery(org, i.ID, "same")
		d.RepeatsSince = b.clock.now().Add(-month)
		all.Go(func() {
			out, err := b.InsertDeliveries(t.Context(), []NewDelivery{d})
			if err != nil {
				t.Errorf("insert: %v", err)
				return
			}
			got[n] = out[0]
		})
	}
	all.Wait()
	fresh := 0
	for _, g := range got {
		if g.ID != got[0].ID || g.ID == first.ID {
			t.Errorf("ids %s and %s; want one, and not the old one", g.ID, got[0].ID)
		}
		if !g.Duplicate {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("%d are new; want one", fresh)
	}
}
