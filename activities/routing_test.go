package activities_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/store"
)

func decoded(d provider.Decoded) string {
	b, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// deliveriesOf lists what an integration has, oldest first, with content.
func (d *desk) deliveriesOf(i domain.Integration) []domain.RawDelivery {
	d.t.Helper()
	var out []domain.RawDelivery
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		list, _, err := tx.Deliveries(ctx, store.DeliveryFilter{Integration: i.ID}, store.Page{Limit: 200})
		out = nil
		for n := len(list) - 1; n >= 0 && err == nil; n-- {
			var raw domain.RawDelivery
			raw, err = tx.DeliveryContent(ctx, list[n].ID)
			out = append(out, raw)
		}
		return err
	})
	return out
}

func (d *desk) outboxOf(i domain.Integration) (ids []string) {
	d.t.Helper()
	rows, err := d.ClaimOutbox(d.t.Context(), 500)
	d.must(err)
	for _, r := range rows {
		if r.Kind == store.OutboxDelivery && r.Target == string(i.ID) {
			ids = append(ids, r.Ref)
		}
	}
	return ids
}

func TestIgnoredDeliveryKeepsTheReasonOfItsRule(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := d.deliver(d.crm, decoded(provider.Decoded{Ignore: `dropped by rule "tests": of no interest`}))[0]
	if got := d.applyTo(d.crm); got != (activities.ApplyDeliveriesResult{Ignored: 1}) {
		t.Errorf("result %+v", got)
	}
	if have := d.delivery(id); have.State != domain.DeliveryIgnored || have.Reason != `dropped by rule "tests": of no interest` {
		t.Errorf("delivery %+v", have)
	}
}

func TestRoutedDeliveryArrivesOnceAndStaysThere(t *testing.T) {
	t.Parallel()
	d := setup(t)
	hotel := d.connect("hotel", domain.DirectionImport, newOutside())
	kept := provider.Decoded{Changes: []domain.Change{change("w1", domain.CategoryWedding, 10, 12)}, Route: []domain.IntegrationID{hotel.ID, d.cal.ID}}
	away := provider.Decoded{Ignore: "routed away", Route: []domain.IntegrationID{hotel.ID}}
	ids := d.deliver(d.crm, decoded(kept), decoded(away))
	if got := d.applyTo(d.crm); got.Applied != 1 || got.Ignored != 1 || got.Routed != 3 {
		t.Fatalf("result %+v", got)
	}
	if have := d.delivery(ids[1]); have.State != domain.DeliveryIgnored || have.Reason != "routed away" {
		t.Errorf("what was routed away is %+v", have)
	}
	arrived := d.deliveriesOf(hotel)
	if len(arrived) != 2 {
		t.Fatalf("%d deliveries arrived", len(arrived))
	}
	bySource := map[domain.DeliveryID]domain.RawDelivery{arrived[0].RoutedFrom: arrived[0], arrived[1].RoutedFrom: arrived[1]}
	origin := d.deliveriesOf(d.crm)[0]
	copied := bySource[ids[0]]
	if string(copied.Body) != decoded(kept) || copied.Headers["content-type"] != "application/json" || copied.State != domain.DeliveryReceived ||
		!copied.ReceivedAt.Equal(origin.ReceivedAt) || copied.Size != origin.Size || copied.DedupeKey == origin.DedupeKey {
		t.Errorf("the copy is %+v of %+v", copied, origin)
	}
	if told := d.outboxOf(hotel); len(told) != 2 {
		t.Errorf("told of %v", told)
	}
	// The copies say by their own rules that they are to be routed on, here even back. None is.
	before := len(d.deliveriesOf(d.crm)) + len(d.deliveriesOf(d.cal)) + len(arrived)
	for _, i := range []domain.Integration{hotel, d.cal} {
		if got := d.applyTo(i); got.Routed != 0 || got.Dead != 0 || got.Retried != 0 {
			t.Errorf("routed on: %+v", got)
		}
	}
	if after := len(d.deliveriesOf(d.crm)) + len(d.deliveriesOf(d.cal)) + len(d.deliveriesOf(hotel)); after != before {
		t.Errorf("%d deliveries, before %d", after, before)
	}
	if have := d.delivery(bySource[ids[1]].ID); have.State != domain.DeliveryIgnored || !strings.HasSuffix(have.Reason, "not routed on, because it was routed here") {
		t.Errorf("the copy of what was routed away is %+v", have)
	}
	// Once more, as after a replay by a person.
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, _, err := tx.ReplayOne(ctx, domain.Replay{ID: domain.NewID[domain.ReplayID](tx.Now), RequestedBy: "admin"}, ids[1])
		return err
	})
	if got := d.applyTo(d.crm); got.Ignored != 1 || got.Routed != 0 || len(d.deliveriesOf(hotel)) != 2 {
		t.Errorf("a repeat was routed again: %+v", got)
	}
}

func TestRouteThatLeadsNowhereKeepsTheDeliveryWaiting(t *testing.T) {
	t.Parallel()
	d := setup(t)
	gone := d.connect("gone", domain.DirectionImport, newOutside())
	d.setState(gone.ID, domain.IntegrationDeleted)
	for name, to := range map[string]domain.IntegrationID{"deleted": gone.ID, "unknown": domain.NewID[domain.IntegrationID](d.clock()), "itself": d.crm.ID} {
		body := decoded(provider.Decoded{Changes: []domain.Change{change("w-"+name, domain.CategoryVendor, 10, 12)}, Route: []domain.IntegrationID{d.cal.ID, to}})
		id := d.deliver(d.crm, body)[0]
		got := d.applyTo(d.crm)
		have := d.delivery(id)
		if got.Retried != 1 || got.Applied != 0 || got.Routed != 0 || have.State != domain.DeliveryRetrying || !strings.Contains(have.Reason, "a rule routes to") {
			t.Errorf("%s: %+v, delivery %+v", name, got, have)
		}
	}
	if n := len(d.deliveriesOf(d.cal)); n != 0 {
		t.Errorf("%d deliveries were routed beside the one that could not be", n)
	}
}

// TestCustomRulesDropAndRoute goes the whole way with the settings of a custom integration.
func TestCustomRulesDropAndRoute(t *testing.T) {
	t.Parallel()
	d := setup(t)
	open := func(settings string) any {
		v, err := custom.Registration.Open(provider.Connection{Integration: domain.Integration{Settings: []byte(settings)},
			Secrets: map[string]string{custom.SecretWebhook: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}, Now: d.clock})
		d.must(err)
		return v
	}
	mapping := `"mapping":{"external_id":"item.id","category":"'vendor'","start":"item.start","end":"item.end"}`
	hotel := d.connect("hotel", domain.DirectionImport, open(`{"webhook":{"verify":{"scheme":"standard-webhooks"},`+mapping+`}}`))
	agency := d.connect("agency", domain.DirectionImport, open(`{"webhook":{"verify":{"scheme":"standard-webhooks"},"rules":[
		{"name":"tests","when":"body.?test","drop":{"reason":"a test of the vendor"}},
		{"name":"rooms","when":"body.kind == 'room'","route":["`+string(hotel.ID)+`"]},
		{"name":"tables","when":"body.kind == 'table'","route":["`+string(hotel.ID)+`"],"keep":true}],`+mapping+`}}`))
	entry := `"start":"2027-06-05T14:00:00Z","end":"2027-06-05T15:00:00Z"`
	ids := d.deliver(agency, `{"test":true}`, `{"kind":"room","id":"r1",`+entry+`}`, `{"kind":"table","id":"t1",`+entry+`}`,
		`{"kind":"cake","id":"c1",`+entry+`}`, `{"id":"x1",`+entry+`}`)
	if got := d.applyTo(agency); got.Applied != 2 || got.Ignored != 2 || got.Routed != 2 || got.Dead != 1 {
		t.Fatalf("result %+v", got)
	}
	for i, want := range []string{`dropped by rule "tests": a test of the vendor`, `routed by rule "rooms": it is for other integrations`, "", "",
		`rule "rooms": when: the expression needs "kind", which is not there`} {
		if have := d.delivery(ids[i]); want != "" && have.Reason != want {
			t.Errorf("delivery %d is %s: %s", i, have.State, have.Reason)
		}
	}
	if got := d.applyTo(hotel); got.Applied != 2 || got.More {
		t.Errorf("what was routed: %+v", got)
	}
}
