package retention_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/retention"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
)

// bundle is a store over a database of its own, with a clock that stands still unless moved.
type bundle struct {
	*store.Store
	t           *testing.T
	url         string
	org         domain.OrgID
	integration domain.IntegrationID

	mu sync.Mutex
	at time.Time
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{t: t, url: storetest.URL(t), at: time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC)}
	b.Store = storetest.Open(t, b.url, storetest.Ring(t), store.Options{MaxConns: 4, SystemMaxConns: 4, Now: b.now})
	b.org, b.integration = domain.NewID[domain.OrgID](b.now()), domain.NewID[domain.IntegrationID](b.now())
	b.must(b.CreateOrganization(t.Context(), domain.Organization{ID: b.org, Name: "Studio", Zone: "UTC"}, "admin"))
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		r := domain.Resource{ID: domain.NewID[domain.ResourceID](b.now()), Name: "Room", Kind: domain.ResourcePerson, Zone: "UTC", Capacity: 1}
		if err := tx.CreateResource(ctx, r); err != nil {
			return err
		}
		return tx.CreateIntegration(ctx, domain.Integration{ID: b.integration, Name: "CRM", Provider: "custom", Direction: domain.DirectionImport,
			ResourceID: r.ID, Settings: json.RawMessage(`{}`)}, map[string]string{})
	})
	_, err := b.PurgeStream(t.Context(), b.now().Add(time.Hour), 100) // what making them told
	b.must(err)
	return b
}

func (b *bundle) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.at
}

func (b *bundle) advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = b.at.Add(d)
}

func (b *bundle) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bundle) tenant(fn func(ctx context.Context, tx *store.Tx) error) {
	b.t.Helper()
	b.must(b.Tenant(b.t.Context(), b.org, fn))
}

func (b *bundle) job(o retention.Options) *retention.Job {
	b.t.Helper()
	o.Now, o.Pause = b.now, time.Microsecond
	j, err := retention.New(b, o, prometheus.NewRegistry(), nil)
	b.must(err)
	return j
}

func (b *bundle) offer(name string) store.InsertedDelivery {
	b.t.Helper()
	id := domain.NewID[domain.DeliveryID](b.now())
	out, err := b.InsertDeliveries(b.t.Context(), []store.NewDelivery{{ID: id, OrgID: b.org, IntegrationID: b.integration, Dedupe: sha256.Sum256([]byte(name)),
		Size: len(name), ReceivedAt: b.now(), Content: b.SealDelivery(b.org, id, map[string]string{"content-type": "text/plain"}, []byte(name))}})
	b.must(err)
	return out[0]
}

// deliver stores a delivery that comes to an end in state.
func (b *bundle) deliver(name string, state domain.DeliveryState) domain.DeliveryID {
	b.t.Helper()
	id := b.offer(name).ID
	if state != domain.DeliveryReceived {
		b.tenant(func(ctx context.Context, tx *store.Tx) error {
			return tx.FinishDeliveries(ctx, []store.DeliveryOutcome{{ID: id, State: state, NextAttemptAt: tx.Now.Add(time.Hour)}})
		})
	}
	return id
}

func (b *bundle) once(j *retention.Job, want retention.Report) {
	b.t.Helper()
	got, err := j.Once(b.t.Context())
	b.must(err)
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("report (-want +got):\n%s", diff)
	}
}

var states = []domain.DeliveryState{domain.DeliveryReceived, domain.DeliveryRetrying, domain.DeliveryApplied, domain.DeliveryIgnored, domain.DeliveryDead}

func TestBodiesGoAfterThirtyDaysAndRowsAfterNinetyButNeverWhatWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	j := b.job(retention.Options{Batch: 2})
	ids := map[domain.DeliveryState]domain.DeliveryID{}
	for _, s := range states {
		ids[s] = b.deliver(string(s), s)
	}
	b.advance(30*retention.Day - time.Second)
	b.once(j, retention.Report{})
	b.advance(2 * time.Second)
	b.once(j, retention.Report{Erased: 2})
	b.once(j, retention.Report{})
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		for _, s := range states {
			gone := s == domain.DeliveryApplied || s == domain.DeliveryIgnored
			raw, err := tx.DeliveryContent(ctx, ids[s])
			if gone != (domain.KindOf(err) == domain.KindConflict) {
				t.Errorf("content of the %s one: %v", s, err)
			}
			if !gone && string(raw.Body) != string(s) {
				t.Errorf("the %s one holds %q", s, raw.Body)
			}
			d, err := tx.Delivery(ctx, ids[s])
			if err != nil {
				return err
			}
			sum, want := sha256.Sum256([]byte(s)), ""
			if gone {
				want = hex.EncodeToString(sum[:])
			}
			if (d.ErasedAt != nil) != gone || d.BodyHash != want {
				t.Errorf("the %s one: erased %v, hash %q; want %q", s, d.ErasedAt, d.BodyHash, want)
			}
		}
		return nil
	})
	if err := b.Tenant(ctx, b.org, func(ctx context.Context, tx *store.Tx) error {
		_, _, err := tx.ReplayOne(ctx, domain.Replay{ID: domain.NewID[domain.ReplayID](tx.Now), RequestedBy: "admin"}, ids[domain.DeliveryIgnored])
		return err
	}); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("replay of an erased delivery: %v", err)
	}
	if out := b.offer(string(domain.DeliveryApplied)); !out.Duplicate || out.ID != ids[domain.DeliveryApplied] {
		t.Errorf("a repeat after the body was erased: %+v", out)
	}

	b.advance(60 * retention.Day)
	b.once(j, retention.Report{Deleted: 3, Lines: 1})
	b.advance(retention.Day)
	b.once(j, retention.Report{Lines: 1})
	b.once(j, retention.Report{})
	if out := b.offer(string(domain.DeliveryApplied)); out.Duplicate {
		t.Errorf("a repeat after the row was deleted: %+v", out)
	}
	for _, s := range states[:2] {
		if out := b.offer(string(s)); !out.Duplicate {
			t.Errorf("the %s one has gone", s)
		}
	}
	if _, err := b.VerifyAudit(ctx, b.org); err != nil {
		t.Error(err)
	}
	var lines []map[string]string
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		all, _, err := tx.AuditEntries(ctx, store.Page{})
		for _, e := range all {
			if e.Action == "delivery.retain" {
				lines = append(lines, map[string]string{"subject": e.Subject, "erased": e.After["erased"], "deleted": e.After["deleted"]})
			}
		}
		return err
	})
	if diff := cmp.Diff([]map[string]string{{"subject": "deliveries/2027-07-30", "erased": "0", "deleted": "3"},
		{"subject": "deliveries/2027-05-31", "erased": "2", "deleted": "0"}}, lines); diff != "" {
		t.Errorf("lines in the trail (-want +got):\n%s", diff)
	}
	days, err := b.RetentionDays(ctx, b.now().Add(-365*retention.Day), 100)
	if err != nil || len(days) != 2 || days[0].Deleted != 3 || !days[1].Audited {
		t.Errorf("days %+v, %v", days, err)
	}
}

func TestLockedRowsAreLeftForTheNextFullPassAndNobodyWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	j := b.job(retention.Options{Batch: 3})
	var ids []domain.DeliveryID
	for n := range 10 {
		ids = append(ids, b.deliver(fmt.Sprint(n), domain.DeliveryApplied))
	}
	b.advance(31 * retention.Day)
	conn, err := pgx.Connect(ctx, b.url)
	b.must(err)
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, "SET lock_timeout = '5s'")
	b.must(err)
	tx, err := conn.Begin(ctx)
	b.must(err)
	_, err = tx.Exec(ctx, "SELECT 1 FROM deliveries WHERE id = $1 FOR UPDATE", string(ids[4]))
	b.must(err)
	b.once(j, retention.Report{Erased: 9})
	b.must(tx.Rollback(ctx))
	b.once(j, retention.Report{})
	b.advance(retention.Day)
	b.once(j, retention.Report{Erased: 1, Lines: 1})
}

func TestManyServersAtOnceEraseEachBodyAndWriteEachLineOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for n := range 60 {
		b.deliver(fmt.Sprint(n), domain.DeliveryApplied)
	}
	b.advance(31 * retention.Day)
	pass := func() (sum retention.Report) {
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 4 {
			j := b.job(retention.Options{Batch: 7})
			all.Go(func() {
				r, err := j.Once(t.Context())
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				sum.Erased += r.Erased
				sum.Lines += r.Lines
			})
		}
		all.Wait()
		return sum
	}
	sum := pass()
	b.advance(retention.Day)
	next := pass()
	sum.Erased += next.Erased // what all passed over because another had it locked and then failed to take it
	if sum.Erased != 60 || next.Lines != 1 {
		t.Errorf("%d bodies erased and %d lines written; want 60 and 1", sum.Erased, next.Lines)
	}
	days, err := b.RetentionDays(t.Context(), b.now().Add(-10*retention.Day), 10)
	total := int64(0)
	for _, d := range days {
		total += d.Erased
	}
	if err != nil || total != 60 {
		t.Errorf("days %+v, %v; want 60 in all", days, err)
	}
}

func TestOldEventsAndRefusalsGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		return tx.Emit(ctx, domain.TopicDeliveryApplied, map[string]string{"delivery": "x"})
	})
	b.must(b.RecordRefusals(t.Context(), []store.RefusedWebhook{{OrgID: b.org, IntegrationID: b.integration, At: b.now(), Code: "c"}}))
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.KeepSnapshot(ctx, domain.Snapshot{IntegrationID: b.integration, Kind: domain.KindDrift, Report: "rows are missing"}, nil)
		return err
	})
	j := b.job(retention.Options{})
	b.advance(7*retention.Day - time.Second)
	b.once(j, retention.Report{})
	b.advance(2 * time.Second)
	b.once(j, retention.Report{Refusals: 1})
	b.advance(23 * retention.Day)
	b.once(j, retention.Report{Events: 1, Pages: 1})
}

func TestSettingsOutOfTheirLimitsAreNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o    retention.Options
		good bool
	}{
		"the defaults":                 {retention.Options{}, true},
		"a window below thirty days":   {retention.Options{Rows: 30*retention.Day - 1, Bodies: retention.Day}, false},
		"the least window":             {retention.Options{Rows: 30 * retention.Day}, true},
		"bodies longer than rows":      {retention.Options{Rows: 40 * retention.Day, Bodies: 41 * retention.Day}, false},
		"bodies for less than a day":   {retention.Options{Bodies: time.Hour}, false},
		"negative times":               {retention.Options{Bodies: -1}, false},
		"rows for more than ten years": {retention.Options{Rows: retention.MostKept + 1}, false},
		"a batch too large":            {retention.Options{Batch: 10_001}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := c.o.Validate(); (err == nil) != c.good || err != nil && domain.KindOf(err) != domain.KindInvalid {
				t.Errorf("validate: %v", err)
			}
		})
	}
}
