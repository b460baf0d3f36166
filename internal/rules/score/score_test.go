package score_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/score"
)

var now = time.Date(2026, 6, 30, 12, 0, 0, 0, time.UTC)

// month has the same day 30 times.
func month(probes, failed, slow int64) []score.Day {
	var out []score.Day
	for i := range 30 {
		out = append(out, score.Day{At: now.Add(-time.Duration(i)*24*time.Hour - 12*time.Hour), Probes: probes, Failed: failed, Slow: slow, Known: 24 * time.Hour})
	}
	return out
}

func TestScoresSayWhatTheyRestOn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		days      []score.Day
		incidents []score.Incident
		low, high int // of the score
		words     string
	}{
		{"a month without a fault", month(2880, 0, 0), nil, 99, 99, "no incident in 30 days"},
		{"one day without a fault is less sure", month(2880, 0, 0)[:1], nil, 86, 88, "from 2880 probes"},
		{"the budget is just spent", month(10_000, 10, 0), nil, 88, 90, "0.1 % of probes failed"},
		{"ten budgets", month(2880, 29, 0), nil, 45, 48, "availability costs most"},
		{"all is slow", month(2880, 0, 2880), nil, 68, 70, "latency costs most: 100 % of answers took longer than 500 ms"},
		{"three outages of a day", month(2880, 0, 0), []score.Incident{{now.AddDate(0, 0, -3), 24 * time.Hour}, {now.AddDate(0, 0, -9), 24 * time.Hour}, {now.AddDate(0, 0, -15), 24 * time.Hour}},
			71, 73, "an incident lasts 1 d 0 h on average"},
		{"an outage before the month does not count", month(2880, 0, 0), []score.Incident{{now.AddDate(0, 0, -40), time.Hour}}, 99, 99, "no incident"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := score.Of(now, domain.StandardTargets(), c.days, c.incidents)
			if !s.Rated || s.Score < c.low || s.Score > c.high {
				t.Errorf("%d, want %d to %d: %+v", s.Score, c.low, c.high, s)
			}
			text := s.Words
			for _, p := range s.Parts {
				text += "\n" + p.Words
			}
			if !strings.Contains(text, c.words) {
				t.Errorf("%q does not say %q", text, c.words)
			}
		})
	}
}

func TestLessThanADayIsNotRated(t *testing.T) {
	t.Parallel()
	for name, days := range map[string][]score.Day{
		"nothing":      nil,
		"almost a day": {{At: now, Probes: 2880, Known: score.LeastKnown - time.Second}},
		// Through a wedding a connection is asked every five seconds: 2,880 times in four hours.
		"many probes of a few hours": {{At: now, Probes: 100_000, Known: 12 * time.Hour}},
		"a day without probes":       {{At: now, Known: 48 * time.Hour}},
		"almost enough probes":       {{At: now, Probes: score.LeastProbes - 1, Known: 48 * time.Hour}},
		"long ago":                   {{At: now.AddDate(0, 0, -31), Probes: 100_000, Known: 48 * time.Hour}},
		"in the future":              {{At: now.Add(time.Hour), Probes: 100_000, Known: 48 * time.Hour}},
		"broken numbers":             {{At: now, Probes: -5, Failed: 7, Known: -time.Hour}},
	} {
		if s := score.Of(now, domain.StandardTargets(), days, nil); s.Rated || s.Score != 0 || !strings.HasPrefix(s.Words, "not rated") {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// TestADayIsEnoughHoweverOftenItIsAsked stands just on the boundary, with the usual interval, a rare and the rarest one.
func TestADayIsEnoughHoweverOftenItIsAsked(t *testing.T) {
	t.Parallel()
	last := 101
	for _, probes := range []int64{2880, 288, score.LeastProbes} {
		s := score.Of(now, domain.StandardTargets(), []score.Day{{At: now, Probes: probes, Known: score.LeastKnown}}, nil)
		if !s.Rated || s.Best != 100 || s.KnownSeconds != 86400 || len(s.Parts) != 4 {
			t.Errorf("%d probes in a day: %+v", probes, s)
		}
		// The fewer there were, the less is sure.
		if s.Score >= last {
			t.Errorf("%d probes are worth %d, more of them %d", probes, s.Score, last)
		}
		last = s.Score
	}
	halves := []score.Day{{At: now, Probes: 1440, Known: 12 * time.Hour}, {At: now.Add(-score.Kept), Probes: 1440, Known: 12 * time.Hour}}
	if s := score.Of(now, domain.StandardTargets(), halves, nil); !s.Rated {
		t.Errorf("two halves of a day, thirty days apart: %s", s.Words)
	}
	halves[1].At = halves[1].At.Add(-time.Nanosecond)
	if s := score.Of(now, domain.StandardTargets(), halves, nil); s.Rated {
		t.Errorf("one of them is too old: %s", s.Words)
	}
}

func TestAnOldOutageFades(t *testing.T) {
	t.Parallel()
	with := func(day int) int {
		days := month(2880, 0, 0)
		days[day].Failed = 288
		return score.Of(now, domain.StandardTargets(), days, nil).Score
	}
	if fresh, old := with(0), with(28); fresh >= old {
		t.Errorf("an outage of today costs as little (%d) as one of four weeks ago (%d)", fresh, old)
	}
}

func TestScoreStaysInRangeAndFallsWithFailures(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var days, worse []score.Day
		for i := range rapid.IntRange(1, 40).Draw(t, "days") {
			d := score.Day{At: now.Add(-time.Duration(i) * 24 * time.Hour), Probes: rapid.Int64Range(0, 20_000).Draw(t, "probes"), Known: 24 * time.Hour}
			d.Failed = rapid.Int64Range(0, d.Probes).Draw(t, "failed")
			d.Slow = rapid.Int64Range(0, d.Probes).Draw(t, "slow")
			days = append(days, d)
			d.Failed = rapid.Int64Range(d.Failed, d.Probes).Draw(t, "more")
			d.Slow = 0
			worse = append(worse, d)
		}
		for i := range days {
			days[i].Slow = 0
		}
		var incidents []score.Incident
		for range rapid.IntRange(0, 50).Draw(t, "incidents") {
			incidents = append(incidents, score.Incident{Start: now.Add(-time.Duration(rapid.Int64Range(-1e15, 4e15).Draw(t, "ago"))), Lasted: time.Duration(rapid.Int64Range(-1e12, 1e15).Draw(t, "lasted"))})
		}
		a, b := score.Of(now, domain.StandardTargets(), days, incidents), score.Of(now, domain.StandardTargets(), worse, incidents)
		for _, s := range []score.Score{a, b} {
			if s.Score < 0 || s.Score > s.Likely || s.Likely > s.Best || s.Best > 100 {
				t.Fatalf("%d, likely %d, best %d", s.Score, s.Likely, s.Best)
			}
		}
		if a.Rated && b.Score > a.Score {
			t.Fatalf("more failures give more points: %d, then %d", a.Score, b.Score)
		}
	})
}
