package inbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/store"
)

var (
	testOrg = domain.NewID[domain.OrgID](time.Unix(1_750_000_000, 0))
	errDown = domain.E(domain.KindUnavailable, "the fake is down")
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil)) }

func newIntegration() domain.IntegrationID {
	return domain.NewID[domain.IntegrationID](time.Unix(1_750_000_000, 0))
}

func delivery(integration domain.IntegrationID, message string) store.NewDelivery {
	return store.NewDelivery{ID: domain.NewID[domain.DeliveryID](time.Unix(1_750_000_000, 0)), OrgID: testOrg,
		IntegrationID: integration, Dedupe: sha256.Sum256([]byte(message)), Size: len(message), Content: []byte(message)}
}

type dedupeKey struct {
	integration domain.IntegrationID
	key         [32]byte
}

// fakeStore keeps deliveries, outbox and waiting work in memory, with faults on demand.
type fakeStore struct {
	mu      sync.Mutex
	rows    map[dedupeKey]domain.DeliveryID
	batches []int
	fail    error
	refuse  func(store.NewDelivery) bool // rows that can never be stored
	gate    chan struct{}                // when set, each insert waits for a token
	entered chan struct{}                // when set, told when an insert begins

	waiting []store.WaitingIntegration
	outbox  []store.OutboxRow
	claimed map[int64]bool
	deleted []int64
	notify  func()
}

func newFakeStore() *fakeStore {
	return &fakeStore{rows: map[dedupeKey]domain.DeliveryID{}, claimed: map[int64]bool{}}
}

func (f *fakeStore) InsertDeliveries(ctx context.Context, batch []store.NewDelivery) ([]store.InsertedDelivery, error) {
	if f.entered != nil {
		f.entered <- struct{}{}
	}
	if f.gate != nil {
		select {
		case <-f.gate:
		case <-ctx.Done():
			return nil, domain.E(domain.KindUnavailable, "insert: %w", ctx.Err())
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	if f.refuse != nil && slices.ContainsFunc(batch, f.refuse) {
		return nil, domain.Invalid("content", "cannot be stored")
	}
	f.batches = append(f.batches, len(batch))
	out := make([]store.InsertedDelivery, len(batch))
	for i, d := range batch {
		k := dedupeKey{d.IntegrationID, d.Dedupe}
		if id, ok := f.rows[k]; ok {
			out[i] = store.InsertedDelivery{ID: id, Duplicate: true}
			continue
		}
		f.rows[k] = d.ID
		out[i] = store.InsertedDelivery{ID: d.ID}
	}
	return out, nil
}

func (f *fakeStore) setFail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

func (f *fakeStore) stored() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.rows)
}

func (f *fakeStore) IntegrationsWithWork(context.Context, time.Duration, int) ([]store.WaitingIntegration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	return slices.Clone(f.waiting), nil
}

func (f *fakeStore) ClaimOutbox(_ context.Context, limit int) ([]store.OutboxRow, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	var out []store.OutboxRow
	for _, r := range f.outbox {
		if len(out) < limit && !f.claimed[r.ID] && !slices.Contains(f.deleted, r.ID) {
			f.claimed[r.ID] = true
			out = append(out, r)
		}
	}
	return out, nil
}

func (f *fakeStore) DeleteOutbox(_ context.Context, ids []int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return f.fail
	}
	f.deleted = append(f.deleted, ids...)
	return nil
}

func (f *fakeStore) gone() []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := slices.Clone(f.deleted)
	slices.Sort(out)
	return slices.Compact(out)
}

func (f *fakeStore) Listen(ctx context.Context, _ string, fn func()) error {
	f.mu.Lock()
	f.notify = fn
	f.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

func (f *fakeStore) enqueue(rows ...store.OutboxRow) {
	f.mu.Lock()
	f.outbox = append(f.outbox, rows...)
	notify := f.notify
	f.mu.Unlock()
	if notify != nil {
		notify()
	}
}

// sent is one call to the fake Temporal.
type sent struct {
	kind string
	ref  flow.IntegrationRef
	ids  []domain.DeliveryID
	more bool
	n    int
	to   string
	at   time.Time
}

type fakeSignals struct {
	mu    sync.Mutex
	calls []sent
	tries int
	fail  func(kind, to string) error
	took  time.Duration
}

func (f *fakeSignals) add(s sent) error {
	if f.took > 0 {
		timer := time.NewTimer(f.took)
		<-timer.C
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tries++
	if f.fail != nil {
		if err := f.fail(s.kind, s.to); err != nil {
			return err
		}
	}
	s.at = time.Now()
	f.calls = append(f.calls, s)
	return nil
}

func (f *fakeSignals) setFail(fail func(kind, to string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *fakeSignals) all() []sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (f *fakeSignals) attempts() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tries
}

// ids returns every id signalled, in the order of the signals.
func (f *fakeSignals) ids() (out []domain.DeliveryID) {
	for _, c := range f.all() {
		out = append(out, c.ids...)
	}
	return out
}

func (f *fakeSignals) Deliveries(_ context.Context, ref flow.IntegrationRef, s contract.DeliveriesSignal) error {
	return f.add(sent{kind: "deliveries", ref: ref, to: string(ref.ID), ids: s.IDs, more: s.More})
}

func (f *fakeSignals) Pushes(_ context.Context, ref flow.IntegrationRef, s contract.PushesSignal) error {
	return f.add(sent{kind: "pushes", ref: ref, to: string(ref.ID), n: s.Count})
}

func (f *fakeSignals) Changed(_ context.Context, ref flow.IntegrationRef, _ contract.ChangedSignal) error {
	return f.add(sent{kind: "changed", ref: ref, to: string(ref.ID)})
}

func (f *fakeSignals) StartConflict(_ context.Context, in contract.ConflictInput) error {
	return f.add(sent{kind: "start", to: string(in.ConflictID)})
}

func (f *fakeSignals) StartReplay(_ context.Context, in contract.ReplayInput) error {
	return f.add(sent{kind: "replay", to: string(in.ReplayID)})
}

func (f *fakeSignals) FollowTimeline(_ context.Context, in contract.TimelineInput) error {
	return f.add(sent{kind: "timeline", to: string(in.BookingID)})
}

func (f *fakeSignals) TellHold(_ context.Context, in contract.HoldInput) error {
	return f.add(sent{kind: "hold", to: string(in.BookingID)})
}

func (f *fakeSignals) TellOnboarding(_ context.Context, in contract.OnboardInput) error {
	return f.add(sent{kind: "onboarding", to: string(in.IntegrationID)})
}

func (f *fakeSignals) TellWedding(_ context.Context, in contract.WeddingInput) error {
	return f.add(sent{kind: "wedding", to: string(in.BookingID)})
}

func (f *fakeSignals) WakeNotify(_ context.Context, org domain.OrgID) error {
	return f.add(sent{kind: "notify", to: string(org)})
}

func (f *fakeSignals) WakeAlerts(_ context.Context, org domain.OrgID) error {
	return f.add(sent{kind: "alerts", to: string(org)})
}

func (f *fakeSignals) WakeMaintenance(_ context.Context, in contract.MaintenanceInput) error {
	return f.add(sent{kind: "maintenance", to: string(in.MaintenanceID)})
}

func (f *fakeSignals) RecheckConflict(_ context.Context, id domain.ConflictID, _ contract.RecheckSignal) error {
	return f.add(sent{kind: "recheck", to: string(id)})
}

func mustNew(t *testing.T, deps Deps) *Inbox {
	t.Helper()
	deps.Log = quiet()
	in, err := New(deps)
	if err != nil {
		t.Fatalf("make inbox: %v", err)
	}
	return in
}

// runtimeYield lets others run while a test waits for a condition.
func runtimeYield() { runtime.Gosched() }

// elapse lets time pass inside a synctest bubble, where that takes none.
func elapse(d time.Duration) { <-time.After(d) }
