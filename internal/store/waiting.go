package store

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// Waiting is what an integration has to apply next.
type Waiting struct {
	// Deliveries are locked and opened, in the order in which they arrived: inside a batch nothing overtakes anything.
	Deliveries []domain.RawDelivery
	// Unreadable says of those whose content could not be opened why; they have neither headers nor body. nil = all could.
	Unreadable map[domain.DeliveryID]error
	// Overtaken reports whether entries are remembered whose newer delivery was applied already; see Newer.
	Overtaken bool

	full   bool
	again  bool                                       // deliveries that are to be tried again are left out of the batch
	oldest [domain.PriorityBulk + 1]domain.DeliveryID // by priority: what waited longest when this was read
}

// Overtakes reports whether a delivery of the batch goes before one that arrived earlier and is less urgent, or waits for
// another try, so that what it says about its entries must be remembered by Overtake. It may err on the side of true.
func (w *Waiting) Overtakes(d domain.Delivery) bool {
	if w.again {
		return true
	}
	if !w.full {
		return false // everything that waits is in the batch
	}
	for p := d.Priority.OrNormal() + 1; p <= domain.PriorityBulk; p++ {
		if w.oldest[p] != "" && w.oldest[p] < d.ID {
			return true
		}
	}
	return false
}

// WaitingDeliveries is WaitingBatch in order of priority, without what it says about overtaking.
func (tx *Tx) WaitingDeliveries(ctx context.Context, integration domain.IntegrationID, limit int) ([]domain.RawDelivery, error) {
	w, err := tx.WaitingBatch(ctx, integration, limit, false)
	return w.Deliveries, err
}

// WaitingBatch locks and opens up to limit deliveries of an integration that were received, or are due for another try:
// the most urgent ones, oldest first within a priority, or simply the oldest when oldest is true. A caller who asks for
// the oldest every few times lets nothing wait for ever. A second caller waits for the first one's transaction and then
// meets only what that one left.
func (tx *Tx) WaitingBatch(ctx context.Context, integration domain.IntegrationID, limit int, oldest bool) (Waiting, error) {
	w := Waiting{}
	sql := waitingQuery
	if oldest {
		sql = oldestQuery
	}
	rows, err := tx.Query(ctx, sql, tx.Org, integration, limit, tx.Now)
	again := 0 // that are to be tried again, up to one more than a batch can hold
	w.Deliveries, err = collect(rows, err, func(row pgx.Row) (domain.RawDelivery, error) {
		var sealed []byte
		var second, third, fourth *domain.DeliveryID
		d, err := scanDeliveryWith(row, &sealed, &second, &third, &fourth, &again, &w.Overtaken)
		if err != nil {
			return domain.RawDelivery{}, err
		}
		for n, id := range []*domain.DeliveryID{second, third, fourth} {
			if id != nil {
				w.oldest[domain.PriorityHigh+domain.Priority(n)] = *id
			}
		}
		raw, err := tx.OpenDelivery(d, sealed)
		if err != nil {
			// One content that does not open must not hold up the others.
			if w.Unreadable == nil {
				w.Unreadable = map[domain.DeliveryID]error{}
			}
			w.Unreadable[d.ID] = domain.E(domain.KindPermanent, "its content cannot be opened: the key is missing, or it was changed in storage")
			return domain.RawDelivery{Delivery: d}, nil
		}
		return raw, nil
	})
	for _, d := range w.Deliveries {
		if d.State == domain.DeliveryRetrying {
			again--
		}
	}
	w.full, w.again = len(w.Deliveries) == limit, again > 0
	return w, fault("read waiting deliveries", err)
}

// Each kind is read through its own index, so that retries that are not due yet cost nothing. A row that another
// transaction finished while this one waited for its lock no longer fits the last condition. The further columns are
// read once for the statement, one index entry each.
const (
	waitingHead = "SELECT " + deliveryColumns + `, content,
		(SELECT id FROM deliveries WHERE integration_id = $2 AND state = 'received' AND priority = 2 ORDER BY id LIMIT 1),
		(SELECT id FROM deliveries WHERE integration_id = $2 AND state = 'received' AND priority = 3 ORDER BY id LIMIT 1),
		(SELECT id FROM deliveries WHERE integration_id = $2 AND state = 'received' AND priority = 4 ORDER BY id LIMIT 1),
		(SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE integration_id = $2 AND state = 'retrying' LIMIT $3::bigint + 1) r),
		EXISTS (SELECT 1 FROM overtakes WHERE org_id = $1 AND integration_id = $2)
		FROM deliveries WHERE org_id = $1 AND id IN (SELECT id FROM (`
	waitingRetries = `
			UNION ALL
			(SELECT id, priority FROM deliveries WHERE integration_id = $2 AND state = 'retrying' AND next_attempt_at <= $4
			ORDER BY next_attempt_at, id LIMIT $3)) w`
	waitingTail = ` LIMIT $3)
	AND state IN ('received', 'retrying') ORDER BY deliveries.id FOR UPDATE`

	waitingQuery = waitingHead + `
			(SELECT id, priority FROM deliveries WHERE integration_id = $2 AND state = 'received' ORDER BY priority, id LIMIT $3)` +
		waitingRetries + " ORDER BY priority, id" + waitingTail
)

// oldestQuery merges the heads of the four priorities.
var oldestQuery = func() string {
	var heads []string
	for _, p := range domain.Priorities() {
		heads = append(heads, `
			(SELECT id, priority FROM deliveries WHERE integration_id = $2 AND state = 'received' AND priority = `+string('0'+rune(p))+`
			ORDER BY id LIMIT $3)`)
	}
	return waitingHead + strings.Join(heads, " UNION ALL") + waitingRetries + " ORDER BY id" + waitingTail
}()

// EntryArrival says which delivery told of an entry of an outside system.
type EntryArrival struct {
	ExternalID string
	Removed    bool // with its parts
	Delivery   domain.DeliveryID
}

// partsOf is the key under which the removal of an entry is remembered for its parts, which are named "entry#part".
func partsOf(entry string) string { return entry + "#" }

// Overtake remembers entries whose deliveries were applied before older ones that still wait. Of several deliveries of an
// entry the newest counts, whatever the order of calls.
func (tx *Tx) Overtake(ctx context.Context, integration domain.IntegrationID, entries []EntryArrival) error {
	newest := map[string]domain.DeliveryID{}
	keep := func(key string, id domain.DeliveryID) {
		newest[key] = max(newest[key], id)
	}
	for _, e := range entries {
		keep(e.ExternalID, e.Delivery)
		if e.Removed {
			keep(partsOf(e.ExternalID), e.Delivery)
		}
	}
	if len(newest) == 0 {
		return nil
	}
	keys := slices.Sorted(maps.Keys(newest)) // one order for all writers
	_, err := tx.Exec(ctx, `INSERT INTO overtakes AS o (org_id, integration_id, external_id, delivery_id)
		SELECT $1, $2, v.k, v.d FROM unnest($3::text[], $4::uuid[]) v(k, d)
		ON CONFLICT (org_id, integration_id, external_id) DO UPDATE SET delivery_id = excluded.delivery_id
		WHERE o.delivery_id < excluded.delivery_id`, tx.Org, integration, keys,
		column(keys, func(k string) domain.DeliveryID { return newest[k] }))
	return fault("remember overtaken entries", err)
}

// Newer returns which of the given arrivals are older than what was applied of their entries already, by their index.
func (tx *Tx) Newer(ctx context.Context, integration domain.IntegrationID, entries []EntryArrival) (map[int]bool, error) {
	asked := map[string]bool{}
	for _, e := range entries {
		asked[e.ExternalID] = true
		if whole, _, part := strings.Cut(e.ExternalID, "#"); part {
			asked[partsOf(whole)] = true
		}
	}
	rows, err := tx.Query(ctx, `SELECT external_id, delivery_id FROM overtakes
		WHERE org_id = $1 AND integration_id = $2 AND external_id = ANY ($3::text[])`, tx.Org, integration, slices.Sorted(maps.Keys(asked)))
	if err != nil {
		return nil, fault("read overtaken entries", err)
	}
	newest := map[string]domain.DeliveryID{}
	var key string
	var id domain.DeliveryID
	if _, err := pgx.ForEachRow(rows, []any{&key, &id}, func() error {
		newest[key] = id
		return nil
	}); err != nil {
		return nil, fault("read overtaken entries", err)
	}
	out := map[int]bool{}
	for n, e := range entries {
		whole, _, part := strings.Cut(e.ExternalID, "#")
		if newest[e.ExternalID] > e.Delivery || part && newest[partsOf(whole)] > e.Delivery {
			out[n] = true
		}
	}
	return out, nil
}

func (tx *Tx) forgetOvertakes(ctx context.Context, integration domain.IntegrationID) error {
	_, err := tx.Exec(ctx, "DELETE FROM overtakes WHERE org_id = $1 AND integration_id = $2", tx.Org, integration)
	return fault("forget overtaken entries", err)
}
