package activities_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// shaping is a system that keeps texts and times in its own form, as calendars do: titles are trimmed, notes become
// markup and seconds are dropped.
type shaping struct{ *outside }

func (s shaping) Put(ctx context.Context, w provider.Write) (provider.Written, error) {
	w.Details.Title = strings.ToUpper(strings.TrimSpace(w.Details.Title))
	w.Details.Notes = "<html><body>" + w.Details.Notes + "</body></html>"
	w.When.Start, w.When.End = w.When.Start.Truncate(time.Minute), w.When.End.Truncate(time.Minute)
	return s.outside.Put(ctx, w)
}

// reshaped is a desk whose calendar shapes what it is given, with one booking of the customer system copied to it.
func reshaped(t *testing.T) (d *desk, id domain.BookingID, copied string) {
	t.Helper()
	d = setup(t)
	d.mu.Lock()
	d.systems[d.cal.ID] = shaping{d.atCal}
	d.mu.Unlock()
	c := change("w", domain.CategoryVendor, 1, 2)
	c.Details = domain.Details{Title: "  Flowers ", Notes: "white ones"}
	c.When.Start, c.When.End = c.When.Start.Add(7*time.Second), c.When.End.Add(7*time.Second)
	id = d.arrive(d.crm, c)
	run(d, d.pushes().PushBookings, activities.PushBookingsInput{Org: d.org, Integration: d.cal.ID})
	for name := range d.atCal.entries {
		copied = name
	}
	if len(d.atCal.entries) != 1 {
		t.Fatalf("the calendar has %d entries", len(d.atCal.entries))
	}
	return d, id, copied
}

// listed pulls the calendar as it is and carries out what follows.
func (d *desk) listed() activities.PullPageResult {
	d.t.Helper()
	var all []domain.Change
	for _, c := range d.atCal.entries {
		all = append(all, c)
	}
	d.atCal.pages[""] = provider.Page{Changes: all, Next: "delta", Complete: true}
	got := d.pull(d.startRun(d.cal, true))
	for _, i := range []domain.Integration{d.crm, d.cal} {
		run(d, d.pushes().PushBookings, activities.PushBookingsInput{Org: d.org, Integration: i.ID})
	}
	return got
}

func TestCopyThatTheSystemReshapesIsAnEcho(t *testing.T) {
	t.Parallel()
	d, id, _ := reshaped(t)
	was, puts := d.booking(id), d.atCal.count("put")+d.atCRM.count("put")
	for range 3 {
		if got := d.listed(); got.Applied != 0 || got.Unchanged != 1 {
			t.Errorf("reading the copy back: %+v", got)
		}
	}
	if now := d.booking(id); now.Version != was.Version || now.Details != was.Details || !now.When.Equal(was.When) {
		t.Errorf("the booking was %+v and is %+v", was, now)
	}
	if n := d.atCal.count("put") + d.atCRM.count("put"); n != puts {
		t.Errorf("%d writes came of reading a copy", n-puts)
	}
}

func TestBlockThatASystemAddsToACopyIsNoEdit(t *testing.T) {
	t.Parallel()
	d, id, copied := reshaped(t)
	was, puts := d.booking(id), d.atCal.count("put")+d.atCRM.count("put")
	for n, notes := range []string{"Join the meeting: …", ""} { // added, and taken away again
		c := d.atCal.entries[copied]
		c.Details.Notes, c.Revision = notes, c.Revision+"x"
		d.atCal.entries[copied] = c
		d.listed()
		if now := d.booking(id); now.Details != was.Details || !now.When.Equal(was.When) {
			t.Errorf("time %d: the booking was %+v and is %+v", n, was, now)
		}
	}
	if n := d.atCal.count("put") + d.atCRM.count("put"); n != puts {
		t.Errorf("%d writes came of a block in a copy", n-puts)
	}
}

// TestChangesOfOneEntryLeaveAllOthersBusy reads a page of changes that names one entry of many: what it does not name
// stays as it is, and keeps its time.
func TestChangesOfOneEntryLeaveAllOthersBusy(t *testing.T) {
	t.Parallel()
	d := setup(t)
	var all []domain.Change
	for n, id := range []string{"a", "b", "c", "d", "e"} {
		all = append(all, change(id, domain.CategoryVendor, float64(3*n), float64(3*n)+1))
	}
	d.atCal.pages[""] = provider.Page{Changes: all, Next: "delta", Complete: true}
	ref := d.startRun(d.cal, false)
	d.pull(ref)
	run(d, none(d.syncs().EndSyncRun), activities.EndSyncRunInput{SyncRef: ref, State: domain.SyncDone})
	busy := func() (n int) {
		d.tenant(func(ctx context.Context, tx *store.Tx) error {
			list, err := tx.BusyBetween(ctx, []domain.ResourceID{d.person.ID}, domain.Span{Start: day.AddDate(0, 0, -2), End: day.AddDate(0, 0, 2)})
			n = len(list)
			return err
		})
		return n
	}
	if n := busy(); n != len(all) {
		t.Fatalf("%d times are busy", n)
	}
	d.atCal.pages["delta"] = provider.Page{Changes: []domain.Change{change("c", domain.CategoryVendor, 7, 8)}, Next: "delta2"}
	ref = d.startRun(d.cal, false)
	if got := d.pull(ref); got.Applied != 1 || got.Complete {
		t.Errorf("the page of changes: %+v", got)
	}
	if n := busy(); n != len(all) {
		t.Errorf("%d times are busy after a change of one entry, want all %d", n, len(all))
	}
}
