package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const bookingColumns = `id, org_id, resource_id, category, status, starts_at, ends_at, zone, time_kind, details, private, free,
	source_id, beside_id, created_at, updated_at, version, held_until, merged_into`

// longStay is where a stretch of time stops being short. Short ones are found by their start, at most this far before
// the time asked for; the few long ones have indexes of their own. The migration's generated columns use the same limit.
const longStay = 3 * 24 * time.Hour

// scanBooking reads a row of bookingColumns and opens the details.
func (tx *Tx) scanBooking(row pgx.Row) (domain.Booking, error) {
	var b domain.Booking
	var sealed []byte
	var held *time.Time
	err := row.Scan(&b.ID, &b.OrgID, &b.ResourceID, &b.Category, &b.Status, &b.When.Start, &b.When.End, &b.When.Zone,
		&b.When.Kind, &sealed, &b.Private, &b.Free, &b.SourceID, &b.BesideID, &b.CreatedAt, &b.UpdatedAt, &b.Version, &held, &b.MergedInto)
	if err != nil {
		return b, err
	}
	b.When.Start, b.When.End = b.When.Start.UTC(), b.When.End.UTC()
	b.CreatedAt, b.UpdatedAt, b.HeldUntil = b.CreatedAt.UTC(), b.UpdatedAt.UTC(), moment(held)
	b.Details, err = tx.openDetails(b.ID, sealed)
	return b, err
}

// moment is the time in a column that may be NULL, which is the zero time.
func moment(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// instant is the other way.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Booking reads one booking with its details; KindNotFound when the tenant has no such.
func (tx *Tx) Booking(ctx context.Context, id domain.BookingID) (domain.Booking, error) {
	b, err := tx.scanBooking(tx.QueryRow(ctx, "SELECT "+bookingColumns+" FROM bookings WHERE org_id = $1 AND id = $2", tx.Org, id))
	return b, missing("booking", "read booking", err)
}

// BookingFilter narrows a list; empty fields do not.
type BookingFilter struct {
	From, To time.Time // bookings that share an instant with [From, To); either end may be zero, which leaves it open
	Resource domain.ResourceID
	Category domain.Category
	Status   domain.BookingStatus
}

// Bookings lists bookings by their start.
func (tx *Tx) Bookings(ctx context.Context, f BookingFilter, p Page) ([]domain.Booking, string, error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	q, err := bookingQuery(tx.Org, f, p, limit+1)
	if err != nil {
		return nil, "", err
	}
	rows, err := tx.Query(ctx, q.text(), q.args...)
	all, err := collect(rows, err, tx.scanBooking)
	if err != nil {
		return nil, "", fault("list bookings", err)
	}
	all, next := cut(all, limit, func(b domain.Booking) string { return timeCursor(b.When.Start, string(b.ID)) })
	return all, next, nil
}

func bookingQuery(org domain.OrgID, f BookingFilter, p Page, limit int) (*query, error) {
	if f.Category != "" && !f.Category.Valid() {
		return nil, domain.Invalid("category", "is not a category of bookings")
	}
	switch f.Status {
	case "", domain.StatusConfirmed, domain.StatusTentative, domain.StatusCancelled:
	default:
		return nil, domain.Invalid("status", "must be confirmed, tentative or cancelled")
	}
	if !f.From.IsZero() && !f.To.IsZero() && !f.To.After(f.From) {
		return nil, domain.Invalid("to", "must be after from")
	}
	var afterAt time.Time
	var afterID string
	if p.After != "" {
		var err error
		if afterAt, afterID, err = parseTimeCursor(p.After); err != nil {
			return nil, err
		}
	}
	q := &query{}
	part := func(open string, conditions func()) {
		q.add(open + "SELECT " + bookingColumns + " FROM bookings")
		q.word = " WHERE "
		q.where("org_id = %s", org)
		if !f.To.IsZero() {
			q.where("starts_at < %s", f.To)
		}
		if f.Resource != "" {
			q.where("resource_id = %s", f.Resource)
		}
		if f.Category != "" {
			q.where("category = %s", string(f.Category))
		}
		if f.Status != "" {
			q.where("status = %s", string(f.Status))
		}
		if p.After != "" {
			q.where("(starts_at, id) > (%s, %s)", afterAt, rowID(afterID))
		}
		conditions()
		q.add(" ORDER BY starts_at, id LIMIT %s", limit)
	}
	if f.From.IsZero() {
		part("", func() {})
		return q, nil
	}
	part("(", func() { q.where("NOT long AND ends_at > %s AND starts_at > %s", f.From, f.From.Add(-longStay)) })
	part(") UNION ALL (", func() { q.where("long AND ends_at > %s", f.From) })
	q.add(") ORDER BY starts_at, id LIMIT %s", limit)
	return q, nil
}

// BookingsByID returns the bookings that exist among ids, with details.
func (tx *Tx) BookingsByID(ctx context.Context, ids []domain.BookingID) (map[domain.BookingID]domain.Booking, error) {
	var list []domain.Booking
	r := tx.Reads()
	r.Bookings(ids, &list)
	if err := r.Do(ctx); err != nil {
		return nil, err
	}
	out := make(map[domain.BookingID]domain.Booking, len(list))
	for _, b := range list {
		out[b.ID] = b
	}
	return out, nil
}

// Bookings is [Tx.BookingsByID] among other reads, as a list.
func (r *Reads) Bookings(ids []domain.BookingID, out *[]domain.Booking) {
	if len(ids) == 0 {
		return
	}
	read(r, "read bookings", out, "SELECT "+bookingColumns+` FROM bookings WHERE org_id = $1 AND id = ANY($2::uuid[])`, r.tx.scanBooking,
		r.tx.Org, arrayOf(ids))
}

// SealDetails seals a booking's details as StoreEffects does, for bulk loads that do not come through a decision.
func (s *Store) SealDetails(org domain.OrgID, id domain.BookingID, d domain.Details) []byte {
	tx := Tx{Org: org, sealer: s.ring.Org(string(org))}
	return tx.sealDetails(id, d)
}
