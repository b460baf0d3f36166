package inbox

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
)

func lined(org string, p domain.Priority) *target {
	return &target{org: domain.OrgID(org), errand: errand{deliveries: true, priority: p}, index: -1}
}

func TestNobodyStarvesAndNothingIsLostWhateverArrives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ts := newTurns()
		orgs := rapid.IntRange(1, 6).Draw(t, "organisations")
		waiting := map[*target]int{} // picks waited
		draw := func() *target {
			return lined(fmt.Sprint(rapid.IntRange(0, orgs-1).Draw(t, "org")), domain.Priority(rapid.IntRange(1, 4).Draw(t, "priority")))
		}
		// Whoever comes first in line may wait for one fair pick in four among the organisations, and for one of its own
		// organisation's in eight; those ahead of it in its organisation go before it.
		perOrg := map[domain.OrgID]int{}
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "act") > 0 {
				n := draw()
				ts.add(n)
				waiting[n] = 0
				perOrg[n.org]++
			}
			if rapid.Bool().Draw(t, "raise") {
				for w := range waiting {
					w.errand.priority = domain.PriorityUrgent
					ts.raise(w)
					break
				}
			}
			got := ts.pick()
			if (got == nil) != (len(waiting) == 0) {
				t.Fatalf("picked %v of %d", got, len(waiting))
			}
			if got == nil {
				continue
			}
			if _, there := waiting[got]; !there || got.place != nil {
				t.Fatal("picked what was not in line, or left it there")
			}
			delete(waiting, got)
			perOrg[got.org]--
			for w := range waiting {
				if waiting[w]++; waiting[w] > (perOrg[w.org]+2)*longestEvery*fairEvery*(orgs+1) {
					t.Fatalf("a target of priority %s has waited for %d picks", w.line, waiting[w])
				}
			}
		}
		if ts.n != len(waiting) {
			t.Fatalf("%d in line, want %d", ts.n, len(waiting))
		}
		for range len(waiting) {
			ts.pick()
		}
		for n := range ts.lanes {
			if len(ts.lanes[n].orgs) != 0 {
				t.Fatalf("lane %d is not empty in the end", n)
			}
		}
	})
}

func TestOrganisationsOfOnePriorityGetEqualShares(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ts := newTurns()
		orgs := rapid.IntRange(2, 8).Draw(t, "organisations")
		p := domain.Priority(rapid.IntRange(1, 4).Draw(t, "priority"))
		const picks = 400
		for o := range orgs {
			for range picks * (1 + 9*(o%2)) { // some have ten times as much
				ts.add(lined(fmt.Sprint(o), p))
			}
		}
		got := map[domain.OrgID]int{}
		for range picks {
			got[ts.pick().org]++
		}
		for o := range orgs {
			if n := got[domain.OrgID(fmt.Sprint(o))]; n < picks/orgs-2 || n > picks/orgs+2 {
				t.Fatalf("organisation %d had %d of %d turns, want %d", o, n, picks, picks/orgs)
			}
		}
	})
}

func TestUrgentGoesFirstAndCallingEverythingUrgentShutsNobodyOut(t *testing.T) {
	t.Parallel()
	ts := newTurns()
	for range 1000 {
		ts.add(lined("loud", domain.PriorityUrgent))
		ts.add(lined("quiet", domain.PriorityBulk))
	}
	got := map[domain.OrgID]int{}
	for range 400 {
		got[ts.pick().org]++
	}
	if got["loud"] != 300 || got["quiet"] != 100 {
		t.Errorf("turns %v, want three in four for what is urgent and the rest for the other", got)
	}
	// Inside an organisation too.
	ts = newTurns()
	for range 100 {
		ts.add(lined("one", domain.PriorityBulk))
	}
	for range 100 {
		ts.add(lined("one", domain.PriorityUrgent))
	}
	bulk := 0
	for range 80 {
		if ts.pick().line == domain.PriorityBulk {
			bulk++
		}
	}
	if bulk != 80/longestEvery {
		t.Errorf("%d of 80 turns went to bulk, want %d", bulk, 80/longestEvery)
	}
}

func TestANewcomerHasNoClaimFromBeforeAndComingBackGivesNone(t *testing.T) {
	t.Parallel()
	ts := newTurns()
	for range 500 {
		ts.add(lined("old", domain.PriorityNormal))
	}
	for range 300 {
		ts.pick()
	}
	got := map[domain.OrgID]int{}
	for range 100 { // comes back with one at a time
		ts.add(lined("new", domain.PriorityNormal))
		for range 2 {
			got[ts.pick().org]++
		}
	}
	if got["new"] > 101 || got["new"] < 99 {
		t.Errorf("turns %v, want half each", got)
	}
}

func TestAQuietOrganisationIsToldInTimeWhileANoisyOneFillsTheLine(t *testing.T) {
	t.Parallel()
	bubble(t, DispatcherOptions{MaxRate: 20, Burst: 1}, func(in *Inbox, _ *fakeStore, signals *fakeSignals) {
		noisy := make([]domain.IntegrationID, 500)
		for n := range noisy {
			noisy[n] = newIntegration()
		}
		quietOrg := domain.NewID[domain.OrgID](time.Unix(1_750_000_000, 0))
		quiet := newIntegration()
		ids := someIDs(600)
		tell := func(org domain.OrgID, to domain.IntegrationID, id domain.DeliveryID, p domain.Priority) {
			in.Dispatcher.deliver([]Committed{{Ref: flow.IntegrationRef{Org: org, ID: to, Provider: "custom"}, ID: id, Priority: p}})
		}
		for n, to := range noisy { // 25 s of work at 20 signals a second
			tell(testOrg, to, ids[n], domain.PriorityHigh)
		}
		elapse(5 * time.Second) // until the pace has its full rate again
		for n := range 10 {
			at := time.Now()
			tell(quietOrg, quiet, ids[500+n], domain.PriorityBulk)
			elapse(time.Second)
			calls := signals.all()
			k := slices.IndexFunc(calls, func(c sent) bool { return slices.Contains(c.ids, ids[500+n]) })
			if k < 0 {
				t.Fatalf("delivery %d of the quiet organisation was not told within a second", n)
			}
			if took := calls[k].at.Sub(at); took > 500*time.Millisecond {
				t.Errorf("delivery %d of the quiet organisation was told after %v", n, took)
			}
		}
		// An urgent one goes before the noisy organisation's other 300.
		at, to := time.Now(), newIntegration()
		tell(testOrg, to, ids[599], domain.PriorityUrgent)
		elapse(500 * time.Millisecond)
		if !slices.ContainsFunc(signals.all(), func(c sent) bool { return c.to == string(to) && c.at.Sub(at) < 500*time.Millisecond }) {
			t.Error("the urgent delivery waits behind others of its organisation")
		}
		if err := in.Dispatcher.drain(context.Background()); err != nil {
			t.Errorf("drain: %v", err)
		}
	})
}
