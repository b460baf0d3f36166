package broadcast

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/store"
)

const org domain.OrgID = "00000000-0000-7000-8000-00000000000a"

func subscription(n int, topics ...string) store.ServedSubscription {
	return store.ServedSubscription{Org: org, ID: domain.SubscriptionID(fmt.Sprintf("00000000-0000-7000-8000-%012d", n)),
		Filter: domain.EventFilter{Topics: topics}, Cursor: "0"}
}

// desk is storage and Temporal in memory.
type desk struct {
	mu      sync.Mutex
	active  []store.ServedSubscription
	lagging []store.ServedSubscription
	events  []domain.Event
	fault   error
	woken   map[domain.SubscriptionID][]contract.WakeSignal
	skipped map[domain.SubscriptionID]string
	reads   int
}

func (d *desk) ActiveSubscriptions(context.Context, domain.SubscriptionID, int) ([]store.ServedSubscription, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.active, nil
}

func (d *desk) LaggingSubscriptions(context.Context, domain.SubscriptionID, int) ([]store.ServedSubscription, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lagging, nil
}

func (d *desk) SkipSubscription(_ context.Context, _ domain.OrgID, id domain.SubscriptionID, _, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.skipped[id] = to
	return nil
}

func (d *desk) StreamAfter(_ context.Context, cursor string, _ domain.OrgID, _ int) ([]domain.Event, string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads++
	if len(d.events) == 0 {
		return nil, cursor, nil
	}
	return d.events, d.events[len(d.events)-1].Cursor, nil
}

func (d *desk) WakeSubscription(_ context.Context, ref flow.SubscriptionRef, s contract.WakeSignal) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fault != nil {
		return d.fault
	}
	d.woken[ref.ID] = append(d.woken[ref.ID], s)
	return nil
}

func (d *desk) wakes(s store.ServedSubscription) []contract.WakeSignal {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]contract.WakeSignal(nil), d.woken[s.ID]...)
}

func (d *desk) set(fn func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fn()
}

func setup(t *testing.T, o WakerOptions, prepare func(*desk)) (*desk, *Waker) {
	t.Helper()
	d := &desk{woken: map[domain.SubscriptionID][]contract.WakeSignal{}, skipped: map[domain.SubscriptionID]string{}}
	prepare(d)
	o.Logger = slog.New(slog.DiscardHandler)
	w := NewWaker(d, d, o)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return d, w
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestOnlySubscriptionsThatWantAnEventAreWokenAndNotForEachOne(t *testing.T) {
	t.Parallel()
	wanting, other := subscription(1, "delivery.*"), subscription(2, "conflict.*")
	d, w := setup(t, WakerOptions{Spacing: time.Hour}, func(d *desk) { d.active = []store.ServedSubscription{wanting, other} })
	await(t, "the list", w.Watching)
	for range 100 {
		w.Watch([]domain.Event{{OrgID: org, Topic: domain.TopicDeliveryDead}, {OrgID: "another", Topic: domain.TopicConflictOpened}})
	}
	await(t, "a wake", func() bool { return len(d.wakes(wanting)) > 0 })
	w.Watch([]domain.Event{{OrgID: org, Topic: domain.TopicSubscriptionChanged, Refs: map[string]string{"subscription": string(other.ID)}}})
	await(t, "a change", func() bool { return len(d.wakes(other)) > 0 })
	if got := d.wakes(wanting); len(got) != 1 {
		t.Errorf("%d wakes within the spacing, want 1", len(got))
	}
	if d := cmp.Diff([]contract.WakeSignal{{Changed: true}}, d.wakes(other)); d != "" {
		t.Error(d)
	}
}

func TestWithoutSubscriptionsNothingIsWatched(t *testing.T) {
	t.Parallel()
	d, w := setup(t, WakerOptions{Reload: time.Millisecond}, func(*desk) {})
	if w.Watching() {
		t.Error("watches without a subscription")
	}
	d.set(func() { d.active = []store.ServedSubscription{subscription(1)} })
	await(t, "the new subscription", w.Watching)
	d.set(func() { d.active = nil })
	await(t, "the end of watching", func() bool { return !w.Watching() })
	if d.reads != 0 {
		t.Errorf("%d reads of the stream", d.reads)
	}
}

func TestSweepWakesWhoWasForgottenAndMovesTheOthersOn(t *testing.T) {
	t.Parallel()
	forgotten, quiet, deleted := subscription(1, "delivery.*"), subscription(2, "conflict.*"), subscription(3)
	deleted.Deleted = true
	d, _ := setup(t, WakerOptions{}, func(d *desk) {
		d.lagging = []store.ServedSubscription{forgotten, quiet, deleted}
		d.events = []domain.Event{{Cursor: "1", OrgID: org, Topic: domain.TopicBookingChanged}, {Cursor: "2", OrgID: org, Topic: domain.TopicDeliveryDead}}
	})
	await(t, "both wakes", func() bool { return len(d.wakes(forgotten)) > 0 && len(d.wakes(deleted)) > 0 })
	await(t, "the move", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.skipped[quiet.ID] == "2" })
	if !d.wakes(deleted)[0].Changed || len(d.wakes(quiet)) != 0 {
		t.Errorf("deleted %v, quiet %v", d.wakes(deleted), d.wakes(quiet))
	}
}

func TestWakesOutliveTemporalsAbsence(t *testing.T) {
	t.Parallel()
	s := subscription(1)
	d, w := setup(t, WakerOptions{Spacing: 4 * time.Millisecond}, func(d *desk) {
		d.active, d.fault = []store.ServedSubscription{s}, errors.New("away")
	})
	await(t, "the list", w.Watching)
	w.Watch([]domain.Event{{OrgID: org, Topic: domain.TopicDeliveryDead}})
	d.set(func() { d.fault = nil })
	await(t, "the wake after the absence", func() bool { return len(d.wakes(s)) > 0 })
}

func TestAnnouncementsAreBatchedRetriedAndBounded(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var written [][]store.Accepted
	fault := errors.New("away")
	a := NewAnnouncer(func(_ context.Context, all []store.Accepted) error {
		mu.Lock()
		defer mu.Unlock()
		if fault != nil {
			return fault
		}
		written = append(written, all)
		return nil
	}, AnnouncerOptions{Max: 3, Logger: slog.New(slog.DiscardHandler)})
	for n := range 5 {
		a.Accepted(org, "i", domain.DeliveryID(strconv.Itoa(n)))
	}
	if err := a.flush(t.Context()); err == nil || a.Lost() != 2 {
		t.Fatalf("flush %v, lost %d", err, a.Lost())
	}
	fault = nil
	if err := a.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.Accepted(org, "i", "last")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := a.Run(ctx); err != nil { // says the last ones before it ends
		t.Fatal(err)
	}
	want := [][]store.Accepted{{{Org: org, Integration: "i", IDs: []domain.DeliveryID{"0", "1", "2"}}}, {{Org: org, Integration: "i", IDs: []domain.DeliveryID{"last"}}}}
	if d := cmp.Diff(want, written); d != "" {
		t.Error(d)
	}
}
