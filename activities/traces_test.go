package activities_test

import (
	"bytes"
	"context"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/otlpsim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/tracing"
)

// tracedDesk is a desk whose steps run with a tracer, as a worker runs them.
type tracedDesk struct {
	*desk
	tracer   *tracing.Tracer
	receiver *otlpsim.Receiver
}

func setupTraced(t *testing.T) *tracedDesk {
	t.Helper()
	d := &tracedDesk{desk: setup(t), receiver: otlpsim.New()}
	srv := httptest.NewServer(d.receiver)
	t.Cleanup(srv.Close)
	var err error
	d.tracer, err = tracing.New(t.Context(), tracing.Options{Endpoint: srv.URL + "/v1/traces"})
	d.must(err)
	return d
}

// step runs fn below the span of an activity, and returns that.
func (d *tracedDesk) step(name string, fn func(ctx context.Context) error) domain.Trace {
	d.t.Helper()
	ctx, span := d.tracer.Start(tracing.With(d.t.Context(), d.tracer), name, tracing.Begin{Kind: tracing.Consumer})
	err := fn(ctx)
	span.End(err)
	d.must(err)
	return span.Trace()
}

// accept stores a webhook as intake does, in a trace of its own unless plain.
func (d *tracedDesk) accept(to domain.Integration, body string, plain bool) (domain.DeliveryID, domain.Trace) {
	d.t.Helper()
	_, span := d.tracer.Start(d.t.Context(), "accept", tracing.Begin{Kind: tracing.Server})
	span.End(nil)
	d.advance(time.Millisecond)
	id := domain.NewID[domain.DeliveryID](d.clock())
	row := store.NewDelivery{ID: id, OrgID: d.org, IntegrationID: to.ID, Size: len(body), ReceivedAt: d.clock(), Trace: span.Trace(),
		Content: d.SealDelivery(d.org, id, map[string]string{"content-type": "application/json"}, []byte(body))}
	copy(row.Dedupe[:], id)
	if plain {
		row.Trace = domain.Trace{}
	}
	_, err := d.InsertDeliveries(d.t.Context(), []store.NewDelivery{row})
	d.must(err)
	return id, row.Trace
}

func (d *tracedDesk) spans(name string) (out []otlpsim.Span) {
	d.t.Helper()
	d.must(d.tracer.Flush(d.t.Context()))
	for _, s := range d.receiver.Spans() {
		if s.Name == name {
			out = append(out, s)
		}
	}
	return out
}

func (d *tracedDesk) apply(name string) domain.Trace {
	d.t.Helper()
	return d.step(name, func(ctx context.Context) error {
		_, err := d.deliveries().ApplyDeliveries(ctx, activities.ApplyDeliveriesInput{Org: d.org, Integration: d.crm.ID})
		return err
	})
}

func linked(s otlpsim.Span, to domain.Trace) bool {
	return slices.ContainsFunc(s.Links, func(l otlpsim.Link) bool { return l.TraceID == to.TraceID() })
}

func TestEachDeliveryOfABatchGoesOnInItsOwnTraceDownToItsCopy(t *testing.T) {
	t.Parallel()
	d := setupTraced(t)
	one, first := d.accept(d.crm, body(change("w1", domain.CategoryWedding, 10, 12)), false)
	two, second := d.accept(d.crm, body(change("w2", domain.CategoryWedding, 11, 13)), false)
	three, _ := d.accept(d.crm, body(change("v1", domain.CategoryVendor, 40, 41)), true)
	batch := d.apply("ApplyDeliveries")

	if a, b, c := d.delivery(one), d.delivery(two), d.delivery(three); a.TraceID != first.TraceID() || b.Trace != second || c.TraceID != "" || c.State != domain.DeliveryApplied {
		t.Errorf("deliveries %+v, %+v, %+v", a, b, c)
	}
	applied := d.spans("apply delivery")
	if len(applied) != 2 {
		t.Fatalf("%d spans of deliveries, want those of the two traced ones: %+v", len(applied), applied)
	}
	for n, want := range []domain.Trace{first, second} {
		s := applied[n]
		if s.TraceID != want.TraceID() || s.ParentID == "" || !linked(s, batch) || s.Attrs["wedsync.state"] != "applied" || s.Attrs["wedsync.booking.ids"] == "" {
			t.Errorf("delivery %d: %+v", n, s)
		}
	}
	// Both weddings are on one afternoon: who of the two brought the clash is told by both, because both concern it.
	if applied[1].Attrs["wedsync.conflict.ids"] == "" || applied[1].Attrs["wedsync.conflicts"] == "0" {
		t.Errorf("the conflict is not told: %v", applied[1].Attrs)
	}
	if tx := d.spans("apply transaction"); len(tx) != 1 || tx[0].TraceID != batch.TraceID() || tx[0].Attrs["wedsync.deliveries"] != "3" || tx[0].Attrs["wedsync.conflicts"] != "1" {
		t.Errorf("the transaction: %+v", tx)
	}

	rows, err := d.ClaimOutbox(t.Context(), 100)
	d.must(err)
	if !slices.ContainsFunc(rows, func(r store.OutboxRow) bool {
		return r.Kind == store.OutboxPush && r.Target == string(d.cal.ID) && r.Trace.TraceID() == batch.TraceID()
	}) {
		t.Errorf("the outbox does not carry the transaction's trace: %+v", rows)
	}
	pushing := d.step("PushBookings", func(ctx context.Context) error {
		_, err := d.pushes().PushBookings(ctx, activities.PushBookingsInput{Org: d.org, Integration: d.cal.ID})
		return err
	})
	written := map[string]otlpsim.Span{}
	for _, s := range d.spans("write copy") {
		written[s.TraceID] = s
	}
	for n, want := range []domain.Trace{first, second} {
		s, ok := written[want.TraceID()]
		if !ok || s.ParentID != applied[n].SpanID || !linked(s, pushing) || s.Attrs["wedsync.booking.id"] == "" || s.Attrs["wedsync.provider"] != "outside" || s.Failed {
			t.Errorf("copy %d: %+v", n, s)
		}
	}
	if s, ok := written[batch.TraceID()]; !ok || len(written) != 3 {
		t.Errorf("the copy of what was not traced belongs to its transaction: %+v of %d", s, len(written))
	}
	if notes := d.spans("note read-back"); len(notes) != 3 || written[notes[0].TraceID].SpanID != notes[0].ParentID {
		t.Errorf("reading back: %+v", notes)
	}
	for _, personal := range []string{"Marker", "marker.example", "Robin", "Studio"} {
		if bytes.Contains(d.receiver.Raw(), []byte(personal)) {
			t.Errorf("%q is in a span", personal)
		}
	}
}

func TestRetriesReplaysAndRoutesStayInTheTrace(t *testing.T) {
	t.Parallel()
	d := setupTraced(t)
	id, trace := d.accept(d.crm, "busy", false)
	d.apply("first")
	if got := d.delivery(id); got.State != domain.DeliveryRetrying {
		t.Fatalf("delivery %+v", got)
	}
	d.advance(d.delivery(id).NextAttemptAt.Sub(d.clock()))
	d.step("second", func(ctx context.Context) error { // no signal led here: a timer did
		_, err := d.deliveries().ApplyDeliveries(ctx, activities.ApplyDeliveriesInput{Org: d.org, Integration: d.crm.ID})
		return err
	})
	tries := d.spans("apply delivery")
	if len(tries) != 2 || tries[0].TraceID != trace.TraceID() || tries[1].TraceID != trace.TraceID() || !tries[0].Failed || tries[0].Message != string(domain.KindUnavailable) ||
		tries[0].Attrs["wedsync.try"] != "1" || tries[1].Attrs["wedsync.try"] != "2" || tries[1].Attrs["wedsync.state"] != "retrying" {
		t.Fatalf("tries %+v", tries)
	}
	d.exec("UPDATE deliveries SET state = 'dead', next_attempt_at = NULL")
	var copied domain.Delivery
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		copied, _, err = tx.ReplayOne(ctx, domain.Replay{ID: domain.NewID[domain.ReplayID](tx.Now), RequestedBy: "test"}, id)
		return err
	})
	if copied.ID == id || copied.TraceID != trace.TraceID() {
		t.Errorf("the replay is %+v, want another delivery of the same trace", copied)
	}
	d.apply("third")
	if again := d.spans("apply delivery"); len(again) != 3 || again[2].TraceID != trace.TraceID() || again[2].Attrs["wedsync.replay"] != "true" {
		t.Errorf("the replay's span: %+v", again)
	}

	raw := domain.RawDelivery{}
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		raw, err = tx.DeliveryContent(ctx, id)
		return err
	})
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.RouteDeliveries(ctx, []store.Routing{{From: raw, To: d.cal.ID}})
		return err
	})
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		w, err := tx.WaitingBatch(ctx, d.cal.ID, 10, false)
		if err == nil && (len(w.Deliveries) != 1 || w.Deliveries[0].Trace != trace) {
			t.Errorf("the routed delivery: %+v", w.Deliveries)
		}
		return err
	})
}

// TestWorkIsDoneWhileNobodyTakesTheSpans also says that a transaction that is rolled back leaves no span behind.
func TestWorkIsDoneWhileNobodyTakesTheSpans(t *testing.T) {
	t.Parallel()
	d := setupTraced(t)
	release := d.receiver.Hang()
	defer release()
	id, _ := d.accept(d.crm, body(change("w1", domain.CategoryWedding, 10, 12)), false)
	bad, _ := d.accept(d.crm, "garbage", false)
	d.apply("ApplyDeliveries")
	d.step("PushBookings", func(ctx context.Context) error {
		_, err := d.pushes().PushBookings(ctx, activities.PushBookingsInput{Org: d.org, Integration: d.cal.ID})
		return err
	})
	if got := d.delivery(id); got.State != domain.DeliveryApplied || len(d.atCal.entries) != 1 {
		t.Errorf("delivery %+v, %d copies", got, len(d.atCal.entries))
	}
	release()
	tries := d.spans("apply delivery")
	var states []string
	for _, s := range tries {
		states = append(states, s.Attrs["wedsync.delivery.id"]+" "+s.Attrs["wedsync.state"])
	}
	slices.Sort(states)
	if want := []string{string(id) + " applied", string(bad) + " dead"}; !slices.Equal(states, want) {
		t.Errorf("spans of %s, want of %s", strings.Join(states, ", "), want)
	}
}
