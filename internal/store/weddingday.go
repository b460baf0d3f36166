package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// This file is what the care for a wedding reads of its connections, and what it keeps of its day.

// WeddingReach returns the connections that carry bookings of some resources, or an entry of a wedding, deleted ones left out, in
// the order of ids.
func (tx *Tx) WeddingReach(ctx context.Context, wedding domain.BookingID, resources []domain.ResourceID) ([]domain.Integration, error) {
	rows, err := tx.Query(ctx, "SELECT "+integrationColumns+` FROM integrations i WHERE i.org_id = $1 AND i.state <> 'deleted'
		AND (i.resource_id = ANY($2::uuid[]) OR i.id IN (SELECT integration_id FROM links WHERE org_id = $1 AND booking_id = $3 AND removed_at IS NULL)) ORDER BY i.id`,
		tx.Org, arrayOf(resources), wedding)
	out, err := collect(rows, err, scanIntegrationRow)
	return out, fault("read connections of a wedding", err)
}

// DeliveriesAbout returns the newest deliveries that tell of a booking and wait, or were given up, at most limit. Of those that
// were never read nobody knows what they tell of.
func (tx *Tx) DeliveriesAbout(ctx context.Context, booking domain.BookingID, limit int) ([]domain.Delivery, error) {
	rows, err := tx.Query(ctx, "SELECT "+deliveryColumns+` FROM deliveries WHERE org_id = $1 AND entity <> ''
		AND entity = ANY (ARRAY(SELECT external_id FROM links WHERE org_id = $1 AND booking_id = $2))
		AND integration_id = ANY (ARRAY(SELECT integration_id FROM links WHERE org_id = $1 AND booking_id = $2))
		AND state IN ('received', 'retrying', 'dead') ORDER BY id DESC LIMIT $3`, tx.Org, booking, limit)
	out, err := collect(rows, err, scanDelivery)
	return out, fault("read deliveries about a booking", err)
}

// UnreadDeliveries counts the deliveries of connections that were given up after a time before anybody knew what they tell of.
func (tx *Tx) UnreadDeliveries(ctx context.Context, ids []domain.IntegrationID, since time.Time) (map[domain.IntegrationID]int, error) {
	rows, err := tx.Query(ctx, `SELECT integration_id, count(*) FROM deliveries WHERE org_id = $1 AND state = 'dead' AND id >= $3 AND integration_id = ANY($2::uuid[])
		AND entity = '' GROUP BY integration_id`, tx.Org, arrayOf(ids), idFloor(since))
	out, err := collectMap[domain.IntegrationID, int](rows, err)
	return out, fault("count unread deliveries", err)
}

// LastReadings returns the newest run of each connection that came to an end, done or failed.
func (tx *Tx) LastReadings(ctx context.Context, ids []domain.IntegrationID) (map[domain.IntegrationID]domain.SyncRun, error) {
	rows, err := tx.Query(ctx, `SELECT s.integration_id, s.state, s.error FROM unnest($2::uuid[]) i(id) CROSS JOIN LATERAL (
			SELECT integration_id, state, error FROM sync_runs WHERE org_id = $1 AND integration_id = i.id AND ended_at IS NOT NULL AND state IN ('done', 'failed')
			ORDER BY id DESC LIMIT 1) s`, tx.Org, arrayOf(ids))
	if err != nil {
		return nil, fault("read last readings", err)
	}
	out := map[domain.IntegrationID]domain.SyncRun{}
	var r domain.SyncRun
	_, err = pgx.ForEachRow(rows, []any{&r.IntegrationID, &r.State, &r.Error}, func() error {
		out[r.IntegrationID] = r
		return nil
	})
	return out, fault("read last readings", err)
}

// HealthMovesOf returns the moves of connections behind a Seq, from a time on, the oldest first, at most limit.
func (tx *Tx) HealthMovesOf(ctx context.Context, ids []domain.IntegrationID, seq int64, from time.Time, limit int) ([]domain.HealthChange, error) {
	rows, err := tx.Query(ctx, "SELECT "+healthChangeColumns+` FROM health_changes WHERE org_id = $1 AND integration_id = ANY($2::uuid[]) AND seq > $3 AND at >= $4
		ORDER BY seq LIMIT $5`, tx.Org, arrayOf(ids), seq, from, limit)
	out, err := collect(rows, err, scanHealthChange)
	return out, fault("read moves of health", err)
}

// AlertsOf returns the alerts about connections that are not resolved, or were at or after a time.
func (tx *Tx) AlertsOf(ctx context.Context, ids []domain.IntegrationID, since time.Time) ([]domain.Alert, error) {
	targets := make([]string, len(ids))
	for n, id := range ids {
		targets[n] = string(id)
	}
	rows, err := tx.Query(ctx, "SELECT "+alertColumns+` FROM alerts WHERE org_id = $1 AND target = ANY($2::text[]) AND (resolved_at IS NULL OR resolved_at >= $3)
		ORDER BY id LIMIT 500`, tx.Org, targets, since)
	out, err := collect(rows, err, scanAlert)
	return out, fault("read alerts of connections", err)
}

// ConflictsClosedSince returns the conflicts of bookings that were detected or closed at or after a time, and are over, the oldest
// first, at most limit.
func (tx *Tx) ConflictsClosedSince(ctx context.Context, bookings []domain.BookingID, since time.Time, limit int) ([]domain.Conflict, error) {
	rows, err := tx.Query(ctx, "SELECT "+conflictColumns+` FROM conflicts WHERE org_id = $1 AND (booking_id = ANY($2::uuid[]) OR other_id = ANY($2::uuid[])) AND closed_at >= $3
		ORDER BY detected_at, id LIMIT $4`, tx.Org, arrayOf(bookings), since, limit)
	out, err := collect(rows, err, scanConflict)
	return out, fault("read closed conflicts of bookings", err)
}

// PutWeddingConnections notes which connections a wedding rests on during its day, in the place of those noted before, and
// returns those that are it no more.
func (tx *Tx) PutWeddingConnections(ctx context.Context, wedding domain.BookingID, ids []domain.IntegrationID, starts, until time.Time) (gone []domain.IntegrationID, err error) {
	ids = append([]domain.IntegrationID{}, ids...) // nil would be NULL, which no row is in or out of
	rows, err := tx.Query(ctx, "DELETE FROM wedding_connections WHERE org_id = $1 AND booking_id = $2 AND NOT integration_id = ANY($3::uuid[]) RETURNING integration_id",
		tx.Org, wedding, arrayOf(ids))
	if gone, err = collect(rows, err, func(row pgx.Row) (id domain.IntegrationID, err error) { return id, row.Scan(&id) }); err != nil {
		return nil, fault("note connections of a wedding day", err)
	}
	if len(ids) > 0 {
		if _, err := tx.Exec(ctx, `INSERT INTO wedding_connections (org_id, integration_id, booking_id, starts_at, until) SELECT $1, id, $2, $4, $5 FROM unnest($3::uuid[]) v(id)
			ON CONFLICT (org_id, integration_id, booking_id) DO UPDATE SET starts_at = excluded.starts_at, until = excluded.until`,
			tx.Org, wedding, arrayOf(ids), starts, until); err != nil {
			return nil, fault("note connections of a wedding day", err)
		}
	}
	return gone, nil
}

// WeddingDay is the day of a wedding that a connection serves.
type WeddingDay struct {
	Integration domain.IntegrationID
	Wedding     domain.BookingID
	Starts      time.Time // of the wedding
	Until       time.Time // of the day
}

// WeddingDays returns which connections serve a wedding whose day goes on, by connection the one that ends last.
func (tx *Tx) WeddingDays(ctx context.Context) (map[domain.IntegrationID]WeddingDay, error) {
	rows, err := tx.Query(ctx, "SELECT integration_id, booking_id, starts_at, until FROM wedding_connections WHERE org_id = $1 AND until > $2 ORDER BY until", tx.Org, tx.Now)
	if err != nil {
		return nil, fault("read wedding days", err)
	}
	out := map[domain.IntegrationID]WeddingDay{}
	var d WeddingDay
	_, err = pgx.ForEachRow(rows, []any{&d.Integration, &d.Wedding, &d.Starts, &d.Until}, func() error {
		d.Starts, d.Until = d.Starts.UTC(), d.Until.UTC()
		out[d.Integration] = d
		return nil
	})
	return out, fault("read wedding days", err)
}

// tellWeddingsOf tells the weddings whose day goes on that a connection which they rest on moved.
func (tx *Tx) tellWeddingsOf(ctx context.Context, id domain.IntegrationID) error {
	rows, err := tx.Query(ctx, "SELECT booking_id FROM wedding_connections WHERE org_id = $1 AND integration_id = $2 AND until > $3", tx.Org, id, tx.Now)
	weddings, err := collect(rows, err, func(row pgx.Row) (id domain.BookingID, err error) { return id, row.Scan(&id) })
	if err != nil {
		return fault("read weddings of a connection", err)
	}
	for _, w := range weddings {
		if err := tx.TellWedding(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// AddWeddingNotes writes lines of the log of a wedding day, and returns those that were not there yet.
func (tx *Tx) AddWeddingNotes(ctx context.Context, wedding domain.BookingID, notes []domain.WeddingNote) (added []domain.WeddingNote, err error) {
	for _, n := range notes {
		tag, err := tx.Exec(ctx, `INSERT INTO wedding_notes (org_id, booking_id, at, kind, bad, subject, text, key) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (org_id, booking_id, key) DO NOTHING`, tx.Org, wedding, n.At, string(n.Kind), n.Bad, n.Subject, clip(n.Text, maxReason), n.Key)
		if err != nil {
			return nil, fault("note what happened on a wedding day", err)
		}
		if tag.RowsAffected() > 0 {
			added = append(added, n)
		}
	}
	return added, nil
}

// WeddingNotes returns the log of a wedding from a time on, the oldest first, at most limit.
func (tx *Tx) WeddingNotes(ctx context.Context, wedding domain.BookingID, from time.Time, limit int) ([]domain.WeddingNote, error) {
	rows, err := tx.Query(ctx, `SELECT seq, booking_id, at, kind, bad, subject, text, key FROM wedding_notes WHERE org_id = $1 AND booking_id = $2 AND at >= $3
		ORDER BY at, seq LIMIT $4`, tx.Org, wedding, from, limit)
	out, err := collect(rows, err, func(row pgx.Row) (n domain.WeddingNote, err error) {
		err = row.Scan(&n.Seq, &n.BookingID, &n.At, &n.Kind, &n.Bad, &n.Subject, &n.Text, &n.Key)
		n.At = n.At.UTC()
		return n, err
	})
	return out, fault("read log of a wedding day", err)
}

// SaveHandOver stores the report of a wedding day; another one of the same day takes its place.
func (tx *Tx) SaveHandOver(ctx context.Context, h domain.HandOver) error {
	_, err := tx.Exec(ctx, `INSERT INTO wedding_handovers (org_id, booking_id, day_from, report, made_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (org_id, booking_id, day_from) DO UPDATE SET report = excluded.report, made_at = excluded.made_at`, tx.Org, h.BookingID, h.DayFrom, h, tx.Now)
	return fault("store report of a wedding day", err)
}

// HandOver reads the newest report of a wedding's day; KindNotFound when there is none.
func (tx *Tx) HandOver(ctx context.Context, wedding domain.BookingID) (h domain.HandOver, err error) {
	err = tx.QueryRow(ctx, "SELECT report FROM wedding_handovers WHERE org_id = $1 AND booking_id = $2 ORDER BY day_from DESC LIMIT 1", tx.Org, wedding).Scan(&h)
	if err != nil {
		return h, missing("report of the day", "read report of a wedding day", err)
	}
	h.OrgID = tx.Org
	for i := range h.Failures {
		f := &h.Failures[i]
		end := h.MadeAt
		if f.OverAt != nil {
			end = *f.OverAt
		}
		f.Lasted = max(end.Sub(f.NoticedAt), 0)
	}
	return h, nil
}
