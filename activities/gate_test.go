package activities

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestABusyOrganisationLeavesRoomForOthersAndHasAllOfItAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(6)
		ctx := context.Background()
		const steps = 40
		in := map[domain.OrgID]int{}
		leaves := make(chan func(), steps)
		enter := func(org domain.OrgID) {
			go func() {
				leave, err := g.Enter(ctx, org)
				if err != nil {
					return // no room within three seconds
				}
				g.mu.Lock()
				in[org]++
				g.mu.Unlock()
				leaves <- leave
			}()
		}
		inside := func(org domain.OrgID) int {
			synctest.Wait()
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.busy[org]
		}
		for range 20 {
			enter("noisy")
		}
		if n := inside("noisy"); n != 6 {
			t.Errorf("alone it has %d steps, want all 6", n)
		}
		enter("quiet")
		if n := inside("quiet"); n != 0 {
			t.Errorf("%d came in though the gate is full", n)
		}
		(<-leaves)()
		if n := inside("quiet"); n != 1 {
			t.Error("the first room did not go to the other organisation")
		}
		for range 5 {
			(<-leaves)()
		}
		if n := inside("noisy"); n > 2 {
			t.Errorf("beside another it has %d steps, want at most 2", n)
		}
		<-time.After(time.Second) // the other has not come again
		(<-leaves)()
		if n := inside("noisy"); n < 5 {
			t.Errorf("alone again it has %d steps", n)
		}
		<-time.After(enterWithin)
		synctest.Wait()
		if g.waiting.Len() != 0 {
			t.Errorf("%d wait for longer than they may", g.waiting.Len())
		}
		for len(leaves) > 0 {
			(<-leaves)()
		}
		if g.inside != 0 || len(g.busy) != 0 {
			t.Errorf("%d inside in the end, %v", g.inside, g.busy)
		}
	})
}

func TestWhoStopsWaitingAtTheGateLeavesItInOrder(t *testing.T) {
	t.Parallel()
	g := NewGate(1)
	leave, err := g.Enter(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := g.Enter(ended, "b"); domain.KindOf(err) != domain.KindUnavailable {
		t.Errorf("entered a full gate: %v", err)
	}
	leave()
	if leave, err = g.Enter(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	leave()
	var none *Gate
	if _, err := none.Enter(ended, "d"); err != nil {
		t.Errorf("no gate keeps people out: %v", err)
	}
}
