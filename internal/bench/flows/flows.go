// Package flows measures the whole way of a webhook on real Postgres and Temporal: from the vendor's request to the
// booking being committed, and to the event at a subscriber of the live stream.
//
// Two measurements share one stack. Steady: a fixed rate over all integrations. Burst: many webhooks at once, and the
// time until the last one is committed. When a webhook was applied is read from Postgres' own commit timestamps, so no
// observer slows anything down. Workflow histories are counted by Temporal. Every fiftieth webhook makes a conflict.
package flows

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/token"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// Options tune a run. The zero value is the benchmark as it is reported.
type Options struct {
	Integrations int           // default 100
	Rate         float64       // webhooks a second in the steady measurement, default 100
	Duration     time.Duration // of the steady measurement, default 60 s
	Warmup       time.Duration // before it, default 5 s
	Burst        int           // webhooks of the burst, default 10,000
	Dir          string
	Say          func(line string)
	Out          io.Writer // of the stack
}

func (o *Options) defaults() {
	if o.Integrations <= 0 {
		o.Integrations = 100
	}
	if o.Rate <= 0 {
		o.Rate = 100
	}
	if o.Duration <= 0 {
		o.Duration = time.Minute
	}
	if o.Warmup <= 0 {
		o.Warmup = 5 * time.Second
	}
	if o.Burst <= 0 {
		o.Burst = 10_000
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
}

// Result is the figures of a run.
type Result struct {
	Bench           string  `json:"bench"`
	SteadyP50       float64 `json:"steady_applied_p50_ms"`
	SteadyP99       float64 `json:"steady_applied_p99_ms"`
	SteadyStreamP99 float64 `json:"steady_stream_p99_ms"`
	SteadyEvents    float64 `json:"steady_history_events_per_webhook"`
	BurstPerS       float64 `json:"burst_applied_per_s"`
	BurstEvents     float64 `json:"burst_history_events_per_webhook"`
	Lost            int     `json:"lost"`
	Duplicated      int     `json:"duplicated"`
}

// Line is the result as one line of JSON.
func (r Result) Line() string {
	b, err := json.Marshal(r)
	if err != nil {
		panic("marshal plain figures: " + err.Error())
	}
	return string(b)
}

// Bars returns what misses the project's bars.
func (r Result) Bars() (missed []string) {
	for _, bar := range []struct {
		ok   bool
		text string
	}{
		{r.SteadyP99 <= 1000, fmt.Sprintf("steady applied p99 %.0f ms, bar 1000 ms", r.SteadyP99)},
		{r.SteadyStreamP99 <= 1000, fmt.Sprintf("steady stream p99 %.0f ms, bar 1000 ms", r.SteadyStreamP99)},
		{r.BurstPerS >= 1500, fmt.Sprintf("burst %.0f applied/s, bar 1500", r.BurstPerS)},
		{r.BurstEvents <= 0.3, fmt.Sprintf("burst %.2f history events per webhook, bar 0.3", r.BurstEvents)},
		{r.Lost == 0 && r.Duplicated == 0, fmt.Sprintf("lost %d, duplicated %d, bar 0", r.Lost, r.Duplicated)},
	} {
		if !bar.ok {
			missed = append(missed, bar.text)
		}
	}
	return missed
}

const integrationsPerOrg = 4

type target struct {
	id       domain.IntegrationID
	org      domain.OrgID
	secret   webhookauth.Secret
	resource domain.ResourceID
	sent     int // bookings so far: each has an hour of its own
}

type bed struct {
	o       Options
	stack   *app.Stack
	targets []*target
	orgs    []domain.OrgID
	http    *http.Client
	owner   *pgx.Conn
	seq     int

	mu     sync.Mutex
	sentAt map[domain.DeliveryID]time.Time
	events map[string]int // booking key to number of times it was sent
	seen   map[domain.DeliveryID]time.Time
}

// Run measures.
func Run(ctx context.Context, o Options) (Result, error) {
	o.defaults()
	r := Result{Bench: "flow"}
	cfg := app.Defaults()
	cfg.LogLevel = "error"
	err := app.DevStack(ctx, app.DevOptions{DataDir: o.Dir, HTTPAddr: "127.0.0.1:0", Ephemeral: true, Private: true, Config: cfg, Out: o.Out,
		Postgres: map[string]string{"track_commit_timestamp": "on"}}, func(ctx context.Context, s *app.Stack) error {
		b := &bed{o: o, stack: s, sentAt: map[domain.DeliveryID]time.Time{}, events: map[string]int{}, seen: map[domain.DeliveryID]time.Time{},
			http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128, MaxConnsPerHost: 64}, Timeout: 30 * time.Second}}
		return b.run(ctx, &r)
	})
	return r, err
}

func (b *bed) run(ctx context.Context, r *Result) (err error) {
	if b.owner, err = pgx.Connect(ctx, b.stack.Ready.DatabaseURL); err != nil {
		return fmt.Errorf("connect to read commit timestamps: %w", err)
	}
	defer func() { _ = b.owner.Close(context.WithoutCancel(ctx)) }() // nothing is pending on it
	if err := b.seed(ctx); err != nil {
		return err
	}
	streams, stop := context.WithCancel(ctx)
	defer stop()
	for _, org := range b.orgs {
		if err := b.subscribe(streams, org); err != nil {
			return err
		}
	}
	b.o.Say(fmt.Sprintf("steady: %.0f webhooks/s over %d integrations for %s", b.o.Rate, len(b.targets), b.o.Duration))
	if err := b.steady(ctx, b.o.Warmup); err != nil {
		return err
	}
	if err := b.settle(ctx); err != nil {
		return err
	}
	b.forget()
	before, err := b.history(ctx)
	if err != nil {
		return err
	}
	if err := b.steady(ctx, b.o.Duration); err != nil {
		return err
	}
	if err := b.settle(ctx); err != nil {
		return err
	}
	applied, _, err := b.latencies(ctx)
	if err != nil {
		return err
	}
	after, err := b.history(ctx)
	if err != nil {
		return err
	}
	r.SteadyP50, r.SteadyP99, r.SteadyStreamP99 = percentile(applied, 50), percentile(applied, 99), percentile(b.streamLatencies(), 99)
	r.SteadyEvents = float64(after-before) / float64(len(applied))
	b.o.Say(fmt.Sprintf("steady: applied p50 %.0f ms, p99 %.0f ms; stream p99 %.0f ms; %.2f history events per webhook", r.SteadyP50, r.SteadyP99, r.SteadyStreamP99, r.SteadyEvents))
	if err := b.count(ctx, r); err != nil {
		return err
	}

	stop() // the burst measures applying
	b.forget()
	if before, err = b.history(ctx); err != nil {
		return err
	}
	b.o.Say(fmt.Sprintf("burst: %d webhooks at once", b.o.Burst))
	began := time.Now()
	if err := b.burst(ctx); err != nil {
		return err
	}
	acked := time.Since(began)
	if err := b.settle(ctx); err != nil {
		return err
	}
	applied, last, err := b.latencies(ctx)
	if err != nil {
		return err
	}
	if after, err = b.history(ctx); err != nil {
		return err
	}
	r.BurstPerS = float64(len(applied)) / last.Sub(began).Seconds()
	r.BurstEvents = float64(after-before) / float64(len(applied))
	b.o.Say(fmt.Sprintf("burst: acknowledged after %s, applied after %s: %.0f/s; %.2f history events per webhook", acked.Round(time.Millisecond),
		last.Sub(began).Round(time.Millisecond), r.BurstPerS, r.BurstEvents))
	return b.count(ctx, r)
}

func (b *bed) seed(ctx context.Context) error {
	now := time.Now().UTC()
	db := b.stack.Core.Store
	for len(b.targets) < b.o.Integrations {
		org := domain.NewID[domain.OrgID](now)
		if err := db.CreateOrganization(ctx, domain.Organization{ID: org, Name: fmt.Sprintf("Studio %d", len(b.orgs)+1), Zone: "UTC"}, "system:bench"); err != nil {
			return err
		}
		b.orgs = append(b.orgs, org)
		var made []*target
		err := db.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
			made = nil
			for range min(integrationsPerOrg, b.o.Integrations-len(b.targets)) {
				res := domain.Resource{ID: domain.NewID[domain.ResourceID](now), Name: "Photographer", Kind: domain.ResourcePerson, Zone: "UTC", Capacity: 1}
				if err := tx.CreateResource(ctx, res); err != nil {
					return err
				}
				secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte(string(domain.NewID[domain.PushID](now))))
				t := &target{id: domain.NewID[domain.IntegrationID](now), org: org, secret: webhookauth.Secret(secret), resource: res.ID}
				if err := tx.CreateIntegration(ctx, domain.Integration{ID: t.id, OrgID: org, Name: "Studio system", Provider: "custom",
					State: domain.IntegrationActive, Direction: domain.DirectionImport, ResourceID: res.ID, Settings: crmsim.MinimalWebhookSettings()},
					map[string]string{"webhook_secret": secret}); err != nil {
					return err
				}
				made = append(made, t)
			}
			return nil
		})
		if err != nil {
			return err
		}
		b.targets = append(b.targets, made...)
	}
	return nil
}

func (b *bed) subscribe(ctx context.Context, org domain.OrgID) error {
	t, err := b.stack.Config.Mint(token.Grant{Org: org, Role: domain.RoleViewer, Subject: "bench"}, time.Hour)
	if err != nil {
		return err
	}
	api := apiclient.New(b.stack.Ready.HTTP, t)
	go func() {
		err := api.Stream(ctx, "", func(e apiclient.Event) bool {
			if e.Topic == domain.TopicDeliveryApplied {
				now := time.Now()
				b.mu.Lock()
				b.seen[domain.DeliveryID(e.Refs["delivery"])] = now
				b.mu.Unlock()
			}
			return true
		})
		if err != nil && ctx.Err() == nil {
			b.o.Say("a live stream ended: " + err.Error())
		}
	}()
	return nil
}

// first is where the calendars begin.
var first = time.Now().UTC().AddDate(0, 1, 0).Truncate(24 * time.Hour)

// send posts the next webhook of a target and remembers when.
func (b *bed) send(ctx context.Context, t *target, seq, slot int) error {
	start := first.Add(time.Duration(slot) * time.Hour)
	if seq%50 == 49 && slot > 0 {
		start = start.Add(-30 * time.Minute) // into the booking before
	}
	key := fmt.Sprintf("b%012d", seq)
	body, err := json.Marshal(map[string]any{"id": key, "type": "event.created", "data": map[string]any{"id": key, "category": "consultation",
		"start": start.Format(time.RFC3339), "end": start.Add(time.Hour).Format(time.RFC3339), "zone": "UTC", "title": "Consultation " + key,
		"notes": pad}})
	if err != nil {
		return err
	}
	now := time.Now()
	header, err := webhookauth.Sign(webhookauth.Config{Scheme: webhookauth.StandardWebhooks}, t.secret, "msg_"+key, now, body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.stack.Ready.HTTP+"/v1/webhooks/"+string(t.id), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	res, err := b.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var ack struct {
		ID domain.DeliveryID `json:"id"`
	}
	if err := json.NewDecoder(res.Body).Decode(&ack); err != nil || res.StatusCode != http.StatusAccepted {
		return fmt.Errorf("webhook was answered %d: %w", res.StatusCode, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sentAt[ack.ID] = now
	b.events[string(t.id)+" "+key]++
	return nil
}

// pad makes a body about 1 KiB.
var pad = string(bytes.Repeat([]byte("a garden wedding with room for dancing; "), 21))

func (b *bed) next() (*target, int, int) {
	t := b.targets[b.seq%len(b.targets)]
	b.seq++
	t.sent++
	return t, b.seq, t.sent
}

// steady sends at the rate for a while, each on time whatever the answers take.
func (b *bed) steady(ctx context.Context, d time.Duration) error {
	var sending sync.WaitGroup
	errs := make(chan error, 1)
	tick := time.NewTicker(time.Duration(float64(time.Second) / b.o.Rate))
	defer tick.Stop()
	for n := 0; n < int(d.Seconds()*b.o.Rate); n++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-errs:
			return err
		case <-tick.C:
		}
		t, seq, slot := b.next()
		sending.Go(func() {
			if err := b.send(ctx, t, seq, slot); err != nil {
				select {
				case errs <- err:
				default:
				}
			}
		})
	}
	sending.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// burst sends as fast as 64 connections go.
func (b *bed) burst(ctx context.Context) error {
	type job struct {
		t         *target
		seq, slot int
	}
	jobs := make(chan job)
	errs := make(chan error, 64)
	var workers sync.WaitGroup
	for range 64 {
		workers.Go(func() {
			for j := range jobs {
				if err := b.send(ctx, j.t, j.seq, j.slot); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	for range b.o.Burst {
		t, seq, slot := b.next()
		select {
		case jobs <- job{t, seq, slot}:
		case err := <-errs:
			close(jobs)
			return err
		}
	}
	close(jobs)
	workers.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// settle waits until nothing is left to be applied.
func (b *bed) settle(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(3 * time.Minute)
	for {
		var waiting int
		if err := b.owner.QueryRow(ctx, "SELECT count(*) FROM deliveries WHERE state IN ('received', 'retrying')").Scan(&waiting); err != nil {
			return fmt.Errorf("count what waits: %w", err)
		}
		if waiting == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d deliveries still wait after three minutes", waiting)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (b *bed) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.sentAt)
	clear(b.seen)
}

// latencies returns the time from request to commit of everything sent since forget, in ms, and the last commit.
func (b *bed) latencies(ctx context.Context) (applied []float64, last time.Time, err error) {
	rows, err := b.owner.Query(ctx, "SELECT id::text, pg_xact_commit_timestamp(xmin) FROM deliveries WHERE state = 'applied'")
	if err != nil {
		return nil, last, fmt.Errorf("read commit timestamps: %w", err)
	}
	var id string
	var at time.Time
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err = pgx.ForEachRow(rows, []any{&id, &at}, func() error {
		if sent, ok := b.sentAt[domain.DeliveryID(id)]; ok {
			applied = append(applied, float64(at.Sub(sent).Microseconds())/1000)
			if at.After(last) {
				last = at
			}
		}
		return nil
	})
	if err == nil && len(applied) == 0 {
		err = errors.New("nothing was applied")
	}
	return applied, last, err
}

func (b *bed) streamLatencies() []float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []float64
	for id, sent := range b.sentAt {
		if at, ok := b.seen[id]; ok {
			out = append(out, float64(at.Sub(sent).Microseconds())/1000)
		}
	}
	if missing := len(b.sentAt) - len(out); missing > 0 {
		b.o.Say(fmt.Sprintf("%d of %d events were not seen on the live stream", missing, len(b.sentAt)))
	}
	return out
}

func percentile(v []float64, p int) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[min(len(v)*p/100, len(v)-1)]
}

// history adds up the history events of all integrations' and conflicts' workflows, earlier runs included.
func (b *bed) history(ctx context.Context) (int, error) {
	temporal := b.stack.Core.Flow.Temporal()
	total := 0
	for _, t := range b.targets {
		d, err := temporal.DescribeWorkflowExecution(ctx, contract.IntegrationWorkflowID(t.id), "")
		if err != nil {
			return 0, fmt.Errorf("describe a workflow: %w", err)
		}
		total += int(d.WorkflowExecutionInfo.HistoryLength)
	}
	return total, nil
}

// count compares what was sent with the bookings there are.
func (b *bed) count(ctx context.Context, r *Result) error {
	rows, err := b.owner.Query(ctx, `SELECT l.integration_id::text, l.external_id, count(DISTINCT l.booking_id)::int FROM links l
		JOIN bookings b ON b.org_id = l.org_id AND b.id = l.booking_id GROUP BY 1, 2`)
	if err != nil {
		return fmt.Errorf("count bookings: %w", err)
	}
	found := map[string]int{}
	var integration, external string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&integration, &external, &n}, func() error {
		found[integration+" "+external] = n
		return nil
	}); err != nil {
		return fmt.Errorf("count bookings: %w", err)
	}
	var bookings int
	if err := b.owner.QueryRow(ctx, "SELECT count(*)::int FROM bookings").Scan(&bookings); err != nil {
		return fmt.Errorf("count bookings: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r.Lost, r.Duplicated = 0, max(0, bookings-len(b.events))
	for key := range b.events {
		if found[key] != 1 {
			r.Lost++
		}
	}
	return nil
}
