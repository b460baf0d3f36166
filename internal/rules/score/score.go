// Package score tells in one number how far a connection can be relied on.
//
//	s := score.Of(now, targets, days, incidents)
//	if !s.Rated { … "not rated": less than a day is known }
//
// The number is the product of four parts, each between 0 and 1, times 100:
//
//   - availability: the share of probes that failed, as a multiple of what the target allows: 1 for none, 0.9 for the whole
//     budget, 0.5 for nine budgets.
//   - latency: the share of answers that took longer than promised: 1 up to 5 of 100, 0.7 when all did.
//   - repair: how long an incident lasts on average: 1 for none, 0.8 for a day and more.
//   - repeats: how many incidents there were: 0.03 less for each, at the least 0.6.
//
// Measurements of 30 days count, with a half-life of 14 days, so an old outage fades. Score is reckoned from the upper end of
// the Wilson interval of 95 % of the failures: with few probes it is low, because little is sure. Likely and Best are reckoned
// from the share itself and from the lower end; together the three say how sure the number is. A connection of which less than a day
// was measured is not rated, however often it is asked: many probes of one hour say nothing of the others.
//
// Everything is pure; the time is an argument. Test with go test ./internal/rules/score.
package score

import (
	"fmt"
	"math"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/sla"
)

const (
	// Kept is how far back measurements count, HalfLife after what time one counts half.
	Kept     = 30 * 24 * time.Hour
	HalfLife = 14 * 24 * time.Hour
	// LeastKnown must have been measured before a connection is rated, by LeastProbes at the least, which is one an hour: the rarest
	// interval that can be set.
	LeastKnown  = 24 * time.Hour
	LeastProbes = 24
)

// Day is what was measured in a stretch of time, usually a day.
type Day struct {
	At     time.Time // its middle
	Probes int64     // that counted
	Failed int64
	Slow   int64         // answers that took longer than promised
	Known  time.Duration // that was measured, maintenance left out
}

// Incident is a time in which the connection was down.
type Incident struct {
	Start  time.Time
	Lasted time.Duration // so far, of one that goes on
}

// Part is one factor of a score.
type Part struct {
	Name   string  `json:"name"`
	Factor float64 `json:"factor"` // 0 to 1
	Words  string  `json:"words"`
}

// Score is how far a connection can be relied on.
type Score struct {
	Rated  bool `json:"rated"`
	Score  int  `json:"score"`  // 0 to 100; the lower bound, which is the number to show
	Likely int  `json:"likely"` // reckoned from what was measured, without doubt
	Best   int  `json:"best"`   // the upper bound
	// KnownSeconds is how long was measured in 30 days, Probes by how many, Weight how many fresh ones they are worth.
	KnownSeconds int64   `json:"known_seconds"`
	Probes       int64   `json:"probes"`
	Weight       float64 `json:"weight"`
	Parts        []Part  `json:"parts"`
	Words        string  `json:"words"`
}

// Of reckons a score from what was measured in the 30 days before now; older and future days are left out.
func Of(now time.Time, targets domain.Targets, days []Day, incidents []Incident) Score {
	var n, failed, slow, weight, squares float64
	var known time.Duration
	out := Score{Parts: []Part{}}
	for _, d := range days {
		age := now.Sub(d.At)
		if age < 0 || age > Kept {
			continue
		}
		known += max(d.Known, 0)
		if d.Probes <= 0 {
			continue
		}
		bad := min(max(d.Failed, 0), d.Probes)
		w := math.Exp2(-float64(age) / float64(HalfLife))
		out.Probes += d.Probes
		n += w * float64(d.Probes)
		failed += w * float64(bad)
		slow += w * float64(min(max(d.Slow, 0), d.Probes-bad))
		weight += w * float64(d.Probes)
		squares += w * w * float64(d.Probes)
	}
	out.KnownSeconds = int64(known / time.Second)
	if known < LeastKnown {
		out.Words = fmt.Sprintf("not rated: %s are known, which is less than a day", sla.Words(out.KnownSeconds))
		return out
	}
	if out.Probes < LeastProbes {
		out.Words = fmt.Sprintf("not rated: %d probes are known, and it takes %d", out.Probes, LeastProbes)
		return out
	}
	out.Rated = true
	// The effective sample size of weighted counts (L. Kish, 1965).
	out.Weight = math.Round(weight * weight / squares)
	share := failed / n
	low, high := sla.Wilson(share*out.Weight, out.Weight, sla.Z975)
	budget := max(targets.Budget(), 1e-5)

	late := 0.0
	if answered := n - failed; answered > 0 {
		late = slow / answered
	}
	latency := 1 - 0.3*min(max((late-0.05)/0.95, 0), 1)
	count, mean := recent(now, incidents)
	repair := 1 - 0.2*min(mean.Hours()/24, 1)
	repeats := max(1-0.03*float64(count), 0.6)
	rest := latency * repair * repeats

	out.Score, out.Likely, out.Best = points(available(high, budget)*rest), points(available(share, budget)*rest), points(available(low, budget)*rest)
	out.Parts = []Part{
		{"availability", cut(available(high, budget)), fmt.Sprintf("%s of probes failed, at most %s with what is known; %s are allowed", percent(share), percent(high), percent(budget))},
		{"latency", cut(latency), fmt.Sprintf("%s of answers took longer than %d ms", percent(late), targets.LatencyMS)},
		{"repair", cut(repair), repairWords(count, mean)},
		{"repeats", cut(repeats), plural(count, "incident") + " in 30 days"},
	}
	worst := out.Parts[0]
	for _, p := range out.Parts[1:] {
		if p.Factor < worst.Factor {
			worst = p
		}
	}
	out.Words = fmt.Sprintf("%d of 100, between %d and %d, from %d probes", out.Score, out.Score, out.Best, out.Probes)
	if worst.Factor < 0.995 {
		out.Words += "; " + worst.Name + " costs most: " + worst.Words
	}
	return out
}

func available(failed, budget float64) float64 { return 1 / (1 + failed/budget/9) }

func recent(now time.Time, all []Incident) (count int, mean time.Duration) {
	sum := time.Duration(0)
	for _, i := range all {
		if age := now.Sub(i.Start); age < 0 || age-i.Lasted > Kept {
			continue
		}
		count++
		sum += max(i.Lasted, 0)
	}
	if count == 0 {
		return 0, 0
	}
	return count, sum / time.Duration(count)
}

func repairWords(count int, mean time.Duration) string {
	if count == 0 {
		return "nothing had to be repaired"
	}
	return "an incident lasts " + sla.Words(int64(mean/time.Second)) + " on average"
}

func plural(n int, what string) string {
	switch n {
	case 0:
		return "no " + what
	case 1:
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func points(v float64) int { return int(math.Floor(min(max(v, 0), 1)*100 + 1e-9)) }

func cut(v float64) float64 { return math.Round(v*1000) / 1000 }

func percent(v float64) string { return fmt.Sprintf("%.3g %%", v*100) }
