package flows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// settle waits until nothing is left to be applied.
func (b *bed) settle(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(3 * time.Minute)
	for {
		var waiting int
		if err := b.owner.QueryRow(ctx, "SELECT count(*) FROM deliveries WHERE state IN ('received', 'retrying')").Scan(&waiting); err != nil {
			return fmt.Errorf("count what waits: %w", err)
		}
		if waiting == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d deliveries still wait after three minutes", waiting)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (b *bed) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.sentAt)
	clear(b.seen)
}

// latencies returns the time from request to commit of everything sent since forget, in ms, and the last commit.
func (b *bed) latencies(ctx context.Context) (applied []float64, last time.Time, err error) {
	rows, err := b.owner.Query(ctx, "SELECT id::text, pg_xact_commit_timestamp(xmin) FROM deliveries WHERE state = 'applied'")
	if err != nil {
		return nil, last, fmt.Errorf("read commit timestamps: %w", err)
	}
	var id string
	var at time.Time
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err = pgx.ForEachRow(rows, []any{&id, &at}, func() error {
		if sent, ok := b.sentAt[domain.DeliveryID(id)]; ok {
			applied = append(applied, float64(at.Sub(sent).Microseconds())/1000)
			if at.After(last) {
				last = at
			}
		}
		return nil
	})
	if err == nil && len(applied) == 0 {
		err = errors.New("nothing was applied")
	}
	return applied, last, err
}

func (b *bed) streamLatencies() []float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []float64
	for id, sent := range b.sentAt {
		if at, ok := b.seen[id]; ok {
			out = append(out, float64(at.Sub(sent).Microseconds())/1000)
		}
	}
	if missing := len(b.sentAt) - len(out); missing > 0 {
		b.o.Say(fmt.Sprintf("%d of %d events were not seen on the live stream", missing, len(b.sentAt)))
	}
	return out
}

func percentile(v []float64, p int) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[min(len(v)*p/100, len(v)-1)]
}

// history adds up the history events of all integrations' and conflicts' workflows, earlier runs included.
func (b *bed) history(ctx context.Context) (int, error) {
	temporal := b.stack.Core.Flow.Temporal()
	total := 0
	for _, t := range b.targets {
		d, err := temporal.DescribeWorkflowExecution(ctx, contract.IntegrationWorkflowID(t.ID), "")
		if err != nil {
			return 0, fmt.Errorf("describe a workflow: %w", err)
		}
		total += int(d.WorkflowExecutionInfo.HistoryLength)
	}
	return total, nil
}

// count compares what was sent with the bookings there are.
func (b *bed) count(ctx context.Context, r *Result) error {
	rows, err := b.owner.Query(ctx, `SELECT l.integration_id::text, l.external_id, count(DISTINCT l.booking_id)::int FROM links l
		JOIN bookings b ON b.org_id = l.org_id AND b.id = l.booking_id GROUP BY 1, 2`)
	if err != nil {
		return fmt.Errorf("count bookings: %w", err)
	}
	found := map[string]int{}
	var integration, external string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&integration, &external, &n}, func() error {
		found[integration+" "+external] = n
		return nil
	}); err != nil {
		return fmt.Errorf("count bookings: %w", err)
	}
	var bookings int
	if err := b.owner.QueryRow(ctx, "SELECT count(*)::int FROM bookings").Scan(&bookings); err != nil {
		return fmt.Errorf("count bookings: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r.Lost, r.Duplicated = 0, max(0, bookings-len(b.events))
	for key := range b.events {
		if found[key] != 1 {
			r.Lost++
		}
	}
	return nil
}
