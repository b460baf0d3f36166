package activities

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

// Deliveries applies what vendors posted.
type Deliveries struct {
	Store  *store.Store
	Opener *connect.Opener
	Gate   *Gate // nil = no bound
}

// applyBatch is how many deliveries one transaction takes. It bounds the time that a resource stays locked.
const applyBatch = 100

// deliveryTries is how often a delivery is tried before it becomes a dead letter: with retryAfter some three days.
const deliveryTries = 14

// ApplyDeliveriesInput names the integration whose waiting deliveries are to be applied.
type ApplyDeliveriesInput struct {
	Org         domain.OrgID         `json:"org"`
	Integration domain.IntegrationID `json:"integration"`
	// Oldest takes the oldest instead of the most urgent. The workflow sets it every few batches, so that nothing waits
	// for ever behind what is more urgent.
	Oldest bool `json:"oldest,omitempty"`
}

// ApplyDeliveriesResult counts what became of them.
type ApplyDeliveriesResult struct {
	Applied     int       `json:"applied"`
	Ignored     int       `json:"ignored,omitempty"`
	Dead        int       `json:"dead,omitempty"`
	Retried     int       `json:"retried,omitempty"`
	Routed      int       `json:"routed,omitempty"` // copies stored for other integrations
	More        bool      `json:"more,omitempty"`
	NextDue     time.Time `json:"next_due,omitzero"`
	NeedsReload bool      `json:"needs_reload,omitempty"`
}

// ApplyDeliveries takes the most urgent waiting deliveries of an integration and applies them in one transaction:
// delivery states, bookings, allocations, conflicts, audit lines, live events and work for other systems commit together.
//
// Deliveries of one entry of the outside system take effect in order of arrival whatever their priorities: inside a batch
// they are applied in that order, and when a batch overtakes older ones it remembers the entries it told of, so that what
// the older ones say about those entries is found stale.
//
// It is safe to run twice, also at the same time: deliveries are locked before they are read, and one that was applied
// is no longer waiting.
func (a *Deliveries) ApplyDeliveries(ctx context.Context, in ApplyDeliveriesInput) (ApplyDeliveriesResult, error) {
	leave, err := a.Gate.Enter(ctx, in.Org)
	if err != nil && ctx.Err() == nil {
		return ApplyDeliveriesResult{More: true}, nil // the workflow comes again, and has heard of other work meanwhile
	} else if err != nil {
		return ApplyDeliveriesResult{}, fail(err)
	}
	defer leave()
	out, first, err := a.applyWaiting(ctx, in, applyBatch)
	if err == nil || domain.KindOf(err) == domain.KindUnavailable || first.ID == "" {
		return out, fail(err)
	}
	// One of them spoils the batch: take them singly, so that the others are not held up.
	return a.applySingly(ctx, in)
}

func (a *Deliveries) applySingly(ctx context.Context, in ApplyDeliveriesInput) (ApplyDeliveriesResult, error) {
	var sum ApplyDeliveriesResult
	for range applyBatch {
		out, first, err := a.applyWaiting(ctx, in, 1)
		if domain.KindOf(err) == domain.KindUnavailable || err != nil && first.ID == "" {
			return sum, fail(err)
		}
		if err != nil {
			if out, err = a.giveBack(ctx, in, first, err); err != nil {
				return sum, fail(err)
			}
		}
		sum.Applied += out.Applied
		sum.Ignored += out.Ignored
		sum.Dead += out.Dead
		sum.Retried += out.Retried
		sum.Routed += out.Routed
		sum.More, sum.NextDue, sum.NeedsReload = out.More, out.NextDue, sum.NeedsReload || out.NeedsReload
		if !out.More {
			break
		}
	}
	return sum, nil
}

// giveBack records that a delivery could not be applied for a reason that lies in it.
func (a *Deliveries) giveBack(ctx context.Context, in ApplyDeliveriesInput, d domain.RawDelivery, cause error) (ApplyDeliveriesResult, error) {
	out := ApplyDeliveriesResult{More: true}
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		b := batch{now: tx.Now}
		o := b.failed(d, cause)
		out.Dead, out.Retried = 0, 1
		topic := domain.TopicDeliveryRetrying
		if o.State == domain.DeliveryDead {
			out.Dead, out.Retried, topic = 1, 0, domain.TopicDeliveryDead
		}
		if err := tx.FinishDeliveries(ctx, []store.DeliveryOutcome{o}); err != nil {
			return err
		}
		return tx.Emit(ctx, topic, map[string]string{"delivery": string(d.ID), "integration": string(in.Integration)})
	})
	return out, err
}

// applyWaiting applies up to limit deliveries in one transaction. It also returns the first one that it took up.
func (a *Deliveries) applyWaiting(ctx context.Context, in ApplyDeliveriesInput, limit int) (out ApplyDeliveriesResult, first domain.RawDelivery, err error) {
	err = a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		out, first = ApplyDeliveriesResult{}, domain.RawDelivery{}
		i, opened, openErr := open(ctx, tx, a.Opener, in.Integration)
		if openErr != nil && domain.KindOf(openErr) != domain.KindPermanent {
			return openErr
		}
		if i.State != domain.IntegrationActive {
			out.NeedsReload = true
			return nil
		}
		taken, err := tx.WaitingBatch(ctx, in.Integration, limit, in.Oldest)
		if err != nil {
			return err
		}
		waiting := taken.Deliveries
		if len(waiting) == 0 {
			return out.next(ctx, tx, in.Integration)
		}
		first = waiting[0]
		b := batch{now: tx.Now, target: routeTargets(tx, in.Integration)}
		for n, d := range waiting {
			if !b.decode(ctx, opened, openErr, d) {
				// The rest is for the next transaction.
				waiting, out.More = waiting[:n], true
				break
			}
		}
		if taken.Overtaken {
			if err := b.dropOvertaken(ctx, tx, in.Integration); err != nil {
				return err
			}
		}
		applied, err := apply.Changes(ctx, tx, i, b.changes)
		if err != nil {
			return err
		}
		if err := b.overtake(ctx, tx, in.Integration, taken, applied.Outcomes); err != nil {
			return err
		}
		outcomes := b.settle(applied.Outcomes)
		if err := tx.FinishDeliveries(ctx, outcomes); err != nil {
			return err
		}
		if out.Routed, err = b.route(ctx, tx); err != nil {
			return err
		}
		if err := out.count(ctx, tx, in.Integration, outcomes); err != nil {
			return err
		}
		if out.More || len(waiting) == limit {
			out.More = true
			return nil
		}
		return out.next(ctx, tx, in.Integration)
	})
	return out, first, err
}

// next tells when there is something to do again.
func (r *ApplyDeliveriesResult) next(ctx context.Context, tx *store.Tx, integration domain.IntegrationID) error {
	due, left, err := tx.NextDeliveryDue(ctx, integration)
	if err != nil || left == 0 {
		return err
	}
	if r.More = !due.After(tx.Now); !r.More {
		r.NextDue = due
	}
	return nil
}

// count adds outcomes up and tells the live stream.
func (r *ApplyDeliveriesResult) count(ctx context.Context, tx *store.Tx, integration domain.IntegrationID, outcomes []store.DeliveryOutcome) error {
	for _, o := range outcomes {
		topic := domain.TopicDeliveryApplied
		switch o.State {
		case domain.DeliveryApplied:
			r.Applied++
		case domain.DeliveryIgnored:
			topic = domain.TopicDeliveryIgnored
			r.Ignored++
		case domain.DeliveryDead:
			topic = domain.TopicDeliveryDead
			r.Dead++
		case domain.DeliveryRetrying:
			topic = domain.TopicDeliveryRetrying
			r.Retried++
		case domain.DeliveryReceived:
		}
		if err := tx.Emit(ctx, topic, map[string]string{"delivery": string(o.ID), "integration": string(integration)}); err != nil {
			return err
		}
	}
	return nil
}

// batch decodes deliveries and remembers which changes came from which.
type batch struct {
	changes   []domain.Change
	owner     []int // index of the delivery that a change came from
	waiting   []domain.RawDelivery
	decoded   []provider.Decoded // per delivery; its Changes are in changes
	errs      []error            // per delivery: why it could not be decoded
	overtaken []int              // deliveries with changes that came too late
	now       time.Time
	target    func(context.Context, domain.IntegrationID) error // nil = may be routed to
}

// decode adds a delivery to the batch. It is false when the batch has no room for its changes.
func (b *batch) decode(ctx context.Context, opened any, openErr error, d domain.RawDelivery) bool {
	got, err := b.read(ctx, opened, openErr, d)
	if err == nil {
		err = b.checkRoute(ctx, d, &got)
	}
	if err != nil {
		got = provider.Decoded{}
	}
	if n := len(got.Changes); err == nil && n > apply.MaxBatch {
		err, got = domain.E(domain.KindInvalid, "a delivery may hold at most %d changes, has %d", apply.MaxBatch, n), provider.Decoded{}
	}
	if len(b.changes)+len(got.Changes) > apply.MaxBatch {
		return false
	}
	for _, c := range got.Changes {
		b.changes = append(b.changes, c)
		b.owner = append(b.owner, len(b.waiting))
	}
	b.waiting = append(b.waiting, d)
	b.decoded = append(b.decoded, got)
	b.errs = append(b.errs, err)
	return true
}

func (b *batch) read(ctx context.Context, opened any, openErr error, d domain.RawDelivery) (got provider.Decoded, err error) {
	if openErr != nil {
		return got, openErr
	}
	source, ok := provider.As[provider.WebhookSource](opened)
	if !ok {
		return got, domain.E(domain.KindPermanent, "this connection takes no webhooks any more")
	}
	header := make(http.Header, len(d.Headers))
	for k, v := range d.Headers {
		header.Set(k, v)
	}
	err = caught("decode delivery", func() (err error) {
		got, err = source.Decode(ctx, provider.Webhook{Header: header, Body: d.Body, ReceivedAt: d.ReceivedAt})
		return err
	})
	if err != nil {
		return provider.Decoded{}, err
	}
	return got, nil
}

// settle turns the effects of the changes into the outcomes of the deliveries.
func (b *batch) settle(effects []reconcile.Outcome) []store.DeliveryOutcome {
	out := make([]store.DeliveryOutcome, len(b.waiting))
	for n, d := range b.waiting {
		out[n] = store.DeliveryOutcome{ID: d.ID, State: domain.DeliveryIgnored, Reason: "nothing in it is for us"}
		if why := b.decoded[n].Ignore; why != "" {
			out[n].Reason = why
		}
		if err := b.errs[n]; err != nil {
			out[n] = b.failed(d, err)
		}
	}
	for _, n := range b.overtaken {
		out[n].State, out[n].Reason = domain.DeliveryApplied, string(reconcile.EffectStale)+": a newer delivery of this entry was more urgent"
	}
	for k, e := range effects {
		o := &out[b.owner[k]]
		switch {
		case e.Effect == reconcile.EffectRejected:
			if o.State != domain.DeliveryDead {
				o.State, o.Reason = domain.DeliveryDead, e.Reason
			}
		case o.State == domain.DeliveryDead:
		case o.State == domain.DeliveryIgnored, e.Effect.Changes():
			o.State, o.Reason = domain.DeliveryApplied, string(e.Effect)
			if e.Reason != "" {
				o.Reason += ": " + e.Reason
			}
		}
	}
	return out
}

func (b *batch) failed(d domain.RawDelivery, err error) store.DeliveryOutcome {
	o := store.DeliveryOutcome{ID: d.ID, State: domain.DeliveryDead, Reason: textOf(err)}
	// A fault of the settings is mended by the admin, and the delivery must still be there then.
	waits := domain.Retryable(err) || domain.KindOf(err) == domain.KindPermanent || domain.KindOf(err) == domain.KindUnauthenticated
	if waits && d.Attempts+1 < deliveryTries {
		o.State = domain.DeliveryRetrying
		o.NextAttemptAt = b.now.Add(max(retryAfter(d.Attempts+1), domain.RetryAfter(err)))
	}
	return o
}

// retryAfter is the published schedule of retries: 5 s tripling up to 12 h, with up to a fifth of jitter.
func retryAfter(attempt int) time.Duration {
	d := 5 * time.Second
	for i := 1; i < attempt && d < 12*time.Hour; i++ {
		d *= 3
	}
	d = min(d, 12*time.Hour)
	return d + rand.N(d/5)
}
