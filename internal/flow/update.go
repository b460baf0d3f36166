package flow

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
)

// An update that meets the end of a run (continue-as-new, a worker that stops in the middle of a task) is given back by
// the server with WorkflowNotReady, and was not carried out. Nobody who waits should hear of that, so it is sent again.
const (
	updateTries = 8
	updateWait  = 50 * time.Millisecond // after the first try, doubled up to updateMost
	updateMost  = time.Second
)

// update sends an update, waits for its outcome and repeats what met the end of a run. send must make its request anew.
func update[R any](ctx context.Context, doing string, send func() (client.WorkflowUpdateHandle, error)) (R, error) {
	for n, wait := 1, updateWait; ; n, wait = n+1, min(2*wait, updateMost) {
		var out R
		handle, err := send()
		if err == nil {
			err = handle.Get(ctx, &out)
		}
		var early *serviceerror.WorkflowNotReady
		if err == nil || n == updateTries || !errors.As(err, &early) {
			return out, translate(doing, err)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return out, translate(doing, err)
		}
	}
}
