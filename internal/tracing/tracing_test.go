package tracing_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/otlpsim"
	"github.com/wedsync/wedsync/internal/tracing"
)

// setup returns a tracer over a receiver on this machine.
func setup(t *testing.T, o tracing.Options) (*tracing.Tracer, *otlpsim.Receiver) {
	t.Helper()
	r := otlpsim.New()
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	o.Endpoint = srv.URL + "/v1/traces"
	tracer, err := tracing.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Second)
		defer cancel()
		_ = tracer.Close(ctx) // some tests take the receiver away
	})
	return tracer, r
}

func flushed(t *testing.T, tracer *tracing.Tracer, r *otlpsim.Receiver) map[string]otlpsim.Span {
	t.Helper()
	if err := tracer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := map[string]otlpsim.Span{}
	for _, s := range r.Spans() {
		out[s.Name] = s
	}
	return out
}

func TestATraceGoesOnWhereItsNameWasStored(t *testing.T) {
	t.Parallel()
	tracer, r := setup(t, tracing.Options{})
	ctx, first := tracer.Start(t.Context(), "accept", tracing.Begin{Kind: tracing.Server})
	_, below := tracing.Child(ctx, "store")
	below.End(nil)
	first.End(nil)
	stored := domain.TraceFrom(first.Trace().Bytes())
	if stored.IsZero() || stored != tracing.Of(ctx) {
		t.Fatalf("stored %v, the context holds %v", stored, tracing.Of(ctx))
	}
	other, batch := tracer.Start(t.Context(), "batch", tracing.Begin{Kind: tracing.Producer})
	_, later := tracer.Start(other, "apply", tracing.Begin{Kind: tracing.Consumer, Parent: stored, Links: []domain.Trace{{}, tracing.Of(other)}})
	later.End(nil)
	batch.End(nil)
	got := flushed(t, tracer, r)
	accept, store, apply, own := got["accept"], got["store"], got["apply"], got["batch"]
	if accept.TraceID != stored.TraceID() || accept.ParentID != "" || accept.Kind != "server" {
		t.Errorf("the first span is %+v", accept)
	}
	if store.TraceID != accept.TraceID || store.ParentID != accept.SpanID || store.Kind != "internal" {
		t.Errorf("the span below is %+v", store)
	}
	if apply.TraceID != accept.TraceID || apply.ParentID != accept.SpanID || apply.Kind != "consumer" {
		t.Errorf("the later span is %+v, not below %+v", apply, accept)
	}
	if own.TraceID == accept.TraceID || len(apply.Links) != 1 || apply.Links[0] != (otlpsim.Link{TraceID: own.TraceID, SpanID: own.SpanID}) {
		t.Errorf("links %v, want the one to %+v", apply.Links, own)
	}
}

func TestOnlyIdsWordsAndCountsComeOut(t *testing.T) {
	t.Parallel()
	tracer, r := setup(t, tracing.Options{})
	const name, mail, secret = "Quillfeather", "vermilion.heron@couple.example", "whsec_c2VjcmV0IG9mIHRoZSBzdG9yeQ=="
	_, span := tracer.Start(t.Context(), "step", tracing.Begin{})
	id := domain.NewID[domain.BookingID](time.Now())
	span.Set(tracing.ID(tracing.KeyBooking, id), tracing.ID(tracing.KeyDelivery, domain.DeliveryID(name)), tracing.ID(tracing.KeyOrg, domain.OrgID("")),
		tracing.IDs(tracing.KeyBookings, []domain.BookingID{id, domain.BookingID(mail)}), tracing.Word(tracing.KeyProvider, "google"),
		tracing.Word(tracing.KeyState, mail), tracing.Word(tracing.KeyOp, "two words"), tracing.Word(tracing.KeyHeld, strings.Repeat("x", 65)),
		tracing.Route("/v1/webhooks/{integration}"), tracing.WorkflowID("integration/"+string(id)), tracing.Count(tracing.KeyTry, 3), tracing.Flag(tracing.KeyReplay, true),
		tracing.Seconds(tracing.KeyWaited, 1500*time.Millisecond))
	span.End(domain.Invalid("title", "%s of %s with %s", name, mail, secret))
	got := flushed(t, tracer, r)["step"]
	want := map[string]string{"wedsync.booking.id": string(id), "wedsync.booking.ids": string(id), "wedsync.provider": "google",
		"http.route": "/v1/webhooks/{integration}", "temporal.workflow.id": "integration/" + string(id), "wedsync.try": "3", "wedsync.replay": "true",
		"wedsync.waited_seconds": "1.5", "error.type": "invalid"}
	for k, v := range want {
		if got.Attrs[k] != v {
			t.Errorf("%s = %q, want %q", k, got.Attrs[k], v)
		}
	}
	if len(got.Attrs) != len(want) {
		t.Errorf("attributes %v, want those of %v only", got.Attrs, want)
	}
	if !got.Failed || got.Message != "invalid" {
		t.Errorf("the fault is told as %q", got.Message)
	}
	for _, hidden := range []string{name, mail, secret} {
		if bytes.Contains(r.Raw(), []byte(hidden)) {
			t.Errorf("%q was handed over", hidden)
		}
	}
}

func TestSamplersKeepWhatTheySay(t *testing.T) {
	t.Parallel()
	caller := domain.Trace{ID: [16]byte{1}, Span: [8]byte{2}}
	for _, c := range []struct {
		sampler, arg       string
		root, asked, spare bool // kept: a root, below a recorded caller, below one that was not
	}{
		{"", "", true, true, false}, {"always_on", "", true, true, true}, {"always_off", "", false, false, false},
		{"traceidratio", "0", false, false, false}, {"traceidratio", "1", true, true, true}, {"traceidratio", "", true, true, true},
		{"parentbased_always_on", "", true, true, false}, {"parentbased_always_off", "", false, true, false},
		{"parentbased_traceidratio", "0", false, true, false},
	} {
		tracer, _ := setup(t, tracing.Options{Sampler: c.sampler, SamplerArg: c.arg})
		for what, b := range map[string]struct {
			begin tracing.Begin
			want  bool
		}{"root": {tracing.Begin{}, c.root}, "asked": {tracing.Begin{Parent: caller}, c.asked}, "spare": {tracing.Begin{Parent: caller, Unrecorded: true}, c.spare}} {
			ctx, span := tracer.Start(t.Context(), "step", b.begin)
			if span.On() != b.want || tracing.Of(ctx).IsZero() == b.want || span.Trace().IsZero() == b.want {
				t.Errorf("sampler %q %q, %s: kept %t, want %t", c.sampler, c.arg, what, span.On(), b.want)
			}
			if _, below := tracing.Child(ctx, "below"); below.On() != b.want {
				t.Errorf("sampler %q %q, %s: what is below is kept %t, want %t", c.sampler, c.arg, what, below.On(), b.want)
			}
		}
	}
}

func TestFaultsOfTheOptionsNameTheSetting(t *testing.T) {
	t.Parallel()
	for field, o := range map[string]tracing.Options{
		"otlp-endpoint":      {Endpoint: "collector:4318"},
		"traces-sampler":     {Endpoint: "http://127.0.0.1:4318/v1/traces", Sampler: "sometimes"},
		"traces-sampler-arg": {Endpoint: "http://127.0.0.1:4318/v1/traces", Sampler: "traceidratio", SamplerArg: "2"},
	} {
		if _, err := tracing.New(t.Context(), o); domain.KindOf(err) != domain.KindInvalid || !strings.Contains(err.Error(), field+":") {
			t.Errorf("%+v: %v, want the name of %s", o, err, field)
		}
	}
	_, err := tracing.New(t.Context(), tracing.Options{Endpoint: "http://user:hunter2@127.0.0.1:4318/v1/traces"})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("credentials in the endpoint: %v", err)
	}
	if tracer, err := tracing.New(t.Context(), tracing.Options{}); tracer != nil || err != nil {
		t.Errorf("without an endpoint: %v, %v; want tracing off", tracer, err)
	}
}

// TestAReceiverThatIsAwayHoldsNothingUp fills the queue of a receiver that hangs and then refuses: whoever ends spans never
// waits, what is lost is counted, and closing ends in time.
func TestAReceiverThatIsAwayHoldsNothingUp(t *testing.T) {
	t.Parallel()
	metrics := prometheus.NewRegistry()
	var log bytes.Buffer
	tracer, r := setup(t, tracing.Options{Queue: 16, Batch: 8, Every: time.Millisecond, Timeout: 50 * time.Millisecond, Metrics: metrics,
		Log: slog.New(slog.NewTextHandler(&log, nil))})
	release := r.Hang()
	defer release()
	const spans = 2000
	began := time.Now()
	for range spans {
		_, s := tracer.Start(t.Context(), "step", tracing.Begin{})
		s.End(nil)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("%d spans took %s while nobody took them", spans, took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	began = time.Now()
	_ = tracer.Close(ctx) // whether the last were handed over is no matter here
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("closing took %s", took)
	}
	got := map[string]float64{}
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		got[f.GetName()] = f.GetMetric()[0].GetCounter().GetValue()
	}
	if got["wedsync_trace_spans_ended_total"] != spans || got["wedsync_trace_spans_exported_total"] != 0 || got["wedsync_trace_spans_refused_total"] == 0 {
		t.Errorf("counted %v; want all %d ended, none exported, some refused", got, spans)
	}
	if len(r.Spans()) != 0 {
		t.Errorf("%d spans were taken", len(r.Spans()))
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 {
		t.Errorf("the log has %d lines about it, want 1:\n%s", lines, log.String())
	}
}

func TestLogLinesNameTheirTrace(t *testing.T) {
	t.Parallel()
	tracer, _ := setup(t, tracing.Options{})
	var out bytes.Buffer
	log := slog.New(tracing.LogHandler(slog.NewTextHandler(&out, nil))).With("part", "one").WithGroup("g")
	ctx, span := tracer.Start(t.Context(), "step", tracing.Begin{})
	log.InfoContext(ctx, "inside")
	if want := "trace_id=" + span.Trace().TraceID(); !strings.Contains(out.String(), want) {
		t.Errorf("%q does not name %s", out.String(), want)
	}
	out.Reset()
	log.InfoContext(t.Context(), "outside")
	if strings.Contains(out.String(), tracing.LogKey) {
		t.Errorf("%q names a trace", out.String())
	}
}

// TestTracingThatIsOffAllocatesNothing makes the calls that intake, dispatch, calls out and steps make.
func TestTracingThatIsOffAllocatesNothing(t *testing.T) {
	ctx := t.Context()
	var off *tracing.Tracer
	broken := errors.New("broken")
	if n := testing.AllocsPerRun(1000, func() {
		at, span := off.Start(ctx, "accept", tracing.Begin{Kind: tracing.Server})
		span.End(broken)
		under, call := tracing.ChildOf(at, "call", tracing.Client)
		if call.On() {
			call.Set(tracing.Count(tracing.KeyStatus, 200))
		}
		call.End(nil)
		if tracing.With(under, off) != ctx || tracing.From(under) != nil || !tracing.Of(under).IsZero() || tracing.Current(under).On() {
			t.Error("something is on")
		}
		if t := span.Trace(); t.Bytes() != nil || t.TraceID() != "" {
			panic("a trace without a tracer")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestParseParentTakesWhatTheStandardSays(t *testing.T) {
	t.Parallel()
	const id, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for header, want := range map[string]struct{ ok, recorded bool }{
		"00-" + id + "-" + span + "-01":                      {true, true},
		"00-" + id + "-" + span + "-00":                      {true, false},
		"00-" + id + "-" + span + "-03":                      {true, true},
		"cc-" + id + "-" + span + "-01":                      {true, true},
		"cc-" + id + "-" + span + "-01-what-the-future":      {true, true},
		"cc-" + id + "-" + span + "-01x":                     {},
		"00-" + id + "-" + span + "-01-more":                 {},
		"ff-" + id + "-" + span + "-01":                      {},
		"00-" + strings.ToUpper(id) + "-" + span + "-01":     {},
		"00-" + strings.Repeat("0", 32) + "-" + span + "-01": {},
		"00-" + id + "-" + strings.Repeat("0", 16) + "-01":   {},
		"00-" + id + "-" + span + "-0g":                      {},
		"00-" + id + "-" + span:                              {},
		"00_" + id + "-" + span + "-01":                      {},
		"":                                                   {},
		strings.Repeat("-", 55):                              {},
		" 00-" + id + "-" + span + "-01":                     {},
	} {
		got, recorded, ok := tracing.ParseParent(header)
		if ok != want.ok || recorded != want.recorded || ok && got.TraceID() != id || !ok && got != (domain.Trace{}) {
			t.Errorf("%q: %v %t %t, want %+v", header, got, recorded, ok, want)
		}
	}
}

func FuzzParseParent(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Add("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more")
	f.Add("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Add("00-00000000000000000000000000000000-0000000000000000-00")
	f.Add("")
	f.Fuzz(func(t *testing.T, header string) {
		got, recorded, ok := tracing.ParseParent(header)
		switch {
		case ok == got.IsZero():
			t.Fatalf("ok %t with %v", ok, got)
		case !ok && recorded:
			t.Fatal("recorded, and not ok")
		case ok && !strings.Contains(header, got.TraceID()):
			t.Fatalf("%q holds no %s", header, got.TraceID())
		}
	})
}
