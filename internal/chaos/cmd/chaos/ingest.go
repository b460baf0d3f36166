package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/wedsync/wedsync/internal/chaos/ingest"
)

// runIngest is `chaos ingest`.
func runIngest(ctx context.Context, args []string, out, progress io.Writer) error {
	var o ingest.Options
	c := newCommand("ingest", "chaos_nodedupe", progress)
	points := c.String("points", "", "points to hit, parted by commas; all by default")
	c.IntVar(&o.Hits, "hits", 20, "episodes per point")
	c.DurationVar(&o.LongOutage, "long-outage", 2*time.Minute, "how long Temporal is gone once; negative for never")
	c.DurationVar(&o.ShortOutage, "short-outage", 2*time.Second, "how long Temporal is gone in its other episodes")
	c.Float64Var(&o.Rate, "rate", 100, "webhooks a second, repeats not counted")
	c.IntVar(&o.Senders, "senders", 16, "senders")
	c.IntVar(&o.Targets, "integrations", 8, "integrations that they post to")
	c.DurationVar(&o.Settle, "settle", 3*time.Minute, "how long everything may take to come to rest at the end")
	c.Uint64Var(&o.Seed, "seed", 1, "seed of the order of episodes")
	if err := c.Parse(args); err != nil {
		return helped(err)
	}
	for _, p := range list(*points) {
		o.Points = append(o.Points, ingest.Point(p))
	}
	if o.Points == nil {
		o.Points = ingest.Points()
	}
	o.Dir, o.Say = c.dir, c.say
	return c.program(ctx, func(binary string) error {
		o.Binary = binary
		result, err := ingest.Run(ctx, o)
		if err != nil {
			return err
		}
		for _, p := range o.Points {
			c.say(fmt.Sprintf("%s: %d times", p, result.Hits[p]))
		}
		return report(out, result.Line(), result.Faults(o.Points, o.Hits))
	})
}
