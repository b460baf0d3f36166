package workflows_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.temporal.io/api/enums/v1"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// onboardVersion is the entry in versions.go that brought Onboard.
const onboardVersion = "v9"

// newcomer is a system that posts, completes settings and names its account. It refuses credentials as long as it is told so.
type newcomer struct {
	*posting
	cmu     sync.Mutex
	refuses error
}

func (n *newcomer) Onboard(context.Context) (json.RawMessage, error) {
	n.cmu.Lock()
	defer n.cmu.Unlock()
	return []byte(`{"account":"` + markers[3] + `"}`), n.refuses
}

func (n *newcomer) Probe(context.Context) error { return nil }

func (n *newcomer) Identity() string { return markers[3] }

func (n *newcomer) refuse(err error) {
	n.cmu.Lock()
	defer n.cmu.Unlock()
	n.refuses = err
}

// onboard begins the onboarding of one more connection.
func (w *world) onboard(system any) domain.Integration {
	w.t.Helper()
	i := w.connect(system)
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.SetIntegrationState(ctx, i.ID, domain.IntegrationPaused, markers[4]); err != nil {
			return err
		}
		_, _, err := tx.BeginOnboarding(ctx, domain.Onboarding{ID: domain.NewID[domain.OnboardingID](tx.Now), IntegrationID: i.ID, RequestedBy: "admin-1"}, domain.IntegrationPaused)
		return err
	})
	return i
}

func (w *world) onboarding(i domain.Integration) (o domain.Onboarding) {
	w.t.Helper()
	w.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		o, err = tx.Onboarding(ctx, i.ID)
		return err
	})
	return o
}

func (w *world) stateOf(i domain.Integration) domain.IntegrationState {
	w.t.Helper()
	var now domain.Integration
	w.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		now, err = tx.Integration(ctx, i.ID)
		return err
	})
	return now.State
}

// TestOnboardingOnRealServers connects a system whose password is wrong at first, another one to the same account, which is
// noticed and cancelled, and lets the first one run. With -update the histories are kept in testdata.
func TestOnboardingOnRealServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	fresh := func() *newcomer {
		return &newcomer{posting: &posting{outside: outside{entries: map[string]domain.Change{"new": entry("new", domain.CategoryVendor, 20, 9, 1)}}}}
	}
	at := fresh()
	at.refuse(domain.E(domain.KindUnauthenticated, "the password of %s is wrong", markers[3]))
	i := w.onboard(at)
	in := contract.OnboardInput{OrgID: w.org, IntegrationID: i.ID}
	w.await("the refusal", func() bool { return w.onboarding(i).State == domain.OnboardingWaiting })
	if o := w.onboarding(i); o.Current() != domain.OnboardCredentials || w.stateOf(i) != domain.IntegrationConnecting {
		t.Errorf("it waits as %+v", o)
	}
	if _, err := w.ResumeOnboarding(ctx, in, contract.OnboardResumeRequest{}); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("resumed by nobody: %v", err)
	}
	at.refuse(nil)
	resumed, err := w.ResumeOnboarding(ctx, in, contract.OnboardResumeRequest{By: "admin-1"})
	w.must(err)
	if resumed.State != domain.OnboardingRunning || resumed.Attempt != 2 {
		t.Errorf("resumed: %+v", resumed)
	}
	w.await("the end of the first", func() bool { return w.onboarding(i).State == domain.OnboardingDone })
	if made, _ := at.watches(); len(made) != 1 || w.stateOf(i) != domain.IntegrationActive {
		t.Errorf("%d watches, the integration is %s", len(made), w.stateOf(i))
	}
	var runs []domain.SyncRun
	w.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		runs, _, err = tx.SyncRuns(ctx, i.ID, store.Page{})
		return err
	})
	if len(runs) == 0 || runs[len(runs)-1].ID != w.onboarding(i).RunID || runs[len(runs)-1].Seen != 1 || runs[len(runs)-1].State != domain.SyncDone {
		t.Errorf("runs %+v", runs)
	}

	twin := w.onboard(fresh())
	w.await("the duplicate", func() bool { return w.onboarding(twin).State == domain.OnboardingWaiting })
	if o := w.onboarding(twin); o.Duplicate != i.ID {
		t.Errorf("it waits as %+v", o)
	}
	cancelled, err := w.CancelOnboarding(ctx, contract.OnboardInput{OrgID: w.org, IntegrationID: twin.ID}, contract.CancelRequest{By: "admin-1"})
	w.must(err)
	if cancelled.State != domain.OnboardingCancelling {
		t.Errorf("cancelled: %+v", cancelled)
	}
	w.await("the end of the second", func() bool { return w.onboarding(twin).State == domain.OnboardingCancelled })
	if w.stateOf(twin) != domain.IntegrationPaused {
		t.Errorf("the integration is %s", w.stateOf(twin))
	}
	if *updateFiles {
		old, err := filepath.Glob("testdata/" + onboardVersion + "-onboard-*.json")
		w.must(err)
		for _, file := range old {
			w.must(os.Remove(file))
		}
	}
	for name, id := range map[string]string{"done": contract.OnboardWorkflowID(i.ID), "cancelled": contract.OnboardWorkflowID(twin.ID)} {
		w.await("the end of the workflow of the onboarding that was "+name, func() bool {
			d, err := w.Temporal().DescribeWorkflowExecution(ctx, id, "")
			w.must(err)
			return d.WorkflowExecutionInfo.Status == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
		})
		for n, h := range w.histories(id) {
			file := fmt.Sprintf("%s-onboard-%s-%d", onboardVersion, name, n+1)
			checkHoldsNobody(t, w.ring, file, h)
			if err := replay(w.ring, h); err != nil {
				t.Errorf("replay of the fresh %s: %v", file, err)
			}
			if *updateFiles && n < 1 {
				w.record(file, h)
			}
		}
	}
	if d, err := w.OnboardingStatus(ctx, i.ID); err != nil || d.State != domain.OnboardingDone {
		t.Errorf("asked after the end: %+v, %v", d, err)
	}
	if _, err := w.CancelOnboarding(ctx, in, contract.CancelRequest{By: "admin-1"}); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("cancelled after its end: %v", err)
	}
	for _, one := range []domain.Integration{i, twin, w.crm, w.cal} {
		w.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.SetIntegrationState(ctx, one.ID, domain.IntegrationDeleted, "by admin-1")
			return err
		})
	}
}
