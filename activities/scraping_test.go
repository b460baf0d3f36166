package activities_test

import (
	"context"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// changedPages is a fault that left something to look at.
type changedPages struct{}

func (changedPages) Error() string              { return "page 1 of the list changed" }
func (changedPages) Unwrap() error              { return domain.E(domain.KindDrift, "drift") }
func (changedPages) Snapshot() (string, []byte) { return "rows are missing", []byte("<table></table>") }

func TestDriftRemovesNothingAndKeepsOneSnapshotOfTheRun(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.arrive(d.cal, change("a", domain.CategoryVendor, 1, 2))
	ref := d.startRun(d.cal, true)
	d.atCal.faults["pull"] = []error{domain.E(domain.KindDrift, "pull pages: %w", changedPages{}), domain.E(domain.KindDrift, "pull pages: %w", changedPages{})}
	for range 2 {
		_, err := call(d, d.syncs().PullPage, activities.PullPageInput{SyncRef: ref})
		d.wantKind(err, domain.KindDrift)
	}
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		all, _, err := tx.Snapshots(ctx, d.cal.ID, store.Page{Limit: 10})
		if err != nil {
			return err
		}
		if len(all) != 1 || all[0].SyncRunID != ref.Run || all[0].Report != "rows are missing" || all[0].Kind != domain.KindDrift {
			t.Errorf("snapshots %+v", all)
		}
		return nil
	})
	run(d, none(d.syncs().EndSyncRun), activities.EndSyncRunInput{SyncRef: ref, State: domain.SyncFailed, Kind: domain.KindDrift})
	if r := d.run(ref); !strings.Contains(r.Error, "pages changed") {
		t.Errorf("the run says %q", r.Error)
	}
	if b := d.booking(id); b.Status != domain.StatusConfirmed {
		t.Errorf("the booking is %s", b.Status)
	}
}

// inboxed is a system that takes copies and never shows them.
type inboxed struct{ *outside }

func (inboxed) Unlisted(id string) bool { return strings.HasPrefix(id, "copy-") }

func TestCopiesThatASystemNeverListsAreNotMissing(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.mu.Lock()
	d.systems[d.cal.ID] = inboxed{d.atCal}
	d.mu.Unlock()
	d.arrive(d.crm, change("wedding", domain.CategoryWedding, 1, 8))
	if got := run(d, d.pushes().PushBookings, activities.PushBookingsInput{Org: d.org, Integration: d.cal.ID}); got.Done != 1 {
		t.Fatalf("pushed %+v", got)
	}
	d.arrive(d.cal, change("gone", domain.CategoryVendor, 30, 31))
	reads := d.atCal.count("read")
	ref := d.startRun(d.cal, true)
	d.atCal.pages[""] = provider.Page{Next: "delta", Complete: true}
	d.pull(ref)
	got := run(d, d.syncs().ConfirmRemovals, activities.ConfirmRemovalsInput{SyncRef: ref})
	if asked := d.atCal.count("read") - reads; asked != 1 || got.Removed != 1 {
		t.Errorf("asked for %d entries and removed %d, want the one that can be listed", asked, got.Removed)
	}
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		copies, err := tx.Mirrors(ctx, d.cal.ID)
		if err != nil || len(copies) != 1 {
			t.Errorf("%d copies left, %v", len(copies), err)
		}
		return nil
	})
}
