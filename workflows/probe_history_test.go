package workflows_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"go.temporal.io/api/enums/v1"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// probeVersion is the entry in versions.go that brought Probe.
const probeVersion = "v10"

// sick is a system that answers probes, or does not.
type sick struct {
	*outside
	down atomic.Bool
}

func (s *sick) Probe(context.Context) error {
	if s.down.Load() {
		return domain.E(domain.KindUnavailable, "timed out")
	}
	return nil
}

// TestProbesOnRealServers lets a system come up and die on real servers, and ends the probing. With -update its
// history is kept in testdata.
func TestProbesOnRealServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	system := &sick{outside: &outside{entries: map[string]domain.Change{}}}
	i := w.connect(system)
	shard := domain.ProbeShard(i.ID)
	w.must(w.StartProbe(t.Context(), shard))
	w.must(w.StartProbe(t.Context(), shard)) // one that runs is left alone
	health := func() (h domain.Health) {
		w.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
			h, err = tx.Health(ctx, i.ID)
			return err
		})
		return h
	}
	w.await("the system to be up", func() bool { return health().State == domain.HealthUp })
	system.down.Store(true)
	w.await("the system to be down", func() bool { return health().State == domain.HealthDown })
	w.await("the workflow to hear of it", func() bool {
		s, err := w.ProbeStatus(t.Context(), shard)
		w.must(err)
		for _, m := range s.Recent {
			if m.IntegrationID == i.ID && m.To == domain.HealthDown {
				return s.Running
			}
		}
		return false
	})
	id := contract.ProbeWorkflowID(shard)
	w.must(w.Temporal().CancelWorkflow(t.Context(), id, ""))
	w.await("the end of the workflow", func() bool {
		d, err := w.Temporal().DescribeWorkflowExecution(t.Context(), id, "")
		w.must(err)
		return d.WorkflowExecutionInfo.Status == enums.WORKFLOW_EXECUTION_STATUS_CANCELED
	})
	for n, h := range w.histories(id) {
		file := fmt.Sprintf("%s-probe-%d", probeVersion, n+1)
		checkHoldsNobody(t, w.ring, file, h)
		if err := replay(w.ring, h); err != nil {
			t.Errorf("replay of the fresh %s: %v", file, err)
		}
		if len(h.Events) > 60 {
			t.Errorf("%d events of a few moves", len(h.Events))
		}
		if *updateFiles && n < 1 {
			w.record(file, h)
		}
	}
}
