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

// policy gives an integration a sync policy.
func (s *studio) policy(i domain.Integration, p domain.SyncPolicy) domain.Integration {
	s.t.Helper()
	s.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		i.Sync = p
		if err = tx.UpdateIntegration(ctx, i, nil, i.Version); err != nil {
			return err
		}
		i, err = tx.Integration(ctx, i.ID)
		return err
	})
	if diff := cmp.Diff(p, i.Sync); diff != "" {
		s.t.Fatalf("the policy changed in storage:\n%s", diff)
	}
	return i
}

func (s *studio) edits(state domain.EditState) []domain.EditConflict {
	s.t.Helper()
	var list []domain.EditConflict
	s.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		list, _, err = tx.EditConflicts(ctx, store.EditConflictFilter{State: state}, store.Page{Limit: 50})
		return err
	})
	return list
}

func TestAPersonDecidesEditsOnBothSidesAndOnlyOnce(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.crm = s.policy(s.crm, domain.SyncPolicy{EditConflicts: domain.EditManual, MirrorTitle: "[Studio] {title}"})
	c := change("w1", domain.CategoryWedding, 10, 12)
	id := s.effect(reconcile.EffectCreated, s.crm, c).Outcomes[0].BookingID
	b := s.booking(id)
	b.When = span(11, 13)
	s.manual(b)
	c.When = span(14, 16)
	s.effect(reconcile.EffectAsked, s.crm, c)
	s.unchanged(func() { s.effect(reconcile.EffectUnchanged, s.crm, c) })
	open := s.edits(domain.EditOpen)
	if len(open) != 1 || !open[0].ThereIsSource || open[0].There.Details != c.Details || open[0].BookingID != id {
		t.Fatalf("questions are %+v", open)
	}
	c.When = span(15, 17)
	s.effect(reconcile.EffectAsked, s.crm, c)
	again := s.edits(domain.EditOpen)
	if len(again) != 1 || again[0].ID != open[0].ID || !again[0].There.When.Equal(c.When) || again[0].Version != open[0].Version+1 {
		t.Fatalf("after another edit the questions are %+v", again)
	}
	settle := func(version int64) error {
		return s.Tenant(t.Context(), s.org, func(ctx context.Context, tx *store.Tx) error {
			_, err := apply.Settle(ctx, tx, open[0].ID, domain.ChooseSource, version, "alex", "they called")
			return err
		})
	}
	if err := settle(open[0].Version); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("a choice about an older version: %v", err)
	}
	s.must(settle(again[0].Version))
	if got := s.booking(id); !got.When.Equal(c.When) {
		t.Errorf("the booking is at %s", got.When)
	}
	if err := settle(again[0].Version + 1); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("a second choice: %v", err)
	}
	if done := s.edits(domain.EditResolved); len(done) != 1 || done[0].Choice != domain.ChooseSource || done[0].By != "alex" || done[0].ClosedAt == nil {
		t.Errorf("answered questions are %+v", done)
	}
}

func TestAQuestionIsClosedWhenBothSidesAgreeAgain(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.crm = s.policy(s.crm, domain.SyncPolicy{EditConflicts: domain.EditManual})
	c := change("w1", domain.CategoryWedding, 10, 12)
	id := s.effect(reconcile.EffectCreated, s.crm, c).Outcomes[0].BookingID
	b := s.booking(id)
	b.When = span(11, 13)
	s.manual(b)
	c.When = span(14, 16)
	s.effect(reconcile.EffectAsked, s.crm, c)
	c.When = span(11, 13)
	s.apply(s.crm, c)
	if left, closed := s.edits(domain.EditOpen), s.edits(domain.EditCleared); len(left) != 0 || len(closed) != 1 {
		t.Errorf("open %+v, closed %+v", left, closed)
	}
}

func TestBothVersionsAreKeptAndLinked(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.crm = s.policy(s.crm, domain.SyncPolicy{EditConflicts: domain.EditKeepBoth})
	c := change("w1", domain.CategoryVendor, 10, 12)
	id := s.effect(reconcile.EffectCreated, s.crm, c).Outcomes[0].BookingID
	b := s.booking(id)
	b.When = span(20, 21)
	s.manual(b)
	c.When = span(14, 16)
	r := s.effect(reconcile.EffectUpdated, s.crm, c)
	if len(r.Bookings) != 2 {
		t.Fatalf("altered %v", r.Bookings)
	}
	for _, got := range []domain.Booking{s.booking(r.Bookings[0]), s.booking(r.Bookings[1])} {
		if want := span(20, 21); got.ID != id && (got.BesideID != id || !got.When.Equal(want) || got.Details != c.Details) {
			t.Errorf("the other version is %+v", got)
		}
	}
	if got := s.booking(id); !got.When.Equal(c.When) || got.BesideID != "" {
		t.Errorf("the entry's booking is %+v", got)
	}
}

func TestOtherFiltersMakeTheNextPullAFullListing(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.SetSyncCursor(ctx, s.crm.ID, "here") })
	s.crm = s.policy(s.crm, domain.SyncPolicy{Private: domain.PrivateSkip})
	if s.crm.SyncCursor != "here" {
		t.Errorf("another policy without other filters: cursor %q", s.crm.SyncCursor)
	}
	s.crm = s.policy(s.crm, domain.SyncPolicy{Private: domain.PrivateSkip, Filters: domain.SyncFilters{SkipDeclined: true}})
	if s.crm.SyncCursor != "" {
		t.Errorf("other filters: cursor %q", s.crm.SyncCursor)
	}
}

func TestAPageThatIsOlderThanWhatIsKnownStoresNothing(t *testing.T) {
	t.Parallel()
	s := setup(t)
	c := change("w1", domain.CategoryWedding, 10, 12)
	s.effect(reconcile.EffectCreated, s.crm, c)
	asked := s.clock()
	s.advance(time.Minute)
	s.effect(reconcile.EffectRemoved, s.crm, domain.Change{Op: domain.OpRemove, ExternalID: "w1"})
	s.unchanged(func() {
		s.tenant(func(ctx context.Context, tx *store.Tx) error {
			r, err := apply.Page(ctx, tx, s.crm, []domain.Change{c, change("w2", domain.CategoryVendor, 1, 2)}, asked)
			if err == nil && !r.Reread {
				t.Error("nobody is told to read again")
			}
			return err
		})
	})
}
