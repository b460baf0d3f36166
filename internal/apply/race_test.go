package apply_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// doubleBooked finds pairs that the exclusion should have kept apart, and overlaps that no open conflict reports.
const doubleBooked = `SELECT
	count(*) FILTER (WHERE a.exclusive AND b.exclusive AND a.slot = b.slot),
	count(*) FILTER (WHERE NOT EXISTS (SELECT 1 FROM conflicts c WHERE c.state = 'open' AND c.resource_id = a.resource_id
		AND least(c.booking_id, c.other_id) = least(a.booking_id, b.booking_id)
		AND greatest(c.booking_id, c.other_id) = greatest(a.booking_id, b.booking_id))),
	count(*)
	FROM allocations a JOIN allocations b ON a.resource_id = b.resource_id AND a.booking_id < b.booking_id
		AND a.busy_from < b.busy_to AND b.busy_from < a.busy_to`

func (s *studio) checkNobodyWonTwice(wantOverlaps bool) {
	s.t.Helper()
	var twice, unreported, all int
	s.must(s.owner().QueryRow(s.t.Context(), doubleBooked).Scan(&twice, &unreported, &all))
	if twice != 0 || unreported != 0 {
		s.t.Errorf("of %d overlaps, %d are exclusive on both sides and %d have no open conflict", all, twice, unreported)
	}
	if wantOverlaps && all == 0 {
		s.t.Error("nothing overlapped, so nothing was tried")
	}
	var idle int
	s.must(s.owner().QueryRow(s.t.Context(), `SELECT count(*) FROM conflicts c WHERE c.state = 'open' AND c.kind = 'overlap' AND NOT EXISTS (
		SELECT 1 FROM allocations a JOIN allocations b ON a.resource_id = b.resource_id AND a.busy_from < b.busy_to AND b.busy_from < a.busy_to
		WHERE a.booking_id = c.booking_id AND b.booking_id = c.other_id)`).Scan(&idle))
	if idle != 0 {
		s.t.Errorf("%d open conflicts without an overlap", idle)
	}
}

func TestSimultaneousWritersCannotBothWin(t *testing.T) {
	t.Parallel()
	s := setup(t)
	sources := []domain.Integration{s.crm, s.cal}
	for n := range 2 {
		sources = append(sources, s.newIntegration(s.org, fmt.Sprintf("more %d", n), domain.DirectionImport, s.person.ID))
	}
	const writers = 64
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(n), 1))
			for round := range 3 {
				from := rng.Float64() * 16
				// The second round of some moves what the first one made.
				c := change(fmt.Sprintf("w%d-%d", n, round%2), domain.CategoryVendor, from, from+1)
				// On a machine that is busy with other things a writer may wait for the lock longer than the server lets it;
				// it then tries again, as activities do.
				err := domain.E(domain.KindUnavailable, "not tried")
				for try := 0; try < 5 && domain.KindOf(err) == domain.KindUnavailable; try++ {
					err = s.Tenant(t.Context(), s.org, func(ctx context.Context, tx *store.Tx) error {
						_, err := apply.Changes(ctx, tx, sources[n%len(sources)], []domain.Change{c})
						return err
					})
				}
				if err != nil {
					errs[n] = err
					return
				}
			}
		})
	}
	wg.Wait()
	for n, err := range errs {
		if err != nil {
			t.Errorf("writer %d: %v", n, err)
		}
	}
	s.checkNobodyWonTwice(true)
	if n := s.count("SELECT count(*) FROM bookings"); n != 2*writers {
		t.Errorf("%d bookings, want %d", n, 2*writers)
	}
}

func TestWritersOfTwoResourcesDoNotLockUp(t *testing.T) {
	t.Parallel()
	s := setup(t)
	second := s.newResource(s.org, domain.Resource{Capacity: 1})
	ids := make([]domain.BookingID, 8)
	for n := range ids {
		ids[n] = domain.NewID[domain.BookingID](s.clock())
		s.manual(domain.Booking{ID: ids[n], ResourceID: s.person.ID, Category: domain.CategoryVendor, Status: domain.StatusConfirmed,
			When: span(float64(n), float64(n)+2)})
	}
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for n := range errs {
		wg.Go(func() {
			for round := range 4 {
				b := domain.Booking{ID: ids[(n+round)%len(ids)], ResourceID: s.person.ID, Category: domain.CategoryVendor,
					Status: domain.StatusConfirmed, When: span(float64((n*3+round)%9), float64((n*3+round)%9)+2)}
				if (n+round)%2 == 0 {
					b.ResourceID = second.ID
				}
				if err := s.Tenant(t.Context(), s.org, func(ctx context.Context, tx *store.Tx) error {
					_, err := apply.Manual(ctx, tx, b, "alex", "")
					return err
				}); err != nil {
					errs[n] = err
				}
			}
		})
	}
	wg.Wait()
	for n, err := range errs {
		if err != nil {
			t.Errorf("writer %d: %v", n, err)
		}
	}
	s.checkNobodyWonTwice(false)
}

func TestExclusionHoldsWithoutTheLocks(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.apply(s.crm, change("w1", domain.CategoryVendor, 10, 12))
	b := domain.Booking{ID: domain.NewID[domain.BookingID](s.clock()), ResourceID: s.person.ID, Category: domain.CategoryVendor,
		Status: domain.StatusConfirmed, When: span(11, 13), CreatedAt: s.clock(), UpdatedAt: s.clock(), Version: 1}
	err := s.Tenant(t.Context(), s.org, func(ctx context.Context, tx *store.Tx) error {
		return tx.StoreEffects(ctx, store.Effects{Bookings: []domain.Booking{b}, BookedAt: nil, Allocations: []domain.Allocation{{
			ID: domain.NewID[domain.AllocationID](s.clock()), BookingID: b.ID, ResourceID: b.ResourceID, Category: b.Category, Status: b.Status,
			Event: b.When.Span, Busy: b.When.Span, Exclusive: true}}})
	})
	if domain.KindOf(err) != domain.KindConflict {
		t.Errorf("error is %v, want a conflict", err)
	}
	if n := s.count("SELECT count(*) FROM bookings"); n != 1 {
		t.Errorf("%d bookings: half of the effects stayed", n)
	}
}

func TestManyWritersNeverFillARoomBeyondItsPlaces(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const places = 3
	room := s.newResource(s.org, domain.Resource{Capacity: places, BufferBefore: 15 * time.Minute, BufferAfter: 30 * time.Minute})
	var sources []domain.Integration
	for n := range 4 {
		sources = append(sources, s.newIntegration(s.org, fmt.Sprintf("room %d", n), domain.DirectionImport, room.ID))
	}
	const writers = 64
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(n), 2))
			for round := range 3 {
				from := float64(rng.IntN(48)) / 4
				c := change(fmt.Sprintf("w%d-%d", n, round%2), domain.CategoryVendor, from, from+0.5+rng.Float64())
				c.Details.Title = fmt.Sprintf("couple %d %d", n, round%2)
				err := domain.E(domain.KindUnavailable, "not tried")
				for try := 0; try < 5 && domain.KindOf(err) == domain.KindUnavailable; try++ {
					err = s.Tenant(t.Context(), s.org, func(ctx context.Context, tx *store.Tx) error {
						_, err := apply.Changes(ctx, tx, sources[n%len(sources)], []domain.Change{c})
						return err
					})
				}
				if err != nil {
					errs[n] = err
					return
				}
			}
		})
	}
	wg.Wait()
	for n, err := range errs {
		if err != nil {
			t.Errorf("writer %d: %v", n, err)
		}
	}
	conn := s.owner()
	rows, err := conn.Query(t.Context(), `SELECT booking_id::text, starts_at, ends_at, busy_from, busy_to, slot, exclusive FROM allocations WHERE resource_id = $1`, string(room.ID))
	s.must(err)
	type taken struct {
		id          string
		event, busy domain.Span
		slot        int
		exclusive   bool
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (x taken, err error) {
		err = row.Scan(&x.id, &x.event.Start, &x.event.End, &x.busy.Start, &x.busy.End, &x.slot, &x.exclusive)
		return x, err
	})
	s.must(err)
	if len(all) != 2*writers {
		t.Fatalf("%d bookings, want %d", len(all), 2*writers)
	}
	rows, err = conn.Query(t.Context(), `SELECT booking_id::text || ' ' || other_id::text FROM conflicts WHERE state = 'open' AND kind = 'capacity' AND resource_id = $1`, string(room.ID))
	s.must(err)
	reported, err := pgx.CollectRows(rows, pgx.RowTo[string])
	s.must(err)
	named := strings.Join(reported, " ")
	crowded := 0
	for _, at := range all {
		holding, present := 0, []string{}
		for _, x := range all {
			if x.busy.End.Sub(x.event.End) != room.BufferAfter || x.event.Start.Sub(x.busy.Start) != room.BufferBefore || x.slot < 0 || x.slot >= places {
				t.Fatalf("%+v has other buffers or places than the room", x)
			}
			if x.exclusive && !x.busy.Start.After(at.busy.Start) && x.busy.End.After(at.busy.Start) {
				holding++
			}
			if !x.event.Start.After(at.event.Start) && x.event.End.After(at.event.Start) {
				present = append(present, x.id)
			}
		}
		if holding > places {
			t.Fatalf("%d hold the room at %s", holding, at.busy.Start)
		}
		if len(present) > places {
			crowded++
			if !slices.ContainsFunc(present, func(id string) bool { return strings.Contains(named, id) }) {
				t.Errorf("%d are in the room at %s, and nobody was told", len(present), at.event.Start)
			}
		}
	}
	if crowded == 0 {
		t.Error("it was never crowded, so nothing was tried")
	}
}
