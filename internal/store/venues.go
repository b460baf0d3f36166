package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// sealedVenue is what is sealed of a venue.
type sealedVenue struct {
	Name    string       `json:"name"`
	Aliases []string     `json:"aliases,omitempty"`
	Point   domain.Point `json:"point"`
}

const venueColumns = "id, org_id, about, created_at, updated_at, version"

func (tx *Tx) sealVenue(v domain.Venue) []byte {
	text, err := json.Marshal(sealedVenue{v.Name, v.Aliases, v.Point})
	if err != nil {
		panic("marshal a venue of plain fields: " + err.Error())
	}
	defer clear(text)
	return tx.sealer.Seal(text, "venues", "about", string(v.ID))
}

func (tx *Tx) scanVenue(row pgx.Row) (domain.Venue, error) {
	var v domain.Venue
	var sealed []byte
	if err := row.Scan(&v.ID, &v.OrgID, &sealed, &v.CreatedAt, &v.UpdatedAt, &v.Version); err != nil {
		return v, err
	}
	v.CreatedAt, v.UpdatedAt = v.CreatedAt.UTC(), v.UpdatedAt.UTC()
	text, err := tx.sealer.Open(sealed, "venues", "about", string(v.ID))
	if err != nil {
		return v, fmt.Errorf("venue %s: %w", v.ID, err)
	}
	defer clear(text)
	var about sealedVenue
	if json.Unmarshal(text, &about) != nil {
		// The decoder's error would quote the venue.
		return v, fmt.Errorf("venue %s: not the JSON that was sealed", v.ID)
	}
	v.Name, v.Aliases, v.Point = about.Name, about.Aliases, about.Point
	return v, nil
}

const venuesQuery = "SELECT " + venueColumns + " FROM venues WHERE org_id = $1 ORDER BY id LIMIT 500"

// Venues reads all venues of the tenant, domain.MaxVenues at most, in the order in which they were made.
func (r *Reads) Venues(out *[]domain.Venue) {
	read(r, "read venues", out, venuesQuery, r.tx.scanVenue, r.tx.Org)
}

// Venues is [Reads.Venues] by itself.
func (tx *Tx) Venues(ctx context.Context) ([]domain.Venue, error) {
	var out []domain.Venue
	r := tx.Reads()
	r.Venues(&out)
	return out, r.Do(ctx)
}

// Venue reads one venue; KindNotFound when the tenant has no such.
func (tx *Tx) Venue(ctx context.Context, id domain.VenueID) (domain.Venue, error) {
	v, err := tx.scanVenue(tx.QueryRow(ctx, "SELECT "+venueColumns+" FROM venues WHERE org_id = $1 AND id = $2", tx.Org, id))
	return v, missing("venue", "read venue", err)
}

// LockVenues keeps others from changing the tenant's venues until the transaction ends, so that names stay unique and bookings
// are matched with all of them. It must come before any lock of resources.
func (tx *Tx) LockVenues(ctx context.Context) error {
	_, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('venues ' || $1, 0))", string(tx.Org))
	return fault("lock venues", err)
}

// CreateVenue stores a venue, whose times and version it sets, and tells the live stream. Errors: KindInvalid with the field
// and for one too many, KindConflict for an id in use.
func (tx *Tx) CreateVenue(ctx context.Context, v domain.Venue) error {
	if err := v.Validate(""); err != nil {
		return err
	}
	var n int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM venues WHERE org_id = $1", tx.Org).Scan(&n); err != nil {
		return fault("count venues", err)
	}
	if n >= domain.MaxVenues {
		return domain.Invalid("name", "an organisation has at most %d venues", domain.MaxVenues)
	}
	_, err := tx.Exec(ctx, `INSERT INTO venues (id, org_id, about, created_at, updated_at, version) VALUES ($2, $1, $3, $4, $4, 1)`,
		tx.Org, v.ID, tx.sealVenue(v), tx.Now)
	if err != nil {
		return fault("create venue", err)
	}
	return tx.venueChanged(ctx, v.ID)
}

// UpdateVenue replaces everything but the id and the time of creation, if the stored version is expectVersion, which then grows
// by one. Another version is KindConflict.
func (tx *Tx) UpdateVenue(ctx context.Context, v domain.Venue, expectVersion int64) error {
	if err := v.Validate(""); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, `UPDATE venues SET about = $3, updated_at = $4, version = version + 1 WHERE org_id = $1 AND id = $2 AND version = $5`,
		tx.Org, v.ID, tx.sealVenue(v), tx.Now, expectVersion)
	if err != nil {
		return fault("update venue", err)
	}
	if tag.RowsAffected() == 0 {
		return tx.versionFault(ctx, "venue", "SELECT version FROM venues WHERE org_id = $1 AND id = $2", v.ID, expectVersion)
	}
	return tx.venueChanged(ctx, v.ID)
}

// DeleteVenue removes a venue; KindNotFound when the tenant has no such.
func (tx *Tx) DeleteVenue(ctx context.Context, id domain.VenueID) error {
	tag, err := tx.Exec(ctx, "DELETE FROM venues WHERE org_id = $1 AND id = $2", tx.Org, id)
	if err != nil {
		return fault("delete venue", err)
	}
	if tag.RowsAffected() == 0 {
		return domain.E(domain.KindNotFound, "no such venue")
	}
	return tx.venueChanged(ctx, id)
}

func (tx *Tx) venueChanged(ctx context.Context, id domain.VenueID) error {
	return tx.Emit(ctx, domain.TopicVenueChanged, map[string]string{"venue": string(id)})
}

// ComingBookings returns up to limit bookings that end after now and take time, by their ids behind after, with details.
func (tx *Tx) ComingBookings(ctx context.Context, after domain.BookingID, limit int) ([]domain.Booking, error) {
	if after == "" {
		after = firstUUID
	}
	rows, err := tx.Query(ctx, "SELECT "+bookingColumns+` FROM bookings WHERE org_id = $1 AND id > $2 AND ends_at > $3 AND status <> 'cancelled' AND NOT free
		ORDER BY id LIMIT $4`, tx.Org, after, tx.Now, limit)
	out, err := collect(rows, err, tx.scanBooking)
	return out, fault("read coming bookings", err)
}
