package outbound

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
)

// mailbox lets two calls be under way for one account.
func mailbox(provider.Connection) []provider.Limit {
	return []provider.Limit{{Scope: provider.PerAccount, Account: "robin", AtOnce: 2}}
}

func TestCallsUnderWayAreBoundOverWorkersAndEachGetsItsPart(t *testing.T) {
	t.Parallel()
	b, v := newBed(t), newVendor(t)
	r := provider.Registration{Name: "mail", Rates: mailbox}
	gate := make(chan struct{})
	v.hold.Store(gate)
	var done sync.WaitGroup
	var mu sync.Mutex
	ended := [2]int{}
	for n := range ended {
		d := newDiscipline(t, Options{Store: b.process(t), MaxTurn: time.Minute})
		call := caller(t, d, b.integration(t), r) // another integration of the same mailbox
		for range 4 {
			done.Go(func() {
				if err := call(t.Context(), v.URL); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				ended[n]++
			})
		}
	}
	// Both ask; together they have two, whoever came first.
	await(t, func() bool { return v.calls.Load() == 2 })
	gate <- struct{}{}
	await(t, func() bool { return v.calls.Load() == 3 })
	close(gate)
	done.Wait()
	if n := v.peak.Load(); n != 2 {
		t.Errorf("%d calls at once, want 2", n)
	}
	if ended != [2]int{4, 4} {
		t.Errorf("ended: %v", ended)
	}
	// What is not needed any more is given back.
	owner := b.owner(t)
	await(t, func() bool {
		var n int
		if err := owner.QueryRow(t.Context(), "SELECT count(*) FROM outbound_slots").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
}

func TestACallThatFindsNoRoomWasNotSent(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	gate := make(chan struct{})
	v.hold.Store(gate)
	d := newDiscipline(t, Options{MaxTurn: time.Minute})
	call := caller(t, d, newIntegration(), provider.Registration{Name: "mail", Rates: mailbox})
	var under sync.WaitGroup
	for range 2 {
		under.Go(func() {
			if err := call(t.Context(), v.URL); err != nil {
				t.Error(err)
			}
		})
	}
	await(t, func() bool { return v.calls.Load() == 2 })
	wantHeld(t, call(WithPatience(t.Context(), 0), v.URL), domain.KindRateLimited, time.Second, time.Second)
	close(gate)
	under.Wait()
	if n := v.calls.Load(); n != 2 {
		t.Errorf("%d calls", n)
	}
	if err := call(t.Context(), v.URL); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
}

func TestARefusalSlowsEveryWorkerAndAMinuteWithoutOneGivesAHalvingBack(t *testing.T) {
	t.Parallel()
	b, v := newBed(t), newVendor(t)
	rates := func(provider.Connection) []provider.Limit {
		return []provider.Limit{{Scope: provider.PerAccount, Account: "key", PerSecond: 4, Burst: 40, Slows: true}}
	}
	r := provider.Registration{Name: "studio", Rates: rates}
	process := func() (*Discipline, func(context.Context, string) error) {
		d := newDiscipline(t, Options{Store: b.process(t), Now: b.clock.now, Refresh: 20 * time.Millisecond})
		return d, caller(t, d, b.integration(t), r)
	}
	key := keyOf(rates(provider.Connection{})[0], "studio", "")
	one, call := process()
	two, other := process()
	for n := 1; n <= 4; n++ {
		b.clock.advance(time.Hour) // the pauses are over, and what was slower too
		b.clock.advance(time.Second)
		v.status.Store(200)
		if err := call(t.Context(), v.URL); err != nil {
			t.Fatal(err)
		}
		if one.level(key, 3) != 0 {
			t.Fatal("an hour gives nothing back")
		}
		v.status.Store(429)
		for k := range n {
			b.clock.advance(time.Millisecond)
			if err := caller(t, one, b.integration(t), r)(t.Context(), v.URL); httpx.StatusOf(err) != 429 {
				t.Fatalf("refusal %d: %v", k+1, err)
			}
		}
		want := min(n, 3) // 4 a second, then 2, 1 and 0.5
		if got := one.level(key, 3); got != want {
			t.Errorf("%d refusals halve %d times, want %d", n, got, want)
		}
		await(t, func() bool { return two.level(key, 3) == want })
	}
	// Who was refused without a word about when waits too.
	if err := call(t.Context(), v.URL); httpx.StatusOf(err) != 429 {
		t.Fatal(err)
	}
	wantHeld(t, call(t.Context(), v.URL), domain.KindRateLimited, time.Second, time.Minute)
	v.status.Store(200)
	if err := other(t.Context(), v.URL); err != nil {
		t.Errorf("another connection is not slowed down but stopped: %v", err)
	}
	b.clock.advance(61 * time.Second)
	if one.level(key, 3) != 2 || two.level(key, 3) != 2 {
		t.Errorf("after a minute %d and %d halvings, want 2", one.level(key, 3), two.level(key, 3))
	}
}

func TestCallsThatWereSentBeforeARefusalSayNothingNew(t *testing.T) {
	t.Parallel()
	v, c := newVendor(t), newClock()
	rates := func(provider.Connection) []provider.Limit {
		return []provider.Limit{{Scope: provider.PerAccount, Account: "key", PerSecond: 8, Burst: 40, Slows: true}}
	}
	d := newDiscipline(t, Options{Now: c.now})
	call := caller(t, d, newIntegration(), provider.Registration{Name: "studio", Rates: rates})
	gate := make(chan struct{})
	v.hold.Store(gate)
	v.status.Store(429)
	var under sync.WaitGroup
	for range 4 {
		under.Go(func() {
			if err := call(t.Context(), v.URL); httpx.StatusOf(err) != 429 {
				t.Error(err)
			}
		})
	}
	await(t, func() bool { return v.calls.Load() == 4 })
	c.advance(time.Second)
	close(gate)
	under.Wait()
	if got := d.level(keyOf(rates(provider.Connection{})[0], "studio", ""), 4); got != 1 {
		t.Errorf("four refusals at once halve %d times, want once", got)
	}
}

func TestTokenEndpointsHaveLimitsAndCircuitsOfTheirOwn(t *testing.T) {
	t.Parallel()
	tokens, api, c := newVendor(t), newVendor(t), newClock()
	d := newDiscipline(t, Options{Now: c.now, MaxTurn: time.Minute})
	i := newIntegration()
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	through := client.Through(d.ForTokens(i))
	ask := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, tokens.URL, strings.NewReader("grant_type=refresh_token"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = through.Do(req)
		return err
	}
	asked := 0
	for ; asked < 100; asked++ {
		if err = ask(WithPatience(t.Context(), 300*time.Millisecond)); err != nil {
			break
		}
	}
	if wantHeld(t, err, domain.KindRateLimited, time.Second, 2*time.Second); asked < 5 || asked > 20 {
		t.Errorf("%d questions at once, want about ten", asked)
	}
	c.advance(time.Minute)
	tokens.status.Store(500)
	for range 5 {
		if err := ask(t.Context()); httpx.StatusOf(err) != 500 {
			t.Fatal(err)
		}
	}
	wantHeld(t, ask(t.Context()), domain.KindUnavailable, time.Second, 10*time.Second)
	if err := caller(t, d, i, provider.Registration{Name: "crm", Rates: wide})(t.Context(), api.URL); err != nil {
		t.Errorf("calls with tokens that are still good: %v", err)
	}
}

func TestWhoHasNoPatienceIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	d := newDiscipline(t, Options{MaxTurn: time.Hour, Now: newClock().now})
	call := caller(t, d, newIntegration(), provider.Registration{Name: "crm", Rates: func(provider.Connection) []provider.Limit {
		return []provider.Limit{{PerSecond: 0.01, Burst: 1}}
	}})
	for n := 0; ; n++ {
		err := call(WithPatience(t.Context(), 0), v.URL)
		if err == nil && n < 10 {
			continue
		}
		wantHeld(t, err, domain.KindRateLimited, 99*time.Second, 101*time.Second)
		break
	}
}

func TestNumbersOfAnInstallationStandInForTheUsualOnes(t *testing.T) {
	t.Parallel()
	rates, err := ParseRates([]string{"integration=5", "host=50:60", " google.host=300:2000", "tave.account=4", "tokens.host=20:40"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"google", "tave"}, rates.Systems()); diff != "" {
		t.Error(diff)
	}
	own := provider.Limit{Scope: provider.PerIntegration, PerSecond: 1, Burst: 2, AtOnce: 3}
	for name, x := range map[string]struct {
		declared, want []provider.Limit
	}{
		"crm":    {nil, []provider.Limit{{Scope: provider.PerIntegration, PerSecond: 5, Burst: 25}, {Scope: provider.PerHost, PerSecond: 50, Burst: 60}}},
		"custom": {[]provider.Limit{own, {Scope: provider.PerHost}}, []provider.Limit{own, {Scope: provider.PerHost, PerSecond: 50, Burst: 60}}},
		"google": {[]provider.Limit{{PerSecond: 8, Burst: 120}, {Scope: provider.PerHost, PerSecond: 150, Burst: 1000}},
			[]provider.Limit{{PerSecond: 8, Burst: 120}, {Scope: provider.PerHost, PerSecond: 300, Burst: 2000}}},
		"tave": {[]provider.Limit{{Scope: provider.PerAccount, Account: "k", PerSecond: 2, Burst: 10, Slows: true}},
			[]provider.Limit{{Scope: provider.PerAccount, Account: "k", PerSecond: 4, Burst: 20, Slows: true}}},
		"outlook": {[]provider.Limit{{Scope: provider.PerAccount, PerSecond: 15, Burst: 1000, AtOnce: 4}},
			[]provider.Limit{{Scope: provider.PerAccount, PerSecond: 15, Burst: 1000, AtOnce: 4}}},
		Tokens: {tokenLimits(), []provider.Limit{{Scope: provider.PerIntegration, PerSecond: 1, Burst: 10}, {Scope: provider.PerHost, PerSecond: 20, Burst: 40}}},
	} {
		if diff := cmp.Diff(x.want, rates.of(name, x.declared), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if diff := cmp.Diff(provider.DefaultLimits(), Rates(nil).of("crm", nil)); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"", "host", "planet=1", "host=0", "host=-1", "host=NaN", "host=1e9", "host=1:0", "host=1:x", ".host=1", "account=1"} {
		if _, err := ParseRates([]string{bad}); domain.KindOf(err) != domain.KindInvalid || !strings.Contains(err.Error(), "outbound-rates") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := ParseRates([]string{"host=1", "host=2"}); err == nil {
		t.Error("a scope twice is taken")
	}
}

func FuzzParseRates(f *testing.F) {
	for _, seed := range []string{"host=50:200", "google.host=300", "integration=0.5", "tokens.host=1:1", "a.b.c=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		rates, err := ParseRates([]string{entry})
		if err != nil {
			return
		}
		for name, byScope := range rates {
			for _, l := range byScope {
				if !(l.PerSecond > 0) || l.PerSecond > most || l.Burst < 1 || l.Burst > 5*most {
					t.Errorf("%q: %s has %+v", entry, name, l)
				}
			}
		}
	})
}

func TestAPauseThatASystemNamesHoldsForTheAccountInEveryWorker(t *testing.T) {
	t.Parallel()
	b, v := newBed(t), newVendor(t)
	limits := func(account string, slows bool) func(provider.Connection) []provider.Limit {
		return func(provider.Connection) []provider.Limit {
			return []provider.Limit{{Scope: provider.PerAccount, Account: account, PerSecond: 40, Burst: 400, Slows: slows}}
		}
	}
	for name, slows := range map[string]bool{"crm": false, "studio": true} {
		b.clock.advance(time.Hour)
		process := func(account string) func(context.Context, string) error {
			d := newDiscipline(t, Options{Store: b.process(t), Now: b.clock.now, Refresh: 20 * time.Millisecond})
			return caller(t, d, b.integration(t), provider.Registration{Name: name, Rates: limits(account, slows)})
		}
		refused, same, other := process("robin"), process("robin"), process("alex")
		v.status.Store(429)
		v.after.Store("90")
		if err := refused(t.Context(), v.URL); httpx.StatusOf(err) != 429 {
			t.Fatal(err)
		}
		v.status.Store(200)
		v.after.Store("")
		wantHeld(t, refused(t.Context(), v.URL), domain.KindRateLimited, 85*time.Second, 90*time.Second)
		await(t, func() bool { return errors.Is(same(t.Context(), v.URL), ErrHeld) })
		wantHeld(t, same(t.Context(), v.URL), domain.KindRateLimited, 85*time.Second, 90*time.Second)
		if err := other(t.Context(), v.URL); err != nil {
			t.Errorf("%s: another account: %v", name, err)
		}
		b.clock.advance(91 * time.Second)
		for _, call := range []func(context.Context, string) error{refused, same} {
			if err := call(t.Context(), v.URL); err != nil {
				t.Errorf("%s: when the pause is over: %v", name, err)
			}
		}
	}
}

func TestABusyServerIsNoMatterOfTheAccount(t *testing.T) {
	t.Parallel()
	v, c := newVendor(t), newClock()
	d := newDiscipline(t, Options{Now: c.now})
	r := provider.Registration{Name: "mail", Rates: mailbox}
	call, same := caller(t, d, newIntegration(), r), caller(t, d, newIntegration(), r)
	v.status.Store(503)
	v.after.Store("90")
	if err := call(t.Context(), v.URL); httpx.StatusOf(err) != 503 {
		t.Fatal(err)
	}
	v.status.Store(200)
	if err := same(t.Context(), v.URL); err != nil {
		t.Errorf("another integration with the account: %v", err)
	}
}

func TestAnAccountThatRestsIsLeftAloneByEveryWorkerAfterABusyAnswer(t *testing.T) {
	t.Parallel()
	b, v := newBed(t), newVendor(t)
	process := func(account string) func(context.Context, string) error {
		d := newDiscipline(t, Options{Store: b.process(t), Now: b.clock.now, Refresh: 20 * time.Millisecond})
		return caller(t, d, b.integration(t), provider.Registration{Name: "cloud", Rates: func(provider.Connection) []provider.Limit {
			return []provider.Limit{{Scope: provider.PerAccount, Account: account, PerSecond: 40, Burst: 400, Rest: time.Minute}}
		}})
	}
	refused, same, other := process("robin"), process("robin"), process("alex")
	for _, x := range []struct {
		status int64
		after  string
		wait   time.Duration
	}{{503, "", time.Minute}, {429, "", time.Minute}, {503, "90", 90 * time.Second}} {
		v.status.Store(x.status)
		v.after.Store(x.after)
		if err := refused(t.Context(), v.URL); int64(httpx.StatusOf(err)) != x.status {
			t.Fatal(err)
		}
		v.status.Store(200)
		v.after.Store("")
		await(t, func() bool { return errors.Is(same(t.Context(), v.URL), ErrHeld) })
		wantHeld(t, same(t.Context(), v.URL), domain.KindRateLimited, x.wait-time.Second, x.wait)
		if err := other(t.Context(), v.URL); err != nil {
			t.Errorf("%d: another account: %v", x.status, err)
		}
		b.clock.advance(x.wait + time.Second)
		for _, call := range []func(context.Context, string) error{refused, same} {
			if err := call(t.Context(), v.URL); err != nil {
				t.Errorf("%d: when the rest is over: %v", x.status, err)
			}
		}
	}
}

func TestOfAllWorkersOneHasTheTurn(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	var workers []*Discipline
	for range 3 {
		workers = append(workers, newDiscipline(t, Options{Store: b.process(t), Now: b.clock.now}))
	}
	for round := range 3 {
		var mu sync.Mutex
		var asking sync.WaitGroup
		turns := 0
		for _, d := range workers {
			for range 4 {
				asking.Go(func() {
					err := d.Once(t.Context(), "poll\nrobin", time.Minute)
					mu.Lock()
					defer mu.Unlock()
					if wait := domain.RetryAfter(err); err == nil {
						turns++
					} else if !errors.Is(err, ErrHeld) || wait < time.Minute-time.Second || wait > time.Minute {
						t.Errorf("%v, wait %s", err, wait)
					}
				})
			}
		}
		asking.Wait()
		if turns != 1 {
			t.Errorf("round %d: %d turns of three workers, want one", round, turns)
		}
		if err := workers[round].Once(t.Context(), "poll\nalex", time.Minute); err != nil {
			t.Errorf("round %d: another name: %v", round, err)
		}
		b.clock.advance(time.Minute)
	}
}

func TestWithoutPostgresEachProcessKeepsTurnsByItself(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	db := b.process(t)
	for name, d := range map[string]*Discipline{"none": newDiscipline(t, Options{Now: b.clock.now}), "gone": newDiscipline(t, Options{Store: db, Now: b.clock.now})} {
		db.Close()
		if err := d.Once(t.Context(), "poll", time.Minute); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantHeld(t, d.Once(t.Context(), "poll", time.Minute), domain.KindRateLimited, time.Minute, time.Minute)
	}
}
