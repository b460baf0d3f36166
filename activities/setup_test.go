package activities_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
)

var day = time.Date(2027, 6, 12, 0, 0, 0, 0, time.UTC)

// outside is a system in memory with every ability. Faults are queued by the name of the call.
type outside struct {
	mu      sync.Mutex
	entries map[string]domain.Change
	keys    map[string]string // key of a Put to the entry that it made
	faults  map[string][]error
	held    time.Duration  // calls of thin deliveries are held back for so long; 0 = they are not
	lost    map[string]int // calls of that name whose answer is lost after they took effect
	calls   map[string]int
	pages   map[string]provider.Page // by cursor
	made    int
}

func newOutside() *outside {
	return &outside{entries: map[string]domain.Change{}, keys: map[string]string{}, faults: map[string][]error{}, lost: map[string]int{},
		calls: map[string]int{}, pages: map[string]provider.Page{}}
}

var errLost = domain.E(domain.KindUnavailable, "the answer was lost")

func (o *outside) begin(name string) (end func(error) error, err error) {
	o.mu.Lock()
	o.calls[name]++
	if q := o.faults[name]; len(q) > 0 {
		o.faults[name] = q[1:]
		o.mu.Unlock()
		return nil, q[0]
	}
	return func(err error) error {
		defer o.mu.Unlock()
		if err == nil && o.lost[name] > 0 {
			o.lost[name]--
			return errLost
		}
		return err
	}, nil
}

func (o *outside) count(name string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.calls[name]
}

func (o *outside) Intake() provider.Intake { return provider.Intake{} }

func (o *outside) Decode(_ context.Context, d provider.Webhook) (provider.Decoded, error) {
	var out provider.Decoded
	o.mu.Lock()
	if q := o.faults["decode "+string(d.Body)]; len(q) > 0 {
		o.faults["decode "+string(d.Body)] = q[1:]
		o.mu.Unlock()
		return out, q[0]
	}
	o.mu.Unlock()
	switch string(d.Body) {
	case "panic":
		panic("quoting Marker Person")
	case "garbage":
		return out, domain.Invalid("body", "must be JSON")
	case "held":
		if o.held > 0 {
			return out, heldBack(o.held)
		}
		return out, nil
	case "busy":
		return out, domain.E(domain.KindUnavailable, "ask the system for the entry")
	case "raw":
		return out, errors.New("unexpected Marker Person")
	}
	if len(d.Body) > 0 && d.Body[0] == '{' {
		err := json.Unmarshal(d.Body, &out) // a decoded delivery as it is
		return out, err
	}
	err := json.Unmarshal(d.Body, &out.Changes)
	return out, err
}

func (o *outside) Pull(_ context.Context, cursor string) (page provider.Page, err error) {
	end, err := o.begin("pull")
	if err != nil {
		return page, err
	}
	page, ok := o.pages[cursor]
	if !ok {
		return page, end(domain.E(domain.KindGoneToken, "unknown cursor"))
	}
	return page, end(nil)
}

func (o *outside) Read(_ context.Context, id string) (c domain.Change, err error) {
	end, err := o.begin("read")
	if err != nil {
		return c, err
	}
	c, ok := o.entries[id]
	if !ok {
		return c, end(domain.E(domain.KindNotFound, "no such entry"))
	}
	return c, end(nil)
}

func (o *outside) Put(_ context.Context, w provider.Write) (out provider.Written, err error) {
	end, err := o.begin("put")
	if err != nil {
		return out, err
	}
	id := w.ExternalID
	if id == "" {
		id = o.keys[w.Key]
		if there := o.entries[id]; there.ExternalID != "" {
			adopted := !there.When.Equal(w.When) || there.Details != w.Details
			return provider.Written{ExternalID: id, Revision: there.Revision, ReadBack: there, Adopted: adopted}, end(nil)
		}
	}
	if id == "" {
		o.made++
		id = fmt.Sprintf("copy-%d", o.made)
		o.keys[w.Key] = id
	}
	have := o.entries[id]
	if w.ExternalID != "" && w.Revision != have.Revision {
		return out, end(domain.E(domain.KindConflict, "the entry changed since it was read"))
	}
	c := domain.Change{Op: domain.OpUpsert, ExternalID: id, Revision: have.Revision + "r", Category: w.Category, Status: w.Status, When: w.When,
		Details: w.Details}
	if !w.Source {
		c.Origin = w.BookingID
	}
	o.entries[id] = c
	return provider.Written{ExternalID: id, Revision: c.Revision, ReadBack: c}, end(nil)
}

func (o *outside) Remove(_ context.Context, id, revision string) error {
	end, err := o.begin("remove")
	if err != nil {
		return err
	}
	if have, ok := o.entries[id]; ok && have.Revision != revision {
		return end(domain.E(domain.KindConflict, "the entry changed since it was read"))
	}
	delete(o.entries, id)
	return end(nil)
}

// desk is an organisation with two outside systems, in a database of its own.
type desk struct {
	*store.Store
	t        testing.TB
	url      string
	org      domain.OrgID
	person   domain.Resource
	crm, cal domain.Integration

	atCRM, atCal *outside
	opener       *connect.Opener

	mu      sync.Mutex
	now     time.Time
	systems map[domain.IntegrationID]any
}

func setup(t testing.TB) *desk {
	t.Helper()
	d := &desk{t: t, url: storetest.URL(t), now: time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC), systems: map[domain.IntegrationID]any{}}
	d.Store = storetest.Open(t, d.url, storetest.Ring(t), store.Options{MaxConns: 8, SystemMaxConns: 2, Now: d.clock})
	d.opener = connect.New(func(name string) (provider.Registration, bool) {
		return provider.Registration{Name: name, Open: d.open}, name == "outside"
	}, nil, d.clock, 0)
	d.org = domain.NewID[domain.OrgID](d.now)
	d.must(d.CreateOrganization(t.Context(), domain.Organization{ID: d.org, Name: "Studio", Zone: "Europe/London"}, "admin"))
	d.person = d.newResource()
	d.atCRM, d.atCal = newOutside(), newOutside()
	d.crm = d.connect("crm", domain.DirectionBidirectional, d.atCRM)
	d.cal = d.connect("calendar", domain.DirectionBidirectional, d.atCal)
	return d
}

func (d *desk) open(c provider.Connection) (any, error) {
	if strings.Contains(string(c.Integration.Settings), "wrong") {
		return nil, domain.Invalid("settings.mapping", "line 3: unknown field")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.systems[c.Integration.ID], nil
}

func (d *desk) clock() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

func (d *desk) advance(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = d.now.Add(by)
}

func (d *desk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) tenant(fn func(ctx context.Context, tx *store.Tx) error) {
	d.t.Helper()
	d.must(d.Tenant(d.t.Context(), d.org, fn))
}

func (d *desk) newResource() domain.Resource {
	d.t.Helper()
	r := domain.Resource{ID: domain.NewID[domain.ResourceID](d.clock()), Name: "Robin Marker", Kind: domain.ResourcePerson, Zone: "Europe/London",
		Capacity: 1, OneWeddingADay: true}
	d.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.CreateResource(ctx, r) })
	return r
}

func (d *desk) connect(name string, direction domain.Direction, system any) domain.Integration {
	d.t.Helper()
	i := domain.Integration{ID: domain.NewID[domain.IntegrationID](d.clock()), Name: name, Provider: "outside", Direction: direction,
		ResourceID: d.person.ID, Settings: []byte(`{}`), State: domain.IntegrationActive}
	d.mu.Lock()
	d.systems[i.ID] = system
	d.mu.Unlock()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CreateIntegration(ctx, i, nil); err != nil {
			return err
		}
		var err error
		i, err = tx.Integration(ctx, i.ID)
		return err
	})
	return i
}

func (d *desk) setState(id domain.IntegrationID, state domain.IntegrationState) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SetIntegrationState(ctx, id, state, "for the test")
		return err
	})
}

func (d *desk) state(id domain.IntegrationID) domain.IntegrationState {
	d.t.Helper()
	var i domain.Integration
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		i, err = tx.Integration(ctx, id)
		return err
	})
	return i.State
}

// deliver stores webhooks with the given bodies.
func (d *desk) deliver(to domain.Integration, bodies ...string) []domain.DeliveryID {
	d.t.Helper()
	var batch []store.NewDelivery
	for _, body := range bodies {
		d.advance(time.Millisecond)
		id := domain.NewID[domain.DeliveryID](d.clock())
		batch = append(batch, store.NewDelivery{ID: id, OrgID: d.org, IntegrationID: to.ID, Dedupe: sha256.Sum256([]byte(id)), Size: len(body),
			ReceivedAt: d.clock(), Content: d.SealDelivery(d.org, id, map[string]string{"content-type": "application/json"}, []byte(body))})
	}
	out, err := d.InsertDeliveries(d.t.Context(), batch)
	d.must(err)
	ids := make([]domain.DeliveryID, len(out))
	for i, o := range out {
		ids[i] = o.ID
	}
	return ids
}

func (d *desk) delivery(id domain.DeliveryID) domain.Delivery {
	d.t.Helper()
	var out domain.Delivery
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = tx.Delivery(ctx, id)
		return err
	})
	return out
}

// arrive applies a change at once and returns its booking.
func (d *desk) arrive(from domain.Integration, c domain.Change) domain.BookingID {
	d.t.Helper()
	var r apply.Result
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		r, err = apply.Changes(ctx, tx, from, []domain.Change{c})
		return err
	})
	if r.Outcomes[0].Effect == reconcile.EffectRejected {
		d.t.Fatalf("rejected: %s", r.Outcomes[0].Reason)
	}
	return r.Outcomes[0].BookingID
}

func (d *desk) booking(id domain.BookingID) domain.Booking {
	d.t.Helper()
	var b domain.Booking
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		b, err = tx.Booking(ctx, id)
		return err
	})
	return b
}

func (d *desk) conflicts(state domain.ConflictState) []domain.Conflict {
	d.t.Helper()
	var list []domain.Conflict
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		list, _, err = tx.Conflicts(ctx, store.ConflictFilter{State: state}, store.Page{})
		return err
	})
	return list
}

func (d *desk) push(in domain.Integration, booking domain.BookingID) domain.Push {
	d.t.Helper()
	var out domain.Push
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.PushesOf(ctx, booking)
		for _, p := range list {
			if p.IntegrationID == in.ID {
				out = p
			}
		}
		return err
	})
	return out
}

func (d *desk) links(booking domain.BookingID, in domain.Integration) []domain.Link {
	d.t.Helper()
	var out []domain.Link
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.LinksOf(ctx, booking)
		for _, l := range list {
			if l.IntegrationID == in.ID {
				out = append(out, l)
			}
		}
		return err
	})
	return out
}

var tables = []string{"integrations", "deliveries", "bookings", "allocations", "links", "conflicts", "conflict_decisions", "pushes",
	"sync_runs", "outbox", "stream_events", "audit_entries", "delivery_attempts", "replays",
	"quarantines", "quarantined_removals", "purges", "booking_changes", "conflict_policies"}

func (d *desk) dump() string {
	d.t.Helper()
	conn, err := pgx.Connect(d.t.Context(), d.url)
	d.must(err)
	defer func() { _ = conn.Close(context.WithoutCancel(d.t.Context())) }()
	var b strings.Builder
	for _, table := range tables {
		rows, err := conn.Query(d.t.Context(), `SELECT t.xmin::text || ' ' || row_to_json(t)::text FROM `+table+` t ORDER BY row_to_json(t)::text`)
		d.must(err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		d.must(err)
		fmt.Fprintf(&b, "%s\n%s\n", table, strings.Join(lines, "\n"))
	}
	return b.String()
}

// unchanged runs fn and checks that the database is as it was.
func (d *desk) unchanged(fn func()) {
	d.t.Helper()
	before := d.dump()
	fn()
	if diff := cmp.Diff(before, d.dump()); diff != "" {
		d.t.Fatalf("the database changed:\n%s", diff)
	}
}

// call runs an activity in Temporal's activity environment.
func call[R, I any](d *desk, fn func(context.Context, I) (R, error), in I) (R, error) {
	d.t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity(fn)
	var out R
	value, err := env.ExecuteActivity(fn, in)
	if err == nil {
		err = value.Get(&out)
	}
	return out, err
}

// run is call that must succeed.
func run[R, I any](d *desk, fn func(context.Context, I) (R, error), in I) R {
	d.t.Helper()
	out, err := call(d, fn, in)
	d.must(err)
	return out
}

// none adapts an activity without a result.
func none[I any](fn func(context.Context, I) error) func(context.Context, I) (struct{}, error) {
	return func(ctx context.Context, in I) (struct{}, error) { return struct{}{}, fn(ctx, in) }
}

// wantKind checks what an activity's error means to Temporal.
func (d *desk) wantKind(err error, kind domain.ErrorKind) {
	d.t.Helper()
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != string(kind) {
		d.t.Fatalf("error is %v, want kind %s", err, kind)
	}
	if retry := domain.Retryable(&domain.Error{Kind: kind}); app.NonRetryable() == retry {
		d.t.Errorf("%s is retryable: %v", kind, !app.NonRetryable())
	}
	if strings.Contains(err.Error(), "Marker") {
		d.t.Errorf("the error holds personal data: %v", err)
	}
}

func (d *desk) deliveries() *activities.Deliveries {
	return &activities.Deliveries{Store: d.Store, Opener: d.opener}
}
func (d *desk) syncs() *activities.Syncs { return &activities.Syncs{Store: d.Store, Opener: d.opener} }
func (d *desk) pushes() *activities.Pushes {
	return &activities.Pushes{Store: d.Store, Opener: d.opener}
}
func (d *desk) resolver() *activities.Conflicts {
	return &activities.Conflicts{Store: d.Store, Opener: d.opener}
}
func (d *desk) integrations() *activities.Integrations {
	return &activities.Integrations{Store: d.Store, Opener: d.opener}
}

func span(from, to float64) domain.When {
	at := func(hour float64) time.Time { return day.Add(time.Duration(hour * float64(time.Hour))) }
	return domain.When{Span: domain.Span{Start: at(from), End: at(to)}, Zone: "Europe/London", Kind: domain.TimeZoned}
}

func change(id string, category domain.Category, from, to float64) domain.Change {
	return domain.Change{Op: domain.OpUpsert, ExternalID: id, Category: category, Status: domain.StatusConfirmed, When: span(from, to),
		Details: domain.Details{Title: "Marker " + id, Contact: id + "@marker.example"}}
}

func body(changes ...domain.Change) string {
	b, err := json.Marshal(changes)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// exec runs statements as the owner of the database.
func (d *desk) exec(statements ...string) {
	d.t.Helper()
	conn, err := pgx.Connect(d.t.Context(), d.url)
	d.must(err)
	defer func() { _ = conn.Close(context.WithoutCancel(d.t.Context())) }()
	for _, s := range statements {
		_, err := conn.Exec(d.t.Context(), s)
		d.must(err)
	}
}
