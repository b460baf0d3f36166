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
			pressed := rapid.Bool().Draw(t, "pressed")
			s.advance(now)
			wait := s.wait(org, 0, pressed, now)
			if wait < 0 || wait > (freeShare+1)*shareWindow/leastShare {
				t.Fatalf("wait of %s", wait)
			}
			if then := now.Add(wait + time.Microsecond); wait > 0 {
				if again := s.wait(org, 0, pressed, then); again > time.Microsecond {
					t.Fatalf("after the wait of %s another one of %s", wait, again)
				}
			}
			s.add(org, pressed, now)
			all = append(all, toldAt{org, now})
			count := map[domain.OrgID]int{}
			for _, a := range all {
				if now.Sub(a.at) < shareWindow {
					count[a.org]++
				}
			}
			if len(count) != len(s.orgs) {
				t.Fatalf("%d organisations, want %d", len(s.orgs), len(count))
			}
			for org, n := range count {
				if s.orgs[org].count != n {
					t.Fatalf("%d signals of %s, want %d", s.orgs[org].count, org, n)
				}
				if len(count) == 1 && s.wait(org, 100, true, now) != 0 {
					t.Fatal("one that is alone waits")
				}
			}
		}
	})
}

// A noisy organisation that may take five signals a second gets one every 200 ms, not twenty every four seconds: so many
// at once would hold up whoever comes then. One that sends as much at once now and then does not wait.
func TestSignalsOfANoisyOrganisationAreSpreadAndThoseOfOthersAreNot(t *testing.T) {
	t.Parallel()
	s := newShares()
	start := time.Unix(1_750_000_000, 0)
	var noisy []time.Time
	for tick := range 2000 { // 20 s
		now := start.Add(time.Duration(tick) * 10 * time.Millisecond)
		s.advance(now)
		if tick%100 == 0 {
			for n := range freeShare {
				if wait := s.wait("quiet", 0, false, now); wait > 0 {
					t.Errorf("signal %d of the quiet one at %s waits %s", n, now.Sub(start), wait)
				}
				s.add("quiet", false, now)
			}
		}
		if tick > 0 && s.wait("noisy", 0, false, now) == 0 {
			s.add("noisy", false, now)
			noisy = append(noisy, now)
		}
	}
	// Three times what the quiet one takes is twelve a second.
	if n := len(noisy); n < 200 || n > 260 {
		t.Errorf("%d signals in 20 s, want about 240", n)
	}
	for n := freeShare + 1; n < len(noisy); n++ {
		if gap := noisy[n].Sub(noisy[n-1]); gap < 80*time.Millisecond {
			t.Errorf("signals %d and %d are %s apart", n-1, n, gap)
		}
	}
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
