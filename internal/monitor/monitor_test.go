package monitor_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/monitor"
	"github.com/wedsync/wedsync/internal/rules/health"
	"github.com/wedsync/wedsync/internal/store"
)

func TestEachConnectionHasItsMomentAndTheLoadIsEven(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]int{"a": 600, "b": 300})
		r := w.run(monitor.Options{}, nil)
		wait(5*time.Minute + 10*time.Second)
		beat := r.stop()
		inSecond := map[int64]int{}
		for id, times := range w.asked {
			if n := len(times); n != 10 && n != 11 {
				t.Fatalf("%s was asked %d times in 5 minutes", id, n)
			}
			for k := 1; k < len(times); k++ {
				if gap := times[k].Sub(times[k-1]); gap < 29*time.Second || gap > 31*time.Second {
					t.Fatalf("%s was asked again after %s", id, gap)
				}
			}
			inSecond[times[1].Unix()]++
		}
		for second, n := range inSecond {
			if n > 60 { // 30 on average
				t.Errorf("%d probes in second %d", n, second)
			}
		}
		if up := w.states("a")[domain.HealthUp] + w.states("b")[domain.HealthUp]; up != 900 || beat.Probes < 9000 || beat.Targets != 900 {
			t.Errorf("%d are up; %+v", up, beat)
		}
		if got := w.outcomes(); int64(got[domain.ProbeOK]) != beat.Probes {
			t.Errorf("stored %v of %d results", got, beat.Probes)
		}
		if w.told != len(w.changes) || len(w.changes) != 900 {
			t.Errorf("told of %d of %d moves", w.told, len(w.changes))
		}
	})
}

// A probe is due within 30 s after the death. Its second, 30 s later, waits 10 s for an answer, and is proof because the others
// of the platform fail too. A single connection takes a third one.
func TestAPlatformThatDiesIsDownInLittleMoreThanAMinuteAndNobodyElseIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]int{"a": 100, "b": 100, "c": 100})
		r := w.run(monitor.Options{}, nil)
		wait(2 * time.Minute)
		w.set(func() {
			w.answer = func(ctx context.Context, t store.ProbeTarget, _ int) error {
				if t.Provider == "a" {
					return hang(ctx)
				}
				return pause(ctx, 50*time.Millisecond)
			}
		})
		wait(72 * time.Second)
		if got := w.states("a"); got[domain.HealthDown] != 100 {
			t.Errorf("after 72 seconds the dead platform is %v", got)
		}
		if w.states("b")[domain.HealthUp] != 100 || w.states("c")[domain.HealthUp] != 100 {
			t.Errorf("the others are %v, %v", w.states("b"), w.states("c"))
		}
		w.set(func() { w.answer = nil })
		wait(2 * time.Minute)
		if got := w.states("a"); got[domain.HealthUp] != 100 {
			t.Errorf("two minutes after it came back it is %v", got)
		}
		r.stop()
		for _, c := range w.changes {
			if c.To == domain.HealthDown && (c.Reason.Code != domain.HealthNoAnswer || !strings.Contains(c.Reason.Text, "timed out")) {
				t.Fatalf("the reason is %+v", c.Reason)
			}
		}
	})
}

func TestAPlatformThatIsAwayForHalfAMinuteIsNotDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]int{"a": 100, "b": 100})
		r := w.run(monitor.Options{}, nil)
		wait(2 * time.Minute)
		w.set(func() {
			w.answer = func(ctx context.Context, t store.ProbeTarget, _ int) error {
				if t.Provider == "a" {
					return errBroken
				}
				return pause(ctx, 50*time.Millisecond)
			}
		})
		wait(28 * time.Second)
		w.set(func() { w.answer = nil })
		wait(2 * time.Minute)
		r.stop()
		for _, c := range w.changes {
			if c.To != domain.HealthUp {
				t.Fatalf("a connection of %s became %s: %s", c.Provider, c.To, c.Reason.Text)
			}
		}
	})
}

func TestOneConnectionOfManyTakesThreeFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]int{"a": 100})
		lame := w.targets[7].IntegrationID
		r := w.run(monitor.Options{}, nil)
		wait(2 * time.Minute)
		asked := w.times(lame)
		w.set(func() {
			w.answer = func(ctx context.Context, t store.ProbeTarget, _ int) error {
				if t.IntegrationID == lame {
					return errBroken
				}
				return pause(ctx, 50*time.Millisecond)
			}
		})
		for w.states("a")[domain.HealthDown] == 0 {
			wait(time.Second)
		}
		// Three probes, of which the first is tried twice.
		if n := w.times(lame) - asked; n != 4 {
			t.Errorf("it was called down after %d tries", n)
		}
		r.stop()
	})
}

func TestAFailureThatASecondTryDoesNotMeetIsNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]int{"a": 100})
		w.answer = func(_ context.Context, t store.ProbeTarget, n int) error {
			if (n+int(t.IntegrationID[len(t.IntegrationID)-3]))%9 == 1 { // not all at the same time
				return errBroken
			}
			return nil
		}
		r := w.run(monitor.Options{}, nil)
		wait(5 * time.Minute)
		r.stop()
		got := w.outcomes()
		if got[domain.ProbeFailed] != 0 || got[domain.ProbeOK] < 900 {
			t.Errorf("%v", got)
		}
		twice := 0
		for _, list := range w.saved {
			for _, res := range list {
				if res.Tries == 2 {
					twice++
				}
				if res.Outcome == domain.ProbeFailed {
					t.Errorf("%+v", res)
				}
			}
		}
		if twice < 60 {
			t.Errorf("%d probes were tried again", twice)
		}
	})
}

func TestATotalOutageFillsTheProberAndNothingFallsBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]int{"a": 5000})
		w.answer = func(ctx context.Context, _ store.ProbeTarget, _ int) error { return hang(ctx) }
		r := w.run(monitor.Options{}, nil)
		wait(4 * time.Minute)
		beat := r.beat()
		r.stop()
		// 5,000 in 30 s, 10 s each: 1,667 on their way, and the first round takes two tries.
		if w.most < 1600 || w.most > 2000 {
			t.Errorf("%d probes were on their way at once", w.most)
		}
		if beat.LagMS > 1000 || beat.Limit > 2000 {
			t.Errorf("%+v", beat)
		}
		if got := w.states("a"); got[domain.HealthDown] != 5000 {
			t.Errorf("%v", got)
		}
		if got := w.outcomes(); got[domain.ProbeLate] > 0 {
			t.Errorf("%v", got)
		}
	})
}

func TestOurOutageIsUnknownAndNotTheirs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		control func(context.Context) error
		want    domain.HealthState
	}{
		"most platforms at once":            {nil, domain.HealthUnknown},
		"the control fails too":             {func(context.Context) error { return errBroken }, domain.HealthUnknown},
		"the control answers: it is theirs": {func(context.Context) error { return nil }, domain.HealthDown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, map[string]int{"a": 50, "b": 50, "c": 50, "d": 50})
				r := w.run(monitor.Options{Control: c.control}, nil)
				wait(2 * time.Minute)
				w.set(func() { w.answer = func(context.Context, store.ProbeTarget, int) error { return errBroken } })
				wait(4 * time.Minute)
				for _, p := range []string{"a", "b", "c", "d"} {
					if got := w.states(p); got[c.want] != 50 {
						t.Errorf("%s is %v", p, got)
					}
				}
				w.set(func() { w.answer = nil })
				wait(2 * time.Minute)
				r.stop()
				for _, p := range []string{"a", "b", "c", "d"} {
					if got := w.states(p); got[domain.HealthUp] != 50 {
						t.Errorf("afterwards %s is %v", p, got)
					}
				}
				for _, ch := range w.changes {
					if ch.To != c.want && ch.To != domain.HealthUp {
						t.Fatalf("a connection became %s", ch.To)
					}
					if ch.To == domain.HealthUnknown && ch.Reason.Code != domain.HealthOurOutage {
						t.Fatalf("the reason is %+v", ch.Reason)
					}
				}
			})
		})
	}
}

func TestWhoeverTakesOverGoesOnCounting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]int{"a": 30})
		r := w.run(monitor.Options{}, nil)
		wait(2 * time.Minute)
		w.set(func() { w.answer = func(context.Context, store.ProbeTarget, int) error { return errBroken } })
		wait(65 * time.Second) // each has failed twice or thrice
		beat := r.stop()
		if len(beat.Suspects)+w.states("a")[domain.HealthDown] != 30 {
			t.Fatalf("%d suspects are handed over, %v", len(beat.Suspects), w.states("a"))
		}
		r = w.run(monitor.Options{}, &beat)
		wait(32 * time.Second)
		after := r.stop()
		if got := w.states("a"); got[domain.HealthDown] != 30 {
			t.Errorf("after one more round they are %v", got)
		}
		if after.Probes <= beat.Probes {
			t.Errorf("the successor counts from %d to %d", beat.Probes, after.Probes)
		}
		// Whoever comes much later begins anew.
		w.edit("", func(t *store.ProbeTarget) { t.State = domain.HealthUp })
		wait(time.Hour)
		r = w.run(monitor.Options{}, &contract.ProbeBeat{At: beat.At, Suspects: beat.Suspects})
		wait(32 * time.Second)
		r.stop()
		if got := w.states("a"); got[domain.HealthDown] != 0 {
			t.Errorf("an hour later one failure made them %v", got)
		}
	})
}

func TestWhatIsPausedOrInMaintenanceIsNotAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]int{"a": 2})
		paused, window := w.targets[0].IntegrationID, w.targets[1].IntegrationID
		r := w.run(monitor.Options{}, nil)
		wait(2 * time.Minute)
		end := time.Now().Add(10 * time.Minute)
		w.edit(paused, func(t *store.ProbeTarget) { t.Wish = domain.IntegrationPaused })
		w.edit(window, func(t *store.ProbeTarget) { t.MaintenanceUntil = &end })
		wait(time.Minute)
		before := w.times(paused) + w.times(window)
		wait(8 * time.Minute)
		if n := w.times(paused) + w.times(window); n != before {
			t.Errorf("they were asked %d times", n-before)
		}
		if got := w.states("a"); got[domain.HealthPaused] != 1 || got[domain.HealthMaintenance] != 1 {
			t.Errorf("%v", got)
		}
		w.edit(paused, func(t *store.ProbeTarget) { t.Wish = domain.IntegrationActive })
		wait(3 * time.Minute)
		r.stop()
		if got := w.states("a"); got[domain.HealthUp] != 2 {
			t.Errorf("afterwards %v", got)
		}
	})
}

func TestABoostIsSeenAndEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]int{"a": 1})
		id := w.targets[0].IntegrationID
		r := w.run(monitor.Options{}, nil)
		wait(2 * time.Minute)
		until := time.Now().Add(5 * time.Minute)
		w.edit(id, func(t *store.ProbeTarget) { t.BoostEvery, t.BoostUntil = 5*time.Second, &until })
		wait(20 * time.Second)
		before := w.times(id)
		wait(2 * time.Minute)
		if n := w.times(id) - before; n < 23 || n > 25 {
			t.Errorf("asked %d times in two minutes of a boost to 5 s", n)
		}
		wait(4 * time.Minute)
		before = w.times(id)
		wait(2 * time.Minute)
		r.stop()
		if n := w.times(id) - before; n != 4 {
			t.Errorf("asked %d times in two minutes after it", n)
		}
	})
}

func TestNothingIsLostOrCountedTwiceWhileStorageIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]int{"a": 10, "b": 10, "c": 10})
		r := w.run(monitor.Options{}, nil)
		wait(2 * time.Minute)
		w.set(func() {
			w.away, w.lost = true, 3
			w.answer = func(ctx context.Context, t store.ProbeTarget, _ int) error {
				if t.Provider == "a" {
					return errBroken
				}
				return nil
			}
		})
		wait(10 * time.Minute)
		if got := w.states("a"); got[domain.HealthUp] != 10 {
			t.Errorf("nothing can be stored, and yet %v", got)
		}
		w.set(func() { w.away = false })
		wait(time.Minute)
		beat := r.stop()
		if got := w.states("a"); got[domain.HealthDown] != 10 {
			t.Errorf("afterwards %v", got)
		}
		sum := 0
		for _, n := range w.outcomes() {
			sum += n
		}
		if int64(sum) != beat.Probes {
			t.Errorf("%d results are stored of %d", sum, beat.Probes)
		}
		for id, list := range w.saved {
			if !slices.IsSortedFunc(list, func(a, b domain.ProbeResult) int { return a.At.Compare(b.At) }) {
				t.Errorf("results of %s are out of order", id)
			}
		}
	})
}

func TestRefusedCredentialsAreMarkedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]int{"a": 1})
		w.answer = func(context.Context, store.ProbeTarget, int) error {
			return domain.E(domain.KindUnauthenticated, "status 401")
		}
		r := w.run(monitor.Options{}, nil)
		wait(5 * time.Minute)
		n := w.times(w.targets[0].IntegrationID)
		r.stop()
		if len(w.again) != 1 || w.states("a")[domain.HealthNeedsReconnect] != 1 {
			t.Errorf("marked %d times, %v", len(w.again), w.states("a"))
		}
		if n > 5 {
			t.Errorf("asked %d times", n)
		}
		if got := w.outcomes(); got[domain.ProbeFailed] != 0 || got[domain.ProbeRefused] == 0 {
			t.Errorf("%v", got)
		}
	})
}

func TestASystemThatWantsToBeLeftAloneIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]int{"a": 1})
		id := w.targets[0].IntegrationID
		w.answer = func(_ context.Context, _ store.ProbeTarget, n int) error {
			if n == 3 {
				return domain.WithRetryAfter(domain.E(domain.KindRateLimited, "status 429"), 2*time.Minute)
			}
			return nil
		}
		r := w.run(monitor.Options{}, nil)
		wait(5 * time.Minute)
		r.stop()
		if gap := w.asked[id][3].Sub(w.asked[id][2]); gap < 2*time.Minute || gap > 3*time.Minute {
			t.Errorf("asked again after %s", gap)
		}
		if w.states("a")[domain.HealthUp] != 1 {
			t.Errorf("%v", w.states("a"))
		}
	})
}

func TestWhatCannotBeAskedIsJudgedByItsTraffic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]int{"a": 2})
		w.mute["a"] = true
		works, fails := w.targets[0].IntegrationID, w.targets[1].IntegrationID
		at := time.Now()
		w.looks[works] = store.ProbeLook{Outcomes: []health.Outcome{{OK: true, At: at}}}
		w.looks[fails] = store.ProbeLook{Outcomes: []health.Outcome{{At: at}, {At: at.Add(-time.Minute)}, {At: at.Add(-time.Hour)}}}
		r := w.run(monitor.Options{}, nil)
		wait(3 * time.Minute)
		r.stop()
		if got := w.states("a"); got[domain.HealthUp] != 1 || got[domain.HealthDown] != 1 {
			t.Errorf("%v", got)
		}
		if len(w.asked) != 0 {
			t.Errorf("asked %v", w.asked)
		}
	})
}

func TestOneIsAskedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]int{"a": 1, "b": 1})
		w.mute["b"] = true
		w.answer = func(ctx context.Context, _ store.ProbeTarget, _ int) error { return hang(ctx) }
		p := w.prober(monitor.Options{})
		if got := p.Once(t.Context(), w.targets[0]); got.Result.Outcome != domain.ProbeFailed || got.Result.Tries != 2 || got.Result.Took != 10*time.Second {
			t.Errorf("%+v", got)
		}
		if got := p.Once(t.Context(), w.targets[1]); !got.Silent {
			t.Errorf("%+v", got)
		}
	})
}
