package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wedsync/wedsync/internal/domain"
)

// This file holds the bulk reads and writes of package apply: a batch of changes is read, decided and written in a
// handful of round trips whatever its size.

// LinkKeys tells which links concern a batch of changes.
type LinkKeys struct {
	Integration domain.IntegrationID // "" for changes by a person
	ExternalIDs []string
	Removed     []string // external ids whose parts ("id#part") are meant too
	UIDs        []string
	Bookings    []domain.BookingID
}

// LinksFor returns every link, live or removed and of any integration, of the bookings that the keys lead to.
func (tx *Tx) LinksFor(ctx context.Context, k LinkKeys) ([]domain.Link, error) {
	var out []domain.Link
	r := tx.Reads()
	r.Links(k, &out)
	return out, r.Do(ctx)
}

// Links is [Tx.LinksFor] among other reads.
func (r *Reads) Links(k LinkKeys, out *[]domain.Link) {
	hit, args := k.hits(r.tx.Org)
	read(r, "read links", out, hit+` SELECT `+linkColumns+` FROM links WHERE org_id = $1 AND booking_id IN (SELECT booking_id FROM hit)
		ORDER BY id`, scanLink, args...)
}

// Linked reads the bookings that the keys lead to, with details.
func (r *Reads) Linked(k LinkKeys, out *[]domain.Booking) {
	hit, args := k.hits(r.tx.Org)
	read(r, "read linked bookings", out, hit+` SELECT `+bookingColumns+` FROM bookings WHERE org_id = $1 AND id IN (SELECT booking_id FROM hit)`,
		r.tx.scanBooking, args...)
}

// hits is the beginning of a query that finds the bookings of keys.
func (k LinkKeys) hits(org domain.OrgID) (with string, args []any) {
	with = `WITH hit AS (SELECT unnest($2::uuid[]) AS booking_id`
	args = []any{org, arrayOf(k.Bookings)}
	// A part that is not asked for is left out rather than made false: planning it would cost more than the others.
	if k.Integration != "" {
		args = append(args, k.Integration, k.ExternalIDs)
		with += ` UNION SELECT booking_id FROM links WHERE org_id = $1 AND integration_id = $3 AND external_id = ANY($4::text[])`
		if len(k.UIDs) > 0 {
			args = append(args, k.UIDs)
			with += fmt.Sprintf(` UNION SELECT booking_id FROM links WHERE org_id = $1 AND uid = ANY($%d::text[]) AND uid <> '' AND removed_at IS NULL`, len(args))
		}
		if len(k.Removed) > 0 {
			args = append(args, k.Removed)
			with += fmt.Sprintf(` UNION SELECT booking_id FROM links WHERE org_id = $1 AND integration_id = $3
				AND left(external_id, strpos(external_id, '#') - 1) = ANY($%d::text[]) AND strpos(external_id, '#') > 1`, len(args))
		}
	}
	return with + ")", args
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

// LockResources locks the resources among ids against other transactions that change their bookings, in one order for
// all so that two such transactions cannot deadlock. It must come before any read of allocations that a decision
// rests on.
func (tx *Tx) LockResources(ctx context.Context, ids []domain.ResourceID) error {
	var out []domain.Resource
	r := tx.Reads()
	r.LockResources(ids, &out)
	return r.Do(ctx)
}

// LockResources is [Tx.LockResources] among other reads, and returns what was locked. Reads queued after it see what
// was committed before the lock was had.
func (r *Reads) LockResources(ids []domain.ResourceID, out *[]domain.Resource) {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	read(r, "lock resources", out, "SELECT "+resourceColumns+` FROM resources WHERE org_id = $1 AND id = ANY($2::uuid[]) ORDER BY id FOR NO KEY UPDATE`,
		r.tx.scanResource, r.tx.Org, arrayOf(slices.Compact(ids)))
}

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

// KnownConflicts are the conflicts that concern a set of bookings.
type KnownConflicts struct {
	Open      []domain.Conflict // open, ignored, or being carried out
	Dismissed map[string]string // pair to the fingerprint that a person accepted last
}

// ConflictsAmong returns the conflicts of bookings.
func (tx *Tx) ConflictsAmong(ctx context.Context, bookings []domain.BookingID) (KnownConflicts, error) {
	var list []knownConflict
	r := tx.Reads()
	r.conflicts(bookings, &list)
	err := r.Do(ctx)
	return sorted(list), err
}

// Conflicts is [Tx.ConflictsAmong] among other reads; out is filled by Do.
func (r *Reads) Conflicts(bookings []domain.BookingID, out *KnownConflicts) {
	list := new([]knownConflict)
	r.conflicts(bookings, list)
	r.after = append(r.after, func() { *out = sorted(*list) })
}

type knownConflict struct {
	domain.Conflict
	pair, fingerprint string
}

func (r *Reads) conflicts(bookings []domain.BookingID, out *[]knownConflict) {
	if len(bookings) == 0 {
		return
	}
	read(r, "read conflicts", out, `SELECT id, org_id, kind, severity, state, resource_id, booking_id, other_id, overlap_from, overlap_to, explanation, alternatives,
		detected_at, updated_at, version, pair, fingerprint FROM conflicts
		WHERE org_id = $1 AND (booking_id = ANY($2::uuid[]) OR other_id = ANY($2::uuid[])) AND state IN ('dismissed', `+unclosed+`)
		ORDER BY detected_at, id`, func(row pgx.Row) (knownConflict, error) {
		var c knownConflict
		var alternatives []byte
		if err := row.Scan(&c.ID, &c.OrgID, &c.Kind, &c.Severity, &c.State, &c.ResourceID, &c.BookingID, &c.OtherID, &c.Overlap.Start,
			&c.Overlap.End, &c.Explanation, &alternatives, &c.DetectedAt, &c.UpdatedAt, &c.Version, &c.pair, &c.fingerprint); err != nil {
			return c, err
		}
		return c, json.Unmarshal(alternatives, &c.Alternatives)
	}, r.tx.Org, arrayOf(bookings))
}

func sorted(list []knownConflict) KnownConflicts {
	out := KnownConflicts{Dismissed: map[string]string{}}
	for _, c := range list {
		if c.State == domain.ConflictDismissed {
			out.Dismissed[c.pair] = c.fingerprint
			continue
		}
		out.Open = append(out.Open, c.Conflict)
	}
	return out
}

// Exporting returns the integrations of the tenant that take writes.
func (r *Reads) Exporting(out *[]domain.Integration) {
	read(r, "read exporting integrations", out, `SELECT id, org_id, provider, direction, resource_id, state, sync FROM integrations
		WHERE org_id = $1 AND state <> 'deleted' AND direction IN ('export', 'bidirectional') AND copies = 'kept' ORDER BY id`,
		func(row pgx.Row) (i domain.Integration, err error) {
			err = row.Scan(&i.ID, &i.OrgID, &i.Provider, &i.Direction, &i.ResourceID, &i.State, &i.Sync)
			return i, err
		}, r.tx.Org)
}

// ConflictRow is a conflict with what only storage needs to know.
type ConflictRow struct {
	domain.Conflict
	Pair        string
	Fingerprint string
	WeddingDate string // YYYY-MM-DD, "" when no wedding is concerned
}

// Effects is what a decision stores, all of it or nothing.
type Effects struct {
	Bookings    []domain.Booking
	Allocations []domain.Allocation // replace whatever their bookings had
	BookedAt    map[domain.BookingID]time.Time
	Freed       []domain.BookingID
	Links       []domain.Link
	Conflicts   []ConflictRow // new and changed
	Pushes      []domain.Push
	Edits       []domain.EditConflict
	Changes     []domain.BookingChange // why Bookings are as they are
}

// StoreEffects writes effects in one round trip. Resources concerned must be locked by LockResources. An exclusive
// allocation that the database refuses, which the locks should prevent, is KindConflict.
func (tx *Tx) StoreEffects(ctx context.Context, e Effects) error {
	b := &pgx.Batch{}
	if len(e.Bookings) > 0 {
		b.Queue(`INSERT INTO bookings (id, org_id, resource_id, category, status, starts_at, ends_at, zone, time_kind, details, private, free,
				source_id, created_at, updated_at, version, beside_id, held_until, merged_into)
			SELECT id, $1, resource_id, category, status, starts_at, ends_at, zone, time_kind, details, private, free, source_id, created_at, updated_at, version, beside_id,
				held_until, merged_into
			FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::text[], $9::text[], $10::bytea[],
				$11::bool[], $12::bool[], $13::uuid[], $14::timestamptz[], $15::timestamptz[], $16::bigint[], $17::uuid[], $18::timestamptz[], $19::uuid[])
				AS n(id, resource_id, category, status, starts_at, ends_at, zone, time_kind, details, private, free, source_id, created_at, updated_at, version,
					beside_id, held_until, merged_into)
			ON CONFLICT (org_id, id) DO UPDATE SET resource_id = excluded.resource_id, category = excluded.category, status = excluded.status,
				starts_at = excluded.starts_at, ends_at = excluded.ends_at, zone = excluded.zone, time_kind = excluded.time_kind,
				details = excluded.details, private = excluded.private, free = excluded.free, source_id = excluded.source_id,
				updated_at = excluded.updated_at, version = excluded.version, held_until = excluded.held_until, merged_into = excluded.merged_into`,
			tx.Org,
			column(e.Bookings, func(x domain.Booking) domain.BookingID { return x.ID }),
			column(e.Bookings, func(x domain.Booking) domain.ResourceID { return x.ResourceID }),
			column(e.Bookings, func(x domain.Booking) string { return string(x.Category) }),
			column(e.Bookings, func(x domain.Booking) string { return string(x.Status) }),
			column(e.Bookings, func(x domain.Booking) time.Time { return x.When.Start }),
			column(e.Bookings, func(x domain.Booking) time.Time { return x.When.End }),
			column(e.Bookings, func(x domain.Booking) string { return x.When.Zone }),
			column(e.Bookings, func(x domain.Booking) string { return string(x.When.Kind) }),
			column(e.Bookings, func(x domain.Booking) []byte { return tx.sealDetails(x.ID, x.Details) }),
			column(e.Bookings, func(x domain.Booking) bool { return x.Private }),
			column(e.Bookings, func(x domain.Booking) bool { return x.Free }),
			column(e.Bookings, func(x domain.Booking) domain.IntegrationID { return x.SourceID }),
			column(e.Bookings, func(x domain.Booking) time.Time { return x.CreatedAt }),
			column(e.Bookings, func(x domain.Booking) time.Time { return x.UpdatedAt }),
			column(e.Bookings, func(x domain.Booking) int64 { return x.Version }),
			column(e.Bookings, func(x domain.Booking) domain.BookingID { return x.BesideID }),
			column(e.Bookings, func(x domain.Booking) *time.Time { return instant(x.HeldUntil) }),
			column(e.Bookings, func(x domain.Booking) domain.BookingID { return x.MergedInto }))
	}
	gone := slices.Clone(e.Freed)
	for _, a := range e.Allocations {
		gone = append(gone, a.BookingID)
	}
	if len(gone) > 0 {
		b.Queue(`DELETE FROM allocations WHERE org_id = $1 AND booking_id = ANY($2::uuid[])`, tx.Org, arrayOf(gone))
	}
	if len(e.Allocations) > 0 {
		b.Queue(`INSERT INTO allocations (id, org_id, booking_id, resource_id, category, status, starts_at, ends_at, busy_from, busy_to, slot, exclusive, booked_at, expires_at, place)
			SELECT id, $1, booking_id, resource_id, category, status, starts_at, ends_at, busy_from, busy_to, slot, exclusive, booked_at, expires_at, place
			FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::timestamptz[], $8::timestamptz[], $9::timestamptz[], $10::timestamptz[],
				$11::int[], $12::bool[], $13::timestamptz[], $14::timestamptz[], $15::bytea[])
				AS n(id, booking_id, resource_id, category, status, starts_at, ends_at, busy_from, busy_to, slot, exclusive, booked_at, expires_at, place)
			ON CONFLICT DO NOTHING`,
			tx.Org,
			column(e.Allocations, func(x domain.Allocation) domain.AllocationID { return x.ID }),
			column(e.Allocations, func(x domain.Allocation) domain.BookingID { return x.BookingID }),
			column(e.Allocations, func(x domain.Allocation) domain.ResourceID { return x.ResourceID }),
			column(e.Allocations, func(x domain.Allocation) string { return string(x.Category) }),
			column(e.Allocations, func(x domain.Allocation) string { return string(x.Status) }),
			column(e.Allocations, func(x domain.Allocation) time.Time { return x.Event.Start }),
			column(e.Allocations, func(x domain.Allocation) time.Time { return x.Event.End }),
			column(e.Allocations, func(x domain.Allocation) time.Time { return x.Busy.Start }),
			column(e.Allocations, func(x domain.Allocation) time.Time { return x.Busy.End }),
			column(e.Allocations, func(x domain.Allocation) int32 { return int32(x.Slot) }),
			column(e.Allocations, func(x domain.Allocation) bool { return x.Exclusive }),
			column(e.Allocations, func(x domain.Allocation) time.Time { return e.BookedAt[x.BookingID] }),
			column(e.Allocations, func(x domain.Allocation) *time.Time { return instant(x.ExpiresAt) }),
			column(e.Allocations, func(x domain.Allocation) []byte { return tx.sealPlace(x.ID, x.Place) }),
		).Exec(func(tag pgconn.CommandTag) error {
			if tag.RowsAffected() != int64(len(e.Allocations)) {
				return domain.E(domain.KindConflict, "the time was taken by another booking")
			}
			return nil
		})
	}
	tx.queueTimelines(b, e.Bookings)
	tx.queueMaintenance(b, e.Bookings)
	tx.queueWeddings(b, e.Bookings)
	tx.queueLinks(b, e.Links)
	tx.queueConflicts(b, e.Conflicts)
	tx.queuePushes(b, e.Pushes)
	tx.queueEdits(b, e.Edits)
	tx.queueChanges(b, e.Changes)
	if b.Len() == 0 {
		return nil
	}
	// Effects are the last that a transaction does before its audit lines, so the head is fetched along.
	tx.queueAuditHead(b)
	return fault("store effects", tx.SendBatch(ctx, b).Close())
}

func (tx *Tx) queueLinks(b *pgx.Batch, links []domain.Link) {
	if len(links) == 0 {
		return
	}
	b.Queue(`INSERT INTO links (id, org_id, integration_id, booking_id, external_id, uid, revision, mirror, hash, remote_version, written_version, removed_at, updated_at, agreed, how, home_id)
		SELECT id, $1, integration_id, booking_id, external_id, uid, revision, mirror, hash, remote_version, written_version, removed_at, updated_at, agreed, how, home_id
		FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::bool[], $9::text[], $10::bigint[], $11::bigint[],
			$12::timestamptz[], $13::timestamptz[], $14::text[], $15::text[], $16::uuid[])
			AS n(id, integration_id, booking_id, external_id, uid, revision, mirror, hash, remote_version, written_version, removed_at, updated_at, agreed,
				how, home_id)
		ON CONFLICT (org_id, integration_id, external_id) DO UPDATE SET booking_id = excluded.booking_id, uid = excluded.uid,
			revision = excluded.revision, mirror = excluded.mirror, hash = excluded.hash, remote_version = excluded.remote_version,
			written_version = greatest(links.written_version, excluded.written_version), removed_at = excluded.removed_at, updated_at = excluded.updated_at,
			agreed = excluded.agreed, how = excluded.how, home_id = excluded.home_id`,
		tx.Org,
		column(links, func(x domain.Link) domain.LinkID { return x.ID }),
		column(links, func(x domain.Link) domain.IntegrationID { return x.IntegrationID }),
		column(links, func(x domain.Link) domain.BookingID { return x.BookingID }),
		column(links, func(x domain.Link) string { return x.ExternalID }),
		column(links, func(x domain.Link) string { return x.UID }),
		column(links, func(x domain.Link) string { return x.Revision }),
		column(links, func(x domain.Link) bool { return x.Mirror }),
		column(links, func(x domain.Link) string { return x.Hash }),
		column(links, func(x domain.Link) int64 { return x.RemoteVersion }),
		column(links, func(x domain.Link) int64 { return x.WrittenVersion }),
		column(links, func(x domain.Link) *time.Time { return x.RemovedAt }),
		column(links, func(x domain.Link) time.Time { return x.UpdatedAt }),
		column(links, func(x domain.Link) string { return agreedText(x.Agreed) }),
		column(links, func(x domain.Link) string { return clip(x.How, 500) }),
		column(links, func(x domain.Link) domain.BookingID { return x.HomeID }))
}

func (tx *Tx) queueConflicts(b *pgx.Batch, rows []ConflictRow) {
	for _, c := range rows {
		alternatives, err := json.Marshal(c.Alternatives)
		if err != nil || c.Alternatives == nil {
			alternatives = []byte("[]")
		}
		var wedding *string
		if c.WeddingDate != "" {
			wedding = &c.WeddingDate
		}
		b.Queue(`INSERT INTO conflicts (id, org_id, kind, severity, state, resource_id, booking_id, other_id, pair, overlap_from, overlap_to, explanation,
				alternatives, fingerprint, wedding_date, detected_at, updated_at, closed_at, version)
			VALUES ($2, $1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15::text::date, $16, $17, $18, $19)
			ON CONFLICT (org_id, id) DO UPDATE SET kind = excluded.kind, severity = excluded.severity, state = excluded.state, booking_id = excluded.booking_id,
				other_id = excluded.other_id, overlap_from = excluded.overlap_from, overlap_to = excluded.overlap_to, explanation = excluded.explanation,
				alternatives = excluded.alternatives, fingerprint = excluded.fingerprint, wedding_date = excluded.wedding_date,
				updated_at = excluded.updated_at, closed_at = excluded.closed_at, version = excluded.version,
				waiting_since = CASE WHEN conflicts.state = 'ignored' AND excluded.state = 'open' THEN excluded.updated_at ELSE conflicts.waiting_since END,
				escalated_at = CASE WHEN conflicts.state = 'ignored' AND excluded.state = 'open' THEN NULL ELSE conflicts.escalated_at END`,
			tx.Org, c.ID, string(c.Kind), string(c.Severity), string(c.State), c.ResourceID, c.BookingID, c.OtherID, c.Pair, c.Overlap.Start, c.Overlap.End,
			c.Explanation, alternatives, c.Fingerprint, wedding, c.DetectedAt, c.UpdatedAt, c.ClosedAt, c.Version)
	}
}

func (tx *Tx) queuePushes(b *pgx.Batch, pushes []domain.Push) {
	if len(pushes) == 0 {
		return
	}
	b.Queue(`INSERT INTO pushes (id, org_id, integration_id, booking_id, op, want_version, state, created_at, updated_at, wanted_at, trace)
		SELECT id, $1, integration_id, booking_id, op, want_version, 'pending', at, at, at, trace
		FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::timestamptz[], $8::bytea[])
			AS n(id, integration_id, booking_id, op, want_version, at, trace)
		ON CONFLICT (org_id, integration_id, booking_id) DO UPDATE SET op = excluded.op, want_version = excluded.want_version, state = 'pending',
			reason = '', attempts = 0, next_attempt_at = NULL, updated_at = excluded.updated_at, wanted_at = excluded.wanted_at, shown_at = NULL,
			trace = excluded.trace`,
		tx.Org,
		column(pushes, func(x domain.Push) domain.PushID { return x.ID }),
		column(pushes, func(x domain.Push) domain.IntegrationID { return x.IntegrationID }),
		column(pushes, func(x domain.Push) domain.BookingID { return x.BookingID }),
		column(pushes, func(x domain.Push) string { return string(x.Op) }),
		column(pushes, func(x domain.Push) int64 { return x.WantVersion }),
		column(pushes, func(x domain.Push) time.Time { return x.UpdatedAt }),
		column(pushes, func(x domain.Push) []byte { return x.Trace.Bytes() }))
}

// MarkSeen notes that a full listing contained entries.
func (tx *Tx) MarkSeen(ctx context.Context, integration domain.IntegrationID, run domain.SyncRunID, externalIDs []string) error {
	_, err := tx.Exec(ctx, `UPDATE links SET seen_run = $3 WHERE org_id = $1 AND integration_id = $2 AND external_id = ANY($4::text[])`,
		tx.Org, integration, run, externalIDs)
	return fault("mark links as seen", err)
}

// UnseenLinks returns up to limit live links of bookings not over yet that a full listing did not contain, and how many
// live links of such bookings there are in all. Links made after the run began do not count.
func (tx *Tx) UnseenLinks(ctx context.Context, integration domain.IntegrationID, run domain.SyncRun, limit int) (unseen []domain.Link, known int, err error) {
	err = tx.QueryRow(ctx, `SELECT count(*) FROM links l JOIN bookings b ON b.org_id = l.org_id AND b.id = l.booking_id
		WHERE l.org_id = $1 AND l.integration_id = $2 AND l.removed_at IS NULL AND b.ends_at > $3`, tx.Org, integration, tx.Now).Scan(&known)
	if err != nil {
		return nil, 0, fault("count links", err)
	}
	rows, err := tx.Query(ctx, `SELECT `+linkColumnsOfL+`
		FROM links l JOIN bookings b ON b.org_id = l.org_id AND b.id = l.booking_id
		WHERE l.org_id = $1 AND l.integration_id = $2 AND l.removed_at IS NULL AND b.ends_at > $3
			AND l.seen_run IS DISTINCT FROM $4 AND l.updated_at < $5 ORDER BY l.id LIMIT $6`,
		tx.Org, integration, tx.Now, run.ID, run.StartedAt, limit)
	unseen, err = collect(rows, err, scanLink)
	return unseen, known, fault("read unseen links", err)
}

// TouchedLinks returns up to limit live links of bookings not over yet that a full listing did not contain and that were
// changed since the run began: the entry was written meanwhile, or only its link was, after it had been removed there.
func (tx *Tx) TouchedLinks(ctx context.Context, integration domain.IntegrationID, run domain.SyncRun, limit int) ([]domain.Link, error) {
	rows, err := tx.Query(ctx, `SELECT `+linkColumnsOfL+`
		FROM links l JOIN bookings b ON b.org_id = l.org_id AND b.id = l.booking_id
		WHERE l.org_id = $1 AND l.integration_id = $2 AND l.removed_at IS NULL AND b.ends_at > $3
			AND l.seen_run IS DISTINCT FROM $4 AND l.updated_at >= $5 ORDER BY l.id LIMIT $6`,
		tx.Org, integration, tx.Now, run.ID, run.StartedAt, limit)
	out, err := collect(rows, err, scanLink)
	return out, fault("read touched links", err)
}

// LinksNamed returns the live links of entries with one of the ids, of their parts ("id#part"), and of parts of that name
// ("entry#id"), in the order of their ids.
func (tx *Tx) LinksNamed(ctx context.Context, integration domain.IntegrationID, ids []string) ([]domain.Link, error) {
	rows, err := tx.Query(ctx, `SELECT `+linkColumns+`
		FROM links WHERE org_id = $1 AND integration_id = $2 AND removed_at IS NULL AND (external_id = ANY($3::text[])
			OR strpos(external_id, '#') > 0 AND (split_part(external_id, '#', 1) = ANY($3::text[]) OR split_part(external_id, '#', 2) = ANY($3::text[])))
		ORDER BY external_id`, tx.Org, integration, ids)
	out, err := collect(rows, err, scanLink)
	return out, fault("read links by their names", err)
}

// PushesOf returns every push of a booking.
func (tx *Tx) PushesOf(ctx context.Context, booking domain.BookingID) ([]domain.Push, error) {
	rows, err := tx.Query(ctx, "SELECT "+pushColumns+" FROM pushes WHERE org_id = $1 AND booking_id = $2 ORDER BY id", tx.Org, booking)
	out, err := collect(rows, err, scanPush)
	return out, fault("read pushes", err)
}

// StoreLinks stores links, new or changed.
func (tx *Tx) StoreLinks(ctx context.Context, links []domain.Link) error {
	b := &pgx.Batch{}
	tx.queueLinks(b, links)
	if b.Len() == 0 {
		return nil
	}
	return fault("store links", tx.SendBatch(ctx, b).Close())
}

// WeddingDateOf returns the local date of the wedding that a conflict concerns, "" when it concerns none.
func (tx *Tx) WeddingDateOf(ctx context.Context, id domain.ConflictID) (string, error) {
	var date *time.Time
	err := tx.QueryRow(ctx, "SELECT wedding_date FROM conflicts WHERE org_id = $1 AND id = $2", tx.Org, id).Scan(&date)
	if err != nil {
		return "", missing("conflict", "read wedding date", err)
	}
	if date == nil {
		return "", nil
	}
	return date.Format(time.DateOnly), nil
}

// SealDetails seals a booking's details as StoreEffects does, for bulk loads that do not come through a decision.
func (s *Store) SealDetails(org domain.OrgID, id domain.BookingID, d domain.Details) []byte {
	tx := Tx{Org: org, sealer: s.ring.Org(string(org))}
	return tx.sealDetails(id, d)
}
