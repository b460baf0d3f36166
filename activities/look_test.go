package activities_test

import (
	"testing"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

func TestKnownEntriesThatAPageDoubtsAreAskedFor(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ids := map[string]domain.BookingID{}
	for n, id := range []string{"series:m#a", "series:m#b", "series:k#o", "moved", "gone", "quiet"} {
		c := change(id, domain.CategoryVendor, float64(2*n), float64(2*n+1))
		ids[id] = d.arrive(d.cal, c)
		d.atCal.entries[id] = c
	}
	for _, id := range []string{"series:m#b", "series:k#o", "gone", "quiet"} {
		delete(d.atCal.entries, id)
	}
	later := change("moved", domain.CategoryVendor, 100, 101)
	d.atCal.entries["moved"] = later
	d.atCal.pages[""] = provider.Page{Changes: []domain.Change{change("series:m#a", domain.CategoryVendor, 0, 1)},
		Look: []string{"series:m", "o", "moved", "gone", "nobody"}, Next: "delta"}
	ref := d.startRun(d.cal, false)
	got := d.pull(ref)
	if got.Removed != 3 || got.Applied != 1 || got.Unchanged != 1 {
		t.Errorf("page is %+v", got)
	}
	for id, want := range map[string]domain.BookingStatus{"series:m#a": domain.StatusConfirmed, "series:m#b": domain.StatusCancelled,
		"series:k#o": domain.StatusCancelled, "moved": domain.StatusConfirmed, "gone": domain.StatusCancelled, "quiet": domain.StatusConfirmed} {
		if b := d.booking(ids[id]); b.Status != want {
			t.Errorf("%s is %s, want %s", id, b.Status, want)
		}
	}
	if b := d.booking(ids["moved"]); !b.When.Equal(later.When) {
		t.Errorf("the moved entry is at %s", b.When.Span)
	}
	if n := d.atCal.count("read"); n != 4 {
		t.Errorf("%d entries were asked for, want the known ones that the page did not name", n)
	}
}

func TestDoubtAboutALookedForEntryRemovesNothingAndKeepsThePosition(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.arrive(d.cal, change("e", domain.CategoryVendor, 0, 1))
	d.atCal.pages[""] = provider.Page{Look: []string{"e"}, Next: "delta"}
	d.atCal.faults["read"] = []error{domain.E(domain.KindUnavailable, "no answer")}
	ref := d.startRun(d.cal, false)
	_, err := call(d, d.syncs().PullPage, activities.PullPageInput{SyncRef: ref})
	d.wantKind(err, domain.KindUnavailable)
	if b := d.booking(id); b.Status != domain.StatusConfirmed {
		t.Errorf("booking is %s", b.Status)
	}
	if r := d.run(ref); r.Pages != 0 {
		t.Errorf("run went on to page %d", r.Pages)
	}
}
