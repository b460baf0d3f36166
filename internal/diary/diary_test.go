package diary_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/diary"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/availability"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/suggest"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
)

// day is a Saturday well after the test clock.
var (
	day   = time.Date(2027, 6, 12, 0, 0, 0, 0, time.UTC)
	clock = time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC)
)

type studio struct {
	*store.Store
	t    testing.TB
	org  domain.OrgID
	made int // resources so far
}

func setup(t testing.TB) *studio {
	t.Helper()
	s := &studio{t: t, org: domain.NewID[domain.OrgID](clock)}
	s.Store = storetest.New(t, store.Options{MaxConns: 4, SystemMaxConns: 2, Now: func() time.Time { return clock }})
	s.must(s.CreateOrganization(t.Context(), domain.Organization{ID: s.org, Name: "Studio", Zone: "Europe/London"}, "admin"))
	return s
}

func (s *studio) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *studio) tenant(fn func(ctx context.Context, tx *store.Tx) error) {
	s.t.Helper()
	s.must(s.Tenant(s.t.Context(), s.org, fn))
}

func (s *studio) resource(name string, edit ...func(*domain.Resource)) domain.ResourceID {
	s.t.Helper()
	s.made++ // their identifiers sort in the order in which they are made
	r := domain.Resource{ID: domain.NewID[domain.ResourceID](clock.Add(time.Duration(s.made) * time.Millisecond)), Name: name, Kind: domain.ResourcePerson, Zone: "Europe/London", Capacity: 1, OneWeddingADay: true}
	for _, f := range edit {
		f(&r)
	}
	s.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.CreateResource(ctx, r) })
	return r.ID
}

func skilled(skills ...string) func(*domain.Resource) {
	return func(r *domain.Resource) { r.Skills = skills }
}

func at(hours float64) time.Time { return day.Add(time.Duration(hours * float64(time.Hour))) }

// booked stores a booking with its allocation, without the decision that usually makes them.
func (s *studio) booked(res domain.ResourceID, category domain.Category, from, to float64, edit ...func(*domain.Booking)) domain.BookingID {
	s.t.Helper()
	b := domain.Booking{ID: domain.NewID[domain.BookingID](clock), ResourceID: res, Category: category, Status: domain.StatusConfirmed, CreatedAt: clock, UpdatedAt: clock, Version: 1,
		When: domain.When{Span: domain.Span{Start: at(from), End: at(to)}, Zone: "Europe/London", Kind: domain.TimeZoned}}
	for _, f := range edit {
		f(&b)
	}
	s.tenant(func(ctx context.Context, tx *store.Tx) error {
		return tx.StoreEffects(ctx, store.Effects{Bookings: []domain.Booking{b}, BookedAt: map[domain.BookingID]time.Time{b.ID: clock}, Allocations: []domain.Allocation{{
			ID: domain.NewID[domain.AllocationID](clock), BookingID: b.ID, ResourceID: res, Category: category, Status: b.Status, Event: b.When.Span, Busy: b.When.Span,
			ExpiresAt: b.HeldUntil}}})
	})
	return b.ID
}

func (s *studio) source(res domain.ResourceID, edit func(*domain.Integration)) domain.Integration {
	s.t.Helper()
	i := domain.Integration{ID: domain.NewID[domain.IntegrationID](clock), Name: "calendar", Provider: "google", Direction: domain.DirectionImport, ResourceID: res, Settings: []byte(`{}`)}
	edit(&i)
	s.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.CreateIntegration(ctx, i, nil) })
	return i
}

func (s *studio) availability(want availability.Want, window domain.Span, ids ...domain.ResourceID) (out []diary.Calendar) {
	s.t.Helper()
	s.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = diary.Availability(ctx, tx, ids, window, want)
		return err
	})
	return out
}

var hour = availability.Want{Category: domain.CategoryVendor, Duration: time.Hour}

func TestAvailabilityOfSeveralResourcesSaysWhyAndHowSure(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ann, ben := s.resource("Ann"), s.resource("Ben")
	wedding := s.booked(ann, domain.CategoryWedding, 12, 20)
	s.booked(ben, domain.CategoryVendor, 8, 9, func(b *domain.Booking) { b.Status, b.HeldUntil = domain.StatusTentative, clock.Add(-time.Minute) })
	held := s.booked(ben, domain.CategoryVendor, 10, 11, func(b *domain.Booking) { b.Status, b.HeldUntil = domain.StatusTentative, clock.Add(time.Minute) })
	polled := s.source(ben, func(i *domain.Integration) { i.PollEvery = 5 * time.Minute })
	got := s.availability(hour, domain.Span{Start: at(6), End: at(22)}, ben, ann)
	if len(got) != 2 || got[0].Resource.ID != ben || got[1].Resource.ID != ann || got[1].Resource.Name != "Ann" {
		t.Fatalf("answers %+v", got)
	}
	if diff := cmp.Diff([]domain.Span{{Start: at(6), End: at(12)}, {Start: at(20), End: at(22)}}, got[1].Free); diff != "" || !got[1].Since.IsZero() || len(got[1].Sources) != 0 {
		t.Errorf("Ann: %+v %s", got[1], diff)
	}
	if b := got[1].Blocked; len(b) != 1 || b[0].BookingID != wedding || b[0].Rule != availability.RuleOverlap {
		t.Errorf("Ann is blocked by %+v", b)
	}
	// The source was never read: what is not taken is unknown, and not free. A hold that is over takes nothing.
	if diff := cmp.Diff([]domain.Span{{Start: at(6), End: at(10)}, {Start: at(11), End: at(22)}}, got[0].Unknown); diff != "" || len(got[0].Free) != 0 || !got[0].Since.Equal(clock) {
		t.Errorf("Ben: free %v, unknown since %s: %s", got[0].Free, got[0].Since, diff)
	}
	if len(got[0].Sources) != 1 || got[0].Sources[0].IntegrationID != polled.ID || got[0].Sources[0].State != diary.SourceUnknown {
		t.Errorf("sources of Ben: %+v", got[0].Sources)
	}
	if b := got[0].Blocked; len(b) != 1 || b[0].BookingID != held {
		t.Errorf("Ben is blocked by %+v", b)
	}
	err := s.TenantRead(t.Context(), s.org, func(ctx context.Context, tx *store.Tx) error {
		_, err := diary.Availability(ctx, tx, []domain.ResourceID{ann, domain.NewID[domain.ResourceID](clock)}, domain.Span{Start: at(0), End: at(1)}, hour)
		return err
	})
	if domain.KindOf(err) != domain.KindNotFound {
		t.Errorf("an unknown resource: %v", err)
	}
}

func (s *studio) whoIsFree(ask diary.DateAsk) (f diary.Found) {
	s.t.Helper()
	if ask.Limit == 0 {
		ask.Limit = 50
	}
	if ask.Date.Year == 0 {
		ask.Date = calendartime.Date{Year: 2027, Month: time.June, Day: 12}
	}
	s.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		f, err = diary.WhoIsFree(ctx, tx, ask)
		return err
	})
	return f
}

func names(f diary.Found) (out []string) {
	for _, o := range f.Open {
		out = append(out, o.Resource.Name)
	}
	return out
}

func TestWhoIsFreeFindsThoseWithRoomOnTheDate(t *testing.T) {
	t.Parallel()
	s := setup(t)
	party := availability.Want{Category: domain.CategoryWedding, Duration: 8 * time.Hour}
	ann := s.resource("Ann", skilled("Portrait", "video"))
	ben := s.resource("Ben", skilled("portrait"))
	s.resource("Cat", skilled("video"))
	s.resource("Dora", skilled("portrait"), func(r *domain.Resource) { r.Kind = domain.ResourceTeam })
	late := s.resource("Eve", skilled("portrait"))
	s.booked(ann, domain.CategoryWedding, 12, 20)
	s.booked(ben, domain.CategoryConsultation, 9, 10)
	s.booked(late, domain.CategoryWedding, 36, 44) // the next day
	for _, c := range []struct {
		name string
		ask  diary.DateAsk
		want []string
	}{
		{"all", diary.DateAsk{Want: party}, []string{"Ben", "Cat", "Dora", "Eve"}},
		{"with a skill, whatever its letters", diary.DateAsk{Want: party, Skills: []string{"PORTRAIT"}}, []string{"Ben", "Dora", "Eve"}},
		{"with two skills", diary.DateAsk{Want: availability.Want{Category: domain.CategoryTravel, Duration: time.Hour}, Skills: []string{"portrait", "video"}}, []string{"Ann"}},
		{"of a kind", diary.DateAsk{Want: party, Kind: domain.ResourceTeam}, []string{"Dora"}},
		{"long enough for the evening only", diary.DateAsk{Want: availability.Want{Category: domain.CategoryVendor, Duration: 30 * time.Hour}, Skills: []string{"portrait"}},
			[]string{"Ann", "Ben", "Dora", "Eve"}},
		{"another date", diary.DateAsk{Want: party, Date: calendartime.Date{Year: 2027, Month: time.June, Day: 13}}, []string{"Ann", "Ben", "Cat", "Dora"}},
		{"in the past", diary.DateAsk{Want: party, Date: calendartime.Date{Year: 2027, Month: time.April, Day: 1}}, nil},
	} {
		f := s.whoIsFree(c.ask)
		if diff := cmp.Diff(c.want, names(f)); diff != "" || f.Zone != "Europe/London" || f.Free != len(c.want) || f.Free+f.Taken != f.Looked {
			t.Errorf("%s: %+v (-want +got):\n%s", c.name, f, diff)
		}
	}
	f := s.whoIsFree(diary.DateAsk{Want: party})
	if !f.Open[1].Quiet || f.Open[0].Quiet {
		t.Errorf("Ben has something that day and Cat has not: %+v", f.Open)
	}
	for _, o := range f.Open {
		for _, w := range o.Free {
			if !w.Start.Before(f.Date.End) || w.Duration() < party.Duration {
				t.Errorf("%s may begin %s on %s", o.Resource.Name, w, f.Date)
			}
		}
	}
	s.source(ben, func(i *domain.Integration) { i.PollEvery = time.Minute })
	f = s.whoIsFree(diary.DateAsk{Want: party})
	if f.Open[0].Since.IsZero() || !f.Open[1].Since.IsZero() {
		t.Errorf("Ben's source was never read, Cat has none: %+v", f.Open)
	}
}

func TestWhoIsFreeIsPaged(t *testing.T) {
	t.Parallel()
	s := setup(t)
	var want []string
	for n := range 7 {
		id := s.resource(fmt.Sprint("r", n))
		if n == 3 {
			s.booked(id, domain.CategoryVendor, -2, 30)
		} else {
			want = append(want, fmt.Sprint("r", n))
		}
	}
	seen, pages, after := map[string]bool{}, 0, domain.ResourceID("")
	for {
		f := s.whoIsFree(diary.DateAsk{Want: hour, Limit: 2, After: after})
		for _, name := range names(f) {
			if seen[name] {
				t.Errorf("%s is on two pages", name)
			}
			seen[name] = true
		}
		pages++
		if after = f.Next; after == "" || pages > 9 {
			break
		}
	}
	for _, name := range want {
		if !seen[name] {
			t.Errorf("%s is on no page", name)
		}
	}
	if len(seen) != len(want) || pages != 3 {
		t.Errorf("%d resources on %d pages", len(seen), pages)
	}
}

func (s *studio) suggest(asked diary.Asked) (a diary.Advice) {
	s.t.Helper()
	s.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		a, err = diary.Suggest(ctx, tx, asked)
		return err
	})
	return a
}

func TestSuggestKnowsTheWholeOrganisation(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ann := s.resource("Ann", skilled("portrait"))
	for n := range 20 { // taken, so that a look at the first dozen would find nobody
		s.booked(s.resource(fmt.Sprint("busy ", n), skilled("portrait")), domain.CategoryWedding, 10, 22)
	}
	free := s.resource("Free", skilled("Portrait"))
	unskilled := s.resource("Unskilled")
	wedding := s.booked(ann, domain.CategoryWedding, 12, 20)
	s.source(free, func(i *domain.Integration) { i.PollEvery = time.Minute })
	asked := domain.Booking{ResourceID: ann, Category: domain.CategoryConsultation, Status: domain.StatusConfirmed, CreatedAt: clock,
		When: domain.When{Span: domain.Span{Start: at(14), End: at(15)}, Zone: "Europe/London", Kind: domain.TimeZoned}}
	a := s.suggest(diary.Asked{Booking: asked})
	if a.Fits || len(a.Clashes) != 1 || a.Clashes[0].OtherID != wedding {
		t.Errorf("advice %+v", a)
	}
	actions := map[domain.ResolveAction]int{}
	for _, w := range a.Ways {
		actions[w.Action]++
		if w.ResourceID == unskilled || w.Action == domain.ActionReassign && w.ResourceID != free {
			t.Errorf("offered %+v", w)
		}
	}
	if actions[domain.ActionReassign] != 1 || actions[domain.ActionMove] < 2 {
		t.Errorf("ways %+v", a.Ways)
	}
	if len(a.Sources) != 1 || a.Sources[0].ResourceID != free || a.Sources[0].State != diary.SourceUnknown {
		t.Errorf("sources %+v, want that of the free one, unknown", a.Sources)
	}
	asked.When.Start, asked.When.End = at(5), at(6)
	if a := s.suggest(diary.Asked{Booking: asked}); !a.Fits || len(a.Clashes) != 0 {
		t.Errorf("a time with nothing in the way: %+v", a)
	}
	err := s.TenantRead(t.Context(), s.org, func(ctx context.Context, tx *store.Tx) error {
		asked.ResourceID = domain.NewID[domain.ResourceID](clock)
		_, err := diary.Suggest(ctx, tx, diary.Asked{Booking: asked})
		return err
	})
	if domain.KindOf(err) != domain.KindNotFound {
		t.Errorf("an unknown resource: %v", err)
	}
}

func TestSuggestOffersExchanges(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ann, ben := s.resource("Ann", skilled("portrait")), s.resource("Ben", skilled("portrait"))
	s.booked(ann, domain.CategoryMaintenance, 10, 12) // Ann's camera is away, so nobody else can take that over
	consultation := s.booked(ben, domain.CategoryConsultation, 13, 14)
	engagement := s.booked(ann, domain.CategoryEngagement, 11, 14)
	a := s.suggest(diary.Asked{Booking: s.read(engagement), Stored: true})
	want := []suggest.Exchange{{Kind: suggest.Swap, Clears: 1, Score: 75, Steps: []suggest.Step{
		{BookingID: engagement, From: ann, To: ben, When: domain.Span{Start: at(11), End: at(14)}},
		{BookingID: consultation, From: ben, To: ann, When: domain.Span{Start: at(13), End: at(14)}}},
		Reasons: []string{"all times stay: +85", "a booking of another client changes hands: -10"}}}
	if diff := cmp.Diff(want, a.Exchanges); diff != "" {
		t.Errorf("a swap (-want +got):\n%s", diff)
	}

	// The next day Ann has two appointments where a wedding is asked for; Ben could take both.
	first, second := s.booked(ann, domain.CategoryConsultation, 37, 38), s.booked(ann, domain.CategoryVendor, 39, 40)
	wedding := domain.Booking{ResourceID: ann, Category: domain.CategoryWedding, Status: domain.StatusConfirmed, CreatedAt: clock,
		When: domain.When{Span: domain.Span{Start: at(36), End: at(44)}, Zone: "Europe/London", Kind: domain.TimeZoned}}
	a = s.suggest(diary.Asked{Booking: wedding})
	if len(a.Exchanges) != 1 || a.Exchanges[0].Kind != suggest.Split || a.Exchanges[0].Clears != 2 || a.Exchanges[0].Score != 70 || len(a.Exchanges[0].Steps) != 2 {
		t.Fatalf("exchanges %+v, want one split that clears two clashes", a.Exchanges)
	}
	for _, step := range a.Exchanges[0].Steps {
		if step.From != ann || step.To != ben || step.BookingID != first && step.BookingID != second {
			t.Errorf("step %+v", step)
		}
	}
}

func (s *studio) read(id domain.BookingID) (b domain.Booking) {
	s.t.Helper()
	s.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		b, err = tx.Booking(ctx, id)
		return err
	})
	return b
}
