package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const pushColumns = `id, org_id, integration_id, booking_id, op, want_version, state, reason, attempts, next_attempt_at,
	created_at, updated_at, wanted_at, shown_at, trace, tried`

func scanPush(row pgx.Row) (p domain.Push, err error) {
	var trace []byte
	err = row.Scan(&p.ID, &p.OrgID, &p.IntegrationID, &p.BookingID, &p.Op, &p.WantVersion, &p.State, &p.Reason, &p.Attempts,
		&p.NextAttemptAt, &p.CreatedAt, &p.UpdatedAt, &p.WantedAt, &p.ShownAt, &trace, &p.Tried)
	p.Trace = domain.TraceFrom(trace)
	p.WantedAt, p.ShownAt = utc(p.WantedAt), utc(p.ShownAt)
	p.NextAttemptAt, p.CreatedAt, p.UpdatedAt = utc(p.NextAttemptAt), p.CreatedAt.UTC(), p.UpdatedAt.UTC()
	return p, err
}

// Push reads one push; KindNotFound when the tenant has no such.
func (tx *Tx) Push(ctx context.Context, id domain.PushID) (domain.Push, error) {
	p, err := scanPush(tx.QueryRow(ctx, "SELECT "+pushColumns+" FROM pushes WHERE org_id = $1 AND id = $2", tx.Org, id))
	return p, missing("push", "read push", err)
}

// WaitingPushes returns up to limit pushes of an integration that are pending, or due for another try, oldest first.
// They are not locked: a push is a wish for a state, and carrying it out twice does no harm.
func (tx *Tx) WaitingPushes(ctx context.Context, integration domain.IntegrationID, limit int) ([]domain.Push, error) {
	rows, err := tx.Query(ctx, "SELECT "+pushColumns+` FROM pushes WHERE org_id = $1 AND integration_id = $2
		AND state IN ('pending', 'retrying') AND (state = 'pending' OR next_attempt_at <= $3) ORDER BY id LIMIT $4`,
		tx.Org, integration, tx.Now, limit)
	out, err := collect(rows, err, scanPush)
	return out, fault("read waiting pushes", err)
}

// NotePushTried keeps the key of a write that is about to make a copy; "" when its outcome is stored. A wish that came since
// stays as it is.
func (tx *Tx) NotePushTried(ctx context.Context, id domain.PushID, key string) error {
	_, err := tx.Exec(ctx, "UPDATE pushes SET tried = $3 WHERE org_id = $1 AND id = $2", tx.Org, id, key)
	return fault("note a tried write", err)
}

// NextPushDue is [Tx.NextDeliveryDue] for pushes.
func (tx *Tx) NextPushDue(ctx context.Context, integration domain.IntegrationID) (due time.Time, waiting int, err error) {
	var next *time.Time
	err = tx.QueryRow(ctx, `SELECT count(*), min(CASE WHEN state = 'pending' THEN $3 ELSE next_attempt_at END) FROM (
			SELECT state, next_attempt_at FROM pushes WHERE org_id = $1 AND integration_id = $2
			AND state IN ('pending', 'retrying') LIMIT $4) w`, tx.Org, integration, tx.Now, maxWaiting).Scan(&waiting, &next)
	if err != nil || next == nil {
		return time.Time{}, waiting, fault("look for waiting pushes", err)
	}
	if next.Before(tx.Now) {
		return tx.Now, waiting, nil
	}
	return next.UTC(), waiting, nil
}

// RewriteCopies asks for every copy that an integration has of bookings not over yet to be written anew, and for bookings
// that had none to be looked at again, after what copies show was changed.
func (tx *Tx) RewriteCopies(ctx context.Context, integration domain.IntegrationID) error {
	_, err := tx.Exec(ctx, `UPDATE pushes p SET state = 'pending', reason = '', attempts = 0, next_attempt_at = NULL, updated_at = $3, wanted_at = $3, shown_at = NULL, trace = NULL
		FROM bookings b WHERE p.org_id = $1 AND p.integration_id = $2 AND p.op = 'put' AND b.org_id = p.org_id AND b.id = p.booking_id AND b.ends_at > $3
			AND NOT EXISTS (SELECT FROM links l WHERE l.org_id = p.org_id AND l.integration_id = p.integration_id AND l.booking_id = p.booking_id
				AND NOT l.mirror AND l.removed_at IS NULL)`,
		tx.Org, integration, tx.Now)
	if err != nil {
		return fault("rewrite copies", err)
	}
	return tx.Enqueue(ctx, OutboxPush, string(integration), "", tx.Now)
}

// PushOutcome says how a try of a push ended.
type PushOutcome struct {
	State  domain.PushState // done, retrying or failed
	Reason string           // in words, without personal data; cut at 1,000 bytes
	// NextAttemptAt is required for PushRetrying and ignored for the other states.
	NextAttemptAt time.Time
	// Read is UpdatedAt of the push when it was taken up. A wish that came since, also for the same version, stays. Zero
	// looks at the version alone.
	Read time.Time
}

// FinishPush records the outcome of a try that was made for version wantVersion, and counts an attempt. If the wish has
// changed since, the push stays as the newer wish left it, so that it is carried out again. The returned push is as
// stored. Live events are the caller's.
func (tx *Tx) FinishPush(ctx context.Context, id domain.PushID, wantVersion int64, o PushOutcome) (domain.Push, error) {
	switch o.State {
	case domain.PushRetrying:
		if o.NextAttemptAt.IsZero() {
			return domain.Push{}, domain.Invalid("next_attempt_at", "is required for a push to be retried")
		}
	case domain.PushDone, domain.PushFailed:
	default:
		return domain.Push{}, domain.Invalid("state", "must be done, retrying or failed")
	}
	var read *time.Time
	if !o.Read.IsZero() {
		read = &o.Read
	}
	p, err := scanPush(tx.QueryRow(ctx, `UPDATE pushes SET
			state = CASE WHEN want_version = $3 AND updated_at = coalesce($8, updated_at) THEN $4 ELSE state END,
			reason = CASE WHEN want_version = $3 AND updated_at = coalesce($8, updated_at) THEN $5 ELSE reason END,
			next_attempt_at = CASE WHEN want_version <> $3 OR updated_at <> coalesce($8, updated_at) THEN next_attempt_at
				WHEN $4 = 'retrying' THEN $6::timestamptz END,
			attempts = CASE WHEN want_version = $3 AND updated_at = coalesce($8, updated_at) THEN attempts + 1 ELSE attempts END,
			shown_at = CASE WHEN want_version = $3 AND updated_at = coalesce($8, updated_at) AND $4 = 'done' THEN $7::timestamptz ELSE shown_at END,
			updated_at = $7
		WHERE org_id = $1 AND id = $2 RETURNING `+pushColumns,
		tx.Org, id, wantVersion, string(o.State), clip(o.Reason, maxReason), o.NextAttemptAt, tx.Now, read))
	return p, missing("push", "finish push", err)
}

// HoldPushes keeps a booking's wishes that wait from being carried out until they are released, or until a time. They
// keep their place in time, so that they count as the wishes that they are.
func (tx *Tx) HoldPushes(ctx context.Context, booking domain.BookingID, until time.Time, why string) error {
	_, err := tx.Exec(ctx, `UPDATE pushes SET state = 'retrying', next_attempt_at = $3, reason = $4
		WHERE org_id = $1 AND booking_id = $2 AND state IN ('pending', 'retrying')`, tx.Org, booking, until, clip(why, maxReason))
	return fault("hold pushes", err)
}

// ReleasePush lets a booking's wish in one system be carried out now, also one that was held or had failed, and tells the
// system's workflow. A system without such a wish is no error.
func (tx *Tx) ReleasePush(ctx context.Context, integration domain.IntegrationID, booking domain.BookingID) error {
	tag, err := tx.Exec(ctx, `UPDATE pushes SET state = 'pending', next_attempt_at = NULL, reason = '', attempts = 0, updated_at = $4
		WHERE org_id = $1 AND integration_id = $2 AND booking_id = $3 AND state <> 'done'`, tx.Org, integration, booking, tx.Now)
	if err != nil || tag.RowsAffected() == 0 {
		return fault("release push", err)
	}
	return tx.Enqueue(ctx, OutboxPush, string(integration), string(booking), tx.Now)
}

// PushesOf returns every push of a booking.
func (tx *Tx) PushesOf(ctx context.Context, booking domain.BookingID) ([]domain.Push, error) {
	rows, err := tx.Query(ctx, "SELECT "+pushColumns+" FROM pushes WHERE org_id = $1 AND booking_id = $2 ORDER BY id", tx.Org, booking)
	out, err := collect(rows, err, scanPush)
	return out, fault("read pushes", err)
}
