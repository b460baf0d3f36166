package server

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/token"
)

// live is an open stream.
type live struct {
	t    testing.TB
	body *bufio.Reader
}

type liveEvent struct{ id, topic, data string }

func (b *bundle) follow(raw, after, query string) *live {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/v1/stream"+query, nil)
	b.must(err)
	req.Header.Set("Authorization", "Bearer "+raw)
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	res, err := http.DefaultClient.Do(req)
	b.must(err)
	b.Cleanup(func() { cancel(); _ = res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		b.Fatalf("stream: %d %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	return &live{t: b.T, body: bufio.NewReader(res.Body)}
}

// next returns the next frame; ok is false at the end.
func (l *live) next() (e liveEvent, ok bool) {
	l.t.Helper()
	for {
		line, err := l.body.ReadString('\n')
		if err != nil {
			return e, false
		}
		switch k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); k {
		case "id":
			e.id = v
		case "event":
			e.topic = v
		case "data":
			e.data = v
		case "":
			if line == "\n" {
				return e, true
			}
		}
	}
}

// refs reads the n of the next events that have one.
func (l *live) numbers(n int) (out []string, last string) {
	l.t.Helper()
	for len(out) < n {
		e, ok := l.next()
		if !ok {
			l.t.Fatalf("the stream ended after %v, want %d", out, n)
		}
		if e.topic == "" {
			continue
		}
		var d struct {
			Topic string
			Refs  map[string]string
		}
		if err := json.Unmarshal([]byte(e.data), &d); err != nil || d.Topic != e.topic {
			l.t.Fatalf("event %+v: %v", e, err)
		}
		if d.Refs["n"] != "" {
			out, last = append(out, d.Refs["n"]), e.id
		}
	}
	return out, last
}

func (b *bundle) emit(org domain.OrgID, topic domain.Topic, n string) {
	b.Helper()
	b.must(b.store.Tenant(b.Context(), org, func(ctx context.Context, tx *store.Tx) error {
		return tx.Emit(ctx, topic, map[string]string{"n": n})
	}))
}

func TestStreamResumesAfterAGapWithoutLossOrRepeat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	viewer := b.token(b.a.org, domain.RoleViewer)
	first := b.follow(viewer, "", "")
	first.next()
	b.emit(b.b.org, domain.TopicBookingChanged, "foreign")
	b.emit(b.a.org, domain.TopicBookingChanged, "1")
	got, last := first.numbers(1)
	if d := cmp.Diff([]string{"1"}, got); d != "" {
		t.Fatal(d)
	}
	for _, n := range []string{"2", "3"} {
		b.emit(b.a.org, domain.TopicSyncProgress, n)
	}
	again := b.follow(viewer, last, "")
	got, last = again.numbers(2)
	b.emit(b.a.org, domain.TopicBookingChanged, "4")
	more, _ := again.numbers(1)
	if d := cmp.Diff([]string{"2", "3", "4"}, append(got, more...)); d != "" {
		t.Errorf("resumed (-want +got):\n%s", d)
	}
	filtered := b.follow(viewer, last, "?topics=conflict.")
	b.emit(b.a.org, domain.TopicBookingChanged, "5")
	b.emit(b.a.org, domain.TopicConflictOpened, "6")
	if got, _ := filtered.numbers(1); !cmp.Equal(got, []string{"6"}) {
		t.Errorf("filtered %v, want 6", got)
	}
}

func TestBadStreamRequestsAreProblems(t *testing.T) {
	t.Parallel()
	b := setup(t)
	viewer := b.token(b.a.org, domain.RoleViewer)
	for _, id := range []string{"garbage", "1-2-3", "-1-1", strings.Repeat("9", 61)} {
		b.do("GET", "/v1/stream", viewer, "", header("Last-Event-ID", id)).problem(t, 400, "invalid")
	}
	b.do("GET", "/v1/stream?topics=NO", viewer, "").problem(t, 400, "invalid")
}

func TestStreamEndsWhenTheTokenDoes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	raw, err := b.issuer.Mint(token.Grant{Org: b.a.org, Role: domain.RoleViewer, Subject: "x"}, time.Second, time.Now())
	b.must(err)
	l := b.follow(raw, "", "")
	for {
		e, ok := l.next()
		if !ok {
			t.Fatal("the stream ended without saying why")
		}
		if e.topic == "stream.closed" {
			if !strings.Contains(e.data, "token_expired") {
				t.Errorf("closed with %s", e.data)
			}
			return
		}
	}
}

func TestReadyzAsksPostgresAndTemporal(t *testing.T) {
	t.Parallel()
	now := make(chan time.Time, 1)
	now <- time.Now()
	clock := func() time.Time { at := <-now; at = at.Add(2 * time.Second); now <- at; return at } // past the cache every time
	b := setup(t, func(d *Deps) { d.Now = clock })
	var got struct {
		Status string
		Parts  map[string]struct {
			OK    bool
			Error string
		}
	}
	r := b.do("GET", "/readyz", "", "")
	if r.into(t, &got); r.status != 200 || got.Status != "ready" || !got.Parts["postgres"].OK || !got.Parts["temporal"].OK {
		t.Errorf("%d %s", r.status, r.body)
	}
	b.flow.fail(domain.E(domain.KindUnavailable, "Temporal is away"))
	r = b.do("GET", "/readyz", "", "")
	if r.into(t, &got); r.status != 200 || got.Status != "degraded" || got.Parts["temporal"].OK || got.Parts["temporal"].Error != "unavailable" {
		t.Errorf("without Temporal: %d %s", r.status, r.body)
	}
	if r = b.do("GET", "/readyz?all=1", "", ""); r.status != 503 {
		t.Errorf("without Temporal, all asked for: %d %s", r.status, r.body)
	}
	b.flow.fail(nil)
	b.store.Close()
	r = b.do("GET", "/readyz", "", "")
	if r.into(t, &got); r.status != 503 || got.Status != "unavailable" || got.Parts["postgres"].OK || !got.Parts["temporal"].OK {
		t.Errorf("without Postgres: %d %s", r.status, r.body)
	}
	if r = b.do("GET", "/healthz", "", ""); r.status != 200 {
		t.Errorf("the process lives, but /healthz says %d", r.status)
	}
	b.do("GET", "/v1/resources", b.token(b.a.org, domain.RoleViewer), "").problem(t, 503, "unavailable")
}

// slowPing never answers and does not keep to its context.
type slowPing struct {
	Flow
	release chan struct{}
}

func (s slowPing) Ping(context.Context) error { <-s.release; return nil }

func TestSilentTemporalDoesNotHoldReadyz(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := setup(t, func(d *Deps) { d.Flow = slowPing{d.Flow, release} })
	defer close(release)
	started := time.Now()
	if r := b.do("GET", "/readyz", "", ""); r.status != 200 || !strings.Contains(string(r.body), "degraded") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if took := time.Since(started); took > healthBound+3*time.Second {
		t.Errorf("took %s, bound %s", took, healthBound)
	}
}

func TestRunDrainsRequestsInFlight(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	b := setup(t, func(d *Deps) {
		apply := d.ApplyManual
		d.ApplyManual = func(ctx context.Context, org domain.OrgID, actor string, c ManualChange) (domain.Booking, []domain.Conflict, error) {
			close(entered)
			<-release
			return apply(ctx, org, actor, c)
		}
		d.Options.DrainTimeout = 20 * time.Second
	})
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	b.must(err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.server.Run(ctx, l) }()
	b.url = "http://" + l.Addr().String()
	answered := make(chan reply, 1)
	operator := b.token(b.a.org, domain.RoleOperator)
	go func() {
		answered <- b.do("POST", "/v1/bookings", operator, `{"resource_id":"`+string(b.a.spare)+`","category":"vendor","when":`+span(nextSaturday(), 1)+`}`)
	}()
	<-entered
	cancel()
	await(t, b.server.draining.Load)
	select {
	case err := <-done:
		t.Fatalf("run returned %v with a request in flight", err)
	default:
	}
	close(release)
	if r := <-answered; r.status != 201 {
		t.Errorf("the request in flight got %d %s", r.status, r.body)
	}
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	rec := reply{}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/readyz", nil)
	b.must(err)
	if res, err := http.DefaultClient.Do(req); err == nil {
		rec.status = res.StatusCode
		_ = res.Body.Close()
		t.Errorf("a drained server answered %d", rec.status)
	}
}

func await(t testing.TB, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("the awaited state did not come within 10 s")
		}
	}
}

func TestPanicIsAProblemWithItsCauseInTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t, func(d *Deps) {
		d.ApplyManual = func(context.Context, domain.OrgID, string, ManualChange) (domain.Booking, []domain.Conflict, error) {
			panic("spilled coffee")
		}
	})
	got := b.do("POST", "/v1/bookings", b.token(b.a.org, domain.RoleOperator), `{"resource_id":"`+string(b.a.spare)+`","category":"vendor","when":`+span(nextSaturday(), 1)+`}`)
	p := got.problem(t, 500, "internal")
	if strings.Contains(string(got.body), "coffee") || strings.Contains(string(got.body), "goroutine") {
		t.Errorf("a fault shows its cause: %s", got.body)
	}
	if log := b.log.String(); !strings.Contains(log, "spilled coffee") || !strings.Contains(log, p.RequestID) {
		t.Error("the log does not have the cause under the request id")
	}
}
