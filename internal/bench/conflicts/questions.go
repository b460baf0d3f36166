package conflicts

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/diary"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/availability"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/store"
)

// timed asks a question so many times, after a few that do not count, and returns the median and the slowest hundredth.
func timed(count int, ask func(n int) error) (p50, p99 float64, err error) {
	warm := max(count/10, 3)
	took := make([]time.Duration, 0, count)
	for n := range count + warm {
		began := time.Now()
		if err := ask(n); err != nil {
			return 0, 0, err
		}
		if n >= warm {
			took = append(took, time.Since(began))
		}
	}
	slices.Sort(took)
	return ms(took[len(took)/2]), ms(took[len(took)*99/100]), nil
}

func (b *bed) read(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	return b.db.TenantRead(ctx, b.org, fn)
}

// ask measures what people wait for.
func (b *bed) ask(ctx context.Context, r *Result) error {
	want := availability.Want{Category: domain.CategoryConsultation, Duration: 2 * time.Hour}
	p50, p99, err := timed(b.o.Questions, func(int) error {
		res := b.from[b.rng.IntN(len(b.from))].ResourceID
		start := day(b.rng.IntN(max(b.perLoaded-365, 1)), 0)
		return b.read(ctx, func(ctx context.Context, tx *store.Tx) error {
			got, err := diary.Availability(ctx, tx, []domain.ResourceID{res}, domain.Span{Start: start, End: start.AddDate(1, 0, 0)}, want)
			if err == nil && (len(got[0].Free) == 0 || len(got[0].Blocked) == 0) {
				err = fmt.Errorf("a year of %s has %d free stretches and %d blocked ones", res, len(got[0].Free), len(got[0].Blocked))
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	r.AvailabilityP99 = p99
	b.o.Say(fmt.Sprintf("availability of a year: p50 %.2f ms, p99 %.2f ms", p50, p99))

	// Half of the dates ask for more room than anybody has, so that every resource is looked through in vain.
	free50, free99, err := timed(b.o.Questions, func(n int) error {
		at := day(b.rng.IntN(b.perLoaded), 0)
		ask := diary.DateAsk{Date: calendartime.DateOf(at, time.UTC), Want: want, Limit: 50, Skills: []string{"Portrait"}}
		if n%2 == 0 {
			ask.Duration = 22 * time.Hour
		}
		return b.read(ctx, func(ctx context.Context, tx *store.Tx) error {
			got, err := diary.WhoIsFree(ctx, tx, ask)
			if err == nil && got.Looked != min(b.o.Resources, store.LookedThrough) {
				err = fmt.Errorf("%d resources were looked at", got.Looked)
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	r.WhoIsFreeP99 = free99
	b.o.Say(fmt.Sprintf("who is free, of %d resources: p50 %.2f ms, p99 %.2f ms", b.o.Resources, free50, free99))

	s50, s99, err := timed(b.o.Questions, func(int) error {
		at := b.rng.IntN(b.perLoaded)
		asked := domain.Booking{ResourceID: b.from[b.rng.IntN(len(b.from))].ResourceID, Category: domain.CategoryConsultation, Status: domain.StatusConfirmed,
			When: domain.When{Span: domain.Span{Start: day(at, 11), End: day(at, 12)}, Zone: "UTC", Kind: domain.TimeZoned}, CreatedAt: time.Now()}
		return b.read(ctx, func(ctx context.Context, tx *store.Tx) error {
			got, err := diary.Suggest(ctx, tx, diary.Asked{Booking: asked})
			if err == nil && len(got.Ways) == 0 {
				err = fmt.Errorf("no way out was found")
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	r.SuggestP99 = s99
	b.o.Say(fmt.Sprintf("suggestions: p50 %.2f ms, p99 %.2f ms", s50, s99))
	if err := b.naive(ctx, r); err != nil {
		return err
	}
	r.AvailabilityRatio, r.WhoIsFreeRatio = r.NaiveAvailability/p50, r.NaiveWhoIsFree/free50
	b.o.Say(fmt.Sprintf("naively in SQL: a year %.1f ms (%.0f times as long), who is free %.1f ms (%.0f times as long)", r.NaiveAvailability, r.AvailabilityRatio,
		r.NaiveWhoIsFree, r.WhoIsFreeRatio))
	return nil
}

// naive asks the same in plain SQL of a copy of the allocations that has no index: the gaps that range_agg leaves, and the
// resources in whose gaps the booking has room. No rule, no reason and no freshness is part of it.
func (b *bed) naive(ctx context.Context, r *Result) error {
	for _, sql := range []string{"CREATE UNLOGGED TABLE naive AS SELECT resource_id, tstzrange(busy_from, busy_to) AS busy FROM allocations", "VACUUM ANALYZE naive"} {
		if _, err := b.owner.Exec(ctx, sql); err != nil {
			return fmt.Errorf("make the naive table: %w", err)
		}
	}
	count := max(b.o.Questions/30, 3)
	run := func(sql string, args func() []any) (float64, error) {
		p50, _, err := timed(count, func(int) error {
			rows, err := b.owner.Query(ctx, sql, args()...)
			if err != nil {
				return err
			}
			_, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
		return p50, err
	}
	var err error
	r.NaiveAvailability, err = run(`SELECT gap::text FROM (SELECT unnest(tstzmultirange(tstzrange($2, $3)) - coalesce(range_agg(busy), '{}')) AS gap
			FROM naive WHERE resource_id = $1 AND busy && tstzrange($2, $3)) g WHERE upper(gap) - lower(gap) >= interval '2 hours'`, func() []any {
		start := day(b.rng.IntN(max(b.perLoaded-365, 1)), 0)
		return []any{string(b.from[b.rng.IntN(len(b.from))].ResourceID), start, start.AddDate(1, 0, 0)}
	})
	if err != nil {
		return fmt.Errorf("ask naively for a year: %w", err)
	}
	r.NaiveWhoIsFree, err = run(`SELECT id::text FROM resources r
		LEFT JOIN (SELECT resource_id, range_agg(busy) AS taken FROM naive WHERE busy && tstzrange($1, $2) GROUP BY resource_id) t ON t.resource_id = r.id
		WHERE EXISTS (SELECT FROM unnest(tstzmultirange(tstzrange($1, $2)) - coalesce(taken, '{}')) gap WHERE upper(gap) - lower(gap) >= interval '2 hours')`, func() []any {
		start := day(b.rng.IntN(b.perLoaded), 0)
		return []any{start, start.Add(26 * time.Hour)}
	})
	if err != nil {
		return fmt.Errorf("ask naively who is free: %w", err)
	}
	_, err = b.owner.Exec(ctx, "DROP TABLE naive")
	return err
}
