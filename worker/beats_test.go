package worker

import (
	"context"
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/internal/devstack/temporaltest"
)

// longStep beats each second until the test has seen enough.
type longStep struct{ over chan struct{} }

func (s *longStep) TakeLong(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		activity.RecordHeartbeat(ctx)
		select {
		case <-tick.C:
		case <-s.over:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func longStory(ctx workflow.Context) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 2 * time.Minute, HeartbeatTimeout: 30 * time.Second})
	return workflow.ExecuteActivity(ctx, (*longStep).TakeLong).Get(ctx, nil)
}

// The SDK by itself sends the second heartbeat 24 s after the first.
func TestHeartbeatsArriveLongBeforeTheirTimeoutIsOver(t *testing.T) {
	t.Parallel()
	c, err := client.Dial(client.Options{HostPort: temporaltest.Server(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	step := &longStep{over: make(chan struct{})}
	const queue = "heartbeats"
	w := sdkworker.New(c, queue, common(Deps{}, Options{}))
	w.RegisterWorkflow(longStory)
	w.RegisterActivity(step)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: queue}, longStory)
	if err != nil {
		t.Fatal(err)
	}
	var seen []time.Time
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for len(seen) < 3 {
		d, err := c.DescribeWorkflowExecution(ctx, run.GetID(), run.GetRunID())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range d.GetPendingActivities() {
			if at := a.GetLastHeartbeatTime(); at != nil && !slices.Contains(seen, at.AsTime()) {
				seen = append(seen, at.AsTime())
			}
		}
		<-tick.C
	}
	close(step.over)
	if err := run.Get(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if gap := seen[2].Sub(seen[1]); gap > 15*time.Second {
		t.Errorf("the time between two heartbeats is %s, half of their time-out and more", gap)
	}
}
