package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/chaos/failover"
	"github.com/wedsync/wedsync/internal/chaos/ingest"
)

// runFailover is `chaos failover`. It exits 1 when anything was lost or doubled, and when nothing failed over.
func runFailover(ctx context.Context, args []string, out, progress io.Writer) error {
	var o failover.Options
	flags := flag.NewFlagSet("chaos failover", flag.ContinueOnError)
	flags.SetOutput(progress)
	flags.StringVar(&o.Binary, "binary", "", "wedsync built with the tag chaos; built here by default")
	tags := flags.String("tags", "", "further tags to build it with, parted by commas, such as chaos_noledger")
	kinds := flags.String("kinds", "", "kinds of harm, parted by commas; all by default")
	flags.IntVar(&o.Episodes, "episodes", 30, "episodes")
	flags.IntVar(&o.Studios, "studios", 4, "systems whose webhooks say what changed")
	flags.IntVar(&o.Schedulers, "schedulers", 2, "systems that only hint that something changed")
	flags.Float64Var(&o.Rate, "rate", 6, "changes a second, of all systems together")
	flags.DurationVar(&o.Settle, "settle", 3*time.Minute, "how long everything may take to come to rest at the end")
	flags.Uint64Var(&o.Seed, "seed", 1, "seed of the episodes and of the changes")
	flags.StringVar(&o.Dir, "dir", "", "folder for the private stack; the system's temporary folder by default")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if *kinds != "" {
		for _, k := range strings.Split(*kinds, ",") {
			o.Kinds = append(o.Kinds, failover.Kind(k))
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
		o.Say("building wedsync")
		var further []string
		if *tags != "" {
			further = strings.Split(*tags, ",")
		}
		if o.Binary, err = ingest.Build(ctx, dir, further...); err != nil {
			return err
		}
	}
	result, err := failover.Run(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, result.Line())
	if faults := result.Faults(); len(faults) > 0 {
		return errors.New(strings.Join(faults, "; "))
	}
	return nil
}
