package store

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wedsync/wedsync/internal/domain"
)

// ConflictRow is a conflict with what only storage needs to know.
type ConflictRow struct {
	domain.Conflict
	Pair        string
	Fingerprint string
	WeddingDate string // YYYY-MM-DD, "" when no wedding is concerned
}

// Effects is what a decision of package apply stores, all of it or nothing. A batch of changes is read ([Reads]), decided and
// written in a handful of round trips whatever its size.
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
