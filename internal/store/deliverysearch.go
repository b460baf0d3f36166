package store

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// DeliveryFilter narrows a list; empty fields do not.
type DeliveryFilter struct {
	Integration domain.IntegrationID
	State       domain.DeliveryState
	EventType   string
	Entity      string            // external id of the first entry in it
	Origin      domain.DeliveryID // replays of this one
	Replay      domain.ReplayID   // made by this replay
	From, To    time.Time         // stored in [From, To), to the millisecond; a replay counts when it was made
}

func (f DeliveryFilter) validate() error {
	switch f.State {
	case "", domain.DeliveryReceived, domain.DeliveryRetrying, domain.DeliveryApplied, domain.DeliveryIgnored, domain.DeliveryDead:
	default:
		return domain.Invalid("state", "must be received, retrying, applied, ignored or dead")
	}
	if err := errors.Join(checkText("event_type", f.EventType, maxEventType), checkText("entity", f.Entity, domain.MaxExternalID)); err != nil {
		return err
	}
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		return domain.Invalid("to", "must be after from")
	}
	return nil
}

// span returns the ids between which deliveries of the time lie: identifiers begin with the time at which they were made,
// so the primary key answers questions about time.
func (f DeliveryFilter) span() (from, before rowID) {
	from, before = firstUUID, lastUUID
	if !f.From.IsZero() {
		from = idFloor(f.From)
	}
	if !f.To.IsZero() {
		before = idFloor(f.To)
	}
	return from, before
}

// apply adds the conditions. They are spelled so that the planner can prove that partial indexes apply.
func (f DeliveryFilter) apply(q *query, org domain.OrgID, from, before rowID) {
	q.where("org_id = %s", org)
	q.where("id < %s", before)
	if from != firstUUID {
		q.where("id >= %s", from)
	}
	if f.Integration != "" {
		q.where("integration_id = %s", f.Integration)
	}
	if f.State != "" {
		q.where("state = '" + string(f.State) + "'")
	}
	if f.EventType != "" {
		q.where("event_type = %s AND event_type <> ''", f.EventType)
	}
	if f.Entity != "" {
		q.where("entity = %s AND entity <> ''", f.Entity)
	}
	if f.Origin != "" {
		q.where("origin_id = %s", f.Origin)
	}
	if f.Replay != "" {
		q.where("replay_id = %s", f.Replay)
	}
}

// deliveriesQuery lists up to limit rows, newest first. Whatever the filter, an index yields the rows in order.
func deliveriesQuery(org domain.OrgID, f DeliveryFilter, before rowID, limit int) *query {
	from, last := f.span()
	before = min(before, last)
	part := func(q *query, more string) {
		f.apply(q, org, from, before)
		q.add(more+" ORDER BY id DESC LIMIT %s", limit)
	}
	// What waits is indexed by integration and priority.
	received := func(q *query, of string) {
		for n, p := range domain.Priorities() {
			if n > 0 {
				q.add(" UNION ALL ")
			}
			q.add("(SELECT " + deliveryColumns + " FROM deliveries")
			q.word = " WHERE "
			part(q, of+" AND state = 'received' AND priority = "+strconv.Itoa(int(p)))
			q.add(")")
		}
	}
	narrow := f.EventType != "" || f.Entity != "" || f.Origin != "" || f.Replay != ""
	q := &query{word: " WHERE "}
	switch {
	case narrow:
	case f.Integration != "" && (f.State == "" || f.State == domain.DeliveryReceived):
		q.add("SELECT " + deliveryColumns + " FROM (")
		received(q, "")
		if f.State == "" {
			q.add(" UNION ALL (SELECT " + deliveryColumns + " FROM deliveries")
			q.word = " WHERE "
			part(q, " AND state <> 'received'")
			q.add(")")
		}
		q.add(") d ORDER BY id DESC LIMIT %s", limit)
		return q
	case f.State == domain.DeliveryReceived:
		q.add("SELECT d.* FROM integrations i CROSS JOIN LATERAL (")
		received(q, " AND integration_id = i.id")
		q.add(") d WHERE i.org_id = %s ORDER BY d.id DESC LIMIT %s", org, limit)
		return q
	}
	q.add("SELECT " + deliveryColumns + " FROM deliveries")
	part(q, "")
	return q
}

// Deliveries lists deliveries without their content, newest first.
func (tx *Tx) Deliveries(ctx context.Context, f DeliveryFilter, p Page) ([]domain.Delivery, string, error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	before, err := p.afterID(lastUUID)
	if err != nil {
		return nil, "", err
	}
	if err := f.validate(); err != nil {
		return nil, "", err
	}
	q := deliveriesQuery(tx.Org, f, before, limit+1)
	rows, err := tx.Query(ctx, q.text(), q.args...)
	all, err := collect(rows, err, scanDelivery)
	if err != nil {
		return nil, "", fault("list deliveries", err)
	}
	all, next := cut(all, limit, func(d domain.Delivery) string { return string(d.ID) })
	return all, next, nil
}
