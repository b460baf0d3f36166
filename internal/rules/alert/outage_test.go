package alert_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/alert"
	"github.com/wedsync/wedsync/internal/rules/health"
)

// outage is how a system fails: how long it takes until the first failure is confirmed by a second try, and until a later one
// is known, which needs none.
type outage struct {
	name           string
	first, another time.Duration
}

// TestARealOutagePagesWithinThreeMinutes lets a connection fail at each second of a minute, for several places of its probe
// within the interval, and decides by the rules that the prober uses. Alerts are looked at five seconds after the health moved;
// when that word is lost, at the full minute.
func TestARealOutagePagesWithinThreeMinutes(t *testing.T) {
	t.Parallel()
	for _, how := range []outage{{"it hangs", 21 * time.Second, 10 * time.Second}, {"it refuses", time.Second, 0}} {
		for _, woken := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, woken=%v", how.name, woken), func(t *testing.T) {
				t.Parallel()
				var latest time.Duration
				for _, phase := range []int64{0, 7, 16, 29} {
					for second := range 60 {
						begin := start.Add(time.Duration(second) * time.Second)
						paged, told := pagedAfter(t, how, phase, begin, woken)
						latest = max(latest, paged)
						if paged <= 0 || paged > 3*time.Minute || told != "connection i1 opened high" {
							t.Errorf("an outage that begins at second %d, with probes at second %d, pages %q after %s", second, phase, told, paged)
						}
					}
				}
				t.Logf("the latest page comes after %s", latest)
			})
		}
	}
}

// pagedAfter runs a day and an outage, and says when somebody was told, and of what.
func pagedAfter(t *testing.T, how outage, phase int64, begin time.Time, woken bool) (time.Duration, string) {
	d := newDesk(t)
	var s alert.Series
	var track health.Track
	state, since, lookAt := domain.HealthUp, start, time.Time{}
	for due := start.Add(-3*time.Hour + time.Duration(phase)*time.Second); due.Before(begin); due = due.Add(every) {
		s.Observe(alert.Sample{At: due, OK: true, Took: 100 * time.Millisecond}, time.Second)
		track = track.Note(domain.ProbeResult{At: due, Outcome: domain.ProbeOK, Took: 100 * time.Millisecond})
	}
	due := s.Last().Add(every)
	known := due.Add(how.first)
	for at := begin; at.Before(begin.Add(10 * time.Minute)); at = at.Add(time.Second) {
		if at.Equal(known) {
			s.Observe(alert.Sample{At: due}, time.Second)
			track = track.Note(domain.ProbeResult{At: due, Outcome: domain.ProbeFailed, Took: how.another, Text: "timed out"})
			v := health.Decide(at, state, health.Evidence{Wish: domain.IntegrationActive, Probed: true, Every: every, Track: track, Since: start.Add(-time.Hour)})
			if v.State != state {
				state, since, lookAt = v.State, at, at.Add(5*time.Second)
			}
			due = due.Add(every)
			known = due.Add(how.another)
		}
		if at.Unix()%60 != 0 && (!woken || !at.Equal(lookAt)) {
			continue
		}
		d.now = at
		v := alert.Look(alert.Connection{ID: "i1", Platform: "p", State: state, Reason: "no answer", Since: since, Series: &s, Targets: domain.StandardTargets()}, nil, at)
		if told := d.look(alert.Seen{ID: "i1", Platform: "p", Verdict: v}); len(told) > 0 {
			return at.Sub(begin), told[0]
		}
	}
	return -1, ""
}

// TestNothingIsSaidOfWhatEndsByItself lets a system fail for less than it takes to say that it is down.
func TestNothingIsSaidOfWhatEndsByItself(t *testing.T) {
	t.Parallel()
	for failures := 1; failures < health.DownAfter; failures++ {
		d := newDesk(t)
		all := after(repeat(aDay, good), repeat(failures, bad), repeat(120, good))
		for n := aDay; n <= len(all); n += 2 {
			d.now = start.Add(time.Duration(n) * every)
			s := probes(d.now, all[:n])
			d.tells(nil, alert.Seen{ID: "i1", Platform: "p", Verdict: alert.Look(alert.Connection{ID: "i1", Platform: "p", State: domain.HealthUp, Series: s, Targets: domain.StandardTargets()}, nil, d.now)})
		}
	}
}
