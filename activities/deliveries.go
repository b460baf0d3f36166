package activities

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/outbound"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/rules/retry"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/tracing"
)

// Deliveries applies what vendors posted.
type Deliveries struct {
	Store  *store.Store
	Opener *connect.Opener
	Gate   *Gate  // nil = no bound
	Worker string // names this process in the history of attempts
}

// applyBatch is how many deliveries one transaction takes. It bounds the time that a resource stays locked.
const applyBatch = 100

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
// Deliveries of one entry of the outside system take effect in order of arrival whatever their priorities, and whichever of
// them have to be tried again: inside a batch they are applied in that order, and when a batch overtakes older ones it
// remembers the entries it told of, so that what the older ones say about those entries is found stale.
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
	started := time.Now()
	span := followDelivery(ctx, d, started)
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		b := batch{now: tx.Now, worker: a.Worker, started: started}
		o := b.failed(d, cause)
		b.note(d, &o)
		out.Dead, out.Retried = 0, 1
		topic := domain.TopicDeliveryRetrying
		if o.State == domain.DeliveryDead {
			out.Dead, out.Retried, topic = 1, 0, domain.TopicDeliveryDead
		}
		span.Set(tracing.Word(tracing.KeyState, o.State))
		if err := tx.FinishDeliveries(ctx, []store.DeliveryOutcome{o}); err != nil {
			return err
		}
		return tx.Emit(ctx, topic, map[string]string{"delivery": string(d.ID), "integration": string(in.Integration)})
	})
	if err == nil {
		span.End(cause)
	}
	return out, err
}

// applyWaiting applies up to limit deliveries in one transaction. It also returns the first one that it took up.
func (a *Deliveries) applyWaiting(ctx context.Context, in ApplyDeliveriesInput, limit int) (out ApplyDeliveriesResult, first domain.RawDelivery, err error) {
	ctx, step := tracing.Child(ctx, "apply transaction")
	defer func() { step.End(err) }()
	var committed func()
	err = a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		out, first, committed = ApplyDeliveriesResult{}, domain.RawDelivery{}, nil
		i, opened, openErr := open(ctx, tx, a.Opener, in.Integration)
		if openErr != nil && domain.KindOf(openErr) != domain.KindPermanent {
			return openErr
		}
		if i.State != domain.IntegrationActive || i.WorkHold.In(tx.Now) {
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
		b := batch{now: tx.Now, target: routeTargets(tx, in.Integration), worker: a.Worker, started: time.Now()}
		for n, d := range waiting {
			fault := openErr
			if why := taken.Unreadable[d.ID]; why != nil {
				fault = why
			}
			if !b.decode(ctx, opened, fault, d) {
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
		if err := b.supersede(ctx, tx, in.Integration); err != nil {
			return err
		}
		if err := b.dropEnded(ctx, tx, in.Integration, opened); err != nil {
			return err
		}
		if err := b.hold(ctx, tx, i); err != nil {
			return err
		}
		b.follow(ctx)
		applied, err := apply.Changes(ctx, tx, i, b.changes, b.causes()...)
		if err != nil {
			return err
		}
		if err := b.overtake(ctx, tx, in.Integration, taken, applied.Outcomes); err != nil {
			return err
		}
		outcomes := b.settle(applied.Outcomes)
		committed = func() {
			b.ended(outcomes, applied)
			if !step.On() {
				return
			}
			step.Set(tracing.ID(tracing.KeyIntegration, in.Integration), tracing.Word(tracing.KeyProvider, i.Provider), tracing.Count(tracing.KeyDeliveries, len(outcomes)),
				tracing.Count(tracing.KeyChanges, len(b.changes)), tracing.Count(tracing.KeyConflicted, len(applied.Opened)), tracing.Count(tracing.KeyCleared, len(applied.Cleared)),
				tracing.Count(tracing.KeyPushes, len(applied.Pushes)))
		}
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
	if err == nil && committed != nil {
		committed()
	}
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
		refs := map[string]string{"delivery": string(o.ID), "integration": string(integration)}
		nameBookings(refs, o.Bookings)
		if err := tx.Emit(ctx, topic, refs); err != nil {
			return err
		}
	}
	return nil
}

// nameBookings puts the bookings that a delivery concerned into the references of its event: a single one as booking,
// several as bookings, so that the event of a delivery can be filtered by wedding. More than domain.MaxEventBookings are
// not named; booking.changed tells of each.
func nameBookings(refs map[string]string, ids []domain.BookingID) {
	switch {
	case len(ids) == 1:
		refs["booking"] = string(ids[0])
	case len(ids) > 1:
		var list strings.Builder
		for i, id := range ids[:min(len(ids), domain.MaxEventBookings)] {
			if i > 0 {
				list.WriteByte(',')
			}
			list.WriteString(string(id))
		}
		refs["bookings"] = list.String()
	}
}

// batch decodes deliveries and remembers which changes came from which.
type batch struct {
	changes   []domain.Change
	owner     []int // index of the delivery that a change came from
	waiting   []domain.RawDelivery
	decoded   []provider.Decoded // per delivery; its Changes are in changes
	errs      []error            // per delivery: why it could not be decoded
	overtaken []int              // deliveries with changes that came too late
	farewells []int              // deliveries with changes of entries whose later end came before them
	held      []int              // deliveries with removals that wait for a person
	now       time.Time
	spans     []tracing.Span                                    // per delivery; nil = none is traced
	target    func(context.Context, domain.IntegrationID) error // nil = may be routed to
	calm      bool                                              // a call was held back: no further one waits for its turn
	started   time.Time                                         // by this process's own clock, for how long tries took
	worker    string
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
	patience := decodePatience
	if b.calm {
		patience = 0
	}
	ctx = outbound.WithPatience(ctx, patience)
	err = caught("decode delivery", func() (err error) {
		got, err = source.Decode(ctx, provider.Webhook{Header: header, Body: d.Body, ReceivedAt: d.ReceivedAt})
		return err
	})
	if err != nil {
		b.calm = b.calm || errors.Is(err, outbound.ErrHeld)
		return provider.Decoded{}, err
	}
	return got, nil
}

// decodePatience is how long a thin delivery waits for its turn to ask its system. It waits inside a transaction, so not long: one
// that is held back comes again.
const decodePatience = 500 * time.Millisecond

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
		out[n].State, out[n].Reason = domain.DeliveryApplied, string(reconcile.EffectStale)+": a newer delivery of this entry went first"
	}
	for _, n := range b.farewells {
		out[n].State, out[n].Reason = domain.DeliveryApplied, string(reconcile.EffectStale)+": its entry ended after this, and that was told before"
	}
	for _, n := range b.held {
		out[n].State, out[n].Reason = domain.DeliveryApplied, guard.Reason
	}
	for k, e := range effects {
		o := &out[b.owner[k]]
		if e.BookingID != "" && !slices.Contains(o.Bookings, e.BookingID) {
			o.Bookings = append(o.Bookings, e.BookingID)
		}
		switch {
		case e.Effect == reconcile.EffectRejected:
			if o.State != domain.DeliveryDead {
				o.State, o.Reason = domain.DeliveryDead, e.Reason
			}
		case o.State == domain.DeliveryDead, o.State == domain.DeliveryRetrying:
		case e.Doubt:
			again := b.failed(b.waiting[b.owner[k]], errBehind)
			o.State, o.Reason, o.NextAttemptAt = again.State, again.Reason, again.NextAttemptAt
		case o.State == domain.DeliveryIgnored, e.Effect.Changes():
			o.State, o.Reason = domain.DeliveryApplied, string(e.Effect)
			if e.Reason != "" {
				o.Reason += ": " + e.Reason
			}
		}
	}
	for n, d := range b.waiting {
		out[n].EventType = b.decoded[n].EventType
		if list := b.decoded[n].Changes; len(list) > 0 {
			out[n].Entity = list[0].ExternalID
		}
		b.note(d, &out[n])
	}
	return out
}

// errBehind is about an entry that was asked for and shows something else than what is known, by an older version: the system
// answers from a copy that is behind, or its clock stepped back. A later answer tells which.
var errBehind = domain.E(domain.KindUnavailable, "the system showed an older version of an entry than was known a moment ago; it is asked again")

// note puts a try into the history, unless it was a first one that went well.
func (b *batch) note(d domain.RawDelivery, o *store.DeliveryOutcome) {
	if o.Held {
		return
	}
	if d.Attempts > 0 || o.State == domain.DeliveryRetrying || o.State == domain.DeliveryDead {
		o.Try = &store.DeliveryTry{Took: time.Since(b.started), Worker: b.worker}
	}
}

// supersede leaves out replays that are older than what was applied to their entries since: a replay never undoes news.
// Batches without a replay cost nothing.
func (b *batch) supersede(ctx context.Context, tx *store.Tx, integration domain.IntegrationID) error {
	var asked []store.EntryAt
	var of []int
	newest := map[string]domain.DeliveryID{} // within this batch
	older := make([]domain.DeliveryID, len(b.waiting))
	for n, d := range b.waiting {
		at := d.Position()
		for _, c := range b.decoded[n].Changes {
			if d.OriginID != "" {
				asked, of = append(asked, store.EntryAt{Entity: c.ExternalID, Position: at}), append(of, n)
				if newest[c.ExternalID] > at {
					older[n] = newest[c.ExternalID]
				}
			}
			newest[c.ExternalID] = max(newest[c.ExternalID], at)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	found, err := tx.Superseded(ctx, integration, asked)
	if err != nil {
		return err
	}
	for k, id := range found {
		if id != "" {
			older[of[k]] = id
		}
	}
	changes, owner := b.changes[:0], b.owner[:0]
	for k, c := range b.changes {
		if older[b.owner[k]] == "" {
			changes, owner = append(changes, c), append(owner, b.owner[k])
		}
	}
	b.changes, b.owner = changes, owner
	for n, id := range older {
		if id != "" {
			b.decoded[n].Ignore = "a newer delivery was applied to the same entry: " + string(id)
		}
	}
	return nil
}

func (b *batch) failed(d domain.RawDelivery, err error) store.DeliveryOutcome {
	o := store.DeliveryOutcome{ID: d.ID, State: domain.DeliveryDead, Reason: textOf(err)}
	if errors.Is(err, outbound.ErrHeld) {
		// Nothing was asked, so it counts as no try.
		o.State, o.Held = domain.DeliveryRetrying, true
		o.NextAttemptAt = b.now.Add(min(max(domain.RetryAfter(err), time.Second), longestDelay))
		return o
	}
	// A fault of the settings is mended by the admin, and the delivery must still be there then.
	waits := domain.Retryable(err) || domain.KindOf(err) == domain.KindPermanent || domain.KindOf(err) == domain.KindUnauthenticated
	if next, again := retry.Next(b.now, d.Attempts+1, rand.Float64(), domain.RetryAfter(err)); waits && again {
		o.State, o.NextAttemptAt = domain.DeliveryRetrying, next
	}
	return o
}
