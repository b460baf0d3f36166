package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// intakeSecret is the key of every integration of these tests.
var intakeSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a key of thirty-two bytes here!!"))

func intakeProvider(name string) (provider.Registration, bool) {
	return custom.Registration, name == custom.Registration.Name
}

// intakeRig is an Intake over fakes: a record per integration, and a table in memory.
type intakeRig struct {
	*Intake
	url string
	id  domain.IntegrationID

	mu       sync.Mutex
	records  map[domain.IntegrationID]store.IntakeRecord
	versions map[domain.IntegrationID]int64
	rows     map[intakeRow]store.NewDelivery
	down     error // of Record
	fail     error // of Put
	reads    atomic.Int64
	hold     chan struct{} // when set, Put waits for its end
	now      atomic.Pointer[time.Time]
	server   *httptest.Server
}

type intakeRow struct {
	integration domain.IntegrationID
	dedupe      [32]byte
}

func newIntakeRig(t *testing.T, l IntakeLimits, more ...func(*IntakeDeps)) *intakeRig {
	t.Helper()
	rig := &intakeRig{records: map[domain.IntegrationID]store.IntakeRecord{}, versions: map[domain.IntegrationID]int64{},
		rows: map[intakeRow]store.NewDelivery{}}
	rig.at(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))
	rig.id = rig.add(nil)
	deps := IntakeDeps{
		Record: rig.record, Provider: intakeProvider, Put: rig.put, Limits: l,
		Versions: func(context.Context, time.Time) (map[domain.IntegrationID]int64, error) {
			rig.mu.Lock()
			defer rig.mu.Unlock()
			out := map[domain.IntegrationID]int64{}
			for id, v := range rig.versions {
				out[id] = v
			}
			return out, nil
		},
		Seal: func(_ domain.OrgID, _ domain.DeliveryID, headers map[string]string, body []byte) []byte {
			text, err := json.Marshal(headers)
			if err != nil {
				t.Errorf("marshal headers: %v", err)
			}
			return append(append(text, '\n'), body...)
		},
		Now: func() time.Time { return *rig.now.Load() },
		Log: slog.New(slog.DiscardHandler),
	}
	for _, change := range more {
		change(&deps)
	}
	in, err := NewIntake(deps)
	if err != nil {
		t.Fatalf("make intake: %v", err)
	}
	rig.Intake = in
	e := echo.New()
	e.POST("/v1/webhooks/:integration", in.Handle)
	s := httptest.NewServer(e)
	t.Cleanup(s.Close)
	rig.server = s
	rig.url = s.URL + "/v1/webhooks/"
	return rig
}

func (r *intakeRig) at(now time.Time) { r.now.Store(&now) }

// add makes an integration known, after change has had its say.
func (r *intakeRig) add(change func(*store.IntakeRecord)) domain.IntegrationID {
	now := *r.now.Load()
	i := domain.Integration{ID: domain.NewID[domain.IntegrationID](now), OrgID: domain.NewID[domain.OrgID](now), Provider: "custom",
		State: domain.IntegrationActive, Settings: crmsim.MinimalWebhookSettings(), Version: 1}
	record := store.IntakeRecord{Integration: i, Zone: "Europe/Berlin", Secrets: map[string]string{"webhook_secret": intakeSecret}}
	if change != nil {
		change(&record)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records[i.ID] = record
	r.versions[i.ID] = record.Integration.Version
	return i.ID
}

func (r *intakeRig) record(_ context.Context, id domain.IntegrationID) (store.IntakeRecord, error) {
	r.reads.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down != nil {
		return store.IntakeRecord{}, r.down
	}
	record, ok := r.records[id]
	if !ok {
		return record, domain.E(domain.KindNotFound, "no such integration")
	}
	return record, nil
}

func (r *intakeRig) put(_ context.Context, d store.NewDelivery, _ string) (store.InsertedDelivery, error) {
	r.mu.Lock()
	hold := r.hold
	r.mu.Unlock()
	if hold != nil {
		<-hold
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return store.InsertedDelivery{}, r.fail
	}
	key := intakeRow{d.IntegrationID, d.Dedupe}
	if have, ok := r.rows[key]; ok {
		return store.InsertedDelivery{ID: have.ID, Duplicate: true}, nil
	}
	r.rows[key] = d
	return store.InsertedDelivery{ID: d.ID}, nil
}

func (r *intakeRig) set(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn()
}

func (r *intakeRig) stored() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.rows)
}

// hook makes a genuine request.
func (r *intakeRig) hook(t *testing.T, id domain.IntegrationID, message, body string) *http.Request {
	t.Helper()
	return signedHook(t, r.url+string(id), message, body, *r.now.Load())
}

func signedHook(t *testing.T, url, message, body string, at time.Time) *http.Request {
	t.Helper()
	h, err := webhookauth.Sign(crmsim.SignConfig(), webhookauth.Secret(intakeSecret), message, at, []byte(body))
	if err != nil {
		t.Fatalf("sign: %v", err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatalf("make request: %v", err)
	}
	req.Header = h
	req.Header.Set("Content-Type", "application/json")
	return req
}

// receipt is an answer of the intake, whichever kind.
type receipt struct {
	Status     int               `json:"-"`
	ID         domain.DeliveryID `json:"id"`
	Outcome    string            `json:"status"`
	Detail     string            `json:"detail"`
	Code       string            `json:"code"`
	RetryAfter string            `json:"-"`
	Type       string            `json:"-"`
}

func post(t *testing.T, req *http.Request) receipt {
	t.Helper()
	r, err := tryPost(req)
	if err != nil {
		t.Fatalf("post: %v", err)
	}
	return r
}

func tryPost(req *http.Request) (receipt, error) {
	var r receipt
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return r, err
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return r, fmt.Errorf("answer %q: %w", raw, err)
	}
	text := func(name string) string {
		s, _ := fields[name].(string)
		return s
	}
	return receipt{Status: resp.StatusCode, ID: domain.DeliveryID(text("id")), Outcome: text("status"), Detail: text("detail"),
		Code: text("code"), RetryAfter: resp.Header.Get("Retry-After"), Type: resp.Header.Get("Content-Type")}, nil
}

func TestAGenuineWebhookIsStoredAndARepeatGetsTheSameID(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{})
	first := post(t, rig.hook(t, rig.id, "msg_1", `{"a":1}`))
	if first.Status != http.StatusAccepted || first.Outcome != "accepted" || first.Type != "application/json" {
		t.Fatalf("got %+v; want 202 accepted", first)
	}
	rig.at(rig.now.Load().Add(time.Minute)) // a retry is signed anew
	want := receipt{Status: http.StatusOK, ID: first.ID, Outcome: "duplicate", Type: "application/json"}
	if diff := cmp.Diff(want, post(t, rig.hook(t, rig.id, "msg_1", `{"a":1}`))); diff != "" {
		t.Errorf("repeat (-want +got):\n%s", diff)
	}
	for _, d := range rig.rows {
		if d.ID != first.ID || d.Size != 7 || d.IntegrationID != rig.id ||
			string(d.Content) != `{"content-type":"application/json","webhook-id":"msg_1"}`+"\n"+`{"a":1}` {
			t.Errorf("stored %+v with %q", d, d.Content)
		}
	}
	if other := post(t, rig.hook(t, rig.id, "msg_2", `{"a":1}`)); other.Status != http.StatusAccepted {
		t.Errorf("another message with the same body: %+v; want 202", other)
	}
}

func TestRefusalsSayWhyAndStoreNothing(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{MaxBody: 100})
	plain := rig.add(func(r *store.IntakeRecord) { r.Integration.State = domain.IntegrationDeleted })
	none := rig.add(func(r *store.IntakeRecord) {
		r.Integration.Settings = json.RawMessage(`{"webhook":{"verify":{"scheme":"no-such"}}}`)
	})
	noHooks := rig.add(func(r *store.IntakeRecord) { r.Integration.Provider = "elsewhere" })
	long := strings.Repeat("x", 101)
	change := func(fn func(*http.Request)) func() *http.Request {
		return func() *http.Request {
			req := rig.hook(t, rig.id, "msg_1", "{}")
			fn(req)
			return req
		}
	}
	for name, c := range map[string]struct {
		make   func() *http.Request
		status int
		detail string
	}{
		"malformed id":      {func() *http.Request { return rig.hook(t, "not-an-id", "msg_1", "{}") }, 404, "no such integration"},
		"unknown id":        {func() *http.Request { return rig.hook(t, domain.NewID[domain.IntegrationID](time.Now()), "m", "{}") }, 404, "no such integration"},
		"deleted":           {func() *http.Request { return rig.hook(t, plain, "msg_1", "{}") }, 404, "no such integration"},
		"settings broken":   {func() *http.Request { return rig.hook(t, none, "msg_1", "{}") }, 500, "a fault on our side; its cause is logged under the request id"},
		"provider missing":  {func() *http.Request { return rig.hook(t, noHooks, "msg_1", "{}") }, 500, "a fault on our side; its cause is logged under the request id"},
		"no content type":   {change(func(r *http.Request) { r.Header.Del("Content-Type") }), 415, "Content-Type must be application/json"},
		"other type":        {change(func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }), 415, "Content-Type must be application/json"},
		"compressed":        {change(func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }), 415, "Content-Encoding must be identity, unless the integration declares another: webhooks are taken as they were signed"},
		"too long":          {func() *http.Request { return rig.hook(t, rig.id, "msg_1", long) }, 413, "the body may have at most 100 bytes"},
		"too long, chunked": {func() *http.Request { return chunked(rig.hook(t, rig.id, "msg_1", long)) }, 413, "the body may have at most 100 bytes"},
		"far too long, chunked": {func() *http.Request { return chunked(rig.hook(t, rig.id, "msg_1", strings.Repeat(long, 1000))) }, 413,
			"the body may have at most 100 bytes"},
		"no signature":    {change(func(r *http.Request) { r.Header.Del("Webhook-Signature") }), 401, "the signature is missing, wrong or too old"},
		"wrong signature": {change(func(r *http.Request) { r.Header.Set("Webhook-Id", "msg_2") }), 401, "the signature is missing, wrong or too old"},
		"old signature": {func() *http.Request {
			return signedHook(t, rig.url+string(rig.id), "msg_1", "{}", rig.now.Load().Add(-time.Hour))
		}, 401, "the signature is missing, wrong or too old"},
	} {
		got := post(t, c.make())
		if got.Status != c.status || got.Detail != c.detail || got.Type != problemType || got.ID != "" {
			t.Errorf("%s: got %+v; want %d %q as a problem", name, got, c.status, c.detail)
		}
	}
	if n := rig.stored(); n != 0 {
		t.Errorf("%d deliveries stored; want none", n)
	}
	for name, req := range map[string]*http.Request{
		"at the cap":          rig.hook(t, rig.id, "msg_3", long[:100]),
		"at the cap, chunked": chunked(rig.hook(t, rig.id, "msg_4", long[:100])),
		"type with charset":   change(func(r *http.Request) { r.Header.Set("Content-Type", "Application/JSON; charset=utf-8") })(),
	} {
		if got := post(t, req); got.Status != http.StatusAccepted {
			t.Errorf("%s: got %+v; want 202", name, got)
		}
	}
}

// chunked hides the length of a request's body.
func chunked(r *http.Request) *http.Request {
	r.Body, r.ContentLength = io.NopCloser(io.MultiReader(r.Body)), -1
	return r
}

func TestABodyCutOffIsRefusedAndNotStored(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{})
	req := rig.hook(t, rig.id, "msg_1", "whole body")
	req.Body = io.NopCloser(strings.NewReader("whole"))
	w := httptest.NewRecorder()
	e := echo.New()
	c := e.NewContext(req, w)
	c.SetParamNames("integration")
	c.SetParamValues(string(rig.id))
	if err := rig.Handle(c); err != nil || w.Code != http.StatusBadRequest || rig.stored() != 0 {
		t.Errorf("got %d, %v with %d stored; want 400 and none", w.Code, err, rig.stored())
	}
}

func TestStorageDownIs503WithoutAnIDAndTheNextTryIsStored(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{})
	rig.set(func() { rig.fail = domain.E(domain.KindUnavailable, "store delivery: disk is full") })
	got := post(t, rig.hook(t, rig.id, "msg_1", "{}"))
	if got.Status != http.StatusServiceUnavailable || got.ID != "" || got.RetryAfter == "" {
		t.Errorf("got %+v; want 503 with Retry-After and no id", got)
	}
	rig.set(func() { rig.fail = nil })
	if got := post(t, rig.hook(t, rig.id, "msg_1", "{}")); got.Status != http.StatusAccepted || got.ID == "" {
		t.Errorf("second try: got %+v; want 202 with an id", got)
	}
}

func TestAnUnreadableIntegrationIs503AndNotUnknown(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{FreshFor: time.Minute})
	rig.set(func() { rig.down = domain.E(domain.KindUnavailable, "database is down") })
	if got := post(t, rig.hook(t, rig.id, "msg_1", "{}")); got.Status != http.StatusServiceUnavailable || got.RetryAfter == "" {
		t.Errorf("never read: got %+v; want 503 with Retry-After", got)
	}
	rig.set(func() { rig.down = nil })
	if got := post(t, rig.hook(t, rig.id, "msg_1", "{}")); got.Status != http.StatusAccepted {
		t.Fatalf("readable again: got %+v; want 202", got)
	}
	rig.set(func() { rig.down = errors.New("database is down") })
	rig.at(rig.now.Load().Add(time.Hour))
	if got := post(t, rig.hook(t, rig.id, "msg_2", "{}")); got.Status != http.StatusAccepted {
		t.Errorf("read an hour ago: got %+v; want it taken with what is known", got)
	}
}

func TestAStrangerCausesNoReadOfStorageAfterTheFirst(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{StrangerReads: 10})
	unknown := domain.NewID[domain.IntegrationID](time.Now())
	for range 50 {
		if got := post(t, rig.hook(t, unknown, "msg_1", "{}")); got.Status != http.StatusNotFound {
			t.Fatalf("got %+v; want 404", got)
		}
	}
	if n := rig.reads.Load(); n != 1 {
		t.Errorf("%d reads for one unknown id; want 1", n)
	}
	refused := 0
	for range 200 {
		switch got := post(t, rig.hook(t, domain.NewID[domain.IntegrationID](time.Now()), "msg_1", "{}")); got.Status {
		case http.StatusNotFound:
		case http.StatusTooManyRequests:
			refused++
		default:
			t.Fatalf("invented id: got %+v; want 404 or 429", got)
		}
	}
	if n := rig.reads.Load(); n > 22 || refused == 0 {
		t.Errorf("%d reads for 200 invented ids and %d refusals; want reads bounded at twice the rate", n, refused)
	}
}

func TestTheCacheIsBoundedAndStrangersPushNobodyOut(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{Cached: 64, StrangerReads: 1e6})
	if got := post(t, rig.hook(t, rig.id, "msg_1", "{}")); got.Status != http.StatusAccepted {
		t.Fatalf("got %+v; want 202", got)
	}
	for range 500 {
		_, _ = rig.cache.get(t.Context(), domain.NewID[domain.IntegrationID](time.Now()))
	}
	before := rig.reads.Load()
	if got := post(t, rig.hook(t, rig.id, "msg_2", "{}")); got.Status != http.StatusAccepted || rig.reads.Load() != before {
		t.Errorf("got %+v after %d reads; want 202 from the cache", got, rig.reads.Load()-before)
	}
	for range 500 {
		if _, err := rig.cache.get(t.Context(), rig.add(nil)); err != nil {
			t.Fatalf("get: %v", err)
		}
	}
	if n := rig.cache.size(); n > 64 {
		t.Errorf("%d integrations cached; want at most 64", n)
	}
}

func TestChangesOfAnIntegrationAreNoticed(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{Rate: 1e6, Burst: 1e6, GuessRate: -1})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = rig.Run(ctx) // always nil
	}()
	defer func() {
		stop()
		<-done
	}()
	created := domain.NewID[domain.IntegrationID](time.Now())
	if got := post(t, rig.hook(t, created, "msg_0", "{}")); got.Status != http.StatusNotFound {
		t.Fatalf("before it was made: got %+v; want 404", got)
	}
	steps := []struct {
		name   string
		change func(*store.IntakeRecord)
		gone   bool
		status int
	}{
		{name: "made", status: http.StatusAccepted},
		{name: "paused is kept", change: func(r *store.IntakeRecord) { r.Integration.State = domain.IntegrationPaused }, status: http.StatusAccepted},
		{name: "other secret", change: func(r *store.IntakeRecord) {
			r.Secrets = map[string]string{"webhook_secret": "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32))}
		}, status: http.StatusUnauthorized},
		{name: "old secret again", status: http.StatusAccepted},
		{name: "deleted", gone: true, status: http.StatusNotFound},
	}
	for i, s := range steps {
		record := store.IntakeRecord{Zone: "UTC", Secrets: map[string]string{"webhook_secret": intakeSecret}, Integration: domain.Integration{
			ID: created, OrgID: domain.NewID[domain.OrgID](time.Now()), Provider: "custom", State: domain.IntegrationActive,
			Settings: crmsim.MinimalWebhookSettings(), Version: int64(i + 1)}}
		if s.change != nil {
			s.change(&record)
		}
		rig.set(func() {
			rig.records[created], rig.versions[created] = record, int64(i+1)
			if s.gone {
				delete(rig.records, created)
			}
		})
		changed := time.Now()
		for n := 0; ; n++ {
			got := post(t, rig.hook(t, created, fmt.Sprintf("msg_%d_%d", i, n), "{}"))
			if got.Status == s.status {
				break
			}
			if time.Since(changed) > 5*time.Second {
				t.Fatalf("%s: still %+v after 5 s; want %d", s.name, got, s.status)
			}
		}
	}
	reads := rig.reads.Load()
	for range 20 {
		post(t, rig.hook(t, created, "msg", "{}"))
	}
	if n := rig.reads.Load() - reads; n > 1 {
		t.Errorf("%d reads for 20 webhooks to a deleted integration; want at most 1", n)
	}
}

func TestInvalidateReadsAnewAtOnce(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{})
	post(t, rig.hook(t, rig.id, "msg_1", "{}"))
	rig.set(func() { delete(rig.records, rig.id) })
	rig.Invalidate(rig.id)
	if got := post(t, rig.hook(t, rig.id, "msg_2", "{}")); got.Status != http.StatusNotFound {
		t.Errorf("got %+v; want 404", got)
	}
}

// TestAChangeThatIsHeardOfDuringAReadIsReadByTheNext changes an integration after storage has answered and before what it said is
// kept: a credential that was removed must not go on counting.
func TestAChangeThatIsHeardOfDuringAReadIsReadByTheNext(t *testing.T) {
	t.Parallel()
	var rig *intakeRig
	var answered atomic.Bool
	rig = newIntakeRig(t, IntakeLimits{}, func(d *IntakeDeps) {
		now, record := d.Now, d.Record
		d.Record = func(ctx context.Context, id domain.IntegrationID) (store.IntakeRecord, error) {
			r, err := record(ctx, id)
			answered.Store(r.Integration.Version == 1)
			return r, err
		}
		d.Now = func() time.Time {
			if answered.CompareAndSwap(true, false) {
				rig.set(func() {
					r := rig.records[rig.id]
					r.Integration.Version, r.Secrets = 2, map[string]string{"webhook_secret": "whsec_" + base64.StdEncoding.EncodeToString([]byte("the key that came in its place!!"))}
					rig.records[rig.id] = r
				})
				rig.cache.known.Store(rig.id, int64(2))
				rig.cache.invalidate(rig.id)
			}
			return now()
		}
	})
	post(t, rig.hook(t, rig.id, "msg_1", "{}")) // whose answer may be either
	if got := post(t, rig.hook(t, rig.id, "msg_2", "{}")); got.Status != http.StatusUnauthorized {
		t.Errorf("a secret that was replaced: %+v; want 401", got)
	}
}

func TestLimitsAnswer429AndForgeriesUseNoAllowance(t *testing.T) {
	t.Parallel()
	rig := newIntakeRig(t, IntakeLimits{Rate: 1, Burst: 3})
	for range 20 {
		forged := rig.hook(t, rig.id, "msg_1", "{}")
		forged.Header.Set("Webhook-Signature", "v1,"+strings.Repeat("A", 43)+"=")
		if got := post(t, forged); got.Status != http.StatusUnauthorized {
			t.Fatalf("forgery: got %+v; want 401", got)
		}
	}
	var statuses []int
	for i := range 5 {
		got := post(t, rig.hook(t, rig.id, fmt.Sprint("msg_", i), "{}"))
		statuses = append(statuses, got.Status)
		if got.Status == http.StatusTooManyRequests && got.RetryAfter == "" {
			t.Errorf("429 without Retry-After: %+v", got)
		}
	}
	if diff := cmp.Diff([]int{202, 202, 202, 429, 429}, statuses); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	other := rig.add(nil)
	if got := post(t, rig.hook(t, other, "msg_1", "{}")); got.Status != http.StatusAccepted {
		t.Errorf("another integration: got %+v; want 202", got)
	}
}

func TestRequestsUnderWayAreBoundedInNumberAndBytes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		IntakeLimits
		status int
	}{
		"per integration": {IntakeLimits{InFlight: 2}, 429}, "per address": {IntakeLimits{AddressInFlight: 2}, 429},
		"in total": {IntakeLimits{TotalInFlight: 2}, 503}, "in bytes": {IntakeLimits{BodyMemory: 250}, 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rig := newIntakeRig(t, c.IntakeLimits)
			hold := make(chan struct{})
			rig.set(func() { rig.hold = hold })
			body := strings.Repeat("x", 100)
			got := make(chan receipt, 2)
			for i := range 2 {
				req := rig.hook(t, rig.id, fmt.Sprint("msg_", i), body)
				go func() {
					r, err := tryPost(req)
					if err != nil {
						t.Errorf("post: %v", err)
					}
					got <- r
				}()
			}
			for rig.bodyBytes.Load() < 200 {
				runtime.Gosched()
			}
			if r := post(t, rig.hook(t, rig.id, "msg_3", body)); r.Status != c.status || r.RetryAfter == "" {
				t.Errorf("one too many: got %+v; want %d with Retry-After", r, c.status)
			}
			drained := make(chan error)
			go func() { drained <- rig.Drain(context.Background()) }()
			for !rig.draining.Load() {
				runtime.Gosched()
			}
			if r := post(t, rig.hook(t, rig.id, "msg_4", "{}")); r.Status != http.StatusServiceUnavailable {
				t.Errorf("while draining: got %+v; want 503", r)
			}
			close(hold)
			for range 2 {
				if r := <-got; r.Status != http.StatusAccepted {
					t.Errorf("one under way: got %+v; want 202", r)
				}
			}
			if err := <-drained; err != nil {
				t.Errorf("drain: %v", err)
			}
			if n := rig.bodyBytes.Load(); n != 0 {
				t.Errorf("%d bytes still counted; want 0", n)
			}
		})
	}
}

func TestDedupeKeysTellSignedAndUnsignedIDsApart(t *testing.T) {
	t.Parallel()
	key := func(header, id string, signed bool, body string) [32]byte {
		e := &intakeEntry{dedupeHeader: "X-Delivery"}
		h := http.Header{}
		if header != "" {
			h.Set("X-Delivery", header)
		}
		delivery := domain.NewID[domain.DeliveryID](time.Unix(1, 0))
		return e.dedupeKey(h, webhookauth.Result{MessageID: id, IDSigned: signed}, delivery, &bodyBuffer{bytes: []byte(body)})
	}
	same := func(name string, a, b [32]byte, want bool) {
		t.Helper()
		if (a == b) != want {
			t.Errorf("%s: equal is %t; want %t", name, a == b, want)
		}
	}
	same("signed id, other body", key("", "a", true, "x"), key("", "a", true, "y"), true)
	same("unsigned id, same body", key("", "a", false, "x"), key("", "a", false, "x"), true)
	same("unsigned id, other body", key("", "a", false, "x"), key("", "a", false, "y"), false)
	same("header, other body", key("h", "", false, "x"), key("h", "", false, "y"), false)
	same("two headers, same body", key("h", "", false, "x"), key("i", "", false, "x"), false)
	same("no id, same body", key("", "", false, "x"), key("", "", false, "x"), true)
	same("signed and unsigned", key("", "a", true, "x"), key("", "a", false, "x"), false)
}

func TestAWeddingAtHandGoesBeforeTheRuleAndTheRuleBeforeTheSetting(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	rule := func(p domain.Priority, said bool) func(http.Header, []byte) (domain.Priority, bool) {
		return func(_ http.Header, body []byte) (domain.Priority, bool) { return p, said && len(body) > 0 }
	}
	for name, c := range map[string]struct {
		entry *intakeEntry
		want  domain.Priority
	}{
		"the setting":             {&intakeEntry{priority: domain.PriorityHigh}, domain.PriorityHigh},
		"a rule":                  {&intakeEntry{priority: domain.PriorityHigh, rule: rule(domain.PriorityBulk, true)}, domain.PriorityBulk},
		"a rule that is silent":   {&intakeEntry{priority: domain.PriorityHigh, rule: rule(domain.PriorityBulk, false)}, domain.PriorityHigh},
		"a rule that panics":      {&intakeEntry{priority: domain.PriorityHigh, rule: func(http.Header, []byte) (domain.Priority, bool) { panic("no") }}, domain.PriorityHigh},
		"a rule that is nonsense": {&intakeEntry{priority: domain.PriorityNormal, rule: rule(9, true)}, domain.PriorityNormal},
		"a wedding":               {&intakeEntry{urgentUntil: now.Add(time.Second), rule: rule(domain.PriorityBulk, true)}, domain.PriorityUrgent},
		"a wedding that is over":  {&intakeEntry{priority: domain.PriorityNormal, urgentUntil: now}, domain.PriorityNormal},
	} {
		if got := c.entry.priorityOf(http.Header{}, []byte("{}"), now); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	rig := newIntakeRig(t, IntakeLimits{})
	id := rig.add(func(r *store.IntakeRecord) { r.UrgentUntil = now.Add(time.Hour) })
	for n, at := range []time.Time{now, now.Add(2 * time.Hour)} {
		rig.at(at)
		if _, err := tryPost(signedHook(t, rig.url+string(id), fmt.Sprint("m", n), `{"type":"event.created"}`, at)); err != nil {
			t.Fatal(err)
		}
	}
	rig.mu.Lock()
	defer rig.mu.Unlock()
	got := map[domain.Priority]int{}
	for _, d := range rig.rows {
		got[d.Priority]++
	}
	if diff := cmp.Diff(map[domain.Priority]int{domain.PriorityUrgent: 1, domain.PriorityNormal: 1}, got); diff != "" {
		t.Errorf("stored with priorities (-want +got):\n%s", diff)
	}
}
