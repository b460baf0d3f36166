package store

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const objectiveColumns = "id, org_id, scope, target, availability, latency_ms, errors, created_by, created_at, updated_at, version"

func scanObjective(row pgx.Row) (o domain.Objective, err error) {
	err = row.Scan(&o.ID, &o.OrgID, &o.Scope.Kind, &o.Scope.Target, &o.Targets.Availability, &o.Targets.LatencyMS, &o.Targets.Errors, &o.CreatedBy,
		&o.CreatedAt, &o.UpdatedAt, &o.Version)
	o.CreatedAt, o.UpdatedAt = o.CreatedAt.UTC(), o.UpdatedAt.UTC()
	return o, err
}

// Objectives returns every objective of the tenant, at most [domain.MaxObjectives].
func (tx *Tx) Objectives(ctx context.Context) ([]domain.Objective, error) {
	rows, err := tx.Query(ctx, "SELECT "+objectiveColumns+" FROM objectives WHERE org_id = $1 ORDER BY id LIMIT $2", tx.Org, domain.MaxObjectives)
	out, err := collect(rows, err, scanObjective)
	return out, fault("list objectives", err)
}

// PutObjective stores the objective of a scope in place of the one that is there, which keeps its id, and has alerts looked at
// anew. Errors: KindInvalid with the field, KindConflict for one too many.
func (tx *Tx) PutObjective(ctx context.Context, o domain.Objective) (domain.Objective, error) {
	if err := o.Scope.Validate("scope."); err != nil {
		return o, err
	}
	if err := o.Targets.Validate("targets."); err != nil {
		return o, err
	}
	if err := tx.room(ctx, "objectives", domain.MaxObjectives, "scope = $2 AND target = $3", string(o.Scope.Kind), o.Scope.Target); err != nil {
		return o, err
	}
	stored, err := scanObjective(tx.QueryRow(ctx, `INSERT INTO objectives (id, org_id, scope, target, availability, latency_ms, errors, created_by, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
		ON CONFLICT (org_id, scope, target) DO UPDATE SET availability = excluded.availability, latency_ms = excluded.latency_ms, errors = excluded.errors,
			updated_at = excluded.updated_at, version = objectives.version + 1
		RETURNING `+objectiveColumns, o.ID, tx.Org, string(o.Scope.Kind), o.Scope.Target, o.Targets.Availability, o.Targets.LatencyMS, o.Targets.Errors,
		o.CreatedBy, tx.Now))
	if err != nil {
		return o, fault("store objective", err)
	}
	return stored, tx.WakeAlerts(ctx)
}

// room refuses one more row of a table that holds so many for the tenant, unless the row that is meant is there already. Two at
// once wait for each other.
func (tx *Tx) room(ctx context.Context, table string, most int, same string, values ...any) error {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", table+" of "+string(tx.Org)); err != nil {
		return fault("lock "+table, err)
	}
	var n int
	var there bool
	if err := tx.QueryRow(ctx, "SELECT count(*), coalesce(bool_or("+same+"), false) FROM "+table+" WHERE org_id = $1",
		append([]any{tx.Org}, values...)...).Scan(&n, &there); err != nil {
		return fault("count "+table, err)
	}
	if n >= most && !there {
		return domain.E(domain.KindConflict, "an organisation may have at most %d; remove one first", most)
	}
	return nil
}

// DeleteObjective removes an objective and returns it; KindNotFound when there is none.
func (tx *Tx) DeleteObjective(ctx context.Context, id domain.ObjectiveID) (domain.Objective, error) {
	o, err := scanObjective(tx.QueryRow(ctx, "DELETE FROM objectives WHERE org_id = $1 AND id = $2 RETURNING "+objectiveColumns, tx.Org, id))
	if err != nil {
		return o, missing("objective", "delete objective", err)
	}
	return o, tx.WakeAlerts(ctx)
}

const alertRuleColumns = "id, org_id, scope, target, rule, enabled, severity, resolve_after, created_by, created_at, updated_at, version"

func scanAlertRule(row pgx.Row) (r domain.AlertRule, err error) {
	err = row.Scan(&r.ID, &r.OrgID, &r.Scope.Kind, &r.Scope.Target, &r.Kind, &r.Enabled, &r.Severity, &r.ResolveAfter, &r.CreatedBy, &r.CreatedAt, &r.UpdatedAt, &r.Version)
	r.CreatedAt, r.UpdatedAt = r.CreatedAt.UTC(), r.UpdatedAt.UTC()
	return r, err
}

// AlertRules returns every setting of a rule of the tenant, at most [domain.MaxAlertRules].
func (tx *Tx) AlertRules(ctx context.Context) ([]domain.AlertRule, error) {
	rows, err := tx.Query(ctx, "SELECT "+alertRuleColumns+" FROM alert_rules WHERE org_id = $1 ORDER BY id LIMIT $2", tx.Org, domain.MaxAlertRules)
	out, err := collect(rows, err, scanAlertRule)
	return out, fault("list alert rules", err)
}

// PutAlertRule stores the setting of a rule for a scope in place of the one that is there, which keeps its id, and has alerts
// looked at anew. Errors: KindInvalid with the field, KindConflict for one too many.
func (tx *Tx) PutAlertRule(ctx context.Context, r domain.AlertRule) (domain.AlertRule, error) {
	if err := r.Validate(""); err != nil {
		return r, err
	}
	if err := tx.room(ctx, "alert_rules", domain.MaxAlertRules, "rule = $2 AND scope = $3 AND target = $4", string(r.Kind), string(r.Scope.Kind), r.Scope.Target); err != nil {
		return r, err
	}
	stored, err := scanAlertRule(tx.QueryRow(ctx, `INSERT INTO alert_rules (id, org_id, scope, target, rule, enabled, severity, resolve_after, created_by, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
		ON CONFLICT (org_id, rule, scope, target) DO UPDATE SET enabled = excluded.enabled, severity = excluded.severity, resolve_after = excluded.resolve_after,
			updated_at = excluded.updated_at, version = alert_rules.version + 1
		RETURNING `+alertRuleColumns, r.ID, tx.Org, string(r.Scope.Kind), r.Scope.Target, string(r.Kind), r.Enabled, string(r.Severity), r.ResolveAfter,
		r.CreatedBy, tx.Now))
	if err != nil {
		return r, fault("store alert rule", err)
	}
	return stored, tx.WakeAlerts(ctx)
}

// DeleteAlertRule removes a setting and returns it; KindNotFound when there is none.
func (tx *Tx) DeleteAlertRule(ctx context.Context, id domain.AlertRuleID) (domain.AlertRule, error) {
	r, err := scanAlertRule(tx.QueryRow(ctx, "DELETE FROM alert_rules WHERE org_id = $1 AND id = $2 RETURNING "+alertRuleColumns, tx.Org, id))
	if err != nil {
		return r, missing("alert rule", "delete alert rule", err)
	}
	return r, tx.WakeAlerts(ctx)
}

// AlertPolicy returns how long the tenant lets an alert lie; the standard with version 0 where it never said.
func (tx *Tx) AlertPolicy(ctx context.Context) (domain.AlertPolicy, error) {
	p := domain.AlertPolicy{}
	rows, err := tx.Query(ctx, "SELECT remind_every, steps, version FROM alert_policies WHERE org_id = $1", tx.Org)
	all, err := collect(rows, err, func(row pgx.Row) (p domain.AlertPolicy, err error) {
		err = row.Scan(&p.RemindEvery, &p.Steps, &p.Version)
		return p, err
	})
	if err != nil {
		return p, fault("read alert policy", err)
	}
	if len(all) == 0 {
		return domain.StandardAlertPolicy(), nil
	}
	return all[0], nil
}

// PutAlertPolicy stores it if the stored version is expectVersion, 0 for none. Errors: KindInvalid with the field, KindConflict
// for another version.
func (tx *Tx) PutAlertPolicy(ctx context.Context, p domain.AlertPolicy, by string, expectVersion int64) (domain.AlertPolicy, error) {
	if err := p.Validate(""); err != nil {
		return p, err
	}
	if p.Steps == nil {
		p.Steps = []domain.EscalationStep{}
	}
	steps, err := json.Marshal(p.Steps)
	if err != nil {
		return p, domain.E(domain.KindInternal, "write steps of an escalation")
	}
	tag, err := tx.Exec(ctx, `INSERT INTO alert_policies (org_id, remind_every, steps, updated_by, updated_at) SELECT $1, $2, $3, $4, $5 WHERE $6 = 0
		ON CONFLICT (org_id) DO NOTHING`, tx.Org, p.RemindEvery, steps, by, tx.Now, expectVersion)
	if err == nil && tag.RowsAffected() == 0 {
		tag, err = tx.Exec(ctx, `UPDATE alert_policies SET remind_every = $2, steps = $3, updated_by = $4, updated_at = $5, version = version + 1
			WHERE org_id = $1 AND version = $6`, tx.Org, p.RemindEvery, steps, by, tx.Now, expectVersion)
	}
	if err != nil {
		return p, fault("store alert policy", err)
	}
	if tag.RowsAffected() == 0 {
		return p, domain.E(domain.KindConflict, "the alert policy was changed in the meantime")
	}
	if err := tx.WakeAlerts(ctx); err != nil {
		return p, err
	}
	return tx.AlertPolicy(ctx)
}

const silenceColumns = "id, org_id, scope, target, rules, starts_at, ends_at, rrule, zone, reason, created_by, created_at, updated_at, ended_at, version"

func scanSilence(row pgx.Row) (s domain.Silence, err error) {
	err = row.Scan(&s.ID, &s.OrgID, &s.Scope.Kind, &s.Scope.Target, &s.Kinds, &s.StartsAt, &s.EndsAt, &s.RRULE, &s.Zone, &s.Reason, &s.CreatedBy,
		&s.CreatedAt, &s.UpdatedAt, &s.EndedAt, &s.Version)
	s.StartsAt, s.EndsAt, s.CreatedAt, s.UpdatedAt, s.EndedAt = s.StartsAt.UTC(), s.EndsAt.UTC(), s.CreatedAt.UTC(), s.UpdatedAt.UTC(), utc(s.EndedAt)
	return s, err
}

// CreateSilence stores a silence that was checked. KindConflict: one too many are in force.
func (tx *Tx) CreateSilence(ctx context.Context, s domain.Silence) (domain.Silence, error) {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "silences of "+string(tx.Org)); err != nil {
		return s, fault("lock silences", err)
	}
	var n int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM silences WHERE org_id = $1 AND ended_at IS NULL", tx.Org).Scan(&n); err != nil {
		return s, fault("count silences", err)
	}
	if n >= domain.MaxSilences {
		return s, domain.E(domain.KindConflict, "an organisation may have at most %d silences; end one first", domain.MaxSilences)
	}
	stored, err := scanSilence(tx.QueryRow(ctx, `INSERT INTO silences (id, org_id, scope, target, rules, starts_at, ends_at, rrule, zone, reason, created_by, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12) RETURNING `+silenceColumns, s.ID, tx.Org, string(s.Scope.Kind), s.Scope.Target,
		kinds(s.Kinds), s.StartsAt, s.EndsAt, s.RRULE, s.Zone, s.Reason, s.CreatedBy, tx.Now))
	if err != nil {
		return s, fault("create silence", err)
	}
	return stored, tx.WakeAlerts(ctx)
}

func kinds(all []domain.AlertKind) any { return arrayOf(append([]domain.AlertKind{}, all...)) }

// Silence reads one; KindNotFound when the tenant has no such.
func (tx *Tx) Silence(ctx context.Context, id domain.SilenceID) (domain.Silence, error) {
	s, err := scanSilence(tx.QueryRow(ctx, "SELECT "+silenceColumns+" FROM silences WHERE org_id = $1 AND id = $2", tx.Org, id))
	return s, missing("silence", "read silence", err)
}

// Silences lists silences, newest first.
func (tx *Tx) Silences(ctx context.Context, p Page) ([]domain.Silence, string, error) {
	q := newQuery("SELECT " + silenceColumns + " FROM silences")
	q.where("org_id = %s", tx.Org)
	return newestFirst(ctx, tx, "silences", q, p, scanSilence, func(s domain.Silence) string { return string(s.ID) })
}

// SilencesInForce returns those that nobody ended and that are not over for good.
func (tx *Tx) SilencesInForce(ctx context.Context) ([]domain.Silence, error) {
	rows, err := tx.Query(ctx, "SELECT "+silenceColumns+" FROM silences WHERE org_id = $1 AND ended_at IS NULL ORDER BY id LIMIT $2", tx.Org, domain.MaxSilences)
	all, err := collect(rows, err, scanSilence)
	return all, fault("list silences in force", err)
}

// EndSilences notes that silences are over for good, now.
func (tx *Tx) EndSilences(ctx context.Context, ids []domain.SilenceID) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, "UPDATE silences SET ended_at = $3, updated_at = $3, version = version + 1 WHERE org_id = $1 AND id = ANY ($2::uuid[]) AND ended_at IS NULL",
		tx.Org, arrayOf(ids), tx.Now)
	return fault("end silences", err)
}

// UpdateSilence replaces times, rules, scope, recurrence, reason and end of a silence if the stored version is expectVersion.
// Errors: KindNotFound, also for one that was ended; KindConflict for another version.
func (tx *Tx) UpdateSilence(ctx context.Context, s domain.Silence, expectVersion int64) (domain.Silence, error) {
	stored, err := scanSilence(tx.QueryRow(ctx, `UPDATE silences SET scope = $4, target = $5, rules = $6, starts_at = $7, ends_at = $8, rrule = $9, zone = $10, reason = $11,
			ended_at = $12, updated_at = $13, version = version + 1
		WHERE org_id = $1 AND id = $2 AND version = $3 AND ended_at IS NULL RETURNING `+silenceColumns, tx.Org, s.ID, expectVersion, string(s.Scope.Kind),
		s.Scope.Target, kinds(s.Kinds), s.StartsAt, s.EndsAt, s.RRULE, s.Zone, s.Reason, s.EndedAt, tx.Now))
	if err == nil {
		return stored, tx.WakeAlerts(ctx)
	}
	was, readErr := tx.Silence(ctx, s.ID)
	switch {
	case readErr != nil:
		return s, readErr
	case was.EndedAt != nil:
		return s, notFound("silence")
	case was.Version != expectVersion:
		return s, domain.E(domain.KindConflict, "silence has version %d, not %d: it was changed in the meantime", was.Version, expectVersion)
	}
	return s, fault("update silence", err)
}
