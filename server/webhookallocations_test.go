package server

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/tracing"
)

// TestIntakeWithoutTracingAllocatesWhatItDidBefore counts a genuine webhook from its guard to the writer. The figure is that of
// intake before it could be traced; with tracing on there is more.
func TestIntakeWithoutTracingAllocatesWhatItDidBefore(t *testing.T) {
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("the race detector makes sync.Pool drop buffers at random, so allocations say nothing")
	}
	const before = 11
	count := func(tracer *tracing.Tracer) float64 {
		stored := store.InsertedDelivery{ID: domain.NewID[domain.DeliveryID](time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)), Duplicate: true}
		rig := newIntakeRig(t, IntakeLimits{}, func(d *IntakeDeps) {
			d.Tracer = tracer
			d.Seal = func(domain.OrgID, domain.DeliveryID, map[string]string, []byte) []byte { return nil }
			d.Put = func(context.Context, store.NewDelivery, string) (store.InsertedDelivery, error) { return stored, nil }
		})
		body := []byte(`{"id":"1","type":"event.created"}`)
		req := rig.hook(t, rig.id, "msg_1", string(body))
		req.RemoteAddr = "192.0.2.7:4711"
		from := bytes.NewReader(body)
		reader := io.NopCloser(from)
		slow := http.NewResponseController(httptest.NewRecorder())
		now := *rig.now.Load()
		return testing.AllocsPerRun(500, func() {
			from.Reset(body)
			req.Body = reader
			v := visit{slow: slow}
			if _, err := rig.accept(&v, req, string(rig.id), "", now); err != nil {
				t.Fatal(err)
			}
			rig.Intake.guard.leave(&v)
		})
	}
	off := count(nil)
	tracer, _ := traced(t, tracing.Options{})
	on := count(tracer)
	t.Logf("%v allocations without tracing, %v with", off, on)
	if off > before {
		t.Errorf("%v allocations of a webhook without tracing, want %d at most", off, before)
	}
	if on <= off {
		t.Errorf("%v allocations with tracing and %v without: the comparison sees nothing", on, off)
	}
}
