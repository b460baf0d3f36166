package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/devstack/pgtest"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/vault"
)

// clock is an injected clock that stands still unless moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2027, 5, 1, 9, 0, 0, 123456789, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// bundle is a store over a database of its own.
type bundle struct {
	*Store
	t     testing.TB
	url   string
	clock *clock
}

func migrateForTest(ctx context.Context, url string) error {
	_, err := Migrate(ctx, url)
	return err
}

func newRing(t testing.TB) *vault.Keyring {
	t.Helper()
	ring, err := vault.ParseKeys(vault.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func setup(t testing.TB) *bundle {
	t.Helper()
	url := pgtest.New(t, migrateForTest)
	b := &bundle{t: t, url: url, clock: newClock()}
	b.Store = b.open(newRing(t))
	return b
}

// open opens another store on the same database.
func (b *bundle) open(ring *vault.Keyring) *Store {
	b.t.Helper()
	s, err := Open(b.t.Context(), b.url, ring, Options{MaxConns: 6, SystemMaxConns: 4, Now: b.clock.now})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(s.Close)
	return s
}

// owner connects as the superuser, which row-level security does not bind.
func (b *bundle) owner() *pgx.Conn {
	b.t.Helper()
	conn, err := pgx.Connect(b.t.Context(), b.url)
	if err != nil {
		b.t.Fatal(err)
	}
	registerIDs(conn.TypeMap())
	b.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(b.t.Context())) })
	return conn
}

func (b *bundle) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bundle) tenant(org domain.OrgID, fn func(tx *Tx) error) {
	b.t.Helper()
	b.must(b.Tenant(b.t.Context(), org, func(_ context.Context, tx *Tx) error { return fn(tx) }))
}

func (b *bundle) org() domain.OrgID {
	b.t.Helper()
	id := domain.NewID[domain.OrgID](b.clock.now())
	b.must(b.CreateOrganization(b.t.Context(), domain.Organization{ID: id, Name: "Studio", Zone: "Europe/Berlin"}, "admin"))
	return id
}

func (b *bundle) resource(org domain.OrgID) domain.Resource {
	b.t.Helper()
	r := domain.Resource{ID: domain.NewID[domain.ResourceID](b.clock.now()), Name: "Ada Lovelace", Kind: domain.ResourcePerson,
		Zone: "Europe/Berlin", Capacity: 1, BufferBefore: time.Hour, BufferAfter: 30 * time.Minute,
		Hours:  domain.WorkingHours{{Weekday: time.Monday, From: 540, To: 1020}},
		Skills: []string{"video"}, OneWeddingADay: true, LeadMinutes: 90, Travel: domain.Travel{SpeedKmh: 50, MinMinutes: 10, FixedMinutes: 30},
		Blackouts: []domain.Blackout{{ID: domain.NewID[domain.BlackoutID](b.clock.now()), From: "2031-12-24", To: "2031-12-26", Yearly: true, Reason: "closed"}}}
	b.tenant(org, func(tx *Tx) error { return tx.CreateResource(b.t.Context(), r) })
	return r
}

var testSecrets = map[string]string{"token": "s3cret-value", "signing": "another"}

func (b *bundle) integration(org domain.OrgID) domain.Integration {
	b.t.Helper()
	i := domain.Integration{ID: domain.NewID[domain.IntegrationID](b.clock.now()), Name: "CRM", Provider: "custom",
		Direction: domain.DirectionBidirectional, ResourceID: b.resource(org).ID, Settings: json.RawMessage(`{"a": 1}`),
		PollEvery: 5 * time.Minute, Priority: domain.PriorityNormal}
	b.tenant(org, func(tx *Tx) error { return tx.CreateIntegration(b.t.Context(), i, testSecrets) })
	return i
}

func (b *bundle) delivery(org domain.OrgID, integration domain.IntegrationID, key string) NewDelivery {
	id := domain.NewID[domain.DeliveryID](b.clock.now())
	body := []byte(`{"name":"` + key + `"}`)
	return NewDelivery{ID: id, OrgID: org, IntegrationID: integration, Dedupe: sha256.Sum256([]byte(key)), Size: len(body),
		ReceivedAt: b.clock.now(), Content: b.SealDelivery(org, id, map[string]string{"content-type": "application/json"}, body)}
}

func (b *bundle) deliver(org domain.OrgID, integration domain.IntegrationID, n int) []domain.DeliveryID {
	b.t.Helper()
	batch := make([]NewDelivery, n)
	for i := range batch {
		batch[i] = b.delivery(org, integration, fmt.Sprintf("%s-%d", domain.NewID[domain.DeliveryID](b.clock.now()), i))
	}
	out, err := b.InsertDeliveries(b.t.Context(), batch)
	b.must(err)
	ids := make([]domain.DeliveryID, n)
	for i, o := range out {
		if o.Duplicate {
			b.t.Fatalf("delivery %d is a duplicate", i)
		}
		ids[i] = o.ID
	}
	return ids
}

// booking writes a row directly, with an allocation that takes the same time.
func (b *bundle) booking(org domain.OrgID, resource domain.ResourceID, start time.Time, length time.Duration) domain.Booking {
	b.t.Helper()
	ctx := b.t.Context()
	k := domain.Booking{ID: domain.NewID[domain.BookingID](b.clock.now()), OrgID: org, ResourceID: resource,
		Category: domain.CategoryWedding, Status: domain.StatusConfirmed,
		When:    domain.When{Span: domain.Span{Start: start, End: start.Add(length)}, Zone: "Europe/Berlin", Kind: domain.TimeZoned},
		Details: domain.Details{Title: "Grace & Alan", Contact: "grace@example.com"}, Version: 1}
	b.tenant(org, func(tx *Tx) error {
		k.CreatedAt, k.UpdatedAt = tx.Now, tx.Now
		_, err := tx.Exec(ctx, `INSERT INTO bookings (id, org_id, resource_id, category, status, starts_at, ends_at, zone, time_kind,
			details, created_at, updated_at, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, 1)`, k.ID, org, resource,
			string(k.Category), string(k.Status), k.When.Start, k.When.End, k.When.Zone, string(k.When.Kind), tx.sealDetails(k.ID, k.Details), tx.Now)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO allocations (id, org_id, booking_id, resource_id, category, status, starts_at, ends_at,
			busy_from, busy_to, slot, exclusive, booked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $7, $8, 0, false, $9)`,
			domain.NewID[domain.AllocationID](b.clock.now()), org, k.ID, resource, string(k.Category), string(k.Status), k.When.Start, k.When.End, tx.Now)
		return err
	})
	return k
}

// conflict writes a row directly.
func (b *bundle) conflict(org domain.OrgID, k domain.Booking, other domain.BookingID) domain.ConflictID {
	b.t.Helper()
	id := domain.NewID[domain.ConflictID](b.clock.now())
	b.tenant(org, func(tx *Tx) error {
		_, err := tx.Exec(b.t.Context(), `INSERT INTO conflicts (id, org_id, kind, severity, state, resource_id, booking_id, other_id,
			pair, overlap_from, overlap_to, explanation, detected_at, updated_at)
			VALUES ($1, $2, 'overlap', 'high', 'open', $3, $4, $5, $6, $7, $8, 'two at once', $9, $9)`,
			id, org, k.ResourceID, k.ID, other, string(k.ID)+string(other), k.When.Start, k.When.End, tx.Now)
		return err
	})
	return id
}

func wantKind(t testing.TB, err error, kind domain.ErrorKind) {
	t.Helper()
	if got := domain.KindOf(err); got != kind {
		t.Fatalf("kind is %q, want %q: %v", got, kind, err)
	}
}

// await polls a condition: other tests of the cluster may hold back the stream for a moment.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}
