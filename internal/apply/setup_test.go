package apply_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
)

// day is a Saturday well after the test clock, at local midnight in UTC.
var day = time.Date(2027, 6, 12, 0, 0, 0, 0, time.UTC)

// studio is one organisation with a photographer, a CRM and a calendar, in a database of its own.
type studio struct {
	*store.Store
	t        testing.TB
	url      string
	org      domain.OrgID
	person   domain.Resource
	crm, cal domain.Integration

	mu  sync.Mutex
	now time.Time
}

func setup(t testing.TB) *studio {
	t.Helper()
	s := &studio{t: t, url: storetest.URL(t), now: time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC)}
	s.Store = storetest.Open(t, s.url, storetest.Ring(t), store.Options{MaxConns: 16, SystemMaxConns: 2, Now: s.clock})
	s.org = s.newOrg()
	s.person = s.newResource(s.org, domain.Resource{Capacity: 1, OneWeddingADay: true})
	s.crm = s.newIntegration(s.org, "crm", domain.DirectionBidirectional, s.person.ID)
	s.cal = s.newIntegration(s.org, "calendar", domain.DirectionBidirectional, s.person.ID)
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

func (s *studio) newOrg() domain.OrgID {
	s.t.Helper()
	id := domain.NewID[domain.OrgID](s.clock())
	s.must(s.CreateOrganization(s.t.Context(), domain.Organization{ID: id, Name: "Studio", Zone: "Europe/London"}, "admin"))
	return id
}

func (s *studio) newResource(org domain.OrgID, r domain.Resource) domain.Resource {
	s.t.Helper()
	r.ID, r.OrgID = domain.NewID[domain.ResourceID](s.clock()), org
	r.Name, r.Kind, r.Zone = "Robin Marker", domain.ResourcePerson, "Europe/London"
	s.must(s.Tenant(s.t.Context(), org, func(ctx context.Context, tx *store.Tx) error { return tx.CreateResource(ctx, r) }))
	return r
}

func (s *studio) newIntegration(org domain.OrgID, name string, d domain.Direction, res domain.ResourceID) domain.Integration {
	s.t.Helper()
	i := domain.Integration{ID: domain.NewID[domain.IntegrationID](s.clock()), Name: name, Provider: "custom", Direction: d,
		ResourceID: res, Settings: []byte(`{}`), State: domain.IntegrationActive}
	s.must(s.Tenant(s.t.Context(), org, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CreateIntegration(ctx, i, nil); err != nil {
			return err
		}
		var err error
		i, err = tx.Integration(ctx, i.ID)
		return err
	}))
	return i
}

// apply applies changes in one transaction.
func (s *studio) apply(from domain.Integration, changes ...domain.Change) apply.Result {
	s.t.Helper()
	var r apply.Result
	s.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		r, err = apply.Changes(ctx, tx, from, changes)
		return err
	})
	return r
}

func (s *studio) manual(b domain.Booking) apply.Result {
	s.t.Helper()
	var r apply.Result
	s.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		r, err = apply.Manual(ctx, tx, b, "alex", "asked by the couple")
		return err
	})
	return r
}

// effect is apply for one change, checking what it did.
func (s *studio) effect(want reconcile.Effect, from domain.Integration, c domain.Change) apply.Result {
	s.t.Helper()
	r := s.apply(from, c)
	if got := r.Outcomes[0]; got.Effect != want {
		s.t.Fatalf("effect is %s (%s), want %s", got.Effect, got.Reason, want)
	}
	return r
}

func (s *studio) booking(id domain.BookingID) domain.Booking {
	s.t.Helper()
	var b domain.Booking
	s.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		b, err = tx.Booking(ctx, id)
		return err
	})
	return b
}

func (s *studio) conflicts(state domain.ConflictState) []domain.Conflict {
	s.t.Helper()
	var list []domain.Conflict
	s.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		list, _, err = tx.Conflicts(ctx, store.ConflictFilter{State: state}, store.Page{Limit: 200})
		return err
	})
	return list
}

func (s *studio) links(id domain.BookingID) []domain.Link {
	s.t.Helper()
	var list []domain.Link
	s.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		list, err = tx.LinksOf(ctx, id)
		return err
	})
	return list
}

func (s *studio) pushes(id domain.BookingID) map[domain.IntegrationID]domain.Push {
	s.t.Helper()
	out := map[domain.IntegrationID]domain.Push{}
	s.tenant(func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.PushesOf(ctx, id)
		for _, p := range list {
			out[p.IntegrationID] = p
		}
		return err
	})
	return out
}

// owner connects without row-level security.
func (s *studio) owner() *pgx.Conn {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.url)
	s.must(err)
	s.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(s.t.Context())) })
	return conn
}

func (s *studio) count(query string, args ...any) int {
	s.t.Helper()
	conn := s.owner()
	defer func() { _ = conn.Close(s.t.Context()) }()
	var n int
	s.must(conn.QueryRow(s.t.Context(), query, args...).Scan(&n))
	return n
}

var tables = []string{"resources", "integrations", "bookings", "allocations", "links", "conflicts", "pushes", "outbox",
	"stream_events", "audit_heads", "audit_entries"}

// dump lists every row of every table with the transaction that wrote it, so that a row written again with the same
// values shows too.
func (s *studio) dump() string {
	s.t.Helper()
	conn := s.owner()
	defer func() { _ = conn.Close(s.t.Context()) }()
	var b strings.Builder
	for _, table := range tables {
		rows, err := conn.Query(s.t.Context(), `SELECT t.xmin::text || ' ' || row_to_json(t)::text FROM `+table+` t ORDER BY row_to_json(t)::text`)
		s.must(err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		s.must(err)
		fmt.Fprintf(&b, "%s\n%s\n", table, strings.Join(lines, "\n"))
	}
	return b.String()
}

// unchanged runs fn and checks that the database is as it was.
func (s *studio) unchanged(fn func()) {
	s.t.Helper()
	before := s.dump()
	s.advance(time.Minute)
	fn()
	if diff := cmp.Diff(before, s.dump()); diff != "" {
		s.t.Fatalf("the database changed:\n%s", diff)
	}
}

func at(hour float64) time.Time { return day.Add(time.Duration(hour * float64(time.Hour))) }

func span(from, to float64) domain.When {
	return domain.When{Span: domain.Span{Start: at(from), End: at(to)}, Zone: "Europe/London", Kind: domain.TimeZoned}
}

func change(id string, category domain.Category, from, to float64) domain.Change {
	return domain.Change{Op: domain.OpUpsert, ExternalID: id, Category: category, Status: domain.StatusConfirmed, When: span(from, to),
		Details: domain.Details{Title: "Marker " + id, Contact: id + "@example.org"}}
}
