// Package flows measures the whole way of a webhook on real Postgres and Temporal: from the vendor's request to the
// booking being committed, and to the event at a subscriber of the live stream.
//
// Two measurements share one stack. Steady: a fixed rate over all integrations. Burst: many webhooks at once, and the
// time until the last one is committed. When a webhook was applied is read from Postgres' own commit timestamps, so no
// observer slows anything down. Workflow histories are counted by Temporal. Every fiftieth webhook makes a conflict.
package flows

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
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
