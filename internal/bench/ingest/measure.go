package ingest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/bench/load"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/inbox"
	"github.com/wedsync/wedsync/internal/store"
)

// measureAccept holds dispatch, so that nothing but the intake runs.
func measureAccept(ctx context.Context, o Options, r *Result) error {
	b, err := newBed(ctx, o, false)
	if err != nil {
		return err
	}
	defer b.close()
	metrics := prometheus.NewRegistry()
	in, err := inbox.New(inbox.Deps{Store: b.db, Signals: nobody{}, Log: o.Log, Metrics: metrics, Writer: o.Writer, Dispatcher: o.Dispatcher})
	if err != nil {
		return err
	}
	in.Dispatcher.Hold()
	addr, stop, err := b.serve(ctx, in.Writer.Put, metrics)
	if err != nil {
		return err
	}
	sum, err := b.load(ctx, "accept", addr)
	stop()
	if err = errors.Join(err, in.Drain(ctx)); err != nil {
		return err
	}
	r.AckedPerS, r.P50, r.P99 = round(sum.PerSecond(), 1), ms(sum.P50), ms(sum.P99)
	o.Say(fmt.Sprintf("accept: %.1f rows per commit", meanBatch(metrics)))
	return b.check(ctx, sum, r)
}

// nobody is told while dispatch is held; being asked is a fault of the benchmark.
type nobody struct{}

var errHeld = errors.New("a signal was sent although dispatch is held")

func (nobody) Deliveries(context.Context, flow.IntegrationRef, contract.DeliveriesSignal) error {
	return errHeld
}

func (nobody) TellHold(context.Context, contract.HoldInput) error { return errHeld }

func (nobody) TellWedding(context.Context, contract.WeddingInput) error { return errHeld }

func (nobody) TellOnboarding(context.Context, contract.OnboardInput) error { return errHeld }

func (nobody) FollowTimeline(context.Context, contract.TimelineInput) error { return errHeld }
func (nobody) WakeNotify(context.Context, domain.OrgID) error               { return errHeld }
func (nobody) WakeAlerts(context.Context, domain.OrgID) error               { return errHeld }

func (nobody) WakeMaintenance(context.Context, contract.MaintenanceInput) error { return errHeld }

func (nobody) Pushes(context.Context, flow.IntegrationRef, contract.PushesSignal) error {
	return errHeld
}
func (nobody) Changed(context.Context, flow.IntegrationRef, contract.ChangedSignal) error {
	return errHeld
}
func (nobody) StartReplay(context.Context, contract.ReplayInput) error { return errHeld }

func (nobody) StartConflict(context.Context, contract.ConflictInput) error { return errHeld }
func (nobody) RecheckConflict(context.Context, domain.ConflictID, contract.RecheckSignal) error {
	return errHeld
}

// measureFull runs everything that a server and a worker process run.
func measureFull(ctx context.Context, o Options, r *Result) error {
	b, err := newBed(ctx, o, true)
	if err != nil {
		return err
	}
	defer b.close()
	metrics := prometheus.NewRegistry()
	stopWorkers := func() {}
	if !o.NoWorkers {
		if stopWorkers, err = b.startWorkers(ctx); err != nil {
			return err
		}
	}
	defer stopWorkers()
	in, err := inbox.New(inbox.Deps{Store: b.db, Signals: b.flow, Log: o.Log, Metrics: metrics, Writer: o.Writer,
		Dispatcher: o.Dispatcher, Relay: inbox.RelayOptions{Conflict: inbox.ConflictReader(b.db)}})
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { _ = in.Run(running) }) // always nil
	addr, stop, err := b.serve(ctx, in.Writer.Put, metrics)
	var sum load.Summary
	if err == nil {
		sum, err = b.load(ctx, "full", addr)
		stop()
	}
	applied, countErr := b.applied(ctx)
	cancel()
	beside.Wait()
	end, cancelEnd := context.WithTimeout(ctx, 30*time.Second)
	defer cancelEnd()
	if err = errors.Join(err, countErr, in.Drain(end)); err != nil {
		return err
	}
	o.Say(fmt.Sprintf("full: %d of the webhooks were applied meanwhile, %.1f rows per commit", applied, meanBatch(metrics)))
	o.Say("full: " + counters(metrics, "wedsync_inbox_signals_total"))
	r.FullAckedPerS, r.FullP99 = round(sum.PerSecond(), 1), ms(sum.P99)
	return b.check(ctx, sum, r)
}

// measureNaive signals a workflow by signal-with-start for each request before it acknowledges.
func measureNaive(ctx context.Context, o Options, r *Result) error {
	b, err := newBed(ctx, o, true)
	if err != nil {
		return err
	}
	defer b.close()
	addr, stop, err := b.serve(ctx, func(ctx context.Context, d store.NewDelivery, provider string) (store.InsertedDelivery, error) {
		ref := flow.IntegrationRef{Org: d.OrgID, ID: d.IntegrationID, Provider: provider}
		o := ref.StartOptions()
		_, err := b.flow.Temporal().SignalWithStartWorkflow(ctx, o.ID, contract.SignalDeliveries,
			contract.DeliveriesSignal{IDs: []domain.DeliveryID{d.ID}}, o, contract.IntegrationWorkflow, ref.Input())
		return store.InsertedDelivery{ID: d.ID}, err
	}, nil)
	if err != nil {
		return err
	}
	defer stop()
	sum, err := b.load(ctx, "naive", addr)
	if err != nil {
		return err
	}
	r.NaivePerS = round(sum.PerSecond(), 1)
	return nil
}

// measureRaw inserts what the intake would insert, in full batches.
func measureRaw(ctx context.Context, o Options, r *Result) error {
	b, err := newBed(ctx, o, false)
	if err != nil {
		return err
	}
	defer b.close()
	orgOf := make(map[domain.IntegrationID]domain.OrgID)
	for _, t := range b.targets {
		record, err := b.db.IntakeRecord(ctx, t.Integration)
		if err != nil {
			return err
		}
		orgOf[t.Integration] = record.Integration.OrgID
	}
	body := make([]byte, o.BodyBytes)
	if _, err := rand.Read(body); err != nil {
		return fmt.Errorf("make a body: %w", err)
	}
	unprofile, err := b.profile("raw")
	if err != nil {
		return err
	}
	defer unprofile()
	start := time.Now()
	warm, end := start.Add(o.Warmup), start.Add(o.Warmup+o.Duration)
	var number, measured atomic.Uint64
	faults := make([]error, o.Writer.Committers)
	var all sync.WaitGroup
	for c := range o.Writer.Committers {
		all.Go(func() {
			batch := make([]store.NewDelivery, o.Writer.MaxRows)
			for time.Now().Before(end) {
				for i := range batch {
					n := number.Add(1)
					to, now := b.targets[n%uint64(len(b.targets))].Integration, time.Now()
					d := store.NewDelivery{ID: domain.NewID[domain.DeliveryID](now), OrgID: orgOf[to], IntegrationID: to,
						Dedupe: load.DedupeKey(n), Size: len(body), ReceivedAt: now}
					d.Content = b.db.SealDelivery(d.OrgID, d.ID, map[string]string{
						"content-type": "application/json", "webhook-id": load.MessageID(n)}, body)
					batch[i] = d
				}
				if _, err := b.db.InsertDeliveries(ctx, batch); err != nil {
					faults[c] = err
					return
				}
				if now := time.Now(); now.After(warm) && now.Before(end) {
					measured.Add(uint64(len(batch)))
				}
			}
		})
	}
	all.Wait()
	if err := errors.Join(faults...); err != nil {
		return err
	}
	r.RawRowsPerS = round(float64(measured.Load())/o.Duration.Seconds(), 1)
	o.Say(fmt.Sprintf("raw: %.0f rows/s in batches of %d by %d committers", r.RawRowsPerS, o.Writer.MaxRows, o.Writer.Committers))
	return nil
}
