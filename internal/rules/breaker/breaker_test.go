package breaker_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/rules/breaker"
)

var start = time.Date(2027, 6, 12, 9, 0, 0, 0, time.UTC)

func TestAVendorThatIsGoneIsAskedEverMoreRarely(t *testing.T) {
	t.Parallel()
	r, now := breaker.Default, start
	var s breaker.State
	for n := range r.InRow {
		if s.Ask(now) != breaker.Go {
			t.Fatalf("held back after %d failures", n)
		}
		s = s.Note(now, r, breaker.Failed, 0)
	}
	for _, want := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 2 * time.Minute, 2 * time.Minute} {
		if got := s.Until.Sub(now); !s.Open || got != want {
			t.Fatalf("open %t for %s, want %s", s.Open, got, want)
		}
		if s.Ask(s.Until.Add(-1)) != breaker.Hold || s.Ask(s.Until) != breaker.Try {
			t.Fatal("a probe is not due exactly at Until")
		}
		now = s.Until
		s = s.Claim(now, r)
		if s.Ask(now.Add(r.Probe-1)) != breaker.Hold {
			t.Fatal("a second probe was let through beside the first")
		}
		s = s.Probed(now, r, breaker.Failed, 0)
	}
	if s = s.Claim(s.Until, r).Probed(now, r, breaker.Worked, 0); s != (breaker.State{}) {
		t.Errorf("after a probe that worked: %+v", s)
	}
}

func TestHalfOfManyCallsOpensAndAFewDoNot(t *testing.T) {
	t.Parallel()
	r := breaker.Default
	var s breaker.State
	n := 0
	for ; !s.Open && n < 100; n++ { // every second call fails, so never two in a row
		o := breaker.Failed
		if n%2 == 1 {
			o = breaker.Worked
		}
		s = s.Note(start.Add(time.Duration(n)*time.Second), r, o, 0)
	}
	if !s.Open || n < r.Least {
		t.Errorf("open %t after %d calls, want it after at least %d", s.Open, n, r.Least)
	}
	s = breaker.State{}
	for n := range 200 { // one of four fails
		o := breaker.Worked
		if n%4 == 0 {
			o = breaker.Failed
		}
		if s = s.Note(start.Add(time.Duration(n)*time.Second), r, o, 0); s.Open {
			t.Fatalf("a quarter of failures opened it after %d", n)
		}
	}
}

func TestOldFailuresAreForgotten(t *testing.T) {
	t.Parallel()
	r := breaker.Default
	s := breaker.State{}.Note(start, r, breaker.Failed, 0)
	if s.Stale(start.Add(2*r.Window-1), r) || !s.Stale(start.Add(2*r.Window), r) {
		t.Error("counts are not forgotten after two windows")
	}
	if s = s.Note(start.Add(3*r.Window), r, breaker.Worked, 0); s != (breaker.State{}) {
		t.Errorf("a success long after leaves %+v", s)
	}
}

func TestAProbeThatTellsNothingLeavesTheTurnToTheNext(t *testing.T) {
	t.Parallel()
	r := breaker.Default
	s := breaker.State{Open: true, Trips: 4, Until: start}.Claim(start, r).Probed(start.Add(time.Second), r, breaker.Unknown, 0)
	if !s.Open || s.Trips != 4 || s.Ask(start.Add(time.Second+r.First)) != breaker.Try {
		t.Errorf("after a probe that was given up: %+v", s)
	}
}

func TestWhateverHappensTheRulesHold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := breaker.Rules{InRow: rapid.IntRange(1, 8).Draw(t, "row"), Ratio: rapid.Float64Range(0.1, 1).Draw(t, "ratio"), Least: rapid.IntRange(1, 40).Draw(t, "least"),
			Window: time.Minute, First: time.Second, Most: time.Minute, Probe: 10 * time.Second}
		now := start
		var s breaker.State
		var bad int // Failed since the last success or closing
		probing := false
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(40*time.Second)).Draw(t, "pause")))
			o := rapid.SampledFrom([]breaker.Outcome{breaker.Worked, breaker.Failed, breaker.Unknown}).Draw(t, "outcome")
			share := rapid.Float64Range(-1, 2).Draw(t, "share")
			was := s
			switch s.Ask(now) {
			case breaker.Go:
				if s.Open {
					t.Fatal("a call was let through an open circuit")
				}
				s = s.Note(now, r, o, share)
				if o == breaker.Failed {
					bad++
				} else if o == breaker.Worked {
					bad = 0
				}
				switch {
				case s.Open && o != breaker.Failed:
					t.Fatalf("outcome %d opened it", o)
				case !s.Open && bad >= r.InRow:
					t.Fatalf("%d failures in a row did not open it", bad)
				case o == breaker.Unknown && s != was:
					t.Fatal("an outcome of which nothing is known changed the state")
				}
			case breaker.Try:
				s = s.Claim(now, r)
				if s.Ask(now) != breaker.Hold {
					t.Fatal("a second probe at the same time")
				}
				if probing = rapid.Bool().Draw(t, "reports"); !probing {
					continue // its worker died; another follows after Probe
				}
				if s = s.Probed(now, r, o, share); o == breaker.Worked {
					bad = 0
				}
				if s.Open == (o == breaker.Worked) {
					t.Fatalf("after a probe with outcome %d open is %t", o, s.Open)
				}
			case breaker.Hold:
				if s.Note(now, r, o, share) != was {
					t.Fatal("a straggler changed an open circuit")
				}
			}
			if s.Open && (!s.Until.After(now) || s.Until.Sub(now) > r.Most+r.Most*breaker.JitterPercent/100) {
				t.Fatalf("held for %s", s.Until.Sub(now))
			}
		}
	})
}
