package store

import (
	"context"
	"slices"
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

// linkColumns are what scanLink reads, and linkColumnsOfL the same of a table named l.
const (
	linkColumns = `id, org_id, integration_id, booking_id, external_id, uid, revision, mirror, hash, remote_version,
	written_version, agreed, seen_run, removed_at, updated_at, how, home_id`
	linkColumnsOfL = `l.id, l.org_id, l.integration_id, l.booking_id, l.external_id, l.uid, l.revision, l.mirror, l.hash, l.remote_version,
	l.written_version, l.agreed, l.seen_run, l.removed_at, l.updated_at, l.how, l.home_id`
)

func scanLink(row pgx.Row) (l domain.Link, err error) {
	var agreed string
	err = row.Scan(&l.ID, &l.OrgID, &l.IntegrationID, &l.BookingID, &l.ExternalID, &l.UID, &l.Revision, &l.Mirror, &l.Hash,
		&l.RemoteVersion, &l.WrittenVersion, &agreed, &l.SeenRun, &l.RemovedAt, &l.UpdatedAt, &l.How, &l.HomeID)
	if err != nil {
		return l, err
	}
	l.RemovedAt, l.UpdatedAt = utc(l.RemovedAt), l.UpdatedAt.UTC()
	l.Agreed, err = parseAgreed(agreed)
	return l, err
}

// LinksOf lists all copies of a booking, removed ones included, in the order in which they were found.
func (tx *Tx) LinksOf(ctx context.Context, booking domain.BookingID) ([]domain.Link, error) {
	rows, err := tx.Query(ctx, "SELECT "+linkColumns+" FROM links WHERE org_id = $1 AND booking_id = $2 ORDER BY id", tx.Org, booking)
	out, err := collect(rows, err, scanLink)
	return out, fault("read links", err)
}

// BusyAllocation is an allocation with the time at which its booking was made, which decides who gives way.
type BusyAllocation struct {
	domain.Allocation
	BookedAt time.Time
}

// BusyBetween returns the allocations of resources whose busy time, buffers included, shares an instant with span, by
// their start. Holds that are over are left out, cancelled or not. It reads through the b-tree indexes, which row-level
// security does not get in the way of.
func (tx *Tx) BusyBetween(ctx context.Context, resources []domain.ResourceID, span domain.Span) ([]BusyAllocation, error) {
	if !span.End.After(span.Start) {
		return nil, domain.Invalid("span", "end must be after start")
	}
	rows, err := tx.Query(ctx, busyQuery, tx.Org, arrayOf(resources), span.Start, span.End, span.Start.Add(-longStay), tx.Now)
	out, err := collect(rows, err, tx.scanBusy)
	if err != nil {
		return nil, fault("read allocations", err)
	}
	slices.SortFunc(out, func(a, b BusyAllocation) int { return a.Busy.Start.Compare(b.Busy.Start) })
	return out, nil
}

const allocationColumns = `id, org_id, booking_id, resource_id, category, status, starts_at, ends_at, busy_from, busy_to, slot,
	exclusive, booked_at, expires_at, place`

const busyQuery = "SELECT " + allocationColumns + ` FROM allocations WHERE org_id = $1 AND resource_id = ANY($2::uuid[])
		AND NOT long AND busy_from < $4 AND busy_from > $5 AND busy_to > $3 AND (expires_at IS NULL OR expires_at > $6)
	UNION ALL SELECT ` + allocationColumns + ` FROM allocations WHERE org_id = $1 AND resource_id = ANY($2::uuid[])
		AND long AND busy_to > $3 AND busy_from < $4 AND (expires_at IS NULL OR expires_at > $6)`

func (tx *Tx) scanBusy(row pgx.Row) (a BusyAllocation, err error) {
	var expires *time.Time
	var place []byte
	err = row.Scan(&a.ID, &a.OrgID, &a.BookingID, &a.ResourceID, &a.Category, &a.Status, &a.Event.Start, &a.Event.End,
		&a.Busy.Start, &a.Busy.End, &a.Slot, &a.Exclusive, &a.BookedAt, &expires, &place)
	if err != nil {
		return a, err
	}
	if a.Place, err = tx.openPlace(a.ID, place); err != nil {
		return a, err
	}
	a.ExpiresAt = moment(expires)
	a.Event = domain.Span{Start: a.Event.Start.UTC(), End: a.Event.End.UTC()}
	a.Busy = domain.Span{Start: a.Busy.Start.UTC(), End: a.Busy.End.UTC()}
	a.BookedAt = a.BookedAt.UTC()
	return a, err
}
