package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRefusalsAreKeptForTheNewestHundredOfEachIntegration(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	loud, quiet := b.integration(org).ID, b.integration(org).ID
	one := func(n int) RefusedWebhook {
		return RefusedWebhook{OrgID: org, IntegrationID: loud, At: b.clock.now(), Network: "192.0.2.0/24", Scheme: "standard-webhooks",
			Code: "wrong_signature", Reason: fmt.Sprintf("number %d", n), Others: int64(n)}
	}
	q := one(0)
	q.IntegrationID = quiet
	b.must(b.RecordRefusals(ctx, []RefusedWebhook{q}))
	for n := 0; n < 125; n += 5 {
		batch := make([]RefusedWebhook, 5)
		for i := range batch {
			b.clock.advance(time.Second)
			batch[i] = one(n + i)
		}
		b.must(b.RecordRefusals(ctx, batch))
	}
	b.tenant(org, func(tx *Tx) error {
		for id, want := range map[string]int{string(loud): MaxRefusals, string(quiet): 1} {
			var n int
			if err := tx.QueryRow(ctx, "SELECT count(*) FROM refused_webhooks WHERE integration_id = $1", rowID(id)).Scan(&n); err != nil || n != want {
				t.Errorf("%d rows kept, %v; want %d", n, err, want)
			}
		}
		page, next, err := tx.Refusals(ctx, loud, Page{Limit: 2})
		if err != nil || len(page) != 2 || next == "" {
			t.Fatalf("page of %d, next %q, %v", len(page), next, err)
		}
		want := one(124)
		want.ID, want.At = page[0].ID, want.At.Truncate(time.Microsecond)
		if diff := cmp.Diff(want, page[0]); diff != "" {
			t.Errorf("newest (-want +got):\n%s", diff)
		}
		second, _, err := tx.Refusals(ctx, loud, Page{Limit: 200, After: next})
		if err != nil || len(second) != MaxRefusals-2 || second[len(second)-1].Others != 25 {
			t.Errorf("second page of %d, %v", len(second), err)
		}
		return nil
	})
	n, err := b.PurgeRefusals(ctx, b.clock.now().Add(-100*time.Second), 1000)
	if err != nil || n != 1 {
		t.Errorf("purged %d, %v; want the quiet one's", n, err)
	}
}
