package main

import (
	"context"
	"io"
	"time"

	"github.com/wedsync/wedsync/internal/chaos/failover"
)

// runFailover is `chaos failover`.
func runFailover(ctx context.Context, args []string, out, progress io.Writer) error {
	var o failover.Options
	c := newCommand("failover", "chaos_noledger", progress)
	kinds := c.String("kinds", "", "kinds of harm, parted by commas; all by default")
	c.IntVar(&o.Episodes, "episodes", 30, "episodes")
	c.IntVar(&o.Studios, "studios", 4, "systems whose webhooks say what changed")
	c.IntVar(&o.Schedulers, "schedulers", 2, "systems that only hint that something changed")
	c.Float64Var(&o.Rate, "rate", 6, "changes a second, of all systems together")
	c.DurationVar(&o.Settle, "settle", 3*time.Minute, "how long everything may take to come to rest at the end")
	c.Uint64Var(&o.Seed, "seed", 1, "seed of the episodes and of the changes")
	if err := c.Parse(args); err != nil {
		return helped(err)
	}
	for _, k := range list(*kinds) {
		o.Kinds = append(o.Kinds, failover.Kind(k))
	}
	o.Dir, o.Say = c.dir, c.say
	return c.program(ctx, func(binary string) error {
		o.Binary = binary
		result, err := failover.Run(ctx, o)
		if err != nil {
			return err
		}
		return report(out, result.Line(), result.Faults())
	})
}
