package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// Retained is what one step of retention did.
type Retained struct {
	Looked int // rows read
	Done   int // rows erased or deleted
	// Last is the last row that was read, to go on behind; the id that was given when none was. More says that there may
	// be further rows that are old enough.
	Last domain.DeliveryID
	More bool
}

// EraseBodies empties the content of up to limit of an organisation's deliveries that were received before a time, behind
// an id ("" = from the oldest), and leaves their SHA-256. Only applied and ignored ones are touched: what waits is still
// needed, and a dead one is until somebody decides. Rows that somebody else has locked are left for the next pass, so
// nothing ever waits for this, and one step is one short transaction.
//
// A content that does not open, because its key is gone, is erased without a hash.
func (s *Store) EraseBodies(ctx context.Context, org domain.OrgID, before time.Time, after domain.DeliveryID, limit int) (Retained, error) {
	return s.retain(ctx, org, before, after, limit, `state IN ('applied', 'ignored') AND erased_at IS NULL`,
		func(ctx context.Context, tx pgx.Tx, ids []domain.DeliveryID) (int, error) {
			rows, err := tx.Query(ctx, `SELECT id, content FROM deliveries WHERE org_id = $1 AND id = ANY($2) AND state IN ('applied', 'ignored')
				AND erased_at IS NULL ORDER BY id FOR UPDATE SKIP LOCKED`, org, arrayOf(ids))
			type hashed struct {
				id   domain.DeliveryID
				hash []byte
			}
			sealer := s.ring.Org(string(org))
			found, err := collect(rows, err, func(row pgx.Row) (h hashed, err error) {
				var sealed []byte
				if err := row.Scan(&h.id, &sealed); err != nil {
					return h, err
				}
				if text, err := sealer.Open(sealed, "deliveries", "content", string(h.id)); err == nil && len(text) >= 4 {
					if n := uint64(binary.BigEndian.Uint32(text)); n <= uint64(len(text)-4) {
						sum := sha256.Sum256(text[4+n:])
						h.hash = sum[:]
					}
					clear(text)
				}
				return h, nil
			})
			if err != nil || len(found) == 0 {
				return 0, err
			}
			now := s.timestamp()
			if _, err := tx.Exec(ctx, `UPDATE deliveries d SET content = '', body_hash = v.hash, erased_at = $4
				FROM unnest($2::uuid[], $3::bytea[]) v(id, hash) WHERE d.org_id = $1 AND d.id = v.id`, org,
				column(found, func(h hashed) domain.DeliveryID { return h.id }), column(found, func(h hashed) []byte { return h.hash }), now); err != nil {
				return 0, err
			}
			return len(found), s.countDay(ctx, tx, org, now, len(found), 0)
		})
}

// DeleteDeliveries deletes up to limit of an organisation's deliveries that were received before a time, behind an id (""
// = from the oldest), in any state but the waiting ones. It is like [Store.EraseBodies] in everything else. From then on a
// repeat of the webhook is a new delivery, so before must not reach into the dedupe window.
func (s *Store) DeleteDeliveries(ctx context.Context, org domain.OrgID, before time.Time, after domain.DeliveryID, limit int) (Retained, error) {
	return s.retain(ctx, org, before, after, limit, `state NOT IN ('received', 'retrying')`,
		func(ctx context.Context, tx pgx.Tx, ids []domain.DeliveryID) (int, error) {
			tag, err := tx.Exec(ctx, `DELETE FROM deliveries WHERE org_id = $1 AND id IN (SELECT id FROM deliveries
				WHERE org_id = $1 AND id = ANY($2) AND state NOT IN ('received', 'retrying') FOR UPDATE SKIP LOCKED)`, org, arrayOf(ids))
			n := int(tag.RowsAffected())
			if err != nil || n == 0 {
				return 0, err
			}
			return n, s.countDay(ctx, tx, org, s.timestamp(), 0, n)
		})
}

// retain looks at the next rows behind an id in the order of the primary key, whose ids begin with the time of arrival,
// and hands those that may fit to act. The first look takes no lock.
func (s *Store) retain(ctx context.Context, org domain.OrgID, before time.Time, after domain.DeliveryID, limit int, fits string,
	act func(ctx context.Context, tx pgx.Tx, ids []domain.DeliveryID) (int, error)) (r Retained, err error) {
	if limit < 1 || limit > 10_000 {
		return r, domain.Invalid("limit", "must be 1 to 10000, is %d", limit)
	}
	if after == "" {
		after = firstUUID
	}
	err = pgx.BeginFunc(ctx, s.system, func(tx pgx.Tx) error {
		r = Retained{Last: after}
		rows, err := tx.Query(ctx, `SELECT id, `+fits+` FROM deliveries WHERE org_id = $1 AND id > $2 AND id < $3 ORDER BY id LIMIT $4`,
			org, after, firstIDAt(before), limit)
		if err != nil {
			return err
		}
		var ids []domain.DeliveryID
		var id domain.DeliveryID
		var fit bool
		if _, err := pgx.ForEachRow(rows, []any{&id, &fit}, func() error {
			r.Looked, r.Last = r.Looked+1, id
			if fit {
				ids = append(ids, id)
			}
			return nil
		}); err != nil {
			return err
		}
		r.More = r.Looked == limit
		if len(ids) > 0 {
			r.Done, err = act(ctx, tx, ids)
		}
		return err
	})
	return r, fault("retain deliveries", err)
}

// firstIDAt sorts before every identifier made at t or later, and behind all made in an earlier millisecond.
func firstIDAt(t time.Time) rowID {
	var b [16]byte
	ms := uint64(max(0, t.UnixMilli()))
	binary.BigEndian.PutUint64(b[:8], ms<<16)
	return rowID(domain.FormatUUID(b))
}

func (s *Store) countDay(ctx context.Context, tx pgx.Tx, org domain.OrgID, now time.Time, erased, deleted int) error {
	_, err := tx.Exec(ctx, `INSERT INTO retention_days AS r (org_id, day, erased, deleted) VALUES ($1, $2, $3, $4)
		ON CONFLICT (org_id, day) DO UPDATE SET erased = r.erased + excluded.erased, deleted = r.deleted + excluded.deleted`,
		org, now.Truncate(24*time.Hour), erased, deleted)
	return err
}

// RetentionDay is what retention did for an organisation on one day (UTC).
type RetentionDay struct {
	OrgID   domain.OrgID `json:"org"`
	Day     time.Time    `json:"day"`
	Erased  int64        `json:"erased"`  // raw bodies
	Deleted int64        `json:"deleted"` // deliveries
	Audited bool         `json:"audited"`
}

// RetentionDays lists what retention did since a day, of all organisations, newest first, at most limit rows.
func (s *Store) RetentionDays(ctx context.Context, since time.Time, limit int) ([]RetentionDay, error) {
	rows, err := s.system.Query(ctx, `SELECT org_id, day, erased, deleted, audited FROM retention_days WHERE day >= $1
		ORDER BY day DESC, org_id LIMIT $2`, since.UTC().Truncate(24*time.Hour), limit)
	out, err := collect(rows, err, scanRetentionDay)
	return out, fault("list days of retention", err)
}

func scanRetentionDay(row pgx.Row) (d RetentionDay, err error) {
	err = row.Scan(&d.OrgID, &d.Day, &d.Erased, &d.Deleted, &d.Audited)
	return d, err
}

// AuditRetention puts a line into the trail for each of up to limit days that are over and have none, and returns how many
// lines that were. Servers that do it at the same time write each line once.
func (s *Store) AuditRetention(ctx context.Context, limit int) (n int, err error) {
	today := s.timestamp().Truncate(24 * time.Hour)
	rows, err := s.system.Query(ctx, `SELECT org_id, day, erased, deleted, audited FROM retention_days WHERE NOT audited AND day < $1
		ORDER BY day LIMIT $2`, today, limit)
	days, err := collect(rows, err, scanRetentionDay)
	if err != nil {
		return 0, fault("look for days of retention", err)
	}
	for _, d := range days {
		written := false
		err := s.Tenant(ctx, d.OrgID, func(ctx context.Context, tx *Tx) error {
			written = false
			var erased, deleted int64
			err := tx.QueryRow(ctx, `UPDATE retention_days SET audited = true WHERE org_id = $1 AND day = $2 AND NOT audited
				RETURNING erased, deleted`, tx.Org, d.Day).Scan(&erased, &deleted)
			if err = fault("mark a day of retention", err); domain.KindOf(err) == domain.KindNotFound {
				return nil // another server was first
			}
			if err != nil {
				return err
			}
			written = true
			return tx.Audit(ctx, domain.AuditEntry{Actor: "system:retention", Action: "delivery.retain", Reason: "the time to keep them is over",
				Subject: "deliveries/" + d.Day.Format(time.DateOnly), After: map[string]string{"erased": strconv.FormatInt(erased, 10), "deleted": strconv.FormatInt(deleted, 10)}})
		})
		if err != nil {
			return n, err
		}
		if written {
			n++
		}
	}
	return n, nil
}
