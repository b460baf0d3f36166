package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// SlotsAsk is one process's wish to have calls to an outside system under way.
type SlotsAsk struct {
	Key    [16]byte      // an integration's id, or a digest of a host or of an account there
	Holder [16]byte      // the process
	Want   int           // slots it needs, those in use included
	Using  int           // slots in use, which it keeps in any case
	Most   int           // of all processes together
	For    time.Duration // how long the lease lasts
}

// LeaseSlots leases slots in place of those that the holder had, and returns how many it has now. As long as every holder uses
// no more than it has, no more than Most are used. Where several processes want some each gets an equal part, rounded
// down and at least one, while there are any: who had more gets less at its next wish. at is the time; the zero time takes the database's.
func (s *Store) LeaseSlots(ctx context.Context, a SlotsAsk, at time.Time) (granted int, err error) {
	if a.Most < 1 || a.Using < 0 || a.Want < a.Using || a.For <= 0 {
		return 0, domain.Invalid("slots", "most and for must be positive, and want at least using")
	}
	var clock *time.Time
	if !at.IsZero() {
		clock = &at
	}
	key, holder := domain.FormatUUID(a.Key), domain.FormatUUID(a.Holder)
	err = pgx.BeginFunc(ctx, s.system, func(tx pgx.Tx) error {
		// Those who ask at once queue here: each must see what the one before it got.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('outbound_slots ' || $1::text, 0))", key); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `WITH clock AS MATERIALIZED (SELECT coalesce($6::timestamptz, clock_timestamp()) AS at),
			others AS (SELECT clock.at, coalesce(sum(s.held), 0)::int AS held, count(s.key)::int AS n FROM clock
				LEFT JOIN outbound_slots s ON s.key = $1 AND s.holder <> $2 AND s.until > clock.at GROUP BY clock.at),
			part AS (SELECT at, greatest($4::int, least($3::int, $5::int - held, greatest(1, $5::int / (n + 1)))) AS held FROM others)
			INSERT INTO outbound_slots (key, holder, org_id, held, until)
			SELECT $1, $2, (SELECT org_id FROM integrations WHERE id = $1), part.held, part.at + $7::interval FROM part
			ON CONFLICT (key, holder) DO UPDATE SET held = excluded.held, until = excluded.until RETURNING held`,
			key, holder, a.Want, a.Using, a.Most, clock, a.For).Scan(&granted)
	})
	return granted, fault("lease slots", err)
}

// ReturnSlots gives all slots of a holder back.
func (s *Store) ReturnSlots(ctx context.Context, key, holder [16]byte) error {
	_, err := s.system.Exec(ctx, "DELETE FROM outbound_slots WHERE key = $1 AND holder = $2", domain.FormatUUID(key), domain.FormatUUID(holder))
	return fault("return slots", err)
}

// PaceRecovers is the time without a refusal after which one halving of a rate is given back.
const PaceRecovers = time.Minute

// Pace is how much slower than its limit an outside system is called because it refused, and until when not at all.
type Pace struct {
	Key     [16]byte // as of SlotsAsk
	Level   int      // halvings
	At      time.Time
	Until   time.Time // zero = it asked for no pause
	Version int64     // grows with each change
}

// SlowOutbound stores a halving or a pause and returns what stands there then: of what several processes found at once the slowest
// and the longest.
func (s *Store) SlowOutbound(ctx context.Context, p Pace) (Pace, error) {
	until := instant(p.Until)
	err := s.system.QueryRow(ctx, `INSERT INTO outbound_paces AS o (key, org_id, level, slowed_at, until, version)
		VALUES ($1, (SELECT org_id FROM integrations WHERE id = $1), $2, $3, $5, 1) ON CONFLICT (key) DO UPDATE SET
			level = greatest(excluded.level, o.level - floor(greatest(extract(epoch FROM excluded.slowed_at - o.slowed_at), 0) / $4::float8)::int),
			slowed_at = greatest(excluded.slowed_at, o.slowed_at), until = greatest(excluded.until, o.until), version = o.version + 1
		RETURNING level, slowed_at, until, version`,
		domain.FormatUUID(p.Key), p.Level, p.At, PaceRecovers.Seconds(), until).Scan(&p.Level, &p.At, &until, &p.Version)
	p.At, p.Until = p.At.UTC(), moment(until)
	return p, fault("slow an outside system down", err)
}

// ClaimOutbound takes the right to do something until another time. It goes to one of those who ask at once, and to nobody while it
// is taken. mine tells whether the caller has it; the answer is what stands there now, with the end of the claim as Until.
func (s *Store) ClaimOutbound(ctx context.Context, key [16]byte, now, until time.Time) (p Pace, mine bool, err error) {
	p.Key = key
	name := domain.FormatUUID(key)
	err = s.system.QueryRow(ctx, `INSERT INTO outbound_paces AS o (key, org_id, level, slowed_at, until, version)
		VALUES ($1, NULL, 0, $2, $3, 1) ON CONFLICT (key) DO UPDATE SET slowed_at = $2, until = $3, version = o.version + 1
		WHERE o.until IS NULL OR o.until <= $2
		RETURNING slowed_at, until, version`, name, now, until).Scan(&p.At, &p.Until, &p.Version)
	if mine = err == nil; errors.Is(err, pgx.ErrNoRows) {
		err = s.system.QueryRow(ctx, "SELECT slowed_at, until, version FROM outbound_paces WHERE key = $1", name).Scan(&p.At, &p.Until, &p.Version)
	}
	p.At, p.Until = p.At.UTC(), p.Until.UTC()
	return p, mine, fault("claim a turn at an outside system", err)
}

// PacesSince returns what was slowed down at or after a time.
func (s *Store) PacesSince(ctx context.Context, since time.Time) ([]Pace, error) {
	rows, err := s.system.Query(ctx, "SELECT key::text, level, slowed_at, until, version FROM outbound_paces WHERE slowed_at >= $1", since)
	all, err := collect(rows, err, func(row pgx.Row) (p Pace, err error) {
		var (
			key   string
			until *time.Time
		)
		if err = row.Scan(&key, &p.Level, &p.At, &until, &p.Version); err == nil {
			p.Key, _ = domain.ParseUUID(key) // the column holds nothing else
		}
		p.At, p.Until = p.At.UTC(), moment(until)
		return p, err
	})
	return all, fault("read what was slowed down", err)
}
