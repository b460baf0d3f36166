package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const syncColumns = `id, org_id, integration_id, full_run, state, pages, seen, applied, unchanged, removed, quarantined, rejected,
	error, requested_by, started_at, ended_at, expected, noticed_at, vendor_request_id`

func scanSyncRun(row pgx.Row) (domain.SyncRun, error) {
	run, _, err := scanSyncRunWith(row, false)
	return run, err
}

func scanSyncRunWith(row pgx.Row, withCursor bool) (r domain.SyncRun, cursor string, err error) {
	targets := []any{&r.ID, &r.OrgID, &r.IntegrationID, &r.Full, &r.State, &r.Pages, &r.Seen, &r.Applied, &r.Unchanged,
		&r.Removed, &r.Quarantined, &r.Rejected, &r.Error, &r.RequestedBy, &r.StartedAt, &r.EndedAt, &r.Expected, &r.NoticedAt, &r.VendorRequestID}
	if withCursor {
		targets = append(targets, &cursor)
	}
	err = row.Scan(targets...)
	r.StartedAt, r.EndedAt, r.NoticedAt = r.StartedAt.UTC(), utc(r.EndedAt), utc(r.NoticedAt)
	return r, cursor, err
}

// StartSyncRun stores a run, or finds the one with that id, and returns it as stored with the cursor at which it stands:
// the integration's for a new run that is not full, "" for a full one. One that begins at "" lists everything, so it is full
// too: what was known before and is not listed may be gone. A full one expects as many entries as are known
// already. An id that belongs to another integration is KindConflict.
func (tx *Tx) StartSyncRun(ctx context.Context, r domain.SyncRun) (run domain.SyncRun, cursor string, err error) {
	if _, err := domain.ParseID[domain.SyncRunID]("id", string(r.ID)); err != nil {
		return run, "", err
	}
	if err := checkText("requested_by", r.RequestedBy, 200); err != nil {
		return run, "", err
	}
	tag, err := tx.Exec(ctx, `INSERT INTO sync_runs (id, org_id, integration_id, full_run, state, cursor, requested_by, started_at, expected)
		SELECT $1, $2, i.id, $4 OR i.sync_cursor = '', 'running', CASE WHEN $4 THEN '' ELSE i.sync_cursor END, $5, $6,
			CASE WHEN $4 OR i.sync_cursor = '' THEN (SELECT count(*) FROM links l WHERE l.org_id = $2 AND l.integration_id = $3) ELSE 0 END
		FROM integrations i WHERE i.org_id = $2 AND i.id = $3 ON CONFLICT (id) DO NOTHING`,
		r.ID, tx.Org, r.IntegrationID, r.Full, r.RequestedBy, tx.Now)
	if err != nil {
		return run, "", fault("start sync run", err)
	}
	run, cursor, err = tx.syncRun(ctx, r.ID, false)
	switch {
	case err != nil && tag.RowsAffected() == 0 && domain.KindOf(err) == domain.KindNotFound:
		return run, "", notFound("integration")
	case err != nil:
		return run, "", err
	case run.IntegrationID != r.IntegrationID:
		return run, "", domain.E(domain.KindConflict, "id is in use for a run of another integration")
	}
	return run, cursor, nil
}

func (tx *Tx) syncRun(ctx context.Context, id domain.SyncRunID, lock bool) (domain.SyncRun, string, error) {
	sql := "SELECT " + syncColumns + ", cursor FROM sync_runs WHERE org_id = $1 AND id = $2"
	if lock {
		sql += " FOR UPDATE"
	}
	run, cursor, err := scanSyncRunWith(tx.QueryRow(ctx, sql, tx.Org, id), true)
	return run, cursor, missing("sync run", "read sync run", err)
}

// SyncPage is what one page of a run did.
type SyncPage struct {
	Number      int    // 0 for the run's first page: how many pages were stored before
	Next        string // cursor to continue from
	Seen        int
	Applied     int
	Unchanged   int
	Removed     int
	Quarantined int
	Rejected    int
	Total       int // entries of the whole listing, as the system says; 0 = it does not
}

// AddSyncPage adds a page to a run, in the transaction that applied its changes. A page that was added already (Number is
// below the run's pages) changes nothing and returns false, and its changes must be left out of what is counted. A page
// out of turn, or of a run that has ended, is KindConflict.
func (tx *Tx) AddSyncPage(ctx context.Context, id domain.SyncRunID, p SyncPage) (run domain.SyncRun, added bool, err error) {
	run, _, err = tx.syncRun(ctx, id, true)
	switch {
	case err != nil:
		return run, false, err
	case p.Number < run.Pages:
		return run, false, nil
	case run.State != domain.SyncRunning:
		return run, false, domain.E(domain.KindConflict, "sync run is %s", run.State)
	case p.Number > run.Pages:
		return run, false, domain.E(domain.KindConflict, "page %d is out of turn: the run has %d", p.Number, run.Pages)
	}
	run, err = scanSyncRun(tx.QueryRow(ctx, `UPDATE sync_runs SET pages = pages + 1, cursor = $3, seen = seen + $4, applied = applied + $5,
			unchanged = unchanged + $6, removed = removed + $7, quarantined = quarantined + $8, rejected = rejected + $9,
			expected = CASE WHEN $10 > 0 THEN $10 ELSE expected END
		WHERE org_id = $1 AND id = $2 RETURNING `+syncColumns,
		tx.Org, id, p.Next, p.Seen, p.Applied, p.Unchanged, p.Removed, p.Quarantined, p.Rejected, p.Total))
	return run, err == nil, fault("add page to sync run", err)
}

// RestartSyncRun sends a run that is still going back to a full listing from the beginning, after its cursor was lost.
// Its counts go on.
func (tx *Tx) RestartSyncRun(ctx context.Context, id domain.SyncRunID) (domain.SyncRun, error) {
	run, err := scanSyncRun(tx.QueryRow(ctx, `UPDATE sync_runs SET full_run = true, cursor = ''
		WHERE org_id = $1 AND id = $2 AND state = 'running' RETURNING `+syncColumns, tx.Org, id))
	return run, missing("running sync run", "restart sync run", err)
}

// NoteSyncRequest keeps under which id the outside system logged the last call of a run that failed. A run that has ended, and one
// that does not exist, stay as they are.
func (tx *Tx) NoteSyncRequest(ctx context.Context, id domain.SyncRunID, request string) error {
	_, err := tx.Exec(ctx, "UPDATE sync_runs SET vendor_request_id = $3 WHERE org_id = $1 AND id = $2 AND state = 'running'",
		tx.Org, id, clip(request, 128))
	return fault("note request of sync run", err)
}

// EndSyncRun closes a run. A run that ends as done hands its cursor to the integration and counts as its last sync. Added
// counts removals that were proved after the last page. A run that has ended already is returned as it is.
func (tx *Tx) EndSyncRun(ctx context.Context, id domain.SyncRunID, state domain.SyncState, added SyncPage, reason string) (domain.SyncRun, error) {
	switch state {
	case domain.SyncDone, domain.SyncFailed, domain.SyncCancelled:
	default:
		return domain.SyncRun{}, domain.Invalid("state", "must be done, failed or cancelled")
	}
	run, cursor, err := tx.syncRun(ctx, id, true)
	if err != nil || run.State != domain.SyncRunning {
		return run, err
	}
	run, err = scanSyncRun(tx.QueryRow(ctx, `UPDATE sync_runs SET state = $3, error = $4, ended_at = $5, seen = seen + $6,
			applied = applied + $7, unchanged = unchanged + $8, removed = removed + $9, quarantined = quarantined + $10,
			rejected = rejected + $11 WHERE org_id = $1 AND id = $2 RETURNING `+syncColumns,
		tx.Org, id, string(state), clip(reason, maxReason), tx.Now, added.Seen, added.Applied, added.Unchanged, added.Removed,
		added.Quarantined, added.Rejected))
	if err != nil {
		return run, fault("end sync run", err)
	}
	if state == domain.SyncDone {
		if _, err := tx.Exec(ctx, "UPDATE integrations SET sync_cursor = $3, last_sync_at = $4 WHERE org_id = $1 AND id = $2",
			tx.Org, run.IntegrationID, cursor, tx.Now); err != nil {
			return run, fault("store cursor of sync run", err)
		}
	}
	return run, nil
}

// SyncRun reads one run; KindNotFound when the tenant has no such.
func (tx *Tx) SyncRun(ctx context.Context, id domain.SyncRunID) (domain.SyncRun, error) {
	run, _, err := tx.syncRun(ctx, id, false)
	return run, err
}

// SyncRunCursor returns where a run stands.
func (tx *Tx) SyncRunCursor(ctx context.Context, id domain.SyncRunID) (run domain.SyncRun, cursor string, err error) {
	return tx.syncRun(ctx, id, false)
}

// SyncRuns lists the runs of an integration, or of all for "", newest first.
func (tx *Tx) SyncRuns(ctx context.Context, integration domain.IntegrationID, p Page) ([]domain.SyncRun, string, error) {
	q := newQuery("SELECT " + syncColumns + " FROM sync_runs")
	q.where("org_id = %s", tx.Org)
	if integration != "" {
		q.where("integration_id = %s", integration)
	}
	return newestFirst(ctx, tx, "sync runs", q, p, scanSyncRun, func(r domain.SyncRun) string { return string(r.ID) })
}

// RunningSyncs returns the newest running sync of each of the integrations that has one.
func (tx *Tx) RunningSyncs(ctx context.Context, integrations ...domain.IntegrationID) (map[domain.IntegrationID]domain.SyncRun, error) {
	rows, err := tx.Query(ctx, "SELECT "+syncColumns+` FROM sync_runs WHERE org_id = $1 AND integration_id = ANY ($2) AND state = 'running'
		ORDER BY id`, tx.Org, arrayOf(integrations))
	all, err := collect(rows, err, scanSyncRun)
	if err != nil {
		return nil, fault("read running syncs", err)
	}
	out := map[domain.IntegrationID]domain.SyncRun{}
	for _, r := range all {
		out[r.IntegrationID] = r
	}
	return out, nil
}
