package apply_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

func (s *studio) link(id, other domain.BookingID) (r apply.Result, err error) {
	s.t.Helper()
	err = s.Tenant(s.t.Context(), s.org, func(ctx context.Context, tx *store.Tx) (err error) {
		r, err = apply.Link(ctx, tx, id, other, "alex", "the same couple")
		return err
	})
	return r, err
}

func (s *studio) unlink(id, back domain.BookingID, entry domain.LinkID) (r apply.Result, err error) {
	s.t.Helper()
	err = s.Tenant(s.t.Context(), s.org, func(ctx context.Context, tx *store.Tx) (err error) {
		r, err = apply.Unlink(ctx, tx, id, back, entry, "alex", "another couple")
		return err
	})
	return r, err
}

func worded(c domain.Change, title string) domain.Change {
	c.Details = domain.Details{Title: title}
	return c
}

func TestTwoBookingsThatAPersonLinksAreOneUntilTheyAreParted(t *testing.T) {
	t.Parallel()
	s := setup(t)
	a := s.effect(reconcile.EffectCreated, s.crm, worded(change("a", domain.CategoryWedding, 12, 20), "Marigold")).Outcomes[0].BookingID
	s.advance(time.Second)
	b := s.effect(reconcile.EffectCreated, s.cal, worded(change("b", domain.CategoryWedding, 12, 21), "Smith party")).Outcomes[0].BookingID
	s.wantOpen("overlap critical")
	r, err := s.link(a, b)
	s.must(err)
	if o := r.Outcomes[0]; o.Effect != reconcile.EffectLinked || o.BookingID != a || len(r.Cleared) != 1 {
		t.Fatalf("linked: %+v, cleared %v", o, r.Cleared)
	}
	s.wantOpen("")
	if n := s.count("SELECT count(*) FROM allocations WHERE exclusive"); n != 1 {
		t.Errorf("%d allocations hold time", n)
	}
	kept, gone := s.booking(a), s.booking(b)
	if gone.MergedInto != a || gone.Status != domain.StatusCancelled || kept.Status != domain.StatusConfirmed || kept.Details.Title != "Marigold" {
		t.Errorf("kept %+v, gone %+v", kept, gone)
	}
	if l := s.links(a); len(l) != 2 || !ownIn(l, s.crm.ID) || !ownIn(l, s.cal.ID) {
		t.Errorf("links are %+v", l)
	}
	// Each system has the event itself now; copies of either go away, and no entry is written over.
	for _, id := range []domain.BookingID{a, b} {
		for in, p := range s.pushes(id) {
			if p.Op != domain.PushRemove {
				t.Errorf("push of %s to %s: %+v", id, in, p)
			}
		}
	}
	// Again, and by the other's id, is the same.
	for _, ids := range [][2]domain.BookingID{{a, b}, {b, a}} {
		s.unchanged(func() {
			if r, err := s.link(ids[0], ids[1]); err != nil || r.Outcomes[0].BookingID != a {
				t.Errorf("linking again: %+v, %v", r, err)
			}
		})
	}
	s.unchanged(func() {
		s.effect(reconcile.EffectUnchanged, s.cal, worded(change("b", domain.CategoryWedding, 12, 21), "Smith party"))
	})
	_, err = s.changeMerged(a)
	if domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("a change of a merged booking by hand: %v", err)
	}
	for action, n := range map[string]int{"booking.link": 1, "booking.unlink": 0} {
		if got := s.count("SELECT count(*) FROM audit_entries WHERE action = $1 AND reason = 'the same couple'", action); got != n {
			t.Errorf("%d lines of %s", got, action)
		}
	}
	if n := s.count("SELECT count(*) FROM stream_events WHERE topic = 'booking.linked' AND refs->>'booking' = $1 AND refs->>'other' = $2", string(a), string(b)); n != 1 {
		t.Errorf("%d live events", n)
	}

	s.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.SetSyncCursor(ctx, s.cal.ID, "here") })
	r, err = s.unlink(b, "", "")
	s.must(err)
	if o := r.Outcomes[0]; o.BookingID != b {
		t.Fatalf("parted: %+v", o)
	}
	s.wantOpen("overlap critical")
	if got := s.booking(b); got.MergedInto != "" || got.Status != domain.StatusConfirmed || !got.When.Start.Equal(at(12)) || !got.When.End.Equal(at(21)) || got.Details.Title != "Smith party" {
		t.Errorf("parted: %+v", got)
	}
	if n := s.count("SELECT count(*) FROM integrations WHERE sync_cursor = '' AND id = $1", string(s.cal.ID)); n != 1 {
		t.Error("the next reading of the parted entry's system is no full one")
	}
	if n := s.count("SELECT count(*) FROM stream_events WHERE topic = 'booking.unlinked'"); n != 1 {
		t.Errorf("%d live events", n)
	}
	// A resync, and a new detection, change nothing of it.
	s.effect(reconcile.EffectUnchanged, s.cal, worded(change("b", domain.CategoryWedding, 12, 21), "Smith party"))
	s.apply(s.cal, worded(change("b", domain.CategoryWedding, 12, 20), "Marigold"))
	s.rules(s.person.ID, func(r *domain.Resource) { r.BufferAfter = time.Minute })
	s.wantOpen("overlap critical")
	if x, y := s.links(a), s.links(b); ownIn(x, s.cal.ID) || !ownIn(y, s.cal.ID) {
		t.Errorf("links are %+v and %+v", x, y)
	}
	// Suggestions leave alone what a person parted.
	s.tenant(func(ctx context.Context, tx *store.Tx) error {
		list, _, err := apply.LinkSuggestions(ctx, tx, "", domain.Span{Start: at(0), End: at(48)}, 10)
		if len(list) != 0 {
			t.Errorf("suggested: %+v", list)
		}
		return err
	})
}

// changeMerged tries to change the booking that was merged.
func (s *studio) changeMerged(into domain.BookingID) (r apply.Result, err error) {
	s.t.Helper()
	err = s.Tenant(s.t.Context(), s.org, func(ctx context.Context, tx *store.Tx) error {
		merged, err := tx.MergedInto(ctx, []domain.BookingID{into})
		if err != nil {
			return err
		}
		b := merged[0]
		b.Status = domain.StatusConfirmed
		r, err = apply.Manual(ctx, tx, b, "alex", "")
		return err
	})
	return r, err
}

func ownIn(links []domain.Link, in domain.IntegrationID) bool {
	for _, l := range links {
		if l.IntegrationID == in && !l.Mirror && l.RemovedAt == nil {
			return true
		}
	}
	return false
}

func TestAnEntryThatWasLinkedByLikenessIsPartedForGood(t *testing.T) {
	t.Parallel()
	s := setup(t)
	a := s.effect(reconcile.EffectCreated, s.crm, worded(change("a", domain.CategoryConsultation, 10, 11), "Marigold Smith")).Outcomes[0].BookingID
	r := s.effect(reconcile.EffectLinked, s.cal, worded(change("b", domain.CategoryConsultation, 10, 11), "Smith Marigold"))
	if r.Outcomes[0].BookingID != a {
		t.Fatal("not the same booking")
	}
	var entry domain.Link
	for _, l := range s.links(a) {
		if l.IntegrationID == s.cal.ID {
			entry = l
		}
	}
	if !strings.HasPrefix(entry.How, "likeness 100 of 100: ") || strings.Contains(entry.How, "Smith") {
		t.Errorf("found by %q", entry.How)
	}
	if _, err := s.unlink(a, "", entry.ID); err != nil {
		t.Fatal(err)
	}
	s.wantOpen("overlap medium")
	if n := s.count("SELECT count(*) FROM allocations"); n != 2 {
		t.Errorf("%d bookings take time", n)
	}
	// The calendar drops its entry and brings it again under another id.
	s.effect(reconcile.EffectRemoved, s.cal, domain.Change{Op: domain.OpRemove, ExternalID: "b"})
	s.effect(reconcile.EffectCreated, s.cal, worded(change("b2", domain.CategoryConsultation, 10, 11), "Smith Marigold"))
	s.wantOpen("overlap medium")
	if _, err := s.unlink(a, "", entry.ID); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("parting again: %v", err)
	}
	if _, err := s.unlink(a, "", ""); domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != "booking_id" {
		t.Errorf("parting nothing: %v", err)
	}
}

func TestChainsOfLinksComeApartAsTheyWereMade(t *testing.T) {
	t.Parallel()
	s := setup(t)
	third := s.newIntegration(s.org, "third", domain.DirectionImport, s.person.ID)
	make := func(in domain.Integration, id string, from float64, title string) domain.BookingID {
		s.advance(time.Second)
		return s.effect(reconcile.EffectCreated, in, worded(change(id, domain.CategoryVendor, from, from+1), title)).Outcomes[0].BookingID
	}
	a, b, c := make(s.crm, "a", 10, "Marigold"), make(s.cal, "b", 12, "Barn visit"), make(third, "c", 14, "Tasting")
	for _, pair := range [][2]domain.BookingID{{b, c}, {a, b}} {
		if _, err := s.link(pair[0], pair[1]); err != nil {
			t.Fatal(err)
		}
		s.advance(time.Second)
	}
	if got := s.booking(c); got.MergedInto != a {
		t.Errorf("the first of the chain is merged into %s", got.MergedInto)
	}
	if l := s.links(a); len(l) != 3 {
		t.Errorf("%d links", len(l))
	}
	if _, err := s.unlink(a, b, ""); err != nil {
		t.Fatal(err)
	}
	if x, y := s.booking(b), s.booking(c); x.MergedInto != "" || y.MergedInto != b || x.Status != domain.StatusConfirmed {
		t.Errorf("parted: %+v and %+v", x, y)
	}
	if x, y := s.links(a), s.links(b); !ownIn(x, s.crm.ID) || ownIn(x, s.cal.ID) || ownIn(x, third.ID) || !ownIn(y, s.cal.ID) || !ownIn(y, third.ID) {
		t.Errorf("links are %+v and %+v", x, y)
	}
	if _, err := s.unlink(c, "", ""); err != nil {
		t.Fatal(err)
	}
	if n := s.count("SELECT count(*) FROM allocations"); n != 3 {
		t.Errorf("%d bookings take time", n)
	}
	if n := s.count("SELECT count(*) FROM bookings WHERE merged_into IS NOT NULL"); n != 0 {
		t.Errorf("%d bookings are merged still", n)
	}
}

func TestABookingMadeByHandIsLinkedAndComesBackAsItWas(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id := domain.NewID[domain.BookingID](s.clock())
	s.manual(domain.Booking{ID: id, ResourceID: s.person.ID, Category: domain.CategoryWedding, Status: domain.StatusTentative, When: span(12, 20),
		Details: domain.Details{Title: "Enquiry"}})
	a := s.effect(reconcile.EffectCreated, s.crm, worded(change("a", domain.CategoryWedding, 12, 20), "Marigold")).Outcomes[0].BookingID
	s.wantOpen("overlap high")
	if _, err := s.link(a, id); err != nil {
		t.Fatal(err)
	}
	s.wantOpen("")
	if _, err := s.unlink(a, id, ""); err != nil {
		t.Fatal(err)
	}
	if b := s.booking(id); b.Status != domain.StatusTentative || b.Details.Title != "Enquiry" || b.SourceID != "" || !b.When.Equal(span(12, 20)) {
		t.Errorf("it came back as %+v", b)
	}
	s.wantOpen("overlap high")
	if p := s.pushes(id)[s.cal.ID]; p.Op != domain.PushPut {
		t.Errorf("its copy in the calendar: %+v", p)
	}
}

func TestProbablePairsAreSuggestedToAPerson(t *testing.T) {
	t.Parallel()
	s := setup(t)
	create := func(in domain.Integration, id string, from, to float64, title string) domain.BookingID {
		s.advance(time.Second)
		return s.effect(reconcile.EffectCreated, in, worded(change(id, domain.CategoryWedding, from, to), title)).Outcomes[0].BookingID
	}
	a := create(s.crm, "a", 12, 20, "Marigold Smith")
	b := create(s.cal, "b", 13, 21, "Smith Marigold") // an hour off
	c := create(s.cal, "c", 36, 44, "Wedding")        // does not say whose
	d := create(s.crm, "d", 36, 44, "Rose Miller")
	create(s.crm, "e", 60, 68, "Daisy") // two couples at once
	create(s.cal, "f", 60, 68, "Violet")
	var list []apply.LinkSuggestion
	find := func() {
		s.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
			list, _, err = apply.LinkSuggestions(ctx, tx, s.person.ID, domain.Span{Start: at(0), End: at(90)}, 10)
			return err
		})
	}
	find()
	want := []apply.LinkSuggestion{{BookingID: a, OtherID: b, Score: 70}, {BookingID: c, OtherID: d, Score: 65}}
	if len(list) != len(want) {
		t.Fatalf("suggested: %+v", list)
	}
	for i, w := range want {
		if got := list[i]; got.BookingID != w.BookingID || got.OtherID != w.OtherID || got.Score != w.Score || len(got.Parts) != 3 || got.Why == "" {
			t.Errorf("suggestion %d is %+v, want %+v", i, got, w)
		}
	}
	if _, err := s.link(a, b); err != nil {
		t.Fatal(err)
	}
	if find(); len(list) != 1 {
		t.Errorf("after linking: %+v", list)
	}
}

func TestLinksWaitForADecisionThatIsCarriedOut(t *testing.T) {
	t.Parallel()
	s := setup(t)
	a := s.effect(reconcile.EffectCreated, s.crm, worded(change("a", domain.CategoryVendor, 10, 12), "Marigold")).Outcomes[0].BookingID
	b := s.effect(reconcile.EffectCreated, s.cal, worded(change("b", domain.CategoryVendor, 11, 13), "Other")).Outcomes[0].BookingID
	s.tenant(func(ctx context.Context, tx *store.Tx) error {
		list, _, err := tx.Conflicts(ctx, store.ConflictFilter{}, store.Page{Limit: 10})
		if err != nil {
			return err
		}
		c := list[0]
		c.State, c.Resolution = domain.ConflictResolving, &domain.Resolution{Action: domain.ActionCancel, BookingID: b}
		return tx.UpdateConflict(ctx, c, c.Version)
	})
	if _, err := s.link(a, b); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("linked while a decision is carried out: %v", err)
	}
	if _, err := s.link(a, domain.NewID[domain.BookingID](s.clock())); domain.FieldOf(err) != "booking_id" {
		t.Errorf("linked with nothing: %v", err)
	}
}
