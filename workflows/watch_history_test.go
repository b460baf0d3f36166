package workflows_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// watchVersion is the entry in versions.go that brought watches.
const watchVersion = "v4"

// posting is a system that posts when something changed there, and cannot prolong its watches.
type posting struct {
	outside
	wmu   sync.Mutex
	made  []provider.WatchRequest
	ended int
}

func (p *posting) Watch(_ context.Context, r provider.WatchRequest) (provider.Watched, error) {
	p.wmu.Lock()
	defer p.wmu.Unlock()
	p.made = append(p.made, r)
	return provider.Watched{ID: r.ID, RemoteID: fmt.Sprintf("remote-%d", len(p.made)), ResourceID: "calendar", ExpiresAt: r.Until}, nil
}

func (p *posting) Renew(context.Context, provider.Watched, time.Time) (provider.Watched, error) {
	return provider.Watched{}, domain.E(domain.KindNotFound, "watches are made anew")
}

func (p *posting) Unwatch(context.Context, provider.Watched) error {
	p.wmu.Lock()
	defer p.wmu.Unlock()
	p.ended++
	return nil
}

func (p *posting) watches() (made []provider.WatchRequest, ended int) {
	p.wmu.Lock()
	defer p.wmu.Unlock()
	return p.made, p.ended
}

// TestWatchHistoryHoldsNobodyAndReplays plays a connection whose system posts on real servers: the watch is made, a
// message is followed by a pull, the system asks for a renewal, which makes another watch, and the connection is deleted.
// With -update its history is kept in testdata.
func TestWatchHistoryHoldsNobodyAndReplays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	at := &posting{outside: outside{entries: map[string]domain.Change{}}}
	i := w.connect(at)
	notice := func(n store.WatchNotice) {
		made, _ := at.watches()
		w.tenant(func(ctx context.Context, tx *store.Tx) error {
			stood, err := tx.NoteNotice(ctx, domain.WatchID(made[len(made)-1].ID), n)
			if err == nil && !stood {
				t.Error("the newest watch does not stand")
			}
			return err
		})
	}
	standing := func(watches int) func() bool {
		return func() (ok bool) {
			w.tenant(func(ctx context.Context, tx *store.Tx) error {
				live, err := tx.OpenWatches(ctx, i.ID)
				made, _ := at.watches()
				ok = err == nil && len(made) == watches && len(live) == 1 && live[0].State == domain.WatchActive
				return err
			})
			return ok
		}
	}
	quiet := func() bool {
		s := w.status(i)
		return s.Current == nil && s.NextPoll.IsZero() && !s.WatchesDue.IsZero()
	}
	w.await("the first watch", standing(1))
	// The pull after the new watch may come together with the very first one.
	w.await("the first pulls", func() bool { return w.status(i).Counts.Syncs >= 1 && quiet() })

	at.outside.mu.Lock()
	at.outside.entries["new"] = entry("new", domain.CategoryVendor, 20, 9, 1)
	at.outside.mu.Unlock()
	before := w.status(i).Counts.Syncs
	notice(store.WatchNotice{Pull: true})
	w.await("a pull after the message", func() bool { return w.status(i).Counts.Syncs > before && quiet() })

	notice(store.WatchNotice{Renew: true})
	w.await("another watch", standing(2))
	w.await("the end of the old one", func() bool { _, ended := at.watches(); return ended == 1 && quiet() })

	for _, one := range []domain.Integration{i, w.crm, w.cal} {
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
	if _, ended := at.watches(); ended != 2 {
		t.Errorf("%d watches were ended, want both", ended)
	}
	if *updateFiles {
		old, err := filepath.Glob("testdata/" + watchVersion + "-integration-watched-*.json")
		w.must(err)
		for _, file := range old {
			w.must(os.Remove(file))
		}
	}
	for n, h := range w.histories(contract.IntegrationWorkflowID(i.ID)) {
		file := fmt.Sprintf("%s-integration-watched-%d", watchVersion, n+1)
		checkHoldsNobody(t, w.ring, file, h)
		if err := replay(w.ring, h); err != nil {
			t.Errorf("replay of the fresh %s: %v", file, err)
		}
		if *updateFiles && n < 2 {
			w.record(file, h)
		}
	}
}
