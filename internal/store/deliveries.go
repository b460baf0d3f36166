package store

import (
	"context"
	"encoding/hex"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const deliveryColumns = "id, org_id, integration_id, dedupe, state, attempts, size, received_at, next_attempt_at, applied_at, reason, priority, routed_from, " +
	"erased_at, body_hash, event_type, entity, origin_id, replay_id, trace"

func scanDeliveryWith(row pgx.Row, more ...any) (domain.Delivery, error) {
	var d domain.Delivery
	var dedupe, body, trace []byte
	targets := append([]any{&d.ID, &d.OrgID, &d.IntegrationID, &dedupe, &d.State, &d.Attempts, &d.Size, &d.ReceivedAt,
		&d.NextAttemptAt, &d.AppliedAt, &d.Reason, &d.Priority, &d.RoutedFrom, &d.ErasedAt, &body, &d.EventType, &d.Entity, &d.OriginID, &d.ReplayID, &trace}, more...)
	err := row.Scan(targets...)
	if d.ReplayID != "" {
		d.ReplayedAt = idTime(string(d.ID))
	}
	d.DedupeKey, d.BodyHash = hex.EncodeToString(dedupe), hex.EncodeToString(body)
	d.Trace = domain.TraceFrom(trace)
	d.TraceID = d.Trace.TraceID()
	d.ReceivedAt, d.NextAttemptAt, d.AppliedAt = d.ReceivedAt.UTC(), utc(d.NextAttemptAt), utc(d.AppliedAt)
	d.ErasedAt = utc(d.ErasedAt)
	return d, err
}

func scanDelivery(row pgx.Row) (domain.Delivery, error) { return scanDeliveryWith(row) }

// maxWaiting bounds how far waiting rows are counted.
const maxWaiting = 10000

// NextDeliveryDue returns when an integration has something to do next: Now if a delivery waits, the time of the nearest
// retry otherwise, the zero time if there is none. waiting counts both kinds, up to 10,000. When nothing waits, nothing can
// come too late either, so what Overtake remembered is dropped.
func (tx *Tx) NextDeliveryDue(ctx context.Context, integration domain.IntegrationID) (due time.Time, waiting int, err error) {
	var received int
	var overtaken bool
	var retry *time.Time
	err = tx.QueryRow(ctx, `SELECT
		(SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE integration_id = $1 AND state = 'received' LIMIT $2) r),
		(SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE integration_id = $1 AND state = 'retrying' LIMIT $2) r),
		(SELECT min(next_attempt_at) FROM deliveries WHERE integration_id = $1 AND state = 'retrying'),
		EXISTS (SELECT 1 FROM overtakes WHERE org_id = $3 AND integration_id = $1)`,
		integration, maxWaiting, tx.Org).Scan(&received, &waiting, &retry, &overtaken)
	if err != nil {
		return time.Time{}, 0, fault("look for waiting deliveries", err)
	}
	if overtaken && received+waiting == 0 {
		if err := tx.forgetOvertakes(ctx, integration); err != nil {
			return time.Time{}, 0, err
		}
	}
	switch {
	case received > 0 || retry != nil && retry.Before(tx.Now):
		due = tx.Now
	case retry != nil:
		due = retry.UTC()
	}
	return due, min(received+waiting, maxWaiting), nil
}

// DeliveryOutcome says how a try of a delivery ended.
type DeliveryOutcome struct {
	ID     domain.DeliveryID
	State  domain.DeliveryState
	Reason string // in words, without personal data; cut at 1,000 bytes
	// NextAttemptAt is required for DeliveryRetrying and ignored for the other states.
	NextAttemptAt time.Time
	// EventType and Entity are what was learnt by decoding; "" leaves what is known.
	EventType string
	Entity    string
	// Bookings are those that it concerned, for its event; they are not stored with it.
	Bookings []domain.BookingID
	// Held says that it was not tried, because its system may not be called now: with DeliveryRetrying, and no attempt is counted.
	Held bool
	// Try is kept in the history of attempts; nil for a first try that succeeded, which needs no line there.
	Try *DeliveryTry
}

// DeliveryTry is how a try went.
type DeliveryTry struct {
	Took   time.Duration
	Worker string // the process; cut at 200 bytes
}

// FinishDeliveries records outcomes, counts one attempt each but for those that are held, and moves the integrations' last delivery time forward.
// A delivery that is applied, ignored or dead already stays as it is, so a repeat changes nothing. Live events are the
// caller's.
func (tx *Tx) FinishDeliveries(ctx context.Context, outcomes []DeliveryOutcome) error {
	if len(outcomes) == 0 {
		return nil
	}
	var holding []DeliveryOutcome
	for _, o := range outcomes {
		switch o.State {
		case domain.DeliveryRetrying:
			if o.NextAttemptAt.IsZero() {
				return domain.Invalid("next_attempt_at", "is required for a delivery to be retried")
			}
			if o.Held {
				holding = append(holding, o)
			}
		case domain.DeliveryApplied, domain.DeliveryIgnored, domain.DeliveryDead:
		default:
			return domain.Invalid("state", "must be retrying, applied, ignored or dead")
		}
	}
	if len(holding) > 0 {
		if err := tx.holdDeliveries(ctx, holding); err != nil {
			return err
		}
		outcomes = slices.DeleteFunc(slices.Clone(outcomes), func(o DeliveryOutcome) bool { return o.State == domain.DeliveryRetrying && o.Held })
		if len(outcomes) == 0 {
			return nil
		}
	}
	args := []any{tx.Org, column(outcomes, func(o DeliveryOutcome) domain.DeliveryID { return o.ID }),
		column(outcomes, func(o DeliveryOutcome) string { return string(o.State) }),
		column(outcomes, func(o DeliveryOutcome) string { return clip(o.Reason, maxReason) }),
		column(outcomes, func(o DeliveryOutcome) time.Time { return o.NextAttemptAt }), tx.Now,
		column(outcomes, func(o DeliveryOutcome) string { return clip(o.EventType, maxEventType) }),
		column(outcomes, func(o DeliveryOutcome) string { return clip(o.Entity, domain.MaxExternalID) })}
	sql := finishQuery
	if slices.ContainsFunc(outcomes, func(o DeliveryOutcome) bool { return o.Try != nil }) {
		sql = finishWithHistoryQuery
		args = append(args, column(outcomes, func(o DeliveryOutcome) *int32 { return o.Try.millis() }),
			column(outcomes, func(o DeliveryOutcome) string { return o.Try.worker() }))
	}
	_, err := tx.Exec(ctx, sql, args...)
	return fault("finish deliveries", err)
}

// holdDeliveries lets deliveries wait that were not tried.
func (tx *Tx) holdDeliveries(ctx context.Context, holding []DeliveryOutcome) error {
	_, err := tx.Exec(ctx, `UPDATE deliveries d SET state = 'retrying', reason = v.reason, next_attempt_at = v.next
		FROM unnest($2::uuid[], $3::text[], $4::timestamptz[]) v(id, reason, next)
		WHERE d.org_id = $1 AND d.id = v.id AND d.state IN ('received', 'retrying')`, tx.Org,
		column(holding, func(o DeliveryOutcome) domain.DeliveryID { return o.ID }),
		column(holding, func(o DeliveryOutcome) string { return clip(o.Reason, maxReason) }),
		column(holding, func(o DeliveryOutcome) time.Time { return o.NextAttemptAt }))
	return fault("hold deliveries", err)
}

const maxEventType = 100

const (
	finishHead = `WITH done AS (
			UPDATE deliveries d SET state = v.state, reason = v.reason, attempts = d.attempts + 1,
				next_attempt_at = CASE WHEN v.state = 'retrying' THEN v.next END,
				applied_at = CASE WHEN v.state IN ('applied', 'ignored') THEN $6::timestamptz END,
				event_type = CASE WHEN v.event_type = '' THEN d.event_type ELSE v.event_type END,
				entity = CASE WHEN v.entity = '' THEN d.entity ELSE v.entity END
			FROM unnest($2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $7::text[], $8::text[]) v(id, state, reason, next, event_type, entity)
			WHERE d.org_id = $1 AND d.id = v.id AND d.state IN ('received', 'retrying')
			RETURNING d.id, d.integration_id, d.received_at, d.attempts, d.state, d.reason),`
	finishTail = `
		newest AS (SELECT integration_id, max(received_at) AS at FROM done GROUP BY integration_id)
		UPDATE integrations i SET last_delivery_at = newest.at FROM newest
		WHERE i.org_id = $1 AND i.id = newest.integration_id AND (i.last_delivery_at IS NULL OR i.last_delivery_at < newest.at)`
	finishQuery            = finishHead + finishTail
	finishWithHistoryQuery = finishHead + historyParts + finishTail
)

// Delivery reads one delivery without its content.
func (tx *Tx) Delivery(ctx context.Context, id domain.DeliveryID) (domain.Delivery, error) {
	d, err := scanDelivery(tx.QueryRow(ctx, "SELECT "+deliveryColumns+" FROM deliveries WHERE org_id = $1 AND id = $2", tx.Org, id))
	return d, missing("delivery", "read delivery", err)
}

// DeliveryContent reads one delivery with its kept headers and raw body. KindConflict: they are no longer kept.
func (tx *Tx) DeliveryContent(ctx context.Context, id domain.DeliveryID) (domain.RawDelivery, error) {
	var sealed []byte
	d, err := scanDeliveryWith(tx.QueryRow(ctx, "SELECT "+deliveryColumns+", content FROM deliveries WHERE org_id = $1 AND id = $2", tx.Org, id), &sealed)
	if err != nil {
		return domain.RawDelivery{}, missing("delivery", "read delivery", err)
	}
	if d.ErasedAt != nil || len(sealed) == 0 {
		return domain.RawDelivery{}, domain.E(domain.KindConflict, "its content was erased when its time was over")
	}
	return tx.OpenDelivery(d, sealed)
}
