package activities_test

import (
	"context"
	"testing"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

func (d *desk) news(run domain.SyncRunID) (activities.SyncRef, activities.PullNewsResult, error) {
	d.t.Helper()
	ref := activities.SyncRef{Org: d.org, Integration: d.cal.ID, Run: run}
	out, err := call(d, d.syncs().PullNews, activities.PullNewsInput{SyncRef: ref, By: "schedule"})
	return ref, out, err
}

func TestARunWithLittleNewsIsOneStepAndLosesNothingWhenItsAnswerIsLost(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.atCal.pages[""] = provider.Page{Changes: []domain.Change{change("a", domain.CategoryVendor, 1, 2)}, Next: "p2", More: true}
	d.atCal.pages["p2"] = provider.Page{Changes: []domain.Change{change("b", domain.CategoryVendor, 3, 4)}, Next: "delta"}
	id := domain.NewID[domain.SyncRunID](d.clock())
	for n := range 2 {
		ref, out, err := d.news(id)
		if err != nil || !out.Done {
			t.Fatalf("call %d: %+v, %v", n, out, err)
		}
		if r := d.run(ref); r.State != domain.SyncDone || r.Pages != 2 || r.Applied != 2 || r.RequestedBy != "schedule" {
			t.Errorf("call %d: the run is %+v", n, r)
		}
	}
	var i domain.Integration
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		i, err = tx.Integration(ctx, d.cal.ID)
		return err
	})
	if i.SyncCursor != "delta" || i.LastSyncAt == nil {
		t.Errorf("the position is %q", i.SyncCursor)
	}
	// A Sync that takes the run over meanwhile finds nothing to do.
	if got := d.pull(activities.SyncRef{Org: d.org, Integration: d.cal.ID, Run: id}); got != (activities.PullPageResult{}) {
		t.Errorf("a page of a run that is over: %+v", got)
	}
}

func TestAListingAndAFaultAreLeftToASync(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.atCal.pages[""] = provider.Page{Changes: []domain.Change{change("a", domain.CategoryVendor, 1, 2)}, Next: "delta", Complete: true}
	d.atCal.faults["pull"] = []error{domain.E(domain.KindUnavailable, "down"), domain.E(domain.KindGoneToken, "who are you")}
	id := domain.NewID[domain.SyncRunID](d.clock())
	ref, _, err := d.news(id)
	d.wantKind(err, domain.KindUnavailable)
	if r := d.run(ref); r.State != domain.SyncRunning {
		t.Errorf("after a fault the run is %s", r.State)
	}
	if _, out, err := d.news(id); err != nil || out.Done {
		t.Errorf("when the position is gone: %+v, %v", out, err)
	}
	if r := d.run(ref); r.State != domain.SyncRunning || !r.Full {
		t.Errorf("when the position is gone the run is %+v", r)
	}
	if _, out, err := d.news(id); err != nil || out.Done {
		t.Errorf("a listing of everything: %+v, %v", out, err)
	}
	if r := d.run(ref); r.State != domain.SyncRunning || r.Applied != 1 {
		t.Errorf("after a listing the absences are still to be proved: %+v", r)
	}
}
