// Package vendors measures many connected systems at once: most post webhooks that say what changed and are polled for
// reconciling, the others post hints that make WedSync read. Server and worker run as one process, which tells what it uses;
// Postgres and Temporal are others.
//
// What is simulated: each integration has a system, an account, a key and a secret of its own, and is connected, opened, read,
// watched and limited by itself, as it is in reality. The systems are simulators in this process. They are spread over a few
// loopback addresses, each with its port, because 5,000 vendors are hosts of a few platforms; so the limits by host count for
// hundreds of accounts, as they do there. They answer at once and lose nothing: neither a network nor slow vendors are measured.
// The accounts have little history, so the first reading is short. All is in plain http.
//
//	result, err := vendors.Run(ctx, vendors.Options{})
//
// A run connects all, waits until each has been read once, watches them idle, and then lets each change once a minute, at a
// moment of its own. When a change was applied is read from Postgres' commit timestamps of the first version of its booking.
// In the end what the simulators hold is compared with the bookings. A program that calls Run must call [Child] first.
//
// Run returns errors of the stack and of the simulators; figures that miss a bar are no error, see [Result.Bars]. To test: go
// test ./internal/bench/vendors runs a few connections for seconds.
package vendors

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Options tune a run. The zero value is the benchmark as it is reported.
type Options struct {
	Integrations int           // default 5000
	Hinted       float64       // part of them that only hint, default 0.1; less than 0 = none
	Interval     time.Duration // between the changes of one integration, default a minute
	Duration     time.Duration // of the steady state, default five minutes
	Idle         time.Duration // how long idling is watched, default 30 s
	Poll         time.Duration // between reconciling polls of one integration, default 15 minutes
	Hosts        int           // of the simulators, default 16
	Dir          string
	Profile      string // folder for a CPU profile of server and worker and heap profiles before and after; "" = none
	MemoryLimit  string // of server and worker, as the setting memory-limit; "" = the program's own
	Say          func(line string)
}

func (o *Options) defaults() {
	if o.Integrations <= 0 {
		o.Integrations = 5000
	}
	if o.Hinted == 0 {
		o.Hinted = 0.1
	}
	o.Hinted = min(max(o.Hinted, 0), 1)
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{{&o.Interval, time.Minute}, {&o.Duration, 5 * time.Minute}, {&o.Idle, 30 * time.Second}, {&o.Poll, 15 * time.Minute}} {
		if *d.value <= 0 {
			*d.value = d.fallback
		}
	}
	if o.Hosts <= 0 {
		o.Hosts = 16
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
}

// Result is the figures of a run. Memory and processor are of server and worker together, without Postgres and Temporal.
type Result struct {
	Bench        string  `json:"bench"`
	Integrations int     `json:"integrations"`
	AppliedP99   float64 `json:"applied_p99_ms"`
	Cores        float64 `json:"cpu_cores"` // used on average in the steady state
	RSS          float64 `json:"rss_mib"`   // highest
	Connections  int     `json:"open_connections"`
	Lost         int     `json:"lost"`
	Duplicated   int     `json:"duplicated"`
	AppliedP50   float64 `json:"applied_p50_ms"`
	HintedP99    float64 `json:"hinted_p99_ms"` // of those that only hint
	IdleCores    float64 `json:"idle_cpu_cores"`
	Changes      int     `json:"changes"`
	Polls        int     `json:"polls"` // runs of reconciling in the steady state
}

// Line is the result as one line of JSON.
func (r Result) Line() string {
	b, err := json.Marshal(r)
	if err != nil {
		panic("marshal plain figures: " + err.Error())
	}
	return string(b)
}

// Bars returns what misses the project's bars. Idling includes the reconciling polls that are due meanwhile.
func (r Result) Bars() (missed []string) {
	for _, bar := range []struct {
		ok   bool
		text string
	}{
		{r.AppliedP99 <= 5000, fmt.Sprintf("applied p99 %.0f ms, bar 5000 ms", r.AppliedP99)},
		{r.RSS <= 1536, fmt.Sprintf("server and worker %.0f MiB, bar 1536 MiB", r.RSS)},
		{r.IdleCores <= 0.2, fmt.Sprintf("idle integrations use %.2f cores, bar 0.2", r.IdleCores)},
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
	r := Result{Bench: "vendors", Integrations: o.Integrations}
	b, err := newBed(ctx, o)
	if err != nil {
		return r, err
	}
	defer b.close()
	if err := b.connect(ctx); err != nil {
		return r, err
	}
	if err := b.idle(ctx, &r); err != nil {
		return r, err
	}
	if err := b.steady(ctx, &r); err != nil {
		return r, err
	}
	if err := b.settle(ctx); err != nil {
		return r, err
	}
	return r, b.judge(ctx, &r)
}

func percentile(v []float64, p int) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[min(len(v)*p/100, len(v)-1)]
}
