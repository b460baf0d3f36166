package holds_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/holds"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
)

// day is a Saturday well after the test clock.
var day = time.Date(2027, 6, 12, 0, 0, 0, 0, time.UTC)

// listed is a system that can be listed; nobody lists it here.
type listed struct{}

func (listed) Pull(context.Context, string) (provider.Page, error) { return provider.Page{}, nil }

// studio is an organisation with two photographers, in a database of its own.
type studio struct {
	*store.Store
	t        testing.TB
	org      domain.OrgID
	person   domain.Resource
	second   domain.Resource
	desk     *holds.Desk
	calendar domain.Integration // takes copies and gives entries, for person

	mu    sync.Mutex
	now   time.Time
	reads []domain.IntegrationID
	read  func(ctx context.Context, i domain.Integration, run domain.SyncRunID) error
}

func setup(t testing.TB) *studio {
	t.Helper()
	s := &studio{t: t, now: time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC)}
	s.Store = storetest.New(t, store.Options{MaxConns: 16, SystemMaxConns: 2, Now: s.clock})
	s.org = domain.NewID[domain.OrgID](s.clock())
	s.must(s.CreateOrganization(t.Context(), domain.Organization{ID: s.org, Name: "Studio", Zone: "Europe/London"}, "admin"))
	s.person, s.second = s.newResource(1), s.newResource(1)
	s.calendar = s.connect("plain", domain.DirectionBidirectional, s.person.ID)
	opener := connect.New(func(name string) (provider.Registration, bool) {
		return provider.Registration{Name: name, Open: func(provider.Connection) (any, error) {
			if name == "listed" {
				return listed{}, nil
			}
			return struct{}{}, nil
		}}, true
	}, nil, s.clock, 0)
	s.desk = &holds.Desk{Store: s.Store, Opener: opener, ReadWithin: 5 * time.Second, Read: func(ctx context.Context, i domain.Integration, run domain.SyncRunID, _ string) error {
		s.mu.Lock()
		s.reads = append(s.reads, i.ID)
		read := s.read
		s.mu.Unlock()
		if read == nil {
			return domain.E(domain.KindUnavailable, "nobody reads")
		}
		return read(ctx, i, run)
	}}
	return s
}

func (s *studio) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *studio) advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
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

func (s *studio) newResource(capacity int) domain.Resource {
	s.t.Helper()
	r := domain.Resource{ID: domain.NewID[domain.ResourceID](s.clock()), Name: "Robin Marker", Kind: domain.ResourcePerson, Zone: "Europe/London",
		Capacity: capacity, OneWeddingADay: true, Skills: []string{"portrait"}}
	s.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.CreateResource(ctx, r) })
	return r
}

func (s *studio) connect(provider string, d domain.Direction, res domain.ResourceID) domain.Integration {
	s.t.Helper()
	i := domain.Integration{ID: domain.NewID[domain.IntegrationID](s.clock()), Name: "calendar", Provider: provider, Direction: d, ResourceID: res, Settings: []byte(`{}`)}
	s.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		if err = tx.CreateIntegration(ctx, i, nil); err == nil {
			i, err = tx.Integration(ctx, i.ID)
		}
		return err
	})
	return i
}

func span(from, to float64) domain.When {
	at := func(h float64) time.Time { return day.Add(time.Duration(h * float64(time.Hour))) }
	return domain.When{Span: domain.Span{Start: at(from), End: at(to)}, Zone: "Europe/London", Kind: domain.TimeZoned}
}

func (s *studio) wish(from, to float64) holds.Wish {
	return holds.Wish{ResourceID: s.person.ID, Category: domain.CategoryWedding, When: span(from, to), Details: domain.Details{Title: "Marker Couple"}, Minutes: 60}
}

func (s *studio) place(w holds.Wish) (holds.View, error) {
	s.t.Helper()
	return s.desk.Place(s.t.Context(), s.org, domain.NewID[domain.BookingID](s.clock()), w, "alex", "asked by phone")
}

func (s *studio) placed(w holds.Wish) holds.View {
	s.t.Helper()
	v, err := s.place(w)
	s.must(err)
	return v
}

func (s *studio) confirm(id domain.BookingID) (holds.View, error) {
	s.t.Helper()
	return s.desk.Confirm(s.t.Context(), s.org, id, holds.Confirmation{By: "alex", Reason: "signed"})
}

func (s *studio) booking(id domain.BookingID) (b domain.Booking) {
	s.t.Helper()
	s.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		b, err = tx.Booking(ctx, id)
		return err
	})
	return b
}

func (s *studio) manual(b domain.Booking) apply.Result {
	s.t.Helper()
	var r apply.Result
	s.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		r, err = apply.Manual(ctx, tx, b, "alex", "by hand")
		return err
	})
	return r
}

func (s *studio) booked(res domain.ResourceID, category domain.Category, from, to float64) domain.BookingID {
	s.t.Helper()
	b := domain.Booking{ID: domain.NewID[domain.BookingID](s.clock()), ResourceID: res, Category: category, Status: domain.StatusConfirmed, When: span(from, to)}
	s.manual(b)
	return b.ID
}

func (s *studio) count(query string, args ...any) (n int) {
	s.t.Helper()
	s.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.QueryRow(ctx, query, args...).Scan(&n) })
	return n
}

// audits returns the actions that the trail has for a subject, in order.
func (s *studio) audits(id domain.BookingID) (out []string) {
	s.t.Helper()
	s.tenant(func(ctx context.Context, tx *store.Tx) error {
		out = out[:0]
		rows, err := tx.Query(ctx, "SELECT action FROM audit_entries WHERE subject = $1 AND action LIKE 'hold.%' ORDER BY seq", fmt.Sprintf("booking/%s", id))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var action string
			if err := rows.Scan(&action); err != nil {
				return err
			}
			out = append(out, action)
		}
		return rows.Err()
	})
	return out
}

func wantKind(t testing.TB, err error, kind domain.ErrorKind) {
	t.Helper()
	if got := domain.KindOf(err); got != kind {
		t.Fatalf("error is %q (%v), want %q", got, err, kind)
	}
}

// entry applies what a system says of one entry.
func (s *studio) entry(ctx context.Context, tx *store.Tx, from domain.Integration, when domain.When) error {
	_, err := apply.Changes(ctx, tx, from, []domain.Change{{Op: domain.OpUpsert, ExternalID: "found", Category: domain.CategoryWedding, Status: domain.StatusConfirmed, When: when}})
	return err
}
