package drills_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/drills"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
)

// bench is an organisation with two connections, in a database of its own.
type bench struct {
	*store.Store
	t        *testing.T
	org      domain.OrgID
	person   domain.ResourceID
	one, two domain.IntegrationID

	mu  sync.Mutex
	now time.Time
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) advance(by time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(by)
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) tenant(fn func(ctx context.Context, tx *store.Tx) error) error {
	return b.Tenant(b.t.Context(), b.org, fn)
}

func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC)}
	b.Store = storetest.New(t, store.Options{MaxConns: 4, SystemMaxConns: 2, Now: b.clock})
	b.org, b.person = domain.NewID[domain.OrgID](b.now), domain.NewID[domain.ResourceID](b.now)
	b.must(b.CreateOrganization(t.Context(), domain.Organization{ID: b.org, Name: "Studio", Zone: "UTC"}, "admin"))
	b.must(b.tenant(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CreateResource(ctx, domain.Resource{ID: b.person, Name: "Robin", Kind: domain.ResourcePerson, Zone: "UTC", Capacity: 1}); err != nil {
			return err
		}
		for _, id := range []*domain.IntegrationID{&b.one, &b.two} {
			*id = domain.NewID[domain.IntegrationID](tx.Now)
			if err := tx.CreateIntegration(ctx, domain.Integration{ID: *id, Name: "connection", Provider: "custom", Direction: domain.DirectionImport, ResourceID: b.person}, nil); err != nil {
				return err
			}
		}
		return nil
	}))
	return b
}

func (b *bench) begin(id domain.IntegrationID) (d domain.Drill, err error) {
	err = b.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		d, err = drills.Begin(ctx, tx, id, "alex")
		return err
	})
	return d, err
}

func (b *bench) all() (list []domain.Drill) {
	b.must(b.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		list, _, err = tx.Drills(ctx, "", store.Page{})
		return err
	}))
	return list
}

// end ends a drill as its workflow does.
func (b *bench) end(d domain.Drill) {
	b.must(b.tenant(func(ctx context.Context, tx *store.Tx) error {
		d.State, d.EndedAt = domain.DrillDone, &tx.Now
		return tx.SaveDrill(ctx, d)
	}))
}

func (b *bench) move(id domain.IntegrationID, to ...domain.HealthState) {
	for _, state := range to {
		_, err := b.MoveHealths(b.t.Context(), b.org, []store.HealthMove{{Integration: id, To: state, Reason: domain.HealthReason{Code: domain.HealthNoAnswer, Text: "for the test"}}})
		b.must(err)
	}
}

func TestADrillIsRefusedWhereItCouldDoHarm(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.begin(domain.NewID[domain.IntegrationID](b.clock())); domain.KindOf(err) != domain.KindNotFound {
		t.Errorf("an unknown connection: %v", err)
	}
	b.move(b.two, domain.HealthUp, domain.HealthDown)
	if _, err := b.begin(b.two); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("one that is down: %v", err)
	}
	d, err := b.begin(b.one)
	b.must(err)
	if d.State != domain.DrillWatching || !d.MutedUntil.After(d.WatchUntil) {
		t.Errorf("the drill is %+v", d)
	}
	if _, err := b.begin(b.one); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("a second one: %v", err)
	}
	b.end(d)
	b.must(b.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SetIntegrationState(ctx, b.one, domain.IntegrationPaused, "for the test")
		return err
	}))
	if _, err := b.begin(b.one); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("a paused one: %v", err)
	}
}

func TestNothingIsExercisedNearAWedding(t *testing.T) {
	t.Parallel()
	b := setup(t)
	starts := b.clock().Add(24 * time.Hour)
	b.must(b.tenant(func(ctx context.Context, tx *store.Tx) error {
		k := domain.Booking{ID: domain.NewID[domain.BookingID](tx.Now), ResourceID: b.person, Category: domain.CategoryWedding, Status: domain.StatusConfirmed, Version: 1,
			When: domain.When{Span: domain.Span{Start: starts, End: starts.Add(10 * time.Hour)}, Zone: "UTC", Kind: domain.TimeZoned}, CreatedAt: tx.Now, UpdatedAt: tx.Now}
		return tx.StoreEffects(ctx, store.Effects{Bookings: []domain.Booking{k}})
	}))
	if _, err := b.begin(b.one); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("a day before a wedding: %v", err)
	}
	b.advance(7 * 24 * time.Hour)
	if _, err := b.begin(b.one); err != nil {
		t.Errorf("after it: %v", err)
	}
}

func TestConnectionsHaveTheirTurnsOneAfterTheOther(t *testing.T) {
	t.Parallel()
	b := setup(t)
	due := func() int {
		n, err := drills.Due(t.Context(), b.Store)
		b.must(err)
		return n
	}
	if due() != 0 {
		t.Error("a drill began that nobody wished for")
	}
	b.must(b.tenant(func(ctx context.Context, tx *store.Tx) error {
		return tx.PutDrillSchedule(ctx, 7, tx.Now.AddDate(0, 0, 7), "alex")
	}))
	if due() != 0 {
		t.Error("one began before its time")
	}
	var had []domain.IntegrationID
	for range 3 {
		b.advance(7*24*time.Hour + time.Minute)
		if due() != 1 || due() != 0 {
			t.Fatalf("not one began: %+v", b.all())
		}
		d := b.all()[0]
		had = append(had, d.IntegrationID)
		b.end(d)
	}
	if had[0] == had[1] || had[0] != had[2] {
		t.Errorf("turns were %v", had)
	}
	// The next one is not well, so the other has its turn although it had it last.
	b.move(had[1], domain.HealthUp, domain.HealthDown)
	b.advance(7*24*time.Hour + time.Minute)
	if due() != 1 || b.all()[0].IntegrationID != had[0] {
		t.Errorf("%+v", b.all()[0])
	}
}
