package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const consentColumns = "id, org_id, integration_id, origin, given_by, given_at, coalesce(withdrawn_by, ''), withdrawn_at"

func scanConsent(row pgx.Row) (c domain.ScrapeConsent, err error) {
	err = row.Scan(&c.ID, &c.OrgID, &c.IntegrationID, &c.Origin, &c.GivenBy, &c.GivenAt, &c.WithdrawnBy, &c.WithdrawnAt)
	c.GivenAt, c.WithdrawnAt = c.GivenAt.UTC(), utc(c.WithdrawnAt)
	return c, err
}

// GiveScrapeConsent stores that pages of an origin may be read for an integration. One that counts already is returned
// instead, and made is false.
func (tx *Tx) GiveScrapeConsent(ctx context.Context, integration domain.IntegrationID, origin, by string) (c domain.ScrapeConsent, made bool, err error) {
	if n := len(origin); n < 1 || n > domain.MaxOrigin {
		return c, false, domain.Invalid("origin", "must have 1 to %d bytes, has %d", domain.MaxOrigin, n)
	}
	tag, err := tx.Exec(ctx, `INSERT INTO scrape_consents (id, org_id, integration_id, origin, given_by, given_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (org_id, integration_id, origin) WHERE withdrawn_at IS NULL DO NOTHING`,
		domain.NewID[domain.ConsentID](tx.Now), tx.Org, integration, origin, clip(by, 200), tx.Now)
	if err != nil {
		return c, false, fault("store consent", err)
	}
	c, err = tx.ScrapeConsent(ctx, integration, origin)
	return c, tag.RowsAffected() == 1, err
}

// ScrapeConsent returns the consent that counts; KindNotFound when there is none.
func (tx *Tx) ScrapeConsent(ctx context.Context, integration domain.IntegrationID, origin string) (domain.ScrapeConsent, error) {
	c, err := scanConsent(tx.QueryRow(ctx, "SELECT "+consentColumns+` FROM scrape_consents
		WHERE org_id = $1 AND integration_id = $2 AND origin = $3 AND withdrawn_at IS NULL`, tx.Org, integration, origin))
	return c, missing("consent", "read consent", err)
}

// ScrapeConsents lists the consents of an integration in the order in which they were given, withdrawn ones too.
func (tx *Tx) ScrapeConsents(ctx context.Context, integration domain.IntegrationID, p Page) ([]domain.ScrapeConsent, string, error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	after, err := p.afterID(firstUUID)
	if err != nil {
		return nil, "", err
	}
	rows, err := tx.Query(ctx, "SELECT "+consentColumns+" FROM scrape_consents WHERE org_id = $1 AND integration_id = $2 AND id > $3 ORDER BY id LIMIT $4",
		tx.Org, integration, after, limit+1)
	all, err := collect(rows, err, scanConsent)
	if err != nil {
		return nil, "", fault("list consents", err)
	}
	all, next := cut(all, limit, func(c domain.ScrapeConsent) string { return string(c.ID) })
	return all, next, nil
}

// WithdrawScrapeConsent ends a consent and returns it. One that was withdrawn already stays as it is, and changed is false.
func (tx *Tx) WithdrawScrapeConsent(ctx context.Context, integration domain.IntegrationID, id domain.ConsentID, by string) (c domain.ScrapeConsent, changed bool, err error) {
	tag, err := tx.Exec(ctx, `UPDATE scrape_consents SET withdrawn_by = $4, withdrawn_at = $5
		WHERE org_id = $1 AND integration_id = $2 AND id = $3 AND withdrawn_at IS NULL`, tx.Org, integration, id, clip(by, 200), tx.Now)
	if err != nil {
		return c, false, fault("withdraw consent", err)
	}
	c, err = scanConsent(tx.QueryRow(ctx, "SELECT "+consentColumns+" FROM scrape_consents WHERE org_id = $1 AND integration_id = $2 AND id = $3", tx.Org, integration, id))
	return c, tag.RowsAffected() == 1, missing("consent", "read consent", err)
}

const snapshotColumns = "id, org_id, integration_id, sync_run_id, at, kind, report"

func scanSnapshotWith(row pgx.Row, more ...any) (s domain.Snapshot, err error) {
	var run *domain.SyncRunID
	err = row.Scan(append([]any{&s.ID, &s.OrgID, &s.IntegrationID, &run, &s.At, &s.Kind, &s.Report}, more...)...)
	if run != nil {
		s.SyncRunID = *run
	}
	s.At = s.At.UTC()
	return s, err
}

// KeepSnapshot seals and stores a page whose values are masked, and removes what an integration has beyond its newest
// [domain.MaxSnapshots]. Report and page are cut to their bounds. A run keeps one of a kind: its repeats are left out, and
// the first is returned.
func (tx *Tx) KeepSnapshot(ctx context.Context, s domain.Snapshot, page []byte) (domain.Snapshot, error) {
	if s.SyncRunID != "" {
		had, err := scanSnapshotWith(tx.QueryRow(ctx, "SELECT "+snapshotColumns+" FROM scrape_snapshots WHERE org_id = $1 AND integration_id = $2 AND sync_run_id = $3 AND kind = $4 ORDER BY id LIMIT 1",
			tx.Org, s.IntegrationID, s.SyncRunID, string(s.Kind)))
		if err == nil || err != pgx.ErrNoRows {
			return had, fault("read snapshot", err)
		}
	}
	s.ID, s.OrgID, s.At = domain.NewID[domain.SnapshotID](tx.Now), tx.Org, tx.Now
	s.Report = clip(s.Report, domain.MaxSnapshotReport)
	page = page[:min(len(page), domain.MaxSnapshotPage)]
	var run *domain.SyncRunID
	if s.SyncRunID != "" {
		run = &s.SyncRunID
	}
	b := &pgx.Batch{}
	b.Queue(`INSERT INTO scrape_snapshots (id, org_id, integration_id, sync_run_id, at, kind, report, page) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		s.ID, tx.Org, s.IntegrationID, run, s.At, string(s.Kind), s.Report, tx.sealer.Seal(page, "scrape_snapshots", "page", string(s.ID)))
	b.Queue(`DELETE FROM scrape_snapshots WHERE org_id = $1 AND integration_id = $2 AND id IN
		(SELECT id FROM scrape_snapshots WHERE org_id = $1 AND integration_id = $2 ORDER BY id DESC OFFSET $3)`, tx.Org, s.IntegrationID, domain.MaxSnapshots)
	return s, fault("keep snapshot", tx.SendBatch(ctx, b).Close())
}

// Snapshots lists the kept pages of an integration, newest first, without the pages themselves.
func (tx *Tx) Snapshots(ctx context.Context, integration domain.IntegrationID, p Page) ([]domain.Snapshot, string, error) {
	q := newQuery("SELECT " + snapshotColumns + " FROM scrape_snapshots")
	q.where("org_id = %s AND integration_id = %s", tx.Org, integration)
	return newestFirst(ctx, tx, "snapshots", q, p, func(row pgx.Row) (domain.Snapshot, error) { return scanSnapshotWith(row) },
		func(s domain.Snapshot) string { return string(s.ID) })
}

// Snapshot reads one kept page; KindNotFound when the integration has none of this id.
func (tx *Tx) Snapshot(ctx context.Context, integration domain.IntegrationID, id domain.SnapshotID) (domain.Snapshot, []byte, error) {
	var sealed []byte
	s, err := scanSnapshotWith(tx.QueryRow(ctx, "SELECT "+snapshotColumns+", page FROM scrape_snapshots WHERE org_id = $1 AND integration_id = $2 AND id = $3",
		tx.Org, integration, id), &sealed)
	if err != nil {
		return s, nil, missing("snapshot", "read snapshot", err)
	}
	page, err := tx.sealer.Open(sealed, "scrape_snapshots", "page", string(s.ID))
	if err != nil {
		return s, nil, fmt.Errorf("page of snapshot %s: %w", s.ID, err)
	}
	return s, page, nil
}

// PurgeSnapshots removes up to limit kept pages of before a time, and returns how many.
func (s *Store) PurgeSnapshots(ctx context.Context, before time.Time, limit int) (int, error) {
	tag, err := s.system.Exec(ctx, `DELETE FROM scrape_snapshots r USING
		(SELECT org_id, id FROM scrape_snapshots WHERE at < $1 ORDER BY at LIMIT $2) old WHERE r.org_id = old.org_id AND r.id = old.id`, before, limit)
	return int(tag.RowsAffected()), fault("purge snapshots", err)
}
