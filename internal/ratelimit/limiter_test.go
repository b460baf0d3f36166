package ratelimit

import (
	"encoding/binary"
	"math"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func key(n int) (k Key) {
	binary.BigEndian.PutUint64(k[:], uint64(n))
	return k
}

func TestABucketGivesItsBurstAndThenItsRate(t *testing.T) {
	t.Parallel()
	l := New[Key](Options{Rate: 10, Burst: 3})
	for i := range 3 {
		if d := l.Allow(key(1), 1, start); !d.OK || d.Remaining != 2-i || d.Limit != 3 || d.RetryAfter != 0 {
			t.Errorf("take %d: %+v", i, d)
		}
	}
	d := l.Allow(key(1), 1, start)
	if d.OK || d.Remaining != 0 || d.RetryAfter != 100*time.Millisecond || d.Full != 300*time.Millisecond {
		t.Errorf("empty: %+v; want refused for 100ms, full in 300ms", d)
	}
	if p := l.Peek(key(1), start); p.OK || p.RetryAfter != d.RetryAfter {
		t.Errorf("peek at an empty bucket: %+v", p)
	}
	if d := l.Allow(key(1), 1, start.Add(d.RetryAfter)); !d.OK {
		t.Errorf("after the wait: %+v", d)
	}
	if d := l.Allow(key(2), 1, start); !d.OK || d.Remaining != 2 {
		t.Errorf("another key: %+v", d)
	}
	if d := l.Allow(key(1), 4, start.Add(time.Hour)); d.OK {
		t.Errorf("more than the burst: %+v", d)
	}
	if d := l.Charge(key(1), 400, start.Add(time.Hour)); !d.OK || d.Remaining != 0 || d.Full != 300*time.Millisecond {
		t.Errorf("charge: %+v; want the bucket empty and no debt", d)
	}
	if d := l.Allow(key(3), 1, start.Add(-time.Hour)); !d.OK {
		t.Errorf("a clock that went back: %+v", d)
	}
}

// TestNoKeyEverGetsMoreThanItsShare is the promise of the package, with so little room that buckets come and go.
func TestNoKeyEverGetsMoreThanItsShare(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := Options{Rate: rapid.Float64Range(0.5, 5000).Draw(t, "rate"), Burst: rapid.IntRange(1, 50).Draw(t, "burst"),
			MaxKeys: rapid.IntRange(1, 128).Draw(t, "keys")}
		l := New[Key](o)
		type taken struct {
			at time.Time
			n  int
		}
		history := map[int][]taken{}
		now := start
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20_000_000).Draw(t, "pause")))
			k, n := rapid.IntRange(0, 300).Draw(t, "key")*rapid.IntRange(0, 1).Draw(t, "or the busy one"), rapid.IntRange(1, 3).Draw(t, "n")
			before := l.Peek(key(k), now)
			d := l.Allow(key(k), n, now)
			if d.Remaining < 0 || d.Remaining > o.Burst || !d.OK && d.RetryAfter <= 0 || d.OK && d.RetryAfter != 0 {
				t.Fatalf("decision %+v", d)
			}
			if before.OK != (before.Remaining > 0) {
				t.Fatalf("peek %+v", before)
			}
			if d.OK {
				history[k] = append(history[k], taken{now, n})
			}
		}
		for k, all := range history {
			for i := range all {
				sum := 0
				for _, later := range all[i:] {
					sum += later.n
					if most := float64(o.Burst) + o.Rate*later.at.Sub(all[i].at).Seconds() + 1e-6; float64(sum) > most {
						t.Fatalf("key %d got %d within %s; at most %.1f", k, sum, later.at.Sub(all[i].at), most)
					}
				}
			}
		}
		if n := l.Len(); n > max(o.MaxKeys, shardCount) {
			t.Fatalf("%d buckets kept of at most %d", n, o.MaxKeys)
		}
	})
}

func TestAFloodOfNewKeysNeitherResetsABusyKeyNorGrows(t *testing.T) {
	t.Parallel()
	l := New[Key](Options{Rate: 1, Burst: 5, MaxKeys: 64})
	for l.Allow(key(0), 1, start).OK {
	}
	for i := 1; i < 20_000; i++ {
		l.Allow(key(i), 1, start.Add(time.Duration(i)))
	}
	if d := l.Allow(key(0), 1, start.Add(20_000)); d.OK || d.Remaining != 0 {
		t.Errorf("after the flood the busy key has %+v; want it empty", d)
	}
	if n := l.Len(); n > 64 {
		t.Errorf("%d buckets; want at most 64", n)
	}
	// When the buckets of the flood are full again they make room.
	if d := l.Allow(key(99_999), 5, start.Add(time.Minute)); !d.OK {
		t.Errorf("a new key a minute later: %+v", d)
	}
}

func TestRefillNeverExceedsTheRateForAnyRate(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{0, -1, math.NaN(), math.Inf(1), 1e-12, 1, 30_000, 1e9, 1e12} {
		l := New[Key](Options{Rate: rate, Burst: math.MaxInt32})
		if d := l.Allow(key(1), 1, start); !d.OK && rate >= 1 {
			t.Errorf("rate %g: %+v", rate, d)
		}
		l.Charge(key(1), math.MaxInt32, start)
		if d := l.Peek(key(1), start.Add(time.Millisecond)); float64(d.Remaining) > math.Max(1, rate)/1000+1 {
			t.Errorf("rate %g gives %d tokens in a millisecond", rate, d.Remaining)
		}
	}
}

func TestGaugeBoundsWhatIsUnderWayAndForgetsTheRest(t *testing.T) {
	t.Parallel()
	g := NewGauge[Key](2)
	for n, want := range []bool{true, true, false} {
		if got := g.Enter(key(1)); got != want {
			t.Errorf("entry %d: %t, want %t", n+1, got, want)
		}
	}
	if !g.Enter(key(2)) {
		t.Error("one key takes the room of another")
	}
	g.Leave(key(1))
	if !g.Enter(key(1)) || g.Keys() != 2 {
		t.Error("want room again after a leave")
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if g.Enter(key(3)) {
					g.Leave(key(3))
				}
			}
		})
	}
	all.Wait()
	g.Leave(key(1))
	g.Leave(key(1))
	g.Leave(key(2))
	if n := g.Keys(); n != 0 {
		t.Errorf("%d keys left; want none", n)
	}
}

func TestADecisionAllocatesNothing(t *testing.T) {
	l := New[Pair](Options{Rate: 1e6, Burst: 10, MaxKeys: 64})
	i := 0
	for range 10_000 { // so that the maps have their size
		i++
		l.Allow(Pair{A: key(i)}, 1, start.Add(time.Duration(i)*time.Microsecond))
	}
	if n := testing.AllocsPerRun(5000, func() {
		i++
		now := start.Add(time.Duration(i) * time.Microsecond)
		l.Allow(Pair{A: key(i)}, 1, now)
		l.Peek(Pair{A: key(i)}, now)
	}); n > 0.01 {
		t.Errorf("%g allocations per decision", n)
	}
}

func BenchmarkAllow(b *testing.B) {
	l := New[Key](Options{Rate: 1e6, Burst: 1000})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		i := 0
		for pb.Next() {
			i++
			l.Allow(key(i%50_000), 1, start.Add(time.Duration(i)))
		}
	})
}
