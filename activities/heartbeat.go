package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"
)

// heartbeatEvery is a third of the heartbeat timeouts in workflows/policies.go.
const heartbeatEvery = 10 * time.Second

// beating records heartbeats while fn runs, so that a dead worker is noticed within the heartbeat timeout and a
// cancellation reaches fn through its context.
func beating(ctx context.Context, fn func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(heartbeatEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				activity.RecordHeartbeat(ctx)
			}
		}
	}()
	err := fn(ctx)
	cancel()
	<-done
	return err
}
