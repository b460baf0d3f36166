package workflows_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// replayVersion is the entry in versions.go that brought Replay.
const replayVersion = "v3"

func (w *world) startReplay(dry bool, rate int) domain.ReplayID {
	w.t.Helper()
	id := domain.NewID[domain.ReplayID](time.Now())
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, _, err := tx.CreateReplay(ctx, domain.Replay{ID: id, Filter: domain.ReplayFilter{State: domain.DeliveryDead}, DryRun: dry, Rate: rate,
			RequestedBy: "admin-1", Reason: markers[4]})
		return err
	})
	w.await("the start of the replay", func() bool {
		p, err := w.ReplayProgress(w.t.Context(), id)
		return err == nil && p.Pages > 0
	})
	return id
}

func (w *world) replay(id domain.ReplayID) (r domain.Replay) {
	w.t.Helper()
	w.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		r, err = tx.Replay(ctx, id)
		return err
	})
	return r
}

// TestReplayHistoriesHoldNobodyAndReplay plays replays on real servers: a dry run, one that is paused and resumed until a
// new run begins and cancelled then, and one that ends. With -update their histories are kept in testdata.
func TestReplayHistoriesHoldNobodyAndReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var ids []domain.DeliveryID
	for range 6 {
		ids = append(ids, w.deliver(w.crm, "dead"))
	}
	w.await("the dead letters", func() bool {
		for _, id := range ids {
			if w.delivered(id) != domain.DeliveryDead {
				return false
			}
		}
		return true
	})
	w.atCRM.mu.Lock()
	w.atCRM.mended = true
	w.atCRM.mu.Unlock()

	dry := w.startReplay(true, 1000)
	w.await("the dry run", func() bool { return w.replay(dry).State == domain.ReplayDone })
	if r := w.replay(dry); r.Seen != 6 || r.Tally.Outcomes[domain.DeliveryIgnored] != 6 || len(r.Samples) != 6 || w.delivered(ids[0]) != domain.DeliveryDead {
		t.Errorf("dry run %+v", r)
	}

	slow := w.startReplay(false, 1)
	ctx := t.Context()
	// Each order is a few events. Between pages of one delivery a second there is time for dozens of them.
	for n := 0; len(w.histories(contract.ReplayWorkflowID(slow))) < 2; n++ {
		if n > 100 {
			t.Fatal("no new run after 100 pauses")
		}
		if _, err := w.PauseReplay(ctx, slow, contract.PauseRequest{By: "admin-1"}); err != nil {
			t.Fatal(err)
		}
		if n%10 != 9 {
			continue // asking for what is so already changes nothing
		}
		if _, err := w.ResumeReplay(ctx, slow, contract.ResumeRequest{By: "admin-1"}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := w.CancelReplay(ctx, slow, contract.CancelRequest{By: "admin-1"})
	w.must(err)
	cut := w.replay(slow)
	if got.State != domain.ReplayCancelled || cut.State != domain.ReplayCancelled || cut.Replayed < 1 || cut.Replayed > 5 {
		t.Fatalf("cancelled: %+v, replay %+v", got, cut)
	}
	if _, err := w.CancelReplay(ctx, slow, contract.CancelRequest{By: "admin-1"}); domain.KindOf(err) != domain.KindConflict && domain.KindOf(err) != domain.KindNotFound {
		t.Errorf("cancelling what has ended: %v", err)
	}

	rest := w.startReplay(false, 1000)
	w.await("the rest", func() bool { return w.replay(rest).State == domain.ReplayDone })
	if r := w.replay(rest); r.Replayed != 6-cut.Replayed {
		t.Errorf("the rest is %+v after %+v", r, cut)
	}
	w.await("every copy", func() bool {
		n := 0
		w.tenant(func(ctx context.Context, tx *store.Tx) error {
			for _, id := range []domain.ReplayID{slow, rest} {
				out, err := tx.ReplayOutcomes(ctx, id)
				if err != nil {
					return err
				}
				n += out[domain.DeliveryIgnored]
			}
			return nil
		})
		return n == 6
	})

	for _, i := range []domain.Integration{w.crm, w.cal} {
		w.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.SetIntegrationState(ctx, i.ID, domain.IntegrationDeleted, "by admin-1")
			return err
		})
		w.await("the end of an integration", func() bool {
			d, err := w.Temporal().DescribeWorkflowExecution(ctx, contract.IntegrationWorkflowID(i.ID), "")
			w.must(err)
			return d.WorkflowExecutionInfo.Status == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
		})
	}
	if *updateFiles {
		old, err := filepath.Glob("testdata/" + replayVersion + "-replay-*.json")
		w.must(err)
		for _, file := range old {
			w.must(os.Remove(file))
		}
	}
	for name, id := range map[string]domain.ReplayID{"replay-dry": dry, "replay-cancelled": slow, "replay-done": rest} {
		w.await("the end of "+name, func() bool {
			d, err := w.Temporal().DescribeWorkflowExecution(ctx, contract.ReplayWorkflowID(id), "")
			w.must(err)
			return d.WorkflowExecutionInfo.Status == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
		})
		for n, h := range w.histories(contract.ReplayWorkflowID(id)) {
			file := fmt.Sprintf("%s-%s-%d", replayVersion, name, n+1)
			checkHoldsNobody(t, w.ring, file, h)
			if err := replay(w.ring, h); err != nil {
				t.Errorf("replay of the fresh %s: %v", file, err)
			}
			if *updateFiles && n < 2 {
				w.record(file, h)
			}
		}
	}
}
