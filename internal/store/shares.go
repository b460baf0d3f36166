package store

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// ShareHash is the SHA-256 of the token in a link's address.
type ShareHash = [32]byte

const shareColumns = "id, org_id, booking_id, role, resource_id, texts, expires_at, revoked_at, accesses, last_used_at, created_by, created_at"

// shareTexts is what is sealed of a link.
type shareTexts struct {
	Label string `json:"label"`
	Title string `json:"title,omitempty"`
}

func (tx *Tx) scanShareWith(row pgx.Row, more ...any) (s domain.Share, err error) {
	var sealed []byte
	if err = row.Scan(append([]any{&s.ID, &s.OrgID, &s.BookingID, &s.Role, &s.ResourceID, &sealed, &s.ExpiresAt, &s.RevokedAt, &s.Accesses, &s.LastUsedAt,
		&s.CreatedBy, &s.CreatedAt}, more...)...); err != nil {
		return s, err
	}
	s.ExpiresAt, s.RevokedAt, s.LastUsedAt, s.CreatedAt = s.ExpiresAt.UTC(), utc(s.RevokedAt), utc(s.LastUsedAt), s.CreatedAt.UTC()
	text, err := tx.sealer.Open(sealed, "shares", "texts", string(s.ID))
	if err != nil {
		return s, fmt.Errorf("texts of link %s: %w", s.ID, err)
	}
	defer clear(text)
	var t shareTexts
	if json.Unmarshal(text, &t) != nil {
		return s, fmt.Errorf("texts of link %s: not the JSON that was sealed", s.ID)
	}
	s.Label, s.Title = t.Label, t.Title
	return s, nil
}

func (tx *Tx) scanShare(row pgx.Row) (domain.Share, error) { return tx.scanShareWith(row) }

// CreateShare stores a link to a wedding and tells the live stream. Errors: KindInvalid with the field, KindNotFound for a
// booking that the tenant does not have, KindConflict for more than [domain.MaxShares] in use.
func (tx *Tx) CreateShare(ctx context.Context, s domain.Share, hash ShareHash) error {
	if err := s.Validate(tx.Now); err != nil {
		return err
	}
	// The lock keeps two at once from both taking the last place.
	var category domain.Category
	err := tx.QueryRow(ctx, "SELECT category FROM bookings WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE", tx.Org, s.BookingID).Scan(&category)
	if err != nil {
		return missing("booking", "lock booking", err)
	}
	if category != domain.CategoryWedding {
		return domain.Invalid("id", "only a wedding is shared; this booking is of category %s", category)
	}
	var have int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM shares WHERE org_id = $1 AND booking_id = $2 AND revoked_at IS NULL AND expires_at > $3",
		tx.Org, s.BookingID, tx.Now).Scan(&have); err != nil {
		return fault("count links", err)
	}
	if have >= domain.MaxShares {
		return domain.E(domain.KindConflict, "the wedding has %d links in use already; revoke one first", have)
	}
	text, err := json.Marshal(shareTexts{s.Label, s.Title})
	if err != nil {
		panic("marshal two texts: " + err.Error())
	}
	defer clear(text)
	_, err = tx.Exec(ctx, `INSERT INTO shares (id, org_id, booking_id, role, resource_id, texts, token_hash, expires_at, created_by, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, s.ID, tx.Org, s.BookingID, string(s.Role), s.ResourceID,
		tx.sealer.Seal(text, "shares", "texts", string(s.ID)), hash[:], s.ExpiresAt, s.CreatedBy, tx.Now)
	if err != nil {
		return fault("create link", err)
	}
	return tx.shareChanged(ctx, s)
}

func (tx *Tx) shareChanged(ctx context.Context, s domain.Share) error {
	state := "active"
	if s.RevokedAt != nil {
		state = "revoked"
	}
	return tx.Emit(ctx, domain.TopicShareChanged, map[string]string{"share": string(s.ID), "booking": string(s.BookingID), "role": string(s.Role), "state": state})
}

// Share reads one link of a wedding, also a revoked one; KindNotFound when the wedding has none of this id.
func (tx *Tx) Share(ctx context.Context, booking domain.BookingID, id domain.ShareID) (domain.Share, error) {
	s, err := tx.scanShare(tx.QueryRow(ctx, "SELECT "+shareColumns+" FROM shares WHERE org_id = $1 AND booking_id = $2 AND id = $3", tx.Org, booking, id))
	return s, missing("link", "read link", err)
}

// Shares lists the links of a wedding in the order in which they were made, revoked and expired ones included.
func (tx *Tx) Shares(ctx context.Context, booking domain.BookingID, p Page) ([]domain.Share, string, error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	after, err := p.afterID(firstUUID)
	if err != nil {
		return nil, "", err
	}
	rows, err := tx.Query(ctx, "SELECT "+shareColumns+" FROM shares WHERE org_id = $1 AND booking_id = $2 AND id > $3 ORDER BY id LIMIT $4",
		tx.Org, booking, after, limit+1)
	all, err := collect(rows, err, tx.scanShare)
	if err != nil {
		return nil, "", fault("list links", err)
	}
	all, next := cut(all, limit, func(s domain.Share) string { return string(s.ID) })
	return all, next, nil
}

// RevokeShare ends a link for good and returns it. One that is revoked already stays as it is.
func (tx *Tx) RevokeShare(ctx context.Context, booking domain.BookingID, id domain.ShareID) (domain.Share, error) {
	s, err := tx.scanShare(tx.QueryRow(ctx, `UPDATE shares SET revoked_at = coalesce(revoked_at, $4)
		WHERE org_id = $1 AND booking_id = $2 AND id = $3 RETURNING `+shareColumns, tx.Org, booking, id, tx.Now))
	if err != nil {
		return s, missing("link", "revoke link", err)
	}
	return s, tx.shareChanged(ctx, s)
}

// OpenShare finds the link of a token by its id and compares the hash in constant time. Whether it may still be used is
// [domain.Share.Usable]. KindNotFound when there is none, or another one.
func (tx *Tx) OpenShare(ctx context.Context, id domain.ShareID, hash ShareHash) (domain.Share, error) {
	var have []byte
	s, err := tx.scanShareWith(tx.QueryRow(ctx, "SELECT "+shareColumns+", token_hash FROM shares WHERE org_id = $1 AND id = $2", tx.Org, id), &have)
	if err != nil {
		return s, missing("link", "open link", err)
	}
	if subtle.ConstantTimeCompare(have, hash[:]) != 1 {
		return domain.Share{}, notFound("link")
	}
	return s, nil
}

// CountShare notes that a link was opened.
func (tx *Tx) CountShare(ctx context.Context, id domain.ShareID) error {
	_, err := tx.Exec(ctx, "UPDATE shares SET accesses = accesses + 1, last_used_at = $3 WHERE org_id = $1 AND id = $2", tx.Org, id, tx.Now)
	return fault("count opening of link", err)
}

// Confirm stores a vendor's word about an item, in place of an earlier one of the same link, and tells the live stream.
func (tx *Tx) Confirm(ctx context.Context, c domain.Confirmation) error {
	_, err := tx.Exec(ctx, `INSERT INTO confirmations (org_id, booking_id, item_key, share_id, resource_id, revision, at) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (org_id, booking_id, item_key, share_id) DO UPDATE SET resource_id = excluded.resource_id, revision = excluded.revision, at = excluded.at`,
		tx.Org, c.BookingID, c.ItemKey, c.ShareID, c.ResourceID, c.Revision, tx.Now)
	if err != nil {
		return fault("store confirmation", err)
	}
	return tx.Emit(ctx, domain.TopicShareConfirmed, map[string]string{"booking": string(c.BookingID), "share": string(c.ShareID), "resource": string(c.ResourceID)})
}

// Confirmations returns what was confirmed of a wedding.
func (tx *Tx) Confirmations(ctx context.Context, booking domain.BookingID) ([]domain.Confirmation, error) {
	rows, err := tx.Query(ctx, `SELECT booking_id, item_key, share_id, resource_id, revision, at FROM confirmations
		WHERE org_id = $1 AND booking_id = $2 ORDER BY item_key, at`, tx.Org, booking)
	all, err := collect(rows, err, func(row pgx.Row) (c domain.Confirmation, err error) {
		err = row.Scan(&c.BookingID, &c.ItemKey, &c.ShareID, &c.ResourceID, &c.Revision, &c.At)
		c.At = c.At.UTC()
		return c, err
	})
	return all, fault("read confirmations", err)
}
