package store

import "testing"

func TestRecentDeliveriesTellWhatIsErased(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	one, other := b.integration(org).ID, b.integration(org).ID
	var batch []NewDelivery
	for _, name := range []string{"a", "b", "c"} {
		b.clock.advance(1e9)
		batch = append(batch, b.delivery(org, one, name))
	}
	_, err := b.InsertDeliveries(ctx, append(batch, b.delivery(org, other, "a")))
	b.must(err)
	_, err = b.owner().Exec(ctx, "UPDATE deliveries SET content = '' WHERE id = $1", batch[1].ID)
	b.must(err)
	b.clock.advance(1e9)
	spoilt := b.delivery(org, other, "spoilt")
	_, err = b.InsertDeliveries(ctx, []NewDelivery{spoilt})
	b.must(err)
	_, err = b.owner().Exec(ctx, "UPDATE deliveries SET content = 'not what was sealed' WHERE id = $1", spoilt.ID)
	b.must(err)
	b.tenant(org, func(tx *Tx) error {
		page, err := tx.RecentDeliveries(ctx, other, "", 5)
		if err != nil || len(page) != 2 || page[0].ID != spoilt.ID || !page[0].Erased || page[1].Erased {
			t.Fatalf("with one that cannot be opened: %+v, %v", page, err)
		}
		return nil
	})
	b.tenant(org, func(tx *Tx) error {
		page, err := tx.RecentDeliveries(ctx, one, "", 2)
		if err != nil || len(page) != 2 || page[0].ID != batch[2].ID || page[0].Erased || string(page[0].Body) != `{"name":"c"}` ||
			page[1].ID != batch[1].ID || !page[1].Erased || page[1].Body != nil {
			t.Fatalf("first page %+v, %v", page, err)
		}
		page, err = tx.RecentDeliveries(ctx, one, page[1].ID, 2)
		if err != nil || len(page) != 1 || page[0].ID != batch[0].ID || page[0].Erased {
			t.Fatalf("second page %+v, %v", page, err)
		}
		return nil
	})
}
