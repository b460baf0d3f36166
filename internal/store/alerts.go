package store

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// KeptAlerts is how long alerts stay after they were resolved.
const KeptAlerts = 400 * 24 * time.Hour

// OutboxAlerts says that the alerts of an organisation, which is the target, are to be looked at now.
const OutboxAlerts OutboxKind = "alerts"

// WakeAlerts has the alerts of the tenant looked at, and their workflow started where it does not run.
func (tx *Tx) WakeAlerts(ctx context.Context) error {
	return tx.Enqueue(ctx, OutboxAlerts, string(tx.Org), "", tx.Now)
}

const alertColumns = `id, org_id, rule, scope, target, state, severity, technical, reason, wedding_at, members, inhibited_by, silenced_until, opened_at, updated_at,
	clear_since, resolved_at, resolution, told_at, told_severity, reminders, remind_at, level, escalate_at, acknowledged_at, acknowledged_by, flaps, flapping, version`

func scanAlert(row pgx.Row) (a domain.Alert, err error) {
	err = row.Scan(&a.ID, &a.OrgID, &a.Kind, &a.Scope.Kind, &a.Scope.Target, &a.State, &a.Severity, &a.Technical, &a.Reason, &a.WeddingAt, &a.Members, &a.InhibitedBy,
		&a.SilencedUntil, &a.OpenedAt, &a.UpdatedAt, &a.ClearSince, &a.ResolvedAt, &a.Resolution, &a.ToldAt, &a.ToldSeverity, &a.Reminders, &a.RemindAt, &a.Level,
		&a.EscalateAt, &a.AcknowledgedAt, &a.AcknowledgedBy, &a.Flaps, &a.Flapping, &a.Version)
	a.OpenedAt, a.UpdatedAt = a.OpenedAt.UTC(), a.UpdatedAt.UTC()
	for _, t := range []**time.Time{&a.WeddingAt, &a.SilencedUntil, &a.ClearSince, &a.ResolvedAt, &a.ToldAt, &a.RemindAt, &a.EscalateAt, &a.AcknowledgedAt} {
		*t = utc(*t)
	}
	for i := range a.Flaps {
		a.Flaps[i] = a.Flaps[i].UTC()
	}
	return a, err
}

// Alert reads one; KindNotFound when the tenant has no such.
func (tx *Tx) Alert(ctx context.Context, id domain.AlertID) (domain.Alert, error) {
	a, err := scanAlert(tx.QueryRow(ctx, "SELECT "+alertColumns+" FROM alerts WHERE org_id = $1 AND id = $2", tx.Org, id))
	return a, missing("alert", "read alert", err)
}

// LockAlerts keeps others from deciding about the tenant's alerts until the transaction ends.
func (tx *Tx) LockAlerts(ctx context.Context) error {
	_, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "alerts of "+string(tx.Org))
	return fault("lock alerts", err)
}

// AlertsSince returns every unresolved alert, and those that were resolved at or after a time.
func (tx *Tx) AlertsSince(ctx context.Context, resolved time.Time) ([]domain.Alert, error) {
	rows, err := tx.Query(ctx, "SELECT "+alertColumns+" FROM alerts WHERE org_id = $1 AND state IN ('open', 'acknowledged') UNION ALL SELECT "+alertColumns+
		" FROM alerts WHERE org_id = $1 AND resolved_at >= $2", tx.Org, resolved)
	all, err := collect(rows, err, scanAlert)
	return all, fault("read alerts", err)
}

// AlertFilter narrows a list; empty fields do not.
type AlertFilter struct {
	State  domain.AlertState
	Target string // name of a provider or id of an integration
	Open   bool   // unresolved only
}

// Alerts lists alerts, newest first.
func (tx *Tx) Alerts(ctx context.Context, f AlertFilter, p Page) ([]domain.Alert, string, error) {
	q := newQuery("SELECT " + alertColumns + " FROM alerts")
	q.where("org_id = %s", tx.Org)
	switch {
	case f.State != "":
		q.where("state = %s", string(f.State))
	case f.Open:
		q.where("state IN ('open', 'acknowledged')")
	}
	if f.Target != "" {
		q.where("target = %s", f.Target)
	}
	return newestFirst(ctx, tx, "alerts", q, p, scanAlert, func(a domain.Alert) string { return string(a.ID) })
}

// SaveAlert stores an alert as it is to be: a new one, or one whose stored version is still the one that was read. It tells the
// live stream; what is "" or what people are told of it, which makes it a fact for notifications. KindConflict: another version.
func (tx *Tx) SaveAlert(ctx context.Context, a domain.Alert, isNew bool, what string) error {
	values := []any{a.ID, tx.Org, string(a.Kind), string(a.Scope.Kind), a.Scope.Target, string(a.State), string(a.Severity), string(a.Technical), clip(a.Reason, maxReason),
		a.WeddingAt, a.Members, a.InhibitedBy, a.SilencedUntil, a.OpenedAt, tx.Now, a.ClearSince, a.ResolvedAt, clip(a.Resolution, maxReason), a.ToldAt,
		string(a.ToldSeverity), a.Reminders, a.RemindAt, a.Level, a.EscalateAt, a.AcknowledgedAt, a.AcknowledgedBy,
		arrayOf(append([]time.Time{}, a.Flaps...)), a.Flapping}
	if isNew {
		if _, err := tx.Exec(ctx, `INSERT INTO alerts (id, org_id, rule, scope, target, state, severity, technical, reason, wedding_at, members, inhibited_by, silenced_until,
				opened_at, updated_at, clear_since, resolved_at, resolution, told_at, told_severity, reminders, remind_at, level, escalate_at, acknowledged_at,
				acknowledged_by, flaps, flapping)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28)`, values...); err != nil {
			return fault("store alert", err)
		}
	} else {
		tag, err := tx.Exec(ctx, `UPDATE alerts SET rule = $3, scope = $4, target = $5, state = $6, severity = $7, technical = $8, reason = $9, wedding_at = $10, members = $11,
				inhibited_by = $12, silenced_until = $13, opened_at = $14, updated_at = $15, clear_since = $16, resolved_at = $17, resolution = $18, told_at = $19,
				told_severity = $20, reminders = $21, remind_at = $22, level = $23, escalate_at = $24, acknowledged_at = $25, acknowledged_by = $26, flaps = $27,
				flapping = $28, version = version + 1
			WHERE org_id = $2 AND id = $1 AND version = $29`, append(values, a.Version)...)
		if err != nil {
			return fault("store alert", err)
		}
		if tag.RowsAffected() == 0 {
			return domain.E(domain.KindConflict, "the alert was changed in the meantime")
		}
	}
	refs := map[string]string{"alert": string(a.ID), "rule": string(a.Kind), "state": string(a.State), "severity": string(a.Severity), string(a.Scope.Kind): a.Scope.Target}
	if what != "" {
		refs["told"], refs["level"] = what, strconv.Itoa(a.Level)
	}
	return tx.Emit(ctx, domain.TopicAlertChanged, refs)
}

// AcknowledgeAlert notes that somebody looks after an alert: neither reminders nor escalation until it gets worse. A repeat changes
// nothing; KindConflict: it is resolved.
func (tx *Tx) AcknowledgeAlert(ctx context.Context, id domain.AlertID, by string) (domain.Alert, error) {
	if err := tx.LockAlerts(ctx); err != nil {
		return domain.Alert{}, err
	}
	a, err := tx.Alert(ctx, id)
	if err != nil || a.State == domain.AlertAcknowledged {
		return a, err
	}
	if !a.Unresolved() {
		return a, domain.E(domain.KindConflict, "the alert is resolved")
	}
	now := tx.Now
	a.State, a.AcknowledgedAt, a.AcknowledgedBy, a.RemindAt, a.EscalateAt = domain.AlertAcknowledged, &now, clip(by, 200), nil, nil
	if err := tx.SaveAlert(ctx, a, false, "acknowledged"); err != nil {
		return a, err
	}
	return tx.Alert(ctx, id)
}

// ResourcesOfPlatform returns the resources whose bookings the connections of a provider carry.
func (tx *Tx) ResourcesOfPlatform(ctx context.Context, provider string) ([]domain.ResourceID, error) {
	rows, err := tx.Query(ctx, "SELECT DISTINCT resource_id FROM integrations WHERE org_id = $1 AND provider = $2 AND state <> 'deleted' ORDER BY 1", tx.Org, provider)
	all, err := collect(rows, err, func(row pgx.Row) (id domain.ResourceID, err error) {
		err = row.Scan(&id)
		return id, err
	})
	return all, fault("read resources of a platform", err)
}

// PurgeAlerts removes up to limit alerts that were resolved before [KeptAlerts].
func (tx *Tx) PurgeAlerts(ctx context.Context, limit int) error {
	_, err := tx.Exec(ctx, `DELETE FROM alerts WHERE org_id = $1 AND id IN (
		SELECT id FROM alerts WHERE org_id = $1 AND resolved_at < $2 ORDER BY resolved_at LIMIT $3)`, tx.Org, tx.Now.Add(-KeptAlerts), limit)
	return fault("remove old alerts", err)
}
