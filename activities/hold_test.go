package activities_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

func (d *desk) guard() *guard.Guard { return &guard.Guard{Store: d.Store, Opener: d.opener} }

// fill puts n entries into a system and returns their bookings.
func (d *desk) fill(i domain.Integration, at *outside, n int) []domain.BookingID {
	d.t.Helper()
	var out []domain.BookingID
	for k := range n {
		c := change(fmt.Sprintf("e%d", k), domain.CategoryVendor, float64(3*k), float64(3*k+1))
		c.Details.Title = fmt.Sprintf("Entry number %d", k)
		at.entries[c.ExternalID] = c
		out = append(out, d.arrive(i, c))
	}
	d.advance(time.Hour) // what was made long ago
	return out
}

func removals(from, to int) []domain.Change {
	var out []domain.Change
	for k := from; k < to; k++ {
		out = append(out, domain.Change{Op: domain.OpRemove, ExternalID: fmt.Sprintf("e%d", k)})
	}
	return out
}

func (d *desk) quarantine(i domain.Integration, state domain.QuarantineState) domain.Quarantine {
	d.t.Helper()
	var list []domain.Quarantine
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		list, _, err = tx.Quarantines(ctx, store.QuarantineFilter{Integration: i.ID, State: state}, store.Page{})
		return err
	})
	if len(list) != 1 {
		d.t.Fatalf("%d quarantines are %s, want one", len(list), state)
	}
	return list[0]
}

func (d *desk) noQuarantine(i domain.Integration) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		list, _, err := tx.Quarantines(ctx, store.QuarantineFilter{Integration: i.ID}, store.Page{})
		if len(list) > 0 {
			d.t.Errorf("there are %d quarantines: %+v", len(list), list)
		}
		return err
	})
}

func (d *desk) outcomes(q domain.Quarantine) map[string]domain.HeldOutcome {
	d.t.Helper()
	out := map[string]domain.HeldOutcome{}
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		rows, _, err := tx.HeldRows(ctx, q.ID, false, store.Page{Limit: 200})
		for _, r := range rows {
			out[r.Link.ExternalID] = r.Outcome
		}
		return err
	})
	return out
}

func (d *desk) statuses(ids []domain.BookingID) map[domain.BookingStatus]int {
	d.t.Helper()
	out := map[domain.BookingStatus]int{}
	for _, id := range ids {
		out[d.booking(id).Status]++
	}
	return out
}

func (d *desk) wantStatuses(ids []domain.BookingID, confirmed, cancelled int) {
	d.t.Helper()
	got := d.statuses(ids)
	if got[domain.StatusConfirmed] != confirmed || got[domain.StatusCancelled] != cancelled {
		d.t.Errorf("bookings are %v, want %d confirmed and %d cancelled", got, confirmed, cancelled)
	}
}

func soon() time.Time { return time.Now().Add(time.Minute) }

func TestManyRemovalsThatASystemReportsItselfAreHeld(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ids := d.fill(d.cal, d.atCal, 10)
	d.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.SetSyncCursor(ctx, d.cal.ID, "c1") })
	d.atCal.pages["c1"] = provider.Page{Changes: removals(0, 8), Next: "c2"}
	ref := d.startRun(d.cal, false)
	if got := d.pull(ref); got.Removed != 0 || got.Held != 8 || got.Seen != 8 {
		t.Errorf("page: %+v", got)
	}
	d.wantStatuses(ids, 10, 0)
	q := d.quarantine(d.cal, domain.QuarantineOpen)
	if q.Held != 8 || q.Left != 8 || q.Known != 10 || q.Missing != 8 || q.Cause != (domain.Cause{Kind: domain.CauseSyncRun, ID: string(ref.Run)}) {
		t.Errorf("quarantine is %+v", q)
	}
	if r := d.run(ref); r.Quarantined != 8 {
		t.Errorf("run counts %d held", r.Quarantined)
	}
	// The same page again holds nothing twice.
	d.atCal.pages["c2"] = provider.Page{Changes: removals(0, 8), Next: "c3"}
	d.pull(ref)
	if again := d.quarantine(d.cal, domain.QuarantineOpen); again.Held != 8 {
		t.Errorf("held %d after a repeat", again.Held)
	}
}

func TestFewRemovalsAndAFewAmongManyAreCarriedOut(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ids := d.fill(d.cal, d.atCal, 10)
	d.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.SetSyncCursor(ctx, d.cal.ID, "c1") })
	d.atCal.pages["c1"] = provider.Page{Changes: removals(0, 5), Next: "c2"}
	if got := d.pull(d.startRun(d.cal, false)); got.Removed != 5 {
		t.Errorf("page: %+v", got)
	}
	d.wantStatuses(ids, 5, 5)
	d.noQuarantine(d.cal)
}

func TestABurstOfWebhooksCountsTogetherAndAQuietDayDoesNot(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ids := d.fill(d.crm, d.atCRM, 20)
	send := func(from, to int) {
		for k := from; k < to; k++ {
			d.advance(time.Minute)
			d.deliver(d.crm, body(removals(k, k+1)...))
			run(d, d.deliveries().ApplyDeliveries, activities.ApplyDeliveriesInput{Org: d.org, Integration: d.crm.ID})
		}
	}
	send(0, 9) // one a minute: the tenth minute sees them all
	d.wantStatuses(ids, 15, 5)
	q := d.quarantine(d.crm, domain.QuarantineOpen)
	if q.Held != 4 || q.Cause.Kind != domain.CauseDelivery {
		t.Errorf("quarantine is %+v", q)
	}
	var held domain.Delivery
	if held = d.delivery(domain.DeliveryID(q.Cause.ID)); held.State != domain.DeliveryApplied || !strings.HasPrefix(held.Reason, "held") {
		t.Errorf("the delivery is %s: %s", held.State, held.Reason)
	}
	// An hour later one more is nothing unusual, and what is held stays held.
	d.advance(time.Hour)
	send(12, 13)
	d.wantStatuses(ids, 14, 6)
	send(8, 9)
	d.wantStatuses(ids, 14, 6)
}

func TestEntriesThatComeBackAreLetGo(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ids := d.fill(d.crm, d.atCRM, 8)
	d.deliver(d.crm, body(removals(0, 8)...))
	apply := func() {
		run(d, d.deliveries().ApplyDeliveries, activities.ApplyDeliveriesInput{Org: d.org, Integration: d.crm.ID})
	}
	apply()
	q := d.quarantine(d.crm, domain.QuarantineOpen)
	var all []domain.Change
	for k := range 8 {
		all = append(all, d.atCRM.entries[fmt.Sprintf("e%d", k)])
	}
	d.deliver(d.crm, body(all[:3]...))
	apply()
	if got := d.quarantine(d.crm, domain.QuarantineOpen); got.Left != 5 {
		t.Errorf("%d are left", got.Left)
	}
	d.deliver(d.crm, body(all[3:]...))
	apply()
	if got := d.quarantine(d.crm, domain.QuarantineRestored); got.ID != q.ID || got.DecidedBy != "system:guard" {
		t.Errorf("quarantine is %+v", got)
	}
	d.wantStatuses(ids, 8, 0)
	var i domain.Integration
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		i, err = tx.Integration(ctx, d.crm.ID)
		return err
	})
	if i.Held {
		t.Error("the integration still says that removals are held")
	}
}

// A version that is older than the removal that is held, and comes after it, says nothing of whether the entry exists.
func TestAnOlderVersionThatComesLateLetsNoHeldRemovalGo(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ids := d.fill(d.crm, d.atCRM, 8)
	hand := func(version int64, changes ...domain.Change) {
		for n := range changes {
			changes[n].RemoteVersion = version
		}
		d.deliver(d.crm, body(changes...))
		run(d, d.deliveries().ApplyDeliveries, activities.ApplyDeliveriesInput{Org: d.org, Integration: d.crm.ID})
	}
	left := func(want int) {
		t.Helper()
		if q := d.quarantine(d.crm, domain.QuarantineOpen); q.Left != want {
			t.Errorf("%d are left, want %d", q.Left, want)
		}
	}
	var entries []domain.Change
	for k := range 8 {
		entries = append(entries, d.atCRM.entries[fmt.Sprintf("e%d", k)])
	}
	hand(2, entries...)
	hand(5, removals(0, 8)...)
	left(8)
	hand(6, removals(2, 3)...) // told again, by a newer version
	for n := range entries {
		entries[n].Details.Title += ", as it was"
	}
	hand(3, entries[0], entries[1])
	hand(5, entries[2])
	left(8)
	hand(6, entries[3])
	left(7)
	hand(7, removals(3, 4)...) // one that came back and goes again is held again
	left(8)
	hand(9, entries[4])
	left(7)

	d.advance(time.Minute)
	mute := connect.New(func(string) (provider.Registration, bool) {
		return provider.Registration{Open: func(provider.Connection) (any, error) { return struct{}{}, nil }}, true
	}, nil, d.clock, 0)
	q, err := (&guard.Guard{Store: d.Store, Opener: mute}).Approve(t.Context(), d.org, d.quarantine(d.crm, domain.QuarantineOpen).ID, "alex", "they are gone", soon())
	d.must(err)
	if q.Left != 0 {
		t.Errorf("%d are left after the decision", q.Left)
	}
	want := map[string]domain.HeldOutcome{}
	for k := range 8 {
		want[fmt.Sprintf("e%d", k)] = domain.HeldRemoved
	}
	want["e4"] = domain.HeldBack
	if diff := cmp.Diff(want, d.outcomes(q)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	d.wantStatuses(ids, 1, 7)
}

// hold makes a quarantine of all n entries of the calendar, of which the first half is gone there.
func (d *desk) hold(n int) ([]domain.BookingID, domain.Quarantine) {
	d.t.Helper()
	ids := d.fill(d.cal, d.atCal, n)
	d.atCal.pages[""] = provider.Page{Next: "delta", Complete: true}
	ref := d.startRun(d.cal, true)
	d.pull(ref)
	if got := run(d, d.syncs().ConfirmRemovals, activities.ConfirmRemovalsInput{SyncRef: ref}); got.Quarantined != n {
		d.t.Fatalf("held %+v", got)
	}
	for k := range n / 2 {
		delete(d.atCal.entries, fmt.Sprintf("e%d", k))
	}
	return ids, d.quarantine(d.cal, domain.QuarantineOpen)
}

func TestApprovedRemovalsAreProvedAgainAndThoseThatAreThereAreLeftAlone(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ids, q := d.hold(8)
	got, err := d.guard().Approve(t.Context(), d.org, q.ID, "alex", "the season is over", soon())
	d.must(err)
	if got.State != domain.QuarantineApproved || got.Left != 0 || got.DecidedBy != "alex" {
		t.Errorf("quarantine is %+v", got)
	}
	d.wantStatuses(ids, 4, 4)
	want := map[string]domain.HeldOutcome{}
	for k := range 8 {
		want[fmt.Sprintf("e%d", k)] = map[bool]domain.HeldOutcome{true: domain.HeldRemoved, false: domain.HeldBack}[k < 4]
	}
	if diff := cmp.Diff(want, d.outcomes(q)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	reads := d.atCal.count("read")
	d.unchanged(func() {
		_, err := d.guard().Approve(t.Context(), d.org, q.ID, "alex", "again", soon())
		d.must(err)
	})
	if d.atCal.count("read") != reads {
		t.Error("a repeat asked the system again")
	}
	_, err = d.guard().Restore(t.Context(), d.org, q.ID, "alex", "no", soon())
	if domain.KindOf(err) != domain.KindConflict {
		t.Errorf("the other decision: %v", err)
	}
	// The history says what cancelled the booking.
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.BookingChanges(ctx, ids[0], 0, 1)
		if err == nil && (list[0].Cause != domain.Cause{Kind: domain.CauseQuarantine, ID: string(q.ID)} || !cmp.Equal(list[0].Fields, []string{"status"})) {
			t.Errorf("history says %+v", list[0])
		}
		return err
	})
}

func TestAnApprovalThatCannotBeProvedWaitsAndTheKeeperGoesOn(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ids, q := d.hold(8)
	d.atCal.faults["read"] = []error{domain.E(domain.KindUnavailable, "down")}
	got, err := d.guard().Approve(t.Context(), d.org, q.ID, "alex", "yes", soon())
	d.must(err)
	if got.Left != 8 {
		t.Errorf("%d are left", got.Left)
	}
	d.wantStatuses(ids, 8, 0)
	k := &guard.Keeper{Guard: d.guard(), Log: slog.New(slog.DiscardHandler)}
	if n, err := k.Pass(t.Context()); err != nil || n != 0 {
		t.Errorf("at once: %d, %v", n, err)
	}
	d.advance(2 * time.Minute)
	if n, err := k.Pass(t.Context()); err != nil || n != 1 {
		t.Errorf("a while later: %d, %v", n, err)
	}
	d.wantStatuses(ids, 4, 4)
	d.advance(time.Hour)
	if n, err := k.Pass(t.Context()); err != nil || n != 0 {
		t.Errorf("afterwards: %d, %v", n, err)
	}
}

func TestRestoredBookingsStayAndAreWrittenBack(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ids, q := d.hold(8)
	got, err := d.guard().Restore(t.Context(), d.org, q.ID, "alex", "a mistake", soon())
	d.must(err)
	if got.Left != 0 || got.State != domain.QuarantineRestored {
		t.Errorf("quarantine is %+v", got)
	}
	d.wantStatuses(ids, 8, 0)
	for e, o := range d.outcomes(q) {
		if want := map[bool]domain.HeldOutcome{true: domain.HeldWritten, false: domain.HeldBack}[e < "e4"]; o != want {
			t.Errorf("%s is %q, want %q", e, o, want)
		}
	}
	run(d, d.pushes().PushBookings, activities.PushBookingsInput{Org: d.org, Integration: d.cal.ID})
	for k, id := range ids {
		live := 0
		for _, l := range d.links(id, d.cal) {
			if l.RemovedAt == nil {
				live++
				if l.Mirror != (k < 4) {
					t.Errorf("link of booking %d: mirror %t", k, l.Mirror)
				}
			}
		}
		if live != 1 {
			t.Errorf("booking %d has %d live links", k, live)
		}
	}
	if len(d.atCal.entries) != 8 {
		t.Errorf("the calendar has %d entries", len(d.atCal.entries))
	}
}

func TestAnUndecidedQuarantineEndsAndDeletesNothing(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ids, q := d.hold(8)
	d.advance(domain.QuarantineTime + time.Minute)
	_, err := d.guard().Approve(t.Context(), d.org, q.ID, "alex", "too late", soon())
	if domain.KindOf(err) != domain.KindConflict {
		t.Errorf("a late approval: %v", err)
	}
	k := &guard.Keeper{Guard: d.guard(), Log: slog.New(slog.DiscardHandler)}
	if n, err := k.Pass(t.Context()); err != nil || n != 1 {
		t.Errorf("keeper: %d, %v", n, err)
	}
	d.wantStatuses(ids, 8, 0)
	if got := d.quarantine(d.cal, domain.QuarantineExpired); got.ID != q.ID || got.Left != 0 {
		t.Errorf("quarantine is %+v", got)
	}
}

func TestAConnectionPointedElsewhereDeletesNothingHoweverFewItHad(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ids := d.fill(d.cal, d.atCal, 3)
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		i, err := tx.Integration(ctx, d.cal.ID)
		if err != nil {
			return err
		}
		return guard.Moved(ctx, tx, i, "alex")
	})
	q := d.quarantine(d.cal, domain.QuarantineOpen)
	if q.Held != 3 || q.Cause.Kind != domain.CauseSettings {
		t.Errorf("quarantine is %+v", q)
	}
	// The new place has one of the three, and nothing else.
	clear(d.atCal.entries)
	there := change("other", domain.CategoryVendor, 0, 1)
	there.Details.Title = "Entry number 0"
	d.atCal.entries["other"] = there
	d.atCal.pages[""] = provider.Page{Changes: []domain.Change{there}, Next: "delta", Complete: true}
	ref := d.startRun(d.cal, true)
	d.pull(ref)
	if got := run(d, d.syncs().ConfirmRemovals, activities.ConfirmRemovalsInput{SyncRef: ref}); got.Removed != 0 {
		t.Errorf("removed %+v", got)
	}
	d.wantStatuses(ids, 3, 0)
	_, err := d.guard().Approve(t.Context(), d.org, q.ID, "alex", "they belong to the old account", soon())
	d.must(err)
	d.wantStatuses(ids, 1, 2)
	if got := d.booking(ids[0]).Status; got != domain.StatusConfirmed {
		t.Error("the one that the new place has too was cancelled")
	}
}

func TestPurgeTakesOurCopiesOutAndNothingElse(t *testing.T) {
	t.Parallel()
	d := setup(t)
	own := d.fill(d.cal, d.atCal, 2)
	var ids []domain.BookingID
	for k := range 3 {
		ids = append(ids, d.arrive(d.crm, change(fmt.Sprintf("w%d", k), domain.CategoryVendor, float64(100+3*k), float64(101+3*k))))
	}
	push := func() {
		run(d, d.pushes().PushBookings, activities.PushBookingsInput{Org: d.org, Integration: d.cal.ID})
	}
	push()
	if len(d.atCal.entries) != 5 {
		t.Fatalf("the calendar has %d entries", len(d.atCal.entries))
	}
	var p domain.Purge
	start := func() {
		d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
			p, _, err = guard.StartPurge(ctx, tx, domain.Purge{ID: domain.NewID[domain.PurgeID](d.clock()), IntegrationID: d.cal.ID, RequestedBy: "alex", Reason: "leaving"})
			return err
		})
	}
	start()
	first := p.ID
	if p.Copies != 3 || p.Left != 3 {
		t.Errorf("purge is %+v", p)
	}
	// A booking that changes meanwhile is not written again, and a second request is the same purge.
	d.arrive(d.crm, change("w1", domain.CategoryVendor, 103, 105))
	d.advance(time.Second)
	start()
	if p.ID != first {
		t.Error("a second purge was begun")
	}
	d.atCal.lost["remove"] = 1
	push()
	d.advance(time.Hour)
	push()
	if len(d.atCal.entries) != 2 {
		t.Errorf("the calendar has %d entries, want its own two", len(d.atCal.entries))
	}
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		p, err = tx.LastPurge(ctx, d.cal.ID)
		return err
	})
	if p.EndedAt == nil || p.Left != 0 || p.Copies != 3 {
		t.Errorf("purge is %+v", p)
	}
	d.wantStatuses(append(own, ids...), 5, 0)
	// The calendar tells of the removals: nothing comes back and nothing is cancelled.
	d.arrive(d.crm, change("w2", domain.CategoryVendor, 110, 112))
	push()
	if len(d.atCal.entries) != 2 {
		t.Error("a copy was written after the purge")
	}
}

func TestPurgeBeforeDisconnectingDeletesTheIntegrationAtItsEnd(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.arrive(d.crm, change("w", domain.CategoryVendor, 1, 2))
	push := func() {
		run(d, d.pushes().PushBookings, activities.PushBookingsInput{Org: d.org, Integration: d.cal.ID})
	}
	push()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, _, err := guard.StartPurge(ctx, tx, domain.Purge{ID: domain.NewID[domain.PurgeID](tx.Now), IntegrationID: d.cal.ID, RequestedBy: "alex", Reason: "leaving", Disconnect: true})
		return err
	})
	if got := d.state(d.cal.ID); got != domain.IntegrationActive {
		t.Errorf("integration is %s before its copies are removed", got)
	}
	push()
	if got := d.state(d.cal.ID); got != domain.IntegrationDeleted {
		t.Errorf("integration is %s", got)
	}
	if len(d.atCal.entries) != 0 {
		t.Error("the copy is still there")
	}
}
