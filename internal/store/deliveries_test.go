package store

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestDeliveriesKeepHeadersAndBody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	d := b.delivery(org, i.ID, "one")
	out, err := b.InsertDeliveries(t.Context(), []NewDelivery{d})
	b.must(err)
	if diff := cmp.Diff([]InsertedDelivery{{ID: d.ID}}, out); diff != "" {
		t.Fatal(diff)
	}
	b.tenant(org, func(tx *Tx) error {
		raw, err := tx.DeliveryContent(t.Context(), d.ID)
		if string(raw.Body) != `{"name":"one"}` || raw.ContentType != "application/json" || raw.State != domain.DeliveryReceived ||
			raw.DedupeKey != fmt.Sprintf("%x", d.Dedupe) || !raw.ReceivedAt.Equal(b.timestamp()) || raw.Size != d.Size {
			t.Errorf("got %+v", raw)
		}
		return err
	})
	var stored []byte
	b.must(b.owner().QueryRow(t.Context(), "SELECT content FROM deliveries WHERE id = $1", d.ID).Scan(&stored))
	if slices.Contains([]string{string(stored)}, `"name"`) || len(stored) <= d.Size {
		t.Error("content is stored in the clear")
	}
}

func TestContentRoundTripsAndOpensOnlyInItsPlace(t *testing.T) {
	t.Parallel()
	s := &Store{ring: newRing(t), now: time.Now}
	org := domain.NewID[domain.OrgID](time.Now())
	tx := &Tx{Org: org, sealer: s.ring.Org(string(org))}
	elsewhere := &Tx{Org: org, sealer: s.ring.Org(string(domain.NewID[domain.OrgID](time.Now())))}
	rapid.Check(t, func(t *rapid.T) {
		id := domain.NewID[domain.DeliveryID](time.Now())
		headers := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "headers")
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		sealed := s.SealDelivery(org, id, headers, body)
		raw, err := tx.OpenDelivery(domain.Delivery{ID: id}, sealed)
		if err != nil || string(raw.Body) != string(body) || !cmp.Equal(raw.Headers, headers) {
			t.Fatalf("got %q %q, %v", raw.Headers, raw.Body, err)
		}
		if _, err := tx.OpenDelivery(domain.Delivery{ID: domain.NewID[domain.DeliveryID](time.Now())}, sealed); err == nil {
			t.Fatal("opened as another row")
		}
		if _, err := elsewhere.OpenDelivery(domain.Delivery{ID: id}, sealed); err == nil {
			t.Fatal("opened as another organisation")
		}
	})
}

func TestRepeatedDeliveriesKeepTheFirstID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	one, two := b.integration(org).ID, b.integration(org).ID
	first := b.delivery(org, one, "a")
	_, err := b.InsertDeliveries(t.Context(), []NewDelivery{first})
	b.must(err)
	batch := []NewDelivery{
		b.delivery(org, one, "b"), // new
		b.delivery(org, one, "a"), // stored before
		b.delivery(org, one, "b"), // repeat inside the batch
		b.delivery(org, two, "a"), // new: another integration
		b.delivery(org, one, "a"), // stored before, and twice here
		first,                     // the very same offer again, after an answer that was lost
	}
	out, err := b.InsertDeliveries(t.Context(), batch)
	b.must(err)
	want := []InsertedDelivery{{ID: batch[0].ID}, {first.ID, true}, {batch[0].ID, true}, {ID: batch[3].ID}, {first.ID, true}, {first.ID, true}}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Fatal(diff)
	}
	var rows int
	b.must(b.owner().QueryRow(t.Context(), "SELECT count(*) FROM deliveries").Scan(&rows))
	if rows != 3 {
		t.Fatalf("%d rows", rows)
	}
}

func TestConcurrentBatchesOfTheSameDeliveriesAgreeOnIDs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	integrations := []domain.IntegrationID{b.integration(org).ID, b.integration(org).ID}
	const writers, keys = 6, 200
	results := make([][]InsertedDelivery, writers)
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		batch := make([]NewDelivery, keys)
		for k := range batch {
			// Every writer offers the same keys in another order.
			n := (k*7 + w*31) % keys
			batch[n] = b.delivery(org, integrations[k%2], fmt.Sprint(k))
		}
		wg.Go(func() { results[w], errs[w] = b.InsertDeliveries(t.Context(), batch) })
	}
	wg.Wait()
	b.must(errors.Join(errs...))
	fresh := 0
	ids := map[domain.DeliveryID]int{}
	for _, r := range results {
		for _, d := range r {
			ids[d.ID]++
			if !d.Duplicate {
				fresh++
			}
		}
	}
	if fresh != keys || len(ids) != keys {
		t.Fatalf("%d new and %d ids for %d deliveries", fresh, len(ids), keys)
	}
	for id, n := range ids {
		if n != writers {
			t.Fatalf("%s was returned %d times", id, n)
		}
	}
}

func TestWaitingDeliveriesComeOldestFirstWhenDue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i := b.integration(org).ID
	var ids []domain.DeliveryID
	for range 5 {
		ids = append(ids, b.deliver(org, i, 1)...)
		b.clock.advance(time.Second)
	}
	later := b.clock.now().Add(time.Minute)
	b.tenant(org, func(tx *Tx) error {
		return tx.FinishDeliveries(ctx, []DeliveryOutcome{{ID: ids[0], State: domain.DeliveryRetrying, Reason: "busy", NextAttemptAt: later},
			{ID: ids[1], State: domain.DeliveryApplied}, {ID: ids[2], State: domain.DeliveryDead, Reason: "nonsense"}})
	})
	waiting := func() (got []domain.DeliveryID, due time.Time, n int) {
		b.tenant(org, func(tx *Tx) error {
			list, err := tx.WaitingDeliveries(ctx, i, 10)
			for _, d := range list {
				got = append(got, d.ID)
			}
			if err != nil {
				return err
			}
			due, n, err = tx.NextDeliveryDue(ctx, i)
			return err
		})
		return got, due, n
	}
	got, due, n := waiting()
	if diff := cmp.Diff(ids[3:], got); diff != "" || !due.Equal(b.timestamp()) || n != 3 {
		t.Fatalf("due %v, %d waiting\n%s", due, n, diff)
	}
	b.tenant(org, func(tx *Tx) error {
		return tx.FinishDeliveries(ctx, []DeliveryOutcome{{ID: ids[3], State: domain.DeliveryIgnored}, {ID: ids[4], State: domain.DeliveryApplied}})
	})
	got, due, n = waiting()
	if len(got) != 0 || !due.Equal(later.Truncate(time.Microsecond)) || n != 1 {
		t.Fatalf("got %v due %v, %d waiting", got, due, n)
	}
	b.clock.advance(time.Hour)
	got, due, _ = waiting()
	if diff := cmp.Diff(ids[:1], got); diff != "" || !due.Equal(b.timestamp()) {
		t.Fatalf("due %v\n%s", due, diff)
	}
	// An outcome told twice, or told of a finished delivery, changes nothing.
	b.tenant(org, func(tx *Tx) error {
		return tx.FinishDeliveries(ctx, []DeliveryOutcome{{ID: ids[1], State: domain.DeliveryDead, Reason: "late"}})
	})
	b.tenant(org, func(tx *Tx) error {
		d, err := tx.Delivery(ctx, ids[1])
		if d.State != domain.DeliveryApplied || d.Attempts != 1 || d.AppliedAt == nil {
			t.Errorf("got %+v", d)
		}
		one, err2 := tx.Integration(ctx, i)
		if one.LastDeliveryAt == nil || one.LastDeliveryAt.Before(d.ReceivedAt) || one.Version != 1 {
			t.Errorf("last delivery %v, version %d", one.LastDeliveryAt, one.Version)
		}
		return errors.Join(err, err2)
	})
}

func TestDeliveryListPagesNewestFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i, other := b.integration(org).ID, b.integration(org).ID
	var want []domain.DeliveryID
	for range 7 {
		want = append(want, b.deliver(org, i, 1)...)
		b.deliver(org, other, 1)
		b.clock.advance(time.Millisecond)
	}
	slices.Reverse(want)
	var got []domain.DeliveryID
	b.tenant(org, func(tx *Tx) error {
		for after, more := "", true; more; more = after != "" {
			list, next, err := tx.Deliveries(ctx, DeliveryFilter{Integration: i, State: domain.DeliveryReceived}, Page{Limit: 3, After: after})
			if err != nil {
				return err
			}
			for _, d := range list {
				got = append(got, d.ID)
			}
			after = next
		}
		for _, p := range []Page{{Limit: 201}, {Limit: -1}, {After: "x"}} {
			_, _, err := tx.Deliveries(ctx, DeliveryFilter{}, p)
			wantKind(t, err, domain.KindInvalid)
		}
		return nil
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestBatchesThatShareDuplicatesQueueInsteadOfDeadlocking(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i := b.integration(org).ID
	low, middle, high := b.delivery(org, i, "x"), b.delivery(org, i, "y"), b.delivery(org, i, "z")
	low.Dedupe, middle.Dedupe, high.Dedupe = [32]byte{1}, [32]byte{2}, [32]byte{3}
	// Somebody holds the middle key, so each batch stops there, with what it took before in its hands.
	holder := b.owner()
	held, err := holder.Begin(ctx)
	b.must(err)
	_, err = held.Exec(ctx, `INSERT INTO deliveries (id, org_id, integration_id, dedupe, size, received_at, content) VALUES (gen_random_uuid(), $1, $2, $3, 1, now(), '')`,
		org, i, middle.Dedupe[:])
	b.must(err)
	var errs [2]error
	var wg sync.WaitGroup
	for n, batch := range [][]NewDelivery{{low, middle, high}, {high, middle, low}} {
		wg.Go(func() { _, errs[n] = b.InsertDeliveries(ctx, batch) })
	}
	watch := b.owner()
	await(t, "both batches to stop", func() bool {
		var waiting int
		b.must(watch.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&waiting))
		return waiting == 2
	})
	b.must(held.Rollback(ctx))
	wg.Wait()
	b.must(errors.Join(errs[:]...))
}
