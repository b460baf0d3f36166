package inbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

func putAll(t *testing.T, w *Writer, ds []store.NewDelivery) ([]store.InsertedDelivery, []error) {
	t.Helper()
	out, errs := make([]store.InsertedDelivery, len(ds)), make([]error, len(ds))
	var all sync.WaitGroup
	for i, d := range ds {
		all.Go(func() { out[i], errs[i] = w.Put(context.Background(), d, "custom") })
	}
	all.Wait()
	return out, errs
}

func TestAThousandCopiesGetOneID(t *testing.T) {
	t.Parallel()
	db := newFakeStore()
	in := mustNew(t, Deps{Store: db, Signals: &fakeSignals{}})
	defer in.Drain(context.Background())
	to := newIntegration()
	copies := make([]store.NewDelivery, 1000)
	for i := range copies {
		copies[i] = delivery(to, "the same message")
	}
	stored, errs := putAll(t, in.Writer, copies)
	fresh := 0
	for i := range stored {
		if errs[i] != nil {
			t.Fatalf("copy %d: %v", i, errs[i])
		}
		if stored[i].ID != stored[0].ID {
			t.Errorf("copy %d got id %s, copy 0 got %s", i, stored[i].ID, stored[0].ID)
		}
		if !stored[i].Duplicate {
			fresh++
		}
	}
	if fresh != 1 || db.stored() != 1 {
		t.Errorf("%d copies were new and %d rows stored; want 1 and 1", fresh, db.stored())
	}
}

func TestEveryCallerGetsItsOwnResultFromASharedCommit(t *testing.T) {
	t.Parallel()
	db := newFakeStore()
	db.gate, db.entered = make(chan struct{}), make(chan struct{}, 10)
	in := mustNew(t, Deps{Store: db, Signals: &fakeSignals{}, Writer: WriterOptions{Committers: 1}})
	to := newIntegration()
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := in.Writer.Put(context.Background(), delivery(to, "first"), "custom"); err != nil {
			t.Errorf("first: %v", err)
		}
	})
	<-db.entered // the only committer is busy, so that the rest queues up
	want := make([]store.NewDelivery, 100)
	got := make([]store.InsertedDelivery, len(want))
	for i := range want {
		want[i] = delivery(to, fmt.Sprint("message ", i))
		all.Go(func() {
			var err error
			if got[i], err = in.Writer.Put(context.Background(), want[i], "custom"); err != nil {
				t.Errorf("message %d: %v", i, err)
			}
		})
	}
	for in.Writer.depth() < len(want) {
		runtimeYield()
	}
	close(db.gate)
	all.Wait()
	for i := range want {
		if got[i].ID != want[i].ID || got[i].Duplicate {
			t.Errorf("message %d: got %+v, want id %s", i, got[i], want[i].ID)
		}
	}
	if diff := cmp.Diff([]int{1, 100}, db.batches); diff != "" {
		t.Errorf("rows per commit (-want +got):\n%s", diff)
	}
	if err := in.Drain(context.Background()); err != nil {
		t.Errorf("drain: %v", err)
	}
}

func TestBatchesKeepTheirBoundsInRowsAndBytes(t *testing.T) {
	t.Parallel()
	db := newFakeStore()
	db.gate, db.entered = make(chan struct{}, 100), make(chan struct{}, 100)
	in := mustNew(t, Deps{Store: db, Signals: &fakeSignals{}, Writer: WriterOptions{Committers: 1, MaxRows: 4, MaxBytes: 1000}})
	to := newIntegration()
	sizes := []int{10, 400, 400, 400, 2000, 1, 1, 1, 1, 1}
	var all sync.WaitGroup
	for i, n := range sizes {
		d := delivery(to, fmt.Sprint(i))
		d.Content = make([]byte, n)
		all.Go(func() {
			if _, err := in.Writer.Put(context.Background(), d, "custom"); err != nil {
				t.Errorf("size %d: %v", n, err)
			}
		})
		if i == 0 {
			<-db.entered
			continue
		}
		for in.Writer.depth() < i {
			runtimeYield()
		}
	}
	close(db.gate)
	all.Wait()
	if diff := cmp.Diff([]int{1, 2, 1, 1, 4, 1}, db.batches); diff != "" {
		t.Errorf("rows per commit (-want +got):\n%s", diff)
	}
	in.Drain(context.Background())
}

func TestStorageDownIsUnavailableAndTheSecondTryIsStored(t *testing.T) {
	t.Parallel()
	db := newFakeStore()
	db.setFail(domain.E(domain.KindInternal, "disk on fire"))
	signals := &fakeSignals{}
	in := mustNew(t, Deps{Store: db, Signals: signals})
	d := delivery(newIntegration(), "message")
	got, err := in.Writer.Put(context.Background(), d, "custom")
	if domain.KindOf(err) != domain.KindUnavailable || domain.RetryAfter(err) <= 0 || got.ID != "" {
		t.Fatalf("got %+v, %v; want no id and an unavailable error with a time to wait", got, err)
	}
	db.setFail(nil)
	got, err = in.Writer.Put(context.Background(), d, "custom")
	if err != nil || got.ID != d.ID || got.Duplicate {
		t.Errorf("second try: got %+v, %v; want it stored as new", got, err)
	}
	if err := in.Drain(context.Background()); err != nil {
		t.Errorf("drain: %v", err)
	}
	if diff := cmp.Diff([]domain.DeliveryID{d.ID}, signals.ids()); diff != "" {
		t.Errorf("signalled (-want +got):\n%s", diff)
	}
}

func TestADeliveryThatCannotBeStoredDoesNotTakeItsNeighboursWithIt(t *testing.T) {
	t.Parallel()
	db := newFakeStore()
	db.gate, db.entered = make(chan struct{}), make(chan struct{}, 100)
	bad := delivery(newIntegration(), "bad")
	db.refuse = func(d store.NewDelivery) bool { return d.ID == bad.ID }
	in := mustNew(t, Deps{Store: db, Signals: &fakeSignals{}, Writer: WriterOptions{Committers: 1}})
	ds := []store.NewDelivery{delivery(newIntegration(), "first"), bad}
	for i := range 50 {
		ds = append(ds, delivery(newIntegration(), fmt.Sprint(i)))
	}
	errs := make([]error, len(ds))
	var all sync.WaitGroup
	for i, d := range ds {
		all.Go(func() { _, errs[i] = in.Writer.Put(context.Background(), d, "custom") })
		if i == 0 {
			<-db.entered // the only committer is busy, so that the rest becomes one batch
		}
	}
	for in.Writer.depth() < len(ds)-1 {
		runtimeYield()
	}
	close(db.gate)
	all.Wait()
	if domain.KindOf(errs[1]) != domain.KindUnavailable {
		t.Errorf("the bad one: %v; want unavailable", errs[1])
	}
	for i, err := range errs {
		if i != 1 && err != nil {
			t.Errorf("neighbour %d: %v", i, err)
		}
	}
	in.Drain(context.Background())
}

func TestAFullQueueIsUnavailableAtOnce(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]WriterOptions{
		"rows":  {Committers: 1, QueueRows: 2},
		"bytes": {Committers: 1, QueueBytes: 15},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := newFakeStore()
			db.gate, db.entered = make(chan struct{}), make(chan struct{}, 10)
			in := mustNew(t, Deps{Store: db, Signals: &fakeSignals{}, Writer: o})
			var all sync.WaitGroup
			for i := range 3 {
				all.Go(func() {
					if _, err := in.Writer.Put(context.Background(), delivery(newIntegration(), "message"), "custom"); err != nil {
						t.Errorf("delivery %d: %v", i, err)
					}
				})
				if i == 0 {
					<-db.entered
				} else {
					for in.Writer.depth() < i {
						runtimeYield()
					}
				}
			}
			_, err := in.Writer.Put(context.Background(), delivery(newIntegration(), "one too many"), "custom")
			if domain.KindOf(err) != domain.KindUnavailable || domain.RetryAfter(err) <= 0 {
				t.Errorf("got %v; want unavailable with a time to wait", err)
			}
			close(db.gate)
			all.Wait()
			in.Drain(context.Background())
		})
	}
}

func TestACallerWhoLeavesDoesNotTakeItsDeliveryOutOfTheBatch(t *testing.T) {
	t.Parallel()
	db := newFakeStore()
	db.gate, db.entered = make(chan struct{}), make(chan struct{}, 10)
	signals := &fakeSignals{}
	in := mustNew(t, Deps{Store: db, Signals: signals, Writer: WriterOptions{Committers: 1}})
	d := delivery(newIntegration(), "message")
	ctx, leave := context.WithCancel(context.Background())
	left := make(chan error)
	go func() {
		_, err := in.Writer.Put(ctx, d, "custom")
		left <- err
	}()
	<-db.entered
	leave()
	if err := <-left; domain.KindOf(err) != domain.KindUnavailable {
		t.Errorf("the caller got %v; want unavailable", err)
	}
	close(db.gate)
	if err := in.Drain(context.Background()); err != nil {
		t.Fatalf("drain: %v", err)
	}
	if db.stored() != 1 || !slices.Equal(signals.ids(), []domain.DeliveryID{d.ID}) {
		t.Errorf("%d rows stored, %v signalled; want the delivery in both", db.stored(), signals.ids())
	}
}

func TestAStatementThatHangsEndsWithUnavailable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newFakeStore()
		db.gate = make(chan struct{})
		in := mustNew(t, Deps{Store: db, Signals: &fakeSignals{}})
		start := time.Now()
		_, err := in.Writer.Put(context.Background(), delivery(newIntegration(), "message"), "custom")
		if domain.KindOf(err) != domain.KindUnavailable || time.Since(start) != 10*time.Second {
			t.Errorf("got %v after %v; want unavailable after 10 s", err, time.Since(start))
		}
		in.Drain(context.Background())
	})
}

func TestACallerWaitsForABusyQueueNoLongerThanTheBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newFakeStore()
		db.gate = make(chan struct{})
		in := mustNew(t, Deps{Store: db, Signals: &fakeSignals{}, Writer: WriterOptions{Committers: 1, CommitTimeout: time.Hour}})
		for range 2 {
			start := time.Now()
			_, err := in.Writer.Put(context.Background(), delivery(newIntegration(), "message"), "custom")
			if domain.KindOf(err) != domain.KindUnavailable || time.Since(start) != 15*time.Second {
				t.Errorf("got %v after %v; want unavailable after 15 s", err, time.Since(start))
			}
		}
		close(db.gate)
		in.Drain(context.Background())
	})
}

func TestDrainStoresWhatIsQueuedAndRefusesWhatComesLater(t *testing.T) {
	t.Parallel()
	db := newFakeStore()
	db.gate, db.entered = make(chan struct{}), make(chan struct{}, 100)
	in := mustNew(t, Deps{Store: db, Signals: &fakeSignals{}, Writer: WriterOptions{Committers: 1, MaxRows: 2}})
	var all sync.WaitGroup
	for i := range 9 {
		all.Go(func() {
			if _, err := in.Writer.Put(context.Background(), delivery(newIntegration(), fmt.Sprint(i)), "custom"); err != nil {
				t.Errorf("queued delivery %d: %v", i, err)
			}
		})
		if i == 0 {
			<-db.entered
		}
	}
	for in.Writer.depth() < 8 {
		runtimeYield()
	}
	drained := make(chan error)
	go func() { drained <- in.Drain(context.Background()) }()
	for closed := false; !closed; runtimeYield() {
		in.Writer.mu.Lock()
		closed = in.Writer.closed
		in.Writer.mu.Unlock()
	}
	_, err := in.Writer.Put(context.Background(), delivery(newIntegration(), "late"), "custom")
	if domain.KindOf(err) != domain.KindUnavailable || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("late delivery: %v; want unavailable because the server is stopping", err)
	}
	close(db.gate)
	all.Wait()
	if err := <-drained; err != nil {
		t.Errorf("drain: %v", err)
	}
	if db.stored() != 9 {
		t.Errorf("%d rows stored; want 9", db.stored())
	}
}
