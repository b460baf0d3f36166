// Package ingest takes the webhook intake apart while webhooks come in, and then proves that nothing was lost, done twice
// or left lying. It runs the real program: `wedsync server` and `wedsync worker` as processes of a binary that was built
// with the tag chaos, over a private Postgres (with fsync) and a private Temporal, all killed without a word.
//
//	bin, err := rig.Build(ctx, dir)               // go build -tags chaos ./cmd/wedsync
//	result, err := ingest.Run(ctx, ingest.Options{Binary: bin})
//	fmt.Println(result.Line())                    // the last line of `make chaos-ingest`
//
// Each episode hits one named [Point] while senders post: the four failpoints of the server (package failpoint), at which
// it kills itself with SIGKILL exactly there, Postgres stopped at once (SIGKILL of its postmaster and "immediate" in
// turn), and Temporal gone. Once, Temporal stays away for long, and episodes of the other kinds happen meanwhile.
//
// Senders behave as vendors do: anything but 2xx is sent again, with the same id, until it is acknowledged. A part of the
// messages is sent again although it was acknowledged, and a part several times at once. Every request and every 2xx is
// written down. When the episodes are over everything runs again, settles within a bound, and the checker holds what was
// written down against the tables: acknowledged is a subset of stored, stored of sent, one effect per event, nothing stuck.
// See [Result] for what counts as what.
//
// The test of this package runs a short version, and the same with two programs that are wrong on purpose, so that the
// checker is known to see.
package ingest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/failpoint"
)

// Point is a place or a part that episodes hit.
type Point string

// The points. The first four are places in the server.
const (
	AfterCommit Point = failpoint.AfterCommit // killed between insert and answer
	AfterAnswer Point = failpoint.AfterAnswer // killed between answer and dispatch
	BeforeCall  Point = failpoint.BeforeCall  // killed during dispatch, before the call to Temporal
	AfterCall   Point = failpoint.AfterCall   // killed during dispatch, after the call
	Postgres    Point = "postgres/stopped"
	Temporal    Point = "temporal/gone"
)

// Points returns all points.
func Points() []Point {
	return []Point{AfterCommit, AfterAnswer, BeforeCall, AfterCall, Postgres, Temporal}
}

// Options tune a run. Binary is required; the zero value of every other field is the run as it is reported.
type Options struct {
	// Binary is wedsync built with the tag chaos, see rig.Build.
	Binary string
	Hits   int     // episodes per point, default 20
	Points []Point // default all
	// LongOutage is how long Temporal is gone once, default 2 minutes, negative for never; ShortOutage how long in its
	// other episodes, default 2 s.
	LongOutage  time.Duration
	ShortOutage time.Duration
	Rate        float64       // events a second, repeats not counted, default 100
	Senders     int           // default 16
	Targets     int           // integrations, default 8
	Settle      time.Duration // how long everything may take to come to rest, default 3 minutes
	Seed        uint64        // of the order of episodes and of the senders' choices; default 1
	Dir         string        // where the folder of the run is made, for the stack and the logs; "" = the system's temporary folder
	Say         func(line string)
}

func (o *Options) defaults() error {
	if o.Binary == "" {
		return errors.New("binary: is required")
	}
	o.Hits, o.LongOutage, o.ShortOutage = cmp.Or(o.Hits, 20), cmp.Or(o.LongOutage, 2*time.Minute), cmp.Or(o.ShortOutage, 2*time.Second)
	o.Rate, o.Senders, o.Targets = cmp.Or(o.Rate, 100), cmp.Or(o.Senders, 16), cmp.Or(o.Targets, 8)
	o.Settle, o.Seed = cmp.Or(o.Settle, 3*time.Minute), cmp.Or(o.Seed, 1)
	if len(o.Points) == 0 {
		o.Points = Points()
	}
	for _, p := range o.Points {
		if !slices.Contains(Points(), p) {
			return fmt.Errorf("points: %q is none; want some of %v", p, Points())
		}
	}
	if o.Hits < 0 || o.Rate < 1 || o.Senders < 1 || o.Targets < 1 || o.Settle < time.Second || o.ShortOutage < 0 {
		return errors.New("options: hits, rate, senders, integrations, settle and outages must be positive")
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	return nil
}

// Result is what a run found.
type Result struct {
	Chaos    string `json:"chaos"`
	Episodes int    `json:"episodes"` // that hit their point
	Acked    int    `json:"acked"`    // messages with at least one 2xx
	// Lost counts acknowledged messages that are not stored under what was acknowledged, and entries whose booking is
	// missing or is not in the state sent last.
	Lost int `json:"lost"`
	// Duplicated counts messages stored or acknowledged under several ids, rows that no request explains, bookings beyond
	// one per entry, and effects beyond one per message.
	Duplicated int `json:"duplicated"`
	// Stuck counts messages never acknowledged, deliveries that did not come to a good end, outbox rows left over, and
	// work that the dispatcher still holds.
	Stuck int `json:"stuck"`

	Hits  map[Point]int `json:"-"`
	Notes []string      `json:"-"` // the first findings, in words
}

// Line is the result as one line of JSON.
func (r Result) Line() string {
	line, err := json.Marshal(r)
	if err != nil {
		panic("marshal plain figures: " + err.Error())
	}
	return string(line)
}

// Faults says in words what keeps the run from being good: findings of the checker, and points hit less than least times.
func (r Result) Faults(points []Point, least int) (out []string) {
	for _, f := range []struct {
		name string
		n    int
	}{{"lost", r.Lost}, {"duplicated", r.Duplicated}, {"stuck", r.Stuck}} {
		if f.n != 0 {
			out = append(out, fmt.Sprintf("%d %s", f.n, f.name))
		}
	}
	if r.Acked == 0 {
		out = append(out, "nothing was acknowledged")
	}
	for _, p := range points {
		if r.Hits[p] < least {
			out = append(out, fmt.Sprintf("%s was hit %d times of %d", p, r.Hits[p], least))
		}
	}
	return out
}

// Run makes the episodes and checks. An error means that the run could not be made, or that a process ended by itself or
// did not come back; what the checker finds is in the result.
func Run(ctx context.Context, o Options) (r Result, err error) {
	r = Result{Chaos: "ingest", Hits: make(map[Point]int)}
	if err := o.defaults(); err != nil {
		return r, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b, err := newBed(ctx, o)
	if err != nil {
		return r, err
	}
	defer func() { b.Close(err) }()
	l := newLoad(b, rand.New(rand.NewPCG(o.Seed, 2)))
	stopped := l.start(ctx)
	if err := b.episodes(ctx, l, &r); err != nil {
		cancel()
		<-stopped
		return r, err
	}
	o.Say(fmt.Sprintf("%d episodes done; the senders finish what they began", r.Episodes))
	end, stop := context.WithTimeout(ctx, o.Settle)
	defer stop()
	l.finish()
	select {
	case <-stopped:
	case <-end.Done():
		o.Say("the senders could not finish")
		cancel()
		<-stopped
		return r, errors.New("the server does not acknowledge any more")
	}
	if err := b.settle(end); err != nil {
		return r, err
	}
	w, err := b.read(ctx)
	if err != nil {
		return r, err
	}
	l.judge(w, &r)
	for _, n := range r.Notes {
		o.Say("found: " + n)
	}
	return r, b.Alive()
}
