package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const holdColumns = "id, org_id, state, shared, expires_at, reason, lost_to, made_by, created_at, updated_at, ended_at, version"

func scanHold(row pgx.Row) (domain.Hold, error) { return scanHoldWith(row) }

func scanHoldWith(row pgx.Row, more ...any) (h domain.Hold, err error) {
	err = row.Scan(append([]any{&h.ID, &h.OrgID, &h.State, &h.Shared, &h.ExpiresAt, &h.Reason, &h.LostTo, &h.MadeBy, &h.CreatedAt, &h.UpdatedAt,
		&h.EndedAt, &h.Version}, more...)...)
	h.ExpiresAt, h.CreatedAt, h.UpdatedAt, h.EndedAt = h.ExpiresAt.UTC(), h.CreatedAt.UTC(), h.UpdatedAt.UTC(), utc(h.EndedAt)
	return h, err
}

// LockName keeps others who name the same thing waiting until the transaction ends, before the thing exists. Take it before
// any other lock.
func (tx *Tx) LockName(ctx context.Context, id domain.BookingID) error {
	_, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", string(tx.Org)+"/"+string(id))
	return fault("lock name", err)
}

// CreateHold stores a hold of a booking that is stored already, tells the live stream, and starts its workflow. request is
// what was asked for; it is sealed. KindConflict: the booking has one.
func (tx *Tx) CreateHold(ctx context.Context, h domain.Hold, request []byte) error {
	if err := checkText("made_by", h.MadeBy, 200); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO holds (id, org_id, state, shared, expires_at, reason, request, made_by, created_at, updated_at)
		VALUES ($1, $2, 'held', $3, $4, $5, $6, $7, $8, $8)`, h.ID, tx.Org, h.Shared, h.ExpiresAt, clip(h.Reason, maxReason),
		tx.sealer.Seal(request, "holds", "request", string(h.ID)), h.MadeBy, tx.Now)
	if err != nil {
		return fault("create hold", err)
	}
	return tx.holdChanged(ctx, h.ID, domain.HoldLive)
}

func (tx *Tx) holdChanged(ctx context.Context, id domain.BookingID, state domain.HoldState) error {
	// One that expired was ended by its workflow, which needs not be told.
	if state != domain.HoldExpired {
		if err := tx.Enqueue(ctx, OutboxHold, string(id), "", tx.Now); err != nil {
			return err
		}
	}
	return tx.Emit(ctx, domain.TopicHoldChanged, map[string]string{"booking": string(id), "state": string(state)})
}

func (tx *Tx) hold(ctx context.Context, id domain.BookingID, end string) (domain.Hold, error) {
	h, err := scanHold(tx.QueryRow(ctx, "SELECT "+holdColumns+" FROM holds WHERE org_id = $1 AND id = $2"+end, tx.Org, id))
	return h, missing("hold", "read hold", err)
}

// HoldOf reads the hold of a booking; KindNotFound when it has none.
func (tx *Tx) HoldOf(ctx context.Context, id domain.BookingID) (domain.Hold, error) {
	return tx.hold(ctx, id, "")
}

// LockHold is HoldOf, and keeps others from changing the row until the transaction ends. Lock its resource first.
func (tx *Tx) LockHold(ctx context.Context, id domain.BookingID) (domain.Hold, error) {
	return tx.hold(ctx, id, " FOR NO KEY UPDATE")
}

// HoldRequest is HoldOf with what was asked for when it was made.
func (tx *Tx) HoldRequest(ctx context.Context, id domain.BookingID) (domain.Hold, []byte, error) {
	var sealed []byte
	h, err := scanHoldWith(tx.QueryRow(ctx, "SELECT "+holdColumns+", request FROM holds WHERE org_id = $1 AND id = $2", tx.Org, id), &sealed)
	if err != nil {
		return h, nil, missing("hold", "read hold", err)
	}
	request, err := tx.sealer.Open(sealed, "holds", "request", string(id))
	return h, request, fault("open request of hold", err)
}

// LockHolds locks those of the bookings that have a hold, in the order of their ids.
func (tx *Tx) LockHolds(ctx context.Context, ids []domain.BookingID) ([]domain.Hold, error) {
	rows, err := tx.Query(ctx, "SELECT "+holdColumns+" FROM holds WHERE org_id = $1 AND id = ANY ($2) ORDER BY id FOR NO KEY UPDATE", tx.Org, arrayOf(ids))
	out, err := collect(rows, err, scanHold)
	return out, fault("lock holds", err)
}

// SaveHold stores state, end, reason and time of expiry of a hold that is locked, raises its version, and tells the live
// stream and the workflow.
func (tx *Tx) SaveHold(ctx context.Context, h domain.Hold) (domain.Hold, error) {
	var ended *time.Time
	if h.State != domain.HoldLive {
		ended = &tx.Now
	}
	h, err := scanHold(tx.QueryRow(ctx, `UPDATE holds SET state = $3, expires_at = $4, reason = $5, lost_to = $6, ended_at = $7, updated_at = $8,
		version = version + 1 WHERE org_id = $1 AND id = $2 RETURNING `+holdColumns, tx.Org, h.ID, string(h.State), h.ExpiresAt,
		clip(h.Reason, maxReason), h.LostTo, ended, tx.Now))
	if err != nil {
		return h, missing("hold", "save hold", err)
	}
	return h, tx.holdChanged(ctx, h.ID, h.State)
}

// Holds lists holds in the order in which they were made, the newest first; state "" is all.
func (tx *Tx) Holds(ctx context.Context, state domain.HoldState, p Page) ([]domain.Hold, string, error) {
	q := newQuery("SELECT " + holdColumns + " FROM holds")
	q.where("org_id = %s", tx.Org)
	if state != "" {
		q.where("state = %s", string(state))
	}
	return newestFirst(ctx, tx, "holds", q, p, scanHold, func(h domain.Hold) string { return string(h.ID) })
}
