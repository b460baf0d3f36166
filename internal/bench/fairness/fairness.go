// Package fairness measures what a noisy organisation does to quiet ones, on the whole stack with real Postgres and
// Temporal: some quiet organisations send webhooks at a steady rate, first alone, then while one other organisation
// sends a hundred times what one of them does, over several connections.
//
// The two are measured in turns, several times, and pooled: a machine that slows down or speeds up in between touches
// both. When a webhook was applied is read from Postgres' own commit timestamps, so no observer slows anything down.
// What the noisy organisation leaves behind is waited for before the next turn.
//
// Run it by `make bench-fairness`; figures of a busy machine mean little, their ratio more.
package fairness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/bench/load"
	"github.com/wedsync/wedsync/internal/domain"
)

// Options tune a run. The zero value is the benchmark as it is reported.
type Options struct {
	Quiet     int           // quiet organisations, default 10
	QuietRate float64       // webhooks a second of each, default 1
	Factor    float64       // the noisy one's rate as a multiple of that, default 100
	Noisy     int           // connections of the noisy organisation, default 8
	Duration  time.Duration // of each turn, default 30 s
	Turns     int           // of each kind, default 3
	Warmup    time.Duration // with noise, before the first turn, default 10 s
	Dir       string
	Say       func(line string)
	Out       io.Writer // of the stack
}

func (o *Options) defaults() {
	fallback(&o.Quiet, 10)
	fallback(&o.QuietRate, 1)
	fallback(&o.Factor, 100)
	fallback(&o.Noisy, 8)
	fallback(&o.Duration, 30*time.Second)
	fallback(&o.Turns, 3)
	fallback(&o.Warmup, 10*time.Second)
	if o.Say == nil {
		o.Say = func(string) {}
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
}

func fallback[T int | float64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Result is the figures of a run: from request to commit of the applied booking, of the quiet organisations only.
type Result struct {
	Bench        string  `json:"bench"`
	P99Alone     float64 `json:"quiet_p99_alone_ms"`
	P99WithNoisy float64 `json:"quiet_p99_with_noisy_ms"`
	Ratio        float64 `json:"ratio"`
	Lost         int     `json:"lost"`
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
	if r.Ratio >= 2 || r.Ratio <= 0 {
		missed = append(missed, fmt.Sprintf("quiet p99 grows %.2f times beside a noisy organisation, bar below 2", r.Ratio))
	}
	if r.Lost != 0 {
		missed = append(missed, fmt.Sprintf("lost %d, bar 0", r.Lost))
	}
	return missed
}

type bed struct {
	o     Options
	stack *app.Stack
	http  *http.Client
	owner *pgx.Conn
	quiet []*load.Connection
	noisy []*load.Connection
	seq   int

	mu   sync.Mutex
	sent map[domain.DeliveryID]time.Time // of quiet organisations, in this turn
}

// Run measures.
func Run(ctx context.Context, o Options) (Result, error) {
	o.defaults()
	r := Result{Bench: "fairness"}
	cfg := app.Defaults()
	cfg.LogLevel = "error"
	err := app.DevStack(ctx, app.DevOptions{DataDir: o.Dir, HTTPAddr: "127.0.0.1:0", Ephemeral: true, Private: true, Config: cfg, Out: o.Out,
		Temporal: []string{"matching.enableFairness=true"}, // as docs/operations.md asks of a Temporal server
		Postgres: map[string]string{"track_commit_timestamp": "on"}}, func(ctx context.Context, s *app.Stack) error {
		b := &bed{o: o, stack: s, sent: map[domain.DeliveryID]time.Time{},
			http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128, MaxConnsPerHost: 128}, Timeout: 30 * time.Second}}
		return b.run(ctx, &r)
	})
	return r, err
}

func (b *bed) run(ctx context.Context, r *Result) (err error) {
	if b.owner, err = pgx.Connect(ctx, b.stack.Ready.DatabaseURL); err != nil {
		return fmt.Errorf("connect to read commit timestamps: %w", err)
	}
	defer func() { _ = b.owner.Close(context.WithoutCancel(ctx)) }() // nothing is pending on it
	if _, b.noisy, err = load.Studio(ctx, b.stack.Core.Store, "Noisy", b.o.Noisy); err != nil {
		return err
	}
	for n := range b.o.Quiet {
		_, one, err := load.Studio(ctx, b.stack.Core.Store, fmt.Sprintf("Quiet %d", n+1), 1)
		if err != nil {
			return err
		}
		b.quiet = append(b.quiet, one...)
	}
	noise := b.o.QuietRate * b.o.Factor
	b.o.Say(fmt.Sprintf("%d quiet organisations at %.1f webhooks/s each, a noisy one at %.0f/s over %d connections; %d turns of %s each way",
		len(b.quiet), b.o.QuietRate, noise, len(b.noisy), b.o.Turns, b.o.Duration))
	if _, err := b.turn(ctx, b.o.Warmup, noise); err != nil {
		return err
	}
	var alone, with []float64
	for n := range b.o.Turns {
		one, err := b.turn(ctx, b.o.Duration, 0)
		if err != nil {
			return err
		}
		two, err := b.turn(ctx, b.o.Duration, noise)
		if err != nil {
			return err
		}
		b.o.Say(fmt.Sprintf("turn %d: quiet alone p50 %.0f ms, p99 %.0f ms; with the noisy one p50 %.0f ms, p99 %.0f ms", n+1,
			percentile(one, 50), percentile(one, 99), percentile(two, 50), percentile(two, 99)))
		alone, with = append(alone, one...), append(with, two...)
	}
	r.P99Alone, r.P99WithNoisy = percentile(alone, 99), percentile(with, 99)
	r.Ratio = r.P99WithNoisy / r.P99Alone
	var bookings int
	if err := b.owner.QueryRow(ctx, "SELECT count(*)::int FROM bookings").Scan(&bookings); err != nil {
		return fmt.Errorf("count bookings: %w", err)
	}
	r.Lost = b.seq - bookings
	return nil
}

// turn sends for a while, waits until everything is applied, and returns the latencies of the quiet ones in ms.
func (b *bed) turn(ctx context.Context, d time.Duration, noise float64) ([]float64, error) {
	clear(b.sent)
	var sending sync.WaitGroup
	errs := make(chan error, 1)
	post := func(c *load.Connection, quiet bool) {
		b.seq++
		c.Sent++
		seq, slot := b.seq, c.Sent
		sending.Go(func() {
			if err := b.send(ctx, c, seq, slot, quiet); err != nil {
				select {
				case errs <- err:
				default:
				}
			}
		})
	}
	// Each sends on time whatever the answers take. The quiet ones are spread evenly.
	var quiet, noisy int
	quietEvery := time.Duration(float64(time.Second) / (b.o.QuietRate * float64(len(b.quiet))))
	begin := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for at := begin; at.Sub(begin) < d; {
		for ; time.Duration(quiet)*quietEvery < at.Sub(begin); quiet++ {
			post(b.quiet[quiet%len(b.quiet)], true)
		}
		for ; float64(noisy) < at.Sub(begin).Seconds()*noise; noisy++ {
			post(b.noisy[noisy%len(b.noisy)], false)
		}
		select {
		case at = <-tick.C:
		case err := <-errs:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	sending.Wait()
	select {
	case err := <-errs:
		return nil, err
	default:
	}
	if err := b.settle(ctx); err != nil {
		return nil, err
	}
	return b.latencies(ctx)
}

func (b *bed) send(ctx context.Context, c *load.Connection, seq, slot int, quiet bool) error {
	sent, err := c.Post(ctx, b.http, b.stack.Ready.HTTP, seq, load.First.Add(time.Duration(slot)*time.Hour))
	if err == nil && quiet {
		b.mu.Lock()
		b.sent[sent.Delivery] = sent.At
		b.mu.Unlock()
	}
	return err
}

// settle waits until nothing is left to be applied.
func (b *bed) settle(ctx context.Context) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(3 * time.Minute)
	for {
		var waits bool
		if err := b.owner.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM deliveries WHERE state IN ('received', 'retrying'))").Scan(&waits); err != nil {
			return fmt.Errorf("look for what waits: %w", err)
		}
		if !waits {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("deliveries still wait after three minutes")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (b *bed) latencies(ctx context.Context) (out []float64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := make([]string, 0, len(b.sent))
	for id := range b.sent {
		ids = append(ids, string(id))
	}
	rows, err := b.owner.Query(ctx, "SELECT id::text, pg_xact_commit_timestamp(xmin) FROM deliveries WHERE state = 'applied' AND id::text = ANY ($1)", ids)
	if err != nil {
		return nil, fmt.Errorf("read commit timestamps: %w", err)
	}
	var id string
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &at}, func() error {
		out = append(out, float64(at.Sub(b.sent[domain.DeliveryID(id)]).Microseconds())/1000)
		return nil
	})
	if err == nil && len(out) != len(b.sent) {
		err = fmt.Errorf("%d of %d quiet webhooks were applied", len(out), len(b.sent))
	}
	return out, err
}

func percentile(v []float64, p int) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[min(len(v)*p/100, len(v)-1)]
}
