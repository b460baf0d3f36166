package workflows_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// failoverVersion is the entry in versions.go that brought failing over.
const failoverVersion = "v14"

// TestFailoverHistoryHoldsNobodyAndReplays plays a connection that a person sends over and back, and then a drill of it, on real
// servers. With -update its history is kept in testdata.
func TestFailoverHistoryHoldsNobodyAndReplays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	mode := func(want domain.FailoverMode) func() bool {
		return func() bool {
			var f domain.Failover
			w.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
				f, err = tx.Failover(ctx, w.crm.ID)
				return err
			})
			return f.Mode == want
		}
	}
	w.await("the first reading", func() bool { return w.status(w.crm).Counts.Syncs >= 1 && w.status(w.crm).Current == nil })
	over := contract.FailoverRequest{To: contract.FailoverToPolling, Cause: domain.OverByPerson, Hold: true, By: "admin-1"}
	out, err := w.Failover(ctx, w.ref(w.crm), over)
	w.must(err)
	if !out.Moved || out.Mode != domain.FailoverBegun {
		t.Errorf("sent over: %+v", out)
	}
	w.await("polls that stand in", mode(domain.FailoverPolling))
	w.atCRM.mu.Lock()
	w.atCRM.entries["new"] = entry("new", domain.CategoryVendor, 20, 9, 1)
	w.atCRM.mu.Unlock()
	_, err = w.Failover(ctx, w.ref(w.crm), contract.FailoverRequest{To: contract.FailoverToWebhooks, Cause: domain.OverByPerson, By: "admin-1"})
	w.must(err)
	w.await("the usual way", mode(domain.FailoverUsual))

	drill := domain.NewID[domain.DrillID](time.Now())
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		return tx.CreateDrill(ctx, domain.Drill{ID: drill, IntegrationID: w.crm.ID, RequestedBy: "admin-1", WatchUntil: tx.Now.Add(2 * time.Second), MutedUntil: tx.Now.Add(time.Minute)})
	})
	var got domain.Drill
	w.await("the end of the drill", func() bool {
		w.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
			got, err = tx.Drill(ctx, drill)
			return err
		})
		return got.State.Ended()
	})
	if got.State != domain.DrillDone || got.Lost+got.Duplicated != 0 || got.NoticedItself {
		t.Errorf("the drill is %+v", got)
	}
	for _, one := range []domain.Integration{w.crm, w.cal} {
		w.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.SetIntegrationState(ctx, one.ID, domain.IntegrationDeleted, "by admin-1")
			return err
		})
		w.await("the end of an integration", func() bool {
			d, err := w.Temporal().DescribeWorkflowExecution(ctx, contract.IntegrationWorkflowID(one.ID), "")
			w.must(err)
			return d.WorkflowExecutionInfo.Status == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
		})
	}
	if *updateFiles {
		old, err := filepath.Glob("testdata/" + failoverVersion + "-integration-failover-*.json")
		w.must(err)
		for _, file := range old {
			w.must(os.Remove(file))
		}
	}
	for n, h := range w.histories(contract.IntegrationWorkflowID(w.crm.ID)) {
		file := failoverVersion + "-integration-failover-" + string(rune('1'+n))
		checkHoldsNobody(t, w.ring, file, h)
		if err := replay(w.ring, h); err != nil {
			t.Errorf("replay of the fresh %s: %v", file, err)
		}
		if *updateFiles && n < 2 {
			w.record(file, h)
		}
	}
}
