package alert_test

import (
	"math"
	"math/rand/v2"
	"os"
	"sort"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/alert"
	"github.com/wedsync/wedsync/internal/rules/sla"
)

const (
	fleet    = 5000
	every    = 30 * time.Second
	ofAMonth = int64(30 * 24 * time.Hour / every)
)

// TestNoFalsePageInAMonthOfHealthyConnections runs a month of 5,000 connections, each probe of which fails by chance in 0.05 %
// of all cases, without the second try that the prober makes before a failure counts. The rate of a window only rises with a
// failure, so the windows are looked at after each failure; those that are looked at are as much longer than the rule's as the
// slots of a series can make them, with as few probes as there can be.
func TestNoFalsePageInAMonthOfHealthyConnections(t *testing.T) {
	t.Parallel()
	const failing = 0.0005
	for seed := range uint64(3) {
		random := rand.New(rand.NewPCG(seed, 7))
		pages, tickets, downs, failures := 0, 0, 0, 0
		for range fleet {
			var at []int64 // numbers of the probes that failed
			for n := int64(0); ; {
				// The gap to the next failure is geometric, so nothing has to be done for the probes in between.
				n += 1 + int64(math.Log(1-random.Float64())/math.Log1p(-failing))
				if n > ofAMonth {
					break
				}
				at = append(at, n)
				if l := len(at); l >= 3 && at[l-3] == n-2 {
					downs++
				}
				burns := sla.Burns(domain.StandardTargets().Budget(), func(d time.Duration) sla.Count {
					width := 5 * time.Minute
					if d > 6*time.Hour {
						width = time.Hour
					}
					from := n - int64((d+width)/every)
					first := sort.Search(len(at), func(i int) bool { return at[i] > from })
					return sla.Count{N: int64(d / every), Bad: int64(len(at) - first)}
				})
				if b, ok := sla.Fastest(burns); ok && b.Page {
					pages++
				} else if ok {
					tickets++
				}
			}
			failures += len(at)
		}
		t.Logf("seed %d: %d failures of %d probes, %d pages, %d looks that would open a ticket, %d times three in a row", seed, failures, fleet*ofAMonth, pages, tickets, downs)
		if pages != 0 || downs != 0 {
			t.Errorf("seed %d: %d false pages, %d false outages", seed, pages, downs)
		}
		if tickets > 20 {
			t.Errorf("seed %d: %d looks would open a ticket", seed, tickets)
		}
		if want := failing * float64(fleet*ofAMonth); math.Abs(float64(failures)-want) > 5*math.Sqrt(want) {
			t.Errorf("seed %d: %d failures, want about %.0f; the simulation is broken", seed, failures, want)
		}
	}
}

// TestPlainSharesWouldPageFalsely shows that the month above is hard enough: without the bound it pages a great many times.
func TestPlainSharesWouldPageFalsely(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 7))
	pages, last := 0, int64(-1000)
	for n := int64(0); n < 100*ofAMonth; {
		n += 1 + int64(math.Log(1-random.Float64())/math.Log1p(-0.0005))
		if n-last < int64(time.Hour/every) {
			pages++
		}
		last = n
	}
	if pages < 50 {
		t.Errorf("two failures in an hour came %d times for 100 connections", pages)
	}
}

// healthy draws times of answers: log-normal about 120 ms, one in a hundred a spike of five times as long.
func healthy(random *rand.Rand, shift float64) time.Duration {
	const dev = 0.25
	x := math.Log(120) + dev*(random.NormFloat64()+shift)
	if random.Float64() < 0.01 {
		x += math.Log(5)
	}
	return time.Duration(math.Exp(x) * float64(time.Millisecond))
}

// TestHealthyAnswersAreNotCalledDegraded runs a month of times of answers. All 5,000 connections take minutes; without
// WEDSYNC_FULL_MONTH a fiftieth of them is run.
func TestHealthyAnswersAreNotCalledDegraded(t *testing.T) {
	t.Parallel()
	connections := fleet / 50
	if os.Getenv("WEDSYNC_FULL_MONTH") != "" {
		connections = fleet
	}
	degraded, slow := 0, 0
	for c := range connections {
		random := rand.New(rand.NewPCG(uint64(c), 11))
		var s alert.Series
		was := false
		for n := range ofAMonth {
			s.Observe(alert.Sample{At: start.Add(time.Duration(n) * every), OK: true, Took: healthy(random, 0)}, 500*time.Millisecond)
			is := !s.Degraded().IsZero()
			if is && !was {
				degraded++
			}
			was = is
			if n%20 == 0 {
				v := alert.Look(alert.Connection{State: domain.HealthUp, Series: &s, Targets: domain.StandardTargets()}, nil, s.Last())
				for _, f := range v.Findings {
					if f.Kind == domain.AlertResponseTime {
						slow++
					}
				}
			}
		}
	}
	t.Logf("%d connections: %d times degraded, %d looks found slow answers", connections, degraded, slow)
	// A finding of this rule is of low severity, which pages nobody; about a dozen in a month of 5,000 connections are expected.
	if degraded > 1+connections/200 || slow > 0 {
		t.Errorf("%d times degraded, %d times slow, in a month of %d healthy connections", degraded, slow, connections)
	}
}

// TestAShiftOfTwoDeviationsIsNoticedWithinTenMinutes looks once a minute at what is stored a minute late on average, since the
// prober stores good results every two minutes.
func TestAShiftOfTwoDeviationsIsNoticedWithinTenMinutes(t *testing.T) {
	t.Parallel()
	const series = 400
	var took []time.Duration
	for c := range series {
		random := rand.New(rand.NewPCG(uint64(c), 13))
		var s alert.Series
		n := 0
		for ; n < 2880; n++ {
			s.Observe(alert.Sample{At: start.Add(time.Duration(n) * every), OK: true, Took: healthy(random, 0)}, 500*time.Millisecond)
		}
		if !s.Degraded().IsZero() {
			t.Fatalf("series %d is degraded before anything happened", c)
		}
		begin := start.Add(time.Duration(n) * every)
		noticed := time.Duration(math.MaxInt64)
		for ; n < 2880+120; n++ {
			at := start.Add(time.Duration(n) * every)
			s.Observe(alert.Sample{At: at, OK: true, Took: healthy(random, 2)}, 500*time.Millisecond)
			if !s.Degraded().IsZero() {
				noticed = at.Sub(begin).Truncate(time.Minute) + 2*time.Minute
				break
			}
		}
		took = append(took, noticed)
	}
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	t.Logf("noticed after %s (median), %s (95 of 100), %s (all)", took[series/2], took[series*95/100], took[series-1])
	if took[series*95/100] > 10*time.Minute || took[series-1] > 20*time.Minute {
		t.Errorf("95 of 100 shifts are noticed after %s, all after %s", took[series*95/100], took[series-1])
	}
}
