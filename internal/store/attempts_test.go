package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

func (b *bundle) history(org domain.OrgID, id domain.DeliveryID) (out []domain.DeliveryAttempt) {
	b.t.Helper()
	b.tenant(org, func(tx *Tx) error {
		d, err := tx.Delivery(b.t.Context(), id)
		if err == nil {
			out, err = tx.DeliveryAttempts(b.t.Context(), d)
		}
		return err
	})
	return out
}

func TestHistoryKeepsTheFirstAndTheLastTries(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i := b.integration(org).ID
	ids := b.deliver(org, i, 3)
	started := b.timestamp()
	for n := 1; n <= 30; n++ {
		b.tenant(org, func(tx *Tx) error {
			return tx.FinishDeliveries(ctx, []DeliveryOutcome{{ID: ids[0], State: domain.DeliveryRetrying, Reason: fmt.Sprintf("busy %d", n), NextAttemptAt: tx.Now,
				Try: &DeliveryTry{Took: time.Duration(n) * time.Millisecond, Worker: "7@host"}}})
		})
		b.clock.advance(time.Second)
	}
	got := b.history(org, ids[0])
	var numbers []int
	for _, a := range got {
		numbers = append(numbers, a.N)
	}
	want := []int{1, 2, 3}
	for n := 11; n <= 30; n++ {
		want = append(want, n)
	}
	if diff := cmp.Diff(want, numbers); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff(domain.DeliveryAttempt{N: 2, At: started.Add(time.Second), Outcome: domain.DeliveryRetrying, Reason: "busy 2", DurationMS: 2, Worker: "7@host"},
		got[1]); diff != "" {
		t.Error(diff)
	}

	// A first success writes no line and is told from the row; what is finished already gets no line.
	b.tenant(org, func(tx *Tx) error {
		return tx.FinishDeliveries(ctx, []DeliveryOutcome{{ID: ids[1], State: domain.DeliveryApplied, Reason: "created", EventType: "booking.made", Entity: "e1"},
			{ID: ids[2], State: domain.DeliveryDead, Reason: "nonsense", Try: &DeliveryTry{Worker: "7@host"}}})
	})
	b.tenant(org, func(tx *Tx) error {
		return tx.FinishDeliveries(ctx, []DeliveryOutcome{{ID: ids[1], State: domain.DeliveryDead, Reason: "late", Try: &DeliveryTry{}}})
	})
	if got := b.history(org, ids[1]); len(got) != 1 || got[0].Outcome != domain.DeliveryApplied || got[0].Reason != "created" || got[0].Worker != "" {
		t.Errorf("history of a first success: %+v", got)
	}
	if got := b.history(org, ids[2]); len(got) != 1 || got[0].Outcome != domain.DeliveryDead || got[0].Worker != "7@host" {
		t.Errorf("history of a dead letter: %+v", got)
	}
	b.tenant(org, func(tx *Tx) error {
		d, err := tx.Delivery(ctx, ids[1])
		if d.EventType != "booking.made" || d.Entity != "e1" {
			t.Errorf("delivery is %+v", d)
		}
		return err
	})
	var lines int
	b.must(b.owner().QueryRow(ctx, "SELECT count(*) FROM delivery_attempts WHERE delivery_id = $1", ids[1]).Scan(&lines))
	if lines != 0 {
		t.Errorf("a first success wrote %d lines", lines)
	}
}
