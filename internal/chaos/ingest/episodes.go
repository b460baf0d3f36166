package ingest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/chaos/rig"
)

const (
	// hitLimit bounds how long the load may take to reach an armed failpoint: the dispatcher may have backed off.
	hitLimit = 90 * time.Second
	// returnLimit bounds how long a recovery may take, up to the next acknowledgement.
	returnLimit = time.Minute
	// warmAcks are acknowledged before the first episode, returnAcks after each.
	warmAcks   = 50
	returnAcks = 5
)

// episodes hits every point as often as asked for, in an order drawn from the seed.
func (b *bed) episodes(ctx context.Context, l *load, r *Result) error {
	draw := rand.New(rand.NewPCG(b.o.Seed, 1))
	var plan []Point
	for _, p := range b.o.Points {
		for range b.o.Hits {
			plan = append(plan, p)
		}
	}
	draw.Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
	if err := b.Until(ctx, returnLimit, "the first acknowledgements", func() bool { return l.acked() >= warmAcks }); err != nil {
		return err
	}
	long := b.o.LongOutage > 0 && slices.Contains(plan, Temporal)
	for len(plan) > 0 {
		p := plan[0]
		plan = plan[1:]
		if p == Temporal && long {
			long = false
			var err error
			if plan, err = b.longOutage(ctx, draw, l, plan, r); err != nil {
				return err
			}
			continue
		}
		if err := b.episode(ctx, draw, l, p, r); err != nil {
			return err
		}
	}
	return nil
}

// longOutage takes Temporal away and makes other episodes meanwhile; those that need Temporal are kept for later.
func (b *bed) longOutage(ctx context.Context, draw *rand.Rand, l *load, plan []Point, r *Result) ([]Point, error) {
	b.o.Say(fmt.Sprintf("Temporal is gone for %v", b.o.LongOutage))
	end := time.Now().Add(b.o.LongOutage)
	if err := b.Stack.KillTemporal(); err != nil {
		return nil, err
	}
	for time.Now().Before(end) {
		i := slices.IndexFunc(plan, func(p Point) bool { return p == AfterCommit || p == AfterAnswer || p == Postgres })
		if i < 0 {
			break
		}
		p := plan[i]
		plan = slices.Delete(plan, i, i+1)
		if err := b.episode(ctx, draw, l, p, r); err != nil {
			return nil, fmt.Errorf("while Temporal is gone: %w", err)
		}
	}
	if err := rig.Pause(ctx, time.Until(end)); err != nil {
		return nil, err
	}
	if err := b.Stack.RestartTemporal(ctx); err != nil {
		return nil, err
	}
	r.Hits[Temporal]++
	r.Episodes++
	return plan, b.returned(ctx, l, Temporal)
}

func (b *bed) episode(ctx context.Context, draw *rand.Rand, l *load, p Point, r *Result) error {
	began := time.Now()
	if err := rig.Pause(ctx, time.Duration(draw.Int64N(int64(300*time.Millisecond)))); err != nil {
		return err
	}
	var err error
	switch p {
	case Postgres:
		b.stops++
		if err = b.Stack.KillPostgres(b.stops%2 == 0); err == nil {
			if err = rig.Pause(ctx, time.Duration(draw.Int64N(int64(time.Second)))); err == nil {
				err = b.Stack.RestartPostgres(ctx)
			}
		}
	case Temporal:
		if err = b.Stack.KillTemporal(); err == nil {
			if err = rig.Pause(ctx, b.o.ShortOutage); err == nil {
				err = b.Stack.RestartTemporal(ctx)
			}
		}
	case AfterCommit, AfterAnswer:
		err = b.killAt(ctx, p, 1+draw.IntN(15))
	case BeforeCall, AfterCall:
		err = b.killAt(ctx, p, 1+draw.IntN(5))
	}
	if err != nil {
		return fmt.Errorf("episode %s: %w", p, err)
	}
	r.Hits[p]++
	r.Episodes++
	if err := b.returned(ctx, l, p); err != nil {
		return err
	}
	b.o.Say(fmt.Sprintf("episode %d: %s in %v, %d acknowledged so far", r.Episodes, p, time.Since(began).Round(10*time.Millisecond), l.acked()))
	return nil
}

// killAt arms a failpoint, waits until the server has killed itself there, and starts it again.
func (b *bed) killAt(ctx context.Context, p Point, nth int) error {
	b.orders++
	if err := b.order(fmt.Sprintf("%d %s %d", b.orders, p, nth)); err != nil {
		return err
	}
	victim, timer := b.Server, time.NewTimer(hitLimit)
	defer timer.Stop()
	select {
	case <-victim.Done():
	case <-timer.C:
		return fmt.Errorf("the failpoint was not reached within %v", hitLimit)
	case <-b.Worker.Done():
		return b.Alive()
	case <-ctx.Done():
		return ctx.Err()
	}
	report, err := os.ReadFile(b.control + ".hit")
	if want := fmt.Sprintf("%d %s", b.orders, p); err != nil || strings.TrimSpace(string(report)) != want || !victim.Killed() {
		return fmt.Errorf("the server ended otherwise than asked for, report %q %s", report, victim.End())
	}
	if err := b.order(""); err != nil {
		return err
	}
	return b.RestartServer()
}

// order replaces the control file in one step.
func (b *bed) order(line string) error {
	temp := b.control + ".new"
	if err := os.WriteFile(temp, []byte(line+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, b.control)
}

// returned waits until webhooks sent after the recovery are acknowledged.
func (b *bed) returned(ctx context.Context, l *load, p Point) error {
	want := l.acked() + returnAcks
	return b.Until(ctx, returnLimit, "return after "+string(p), func() bool { return l.acked() >= want })
}
