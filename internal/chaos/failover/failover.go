// Package failover takes away what systems post, the systems themselves and their credentials while changes go on in them, and then
// proves that every change arrived once. It runs the real program: `wedsync server` and `wedsync worker` as processes over a private
// Postgres and a private Temporal, and simulators of outside systems that change all the time.
//
//	bin, err := rig.Build(ctx, dir)                 // go build -tags chaos ./cmd/wedsync
//	result, err := failover.Run(ctx, failover.Options{Binary: bin})
//	fmt.Println(result.Line())                      // the last line of `make chaos-failover`
//
// Two kinds of systems change: studios whose webhooks say what changed and that can be listed (crmsim), and schedulers that only hint
// and have to be listed (schedulersim, Calendly's face). Each episode does one [Kind] of harm to one of them, drawn from the seed.
// Each simulator keeps a log of its changes. When the episodes are over everything runs again, settles within a bound, and the
// checker holds the logs against the tables: every entry is a booking in the state that it has there, no entry is two bookings, and no
// booking changed more often than its entry did. See [Result] for what counts as what.
//
// The test of this package runs a short version, and the same with two programs that are wrong on purpose, so that the checker is
// known to see.
package failover

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Kind is a kind of harm.
type Kind string

// The kinds.
const (
	HooksLost    Kind = "hooks/lost"    // what changes is not posted, and never will be
	HooksLate    Kind = "hooks/late"    // it is posted when the episode is over, out of order, while polls have read it
	HookDisabled Kind = "hook/disabled" // a scheduler disables the webhook that it was asked for
	Down         Kind = "provider/down" // every call is answered 5xx, and nothing is posted
	Revoked      Kind = "token/revoked" // credentials are not accepted until they are given again
	Ordered      Kind = "ordered"       // a person sends it over and back under load
)

// Kinds returns all kinds.
func Kinds() []Kind { return []Kind{HooksLost, HooksLate, HookDisabled, Down, Revoked, Ordered} }

// Options tune a run. Binary is required; the zero value of every other field is the run as it is reported.
type Options struct {
	// Binary is wedsync built with the tag chaos, see rig.Build.
	Binary     string
	Episodes   int     // default 30
	Kinds      []Kind  // default all
	Studios    int     // systems whose webhooks say what changed; default 4
	Schedulers int     // systems that only hint; default 2
	Rate       float64 // changes a second of all systems; default 6
	Settle     time.Duration
	Seed       uint64 // of the order of episodes and of the changes; default 1
	Dir        string // where the folder of the run is made, for the stack and the logs; "" = the system's temporary folder
	Say        func(line string)
}

func (o *Options) defaults() error {
	if o.Binary == "" {
		return errors.New("binary: is required")
	}
	o.Episodes, o.Studios, o.Schedulers = cmp.Or(o.Episodes, 30), cmp.Or(o.Studios, 4), cmp.Or(o.Schedulers, 2)
	o.Rate, o.Settle, o.Seed = cmp.Or(o.Rate, 6), cmp.Or(o.Settle, 3*time.Minute), cmp.Or(o.Seed, 1)
	if len(o.Kinds) == 0 {
		o.Kinds = Kinds()
	}
	for _, k := range o.Kinds {
		if !slices.Contains(Kinds(), k) {
			return fmt.Errorf("kinds: %q is none; want some of %v", k, Kinds())
		}
	}
	if o.Episodes < 1 || o.Studios < 1 || o.Schedulers < 1 || o.Rate <= 0 || o.Settle < time.Second {
		return errors.New("options: episodes, systems, rate and settle must be positive")
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	return nil
}

// Result is what a run found.
type Result struct {
	Chaos    string `json:"chaos"`
	Episodes int    `json:"episodes"`
	Changes  int    `json:"changes"` // made in the simulators
	// Lost counts entries without a booking, entries whose booking is not in the state that they have there, and webhooks that
	// were acknowledged and did not come to a good end.
	Lost int `json:"lost"`
	// Duplicated counts bookings beyond one per entry, bookings of no entry, and changes of bookings beyond those of their entries.
	Duplicated int `json:"duplicated"`
	// MaxLag is the longest time from a change to its effect, in seconds. It spans outages: a system that is down tells nobody.
	MaxLag float64 `json:"max_lag_s"`

	Failovers int      `json:"-"` // times that polls stood in
	CaughtUp  int      `json:"-"` // changes that polls brought meanwhile and after outages
	Repairs   int      `json:"-"` // webhooks that were made anew
	Notes     []string `json:"-"` // the first findings, in words
}

// Line is the result as one line of JSON.
func (r Result) Line() string {
	line, err := json.Marshal(r)
	if err != nil {
		panic("marshal plain figures: " + err.Error())
	}
	return string(line)
}

// Faults says in words what keeps the run from being good.
func (r Result) Faults() (out []string) {
	if r.Lost != 0 {
		out = append(out, fmt.Sprintf("%d lost", r.Lost))
	}
	if r.Duplicated != 0 {
		out = append(out, fmt.Sprintf("%d duplicated", r.Duplicated))
	}
	if r.Changes == 0 {
		out = append(out, "nothing changed")
	}
	if r.Failovers == 0 {
		out = append(out, "nothing failed over")
	}
	return out
}

// Run makes the episodes and checks. An error means that the run could not be made, or that a process ended by itself; what the
// checker finds is in the result.
func Run(ctx context.Context, o Options) (r Result, err error) {
	r = Result{Chaos: "failover"}
	if err := o.defaults(); err != nil {
		return r, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o.Say(fmt.Sprintf("seed %d", o.Seed))
	b, err := newBed(ctx, o)
	if err != nil {
		return r, err
	}
	defer func() { b.close(err) }()
	if err := b.ready(ctx); err != nil {
		return r, err
	}
	stopped := b.change(ctx)
	err = b.episodes(ctx, rand.New(rand.NewPCG(o.Seed, 1)), &r)
	b.calm()
	if err != nil {
		cancel()
		<-stopped
		return r, err
	}
	<-stopped
	end, stop := context.WithTimeout(ctx, o.Settle)
	defer stop()
	o.Say(fmt.Sprintf("%d episodes done; everything may come to rest", r.Episodes))
	if err := b.settle(end); err != nil {
		return r, err
	}
	w, err := b.read(ctx)
	if err != nil {
		return r, err
	}
	judge(b.books(), w, &r)
	for _, n := range r.Notes {
		o.Say("found: " + n)
	}
	o.Say(fmt.Sprintf("polls stood in %d times and brought %d changes; %d webhooks were made anew", r.Failovers, r.CaughtUp, r.Repairs))
	return r, b.Alive()
}
