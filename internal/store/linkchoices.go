package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const choiceColumns = "org_id, booking_id, other_id, decision, was, entries, chosen_by, reason, chosen_at"

func scanChoice(row pgx.Row) (c domain.LinkChoice, err error) {
	err = row.Scan(&c.OrgID, &c.BookingID, &c.OtherID, &c.Decision, &c.Was, &c.Entries, &c.By, &c.Reason, &c.At)
	c.At = c.At.UTC()
	return c, err
}

// Both columns have an index of their own, which an OR would keep from being used under row-level security.
const choicesQuery = "SELECT " + choiceColumns + ` FROM link_choices WHERE org_id = $1 AND booking_id = ANY($2::uuid[])
	UNION SELECT ` + choiceColumns + ` FROM link_choices WHERE org_id = $1 AND other_id = ANY($2::uuid[])`

// LinkChoices reads what persons said about bookings being one with others, in no order.
func (r *Reads) LinkChoices(bookings []domain.BookingID, out *[]domain.LinkChoice) {
	if len(bookings) == 0 {
		return
	}
	read(r, "read link choices", out, choicesQuery, scanChoice, r.tx.Org, arrayOf(bookings))
}

// LinkChoices is [Reads.LinkChoices] by itself.
func (tx *Tx) LinkChoices(ctx context.Context, bookings []domain.BookingID) ([]domain.LinkChoice, error) {
	var out []domain.LinkChoice
	r := tx.Reads()
	r.LinkChoices(bookings, &out)
	return out, r.Do(ctx)
}

// PutLinkChoice stores a person's newest word about a pair; pair names it whatever the order of the two.
func (tx *Tx) PutLinkChoice(ctx context.Context, pair string, c domain.LinkChoice) error {
	if err := checkText("reason", c.Reason, 500); err != nil {
		return err
	}
	if c.Entries == nil {
		c.Entries = []domain.ChosenEntry{}
	}
	_, err := tx.Exec(ctx, `INSERT INTO link_choices (org_id, pair, booking_id, other_id, decision, was, entries, chosen_by, reason, chosen_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (org_id, pair) DO UPDATE SET booking_id = excluded.booking_id, other_id = excluded.other_id, decision = excluded.decision,
			was = excluded.was, entries = excluded.entries, chosen_by = excluded.chosen_by, reason = excluded.reason, chosen_at = excluded.chosen_at`,
		tx.Org, pair, c.BookingID, c.OtherID, string(c.Decision), string(c.Was), c.Entries, c.By, c.Reason, tx.Now)
	return fault("store link choice", err)
}

const mergedQuery = "SELECT " + bookingColumns + " FROM bookings WHERE org_id = $1 AND merged_into = ANY($2::uuid[]) ORDER BY id"

// MergedInto lists the bookings that were merged into others.
func (tx *Tx) MergedInto(ctx context.Context, into []domain.BookingID) ([]domain.Booking, error) {
	rows, err := tx.Query(ctx, mergedQuery, tx.Org, arrayOf(into))
	out, err := collect(rows, err, tx.scanBooking)
	return out, fault("read merged bookings", err)
}
