package store

import (
	"cmp"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

// deliverAs stores deliveries with the given priorities, one after the other, and returns them in that order.
func (b *bundle) deliverAs(org domain.OrgID, i domain.IntegrationID, priorities ...domain.Priority) []domain.Delivery {
	b.t.Helper()
	var out []domain.Delivery
	for _, p := range priorities {
		d := b.delivery(org, i, string(domain.NewID[domain.DeliveryID](b.clock.now())))
		d.Priority = p
		stored, err := b.InsertDeliveries(b.t.Context(), []NewDelivery{d})
		b.must(err)
		out = append(out, domain.Delivery{ID: stored[0].ID, Priority: p.OrNormal()})
		b.clock.advance(time.Second)
	}
	return out
}

func idsOf(list []domain.RawDelivery) (out []domain.DeliveryID) {
	for _, d := range list {
		out = append(out, d.ID)
	}
	return out
}

func TestTheMostUrgentAreTakenFirstAndHandedOverInOrderOfArrival(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i := b.integration(org).ID
	all := b.deliverAs(org, i, domain.PriorityBulk, 0, domain.PriorityUrgent, domain.PriorityBulk, domain.PriorityHigh, domain.PriorityUrgent, domain.PriorityNormal)
	byPriority := slices.Clone(all)
	slices.SortStableFunc(byPriority, func(x, y domain.Delivery) int { return cmp.Compare(x.Priority, y.Priority) })
	for limit := 1; limit <= len(all)+1; limit++ {
		for _, oldest := range []bool{false, true} {
			from := byPriority
			if oldest {
				from = all
			}
			var want []domain.DeliveryID
			for _, d := range from[:min(limit, len(from))] {
				want = append(want, d.ID)
			}
			slices.Sort(want)
			b.tenant(org, func(tx *Tx) error {
				got, err := tx.WaitingBatch(ctx, i, limit, oldest)
				if diff := gocmp.Diff(want, idsOf(got.Deliveries)); diff != "" {
					t.Errorf("limit %d, oldest %t:\n%s", limit, oldest, diff)
				}
				for _, d := range got.Deliveries {
					left := slices.ContainsFunc(all, func(o domain.Delivery) bool { return o.ID < d.ID && !slices.Contains(want, o.ID) })
					if left && !got.Overtakes(d.Delivery) {
						t.Errorf("limit %d, oldest %t: overtaking by %s was not noticed", limit, oldest, d.Priority)
					}
					if limit > len(all) && got.Overtakes(d.Delivery) {
						t.Errorf("a batch of all overtakes nothing")
					}
				}
				return err
			})
		}
	}
}

func TestAnOlderDeliveryOfAnEntryIsKnownToBeOvertaken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i, other := b.integration(org).ID, b.integration(org).ID
	var id []domain.DeliveryID
	for range 4 {
		id = append(id, domain.NewID[domain.DeliveryID](b.clock.now()))
		b.clock.advance(time.Second)
	}
	b.tenant(org, func(tx *Tx) error {
		if err := tx.Overtake(ctx, i, []EntryArrival{{ExternalID: "a", Delivery: id[2]}, {ExternalID: "a", Delivery: id[1]}, {ExternalID: "gone", Removed: true, Delivery: id[2]}}); err != nil {
			return err
		}
		return tx.Overtake(ctx, i, []EntryArrival{{ExternalID: "a", Delivery: id[0]}})
	})
	asked := []EntryArrival{{ExternalID: "a", Delivery: id[1]}, {ExternalID: "a", Delivery: id[2]}, {ExternalID: "a", Delivery: id[3]}, {ExternalID: "b", Delivery: id[0]},
		{ExternalID: "gone", Delivery: id[0]}, {ExternalID: "gone#2", Delivery: id[1]}, {ExternalID: "gone#2", Delivery: id[3]}, {ExternalID: "a#1", Delivery: id[0]}}
	newer := func(i domain.IntegrationID) (got map[int]bool) {
		b.tenant(org, func(tx *Tx) (err error) {
			got, err = tx.Newer(ctx, i, asked)
			return err
		})
		return got
	}
	if diff := gocmp.Diff(map[int]bool{0: true, 4: true, 5: true}, newer(i)); diff != "" {
		t.Error(diff)
	}
	if got := newer(other); len(got) != 0 {
		t.Errorf("another integration is told %v", got)
	}
	waits := b.deliverAs(org, i, domain.PriorityNormal)
	overtaken := func() (yes bool) {
		b.tenant(org, func(tx *Tx) error {
			w, err := tx.WaitingBatch(ctx, i, 5, false)
			yes = w.Overtaken
			return err
		})
		return yes
	}
	if !overtaken() {
		t.Error("a batch does not say that entries were overtaken")
	}
	next := func() {
		b.tenant(org, func(tx *Tx) error {
			_, _, err := tx.NextDeliveryDue(ctx, i)
			return err
		})
	}
	next()
	if !overtaken() {
		t.Error("forgotten while a delivery waits")
	}
	b.tenant(org, func(tx *Tx) error {
		return tx.FinishDeliveries(ctx, []DeliveryOutcome{{ID: waits[0].ID, State: domain.DeliveryApplied}})
	})
	next()
	b.deliverAs(org, i, domain.PriorityNormal)
	if overtaken() || len(newer(i)) != 0 {
		t.Error("what was forgotten is still known")
	}
}

func TestIntakeKnowsUntilWhenAnIntegrationIsUrgent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in, length time.Duration
		urgent     bool
	}{
		"in an hour":                  {time.Hour, 8 * time.Hour, true},
		"going on":                    {-4 * time.Hour, 8 * time.Hour, true},
		"going on for days":           {-5 * 24 * time.Hour, 6 * 24 * time.Hour, true},
		"in just less than two days":  {48*time.Hour - time.Minute, time.Hour, true},
		"in just more than two days":  {48*time.Hour + time.Minute, time.Hour, false},
		"over":                        {-9 * time.Hour, 8 * time.Hour, false},
		"a long one in half a week":   {84 * time.Hour, 5 * 24 * time.Hour, false},
		"a long one that begins soon": {time.Hour, 5 * 24 * time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			org := b.org()
			i, other := b.integration(org), b.integration(org)
			k := b.booking(org, i.ResourceID, b.clock.now().Add(c.in), c.length)
			want := time.Time{}
			if c.urgent {
				want = k.When.End.UTC().Truncate(time.Microsecond)
			}
			record, err := b.IntakeRecord(t.Context(), i.ID)
			b.must(err)
			if !record.UrgentUntil.Equal(want) {
				t.Errorf("urgent until %v, want %v", record.UrgentUntil, want)
			}
			if record, err = b.IntakeRecord(t.Context(), other.ID); err != nil || !record.UrgentUntil.IsZero() {
				t.Errorf("another resource is urgent until %v, %v", record.UrgentUntil, err)
			}
		})
	}
}

func TestASweepNamesTheMostUrgentAndSaysHowUrgent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org).ID
	all := b.deliverAs(org, i, domain.PriorityBulk, domain.PriorityNormal, domain.PriorityHigh, domain.PriorityBulk)
	b.clock.advance(time.Minute)
	// Fresh urgent ones, more than a sweep names, hide nothing that waits.
	fresh := make([]domain.Priority, sweepIDs+10)
	for n := range fresh {
		fresh[n] = domain.PriorityUrgent
	}
	b.deliverAs(org, i, fresh...)
	found, err := b.IntegrationsWithWork(t.Context(), 65*time.Second, 10)
	b.must(err)
	want := []WaitingIntegration{{Org: org, Integration: i, Priority: domain.PriorityHigh, IDs: []domain.DeliveryID{all[2].ID, all[1].ID, all[0].ID, all[3].ID}}}
	if diff := gocmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
}
