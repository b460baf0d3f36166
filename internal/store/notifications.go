package store

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// KeptNotifications is how long notifications stay after they were sent, given up or suppressed.
const KeptNotifications = 90 * 24 * time.Hour

// Fact is an event of which people may have to be told.
type Fact struct {
	Topic domain.Topic
	Refs  map[string]string
	At    time.Time
}

// queueFacts keeps the events of this transaction that people may be told of, and the line that makes somebody look, where
// the organisation has anybody to tell.
func (tx *Tx) queueFacts(b *pgx.Batch) {
	var facts []domain.Event
	for _, e := range tx.events {
		// Of an alert, and of the care for a wedding, people are told of what the plan says only.
		if domain.Notifiable(e.Topic) && (!domain.ToldOnly(e.Topic) || e.Refs["told"] != "") {
			facts = append(facts, e)
		}
	}
	if len(facts) == 0 {
		return
	}
	b.Queue(`WITH noted AS (
			INSERT INTO notify_facts (org_id, topic, refs, at)
			SELECT $1, topic, refs, $2 FROM unnest($3::text[], $4::jsonb[]) WITH ORDINALITY v(topic, refs, n)
			WHERE EXISTS (SELECT 1 FROM recipients WHERE org_id = $1 AND state = 'active') ORDER BY n RETURNING id)
		INSERT INTO outbox (org_id, kind, target_id, due_at, created_at) SELECT $1, $5, $1, $2, $2 FROM noted LIMIT 1`,
		tx.Org, tx.Now, column(facts, func(e domain.Event) string { return string(e.Topic) }),
		column(facts, func(e domain.Event) map[string]string { return e.Refs }), string(OutboxNotify))
}

// TakeFacts removes up to limit facts, oldest first, and returns them. A rollback puts them back. Two who take at once get
// different ones.
func (tx *Tx) TakeFacts(ctx context.Context, limit int) ([]Fact, error) {
	rows, err := tx.Query(ctx, `DELETE FROM notify_facts WHERE org_id = $1 AND id IN (
			SELECT id FROM notify_facts WHERE org_id = $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)
		RETURNING id, topic, refs, at`, tx.Org, limit)
	type numbered struct {
		id int64
		Fact
	}
	all, err := collect(rows, err, func(row pgx.Row) (f numbered, err error) {
		err = row.Scan(&f.id, &f.Topic, &f.Refs, &f.At)
		f.At = f.At.UTC()
		return f, err
	})
	if err != nil {
		return nil, fault("take facts", err)
	}
	slices.SortFunc(all, func(a, b numbered) int { return int(min(max(a.id-b.id, -1), 1)) })
	out := make([]Fact, len(all))
	for i, f := range all {
		out[i] = f.Fact
	}
	return out, nil
}

const notificationColumns = `id, org_id, recipient_id, channel, kind, severity, wedding_day, subject, fact, state, reason, due_at, attempts, reminders,
	digest, message_id, created_at, updated_at, sent_at, acknowledged_at, acknowledged_by`

func scanNotificationWith(row pgx.Row, more ...any) (n domain.Notification, err error) {
	err = row.Scan(append([]any{&n.ID, &n.OrgID, &n.RecipientID, &n.Channel, &n.Kind, &n.Severity, &n.WeddingDay, &n.Subject, &n.Fact, &n.State, &n.Reason, &n.DueAt,
		&n.Attempts, &n.Reminders, &n.Digest, &n.MessageID, &n.CreatedAt, &n.UpdatedAt, &n.SentAt, &n.AcknowledgedAt, &n.AcknowledgedBy}, more...)...)
	n.DueAt, n.SentAt, n.AcknowledgedAt = utc(n.DueAt), utc(n.SentAt), utc(n.AcknowledgedAt)
	n.CreatedAt, n.UpdatedAt = n.CreatedAt.UTC(), n.UpdatedAt.UTC()
	return n, err
}

func scanNotification(row pgx.Row) (domain.Notification, error) { return scanNotificationWith(row) }

// AddNotification stores one and tells the live stream, unless the same person was told of the same fact in the same way;
// then it reports false and changes nothing.
func (tx *Tx) AddNotification(ctx context.Context, n domain.Notification) (added bool, err error) {
	tag, err := tx.Exec(ctx, `INSERT INTO notifications (id, org_id, recipient_id, channel, kind, severity, wedding_day, subject, fact, state, reason, due_at,
			digest, created_at, updated_at, sent_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14, $15)
		ON CONFLICT (org_id, recipient_id, channel, fact) WHERE over_at IS NULL DO NOTHING`,
		n.ID, tx.Org, n.RecipientID, string(n.Channel), string(n.Kind), string(n.Severity), n.WeddingDay, n.Subject, n.Fact, string(n.State),
		clip(n.Reason, maxReason), n.DueAt, n.Digest, tx.Now, n.SentAt)
	if err != nil {
		return false, fault("add notification", err)
	}
	if tag.RowsAffected() == 0 {
		return false, nil
	}
	return true, tx.notificationChanged(ctx, n)
}

func (tx *Tx) notificationChanged(ctx context.Context, n domain.Notification) error {
	return tx.Emit(ctx, domain.TopicNotification, map[string]string{"notification": string(n.ID), "recipient": string(n.RecipientID), "channel": string(n.Channel),
		"kind": string(n.Kind), "severity": string(n.Severity), "subject": n.Subject, "state": string(n.State)})
}

// NotificationsAbout returns the newest notifications about a subject, at most limit.
func (tx *Tx) NotificationsAbout(ctx context.Context, subject string, limit int) ([]domain.Notification, error) {
	rows, err := tx.Query(ctx, "SELECT "+notificationColumns+" FROM notifications WHERE org_id = $1 AND subject = $2 AND over_at IS NULL ORDER BY id DESC LIMIT $3",
		tx.Org, subject, limit)
	all, err := collect(rows, err, scanNotification)
	return all, fault("read notifications about a subject", err)
}

// JoinNotification lets a later reminder join one that still waits. due is when the reminder itself would have been sent: the
// one that waits is not sent later than that.
func (tx *Tx) JoinNotification(ctx context.Context, n domain.Notification, due time.Time) error {
	joined, err := scanNotification(tx.QueryRow(ctx, `UPDATE notifications SET reminders = reminders + 1, severity = $3, wedding_day = $4, updated_at = $5,
			state = CASE WHEN state = 'held' AND $6 < due_at THEN 'queued' ELSE state END,
			reason = CASE WHEN state = 'held' AND $6 < due_at THEN '' ELSE reason END,
			digest = digest AND NOT $4,
			due_at = CASE WHEN state = 'retrying' THEN due_at ELSE least(due_at, $6) END
		WHERE org_id = $1 AND id = $2 AND due_at IS NOT NULL RETURNING `+notificationColumns,
		tx.Org, n.ID, string(n.Severity), n.WeddingDay, tx.Now, due))
	if err != nil {
		return missing("notification", "join notification", err)
	}
	return tx.notificationChanged(ctx, joined)
}

// SettleSubject ends a matter: what waits about it is suppressed with the reason. With over the same may be told anew when
// it comes up again.
func (tx *Tx) SettleSubject(ctx context.Context, subject, reason string, over bool) (n int, err error) {
	if n, err = tx.settle(ctx, reason, "subject = %s AND over_at IS NULL", subject); err != nil || !over {
		return n, err
	}
	_, err = tx.Exec(ctx, "UPDATE notifications SET over_at = $3 WHERE org_id = $1 AND subject = $2 AND over_at IS NULL", tx.Org, subject, tx.Now)
	return n, fault("end a matter", err)
}

// settle suppresses what waits and fulfils a condition.
func (tx *Tx) settle(ctx context.Context, reason, condition string, values ...any) (int, error) {
	q := newQuery("UPDATE notifications SET ")
	q.add("state = 'suppressed', due_at = NULL, reason = %s, updated_at = %s", clip(reason, maxReason), tx.Now)
	q.where("org_id = %s AND due_at IS NOT NULL", tx.Org)
	q.where(condition, values...)
	q.add(" RETURNING " + notificationColumns)
	rows, err := tx.Query(ctx, q.text(), q.args...)
	all, err := collect(rows, err, scanNotification)
	if err != nil {
		return 0, fault("suppress notifications", err)
	}
	for _, n := range all {
		if err := tx.notificationChanged(ctx, n); err != nil {
			return 0, err
		}
	}
	return len(all), nil
}

// Notification reads one; KindNotFound when the tenant has no such.
func (tx *Tx) Notification(ctx context.Context, id domain.NotificationID) (domain.Notification, error) {
	n, err := scanNotification(tx.QueryRow(ctx, "SELECT "+notificationColumns+" FROM notifications WHERE org_id = $1 AND id = $2", tx.Org, id))
	return n, missing("notification", "read notification", err)
}

// NotificationFilter narrows a list; empty fields do not.
type NotificationFilter struct {
	Recipient domain.RecipientID
	State     domain.NotificationState
	Subject   string
}

// Notifications lists notifications, newest first.
func (tx *Tx) Notifications(ctx context.Context, f NotificationFilter, p Page) ([]domain.Notification, string, error) {
	if f.State != "" && !f.State.Valid() {
		return nil, "", domain.Invalid("state", "must be queued, held, retrying, sent, failed or suppressed")
	}
	q := newQuery("SELECT " + notificationColumns + " FROM notifications")
	q.where("org_id = %s", tx.Org)
	if f.Recipient != "" {
		q.where("recipient_id = %s", f.Recipient)
	}
	if f.State != "" {
		q.where("state = %s", string(f.State))
	}
	if f.Subject != "" {
		q.where("subject = %s", f.Subject)
	}
	return newestFirst(ctx, tx, "notifications", q, p, scanNotification, func(n domain.Notification) string { return string(n.ID) })
}

// Acknowledge notes that somebody knows. What waits about the same subject for the same person is suppressed. A repeat
// changes nothing.
func (tx *Tx) Acknowledge(ctx context.Context, id domain.NotificationID, by string) (domain.Notification, error) {
	n, err := scanNotification(tx.QueryRow(ctx, "SELECT "+notificationColumns+" FROM notifications WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE", tx.Org, id))
	if err != nil || n.AcknowledgedAt != nil {
		return n, missing("notification", "lock notification", err)
	}
	if _, err := tx.Exec(ctx, "UPDATE notifications SET acknowledged_at = $3, acknowledged_by = $4, updated_at = $3 WHERE org_id = $1 AND id = $2",
		tx.Org, id, tx.Now, clip(by, 200)); err != nil {
		return n, fault("acknowledge notification", err)
	}
	if _, err := tx.settle(ctx, "acknowledged by "+by, "subject = %s AND recipient_id = %s AND over_at IS NULL", n.Subject, n.RecipientID); err != nil {
		return n, err
	}
	if n, err = tx.Notification(ctx, id); err != nil {
		return n, err
	}
	return n, tx.notificationChanged(ctx, n)
}

// Resend queues a notification that is done with anew, as a message of its own. One that still waits is sent at once. A
// deleted or paused person is KindConflict.
func (tx *Tx) Resend(ctx context.Context, id domain.NotificationID) (domain.Notification, error) {
	n, err := tx.Notification(ctx, id)
	if err != nil {
		return n, err
	}
	who, err := tx.Recipient(ctx, n.RecipientID)
	if err != nil {
		return n, err
	}
	if who.State != domain.RecipientActive {
		return n, domain.E(domain.KindConflict, "the person is %s", who.State)
	}
	n, err = scanNotification(tx.QueryRow(ctx, `UPDATE notifications SET generation = generation + CASE WHEN due_at IS NULL THEN 1 ELSE 0 END,
			message_id = CASE WHEN due_at IS NULL THEN '' ELSE message_id END, state = 'queued', reason = '', due_at = $3, attempts = 0, first_failed_at = NULL,
			digest = false, updated_at = $3
		WHERE org_id = $1 AND id = $2 RETURNING `+notificationColumns, tx.Org, id, tx.Now))
	if err != nil {
		return n, missing("notification", "resend notification", err)
	}
	if err := tx.Enqueue(ctx, OutboxNotify, string(tx.Org), "", tx.Now); err != nil {
		return n, err
	}
	return n, tx.notificationChanged(ctx, n)
}

// PurgeNotifications removes up to limit notifications that were done with before [KeptNotifications].
func (tx *Tx) PurgeNotifications(ctx context.Context, limit int) error {
	_, err := tx.Exec(ctx, `DELETE FROM notifications WHERE org_id = $1 AND id IN (
		SELECT id FROM notifications WHERE org_id = $1 AND id < $2 AND due_at IS NULL ORDER BY id LIMIT $3)`,
		tx.Org, idFloor(tx.Now.Add(-KeptNotifications)), limit)
	return fault("remove old notifications", err)
}
