package timelines_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/timeline"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
	"github.com/wedsync/wedsync/internal/timelines"
)

// two is the hour at which the wedding begins: 14:00 in London in summer.
var two = time.Date(2027, 6, 12, 13, 0, 0, 0, time.UTC)

// day is a wedding with a photographer, a band and a florist, in a database of its own.
type day struct {
	*store.Store
	t                    *testing.T
	org                  domain.OrgID
	person, band, flower domain.ResourceID
	wedding              domain.BookingID
	calendar             domain.IntegrationID // of the band
	now                  time.Time
}

func setup(t *testing.T) *day {
	t.Helper()
	d := &day{t: t, now: time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC)}
	d.Store = storetest.New(t, store.Options{Now: func() time.Time { return d.now }})
	d.org = domain.NewID[domain.OrgID](d.now)
	d.must(d.CreateOrganization(t.Context(), domain.Organization{ID: d.org, Name: "Day", Zone: "Europe/London"}, "admin"))
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		for _, id := range []*domain.ResourceID{&d.person, &d.band, &d.flower} {
			*id = domain.NewID[domain.ResourceID](d.now)
			if err := tx.CreateResource(ctx, domain.Resource{ID: *id, OrgID: d.org, Name: "Robin Marker", Kind: domain.ResourcePerson, Zone: "Europe/London", Capacity: 1}); err != nil {
				return err
			}
		}
		d.calendar = domain.NewID[domain.IntegrationID](d.now)
		return tx.CreateIntegration(ctx, domain.Integration{ID: d.calendar, Name: "calendar", Provider: "custom", Direction: domain.DirectionExport,
			ResourceID: d.band, Settings: []byte(`{}`), State: domain.IntegrationActive}, nil)
	})
	d.wedding = domain.NewID[domain.BookingID](d.now)
	d.book(domain.Booking{ID: d.wedding, ResourceID: d.person, Category: domain.CategoryWedding, Status: domain.StatusConfirmed,
		When: domain.When{Span: domain.Span{Start: two, End: two.Add(9 * time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned}})
	return d
}

func (d *day) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *day) tenant(fn func(ctx context.Context, tx *store.Tx) error) {
	d.t.Helper()
	d.must(d.Tenant(d.t.Context(), d.org, fn))
}

func (d *day) book(b domain.Booking) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := apply.Manual(ctx, tx, b, "admin-1", "entered by hand")
		return err
	})
}

func (d *day) booking(id domain.BookingID) (b domain.Booking) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		b, err = tx.Booking(ctx, id)
		return err
	})
	return b
}

// change changes the wedding by hand.
func (d *day) change(fn func(*domain.Booking)) {
	d.t.Helper()
	b := d.booking(d.wedding)
	fn(&b)
	d.book(b)
}

func (d *day) plan() domain.TimelinePlan {
	return domain.TimelinePlan{TravelMinutes: 30, Items: []domain.TimelineItem{
		{Key: "ceremony", Kind: domain.TimelineCeremony, Title: "Vows", Place: "Chapel", DurationMinutes: 45},
		{Key: "quartet", Kind: domain.TimelineMusic, Title: "Quartet", Place: "Chapel", ResourceID: d.band, After: "ceremony", Edge: domain.EdgeStart, OffsetMinutes: -15, DurationMinutes: 60, Export: true},
		{Key: "party", Kind: domain.TimelineMusic, Title: "Party", Place: "Barn", ResourceID: d.band, After: "quartet", OffsetMinutes: 20, DurationMinutes: 180, Export: true},
		{Key: "flowers", Kind: domain.TimelineArrival, Title: "Flowers", Place: "Barn", ResourceID: d.flower, After: "ceremony", Edge: domain.EdgeStart, OffsetMinutes: -240, DurationMinutes: 60},
		{Key: "portraits", Kind: domain.TimelinePhotos, Title: "Portraits", ResourceID: d.person, After: "ceremony", DurationMinutes: 30, Export: true},
	}}
}

func (d *day) set(p domain.TimelinePlan, expect int64) (v timelines.View, err error) {
	err = d.Tenant(d.t.Context(), d.org, func(ctx context.Context, tx *store.Tx) (err error) {
		v, err = timelines.Set(ctx, tx, d.wedding, p, expect, "admin-1", "body.")
		return err
	})
	return v, err
}

func (d *day) read() (v timelines.View) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		v, err = timelines.Read(ctx, tx, d.wedding)
		return err
	})
	return v
}

func (d *day) follow() {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		return timelines.Follow(ctx, tx, d.wedding, "system:timeline")
	})
}

// told returns how often the outbox asks for the wedding to be followed, and takes everything out of it.
func (d *day) told() (n int) {
	d.t.Helper()
	rows, err := d.ClaimOutbox(d.t.Context(), 1000)
	d.must(err)
	var ids []int64
	for _, r := range rows {
		ids = append(ids, r.ID)
		if r.Kind == store.OutboxTimeline && r.Target == string(d.wedding) {
			n++
		}
	}
	d.must(d.DeleteOutbox(d.t.Context(), ids))
	return n
}

func (d *day) pushes() (n int) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.WaitingPushes(ctx, d.calendar, 100)
		n = len(list)
		return err
	})
	return n
}

func TestItemsAreExportedAndShiftWithTheWedding(t *testing.T) {
	t.Parallel()
	d := setup(t)
	v, err := d.set(d.plan(), 0)
	d.must(err)
	if got := slices.Sorted(maps.Keys(v.Exported)); !slices.Equal(got, []string{"party", "quartet"}) {
		t.Fatalf("exported %v: neither items without export nor those of the wedding's own resource may be", got)
	}
	if want := []timeline.Clash{{Kind: timeline.TooFar, ResourceID: d.band, First: "quartet", Second: "party", MissingMinutes: 10}}; !slices.Equal(v.Clashes, want) {
		t.Errorf("clashes %+v, want %+v", v.Clashes, want)
	}
	quartet := d.booking(v.Exported["quartet"])
	if quartet.ResourceID != d.band || quartet.Category != domain.CategoryVendor || quartet.Details.Title != "Quartet" || quartet.Details.Location != "Chapel" ||
		!quartet.When.Start.Equal(two.Add(-15*time.Minute)) || quartet.When.Duration() != time.Hour || quartet.When.Zone != "Europe/London" {
		t.Errorf("the quartet's booking is %+v", quartet)
	}
	if n := d.pushes(); n != 2 {
		t.Errorf("%d copies wait to be written into the band's calendar, want 2", n)
	}
	if n := d.told(); n != 0 {
		t.Errorf("the timeline's own bookings ask to be followed %d times", n)
	}

	d.change(func(b *domain.Booking) {
		b.When.Start, b.When.End = b.When.Start.Add(90*time.Minute), b.When.End.Add(90*time.Minute)
	})
	if n := d.told(); n != 1 {
		t.Fatalf("the moved wedding is told %d times, want once", n)
	}
	d.follow()
	after := d.read()
	if !maps.Equal(after.Exported, v.Exported) {
		t.Errorf("exported %v, then %v: a shift must keep the bookings", v.Exported, after.Exported)
	}
	for i, item := range after.Items {
		if want := v.Times[i].Start.Add(90 * time.Minute); !after.Times[i].Start.Equal(want) || after.Times[i].Drift != timelines.DriftNone {
			t.Errorf("%s is at %v with drift %q, want %v", item.Key, after.Times[i].Start, after.Times[i].Drift, want)
		}
	}
	moved := d.booking(v.Exported["quartet"])
	d.follow()
	if again := d.booking(v.Exported["quartet"]); again.Version != moved.Version || moved.Version != quartet.Version+1 {
		t.Errorf("versions %d, %d and %d: following once changes once, and again nothing", quartet.Version, moved.Version, again.Version)
	}
}

func TestWhatSomebodyMovedIsShownAndPutBackWhenTheDayChanges(t *testing.T) {
	t.Parallel()
	d := setup(t)
	v, err := d.set(d.plan(), 0)
	d.must(err)
	party := d.booking(v.Exported["party"])
	party.When.Start = party.When.Start.Add(time.Hour)
	party.When.End = party.When.End.Add(time.Hour)
	d.book(party)
	quartet := d.booking(v.Exported["quartet"])
	quartet.Status = domain.StatusCancelled
	d.book(quartet)
	got := d.read()
	if got.Times[2].Drift != timelines.DriftMoved || got.Times[1].Drift != timelines.DriftCancelled {
		t.Errorf("drifts %+v", got.Times)
	}
	p := d.plan()
	p.Items[3].OffsetMinutes = -200
	again, err := d.set(p, 1)
	d.must(err)
	if again.Times[1].Drift != "" || again.Times[2].Drift != "" || !maps.Equal(again.Exported, v.Exported) || again.Version != 2 {
		t.Errorf("after the plan was set again: %+v", again)
	}
}

func TestItemsLeftOutAndCancelledWeddingsFreeTheirTime(t *testing.T) {
	t.Parallel()
	d := setup(t)
	v, err := d.set(d.plan(), 0)
	d.must(err)
	p := d.plan()
	p.Items = slices.Delete(p.Items, 2, 3)
	v2, err := d.set(p, 1)
	d.must(err)
	if s := d.booking(v.Exported["party"]).Status; s != domain.StatusCancelled || len(v2.Exported) != 1 {
		t.Errorf("the party is %s, exported %v", s, v2.Exported)
	}
	d.change(func(b *domain.Booking) { b.Status = domain.StatusCancelled })
	if n := d.told(); n != 1 {
		t.Errorf("the cancelled wedding is told %d times", n)
	}
	d.follow()
	if s := d.booking(v.Exported["quartet"]).Status; s != domain.StatusCancelled {
		t.Errorf("the quartet of a cancelled wedding is %s", s)
	}
	if _, err := d.set(p, 2); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("a plan for a cancelled wedding: %v", err)
	}
}

func TestARemovedTimelineLeavesNothing(t *testing.T) {
	t.Parallel()
	d := setup(t)
	v, err := d.set(d.plan(), 0)
	d.must(err)
	remove := func() error {
		return d.Tenant(t.Context(), d.org, func(ctx context.Context, tx *store.Tx) error { return timelines.Remove(ctx, tx, d.wedding, "admin-1") })
	}
	d.must(remove())
	for key, id := range v.Exported {
		if s := d.booking(id).Status; s != domain.StatusCancelled {
			t.Errorf("%s is %s", key, s)
		}
	}
	if err := remove(); domain.KindOf(err) != domain.KindNotFound {
		t.Errorf("removing it again: %v", err)
	}
	d.change(func(b *domain.Booking) { b.When.End = b.When.End.Add(time.Hour) })
	if n := d.told(); n != 0 {
		t.Errorf("a wedding without a timeline is told %d times", n)
	}
	d.follow()
}

func TestWrongPlansChangeNothing(t *testing.T) {
	t.Parallel()
	d := setup(t)
	with := func(fn func(*domain.TimelinePlan)) domain.TimelinePlan {
		p := d.plan()
		fn(&p)
		return p
	}
	for field, p := range map[string]domain.TimelinePlan{
		"body.items[0].title":       with(func(p *domain.TimelinePlan) { p.Items[0].Title = "" }),
		"body.items[0].after":       with(func(p *domain.TimelinePlan) { p.Items[0].After = "quartet" }),
		"body.items[1].resource_id": with(func(p *domain.TimelinePlan) { p.Items[1].ResourceID = domain.NewID[domain.ResourceID](d.now) }),
	} {
		if _, err := d.set(p, 0); domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != field {
			t.Errorf("%v, want an error of %s", err, field)
		}
	}
	if _, err := d.set(d.plan(), 1); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("a change of a timeline that is not there: %v", err)
	}
	_, err := d.set(d.plan(), 0)
	d.must(err)
	if _, err := d.set(d.plan(), 0); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("a first timeline for the second time: %v", err)
	}
	talk := domain.NewID[domain.BookingID](d.now)
	d.book(domain.Booking{ID: talk, ResourceID: d.flower, Category: domain.CategoryConsultation, Status: domain.StatusConfirmed,
		When: domain.When{Span: domain.Span{Start: two, End: two.Add(time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned}})
	d.wedding = talk
	if _, err := d.set(d.plan(), 0); domain.FieldOf(err) != "id" {
		t.Errorf("a timeline of a consultation: %v", err)
	}
}

// told tells the open conflicts of timelines as "vendor severity: explanation".
func (d *day) clashes() (out []string) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		list, _, err := tx.Conflicts(ctx, store.ConflictFilter{State: domain.ConflictOpen}, store.Page{Limit: 50})
		for _, c := range list {
			if c.Kind == domain.ConflictTimeline {
				if c.BookingID != d.wedding || c.OtherID != "" {
					d.t.Errorf("a conflict of %s and %q", c.BookingID, c.OtherID)
				}
				who := map[domain.ResourceID]string{d.person: "person", d.band: "band", d.flower: "flower"}[c.ResourceID]
				out = append(out, who+" "+string(c.Severity)+": "+c.Explanation)
			}
		}
		return err
	})
	slices.Sort(out)
	return out
}

func TestWhatAVendorCannotKeepIsAConflictUntilItIsMended(t *testing.T) {
	t.Parallel()
	d := setup(t)
	plan := func(gap int) domain.TimelinePlan {
		return domain.TimelinePlan{TravelMinutes: 30, Items: []domain.TimelineItem{
			{Key: "vows", Kind: domain.TimelineCeremony, Title: "Marigold", Place: "Assembly Rooms", ResourceID: d.band, DurationMinutes: 60},
			{Key: "party", Kind: domain.TimelineMusic, Title: "Party", Place: "Ashton Court", ResourceID: d.band, After: "vows", OffsetMinutes: gap, DurationMinutes: 120},
			{Key: "arch", Kind: domain.TimelineSetup, Title: "Arch", Place: "Chapel", ResourceID: d.flower, After: "vows", Edge: domain.EdgeStart, OffsetMinutes: -60, DurationMinutes: 60},
			{Key: "tables", Kind: domain.TimelineSetup, Title: "Tables", Place: "Barn", ResourceID: d.flower, After: "vows", Edge: domain.EdgeStart, OffsetMinutes: -30, DurationMinutes: 60},
		}}
	}
	want := func(list ...string) {
		t.Helper()
		if got := d.clashes(); !slices.Equal(got, list) {
			t.Fatalf("conflicts are %q, want %q", got, list)
		}
	}
	const twoPlaces = "flower high: in the timeline of the wedding, setup 13:00-14:00 and setup 13:30-14:30 on Sat 12 June 2027 are in two places at once, by 1 h (Europe/London)"
	if _, err := d.set(plan(20), 0); err != nil {
		t.Fatal(err)
	}
	want("band medium: in the timeline of the wedding, ceremony 14:00-15:00 and music 15:20-17:20 on Sat 12 June 2027 have too little time in between for the way, by 10 min (Europe/London)", twoPlaces)
	// Known venues and the band's speed say more than the usual half hour.
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		for name, p := range map[string]domain.Point{"Assembly Rooms": {Lat: 51.3811, Lon: -2.3590}, "Ashton Court": {Lat: 51.4478, Lon: -2.6450}} {
			if err := tx.CreateVenue(ctx, domain.Venue{ID: domain.NewID[domain.VenueID](d.now), Name: name, Point: p}); err != nil {
				return err
			}
		}
		r, err := tx.Resource(ctx, d.band)
		if err != nil {
			return err
		}
		r.Travel.SpeedKmh = 50
		return tx.UpdateResource(ctx, r, r.Version)
	})
	if _, err := d.set(plan(20), 1); err != nil {
		t.Fatal(err)
	}
	want("band medium: in the timeline of the wedding, ceremony 14:00-15:00 and music 15:20-17:20 on Sat 12 June 2027 have too little time in between for the way, by 6 min (Europe/London)", twoPlaces)
	if _, err := d.set(plan(26), 2); err != nil {
		t.Fatal(err)
	}
	want(twoPlaces)
	// The wedding moves; what clashes moves with it and is the same conflict.
	d.change(func(b *domain.Booking) {
		b.When.Start, b.When.End = b.When.Start.Add(time.Hour), b.When.End.Add(time.Hour)
	})
	d.follow()
	want("flower high: in the timeline of the wedding, setup 14:00-15:00 and setup 14:30-15:30 on Sat 12 June 2027 are in two places at once, by 1 h (Europe/London)")
	// A person accepts it, and it is not told again.
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		list, _, err := tx.Conflicts(ctx, store.ConflictFilter{State: domain.ConflictOpen}, store.Page{Limit: 50})
		if err != nil {
			return err
		}
		c := list[0]
		c.State, c.ClosedAt = domain.ConflictDismissed, &tx.Now
		return tx.UpdateConflict(ctx, c, c.Version)
	})
	if _, err := d.set(plan(27), 3); err != nil {
		t.Fatal(err)
	}
	want()
	if _, err := d.set(plan(0), 4); err != nil {
		t.Fatal(err)
	}
	want("band medium: in the timeline of the wedding, ceremony 15:00-16:00 and music 16:00-18:00 on Sat 12 June 2027 have too little time in between for the way, by 26 min (Europe/London)")
	d.change(func(b *domain.Booking) { b.Status = domain.StatusCancelled })
	d.follow()
	want()
}
