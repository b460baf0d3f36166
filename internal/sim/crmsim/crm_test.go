package crmsim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

const secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

var now = time.Date(2027, time.March, 1, 9, 0, 0, 0, time.UTC)

func setup(t *testing.T) (*crmsim.CRM, *httptest.Server) {
	t.Helper()
	crm := crmsim.New(crmsim.Options{APIKey: "k", WebhookSecret: secret, Now: func() time.Time { return now }, PageSize: 2})
	srv := httptest.NewServer(crm)
	t.Cleanup(func() { crm.Close(); srv.Close() })
	return crm, srv
}

func call(t *testing.T, method, url, body string, header ...string) (int, map[string]any, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", "k")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return res.StatusCode, nil, err
	}
	var v map[string]any
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &v); err != nil {
			return res.StatusCode, nil, err
		}
	}
	return res.StatusCode, v, nil
}

const event = `{"kind":"wedding","state":"booked","starts":"2027-06-05","ends":"2027-06-06","all_day":true}`

func TestWritesAreConditionalAndRepeatable(t *testing.T) {
	t.Parallel()
	crm, srv := setup(t)
	steps := []struct {
		method, path, body string
		header             []string
		status             int
	}{
		{"POST", "/api/events", event, []string{"Idempotency-Key", "a"}, 201},
		{"POST", "/api/events", event, []string{"Idempotency-Key", "a"}, 201},
		{"PATCH", "/api/events/ev-000001", `{"title":"T"}`, []string{"If-Match", "r1"}, 200},
		{"PATCH", "/api/events/ev-000001", `{"title":"U"}`, []string{"If-Match", "r1"}, 412},
		{"DELETE", "/api/events/ev-000001", "", []string{"If-Match", "r1"}, 412},
		{"POST", "/api/events", `{"kind":"x"}`, nil, 422},
		{"POST", "/api/events", `[`, nil, 400},
		{"GET", "/api/events/ev-000009", "", nil, 404},
		{"GET", "/api/me", "", nil, 200},
		{"GET", "/api/me", "", []string{"X-Api-Key", "other"}, 401},
		{"DELETE", "/api/events/ev-000001", "", nil, 204},
		{"DELETE", "/api/events/ev-000001", "", nil, 404},
	}
	for i, s := range steps {
		status, _, err := call(t, s.method, srv.URL+s.path, s.body, s.header...)
		if err != nil || status != s.status {
			t.Errorf("step %d, %s %s: status %d (%v), want %d", i, s.method, s.path, status, err, s.status)
		}
	}
	var types []string
	for _, m := range crm.TakeMessages() {
		types = append(types, m.Type)
	}
	if !slices.Equal(types, []string{"event.created", "event.updated", "event.deleted"}) {
		t.Errorf("webhooks %v", types)
	}
}

func TestListingHasPagesAndTellsWhatChanged(t *testing.T) {
	t.Parallel()
	crm, srv := setup(t)
	for range 3 {
		crm.Create(crmsim.Event{State: "booked"})
	}
	_, one, err := call(t, "GET", srv.URL+"/api/events", "")
	if err != nil || one["next"] != "2" || one["total"] != 3.0 || len(one["events"].([]any)) != 2 {
		t.Fatal(one, err)
	}
	crm.Delete("ev-000002")
	_, delta, err := call(t, "GET", srv.URL+"/api/events?since="+one["sync"].(string), "")
	if err != nil || len(delta["events"].([]any)) != 1 || delta["events"].([]any)[0].(map[string]any)["deleted"] != true {
		t.Fatal(delta, err)
	}
	crm.ForgetTokens()
	if status, _, err := call(t, "GET", srv.URL+"/api/events?since="+one["sync"].(string), ""); status != http.StatusGone || err != nil {
		t.Errorf("a forgotten token: status %d, %v", status, err)
	}
}

func TestFaultsHappenAsOftenAsAsked(t *testing.T) {
	t.Parallel()
	crm, srv := setup(t)
	crm.Break(crmsim.FaultServerError, 1)
	if status, _, _ := call(t, "GET", srv.URL+"/api/me", ""); status != 503 {
		t.Errorf("status %d, want 503", status)
	}
	if status, _, err := call(t, "GET", srv.URL+"/api/me", ""); status != 200 || err != nil {
		t.Errorf("after the fault: status %d, %v", status, err)
	}
	crm.Break(crmsim.FaultLoseAnswer, 1)
	if _, _, err := call(t, "POST", srv.URL+"/api/events", event); err == nil || len(crm.Events()) != 1 {
		t.Errorf("a lost answer: error %v, %d events", err, len(crm.Events()))
	}
	crm.Break(crmsim.FaultCutBody, -1)
	if _, _, err := call(t, "GET", srv.URL+"/api/events", ""); err == nil {
		t.Error("a cut-off answer is read whole")
	}
	crm.Heal()
	crm.Break(crmsim.FaultHang, -1)
	done := make(chan int, 1)
	go func() {
		status, _, _ := call(t, "GET", srv.URL+"/api/me", "")
		done <- status
	}()
	for crm.Calls() < 5 { // the call has arrived
		select {
		case <-t.Context().Done():
			t.Fatal("the call never arrived")
		case <-time.After(time.Millisecond):
		}
	}
	crm.Heal()
	if status := <-done; status != 200 {
		t.Errorf("a call that hung until Heal: status %d", status)
	}
}

func TestWebhooksAreSignedRetriedLostDoubledAndLate(t *testing.T) {
	t.Parallel()
	crm, _ := setup(t)
	verifier, err := webhookauth.New(crmsim.SignConfig(), webhookauth.Plain(webhookauth.Secret(secret)), webhookauth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []string
	refuse := 2
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if refuse > 0 {
			refuse--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		res, err := verifier.Verify(t.Context(), webhookauth.Request{Header: r.Header, Body: body.Bytes()}, now)
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		got = append(got, res.MessageID)
	}))
	defer hook.Close()
	for range 4 {
		crm.Create(crmsim.Event{State: "booked"})
	}
	crm.BreakHooks(crmsim.HookLost, 1)
	crm.BreakHooks(crmsim.HookLate, 1)
	crm.BreakHooks(crmsim.HookDuplicate, 1)
	results, err := crm.DeliverPending(t.Context(), hook.Client(), hook.URL)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"msg_00000003", "msg_00000003", "msg_00000002", "msg_00000004"}; !slices.Equal(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}
	if len(results) != 5 || results[0].Delivered() || results[1].Attempts != 3 {
		t.Errorf("results %+v", results)
	}
	crm.Create(crmsim.Event{State: "booked"})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := crm.DeliverPending(ended, hook.Client(), hook.URL); err == nil {
		t.Error("a delivery with an ended context succeeds")
	}
	if left := crm.TakeMessages(); len(left) != 1 {
		t.Errorf("%d messages are left after a stopped delivery, want 1", len(left))
	}
}
