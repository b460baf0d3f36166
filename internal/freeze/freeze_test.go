package freeze_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
)

// saturday is noon of the wedding day, in UTC; the wedding is from 13:00 to 21:00 in London.
var saturday = time.Date(2027, 6, 12, 12, 0, 0, 0, time.UTC)

type studio struct {
	*store.Store
	t   testing.TB
	org domain.OrgID

	mu sync.Mutex
	at time.Time
}

func (s *studio) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func (s *studio) moveTo(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = at
}

func setup(t testing.TB) *studio {
	t.Helper()
	s := &studio{t: t, at: saturday.AddDate(0, -1, 0)}
	s.Store = storetest.New(t, store.Options{MaxConns: 4, SystemMaxConns: 2, Now: s.now})
	s.org = s.organisation()
	return s
}

func (s *studio) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *studio) organisation() domain.OrgID {
	s.t.Helper()
	id := domain.NewID[domain.OrgID](s.now())
	s.must(s.CreateOrganization(s.t.Context(), domain.Organization{ID: id, Name: "Studio", Zone: "Europe/London"}, "admin"))
	return id
}

func (s *studio) tenant(org domain.OrgID, fn func(ctx context.Context, tx *store.Tx) error) error {
	return s.Tenant(s.t.Context(), org, fn)
}

// wedding makes one of eight hours for a resource of its own.
func (s *studio) wedding(org domain.OrgID, starts time.Time) domain.BookingID {
	s.t.Helper()
	b := domain.Booking{ID: domain.NewID[domain.BookingID](s.now()), OrgID: org, Category: domain.CategoryWedding, Status: domain.StatusConfirmed, Version: 1,
		When: domain.When{Span: domain.Span{Start: starts, End: starts.Add(8 * time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned}}
	s.must(s.tenant(org, func(ctx context.Context, tx *store.Tx) error {
		r := domain.Resource{ID: domain.NewID[domain.ResourceID](tx.Now), Name: "Ann", Kind: domain.ResourcePerson, Zone: "Europe/London", Capacity: 1}
		if err := tx.CreateResource(ctx, r); err != nil {
			return err
		}
		b.ResourceID, b.CreatedAt, b.UpdatedAt = r.ID, tx.Now, tx.Now
		return tx.StoreEffects(ctx, store.Effects{Bookings: []domain.Booking{b}})
	}))
	return b.ID
}

// ask is a person's wish to change a mapping.
func (s *studio) ask(o freeze.Override) (overridden bool, err error) {
	err = s.tenant(s.org, func(ctx context.Context, tx *store.Tx) error {
		overridden, err = freeze.Person(ctx, tx, freeze.ActSettings, "body.settings", "integration/x", o)
		return err
	})
	return overridden, err
}

func (s *studio) overrides(org domain.OrgID, action string) []domain.AuditEntry {
	s.t.Helper()
	var out []domain.AuditEntry
	s.must(s.TenantRead(s.t.Context(), org, func(ctx context.Context, tx *store.Tx) error {
		all, _, err := tx.AuditEntries(ctx, store.Page{Limit: 200})
		for _, e := range all {
			if e.Action == action {
				out = append(out, e)
			}
		}
		return err
	}))
	return out
}

func TestARiskyActWaitsFromTwoDaysBeforeAWeddingUntilItsDayIsOver(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id := s.wedding(s.org, saturday)
	for _, c := range []struct {
		at     time.Time
		frozen bool
	}{
		{saturday.Add(-48*time.Hour - time.Second), false}, {saturday.Add(-48 * time.Hour), true}, {saturday.Add(4 * time.Hour), true},
		{time.Date(2027, 6, 13, 1, 59, 59, 0, time.UTC), true}, {time.Date(2027, 6, 13, 2, 0, 0, 0, time.UTC), false},
	} {
		s.moveTo(c.at)
		_, err := s.ask(freeze.Override{By: "ann", Admin: true})
		var refused *freeze.Refusal
		if errors.As(err, &refused) != c.frozen {
			t.Errorf("at %s: %v, want a refusal: %t", c.at, err, c.frozen)
			continue
		}
		if !c.frozen {
			continue
		}
		if domain.KindOf(err) != domain.KindConflict || domain.FieldOf(err) != "body.settings" {
			t.Errorf("the refusal is %q about %q", domain.KindOf(err), domain.FieldOf(err))
		}
		if until := time.Date(2027, 6, 13, 2, 0, 0, 0, time.UTC); !refused.Thaw.Equal(until) || refused.Freeze.Booking != id || !strings.Contains(err.Error(), "2027-06-13T02:00:00Z") {
			t.Errorf("it tells %+v: %v", refused, err)
		}
	}
}

func TestAnAdminOverridesAFreezeWithAReasonThatStaysOnRecord(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id := s.wedding(s.org, saturday)
	s.moveTo(saturday)
	for _, c := range []struct {
		o    freeze.Override
		kind domain.ErrorKind
	}{
		{freeze.Override{By: "bob", Reason: "the vendor moved"}, domain.KindForbidden},
		{freeze.Override{By: "ann", Admin: true, Reason: "no"}, domain.KindInvalid},
		{freeze.Override{By: "ann", Admin: true, Reason: "  \u00a0 x "}, domain.KindInvalid},
		{freeze.Override{By: "ann", Admin: true, Reason: strings.Repeat("x", 501)}, domain.KindInvalid},
		{freeze.Override{By: "ann", Admin: true, Reason: "two\nlines"}, domain.KindInvalid},
		{freeze.Override{By: "ann", Admin: true, Reason: "bad \xff text"}, domain.KindInvalid},
	} {
		if overridden, err := s.ask(c.o); overridden || domain.KindOf(err) != c.kind {
			t.Errorf("%q by %s: %t, %v, want %s", c.o.Reason, c.o.By, overridden, err, c.kind)
		}
	}
	if n := len(s.overrides(s.org, "freeze.override")); n != 0 {
		t.Fatalf("%d overrides on record before there was one", n)
	}
	overridden, err := s.ask(freeze.Override{By: "ann", Admin: true, Reason: " the vendor moved its address "})
	if !overridden || err != nil {
		t.Fatalf("an admin's override: %t, %v", overridden, err)
	}
	lines := s.overrides(s.org, "freeze.override")
	if len(lines) != 1 || lines[0].Actor != "ann" || lines[0].Reason != "the vendor moved its address" || lines[0].Subject != "booking/"+string(id) ||
		lines[0].After["act"] != "integration.settings" || lines[0].After["of"] != "integration/x" {
		t.Errorf("the trail says %+v", lines)
	}
	// Without a freeze there is nothing to override, and nothing to note.
	s.moveTo(saturday.AddDate(0, 1, 0))
	if overridden, err := s.ask(freeze.Override{By: "ann", Admin: true, Reason: "to be sure"}); overridden || err != nil {
		t.Errorf("without a freeze: %t, %v", overridden, err)
	}
	if n := len(s.overrides(s.org, "freeze.override")); n != 1 {
		t.Errorf("%d overrides on record", n)
	}
}

func TestTheWeddingOfAnotherOrganisationFreezesNothing(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.wedding(s.organisation(), saturday)
	s.moveTo(saturday)
	if _, err := s.ask(freeze.Override{}); err != nil {
		t.Error(err)
	}
}

func TestThePlatformWaitsForTheDayAndNotForTheWholeFreeze(t *testing.T) {
	t.Parallel()
	s := setup(t)
	other := s.organisation()
	s.wedding(s.org, saturday)
	s.wedding(other, saturday.Add(2*time.Hour))
	s.wedding(other, saturday.AddDate(0, 0, 7))
	day := time.Date(2027, 6, 11, 23, 0, 0, 0, time.UTC)
	end := time.Date(2027, 6, 13, 4, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		at     time.Time
		within time.Duration
		want   int
	}{
		{day.Add(-13 * time.Hour), 12 * time.Hour, 0}, {day.Add(-12 * time.Hour), 12 * time.Hour, 2}, {saturday, 0, 2}, {end.Add(-time.Second), 12 * time.Hour, 1},
		{end, 12 * time.Hour, 0}, {day.Add(-time.Second), 0, 0}, {day.AddDate(0, 0, -6), 168 * time.Hour, 2}, {day, 168 * time.Hour, 3},
	} {
		s.moveTo(c.at)
		days, err := freeze.Platform(t.Context(), s.Store, c.within)
		if err != nil || len(days.Freezes) != c.want || days.Any() != (c.want > 0) {
			t.Errorf("at %s within %s: %s, %v, want %d", c.at, c.within, days, err, c.want)
		}
	}
	s.moveTo(saturday)
	days, err := freeze.Platform(t.Context(), s.Store, freeze.DeployWithin)
	s.must(err)
	if got, want := days.String(), "2 weddings in 2 organisations: the first day is from 2027-06-11T23:00:00Z, the last one ends at 2027-06-13T04:00:00Z"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	if _, err := freeze.Platform(t.Context(), s.Store, 169*time.Hour); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("further ahead than a week: %v", err)
	}
	s.must(freeze.NoteOverride(t.Context(), s.Store, days, "migration", "cli", "a fault that loses webhooks"))
	for _, org := range []domain.OrgID{s.org, other} {
		lines := s.overrides(org, "platform.override_freeze")
		if len(lines) != 1 || lines[0].Actor != "cli" || lines[0].Reason != "a fault that loses webhooks" || lines[0].After["act"] != "migration" {
			t.Errorf("%s: %+v", org, lines)
		}
	}
	if err := freeze.NoteOverride(t.Context(), s.Store, days, "migration", "cli", "x"); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("a reason that says nothing: %v", err)
	}
}

func TestWhoHasAWeddingOnMostDaysHoldsOnlyWhatIsNear(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.wedding(s.org, saturday)
	s.moveTo(saturday.Add(-time.Hour))
	look := func() (n freeze.Now) {
		t.Helper()
		s.must(s.TenantRead(t.Context(), s.org, func(ctx context.Context, tx *store.Tx) (err error) {
			n, err = freeze.Look(ctx, tx)
			return err
		}))
		return n
	}
	near := domain.Span{Start: saturday.Add(-20 * time.Hour), End: saturday.Add(-19 * time.Hour)}
	far := domain.Span{Start: saturday.AddDate(0, 2, 0), End: saturday.AddDate(0, 2, 0).Add(time.Hour)}
	if n := look(); !n.Frozen() || !n.Stops(near) || !n.Stops(far) {
		t.Error("the standard does not hold everything")
	}
	if _, on := look().Within(far); on {
		t.Error("two months ahead lies within the freeze")
	}
	s.must(s.tenant(s.org, func(ctx context.Context, tx *store.Tx) error {
		set := domain.StandardFreezeSettings()
		set.Holds = domain.FreezeHoldsNear
		_, err := tx.PutFreezeSettings(ctx, set, "test", 0)
		return err
	}))
	if n := look(); !n.Frozen() || !n.Stops(near) || n.Stops(far) {
		t.Error("near does not hold what is near only")
	}
}
