package server

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/otlpsim"
	"github.com/wedsync/wedsync/internal/tracing"
)

// traced returns a tracer over a receiver on this machine.
func traced(t *testing.T, o tracing.Options) (*tracing.Tracer, *otlpsim.Receiver) {
	t.Helper()
	r := otlpsim.New()
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	o.Endpoint = srv.URL + "/v1/traces"
	tracer, err := tracing.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return tracer, r
}

const (
	callersTrace = "0af7651916cd43dd8448eb211c80319c"
	callersSpan  = "b7ad6b7169203331"
)

func TestAGenuineWebhookBeginsATraceThatIsStoredWithIt(t *testing.T) {
	t.Parallel()
	here := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for name, c := range map[string]struct {
		callers        []netip.Prefix
		parent         []string
		joined, linked bool
		kept           bool
	}{
		"no parent":                       {kept: true},
		"a stranger's parent is linked":   {parent: []string{"00-" + callersTrace + "-" + callersSpan + "-01"}, linked: true, kept: true},
		"a stranger does not switch off":  {parent: []string{"00-" + callersTrace + "-" + callersSpan + "-00"}, linked: true, kept: true},
		"a trusted parent is continued":   {callers: here, parent: []string{"00-" + callersTrace + "-" + callersSpan + "-01"}, joined: true, kept: true},
		"a trusted parent may switch off": {callers: here, parent: []string{"00-" + callersTrace + "-" + callersSpan + "-00"}},
		"other networks are strangers":    {callers: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, parent: []string{"00-" + callersTrace + "-" + callersSpan + "-01"}, linked: true, kept: true},
		"two headers are none":            {callers: here, parent: []string{"00-" + callersTrace + "-" + callersSpan + "-01", "00-" + callersTrace + "-" + callersSpan + "-01"}, kept: true},
		"a damaged header is none":        {callers: here, parent: []string{"00-" + callersTrace}, kept: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tracer, r := traced(t, tracing.Options{})
			rig := newIntakeRig(t, IntakeLimits{}, func(d *IntakeDeps) { d.Tracer, d.TraceCallers = tracer, c.callers })
			req := rig.hook(t, rig.id, "msg_1", `{"id":"1"}`)
			for _, line := range c.parent {
				req.Header.Add("Traceparent", line)
			}
			got := post(t, req)
			if got.Status != http.StatusAccepted {
				t.Fatalf("answer %+v", got)
			}
			if err := tracer.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			var stored domain.Trace
			rig.set(func() {
				for _, d := range rig.rows {
					stored = d.Trace
				}
			})
			spans := map[string]otlpsim.Span{}
			for _, s := range r.Spans() {
				spans[s.Name] = s
			}
			accept, commit := spans["POST /v1/webhooks/{integration}"], spans["store delivery"]
			if !c.kept {
				if len(spans) != 0 || !stored.IsZero() {
					t.Fatalf("spans %v and a stored trace %v of a request that is not to be recorded", spans, stored)
				}
				return
			}
			if len(spans) != 2 || accept.TraceID != stored.TraceID() || commit.TraceID != accept.TraceID || commit.ParentID != accept.SpanID {
				t.Fatalf("spans %+v, stored %s", spans, stored.TraceID())
			}
			if accept.Kind != "server" || accept.Attrs["wedsync.delivery.id"] != string(got.ID) || accept.Attrs["wedsync.integration.id"] != string(rig.id) ||
				accept.Attrs["http.response.status_code"] != "202" || accept.Attrs["wedsync.provider"] != "custom" {
				t.Errorf("the span is %+v", accept)
			}
			if joined := accept.TraceID == callersTrace && accept.ParentID == callersSpan; joined != c.joined {
				t.Errorf("the caller's trace is continued: %t, want %t: %+v", joined, c.joined, accept)
			}
			if linked := len(accept.Links) == 1 && accept.Links[0] == (otlpsim.Link{TraceID: callersTrace, SpanID: callersSpan}); linked != c.linked {
				t.Errorf("the caller's trace is linked: %t, want %t: %+v", linked, c.linked, accept)
			}
		})
	}
}

func TestStrangersMakeNoSpansAndRepeatsAndFaultsAreTold(t *testing.T) {
	t.Parallel()
	tracer, r := traced(t, tracing.Options{})
	rig := newIntakeRig(t, IntakeLimits{}, func(d *IntakeDeps) { d.Tracer = tracer })
	forged := rig.hook(t, rig.id, "msg_1", `{"id":"1"}`)
	forged.Header.Set("Webhook-Signature", "v1,AAAA")
	if got := post(t, forged); got.Status != http.StatusUnauthorized {
		t.Fatalf("a forgery is answered %+v", got)
	}
	if got := post(t, rig.hook(t, domain.NewID[domain.IntegrationID](*rig.now.Load()), "msg_1", `{"id":"1"}`)); got.Status != http.StatusNotFound {
		t.Fatalf("a stranger is answered %+v", got)
	}
	first := post(t, rig.hook(t, rig.id, "msg_1", `{"id":"1"}`))
	if again := post(t, rig.hook(t, rig.id, "msg_1", `{"id":"1"}`)); again.Status != http.StatusOK || again.ID != first.ID {
		t.Fatalf("the repeat is answered %+v", again)
	}
	rig.set(func() { rig.fail = domain.E(domain.KindUnavailable, "the database of Quillfeather is down") })
	if got := post(t, rig.hook(t, rig.id, "msg_2", `{"id":"2"}`)); got.Status != http.StatusServiceUnavailable {
		t.Fatalf("while storage is down: %+v", got)
	}
	if err := tracer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var status []string
	for _, s := range r.Spans() {
		if s.ParentID == "" {
			status = append(status, s.Attrs["http.response.status_code"]+" "+s.Attrs["wedsync.duplicate"]+" "+s.Message)
		}
	}
	if len(status) != 3 || status[0] != "202 false " || status[1] != "200 true " || status[2] != "503 false unavailable" {
		t.Errorf("spans of %q", status)
	}
}
