package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/freshness"
)

// AddLags adds measured lags to the rolling figures of an integration, in the transaction in which the changes took
// effect, in their order. late of them were over the target.
func (tx *Tx) AddLags(ctx context.Context, integration domain.IntegrationID, lags []time.Duration, late int) error {
	if len(lags) == 0 {
		return nil
	}
	changes := len(lags)
	if changes > freshness.Window {
		lags = lags[changes-freshness.Window:]
	}
	_, err := tx.Exec(ctx, `INSERT INTO freshness AS f (org_id, integration_id, lags, changes, late, measured_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (org_id, integration_id) DO UPDATE SET
			lags = (f.lags || excluded.lags)[greatest(cardinality(f.lags) + cardinality(excluded.lags) - $7 + 1, 1):],
			changes = f.changes + excluded.changes, late = f.late + excluded.late, measured_at = excluded.measured_at`,
		tx.Org, integration, column(lags, time.Duration.Milliseconds), changes, late, tx.Now, freshness.Window)
	return fault("add lags", err)
}

// Freshness reads what was measured of integrations, with their watches that are not over. One of which nothing is known
// is missing.
func (tx *Tx) Freshness(ctx context.Context, integrations ...domain.IntegrationID) (map[domain.IntegrationID]freshness.Measured, error) {
	out := map[domain.IntegrationID]freshness.Measured{}
	ids := arrayOf(integrations)
	rows, err := tx.Query(ctx, "SELECT integration_id, lags, changes, late, measured_at FROM freshness WHERE org_id = $1 AND integration_id = ANY ($2)", tx.Org, ids)
	if err != nil {
		return nil, fault("read freshness", err)
	}
	var id domain.IntegrationID
	var lags []int64
	var one freshness.Measured
	var at time.Time
	if _, err := pgx.ForEachRow(rows, []any{&id, &lags, &one.Changes, &one.Late, &at}, func() error {
		m := freshness.Measured{Changes: one.Changes, Late: one.Late}
		m.MeasuredAt = utc(&at)
		for _, ms := range lags {
			m.Lags = append(m.Lags, time.Duration(ms)*time.Millisecond)
		}
		out[id] = m
		return nil
	}); err != nil {
		return nil, fault("read freshness", err)
	}
	rows, err = tx.Query(ctx, "SELECT "+watchColumns+`, w.pull_wanted_at FROM watches w
		WHERE org_id = $1 AND integration_id = ANY ($2) AND (state <> 'retired' OR pull_wanted_at IS NOT NULL) ORDER BY id`, tx.Org, ids)
	_, err = collect(rows, err, func(row pgx.Row) (w domain.Watch, err error) {
		var wanted *time.Time
		if w, err = scanWatch(row, &wanted); err != nil {
			return w, err
		}
		m := out[w.IntegrationID]
		if wanted != nil && (m.Wanted == nil || wanted.Before(*m.Wanted)) {
			m.Wanted = utc(wanted)
		}
		if w.State != domain.WatchRetired {
			m.Watches = append(m.Watches, w)
		}
		out[w.IntegrationID] = m
		return w, nil
	})
	return out, fault("read freshness of watches", err)
}
