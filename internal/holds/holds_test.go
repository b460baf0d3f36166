package holds_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/holds"
	"github.com/wedsync/wedsync/internal/store"
)

func TestAHoldKeepsTheTimeAndIsShownInTheOtherSystems(t *testing.T) {
	t.Parallel()
	s := setup(t)
	v := s.placed(s.wish(12, 20))
	if v.State != domain.HoldLive || v.Booking.Status != domain.StatusTentative || !v.ExpiresAt.Equal(s.clock().Add(time.Hour)) || !v.Booking.HeldUntil.Equal(v.ExpiresAt) {
		t.Fatalf("hold %+v", v)
	}
	if len(v.Systems) != 1 || v.Systems[0].IntegrationID != s.calendar.ID || v.Systems[0].State != holds.SystemWaiting || v.Systems[0].Since == nil {
		t.Errorf("systems %+v, want the calendar, waiting since now", v.Systems)
	}
	_, err := s.place(s.wish(13, 14))
	var refused *holds.Refusal
	if !errors.As(err, &refused) || domain.KindOf(err) != domain.KindConflict || len(refused.Clashes) != 1 || len(refused.Ways) < 3 {
		t.Fatalf("a second hold of the time: %v, %+v; want a refusal with what is in the way and at least three ways", err, refused)
	}
	if n := s.count("SELECT count(*) FROM bookings"); n != 1 {
		t.Errorf("%d bookings: the refused hold left something behind", n)
	}
	// When the system has taken it the answer says since when, and how long that took.
	s.advance(1500 * time.Millisecond)
	s.tenant(func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.PushesOf(ctx, v.ID)
		if err != nil {
			return err
		}
		_, err = tx.FinishPush(ctx, list[0].ID, list[0].WantVersion, store.PushOutcome{State: domain.PushDone})
		return err
	})
	v, err = s.desk.Show(t.Context(), s.org, v.ID)
	s.must(err)
	if got := v.Systems[0]; got.State != holds.SystemShown || got.LagMS == nil || *got.LagMS != 1500 || got.Since == nil || !got.Since.Equal(s.clock()) {
		t.Errorf("system %+v, want shown now, 1500 ms after the wish", got)
	}
}

func TestTheSameKeyIsTheSameHold(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id, w := domain.NewID[domain.BookingID](s.clock()), s.wish(12, 20)
	place := func(w holds.Wish) (holds.View, error) { return s.desk.Place(t.Context(), s.org, id, w, "alex", "r") }
	first, err := place(w)
	s.must(err)
	s.advance(time.Minute)
	again, err := place(w)
	s.must(err)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the repeat is answered otherwise:\n%s", diff)
	}
	other := w
	other.When, other.Details.Title = span(9, 11), "Another Couple"
	_, err = place(other)
	wantKind(t, err, domain.KindInvalid)
	if text := err.Error(); !strings.Contains(text, "body.when") || !strings.Contains(text, "body.details") || strings.Contains(text, "body.category") || strings.Contains(text, "Couple") {
		t.Errorf("the refusal does not name the two fields, or quotes them: %s", text)
	}
	// Also when both come at once, for different resources.
	id = domain.NewID[domain.BookingID](s.clock())
	w = s.wish(32, 40)
	other = w
	other.ResourceID = s.second.ID
	errs := make([]error, 8)
	var all sync.WaitGroup
	for n := range errs {
		all.Go(func() {
			one := w
			if n%2 == 1 {
				one = other
			}
			_, errs[n] = place(one)
		})
	}
	all.Wait()
	won := s.booking(id).ResourceID
	for n, err := range errs {
		if same := (n%2 == 1) == (won == s.second.ID); same != (err == nil) {
			t.Errorf("request %d for %v: %v", n, n%2 == 1, err)
		}
	}
}

func TestATimeThatIsOverIsFreeHoweverLateTheTimer(t *testing.T) {
	t.Parallel()
	s := setup(t)
	v := s.placed(s.wish(12, 20))
	s.advance(59 * time.Minute)
	_, err := s.place(s.wish(12, 20))
	wantKind(t, err, domain.KindConflict)
	s.advance(time.Minute)
	// Nobody has cancelled the first one.
	if b := s.booking(v.ID); b.Status != domain.StatusTentative {
		t.Fatalf("booking %+v", b)
	}
	_, err = s.confirm(v.ID)
	wantKind(t, err, domain.KindConflict)
	_, err = s.desk.Extend(t.Context(), s.org, v.ID, time.Hour, "alex", "more time")
	wantKind(t, err, domain.KindConflict)
	next := s.placed(s.wish(12, 20))
	s.tenant(func(ctx context.Context, tx *store.Tx) error {
		h, err := holds.Expire(ctx, tx, v.ID)
		if h.State != domain.HoldExpired {
			t.Errorf("state %s", h.State)
		}
		return err
	})
	if b := s.booking(v.ID); b.Status != domain.StatusCancelled {
		t.Errorf("the booking is %s after the end of its hold", b.Status)
	}
	v, err = s.desk.Show(t.Context(), s.org, v.ID)
	s.must(err)
	s.tenant(func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.PushesOf(ctx, v.ID)
		if len(list) != 1 || list[0].Op != domain.PushRemove || list[0].State != domain.PushPending {
			t.Errorf("pushes %+v, want the copy to be removed", list)
		}
		return err
	})
	if _, err := s.confirm(next.ID); err != nil {
		t.Errorf("confirm the second hold: %v", err)
	}
	if n := s.count("SELECT count(*) FROM conflicts"); n != 0 {
		t.Errorf("%d conflicts were opened on the way", n)
	}
	if diff := cmp.Diff([]string{"hold.place", "hold.expire"}, s.audits(v.ID)); diff != "" {
		t.Error(diff)
	}
}

func TestExpireLeavesWhatLastsAndSettlesWhatWasDecidedElsewhere(t *testing.T) {
	t.Parallel()
	s := setup(t)
	state := func(id domain.BookingID) domain.HoldState {
		var h domain.Hold
		s.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
			h, err = holds.Expire(ctx, tx, id)
			return err
		})
		return h.State
	}
	v := s.placed(s.wish(12, 20))
	if got := state(v.ID); got != domain.HoldLive {
		t.Errorf("a hold that lasts became %s", got)
	}
	v, err := s.desk.Extend(t.Context(), s.org, v.ID, 3*time.Hour, "alex", "they think it over")
	s.must(err)
	s.advance(2 * time.Hour)
	if got := state(v.ID); got != domain.HoldLive {
		t.Errorf("an extended hold became %s", got)
	}
	b := s.booking(v.ID)
	b.Status = domain.StatusConfirmed
	s.manual(b)
	s.advance(2 * time.Hour)
	if got := state(v.ID); got != domain.HoldConfirmed {
		t.Errorf("a hold whose booking was confirmed by hand became %s", got)
	}
	if _, err := s.place(s.wish(13, 14)); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("its time was given away: %v", err)
	}
	v = s.placed(s.wish(36, 40))
	b = s.booking(v.ID)
	b.Status = domain.StatusCancelled
	s.manual(b)
	if got := state(v.ID); got != domain.HoldReleased {
		t.Errorf("a hold whose booking was cancelled by hand became %s", got)
	}
	if got := state(v.ID); got != domain.HoldReleased {
		t.Errorf("asked again it is %s", got)
	}
}

func TestReleaseGivesTheTimeBackOnce(t *testing.T) {
	t.Parallel()
	s := setup(t)
	v := s.placed(s.wish(12, 20))
	for range 2 {
		got, err := s.desk.Release(t.Context(), s.org, v.ID, "alex", "they chose another date")
		s.must(err)
		if got.State != domain.HoldReleased || got.Booking.Status != domain.StatusCancelled {
			t.Errorf("released hold %+v", got)
		}
	}
	if diff := cmp.Diff([]string{"hold.place", "hold.release"}, s.audits(v.ID)); diff != "" {
		t.Error(diff)
	}
	next := s.placed(s.wish(12, 20))
	_, err := s.confirm(next.ID)
	s.must(err)
	_, err = s.desk.Release(t.Context(), s.org, next.ID, "alex", "oops")
	wantKind(t, err, domain.KindConflict)
}

func TestConfirmMakesABookingThatTheDatabaseKeeps(t *testing.T) {
	t.Parallel()
	s := setup(t)
	w := s.wish(12, 20)
	w.Category = domain.CategoryEngagement
	v := s.placed(w)
	v, err := s.confirm(v.ID)
	s.must(err)
	if v.State != domain.HoldConfirmed || v.Booking.Status != domain.StatusConfirmed || !v.Booking.HeldUntil.IsZero() {
		t.Fatalf("confirmed %+v", v)
	}
	if n := s.count("SELECT count(*) FROM allocations WHERE exclusive AND expires_at IS NULL AND booking_id = $1", string(v.ID)); n != 1 {
		t.Errorf("%d exclusive allocations", n)
	}
	again, err := s.confirm(v.ID)
	s.must(err)
	if again.Version != v.Version {
		t.Errorf("confirming twice changed it: %+v", again.Hold)
	}
	s.advance(2 * time.Hour)
	if _, err := s.place(s.wish(12, 20)); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("after the end of what was a hold its time is free: %v", err)
	}
	// What became real elsewhere after the hold was made is in the way of its confirmation.
	late := s.placed(s.wish(36, 40))
	s.booked(s.person.ID, domain.CategoryWedding, 36, 38)
	_, err = s.confirm(late.ID)
	var refused *holds.Refusal
	if !errors.As(err, &refused) || len(refused.Clashes) == 0 || len(refused.Ways) == 0 {
		t.Fatalf("confirm over a booking: %v", err)
	}
	if b := s.booking(late.ID); b.Status != domain.StatusTentative {
		t.Errorf("the refused confirmation left the booking %s", b.Status)
	}
}

func TestOf64SimultaneousConfirmationsOneWins(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const rivals = 64
	ids := make([]domain.BookingID, rivals)
	for n := range ids {
		w := s.wish(12+float64(n%4)/2, 20)
		w.Shared = true
		ids[n] = s.placed(w).ID
	}
	if n := s.count("SELECT count(*) FROM conflicts"); n != 0 {
		t.Fatalf("%d conflicts among holds that share a time", n)
	}
	lone := s.wish(13, 14)
	if _, err := s.place(lone); domain.KindOf(err) != domain.KindConflict {
		t.Fatalf("a hold that shares nothing was placed among them: %v", err)
	}
	errs := make([]error, rivals)
	var all sync.WaitGroup
	for n, id := range ids {
		all.Go(func() {
			err := domain.E(domain.KindUnavailable, "not tried")
			// On a busy machine one may wait for the lock longer than the server lets it, and tries again, as callers do.
			for try := 0; try < 5 && domain.KindOf(err) == domain.KindUnavailable; try++ {
				_, err = s.confirm(id)
			}
			errs[n] = err
		})
	}
	all.Wait()
	winner := slices.Index(errs, nil)
	if winner < 0 {
		t.Fatalf("nobody won: %v", errs[0])
	}
	for n, err := range errs {
		if n == winner {
			continue
		}
		var refused *holds.Refusal
		if !errors.As(err, &refused) || domain.KindOf(err) != domain.KindConflict || len(refused.Ways) == 0 {
			t.Errorf("confirmation %d: %v, want a conflict with other ways", n, err)
		}
		v, err := s.desk.Show(t.Context(), s.org, ids[n])
		s.must(err)
		if v.State != domain.HoldLost || v.LostTo != ids[winner] || v.Booking.Status != domain.StatusCancelled {
			t.Errorf("rival %d is %s, booking %s, lost to %s", n, v.State, v.Booking.Status, v.LostTo)
		}
	}
	if n := s.count("SELECT count(*) FROM bookings WHERE status = 'confirmed'"); n != 1 {
		t.Errorf("%d confirmed bookings", n)
	}
	if n := s.count("SELECT count(*) FROM conflicts"); n != 0 {
		t.Errorf("%d conflicts were opened", n)
	}
}

func TestSimultaneousHoldsAndHandsCannotBothWin(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const rivals = 32
	errs := make([]error, rivals)
	var all sync.WaitGroup
	for n := range rivals {
		all.Go(func() {
			for try := 0; try == 0 || try < 5 && domain.KindOf(errs[n]) == domain.KindUnavailable; try++ {
				_, errs[n] = s.place(s.wish(12, 20))
			}
		})
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			wantKind(t, err, domain.KindConflict)
		}
	}
	if won != 1 || s.count("SELECT count(*) FROM holds") != 1 {
		t.Errorf("%d of %d holds were placed", won, rivals)
	}
}

func TestARoomForTwoTakesTwoHolds(t *testing.T) {
	t.Parallel()
	s := setup(t)
	room := s.newResource(2)
	w := s.wish(12, 20)
	w.ResourceID, w.Category = room.ID, domain.CategoryEngagement
	first, second := s.placed(w), s.placed(w)
	_, err := s.place(w)
	wantKind(t, err, domain.KindConflict)
	for _, id := range []domain.BookingID{first.ID, second.ID} {
		if _, err := s.confirm(id); err != nil {
			t.Errorf("confirm: %v", err)
		}
	}
	if n := s.count("SELECT count(DISTINCT slot) FROM allocations WHERE exclusive"); n != 2 {
		t.Errorf("%d places are taken", n)
	}
	w.Shared = true
	if _, err := s.place(w); domain.FieldOf(err) != "body.shared" {
		t.Errorf("a shared hold of a room for two: %v", err)
	}
}

func TestOutsideWorkingHoursIsToldAndNotRefused(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.person.Hours = domain.WorkingHours{{Weekday: time.Monday, From: 540, To: 1020}}
	s.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.UpdateResource(ctx, s.person, 1) })
	w := s.wish(12, 13)
	w.Category = domain.CategoryConsultation
	v := s.placed(w)
	if len(v.Clashes) != 1 || v.Clashes[0].Kind != domain.ConflictOffHours {
		t.Errorf("clashes %+v", v.Clashes)
	}
	if _, err := s.confirm(v.ID); err != nil {
		t.Errorf("confirm: %v", err)
	}
}

func TestWrongWishesNameTheField(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for field, edit := range map[string]func(*holds.Wish){
		"expires_in_minutes": func(w *holds.Wish) { w.Minutes = 0 },
		"resource_id":        func(w *holds.Wish) { w.ResourceID = domain.NewID[domain.ResourceID](s.clock()) },
		"when": func(w *holds.Wish) {
			w.When.Start, w.When.End = s.clock().Add(-2*time.Hour), s.clock().Add(-time.Hour)
		},
	} {
		w := s.wish(12, 20)
		edit(&w)
		_, err := s.place(w)
		if domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != field {
			t.Errorf("%v, want an error about %s", err, field)
		}
	}
	_, err := s.desk.Show(t.Context(), s.org, domain.NewID[domain.BookingID](s.clock()))
	wantKind(t, err, domain.KindNotFound)
	_, err = s.confirm(s.booked(s.person.ID, domain.CategoryVendor, 1, 2))
	wantKind(t, err, domain.KindNotFound)
}

func TestABookingOverALiveHoldIsAConflict(t *testing.T) {
	t.Parallel()
	s := setup(t)
	v := s.placed(s.wish(12, 20))
	var r apply.Result
	s.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		r, err = apply.Manual(ctx, tx, domain.Booking{ID: domain.NewID[domain.BookingID](s.clock()), ResourceID: s.person.ID, Category: domain.CategoryWedding,
			Status: domain.StatusConfirmed, When: span(14, 18)}, "alex", "told by the couple")
		return err
	})
	if len(r.Opened) != 1 {
		t.Fatalf("%d conflicts", len(r.Opened))
	}
	// The hold ends, and the clash with it.
	_, err := s.desk.Release(t.Context(), s.org, v.ID, "alex", "taken")
	s.must(err)
	if n := s.count("SELECT count(*) FROM conflicts WHERE state = 'open'"); n != 0 {
		t.Errorf("%d conflicts are open", n)
	}
}
