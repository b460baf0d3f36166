package inbox

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/sim/otlpsim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/tracing"
)

// tracedSignals remembers the trace of the context of each call.
type tracedSignals struct {
	*fakeSignals
	told chan domain.Trace
}

func (s *tracedSignals) Deliveries(ctx context.Context, ref flow.IntegrationRef, d contract.DeliveriesSignal) error {
	s.told <- tracing.Of(ctx)
	return s.fakeSignals.Deliveries(ctx, ref, d)
}

func (s *tracedSignals) Pushes(ctx context.Context, ref flow.IntegrationRef, p contract.PushesSignal) error {
	s.told <- tracing.Of(ctx)
	return s.fakeSignals.Pushes(ctx, ref, p)
}

func TestOneSignalOfManyTracedDeliveriesBelongsToTheFirstAndIsLinkedToTheOthers(t *testing.T) {
	t.Parallel()
	r := otlpsim.New()
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	tracer, err := tracing.New(t.Context(), tracing.Options{Endpoint: srv.URL + "/v1/traces"})
	if err != nil {
		t.Fatal(err)
	}
	db, signals := newFakeStore(), &tracedSignals{&fakeSignals{}, make(chan domain.Trace, 8)}
	in := mustNew(t, Deps{Store: db, Signals: signals, Dispatcher: DispatcherOptions{Tracer: tracer}})
	run, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- in.Run(run) }()
	in.Dispatcher.Hold()

	// Three webhooks of as many traces and one that is not traced, for one connection.
	to := newIntegration()
	traces := []domain.Trace{{ID: [16]byte{1}, Span: [8]byte{1}}, {ID: [16]byte{2}, Span: [8]byte{2}}, {ID: [16]byte{3}, Span: [8]byte{3}}}
	for n, message := range []string{"a", "b", "c", "d"} {
		d := delivery(to, message)
		if n < len(traces) {
			d.Trace = traces[n]
		}
		if _, err := in.Writer.Put(t.Context(), d, "custom"); err != nil {
			t.Fatal(err)
		}
	}
	in.Dispatcher.Release()
	told := <-signals.told
	db.enqueue(store.OutboxRow{ID: 1, Org: testOrg, Kind: store.OutboxPush, Target: string(newIntegration()), DueAt: time.Now(), Trace: traces[1]})
	push := <-signals.told
	// Work that is not traced has no span.
	db.enqueue(store.OutboxRow{ID: 2, Org: testOrg, Kind: store.OutboxPush, Target: string(newIntegration()), DueAt: time.Now()})
	if plain := <-signals.told; !plain.IsZero() {
		t.Errorf("work without a trace is told below %v", plain)
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if err := in.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if err := tracer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := map[string]otlpsim.Span{}
	for _, s := range r.Spans() {
		spans[s.Name] = s
	}
	if len(r.Spans()) != 2 {
		t.Fatalf("spans %+v, want two", r.Spans())
	}
	batch := spans["tell of deliveries"]
	if batch.TraceID != traces[0].TraceID() || told.TraceID() != batch.TraceID || batch.Kind != "producer" || batch.Attrs["wedsync.integration.id"] != string(to) {
		t.Errorf("the signal's span is %+v, told below %s", batch, told.TraceID())
	}
	if len(batch.Links) != 2 || batch.Links[0].TraceID != traces[1].TraceID() || batch.Links[1].TraceID != traces[2].TraceID() {
		t.Errorf("its links are %+v", batch.Links)
	}
	if copies := spans["tell of copies"]; copies.TraceID != traces[1].TraceID() || push.TraceID() != copies.TraceID {
		t.Errorf("the span of the copies is %+v, told below %s", copies, push.TraceID())
	}
}

func TestTheTracesOfAnErrandAreBounded(t *testing.T) {
	t.Parallel()
	var e errand
	for n := range 500 {
		e.merge(errand{deliveries: true, traces: []domain.Trace{{ID: [16]byte{1, byte(n), byte(n >> 8)}, Span: [8]byte{1}}}}, 0)
	}
	if got := len(e.traces); got != tracing.MaxLinks+1 {
		t.Errorf("%d traces are kept, want one and %d links", got, tracing.MaxLinks)
	}
	if e.merge(errand{traces: []domain.Trace{{}}}, 0); addTrace(nil, domain.Trace{}) != nil {
		t.Error("what is not traced takes room")
	}
}
