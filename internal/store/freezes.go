package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/weddingday"
)

// Freezes are computed from the weddings that hold: not cancelled, not free, and no hold that is over. Nothing of them is
// stored, so a wedding that was made, moved or cancelled by any way counts from its commit on.

const freezeSettingsColumns = "preflight_days, freeze_hours, holds, updated_at, version"

func scanFreezeSettings(row pgx.Row) (s domain.FreezeSettings, err error) {
	err = row.Scan(&s.PreflightDays, &s.FreezeHours, &s.Holds, &s.UpdatedAt, &s.Version)
	s.UpdatedAt = s.UpdatedAt.UTC()
	return s, err
}

const freezeSettingsQuery = "SELECT " + freezeSettingsColumns + " FROM freeze_settings WHERE org_id = $1"

// FreezeSettings returns the tenant's periods; the standard with version 0 where it never said.
func (tx *Tx) FreezeSettings(ctx context.Context) (domain.FreezeSettings, error) {
	rows, err := tx.Query(ctx, freezeSettingsQuery, tx.Org)
	all, err := collect(rows, err, scanFreezeSettings)
	if err != nil {
		return domain.FreezeSettings{}, fault("read freeze settings", err)
	}
	return firstSettings(all), nil
}

// FreezeSettings queues [Tx.FreezeSettings].
func (r *Reads) FreezeSettings(out *domain.FreezeSettings) {
	var stored []domain.FreezeSettings
	r.after = append(r.after, func() { *out = firstSettings(stored) })
	read(r, "read freeze settings", &stored, freezeSettingsQuery, scanFreezeSettings, r.tx.Org)
}

func firstSettings(all []domain.FreezeSettings) domain.FreezeSettings {
	if len(all) == 0 {
		return domain.StandardFreezeSettings()
	}
	return all[0]
}

// PutFreezeSettings stores them if the stored version is expectVersion, 0 for none. Errors: KindInvalid with the field,
// KindConflict for another version.
func (tx *Tx) PutFreezeSettings(ctx context.Context, s domain.FreezeSettings, by string, expectVersion int64) (domain.FreezeSettings, error) {
	if err := s.Validate(""); err != nil {
		return s, err
	}
	tag, err := tx.Exec(ctx, `INSERT INTO freeze_settings (org_id, preflight_days, freeze_hours, holds, updated_by, updated_at) SELECT $1, $2, $3, $4, $5, $6 WHERE $7 = 0
		ON CONFLICT (org_id) DO NOTHING`, tx.Org, s.PreflightDays, s.FreezeHours, string(s.Holds), by, tx.Now, expectVersion)
	if err == nil && tag.RowsAffected() == 0 {
		tag, err = tx.Exec(ctx, `UPDATE freeze_settings SET preflight_days = $2, freeze_hours = $3, holds = $4, updated_by = $5, updated_at = $6, version = version + 1
			WHERE org_id = $1 AND version = $7`, tx.Org, s.PreflightDays, s.FreezeHours, string(s.Holds), by, tx.Now, expectVersion)
	}
	if err != nil {
		return s, fault("store freeze settings", err)
	}
	if tag.RowsAffected() == 0 {
		return s, domain.E(domain.KindConflict, "the freeze settings were changed in the meantime")
	}
	if err := tx.tellWeddings(ctx); err != nil {
		return s, err
	}
	// Freezes that begin earlier may reach into windows of maintenance.
	if err := tx.wakeMaintenances(ctx); err != nil {
		return s, err
	}
	return tx.FreezeSettings(ctx)
}

// weddingRow is a wedding as far as its freeze hangs on it.
type weddingRow struct {
	org          domain.OrgID
	id           domain.BookingID
	when         domain.When
	resourceZone string
	settings     domain.FreezeSettings
}

// weddingsOf reads the weddings whose freezes may touch [$1, $2), see [weddingday.Ahead]; which do is computed from them.
// $3 is $1 less the longest of the short stays, and $4 is now.
func weddingsOf(columns, joins, where string) string {
	part := func(span string) string {
		return "SELECT " + columns + ` FROM bookings b JOIN resources r ON r.org_id = b.org_id AND r.id = b.resource_id` + joins + `
			WHERE ` + where + `b.category = 'wedding' AND b.status <> 'cancelled' AND NOT b.free AND (b.held_until IS NULL OR b.status <> 'tentative' OR b.held_until > $4)
				AND b.starts_at < $2 AND b.ends_at > $1 AND ` + span
	}
	return part("NOT b.long AND b.starts_at > $3") + " UNION ALL " + part("b.long")
}

var (
	freezesQuery         = weddingsOf("b.id, b.starts_at, b.ends_at, b.zone, r.zone", "", "b.org_id = $5 AND ")
	freezesEverywhereSQL = weddingsOf("b.id, b.starts_at, b.ends_at, b.zone, r.zone, b.org_id, coalesce(f.preflight_days, 7), coalesce(f.freeze_hours, 48)",
		" LEFT JOIN freeze_settings f ON f.org_id = b.org_id", "")
)

func freezeSpan(from, until, now time.Time) []any {
	from, until = from.Add(-weddingday.Behind), until.Add(weddingday.Ahead)
	return []any{from, until, from.Add(-longStay), now}
}

func scanWedding(row pgx.Row, more ...any) (w weddingRow, err error) {
	err = row.Scan(append([]any{&w.id, &w.when.Start, &w.when.End, &w.when.Zone, &w.resourceZone}, more...)...)
	return w, err
}

// Freezes returns the tenant's freezes that share an instant with [from, until), in the order of their weddings.
func (tx *Tx) Freezes(ctx context.Context, from, until time.Time) ([]weddingday.Freeze, error) {
	out, _, err := tx.FreezesWith(ctx, from, until)
	return out, err
}

// FreezesWith is Freezes with the settings that they were computed by, in one round trip.
func (tx *Tx) FreezesWith(ctx context.Context, from, until time.Time) ([]weddingday.Freeze, domain.FreezeSettings, error) {
	var stored []domain.FreezeSettings
	var weddings []weddingRow
	r := tx.Reads()
	read(r, "read freeze settings", &stored, freezeSettingsQuery, scanFreezeSettings, tx.Org)
	read(r, "read weddings", &weddings, freezesQuery, func(row pgx.Row) (weddingRow, error) { return scanWedding(row) },
		append(freezeSpan(from, until, tx.Now), tx.Org)...)
	if err := r.Do(ctx); err != nil {
		return nil, domain.FreezeSettings{}, err
	}
	settings := firstSettings(stored)
	var out []weddingday.Freeze
	for _, w := range weddings {
		if f := weddingday.FreezeOf(w.id, w.when, w.resourceZone, weddingday.PeriodsOf(settings)); f.Touches(from, until) {
			out = append(out, f)
		}
	}
	weddingday.Sort(out)
	return out, settings, nil
}

// OrgFreeze is a freeze of some organisation: ids and times.
type OrgFreeze struct {
	Org domain.OrgID `json:"org_id"`
	weddingday.Freeze
}

// FreezesKnown reports whether the schema is of a version in which weddings may be read for all organisations together.
func (s *Store) FreezesKnown(ctx context.Context) (known bool, err error) {
	err = s.system.QueryRow(ctx, "SELECT to_regclass('freeze_settings') IS NOT NULL").Scan(&known)
	return known, fault("look for the table of freeze settings", err)
}

// FreezesEverywhere returns the freezes of all organisations that share an instant with [from, until), the earliest wedding
// first. It is for whoever changes the platform under all of them; nothing in it leads to people.
func (s *Store) FreezesEverywhere(ctx context.Context, from, until time.Time) ([]OrgFreeze, error) {
	rows, err := s.system.Query(ctx, freezesEverywhereSQL+" ORDER BY 2, 1", freezeSpan(from, until, s.timestamp())...)
	weddings, err := collect(rows, err, func(row pgx.Row) (w weddingRow, err error) {
		var org domain.OrgID
		var settings domain.FreezeSettings
		w, err = scanWedding(row, &org, &settings.PreflightDays, &settings.FreezeHours)
		w.org, w.settings = org, settings
		return w, err
	})
	if err != nil {
		return nil, fault("read weddings of all organisations", err)
	}
	var out []OrgFreeze
	for _, w := range weddings {
		if f := weddingday.FreezeOf(w.id, w.when, w.resourceZone, weddingday.PeriodsOf(w.settings)); f.Touches(from, until) {
			out = append(out, OrgFreeze{w.org, f})
		}
	}
	return out, nil
}
