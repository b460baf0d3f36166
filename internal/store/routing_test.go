package store

import (
	"context"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestRoutedDeliveriesAreStoredOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	from, one, two := b.integration(org).ID, b.integration(org).ID, b.integration(org).ID
	_, err := b.InsertDeliveries(ctx, []NewDelivery{b.delivery(org, from, "a"), b.delivery(org, from, "b")})
	b.must(err)
	route := func(want int) {
		t.Helper()
		b.tenant(org, func(tx *Tx) error {
			waiting, err := tx.WaitingDeliveries(ctx, from, 10)
			if err != nil {
				return err
			}
			n, err := tx.RouteDeliveries(ctx, []Routing{{waiting[0], one}, {waiting[0], two}, {waiting[1], one}})
			if n != want {
				t.Errorf("%d stored, want %d", n, want)
			}
			return err
		})
	}
	route(3)
	route(0)
	b.tenant(org, func(tx *Tx) error {
		arrived, err := tx.WaitingDeliveries(ctx, one, 10)
		if err != nil || len(arrived) != 2 || arrived[0].RoutedFrom == "" || len(arrived[0].Body) == 0 {
			t.Fatalf("arrived %+v, %v", arrived, err)
		}
		_, err = tx.RouteDeliveries(ctx, []Routing{{arrived[0], two}})
		wantKind(t, err, domain.KindConflict)
		sent, err := tx.WaitingDeliveries(ctx, from, 10)
		if err != nil {
			return err
		}
		_, err = tx.RouteDeliveries(ctx, []Routing{{sent[0], from}})
		wantKind(t, err, domain.KindConflict)
		return nil
	})
	lines, err := b.ClaimOutbox(ctx, 100)
	b.must(err)
	told := map[string]int{}
	for _, l := range lines {
		if l.Kind == OutboxDelivery {
			told[l.Target]++
		}
	}
	if told[string(one)] != 2 || told[string(two)] != 1 || len(told) != 2 {
		t.Errorf("told %v", told)
	}
	// Another organisation cannot be reached: its integration is not seen, and the copy would be this organisation's own.
	other := b.org()
	b.must(b.Tenant(ctx, other, func(ctx context.Context, tx *Tx) error {
		waiting, err := tx.WaitingDeliveries(ctx, one, 10)
		if len(waiting) != 0 {
			t.Errorf("another organisation sees %d", len(waiting))
		}
		return err
	}))
}
