package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// MaxRefusals is how many refused webhooks are kept per integration; older ones make room.
const MaxRefusals = 100

// RefusedWebhook is a sample of webhooks that were turned away. It holds no body, no header, and no full address.
type RefusedWebhook struct {
	ID            string               `json:"id"`
	OrgID         domain.OrgID         `json:"-"`
	IntegrationID domain.IntegrationID `json:"integration_id"`
	At            time.Time            `json:"at"`
	Network       string               `json:"network"` // of the sender: /24 for IPv4, /64 for IPv6; "" when unknown
	Scheme        string               `json:"scheme"`  // of the integration's verification
	Code          string               `json:"code"`    // problem code, or the code of what is wrong with the signature
	Reason        string               `json:"reason"`  // in words, without what the request held
	Others        int64                `json:"others"`  // refused since the sample before and not in the log
}

// RecordRefusals stores a batch, gives each an id, and removes what an integration has beyond its newest [MaxRefusals].
func (s *Store) RecordRefusals(ctx context.Context, batch []RefusedWebhook) error {
	if len(batch) == 0 {
		return nil
	}
	b := &pgx.Batch{}
	b.Queue(`INSERT INTO refused_webhooks (id, org_id, integration_id, at, network, scheme, code, reason, others)
		SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[])`,
		column(batch, func(r RefusedWebhook) rowID { return domain.NewID[rowID](r.At) }),
		column(batch, func(r RefusedWebhook) domain.OrgID { return r.OrgID }),
		column(batch, func(r RefusedWebhook) domain.IntegrationID { return r.IntegrationID }),
		column(batch, func(r RefusedWebhook) time.Time { return r.At }),
		column(batch, func(r RefusedWebhook) string { return clip(r.Network, 50) }),
		column(batch, func(r RefusedWebhook) string { return clip(r.Scheme, 100) }),
		column(batch, func(r RefusedWebhook) string { return clip(r.Code, 100) }),
		column(batch, func(r RefusedWebhook) string { return clip(r.Reason, 500) }),
		column(batch, func(r RefusedWebhook) int64 { return r.Others }))
	b.Queue(`DELETE FROM refused_webhooks r USING (SELECT DISTINCT v.id AS integration_id, (SELECT x.id FROM refused_webhooks x
			WHERE x.integration_id = v.id ORDER BY x.integration_id, x.id DESC OFFSET $2 LIMIT 1) AS last FROM unnest($1::uuid[]) v(id)) old
		WHERE r.integration_id = old.integration_id AND r.id <= old.last`,
		column(batch, func(r RefusedWebhook) domain.IntegrationID { return r.IntegrationID }), MaxRefusals)
	return fault("record refused webhooks", s.system.SendBatch(ctx, b).Close())
}

// Refusals lists an integration's refused webhooks that were kept, newest first.
func (tx *Tx) Refusals(ctx context.Context, integration domain.IntegrationID, p Page) ([]RefusedWebhook, string, error) {
	q := newQuery("SELECT id, org_id, integration_id, at, network, scheme, code, reason, others FROM refused_webhooks")
	q.where("org_id = %s AND integration_id = %s", tx.Org, integration)
	return newestFirst(ctx, tx, "refused webhooks", q, p, func(row pgx.Row) (r RefusedWebhook, err error) {
		err = row.Scan(&r.ID, &r.OrgID, &r.IntegrationID, &r.At, &r.Network, &r.Scheme, &r.Code, &r.Reason, &r.Others)
		r.At = r.At.UTC()
		return r, err
	}, func(r RefusedWebhook) string { return r.ID })
}

// PurgeRefusals removes up to limit refused webhooks that happened before a time, and returns how many.
func (s *Store) PurgeRefusals(ctx context.Context, before time.Time, limit int) (int, error) {
	tag, err := s.system.Exec(ctx, `DELETE FROM refused_webhooks r USING
		(SELECT org_id, id FROM refused_webhooks WHERE at < $1 ORDER BY at LIMIT $2) old WHERE r.org_id = old.org_id AND r.id = old.id`, before, limit)
	return int(tag.RowsAffected()), fault("purge refused webhooks", err)
}
