// Command bench runs the benchmarks of WedSync. Each prints its progress to standard error and one line of JSON, the
// result, as the last line of standard output.
//
//	bench flow [--duration 60s] [--burst 10000] …
//	bench conflict [--large 1000000] …
//	bench fairness [--duration 30s] [--turns 3] …
//	bench schemes [--only "svix;jwt HS256"] [--integrations 10000] …
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
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/wedsync/wedsync/internal/bench/ingest"
	"github.com/wedsync/wedsync/internal/bench/load"
	"github.com/wedsync/wedsync/internal/bench/monitors"
	"github.com/wedsync/wedsync/internal/bench/streams"
	"github.com/wedsync/wedsync/internal/bench/syncs"
	"github.com/wedsync/wedsync/internal/bench/vendors"
	"github.com/wedsync/wedsync/internal/devstack"
	"github.com/wedsync/wedsync/internal/inbox"
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
