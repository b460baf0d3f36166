package store

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/health"
)

// This file is what the prober reads and writes, of all tenants at once.

// ProbesKept is how long results are kept as they were; hours are kept for ever.
const ProbesKept = 48 * time.Hour

// healthOrder is the order of states in the column seconds of health_rollups. It is stored, so it only grows at its end.
var healthOrder = []domain.HealthState{domain.HealthUp, domain.HealthDegraded, domain.HealthFailingOver, domain.HealthPolling, domain.HealthDown,
	domain.HealthUnknown, domain.HealthNeedsReconnect, domain.HealthPaused, domain.HealthMaintenance}

// ProbeTarget is a connection as the prober needs it.
type ProbeTarget struct {
	domain.Health                           // State and Reason as stored, without a newer wish
	Wish            domain.IntegrationState // never deleted
	WishReason      string
	Version         int64
	Zone            string // of its resource
	Imports         bool
	PollEvery       time.Duration
	CreatedAt       time.Time
	LastSyncAt      *time.Time
	LastDeliveryAt  *time.Time
	MaintenanceText string
	Rhythm          health.Rhythm
	// Mode is how news of it come, with the reason; "" and usual are the same.
	Mode       domain.FailoverMode
	ModeReason string
	QuickPolls time.Duration // between those that stand in
}

// ProbeTargets returns the connections of a shard (0 to domain.ProbeShards-1), deleted ones left out, in the order of ids.
func (s *Store) ProbeTargets(ctx context.Context, shard int) ([]ProbeTarget, error) {
	return s.probeTargets(ctx, "i.probe_shard = $1", shard)
}

// ProbeTarget returns one connection of a tenant; KindNotFound when it has no such, or it is deleted.
func (s *Store) ProbeTarget(ctx context.Context, org domain.OrgID, id domain.IntegrationID) (ProbeTarget, error) {
	list, err := s.probeTargets(ctx, "i.org_id = $1 AND i.id = $2", org, id)
	if err == nil && len(list) == 0 {
		err = notFound("integration")
	}
	if err != nil {
		return ProbeTarget{}, err
	}
	return list[0], nil
}

func (s *Store) probeTargets(ctx context.Context, where string, args ...any) ([]ProbeTarget, error) {
	rows, err := s.system.Query(ctx, `SELECT i.id, i.org_id, i.provider, coalesce(h.state, 'unknown'), coalesce(h.reason_code, 'new'), coalesce(h.reason_text, ''),
			coalesce(h.since, i.created_at), coalesce(h.probe_every_ms, 0), coalesce(h.boost_every_ms, 0), h.boost_until, h.maintenance_until, coalesce(h.maintenance_text, ''),
			i.state, i.state_reason, i.version, r.zone, i.direction, i.poll_seconds, i.created_at, i.last_sync_at, i.last_delivery_at,
			coalesce(h.rhythm_longest_ms, 0), coalesce(h.rhythm_gaps, 0), h.rhythm_since, h.rhythm_last,
			coalesce(f.mode, 'usual'), coalesce(f.reason, ''), coalesce(f.poll_every_ms, 0)
		FROM integrations i JOIN resources r ON r.org_id = i.org_id AND r.id = i.resource_id
		LEFT JOIN integration_health h ON h.org_id = i.org_id AND h.integration_id = i.id
		LEFT JOIN failovers f ON f.org_id = i.org_id AND f.integration_id = i.id
		WHERE `+where+` AND i.state <> 'deleted' ORDER BY i.id`, args...)
	out, err := collect(rows, err, func(row pgx.Row) (t ProbeTarget, err error) {
		var every, boost, poll, longest, quick int64
		var since, last *time.Time
		var direction domain.Direction
		err = row.Scan(&t.IntegrationID, &t.OrgID, &t.Provider, &t.State, &t.Reason.Code, &t.Reason.Text, &t.Since, &every, &boost, &t.BoostUntil,
			&t.MaintenanceUntil, &t.MaintenanceText, &t.Wish, &t.WishReason, &t.Version, &t.Zone, &direction, &poll, &t.CreatedAt, &t.LastSyncAt, &t.LastDeliveryAt,
			&longest, &t.Rhythm.Gaps, &since, &last, &t.Mode, &t.ModeReason, &quick)
		t.QuickPolls = millis(quick)
		t.Since, t.CreatedAt, t.BoostUntil, t.MaintenanceUntil = t.Since.UTC(), t.CreatedAt.UTC(), utc(t.BoostUntil), utc(t.MaintenanceUntil)
		t.LastSyncAt, t.LastDeliveryAt = utc(t.LastSyncAt), utc(t.LastDeliveryAt)
		t.ProbeEvery, t.BoostEvery, t.PollEvery, t.Imports = millis(every), millis(boost), time.Duration(poll)*time.Second, direction.Imports()
		if since != nil && last != nil {
			t.Rhythm.Longest, t.Rhythm.Since, t.Rhythm.Last = millis(longest), since.UTC(), last.UTC()
		}
		return t, err
	})
	return out, fault("read what is to be probed", err)
}

// ProbeConnection returns an integration with its secrets and the zone of its resource, for opening it. Secrets must not
// reach logs or errors. KindNotFound for an unknown and a deleted one.
func (s *Store) ProbeConnection(ctx context.Context, id domain.IntegrationID) (i domain.Integration, zone string, secrets map[string]string, err error) {
	var sealed []byte
	i, err = scanIntegration(s.system.QueryRow(ctx, "SELECT "+integrationColumns+`, i.secrets, r.zone FROM integrations i
		JOIN resources r ON r.org_id = i.org_id AND r.id = i.resource_id WHERE i.id = $1 AND i.state <> 'deleted'`, id), &sealed, &zone)
	if err != nil {
		return i, "", nil, missing("integration", "read integration to probe it", err)
	}
	secrets, err = s.openSecrets(i.OrgID, id, sealed)
	return i, zone, secrets, err
}

// ProbeLook is what storage knows of a connection beside its own row.
type ProbeLook struct {
	Watches        []domain.Watch   // that are not over: state and times
	Outcomes       []health.Outcome // of readings and writings, the newest first, at most 20
	TokenExpiresAt *time.Time
	Writes         int64 // copies written so far
}

// ProbeLooks returns it for the connections of a shard; one of which nothing is known is missing. Only a few rows of each are
// read, by their indexes, so that it can be asked every minute.
func (s *Store) ProbeLooks(ctx context.Context, shard int) (map[domain.IntegrationID]ProbeLook, error) {
	out := map[domain.IntegrationID]ProbeLook{}
	var id domain.IntegrationID
	var watch domain.Watch
	var ended, token time.Time
	var state string
	var writes int64
	b := &pgx.Batch{}
	each := func(sql string, targets []any, fn func(l *ProbeLook)) {
		b.Queue(sql, shard).Query(func(rows pgx.Rows) error {
			_, err := pgx.ForEachRow(rows, append([]any{&id}, targets...), func() error {
				l := out[id]
				fn(&l)
				out[id] = l
				return nil
			})
			return err
		})
	}
	each(`SELECT i.id, w.state, w.expires_at, w.made_at FROM integrations i JOIN watches w ON w.org_id = i.org_id AND w.integration_id = i.id
		WHERE i.probe_shard = $1 AND i.state <> 'deleted' AND w.state <> 'retired'`, []any{&watch.State, &watch.ExpiresAt, &watch.MadeAt}, func(l *ProbeLook) {
		l.Watches = append(l.Watches, domain.Watch{State: watch.State, ExpiresAt: utc(watch.ExpiresAt), MadeAt: watch.MadeAt.UTC()})
	})
	outcome := func(l *ProbeLook) {
		l.Outcomes = append(l.Outcomes, health.Outcome{OK: state == string(domain.SyncDone), At: ended.UTC()})
	}
	each(`SELECT i.id, s.state, s.ended_at FROM integrations i CROSS JOIN LATERAL (SELECT state, ended_at FROM sync_runs
			WHERE org_id = i.org_id AND integration_id = i.id AND ended_at IS NOT NULL AND state IN ('done', 'failed') ORDER BY id DESC LIMIT 15) s
		WHERE i.probe_shard = $1 AND i.state <> 'deleted'`, []any{&state, &ended}, outcome)
	// Of writings only those that failed and wait for another try can be found by an index; what was written is counted.
	each(`SELECT i.id, 'failed', p.updated_at FROM integrations i CROSS JOIN LATERAL (SELECT updated_at FROM pushes
			WHERE integration_id = i.id AND state = 'retrying' ORDER BY id DESC LIMIT 5) p
		WHERE i.probe_shard = $1 AND i.state <> 'deleted'`, []any{&state, &ended}, outcome)
	each(`SELECT i.id, g.expires_at FROM integrations i JOIN oauth_grants g ON g.org_id = i.org_id AND g.integration_id = i.id
		WHERE i.probe_shard = $1 AND i.state <> 'deleted' AND g.state = 'active'`, []any{&token}, func(l *ProbeLook) {
		at := token.UTC()
		l.TokenExpiresAt = &at
	})
	each(`SELECT i.id, (SELECT coalesce(sum(n), 0) FROM unnest(f.buckets) n)::bigint FROM integrations i JOIN push_lags f ON f.org_id = i.org_id AND f.integration_id = i.id
		WHERE i.probe_shard = $1 AND i.state <> 'deleted'`, []any{&writes}, func(l *ProbeLook) { l.Writes = writes })
	if err := s.system.SendBatch(ctx, b).Close(); err != nil {
		return nil, fault("look at connections", err)
	}
	for id, l := range out {
		slices.SortStableFunc(l.Outcomes, func(a, b health.Outcome) int { return b.At.Compare(a.At) })
		out[id] = l
	}
	return out, nil
}

// ProbeBatch is what was measured of one connection within one hour.
type ProbeBatch struct {
	Org         domain.OrgID
	Integration domain.IntegrationID
	Provider    string
	// From is where the batch begins. It names the batch: the same one again is not counted again.
	From                     time.Time
	Results                  []domain.ProbeResult // due in the hour of From, not before it
	TrafficOK, TrafficFailed int64
	Seconds                  map[domain.HealthState]int64 // spent in states
	Last                     *domain.ProbeResult          // the newest so far; nil = leave what is stored
	Signals                  []domain.HealthSignal
	Rhythm                   health.Rhythm
}

// added is an SQL expression for the sum of two arrays, element by element.
func added(table, column string) string {
	return "(SELECT array_agg(coalesce(had, 0) + coalesce(more, 0) ORDER BY n) FROM unnest(" + table + "." + column + ", excluded." + column +
		") WITH ORDINALITY u(had, more, n))"
}

var saveProbes = `WITH given AS (
	SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::int[], $6::int[], $7::int[], $8::text[], $9::text[], $10::text[],
		$11::text[], $12::text[], $13::text[], $14::text[], $15::bigint[], $16::bigint[], $17::text[], $18::text[], $19::bigint[], $20::bigint[], $21::bigint[], $22::text[],
		$23::text[], $24::text[], $25::bigint[], $26::bigint[], $27::timestamptz[], $28::timestamptz[])
	AS v(org_id, integration_id, provider, covers_from, ok, failed, unknown, at_ms, took_ms, lag_ms, tries, outcome, cause, took, took_sum_ms, took_max_ms,
		outcomes, lag, lag_sum_ms, traffic_ok, traffic_failed, seconds, last_probe, signals, rhythm_longest_ms, rhythm_gaps, rhythm_since, rhythm_last)
), kept AS (
	INSERT INTO probe_results (org_id, integration_id, covers_from, ok, failed, unknown, at_ms, took_ms, lag_ms, tries, outcome, cause)
	SELECT org_id, integration_id, covers_from, ok, failed, unknown, at_ms::int[], took_ms::int[], lag_ms::int[], tries::smallint[], outcome::smallint[], cause::text[]
	FROM given ON CONFLICT DO NOTHING RETURNING org_id, integration_id
), fresh AS (
	SELECT g.* FROM given g JOIN kept k USING (org_id, integration_id) ORDER BY g.org_id, g.integration_id
), totals AS (
	INSERT INTO probe_totals AS t (org_id, integration_id, provider, outcomes, took, took_sum_ms, lag, lag_sum_ms)
	SELECT org_id, integration_id, provider, outcomes::bigint[], took::bigint[], took_sum_ms, lag::bigint[], lag_sum_ms FROM fresh
	ON CONFLICT (org_id, integration_id) DO UPDATE SET outcomes = ` + added("t", "outcomes") + `, took = ` + added("t", "took") + `,
		took_sum_ms = t.took_sum_ms + excluded.took_sum_ms, lag = ` + added("t", "lag") + `, lag_sum_ms = t.lag_sum_ms + excluded.lag_sum_ms
), watched AS (
	INSERT INTO integration_health AS h (org_id, integration_id, since, last_probe, signals, rhythm_longest_ms, rhythm_gaps, rhythm_since, rhythm_last)
	SELECT org_id, integration_id, covers_from, last_probe::jsonb, signals::jsonb, rhythm_longest_ms, rhythm_gaps, rhythm_since, rhythm_last FROM fresh
	ON CONFLICT (org_id, integration_id) DO UPDATE SET last_probe = coalesce(excluded.last_probe, h.last_probe), signals = excluded.signals,
		rhythm_longest_ms = excluded.rhythm_longest_ms, rhythm_gaps = excluded.rhythm_gaps, rhythm_since = excluded.rhythm_since, rhythm_last = excluded.rhythm_last
)
INSERT INTO health_rollups AS r (org_id, integration_id, hour, provider, ok, failed, unknown, took, took_sum_ms, took_max_ms, traffic_ok, traffic_failed, seconds)
SELECT org_id, integration_id, $29, provider, ok, failed, unknown, took::bigint[], took_sum_ms, took_max_ms, traffic_ok, traffic_failed, seconds::bigint[] FROM fresh
ON CONFLICT (org_id, integration_id, hour) DO UPDATE SET ok = r.ok + excluded.ok, failed = r.failed + excluded.failed, unknown = r.unknown + excluded.unknown,
	took = ` + added("r", "took") + `, took_sum_ms = r.took_sum_ms + excluded.took_sum_ms, took_max_ms = greatest(r.took_max_ms, excluded.took_max_ms),
	traffic_ok = r.traffic_ok + excluded.traffic_ok, traffic_failed = r.traffic_failed + excluded.traffic_failed, seconds = ` + added("r", "seconds")

// probeRow is a batch in the form in which it is stored.
type probeRow struct {
	ProbeBatch
	ok, failed, unknown                       int32
	at, tookMS, lagMS, tries, outcome, causes string
	took, outcomes, lag, seconds              string
	tookSum, tookMax, lagSum                  int64
	last, signals                             *string
}

// SaveProbes stores what was measured, all of one hour: results, the hour's sums, totals for metrics, and what else is known.
// It is one statement, so everything of it is stored or nothing, and a batch that is stored already is left out, so it may be
// repeated after a lost answer. A connection occurs once. KindInvalid for batches of different hours.
func (s *Store) SaveProbes(ctx context.Context, batches []ProbeBatch) error {
	if len(batches) == 0 {
		return nil
	}
	hour := batches[0].From.UTC().Truncate(time.Hour)
	rows := make([]probeRow, 0, len(batches))
	for _, b := range batches {
		if !b.From.UTC().Truncate(time.Hour).Equal(hour) {
			return domain.Invalid("from", "all batches must be of one hour")
		}
		row, err := asProbeRow(b)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	// Whoever writes several rows does so in the same order, so that nobody waits in a circle.
	slices.SortFunc(rows, func(a, b probeRow) int {
		return cmp.Or(cmp.Compare(a.Org, b.Org), cmp.Compare(a.Integration, b.Integration))
	})
	_, err := s.system.Exec(ctx, saveProbes,
		column(rows, func(r probeRow) domain.OrgID { return r.Org }), column(rows, func(r probeRow) domain.IntegrationID { return r.Integration }),
		column(rows, func(r probeRow) string { return r.Provider }), column(rows, func(r probeRow) time.Time { return r.From.UTC().Truncate(time.Microsecond) }),
		column(rows, func(r probeRow) int32 { return r.ok }), column(rows, func(r probeRow) int32 { return r.failed }), column(rows, func(r probeRow) int32 { return r.unknown }),
		column(rows, func(r probeRow) string { return r.at }), column(rows, func(r probeRow) string { return r.tookMS }), column(rows, func(r probeRow) string { return r.lagMS }),
		column(rows, func(r probeRow) string { return r.tries }), column(rows, func(r probeRow) string { return r.outcome }), column(rows, func(r probeRow) string { return r.causes }),
		column(rows, func(r probeRow) string { return r.took }), column(rows, func(r probeRow) int64 { return r.tookSum }), column(rows, func(r probeRow) int64 { return r.tookMax }),
		column(rows, func(r probeRow) string { return r.outcomes }), column(rows, func(r probeRow) string { return r.lag }), column(rows, func(r probeRow) int64 { return r.lagSum }),
		column(rows, func(r probeRow) int64 { return r.TrafficOK }), column(rows, func(r probeRow) int64 { return r.TrafficFailed }),
		column(rows, func(r probeRow) string { return r.seconds }), column(rows, func(r probeRow) *string { return r.last }), column(rows, func(r probeRow) *string { return r.signals }),
		column(rows, func(r probeRow) int64 { return r.Rhythm.Longest.Milliseconds() }), column(rows, func(r probeRow) int64 { return r.Rhythm.Gaps }),
		column(rows, func(r probeRow) *time.Time { return orNil(r.Rhythm.Since) }), column(rows, func(r probeRow) *time.Time { return orNil(r.Rhythm.Last) }), hour)
	return fault("save probes", err)
}

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func asProbeRow(b ProbeBatch) (r probeRow, err error) {
	r.ProbeBatch = b
	took, lag := make(domain.Histogram, len(domain.ProbeBounds)+1), make(domain.Histogram, len(domain.ProbeLagBounds)+1)
	outcomes := make([]int64, domain.ProbeBlind)
	var at, tookMS, lagMS, tries, outcome []int64
	var causes []string
	for _, p := range b.Results {
		if p.Outcome < domain.ProbeOK || p.Outcome > domain.ProbeBlind {
			return r, domain.Invalid("outcome", "is none")
		}
		switch p.Outcome {
		case domain.ProbeOK:
			r.ok++
			took = took.Add(domain.ProbeBounds, p.Took)
			r.tookSum += p.Took.Milliseconds()
			r.tookMax = max(r.tookMax, p.Took.Milliseconds())
		case domain.ProbeFailed:
			r.failed++
		case domain.ProbeRefused, domain.ProbeLimited, domain.ProbeLate, domain.ProbeBlind:
			r.unknown++
		}
		lag = lag.Add(domain.ProbeLagBounds, p.Lag)
		r.lagSum += p.Lag.Milliseconds()
		outcomes[p.Outcome-1]++
		at, tookMS, lagMS = append(at, p.At.Sub(b.From).Milliseconds()), append(tookMS, p.Took.Milliseconds()), append(lagMS, p.Lag.Milliseconds())
		tries, outcome, causes = append(tries, int64(p.Tries)), append(outcome, int64(p.Outcome)), append(causes, string(p.Cause))
	}
	seconds := make([]int64, len(healthOrder))
	for n, state := range healthOrder {
		seconds[n] = b.Seconds[state]
	}
	r.at, r.tookMS, r.lagMS, r.tries, r.outcome = arrayText(at), arrayText(tookMS), arrayText(lagMS), arrayText(tries), arrayText(outcome)
	r.took, r.lag, r.outcomes, r.seconds = arrayText(took), arrayText(lag), arrayText(outcomes), arrayText(seconds)
	// Kinds of errors are plain words of package domain, so they need no quotes but for the empty one.
	r.causes = `{"` + strings.Join(causes, `","`) + `"}`
	if len(causes) == 0 {
		r.causes = "{}"
	}
	if b.Last != nil {
		p := *b.Last
		text, err := json.Marshal(storedProbe{At: p.At.UTC(), Outcome: p.Outcome, TookMS: p.Took.Milliseconds(), LagMS: p.Lag.Milliseconds(), Tries: p.Tries,
			Cause: p.Cause, Text: clip(p.Text, maxReason)})
		if err != nil {
			return r, fault("write the newest probe", err)
		}
		last := string(text)
		r.last = &last
	}
	text, err := json.Marshal(append([]domain.HealthSignal{}, b.Signals...))
	if err != nil {
		return r, fault("write signals", err)
	}
	signals := string(text)
	r.signals = &signals
	return r, nil
}

// arrayText writes an array as PostgreSQL reads it.
func arrayText(values []int64) string {
	b := make([]byte, 0, 2+4*len(values))
	b = append(b, '{')
	for n, v := range values {
		if n > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, v, 10)
	}
	return string(append(b, '}'))
}

// MoveHealths moves the health of several connections of a tenant in one transaction, see [Tx.MoveHealth], and returns those
// that moved. One that the table of moves does not allow is left out: whoever asked has an older state in mind, and reads anew.
func (s *Store) MoveHealths(ctx context.Context, org domain.OrgID, moves []HealthMove) (changes []domain.HealthChange, err error) {
	err = s.Tenant(ctx, org, func(ctx context.Context, tx *Tx) error {
		changes = nil
		for _, m := range moves {
			change, moved, err := tx.MoveHealth(ctx, m)
			switch {
			case domain.KindOf(err) == domain.KindConflict, domain.KindOf(err) == domain.KindNotFound:
			case err != nil:
				return err
			case moved:
				changes = append(changes, change)
			}
		}
		return nil
	})
	return changes, err
}

// PurgeProbes deletes up to limit rows of results that began before a time, and returns how many. Hours stay.
func (s *Store) PurgeProbes(ctx context.Context, before time.Time, limit int) (int, error) {
	tag, err := s.system.Exec(ctx, `DELETE FROM probe_results p USING
		(SELECT org_id, integration_id, covers_from FROM probe_results WHERE covers_from < $1 ORDER BY covers_from LIMIT $2) old
		WHERE p.org_id = old.org_id AND p.integration_id = old.integration_id AND p.covers_from = old.covers_from`, before, limit)
	return int(tag.RowsAffected()), fault("purge probes", err)
}

// ProbeCount is how many probes of a connection there were.
type ProbeCount struct {
	Org                 domain.OrgID
	Integration         domain.IntegrationID
	OK, Failed, Unknown int64
}

// ProbeCounts counts the probes of all connections since a time, at most ProbesKept ago, without those that have none: for
// burn rates over windows of minutes and hours. It is as exact as rows are: a row that began before is left out.
func (s *Store) ProbeCounts(ctx context.Context, since time.Time) ([]ProbeCount, error) {
	rows, err := s.system.Query(ctx, `SELECT org_id, integration_id, sum(ok), sum(failed), sum(unknown) FROM probe_results
		WHERE covers_from >= $1 GROUP BY org_id, integration_id`, since)
	out, err := collect(rows, err, func(row pgx.Row) (c ProbeCount, err error) {
		err = row.Scan(&c.Org, &c.Integration, &c.OK, &c.Failed, &c.Unknown)
		return c, err
	})
	return out, fault("count probes", err)
}

// HealthTotals are figures of one provider's connections, of all tenants together, for metrics.
type HealthTotals struct {
	States   map[domain.HealthState]int
	Outcomes map[domain.ProbeOutcome]int64
	Took     domain.Histogram
	TookSum  time.Duration
	Lag      domain.Histogram
	LagSum   time.Duration
}

// HealthTotals returns them by provider.
func (s *Store) HealthTotals(ctx context.Context) (map[string]HealthTotals, error) {
	out := map[string]HealthTotals{}
	of := func(name string) HealthTotals {
		t, ok := out[name]
		if !ok {
			t = HealthTotals{States: map[domain.HealthState]int{}, Outcomes: map[domain.ProbeOutcome]int64{}}
		}
		return t
	}
	var name string
	var state domain.HealthState
	var n int
	var outcomes, took, lag []int64
	var tookSum, lagSum int64
	b := &pgx.Batch{}
	b.Queue(`SELECT i.provider, CASE WHEN i.state IN ('paused', 'needs_reconnect') THEN i.state ELSE coalesce(h.state, 'unknown') END, count(*)
		FROM integrations i LEFT JOIN integration_health h ON h.org_id = i.org_id AND h.integration_id = i.id WHERE i.state <> 'deleted' GROUP BY 1, 2`).
		Query(func(rows pgx.Rows) error {
			_, err := pgx.ForEachRow(rows, []any{&name, &state, &n}, func() error {
				t := of(name)
				t.States[state] += n
				out[name] = t
				return nil
			})
			return err
		})
	b.Queue("SELECT provider, outcomes, took, took_sum_ms, lag, lag_sum_ms FROM probe_totals").Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&name, &outcomes, &took, &tookSum, &lag, &lagSum}, func() error {
			t := of(name)
			for n, count := range outcomes {
				t.Outcomes[domain.ProbeOutcome(n+1)] += count
			}
			t.Took, t.Lag = t.Took.Merge(took), t.Lag.Merge(lag)
			t.TookSum, t.LagSum = t.TookSum+millis(tookSum), t.LagSum+millis(lagSum)
			out[name] = t
			return nil
		})
		return err
	})
	err := s.system.SendBatch(ctx, b).Close()
	return out, fault("read totals of health", err)
}
