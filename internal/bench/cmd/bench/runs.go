package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/bench/conflicts"
	"github.com/wedsync/wedsync/internal/bench/fairness"
	"github.com/wedsync/wedsync/internal/bench/flows"
	"github.com/wedsync/wedsync/internal/bench/ingest"
	"github.com/wedsync/wedsync/internal/bench/monitors"
	"github.com/wedsync/wedsync/internal/bench/streams"
	"github.com/wedsync/wedsync/internal/bench/syncs"
	"github.com/wedsync/wedsync/internal/bench/vendors"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
)

func runFlow(ctx context.Context, args []string, out, progress io.Writer) error {
	flags, say := begin("flow", progress)
	o := flows.Options{Say: say, Out: progress}
	flags.IntVar(&o.Integrations, "integrations", 100, "integrations that take webhooks")
	flags.Float64Var(&o.Rate, "rate", 100, "webhooks a second in the steady measurement")
	flags.DurationVar(&o.Duration, "duration", 0, "of the steady measurement; 0 is 60s")
	flags.IntVar(&o.Burst, "burst", 10_000, "webhooks of the burst")
	flags.StringVar(&o.Dir, "dir", "", "folder for the private stack; the system's temporary folder by default")
	more := common(flags)
	if err := flags.Parse(args); err != nil {
		return helped(err)
	}
	return more.run(out, progress, "flow", func() (figures, error) { return flows.Run(ctx, o) })
}

func runConflict(ctx context.Context, args []string, out, progress io.Writer) error {
	flags, say := begin("conflict", progress)
	o := conflicts.Options{Say: say}
	flags.IntVar(&o.Small, "small", 100_000, "bookings of the first measurement")
	flags.IntVar(&o.Large, "large", 1_000_000, "bookings of the second measurement")
	flags.IntVar(&o.Resources, "resources", 1000, "resources that they are spread over")
	flags.IntVar(&o.Changes, "changes", 3000, "changes applied at each size")
	flags.IntVar(&o.Huge, "huge", 0, "bookings of a third measurement of single changes, such as 10000000; 0 measures none")
	flags.IntVar(&o.Questions, "questions", 300, "questions of each sort")
	flags.IntVar(&o.Writers, "writers", 64, "writers to one resource at the same time")
	flags.DurationVar(&o.HotFor, "hot-for", 10*time.Second, "how long they write")
	flags.StringVar(&o.Dir, "dir", "", "folder for the private cluster; the system's temporary folder by default")
	more := common(flags)
	if err := flags.Parse(args); err != nil {
		return helped(err)
	}
	return more.run(out, progress, "conflict", func() (figures, error) { return conflicts.Run(ctx, o) })
}

func runFairness(ctx context.Context, args []string, out, progress io.Writer) error {
	flags, say := begin("fairness", progress)
	o := fairness.Options{Say: say, Out: progress}
	flags.IntVar(&o.Quiet, "quiet", 10, "quiet organisations")
	flags.Float64Var(&o.QuietRate, "rate", 1, "webhooks a second of each of them")
	flags.Float64Var(&o.Factor, "factor", 100, "the noisy organisation's rate as a multiple of that")
	flags.IntVar(&o.Noisy, "connections", 8, "connections of the noisy organisation")
	flags.DurationVar(&o.Duration, "duration", 30*time.Second, "of each turn")
	flags.IntVar(&o.Turns, "turns", 3, "turns alone and with the noisy organisation, each")
	flags.StringVar(&o.Dir, "dir", "", "folder for the private stack; the system's temporary folder by default")
	more := common(flags)
	if err := flags.Parse(args); err != nil {
		return helped(err)
	}
	return more.run(out, progress, "fairness", func() (figures, error) { return fairness.Run(ctx, o) })
}

func runSync(ctx context.Context, args []string, out, progress io.Writer) error {
	flags, say := begin("sync", progress)
	o := syncs.Options{Say: say}
	flags.IntVar(&o.Events, "events", 10_000, "events of the calendars that are timed")
	flags.IntVar(&o.Small, "small", 1000, "events of the small calendar, for memory")
	flags.IntVar(&o.Large, "large", 0, "events of a large calendar, for memory, such as 20000; none by default")
	flags.IntVar(&o.Changes, "changes", 100, "changes of the incremental sync")
	flags.IntVar(&o.Rounds, "rounds", 2, "first syncs, in turns with vdirsyncer's")
	flags.StringVar(&o.Dir, "dir", "", "folder for the private servers; the system's temporary folder by default")
	more := common(flags)
	if err := flags.Parse(args); err != nil {
		return helped(err)
	}
	o.Profile = more.profile
	var result syncs.Result
	err := more.run(out, progress, "sync", func() (f figures, err error) {
		result, err = syncs.Run(ctx, o)
		return result, err
	})
	if err == nil && result.Lost+result.Duplicated > 0 {
		err = fmt.Errorf("%d bookings lost or wrong, %d too many", result.Lost, result.Duplicated)
	}
	return err
}

func runVendors(ctx context.Context, args []string, out, progress io.Writer) error {
	flags, say := begin("vendors", progress)
	o := vendors.Options{Say: say}
	flags.IntVar(&o.Integrations, "integrations", 5000, "connected systems")
	flags.Float64Var(&o.Hinted, "hinted", 0.1, "part of them that only hint that something changed")
	flags.DurationVar(&o.Interval, "interval", time.Minute, "between two changes of one system")
	flags.DurationVar(&o.Duration, "duration", 5*time.Minute, "of the steady state")
	flags.DurationVar(&o.Idle, "idle", 30*time.Second, "how long idling is watched")
	flags.DurationVar(&o.Poll, "poll", 15*time.Minute, "between two reconciling polls of one system")
	flags.IntVar(&o.Hosts, "hosts", 16, "hosts of the simulated systems")
	flags.StringVar(&o.MemoryLimit, "memory-limit", "", "memory that server and worker together should stay below, as their setting; empty = their own")
	flags.StringVar(&o.Dir, "dir", "", "folder for the private servers; the system's temporary folder by default")
	more := common(flags)
	if err := flags.Parse(args); err != nil {
		return helped(err)
	}
	if o.Profile = more.profile; o.Hinted == 0 {
		o.Hinted = -1
	}
	return more.run(out, progress, "vendors-load", func() (figures, error) { return vendors.Run(ctx, o) })
}

func runIngest(ctx context.Context, args []string, out, progress io.Writer) error {
	flags, say := begin("ingest", progress)
	o := ingest.Options{Say: say}
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
		return helped(err)
	}
	if *only != "" {
		o.Only = strings.Split(*only, ",")
	}
	o.Provider = ingest.Provider{Registration: custom.Registration, Settings: crmsim.MinimalWebhookSettings(), SecretName: "webhook_secret"}
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
	flags, say := begin("stream", progress)
	o := streams.Options{Say: say}
	flags.IntVar(&o.Subscribers, "subscribers", 5000, "idle connections")
	flags.DurationVar(&o.Idle, "idle", 20*time.Second, "how long idling is watched")
	flags.IntVar(&o.Rounds, "rounds", 50, "events sent to all")
	if err := flags.Parse(args); err != nil {
		return helped(err)
	}
	result, err := streams.Run(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, result.Line())
	return nil
}

func runMonitor(ctx context.Context, args []string, out, progress io.Writer) error {
	flags, say := begin("monitor", progress)
	o := monitors.Options{Say: say}
	bars := flags.Bool("bars", false, "exit 1 when a bar of the project is missed")
	flags.IntVar(&o.Endpoints, "endpoints", 0, "connections; 0 is 5000")
	flags.IntVar(&o.Platforms, "platforms", 0, "platforms that they are of; 0 is 10")
	flags.DurationVar(&o.Every, "every", 0, "time between two probes; 0 is 30s")
	flags.DurationVar(&o.For, "for", 0, "time altogether; 0 is 10m")
	if err := flags.Parse(args); err != nil {
		return helped(err)
	}
	result, err := monitors.Run(ctx, o)
	if err != nil {
		return err
	}
	return report(out, progress, result, *bars)
}
