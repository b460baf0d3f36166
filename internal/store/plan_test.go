package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// explain returns the plan of a statement as the tenant's role gets it.
func explain(t *testing.T, tx interface {
	Query(sql string, args ...any) (pgx.Rows, error)
}, sql string, args ...any) string {
	t.Helper()
	rows, err := tx.Query("EXPLAIN (COSTS OFF) "+sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

type tenantQuery struct {
	t  *testing.T
	tx *Tx
}

func (q tenantQuery) Query(sql string, args ...any) (pgx.Rows, error) {
	return q.tx.Query(q.t.Context(), sql, args...)
}

type systemQuery struct{ b *bundle }

func (q systemQuery) Query(sql string, args ...any) (pgx.Rows, error) {
	return q.b.system.Query(q.b.t.Context(), sql, args...)
}

func uses(t *testing.T, plan string, indexes ...string) {
	t.Helper()
	for _, i := range indexes {
		if !strings.Contains(plan, i) {
			t.Errorf("the plan does not use %s:\n%s", i, plan)
		}
	}
	if strings.Contains(plan, "Seq Scan on allocations") || strings.Contains(plan, "Seq Scan on deliveries") || strings.Contains(plan, "Seq Scan on bookings") {
		t.Errorf("the plan reads a whole table:\n%s", plan)
	}
}

// manyBookings writes 20,000 bookings of 50 resources, one in a hundred of them long, with their allocations.
func (b *bundle) manyBookings(org domain.OrgID) []domain.ResourceID {
	b.t.Helper()
	ctx := b.t.Context()
	var resources []domain.ResourceID
	for range 50 {
		resources = append(resources, b.resource(org).ID)
	}
	b.tenant(org, func(tx *Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO bookings (id, org_id, resource_id, category, status, starts_at, ends_at, zone, time_kind, details, created_at,
				updated_at, version)
			SELECT gen_random_uuid(), $1, ($2::uuid[])[n % 50 + 1], 'wedding', 'confirmed', at, at + CASE WHEN n % 100 = 0 THEN interval '10 days' ELSE interval '8 hours' END,
				'UTC', 'zoned', $4, $3, $3, 1 FROM (SELECT n, $3::timestamptz + n * interval '26 minutes' AS at FROM generate_series(0, 19999) n) x`,
			org, arrayOf(resources), tx.Now, tx.sealDetails("x", domain.Details{}))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO allocations (id, org_id, booking_id, resource_id, category, status, starts_at, ends_at, busy_from, busy_to, slot, exclusive, booked_at)
			SELECT gen_random_uuid(), org_id, id, resource_id, category, status, starts_at, ends_at, starts_at, ends_at, 0, false, created_at FROM bookings WHERE org_id = $1`, org)
		return err
	})
	for _, table := range []string{"bookings", "allocations"} {
		_, err := b.owner().Exec(ctx, "ANALYZE "+table)
		b.must(err)
	}
	return resources
}

func TestOverlapsAreReadThroughTheNarrowIndexes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	resources := b.manyBookings(org)
	from := b.clock.now().Add(100 * 24 * time.Hour)
	span := domain.Span{Start: from, End: from.Add(24 * time.Hour)}
	b.tenant(org, func(tx *Tx) error {
		plan := explain(t, tenantQuery{t, tx}, busyQuery, org, arrayOf(resources[:2]), span.Start, span.End, span.Start.Add(-longStay), tx.Now)
		uses(t, plan, "allocations_short", "allocations_long", "busy_from <", "busy_to >")
		plan = explain(t, tenantQuery{t, tx}, nearQuery, org, arrayOf(resources[:1]), []time.Time{span.Start}, []time.Time{span.End},
			[]time.Time{span.Start.Add(-longStay)}, tx.Now)
		uses(t, plan, "allocations_short", "allocations_long", "(busy_from < n.t) AND (busy_from > n.since)", "(busy_to > n_1.f)")
		plan = explain(t, tenantQuery{t, tx}, searchedNearQuery, org, rowID(firstUUID), "", []string{"video"}, span.Start, span.End, tx.Now)
		uses(t, plan, "allocations_short", "allocations_long", "(busy_from < n.t) AND (busy_from > n.since)", "(busy_to > n_1.f)")
		// The same answer as the definition of an overlap gives.
		got, err := tx.BusyBetween(ctx, resources, span)
		if err != nil {
			return err
		}
		var want, long int
		if err := tx.QueryRow(ctx, "SELECT count(*), count(*) FILTER (WHERE long) FROM allocations WHERE busy_from < $2 AND busy_to > $1",
			span.Start, span.End).Scan(&want, &long); err != nil {
			return err
		}
		if len(got) != want || long == 0 || long == want {
			t.Errorf("%d allocations, want %d of which %d long", len(got), want, long)
		}
		for i, a := range got {
			if !a.Busy.Overlaps(span) || i > 0 && a.Busy.Start.Before(got[i-1].Busy.Start) {
				t.Errorf("%v is out of place", a.Busy)
			}
		}
		return nil
	})
}

func TestBookingsOfAStretchAreListedWithoutReadingAll(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	b.manyBookings(org)
	from := b.clock.now().Add(100 * 24 * time.Hour)
	f := BookingFilter{From: from, To: from.Add(48 * time.Hour)}
	b.tenant(org, func(tx *Tx) error {
		// The sealed details of these rows belong to no id, so only their number and order is asked for.
		var want int
		if err := tx.QueryRow(ctx, "SELECT count(*) FROM bookings WHERE starts_at < $2 AND ends_at > $1", f.From, f.To).Scan(&want); err != nil {
			return err
		}
		q, err := bookingQuery(tx.Org, f, Page{}, 200)
		if err != nil {
			return err
		}
		plan := explain(t, tenantQuery{t, tx}, q.text(), q.args...)
		uses(t, plan, "bookings_by_time", "bookings_long")
		rows, err := tx.Query(ctx, fmt.Sprintf("SELECT count(*) FROM (%s) x", q.text()), q.args...)
		if err != nil {
			return err
		}
		got, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[int])
		if got != want || want < 50 {
			t.Errorf("%d bookings, want %d", got, want)
		}
		return err
	})
}

func TestWaitingWorkIsFoundThroughItsIndexes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i := b.integration(org).ID
	owner := b.owner()
	_, err := owner.Exec(ctx, `INSERT INTO deliveries (id, org_id, integration_id, dedupe, state, size, received_at, next_attempt_at, content)
		SELECT gen_random_uuid(), $1, CASE WHEN n % 2 = 0 THEN $2::uuid ELSE md5((n % 40)::text)::uuid END, sha256(n::text::bytea),
			CASE WHEN n % 10 < 8 THEN 'applied' WHEN n % 10 = 8 THEN 'received' ELSE 'retrying' END, 1, $3, $3, ''
		FROM generate_series(1, 20000) n`, org, i, b.timestamp())
	b.must(err)
	quiet := b.integration(org).ID
	_, err = owner.Exec(ctx, `INSERT INTO deliveries (id, org_id, integration_id, dedupe, state, size, received_at, content)
		SELECT gen_random_uuid(), $1, $2, sha256(n::text::bytea), 'applied', 1, $3, '' FROM generate_series(1, 30) n`, org, quiet, b.timestamp())
	b.must(err)
	_, err = owner.Exec(ctx, "ANALYZE deliveries")
	b.must(err)
	uses(t, explain(t, systemQuery{b}, sweepQuery, rowID(firstUUID), rowID(lastUUID), b.timestamp(), 10, 51, sweepHops, b.timestamp()),
		"deliveries_received", "deliveries_retrying", "pushes_waiting")
	b.tenant(org, func(tx *Tx) error {
		uses(t, explain(t, tenantQuery{t, tx}, waitingQuery, org, i, 10, tx.Now), "deliveries_received", "deliveries_retrying", "deliveries_pkey")
		// Of an integration with few deliveries in an organisation with many, which the others must not be read through.
		uses(t, explain(t, tenantQuery{t, tx}, recentQuery, org, quiet, lastUUID, 20), "deliveries_by_integration", "deliveries_received")
		return nil
	})
}

func TestABacklogOfFourPrioritiesIsReadThroughItsIndex(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i := b.integration(org)
	owner := b.owner()
	_, err := owner.Exec(ctx, `INSERT INTO deliveries (id, org_id, integration_id, dedupe, priority, size, received_at, content)
		SELECT gen_random_uuid(), $1, $2, sha256(n::text::bytea), 1 + n % 4, 1, $3, '' FROM generate_series(1, 20000) n`, org, i.ID, b.timestamp())
	b.must(err)
	_, err = owner.Exec(ctx, "ANALYZE deliveries")
	b.must(err)
	b.tenant(org, func(tx *Tx) error {
		for _, sql := range []string{waitingQuery, oldestQuery} {
			plan := explain(t, tenantQuery{t, tx}, sql, org, i.ID, 100, tx.Now)
			uses(t, plan, "deliveries_received", "deliveries_retrying", "deliveries_pkey")
			if strings.Contains(plan, "Sort Key: deliveries.priority") {
				t.Errorf("the backlog is sorted:\n%s", plan)
			}
		}
		return nil
	})
	uses(t, explain(t, systemQuery{b}, sweepQuery, rowID(firstUUID), rowID(lastUUID), b.timestamp(), 10, 51, sweepHops, b.timestamp()), "deliveries_received", "(priority = p.p)")
	b.manyBookings(org)
	now := b.timestamp()
	uses(t, explain(t, systemQuery{b}, intakeQuery, i.ID, now, now.Add(-longStay), now.Add(domain.UrgentWithin)), "allocations_short", "allocations_long")
}
