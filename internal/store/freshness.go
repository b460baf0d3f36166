package store

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/freshness"
)

// LagBounds are the upper bounds of the histogram of lags. Counts are stored by them, so a change of them needs a migration.
var LagBounds = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second, time.Minute,
	2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, time.Hour, 4 * time.Hour, 24 * time.Hour}

// AddLags adds measured lags to the rolling figures of an integration, in the transaction in which the changes took
// effect, in their order. late of them were over the target.
func (tx *Tx) AddLags(ctx context.Context, integration domain.IntegrationID, lags []time.Duration, late int) error {
	if len(lags) == 0 {
		return nil
	}
	buckets, sum := lagBuckets(lags)
	changes := len(lags)
	if changes > freshness.Window {
		lags = lags[changes-freshness.Window:]
	}
	_, err := tx.Exec(ctx, `INSERT INTO freshness AS f (org_id, integration_id, lags, changes, late, measured_at, buckets, sum_ms)
		VALUES ($1, $2, $3, $4, $5, $6, $8, $9) ON CONFLICT (org_id, integration_id) DO UPDATE SET
			lags = (f.lags || excluded.lags)[greatest(cardinality(f.lags) + cardinality(excluded.lags) - $7 + 1, 1):],
			changes = f.changes + excluded.changes, late = f.late + excluded.late, measured_at = excluded.measured_at,
			buckets = (SELECT array_agg(coalesce(had, 0) + coalesce(more, 0) ORDER BY n)
				FROM unnest(f.buckets, excluded.buckets) WITH ORDINALITY u(had, more, n)),
			sum_ms = f.sum_ms + excluded.sum_ms`,
		tx.Org, integration, column(lags, time.Duration.Milliseconds), changes, late, tx.Now, freshness.Window, arrayOf(buckets), sum)
	return fault("add lags", err)
}

func lagBuckets(lags []time.Duration) (buckets []int64, sumMS int64) {
	buckets = make([]int64, len(LagBounds)+1)
	for _, lag := range lags {
		at, _ := slices.BinarySearch(LagBounds, lag)
		buckets[at]++
		sumMS += lag.Milliseconds()
	}
	return buckets, sumMS
}

// AddPushLag adds how long a copy took, from the wish to the system's answer, in the transaction that notes the answer.
func (tx *Tx) AddPushLag(ctx context.Context, integration domain.IntegrationID, lag time.Duration) error {
	buckets, sum := lagBuckets([]time.Duration{lag})
	_, err := tx.Exec(ctx, `INSERT INTO push_lags AS f (org_id, integration_id, buckets, sum_ms) VALUES ($1, $2, $3, $4)
		ON CONFLICT (org_id, integration_id) DO UPDATE SET sum_ms = f.sum_ms + excluded.sum_ms,
			buckets = (SELECT array_agg(coalesce(had, 0) + coalesce(more, 0) ORDER BY n)
				FROM unnest(f.buckets, excluded.buckets) WITH ORDINALITY u(had, more, n))`,
		tx.Org, integration, arrayOf(buckets), sum)
	return fault("add lag of a copy", err)
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

// LagTotals is how many lags there were so far in each bucket: up to each of LagBounds and above its predecessor, and at
// the end those above all of them.
type LagTotals struct {
	Buckets []int64
	Sum     time.Duration
}

// LagTotals returns them for all tenants together, by provider.
func (s *Store) LagTotals(ctx context.Context) (map[string]LagTotals, error) {
	return s.lagTotals(ctx, "freshness")
}

// PushLagTotals is LagTotals for copies: from the wish to the system's answer.
func (s *Store) PushLagTotals(ctx context.Context) (map[string]LagTotals, error) {
	return s.lagTotals(ctx, "push_lags")
}

func (s *Store) lagTotals(ctx context.Context, table string) (map[string]LagTotals, error) {
	rows, err := s.system.Query(ctx, "SELECT i.provider, f.buckets, f.sum_ms FROM "+table+" f JOIN integrations i ON i.org_id = f.org_id AND i.id = f.integration_id")
	if err != nil {
		return nil, fault("read totals of lags", err)
	}
	out := map[string]LagTotals{}
	var name string
	var buckets []int64
	var ms int64
	_, err = pgx.ForEachRow(rows, []any{&name, &buckets, &ms}, func() error {
		t := out[name]
		if t.Buckets == nil {
			t.Buckets = make([]int64, len(LagBounds)+1)
		}
		for n := range min(len(buckets), len(t.Buckets)) {
			t.Buckets[n] += buckets[n]
		}
		t.Sum += time.Duration(ms) * time.Millisecond
		out[name] = t
		return nil
	})
	return out, fault("read totals of lags", err)
}
