package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// KeptAttempts is how many of its last attempts a subscription keeps.
const KeptAttempts = 200

const subscriptionColumns = `id, org_id, url, description, filter, secret_list, state, state_reason, failing_since, failures,
	next_attempt_at, last_success_at, cursor_xid, cursor_seq, created_by, created_at, updated_at, version`

// SubscriptionKey is a signing secret with its name. The secret must not reach logs, errors or histories.
type SubscriptionKey struct {
	domain.SubscriptionSecret
	Secret string
}

type sealedKey struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

func scanSubscriptionWith(row pgx.Row, more ...any) (domain.Subscription, error) {
	var s domain.Subscription
	var xid uint64
	var seq int64
	err := row.Scan(append([]any{&s.ID, &s.OrgID, &s.URL, &s.Description, &s.Filter, &s.Secrets, &s.State, &s.StateReason, &s.FailingSince,
		&s.Failures, &s.NextAttemptAt, &s.LastSuccessAt, &xid, &seq, &s.CreatedBy, &s.CreatedAt, &s.UpdatedAt, &s.Version}, more...)...)
	s.Cursor = streamCursor(xid, seq)
	s.FailingSince, s.NextAttemptAt, s.LastSuccessAt = utc(s.FailingSince), utc(s.NextAttemptAt), utc(s.LastSuccessAt)
	s.CreatedAt, s.UpdatedAt = s.CreatedAt.UTC(), s.UpdatedAt.UTC()
	return s, err
}

func scanSubscription(row pgx.Row) (domain.Subscription, error) { return scanSubscriptionWith(row) }

// sealKeys makes the two columns that hold secrets.
func (tx *Tx) sealKeys(id domain.SubscriptionID, keys []SubscriptionKey) (sealed []byte, list []domain.SubscriptionSecret) {
	open := make([]sealedKey, len(keys))
	list = make([]domain.SubscriptionSecret, len(keys))
	for i, k := range keys {
		open[i], list[i] = sealedKey{k.ID, k.Secret}, k.SubscriptionSecret
	}
	text, err := json.Marshal(open)
	if err != nil {
		panic("marshal a list of strings: " + err.Error())
	}
	defer clear(text)
	return tx.sealer.Seal(text, "subscriptions", "secrets", string(id)), list
}

// CreateSubscription stores an active subscription that begins with what happens from now on, and tells the live stream.
// Errors: KindConflict for an id in use and for one too many ([domain.MaxSubscriptions]).
func (tx *Tx) CreateSubscription(ctx context.Context, s domain.Subscription, keys []SubscriptionKey) error {
	// Two at once must not both take the last place.
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "subscriptions of "+string(tx.Org)); err != nil {
		return fault("lock subscriptions", err)
	}
	var n int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM subscriptions WHERE org_id = $1 AND state <> 'deleted'", tx.Org).Scan(&n); err != nil {
		return fault("count subscriptions", err)
	}
	if n >= domain.MaxSubscriptions {
		return domain.E(domain.KindConflict, "an organisation may have at most %d subscriptions; remove one first", domain.MaxSubscriptions)
	}
	sealed, list := tx.sealKeys(s.ID, keys)
	_, err := tx.Exec(ctx, `INSERT INTO subscriptions (id, org_id, url, description, filter, secrets, secret_list, state, cursor_xid, cursor_seq,
			created_by, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 'active', pg_snapshot_xmin(pg_current_snapshot()), 0, $8, $9, $9)`,
		s.ID, tx.Org, s.URL, s.Description, s.Filter, sealed, list, s.CreatedBy, tx.Now)
	if err != nil {
		return fault("create subscription", err)
	}
	return tx.subscriptionChanged(ctx, s.ID, domain.SubscriptionActive)
}

func (tx *Tx) subscriptionChanged(ctx context.Context, id domain.SubscriptionID, state domain.SubscriptionState) error {
	return tx.Emit(ctx, domain.TopicSubscriptionChanged, map[string]string{"subscription": string(id), "state": string(state)})
}

// Subscription reads one, also a deleted one; KindNotFound when the tenant has no such.
func (tx *Tx) Subscription(ctx context.Context, id domain.SubscriptionID) (domain.Subscription, error) {
	s, err := scanSubscription(tx.QueryRow(ctx, "SELECT "+subscriptionColumns+" FROM subscriptions WHERE org_id = $1 AND id = $2", tx.Org, id))
	return s, missing("subscription", "read subscription", err)
}

// Subscriptions lists subscriptions in the order in which they were made, deleted ones left out.
func (tx *Tx) Subscriptions(ctx context.Context, p Page) ([]domain.Subscription, string, error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	after, err := p.afterID(firstUUID)
	if err != nil {
		return nil, "", err
	}
	rows, err := tx.Query(ctx, "SELECT "+subscriptionColumns+` FROM subscriptions
		WHERE org_id = $1 AND id > $2 AND state <> 'deleted' ORDER BY id LIMIT $3`, tx.Org, after, limit+1)
	all, err := collect(rows, err, scanSubscription)
	if err != nil {
		return nil, "", fault("list subscriptions", err)
	}
	all, next := cut(all, limit, func(s domain.Subscription) string { return string(s.ID) })
	return all, next, nil
}

// UpdateSubscription replaces URL, description and filter if the stored version is expectVersion, which then grows by
// one. What waits is tried at once, and a sender that began with the old values has no say any more. Another version, or
// a deleted subscription, is KindConflict.
func (tx *Tx) UpdateSubscription(ctx context.Context, s domain.Subscription, expectVersion int64) error {
	var state domain.SubscriptionState
	err := tx.QueryRow(ctx, `UPDATE subscriptions SET url = $3, description = $4, filter = $5, next_attempt_at = NULL, epoch = epoch + 1,
			updated_at = $6, version = version + 1
		WHERE org_id = $1 AND id = $2 AND version = $7 AND state <> 'deleted' RETURNING state`,
		tx.Org, s.ID, s.URL, s.Description, s.Filter, tx.Now, expectVersion).Scan(&state)
	if err == pgx.ErrNoRows {
		return domain.E(domain.KindConflict, "the subscription was changed in the meantime; read it again")
	}
	if err != nil {
		return fault("update subscription", err)
	}
	return tx.subscriptionChanged(ctx, s.ID, state)
}

// SetSubscriptionState moves a subscription to a state and returns it as stored. The same state again changes nothing.
// An active one begins without failures behind it; fromNow moves its position past what happened meanwhile. Deleted is
// final, wipes URL, description, secrets and attempts, and leaving it is KindConflict.
func (tx *Tx) SetSubscriptionState(ctx context.Context, id domain.SubscriptionID, state domain.SubscriptionState, reason string, fromNow bool) (domain.Subscription, error) {
	have, err := scanSubscription(tx.QueryRow(ctx, "SELECT "+subscriptionColumns+" FROM subscriptions WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE", tx.Org, id))
	if err != nil {
		return have, missing("subscription", "lock subscription", err)
	}
	if have.State == domain.SubscriptionDeleted && state != domain.SubscriptionDeleted {
		return have, domain.E(domain.KindConflict, "the subscription is deleted")
	}
	if have.State == state && !fromNow {
		return have, nil
	}
	q := newQuery("UPDATE subscriptions SET ")
	q.add("state = %s, state_reason = %s, updated_at = %s, version = version + 1", string(state), clip(reason, maxReason), tx.Now)
	switch state {
	case domain.SubscriptionActive:
		q.add(", failures = 0, failing_since = NULL, next_attempt_at = NULL")
		if fromNow {
			q.add(", cursor_xid = pg_snapshot_xmin(pg_current_snapshot()), cursor_seq = 0, epoch = epoch + 1")
		}
	case domain.SubscriptionDeleted:
		sealed, _ := tx.sealKeys(id, nil)
		q.add(", url = '', description = '', secrets = %s, secret_list = '[]', epoch = epoch + 1", sealed)
		if _, err := tx.Exec(ctx, "DELETE FROM subscription_attempts WHERE org_id = $1 AND subscription_id = $2", tx.Org, id); err != nil {
			return have, fault("remove attempts", err)
		}
	case domain.SubscriptionPaused, domain.SubscriptionDisabled:
	}
	q.where("org_id = %s AND id = %s RETURNING "+subscriptionColumns, tx.Org, id)
	s, err := scanSubscription(tx.QueryRow(ctx, q.text(), q.args...))
	if err != nil {
		return s, fault("set subscription state", err)
	}
	return s, tx.subscriptionChanged(ctx, id, state)
}

// SubscriptionWork is what its sender acts on.
type SubscriptionWork struct {
	domain.Subscription
	Keys  []SubscriptionKey
	Epoch int64 // for [Tx.SaveSubscription]
}

// SubscriptionWork reads a subscription with its secrets, and locks nothing.
func (tx *Tx) SubscriptionWork(ctx context.Context, id domain.SubscriptionID) (SubscriptionWork, error) {
	var w SubscriptionWork
	var sealed []byte
	var err error
	w.Subscription, err = scanSubscriptionWith(tx.QueryRow(ctx, "SELECT "+subscriptionColumns+", secrets, epoch FROM subscriptions WHERE org_id = $1 AND id = $2",
		tx.Org, id), &sealed, &w.Epoch)
	if err != nil {
		return w, missing("subscription", "read subscription", err)
	}
	w.Keys, err = tx.openKeys(w.Subscription, sealed)
	return w, err
}

func (tx *Tx) openKeys(s domain.Subscription, sealed []byte) ([]SubscriptionKey, error) {
	text, err := tx.sealer.Open(sealed, "subscriptions", "secrets", string(s.ID))
	if err != nil {
		return nil, fmt.Errorf("secrets of subscription %s: %w", s.ID, err)
	}
	defer clear(text)
	var open []sealedKey
	if json.Unmarshal(text, &open) != nil || len(open) != len(s.Secrets) {
		return nil, fmt.Errorf("secrets of subscription %s: not what was sealed", s.ID)
	}
	keys := make([]SubscriptionKey, len(open))
	for i, k := range open {
		if k.ID != s.Secrets[i].ID {
			return nil, fmt.Errorf("secrets of subscription %s: not what was sealed", s.ID)
		}
		keys[i] = SubscriptionKey{s.Secrets[i], k.Secret}
	}
	return keys, nil
}

// RotateSubscription adds a signing secret, and lets those that have no end yet end at until, by which time the receiver
// must know the new one. Secrets that ended are dropped. More than [domain.MaxSubscriptionSecrets] at once are
// KindConflict.
func (tx *Tx) RotateSubscription(ctx context.Context, id domain.SubscriptionID, add SubscriptionKey, until time.Time) (domain.Subscription, error) {
	if _, err := tx.Exec(ctx, "SELECT 1 FROM subscriptions WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE", tx.Org, id); err != nil {
		return domain.Subscription{}, fault("lock subscription", err)
	}
	w, err := tx.SubscriptionWork(ctx, id)
	if err != nil {
		return w.Subscription, err
	}
	if w.State == domain.SubscriptionDeleted {
		return w.Subscription, domain.E(domain.KindConflict, "the subscription is deleted")
	}
	var keys []SubscriptionKey
	for _, k := range w.Keys {
		if k.NotAfter != nil && !k.NotAfter.After(tx.Now) {
			continue
		}
		if k.NotAfter == nil {
			k.NotAfter = &until
		}
		if k.NotAfter.After(tx.Now) {
			keys = append(keys, k)
		}
	}
	if len(keys) >= domain.MaxSubscriptionSecrets {
		return w.Subscription, domain.E(domain.KindConflict, "at most %d secrets may be valid at once; wait until one ends", domain.MaxSubscriptionSecrets)
	}
	sealed, list := tx.sealKeys(id, append(keys, add))
	s, err := scanSubscription(tx.QueryRow(ctx, `UPDATE subscriptions SET secrets = $3, secret_list = $4, updated_at = $5, version = version + 1
		WHERE org_id = $1 AND id = $2 RETURNING `+subscriptionColumns, tx.Org, id, sealed, list, tx.Now))
	if err != nil {
		return s, fault("rotate secrets of subscription", err)
	}
	return s, tx.subscriptionChanged(ctx, id, s.State)
}

// SubscriptionProgress is what a sender reached.
type SubscriptionProgress struct {
	Cursor        string // everything up to here was sent or did not match
	Failures      int    // in a row, at the message after Cursor
	FailingSince  *time.Time
	NextAttemptAt *time.Time
	LastSuccessAt *time.Time // nil keeps what is stored
	Attempts      []domain.SubscriptionAttempt
}

// SaveSubscription stores progress and attempts and returns the state that the subscription is in. A sender of an earlier
// epoch changes nothing and gets the state "", as does one whose subscription is gone: it must begin anew.
func (tx *Tx) SaveSubscription(ctx context.Context, id domain.SubscriptionID, epoch int64, p SubscriptionProgress) (state domain.SubscriptionState, err error) {
	xid, seq, err := parseStreamCursor(p.Cursor)
	if err != nil {
		return "", err
	}
	err = tx.QueryRow(ctx, `UPDATE subscriptions SET cursor_xid = $4, cursor_seq = $5, failures = $6, failing_since = $7, next_attempt_at = $8,
			last_success_at = coalesce($9, last_success_at)
		WHERE org_id = $1 AND id = $2 AND epoch = $3 AND state <> 'deleted' RETURNING state`,
		tx.Org, id, epoch, xid, seq, p.Failures, p.FailingSince, p.NextAttemptAt, p.LastSuccessAt).Scan(&state)
	if err == pgx.ErrNoRows {
		return "", nil
	}
	if err != nil {
		return "", fault("store progress of subscription", err)
	}
	return state, tx.addAttempts(ctx, id, p.Attempts)
}

// addAttempts keeps the newest ones only.
func (tx *Tx) addAttempts(ctx context.Context, id domain.SubscriptionID, all []domain.SubscriptionAttempt) error {
	if len(all) == 0 {
		return nil
	}
	type a = domain.SubscriptionAttempt
	_, err := tx.Exec(ctx, `INSERT INTO subscription_attempts (id, org_id, subscription_id, message_id, topic, number, at, status, error, took_ms)
		SELECT id, $1, $2, message, topic, number, at, status, error, took
		FROM unnest($3::uuid[], $4::text[], $5::text[], $6::int[], $7::timestamptz[], $8::int[], $9::text[], $10::bigint[])
			v(id, message, topic, number, at, status, error, took)`, tx.Org, id,
		column(all, func(x a) domain.AttemptID { return x.ID }), column(all, func(x a) string { return x.MessageID }),
		column(all, func(x a) string { return string(x.Topic) }), column(all, func(x a) int { return x.Number }),
		column(all, func(x a) time.Time { return x.At }), column(all, func(x a) int { return x.Status }),
		column(all, func(x a) string { return clip(x.Error, maxReason) }), column(all, func(x a) int64 { return x.Took }))
	if err != nil {
		return fault("store attempts", err)
	}
	_, err = tx.Exec(ctx, `DELETE FROM subscription_attempts WHERE org_id = $1 AND subscription_id = $2 AND id <= (
		SELECT id FROM subscription_attempts WHERE org_id = $1 AND subscription_id = $2 ORDER BY id DESC OFFSET $3 LIMIT 1)`, tx.Org, id, KeptAttempts)
	return fault("remove old attempts", err)
}

// SaveAttempt keeps an attempt that is no part of the subscription's progress, such as a test.
func (tx *Tx) SaveAttempt(ctx context.Context, id domain.SubscriptionID, a domain.SubscriptionAttempt) error {
	return tx.addAttempts(ctx, id, []domain.SubscriptionAttempt{a})
}

// SubscriptionAttempts lists the attempts that are kept, newest first.
func (tx *Tx) SubscriptionAttempts(ctx context.Context, id domain.SubscriptionID, p Page) ([]domain.SubscriptionAttempt, string, error) {
	q := newQuery("SELECT id, message_id, topic, number, at, status, error, took_ms FROM subscription_attempts")
	q.where("org_id = %s AND subscription_id = %s", tx.Org, id)
	return newestFirst(ctx, tx, "attempts", q, p, func(row pgx.Row) (a domain.SubscriptionAttempt, err error) {
		err = row.Scan(&a.ID, &a.MessageID, &a.Topic, &a.Number, &a.At, &a.Status, &a.Error, &a.Took)
		a.At = a.At.UTC()
		return a, err
	}, func(a domain.SubscriptionAttempt) string { return string(a.ID) })
}

// CloseSubscription notes that the workflow of a deleted subscription has ended, so that no sweep tells it again.
func (tx *Tx) CloseSubscription(ctx context.Context, id domain.SubscriptionID) error {
	_, err := tx.Exec(ctx, `UPDATE subscriptions SET closed_at = $3 WHERE org_id = $1 AND id = $2 AND state = 'deleted' AND closed_at IS NULL`, tx.Org, id, tx.Now)
	return fault("close subscription", err)
}

// ServedSubscription is what those who wake senders need to know.
type ServedSubscription struct {
	Org    domain.OrgID
	ID     domain.SubscriptionID
	Filter domain.EventFilter
	Cursor string
	// Deleted says that its workflow is to be told that it is over.
	Deleted bool
}

// ActiveSubscriptions returns up to limit active subscriptions of all tenants behind an id ("" = the first), in order.
func (s *Store) ActiveSubscriptions(ctx context.Context, after domain.SubscriptionID, limit int) ([]ServedSubscription, error) {
	return s.served(ctx, "list active subscriptions", `SELECT org_id, id, filter, cursor_xid, cursor_seq, false FROM subscriptions
		WHERE id > $1 AND state = 'active' ORDER BY id LIMIT $2`, after, limit)
}

// LaggingSubscriptions returns up to limit subscriptions behind an id ("" = the first), in order, that have something to
// do and are not waiting for a next attempt: active ones with an event of their organisation behind their position,
// whether it matches or not, and deleted ones whose workflow has not been told.
func (s *Store) LaggingSubscriptions(ctx context.Context, after domain.SubscriptionID, limit int) ([]ServedSubscription, error) {
	return s.served(ctx, "look for lagging subscriptions", `SELECT org_id, id, filter, cursor_xid, cursor_seq, state = 'deleted' FROM subscriptions s
		WHERE id > $1 AND (state = 'active' OR state = 'deleted' AND closed_at IS NULL)
			AND (next_attempt_at IS NULL OR next_attempt_at < $3)
			AND (state = 'deleted' OR EXISTS (SELECT 1 FROM stream_events e WHERE e.org_id = s.org_id AND (e.xid, e.seq) > (s.cursor_xid, s.cursor_seq)))
		ORDER BY id LIMIT $2`, after, limit, s.timestamp())
}

func (s *Store) served(ctx context.Context, doing, sql string, after domain.SubscriptionID, limit int, more ...any) ([]ServedSubscription, error) {
	if limit < 1 || limit > MaxStream {
		return nil, domain.Invalid("limit", "must be 1 to %d, is %d", MaxStream, limit)
	}
	if after == "" {
		after = firstUUID
	}
	rows, err := s.system.Query(ctx, sql, append([]any{after, limit}, more...)...)
	out, err := collect(rows, err, func(row pgx.Row) (v ServedSubscription, err error) {
		var xid uint64
		var seq int64
		err = row.Scan(&v.Org, &v.ID, &v.Filter, &xid, &seq, &v.Deleted)
		v.Cursor = streamCursor(xid, seq)
		return v, err
	})
	return out, fault(doing, err)
}

// SkipSubscription moves the position of a subscription from one cursor to a later one, past events that it does not
// want. It changes nothing if the position is another one by now.
func (s *Store) SkipSubscription(ctx context.Context, org domain.OrgID, id domain.SubscriptionID, from, to string) error {
	fromXID, fromSeq, err := parseStreamCursor(from)
	if err != nil {
		return err
	}
	toXID, toSeq, err := parseStreamCursor(to)
	if err != nil {
		return err
	}
	_, err = s.system.Exec(ctx, `UPDATE subscriptions SET cursor_xid = $5, cursor_seq = $6
		WHERE org_id = $1 AND id = $2 AND cursor_xid = $3 AND cursor_seq = $4 AND state = 'active'`, org, id, fromXID, fromSeq, toXID, toSeq)
	return fault("move subscription on", err)
}
