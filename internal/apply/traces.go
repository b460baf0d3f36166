package apply

import (
	"context"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/tracing"
)

// carry names to each wish for another system the step that it comes from: the one that brought the last change of its booking,
// else the one of ctx.
func carry(ctx context.Context, items []reconcile.Item, plan *reconcile.Plan) {
	if len(plan.Pushes) == 0 {
		return
	}
	var brought map[domain.BookingID]domain.Trace
	for k, it := range items {
		if it.Change == nil || it.Change.Trace.IsZero() || k >= len(plan.Outcomes) {
			continue
		}
		if brought == nil {
			brought = map[domain.BookingID]domain.Trace{}
		}
		brought[plan.Outcomes[k].BookingID] = it.Change.Trace
	}
	here := tracing.Of(ctx)
	for n := range plan.Pushes {
		p := &plan.Pushes[n]
		p.Trace = here
		if t, ok := brought[p.BookingID]; ok {
			p.Trace = t
		}
	}
}
