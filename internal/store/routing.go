package store

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// Routing is the wish that a delivery be handed to another integration of its organisation.
type Routing struct {
	From domain.RawDelivery
	To   domain.IntegrationID
}

// RouteDeliveries stores deliveries once more for other integrations, as received ones with the same headers, body and
// time and the priority of bulk, and lets their workflows be told. The identity of a copy follows from the delivery and the integration, so that a
// repeat, whenever it comes, stores nothing; stored counts the new ones. A replay counts as the delivery that it repeats: it
// reaches only integrations that did not get that one.
//
// The caller has checked that the integrations exist. A delivery that was routed already is KindConflict: routes could
// otherwise lead in a circle.
func (tx *Tx) RouteDeliveries(ctx context.Context, routes []Routing) (stored int, err error) {
	if len(routes) == 0 {
		return 0, nil
	}
	ids, sealed := make([]domain.DeliveryID, len(routes)), make([][]byte, len(routes))
	for i, r := range routes {
		if r.From.RoutedFrom != "" || r.From.IntegrationID == r.To {
			return 0, domain.E(domain.KindConflict, "delivery %s cannot be routed to %s: it was routed before, or is there already", r.From.ID, r.To)
		}
		ids[i] = domain.NewID[domain.DeliveryID](tx.Now)
		sealed[i] = sealContent(tx.sealer, ids[i], r.From.Headers, r.From.Body)
	}
	rows, err := tx.Query(ctx, `INSERT INTO deliveries (id, org_id, integration_id, dedupe, size, received_at, content, routed_from, priority, origin_id, replay_id, trace)
		SELECT id, $1, integration, dedupe, size, at, content, source, $9, origin, replay, trace
		FROM unnest($2::uuid[], $3::uuid[], $4::bytea[], $5::int[], $6::timestamptz[], $7::bytea[], $8::uuid[], $10::uuid[], $11::uuid[], $12::bytea[])
			v(id, integration, dedupe, size, at, content, source, origin, replay, trace)
		ON CONFLICT (integration_id, dedupe) DO NOTHING RETURNING id, integration_id`,
		tx.Org, arrayOf(ids), column(routes, func(r Routing) domain.IntegrationID { return r.To }),
		column(routes, routeKey),
		column(routes, func(r Routing) int32 { return int32(r.From.Size) }),
		column(routes, func(r Routing) time.Time { return r.From.ReceivedAt }),
		arrayOf(sealed),
		column(routes, func(r Routing) domain.DeliveryID { return r.From.ID }), domain.PriorityBulk,
		column(routes, func(r Routing) domain.DeliveryID { return r.From.OriginID }),
		column(routes, func(r Routing) domain.ReplayID { return r.From.ReplayID }),
		column(routes, func(r Routing) []byte { return r.From.Trace.Bytes() }))
	if err != nil {
		return 0, fault("route deliveries", err)
	}
	var id domain.DeliveryID
	var to domain.IntegrationID
	_, err = pgx.ForEachRow(rows, []any{&id, &to}, func() error {
		stored++
		return tx.Enqueue(ctx, OutboxDelivery, string(to), string(id), tx.Now)
	})
	return stored, fault("route deliveries", err)
}

// routeKey is the dedupe key of a copy. No vendor's key is equal: those are hashes of other beginnings, or of a body.
func routeKey(r Routing) []byte {
	sum := sha256.Sum256([]byte("wedsync routed delivery\x00" + string(r.From.Position()) + "\x00" + string(r.To)))
	return sum[:]
}
