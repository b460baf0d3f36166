package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/caldavsim"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/sim/otlpsim"
)

// The personal fields and the secrets of the story. None of them may be found in what is handed over.
const (
	traceTitle, traceVenue, traceClient, traceNotes = "Wedding of Quillfeather", "Zwetschgenhof", "vermilion.heron@couple.example", "obsidian-pelican"
	tracePerson, traceUser, tracePassword, traceKey = "Robin-Nightjar", "studio-nightjar", "pw-of-the-nightjar", "key-of-the-nightjar"
	traceSecret                                     = "whsec_" + "ZGVtby1zZWNyZXQtb2YtdGhlLXNpbXVsYXRlZC1jcm0hIQ=="
)

// traceStudio is a studio with a customer system and a calendar, on the whole program with tracing on.
type traceStudio struct {
	*studio
	receiver   *otlpsim.Receiver
	crm        *crmsim.CRM
	hook       string
	crmID, cal string
	told       atomic.Int64 // requests to outside systems that carried a header of tracing
}

func newTraceStudio(t *testing.T) *traceStudio {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	s := &traceStudio{receiver: otlpsim.New()}
	cfg := app.Defaults()
	cfg.LogLevel, cfg.PublicURL, cfg.ProbeEvery = "error", "http://"+addr, 0
	s.studio = &studio{T: t, doors: map[string]*door{}, ids: map[string]string{}}
	cfg.Traces.Endpoint = s.serve(s.receiver)
	s.stack = startStack(t, addr, cfg)
	s.api = apiclient.New(s.stack.Ready.HTTP, s.stack.Ready.AdminToken)
	t.Cleanup(s.api.Close)
	var resource struct {
		ID string `json:"id"`
	}
	s.call(http.MethodPost, "/v1/resources", map[string]any{"name": tracePerson, "kind": "person", "zone": "Europe/London"}, &resource)
	s.resource = resource.ID
	s.crm = crmsim.New(crmsim.Options{APIKey: traceKey, WebhookSecret: traceSecret})
	s.dav = caldavsim.New(caldavsim.Options{Username: traceUser, Password: tracePassword, Calendars: []caldavsim.Calendar{{Name: "bookings"}}})
	s.crmID, s.hook = s.joined("crm", "custom", crmsim.Settings(s.serve(s.watched(s.crm))), map[string]string{"api_key": traceKey, "webhook_secret": traceSecret})
	s.cal, _ = s.joined("calendar", "caldav", map[string]any{"url": s.serve(s.watched(s.dav.Handler())), "username": traceUser, "category_default": "wedding"},
		map[string]string{"password": tracePassword})
	for _, id := range []string{s.crmID, s.cal} {
		s.await("the first reading", func() error {
			var i domain.Integration
			s.call(http.MethodGet, "/v1/integrations/"+id, nil, &i)
			if i.State != domain.IntegrationActive || i.LastSyncAt == nil {
				return fmt.Errorf("it is %s, %s", i.State, i.StateReason)
			}
			return nil
		})
	}
	return s
}

func (s *traceStudio) joined(name, provider string, settings any, secrets map[string]string) (id, hook string) {
	s.Helper()
	var out struct {
		ID  string `json:"id"`
		URL string `json:"webhook_url"`
	}
	s.call(http.MethodPost, "/v1/integrations", map[string]any{"name": name, "provider": provider, "direction": "bidirectional", "resource_id": s.resource,
		"poll_seconds": 3600, "settings": settings, "secrets": secrets}, &out)
	return out.ID, out.URL
}

// watched counts requests that tell an outside system of our traces.
func (s *traceStudio) watched(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Traceparent", "Tracestate", "Baggage", "B3", "X-B3-Traceid"} {
			if r.Header.Get(name) != "" {
				s.told.Add(1)
			}
		}
		next.ServeHTTP(w, r)
	})
}

// send posts everything that the customer system has to tell, and returns the ids that it got.
func (s *traceStudio) send() (ids []string) {
	s.Helper()
	for _, m := range s.crm.TakeMessages() {
		header, err := s.crm.Headers(m, time.Now())
		if err != nil {
			s.Fatal(err)
		}
		req, err := http.NewRequestWithContext(s.Context(), http.MethodPost, s.hook, bytes.NewReader(m.Body))
		if err != nil {
			s.Fatal(err)
		}
		req.Header = header
		req.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			s.Fatal(err)
		}
		var got struct {
			ID string `json:"id"`
		}
		err = json.NewDecoder(res.Body).Decode(&got)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusAccepted {
			s.Fatalf("webhook: %d %v", res.StatusCode, err)
		}
		ids = append(ids, got.ID)
	}
	return ids
}

func (s *traceStudio) delivery(id string) (d domain.Delivery) {
	s.Helper()
	s.call(http.MethodGet, "/v1/deliveries/"+id, nil, &d)
	return d
}

// of returns the spans of a trace by name.
func (s *traceStudio) of(trace string) map[string][]otlpsim.Span {
	out := map[string][]otlpsim.Span{}
	for _, one := range s.receiver.Spans() {
		if one.TraceID == trace {
			out[one.Name] = append(out[one.Name], one)
		}
	}
	return out
}

const acceptSpan = "POST /v1/webhooks/{integration}"

// TestAWebhookCanBeFollowedToItsRemoteWrite is the story of traces on real Postgres and real Temporal: what a vendor posts is one
// trace from its acceptance to the entry in a calendar, the delivery names it, and it tells nobody's name.
func TestAWebhookCanBeFollowedToItsRemoteWrite(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts Postgres and Temporal")
	}
	t.Parallel()
	s := newTraceStudio(t)
	day := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 2, 0)
	wedding := func(n, from, to int, title string) {
		s.crm.Create(crmsim.Event{Kind: "wedding", State: "booked", Starts: day.AddDate(0, 0, n).Add(time.Duration(from) * time.Hour).Format(time.RFC3339),
			Ends: day.AddDate(0, 0, n).Add(time.Duration(to) * time.Hour).Format(time.RFC3339), Zone: "Europe/London", Title: title, Venue: traceVenue, Client: traceClient, Notes: traceNotes})
	}
	wedding(0, 10, 14, traceTitle)
	ids := s.send()
	if len(ids) != 1 {
		t.Fatalf("%d webhooks were sent", len(ids))
	}
	var d domain.Delivery
	s.await("the copy in the calendar", func() error {
		if d = s.delivery(ids[0]); d.State != domain.DeliveryApplied || len(s.dav.Events("bookings")) != 1 {
			return fmt.Errorf("delivery %s %s, %d entries", d.State, d.Reason, len(s.dav.Events("bookings")))
		}
		return nil
	})
	if len(d.TraceID) != 32 {
		t.Fatalf("the delivery names the trace %q", d.TraceID)
	}
	var spans map[string][]otlpsim.Span
	s.await("the whole trace", func() error {
		spans = s.of(d.TraceID)
		for _, name := range []string{acceptSpan, "store delivery", "tell of deliveries", "ApplyDeliveries", "apply transaction", "apply delivery", "tell of copies",
			"PushBookings", "write copy", "call outside system", "note read-back"} {
			if len(spans[name]) == 0 {
				return fmt.Errorf("no %q among %v", name, slices.Sorted(maps.Keys(spans)))
			}
		}
		return nil
	})
	accept, apply, write := spans[acceptSpan][0], spans["apply delivery"][0], spans["write copy"][0]
	tx, pushing := spans["apply transaction"][0], spans["PushBookings"][0]
	for _, c := range []struct {
		child  otlpsim.Span
		parent string
	}{{accept, ""}, {spans["store delivery"][0], accept.SpanID}, {spans["tell of deliveries"][0], accept.SpanID},
		{spans["ApplyDeliveries"][0], spans["tell of deliveries"][0].SpanID}, {tx, spans["ApplyDeliveries"][0].SpanID}, {apply, accept.SpanID},
		{spans["tell of copies"][0], tx.SpanID}, {pushing, spans["tell of copies"][0].SpanID}, {write, apply.SpanID}, {spans["note read-back"][0], write.SpanID}} {
		if c.child.ParentID != c.parent {
			t.Errorf("%s stands below %q, want %q", c.child.Name, c.child.ParentID, c.parent)
		}
	}
	if !slices.Contains(apply.Links, otlpsim.Link{TraceID: tx.TraceID, SpanID: tx.SpanID}) || !slices.Contains(write.Links, otlpsim.Link{TraceID: pushing.TraceID, SpanID: pushing.SpanID}) {
		t.Errorf("links %v and %v", apply.Links, write.Links)
	}
	if len(accept.Links) != 1 || accept.Links[0].TraceID == d.TraceID {
		t.Errorf("the vendor's own trace is not linked: %v", accept.Links)
	}
	var bookings struct{ Items []domain.Booking }
	s.call(http.MethodGet, "/v1/bookings?limit=10&resource="+s.resource, nil, &bookings)
	if len(bookings.Items) != 1 || apply.Attrs["wedsync.booking.ids"] != string(bookings.Items[0].ID) || write.Attrs["wedsync.booking.id"] != string(bookings.Items[0].ID) ||
		apply.Attrs["wedsync.delivery.id"] != ids[0] || apply.Attrs["wedsync.state"] != "applied" || write.Attrs["wedsync.provider"] != "caldav" {
		t.Errorf("applied as %v, written as %v", apply.Attrs, write.Attrs)
	}
	put := false
	for _, call := range spans["call outside system"] {
		put = put || call.Attrs["http.request.method"] == "PUT" && call.Attrs["http.response.status_code"] == "201" && call.Attrs["wedsync.provider"] == "caldav" &&
			call.Kind == "client" && call.ParentID == write.SpanID
	}
	if !put {
		t.Errorf("the write itself is not told: %+v", spans["call outside system"])
	}

	s.clash(wedding, ids[0], d.TraceID)
	s.receiverAway(wedding)

	if n := s.told.Load(); n != 0 {
		t.Errorf("%d requests told outside systems of our traces", n)
	}
	raw := s.receiver.Raw()
	for _, personal := range []string{traceTitle, "Quillfeather", traceVenue, traceClient, traceNotes, tracePerson, traceUser, tracePassword, traceKey, traceSecret,
		"ZGVtby1zZWNyZXQ", s.stack.Ready.AdminToken, "127.0.0.1", "bookings/"} {
		if bytes.Contains(raw, []byte(personal)) {
			t.Errorf("%q is in a span", personal)
		}
	}
	t.Logf("%d spans", len(s.receiver.Spans()))
}

// clash sends two at once: each has its own trace, and the one that finds the conflict says so. A repeat and a replay of the first
// webhook stay with its trace.
func (s *traceStudio) clash(wedding func(n, from, to int, title string), first, trace string) {
	s.Helper()
	wedding(7, 10, 14, traceTitle)
	wedding(7, 12, 16, traceTitle)
	ids := s.send()
	traces := map[string]bool{trace: true}
	s.await("two more traces", func() error {
		found := 0
		for _, id := range ids {
			d := s.delivery(id)
			spans := s.of(d.TraceID)
			if d.State != domain.DeliveryApplied || len(spans["apply delivery"]) != 1 || len(spans["write copy"]) == 0 {
				return fmt.Errorf("delivery %s, spans %v", d.State, slices.Sorted(maps.Keys(spans)))
			}
			traces[d.TraceID] = true
			if spans["apply delivery"][0].Attrs["wedsync.conflict.ids"] != "" {
				found++
			}
		}
		if found == 0 {
			return fmt.Errorf("no span tells of the conflict")
		}
		return nil
	})
	if len(traces) != 3 {
		s.Errorf("three webhooks made %d traces", len(traces))
	}
	var copied domain.Delivery
	s.call(http.MethodPost, "/v1/deliveries/"+first+"/replay", map[string]any{"reason": "once more"}, &copied)
	s.await("the replay in its trace", func() error {
		d := s.delivery(string(copied.ID))
		if n := len(s.of(trace)["apply delivery"]); d.TraceID != trace || d.State == domain.DeliveryReceived || n != 2 {
			return fmt.Errorf("trace %s, %s, %d spans", d.TraceID, d.State, n)
		}
		return nil
	})
}

// receiverAway: while nobody takes spans the work is done as ever.
func (s *traceStudio) receiverAway(wedding func(n, from, to int, title string)) {
	s.Helper()
	s.receiver.Refuse(http.StatusInternalServerError)
	had := len(s.dav.Events("bookings"))
	for n := range 5 {
		wedding(20+2*n, 10, 12, traceTitle)
	}
	ids := s.send()
	s.await("five copies without a receiver", func() error {
		for _, id := range ids {
			if d := s.delivery(id); d.State != domain.DeliveryApplied {
				return fmt.Errorf("delivery %s %s", d.State, d.Reason)
			}
		}
		if n := len(s.dav.Events("bookings")); n != had+5 {
			return fmt.Errorf("%d entries, want %d", n, had+5)
		}
		return nil
	})
	s.receiver.Refuse(0)
}

func TestFaultsOfTraceSettingsAreNamedAndVariablesOfOthersAreNot(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*app.Traces){
		"otlp-endpoint":  func(c *app.Traces) { c.Endpoint = "collector:4317" },
		"otlp-protocol":  func(c *app.Traces) { c.Endpoint, c.Protocol = "http://127.0.0.1:4318", "grpc" },
		"traces-sampler": func(c *app.Traces) { c.Endpoint, c.Sampler = "http://127.0.0.1:4318", "jaeger_remote" },
		"traces-sampler-arg": func(c *app.Traces) {
			c.TracesEndpoint, c.Sampler, c.SamplerArg = "http://127.0.0.1:4318/v1/traces", "traceidratio", "-1"
		},
		"traces-exporter": func(c *app.Traces) { c.Exporter = "console" },
		"trace-callers":   func(c *app.Traces) { c.Callers = []string{"the gateway"} },
	} {
		c := app.Defaults()
		change(&c.Traces)
		if err := c.Validate(false); !bytes.Contains([]byte(err.Error()), []byte(field+":")) {
			t.Errorf("%s is not named in %q", field, err)
		}
	}
	for name, change := range map[string]func(*app.Traces){
		"off":      func(c *app.Traces) { c.Protocol, c.Sampler = "grpc", "jaeger_remote" },
		"disabled": func(c *app.Traces) { c.Endpoint, c.Disabled = "collector:4317", true },
		"none":     func(c *app.Traces) { c.Endpoint, c.Exporter = "collector:4317", "none" },
	} {
		c := app.Defaults()
		change(&c.Traces)
		if err := c.Validate(false); bytes.Contains([]byte(err.Error()), []byte("trac")) || bytes.Contains([]byte(err.Error()), []byte("otlp")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
