package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// RecentDelivery is a delivery for reading once more.
type RecentDelivery struct {
	domain.RawDelivery
	Erased bool // its headers and body are no longer kept, or cannot be opened
}

// recentQuery has two halves, because the index of an integration's deliveries leaves out those that wait.
const recentQuery = `SELECT ` + deliveryColumns + `, content FROM (
		(SELECT * FROM deliveries WHERE org_id = $1 AND integration_id = $2 AND id < $3 AND state <> 'received' ORDER BY id DESC LIMIT $4)
		UNION ALL
		(SELECT * FROM deliveries WHERE org_id = $1 AND integration_id = $2 AND id < $3 AND state = 'received' ORDER BY id DESC LIMIT $4)
	) d ORDER BY id DESC LIMIT $4`

// RecentDeliveries opens up to limit deliveries of an integration that came before the one named ("" = the newest),
// newest first. It locks nothing. What one page holds is in memory at once, so 20 is a good limit.
func (tx *Tx) RecentDeliveries(ctx context.Context, integration domain.IntegrationID, before domain.DeliveryID, limit int) ([]RecentDelivery, error) {
	if before == "" {
		before = lastUUID
	}
	rows, err := tx.Query(ctx, recentQuery, tx.Org, integration, before, limit)
	out, err := collect(rows, err, func(row pgx.Row) (RecentDelivery, error) {
		var sealed []byte
		d, err := scanDeliveryWith(row, &sealed)
		if err != nil || len(sealed) == 0 {
			return RecentDelivery{RawDelivery: domain.RawDelivery{Delivery: d}, Erased: true}, err
		}
		raw, err := tx.OpenDelivery(d, sealed)
		if err != nil {
			return RecentDelivery{RawDelivery: domain.RawDelivery{Delivery: d}, Erased: true}, nil
		}
		return RecentDelivery{RawDelivery: raw}, nil
	})
	return out, fault("read recent deliveries", err)
}
