package store

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// Outgoing is a message that is to be sent: one notification, or those of a digest.
type Outgoing struct {
	MessageID string // the same for every attempt
	Recipient domain.RecipientID
	Channel   domain.NotifyChannel
	All       []domain.Notification // by their ids
	Failures  int                   // attempts that failed before
	Failing   *time.Time            // since when
}

type claimed struct {
	domain.Notification
	generation int
	failing    *time.Time
}

// ClaimNotifications takes up to limit notifications that are due and returns the messages that they make. Each is its
// claimer's for the lease, and comes back after it unless [Tx.FinishNotifications] said what became of it. Those that a
// message was begun for stay in that message, so its id always stands for the same content.
func (tx *Tx) ClaimNotifications(ctx context.Context, limit int, lease time.Duration) ([]Outgoing, error) {
	rows, err := tx.Query(ctx, "SELECT "+notificationColumns+`, generation, first_failed_at FROM notifications
		WHERE org_id = $1 AND due_at <= $2 ORDER BY due_at, id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED`, tx.Org, tx.Now, limit)
	due, err := collect(rows, err, func(row pgx.Row) (c claimed, err error) {
		c.Notification, err = scanNotificationWith(row, &c.generation, &c.failing)
		return c, err
	})
	if err != nil {
		return nil, fault("claim notifications", err)
	}
	slices.SortFunc(due, func(a, b claimed) int { return cmp.Compare(a.ID, b.ID) })
	var out []Outgoing
	at := map[string]int{}
	for _, c := range due {
		key := c.MessageID
		switch {
		case key != "":
		case c.Digest:
			key = "digest of " + string(c.RecipientID) + " by " + string(c.Channel)
		default:
			key = "one " + string(c.ID)
		}
		i, begun := at[key]
		if !begun {
			i = len(out)
			at[key] = i
			id := c.MessageID
			if id == "" {
				id = "ntf-" + string(c.ID) + "-" + strconv.Itoa(c.generation)
			}
			out = append(out, Outgoing{MessageID: id, Recipient: c.RecipientID, Channel: c.Channel, Failures: c.Attempts, Failing: utc(c.failing)})
		}
		c.MessageID = out[i].MessageID
		out[i].All = append(out[i].All, c.Notification)
	}
	for _, o := range out {
		if _, err := tx.Exec(ctx, `UPDATE notifications SET message_id = $3, attempts = attempts + 1, due_at = $4, updated_at = $5,
				state = CASE WHEN state = 'held' THEN 'queued' ELSE state END, reason = CASE WHEN state = 'held' THEN '' ELSE reason END
			WHERE org_id = $1 AND id = ANY($2::uuid[])`, tx.Org, column(o.All, func(n domain.Notification) domain.NotificationID { return n.ID }),
			o.MessageID, tx.Now.Add(lease), tx.Now); err != nil {
			return nil, fault("claim notifications", err)
		}
	}
	return out, nil
}

// SendOutcome is what became of a message.
type SendOutcome struct {
	State  domain.NotificationState // sent, retrying, failed or suppressed
	Reason string
	Due    time.Time // of one that is tried again
}

// FinishNotifications stores what became of notifications of a message, and tells the live stream. Those that were
// suppressed or sent meanwhile stay as they are: a late word of a lost worker changes nothing that is over.
func (tx *Tx) FinishNotifications(ctx context.Context, messageID string, ids []domain.NotificationID, o SendOutcome) error {
	var due, sent, failed *time.Time
	switch o.State {
	case domain.NotificationRetrying:
		due, failed = &o.Due, &tx.Now
	case domain.NotificationSent:
		sent = &tx.Now
	case domain.NotificationFailed, domain.NotificationSuppressed:
	case domain.NotificationQueued, domain.NotificationHeld:
		return domain.E(domain.KindInternal, "a message cannot end as %s", o.State)
	}
	rows, err := tx.Query(ctx, `UPDATE notifications SET state = $4, reason = $5, due_at = $6, sent_at = coalesce($7, sent_at),
			first_failed_at = coalesce(first_failed_at, $8), updated_at = $9
		WHERE org_id = $1 AND id = ANY($2::uuid[]) AND message_id = $3 AND due_at IS NOT NULL RETURNING `+notificationColumns,
		tx.Org, arrayOf(ids), messageID, string(o.State), clip(o.Reason, maxReason), due, sent, failed, tx.Now)
	all, err := collect(rows, err, scanNotification)
	if err != nil {
		return fault("store what became of notifications", err)
	}
	for _, n := range all {
		if err := tx.notificationChanged(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// NextNotification returns when the next notification is due, zero when none waits.
func (tx *Tx) NextNotification(ctx context.Context) (time.Time, error) {
	var at *time.Time
	if err := tx.QueryRow(ctx, "SELECT min(due_at) FROM notifications WHERE org_id = $1 AND due_at IS NOT NULL", tx.Org).Scan(&at); err != nil {
		return time.Time{}, fault("look for the next notification", err)
	}
	if at == nil {
		return time.Time{}, nil
	}
	return at.UTC(), nil
}

// WeddingStartsIn reports whether a wedding of a resource that is not cancelled starts within a span.
func (tx *Tx) WeddingStartsIn(ctx context.Context, resource domain.ResourceID, s domain.Span) (bool, error) {
	var there bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM bookings WHERE org_id = $1 AND starts_at >= $3 AND starts_at < $4 AND resource_id = $2
		AND category = 'wedding' AND status <> 'cancelled')`, tx.Org, resource, s.Start, s.End).Scan(&there)
	return there, fault("look for a wedding", err)
}
