package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

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

// StoreLinks stores links, new or changed.
func (tx *Tx) StoreLinks(ctx context.Context, links []domain.Link) error {
	b := &pgx.Batch{}
	tx.queueLinks(b, links)
	if b.Len() == 0 {
		return nil
	}
	return fault("store links", tx.SendBatch(ctx, b).Close())
}
