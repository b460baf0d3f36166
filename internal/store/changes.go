package store

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// queueChanges writes lines of history along with the bookings that they are about.
func (tx *Tx) queueChanges(b *pgx.Batch, list []domain.BookingChange) {
	if len(list) == 0 {
		return
	}
	b.Queue(`INSERT INTO booking_changes (org_id, booking_id, version, at, cause_kind, cause_id, fields)
		SELECT $1, booking_id, version, at, kind, cause, string_to_array(fields, ',')
		FROM unnest($2::uuid[], $3::bigint[], $4::timestamptz[], $5::text[], $6::text[], $7::text[]) n(booking_id, version, at, kind, cause, fields)
		ON CONFLICT DO NOTHING`, tx.Org,
		column(list, func(c domain.BookingChange) domain.BookingID { return c.BookingID }),
		column(list, func(c domain.BookingChange) int64 { return c.Version }),
		column(list, func(c domain.BookingChange) time.Time { return c.At }),
		column(list, func(c domain.BookingChange) string { return string(c.Cause.Kind) }),
		column(list, func(c domain.BookingChange) string { return clip(c.Cause.ID, 200) }),
		column(list, func(c domain.BookingChange) string { return strings.Join(c.Fields, ",") }))
}

// BookingChanges returns up to limit lines of a booking's history, newest first, below a version (0 = from the newest).
func (tx *Tx) BookingChanges(ctx context.Context, booking domain.BookingID, below int64, limit int) ([]domain.BookingChange, error) {
	q := newQuery("SELECT booking_id, version, at, cause_kind, cause_id, fields FROM booking_changes")
	q.where("org_id = %s AND booking_id = %s", tx.Org, booking)
	if below > 0 {
		q.where("version < %s", below)
	}
	q.add(" ORDER BY version DESC LIMIT %s", limit)
	rows, err := tx.Query(ctx, q.text(), q.args...)
	out, err := collect(rows, err, func(row pgx.Row) (c domain.BookingChange, err error) {
		err = row.Scan(&c.BookingID, &c.Version, &c.At, &c.Cause.Kind, &c.Cause.ID, &c.Fields)
		c.At = c.At.UTC()
		return c, err
	})
	return out, fault("read history of booking", err)
}

// LinkAt returns the link of an entry of an integration, also a removed one; KindNotFound when none is known.
func (tx *Tx) LinkAt(ctx context.Context, integration domain.IntegrationID, externalID string) (domain.Link, error) {
	l, err := scanLink(tx.QueryRow(ctx, "SELECT "+linkColumns+" FROM links WHERE org_id = $1 AND integration_id = $2 AND external_id = $3", tx.Org, integration, externalID))
	return l, missing("entry", "read link", err)
}
