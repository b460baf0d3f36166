package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// OutboxWedding says that the wedding with the target's booking was booked, moved, changed or cancelled, or that something
// happened that its care waits for.
const OutboxWedding OutboxKind = "wedding"

// KeptWeddings is how long the care for a wedding, its preflights and its report stay after its day.
const KeptWeddings = 800 * 24 * time.Hour

const careColumns = `id, org_id, resource_id, state, starts_at, ends_at, zone, date, preflight_week, preflight_freeze, freeze_from, day_from, day_until, next_at,
	preflight, preflight_at, preflight_id, wanted_at, wanted_by, told, health_seq, updated_at, version`

func scanCare(row pgx.Row) (c domain.WeddingCare, err error) {
	var next *time.Time
	err = row.Scan(&c.BookingID, &c.OrgID, &c.ResourceID, &c.State, &c.StartsAt, &c.EndsAt, &c.Zone, &c.Date, &c.PreflightWeek, &c.PreflightFreeze, &c.FreezeFrom,
		&c.DayFrom, &c.DayUntil, &next, &c.Preflight, &c.PreflightAt, &c.PreflightID, &c.WantedAt, &c.WantedBy, &c.Told, &c.HealthSeq, &c.UpdatedAt, &c.Version)
	for _, t := range []*time.Time{&c.StartsAt, &c.EndsAt, &c.PreflightWeek, &c.PreflightFreeze, &c.FreezeFrom, &c.DayFrom, &c.DayUntil, &c.UpdatedAt} {
		*t = t.UTC()
	}
	c.NextAt, c.PreflightAt, c.WantedAt = moment(next), utc(c.PreflightAt), utc(c.WantedAt)
	return c, err
}

// WeddingCare reads the care for a wedding; KindNotFound when it is not looked after. With lock it is held until the transaction
// ends, so that two who decide about it do so one after the other.
func (tx *Tx) WeddingCare(ctx context.Context, wedding domain.BookingID, lock bool) (domain.WeddingCare, error) {
	sql := "SELECT " + careColumns + " FROM wedding_cares WHERE org_id = $1 AND id = $2"
	if lock {
		sql += " FOR UPDATE"
	}
	c, err := scanCare(tx.QueryRow(ctx, sql, tx.Org, wedding))
	return c, missing("wedding", "read care for a wedding", err)
}

// LockWedding keeps others from deciding about the care for a wedding until the transaction ends, also when it has none yet.
func (tx *Tx) LockWedding(ctx context.Context, wedding domain.BookingID) error {
	_, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 31))", "care for "+string(wedding))
	return fault("lock care for a wedding", err)
}

// SaveWeddingCare stores the care for a wedding as it is, and raises its version. Take [Tx.LockWedding] before.
func (tx *Tx) SaveWeddingCare(ctx context.Context, c domain.WeddingCare) error {
	told := append([]string{}, c.Told...)
	_, err := tx.Exec(ctx, `INSERT INTO wedding_cares (org_id, id, resource_id, state, starts_at, ends_at, zone, date, preflight_week, preflight_freeze, freeze_from,
			day_from, day_until, next_at, preflight, preflight_at, preflight_id, wanted_at, wanted_by, told, health_seq, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
		ON CONFLICT (org_id, id) DO UPDATE SET resource_id = excluded.resource_id, state = excluded.state, starts_at = excluded.starts_at, ends_at = excluded.ends_at,
			zone = excluded.zone, date = excluded.date, preflight_week = excluded.preflight_week, preflight_freeze = excluded.preflight_freeze,
			freeze_from = excluded.freeze_from, day_from = excluded.day_from, day_until = excluded.day_until, next_at = excluded.next_at,
			preflight = excluded.preflight, preflight_at = excluded.preflight_at, preflight_id = excluded.preflight_id, wanted_at = excluded.wanted_at,
			wanted_by = excluded.wanted_by, told = excluded.told, health_seq = excluded.health_seq, updated_at = excluded.updated_at, version = wedding_cares.version + 1`,
		tx.Org, c.BookingID, c.ResourceID, string(c.State), c.StartsAt, c.EndsAt, c.Zone, c.Date, c.PreflightWeek, c.PreflightFreeze, c.FreezeFrom, c.DayFrom, c.DayUntil,
		instant(c.NextAt), string(c.Preflight), c.PreflightAt, c.PreflightID, c.WantedAt, clip(c.WantedBy, 200), arrayOf(told), c.HealthSeq, tx.Now)
	return fault("store care for a wedding", err)
}

// CareFilter narrows a list; empty fields do not.
type CareFilter struct {
	State    domain.CareState
	Open     bool      // those that something is still done for
	From, To time.Time // whose day begins in [From, To)
}

// WeddingCares lists weddings that are or were looked after, by their day.
func (tx *Tx) WeddingCares(ctx context.Context, f CareFilter, p Page) ([]domain.WeddingCare, string, error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	q := newQuery("SELECT " + careColumns + " FROM wedding_cares")
	q.where("org_id = %s", tx.Org)
	if f.State != "" {
		q.where("state = %s", string(f.State))
	}
	if f.Open {
		q.where("state NOT IN ('handed_over', 'ended')")
	}
	if !f.From.IsZero() {
		q.where("day_from >= %s", f.From)
	}
	if !f.To.IsZero() {
		q.where("day_from < %s", f.To)
	}
	if p.After != "" {
		at, id, err := parseTimeCursor(p.After)
		if err != nil {
			return nil, "", err
		}
		q.where("(day_from, id) > (%s, %s)", at, rowID(id))
	}
	q.add(" ORDER BY day_from, id LIMIT %s", limit+1)
	rows, err := tx.Query(ctx, q.text(), q.args...)
	all, err := collect(rows, err, scanCare)
	if err != nil {
		return nil, "", fault("list weddings", err)
	}
	all, next := cut(all, limit, func(c domain.WeddingCare) string { return timeCursor(c.DayFrom, string(c.BookingID)) })
	return all, next, nil
}

// WantPreflight notes that somebody waits for a preflight of a wedding, and has it made. A second wish joins the first.
// KindNotFound: it is not looked after; KindConflict: it is over.
func (tx *Tx) WantPreflight(ctx context.Context, wedding domain.BookingID, by string) (domain.WeddingCare, error) {
	if err := tx.LockWedding(ctx, wedding); err != nil {
		return domain.WeddingCare{}, err
	}
	c, err := tx.WeddingCare(ctx, wedding, true)
	if err != nil {
		return c, err
	}
	if c.State.Over() {
		return c, domain.E(domain.KindConflict, "the wedding is %s", c.State)
	}
	if c.WantedAt == nil {
		now := tx.Now
		c.WantedAt, c.WantedBy = &now, by
		if err := tx.SaveWeddingCare(ctx, c); err != nil {
			return c, err
		}
	}
	return c, tx.TellWedding(ctx, wedding)
}

// TellWedding has the care for a wedding look at what changed.
func (tx *Tx) TellWedding(ctx context.Context, wedding domain.BookingID) error {
	return tx.Enqueue(ctx, OutboxWedding, string(wedding), "", tx.Now)
}

// tellWeddings has the care for every wedding that is not over look at its times anew.
func (tx *Tx) tellWeddings(ctx context.Context) error {
	_, err := tx.Exec(ctx, `INSERT INTO outbox (org_id, kind, target_id, due_at, created_at)
		SELECT org_id, $2, id, $3::timestamptz, $3::timestamptz FROM wedding_cares WHERE org_id = $1 AND state NOT IN ('handed_over', 'ended')`, tx.Org, string(OutboxWedding), tx.Now)
	return fault("tell weddings", err)
}

// queueWeddings puts a line into the outbox for each wedding to come that was written, and for each booking that is looked after
// as one and changed into anything else.
func (tx *Tx) queueWeddings(b *pgx.Batch, written []domain.Booking) {
	var come, changed []domain.BookingID
	for _, x := range written {
		switch {
		case x.Category == domain.CategoryWedding && x.Blocks() && x.MergedInto == "" && x.When.End.After(tx.Now):
			come = append(come, x.ID)
		case x.Version > 1:
			changed = append(changed, x.ID)
		}
	}
	if len(come)+len(changed) == 0 {
		return
	}
	b.Queue(`INSERT INTO outbox (org_id, kind, target_id, due_at, created_at)
		SELECT $1::uuid, $4, id, $5::timestamptz, $5::timestamptz FROM unnest($2::uuid[]) v(id)
		UNION ALL SELECT org_id, $4, id, $5, $5 FROM wedding_cares WHERE org_id = $1 AND id = ANY($3::uuid[]) AND state NOT IN ('handed_over', 'ended')`,
		tx.Org, arrayOf(come), arrayOf(changed), string(OutboxWedding), tx.Now)
}

// SweepWeddings tells of the tenant's weddings that nobody seems to look after: those to come that have no care, and those whose
// next time passed longer ago than late. It returns how many, at most limit of each.
func (tx *Tx) SweepWeddings(ctx context.Context, late time.Duration, limit int) (int, error) {
	tag, err := tx.Exec(ctx, `INSERT INTO outbox (org_id, kind, target_id, due_at, created_at)
		SELECT org_id, $2, id, $3::timestamptz, $3::timestamptz FROM (
			(SELECT b.org_id, b.id FROM bookings b WHERE b.org_id = $1 AND b.starts_at > $4 AND b.ends_at > $3 AND b.category = 'wedding' AND b.status <> 'cancelled'
				AND NOT b.free AND b.merged_into IS NULL AND NOT EXISTS (SELECT 1 FROM wedding_cares c WHERE c.org_id = $1 AND c.id = b.id) ORDER BY b.starts_at, b.id LIMIT $6)
			UNION ALL
			(SELECT org_id, id FROM wedding_cares WHERE org_id = $1 AND next_at < $5 ORDER BY next_at LIMIT $6)) w`,
		tx.Org, string(OutboxWedding), tx.Now, tx.Now.Add(-domain.MaxSpan), tx.Now.Add(-late), limit)
	return int(tag.RowsAffected()), fault("look for weddings that nobody looks after", err)
}

// PurgeWeddings removes up to limit weddings that were over before [KeptWeddings], with their preflights, notes and reports.
func (tx *Tx) PurgeWeddings(ctx context.Context, limit int) error {
	before := tx.Now.Add(-KeptWeddings)
	rows, err := tx.Query(ctx, `DELETE FROM wedding_cares WHERE org_id = $1 AND id IN (
		SELECT id FROM wedding_cares WHERE org_id = $1 AND day_from < $2 AND state IN ('handed_over', 'ended') ORDER BY day_from LIMIT $3) RETURNING id`, tx.Org, before, limit)
	ids, err := collect(rows, err, func(row pgx.Row) (id domain.BookingID, err error) { return id, row.Scan(&id) })
	if err != nil || len(ids) == 0 {
		return fault("remove old weddings", err)
	}
	for _, table := range []string{"wedding_preflights", "wedding_notes", "wedding_handovers", "wedding_connections"} {
		if _, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE org_id = $1 AND booking_id = ANY($2)", tx.Org, arrayOf(ids)); err != nil {
			return fault("remove old weddings", err)
		}
	}
	return nil
}

const preflightColumns = "id, org_id, booking_id, kind, state, checks, starts_at, made_at, requested_by"

func scanPreflight(row pgx.Row) (p domain.Preflight, err error) {
	err = row.Scan(&p.ID, &p.OrgID, &p.BookingID, &p.Kind, &p.State, &p.Checks, &p.Start, &p.MadeAt, &p.By)
	p.Start, p.MadeAt = p.Start.UTC(), p.MadeAt.UTC()
	return p, err
}

// SavePreflight stores a preflight, in the place of another one of the same id.
func (tx *Tx) SavePreflight(ctx context.Context, p domain.Preflight) error {
	if p.Checks == nil {
		p.Checks = []domain.Check{}
	}
	_, err := tx.Exec(ctx, `INSERT INTO wedding_preflights (org_id, id, booking_id, kind, state, checks, starts_at, made_at, requested_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (org_id, id) DO UPDATE SET state = excluded.state, checks = excluded.checks, made_at = excluded.made_at`,
		tx.Org, p.ID, p.BookingID, string(p.Kind), string(p.State), p.Checks, p.Start, p.MadeAt, clip(p.By, 200))
	return fault("store preflight", err)
}

// Preflight reads one of a wedding; KindNotFound when there is none.
func (tx *Tx) Preflight(ctx context.Context, wedding domain.BookingID, id domain.PreflightID) (domain.Preflight, error) {
	p, err := scanPreflight(tx.QueryRow(ctx, "SELECT "+preflightColumns+" FROM wedding_preflights WHERE org_id = $1 AND booking_id = $2 AND id = $3", tx.Org, wedding, id))
	return p, missing("preflight", "read preflight", err)
}

// Preflights lists those of a wedding, newest first.
func (tx *Tx) Preflights(ctx context.Context, wedding domain.BookingID, p Page) ([]domain.Preflight, string, error) {
	q := newQuery("SELECT " + preflightColumns + " FROM wedding_preflights")
	q.where("org_id = %s AND booking_id = %s", tx.Org, wedding)
	return newestFirst(ctx, tx, "preflights", q, p, scanPreflight, func(p domain.Preflight) string { return string(p.ID) })
}

// CareTotals are the weddings of all tenants, for metrics.
type CareTotals struct {
	States     map[domain.CareState]int
	Preflights map[domain.CheckState]int // outcomes of the newest preflights of weddings within a week
}

// CareTotals counts them.
func (s *Store) CareTotals(ctx context.Context) (CareTotals, error) {
	out := CareTotals{States: map[domain.CareState]int{}, Preflights: map[domain.CheckState]int{}}
	rows, err := s.system.Query(ctx, "SELECT state, preflight, count(*) FROM wedding_cares GROUP BY state, preflight")
	if err != nil {
		return out, fault("count weddings", err)
	}
	var state domain.CareState
	var preflight domain.CheckState
	var n int
	_, err = pgx.ForEachRow(rows, []any{&state, &preflight, &n}, func() error {
		out.States[state] += n
		if preflight != "" && !state.Over() && state != domain.CareWaiting {
			out.Preflights[preflight] += n
		}
		return nil
	})
	return out, fault("count weddings", err)
}
