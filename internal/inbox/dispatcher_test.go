package inbox

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/store"
)

// bubble runs fn with an inbox inside a synctest bubble and drains it afterwards.
func bubble(t *testing.T, o DispatcherOptions, fn func(in *Inbox, db *fakeStore, signals *fakeSignals)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		db, signals := newFakeStore(), &fakeSignals{}
		in := mustNew(t, Deps{Store: db, Signals: signals, Dispatcher: o})
		fn(in, db, signals)
		if err := in.Drain(context.Background()); err != nil {
			t.Errorf("drain: %v", err)
		}
		if s := in.Dispatcher.Stats(); s.IDs != 0 || s.Targets != 0 {
			t.Errorf("after draining %+v is left; want nothing", s)
		}
	})
}

func someIDs(n int) []domain.DeliveryID {
	out := make([]domain.DeliveryID, n)
	for i := range out {
		out[i] = domain.NewID[domain.DeliveryID](time.Unix(1_750_000_000, int64(i)*int64(time.Millisecond)))
	}
	return out
}

func committed(to domain.IntegrationID, ids ...domain.DeliveryID) []Committed {
	out := make([]Committed, len(ids))
	for i, id := range ids {
		out[i] = Committed{Ref: flow.IntegrationRef{Org: testOrg, ID: to, Provider: "custom"}, ID: id}
	}
	return out
}

func TestAnIdleDispatcherSignalsAtOnce(t *testing.T) {
	t.Parallel()
	bubble(t, DispatcherOptions{}, func(in *Inbox, _ *fakeStore, signals *fakeSignals) {
		to, start := newIntegration(), time.Now()
		d := delivery(to, "message")
		if _, err := in.Writer.Put(context.Background(), d, "custom"); err != nil {
			t.Fatalf("put: %v", err)
		}
		synctest.Wait()
		want := []sent{{kind: "deliveries", ref: flow.IntegrationRef{Org: testOrg, ID: to, Provider: "custom"}, to: string(to),
			ids: []domain.DeliveryID{d.ID}, at: start}}
		if diff := cmp.Diff(want, signals.all(), cmp.AllowUnexported(sent{})); diff != "" {
			t.Errorf("signals (-want +got):\n%s", diff)
		}
	})
}

func TestADuplicateIsNotSignalledAgain(t *testing.T) {
	t.Parallel()
	bubble(t, DispatcherOptions{}, func(in *Inbox, _ *fakeStore, signals *fakeSignals) {
		to := newIntegration()
		for range 3 {
			if _, err := in.Writer.Put(context.Background(), delivery(to, "message"), "custom"); err != nil {
				t.Fatalf("put: %v", err)
			}
		}
		elapse(time.Second)
		if n := len(signals.ids()); n != 1 {
			t.Errorf("%d ids signalled; want 1", n)
		}
	})
}

func TestABusyIntegrationGetsAtMostFourSignalsASecondAndEveryID(t *testing.T) {
	t.Parallel()
	bubble(t, DispatcherOptions{}, func(in *Inbox, _ *fakeStore, signals *fakeSignals) {
		to, ids := newIntegration(), someIDs(500)
		for _, id := range ids { // one every 10 ms, for 5 s
			in.Dispatcher.deliver(committed(to, id))
			elapse(10 * time.Millisecond)
		}
		elapse(time.Second)
		calls := signals.all()
		if len(calls) > 22 {
			t.Errorf("%d signals in 5 s; want at most four a second", len(calls))
		}
		for i := 1; i < len(calls); i++ {
			if gap := calls[i].at.Sub(calls[i-1].at); gap < 250*time.Millisecond {
				t.Errorf("signal %d came %v after the one before; want 250 ms or more", i, gap)
			}
		}
		if diff := cmp.Diff(ids, signals.ids()); diff != "" {
			t.Errorf("ids signalled, in order (-want +got):\n%s", diff)
		}
	})
}

func TestASignalNamesAtMostTheAgreedNumberOfIDsAndSaysThatThereAreMore(t *testing.T) {
	t.Parallel()
	bubble(t, DispatcherOptions{}, func(in *Inbox, _ *fakeStore, signals *fakeSignals) {
		in.Dispatcher.Hold()
		in.Dispatcher.deliver(committed(newIntegration(), someIDs(1000)...))
		if s := in.Dispatcher.Stats(); s.IDs != contract.MaxIDsPerSignal {
			t.Errorf("%d ids kept; want %d", s.IDs, contract.MaxIDsPerSignal)
		}
		elapse(time.Hour)
		if n := len(signals.all()); n != 0 {
			t.Errorf("%d signals while held; want none", n)
		}
		in.Dispatcher.Release()
		synctest.Wait()
		calls := signals.all()
		if len(calls) != 1 || len(calls[0].ids) != contract.MaxIDsPerSignal || !calls[0].more {
			t.Errorf("got %d signals, the first with %d ids, more %t; want one with %d and more", len(calls), len(calls[0].ids), calls[0].more, contract.MaxIDsPerSignal)
		}
	})
}

func TestTotalsStayBoundedAndWhatIsNotKeptIsSaidToBeMore(t *testing.T) {
	t.Parallel()
	bubble(t, DispatcherOptions{MaxIDs: 10, MaxTargets: 3}, func(in *Inbox, _ *fakeStore, signals *fakeSignals) {
		in.Dispatcher.Hold()
		for range 5 {
			in.Dispatcher.deliver(committed(newIntegration(), someIDs(8)...))
		}
		if diff := cmp.Diff(Stats{Targets: 3, IDs: 10}, in.Dispatcher.Stats()); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
		in.Dispatcher.Release()
		elapse(time.Second)
		calls := signals.all()
		if len(calls) != 3 || len(signals.ids()) != 10 {
			t.Fatalf("%d signals with %d ids; want 3 with 10", len(calls), len(signals.ids()))
		}
		for _, c := range calls {
			if c.more != (len(c.ids) < 8) {
				t.Errorf("signal with %d ids says more = %t", len(c.ids), c.more)
			}
		}
	})
}

func TestTheTotalRateFallsAsIntakeGrows(t *testing.T) {
	t.Parallel()
	count := func(perTick int) (n int) {
		bubble(t, DispatcherOptions{}, func(in *Inbox, _ *fakeStore, signals *fakeSignals) {
			integrations := make([]domain.IntegrationID, 100)
			for i := range integrations {
				integrations[i] = newIntegration()
			}
			ids := someIDs(perTick)
			for tick := range 1000 { // 10 s
				for i := range perTick {
					in.Dispatcher.deliver(committed(integrations[(tick*perTick+i)%100], ids[i]))
				}
				elapse(10 * time.Millisecond)
			}
			n = len(signals.all())
		})
		return n
	}
	calm, busy := count(1), count(100)
	if calm < 900 {
		t.Errorf("%d signals for 1000 webhooks over 100 integrations in 10 s; want nearly one each", calm)
	}
	if busy > 500 {
		t.Errorf("%d signals for 10,000 webhooks a second; want at most 50 a second", busy)
	}
}

func TestTemporalDownKeepsWhatWaitsAndSendsItWhenItReturns(t *testing.T) {
	t.Parallel()
	bubble(t, DispatcherOptions{}, func(in *Inbox, db *fakeStore, signals *fakeSignals) {
		signals.setFail(func(string, string) error { return errDown })
		var want []domain.DeliveryID
		for i := range 20 {
			d := delivery(newIntegration(), string(rune('a'+i)))
			if _, err := in.Writer.Put(context.Background(), d, "custom"); err != nil {
				t.Fatalf("put while Temporal is down: %v", err)
			}
			want = append(want, d.ID)
		}
		elapse(10 * time.Minute)
		if n := signals.attempts(); n > 100 {
			t.Errorf("%d calls in 10 minutes of Temporal being down; want them backed off", n)
		}
		if !in.Dispatcher.Stats().BackingOff {
			t.Error("not backing off")
		}
		signals.setFail(nil)
		elapse(20 * time.Second)
		got := signals.ids()
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("signalled after the return (-want +got):\n%s", diff)
		}
	})
}

func TestOneWorkflowThatIsRefusedDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	bubble(t, DispatcherOptions{}, func(in *Inbox, _ *fakeStore, signals *fakeSignals) {
		busy, calm := newIntegration(), newIntegration()
		signals.setFail(func(_, to string) error {
			if to == string(busy) {
				return domain.WithRetryAfter(errDown, time.Second)
			}
			return nil
		})
		ids := someIDs(4)
		in.Dispatcher.deliver(committed(busy, ids[:2]...))
		synctest.Wait()
		in.Dispatcher.deliver(committed(busy, ids[2]))
		in.Dispatcher.deliver(committed(calm, ids[3]))
		elapse(100 * time.Millisecond)
		if diff := cmp.Diff(ids[3:], signals.ids()); diff != "" {
			t.Errorf("signalled so far (-want +got):\n%s", diff)
		}
		signals.setFail(nil)
		elapse(time.Minute)
		if diff := cmp.Diff([]domain.DeliveryID{ids[3], ids[0], ids[1], ids[2]}, signals.ids()); diff != "" {
			t.Errorf("signalled in the end (-want +got):\n%s", diff)
		}
	})
}

func TestDrainSendsWithoutLingeringAndGivesUpWhenTemporalIsDown(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]error{"up": nil, "down": errDown} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				signals := &fakeSignals{}
				in := mustNew(t, Deps{Store: newFakeStore(), Signals: signals, Dispatcher: DispatcherOptions{MaxRate: 4, Burst: 1}})
				ids := someIDs(50)
				for _, id := range ids[:49] {
					in.Dispatcher.deliver(committed(newIntegration(), id))
				}
				in.Dispatcher.deliver(committed(newIntegration(), ids[49]))
				synctest.Wait()
				signals.setFail(func(string, string) error { return fail })
				start := time.Now()
				if err := in.Drain(context.Background()); err != nil {
					t.Errorf("drain: %v", err)
				}
				if took := time.Since(start); took > time.Second {
					t.Errorf("drained in %v; want no lingering", took)
				}
				if fail == nil && len(signals.ids()) != 50 {
					t.Errorf("%d ids signalled; want 50", len(signals.ids()))
				}
			})
		})
	}
}

func TestASweepFindsWhatACrashLeftBehindAndDoesNotRepeatItself(t *testing.T) {
	t.Parallel()
	bubble(t, DispatcherOptions{}, func(in *Inbox, db *fakeStore, signals *fakeSignals) {
		to, ids := newIntegration(), someIDs(3)
		db.waiting = []store.WaitingIntegration{{Org: testOrg, Integration: to, IDs: ids, More: true, Pushes: 2}}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			in.Run(ctx)
		}()
		elapse(59 * time.Second)
		stop()
		<-done
		var deliveries, pushes int
		for _, c := range signals.all() {
			switch c.kind {
			case "deliveries":
				deliveries++
				if !slices.Equal(c.ids, ids) || !c.more {
					t.Errorf("signal with ids %v, more %t; want %v and more", c.ids, c.more, ids)
				}
			case "pushes":
				pushes++
			}
		}
		if deliveries != 2 || pushes != 2 {
			t.Errorf("%d deliveries and %d pushes signals in 59 s of sweeps; want 2 of each", deliveries, pushes)
		}
	})
}

func TestAStoredDeliveryWhoseServerDiedIsSweptByAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newFakeStore()
		dead := mustNew(t, Deps{Store: db, Signals: &fakeSignals{}})
		dead.Dispatcher.Hold() // the crash comes between commit and dispatch
		d := delivery(newIntegration(), "message")
		if _, err := dead.Writer.Put(context.Background(), d, "custom"); err != nil {
			t.Fatalf("put: %v", err)
		}
		dead.Drain(context.Background())
		db.waiting = []store.WaitingIntegration{{Org: d.OrgID, Integration: d.IntegrationID, IDs: []domain.DeliveryID{d.ID}}}

		signals := &fakeSignals{}
		alive := mustNew(t, Deps{Store: db, Signals: signals, Dispatcher: DispatcherOptions{
			Provider: func(context.Context, domain.OrgID, domain.IntegrationID) (string, error) { return "custom", nil }}})
		if err := alive.Sweeper.Sweep(context.Background()); err != nil {
			t.Fatalf("sweep: %v", err)
		}
		synctest.Wait()
		calls := signals.all()
		if len(calls) != 1 || !slices.Equal(calls[0].ids, []domain.DeliveryID{d.ID}) || calls[0].ref.Provider != "custom" {
			t.Errorf("signals %+v; want one that names the delivery and the provider", calls)
		}
		alive.Drain(context.Background())
	})
}

func TestOutboxRowsAreToldTogetherAndDeletedOnlyAfterwards(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, signals := newFakeStore(), &fakeSignals{}
		conflict, gone := domain.NewID[domain.ConflictID](time.Now()), domain.NewID[domain.ConflictID](time.Now())
		in := mustNew(t, Deps{Store: db, Signals: signals, Relay: RelayOptions{
			Conflict: func(_ context.Context, org domain.OrgID, id domain.ConflictID) (contract.ConflictInput, error) {
				if id == gone {
					return contract.ConflictInput{}, domain.E(domain.KindNotFound, "no such conflict")
				}
				return contract.ConflictInput{OrgID: org, ConflictID: id, Severity: domain.SeverityHigh}, nil
			}}})
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			in.Run(ctx)
		}()
		synctest.Wait()
		signals.setFail(func(string, string) error { return errDown })
		to := string(newIntegration())
		booking := string(domain.NewID[domain.BookingID](time.Now()))
		db.enqueue(
			store.OutboxRow{ID: 1, Org: testOrg, Kind: store.OutboxPush, Target: to, Ref: booking},
			store.OutboxRow{ID: 2, Org: testOrg, Kind: store.OutboxPush, Target: to, Ref: booking},
			store.OutboxRow{ID: 3, Org: testOrg, Kind: store.OutboxIntegrationChanged, Target: to},
			store.OutboxRow{ID: 4, Org: testOrg, Kind: store.OutboxConflictStart, Target: string(conflict)},
			store.OutboxRow{ID: 5, Org: testOrg, Kind: store.OutboxConflictRecheck, Target: string(conflict), Ref: booking},
			store.OutboxRow{ID: 6, Org: testOrg, Kind: store.OutboxConflictStart, Target: string(gone)},
		)
		elapse(5 * time.Second)
		if diff := cmp.Diff([]int64{6}, db.gone()); diff != "" {
			t.Errorf("deleted while Temporal is down (-want +got):\n%s", diff)
		}
		signals.setFail(nil)
		elapse(time.Minute)
		if diff := cmp.Diff([]int64{1, 2, 3, 4, 5, 6}, db.gone()); diff != "" {
			t.Errorf("deleted in the end (-want +got):\n%s", diff)
		}
		var kinds []string
		for _, c := range signals.all() {
			kinds = append(kinds, c.kind)
		}
		slices.Sort(kinds)
		if diff := cmp.Diff([]string{"changed", "pushes", "recheck", "start"}, kinds); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		stop()
		<-done
		in.Drain(context.Background())
	})
}

func TestAFailingOutboxIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, signals := newFakeStore(), &fakeSignals{}
		in := mustNew(t, Deps{Store: db, Signals: signals})
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			in.Run(ctx)
		}()
		synctest.Wait()
		db.setFail(errDown)
		db.enqueue(store.OutboxRow{ID: 1, Org: testOrg, Kind: store.OutboxPush, Target: string(newIntegration())})
		elapse(10 * time.Second)
		db.setFail(nil)
		elapse(3 * time.Second)
		if diff := cmp.Diff([]int64{1}, db.gone()); diff != "" {
			t.Errorf("deleted (-want +got):\n%s", diff)
		}
		stop()
		<-done
		in.Drain(context.Background())
	})
}
