package apply_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

func TestNewEntryBecomesBookingAllocationLinkAndPush(t *testing.T) {
	t.Parallel()
	s := setup(t)
	c := change("w1", domain.CategoryWedding, 12, 20)
	c.UID, c.Revision, c.RemoteVersion = "uid-1", "r1", 3
	r := s.effect(reconcile.EffectCreated, s.crm, c)
	id := r.Outcomes[0].BookingID

	b := s.booking(id)
	if b.ResourceID != s.person.ID || b.Category != c.Category || b.Status != c.Status || !b.When.Equal(c.When) || b.Details != c.Details ||
		b.SourceID != s.crm.ID || b.Version != 1 {
		t.Errorf("booking is %+v", b)
	}
	links := s.links(id)
	if len(links) != 1 || links[0].ExternalID != "w1" || links[0].UID != "uid-1" || links[0].Revision != "r1" || links[0].RemoteVersion != 3 ||
		links[0].Mirror || links[0].IntegrationID != s.crm.ID {
		t.Errorf("links are %+v", links)
	}
	if n := s.count("SELECT count(*) FROM allocations WHERE exclusive AND slot = 0"); n != 1 {
		t.Errorf("%d exclusive allocations", n)
	}
	pushes := s.pushes(id)
	if p := pushes[s.cal.ID]; len(pushes) != 1 || p.Op != domain.PushPut || p.WantVersion != 1 || p.State != domain.PushPending {
		t.Errorf("pushes are %+v", pushes)
	}
	if diff := cmp.Diff([]domain.IntegrationID{s.cal.ID}, r.PushedTo); diff != "" {
		t.Error(diff)
	}
	if n := s.count("SELECT count(*) FROM outbox WHERE kind = 'push' AND target_id = $1", string(s.cal.ID)); n != 1 {
		t.Errorf("%d outbox lines for the push", n)
	}
	if n := s.count("SELECT count(*) FROM audit_entries WHERE action = 'booking.create'"); n != 1 {
		t.Errorf("%d audit lines", n)
	}
	if n := s.count("SELECT count(*) FROM stream_events WHERE topic = 'booking.changed'"); n != 1 {
		t.Errorf("%d live events", n)
	}
}

func TestRepeatsChangeNothing(t *testing.T) {
	t.Parallel()
	s := setup(t)
	cancelled := change("gone", domain.CategoryVendor, 9, 10)
	batch := []domain.Change{change("w1", domain.CategoryWedding, 12, 20), change("c1", domain.CategoryConsultation, 13, 14),
		cancelled, {Op: domain.OpRemove, ExternalID: "never"}}
	s.apply(s.crm, batch...)
	s.unchanged(func() { s.apply(s.crm, batch...) })

	cancelled.Status, cancelled.When = domain.StatusCancelled, domain.When{}
	later := []domain.Change{cancelled, {Op: domain.OpRemove, ExternalID: "c1"}}
	s.apply(s.crm, later...)
	s.unchanged(func() {
		for i, o := range s.apply(s.crm, later...).Outcomes {
			if o.Effect.Changes() {
				t.Errorf("repeat of change %d had effect %s", i, o.Effect)
			}
		}
	})
}

func TestOlderVersionIsStaleAlsoAfterRemoval(t *testing.T) {
	t.Parallel()
	s := setup(t)
	v2 := change("w1", domain.CategoryWedding, 12, 20)
	v2.RemoteVersion = 2
	id := s.effect(reconcile.EffectCreated, s.crm, v2).Outcomes[0].BookingID
	v1 := change("w1", domain.CategoryWedding, 8, 10)
	v1.RemoteVersion = 1
	s.unchanged(func() { s.effect(reconcile.EffectStale, s.crm, v1) })
	s.unchanged(func() {
		s.effect(reconcile.EffectStale, s.crm, domain.Change{Op: domain.OpRemove, ExternalID: "w1", RemoteVersion: 1})
	})

	s.effect(reconcile.EffectRemoved, s.crm, domain.Change{Op: domain.OpRemove, ExternalID: "w1", RemoteVersion: 4})
	v3 := v2
	v3.RemoteVersion = 3
	s.unchanged(func() { s.effect(reconcile.EffectStale, s.crm, v3) })
	if b := s.booking(id); b.Status != domain.StatusCancelled {
		t.Errorf("the booking is %s after its removal", b.Status)
	}
	v5 := v2
	v5.RemoteVersion = 5
	s.effect(reconcile.EffectUpdated, s.crm, v5)
	if b := s.booking(id); b.Status != domain.StatusConfirmed {
		t.Errorf("the booking is %s after its return", b.Status)
	}
}

// mirror stores the copy of a booking in an integration as a push would.
func (s *studio) mirror(in domain.Integration, id domain.BookingID, ext string) domain.Change {
	s.t.Helper()
	b := s.booking(id)
	c := domain.Change{Op: domain.OpUpsert, ExternalID: ext, Revision: "m1", Category: b.Category, Status: b.Status, When: b.When,
		Details: domain.Details{Title: "Busy"}, Origin: id}
	s.tenant(func(ctx context.Context, tx *store.Tx) error {
		return tx.StoreLinks(ctx, []domain.Link{{ID: domain.NewID[domain.LinkID](tx.Now), OrgID: tx.Org, IntegrationID: in.ID, BookingID: id,
			ExternalID: ext, Revision: "m1", Mirror: true, Hash: c.Hash(), WrittenVersion: b.Version, UpdatedAt: tx.Now}})
	})
	return c
}

func TestMirrorComesBackAsEcho(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id := s.effect(reconcile.EffectCreated, s.crm, change("w1", domain.CategoryWedding, 12, 20)).Outcomes[0].BookingID
	copied := s.mirror(s.cal, id, "m-1")
	s.unchanged(func() { s.effect(reconcile.EffectEcho, s.cal, copied) })
	if got := s.conflicts(domain.ConflictOpen); len(got) != 0 {
		t.Errorf("our own copy made conflicts: %+v", got)
	}

	// A person moves the copy in the calendar: the time is taken over, the reduced texts are not.
	moved := copied
	moved.When = span(14, 22)
	s.effect(reconcile.EffectUpdated, s.cal, moved)
	b := s.booking(id)
	if !b.When.Equal(moved.When) || b.Details.Title != "Marker w1" {
		t.Errorf("booking is %+v", b)
	}
	if p := s.pushes(id)[s.crm.ID]; p.Op != domain.PushPut || p.WantVersion != b.Version {
		t.Errorf("the system that has the entry as its own is not told what a hand did elsewhere: %+v", p)
	}
}

func TestLostLinkOfOurCopyIsFoundByItsMarker(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id := s.effect(reconcile.EffectCreated, s.crm, change("w1", domain.CategoryWedding, 12, 20)).Outcomes[0].BookingID
	c := change("m-1", domain.CategoryWedding, 12, 20)
	c.Origin = id
	s.effect(reconcile.EffectEcho, s.cal, c)
	if n := s.count("SELECT count(*) FROM links WHERE mirror AND booking_id = $1 AND integration_id = $2", string(id), string(s.cal.ID)); n != 1 {
		t.Errorf("links are %+v", s.links(id))
	}
	s.unchanged(func() { s.effect(reconcile.EffectEcho, s.cal, c) })
}

func TestDeletedCopyIsWrittenAgainAndCancelsNothing(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id := s.effect(reconcile.EffectCreated, s.crm, change("w1", domain.CategoryWedding, 12, 20)).Outcomes[0].BookingID
	s.mirror(s.cal, id, "m-1")
	s.effect(reconcile.EffectRemoved, s.cal, domain.Change{Op: domain.OpRemove, ExternalID: "m-1"})
	if b := s.booking(id); b.Status != domain.StatusConfirmed {
		t.Errorf("the booking is %s", b.Status)
	}
	if p := s.pushes(id)[s.cal.ID]; p.Op != domain.PushPut || p.State != domain.PushPending {
		t.Errorf("push is %+v", p)
	}
}

func TestAlteredCopyInAWriteOnlySystemIsRestored(t *testing.T) {
	t.Parallel()
	s := setup(t)
	out := s.newIntegration(s.org, "board", domain.DirectionExport, s.person.ID)
	id := s.effect(reconcile.EffectCreated, s.crm, change("w1", domain.CategoryWedding, 12, 20)).Outcomes[0].BookingID
	c := s.mirror(out, id, "b-1")
	c.When = span(5, 6)
	s.tenant(func(ctx context.Context, tx *store.Tx) error {
		p, err := tx.PushesOf(ctx, id)
		for _, one := range p {
			if _, err := tx.FinishPush(ctx, one.ID, one.WantVersion, store.PushOutcome{State: domain.PushDone}); err != nil {
				return err
			}
		}
		return err
	})
	s.effect(reconcile.EffectEcho, out, c)
	if b := s.booking(id); !b.When.Equal(span(12, 20)) {
		t.Errorf("a write-only system moved the booking to %v", b.When)
	}
	if p := s.pushes(id)[out.ID]; p.State != domain.PushPending {
		t.Errorf("push is %+v", p)
	}
	s.unchanged(func() { s.effect(reconcile.EffectUnknown, out, change("foreign", domain.CategoryVendor, 12, 13)) })
}

func TestSameEventFromTwoSystemsIsOneBooking(t *testing.T) {
	t.Parallel()
	for name, alter := range map[string]func(crm, cal *domain.Change){
		"shared UID": func(crm, cal *domain.Change) {
			crm.UID, cal.UID = "u-1", "u-1"
			cal.Details = domain.Details{Title: "something else"}
			cal.When = span(10, 23)
		},
		"likeness": func(_, cal *domain.Change) {
			cal.Details = domain.Details{Title: "Wedding Marker w1"}
			cal.When = span(12.2, 20)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			crm, cal := change("w1", domain.CategoryWedding, 12, 20), change("e-1", domain.CategoryWedding, 12, 20)
			alter(&crm, &cal)
			id := s.effect(reconcile.EffectCreated, s.crm, crm).Outcomes[0].BookingID
			r := s.effect(reconcile.EffectLinked, s.cal, cal)
			if r.Outcomes[0].BookingID != id {
				t.Errorf("linked to %s, want %s", r.Outcomes[0].BookingID, id)
			}
			if got := s.conflicts(""); len(got) != 0 {
				t.Errorf("conflicts: %+v", got)
			}
			s.unchanged(func() { s.apply(s.cal, cal) })
			s.unchanged(func() { s.apply(s.crm, crm) })

			// One system loses it, the other one still has it.
			s.effect(reconcile.EffectRemoved, s.cal, domain.Change{Op: domain.OpRemove, ExternalID: "e-1"})
			if b := s.booking(id); b.Status != domain.StatusConfirmed {
				t.Errorf("the booking is %s although the CRM holds it", b.Status)
			}
			s.effect(reconcile.EffectRemoved, s.crm, domain.Change{Op: domain.OpRemove, ExternalID: "w1"})
			if b := s.booking(id); b.Status != domain.StatusCancelled {
				t.Errorf("the booking is %s although nobody holds it", b.Status)
			}
			if n := s.count("SELECT count(*) FROM allocations"); n != 0 {
				t.Errorf("%d allocations of a cancelled booking", n)
			}
		})
	}
}

func TestEntryFoundAfterOurCopyWasWrittenTakesItsPlace(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id := s.effect(reconcile.EffectCreated, s.crm, change("w1", domain.CategoryWedding, 12, 20)).Outcomes[0].BookingID
	s.mirror(s.cal, id, "m-1")
	own := change("published-by-crm", domain.CategoryWedding, 12, 20)
	own.Details = domain.Details{Title: "Marker w1"}
	r := s.effect(reconcile.EffectLinked, s.cal, own)
	if r.Outcomes[0].BookingID != id || len(s.conflicts("")) != 0 {
		t.Fatalf("outcome %+v, conflicts %+v", r.Outcomes[0], s.conflicts(""))
	}
	if p := s.pushes(id)[s.cal.ID]; p.Op != domain.PushRemove || p.State != domain.PushPending {
		t.Errorf("the copy beside the system's own entry stays: push %+v", p)
	}
}

func TestInstancesOfASeriesUnderOneUIDStayApart(t *testing.T) {
	t.Parallel()
	s := setup(t)
	series := func(prefix string) []domain.Change {
		var out []domain.Change
		for i := range 3 {
			c := change(prefix+string(rune('a'+i)), domain.CategoryConsultation, float64(24*7*i+10), float64(24*7*i+11))
			c.UID = "series"
			out = append(out, c)
		}
		return out
	}
	made := s.apply(s.crm, series("x#")...)
	linked := s.apply(s.cal, series("y#")...)
	for i := range made.Outcomes {
		if linked.Outcomes[i].Effect != reconcile.EffectLinked || linked.Outcomes[i].BookingID != made.Outcomes[i].BookingID {
			t.Errorf("instance %d: %+v, want a link to %s", i, linked.Outcomes[i], made.Outcomes[i].BookingID)
		}
	}
	// Removing the entry removes its parts.
	s.apply(s.cal, domain.Change{Op: domain.OpRemove, ExternalID: "y"})
	s.apply(s.crm, domain.Change{Op: domain.OpRemove, ExternalID: "x"})
	if n := s.count("SELECT count(*) FROM bookings WHERE status = 'cancelled'"); n != 3 {
		t.Errorf("%d of 3 instances are cancelled", n)
	}
}

func TestUnlikeEntriesAtOneTimeAreADoubleBooking(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.effect(reconcile.EffectCreated, s.cal, change("wed", domain.CategoryWedding, 12, 20))
	r := s.effect(reconcile.EffectCreated, s.crm, change("consult", domain.CategoryConsultation, 13, 14))
	open := s.conflicts(domain.ConflictOpen)
	if len(open) != 1 {
		t.Fatalf("%d open conflicts", len(open))
	}
	c := open[0]
	if c.Kind != domain.ConflictOverlap || c.BookingID != r.Outcomes[0].BookingID || c.Explanation == "" || c.Version != 1 {
		t.Errorf("conflict is %+v", c)
	}
	if len(c.Alternatives) < 3 {
		t.Fatalf("%d alternatives", len(c.Alternatives))
	}
	for i, a := range c.Alternatives {
		if len(a.Reasons) == 0 || i > 0 && a.Score > c.Alternatives[i-1].Score {
			t.Errorf("alternative %d: %+v", i, a)
		}
	}
	if n := s.count("SELECT count(*) FROM outbox WHERE kind = 'conflict_start' AND target_id = $1", string(c.ID)); n != 1 {
		t.Errorf("%d outbox lines start the conflict", n)
	}
	if n := s.count("SELECT count(*) FROM conflicts WHERE wedding_date = '2027-06-12'"); n != 1 {
		t.Error("the wedding's date is not kept with the conflict")
	}
	if n := s.count("SELECT count(*) FROM allocations WHERE NOT exclusive"); n != 1 {
		t.Errorf("%d allocations outside the exclusion", n)
	}

	// Moving it a little keeps the conflict and tells its story.
	moved := change("consult", domain.CategoryConsultation, 14, 15)
	s.apply(s.crm, moved)
	again := s.conflicts(domain.ConflictOpen)
	if len(again) != 1 || again[0].ID != c.ID || again[0].Version != 2 || len(again[0].Alternatives) < 3 {
		t.Fatalf("conflicts are %+v", again)
	}

	// Moving it away clears the conflict.
	moved.When = span(-48, -47)
	s.apply(s.crm, moved)
	if open := s.conflicts(domain.ConflictOpen); len(open) != 0 {
		t.Errorf("still open: %+v", open)
	}
	if cleared := s.conflicts(domain.ConflictCleared); len(cleared) != 1 || cleared[0].ClosedAt == nil {
		t.Errorf("cleared: %+v", cleared)
	}
	if n := s.count("SELECT count(*) FROM outbox WHERE kind = 'conflict_recheck' AND target_id = $1", string(c.ID)); n != 2 {
		t.Errorf("%d rechecks, want one for each move", n)
	}
	if n := s.count("SELECT count(*) FROM allocations WHERE NOT exclusive"); n != 0 {
		t.Errorf("%d allocations outside the exclusion after the clash is gone", n)
	}
}

func TestAllocationJoinsTheExclusionOnceTheOtherOneLeaves(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.effect(reconcile.EffectCreated, s.cal, change("wed", domain.CategoryWedding, 12, 20))
	s.effect(reconcile.EffectCreated, s.crm, change("consult", domain.CategoryConsultation, 13, 14))
	s.effect(reconcile.EffectRemoved, s.cal, domain.Change{Op: domain.OpRemove, ExternalID: "wed"})
	if n := s.count("SELECT count(*) FROM allocations WHERE exclusive"); n != 1 {
		t.Errorf("%d exclusive allocations", n)
	}
	if got := s.conflicts(domain.ConflictCleared); len(got) != 1 {
		t.Errorf("%d cleared conflicts", len(got))
	}
}

func TestTouchingBookingsDoNotClash(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.apply(s.crm, change("a", domain.CategoryConsultation, 10, 11), change("b", domain.CategoryConsultation, 11, 12))
	if got := s.conflicts(""); len(got) != 0 {
		t.Errorf("conflicts: %+v", got)
	}
	if n := s.count("SELECT count(*) FROM allocations WHERE exclusive"); n != 2 {
		t.Errorf("%d exclusive allocations", n)
	}
}

func TestAcceptedPairIsQuietUntilItsTimesChange(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.effect(reconcile.EffectCreated, s.cal, change("wed", domain.CategoryWedding, 12, 20))
	consult := change("consult", domain.CategoryConsultation, 13, 14)
	s.effect(reconcile.EffectCreated, s.crm, consult)
	s.tenant(func(ctx context.Context, tx *store.Tx) error {
		list, _, err := tx.Conflicts(ctx, store.ConflictFilter{State: domain.ConflictOpen}, store.Page{})
		if err != nil {
			return err
		}
		c := list[0]
		c.State, c.ClosedAt = domain.ConflictDismissed, &tx.Now
		return tx.UpdateConflict(ctx, c, c.Version)
	})
	consult.Details.Notes = "bring the album"
	s.effect(reconcile.EffectUpdated, s.crm, consult)
	if open := s.conflicts(domain.ConflictOpen); len(open) != 0 {
		t.Fatalf("reported again although nothing moved: %+v", open)
	}
	consult.When = span(15, 16)
	s.effect(reconcile.EffectUpdated, s.crm, consult)
	if open := s.conflicts(domain.ConflictOpen); len(open) != 1 {
		t.Fatalf("%d open conflicts after the time changed", len(open))
	}
}

func TestThirdBookingThatLeavesEndsTheCrowd(t *testing.T) {
	t.Parallel()
	s := setup(t)
	room := s.newResource(s.org, domain.Resource{Capacity: 2})
	in := s.newIntegration(s.org, "rooms", domain.DirectionImport, room.ID)
	a, b, c := change("a", domain.CategoryVendor, 10, 12), change("b", domain.CategoryVendor, 10, 12), change("c", domain.CategoryVendor, 10, 12)
	for _, one := range []domain.Change{a, b, c} {
		s.advance(time.Second)
		s.effect(reconcile.EffectCreated, in, one)
	}
	open := s.conflicts(domain.ConflictOpen)
	if len(open) != 1 || open[0].Kind != domain.ConflictCapacity {
		t.Fatalf("open conflicts: %+v", open)
	}
	// Whoever of the three is not named in it makes room.
	for _, one := range []domain.Change{a, b, c} {
		var id domain.BookingID
		s.must(s.owner().QueryRow(t.Context(), "SELECT booking_id::text FROM links WHERE external_id = $1", one.ExternalID).Scan(&id))
		if id == open[0].BookingID || id == open[0].OtherID {
			continue
		}
		s.effect(reconcile.EffectRemoved, in, domain.Change{Op: domain.OpRemove, ExternalID: one.ExternalID})
	}
	if left := s.conflicts(domain.ConflictOpen); len(left) != 0 {
		t.Errorf("two fit, and yet: %+v", left)
	}
	if n := s.count("SELECT count(DISTINCT slot) FROM allocations WHERE exclusive"); n != 2 {
		t.Errorf("%d slots taken by two bookings", n)
	}
}

func TestBookingGivenToAnotherResourceIsCheckedThere(t *testing.T) {
	t.Parallel()
	s := setup(t)
	second := s.newResource(s.org, domain.Resource{Capacity: 1})
	other := s.newIntegration(s.org, "second", domain.DirectionImport, second.ID)
	id := s.effect(reconcile.EffectCreated, s.crm, change("w1", domain.CategoryWedding, 12, 20)).Outcomes[0].BookingID
	b := s.booking(id)
	b.ResourceID = second.ID
	s.manual(b)
	s.effect(reconcile.EffectCreated, other, change("far", domain.CategoryWedding, 24*9+12, 24*9+20))
	// The CRM moves its entry, which stays with the second resource, onto what that one has.
	s.effect(reconcile.EffectUpdated, s.crm, change("w1", domain.CategoryWedding, 24*9+13, 24*9+18))
	open := s.conflicts(domain.ConflictOpen)
	if len(open) != 1 || open[0].ResourceID != second.ID {
		t.Fatalf("open conflicts: %+v", open)
	}
}

func TestPushesAreCoalesced(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id := s.effect(reconcile.EffectCreated, s.crm, change("w1", domain.CategoryWedding, 12, 20)).Outcomes[0].BookingID
	first := s.pushes(id)[s.cal.ID]
	s.apply(s.crm, change("w1", domain.CategoryWedding, 13, 20), change("w1", domain.CategoryWedding, 14, 20), change("w2", domain.CategoryVendor, 1, 2))
	now := s.pushes(id)[s.cal.ID]
	if now.ID != first.ID || now.WantVersion != s.booking(id).Version || now.State != domain.PushPending {
		t.Errorf("push is %+v, was %+v", now, first)
	}
	if n := s.count("SELECT count(*) FROM pushes"); n != 2 {
		t.Errorf("%d pushes for two bookings and one system", n)
	}
	if n := s.count("SELECT count(*) FROM outbox WHERE kind = 'push'"); n != 2 {
		t.Errorf("%d outbox lines for two transactions", n)
	}
	s.effect(reconcile.EffectRemoved, s.crm, domain.Change{Op: domain.OpRemove, ExternalID: "w1"})
	if p := s.pushes(id)[s.cal.ID]; p.Op != domain.PushRemove || p.WantVersion != s.booking(id).Version {
		// No copy is known, but a write may be on its way at this moment.
		t.Errorf("push is %+v", p)
	}
}

func TestDecisionOfAPersonReachesEverySystem(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id := s.effect(reconcile.EffectCreated, s.crm, change("w1", domain.CategoryWedding, 12, 20)).Outcomes[0].BookingID
	s.mirror(s.cal, id, "m-1")
	b := s.booking(id)
	b.When = span(24*7+12, 24*7+20)
	s.manual(b)
	pushes := s.pushes(id)
	if len(pushes) != 2 || pushes[s.crm.ID].WantVersion != 2 || pushes[s.cal.ID].WantVersion != 2 {
		t.Errorf("pushes are %+v", pushes)
	}
	if n := s.count("SELECT count(*) FROM audit_entries WHERE actor = 'alex' AND action = 'booking.change'"); n != 1 {
		t.Errorf("%d audit lines of the person", n)
	}
	s.unchanged(func() { s.manual(b) })
}

func TestBadWishOfAPersonIsRefusedByField(t *testing.T) {
	t.Parallel()
	s := setup(t)
	good := domain.Booking{ID: domain.NewID[domain.BookingID](s.clock()), ResourceID: s.person.ID, Category: domain.CategoryVendor,
		Status: domain.StatusConfirmed, When: span(1, 2)}
	for field, spoil := range map[string]func(*domain.Booking){
		"resource_id": func(b *domain.Booking) { b.ResourceID = domain.NewID[domain.ResourceID](s.clock()) },
		"when":        func(b *domain.Booking) { b.When = span(2, 1) },
		"category":    func(b *domain.Booking) { b.Category = "party" },
		"status":      func(b *domain.Booking) { b.Status = "maybe" },
	} {
		bad := good
		spoil(&bad)
		err := s.Tenant(t.Context(), s.org, func(ctx context.Context, tx *store.Tx) error {
			_, err := apply.Manual(ctx, tx, bad, "alex", "")
			return err
		})
		if domain.KindOf(err) != domain.KindInvalid || len(err.Error()) < len(field) || err.Error()[:len(field)] != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	s.manual(good)
}

func TestOtherTenantIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := setup(t)
	other := s.newOrg()
	theirs := s.newResource(other, domain.Resource{Capacity: 1})
	in := s.newIntegration(other, "theirs", domain.DirectionImport, theirs.ID)
	same := change("w1", domain.CategoryWedding, 12, 20)
	same.UID = "shared"
	s.must(s.Tenant(t.Context(), other, func(ctx context.Context, tx *store.Tx) error {
		_, err := apply.Changes(ctx, tx, in, []domain.Change{same})
		return err
	}))
	rows := func() string {
		var b string
		s.must(s.owner().QueryRow(t.Context(), `SELECT string_agg(x, E'\n') FROM (
			SELECT t.xmin::text || row_to_json(t)::text AS x FROM bookings t WHERE org_id = $1 UNION ALL
			SELECT t.xmin::text || row_to_json(t)::text FROM links t WHERE org_id = $1 UNION ALL
			SELECT t.xmin::text || row_to_json(t)::text FROM allocations t WHERE org_id = $1 UNION ALL
			SELECT t.xmin::text || row_to_json(t)::text FROM resources t WHERE org_id = $1) u`, string(other)).Scan(&b))
		return b
	}
	before := rows()
	s.effect(reconcile.EffectCreated, s.crm, same)
	// Even one that names the other tenant's things by id reaches nothing.
	wrong := s.crm
	wrong.ResourceID = theirs.ID
	s.effect(reconcile.EffectRejected, wrong, change("w9", domain.CategoryWedding, 12, 20))
	if got := rows(); got != before {
		t.Errorf("rows of the other tenant changed:\n%s\n%s", before, got)
	}
}

func TestTooManyChangesAreRefused(t *testing.T) {
	t.Parallel()
	s := setup(t)
	err := s.Tenant(t.Context(), s.org, func(ctx context.Context, tx *store.Tx) error {
		_, err := apply.Changes(ctx, tx, s.crm, make([]domain.Change, apply.MaxBatch+1))
		return err
	})
	if domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("error is %v", err)
	}
}
