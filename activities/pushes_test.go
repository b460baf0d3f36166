package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

func (d *desk) write(i domain.Integration) activities.PushBookingsResult {
	d.t.Helper()
	return run(d, d.pushes().PushBookings, activities.PushBookingsInput{Org: d.org, Integration: i.ID})
}

func (d *desk) move(id domain.BookingID, when domain.When) {
	d.t.Helper()
	b := d.booking(id)
	b.When = when
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := apply.Manual(ctx, tx, b, "alex", "asked by the couple")
		return err
	})
}

func TestCopyIsWrittenOnceAndComesBackAsEcho(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	if got := d.write(d.cal); got != (activities.PushBookingsResult{Done: 1}) {
		t.Fatalf("result is %+v", got)
	}
	copied := d.atCal.entries["copy-1"]
	if !copied.When.Equal(span(10, 12)) || copied.Origin != id || copied.Details.Contact != "" {
		t.Errorf("copy is %+v", copied)
	}
	l := d.links(id, d.cal)
	if len(l) != 1 || !l[0].Mirror || l[0].WrittenVersion != 1 || l[0].Revision != copied.Revision {
		t.Errorf("links are %+v", l)
	}
	d.unchanged(func() { d.write(d.cal) })
	d.unchanged(func() { d.arrive(d.cal, copied) })
}

func TestLostAnswerOfAWriteIsAdopted(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	d.atCal.lost["put"] = 1
	got := d.write(d.cal)
	if got.Retried != 1 || got.NextDue.IsZero() {
		t.Fatalf("result is %+v", got)
	}
	if early := d.write(d.cal); early.Done+early.Retried != 0 || !early.NextDue.Equal(got.NextDue) {
		t.Errorf("before its time: %+v", early)
	}
	d.advance(got.NextDue.Sub(d.clock()))
	if got := d.write(d.cal); got.Done != 1 {
		t.Fatalf("second try: %+v", got)
	}
	if len(d.atCal.entries) != 1 || len(d.links(id, d.cal)) != 1 {
		t.Errorf("%d copies, links %+v", len(d.atCal.entries), d.links(id, d.cal))
	}
}

func TestCopyAlteredThereIsReadBeforeItIsWrittenAgain(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	d.write(d.cal)
	theirs := d.atCal.entries["copy-1"]
	theirs.Revision, theirs.When = "by hand", span(14, 16)
	d.atCal.entries["copy-1"] = theirs
	d.move(id, span(11, 13))
	got := d.write(d.cal)
	if !got.Pull || got.Retried != 1 {
		t.Fatalf("result is %+v", got)
	}
	d.arrive(d.cal, theirs)
	d.advance(got.NextDue.Sub(d.clock()))
	if got := d.write(d.cal); got.Done != 1 {
		t.Fatalf("after reading: %+v", got)
	}
	if b := d.booking(id); !b.When.Equal(span(14, 16)) || !d.atCal.entries["copy-1"].When.Equal(span(14, 16)) {
		t.Errorf("booking %v, copy %v: the hand in the calendar came last", b.When, d.atCal.entries["copy-1"].When)
	}
}

func TestCopyMovedByHandBeforeTheAnswerToItsWriteCameKeepsItsTime(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	d.atCal.lost["put"] = 1
	d.write(d.cal)
	theirs := d.atCal.entries["copy-1"]
	theirs.Revision, theirs.When = "by hand", span(14, 16)
	d.atCal.entries["copy-1"] = theirs
	for range 2 {
		d.advance(time.Hour)
		d.write(d.cal)
	}
	if b := d.booking(id); !b.When.Equal(span(14, 16)) || !d.atCal.entries["copy-1"].When.Equal(span(14, 16)) || len(d.atCal.entries) != 1 {
		t.Errorf("booking %v, copies %+v: the hand came last", b.When, d.atCal.entries)
	}
	if l := d.links(id, d.cal); len(l) != 1 || l[0].Revision != d.atCal.entries["copy-1"].Revision {
		t.Errorf("links are %+v", l)
	}
}

// A page that was applied before the answer was stored told of something unknown, and no later one tells again.
func TestNewCopyThatWentBeforeItsAnswerIsMissed(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	d.atCal.pages["here"] = provider.Page{Changes: []domain.Change{{Op: domain.OpRemove, ExternalID: "copy-1"}}, Next: "there"}
	d.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.SetSyncCursor(ctx, d.cal.ID, "here") })
	d.mu.Lock()
	d.systems[d.cal.ID] = &busyWriter{outside: d.atCal, during: func() {
		delete(d.atCal.entries, "copy-1")
		ref := d.startRun(d.cal, false)
		d.pull(ref)
		run(d, none(d.syncs().EndSyncRun), activities.EndSyncRunInput{SyncRef: ref, State: domain.SyncDone})
	}}
	d.mu.Unlock()
	d.write(d.cal)
	if got := d.write(d.cal); got.Done != 1 || d.atCal.entries["copy-2"].Origin != id {
		t.Errorf("result is %+v, entries %+v", got, d.atCal.entries)
	}
}

func TestEntryThatRefusesAWriteTwiceIsAskedFor(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		happen func(d *desk)
		want   string // the copy in the end
	}{
		"it was changed there": {func(d *desk) {
			theirs := d.atCal.entries["copy-1"]
			theirs.Revision, theirs.Details.Location = "by hand", "Room 2"
			d.atCal.entries["copy-1"] = theirs
		}, "copy-1"},
		"it was deleted there": {func(d *desk) { delete(d.atCal.entries, "copy-1") }, "copy-2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := setup(t)
			id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
			d.write(d.cal)
			// The page that told of it was read before, so that nothing tells of it again.
			tc.happen(d)
			d.move(id, span(11, 13))
			for try, reads := range []int{0, 1} {
				got := d.write(d.cal)
				if got.Retried != 1 || !got.Pull || d.atCal.count("read") != reads {
					t.Fatalf("try %d: %+v, asked for %d times", try+1, got, d.atCal.count("read"))
				}
				d.advance(time.Hour)
			}
			if got := d.write(d.cal); got.Done != 1 {
				t.Fatalf("after it was asked for: %+v", got)
			}
			if c := d.atCal.entries[tc.want]; len(d.atCal.entries) != 1 || !c.When.Equal(span(11, 13)) {
				t.Errorf("entries are %+v", d.atCal.entries)
			}
		})
	}
}

func TestCopyThatRefusesItsRemovalTwiceIsAskedFor(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	d.write(d.cal)
	theirs := d.atCal.entries["copy-1"]
	theirs.Revision, theirs.Details.Location = "by hand", "Room 2"
	d.atCal.entries["copy-1"] = theirs
	d.arrive(d.crm, domain.Change{Op: domain.OpRemove, ExternalID: "w1"})
	for try := range 2 {
		if got := d.write(d.cal); got.Retried != 1 || d.atCal.count("read") != try {
			t.Fatalf("try %d: %+v", try+1, got)
		}
		d.advance(time.Hour)
	}
	if got := d.write(d.cal); got.Done != 1 || len(d.atCal.entries) != 0 {
		t.Errorf("after it was asked for: %+v, entries %+v", got, d.atCal.entries)
	}
}

func TestCopyAlteredInAWriteOnlySystemIsWrittenOver(t *testing.T) {
	t.Parallel()
	d := setup(t)
	o := newOutside()
	board := d.connect("board", domain.DirectionExport, o)
	id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	d.write(board)
	theirs := o.entries["copy-1"]
	theirs.Revision, theirs.When = "by hand", span(14, 16)
	o.entries["copy-1"] = theirs
	d.move(id, span(11, 13))
	if got := d.write(board); got.Done != 1 || got.Pull {
		t.Fatalf("result is %+v", got)
	}
	if !o.entries["copy-1"].When.Equal(span(11, 13)) {
		t.Errorf("copy is %+v", o.entries["copy-1"])
	}
}

func TestRefusedCredentialsStopWriting(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	d.atCal.faults["put"] = []error{domain.E(domain.KindUnauthenticated, "token expired")}
	if got := d.write(d.cal); !got.Reconnect || got.Done != 0 {
		t.Fatalf("result is %+v", got)
	}
	if got := d.state(d.cal.ID); got != domain.IntegrationNeedsReconnect {
		t.Errorf("integration is %s", got)
	}
	if p := d.push(d.cal, id); p.State != domain.PushPending || p.Attempts != 0 {
		t.Errorf("push is %+v: it must wait for the reconnection", p)
	}
	d.setState(d.cal.ID, domain.IntegrationActive)
	if got := d.write(d.cal); got.Done != 1 {
		t.Errorf("after reconnection: %+v", got)
	}
}

func TestCopyOfACancelledBookingIsRemoved(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	d.write(d.cal)
	d.arrive(d.crm, domain.Change{Op: domain.OpRemove, ExternalID: "w1"})
	if got := d.write(d.cal); got.Done != 1 || len(d.atCal.entries) != 0 {
		t.Fatalf("result is %+v, entries %+v", got, d.atCal.entries)
	}
	if l := d.links(id, d.cal); len(l) != 1 || l[0].RemovedAt == nil {
		t.Errorf("links are %+v", l)
	}
	d.unchanged(func() { d.write(d.cal) })

	// It returns: another copy is made, under another key.
	d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	if got := d.write(d.cal); got.Done != 1 || d.atCal.entries["copy-2"].ExternalID == "" {
		t.Errorf("result is %+v, entries %+v", got, d.atCal.entries)
	}
}

func TestOwnEntryIsWrittenWithAllItsTexts(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c := change("w1", domain.CategoryWedding, 10, 12)
	c.Revision = "r"
	d.atCRM.entries["w1"] = c
	id := d.arrive(d.crm, c)
	d.move(id, span(13, 15))
	if got := d.write(d.crm); got.Done != 1 {
		t.Fatalf("result is %+v", got)
	}
	there := d.atCRM.entries["w1"]
	if !there.When.Equal(span(13, 15)) || there.Origin != "" || there.Details.Contact == "" {
		t.Errorf("entry is %+v", there)
	}
	if l := d.links(id, d.crm); len(l) != 1 || l[0].Mirror {
		t.Errorf("links are %+v", l)
	}
	d.unchanged(func() { d.arrive(d.crm, there) })
}

func TestCopyBesideTheSystemsOwnEntryGoesAway(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	d.write(d.cal)
	own := change("own", domain.CategoryWedding, 10, 12)
	own.Details.Title = "Marker w1"
	d.atCal.entries["own"] = own
	if got := d.arrive(d.cal, own); got != id {
		t.Fatalf("linked to %s, want %s", got, id)
	}
	if got := d.write(d.cal); got.Done != 1 {
		t.Fatalf("result is %+v", got)
	}
	if _, left := d.atCal.entries["copy-1"]; left || d.atCal.entries["own"].ExternalID == "" || d.atCal.count("put") != 1 {
		t.Errorf("entries are %+v", d.atCal.entries)
	}
}

func TestWriteRefusedForGoodNeedsAPerson(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	d.atCal.faults["put"] = []error{domain.E(domain.KindPermanent, "the calendar is read-only")}
	if got := d.write(d.cal); got.Failed != 1 {
		t.Fatalf("result is %+v", got)
	}
	if p := d.push(d.cal, id); p.State != domain.PushFailed || p.Reason == "" {
		t.Errorf("push is %+v", p)
	}
}

func TestNewerWishIsCarriedOutAfterTheOlderOne(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	d.mu.Lock()
	d.systems[d.cal.ID] = &busyWriter{outside: d.atCal, during: func() { d.move(id, span(13, 15)) }}
	d.mu.Unlock()
	if got := d.write(d.cal); !got.More {
		t.Fatalf("result is %+v: the wish changed while it was carried out", got)
	}
	if got := d.write(d.cal); got.Done != 1 || got.More {
		t.Fatalf("result is %+v", got)
	}
	if !d.atCal.entries["copy-1"].When.Equal(span(13, 15)) {
		t.Errorf("copy is %+v", d.atCal.entries["copy-1"])
	}
}

func TestPausedIntegrationWritesNothing(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	d.setState(d.cal.ID, domain.IntegrationPaused)
	d.unchanged(func() {
		if got := d.write(d.cal); got != (activities.PushBookingsResult{}) {
			t.Errorf("result is %+v", got)
		}
	})
}

// busyWriter lets something happen while it writes for the first time.
type busyWriter struct {
	*outside
	during func()
}

func (b *busyWriter) Put(ctx context.Context, w provider.Write) (provider.Written, error) {
	out, err := b.outside.Put(ctx, w)
	if during := b.during; during != nil {
		b.during = nil
		during()
	}
	return out, err
}
