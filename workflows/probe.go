package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
)

// recentMoves is how many moves a shard's workflow shows.
const recentMoves = 20

// Probe keeps one shard of all connections under probes, for as long as the installation runs. One activity after the other
// asks the systems, each for an hour with heartbeats; results go to storage and only moves of health come here, a few signals
// for many. What the last heartbeat of an activity said goes on with the next.
func Probe(ctx workflow.Context, in contract.ProbeInput) error {
	p := &prober{in: in, told: workflow.GetSignalChannel(ctx, contract.SignalHealth)}
	if in.Carried != nil {
		p.ProbeCarried = *in.Carried
	}
	p.Runs++
	if err := workflow.SetQueryHandler(ctx, contract.QueryStatus, func() (contract.ProbeStatus, error) {
		return contract.ProbeStatus{Shard: in.Shard, Running: p.running, Moves: p.Moves, Recent: p.Recent, Beat: p.Beat, Failures: p.Failures, Runs: p.Runs}, nil
	}); err != nil {
		return err
	}
	return p.run(ctx)
}

type prober struct {
	in contract.ProbeInput
	contract.ProbeCarried

	told    workflow.ReceiveChannel
	running bool
}

func (p *prober) run(ctx workflow.Context) error {
	for {
		if err := p.rest(ctx); err != nil {
			return err
		}
		p.running = true
		p.describe(ctx)
		probing := workflow.ExecuteActivity(probing(ctx, p.in.Shard), steps.Probes.ProbeShard, activities.ProbeShardInput{Shard: p.in.Shard, Last: p.Beat})
		for !probing.IsReady() {
			workflow.NewSelector(ctx).AddFuture(probing, func(workflow.Future) {}).AddReceive(p.told, func(workflow.ReceiveChannel, bool) {}).Select(ctx)
			p.drain()
			p.describe(ctx)
		}
		p.running = false
		var out activities.ProbeShardResult
		err := probing.Get(ctx, &out)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			p.Failures++
			p.RetryAt = workflow.Now(ctx).Add(backoff(p.Failures))
			workflow.GetLogger(ctx).Warn("probing stopped; trying again", "shard", p.in.Shard, "at", p.RetryAt, "error", err)
		case out.Off:
			p.drain()
			return nil
		default:
			p.Failures, p.RetryAt, p.Beat = 0, time.Time{}, &out.Beat
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			// Signals that came since the loop looked must not be left in this run.
			p.drain()
			carried := p.ProbeCarried
			return workflow.NewContinueAsNewError(ctx, contract.ProbeWorkflow, contract.ProbeInput{Shard: p.in.Shard, Carried: &carried})
		}
	}
}

// rest waits after an activity that failed for good.
func (p *prober) rest(ctx workflow.Context) error {
	wait := p.RetryAt.Sub(workflow.Now(ctx))
	if p.RetryAt.IsZero() || wait <= 0 {
		return nil
	}
	p.describe(ctx)
	return workflow.Sleep(ctx, wait)
}

// drain takes every signal that is there.
func (p *prober) drain() {
	var s contract.HealthSignal
	for p.told.ReceiveAsync(&s) {
		p.Moves += int64(len(s.Moves) + s.More)
		p.Recent = append(p.Recent, s.Moves...)
		p.Recent = p.Recent[max(len(p.Recent)-recentMoves, 0):]
		s = contract.HealthSignal{}
	}
}

// describe tells operators in Temporal UI where it stands.
func (p *prober) describe(ctx workflow.Context) {
	text := fmt.Sprintf("%d moves of health so far", p.Moves)
	if b := p.Beat; b != nil {
		text += fmt.Sprintf(" · %d connections · %d probes until %s", b.Targets, b.Probes, b.At.Format(time.RFC3339))
	}
	if p.Failures > 0 {
		text += fmt.Sprintf("\n\n%d activities in a row failed; next try %s", p.Failures, p.RetryAt.Format(time.RFC3339))
	}
	for n := len(p.Recent) - 1; n >= 0; n-- {
		m := p.Recent[n]
		text += fmt.Sprintf("\n\n%s `%s` %s → **%s** (%s)", m.At.Format(time.RFC3339), m.IntegrationID, m.From, m.To, m.Reason)
	}
	workflow.SetCurrentDetails(ctx, text)
}
