package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/health"
)

// This file is what a tenant reads and says about the health of its connections. What the prober writes is in probes.go.

const healthColumns = `i.id, i.org_id, i.provider, coalesce(h.state, 'unknown'), coalesce(h.reason_code, 'new'),
	coalesce(h.reason_text, 'it was not asked yet'), coalesce(h.since, i.created_at), h.last_probe, coalesce(h.signals, '[]'),
	coalesce(h.probe_every_ms, 0), coalesce(h.boost_every_ms, 0), h.boost_until, h.maintenance_until, i.state, i.state_reason, i.updated_at`

const healthFrom = " FROM integrations i LEFT JOIN integration_health h ON h.org_id = i.org_id AND h.integration_id = i.id "

// storedProbe is how the newest result is kept.
type storedProbe struct {
	At      time.Time           `json:"at"`
	Outcome domain.ProbeOutcome `json:"outcome"`
	TookMS  int64               `json:"took_ms"`
	LagMS   int64               `json:"lag_ms"`
	Tries   int                 `json:"tries"`
	Cause   domain.ErrorKind    `json:"cause,omitempty"`
	Text    string              `json:"text,omitempty"`
}

func (p storedProbe) result() domain.ProbeResult {
	return domain.ProbeResult{At: p.At.UTC(), Outcome: p.Outcome, Took: millis(p.TookMS), Lag: millis(p.LagMS), Tries: p.Tries, Cause: p.Cause, Text: p.Text}
}

func millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func scanHealth(row pgx.Row) (h domain.Health, err error) {
	var last, signals []byte
	var every, boost int64
	var wish domain.IntegrationState
	var reason string
	var updated time.Time
	if err := row.Scan(&h.IntegrationID, &h.OrgID, &h.Provider, &h.State, &h.Reason.Code, &h.Reason.Text, &h.Since, &last, &signals,
		&every, &boost, &h.BoostUntil, &h.MaintenanceUntil, &wish, &reason, &updated); err != nil {
		return h, err
	}
	h.Since, h.BoostUntil, h.MaintenanceUntil = h.Since.UTC(), utc(h.BoostUntil), utc(h.MaintenanceUntil)
	h.ProbeEvery, h.BoostEvery = millis(every), millis(boost)
	if len(last) > 0 {
		var p storedProbe
		if err := json.Unmarshal(last, &p); err != nil {
			return h, err
		}
		r := p.result()
		h.LastProbe = &r
	}
	if err := json.Unmarshal(signals, &h.Signals); err != nil {
		return h, err
	}
	return health.Shown(h, wish, reason, updated.UTC()), nil
}

// Health reads where a connection stands, as it is shown to people: a wish that the prober has not seen yet is in it.
// KindNotFound when the tenant has no such connection or it is deleted.
func (tx *Tx) Health(ctx context.Context, id domain.IntegrationID) (domain.Health, error) {
	h, err := scanHealth(tx.QueryRow(ctx, "SELECT "+healthColumns+healthFrom+"WHERE i.org_id = $1 AND i.id = $2 AND i.state <> 'deleted'", tx.Org, id))
	return h, missing("integration", "read health", err)
}

// HealthOf reads several, by id; what the tenant does not have is missing.
func (tx *Tx) HealthOf(ctx context.Context, ids ...domain.IntegrationID) (map[domain.IntegrationID]domain.Health, error) {
	rows, err := tx.Query(ctx, "SELECT "+healthColumns+healthFrom+"WHERE i.org_id = $1 AND i.id = ANY ($2) AND i.state <> 'deleted'", tx.Org, arrayOf(ids))
	list, err := collect(rows, err, scanHealth)
	out := make(map[domain.IntegrationID]domain.Health, len(list))
	for _, h := range list {
		out[h.IntegrationID] = h
	}
	return out, fault("read health", err)
}

// Healths lists the health of a tenant's connections in the order in which they were made.
func (tx *Tx) Healths(ctx context.Context, p Page) ([]domain.Health, string, error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	after, err := p.afterID(firstUUID)
	if err != nil {
		return nil, "", err
	}
	rows, err := tx.Query(ctx, "SELECT "+healthColumns+healthFrom+"WHERE i.org_id = $1 AND i.id > $2 AND i.state <> 'deleted' ORDER BY i.id LIMIT $3", tx.Org, after, limit+1)
	all, err := collect(rows, err, scanHealth)
	if err != nil {
		return nil, "", fault("list health", err)
	}
	all, next := cut(all, limit, func(h domain.Health) string { return string(h.IntegrationID) })
	return all, next, nil
}

// HealthMove is the wish that a connection's health become a state.
type HealthMove struct {
	Integration domain.IntegrationID
	To          domain.HealthState
	Reason      domain.HealthReason
}

// MoveHealth moves the health of a connection: state, reason and time, a line of the log, a live event and an audit line are
// stored together. It reports the move; false means that nothing moved, because it is there already (a new reason is kept), or
// because the wish has changed since whoever asks looked: a paused connection becomes nothing but paused. A move outside the
// table of package rules/health is KindConflict.
func (tx *Tx) MoveHealth(ctx context.Context, m HealthMove) (change domain.HealthChange, moved bool, err error) {
	if _, err := tx.Exec(ctx, `INSERT INTO integration_health (org_id, integration_id, since) SELECT org_id, id, created_at FROM integrations
		WHERE org_id = $1 AND id = $2 ON CONFLICT DO NOTHING`, tx.Org, m.Integration); err != nil {
		return change, false, fault("make health", err)
	}
	var wish domain.IntegrationState
	var was domain.HealthReason
	change = domain.HealthChange{OrgID: tx.Org, IntegrationID: m.Integration, To: m.To, Reason: domain.HealthReason{Code: m.Reason.Code, Text: clip(m.Reason.Text, maxReason)}, At: tx.Now}
	var since time.Time
	if err := tx.QueryRow(ctx, `SELECT h.state, h.reason_code, h.since, i.provider, i.state FROM integration_health h
		JOIN integrations i ON i.org_id = h.org_id AND i.id = h.integration_id
		WHERE h.org_id = $1 AND h.integration_id = $2 FOR NO KEY UPDATE OF h`, tx.Org, m.Integration).
		Scan(&change.From, &was.Code, &since, &change.Provider, &wish); err != nil {
		return change, false, missing("integration", "lock health", err)
	}
	if !suits(wish, m.To) {
		return change, false, nil
	}
	if change.From == m.To {
		if was.Code == change.Reason.Code {
			return change, false, nil
		}
		_, err := tx.Exec(ctx, "UPDATE integration_health SET reason_code = $3, reason_text = $4 WHERE org_id = $1 AND integration_id = $2",
			tx.Org, m.Integration, string(change.Reason.Code), change.Reason.Text)
		return change, false, fault("keep reason of health", err)
	}
	if !health.Allowed(change.From, m.To) {
		return change, false, domain.E(domain.KindConflict, "health cannot become %s while it is %s", m.To, change.From)
	}
	change.Lasted = max(tx.Now.Sub(since), 0)
	// Numbers are given in the order of commits, so that who reads behind the last one it saw misses none.
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 26))", string(tx.Org)); err != nil {
		return change, false, fault("lock log of health", err)
	}
	if err := tx.QueryRow(ctx, `INSERT INTO health_changes (org_id, integration_id, provider, was, became, reason_code, reason_text, at, lasted_ms)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING seq`, tx.Org, m.Integration, change.Provider, string(change.From), string(change.To),
		string(change.Reason.Code), change.Reason.Text, tx.Now, change.Lasted.Milliseconds()).Scan(&change.Seq); err != nil {
		return change, false, fault("log move of health", err)
	}
	if _, err := tx.Exec(ctx, `UPDATE integration_health SET state = $3, reason_code = $4, reason_text = $5, since = $6
		WHERE org_id = $1 AND integration_id = $2`, tx.Org, m.Integration, string(change.To), string(change.Reason.Code), change.Reason.Text, tx.Now); err != nil {
		return change, false, fault("move health", err)
	}
	if err := tx.Emit(ctx, domain.TopicHealthChanged, map[string]string{"integration": string(m.Integration), "provider": change.Provider,
		"state": string(change.To), "was": string(change.From), "reason": string(change.Reason.Code)}); err != nil {
		return change, false, err
	}
	if err := tx.tellWeddingsOf(ctx, m.Integration); err != nil {
		return change, false, err
	}
	if err := tx.afterMove(ctx, change, since.UTC()); err != nil {
		return change, false, err
	}
	return change, true, tx.Audit(ctx, domain.AuditEntry{Actor: "system:monitor", Action: "integration.health", Reason: change.Reason.Text,
		Subject: "integration/" + string(m.Integration), Before: map[string]string{"health": string(change.From)}, After: map[string]string{"health": string(change.To)}})
}

// afterMove has done what a move calls for: one that is not told of news any more is suspected, and one that is back is read at
// once, from where the last complete reading stopped.
func (tx *Tx) afterMove(ctx context.Context, c domain.HealthChange, since time.Time) error {
	switch {
	case c.To == domain.HealthFailingOver && c.Reason.Code == domain.HealthNotTold:
		return tx.SuspectPushes(ctx, c.IntegrationID, domain.OverSilent, c.Reason.Text)
	case c.From == domain.HealthDown && c.To.Works():
		return tx.WantCatchUp(ctx, c.IntegrationID, domain.OverOutage, "it was down for "+c.Lasted.Round(time.Second).String(), since)
	case c.From == domain.HealthUnknown && c.To.Works():
		// It may have become unknown while it was down, such as by an outage of our own. Then the outage ends only now.
		down, err := tx.downBefore(ctx, c)
		if err != nil || down == nil {
			return err
		}
		return tx.WantCatchUp(ctx, c.IntegrationID, domain.OverOutage, "it was down, or not known to be up, for "+tx.Now.Sub(*down).Round(time.Second).String(), *down)
	case c.From == domain.HealthNeedsReconnect && c.To == domain.HealthUnknown:
		return tx.WantCatchUp(ctx, c.IntegrationID, domain.OverReconnected, "it had to be connected again", since)
	}
	return nil
}

// downBefore is when a connection went down that has not worked since until a move; nil when it did not.
func (tx *Tx) downBefore(ctx context.Context, c domain.HealthChange) (*time.Time, error) {
	var at *time.Time
	err := tx.QueryRow(ctx, `SELECT min(at) FROM health_changes WHERE org_id = $1 AND integration_id = $2 AND became = 'down' AND seq < $3 AND seq > coalesce((
			SELECT max(seq) FROM health_changes WHERE org_id = $1 AND integration_id = $2 AND became IN ('up', 'degraded', 'failing_over', 'polling') AND seq < $3), 0)`,
		tx.Org, c.IntegrationID, c.Seq).Scan(&at)
	return utc(at), fault("look for an outage before", err)
}

// suits reports whether a state of health may be stored beside a wish.
func suits(wish domain.IntegrationState, to domain.HealthState) bool {
	switch wish {
	case domain.IntegrationActive:
		return to != domain.HealthPaused && to != domain.HealthNeedsReconnect
	case domain.IntegrationConnecting:
		return to == domain.HealthUnknown
	case domain.IntegrationPaused:
		return to == domain.HealthPaused
	case domain.IntegrationNeedsReconnect:
		return to == domain.HealthNeedsReconnect
	case domain.IntegrationDeleted:
	}
	return false
}

// ProbeEvery sets the usual interval between probes of one connection, 0 = that of the installation. The prober sees it
// within 15 s. KindInvalid outside 5 s to 1 h.
func (tx *Tx) ProbeEvery(ctx context.Context, id domain.IntegrationID, every time.Duration) error {
	if every != 0 {
		if err := checkEvery("probe_every", every); err != nil {
			return err
		}
	}
	return tx.setHealth(ctx, id, "probe_every_ms = $3", every.Milliseconds())
}

// BoostProbes has a connection asked at least so often until a time, such as through a wedding day; it never makes probes
// rarer. A second boost replaces the first, and every = 0 ends it. The prober sees it within 15 s. KindInvalid outside 5 s
// to 1 h, and for an end more than 30 days ahead.
func (tx *Tx) BoostProbes(ctx context.Context, id domain.IntegrationID, every time.Duration, until time.Time) error {
	if every == 0 {
		return tx.setHealth(ctx, id, "boost_every_ms = 0, boost_until = NULL")
	}
	if err := checkEvery("every", every); err != nil {
		return err
	}
	if until.After(tx.Now.Add(30 * 24 * time.Hour)) {
		return domain.Invalid("until", "must be within 30 days")
	}
	return tx.setHealth(ctx, id, "boost_every_ms = $3, boost_until = $4", every.Milliseconds(), until)
}

func checkEvery(field string, every time.Duration) error {
	if every < domain.LeastProbeEvery || every > time.Hour {
		return domain.Invalid(field, "must be %s to 1h, is %s", domain.LeastProbeEvery, every)
	}
	return nil
}

// Maintain puts a connection into maintenance until a time, or takes it out with nil: it is not asked meanwhile, and the
// time counts as maintenance. The prober moves its health within 15 s and back by itself when the time is over. text says
// why, without personal data.
func (tx *Tx) Maintain(ctx context.Context, id domain.IntegrationID, until *time.Time, text string) error {
	if err := checkText("text", text, maxReason); err != nil {
		return err
	}
	return tx.setHealth(ctx, id, "maintenance_until = $3, maintenance_text = $4", until, text)
}

func (tx *Tx) setHealth(ctx context.Context, id domain.IntegrationID, set string, args ...any) error {
	if _, err := tx.Exec(ctx, `INSERT INTO integration_health (org_id, integration_id, since) SELECT org_id, id, created_at FROM integrations
		WHERE org_id = $1 AND id = $2 ON CONFLICT DO NOTHING`, tx.Org, id); err != nil {
		return fault("make health", err)
	}
	tag, err := tx.Exec(ctx, "UPDATE integration_health SET "+set+" WHERE org_id = $1 AND integration_id = $2", append([]any{tx.Org, id}, args...)...)
	if err == nil && tag.RowsAffected() == 0 {
		return notFound("integration")
	}
	return fault("set how health is watched", err)
}

const healthChangeColumns = "seq, org_id, integration_id, provider, was, became, reason_code, reason_text, at, lasted_ms"

func scanHealthChange(row pgx.Row) (c domain.HealthChange, err error) {
	var lasted int64
	err = row.Scan(&c.Seq, &c.OrgID, &c.IntegrationID, &c.Provider, &c.From, &c.To, &c.Reason.Code, &c.Reason.Text, &c.At, &lasted)
	c.At, c.Lasted = c.At.UTC(), millis(lasted)
	return c, err
}

// HealthChanges returns the newest moves of one connection, the newest first, at most limit (1 to 1000), of those with a Seq
// below before; 0 = from the newest on.
func (tx *Tx) HealthChanges(ctx context.Context, id domain.IntegrationID, before int64, limit int) ([]domain.HealthChange, error) {
	if limit < 1 || limit > 1000 {
		return nil, domain.Invalid("limit", "must be 1 to 1000, is %d", limit)
	}
	if before <= 0 {
		before = 1<<63 - 1
	}
	rows, err := tx.Query(ctx, "SELECT "+healthChangeColumns+" FROM health_changes WHERE org_id = $1 AND integration_id = $2 AND seq < $3 ORDER BY seq DESC LIMIT $4",
		tx.Org, id, before, limit)
	out, err := collect(rows, err, scanHealthChange)
	return out, fault("read log of health", err)
}

// HealthChangesAfter returns the moves of all connections of the tenant behind a Seq, the oldest first, at most limit (1 to
// 1000). Whoever goes on behind the last Seq it got sees every move once.
func (tx *Tx) HealthChangesAfter(ctx context.Context, seq int64, limit int) ([]domain.HealthChange, error) {
	if limit < 1 || limit > 1000 {
		return nil, domain.Invalid("limit", "must be 1 to 1000, is %d", limit)
	}
	rows, err := tx.Query(ctx, "SELECT "+healthChangeColumns+" FROM health_changes WHERE org_id = $1 AND seq > $2 ORDER BY seq LIMIT $3", tx.Org, seq, limit)
	out, err := collect(rows, err, scanHealthChange)
	return out, fault("read log of health", err)
}

// RecentHealthChanges returns the moves of all tenants since a time, the oldest first, at most 10,000: what fails together is
// often of several tenants.
func (s *Store) RecentHealthChanges(ctx context.Context, since time.Time) ([]domain.HealthChange, error) {
	rows, err := s.system.Query(ctx, "SELECT "+healthChangeColumns+" FROM health_changes WHERE at >= $1 ORDER BY at, seq LIMIT 10000", since)
	out, err := collect(rows, err, scanHealthChange)
	return out, fault("read recent moves of health", err)
}

// ProbeResults returns the results of a connection that were due in [from, to), in their order. They are kept for
// ProbesKept.
func (tx *Tx) ProbeResults(ctx context.Context, id domain.IntegrationID, from, to time.Time) ([]domain.ProbeResult, error) {
	// A row covers an hour at most.
	rows, err := tx.Query(ctx, `SELECT covers_from, at_ms, took_ms, lag_ms, tries, outcome, cause FROM probe_results
		WHERE org_id = $1 AND integration_id = $2 AND covers_from >= $3 AND covers_from < $4 ORDER BY covers_from`, tx.Org, id, from.Add(-time.Hour), to)
	if err != nil {
		return nil, fault("read probes", err)
	}
	var out []domain.ProbeResult
	var base time.Time
	var at, took, lag []int32
	var tries, outcome []int16
	var cause []string
	_, err = pgx.ForEachRow(rows, []any{&base, &at, &took, &lag, &tries, &outcome, &cause}, func() error {
		for n := range at {
			r := domain.ProbeResult{At: base.UTC().Add(millis(int64(at[n]))), Outcome: domain.ProbeOutcome(outcome[n]), Took: millis(int64(took[n])),
				Lag: millis(int64(lag[n])), Tries: int(tries[n]), Cause: domain.ErrorKind(cause[n])}
			if !r.At.Before(from) && r.At.Before(to) {
				out = append(out, r)
			}
		}
		return nil
	})
	return out, fault("read probes", err)
}

// RollupFilter says which hours are meant: of one connection, of one provider, or of the whole tenant, in [From, To).
type RollupFilter struct {
	Integration domain.IntegrationID
	Provider    string
	From, To    time.Time
}

// EachRollup hands the hours of a filter to fn one by one, in the order of connections and hours of time. Add what belongs
// together with domain.HealthRollup.Merge. fn's error ends it and is returned.
func (tx *Tx) EachRollup(ctx context.Context, f RollupFilter, fn func(domain.HealthRollup) error) error {
	where, args := "org_id = $1 AND hour >= $2 AND hour < $3", []any{tx.Org, f.From, f.To}
	if f.Integration != "" {
		where, args = where+" AND integration_id = $4", append(args, f.Integration)
	} else if f.Provider != "" {
		where, args = where+" AND provider = $4", append(args, f.Provider)
	}
	rows, err := tx.Query(ctx, `SELECT integration_id, provider, hour, ok, failed, unknown, took, took_sum_ms, took_max_ms, traffic_ok, traffic_failed, seconds
		FROM health_rollups WHERE `+where+" ORDER BY integration_id, hour", args...)
	if err != nil {
		return fault("read hours of health", err)
	}
	var r domain.HealthRollup
	var took, seconds []int64
	var sum, most int64
	_, err = pgx.ForEachRow(rows, []any{&r.IntegrationID, &r.Provider, &r.Hour, &r.OK, &r.Failed, &r.Unknown, &took, &sum, &most,
		&r.TrafficOK, &r.TrafficFailed, &seconds}, func() error {
		one := r
		one.Hour, one.TookSum, one.TookMax = r.Hour.UTC(), millis(sum), millis(most)
		one.Took = append(domain.Histogram(nil), took...)
		one.Seconds = map[domain.HealthState]int64{}
		for n, s := range seconds {
			if s > 0 && n < len(healthOrder) {
				one.Seconds[healthOrder[n]] = s
			}
		}
		return fn(one)
	})
	return fault("read hours of health", err)
}
