package activities_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

func (d *desk) applyTo(i domain.Integration) activities.ApplyDeliveriesResult {
	d.t.Helper()
	return run(d, d.deliveries().ApplyDeliveries, activities.ApplyDeliveriesInput{Org: d.org, Integration: i.ID})
}

func TestDeliveriesAreAppliedOnceInOrder(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ids := d.deliver(d.crm, body(change("w1", domain.CategoryWedding, 10, 12)), body(), body(change("w1", domain.CategoryWedding, 13, 15)))
	got := d.applyTo(d.crm)
	if got.Applied != 2 || got.Ignored != 1 || got.More || !got.NextDue.IsZero() {
		t.Fatalf("result is %+v", got)
	}
	for i, want := range []domain.DeliveryState{domain.DeliveryApplied, domain.DeliveryIgnored, domain.DeliveryApplied} {
		if have := d.delivery(ids[i]); have.State != want || have.Attempts != 1 || have.Reason == "" {
			t.Errorf("delivery %d is %+v, want %s", i, have, want)
		}
	}
	var list []domain.Booking
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		list, _, err = tx.Bookings(ctx, store.BookingFilter{}, store.Page{})
		return err
	})
	if len(list) != 1 || !list[0].When.Equal(span(13, 15)) {
		t.Errorf("bookings are %+v: the later delivery must have the last word", list)
	}
	d.unchanged(func() {
		if again := d.applyTo(d.crm); again != (activities.ApplyDeliveriesResult{}) {
			t.Errorf("running again: %+v", again)
		}
	})
}

func TestPoisonedDeliveryDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ids := d.deliver(d.crm, body(change("a", domain.CategoryVendor, 1, 2)), "garbage", "panic", "raw",
		body(domain.Change{Op: domain.OpUpsert, ExternalID: "x"}), body(change("b", domain.CategoryVendor, 3, 4)))
	got := d.applyTo(d.crm)
	if got.Applied != 2 || got.Dead != 3 || got.Retried != 1 || got.NextDue.IsZero() {
		t.Fatalf("result is %+v", got)
	}
	for i, want := range []domain.DeliveryState{domain.DeliveryApplied, domain.DeliveryDead, domain.DeliveryDead, domain.DeliveryRetrying,
		domain.DeliveryDead, domain.DeliveryApplied} {
		have := d.delivery(ids[i])
		if have.State != want || have.Reason == "" || strings.Contains(have.Reason, "Marker Person") {
			t.Errorf("delivery %d is %s because %q, want %s", i, have.State, have.Reason, want)
		}
	}
	if r := d.delivery(ids[1]).Reason; !strings.Contains(r, "must be JSON") {
		t.Errorf("the dead letter does not say why: %q", r)
	}
	if r := d.delivery(ids[4]).Reason; !strings.Contains(r, "category") {
		t.Errorf("the dead letter does not name the field: %q", r)
	}
}

// TestFaultOfTheStoreIsolatesTheDelivery breaks the transaction itself, by a trigger that refuses one entry.
func TestFaultOfTheStoreIsolatesTheDelivery(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$`,
		`CREATE TRIGGER refuse BEFORE INSERT ON links FOR EACH ROW WHEN (NEW.external_id = 'poison') EXECUTE FUNCTION refuse()`)
	ids := d.deliver(d.crm, body(change("a", domain.CategoryVendor, 1, 2)), body(change("poison", domain.CategoryVendor, 5, 6)),
		body(change("b", domain.CategoryVendor, 3, 4)))
	got := d.applyTo(d.crm)
	if got.Applied != 2 || got.Retried != 1 || got.More {
		t.Fatalf("result is %+v", got)
	}
	if have := d.delivery(ids[1]); have.State != domain.DeliveryRetrying || have.NextAttemptAt == nil {
		t.Errorf("the poisoned delivery is %+v", have)
	}
}

func TestRetriesFollowTheScheduleAndEndAsDeadLetter(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.deliver(d.crm, "busy")[0]
	wait := 5 * time.Second
	for try := 1; try < 15; try++ {
		got := d.applyTo(d.crm)
		have := d.delivery(id)
		if have.State != domain.DeliveryRetrying || have.Attempts != try || have.NextAttemptAt == nil || !got.NextDue.Equal(*have.NextAttemptAt) {
			t.Fatalf("try %d: %+v, result %+v", try, have, got)
		}
		after := have.NextAttemptAt.Sub(d.clock())
		if after < wait || after > wait+wait/5 {
			t.Fatalf("try %d waits %s, want %s and up to a fifth more", try, after, wait)
		}
		wait = min(3*wait, 12*time.Hour)
		if early := d.applyTo(d.crm); early.Retried != 0 || !early.NextDue.Equal(got.NextDue) {
			t.Fatalf("tried before its time: %+v", early)
		}
		d.advance(after)
	}
	if got := d.applyTo(d.crm); got.Dead != 1 {
		t.Fatalf("result of the last try is %+v", got)
	}
	if have := d.delivery(id); have.State != domain.DeliveryDead || have.Attempts != 15 {
		t.Errorf("delivery is %+v", have)
	}
}

func TestWrongSettingsKeepDeliveriesWaiting(t *testing.T) {
	t.Parallel()
	d := setup(t)
	spoil := func(settings string) {
		d.tenant(func(ctx context.Context, tx *store.Tx) error {
			i, err := tx.Integration(ctx, d.crm.ID)
			if err != nil {
				return err
			}
			i.Settings = []byte(settings)
			return tx.UpdateIntegration(ctx, i, nil, i.Version)
		})
	}
	spoil(`{"wrong":true}`)
	id := d.deliver(d.crm, body(change("a", domain.CategoryVendor, 1, 2)))[0]
	if got := d.applyTo(d.crm); got.Retried != 1 || got.Dead != 0 {
		t.Fatalf("result is %+v", got)
	}
	if have := d.delivery(id); have.State != domain.DeliveryRetrying || !strings.Contains(have.Reason, "line 3") {
		t.Errorf("delivery is %+v", have)
	}
	spoil(`{}`)
	d.advance(time.Minute)
	if got := d.applyTo(d.crm); got.Applied != 1 {
		t.Errorf("after the settings were mended: %+v", got)
	}
}

func TestPausedIntegrationKeepsItsDeliveries(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.deliver(d.crm, body(change("a", domain.CategoryVendor, 1, 2)))[0]
	for _, state := range []domain.IntegrationState{domain.IntegrationPaused, domain.IntegrationNeedsReconnect} {
		d.setState(d.crm.ID, state)
		if got := d.applyTo(d.crm); !got.NeedsReload || got.Applied != 0 {
			t.Errorf("%s: %+v", state, got)
		}
	}
	if have := d.delivery(id); have.State != domain.DeliveryReceived || have.Attempts != 0 {
		t.Errorf("delivery is %+v", have)
	}
	d.setState(d.crm.ID, domain.IntegrationActive)
	if got := d.applyTo(d.crm); got.Applied != 1 {
		t.Errorf("after resume: %+v", got)
	}
}

func TestBatchTooFullLeavesTheRestForTheNext(t *testing.T) {
	t.Parallel()
	d := setup(t)
	many := func(prefix string, n int) string {
		var all []domain.Change
		for i := range n {
			all = append(all, domain.Change{Op: domain.OpRemove, ExternalID: fmt.Sprintf("%s%d", prefix, i)})
		}
		return body(all...)
	}
	ids := d.deliver(d.crm, many("a", 600), many("b", 600), many("c", apply.MaxBatch+1))
	first := d.applyTo(d.crm)
	if first.Applied != 1 || !first.More {
		t.Fatalf("first batch: %+v", first)
	}
	if second := d.applyTo(d.crm); second.Applied != 1 || second.Dead != 1 || second.More {
		t.Fatalf("second batch: %+v", second)
	}
	if have := d.delivery(ids[2]); have.State != domain.DeliveryDead || !strings.Contains(have.Reason, "1000") {
		t.Errorf("the delivery over the limit is %+v", have)
	}
}

func TestMoreIsToldWhenABatchIsNotAll(t *testing.T) {
	t.Parallel()
	d := setup(t)
	bodies := make([]string, 130)
	for i := range bodies {
		bodies[i] = body()
	}
	d.deliver(d.crm, bodies...)
	if got := d.applyTo(d.crm); got.Ignored != 100 || !got.More {
		t.Errorf("first batch: %+v", got)
	}
	if got := d.applyTo(d.crm); got.Ignored != 30 || got.More {
		t.Errorf("second batch: %+v", got)
	}
}

func TestUnknownIntegrationIsAnErrorAndNothingElse(t *testing.T) {
	t.Parallel()
	d := setup(t)
	in := activities.ApplyDeliveriesInput{Org: d.org, Integration: domain.NewID[domain.IntegrationID](d.clock())}
	d.unchanged(func() {
		_, err := call(d, d.deliveries().ApplyDeliveries, in)
		d.wantKind(err, domain.KindNotFound)
	})
}

func TestDatabaseThatIsDownIsUnavailable(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.Store.Close()
	_, err := call(d, d.deliveries().ApplyDeliveries, activities.ApplyDeliveriesInput{Org: d.org, Integration: d.crm.ID})
	d.wantKind(err, domain.KindUnavailable)
}

func TestIntegrationIsLoadedAndItsStateSetOnce(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ref := activities.LoadIntegrationInput{Org: d.org, Integration: d.crm.ID}
	cfg := run(d, d.integrations().LoadIntegration, ref)
	if !cfg.CanPull || !cfg.CanWrite || cfg.State != domain.IntegrationActive || cfg.Provider != "outside" {
		t.Errorf("config is %+v", cfg)
	}
	set := activities.SetIntegrationStateInput{Org: d.org, Integration: d.crm.ID, State: domain.IntegrationPaused, By: "alex"}
	if got := run(d, d.integrations().SetIntegrationState, set); got.State != domain.IntegrationPaused {
		t.Errorf("config is %+v", got)
	}
	d.unchanged(func() { run(d, d.integrations().SetIntegrationState, set) })

	gone := run(d, d.integrations().LoadIntegration, activities.LoadIntegrationInput{Org: d.org, Integration: domain.NewID[domain.IntegrationID](d.clock())})
	if gone.State != domain.IntegrationDeleted {
		t.Errorf("an unknown integration is %s", gone.State)
	}
	d.setState(d.crm.ID, domain.IntegrationDeleted)
	_, err := call(d, d.integrations().SetIntegrationState, set)
	d.wantKind(err, domain.KindConflict)
}

func TestEventsOfDeliveriesNameTheirBookings(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ids := d.deliver(d.crm, body(change("one", domain.CategoryVendor, 1, 2)), body(),
		body(change("two", domain.CategoryVendor, 3, 4), change("three", domain.CategoryVendor, 5, 6), change("two", domain.CategoryVendor, 3, 4)))
	d.applyTo(d.crm)
	booking := map[string]domain.BookingID{}
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		links, err := tx.LinksFor(ctx, store.LinkKeys{Integration: d.crm.ID, ExternalIDs: []string{"one", "two", "three"}})
		for _, l := range links {
			booking[l.ExternalID] = l.BookingID
		}
		return err
	})
	refs := d.refsOf("delivery.", len(ids))
	for n, want := range []map[string]string{
		{"booking": string(booking["one"])}, {}, {"bookings": string(booking["two"]) + "," + string(booking["three"])}} {
		want["delivery"], want["integration"] = string(ids[n]), string(d.crm.ID)
		if got := refs[ids[n]]; !maps.Equal(got, want) {
			t.Errorf("the event of delivery %d refers to %v, want %v", n, got, want)
		}
	}
}

// refsOf waits for n events whose topic begins in a certain way, and returns their references by delivery. Events are shown
// once no older transaction of the cluster runs, also of other tests.
func (d *desk) refsOf(topic string, n int) map[domain.DeliveryID]map[string]string {
	d.t.Helper()
	limit, stop := context.WithTimeout(d.t.Context(), time.Minute)
	defer stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		out := map[domain.DeliveryID]map[string]string{}
		events, _, err := d.Store.StreamAfter(limit, "", d.org, 100)
		d.must(err)
		for _, e := range events {
			if strings.HasPrefix(string(e.Topic), topic) {
				out[domain.DeliveryID(e.Refs["delivery"])] = e.Refs
			}
		}
		if len(out) >= n {
			return out
		}
		select {
		case <-tick.C:
		case <-limit.Done():
			d.t.Fatalf("%d events after a minute, want %d", len(out), n)
		}
	}
}
