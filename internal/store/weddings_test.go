package store

import (
	"context"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

func (b *bundle) careLines(org domain.OrgID) (lines int) {
	b.t.Helper()
	b.tenant(org, func(tx *Tx) error {
		return tx.QueryRow(b.t.Context(), "SELECT count(*) FROM outbox WHERE kind = 'wedding'").Scan(&lines)
	})
	return lines
}

func TestWeddingsThatNobodyLooksAfterAreFound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i := b.integration(org)
	k := b.booking(org, i.ResourceID, b.clock.now().Add(48*time.Hour), 2*time.Hour)
	b.tenant(org, func(tx *Tx) error {
		_, err := tx.Exec(ctx, "UPDATE bookings SET category = 'wedding', status = 'confirmed' WHERE id = $1", k.ID)
		return err
	})
	sweep := func() (n int) {
		b.tenant(org, func(tx *Tx) (err error) {
			n, err = tx.SweepWeddings(ctx, 10*time.Minute, 10)
			return err
		})
		return n
	}
	before := b.careLines(org)
	if n := sweep(); n != 1 || b.careLines(org) != before+1 {
		t.Fatalf("found %d without a care", n)
	}
	next := b.clock.now().Add(time.Hour)
	b.tenant(org, func(tx *Tx) error {
		return tx.SaveWeddingCare(ctx, domain.WeddingCare{BookingID: k.ID, ResourceID: i.ResourceID, State: domain.CareFrozen, StartsAt: tx.Now, EndsAt: tx.Now, Zone: "UTC", Date: "2027-06-12",
			PreflightWeek: tx.Now, PreflightFreeze: tx.Now, FreezeFrom: tx.Now, DayFrom: tx.Now, DayUntil: tx.Now, NextAt: next})
	})
	if n := sweep(); n != 0 {
		t.Errorf("found %d although one is looked after", n)
	}
	b.clock.advance(time.Hour + 11*time.Minute)
	if n := sweep(); n != 1 {
		t.Errorf("found %d whose time passed", n)
	}
	totals, err := b.CareTotals(ctx)
	if err != nil || totals.States[domain.CareFrozen] != 1 {
		t.Errorf("%+v, %v", totals, err)
	}
}

func TestAResourceThatMovesToAnotherZoneHasItsWeddingsAndWindowsLookedAtAnew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i := b.integration(org)
	k := b.booking(org, i.ResourceID, b.clock.now().Add(48*time.Hour), 2*time.Hour)
	b.tenant(org, func(tx *Tx) error {
		return tx.SaveWeddingCare(ctx, domain.WeddingCare{BookingID: k.ID, ResourceID: i.ResourceID, State: domain.CareWaiting, StartsAt: tx.Now, EndsAt: tx.Now, Zone: "UTC", Date: "2027-06-12",
			PreflightWeek: tx.Now, PreflightFreeze: tx.Now, FreezeFrom: tx.Now, DayFrom: tx.Now, DayUntil: tx.Now, NextAt: tx.Now})
	})
	change := func(do func(*domain.Resource)) (told int) {
		before := b.careLines(org)
		b.tenant(org, func(tx *Tx) error {
			r, err := tx.Resource(ctx, i.ResourceID)
			if err != nil {
				return err
			}
			do(&r)
			return tx.UpdateResource(ctx, r, r.Version)
		})
		return b.careLines(org) - before
	}
	// A freeze is computed when it is asked for; the care for the wedding has a timer, which must not stay where it was.
	if n := change(func(r *domain.Resource) { r.Zone = "Pacific/Auckland" }); n != 1 {
		t.Errorf("another zone: %d weddings are looked at", n)
	}
	if n := change(func(r *domain.Resource) { r.Capacity++ }); n != 0 {
		t.Errorf("another capacity: %d weddings are looked at", n)
	}
}

func TestANoteOfAWeddingDayIsWrittenOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i := b.integration(org)
	k := b.booking(org, i.ResourceID, b.clock.now(), 2*time.Hour)
	b.tenant(org, func(tx *Tx) error {
		one := domain.WeddingNote{At: tx.Now, Kind: domain.NoteHealth, Bad: true, Subject: "integration/x", Text: "it is down", Key: "health/1"}
		two := one
		two.Key, two.Text = "health/2", "it works"
		for n, want := range []int{2, 0} {
			added, err := tx.AddWeddingNotes(ctx, k.ID, []domain.WeddingNote{one, two})
			if err != nil || len(added) != want {
				t.Errorf("time %d: %d added, %v", n, len(added), err)
			}
		}
		log, err := tx.WeddingNotes(ctx, k.ID, tx.Now, 10)
		if len(log) != 2 || log[0].Text != "it is down" || !log[0].Bad || log[1].Seq <= log[0].Seq {
			t.Errorf("%+v", log)
		}
		return err
	})
}

func TestAWishForAPreflightIsKeptOnceAndRefusedWhenTheWeddingIsOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i := b.integration(org)
	k := b.booking(org, i.ResourceID, b.clock.now(), 2*time.Hour)
	care := domain.WeddingCare{BookingID: k.ID, ResourceID: i.ResourceID, State: domain.CareWaiting, StartsAt: b.clock.now(), EndsAt: b.clock.now(), Zone: "UTC", Date: "2027-06-12",
		PreflightWeek: b.clock.now(), PreflightFreeze: b.clock.now(), FreezeFrom: b.clock.now(), DayFrom: b.clock.now(), DayUntil: b.clock.now()}
	want := func(by string) (c domain.WeddingCare, err error) {
		err = b.Tenant(ctx, org, func(ctx context.Context, tx *Tx) error {
			c, err = tx.WantPreflight(ctx, k.ID, by)
			return err
		})
		return c, err
	}
	_, err := want("a")
	wantKind(t, err, domain.KindNotFound)
	b.tenant(org, func(tx *Tx) error { return tx.SaveWeddingCare(ctx, care) })
	for _, by := range []string{"a", "b"} {
		c, err := want(by)
		if err != nil || c.WantedBy != "a" || c.WantedAt == nil {
			t.Errorf("%s: %+v, %v", by, c, err)
		}
	}
	care.State = domain.CareHandedOver
	b.tenant(org, func(tx *Tx) error { return tx.SaveWeddingCare(ctx, care) })
	_, err = want("c")
	wantKind(t, err, domain.KindConflict)
}
