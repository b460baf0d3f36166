package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/maintenance"
)

// MaintenanceSettings reads what the tenant wants of maintenance; the standard, with version 0, where it set nothing.
func (tx *Tx) MaintenanceSettings(ctx context.Context) (domain.MaintenanceSettings, error) {
	var s domain.MaintenanceSettings
	var seasons []byte
	var at time.Time
	err := tx.QueryRow(ctx, `SELECT approval, notice_minutes, announce_minutes, zone, weekdays, from_minute, until_minute, seasons, when_wedding, propose_days,
		propose_minutes, updated_by, updated_at, version FROM maintenance_settings WHERE org_id = $1`, tx.Org).Scan(&s.Approval, &s.NoticeMinutes, &s.AnnounceMinutes, &s.Zone,
		&s.Weekdays, &s.FromMinute, &s.UntilMinute, &seasons, &s.WhenWedding, &s.ProposeDays, &s.ProposeMinutes, &s.UpdatedBy, &at, &s.Version)
	if err == pgx.ErrNoRows {
		return domain.StandardMaintenanceSettings(), nil
	}
	if err == nil {
		err = json.Unmarshal(seasons, &s.Seasons)
	}
	at = at.UTC()
	s.UpdatedAt = &at
	return s, fault("read settings of maintenance", err)
}

// PutMaintenanceSettings stores them if the stored version is expectVersion, 0 for none, and has every open window looked at. Errors:
// KindInvalid with the field, KindConflict for another version.
func (tx *Tx) PutMaintenanceSettings(ctx context.Context, s domain.MaintenanceSettings, by string, expectVersion int64) (domain.MaintenanceSettings, error) {
	if err := s.Validate(""); err != nil {
		return s, err
	}
	if s.Seasons == nil {
		s.Seasons = []domain.Season{}
	}
	seasons, err := json.Marshal(s.Seasons)
	if err != nil {
		return s, domain.E(domain.KindInternal, "write seasons")
	}
	values := []any{tx.Org, string(s.Approval), s.NoticeMinutes, append([]int{}, s.AnnounceMinutes...), s.Zone, append([]int{}, s.Weekdays...), s.FromMinute, s.UntilMinute, seasons,
		string(s.WhenWedding), clip(by, 200), tx.Now, expectVersion, s.ProposeDays, s.ProposeMinutes}
	tag, err := tx.Exec(ctx, `INSERT INTO maintenance_settings (org_id, approval, notice_minutes, announce_minutes, zone, weekdays, from_minute, until_minute, seasons, when_wedding,
			updated_by, updated_at, propose_days, propose_minutes)
		SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $14, $15 WHERE $13 = 0 ON CONFLICT (org_id) DO NOTHING`, values...)
	if err == nil && tag.RowsAffected() == 0 {
		tag, err = tx.Exec(ctx, `UPDATE maintenance_settings SET approval = $2, notice_minutes = $3, announce_minutes = $4, zone = $5, weekdays = $6, from_minute = $7,
				until_minute = $8, seasons = $9, when_wedding = $10, updated_by = $11, updated_at = $12, propose_days = $14, propose_minutes = $15, version = version + 1
			WHERE org_id = $1 AND version = $13`, values...)
	}
	if err != nil {
		return s, fault("store settings of maintenance", err)
	}
	if tag.RowsAffected() == 0 {
		return s, domain.E(domain.KindConflict, "the settings of maintenance were changed in the meantime")
	}
	if err := tx.wakeMaintenances(ctx); err != nil {
		return s, err
	}
	return tx.MaintenanceSettings(ctx)
}

const providerWindowColumns = "id, org_id, provider, starts_at, ends_at, source, coalesce(maintenance_id::text, ''), created_by, created_at"

func scanProviderWindow(row pgx.Row) (w domain.ProviderWindow, err error) {
	err = row.Scan(&w.ID, &w.OrgID, &w.Provider, &w.StartsAt, &w.EndsAt, &w.Source, &w.MaintenanceID, &w.CreatedBy, &w.CreatedAt)
	w.StartsAt, w.EndsAt, w.CreatedAt = w.StartsAt.UTC(), w.EndsAt.UTC(), w.CreatedAt.UTC()
	return w, err
}

// CreateProviderWindow stores what a provider announced. Call [Tx.LockMaintenance] before. KindConflict: the id is in use, or one too
// many are not over.
func (tx *Tx) CreateProviderWindow(ctx context.Context, w domain.ProviderWindow) (domain.ProviderWindow, error) {
	var n int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM provider_windows WHERE org_id = $1 AND ends_at > $2", tx.Org, tx.Now).Scan(&n); err != nil {
		return w, fault("count announcements", err)
	}
	if n >= domain.MaxProviderWindows {
		return w, domain.E(domain.KindConflict, "at most %d announced windows may be ahead", domain.MaxProviderWindows)
	}
	stored, err := scanProviderWindow(tx.QueryRow(ctx, `INSERT INTO provider_windows (id, org_id, provider, starts_at, ends_at, source, created_by, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING `+providerWindowColumns, w.ID, tx.Org, w.Provider, w.StartsAt, w.EndsAt, w.Source, clip(w.CreatedBy, 200), tx.Now))
	return stored, fault("store announcement", err)
}

// ProviderWindows returns those that overlap a stretch, in the order of their beginnings, at most 1000.
func (tx *Tx) ProviderWindows(ctx context.Context, from, until time.Time) ([]domain.ProviderWindow, error) {
	rows, err := tx.Query(ctx, "SELECT "+providerWindowColumns+` FROM provider_windows WHERE org_id = $1 AND ends_at > $2 AND starts_at < $3
		ORDER BY starts_at, id LIMIT 1000`, tx.Org, from, until)
	all, err := collect(rows, err, scanProviderWindow)
	return all, fault("read announcements", err)
}

// ProviderWindow reads one; KindNotFound when the tenant has no such.
func (tx *Tx) ProviderWindow(ctx context.Context, id domain.ProviderWindowID) (domain.ProviderWindow, error) {
	w, err := scanProviderWindow(tx.QueryRow(ctx, "SELECT "+providerWindowColumns+" FROM provider_windows WHERE org_id = $1 AND id = $2", tx.Org, id))
	return w, missing("announcement", "read announcement", err)
}

// NoteProviderWindowProposed notes which window was proposed for an announcement.
func (tx *Tx) NoteProviderWindowProposed(ctx context.Context, id domain.ProviderWindowID, m domain.MaintenanceID) error {
	_, err := tx.Exec(ctx, "UPDATE provider_windows SET maintenance_id = $3 WHERE org_id = $1 AND id = $2", tx.Org, id, m)
	return fault("note what was proposed for an announcement", err)
}

// DeleteProviderWindow forgets one and returns it; KindNotFound when the tenant has no such.
func (tx *Tx) DeleteProviderWindow(ctx context.Context, id domain.ProviderWindowID) (domain.ProviderWindow, error) {
	w, err := scanProviderWindow(tx.QueryRow(ctx, "DELETE FROM provider_windows WHERE org_id = $1 AND id = $2 RETURNING "+providerWindowColumns, tx.Org, id))
	return w, missing("announcement", "delete announcement", err)
}

// IntegrationTraffic is how many deliveries a connection had by the hour.
type IntegrationTraffic struct {
	Integration domain.IntegrationID
	From        time.Time // since when they are counted
	Hours       []maintenance.HourCount
}

// trafficSample is how many deliveries of a connection are looked at; one that has more is counted over a shorter time.
const trafficSample = 20_000

// Traffic counts the deliveries that connections had since a time and that are done with, by the hour, through the index of each. One
// with very many is counted over its newest 20,000 only, and From says since when; one that had none is counted since since.
func (tx *Tx) Traffic(ctx context.Context, ids []domain.IntegrationID, since time.Time) ([]IntegrationTraffic, error) {
	rows, err := tx.Query(ctx, `SELECT w.id, date_trunc('hour', d.received_at, 'UTC') AS hour, count(*), min(d.received_at), max(d.n)
		FROM unnest($1::uuid[]) w(id) CROSS JOIN LATERAL (SELECT received_at, row_number() OVER (ORDER BY id DESC) AS n FROM deliveries
			WHERE org_id = $2 AND integration_id = w.id AND state <> 'received' AND id >= $3 ORDER BY id DESC LIMIT $4) d
		GROUP BY 1, 2 ORDER BY 1, 2`, arrayOf(ids), tx.Org, domain.NewIDFrom[domain.DeliveryID](since, func([]byte) {}), trafficSample)
	if err != nil {
		return nil, fault("count deliveries by the hour", err)
	}
	found := map[domain.IntegrationID]*IntegrationTraffic{}
	var id domain.IntegrationID
	var hour, first time.Time
	var count, most int64
	if _, err := pgx.ForEachRow(rows, []any{&id, &hour, &count, &first, &most}, func() error {
		t := found[id]
		if t == nil {
			t = &IntegrationTraffic{Integration: id, From: since}
			found[id] = t
		}
		if most >= trafficSample && first.After(since) {
			t.From = first.UTC()
		}
		t.Hours = append(t.Hours, maintenance.HourCount{Hour: hour.UTC(), Count: count})
		return nil
	}); err != nil {
		return nil, fault("count deliveries by the hour", err)
	}
	out := make([]IntegrationTraffic, 0, len(ids))
	for _, id := range ids {
		if t := found[id]; t != nil {
			out = append(out, *t)
			continue
		}
		out = append(out, IntegrationTraffic{Integration: id, From: since})
	}
	return out, nil
}
