package store

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// FeedHash is the SHA-256 of the token in a feed's address.
type FeedHash = [32]byte

// feedReadEvery is how often a reading of an unchanged feed is written down.
const feedReadEvery = time.Minute

const feedColumns = "id, resource_id, label, detail, past_days, future_days, created_by, created_at, revoked_at, last_read_at"

func scanFeed(row pgx.Row) (f domain.Feed, err error) {
	err = row.Scan(&f.ID, &f.ResourceID, &f.Label, &f.Detail, &f.PastDays, &f.FutureDays, &f.CreatedBy, &f.CreatedAt, &f.RevokedAt, &f.LastReadAt)
	f.CreatedAt, f.RevokedAt, f.LastReadAt = f.CreatedAt.UTC(), utc(f.RevokedAt), utc(f.LastReadAt)
	return f, err
}

// CreateFeed stores a feed of a resource; CreatedAt becomes the time of the transaction. Errors: KindInvalid with the
// field, KindNotFound for a resource that the tenant does not have, KindConflict for more than [domain.MaxFeeds] in use.
func (tx *Tx) CreateFeed(ctx context.Context, f domain.Feed, hash FeedHash) error {
	if err := f.Validate(); err != nil {
		return err
	}
	if err := checkText("label", f.Label, 4*domain.MaxFeedLabel); err != nil {
		return err
	}
	// The lock keeps two at once from both taking the last place.
	var there bool
	err := tx.QueryRow(ctx, "SELECT true FROM resources WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE", tx.Org, f.ResourceID).Scan(&there)
	if err != nil {
		return missing("resource", "lock resource", err)
	}
	var have int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM feeds WHERE org_id = $1 AND resource_id = $2 AND revoked_at IS NULL", tx.Org, f.ResourceID).Scan(&have); err != nil {
		return fault("count feeds", err)
	}
	if have >= domain.MaxFeeds {
		return domain.E(domain.KindConflict, "the resource has %d feeds in use already; revoke one first", have)
	}
	_, err = tx.Exec(ctx, `INSERT INTO feeds (id, org_id, resource_id, token_hash, label, detail, past_days, future_days, created_by, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		f.ID, tx.Org, f.ResourceID, hash[:], f.Label, string(f.Detail), f.PastDays, f.FutureDays, f.CreatedBy, tx.Now)
	return fault("create feed", err)
}

// Feed reads one feed of a resource, also a revoked one; KindNotFound when the resource has none of this id.
func (tx *Tx) Feed(ctx context.Context, resource domain.ResourceID, id domain.FeedID) (domain.Feed, error) {
	f, err := scanFeed(tx.QueryRow(ctx, "SELECT "+feedColumns+" FROM feeds WHERE org_id = $1 AND resource_id = $2 AND id = $3", tx.Org, resource, id))
	return f, missing("feed", "read feed", err)
}

// Feeds lists the feeds of a resource in the order in which they were made, revoked ones included.
func (tx *Tx) Feeds(ctx context.Context, resource domain.ResourceID, p Page) ([]domain.Feed, string, error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	after, err := p.afterID(firstUUID)
	if err != nil {
		return nil, "", err
	}
	rows, err := tx.Query(ctx, "SELECT "+feedColumns+` FROM feeds WHERE org_id = $1 AND resource_id = $2 AND id > $3
		ORDER BY id LIMIT $4`, tx.Org, resource, after, limit+1)
	all, err := collect(rows, err, func(row pgx.Row) (domain.Feed, error) { return scanFeed(row) })
	if err != nil {
		return nil, "", fault("list feeds", err)
	}
	all, next := cut(all, limit, func(f domain.Feed) string { return string(f.ID) })
	return all, next, nil
}

// RevokeFeed ends a feed for good and returns it. One that is revoked already stays as it is. KindNotFound when the
// resource has none of this id.
func (tx *Tx) RevokeFeed(ctx context.Context, resource domain.ResourceID, id domain.FeedID) (domain.Feed, error) {
	f, err := scanFeed(tx.QueryRow(ctx, `UPDATE feeds SET revoked_at = coalesce(revoked_at, $4)
		WHERE org_id = $1 AND resource_id = $2 AND id = $3 RETURNING `+feedColumns, tx.Org, resource, id, tx.Now))
	return f, missing("feed", "revoke feed", err)
}

// FeedRef is whose feed a token opens.
type FeedRef struct {
	Org     domain.OrgID
	ID      domain.FeedID
	Revoked bool
}

// FeedByToken finds a feed across tenants by the hash of its token; KindNotFound when there is none. The look-up takes
// the same time whatever part of the token is right, because only its hash is compared.
func (s *Store) FeedByToken(ctx context.Context, hash FeedHash) (ref FeedRef, err error) {
	err = s.system.QueryRow(ctx, "SELECT org_id, id, revoked_at IS NOT NULL FROM feeds WHERE token_hash = $1", hash[:]).Scan(&ref.Org, &ref.ID, &ref.Revoked)
	return ref, missing("feed", "find feed by token", err)
}

// OpenFeed is a feed as it is handed out.
type OpenFeed struct {
	domain.Feed
	Bookings []domain.Booking // by their start, cancelled ones left out
	Cut      bool             // there are more than were asked for
	// ContentHash and ChangedAt are those of the last time; nil and zero before the first.
	ContentHash []byte
	ChangedAt   time.Time
}

// OpenFeed reads a feed with what it shows now, at most the first so many bookings. KindNotFound when the tenant has none of this id, or a revoked one.
func (tx *Tx) OpenFeed(ctx context.Context, id domain.FeedID, most int) (OpenFeed, error) {
	var f OpenFeed
	var changed *time.Time
	err := tx.QueryRow(ctx, "SELECT "+feedColumns+`, content_hash, changed_at FROM feeds
		WHERE org_id = $1 AND id = $2 AND revoked_at IS NULL`, tx.Org, id).
		Scan(&f.ID, &f.ResourceID, &f.Label, &f.Detail, &f.PastDays, &f.FutureDays, &f.CreatedBy, &f.CreatedAt, &f.RevokedAt, &f.LastReadAt,
			&f.ContentHash, &changed)
	if err != nil {
		return f, missing("feed", "open feed", err)
	}
	f.CreatedAt, f.LastReadAt = f.CreatedAt.UTC(), utc(f.LastReadAt)
	if changed != nil {
		f.ChangedAt = changed.UTC()
	}
	// Cancelled bookings are asked for by no index of their own; each status is a plain comparison.
	window := f.Window(tx.Now)
	for _, status := range []domain.BookingStatus{domain.StatusConfirmed, domain.StatusTentative} {
		q, err := bookingQuery(tx.Org, BookingFilter{From: window.Start, To: window.End, Resource: f.ResourceID, Status: status}, Page{}, most+1)
		if err != nil {
			return f, err
		}
		rows, err := tx.Query(ctx, q.text(), q.args...)
		some, err := collect(rows, err, tx.scanBooking)
		if err != nil {
			return f, fault("read bookings of a feed", err)
		}
		// A hold that is over takes no time, whether or not it was cancelled yet.
		f.Bookings = append(f.Bookings, slices.DeleteFunc(some, func(b domain.Booking) bool { return b.Lapsed(tx.Now) })...)
	}
	slices.SortFunc(f.Bookings, func(a, b domain.Booking) int {
		return cmp.Or(a.When.Start.Compare(b.When.Start), strings.Compare(string(a.ID), string(b.ID)))
	})
	if f.Cut = len(f.Bookings) > most; f.Cut {
		f.Bookings = f.Bookings[:most]
	}
	return f, nil
}

// NoteFeedRead writes down that a feed was handed out with a content, and returns when that content first was: to the
// second, and later than every other content's, so that it can be told as Last-Modified.
func (tx *Tx) NoteFeedRead(ctx context.Context, id domain.FeedID, content []byte) (changed time.Time, err error) {
	now := tx.Now.Truncate(time.Second)
	err = tx.QueryRow(ctx, `UPDATE feeds SET last_read_at = $3, content_hash = $4,
			changed_at = CASE WHEN content_hash = $4 THEN changed_at ELSE greatest($5, changed_at + interval '1 second') END
		WHERE org_id = $1 AND id = $2 RETURNING changed_at`, tx.Org, id, tx.Now, content, now).Scan(&changed)
	return changed.UTC(), missing("feed", "note reading of feed", err)
}

// ReadIsNoted reports whether a reading with this content needs no writing down.
func (f OpenFeed) ReadIsNoted(content []byte, now time.Time) bool {
	return bytes.Equal(f.ContentHash, content) && f.LastReadAt != nil && now.Sub(*f.LastReadAt) < feedReadEvery
}
