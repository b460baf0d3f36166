package store

import (
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestOnlyTracedDeliveriesTakeRoomForTheirTrace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	trace := domain.Trace{ID: [16]byte{1, 2}, Span: [8]byte{3}}
	traced, plain, alone := b.delivery(org, i.ID, "traced"), b.delivery(org, i.ID, "plain"), b.delivery(org, i.ID, "alone")
	traced.Trace = trace
	for _, batch := range [][]NewDelivery{{traced, plain}, {alone}} {
		if _, err := b.InsertDeliveries(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	b.tenant(org, func(tx *Tx) error {
		for _, want := range []NewDelivery{traced, plain, alone} {
			got, err := tx.Delivery(t.Context(), want.ID)
			if err != nil || got.Trace != want.Trace || got.TraceID != want.Trace.TraceID() {
				t.Errorf("%+v, %v; want trace %v", got, err, want.Trace)
			}
		}
		return nil
	})
	var empty int
	b.must(b.owner().QueryRow(t.Context(), "SELECT count(*) FROM deliveries WHERE trace IS NULL").Scan(&empty))
	if empty != 2 {
		t.Errorf("%d rows without a trace, want 2", empty)
	}
	if _, err := b.owner().Exec(t.Context(), "UPDATE deliveries SET trace = 'short'"); err == nil {
		t.Error("a trace of another length is taken")
	}
}
