package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const resourceColumns = `id, org_id, name, kind, zone, capacity, buffer_before_seconds, buffer_after_seconds, working_hours,
	skills, one_wedding_a_day, created_at, updated_at, version, travel_speed_kmh, travel_min_minutes, travel_fixed_minutes, blackouts, lead_minutes`

// scanResource reads a row of resourceColumns and opens the name.
func (tx *Tx) scanResource(row pgx.Row) (domain.Resource, error) {
	var r domain.Resource
	var name []byte
	var before, after int64
	err := row.Scan(&r.ID, &r.OrgID, &name, &r.Kind, &r.Zone, &r.Capacity, &before, &after, &r.Hours, &r.Skills,
		&r.OneWeddingADay, &r.CreatedAt, &r.UpdatedAt, &r.Version, &r.Travel.SpeedKmh, &r.Travel.MinMinutes, &r.Travel.FixedMinutes, &r.Blackouts, &r.LeadMinutes)
	if err != nil {
		return r, err
	}
	r.BufferBefore, r.BufferAfter = time.Duration(before)*time.Second, time.Duration(after)*time.Second
	r.CreatedAt, r.UpdatedAt = r.CreatedAt.UTC(), r.UpdatedAt.UTC()
	r.Name, err = tx.openName(r.ID, name)
	return r, err
}

// CreateResource stores r, whose times and version it sets, and tells the live stream. Buffers are kept in whole
// seconds. Errors: KindInvalid with the field, KindConflict for an id in use.
func (tx *Tx) CreateResource(ctx context.Context, r domain.Resource) error {
	if err := checkResource(r); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO resources (id, org_id, name, kind, zone, capacity, buffer_before_seconds,
			buffer_after_seconds, working_hours, skills, one_wedding_a_day, created_at, updated_at, version, travel_speed_kmh,
			travel_min_minutes, travel_fixed_minutes, blackouts, lead_minutes)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, 1, $13, $14, $15, $16, $17)`,
		r.ID, tx.Org, tx.sealName(r.ID, r.Name), string(r.Kind), r.Zone, r.Capacity, seconds(r.BufferBefore),
		seconds(r.BufferAfter), hours(r.Hours), texts(r.Skills), r.OneWeddingADay, tx.Now, r.Travel.SpeedKmh, r.Travel.MinMinutes,
		r.Travel.FixedMinutes, blackouts(r.Blackouts), r.LeadMinutes)
	if err != nil {
		return fault("create resource", err)
	}
	return tx.Emit(ctx, domain.TopicResourceChanged, map[string]string{"resource": string(r.ID)})
}

// Resource reads one resource; KindNotFound when the tenant has no such.
func (tx *Tx) Resource(ctx context.Context, id domain.ResourceID) (domain.Resource, error) {
	r, err := tx.scanResource(tx.QueryRow(ctx, "SELECT "+resourceColumns+" FROM resources WHERE org_id = $1 AND id = $2", tx.Org, id))
	return r, missing("resource", "read resource", err)
}

// Resources lists resources in the order in which they were made.
func (tx *Tx) Resources(ctx context.Context, p Page) ([]domain.Resource, string, error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	after, err := p.afterID(firstUUID)
	if err != nil {
		return nil, "", err
	}
	rows, err := tx.Query(ctx, "SELECT "+resourceColumns+" FROM resources WHERE org_id = $1 AND id > $2 ORDER BY id LIMIT $3",
		tx.Org, after, limit+1)
	all, err := collect(rows, err, tx.scanResource)
	if err != nil {
		return nil, "", fault("list resources", err)
	}
	all, next := cut(all, limit, func(r domain.Resource) string { return string(r.ID) })
	return all, next, nil
}

// UpdateResource replaces everything but the id and the time of creation, if the stored version is expectVersion, which
// then grows by one. Another version is KindConflict. It tells the live stream.
func (tx *Tx) UpdateResource(ctx context.Context, r domain.Resource, expectVersion int64) error {
	if err := checkResource(r); err != nil {
		return err
	}
	var zone string
	err := tx.QueryRow(ctx, `UPDATE resources r SET name = $3, kind = $4, zone = $5, capacity = $6, buffer_before_seconds = $7,
			buffer_after_seconds = $8, working_hours = $9, skills = $10, one_wedding_a_day = $11, updated_at = $12,
			version = r.version + 1, travel_speed_kmh = $14, travel_min_minutes = $15, travel_fixed_minutes = $16, blackouts = $17, lead_minutes = $18
		FROM resources was WHERE r.org_id = $1 AND r.id = $2 AND r.version = $13 AND was.org_id = r.org_id AND was.id = r.id RETURNING was.zone`,
		tx.Org, r.ID, tx.sealName(r.ID, r.Name), string(r.Kind), r.Zone, r.Capacity, seconds(r.BufferBefore),
		seconds(r.BufferAfter), hours(r.Hours), texts(r.Skills), r.OneWeddingADay, tx.Now, expectVersion, r.Travel.SpeedKmh, r.Travel.MinMinutes,
		r.Travel.FixedMinutes, blackouts(r.Blackouts), r.LeadMinutes).Scan(&zone)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fault("update resource", err)
	}
	if err != nil {
		return tx.versionFault(ctx, "resource", "SELECT version FROM resources WHERE org_id = $1 AND id = $2", r.ID, expectVersion)
	}
	if zone != r.Zone {
		// The times of its weddings whose bookings name no place are others now.
		if err := tx.tellWeddings(ctx); err != nil {
			return err
		}
		if err := tx.wakeMaintenances(ctx); err != nil {
			return err
		}
	}
	return tx.Emit(ctx, domain.TopicResourceChanged, map[string]string{"resource": string(r.ID)})
}

// versionFault explains why an update with an expected version met no row.
func (tx *Tx) versionFault(ctx context.Context, what, query string, id any, expected int64) error {
	var have int64
	if err := tx.QueryRow(ctx, query, tx.Org, id).Scan(&have); err != nil {
		return missing(what, "read version of "+what, err)
	}
	return domain.E(domain.KindConflict, "%s has version %d, not %d: it was changed in the meantime", what, have, expected)
}

func checkResource(r domain.Resource) error {
	if _, err := domain.ParseID[domain.ResourceID]("id", string(r.ID)); err != nil {
		return err
	}
	if err := r.Validate(); err != nil {
		return err
	}
	for _, skill := range r.Skills {
		if err := checkText("skills", skill, 60); err != nil {
			return err
		}
	}
	return nil
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// hours, blackouts and texts keep nil out of columns that are never NULL.
func hours(h domain.WorkingHours) domain.WorkingHours {
	if h == nil {
		return domain.WorkingHours{}
	}
	return h
}

func blackouts(b []domain.Blackout) []domain.Blackout {
	if b == nil {
		return []domain.Blackout{}
	}
	return b
}

func texts(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// LockResources locks the resources among ids against other transactions that change their bookings, in one order for
// all so that two such transactions cannot deadlock. It must come before any read of allocations that a decision
// rests on.
func (tx *Tx) LockResources(ctx context.Context, ids []domain.ResourceID) error {
	var out []domain.Resource
	r := tx.Reads()
	r.LockResources(ids, &out)
	return r.Do(ctx)
}

// LockResources is [Tx.LockResources] among other reads, and returns what was locked. Reads queued after it see what
// was committed before the lock was had.
func (r *Reads) LockResources(ids []domain.ResourceID, out *[]domain.Resource) {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	read(r, "lock resources", out, "SELECT "+resourceColumns+` FROM resources WHERE org_id = $1 AND id = ANY($2::uuid[]) ORDER BY id FOR NO KEY UPDATE`,
		r.tx.scanResource, r.tx.Org, arrayOf(slices.Compact(ids)))
}
