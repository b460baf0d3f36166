// Package syncs measures reading calendars: the first sync of thousands of events, a sync that brings a hundred changes, and
// one that brings none, from a CalDAV server and from the simulator of Google.
//
//	result, err := syncs.Run(ctx, syncs.Options{})
//	fmt.Println(result.Line())
//
// Everything but Google is real: Radicale holds the calendar, Temporal carries the workflow Sync, a worker process of its own
// reads by the providers and applies to Postgres with fsync on, and a sync lasts from its workflow's start to its end. The
// same calendar is read by vdirsyncer into a folder, in turns with ours and through the same proxy, which counts requests.
// Radicale was chosen over Xandikos because it answers faster: the slower a server, the less the programs that read it
// differ. Xandikos opens its whole index for every entry.
//
// After each sync the bookings are compared with the calendar, one by one. A difference is counted as lost or duplicated
// and is never slow: it is wrong. Memory is the worker's heap at its highest, garbage included, while it reads calendars of
// several sizes with equally full days.
//
// A process started as a worker must call [Child] first thing in main. Tests run it with few events.
package syncs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
)

// Options tune a run. The zero value is the benchmark as it is reported.
type Options struct {
	Events  int // entries of the calendars that are timed, default 10,000
	Small   int // entries of the small calendar for memory, default 1,000
	Large   int // entries of a large one, for memory; none by default, since Radicale takes minutes to read 20,000
	Changes int // of the incremental sync, default 100
	Rounds  int // first syncs, ours and vdirsyncer's in turns, of which the median counts; default 2
	NoOps   int // syncs without news, of which the median counts; default 5
	// Dir is where Postgres, Radicale and vdirsyncer keep their files during the run; "" = the system's temporary folder.
	Dir string
	// Profile is a folder for a CPU profile and an allocation profile of the worker; "" = none.
	Profile string
	Say     func(line string)
}

func (o *Options) defaults() {
	for _, d := range []struct {
		v *int
		n int
	}{{&o.Events, 10_000}, {&o.Small, 1_000}, {&o.Changes, 100}, {&o.Rounds, 2}, {&o.NoOps, 5}} {
		if *d.v <= 0 {
			*d.v = d.n
		}
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
}

// Result is the figures of a run. Events are entries of the calendar; a series is one.
type Result struct {
	Bench           string  `json:"bench"`
	FirstPerS       float64 `json:"first_events_per_s"`
	VdirsyncerPerS  float64 `json:"vdirsyncer_events_per_s"`
	Ratio           float64 `json:"ratio"`
	IncrementalMS   float64 `json:"incremental_ms"`
	NoOpMS          float64 `json:"noop_ms"`
	RequestsPerNoOp float64 `json:"requests_per_noop"`

	VdirsyncerIncrementalMS float64 `json:"vdirsyncer_incremental_ms"`
	VdirsyncerNoOpMS        float64 `json:"vdirsyncer_noop_ms"`
	FirstRequests           float64 `json:"first_requests"` // of a first sync
	ServerPerEventMS        float64 `json:"server_cpu_ms_per_event"`

	GoogleFirstPerS       float64 `json:"google_first_events_per_s"`
	GoogleIncrementalMS   float64 `json:"google_incremental_ms"`
	GoogleNoOpMS          float64 `json:"google_noop_ms"`
	GoogleRequestsPerNoOp float64 `json:"google_requests_per_noop"`

	HeapSmall float64 `json:"heap_mib_1k"`
	Heap      float64 `json:"heap_mib_10k"`
	HeapLarge float64 `json:"heap_mib_20k,omitempty"`

	Lost       int `json:"lost"`
	Duplicated int `json:"duplicated"`
}

// Line is the result as one line of JSON.
func (r Result) Line() string {
	b, err := json.Marshal(r)
	if err != nil {
		panic("marshal plain figures: " + err.Error())
	}
	return string(b)
}

// HeapBound is how much higher than with the small calendar, read as often as makes as many entries, the worker's heap may
// be with one ten or twenty times as large. A heap that grew with the events would be several times as high.
const HeapBound = 1.25

// Bars returns what misses the project's bars.
func (r Result) Bars() (missed []string) {
	growth := max(r.Heap, r.HeapLarge) / r.HeapSmall
	for _, bar := range []struct {
		ok   bool
		text string
	}{
		{r.Ratio >= 3, fmt.Sprintf("%.2f times as fast as vdirsyncer, bar 3", r.Ratio)},
		{r.RequestsPerNoOp == 1, fmt.Sprintf("%g requests of a sync without news from CalDAV, bar 1", r.RequestsPerNoOp)},
		{r.GoogleRequestsPerNoOp == 1, fmt.Sprintf("%g requests of a sync without news from Google, bar 1", r.GoogleRequestsPerNoOp)},
		{growth <= HeapBound, fmt.Sprintf("heap %s MiB, growth %.2f, bar %.2f", r.heaps(), growth, HeapBound)},
		{r.Lost == 0 && r.Duplicated == 0, fmt.Sprintf("lost %d, duplicated %d, bar 0", r.Lost, r.Duplicated)},
	} {
		if !bar.ok {
			missed = append(missed, bar.text)
		}
	}
	return missed
}

// heaps lists what was measured of memory.
func (r Result) heaps() string {
	if r.HeapLarge == 0 {
		return fmt.Sprintf("%.1f and %.1f", r.HeapSmall, r.Heap)
	}
	return fmt.Sprintf("%.1f, %.1f and %.1f", r.HeapSmall, r.Heap, r.HeapLarge)
}

// Run measures. An error means that something could not be measured; being slow or wrong is none.
func Run(ctx context.Context, o Options) (Result, error) {
	o.defaults()
	r := Result{Bench: "sync"}
	b, err := newBed(ctx, o)
	if err != nil {
		return r, err
	}
	defer b.close()
	for _, part := range []struct {
		name string
		run  func(context.Context, *Result) error
	}{{"memory with a small calendar", b.small}, {"CalDAV", b.caldav}, {"memory with a large calendar", b.large}, {"Google", b.google}} {
		if err := part.run(ctx, &r); err != nil {
			return r, fmt.Errorf("measure %s: %w", part.name, err)
		}
	}
	return r, nil
}

// small reads a small calendar as often as makes the entries of the one that is timed: what differs then is the size of the
// calendar, and not how often garbage had time to pile up. It is read once before that, when nothing is warm yet.
func (b *bed) small(ctx context.Context, r *Result) error {
	c, err := b.dav.calendar(ctx, b.o.Small)
	if err != nil {
		return err
	}
	for n := range 1 + max(1, b.o.Events/b.o.Small) {
		t, err := b.connectCalDAV(ctx, c)
		if err != nil {
			return err
		}
		one, err := b.firstOf(ctx, r, t, c.diary, "CalDAV")
		if err != nil {
			return err
		}
		if n > 0 {
			r.HeapSmall = max(r.HeapSmall, one.heap)
		}
	}
	return nil
}

func (b *bed) large(ctx context.Context, r *Result) error {
	if b.o.Large <= 0 {
		return nil
	}
	one, err := b.first(ctx, r, b.o.Large)
	r.HeapLarge = one.heap
	return err
}

// first reads a calendar of its own for the first time.
func (b *bed) first(ctx context.Context, r *Result, events int) (outcome, error) {
	c, err := b.dav.calendar(ctx, events)
	if err != nil {
		return outcome{}, err
	}
	t, err := b.connectCalDAV(ctx, c)
	if err != nil {
		return outcome{}, err
	}
	return b.firstOf(ctx, r, t, c.diary, "CalDAV")
}

// firstOf makes a first sync and compares what came of it.
func (b *bed) firstOf(ctx context.Context, r *Result, t target, d *diary, from string) (outcome, error) {
	out, err := b.sync(ctx, t)
	if err != nil {
		return out, err
	}
	b.o.Say(fmt.Sprintf("first sync of %d events from %s: %s, %.0f/s, %d requests, heap %.1f MiB; processor: worker %.1f s, %s %.1f s", len(d.entries), from,
		out.took.Round(time.Millisecond), float64(len(d.entries))/out.took.Seconds(), out.requests, out.heap, out.worker.Seconds(), from, out.server.Seconds()))
	return out, b.compare(ctx, r, t, d, nil)
}

func (b *bed) caldav(ctx context.Context, r *Result) error {
	c, err := b.dav.calendar(ctx, b.o.Events)
	if err != nil {
		return err
	}
	var (
		ours, theirs, server, requests, heap []float64
		t                                    target
		reader                               *vdirsyncer
	)
	per := func(took time.Duration) float64 { return float64(b.o.Events) / took.Seconds() }
	for range b.o.Rounds {
		if t, err = b.connectCalDAV(ctx, c); err != nil {
			return err
		}
		out, err := b.firstOf(ctx, r, t, c.diary, "CalDAV")
		if err != nil {
			return err
		}
		ours, heap = append(ours, per(out.took)), append(heap, out.heap)
		server, requests = append(server, ms(out.server)/float64(b.o.Events)), append(requests, float64(out.requests))
		if reader, err = b.newVdirsyncer(ctx, c); err != nil {
			return err
		}
		took, used, err := reader.sync(ctx)
		if err != nil {
			return err
		}
		theirs = append(theirs, per(took))
		b.o.Say(fmt.Sprintf("vdirsyncer: first sync in %s, %.0f/s; processor: Radicale %.1f s", took.Round(time.Millisecond), per(took), used.Seconds()))
	}
	r.FirstPerS, r.VdirsyncerPerS, r.Heap = round(median(ours), 1), round(median(theirs), 1), slices.Max(heap)
	r.Ratio = round(median(ours)/median(theirs), 2)
	r.ServerPerEventMS, r.FirstRequests = round(median(server), 3), median(requests)

	changed, err := c.change(ctx, b.o.Changes)
	if err != nil {
		return err
	}
	out, err := b.sync(ctx, t)
	if err != nil {
		return err
	}
	r.IncrementalMS = ms(out.took)
	b.o.Say(fmt.Sprintf("sync of %d changes from CalDAV: %s, %d requests; processor: Radicale %.1f s", b.o.Changes, out.took.Round(time.Millisecond), out.requests, out.server.Seconds()))
	if err := b.compare(ctx, r, t, c.diary, changed); err != nil {
		return err
	}
	took, _, err := reader.sync(ctx)
	if err != nil {
		return err
	}
	r.VdirsyncerIncrementalMS = ms(took)
	if r.NoOpMS, r.RequestsPerNoOp, err = b.noop(ctx, t, "CalDAV"); err != nil {
		return err
	}
	if err := b.compare(ctx, r, t, c.diary, changed); err != nil {
		return err
	}
	if took, _, err = reader.sync(ctx); err != nil {
		return err
	}
	r.VdirsyncerNoOpMS = ms(took)
	b.o.Say(fmt.Sprintf("vdirsyncer: %d changes in %.0f ms, nothing in %.0f ms", b.o.Changes, r.VdirsyncerIncrementalMS, r.VdirsyncerNoOpMS))
	return nil
}

// noop makes syncs without news and returns the median of their times and the most requests of one.
func (b *bed) noop(ctx context.Context, t target, from string) (took, requests float64, err error) {
	var all []float64
	for range b.o.NoOps {
		out, err := b.sync(ctx, t)
		if err != nil {
			return 0, 0, err
		}
		all, requests = append(all, ms(out.took)), max(requests, float64(out.requests))
	}
	b.o.Say(fmt.Sprintf("sync without news from %s: %.1f ms, %g requests", from, median(all), requests))
	return median(all), requests, nil
}

func (b *bed) google(ctx context.Context, r *Result) error {
	g, err := b.newGoogle(ctx, b.o.Events)
	if err != nil {
		return err
	}
	var (
		all []float64
		t   target
	)
	for range b.o.Rounds {
		if t, err = b.connectGoogle(ctx, g); err != nil {
			return err
		}
		out, err := b.firstOf(ctx, r, t, g.diary, "Google")
		if err != nil {
			return err
		}
		all = append(all, float64(b.o.Events)/out.took.Seconds())
	}
	r.GoogleFirstPerS = round(median(all), 1)
	changed := g.change(b.o.Changes)
	out, err := b.sync(ctx, t)
	if err != nil {
		return err
	}
	r.GoogleIncrementalMS = ms(out.took)
	b.o.Say(fmt.Sprintf("sync of %d changes from Google: %s, %d requests", b.o.Changes, out.took.Round(time.Millisecond), out.requests))
	if err := b.compare(ctx, r, t, g.diary, changed); err != nil {
		return err
	}
	if r.GoogleNoOpMS, r.GoogleRequestsPerNoOp, err = b.noop(ctx, t, "Google"); err != nil {
		return err
	}
	return b.compare(ctx, r, t, g.diary, changed)
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.SortFunc(v, cmp.Compare)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func round(v float64, digits int) float64 {
	unit := math.Pow10(digits)
	return math.Round(v*unit) / unit
}

func ms(d time.Duration) float64 { return round(float64(d)/float64(time.Millisecond), 1) }
