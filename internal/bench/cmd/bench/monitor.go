package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/wedsync/wedsync/internal/bench/monitors"
)

func runMonitor(ctx context.Context, args []string, out, progress io.Writer) error {
	var o monitors.Options
	flags := flag.NewFlagSet("bench monitor", flag.ContinueOnError)
	flags.SetOutput(progress)
	bars := flags.Bool("bars", false, "exit 1 when a bar of the project is missed")
	flags.IntVar(&o.Endpoints, "endpoints", 0, "connections; 0 is 5000")
	flags.IntVar(&o.Platforms, "platforms", 0, "platforms that they are of; 0 is 10")
	flags.DurationVar(&o.Every, "every", 0, "time between two probes; 0 is 30s")
	flags.DurationVar(&o.For, "for", 0, "time altogether; 0 is 10m")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	o.Say = func(line string) { fmt.Fprintln(progress, line) }
	result, err := monitors.Run(ctx, o)
	if err != nil {
		return err
	}
	missed := result.Bars()
	for _, m := range missed {
		fmt.Fprintln(progress, "missed:", m)
	}
	fmt.Fprintln(out, result.Line())
	if *bars && len(missed) > 0 {
		return fmt.Errorf("%d bars missed", len(missed))
	}
	return nil
}
