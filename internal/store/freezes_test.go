package store

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/weddingday"
)

// freezesOf returns the weddings whose freezes touch a span.
func (b *bundle) freezesOf(org domain.OrgID, from, until time.Time) []domain.BookingID {
	b.t.Helper()
	var ids []domain.BookingID
	b.tenant(org, func(tx *Tx) error {
		all, err := tx.Freezes(b.t.Context(), from, until)
		ids = nil
		for _, f := range all {
			ids = append(ids, f.Booking)
		}
		return err
	})
	return ids
}

func (b *bundle) alter(org domain.OrgID, id domain.BookingID, set string, args ...any) {
	b.t.Helper()
	b.tenant(org, func(tx *Tx) error {
		_, err := tx.Exec(b.t.Context(), "UPDATE bookings SET "+set+" WHERE org_id = $1 AND id = $2", append([]any{org, id}, args...)...)
		return err
	})
}

func TestFreezesFollowTheWeddingsThatHold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org, other := b.org(), b.org()
	r := b.resource(org).ID
	now := b.timestamp()
	saturday := now.Add(30 * time.Hour)
	k := b.booking(org, r, saturday, 8*time.Hour)
	b.booking(other, b.resource(other).ID, saturday, 8*time.Hour)
	on := func() []domain.BookingID { return b.freezesOf(org, now, now.Add(time.Second)) }

	if diff := cmp.Diff([]domain.BookingID{k.ID}, on()); diff != "" {
		t.Fatalf("of the tenant's own wedding: %s", diff)
	}
	b.tenant(org, func(tx *Tx) error {
		all, err := tx.Freezes(t.Context(), now, now.Add(time.Second))
		if err != nil {
			return err
		}
		if diff := cmp.Diff(weddingday.FreezeOf(k.ID, k.When, "Europe/Berlin", weddingday.Standard), all[0]); diff != "" {
			t.Error(diff)
		}
		return nil
	})
	for what, set := range map[string]string{
		"a cancelled one": "status = 'cancelled'", "one that takes no time": "free = true", "another category": "category = 'vendor'",
		"a hold that is over": "status = 'tentative', held_until = created_at",
	} {
		b.alter(org, k.ID, set)
		if got := on(); len(got) != 0 {
			t.Errorf("%s freezes: %v", what, got)
		}
		b.alter(org, k.ID, "status = 'confirmed', free = false, category = 'wedding', held_until = NULL")
	}
	for what, set := range map[string]string{"a tentative one": "status = 'tentative'", "a live hold": "status = 'tentative', held_until = created_at + interval '1 hour'",
		"one that was held and is confirmed": "held_until = created_at"} {
		b.alter(org, k.ID, set)
		if len(on()) != 1 {
			t.Errorf("%s does not freeze", what)
		}
		b.alter(org, k.ID, "status = 'confirmed', held_until = NULL")
	}
	// It moves, and its freeze with it.
	b.alter(org, k.ID, "starts_at = $3, ends_at = $4", saturday.AddDate(0, 0, 7), saturday.AddDate(0, 0, 7).Add(8*time.Hour))
	if got := on(); len(got) != 0 {
		t.Errorf("a moved wedding freezes where it was: %v", got)
	}
	if got := b.freezesOf(org, now.AddDate(0, 0, 7), now.AddDate(0, 0, 7).Add(time.Second)); len(got) != 1 {
		t.Errorf("a moved wedding freezes nothing where it is: %v", got)
	}
}

func TestFreezesReachAsFarAsTheirPeriods(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	r := b.resource(org).ID
	saturday := b.timestamp().AddDate(0, 1, 0)
	k := b.booking(org, r, saturday, 8*time.Hour)
	long := b.booking(org, r, saturday.AddDate(0, 1, 0), 5*24*time.Hour)
	standard := weddingday.FreezeOf(k.ID, k.When, "", weddingday.Standard)
	festival := weddingday.FreezeOf(long.ID, long.When, "", weddingday.Standard)
	for _, f := range []weddingday.Freeze{standard, festival} {
		for _, c := range []struct {
			from, until time.Time
			want        int
		}{{f.From.Add(-time.Hour), f.From, 0}, {f.From.Add(-time.Hour), f.From.Add(time.Microsecond), 1}, {f.Until.Add(-time.Microsecond), f.Until.Add(time.Hour), 1},
			{f.Until, f.Until.Add(time.Hour), 0}, {f.Event.Start, f.Event.End, 1}} {
			if got := b.freezesOf(org, c.from, c.until); len(got) != c.want {
				t.Errorf("from %s until %s: %v, want %d", c.from, c.until, got, c.want)
			}
		}
	}
	if got := b.freezesOf(org, standard.From, festival.Until); !slices.Equal(got, []domain.BookingID{k.ID, long.ID}) {
		t.Errorf("both in order: %v", got)
	}
	b.tenant(org, func(tx *Tx) error {
		was, err := tx.FreezeSettings(t.Context())
		if err != nil {
			return err
		}
		if diff := cmp.Diff(domain.StandardFreezeSettings(), was); diff != "" {
			t.Errorf("who never said: %s", diff)
		}
		was.FreezeHours, was.Holds = 168, domain.FreezeHoldsNear
		now, err := tx.PutFreezeSettings(t.Context(), was, "test", 0)
		if err == nil && (now.Version != 1 || now.FreezeHours != 168 || now.Holds != domain.FreezeHoldsNear) {
			t.Errorf("stored %+v", now)
		}
		return err
	})
	early := standard.Event.Start.Add(-168 * time.Hour)
	if got := b.freezesOf(org, early, early.Add(time.Microsecond)); len(got) != 1 {
		t.Errorf("a week before: %v", got)
	}
	if all, err := b.FreezesEverywhere(t.Context(), early, early.Add(time.Microsecond)); err != nil || len(all) != 1 || all[0].Booking != k.ID {
		t.Errorf("everywhere a week before: %v, %v", all, err)
	}
}

func TestFreezeSettingsAreChangedByWhoSawThem(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	put := func(hours int, version int64) error {
		return b.Tenant(t.Context(), org, func(ctx context.Context, tx *Tx) error {
			s := domain.StandardFreezeSettings()
			s.FreezeHours = hours
			_, err := tx.PutFreezeSettings(ctx, s, "test", version)
			return err
		})
	}
	wantKind(t, put(24, 1), domain.KindConflict)
	b.must(put(24, 0))
	wantKind(t, put(36, 0), domain.KindConflict)
	b.must(put(36, 1))
	wantKind(t, put(11, 2), domain.KindInvalid)
}

func TestFreezesOfAllOrganisationsAreReadWithoutPeople(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, two := b.org(), b.org()
	now := b.timestamp()
	later := b.booking(one, b.resource(one).ID, now.Add(40*time.Hour), 8*time.Hour)
	sooner := b.booking(two, b.resource(two).ID, now.Add(20*time.Hour), 8*time.Hour)
	b.booking(two, b.resource(two).ID, now.AddDate(0, 2, 0), 8*time.Hour)
	all, err := b.FreezesEverywhere(t.Context(), now, now.Add(time.Second))
	b.must(err)
	if len(all) != 2 || all[0].Org != two || all[0].Booking != sooner.ID || all[1].Org != one || all[1].Booking != later.ID {
		t.Errorf("got %+v", all)
	}
	if none, err := b.FreezesEverywhere(t.Context(), now.AddDate(1, 0, 0), now.AddDate(1, 0, 1)); err != nil || len(none) != 0 {
		t.Errorf("next year: %v, %v", none, err)
	}
}

func TestFreezesAreReadThroughTheIndexesOfTimes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	b.manyBookings(org)
	from := b.timestamp().Add(100 * 24 * time.Hour)
	args := freezeSpan(from, from.Add(time.Second), b.timestamp())
	b.tenant(org, func(tx *Tx) error {
		uses(t, explain(t, tenantQuery{t, tx}, freezesQuery, append(slices.Clone(args), org)...), "bookings_")
		got, err := tx.Freezes(t.Context(), from, from.Add(time.Second))
		if len(got) < 50 {
			t.Errorf("%d freezes at once, of a wedding every 26 minutes", len(got))
		}
		return err
	})
	uses(t, explain(t, systemQuery{b}, freezesEverywhereSQL, args...), "bookings_weddings", "bookings_weddings_long")
}
