package domain_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestQuantilesAreReadFromTheHistogram(t *testing.T) {
	t.Parallel()
	var h domain.Histogram
	if got := h.Quantile(domain.ProbeBounds, 0.5); got != 0 {
		t.Errorf("the median of nothing is %s", got)
	}
	for range 90 {
		h = h.Add(domain.ProbeBounds, 100*time.Millisecond) // in (85, 120]
	}
	for range 10 {
		h = h.Add(domain.ProbeBounds, time.Minute) // above all
	}
	if got := h.Quantile(domain.ProbeBounds, 0.45); got < 85*time.Millisecond || got > 120*time.Millisecond {
		t.Errorf("p45 is %s", got)
	}
	if got := h.Quantile(domain.ProbeBounds, 0.99); got != 22*time.Second {
		t.Errorf("p99 is %s, want the last bound", got)
	}
	if h.Count() != 100 {
		t.Errorf("%d counted", h.Count())
	}
}

func TestAQuantileLiesInItsBucketAndGrowsWithItsShare(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var h domain.Histogram
		times := rapid.SliceOfN(rapid.Int64Range(0, int64(22*time.Second)), 1, 200).Draw(t, "times")
		for _, d := range times {
			h = h.Add(domain.ProbeBounds, time.Duration(d))
		}
		p, q := rapid.Float64Range(0, 1).Draw(t, "p"), rapid.Float64Range(0, 1).Draw(t, "q")
		if p > q {
			p, q = q, p
		}
		if low, high := h.Quantile(domain.ProbeBounds, p), h.Quantile(domain.ProbeBounds, q); low > high {
			t.Fatalf("share %f is %s, above share %f with %s", p, low, q, high)
		}
	})
}

func TestRollupsAddUpWhateverTheOrder(t *testing.T) {
	t.Parallel()
	a := domain.HealthRollup{Provider: "x", OK: 3, Failed: 1, Took: domain.Histogram{1, 2}, TookMax: time.Second, Seconds: map[domain.HealthState]int64{domain.HealthUp: 30}}
	b := domain.HealthRollup{Provider: "x", Unknown: 2, TrafficOK: 1, TookSum: time.Second, Seconds: map[domain.HealthState]int64{domain.HealthUp: 10, domain.HealthDown: 20}}
	if d := cmp.Diff(a.Merge(b), b.Merge(a)); d != "" {
		t.Error(d)
	}
	if a.Seconds[domain.HealthUp] != 30 || a.Took[0] != 1 {
		t.Error("merging changed what was merged")
	}
	if share, ok := a.Merge(b).Availability(); !ok || share != 0.75 {
		t.Errorf("availability %f, %t", share, ok)
	}
	if _, ok := b.Availability(); ok {
		t.Error("what is unknown has no availability")
	}
}

func TestABoostOnlyShortensAndEnds(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 6, 12, 12, 0, 0, 0, time.UTC)
	later := now.Add(time.Minute)
	for name, c := range map[string]struct {
		h    domain.Health
		want time.Duration
	}{
		"usual":             {domain.Health{}, 30 * time.Second},
		"own":               {domain.Health{ProbeEvery: time.Minute}, time.Minute},
		"boosted":           {domain.Health{BoostEvery: 10 * time.Second, BoostUntil: &later}, 10 * time.Second},
		"boost over":        {domain.Health{BoostEvery: 10 * time.Second, BoostUntil: &now}, 30 * time.Second},
		"a slower boost":    {domain.Health{BoostEvery: time.Hour, BoostUntil: &later}, 30 * time.Second},
		"faster than least": {domain.Health{ProbeEvery: time.Millisecond}, domain.LeastProbeEvery},
	} {
		if got := c.h.Every(now, 30*time.Second); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestOutcomesAreWrittenInWordsAndReadBack(t *testing.T) {
	t.Parallel()
	for o := domain.ProbeOK; o <= domain.ProbeBlind; o++ {
		text, err := o.MarshalText()
		var back domain.ProbeOutcome
		if err != nil || back.UnmarshalText(text) != nil || back != o {
			t.Errorf("%d is %s, read back as %d, %v", o, text, back, err)
		}
	}
	var o domain.ProbeOutcome
	if domain.KindOf(o.UnmarshalText([]byte("unknown"))) != domain.KindInvalid {
		t.Error("a word that is none was taken")
	}
}
