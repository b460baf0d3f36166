package activities_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/holds"
	"github.com/wedsync/wedsync/internal/notify"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// A wedding of the studio is on the day of these tests, from 13:00 to 21:00 UTC, for another of its people. nextMonth is an
// hour that lies within no freeze.
const nextMonth = 24 * 30

// married makes the wedding and moves the clock to the evening before.
func (d *desk) married() domain.BookingID {
	d.t.Helper()
	other := d.newResource()
	b := domain.Booking{ID: domain.NewID[domain.BookingID](d.clock()), OrgID: d.org, ResourceID: other.ID, Category: domain.CategoryWedding, Status: domain.StatusConfirmed, When: span(13, 21)}
	d.put(b)
	d.advance(day.Add(-4 * time.Hour).Sub(d.clock()))
	return b.ID
}

// over moves the clock behind the wedding and its freeze.
func (d *desk) over() {
	d.t.Helper()
	d.advance(day.Add(48 * time.Hour).Sub(d.clock()))
}

func TestARemovalWaitsForAPersonWhileAWeddingIsNear(t *testing.T) {
	t.Parallel()
	d := setup(t)
	first := d.arrive(d.crm, change("first", meeting, nextMonth, nextMonth+1))
	second := d.arrive(d.crm, change("second", meeting, nextMonth+2, nextMonth+3))
	// Before the freeze one removal is carried out at once.
	d.deliver(d.crm, body(domain.Change{Op: domain.OpRemove, ExternalID: "first"}))
	d.applyTo(d.crm)
	d.wantStatuses([]domain.BookingID{first}, 0, 1)
	d.noQuarantine(d.crm)

	d.married()
	ids := d.deliver(d.crm, body(domain.Change{Op: domain.OpRemove, ExternalID: "second"}))
	d.applyTo(d.crm)
	d.wantStatuses([]domain.BookingID{second}, 1, 0)
	if got := d.delivery(ids[0]); got.State != domain.DeliveryApplied || got.Reason != guard.Reason {
		t.Errorf("the delivery is %s: %s", got.State, got.Reason)
	}
	q := d.quarantine(d.crm, domain.QuarantineOpen)
	if q.Held != 1 || !strings.Contains(q.Reason, "wedding") {
		t.Errorf("held %d because %q", q.Held, q.Reason)
	}
	// What protects goes on: a new booking is taken and its busy time written.
	fresh := d.arrive(d.crm, change("fresh", meeting, nextMonth+5, nextMonth+6))
	if got := d.write(d.cal); got.Done == 0 || len(d.links(fresh, d.cal)) != 1 {
		t.Errorf("the busy time of a new booking: %+v", got)
	}
	// A person may decide at any time.
	if _, err := d.guard().Approve(t.Context(), d.org, q.ID, "ann", "they called", time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	d.wantStatuses([]domain.BookingID{second}, 0, 1)

	d.over()
	d.deliver(d.crm, body(domain.Change{Op: domain.OpRemove, ExternalID: "fresh"}))
	d.applyTo(d.crm)
	d.wantStatuses([]domain.BookingID{fresh}, 0, 1)
}

func TestWhoSetsNearHoldsOnlyTheRemovalsOfTheDay(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		s := domain.StandardFreezeSettings()
		s.Holds = domain.FreezeHoldsNear
		_, err := tx.PutFreezeSettings(ctx, s, "ann", 0)
		return err
	})
	near := d.arrive(d.crm, change("near", domain.CategoryVendor, 9, 11))
	far := d.arrive(d.crm, change("far", meeting, nextMonth, nextMonth+1))
	d.married()
	d.deliver(d.crm, body(domain.Change{Op: domain.OpRemove, ExternalID: "near"}, domain.Change{Op: domain.OpRemove, ExternalID: "far"}))
	d.applyTo(d.crm)
	d.wantStatuses([]domain.BookingID{near}, 1, 0)
	d.wantStatuses([]domain.BookingID{far}, 0, 1)
	if q := d.quarantine(d.crm, domain.QuarantineOpen); q.Held != 1 {
		t.Errorf("%d are held", q.Held)
	}
}

func TestAnEntryMissingFromAFullListingWaitsWhileAWeddingIsNear(t *testing.T) {
	t.Parallel()
	d := setup(t)
	gone := d.arrive(d.cal, change("gone", meeting, nextMonth, nextMonth+1))
	d.married()
	d.atCal.pages[""] = provider.Page{Next: "delta", Complete: true}
	ref := d.startRun(d.cal, true)
	d.pull(ref)
	got := run(d, d.syncs().ConfirmRemovals, activities.ConfirmRemovalsInput{SyncRef: ref})
	if got.Removed != 0 || got.Quarantined != 1 {
		t.Errorf("removed %d, held %d", got.Removed, got.Quarantined)
	}
	d.wantStatuses([]domain.BookingID{gone}, 1, 0)
	if n := d.atCal.count("read"); n != 0 {
		t.Errorf("the system was asked %d times for what is not to be removed", n)
	}
}

func TestNeitherVersionOfAnEntryIsLostWhileAWeddingIsNear(t *testing.T) {
	t.Parallel()
	d := setup(t)
	e := change("e", meeting, nextMonth, nextMonth+1)
	id := d.arrive(d.cal, e)
	d.married()
	d.move(id, span(nextMonth+4, nextMonth+5))
	e.When = span(nextMonth+8, nextMonth+9)
	d.deliver(d.cal, body(e))
	d.applyTo(d.cal)
	if b := d.booking(id); !b.When.Start.Equal(day.Add((nextMonth + 4) * time.Hour)) {
		t.Errorf("the booking was moved to %s by the newer version", b.When.Start)
	}
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		open, _, err := tx.EditConflicts(ctx, store.EditConflictFilter{State: domain.EditOpen}, store.Page{})
		if err == nil && (len(open) != 1 || open[0].BookingID != id) {
			t.Errorf("a person is asked about %+v", open)
		}
		return err
	})
}

// A listing that tells of a removal and, behind it, of an older version of the entry: the system's last word is the removal.
func TestAnOlderVersionBehindARemovalTakesItOutOfNoHold(t *testing.T) {
	t.Parallel()
	d := setup(t)
	e := change("e", meeting, nextMonth, nextMonth+1)
	e.RemoteVersion = 2
	id := d.arrive(d.cal, e)
	d.married()
	older := e
	older.RemoteVersion, older.Details.Title = 3, "as it was before"
	d.atCal.pages[""] = provider.Page{Next: "delta", Changes: []domain.Change{{Op: domain.OpRemove, ExternalID: "e", RemoteVersion: 5}, older}}
	if got := d.pull(d.startRun(d.cal, true)); got.Removed != 0 || got.Held != 1 {
		t.Errorf("%d removed, %d held", got.Removed, got.Held)
	}
	d.wantStatuses([]domain.BookingID{id}, 1, 0)
	if q := d.quarantine(d.cal, domain.QuarantineOpen); q.Held != 1 {
		t.Errorf("%d are held", q.Held)
	}
}

// A system that says that a wedding is something else, or free time, ends no freeze: a person is asked, and the wedding stays
// as it is meanwhile.
func TestASystemCannotEndAFreezeByMakingItsWeddingSomethingElse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		alter  func(e *domain.Change)
		choose domain.EditChoice
		want   func(b domain.Booking) bool
	}{
		"another category, taken":   {func(e *domain.Change) { e.Category = meeting }, domain.ChooseSource, func(b domain.Booking) bool { return b.Category == meeting }},
		"another category, refused": {func(e *domain.Change) { e.Category = meeting }, domain.ChooseCopy, func(b domain.Booking) bool { return b.Category == domain.CategoryWedding && b.Blocks() }},
		"free":                      {func(e *domain.Change) { e.Free = true }, domain.ChooseSource, func(b domain.Booking) bool { return b.Free }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := setup(t)
			e := change("e", domain.CategoryWedding, 13, 21)
			id := d.arrive(d.crm, e)
			d.advance(day.Add(-4 * time.Hour).Sub(d.clock()))
			c.alter(&e)
			for range 2 { // the repeat changes nothing
				d.deliver(d.crm, body(e))
				d.applyTo(d.crm)
				if b := d.booking(id); b.Category != domain.CategoryWedding || !b.Blocks() {
					t.Fatalf("the wedding is a %s, takes time: %t", b.Category, b.Blocks())
				}
			}
			var open []domain.EditConflict
			d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
				open, _, err = tx.EditConflicts(ctx, store.EditConflictFilter{State: domain.EditOpen}, store.Page{})
				return err
			})
			if len(open) != 1 || open[0].BookingID != id {
				t.Fatalf("a person is asked about %+v", open)
			}
			d.tenant(func(ctx context.Context, tx *store.Tx) error {
				v, over, err := notify.Load(ctx, tx, domain.Recipient{Name: "Ann", Zone: "Europe/Rome"},
					domain.Notification{Kind: domain.NotifyEditConflict, Severity: domain.SeverityHigh, Subject: notify.SubjectOf(domain.NotifyEditConflict) + "/" + string(open[0].ID)}, "")
				if !strings.Contains(v.What, "no wedding that takes time any more") || over != "" {
					t.Errorf("the mail says %q, %q", v.What, over)
				}
				return err
			})
			d.tenant(func(ctx context.Context, tx *store.Tx) error {
				_, err := apply.Settle(ctx, tx, open[0].ID, c.choose, open[0].Version, "ann", "they called")
				return err
			})
			if b := d.booking(id); !c.want(b) {
				t.Errorf("after the decision it is a %s, free %t", b.Category, b.Free)
			}
			// Without a freeze the system's word counts at once.
			d.over()
			other := change("other", domain.CategoryWedding, nextMonth, nextMonth+8)
			far := d.arrive(d.crm, other)
			c.alter(&other)
			d.deliver(d.crm, body(other))
			d.applyTo(d.crm)
			if b := d.booking(far); b.Category == domain.CategoryWedding && b.Blocks() {
				t.Error("without a freeze the wedding stays one against the system's word")
			}
		})
	}
}

func TestNoPolicyDecidesWhileAWeddingIsNear(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.policy(domain.ConflictPolicy{Category: meeting, Other: meeting, Rule: domain.PolicyFirstConfirmed, Then: domain.ThenCancel})
	c, _, _ := d.meet(nextMonth)
	d.married()
	d.judged(c)
	now := d.conflict(c.ID)
	if now.State != domain.ConflictOpen || now.Policy == nil || now.Policy.Outcome != domain.PolicyFrozen {
		t.Errorf("the conflict is %s, its policy says %+v", now.State, now.Policy)
	}
}

func TestAHoldOfTheDayLastsUntilTheFreezeIsOver(t *testing.T) {
	t.Parallel()
	d := setup(t)
	wedding := d.married()
	desk := &holds.Desk{Store: d.Store, Opener: d.opener}
	place := func(from float64) domain.BookingID {
		t.Helper()
		id := domain.NewID[domain.BookingID](d.clock())
		_, err := desk.Place(t.Context(), d.org, id, holds.Wish{ResourceID: d.person.ID, Category: meeting, When: span(from, from+1), Minutes: 60}, "ann", "asked")
		d.must(err)
		return id
	}
	behind, far := place(30), place(nextMonth) // the freeze ends six hours after the wedding
	d.advance(2 * time.Hour)
	expire := &activities.Holds{Store: d.Store}
	until := time.Date(2027, 6, 13, 3, 0, 0, 0, time.UTC)
	if got := run(d, expire.ExpireHold, activities.ExpireHoldInput{Org: d.org, Booking: behind}); got.State != domain.HoldExpired {
		t.Errorf("a hold behind the freeze is %s", got.State)
	}
	within := place(10)
	d.advance(2 * time.Hour)
	if got := run(d, expire.ExpireHold, activities.ExpireHoldInput{Org: d.org, Booking: within}); got.State != domain.HoldLive || !got.ExpiresAt.Equal(until) {
		t.Errorf("a hold of the day: %+v, want until %s", got, until)
	}
	if b := d.booking(within); b.Status != domain.StatusTentative || !b.HeldUntil.Equal(until) {
		t.Errorf("its booking is %s until %s", b.Status, b.HeldUntil)
	}
	if n := d.audited("hold.keep", "booking/"+string(within)); n != 1 {
		t.Errorf("%d lines on record", n)
	}
	if got := run(d, expire.ExpireHold, activities.ExpireHoldInput{Org: d.org, Booking: far}); got.State != domain.HoldExpired {
		t.Errorf("a hold of next month is %s", got.State)
	}
	d.advance(until.Sub(d.clock()))
	if got := run(d, expire.ExpireHold, activities.ExpireHoldInput{Org: d.org, Booking: within}); got.State != domain.HoldExpired {
		t.Errorf("after the freeze it is %s", got.State)
	}
	if b := d.booking(wedding); b.Status != domain.StatusConfirmed {
		t.Errorf("the wedding is %s", b.Status)
	}
}

func TestAPurgeThatRunsIntoAFreezeWaitsUnlessAnAdminInsists(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.arrive(d.crm, change("a", meeting, nextMonth, nextMonth+1))
	d.write(d.cal)
	begin := func(override bool) {
		t.Helper()
		d.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, _, err := guard.StartPurge(ctx, tx, domain.Purge{ID: domain.NewID[domain.PurgeID](tx.Now), IntegrationID: d.cal.ID, RequestedBy: "ann", Reason: "leaving", OverridesFreeze: override})
			return err
		})
	}
	begin(false)
	d.married()
	got := d.write(d.cal)
	if got.Done != 0 || got.More || !got.NextDue.Equal(d.clock().Add(15*time.Minute)) || d.atCal.count("remove") != 0 {
		t.Errorf("during the freeze: %+v, %d removals", got, d.atCal.count("remove"))
	}
	begin(true)
	if got := d.write(d.cal); got.Done != 1 || d.atCal.count("remove") != 1 {
		t.Errorf("with an override: %+v, %d removals", got, d.atCal.count("remove"))
	}
}

func TestAReplayThatRunsIntoAFreezeIsPausedUnlessAnAdminInsists(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.deliver(d.crm, "garbage")
	d.applyTo(d.crm)
	ref := d.ask(domain.ReplayFilter{State: domain.DeliveryDead}, false)
	dry := d.ask(domain.ReplayFilter{State: domain.DeliveryDead}, true)
	d.married()
	if got := d.page(ref, 10); got.State != domain.ReplayPaused || got.Took != 0 || got.More {
		t.Errorf("during the freeze: %+v", got)
	}
	if r := d.replay(ref); r.State != domain.ReplayPaused || !strings.Contains(r.Error, "wedding") {
		t.Errorf("the replay is %s: %s", r.State, r.Error)
	}
	if n := d.audited("replay.pause", "replay/"+string(ref.Replay)); n != 1 {
		t.Errorf("%d lines on record", n)
	}
	if got := d.page(dry, 10); got.Took != 1 {
		t.Errorf("a dry run changes nothing and goes on: %+v", got)
	}
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.OverrideReplay(ctx, ref.Replay); err != nil {
			return err
		}
		_, _, err := tx.SetReplayState(ctx, ref.Replay, domain.ReplayRunning, "")
		return err
	})
	if got := d.page(ref, 10); got.Took != 1 || got.Replayed != 1 {
		t.Errorf("with an override: %+v", got)
	}
}
