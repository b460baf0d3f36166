package activities_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

func (d *desk) replays() *activities.Replays {
	return &activities.Replays{Store: d.Store, Opener: d.opener}
}

// ask makes a replay and counts it.
func (d *desk) ask(f domain.ReplayFilter, dry bool) activities.ReplayRef {
	d.t.Helper()
	d.advance(time.Second)
	id := domain.NewID[domain.ReplayID](d.clock())
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, _, err := tx.CreateReplay(ctx, domain.Replay{ID: id, Filter: f, DryRun: dry, Rate: 100, RequestedBy: "admin", Reason: "test"})
		return err
	})
	d.advance(time.Second)
	ref := activities.ReplayRef{Org: d.org, Replay: id}
	run(d, d.replays().BeginReplay, ref)
	return ref
}

func (d *desk) page(ref activities.ReplayRef, limit int) activities.ReplayPageResult {
	d.t.Helper()
	return run(d, d.replays().ReplayPage, activities.ReplayPageInput{ReplayRef: ref, Limit: limit})
}

func (d *desk) replay(ref activities.ReplayRef) (r domain.Replay) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		r, err = tx.Replay(ctx, ref.Replay)
		return err
	})
	return r
}

func (d *desk) bookings() (list []domain.Booking) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		list, _, err = tx.Bookings(ctx, store.BookingFilter{}, store.Page{})
		return err
	})
	return list
}

func (d *desk) attempts(id domain.DeliveryID) (list []domain.DeliveryAttempt) {
	d.t.Helper()
	one := d.delivery(id)
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		list, err = tx.DeliveryAttempts(ctx, one)
		return err
	})
	return list
}

func TestHistoryHoldsEveryTryButAFirstSuccess(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ids := d.deliver(d.crm, "raw", body(change("a", domain.CategoryVendor, 1, 2)), "garbage")
	deliveries := d.deliveries()
	deliveries.Worker = "7@host"
	apply := func() {
		run(d, deliveries.ApplyDeliveries, activities.ApplyDeliveriesInput{Org: d.org, Integration: d.crm.ID})
	}
	apply()
	d.advance(time.Minute)
	apply()
	got := d.attempts(ids[0])
	if len(got) != 2 || got[0].Outcome != domain.DeliveryRetrying || got[1].N != 2 || got[1].Worker != "7@host" || strings.Contains(got[0].Reason, "Marker") {
		t.Errorf("history %+v", got)
	}
	if got := d.attempts(ids[1]); len(got) != 1 || got[0].Worker != "" || got[0].Outcome != domain.DeliveryApplied {
		t.Errorf("history of a first success %+v", got)
	}
	if got := d.attempts(ids[2]); len(got) != 1 || got[0].Outcome != domain.DeliveryDead || got[0].Worker != "7@host" {
		t.Errorf("history of a dead letter %+v", got)
	}
	if one := d.delivery(ids[1]); one.Entity != "a" {
		t.Errorf("entity is %q", one.Entity)
	}
}

func TestReplayHandsInPageByPageAndIsAppliedOnce(t *testing.T) {
	t.Parallel()
	d := setup(t)
	var bodies []string
	for n := range 5 {
		bodies = append(bodies, body(change(fmt.Sprintf("e%d", n), domain.CategoryVendor, float64(n), float64(n)+0.5)))
	}
	d.deliver(d.crm, bodies...)
	d.applyTo(d.crm)
	d.exec("UPDATE deliveries SET state = 'dead', entity = ''", "DELETE FROM links", "DELETE FROM allocations", "DELETE FROM bookings")
	ref := d.ask(domain.ReplayFilter{State: domain.DeliveryDead}, false)
	first, second := d.page(ref, 3), d.page(ref, 3)
	want := activities.ReplayPageResult{ReplayView: activities.ReplayView{State: domain.ReplayRunning, Rate: 100, Total: 5, Seen: 5, Replayed: 5}, Took: 2}
	if diff := cmp.Diff(want, second); diff != "" || !first.More || first.Seen != 3 {
		t.Fatalf("pages %+v\n%s", first, diff)
	}
	if got := d.applyTo(d.crm); got.Applied != 5 || len(d.bookings()) != 5 {
		t.Fatalf("applied %+v, %d bookings", got, len(d.bookings()))
	}
	// Running on finds nothing, and a second replay of everything changes no booking.
	if got := d.page(ref, 3); got.Took != 0 || got.More {
		t.Errorf("a page behind the last: %+v", got)
	}
	was := d.bookings()
	again := d.ask(domain.ReplayFilter{}, false)
	if got := d.page(again, 100); got.Seen != 10 || got.Replayed != 5 || got.Skipped != 5 {
		t.Errorf("replay of everything: %+v", got)
	}
	d.applyTo(d.crm)
	if diff := cmp.Diff(was, d.bookings()); diff != "" {
		t.Errorf("a replay changed bookings:\n%s", diff)
	}
	if r := d.replay(again); r.Tally.Skipped[domain.SkipRepeated] != 5 {
		t.Errorf("tally %+v", r.Tally)
	}
}

func TestReplayNeverUndoesNews(t *testing.T) {
	t.Parallel()
	d := setup(t)
	old := d.deliver(d.crm, body(change("a", domain.CategoryVendor, 1, 2)))[0]
	d.applyTo(d.crm)
	d.deliver(d.crm, body(change("a", domain.CategoryVendor, 3, 4)))
	d.applyTo(d.crm)
	only := domain.ReplayFilter{Delivery: old}
	d.page(d.ask(only, false), 10)
	d.applyTo(d.crm)
	if list := d.bookings(); len(list) != 1 || !list[0].When.Equal(span(3, 4)) {
		t.Fatalf("bookings %+v", list)
	}
	dry := d.ask(only, true)
	d.page(dry, 10)
	if r := d.replay(dry); len(r.Samples) != 1 || r.Samples[0].Outcome != domain.DeliveryIgnored || !strings.Contains(r.Samples[0].Reason, "newer") {
		t.Errorf("dry run %+v", r)
	}
}

func TestReplaysOfOneBatchKeepTheVendorsOrder(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ids := d.deliver(d.crm, body(change("a", domain.CategoryVendor, 1, 2)), body(change("a", domain.CategoryVendor, 3, 4)))
	d.exec("UPDATE deliveries SET state = 'dead'") // never decoded, so nobody knows what they are about
	d.page(d.ask(domain.ReplayFilter{Delivery: ids[1]}, false), 10)
	d.page(d.ask(domain.ReplayFilter{Delivery: ids[0]}, false), 10)
	if got := d.applyTo(d.crm); got.Applied != 1 || got.Ignored != 1 {
		t.Errorf("applied %+v", got)
	}
	if list := d.bookings(); len(list) != 1 || !list[0].When.Equal(span(3, 4)) {
		t.Fatalf("bookings %+v", list)
	}
}

func TestDryRunTellsWhatWouldHappenAndChangesNothing(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$`,
		`CREATE TRIGGER refuse BEFORE INSERT ON links FOR EACH ROW WHEN (NEW.external_id = 'poison') EXECUTE FUNCTION refuse()`)
	ids := d.deliver(d.crm, body(change("new", domain.CategoryVendor, 1, 2)), body(change("known", domain.CategoryVendor, 5, 6)), "garbage",
		body(change("poison", domain.CategoryVendor, 7, 8)), body(), "gone")
	d.arrive(d.crm, change("known", domain.CategoryVendor, 3, 4))
	d.exec("UPDATE deliveries SET state = 'dead'", "UPDATE deliveries SET content = '' WHERE id = '"+string(ids[5])+"'")
	ref := d.ask(domain.ReplayFilter{State: domain.DeliveryDead}, true)
	bookings, before := d.bookings(), d.delivery(ids[0])
	got := d.page(ref, 100)
	if got.Seen != 6 || got.Skipped != 1 || got.Replayed != 5 || got.More || !got.DryRun {
		t.Fatalf("page %+v", got)
	}
	r := d.replay(ref)
	want := domain.ReplayTally{Skipped: map[string]int{domain.SkipErased: 1},
		Outcomes: map[domain.DeliveryState]int{domain.DeliveryApplied: 2, domain.DeliveryDead: 1, domain.DeliveryRetrying: 1, domain.DeliveryIgnored: 1},
		Effects:  map[string]int{"created": 1, "updated": 1}}
	if diff := cmp.Diff(want, r.Tally); diff != "" {
		t.Error(diff)
	}
	for i, state := range []domain.DeliveryState{domain.DeliveryApplied, domain.DeliveryApplied, domain.DeliveryDead, domain.DeliveryRetrying, domain.DeliveryIgnored} {
		if len(r.Samples) <= i || r.Samples[i].Delivery != ids[i] || r.Samples[i].Outcome != state {
			t.Fatalf("samples %+v", r.Samples)
		}
	}
	if diff := cmp.Diff(bookings, d.bookings()); diff != "" || !cmp.Equal(before, d.delivery(ids[0])) {
		t.Errorf("the dry run left something behind:\n%s", diff)
	}
	if next := d.page(ref, 100); next.Took != 0 || next.Seen != 6 {
		t.Errorf("the page behind: %+v", next)
	}
}

func TestReplayLeavesOutWhatCannotBeReplayed(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ids := d.deliver(d.crm, body(), body())
	d.deliver(d.cal, body())
	d.exec("UPDATE deliveries SET state = 'applied'", "UPDATE deliveries SET content = '' WHERE id = '"+string(ids[0])+"'")
	d.setState(d.cal.ID, domain.IntegrationDeleted)
	ref := d.ask(domain.ReplayFilter{}, false)
	if got := d.page(ref, 100); got.Seen != 3 || got.Replayed != 1 || got.Skipped != 2 {
		t.Errorf("page %+v", got)
	}
	if diff := cmp.Diff(map[string]int{domain.SkipErased: 1, domain.SkipDisconnected: 1}, d.replay(ref).Tally.Skipped); diff != "" {
		t.Error(diff)
	}
}

func TestReplayThatDoesNotRunIsLeftAloneAndEndsOnce(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.deliver(d.crm, body())
	d.exec("UPDATE deliveries SET state = 'dead'")
	ref := d.ask(domain.ReplayFilter{}, false)
	set := func(s domain.ReplayState) activities.ReplayView {
		return run(d, d.replays().SetReplayState, activities.SetReplayStateInput{ReplayRef: ref, State: s})
	}
	if got := set(domain.ReplayPaused); got.State != domain.ReplayPaused {
		t.Errorf("paused: %+v", got)
	}
	if got := d.page(ref, 10); got.Took != 0 || got.State != domain.ReplayPaused {
		t.Errorf("a page while paused: %+v", got)
	}
	set(domain.ReplayCancelled)
	d.unchanged(func() {
		if got := set(domain.ReplayRunning); got.State != domain.ReplayCancelled {
			t.Errorf("after the end: %+v", got)
		}
		d.page(ref, 10)
		run(d, d.replays().BeginReplay, ref)
	})
	_, err := call(d, d.replays().BeginReplay, activities.ReplayRef{Org: d.org, Replay: domain.NewID[domain.ReplayID](d.clock())})
	d.wantKind(err, domain.KindNotFound)
}
