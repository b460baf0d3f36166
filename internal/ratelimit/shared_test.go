package ratelimit

import (
	"context"
	"errors"
	"testing"
	"time"
)

// place counts the tokens of all processes, as the database does.
type place struct {
	l    *Limiter[Key]
	now  time.Time
	down error
	asks int
}

func (p *place) lease(_ context.Context, asks []Ask) ([]int, error) {
	if p.down != nil {
		return nil, p.down
	}
	p.asks += len(asks)
	out := make([]int, len(asks))
	for i, a := range asks {
		p.l.Charge(a.Key, a.Used, p.now)
		for out[i] < a.Want && p.l.Allow(a.Key, 1, p.now).OK {
			out[i]++
		}
	}
	return out, nil
}

func shares(p *place, n int, o SharedOptions) []*Shared {
	p.l = New[Key](Options{Rate: o.Rate, Burst: o.Burst})
	o.Lease = p.lease
	out := make([]*Shared, n)
	for i := range out {
		out[i] = NewShared(o)
	}
	return out
}

// drive offers tokens of one key to several processes, each at its own rate a second, for a time, and returns how many
// each gave.
func drive(t *testing.T, p *place, all []*Shared, offered []float64, from time.Time, span time.Duration) []int {
	t.Helper()
	given := make([]int, len(all))
	owed := make([]float64, len(all))
	const step = 5 * time.Millisecond
	for at := from; at.Before(from.Add(span)); at = at.Add(step) {
		p.now = at
		for i, s := range all {
			for owed[i] += offered[i] * step.Seconds(); owed[i] >= 1; owed[i]-- {
				if s.Allow(key(1), 1, at).OK {
					given[i]++
				}
			}
		}
		if at.Sub(from)%(20*time.Millisecond) == 0 {
			for _, s := range all {
				if err := s.Refill(t.Context(), at); err != nil && p.down == nil {
					t.Fatal(err)
				}
			}
		}
	}
	return given
}

func sum(all []int) (n int) {
	for _, v := range all {
		n += v
	}
	return n
}

func TestALimitHoldsOverProcessesWithUnevenLoad(t *testing.T) {
	t.Parallel()
	for name, offered := range map[string][]float64{
		"even": {2000, 2000, 2000}, "one busy": {5000, 10, 1}, "uneven": {4000, 900, 100}, "just over": {800, 300, 10},
	} {
		p := &place{}
		all := shares(p, 3, SharedOptions{Rate: 1000, Burst: 1000})
		got := sum(drive(t, p, all, offered, start, 10*time.Second))
		if got < 9900 || got > 12_100 {
			t.Errorf("%s: %d given in 10 s; want 11,000 (1,000 at once and 1,000 a second) within 10 %%", name, got)
		}
	}
}

func TestLittleUseIsNeverRefusedAndSeldomAsks(t *testing.T) {
	t.Parallel()
	p := &place{}
	all := shares(p, 2, SharedOptions{Rate: 1000, Burst: 1000})
	got := drive(t, p, all, []float64{20, 3}, start, 10*time.Second)
	if got[0] < 199 || got[1] < 29 || p.asks > 120 {
		t.Errorf("given %v with %d asks; want all of 200 and 30, in few asks", got, p.asks)
	}
}

func TestAProcessThatDiesWithItsLeaseGivesNothingBack(t *testing.T) {
	t.Parallel()
	p := &place{}
	all := shares(p, 3, SharedOptions{Rate: 1000, Burst: 1000})
	before := sum(drive(t, p, all, []float64{3000, 3000, 3000}, start, 5*time.Second))
	after := sum(drive(t, p, all[:2], []float64{3000, 3000}, start.Add(5*time.Second), 5*time.Second))
	if got := before + after; got < 9900 || got > 11_100 {
		t.Errorf("%d given; want 11,000 at most, and 9,900 at least", got)
	}
}

func TestWithoutAnAnswerEachProcessGivesItsShareAndThenTheLimitHoldsAgain(t *testing.T) {
	t.Parallel()
	p := &place{down: errors.New("no answer")}
	all := shares(p, 2, SharedOptions{Rate: 1000, Burst: 1000, Share: 0.5})
	got := drive(t, p, all, []float64{3000, 3000}, start, 10*time.Second)
	if n := sum(got); n < 9000 || n > 11_000 || got[0] > 5500 || got[1] > 5500 {
		t.Errorf("without an answer: %v; want about 5,000 each", got)
	}
	p.down = nil
	if n := sum(drive(t, p, all, []float64{3000, 3000}, start.Add(10*time.Second), 10*time.Second)); n < 9900 || n > 12_100 {
		t.Errorf("answers again: %d; want 11,000 within 10 %%", n)
	}
}

func TestAKeyIsNotRefusedForWhatItDidLongAgo(t *testing.T) {
	t.Parallel()
	p := &place{}
	all := shares(p, 1, SharedOptions{Rate: 100, Burst: 100})
	drive(t, p, all, []float64{1000}, start, 2*time.Second)
	if !all[0].Allow(key(1), 1, start.Add(time.Minute)).OK {
		t.Error("refused after a minute of rest")
	}
}

func TestAccountsAreBounded(t *testing.T) {
	t.Parallel()
	p := &place{now: start}
	s := shares(p, 1, SharedOptions{Rate: 10, Burst: 10, MaxKeys: 64})[0]
	for i := range 10_000 {
		s.Allow(key(i), 1, start.Add(time.Duration(i)))
	}
	if n := s.Keys(); n > 64 {
		t.Errorf("%d accounts; want at most 64", n)
	}
	if err := s.Refill(t.Context(), start); err != nil {
		t.Error(err)
	}
}

func TestRunLeasesWhenTokensAreWantedAndSaysWhenItCannot(t *testing.T) {
	t.Parallel()
	asked, failed := make(chan []Ask, 100), make(chan error, 100)
	var fail error = errors.New("no answer")
	s := NewShared(SharedOptions{Rate: 100, Burst: 100, Every: time.Millisecond, Patience: time.Millisecond, Lease: func(_ context.Context, asks []Ask) ([]int, error) {
		asked <- append([]Ask(nil), asks...)
		if err := fail; err != nil {
			fail = nil
			return nil, err
		}
		return make([]int, len(asks)), nil
	}})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx, time.Now, func(err error) { failed <- err })
	}()
	for s.Allow(key(7), 1, time.Now()).OK {
	}
	if got := <-asked; len(got) != 1 || got[0].Key != key(7) || got[0].Want < 1 || got[0].Used < 1 {
		t.Errorf("asked for %+v", got)
	}
	<-failed
	<-asked // again by itself
	stop()
	<-done
}

func BenchmarkSharedAllow(b *testing.B) {
	p := &place{now: start}
	s := shares(p, 1, SharedOptions{Rate: 1e6, Burst: 1e6})[0]
	b.ReportAllocs()
	for i := range b.N {
		s.Allow(key(i%1000), 1, start.Add(time.Duration(i)))
	}
}

func TestAKeyThatIsUsedUpIsAskedForSeldomWhereThatIsSpared(t *testing.T) {
	t.Parallel()
	asked := map[bool]int{}
	for _, spare := range []bool{false, true} {
		p := &place{}
		all := shares(p, 1, SharedOptions{Rate: 2, Burst: 10, Ahead: 200 * time.Millisecond, Credit: 1, Spare: spare})
		if got := sum(drive(t, p, all, []float64{40}, start, 20*time.Second)); got < 45 || got > 52 {
			t.Errorf("spare %t: %d given in 20 s, want 50 (10 at once and 2 a second) within 10 %%", spare, got)
		}
		asked[spare] = p.asks
	}
	if asked[true]*4 > asked[false] {
		t.Errorf("asked %d times, want a quarter of %d at the most", asked[true], asked[false])
	}
}
