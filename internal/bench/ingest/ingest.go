// Package ingest measures how many webhooks a second the server acknowledges with their bytes on disk, and at which
// latency. It needs nothing but the PostgreSQL and Temporal programs: each of its four measurements gets a fresh private
// stack, with fsync on, and the load generator runs as a process of its own on the same machine.
//
//   - accept: the intake alone. Server, limits, verification, sealing, group commit; dispatch is held, no Temporal.
//   - full: the same with the dispatcher, Temporal and the workers on, applying bookings while webhooks come in. The
//     workers are a process of their own, as in production: [Child] at the top of main turns a process into one.
//   - naive: the same server code, but each request makes one signal-with-start and nothing is stored. Temporal has the
//     machine for itself: no workers run.
//   - raw: the same rows, sealed, inserted by as many committers as the intake has, in full batches, without HTTP.
//
// Every acknowledged id of accept and full is then looked up in the database. A message counts as lost when its id is
// not there, or is there as another message; as duplicated when a message has more than one row, or one id was told for
// two messages. [Run] returns the figures; [Result.Line] is the last line of `make bench-ingest`.
//
// Figures depend on everything else the machine does. Tests run the whole thing for a second each, which proves that it
// works and says nothing about speed.
package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/wedsync/wedsync/internal/bench/load"
	"github.com/wedsync/wedsync/internal/inbox"
	"github.com/wedsync/wedsync/internal/provider"
)

// Options tune a run. The zero value is the benchmark as it is reported.
type Options struct {
	Connections int           // default 64
	BodyBytes   int           // default 1024
	Targets     int           // integrations, default 64
	Duration    time.Duration // of each measurement, default 20 s
	Warmup      time.Duration // before each, default 5 s; shorter than 0 = none
	Only        []string      // measurements to run: accept, full, naive, raw; default all
	// Dir is where stacks and logs live during the run, on a disk that flushes; "" = the system's temporary folder.
	Dir string
	// Provider finds the provider of the integrations: a name, its settings and the name of the webhook secret.
	Provider Provider
	// Scheme signs the webhooks; the zero value is Standard Webhooks, signed while they are sent. Prepared is how many
	// messages are made before each measurement instead, and then posted to all integrations in turn.
	Scheme   Scheme
	Prepared int
	// NoWorkers leaves the workers out of full, for a test that has none.
	NoWorkers bool
	// Inbox overrides how the intake writes and dispatches.
	Writer     inbox.WriterOptions
	Dispatcher inbox.DispatcherOptions
	// Profile is a folder for CPU profiles of the server, one per measurement; "" = none.
	Profile string
	// Say gets one line of progress at a time.
	Say func(line string)
	Log *slog.Logger // of the program under test; nil drops it
}

// Provider says what kind of integration is benchmarked. Its webhooks must be of the form that package load posts.
type Provider struct {
	Registration provider.Registration
	Settings     json.RawMessage
	SecretName   string
}

func (o *Options) defaults() {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&o.Connections, 64)
	set(&o.BodyBytes, 1024)
	set(&o.Targets, 64)
	set(&o.Writer.Committers, 3)
	set(&o.Writer.MaxRows, 256)
	if o.Duration <= 0 {
		o.Duration = 20 * time.Second
	}
	switch {
	case o.Warmup == 0:
		o.Warmup = 5 * time.Second
	case o.Warmup < 0:
		o.Warmup = 0
	}
	if len(o.Only) == 0 {
		o.Only = []string{"accept", "full", "naive", "raw"}
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Result is the figures of a run. Those of measurements left out are 0.
type Result struct {
	Bench         string  `json:"bench"`
	AckedPerS     float64 `json:"acked_per_s"`
	P50           float64 `json:"p50_ms"`
	P99           float64 `json:"p99_ms"`
	FullAckedPerS float64 `json:"full_acked_per_s"`
	FullP99       float64 `json:"full_p99_ms"`
	NaivePerS     float64 `json:"naive_per_s"`
	RatioVsNaive  float64 `json:"ratio_vs_naive"`
	RawRowsPerS   float64 `json:"raw_rows_per_s"`
	RatioVsRaw    float64 `json:"ratio_vs_raw"`
	Lost          int     `json:"lost"`
	Duplicated    int     `json:"duplicated"`
}

// Line is the result as one line of JSON.
func (r Result) Line() string {
	line, err := json.Marshal(r)
	if err != nil {
		panic("marshal plain figures: " + err.Error())
	}
	return string(line)
}

// Bars are what the project promises of this benchmark on two cores.
func (r Result) Bars() (missed []string) {
	for _, b := range []struct {
		name      string
		value     float64
		least     bool
		threshold float64
	}{
		{"acked_per_s", r.AckedPerS, true, 11000}, {"ratio_vs_naive", r.RatioVsNaive, true, 12}, {"p99_ms", r.P99, false, 25},
		{"full_acked_per_s", r.FullAckedPerS, true, 5000}, {"full_p99_ms", r.FullP99, false, 50},
		{"lost", float64(r.Lost), false, 0}, {"duplicated", float64(r.Duplicated), false, 0},
	} {
		if b.least && b.value < b.threshold {
			missed = append(missed, fmt.Sprintf("%s is %.4g; the bar is at least %g", b.name, b.value, b.threshold))
		} else if !b.least && b.value > b.threshold {
			missed = append(missed, fmt.Sprintf("%s is %.4g; the bar is at most %g", b.name, b.value, b.threshold))
		}
	}
	return missed
}

// Run makes the measurements one after the other. An error means that one could not be made; slow is no error.
func Run(ctx context.Context, o Options) (Result, error) {
	o.defaults()
	r := Result{Bench: "ingest"}
	for _, name := range o.Only {
		o.Say(name + ": starting a fresh stack")
		var err error
		switch name {
		case "accept":
			err = measureAccept(ctx, o, &r)
		case "full":
			err = measureFull(ctx, o, &r)
		case "naive":
			err = measureNaive(ctx, o, &r)
		case "raw":
			err = measureRaw(ctx, o, &r)
		default:
			err = fmt.Errorf("unknown; want accept, full, naive or raw")
		}
		if err != nil {
			return r, fmt.Errorf("measure %s: %w", name, err)
		}
	}
	if r.NaivePerS > 0 {
		r.RatioVsNaive = round(r.AckedPerS/r.NaivePerS, 2)
	}
	if r.RawRowsPerS > 0 {
		r.RatioVsRaw = round(r.AckedPerS/r.RawRowsPerS, 3)
	}
	return r, nil
}

func round(v float64, digits int) float64 {
	unit := math.Pow10(digits)
	return math.Round(v*unit) / unit
}

func ms(d time.Duration) float64 { return round(float64(d)/float64(time.Millisecond), 2) }

func describe(name string, s load.Summary) string {
	return fmt.Sprintf("%s: %.0f/s acknowledged, p50 %.2f ms, p99 %.2f ms, longest %.1f ms, answers %v, generator used %.1f s of CPU",
		name, s.PerSecond(), ms(s.P50), ms(s.P99), ms(s.Max), s.Statuses, s.CPU.Seconds())
}
