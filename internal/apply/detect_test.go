package apply_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

// traveller adds a resource that drives at 50 km/h, with a calendar.
func (s *studio) traveller() (domain.Resource, domain.Integration) {
	s.t.Helper()
	r := s.newResource(s.org, domain.Resource{Capacity: 1, Travel: domain.Travel{SpeedKmh: 50}})
	return r, s.newIntegration(s.org, "traveller", domain.DirectionImport, r.ID)
}

func (s *studio) venue(name string, lat, lon float64) domain.Venue {
	s.t.Helper()
	v := domain.Venue{ID: domain.NewID[domain.VenueID](s.clock()), Name: name, Point: domain.Point{Lat: lat, Lon: lon}}
	s.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.CreateVenue(ctx, v) })
	return v
}

func located(c domain.Change, location string) domain.Change {
	c.Details.Location = location
	return c
}

// open tells the open conflicts, sorted, as "kind severity".
func (s *studio) open() string {
	s.t.Helper()
	var out []string
	for _, c := range s.conflicts(domain.ConflictOpen) {
		out = append(out, string(c.Kind)+" "+string(c.Severity))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (s *studio) wantOpen(want string) {
	s.t.Helper()
	if got := s.open(); got != want {
		s.t.Fatalf("open conflicts: %q, want %q", got, want)
	}
}

func TestTheWayBetweenVenuesIsFoundInTheTransaction(t *testing.T) {
	t.Parallel()
	s := setup(t)
	person, from := s.traveller()
	s.venue("Assembly Rooms", 51.3811, -2.3590)
	ashton := s.venue("Ashton Court", 51.4478, -2.6450)
	s.effect(reconcile.EffectCreated, from, located(change("a", domain.CategoryWedding, 12, 15), "Assembly Rooms, Bath"))
	s.wantOpen("")
	r := s.effect(reconcile.EffectCreated, from, located(change("b", domain.CategoryVendor, 15+1./3, 18), "Ashton Court, Bristol"))
	s.wantOpen("travel medium")
	c := r.Conflicts()[0]
	if !strings.Contains(c.Explanation, "the way of 21 km at 50 km/h takes 26 min: short by 6 min") || strings.Contains(c.Explanation, "Ashton") {
		t.Errorf("explained as %q", c.Explanation)
	}
	if len(c.Alternatives) == 0 {
		t.Error("no way out is offered")
	}
	for _, a := range c.Alternatives {
		if a.ResourceID == person.ID && a.When.Start.Before(at(18)) && a.When.Start.After(at(15)) && a.When.Start.Before(at(15.43)) {
			t.Errorf("offered within the way: %s", a.When)
		}
	}
	// Moved by ten minutes, there is time for the way.
	s.effect(reconcile.EffectUpdated, from, located(change("b", domain.CategoryVendor, 15.5, 18), "Ashton Court, Bristol"))
	s.wantOpen("")
	// Coordinates in the text need no venue.
	s.effect(reconcile.EffectUpdated, from, located(change("b", domain.CategoryVendor, 15.5, 18), "51.5074, -0.1278"))
	s.wantOpen("travel medium")
	s.effect(reconcile.EffectUpdated, from, located(change("b", domain.CategoryVendor, 15.5, 18), "Ashton Court, Bristol"))
	s.wantOpen("")
	// A venue that turns out to be elsewhere moves the bookings that are at it; the others are not written again.
	before := s.venues()
	ashton.Point = domain.Point{Lat: 51.5074, Lon: -0.1278}
	s.tenant(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.UpdateVenue(ctx, ashton, 1); err != nil {
			return err
		}
		_, err := apply.RejudgePlaces(ctx, tx, before, "a venue was changed")
		return err
	})
	s.wantOpen("travel medium")
	if n := s.count("SELECT count(*) FROM bookings WHERE version > 4"); n != 0 {
		t.Errorf("%d bookings have a version for a venue that moved", n)
	}
	if n := s.count("SELECT count(*) FROM allocations WHERE place IS NULL OR encode(place, 'escape') LIKE '%51.%'"); n != 0 {
		t.Errorf("%d allocations have no place, or a readable one", n)
	}
	before = s.venues()
	s.tenant(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.DeleteVenue(ctx, ashton.ID); err != nil {
			return err
		}
		_, err := apply.RejudgePlaces(ctx, tx, before, "a venue was removed")
		return err
	})
	s.wantOpen("")
}

func (s *studio) venues() (out []domain.Venue) {
	s.t.Helper()
	s.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = tx.Venues(ctx)
		return err
	})
	return out
}

// rules changes a resource's rules as the API does.
func (s *studio) rules(id domain.ResourceID, fn func(*domain.Resource)) apply.Result {
	s.t.Helper()
	var out apply.Result
	s.tenant(func(ctx context.Context, tx *store.Tx) error {
		r, err := tx.Resource(ctx, id)
		if err != nil {
			return err
		}
		fn(&r)
		if err := tx.UpdateResource(ctx, r, r.Version); err != nil {
			return err
		}
		out, err = apply.RejudgeResource(ctx, tx, id, "the rules of the resource changed")
		return err
	})
	return out
}

func TestDaysWithoutClientsAreFoundAtOnceAndByLaterBookings(t *testing.T) {
	t.Parallel()
	s := setup(t)
	date := day.Format(time.DateOnly)
	id := s.effect(reconcile.EffectCreated, s.crm, change("w1", domain.CategoryWedding, 12, 20)).Outcomes[0].BookingID
	s.effect(reconcile.EffectCreated, s.crm, change("p1", domain.CategoryPersonal, 32, 33))
	s.wantOpen("")
	s.rules(s.person.ID, func(r *domain.Resource) {
		r.Blackouts = []domain.Blackout{{ID: domain.NewID[domain.BlackoutID](s.clock()), From: date, To: day.AddDate(0, 0, 1).Format(time.DateOnly), Reason: "away"}}
	})
	s.wantOpen("blackout high")
	if c := s.conflicts(domain.ConflictOpen)[0]; c.BookingID != id || c.OtherID != "" || strings.Contains(c.Explanation, "away") {
		t.Errorf("the conflict is %+v", c)
	}
	if v := s.booking(id).Version; v != 1 {
		t.Errorf("version %d: the booking did not change", v)
	}
	s.unchanged(func() {
		s.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, err := apply.RejudgeResource(ctx, tx, s.person.ID, "again")
			return err
		})
	})
	s.effect(reconcile.EffectCreated, s.crm, change("c1", domain.CategoryConsultation, 36, 37))
	s.wantOpen("blackout high, blackout medium")
	s.rules(s.person.ID, func(r *domain.Resource) { r.Blackouts = nil })
	s.wantOpen("")
	if n := s.count("SELECT count(*) FROM conflicts WHERE state = 'cleared'"); n != 2 {
		t.Errorf("%d conflicts cleared", n)
	}
}

func TestOtherRulesOfAResourceHoldForBookingsThatExist(t *testing.T) {
	t.Parallel()
	s := setup(t)
	room := s.newResource(s.org, domain.Resource{Capacity: 2})
	from := s.newIntegration(s.org, "room", domain.DirectionImport, room.ID)
	s.apply(from, change("a", domain.CategoryVendor, 10, 12), change("b", domain.CategoryVendor, 11, 13), change("c", domain.CategoryVendor, 13.5, 14))
	s.wantOpen("")
	s.rules(room.ID, func(r *domain.Resource) { r.Capacity = 1 })
	s.wantOpen("overlap medium")
	s.rules(room.ID, func(r *domain.Resource) { r.BufferAfter = time.Hour })
	s.wantOpen("buffer low, overlap medium")
	if n := s.count("SELECT count(*) FROM allocations WHERE busy_to - ends_at = interval '1 hour'"); n != 3 {
		t.Errorf("%d allocations have the new buffer", n)
	}
	s.rules(room.ID, func(r *domain.Resource) { r.Capacity, r.BufferAfter = 2, 0 })
	s.wantOpen("")
	if n := s.count("SELECT count(*) FROM allocations WHERE exclusive"); n != 3 {
		t.Errorf("%d of 3 allocations hold their time again", n)
	}
}

func TestEveryInstanceOfASeriesIsHeldAgainstSingleBookings(t *testing.T) {
	t.Parallel()
	s := setup(t)
	// A weekly consultation as a calendar lists it: one entry with a part for each week.
	for week := range 6 {
		c := change(fmt.Sprintf("weekly#%d", week), domain.CategoryConsultation, 10, 11)
		c.UID, c.When.Start, c.When.End = "weekly", c.When.Start.AddDate(0, 0, 7*(week-2)), c.When.End.AddDate(0, 0, 7*(week-2))
		s.effect(reconcile.EffectCreated, s.cal, c)
	}
	s.wantOpen("")
	s.effect(reconcile.EffectCreated, s.crm, change("w1", domain.CategoryWedding, 9, 20))
	s.wantOpen("overlap high")
	instance := s.booking(s.conflicts(domain.ConflictOpen)[0].BookingID)
	if instance.Category != domain.CategoryConsultation || !instance.When.Start.Equal(at(10)) {
		t.Errorf("the instance that gives way is %+v", instance)
	}
	if l := s.links(instance.ID); len(l) != 1 || l[0].ExternalID != "weekly#2" {
		t.Errorf("its links are %+v", l)
	}
	// The instance moves away; the series stays.
	c := change("weekly#2", domain.CategoryConsultation, 30, 31)
	c.UID = "weekly"
	s.effect(reconcile.EffectUpdated, s.cal, c)
	s.wantOpen("")
}

func TestAWholeDayOfAnotherZoneIsTheDateWhereTheResourceWorks(t *testing.T) {
	t.Parallel()
	s := setup(t)
	tokyo, err := calendartime.LoadZone("Asia/Tokyo")
	s.must(err)
	london, err := calendartime.LoadZone("Europe/London")
	s.must(err)
	d := calendartime.DateOf(day, time.UTC)
	c := change("w1", domain.CategoryWedding, 0, 24)
	c.When = domain.When{Span: calendartime.AllDay(tokyo, d, d.AddDays(1)), Zone: "Asia/Tokyo", Kind: domain.TimeAllDay}
	id := s.effect(reconcile.EffectCreated, s.cal, c).Outcomes[0].BookingID
	if b := s.booking(id); !b.When.Equal(c.When) {
		t.Errorf("the booking is %#v, as written it was %#v", b.When, c.When)
	}
	here := calendartime.AllDay(london, d, d.AddDays(1))
	if n := s.count("SELECT count(*) FROM allocations WHERE starts_at = $1 AND ends_at = $2", here.Start, here.End); n != 1 {
		t.Errorf("%d allocations on the day in London", n)
	}
	s.effect(reconcile.EffectCreated, s.crm, change("v0", domain.CategoryVendor, -4, -3)) // the evening before, which is the day in Tokyo
	s.wantOpen("")
	s.effect(reconcile.EffectCreated, s.crm, change("v1", domain.CategoryVendor, 20, 21))
	s.wantOpen("overlap high")
}
