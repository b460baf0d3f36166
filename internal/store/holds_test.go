package store

import (
	"context"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// hold makes a tentative booking with an allocation and its hold.
func (b *bundle) hold(org domain.OrgID, res domain.ResourceID, start time.Time, lasts time.Duration) domain.Hold {
	b.t.Helper()
	ctx := b.t.Context()
	until := b.clock.now().UTC().Truncate(time.Microsecond).Add(lasts)
	k := domain.Booking{ID: domain.NewID[domain.BookingID](b.clock.now()), ResourceID: res, Category: domain.CategoryWedding, Status: domain.StatusTentative, Version: 1, HeldUntil: until,
		When:      domain.When{Span: domain.Span{Start: start, End: start.Add(2 * time.Hour)}, Zone: "Europe/Berlin", Kind: domain.TimeZoned},
		CreatedAt: b.clock.now(), UpdatedAt: b.clock.now()}
	b.tenant(org, func(tx *Tx) error {
		if err := tx.StoreEffects(ctx, Effects{Bookings: []domain.Booking{k}, BookedAt: map[domain.BookingID]time.Time{k.ID: tx.Now}, Allocations: []domain.Allocation{{
			ID: domain.NewID[domain.AllocationID](tx.Now), BookingID: k.ID, ResourceID: res, Category: k.Category, Status: k.Status, Event: k.When.Span, Busy: k.When.Span,
			ExpiresAt: until}}}); err != nil {
			return err
		}
		return tx.CreateHold(ctx, domain.Hold{ID: k.ID, ExpiresAt: until, MadeBy: "alex", Reason: "made"}, []byte(`{"a":1}`))
	})
	return domain.Hold{ID: k.ID, ExpiresAt: until}
}

func TestAHoldIsReadUntilItsLastMoment(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	res := b.resource(org).ID
	start := b.clock.now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	h := b.hold(org, res, start, time.Hour)
	span := domain.Span{Start: start, End: start.Add(time.Hour)}
	seen := func() (n int) {
		b.tenant(org, func(tx *Tx) error {
			between, err := tx.BusyBetween(t.Context(), []domain.ResourceID{res}, span)
			if err != nil {
				return err
			}
			var resources []domain.Resource
			var found []ShutResource
			var around, searched []BusyAllocation
			r := tx.Reads()
			r.Neighbours(span, &resources, &around)
			r.Searched(ResourceAsk{}, span, &found, &searched)
			if err := r.Do(t.Context()); err != nil {
				return err
			}
			near, err := tx.AllocationsNear(t.Context(), []Near{{Resource: res, Span: span}})
			if len(between) != len(near) || len(around) != len(near) || len(searched) != len(near) {
				t.Errorf("four ways of reading find %d, %d, %d and %d", len(between), len(around), len(searched), len(near))
			}
			for _, a := range near {
				if !a.ExpiresAt.Equal(h.ExpiresAt) {
					t.Errorf("it expires at %s, want %s", a.ExpiresAt, h.ExpiresAt)
				}
			}
			n = len(near)
			return err
		})
		return n
	}
	if n := seen(); n != 1 {
		t.Errorf("%d allocations while it is held", n)
	}
	b.clock.advance(time.Hour - time.Second)
	if n := seen(); n != 1 {
		t.Errorf("%d allocations a second before its end", n)
	}
	b.clock.advance(time.Second)
	if n := seen(); n != 0 {
		t.Errorf("%d allocations at its end", n)
	}
	b.tenant(org, func(tx *Tx) error {
		k, err := tx.Booking(t.Context(), h.ID)
		if !k.HeldUntil.Equal(h.ExpiresAt) || !k.Lapsed(tx.Now) {
			t.Errorf("booking %+v", k)
		}
		return err
	})
}

func TestHoldsAreStoredListedAndSaved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	res := b.resource(org).ID
	var made []domain.Hold
	for n := range 3 {
		b.clock.advance(time.Second)
		made = append(made, b.hold(org, res, b.clock.now().Add(time.Duration(n+1)*48*time.Hour).UTC().Truncate(time.Second), time.Hour))
	}
	ctx := t.Context()
	b.tenant(org, func(tx *Tx) error {
		h, request, err := tx.HoldRequest(ctx, made[0].ID)
		if err != nil {
			return err
		}
		if string(request) != `{"a":1}` || h.State != domain.HoldLive || h.Version != 1 || h.MadeBy != "alex" || h.EndedAt != nil {
			t.Errorf("hold %+v of %s", h, request)
		}
		h.State, h.Reason, h.LostTo = domain.HoldLost, "lost", made[1].ID
		if h, err = tx.SaveHold(ctx, h); err != nil {
			return err
		}
		if h.Version != 2 || h.EndedAt == nil || h.LostTo != made[1].ID {
			t.Errorf("saved %+v", h)
		}
		return nil
	})
	b.tenant(org, func(tx *Tx) error {
		live, next, err := tx.Holds(ctx, domain.HoldLive, Page{Limit: 1})
		if err != nil || len(live) != 1 || live[0].ID != made[2].ID || next == "" {
			t.Errorf("first page %+v, %q, %v", live, next, err)
		}
		live, next, err = tx.Holds(ctx, domain.HoldLive, Page{Limit: 1, After: next})
		if err != nil || len(live) != 1 || live[0].ID != made[1].ID || next != "" {
			t.Errorf("second page %+v, %q, %v", live, next, err)
		}
		locked, err := tx.LockHolds(ctx, []domain.BookingID{made[2].ID, made[0].ID, domain.NewID[domain.BookingID](tx.Now)})
		if len(locked) != 2 {
			t.Errorf("locked %+v", locked)
		}
		return err
	})
	err := b.Tenant(ctx, org, func(ctx context.Context, tx *Tx) error {
		return tx.CreateHold(ctx, domain.Hold{ID: made[0].ID, ExpiresAt: tx.Now, MadeBy: "alex"}, nil)
	})
	wantKind(t, err, domain.KindConflict)
}

func TestLagsOfCopiesAddUpByProvider(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 2 {
		org := b.org()
		i := b.integration(org)
		for _, lag := range []time.Duration{500 * time.Millisecond, 3 * time.Second} {
			b.tenant(org, func(tx *Tx) error { return tx.AddPushLag(t.Context(), i.ID, lag) })
		}
	}
	totals, err := b.PushLagTotals(t.Context())
	b.must(err)
	got := totals["custom"]
	if got.Sum != 7*time.Second || len(got.Buckets) != len(LagBounds)+1 || got.Buckets[0] != 2 || got.Buckets[2] != 2 {
		t.Errorf("totals %+v", totals)
	}
}
