package store

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// KeptMaintenance is how long windows stay after they ended.
const KeptMaintenance = 400 * 24 * time.Hour

// OutboxMaintenance says that a window of maintenance, which is the target, was made or changed, or that something did on which it
// depends.
const OutboxMaintenance OutboxKind = "maintenance"

const maintenanceColumns = `id, org_id, scopes, starts_at, ends_at, state, approval, reason, note, short_notice, requested_by, approved_by, approved_at, announced,
	moved, began_at, drained_at, released_at, ended_at, early, connections, held, left_over, created_at, updated_at, version`

func scanMaintenance(row pgx.Row) (m domain.Maintenance, err error) {
	var scopes []byte
	if err := row.Scan(&m.ID, &m.OrgID, &scopes, &m.StartsAt, &m.EndsAt, &m.State, &m.Approval, &m.Reason, &m.Note, &m.ShortNotice, &m.RequestedBy, &m.ApprovedBy,
		&m.ApprovedAt, &m.Announced, &m.Moved, &m.BeganAt, &m.DrainedAt, &m.ReleasedAt, &m.EndedAt, &m.Early, &m.Connections, &m.Held, &m.Left, &m.CreatedAt,
		&m.UpdatedAt, &m.Version); err != nil {
		return m, err
	}
	m.StartsAt, m.EndsAt, m.CreatedAt, m.UpdatedAt = m.StartsAt.UTC(), m.EndsAt.UTC(), m.CreatedAt.UTC(), m.UpdatedAt.UTC()
	for _, t := range []**time.Time{&m.ApprovedAt, &m.BeganAt, &m.DrainedAt, &m.ReleasedAt, &m.EndedAt} {
		*t = utc(*t)
	}
	return m, json.Unmarshal(scopes, &m.Scopes)
}

// LockMaintenance keeps others from deciding about the tenant's windows until the transaction ends.
func (tx *Tx) LockMaintenance(ctx context.Context) error {
	_, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "maintenance of "+string(tx.Org))
	return fault("lock maintenance", err)
}

// Maintenance reads one window; KindNotFound when the tenant has no such.
func (tx *Tx) Maintenance(ctx context.Context, id domain.MaintenanceID) (domain.Maintenance, error) {
	m, err := scanMaintenance(tx.QueryRow(ctx, "SELECT "+maintenanceColumns+" FROM maintenance_windows WHERE org_id = $1 AND id = $2", tx.Org, id))
	return m, missing("maintenance", "read maintenance", err)
}

// MaintenanceFilter narrows a list; empty fields do not.
type MaintenanceFilter struct {
	State domain.MaintenanceState
	Open  bool // those that have not ended
}

// Maintenances lists windows in the order in which they were made, the newest first.
func (tx *Tx) Maintenances(ctx context.Context, f MaintenanceFilter, p Page) ([]domain.Maintenance, string, error) {
	q := newQuery("SELECT " + maintenanceColumns + " FROM maintenance_windows")
	q.where("org_id = %s", tx.Org)
	if f.State != "" {
		q.where("state = %s", string(f.State))
	}
	if f.Open {
		q.where("ended_at IS NULL")
	}
	return newestFirst(ctx, tx, "maintenance", q, p, scanMaintenance, func(m domain.Maintenance) string { return string(m.ID) })
}

// OpenMaintenances returns every window that has not ended, in the order of their beginnings.
func (tx *Tx) OpenMaintenances(ctx context.Context) ([]domain.Maintenance, error) {
	rows, err := tx.Query(ctx, "SELECT "+maintenanceColumns+" FROM maintenance_windows WHERE org_id = $1 AND ended_at IS NULL ORDER BY starts_at, id", tx.Org)
	all, err := collect(rows, err, scanMaintenance)
	return all, fault("read open maintenance", err)
}

// RecentMaintenances returns the windows that were made at a time or later, the newest first, at most 2,000.
func (tx *Tx) RecentMaintenances(ctx context.Context, since time.Time) ([]domain.Maintenance, error) {
	rows, err := tx.Query(ctx, "SELECT "+maintenanceColumns+" FROM maintenance_windows WHERE org_id = $1 AND created_at >= $2 ORDER BY created_at DESC, id LIMIT 2000", tx.Org, since)
	all, err := collect(rows, err, scanMaintenance)
	return all, fault("read recent maintenance", err)
}

// SaveMaintenance stores a window as it is to be: a new one, or one whose stored version is still the one that was read. It tells the
// live stream and the window's workflow; told is "" or what people are told of it. KindConflict: another version.
func (tx *Tx) SaveMaintenance(ctx context.Context, m domain.Maintenance, isNew bool, told string) (domain.Maintenance, error) {
	if err := checkText("reason", m.Reason, domain.MaxMaintenanceReason); err != nil {
		return m, err
	}
	scopes, err := json.Marshal(m.Scopes)
	if err != nil {
		return m, domain.E(domain.KindInternal, "write scopes of a maintenance")
	}
	values := []any{tx.Org, m.ID, scopes, m.StartsAt, m.EndsAt, string(m.State), string(m.Approval), m.Reason, clip(m.Note, maxReason), m.ShortNotice, m.RequestedBy,
		m.ApprovedBy, m.ApprovedAt, m.Announced, m.Moved, m.BeganAt, m.DrainedAt, m.ReleasedAt, m.EndedAt, m.Early, m.Connections, m.Held, m.Left, tx.Now}
	var stored domain.Maintenance
	if isNew {
		stored, err = scanMaintenance(tx.QueryRow(ctx, `INSERT INTO maintenance_windows (org_id, id, scopes, starts_at, ends_at, state, approval, reason, note, short_notice,
				requested_by, approved_by, approved_at, announced, moved, began_at, drained_at, released_at, ended_at, early, connections, held, left_over, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $24) RETURNING `+maintenanceColumns, values...))
	} else {
		stored, err = scanMaintenance(tx.QueryRow(ctx, `UPDATE maintenance_windows SET scopes = $3, starts_at = $4, ends_at = $5, state = $6, approval = $7, reason = $8, note = $9,
				short_notice = $10, requested_by = $11, approved_by = $12, approved_at = $13, announced = $14, moved = $15, began_at = $16, drained_at = $17,
				released_at = $18, ended_at = $19, early = $20, connections = $21, held = $22, left_over = $23, updated_at = $24, version = version + 1
			WHERE org_id = $1 AND id = $2 AND version = $25 RETURNING `+maintenanceColumns, append(values, m.Version)...))
		if err == pgx.ErrNoRows {
			return m, domain.E(domain.KindConflict, "the maintenance was changed in the meantime")
		}
	}
	if err != nil {
		return m, fault("store maintenance", err)
	}
	refs := map[string]string{"maintenance": string(m.ID), "state": string(m.State)}
	if told != "" {
		refs["told"] = told
		if m.Announced != nil {
			refs["minutes"] = strconv.Itoa(*m.Announced)
		}
	}
	return stored, tx.Emit(ctx, domain.TopicMaintenance, refs)
}

// WakeMaintenance has a window looked at, and its workflow started where it does not run.
func (tx *Tx) WakeMaintenance(ctx context.Context, id domain.MaintenanceID) error {
	return tx.Enqueue(ctx, OutboxMaintenance, string(id), "", tx.Now)
}

// wakeMaintenances has every window that has not ended looked at.
func (tx *Tx) wakeMaintenances(ctx context.Context) error {
	open, err := tx.OpenMaintenances(ctx)
	if err != nil {
		return err
	}
	for _, m := range open {
		if err := tx.WakeMaintenance(ctx, m.ID); err != nil {
			return err
		}
	}
	return nil
}

// freezeReach is more than any freeze begins before its wedding or lasts after it.
const freezeReach = 40 * 24 * time.Hour

// queueMaintenance has windows looked at that a wedding may have moved into. Whether its freeze touches them is decided there.
func (tx *Tx) queueMaintenance(b *pgx.Batch, written []domain.Booking) {
	var from, until time.Time
	for _, x := range written {
		if x.Category != domain.CategoryWedding || x.Status == domain.StatusCancelled {
			continue
		}
		if from.IsZero() || x.When.Start.Before(from) {
			from = x.When.Start
		}
		if x.When.End.After(until) {
			until = x.When.End
		}
	}
	if from.IsZero() {
		return
	}
	b.Queue(`INSERT INTO outbox (org_id, kind, target_id, due_at, created_at)
		SELECT org_id, $4, id, $5, $5 FROM maintenance_windows WHERE org_id = $1 AND ended_at IS NULL AND ends_at > $2 AND starts_at < $3`,
		tx.Org, from.Add(-freezeReach), until.Add(freezeReach), string(OutboxMaintenance), tx.Now)
}

// PurgeMaintenance removes up to limit windows that ended before [KeptMaintenance], and announced ones that are over as long.
func (tx *Tx) PurgeMaintenance(ctx context.Context, limit int) error {
	before := tx.Now.Add(-KeptMaintenance)
	if _, err := tx.Exec(ctx, `DELETE FROM maintenance_windows WHERE org_id = $1 AND id IN (
		SELECT id FROM maintenance_windows WHERE org_id = $1 AND ended_at < $2 ORDER BY id LIMIT $3)`, tx.Org, before, limit); err != nil {
		return fault("remove old maintenance", err)
	}
	_, err := tx.Exec(ctx, `DELETE FROM provider_windows WHERE org_id = $1 AND id IN (
		SELECT id FROM provider_windows WHERE org_id = $1 AND ends_at < $2 ORDER BY ends_at LIMIT $3)`, tx.Org, before, limit)
	return fault("remove old announcements", err)
}
