package store

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// AllowanceLimit is what one organisation may take over all servers: Rate tokens a second, Burst at once.
type AllowanceLimit struct {
	Rate  float64
	Burst int
}

// AllowanceAsk is one server's wish for an organisation.
type AllowanceAsk struct {
	Org  domain.OrgID
	Want int // tokens to be leased, as far as they are there
	Used int // tokens that were given away already and are taken in any case
}

// allowanceTries: the second is for organisations whose row did not exist, the third for one that came and went.
const allowanceTries = 3

// LeaseAllowances takes tokens for many organisations in one statement and returns how many each ask got, in order. An
// organisation must not be there twice, and one that does not exist gets nothing. at is the time; the zero time takes the
// database's, which is the one clock that all servers share. What is leased is taken: it comes back with time only.
func (s *Store) LeaseAllowances(ctx context.Context, l AllowanceLimit, asks []AllowanceAsk, at time.Time) ([]int, error) {
	own := make([]tokenAsk, len(asks))
	for i, a := range asks {
		own[i] = tokenAsk{string(a.Org), a.Want, a.Used}
	}
	return s.leaseFrom(ctx, intakeBook, l, own, at)
}

// tokenBook is a table in which tokens are counted.
type tokenBook struct {
	table, key string
	open       string // makes the rows of keys ($1) that ask for the first time
}

var intakeBook = tokenBook{"intake_allowances", "org_id", `INSERT INTO intake_allowances (org_id, full_at)
	SELECT o.id, '-infinity' FROM organizations o WHERE o.id = ANY($1::uuid[]) ORDER BY o.id ON CONFLICT (org_id) DO NOTHING`}

// tokenAsk is a wish for one key, a UUID.
type tokenAsk struct {
	key        string
	want, used int
}

func (s *Store) leaseFrom(ctx context.Context, book tokenBook, l AllowanceLimit, asks []tokenAsk, at time.Time) ([]int, error) {
	if !(l.Rate > 0) || l.Burst < 1 {
		return nil, domain.Invalid("limit", "rate and burst must be positive")
	}
	out := make([]int, len(asks))
	waiting := make([]int, len(asks))
	for i := range asks {
		waiting[i] = i
	}
	// One order for all processes, so that they queue instead of deadlocking.
	slices.SortFunc(waiting, func(a, b int) int { return cmp.Compare(asks[a].key, asks[b].key) })
	for try := 0; len(waiting) > 0 && try < allowanceTries; try++ {
		if try > 0 {
			if _, err := s.system.Exec(ctx, book.open, column(waiting, func(i int) string { return asks[i].key })); err != nil {
				return nil, fault("open allowances", err)
			}
		}
		granted, err := s.lease(ctx, book, l, asks, waiting, at)
		if err != nil {
			return nil, fault("lease allowances", err)
		}
		waiting = slices.DeleteFunc(waiting, func(i int) bool {
			n, ok := granted[int32(i)]
			out[i] = n
			return ok
		})
	}
	return out, nil
}

func (s *Store) lease(ctx context.Context, book tokenBook, l AllowanceLimit, asks []tokenAsk, waiting []int, at time.Time) (map[int32]int, error) {
	var clock *time.Time
	if !at.IsZero() {
		clock = &at
	}
	// The names of table and key are constants of this file.
	rows, err := s.system.Query(ctx, strings.NewReplacer("TABLE", book.table, "KEY", book.key).Replace(`
		WITH ask AS (SELECT * FROM unnest($1::int[], $2::uuid[], $3::bigint[], $4::bigint[]) a(n, KEY, want, used)),
		have AS (SELECT ask.*, a.full_at FROM ask JOIN TABLE a USING (KEY) ORDER BY a.KEY FOR UPDATE OF a),
		clock AS MATERIALIZED (SELECT coalesce($5::timestamptz, clock_timestamp()) AS at),
		base AS (SELECT have.*, clock.at, greatest(have.full_at, clock.at) + make_interval(secs => have.used / $6::float8) AS used_to FROM have, clock),
		given AS (SELECT base.*, greatest(0, least(want, floor(extract(epoch FROM at - used_to)::float8 * $6::float8 + $7::float8 + 1e-3)::bigint)) AS granted FROM base)
		UPDATE TABLE a SET granted = g.granted,
			full_at = least(g.used_to + make_interval(secs => g.granted / $6::float8), g.at + make_interval(secs => 2 * $7::float8 / $6::float8))
		FROM given g WHERE a.KEY = g.KEY RETURNING g.n, g.granted`),
		column(waiting, func(i int) int32 { return int32(i) }),
		column(waiting, func(i int) string { return asks[i].key }),
		column(waiting, func(i int) int64 { return int64(max(0, asks[i].want)) }),
		column(waiting, func(i int) int64 { return int64(max(0, min(asks[i].used, l.Burst))) }), clock, l.Rate, float64(l.Burst))
	if err != nil {
		return nil, err
	}
	granted := make(map[int32]int, len(waiting))
	var n int32
	var g int64
	_, err = pgx.ForEachRow(rows, []any{&n, &g}, func() error {
		granted[n] = int(g)
		return nil
	})
	return granted, err
}

// waitingHops visits the integrations that have deliveries nobody worked on yet, one step in the index for each.
const waitingHops = `
WITH RECURSIVE hop(id) AS (
	(SELECT integration_id FROM deliveries WHERE state = 'received' ORDER BY integration_id LIMIT 1)
	UNION ALL
	SELECT (SELECT integration_id FROM deliveries WHERE state = 'received' AND integration_id > hop.id ORDER BY integration_id LIMIT 1)
	FROM hop WHERE hop.id IS NOT NULL
)`

const waitingCountQuery = waitingHops + `
SELECT count(*) FROM (
	SELECT 1 FROM hop JOIN integrations i ON i.id = hop.id AND i.state = 'active' AND (i.work_held_until IS NULL OR i.work_held_until <= $3)
	CROSS JOIN LATERAL (SELECT 1 FROM deliveries WHERE integration_id = hop.id AND state = 'received' LIMIT $2) d
	LIMIT $1) w`

// WaitingDeliveryCount counts deliveries that were received and not applied yet, of all tenants, up to most. Those of an
// integration that is not active or is in a window of maintenance wait on purpose and are not counted; of any other at
// most each are, so that what piled up in one while it was paused is no backlog of everybody when it goes on. It reads at
// the worst most index entries and one for each integration that has any.
func (s *Store) WaitingDeliveryCount(ctx context.Context, most, each int) (int, error) {
	var n int
	err := s.system.QueryRow(ctx, waitingCountQuery, most, each, s.timestamp()).Scan(&n)
	return n, fault("count waiting deliveries", err)
}

const waitingPilesQuery = waitingHops + `
SELECT hop.id, d.n FROM hop
CROSS JOIN LATERAL (SELECT count(*) AS n FROM (SELECT 1 FROM deliveries WHERE integration_id = hop.id AND state = 'received' LIMIT $2) d) d
WHERE hop.id IS NOT NULL AND d.n >= $1`

// WaitingPiles returns the integrations, of all tenants and in any state, for which at least least deliveries wait, with
// how many do, up to most. It reads up to most index entries of each integration.
func (s *Store) WaitingPiles(ctx context.Context, least, most int) (map[domain.IntegrationID]int, error) {
	rows, err := s.system.Query(ctx, waitingPilesQuery, least, most)
	out, err := collectMap[domain.IntegrationID, int](rows, err)
	return out, fault("count waiting deliveries of integrations", err)
}
