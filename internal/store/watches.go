package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const watchColumns = `w.id, w.integration_id, w.remote_id, w.resource_id, w.state, w.expires_at, w.renew_after, w.made_at,
	w.last_notice_at, w.notices, w.failures, w.fault`

// maxRemoteID bounds what a system calls a watch, in bytes.
const maxRemoteID = 1000

// keepRetired is how long a watch that is over is still known. Systems go on posting to one for a while.
const keepRetired = 30 * 24 * time.Hour

// SealedWatch is a watch with its secret opened. The secret must not reach logs or errors.
type SealedWatch struct {
	domain.Watch
	Secret   string
	Settings SettingsHash
	// Doubted says that it is to be replaced: what it ought to bring did not come.
	Doubted bool
}

// SettingsHash names the settings of an integration for which a watch was made. Others may mean another calendar.
type SettingsHash [sha256.Size]byte

// HashSettings hashes the settings of an integration as it was read.
func HashSettings(i domain.Integration) SettingsHash { return sha256.Sum256(i.Settings) }

func scanWatch(row pgx.Row, more ...any) (w domain.Watch, err error) {
	err = row.Scan(append([]any{&w.ID, &w.IntegrationID, &w.RemoteID, &w.ResourceID, &w.State, &w.ExpiresAt, &w.RenewAfter, &w.MadeAt,
		&w.LastNoticeAt, &w.Notices, &w.Failures, &w.Fault}, more...)...)
	w.ExpiresAt, w.RenewAfter, w.MadeAt, w.LastNoticeAt = utc(w.ExpiresAt), w.RenewAfter.UTC(), w.MadeAt.UTC(), utc(w.LastNoticeAt)
	return w, err
}

// CreateWatch stores a pending watch of an integration with its secret sealed, unless one is pending already, and reports
// whether it did. settings are those that it is made for. The integration stays locked until the transaction ends, so of two callers one stores. Watches that
// have been over for 30 days are forgotten. KindInvalid for an integration that the tenant does not have.
func (tx *Tx) CreateWatch(ctx context.Context, integration domain.IntegrationID, id domain.WatchID, secret string, settings SettingsHash) (bool, error) {
	if _, err := domain.ParseID[domain.WatchID]("id", string(id)); err != nil {
		return false, err
	}
	if secret == "" {
		return false, domain.Invalid("secret", "is required")
	}
	if _, err := tx.Exec(ctx, "SELECT 1 FROM integrations WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE", tx.Org, integration); err != nil {
		return false, fault("lock integration", err)
	}
	var have bool
	if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM watches WHERE org_id = $1 AND integration_id = $2 AND state = 'pending')",
		tx.Org, integration).Scan(&have); err != nil || have {
		return false, fault("look for a pending watch", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM watches WHERE org_id = $1 AND integration_id = $2 AND state = 'retired' AND renew_after < $3`,
		tx.Org, integration, tx.Now.Add(-keepRetired)); err != nil {
		return false, fault("forget old watches", err)
	}
	text := []byte(secret)
	defer clear(text)
	_, err := tx.Exec(ctx, `INSERT INTO watches (id, org_id, integration_id, secret, settings_hash, state, renew_after, made_at)
		VALUES ($1, $2, $3, $4, $6, 'pending', $5, $5)`, id, tx.Org, integration, tx.sealer.Seal(text, "watches", "secret", string(id)), tx.Now, settings[:])
	return err == nil, fault("store watch", err)
}

// UpdateWatch stores what became of a watch: state, the system's ids, times, failures and fault, if its state is still
// was, and reports whether it did. One that retires keeps the time at which it did as RenewAfter.
func (tx *Tx) UpdateWatch(ctx context.Context, w domain.Watch, was domain.WatchState) (bool, error) {
	if len(w.RemoteID) > maxRemoteID || len(w.ResourceID) > maxRemoteID {
		return false, domain.Invalid("remote_id", "at most %d bytes", maxRemoteID)
	}
	if w.State == domain.WatchRetired {
		w.RenewAfter = tx.Now
	}
	tag, err := tx.Exec(ctx, `UPDATE watches SET state = $4, remote_id = $5, resource_id = $6, expires_at = $7, renew_after = $8,
			failures = $9, fault = $10 WHERE org_id = $1 AND id = $2 AND state = $3`,
		tx.Org, w.ID, string(was), string(w.State), w.RemoteID, w.ResourceID, w.ExpiresAt, w.RenewAfter, w.Failures, clip(w.Fault, maxReason))
	return err == nil && tag.RowsAffected() == 1, fault("update watch", err)
}

// OpenWatches returns the watches of an integration that are not over, the oldest first, with their secrets.
func (tx *Tx) OpenWatches(ctx context.Context, integration domain.IntegrationID) ([]SealedWatch, error) {
	rows, err := tx.Query(ctx, "SELECT "+watchColumns+`, w.secret, w.settings_hash, w.doubted FROM watches w
		WHERE org_id = $1 AND integration_id = $2 AND state <> 'retired' ORDER BY id`, tx.Org, integration)
	all, err := collect(rows, err, func(row pgx.Row) (w SealedWatch, err error) {
		var sealed, hash []byte
		if w.Watch, err = scanWatch(row, &sealed, &hash, &w.Doubted); err != nil {
			return w, err
		}
		copy(w.Settings[:], hash)
		w.Secret, err = openWatch(w.ID, sealed, tx.sealer.Open)
		return w, err
	})
	return all, fault("open watches", err)
}

// maxRetired bounds how many watches that are over RetiredWatches names.
const maxRetired = 100

// RetiredWatches names the watches of an integration that are over and still known, the newest first, at most 100.
func (tx *Tx) RetiredWatches(ctx context.Context, integration domain.IntegrationID) ([]domain.WatchID, error) {
	rows, err := tx.Query(ctx, `SELECT id FROM watches WHERE org_id = $1 AND integration_id = $2 AND state = 'retired'
		ORDER BY id DESC LIMIT $3`, tx.Org, integration, maxRetired)
	all, err := collect(rows, err, func(row pgx.Row) (id domain.WatchID, err error) { return id, row.Scan(&id) })
	return all, fault("read retired watches", err)
}

func openWatch(id domain.WatchID, sealed []byte, open func(sealed []byte, context ...string) ([]byte, error)) (string, error) {
	text, err := open(sealed, "watches", "secret", string(id))
	if err != nil {
		return "", fmt.Errorf("secret of watch %s: %w", id, err)
	}
	defer clear(text)
	return string(text), nil
}

// WantPull notes that the system of a watch is to be read soon, as a notice does.
func (tx *Tx) WantPull(ctx context.Context, id domain.WatchID) error {
	_, err := tx.Exec(ctx, "UPDATE watches SET pull_wanted_at = coalesce(pull_wanted_at, $3) WHERE org_id = $1 AND id = $2", tx.Org, id, tx.Now)
	return fault("want pull", err)
}

// WatchPlan is what an integration's workflow needs to know of its watches.
type WatchPlan struct {
	Due        *time.Time // when the first of those that are not over is to be looked after; nil = there is none
	Standing   bool       // one is pending or active
	Outdated   bool       // those that are pending or active were made for other settings, or are doubted
	PullWanted *time.Time // since when a notice waits for the system to be read; nil = none does
}

// WatchPlan reads it, for an integration with these settings. One without watches has the zero plan.
func (tx *Tx) WatchPlan(ctx context.Context, integration domain.IntegrationID, settings SettingsHash) (p WatchPlan, err error) {
	var suits bool
	err = tx.QueryRow(ctx, `SELECT min(renew_after) FILTER (WHERE state <> 'retired'), coalesce(bool_or(state IN ('pending', 'active')), false),
		coalesce(bool_or(state IN ('pending', 'active') AND settings_hash = $3 AND NOT doubted), false), min(pull_wanted_at)
		FROM watches WHERE org_id = $1 AND integration_id = $2`, tx.Org, integration, settings[:]).Scan(&p.Due, &p.Standing, &suits, &p.PullWanted)
	p.Outdated = p.Standing && !suits
	p.Due, p.PullWanted = utc(p.Due), utc(p.PullWanted)
	return p, fault("read watches", err)
}

// TakePullWish hands the waiting notices of an integration over to a sync run that is about to read, which keeps the
// time of the earliest. Notices that come later wait for the next run.
func (tx *Tx) TakePullWish(ctx context.Context, integration domain.IntegrationID, run domain.SyncRunID) error {
	var at *time.Time
	// What wants to be read after failing over or an outage is no message: it says nothing about when something changed.
	if _, err := tx.Exec(ctx, "UPDATE failovers SET pull_wanted_at = NULL WHERE org_id = $1 AND integration_id = $2 AND pull_wanted_at IS NOT NULL", tx.Org, integration); err != nil {
		return fault("take wish to read", err)
	}
	err := tx.QueryRow(ctx, `WITH wished AS (SELECT id, pull_wanted_at FROM watches
			WHERE org_id = $1 AND integration_id = $2 AND pull_wanted_at IS NOT NULL ORDER BY id FOR UPDATE),
		taken AS (UPDATE watches w SET pull_wanted_at = NULL FROM wished WHERE w.org_id = $1 AND w.id = wished.id)
		SELECT min(pull_wanted_at) FROM wished`, tx.Org, integration).Scan(&at)
	if err != nil || at == nil {
		return fault("take pull wish", err)
	}
	_, err = tx.Exec(ctx, "UPDATE sync_runs SET noticed_at = coalesce(noticed_at, $3) WHERE org_id = $1 AND id = $2", tx.Org, run, *at)
	return fault("keep time of notice", err)
}

// WatchNotice says what a message to a watch's address means.
type WatchNotice struct {
	Pull    bool // the system is to be read
	Removed bool // the system ended the watch
	Renew   bool // the system wants it prolonged now
}

// NoteNotice counts a message and notes what it means. It reports whether the watch still stood; a message to one that is
// over leads to nothing. While a drill lets messages lie they are counted for it and mean nothing, unless the system ended the watch. Only the first of several notices that mean the same puts a line into the outbox, so a burst
// makes one.
func (tx *Tx) NoteNotice(ctx context.Context, id domain.WatchID, n WatchNotice) (bool, error) {
	var integration domain.IntegrationID
	var state domain.WatchState
	var wanted, due bool
	err := tx.QueryRow(ctx, `SELECT integration_id, state, pull_wanted_at IS NOT NULL, renew_after <= $3 FROM watches
		WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE`, tx.Org, id, tx.Now).Scan(&integration, &state, &wanted, &due)
	if err == pgx.ErrNoRows || err == nil && state == domain.WatchRetired {
		return false, nil
	}
	if err != nil {
		return false, fault("lock watch", err)
	}
	if !n.Removed {
		tag, err := tx.Exec(ctx, `UPDATE failovers SET muted_notices = muted_notices + 1 WHERE org_id = $1 AND integration_id = $2 AND muted_until > $3`, tx.Org, integration, tx.Now)
		if err != nil || tag.RowsAffected() > 0 {
			return err == nil, fault("let a message lie", err)
		}
	}
	n.Renew = n.Renew && state == domain.WatchActive
	_, err = tx.Exec(ctx, `UPDATE watches SET notices = notices + 1, last_notice_at = $3,
			pull_wanted_at = CASE WHEN $4 THEN coalesce(pull_wanted_at, $3) ELSE pull_wanted_at END,
			renew_after = CASE WHEN $5 OR $6 THEN $3 ELSE renew_after END,
			state = CASE WHEN $6 THEN 'retired' ELSE state END,
			fault = CASE WHEN $6 THEN 'the system ended it' ELSE fault END
		WHERE org_id = $1 AND id = $2`, tx.Org, id, tx.Now, n.Pull || n.Removed, n.Renew && !due, n.Removed)
	if err != nil {
		return false, fault("note notice", err)
	}
	if n.Removed || n.Pull && !wanted || n.Renew && !due {
		err = tx.Enqueue(ctx, OutboxIntegrationChanged, string(integration), "", tx.Now)
	}
	return true, err
}

// WatchRecord is what the server needs to read a message to a watch's address.
type WatchRecord struct {
	Org         domain.OrgID
	Integration domain.IntegrationID
	Provider    string
	RemoteID    string
	State       domain.WatchState
	Secret      string // opened; must not reach logs or errors
}

// WatchRecord reads across tenants, because a notice names only its watch. KindNotFound for an unknown one; one that is
// over is returned as such while it is kept.
func (s *Store) WatchRecord(ctx context.Context, id domain.WatchID) (r WatchRecord, err error) {
	var sealed []byte
	err = s.system.QueryRow(ctx, `SELECT w.org_id, w.integration_id, i.provider, w.remote_id, w.state, w.secret
		FROM watches w JOIN integrations i ON i.org_id = w.org_id AND i.id = w.integration_id WHERE w.id = $1`, id).
		Scan(&r.Org, &r.Integration, &r.Provider, &r.RemoteID, &r.State, &sealed)
	if err != nil {
		return r, missing("watch", "read watch", err)
	}
	r.Secret, err = openWatch(id, sealed, s.ring.Org(string(r.Org)).Open)
	return r, err
}
