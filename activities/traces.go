package activities

import (
	"context"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/tracing"
)

// Steps go on with the traces that are stored with rows. One transaction applies many deliveries of as many traces, so each
// traced delivery has a span in its own trace, linked to the transaction. Whichever way a step was reached, by its signal, a
// sweep, a retry days later, a replay or the next run of a workflow, the row knows where it belongs.

// follow begins the spans of the traced deliveries of a batch, and marks the changes that they brought. When the transaction is
// not committed they are dropped, because nothing happened.
func (b *batch) follow(ctx context.Context) {
	t := tracing.From(ctx)
	if t == nil {
		return
	}
	for n, d := range b.waiting {
		if d.Trace.IsZero() {
			continue
		}
		if b.spans == nil {
			b.spans = make([]tracing.Span, len(b.waiting))
		}
		b.spans[n] = followDelivery(ctx, d, b.started)
	}
	if b.spans == nil {
		return
	}
	for k := range b.changes {
		b.changes[k].Trace = b.spans[b.owner[k]].Trace()
	}
}

func followDelivery(ctx context.Context, d domain.RawDelivery, began time.Time) tracing.Span {
	if d.Trace.IsZero() {
		return tracing.Span{}
	}
	_, span := tracing.From(ctx).Start(ctx, "apply delivery", tracing.Begin{Kind: tracing.Consumer, Parent: d.Trace, Links: []domain.Trace{tracing.Of(ctx)}, At: began})
	if span.On() {
		span.Set(tracing.ID(tracing.KeyOrg, d.OrgID), tracing.ID(tracing.KeyIntegration, d.IntegrationID), tracing.ID(tracing.KeyDelivery, d.ID),
			tracing.Count(tracing.KeyTry, d.Attempts+1), tracing.Flag(tracing.KeyReplay, d.ReplayID != ""), tracing.Seconds(tracing.KeyWaited, time.Since(d.ReceivedAt)))
	}
	return span
}

// ended finishes the spans of a batch that is committed.
func (b *batch) ended(outcomes []store.DeliveryOutcome, applied apply.Result) {
	if b.spans == nil {
		return
	}
	for n, o := range outcomes {
		span := b.spans[n]
		if !span.On() {
			continue
		}
		var found []domain.ConflictID
		for _, c := range applied.Conflicts() {
			if slices.Contains(o.Bookings, c.BookingID) || slices.Contains(o.Bookings, c.OtherID) {
				found = append(found, c.ID)
			}
		}
		span.Set(tracing.Word(tracing.KeyState, o.State), tracing.IDs(tracing.KeyBookings, o.Bookings), tracing.IDs(tracing.KeyConflicts, found),
			tracing.Count(tracing.KeyConflicted, len(found)))
		span.End(b.errs[n])
	}
}

// followPush begins the span of a wish that is carried out, below the step that wished for it and linked to the activity which
// carries out many.
func followPush(ctx context.Context, i domain.Integration, p domain.Push) (context.Context, tracing.Span) {
	const name = "write copy"
	var span tracing.Span
	if p.Trace.IsZero() {
		ctx, span = tracing.Child(ctx, name)
	} else {
		ctx, span = tracing.From(ctx).Start(ctx, name, tracing.Begin{Kind: tracing.Consumer, Parent: p.Trace, Links: []domain.Trace{tracing.Of(ctx)}})
	}
	if span.On() {
		span.Set(tracing.ID(tracing.KeyOrg, i.OrgID), tracing.ID(tracing.KeyIntegration, i.ID), tracing.Word(tracing.KeyProvider, i.Provider),
			tracing.ID(tracing.KeyPush, p.ID), tracing.ID(tracing.KeyBooking, p.BookingID), tracing.Word(tracing.KeyOp, p.Op),
			tracing.Count(tracing.KeyVersion, p.WantVersion), tracing.Count(tracing.KeyTry, p.Attempts+1))
	}
	return ctx, span
}
