package activities_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/freshness"
	"github.com/wedsync/wedsync/internal/store"
)

func (d *desk) startRun(i domain.Integration, full bool) activities.SyncRef {
	d.t.Helper()
	d.advance(time.Second)
	ref := activities.SyncRef{Org: d.org, Integration: i.ID, Run: domain.NewID[domain.SyncRunID](d.clock())}
	run(d, none(d.syncs().StartSyncRun), activities.StartSyncRunInput{SyncRef: ref, Full: full, By: "alex"})
	d.advance(time.Second)
	return ref
}

func (d *desk) pull(ref activities.SyncRef) activities.PullPageResult {
	d.t.Helper()
	return run(d, d.syncs().PullPage, activities.PullPageInput{SyncRef: ref})
}

func (d *desk) run(ref activities.SyncRef) domain.SyncRun {
	d.t.Helper()
	var out domain.SyncRun
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = tx.SyncRun(ctx, ref.Run)
		return err
	})
	return out
}

func TestPagesAreAppliedAndThePositionMovesWithThem(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.atCal.pages[""] = provider.Page{Changes: []domain.Change{change("a", domain.CategoryVendor, 1, 2)},
		Problems: []provider.Problem{{ExternalID: "odd", Err: fmt.Errorf("unreadable")}}, Next: "p2", More: true}
	d.atCal.pages["p2"] = provider.Page{Changes: []domain.Change{change("b", domain.CategoryVendor, 3, 4), change("b", domain.CategoryVendor, 3, 4)},
		Next: "delta", Complete: true}
	ref := d.startRun(d.cal, true)
	if got, want := d.pull(ref), (activities.PullPageResult{Seen: 2, Applied: 1, Rejected: 1, More: true}); got != want {
		t.Errorf("first page: %+v, want %+v", got, want)
	}
	if got, want := d.pull(ref), (activities.PullPageResult{Seen: 2, Applied: 1, Unchanged: 1, Complete: true}); got != want {
		t.Errorf("second page: %+v, want %+v", got, want)
	}
	if r := d.run(ref); r.Pages != 2 || r.Seen != 4 || r.Applied != 2 || r.Rejected != 1 {
		t.Errorf("run is %+v", r)
	}
	end := activities.EndSyncRunInput{SyncRef: ref, State: domain.SyncDone}
	run(d, none(d.syncs().EndSyncRun), end)
	var i domain.Integration
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		i, err = tx.Integration(ctx, d.cal.ID)
		return err
	})
	if i.SyncCursor != "delta" || i.LastSyncAt == nil {
		t.Errorf("integration's cursor is %q", i.SyncCursor)
	}
	if r := d.run(ref); r.State != domain.SyncDone {
		t.Errorf("run is %s", r.State)
	}
	// Starting or ending it again changes nothing that counts.
	run(d, none(d.syncs().EndSyncRun), end)
	run(d, none(d.syncs().StartSyncRun), activities.StartSyncRunInput{SyncRef: ref, Full: true, By: "alex"})
	if r := d.run(ref); r.State != domain.SyncDone || r.Pages != 2 {
		t.Errorf("run is %+v", r)
	}
}

func TestLostAnswerOfAPageLosesNoPage(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.atCal.pages[""] = provider.Page{Changes: []domain.Change{change("a", domain.CategoryVendor, 1, 2)}, Next: "delta", Complete: true}
	d.atCal.pages["delta"] = provider.Page{Next: "delta2"}
	ref := d.startRun(d.cal, true)
	// The system's answer is lost: nothing moved, and the page is read again.
	d.atCal.lost["pull"] = 1
	_, err := call(d, d.syncs().PullPage, activities.PullPageInput{SyncRef: ref})
	d.wantKind(err, domain.KindUnavailable)
	if got := d.pull(ref); got.Applied != 1 || !got.Complete {
		t.Fatalf("page after the lost answer: %+v", got)
	}
	// Our own answer is lost: the effects stand, and the next position is read.
	if got := d.pull(ref); got != (activities.PullPageResult{}) {
		t.Errorf("page after our own answer was lost: %+v", got)
	}
}

func TestPageStoredByAnotherWorkerIsTriedAgain(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ref := d.startRun(d.cal, true)
	d.atCal.pages[""] = provider.Page{Changes: []domain.Change{change("a", domain.CategoryVendor, 1, 2)}, Next: "p2", More: true}
	d.atCal.pages["p2"] = provider.Page{Next: "delta"}
	slow := &overtaken{outside: d.atCal, first: func() { d.pull(ref) }}
	d.mu.Lock()
	d.systems[d.cal.ID] = slow
	d.mu.Unlock()
	d.setState(d.cal.ID, domain.IntegrationPaused)
	d.setState(d.cal.ID, domain.IntegrationActive) // another version, so that the value is opened anew
	_, err := call(d, d.syncs().PullPage, activities.PullPageInput{SyncRef: ref})
	d.wantKind(err, domain.KindUnavailable)
	if r := d.run(ref); r.Pages != 1 || r.Applied != 1 {
		t.Errorf("run is %+v", r)
	}
	if got := d.pull(ref); got.More || got.Seen != 0 {
		t.Errorf("next page: %+v", got)
	}
}

// overtaken lets another worker store the page while this one reads it.
type overtaken struct {
	*outside
	first func()
}

func (o *overtaken) Pull(ctx context.Context, cursor string) (provider.Page, error) {
	page, err := o.outside.Pull(ctx, cursor)
	if first := o.first; first != nil {
		o.first = nil
		first()
	}
	return page, err
}

func TestSeveralPagesAreReadInOneCallAndTheNextOneAhead(t *testing.T) {
	t.Parallel()
	d := setup(t)
	for n := range 5 {
		cursor := ""
		if n > 0 {
			cursor = fmt.Sprint("p", n)
		}
		d.atCal.pages[cursor] = provider.Page{Changes: []domain.Change{change(fmt.Sprint("e", n), domain.CategoryVendor, float64(2*n), float64(2*n+1))},
			Next: fmt.Sprint("p", n+1), More: n < 4, Complete: n == 4}
	}
	ref := d.startRun(d.cal, true)
	// While the second page is asked for, the first one is applied: it waits until it sees that.
	d.replaceCal(&ahead{outside: d.atCal, before: map[string]func(context.Context) error{"p1": func(ctx context.Context) error {
		return d.await(ctx, func() bool { return d.run(ref).Pages == 1 })
	}}})
	in := activities.PullPageInput{SyncRef: ref, Pages: 3}
	if got, want := run(d, d.syncs().PullPage, in), (activities.PullPageResult{Seen: 3, Applied: 3, More: true, Further: 2}); got != want {
		t.Errorf("first call: %+v, want %+v", got, want)
	}
	if n := d.atCal.count("pull"); n != 3 {
		t.Errorf("%d pages were asked for, want the three that were applied", n)
	}
	if got, want := run(d, d.syncs().PullPage, in), (activities.PullPageResult{Seen: 2, Applied: 2, Complete: true, Further: 1}); got != want {
		t.Errorf("second call: %+v, want %+v", got, want)
	}
	if r := d.run(ref); r.Pages != 5 || r.Applied != 5 {
		t.Errorf("run is %+v", r)
	}
}

func TestFaultOfALaterPageIsMetByTheNextCall(t *testing.T) {
	t.Parallel()
	for _, kind := range []domain.ErrorKind{domain.KindUnavailable, domain.KindUnauthenticated, domain.KindGoneToken, domain.KindRateLimited} {
		d := setup(t)
		d.atCal.pages[""] = provider.Page{Changes: []domain.Change{change("a", domain.CategoryVendor, 1, 2)}, Next: "p1", More: true}
		ref := d.startRun(d.cal, true)
		always := func(context.Context) error { return domain.E(kind, "not now") }
		d.replaceCal(&ahead{outside: d.atCal, before: map[string]func(context.Context) error{"p1": always}})
		in := activities.PullPageInput{SyncRef: ref, Pages: 16}
		got, err := call(d, d.syncs().PullPage, in)
		if kind == domain.KindGoneToken || kind == domain.KindRateLimited {
			d.wantKind(err, kind)
		} else if want := (activities.PullPageResult{Seen: 1, Applied: 1, More: true}); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", kind, got, err, want)
		}
		if r := d.run(ref); r.Pages != 1 || r.Applied != 1 {
			t.Errorf("%s: run is %+v", kind, r)
		}
		if kind != domain.KindGoneToken {
			_, err = call(d, d.syncs().PullPage, in)
			d.wantKind(err, kind)
		}
	}
}

func TestAPageReadAheadDoesNotUndoWhatWasLearnedMeanwhile(t *testing.T) {
	t.Parallel()
	d := setup(t)
	old, news := change("a", domain.CategoryVendor, 1, 2), change("a", domain.CategoryVendor, 5, 6)
	d.arrive(d.cal, old)
	d.advance(time.Second)
	d.atCal.pages[""] = provider.Page{Next: "p1", More: true}
	stale := change("a", domain.CategoryVendor, 3, 4)
	d.atCal.pages["p1"] = provider.Page{Changes: []domain.Change{stale}, Next: "delta", Complete: true}
	ref := d.startRun(d.cal, true)
	read := make(chan struct{})
	d.replaceCal(&ahead{outside: d.atCal, after: map[string]func(){"p1": func() {
		// The page is read. Before it is applied a webhook tells of a newer state.
		d.advance(time.Second)
		d.arrive(d.cal, news)
		d.atCal.mu.Lock()
		d.atCal.pages["p1"] = provider.Page{Changes: []domain.Change{news}, Next: "delta", Complete: true}
		d.atCal.mu.Unlock()
		d.advance(time.Second)
		close(read)
	}}})
	in := activities.PullPageInput{SyncRef: ref, Pages: 16}
	if got, want := run(d, d.syncs().PullPage, in), (activities.PullPageResult{More: true, Expected: 1}); got != want {
		t.Errorf("first call: %+v, want %+v", got, want)
	}
	<-read
	d.replaceCal(d.atCal)
	if got, want := run(d, d.syncs().PullPage, in), (activities.PullPageResult{Seen: 1, Unchanged: 1, Complete: true, Expected: 1}); got != want {
		t.Errorf("second call: %+v, want %+v", got, want)
	}
}

// ahead does something before or after a page is read.
type ahead struct {
	*outside
	before map[string]func(context.Context) error
	after  map[string]func()
}

func (o *ahead) Pull(ctx context.Context, cursor string) (provider.Page, error) {
	if do := o.before[cursor]; do != nil {
		if err := do(ctx); err != nil {
			return provider.Page{}, err
		}
	}
	page, err := o.outside.Pull(ctx, cursor)
	if do := o.after[cursor]; do != nil {
		do()
	}
	return page, err
}

// replaceCal puts another value in the place of the calendar's connection.
func (d *desk) replaceCal(system any) {
	d.mu.Lock()
	d.systems[d.cal.ID] = system
	d.mu.Unlock()
	d.setState(d.cal.ID, domain.IntegrationPaused)
	d.setState(d.cal.ID, domain.IntegrationActive) // another version, so that the value is opened anew
}

// await waits until something holds.
func (d *desk) await(ctx context.Context, holds func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

func TestLostPositionRestartsAsFullListing(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.SetSyncCursor(ctx, d.cal.ID, "forgotten") })
	d.atCal.pages[""] = provider.Page{Changes: []domain.Change{change("a", domain.CategoryVendor, 1, 2)}, Next: "delta", Complete: true}
	ref := d.startRun(d.cal, false)
	_, err := call(d, d.syncs().PullPage, activities.PullPageInput{SyncRef: ref})
	d.wantKind(err, domain.KindGoneToken)
	if got := d.pull(ref); !got.Complete || got.Applied != 1 {
		t.Errorf("page after the restart: %+v", got)
	}
	if r := d.run(ref); !r.Full {
		t.Error("the run did not become a full one")
	}
}

func TestRefusedCredentialsStopTheIntegration(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ref := d.startRun(d.cal, true)
	d.atCal.faults["pull"] = []error{domain.E(domain.KindUnauthenticated, "token expired")}
	_, err := call(d, d.syncs().PullPage, activities.PullPageInput{SyncRef: ref})
	d.wantKind(err, domain.KindUnauthenticated)
	if got := d.state(d.cal.ID); got != domain.IntegrationNeedsReconnect {
		t.Errorf("integration is %s", got)
	}
}

func TestLostConsentSaysHowToConnectAgain(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ref := d.startRun(d.cal, true)
	d.atCal.faults["pull"] = []error{domain.E(domain.KindUnauthenticated, "the consent is gone")}
	byConsent := connect.New(func(name string) (provider.Registration, bool) {
		return provider.Registration{Name: name, Open: d.open, OAuth: func(json.RawMessage, bool) (provider.OAuth, error) { return provider.OAuth{}, nil }}, true
	}, nil, d.clock, 0)
	_, err := call(d, (&activities.Syncs{Store: d.Store, Opener: byConsent}).PullPage, activities.PullPageInput{SyncRef: ref})
	d.wantKind(err, domain.KindUnauthenticated)
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		i, err := tx.Integration(ctx, d.cal.ID)
		if i.State != domain.IntegrationNeedsReconnect || !strings.Contains(i.StateReason, "wedsync integration connect "+string(i.ID)) {
			t.Errorf("%s: %s", i.State, i.StateReason)
		}
		return err
	})
}

func TestAbsenceIsProvedEntryByEntry(t *testing.T) {
	t.Parallel()
	d := setup(t)
	var ids []domain.BookingID
	for n := range 4 {
		c := change(fmt.Sprintf("e%d", n), domain.CategoryVendor, float64(2*n), float64(2*n+1))
		ids = append(ids, d.arrive(d.cal, c))
		if n != 1 {
			d.atCal.entries[c.ExternalID] = c
		}
	}
	// The listing names two of them, and one that it could not understand.
	d.atCal.pages[""] = provider.Page{Changes: []domain.Change{change("e0", domain.CategoryVendor, 0, 1)},
		Problems: []provider.Problem{{ExternalID: "e3", Err: fmt.Errorf("unreadable")}}, Next: "delta", Complete: true}
	ref := d.startRun(d.cal, true)
	d.pull(ref)
	in := activities.ConfirmRemovalsInput{SyncRef: ref}
	if got := run(d, d.syncs().ConfirmRemovals, in); got.Removed != 1 || got.Quarantined != 0 {
		t.Errorf("result is %+v", got)
	}
	for n, want := range []domain.BookingStatus{domain.StatusConfirmed, domain.StatusCancelled, domain.StatusConfirmed, domain.StatusConfirmed} {
		if got := d.booking(ids[n]).Status; got != want {
			t.Errorf("booking %d is %s, want %s", n, got, want)
		}
	}
	if n := d.atCal.count("read"); n != 2 {
		t.Errorf("%d entries were asked for, want the two that were not named", n)
	}
	d.unchanged(func() {
		if again := run(d, d.syncs().ConfirmRemovals, in); again.Removed != 0 {
			t.Errorf("again: %+v", again)
		}
	})
}

func TestEntryThatWentBeforeItsLinkWasTouchedInTheListingIsMissed(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	d.write(d.cal)
	d.atCal.pages[""] = provider.Page{Next: "delta", Complete: true}
	first := d.startRun(d.cal, true)
	d.pull(first)
	run(d, none(d.syncs().EndSyncRun), activities.EndSyncRunInput{SyncRef: first, State: domain.SyncDone})
	delete(d.atCal.entries, "copy-1")
	ref := d.startRun(d.cal, true)
	d.pull(ref)
	d.move(id, span(13, 15)) // the write is noted on the link, and refused
	if got := d.write(d.cal); got.Retried != 1 {
		t.Fatalf("result is %+v", got)
	}
	if got := run(d, d.syncs().ConfirmRemovals, activities.ConfirmRemovalsInput{SyncRef: ref}); got.Removed != 1 || got.Quarantined != 0 {
		t.Errorf("result is %+v", got)
	}
	if got := d.write(d.cal); got.Done != 1 || !d.atCal.entries["copy-2"].When.Equal(span(13, 15)) {
		t.Errorf("result is %+v, entries %+v", got, d.atCal.entries)
	}
}

func TestAnswerAboutAMissingEntryThatWasOvertakenByAWriteIsNoEdit(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.arrive(d.crm, change("w1", domain.CategoryWedding, 10, 12))
	d.write(d.cal)
	d.atCal.pages[""] = provider.Page{Next: "delta", Complete: true} // a listing that leaves our copy out
	ref := d.startRun(d.cal, true)
	d.pull(ref)
	slow := &slowReader{outside: d.atCal, after: func() { d.move(id, span(13, 15)); d.advance(time.Second); d.write(d.cal) }}
	d.mu.Lock()
	d.systems[d.cal.ID] = slow
	d.mu.Unlock()
	d.setState(d.cal.ID, domain.IntegrationPaused)
	d.setState(d.cal.ID, domain.IntegrationActive) // another version, so that the value is opened anew
	if got := run(d, d.syncs().ConfirmRemovals, activities.ConfirmRemovalsInput{SyncRef: ref}); got.Removed != 0 {
		t.Errorf("result is %+v", got)
	}
	if b := d.booking(id); !b.When.Equal(span(13, 15)) || d.atCal.count("read") != 2 {
		t.Errorf("the booking is at %v, the entry was asked for %d times", b.When, d.atCal.count("read"))
	}
}

// slowReader lets something happen before its first answer arrives.
type slowReader struct {
	*outside
	after func()
}

func (s *slowReader) Read(ctx context.Context, id string) (domain.Change, error) {
	c, err := s.outside.Read(ctx, id)
	if after := s.after; after != nil {
		s.after = nil
		after()
	}
	return c, err
}

func TestDoubtRemovesNothing(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.arrive(d.cal, change("e0", domain.CategoryVendor, 0, 1))
	d.atCal.pages[""] = provider.Page{Next: "delta", Complete: true}
	ref := d.startRun(d.cal, true)
	d.pull(ref)
	for _, doubt := range []domain.ErrorKind{domain.KindUnavailable, domain.KindForbidden, domain.KindPermanent} {
		d.atCal.faults["read"] = []error{domain.E(doubt, "no answer")}
		_, err := call(d, d.syncs().ConfirmRemovals, activities.ConfirmRemovalsInput{SyncRef: ref})
		d.wantKind(err, doubt)
	}
	if b := d.booking(id); b.Status != domain.StatusConfirmed {
		t.Errorf("booking is %s", b.Status)
	}
}

func TestManyMissingAtOnceAreQuarantined(t *testing.T) {
	t.Parallel()
	d := setup(t)
	for n := range 6 {
		d.arrive(d.cal, change(fmt.Sprintf("e%d", n), domain.CategoryVendor, float64(2*n), float64(2*n+1)))
	}
	d.atCal.pages[""] = provider.Page{Next: "delta", Complete: true}
	ref := d.startRun(d.cal, true)
	d.pull(ref)
	got := run(d, d.syncs().ConfirmRemovals, activities.ConfirmRemovalsInput{SyncRef: ref})
	if got.Removed != 0 || got.Quarantined != 6 || d.atCal.count("read") != 0 {
		t.Errorf("result is %+v", got)
	}
}

// lister can be listed and nothing else.
type lister struct{ o *outside }

func (l lister) Pull(ctx context.Context, cursor string) (provider.Page, error) {
	return l.o.Pull(ctx, cursor)
}

func TestSystemWithoutReaderRemovesNothing(t *testing.T) {
	t.Parallel()
	d := setup(t)
	o := newOutside()
	feed := d.connect("feed", domain.DirectionImport, lister{o})
	id := d.arrive(feed, change("e0", domain.CategoryVendor, 0, 1))
	o.pages[""] = provider.Page{Next: "delta", Complete: true}
	ref := d.startRun(feed, true)
	d.pull(ref)
	if got := run(d, d.syncs().ConfirmRemovals, activities.ConfirmRemovalsInput{SyncRef: ref}); got.Removed != 0 || got.Quarantined != 1 {
		t.Errorf("result is %+v", got)
	}
	if b := d.booking(id); b.Status != domain.StatusConfirmed {
		t.Errorf("booking is %s", b.Status)
	}
}

func TestRunThatCouldNotBeStoredEndsQuietly(t *testing.T) {
	t.Parallel()
	d := setup(t)
	run(d, none(d.syncs().EndSyncRun), activities.EndSyncRunInput{SyncRef: activities.SyncRef{Org: d.org, Integration: d.cal.ID,
		Run: domain.NewID[domain.SyncRunID](d.clock())}, State: domain.SyncFailed, Kind: domain.KindUnavailable})
}

func TestLagIsMeasuredFromTheChangeOrItsNoticeAndNotOfAFirstListing(t *testing.T) {
	t.Parallel()
	d, _, i := watching(t)
	d.keep(i)
	at := func(c domain.Change, before time.Duration) domain.Change {
		when := d.clock().Add(-before)
		c.ChangedAt = &when
		return c
	}
	measured := func() (m freshness.Measured) {
		d.tenant(func(ctx context.Context, tx *store.Tx) error {
			all, err := tx.Freshness(ctx, i.ID)
			m = all[i.ID]
			return err
		})
		return m
	}
	pull := func(full bool) {
		ref := d.startRun(i, full)
		run(d, d.syncs().PullPage, activities.PullPageInput{SyncRef: ref})
		run(d, none(d.syncs().EndSyncRun), activities.EndSyncRunInput{SyncRef: ref, State: domain.SyncDone})
	}
	d.atCal.pages[""] = provider.Page{Changes: []domain.Change{at(change("old", domain.CategoryVendor, 1, 2), time.Hour)}, Next: "one", Complete: true}
	pull(true)
	if m := measured(); len(m.Lags) != 0 {
		t.Errorf("the first listing was measured: %v", m.Lags)
	}
	d.advance(10 * time.Minute)
	d.notice(d.one(i, domain.WatchActive).ID, store.WatchNotice{Pull: true})
	d.advance(3 * time.Second)
	d.atCal.pages["one"] = provider.Page{Changes: []domain.Change{at(change("timed", domain.CategoryVendor, 3, 4), 20*time.Second),
		change("untimed", domain.CategoryVendor, 5, 6), change("old", domain.CategoryVendor, 1, 2)}, Next: "two"}
	pull(false) // a run is prepared for a second, and its first page is read a second later
	if m := measured(); len(m.Lags) != 2 || m.Lags[0] != 22*time.Second || m.Lags[1] != 5*time.Second || m.Late != 0 || m.Wanted != nil {
		t.Errorf("measured %+v", m)
	}
	d.advance(10 * time.Minute)
	d.atCal.pages["two"] = provider.Page{Changes: []domain.Change{{Op: domain.OpRemove, ExternalID: "timed"}}, Next: "three"}
	pull(false)
	// Nobody told of the removal: it can have been at any time since the last reading, which is later than is aimed at.
	if m := measured(); len(m.Lags) != 3 || m.Lags[2] != 10*time.Minute+2*time.Second || m.Changes != 3 || m.Late != 1 {
		t.Errorf("measured %+v", m)
	}
}

func TestPageTellsHowManyEntriesThereAre(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.atCal.pages[""] = provider.Page{Changes: []domain.Change{change("a", domain.CategoryVendor, 1, 2)}, Next: "p2", More: true, Total: 500}
	d.atCal.pages["p2"] = provider.Page{Changes: []domain.Change{change("b", domain.CategoryVendor, 3, 4)}, Next: "p3", Complete: true}
	ref := d.startRun(d.cal, true)
	for range 2 {
		if got := d.pull(ref); got.Expected != 500 {
			t.Errorf("page is %+v", got)
		}
	}
}
