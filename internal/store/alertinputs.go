package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/alert"
	"github.com/wedsync/wedsync/internal/rules/score"
	"github.com/wedsync/wedsync/internal/rules/sla"
)

// This file is what decisions about alerts, reports and scores are read from.

// NewSeriesFrom is how far back the results of probes are taken of a connection that the rules remember nothing of.
const NewSeriesFrom = 2 * time.Hour

// ObserveProbes takes the results of probes that were stored since the last time into what the rules remember of each connection,
// and returns that, also of those that nothing new is known of. slow is how long an answer of a connection may take. What a row
// holds is taken once, since the place up to which rows were taken is stored with what they came to. Take [Tx.LockAlerts] before.
func (tx *Tx) ObserveProbes(ctx context.Context, ids []domain.IntegrationID, slow func(domain.IntegrationID) time.Duration) (map[domain.IntegrationID]*alert.Series, error) {
	out := make(map[domain.IntegrationID]*alert.Series, len(ids))
	rows, err := tx.Query(ctx, "SELECT integration_id, series FROM alert_series WHERE org_id = $1 AND integration_id = ANY ($2)", tx.Org, arrayOf(ids))
	if err != nil {
		return nil, fault("read series of alerts", err)
	}
	var id domain.IntegrationID
	var raw []byte
	if _, err := pgx.ForEachRow(rows, []any{&id, &raw}, func() error {
		s := &alert.Series{}
		// One of an older form is learned anew.
		if s.UnmarshalBinary(raw) == nil {
			out[id] = s
		}
		return nil
	}); err != nil {
		return nil, fault("read series of alerts", err)
	}
	since := make([]time.Time, len(ids))
	for i, id := range ids {
		since[i] = tx.Now.Add(-NewSeriesFrom)
		if s := out[id]; s != nil && s.Through.After(since[i]) {
			since[i] = s.Through
		}
	}
	rows, err = tx.Query(ctx, `SELECT p.integration_id, p.covers_from, p.at_ms, p.took_ms, p.outcome
		FROM unnest($2::uuid[], $3::timestamptz[]) w(id, since)
		JOIN LATERAL (SELECT * FROM probe_results r WHERE r.org_id = $1 AND r.integration_id = w.id AND r.covers_from > w.since ORDER BY r.covers_from) p ON true`,
		tx.Org, arrayOf(ids), arrayOf(since))
	if err != nil {
		return nil, fault("read results of probes", err)
	}
	changed := map[domain.IntegrationID]bool{}
	var from time.Time
	var at, took []int32
	var outcome []int16
	if _, err := pgx.ForEachRow(rows, []any{&id, &from, &at, &took, &outcome}, func() error {
		s := out[id]
		if s == nil {
			s = &alert.Series{}
			out[id] = s
		}
		for n := range at {
			if o := domain.ProbeOutcome(outcome[n]); o.Counts() {
				s.Observe(alert.Sample{At: from.Add(time.Duration(at[n]) * time.Millisecond), OK: o == domain.ProbeOK, Took: time.Duration(took[n]) * time.Millisecond}, slow(id))
			}
		}
		if from.After(s.Through) {
			s.Through = from.UTC()
		}
		changed[id] = true
		return nil
	}); err != nil {
		return nil, fault("read results of probes", err)
	}
	if len(changed) == 0 {
		return out, nil
	}
	names, series := make([]domain.IntegrationID, 0, len(changed)), make([][]byte, 0, len(changed))
	for _, id := range ids {
		if changed[id] {
			raw, err := out[id].MarshalBinary()
			if err != nil {
				return nil, fault("write series of alerts", err)
			}
			names, series = append(names, id), append(series, raw)
		}
	}
	_, err = tx.Exec(ctx, `INSERT INTO alert_series (org_id, integration_id, series) SELECT $1, id, series FROM unnest($2::uuid[], $3::bytea[]) v(id, series)
		ON CONFLICT (org_id, integration_id) DO UPDATE SET series = excluded.series`, tx.Org, arrayOf(names), arrayOf(series))
	return out, fault("write series of alerts", err)
}

// NextWeddings returns by resource when the next wedding begins that is not cancelled, or one that goes on began, within a time
// ahead. A resource without one is missing.
func (tx *Tx) NextWeddings(ctx context.Context, ahead time.Duration) (map[domain.ResourceID]time.Time, error) {
	rows, err := tx.Query(ctx, `SELECT resource_id, min(starts_at) FROM bookings
		WHERE org_id = $1 AND starts_at >= $2 AND starts_at < $3 AND ends_at > $4 AND category = 'wedding' AND status <> 'cancelled' GROUP BY resource_id`,
		tx.Org, tx.Now.Add(-domain.MaxSpan), tx.Now.Add(ahead), tx.Now)
	if err != nil {
		return nil, fault("read next weddings", err)
	}
	out := map[domain.ResourceID]time.Time{}
	var id domain.ResourceID
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &at}, func() error {
		out[id] = at.UTC()
		return nil
	})
	return out, fault("read next weddings", err)
}

// ResourcesOfIntegrations returns the resource of each connection of the tenant that is not deleted.
func (tx *Tx) ResourcesOfIntegrations(ctx context.Context) (map[domain.IntegrationID]domain.ResourceID, error) {
	rows, err := tx.Query(ctx, "SELECT id, resource_id FROM integrations WHERE org_id = $1 AND state <> 'deleted'", tx.Org)
	out, err := collectMap[domain.IntegrationID, domain.ResourceID](rows, err)
	return out, fault("read resources of integrations", err)
}

// secondsOf is the SQL for the seconds that an hour was in some states.
func secondsOf(states ...domain.HealthState) string {
	var terms []string
	for _, want := range states {
		for n, s := range healthOrder {
			if s == want {
				terms = append(terms, fmt.Sprintf("coalesce(seconds[%d], 0)", n+1))
			}
		}
	}
	return "(" + strings.Join(terms, " + ") + ")"
}

// Downtime of an hour is what was seen by the state, or the share of probes that failed, whichever is more: the state turns only
// after several failures, and a single failure never turns it.
func rollupSums() string {
	known := secondsOf(domain.HealthUp, domain.HealthDegraded, domain.HealthFailingOver, domain.HealthPolling, domain.HealthDown, domain.HealthNeedsReconnect)
	sums := []string{"sum(ok + failed)::bigint", "sum(failed)::bigint",
		"sum(greatest(" + secondsOf(domain.HealthDown, domain.HealthNeedsReconnect) + ", CASE WHEN ok + failed > 0 THEN " + known + " * failed / (ok + failed) ELSE 0 END))::bigint",
		"sum" + secondsOf(domain.HealthMaintenance, domain.HealthPaused) + "::bigint", "sum" + known + "::bigint"}
	var took []string
	for n := range len(domain.ProbeBounds) + 1 {
		took = append(took, fmt.Sprintf("sum(coalesce(took[%d], 0))::bigint", n+1))
	}
	return strings.Join(sums, ", ") + ", ARRAY[" + strings.Join(took, ", ") + "]"
}

// MeasuredConnections returns every connection of the tenant that existed between two times, with what was measured of it in
// each part of a period: an hour counts for the part in which it begins. Targets are left for the caller.
func (tx *Tx) MeasuredConnections(ctx context.Context, p sla.Period) ([]sla.Source, error) {
	rows, err := tx.Query(ctx, `SELECT id, name, provider, created_at, CASE WHEN state = 'deleted' THEN updated_at END FROM integrations
		WHERE org_id = $1 AND created_at < $2 AND (state <> 'deleted' OR updated_at > $3) ORDER BY id`, tx.Org, p.End, p.Start)
	all, err := collect(rows, err, func(row pgx.Row) (s sla.Source, err error) {
		var until *time.Time
		err = row.Scan(&s.ID, &s.Name, &s.Platform, &s.Since, &until)
		s.Since = s.Since.UTC()
		if until != nil {
			s.Until = until.UTC()
		}
		return s, err
	})
	if err != nil {
		return nil, fault("read connections of a period", err)
	}
	at := make(map[domain.IntegrationID]int, len(all))
	for i := range all {
		at[all[i].ID] = i
		all[i].Parts = make([]sla.Tally, len(p.Parts))
	}
	starts := make([]time.Time, len(p.Parts))
	for i, part := range p.Parts {
		starts[i] = part.Start
	}
	rows, err = tx.Query(ctx, "SELECT integration_id, width_bucket(hour, $4::timestamptz[]), "+rollupSums()+` FROM health_rollups
		WHERE org_id = $1 AND hour >= $2 AND hour < $3 GROUP BY 1, 2`, tx.Org, p.Start, p.End, arrayOf(starts))
	if err != nil {
		return nil, fault("sum up hours of health", err)
	}
	var id domain.IntegrationID
	var part int
	var probes, failed, down, maintenance, known int64
	var took []int64
	_, err = pgx.ForEachRow(rows, []any{&id, &part, &probes, &failed, &down, &maintenance, &known, &took}, func() error {
		i, ok := at[id]
		if !ok || part < 1 || part > len(p.Parts) {
			return nil
		}
		all[i].Parts[part-1] = sla.Tally{Probes: probes, Failed: failed, Down: time.Duration(down) * time.Second, Maintenance: time.Duration(maintenance) * time.Second,
			Known: time.Duration(known+maintenance) * time.Second, Latency: append(domain.Histogram(nil), took...)}
		return nil
	})
	return all, fault("sum up hours of health", err)
}

// Measured is what a score is reckoned from.
type Measured struct {
	Days      []score.Day
	Incidents []score.Incident
}

// MeasuredForScores returns what was measured of the tenant's connections in the last 30 days. ids may be empty for all. slow is
// how long an answer of a connection may take.
func (tx *Tx) MeasuredForScores(ctx context.Context, ids []domain.IntegrationID, slow func(domain.IntegrationID) time.Duration) (map[domain.IntegrationID]Measured, error) {
	from := tx.Now.Add(-score.Kept)
	out := map[domain.IntegrationID]Measured{}
	only, args := "", []any{tx.Org, from}
	if len(ids) > 0 {
		only, args = " AND integration_id = ANY ($3)", append(args, arrayOf(ids))
	}
	rows, err := tx.Query(ctx, "SELECT integration_id, date_bin('1 day', hour, 'epoch'::timestamptz), "+rollupSums()+" FROM health_rollups WHERE org_id = $1 AND hour >= $2"+only+" GROUP BY 1, 2", args...)
	if err != nil {
		return nil, fault("sum up days of health", err)
	}
	var id domain.IntegrationID
	var day time.Time
	var probes, failed, down, maintenance, known int64
	var took []int64
	if _, err := pgx.ForEachRow(rows, []any{&id, &day, &probes, &failed, &down, &maintenance, &known, &took}, func() error {
		d := score.Day{At: day.UTC().Add(12 * time.Hour), Probes: probes, Failed: failed, Known: time.Duration(known) * time.Second}
		if d.At.After(tx.Now) {
			d.At = tx.Now
		}
		limit := slow(id)
		for n, c := range took {
			// A bucket that the limit lies inside of counts as slow.
			if n >= len(domain.ProbeBounds) || domain.ProbeBounds[n] > limit {
				d.Slow += c
			}
		}
		m := out[id]
		m.Days = append(m.Days, d)
		out[id] = m
		return nil
	}); err != nil {
		return nil, fault("sum up days of health", err)
	}
	// A move away from down says how long it lasted; one that goes on is told by the state.
	rows, err = tx.Query(ctx, `SELECT integration_id, at - lasted_ms * interval '1 millisecond', lasted_ms FROM health_changes
		WHERE org_id = $1 AND at >= $2 AND was IN ('down', 'needs_reconnect')`+only+`
		UNION ALL SELECT integration_id, since, NULL FROM integration_health
		WHERE org_id = $1 AND state IN ('down', 'needs_reconnect')`+only, args...)
	if err != nil {
		return nil, fault("read incidents", err)
	}
	var start time.Time
	var ms *int64
	_, err = pgx.ForEachRow(rows, []any{&id, &start, &ms}, func() error {
		m, lasted := out[id], tx.Now.Sub(start)
		if ms != nil {
			lasted = time.Duration(*ms) * time.Millisecond
		}
		m.Incidents = append(m.Incidents, score.Incident{Start: start.UTC(), Lasted: lasted})
		out[id] = m
		return nil
	})
	return out, fault("read incidents", err)
}
