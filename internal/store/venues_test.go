package store

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestVenuesRoundTripSealedAndGuardTheirVersion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	v := domain.Venue{ID: domain.NewID[domain.VenueID](b.clock.now()), OrgID: org, Name: "Marigold Barn", Aliases: []string{"The Barn"}, Point: domain.Point{Lat: 51.4478, Lon: -2.645}}
	b.tenant(org, func(tx *Tx) error {
		if err := tx.CreateVenue(ctx, v); err != nil {
			return err
		}
		v.CreatedAt, v.UpdatedAt, v.Version = tx.Now, tx.Now, 1
		return nil
	})
	var about []byte
	b.must(b.owner().QueryRow(ctx, "SELECT about FROM venues").Scan(&about))
	if strings.Contains(string(about), "Marigold") || strings.Contains(string(about), "51.4") {
		t.Error("a venue is readable in storage")
	}
	b.tenant(org, func(tx *Tx) error {
		got, err := tx.Venue(ctx, v.ID)
		if diff := cmp.Diff(v, got); diff != "" {
			t.Error(diff)
		}
		return err
	})
	moved := v
	moved.Lat, moved.Aliases = 52, nil
	b.tenant(org, func(tx *Tx) error { return tx.UpdateVenue(ctx, moved, 1) })
	wantKind(t, b.Tenant(ctx, org, func(_ context.Context, tx *Tx) error { return tx.UpdateVenue(ctx, moved, 1) }), domain.KindConflict)
	wantKind(t, b.Tenant(ctx, b.org(), func(_ context.Context, tx *Tx) error { return tx.DeleteVenue(ctx, v.ID) }), domain.KindNotFound)
	bad := moved
	bad.Lat = 91
	wantKind(t, b.Tenant(ctx, org, func(_ context.Context, tx *Tx) error { return tx.UpdateVenue(ctx, bad, 2) }), domain.KindInvalid)
	b.tenant(org, func(tx *Tx) error {
		all, err := tx.Venues(ctx)
		if len(all) != 1 || all[0].Lat != 52 || all[0].Version != 2 || all[0].Aliases != nil {
			t.Errorf("venues are %+v", all)
		}
		if err != nil {
			return err
		}
		return tx.DeleteVenue(ctx, v.ID)
	})
	b.tenant(org, func(tx *Tx) error {
		all, err := tx.Venues(ctx)
		if len(all) != 0 {
			t.Errorf("venues are %+v", all)
		}
		return err
	})
}

func TestANewChoiceOfAPairReplacesTheOld(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	r := b.resource(org)
	one, two := b.booking(org, r.ID, b.clock.now(), time.Hour), b.booking(org, r.ID, b.clock.now(), time.Hour)
	c := domain.LinkChoice{OrgID: org, BookingID: two.ID, OtherID: one.ID, Decision: domain.DecidedLinked, Was: domain.StatusTentative, By: "alex", Reason: "same couple",
		Entries: []domain.ChosenEntry{{BookingID: one.ID, IntegrationID: "0190a5c0-0000-7000-8000-00000000000a", UID: "u", Texts: "t"}}}
	put := func(c domain.LinkChoice) {
		b.tenant(org, func(tx *Tx) error { return tx.PutLinkChoice(ctx, "pair", c) })
	}
	put(c)
	c.Decision, c.BookingID, c.OtherID, c.Was, c.Reason = domain.DecidedUnlinked, one.ID, two.ID, "", "another couple"
	put(c)
	for _, ids := range [][]domain.BookingID{{one.ID}, {two.ID}, {one.ID, two.ID}} {
		b.tenant(org, func(tx *Tx) error {
			got, err := tx.LinkChoices(ctx, ids)
			if err != nil || len(got) != 1 {
				t.Fatalf("choices of %v: %+v, %v", ids, got, err)
			}
			c.At = got[0].At
			if diff := cmp.Diff(c, got[0]); diff != "" {
				t.Error(diff)
			}
			return nil
		})
	}
	wantKind(t, b.Tenant(ctx, org, func(_ context.Context, tx *Tx) error {
		c.Reason = strings.Repeat("x", 501)
		return tx.PutLinkChoice(ctx, "pair", c)
	}), domain.KindInvalid)
}

func TestWhatDetectionAsksMoreIsFoundThroughIndexes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org, other := b.org(), b.org()
	r := b.resource(org)
	resources := b.manyBookings(org)
	one := b.booking(org, r.ID, b.clock.now(), time.Hour)
	owner := b.owner()
	_, err := owner.Exec(ctx, `INSERT INTO link_choices (org_id, pair, booking_id, other_id, decision, chosen_by, reason, chosen_at)
		SELECT $1, id::text, id, $2, 'linked', 'x', 'x', created_at FROM bookings WHERE org_id = $1`, org, one.ID)
	b.must(err)
	_, err = owner.Exec(ctx, `UPDATE bookings SET merged_into = $1 WHERE org_id = $2 AND id <> $1 AND resource_id = $3`, one.ID, org, resources[0])
	b.must(err)
	_, err = owner.Exec(ctx, `INSERT INTO venues (id, org_id, about, created_at, updated_at) SELECT gen_random_uuid(), CASE WHEN n < 20 THEN $1::uuid ELSE $2::uuid END, '', $3, $3
		FROM generate_series(1, 5000) n`, org, other, b.timestamp())
	b.must(err)
	for _, table := range []string{"link_choices", "venues", "bookings"} {
		_, err = owner.Exec(ctx, "ANALYZE "+table)
		b.must(err)
	}
	b.tenant(org, func(tx *Tx) error {
		uses(t, explain(t, tenantQuery{t, tx}, choicesQuery, org, arrayOf([]domain.BookingID{domain.NewID[domain.BookingID](tx.Now)})), "link_choices_of_booking", "link_choices_of_other")
		plan := explain(t, tenantQuery{t, tx}, venuesQuery, org)
		uses(t, plan, "venues_pkey")
		if strings.Contains(plan, "Seq Scan") {
			t.Errorf("the venues of all are read:\n%s", plan)
		}
		uses(t, explain(t, tenantQuery{t, tx}, mergedQuery, org, arrayOf([]domain.BookingID{domain.NewID[domain.BookingID](tx.Now)})), "bookings_merged")
		return nil
	})
}
