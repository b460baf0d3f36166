// Command bench runs the benchmarks of WedSync. Each prints its progress to standard error and one line of JSON, the
// result, as the last line of standard output.
//
//	bench flow [--duration 60s] [--burst 10000] …
//	bench conflict [--large 1000000] …
//	bench fairness [--duration 30s] [--turns 3] …
//	bench schemes [--only "svix;jwt HS256"] [--integrations 64] …
//	bench stream [--subscribers 5000] …
//	bench sync [--events 10000] [--rounds 2] …
//	bench monitor [--endpoints 5000] [--for 10m] …
//	bench vendors [--integrations 5000] [--duration 5m] …
//	bench ingest [--duration 20s] [--warmup 5s] [--only accept,full,naive,raw] [--profile DIR] …
//
// It exits 0 when it could measure, whatever the figures, unless --bars is given; bench sync also fails when its bookings are
// not those of the calendar.
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

	"github.com/wedsync/wedsync/internal/bench/ingest"
	"github.com/wedsync/wedsync/internal/bench/load"
	"github.com/wedsync/wedsync/internal/bench/monitors"
	"github.com/wedsync/wedsync/internal/bench/streams"
	"github.com/wedsync/wedsync/internal/bench/syncs"
	"github.com/wedsync/wedsync/internal/bench/vendors"
	"github.com/wedsync/wedsync/internal/devstack"
	"github.com/wedsync/wedsync/internal/inbox"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
)

func main() {
	load.Child()
	ingest.Child(startWorkers)
	streams.Child()
	syncs.Child()
	monitors.Child()
	vendors.Child()
	inbox.TuneGC(false)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		var user *devstack.UserError
		if errors.As(err, &user) {
			err = user
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "ingest":
			return runIngest(ctx, args[1:], out, progress)
		case "schemes":
			return runSchemes(ctx, args[1:], out, progress)
		case "flow":
			return runFlow(ctx, args[1:], out, progress)
		case "conflict":
			return runConflict(ctx, args[1:], out, progress)
		case "fairness":
			return runFairness(ctx, args[1:], out, progress)
		case "stream":
			return runStream(ctx, args[1:], out, progress)
		case "sync":
			return runSync(ctx, args[1:], out, progress)
		case "monitor":
			return runMonitor(ctx, args[1:], out, progress)
		case "vendors":
			return runVendors(ctx, args[1:], out, progress)
		}
	}
	return errors.New("usage: bench ingest|schemes|flow|conflict|fairness|stream|sync|monitor|vendors [flags]; -h lists them")
}

func runIngest(ctx context.Context, args []string, out, progress io.Writer) error {
	var o ingest.Options
	flags := flag.NewFlagSet("bench ingest", flag.ContinueOnError)
	flags.SetOutput(progress)
	only := flags.String("only", "", "measurements to run, parted by commas: accept, full, naive, raw; all by default")
	bars := flags.Bool("bars", false, "exit 1 when a bar of the project is missed")
	flags.IntVar(&o.Connections, "connections", 64, "connections of the load generator")
	flags.IntVar(&o.Targets, "integrations", 64, "integrations that the connections post to")
	flags.IntVar(&o.BodyBytes, "body", 1024, "bytes of a body, at least 512")
	flags.DurationVar(&o.Duration, "duration", 20*time.Second, "time measured, each")
	flags.DurationVar(&o.Warmup, "warmup", 5*time.Second, "time before that, each")
	flags.StringVar(&o.Dir, "dir", "", "folder for the private stacks; the system's temporary folder by default")
	flags.StringVar(&o.Profile, "profile", "", "folder for CPU profiles of the server")
	flags.IntVar(&o.Writer.Committers, "committers", 0, "batches committed at the same time; 0 is the server's default")
	flags.IntVar(&o.Writer.MinRows, "min-rows", 0, "rows a further committer waits for; 0 is the server's default")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if *only != "" {
		o.Only = strings.Split(*only, ",")
	}
	o.Provider = ingest.Provider{Registration: custom.Registration, Settings: crmsim.MinimalWebhookSettings(), SecretName: "webhook_secret"}
	o.Say = func(line string) { fmt.Fprintln(progress, line) }
	result, err := ingest.Run(ctx, o)
	if err != nil {
		return err
	}
	missed := result.Bars()
	if len(o.Only) == 0 {
		for _, m := range missed {
			fmt.Fprintln(progress, "missed:", m)
		}
	}
	fmt.Fprintln(out, result.Line())
	if *bars && len(missed) > 0 {
		return fmt.Errorf("%d bars missed", len(missed))
	}
	return nil
}

func runStream(ctx context.Context, args []string, out, progress io.Writer) error {
	var o streams.Options
	flags := flag.NewFlagSet("bench stream", flag.ContinueOnError)
	flags.SetOutput(progress)
	flags.IntVar(&o.Subscribers, "subscribers", 5000, "idle connections")
	flags.DurationVar(&o.Idle, "idle", 20*time.Second, "how long idling is watched")
	flags.IntVar(&o.Rounds, "rounds", 50, "events sent to all")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	o.Say = func(line string) { fmt.Fprintln(progress, line) }
	result, err := streams.Run(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, result.Line())
	return nil
}
