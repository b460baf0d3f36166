package store

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const allocationColumns = `id, org_id, booking_id, resource_id, category, status, starts_at, ends_at, busy_from, busy_to, slot,
	exclusive, booked_at, expires_at, place`

// BusyAllocation is an allocation with the time at which its booking was made, which decides who gives way.
type BusyAllocation struct {
	domain.Allocation
	BookedAt time.Time
}

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

const busyQuery = "SELECT " + allocationColumns + ` FROM allocations WHERE org_id = $1 AND resource_id = ANY($2::uuid[])
		AND NOT long AND busy_from < $4 AND busy_from > $5 AND busy_to > $3 AND (expires_at IS NULL OR expires_at > $6)
	UNION ALL SELECT ` + allocationColumns + ` FROM allocations WHERE org_id = $1 AND resource_id = ANY($2::uuid[])
		AND long AND busy_to > $3 AND busy_from < $4 AND (expires_at IS NULL OR expires_at > $6)`

// Near is a stretch of a resource's time.
type Near struct {
	Resource domain.ResourceID
	Span     domain.Span
}

const nearColumns = `a.id, a.org_id, a.booking_id, a.resource_id, a.category, a.status, a.starts_at, a.ends_at, a.busy_from, a.busy_to, a.slot,
	a.exclusive, a.booked_at, a.expires_at, a.place`

// AllocationsNear returns the allocations that overlap any of the stretches, each once. Holds that are over are left out,
// cancelled or not. It reads through the b-tree
// indexes; see the migration for why.
func (tx *Tx) AllocationsNear(ctx context.Context, near []Near) ([]BusyAllocation, error) {
	var out []BusyAllocation
	r := tx.Reads()
	r.AllocationsNear(near, &out)
	return out, r.Do(ctx)
}

// AllocationsNear is [Tx.AllocationsNear] among other reads.
func (r *Reads) AllocationsNear(near []Near, out *[]BusyAllocation) {
	// Joined stretches do not overlap, but a long allocation may touch two.
	if near = merge(near); len(near) == 0 {
		return
	}
	read(r, "read allocations", out, nearQuery, r.tx.scanBusy, r.tx.Org,
		column(near, func(n Near) domain.ResourceID { return n.Resource }),
		column(near, func(n Near) time.Time { return n.Span.Start }),
		column(near, func(n Near) time.Time { return n.Span.End }),
		column(near, func(n Near) time.Time { return n.Span.Start.Add(-longStay) }), r.tx.Now)
}

var nearQuery = `WITH near AS MATERIALIZED (SELECT * FROM unnest($2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[])
		AS n(resource_id, f, t, since)) ` + nearSelect("UNION", "$6", "")

// nearSelect reads the allocations that overlap the stretches of a query named near. A stretch brings along since, which
// is longStay before it begins: below row-level security an index is not used for a condition with a calculation in it,
// and everything that the resource ever had would be read.
// now is the parameter with the time after which holds still count. fence is put behind each look-up: "OFFSET 0" keeps the
// planner from making a join of them that reads the whole table, which it takes for cheaper where near is long.
func nearSelect(union, now, fence string) string {
	return `SELECT ` + nearColumns + ` FROM near n CROSS JOIN LATERAL (
			SELECT * FROM allocations s WHERE s.org_id = $1 AND s.resource_id = n.resource_id AND NOT s.long
				AND s.busy_from < n.t AND s.busy_from > n.since AND s.busy_to > n.f AND (s.expires_at IS NULL OR s.expires_at > ` + now + `) ` + fence + `) a
		` + union + `
		SELECT ` + nearColumns + ` FROM near n CROSS JOIN LATERAL (
			SELECT * FROM allocations l WHERE l.org_id = $1 AND l.resource_id = n.resource_id AND l.long
				AND l.busy_to > n.f AND l.busy_from < n.t AND (l.expires_at IS NULL OR l.expires_at > ` + now + `) ` + fence + `) a`
}

// neighbours is how many resources [Reads.Neighbours] looks at. It is part of the statement, because the planner takes
// an unknown limit for a share of the table.
const neighbours = "12"

// Neighbours reads the first resources of the tenant, a dozen at most, and what they have in a stretch of time.
func (r *Reads) Neighbours(span domain.Span, resources *[]domain.Resource, near *[]BusyAllocation) {
	read(r, "read resources", resources, "SELECT "+resourceColumns+" FROM resources WHERE org_id = $1 ORDER BY id LIMIT "+neighbours, r.tx.scanResource, r.tx.Org)
	read(r, "read allocations", near, `WITH near AS MATERIALIZED (SELECT id AS resource_id, $2::timestamptz AS f, $3::timestamptz AS t,
			$4::timestamptz AS since FROM resources WHERE org_id = $1 ORDER BY id LIMIT `+neighbours+`)
		`+nearSelect("UNION ALL", "$5", ""), r.tx.scanBusy, r.tx.Org, span.Start, span.End, span.Start.Add(-longStay), r.tx.Now)
}

// merge joins stretches of one resource that overlap or touch.
func merge(near []Near) []Near {
	near = slices.Clone(near)
	slices.SortFunc(near, func(a, b Near) int {
		if a.Resource != b.Resource {
			if a.Resource < b.Resource {
				return -1
			}
			return 1
		}
		return a.Span.Start.Compare(b.Span.Start)
	})
	out := near[:0]
	for _, n := range near {
		if last := len(out) - 1; last >= 0 && out[last].Resource == n.Resource && !n.Span.Start.After(out[last].Span.End) {
			if n.Span.End.After(out[last].Span.End) {
				out[last].Span.End = n.Span.End
			}
			continue
		}
		out = append(out, n)
	}
	return out
}
