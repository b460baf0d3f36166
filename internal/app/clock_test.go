package app_test

import (
	"sync"
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/workflow"
)

// clock runs as that of the machine does, and can be put forward. With it a program lives through weeks in a minute: what is
// stored and judged goes by [clock.Now], and workflows on a real Temporal server by the interceptor, whose timers end when this
// clock says so. Both tell the same time, because a workflow asks for the time of an event, and what the clock said then never
// changes; so replays are the same too.
type clock struct {
	interceptor.WorkerInterceptorBase

	mu    sync.Mutex
	steps []ahead // the oldest first
}

// ahead is by how much the clock is before that of the machine, from a time of the machine on.
type ahead struct {
	from time.Time
	by   time.Duration
}

// Now is what the clock says.
func (c *clock) Now() time.Time { return c.at(time.Now()) }

// at is what the clock said, or says, at a time of the machine.
func (c *clock) at(machine time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := len(c.steps) - 1; n >= 0; n-- {
		if !machine.Before(c.steps[n].from) {
			return machine.Add(c.steps[n].by)
		}
	}
	return machine
}

// to puts the clock forward; one that is there already goes on as it is.
func (c *clock) to(when time.Time) {
	machine := time.Now()
	if !when.After(c.at(machine)) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.steps = append(c.steps, ahead{machine, when.Sub(machine)})
}

// InterceptWorkflow has workflows go by the clock.
func (c *clock) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &clockedWorkflow{interceptor.WorkflowInboundInterceptorBase{Next: next}, c}
}

type clockedWorkflow struct {
	interceptor.WorkflowInboundInterceptorBase
	clock *clock
}

func (w *clockedWorkflow) Init(next interceptor.WorkflowOutboundInterceptor) error {
	return w.Next.Init(&clockedTimers{interceptor.WorkflowOutboundInterceptorBase{Next: next}, w.clock})
}

type clockedTimers struct {
	interceptor.WorkflowOutboundInterceptorBase
	clock *clock
}

func (t *clockedTimers) Now(ctx workflow.Context) time.Time { return t.clock.at(t.Next.Now(ctx)) }

func (t *clockedTimers) NewTimer(ctx workflow.Context, d time.Duration) workflow.Future {
	return t.NewTimerWithOptions(ctx, d, workflow.TimerOptions{})
}

// clockLook is how often a timer looks whether the clock was put forward.
const clockLook = time.Second

// NewTimerWithOptions makes a timer of many short ones of the server.
func (t *clockedTimers) NewTimerWithOptions(ctx workflow.Context, d time.Duration, o workflow.TimerOptions) workflow.Future {
	if d <= clockLook {
		return t.Next.NewTimerWithOptions(ctx, d, o)
	}
	due := t.Now(ctx).Add(d)
	ended, end := workflow.NewFuture(ctx)
	workflow.Go(ctx, func(ctx workflow.Context) {
		for left := d; left > 0; left = due.Sub(t.Now(ctx)) {
			if err := t.Next.NewTimerWithOptions(ctx, min(left, clockLook), o).Get(ctx, nil); err != nil {
				end.SetError(err)
				return
			}
		}
		end.SetValue(nil)
	})
	return ended
}
