package activities_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// prioritise gives deliveries that wait a priority.
func (d *desk) prioritise(p domain.Priority, ids ...domain.DeliveryID) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		for _, id := range ids {
			if _, err := tx.Exec(ctx, "UPDATE deliveries SET priority = $3 WHERE org_id = $1 AND id = $2", d.org, id, int16(p)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *desk) applyBatch(i domain.Integration, oldest bool) activities.ApplyDeliveriesResult {
	d.t.Helper()
	return run(d, d.deliveries().ApplyDeliveries, activities.ApplyDeliveriesInput{Org: d.org, Integration: i.ID, Oldest: oldest})
}

func TestAnUrgentDeliveryIsAppliedBeforeABacklogOfBulk(t *testing.T) {
	t.Parallel()
	d := setup(t)
	const backlog = 2000
	bodies := make([]string, backlog)
	for n := range bodies {
		bodies[n] = body() // nothing in it for us, so that a batch is quick
	}
	d.prioritise(domain.PriorityBulk, d.deliver(d.crm, bodies...)...)
	urgent := d.deliver(d.crm, body(change("w", domain.CategoryWedding, 10, 18)))
	d.prioritise(domain.PriorityUrgent, urgent...)
	done := 0
	for oldest := true; ; oldest = false { // the worst case: the batch at hand is one of the oldest
		got := d.applyBatch(d.crm, oldest)
		if got.Applied == 1 {
			break
		}
		if done += got.Ignored; done > backlog/20 {
			t.Fatalf("%d of %d bulk deliveries went before the urgent one", done, backlog)
		}
	}
	if done == 0 || d.delivery(urgent[0]).State != domain.DeliveryApplied {
		t.Errorf("the urgent one is %s after %d of bulk", d.delivery(urgent[0]).State, done)
	}
	oldest := d.applyBatch(d.crm, true)
	if oldest.Ignored != 100 || !oldest.More {
		t.Errorf("then: %+v", oldest)
	}
}

// TestPrioritiesNeverChangeWhatIsTrueInTheEnd applies a backlog by priority and compares with the order of arrival.
func TestPrioritiesNeverChangeWhatIsTrueInTheEnd(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			d := setup(t)
			// Removals are many here, and the guard that would hold them is not what is tried.
			d.tenant(func(ctx context.Context, tx *store.Tx) error {
				return tx.SetGuard(ctx, d.crm.ID, domain.Guard{Percent: 100})
			})
			random := rand.New(rand.NewPCG(seed, 1))
			const entries = 40
			want := map[string]string{}
			ids := map[domain.Priority][]domain.DeliveryID{}
			deliver := func(n int) {
				for range n {
					entry := random.IntN(entries)
					name := fmt.Sprintf("e%d", entry)
					hour := float64(entry*24 + random.IntN(12))
					c := change(name, domain.CategoryVendor, hour, hour+1)
					want[name] = c.When.Start.UTC().Format(time.RFC3339)
					if random.IntN(4) == 0 {
						c = domain.Change{Op: domain.OpRemove, ExternalID: name}
						delete(want, name)
					}
					p := domain.Priorities()[random.IntN(4)]
					ids[p] = append(ids[p], d.deliver(d.crm, body(c))...)
				}
				for p, list := range ids {
					d.prioritise(p, list...)
				}
				clear(ids)
			}
			deliver(450)
			for batch := 0; ; batch++ {
				got := d.applyBatch(d.crm, batch%4 == 3)
				if got.Dead+got.Retried > 0 {
					t.Fatalf("batch %d: %+v", batch, got)
				}
				if batch == 2 {
					deliver(150)
				} else if !got.More {
					break
				}
			}
			got := map[string]string{}
			left := 0
			d.tenant(func(ctx context.Context, tx *store.Tx) error {
				rows, err := tx.Query(ctx, `SELECT l.external_id, b.starts_at FROM links l JOIN bookings b ON b.org_id = l.org_id AND b.id = l.booking_id
					WHERE l.org_id = $1 AND l.integration_id = $2 AND l.removed_at IS NULL AND b.status <> 'cancelled'`, d.org, d.crm.ID)
				if err != nil {
					return err
				}
				defer rows.Close()
				for rows.Next() {
					var name string
					var at time.Time
					if err := rows.Scan(&name, &at); err != nil {
						return err
					}
					got[name] = at.UTC().Format(time.RFC3339)
				}
				rows.Close()
				return tx.QueryRow(ctx, "SELECT count(*) FROM overtakes WHERE org_id = $1", d.org).Scan(&left)
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("entries (-in order of arrival +by priority):\n%s", diff)
			}
			if left != 0 {
				t.Errorf("%d overtaken entries are still remembered though nothing waits", left)
			}
		})
	}
}

// TestARemovalThatOvertakesTheCreationIsNotUndoneByIt hands the deliveries of one entry in the wrong order, in one batch and in
// two, to a connection that cannot ask its system.
func TestARemovalThatOvertakesTheCreationIsNotUndoneByIt(t *testing.T) {
	t.Parallel()
	for name, together := range map[string]bool{"in one batch": true, "one after the other": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := setup(t)
			at := func(version int64, c domain.Change) string {
				c.RemoteVersion = version
				return body(c)
			}
			gone := domain.Change{Op: domain.OpRemove, ExternalID: "w"}
			ended := change("x", domain.CategoryWedding, 30, 34)
			ended.Status = domain.StatusCancelled
			lives := [][]string{{at(3, gone), at(2, change("w", domain.CategoryWedding, 11, 19)), at(1, change("w", domain.CategoryWedding, 10, 18))},
				{at(7, ended), at(5, change("x", domain.CategoryWedding, 30, 34))}}
			for _, life := range lives {
				if together {
					d.deliver(d.crm, life...)
					d.applyBatch(d.crm, false)
					continue
				}
				for _, one := range life {
					d.deliver(d.crm, one)
					d.applyBatch(d.crm, false)
				}
			}
			late := d.deliver(d.crm, at(1, change("w", domain.CategoryWedding, 10, 18)))[0]
			d.applyBatch(d.crm, false)
			if got := d.delivery(late); got.State != domain.DeliveryApplied || !strings.Contains(got.Reason, "its entry ended after this") {
				t.Errorf("a creation after its removal is %s: %s", got.State, got.Reason)
			}
			if n := d.standing(); n != 0 {
				t.Errorf("%d bookings stand although both ended", n)
			}
			// Made anew, by a version of after its end, it counts.
			d.deliver(d.crm, at(4, change("w", domain.CategoryWedding, 12, 20)))
			d.applyBatch(d.crm, false)
			if n := d.standing(); n != 1 {
				t.Errorf("%d bookings stand after the entry was made anew", n)
			}
		})
	}
}

// standing is how many bookings are not cancelled.
func (d *desk) standing() (n int) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT count(*) FROM bookings WHERE org_id = $1 AND status <> 'cancelled'", d.org).Scan(&n)
	})
	return n
}
