package httpx_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/sim/otlpsim"
	"github.com/wedsync/wedsync/internal/tracing"
)

// refusing is a gate that lets nothing through, after it has added to the span.
type refusing struct{}

func (refusing) Enter(req *http.Request) (func(*httpx.Response, error), error) {
	tracing.Current(req.Context()).Set(tracing.Word(tracing.KeyHeld, "limit"))
	return nil, domain.E(domain.KindRateLimited, "not now")
}

func TestACallOfATraceIsToldWithoutItsAddressAndTellsNothingOfTheTrace(t *testing.T) {
	t.Parallel()
	receiver := otlpsim.New()
	at := httptest.NewServer(receiver)
	t.Cleanup(at.Close)
	tracer, err := tracing.New(t.Context(), tracing.Options{Endpoint: at.URL + "/v1/traces"})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var seen []http.Header
	system := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r.Header)
		mu.Unlock()
		if strings.Contains(r.URL.Path, "gone") {
			w.WriteHeader(http.StatusGone)
		}
	}))
	t.Cleanup(system.Close)
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)

	ctx, step := tracer.Start(t.Context(), "step", tracing.Begin{})
	ask := func(with *httpx.Client, path string) error {
		req, err := http.NewRequestWithContext(ctx, "PROPFIND", system.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = with.Do(req)
		return err
	}
	if err := ask(client, "/calendars/quillfeather?key=hunter2"); err != nil {
		t.Fatal(err)
	}
	if err := ask(client, "/gone/quillfeather"); err == nil {
		t.Fatal("410 is no error")
	}
	if err := ask(client.Through(refusing{}), "/calendars/quillfeather"); domain.KindOf(err) != domain.KindRateLimited {
		t.Fatal(err)
	}
	step.End(nil)
	// A call outside of every trace makes no span.
	ctx = t.Context()
	if err := ask(client, "/"); err != nil {
		t.Fatal(err)
	}
	if err := tracer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var calls []otlpsim.Span
	for _, s := range receiver.Spans() {
		if s.Kind == "client" {
			calls = append(calls, s)
		}
	}
	if len(calls) != 3 {
		t.Fatalf("%d spans of calls, want 3: %+v", len(calls), receiver.Spans())
	}
	for n, want := range []struct{ status, held, fault string }{{"200", "", ""}, {"410", "", "not_found"}, {"", "limit", "rate_limited"}} {
		s := calls[n]
		if s.Attrs["http.response.status_code"] != want.status || s.Attrs["wedsync.held"] != want.held || s.Failed != (want.fault != "") ||
			s.Attrs["http.request.method"] != "PROPFIND" || s.TraceID != step.Trace().TraceID() {
			t.Errorf("call %d: %+v, want %+v", n, s, want)
		}
	}
	for _, hidden := range []string{"quillfeather", "hunter2", "127.0.0.1", "calendars"} {
		if bytes.Contains(receiver.Raw(), []byte(hidden)) {
			t.Errorf("%q is in a span", hidden)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, h := range seen {
		for name := range h {
			if strings.Contains(strings.ToLower(name), "trace") || strings.EqualFold(name, "baggage") {
				t.Errorf("the system was sent %s", name)
			}
		}
	}
}
