package inbox

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
)

func TestSharesCountTheWindowAndNobodyIsLeftWithout(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := newShares()
		now := time.Unix(1_750_000_000, 0)
		var all []toldAt
		for range rapid.IntRange(1, 300).Draw(t, "signals") {
			now = now.Add(time.Duration(rapid.IntRange(0, 300).Draw(t, "ms")) * time.Millisecond)
			org := domain.OrgID(fmt.Sprint(rapid.IntRange(0, 4).Draw(t, "org")))
			s.advance(now)
			s.add(org, now)
			all = append(all, toldAt{org, now})
			count := map[domain.OrgID]int{}
			total := 0
			for _, a := range all {
				if now.Sub(a.at) < shareWindow {
					count[a.org]++
					total++
				}
			}
			if len(count) != len(s.count) {
				t.Fatalf("%d organisations, want %d", len(s.count), len(count))
			}
			for org, n := range count {
				if s.count[org] != n {
					t.Fatalf("%d signals of %s, want %d", s.count[org], org, n)
				}
				over := n >= max(leastShare, generousShare*total/len(count)) && len(count) > 1
				if s.exceeded(org, 0, true) != over {
					t.Fatalf("%d of %d signals among %d organisations: exceeded is %t", n, total, len(count), !over)
				}
			}
		}
	})
}

func TestABusyTemporalIsSparedTheSignalsOfTheNoisyAndOfNobodyElse(t *testing.T) {
	t.Parallel()
	count := func(took time.Duration, quiet int) (noisy, others int) {
		synctest.Test(t, func(t *testing.T) {
			signals := &fakeSignals{took: took}
			in := mustNew(t, Deps{Store: newFakeStore(), Signals: signals})
			connections := make([]domain.IntegrationID, 8)
			for n := range connections {
				connections[n] = newIntegration()
			}
			calm := make([]flow.IntegrationRef, quiet)
			for n := range calm {
				calm[n] = flow.IntegrationRef{Org: domain.NewID[domain.OrgID](time.Unix(1_750_000_000, 0)), ID: newIntegration(), Provider: "custom"}
			}
			ids := someIDs(2000)
			for tick := range 1000 { // 20 s
				in.Dispatcher.deliver(committed(connections[tick%8], ids[tick]))
				if tick%50 == 0 {
					for n, ref := range calm {
						in.Dispatcher.deliver([]Committed{{Ref: ref, ID: ids[1000+(tick/50*len(calm)+n)%1000]}})
					}
				}
				elapse(20 * time.Millisecond)
			}
			elapse(10 * time.Second)
			for _, c := range signals.all() {
				if c.ref.Org == testOrg {
					noisy++
				} else {
					others++
				}
			}
			if got := len(signals.ids()); got != 1000+20*quiet {
				t.Errorf("%d ids told, want %d", got, 1000+20*quiet)
			}
			if err := in.Drain(t.Context()); err != nil {
				t.Errorf("drain: %v", err)
			}
		})
		return noisy, others
	}
	const quiet = 10
	calmNoisy, calmOthers := count(time.Millisecond, quiet)
	busyNoisy, busyOthers := count(40*time.Millisecond, quiet)
	if calmNoisy < 90 || calmNoisy > 200 || calmOthers != 20*quiet {
		t.Errorf("at ease: %d and %d signals, want five a second of the noisy one and all of the others", calmNoisy, calmOthers)
	}
	if busyNoisy >= calmNoisy || busyOthers != 20*quiet {
		t.Errorf("while it is busy: %d and %d signals, want few of the noisy one and all of the others", busyNoisy, busyOthers)
	}
	if alone, _ := count(40*time.Millisecond, 0); alone < 500 {
		t.Errorf("alone: %d signals, want all that the spacing allows", alone)
	}
}
