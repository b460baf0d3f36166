// Command chaos kills the parts of WedSync under load and checks that nothing was lost, done twice or left lying. It
// prints its progress to standard error and one line of JSON, the result, as the last line of standard output.
//
//	chaos ingest [--hits 20] [--long-outage 2m] [--points intake/after-commit,…] [--tags chaos_ackearly] …
//	chaos failover [--episodes 30] [--seed 1] [--kinds hooks/lost,…] [--tags chaos_noledger] …
//
// It builds the program under test with the tag chaos, so it runs in a checkout. It exits 1 when anything was lost,
// duplicated or stuck, or when a point was hit less often than asked for.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/wedsync/wedsync/internal/chaos/ingest"
	"github.com/wedsync/wedsync/internal/devstack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		var user *devstack.UserError
		if errors.As(err, &user) {
			err = user
		}
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	switch {
	case len(args) > 0 && args[0] == "failover":
		return runFailover(ctx, args[1:], out, progress)
	case len(args) == 0 || args[0] != "ingest":
		return errors.New("usage: chaos ingest|failover [flags]; -h lists them")
	}
	var o ingest.Options
	flags := flag.NewFlagSet("chaos ingest", flag.ContinueOnError)
	flags.SetOutput(progress)
	flags.StringVar(&o.Binary, "binary", "", "wedsync built with the tag chaos; built here by default")
	tags := flags.String("tags", "", "further tags to build it with, parted by commas, such as chaos_nodedupe")
	points := flags.String("points", "", "points to hit, parted by commas; all by default")
	flags.IntVar(&o.Hits, "hits", 20, "episodes per point")
	flags.DurationVar(&o.LongOutage, "long-outage", 2*time.Minute, "how long Temporal is gone once; negative for never")
	flags.DurationVar(&o.ShortOutage, "short-outage", 2*time.Second, "how long Temporal is gone in its other episodes")
	flags.Float64Var(&o.Rate, "rate", 100, "webhooks a second, repeats not counted")
	flags.IntVar(&o.Senders, "senders", 16, "senders")
	flags.IntVar(&o.Targets, "integrations", 8, "integrations that they post to")
	flags.DurationVar(&o.Settle, "settle", 3*time.Minute, "how long everything may take to come to rest at the end")
	flags.Uint64Var(&o.Seed, "seed", 1, "seed of the order of episodes")
	flags.StringVar(&o.Dir, "dir", "", "folder for the private stack; the system's temporary folder by default")
	if err := flags.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	o.Points = ingest.Points()
	if *points != "" {
		o.Points = nil
		for _, p := range strings.Split(*points, ",") {
			o.Points = append(o.Points, ingest.Point(p))
		}
	}
	began := time.Now()
	o.Say = func(line string) {
		fmt.Fprintf(progress, "%6.1fs %s\n", time.Since(began).Seconds(), line)
	}
	if o.Binary == "" {
		dir, err := os.MkdirTemp("", "wedsync-chaos-bin-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.Say("building wedsync with failpoints")
		var further []string
		if *tags != "" {
			further = strings.Split(*tags, ",")
		}
		if o.Binary, err = ingest.Build(ctx, dir, further...); err != nil {
			return err
		}
	}
	result, err := ingest.Run(ctx, o)
	if err != nil {
		return err
	}
	for _, p := range o.Points {
		o.Say(fmt.Sprintf("%s: %d times", p, result.Hits[p]))
	}
	fmt.Fprintln(out, result.Line())
	if faults := result.Faults(o.Points, o.Hits); len(faults) > 0 {
		return errors.New(strings.Join(faults, "; "))
	}
	return nil
}
