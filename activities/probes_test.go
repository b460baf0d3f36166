package activities_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/monitor"
	"github.com/wedsync/wedsync/internal/store"
)

// probed is a system that answers probes as it is told.
type probed struct {
	answer func(n int64) error
	asked  atomic.Int64
}

func (p *probed) Probe(context.Context) error { return p.answer(p.asked.Add(1)) }

// ward is a connection under probes every 5 s, in the environment of activities.
type ward struct {
	*desk
	system *probed
	id     domain.IntegrationID
	shard  int
	told   chan contract.HealthSignal
	steps  *activities.Probes
	env    *testsuite.TestActivityEnvironment
}

func newWard(t *testing.T, answer func(n int64) error) *ward {
	t.Helper()
	d := setup(t)
	w := &ward{desk: d, system: &probed{answer: answer}, told: make(chan contract.HealthSignal, 100)}
	w.id = d.connect("probed", domain.DirectionImport, w.system).ID
	w.shard = domain.ProbeShard(w.id)
	w.steps = &activities.Probes{Store: d.Store, Prober: activities.NewProber(d.Store, d.opener, nil, monitor.Options{Every: monitor.LeastEvery, Confirm: 10 * time.Millisecond}),
		Tell: func(_ context.Context, shard int, s contract.HealthSignal) error {
			if shard != w.shard {
				return fmt.Errorf("shard %d was told of", shard)
			}
			w.told <- s
			return nil
		}}
	var suite testsuite.WorkflowTestSuite
	w.env = suite.NewTestActivityEnvironment()
	w.env.SetTestTimeout(time.Minute)
	w.env.RegisterActivity(w.steps)
	return w
}

func (w *ward) probe(in activities.ProbeShardInput) (activities.ProbeShardResult, error) {
	w.t.Helper()
	in.Shard = w.shard
	value, err := w.env.ExecuteActivity(w.steps.ProbeShard, in)
	var out activities.ProbeShardResult
	if err == nil {
		w.must(value.Get(&out))
	}
	return out, err
}

func (w *ward) health() (h domain.Health) {
	w.t.Helper()
	w.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		h, err = tx.Health(ctx, w.id)
		return err
	})
	return h
}

func TestAProbedSystemIsUpAndItsResultsAreStored(t *testing.T) {
	t.Parallel()
	w := newWard(t, func(int64) error { return nil })
	w.steps.For = 12 * time.Second
	out, err := w.probe(activities.ProbeShardInput{Last: &contract.ProbeBeat{Probes: 100}})
	if err != nil || out.Off || out.Beat.Targets < 1 || out.Beat.Probes < 101 {
		t.Fatalf("%+v, %v", out, err)
	}
	h := w.health()
	if h.State != domain.HealthUp || h.Reason.Code != domain.HealthAnswers || h.LastProbe == nil || h.LastProbe.Outcome != domain.ProbeOK {
		t.Errorf("%+v", h)
	}
	var hours []domain.HealthRollup
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		hours = nil
		return tx.EachRollup(ctx, store.RollupFilter{Integration: w.id, From: time.Now().Add(-2 * time.Hour), To: time.Now().Add(time.Hour)}, func(r domain.HealthRollup) error {
			hours = append(hours, r)
			return nil
		})
	})
	var sum domain.HealthRollup
	for _, r := range hours {
		sum = sum.Merge(r)
	}
	if sum.OK != out.Beat.Probes-100 || sum.Failed != 0 || sum.Took.Count() != sum.OK || sum.Seconds[domain.HealthUp] < 1 {
		t.Errorf("%+v of %d probes", sum, out.Beat.Probes-100)
	}
	if s := <-w.told; len(s.Moves) != 1 || s.Moves[0].To != domain.HealthUp || s.Moves[0].IntegrationID != w.id {
		t.Errorf("told of %+v", s)
	}
}

func TestWhoeverTakesOverAfterACrashGoesOnFromTheHeartbeat(t *testing.T) {
	t.Parallel()
	w := newWard(t, func(int64) error { return domain.E(domain.KindUnavailable, "timed out") })
	w.steps.For = 9 * time.Second
	// Whoever was there before had counted two failures in a row when it died.
	w.env.SetHeartbeatDetails(contract.ProbeBeat{At: time.Now(), Probes: 7, Suspects: map[domain.IntegrationID]int{w.id: 2}})
	out, err := w.probe(activities.ProbeShardInput{Last: &contract.ProbeBeat{Probes: 1}})
	if err != nil || out.Beat.Probes < 8 {
		t.Fatalf("%+v, %v", out, err)
	}
	if h := w.health(); h.State != domain.HealthDown {
		t.Errorf("one more failure, and it is %+v", h)
	}
}

func TestRefusedCredentialsMoveTheWishAndTheHealth(t *testing.T) {
	t.Parallel()
	w := newWard(t, func(int64) error { return domain.E(domain.KindUnauthenticated, "status 401") })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := w.steps.Prober.Run(ctx, w.shard, nil, func(contract.ProbeBeat) {}, nil)
		done <- err
	}()
	limit := time.After(50 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	wish := func() (i domain.Integration) {
		w.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
			i, err = tx.Integration(ctx, w.id)
			return err
		})
		return i
	}
	for wish().State != domain.IntegrationNeedsReconnect || w.health().State != domain.HealthNeedsReconnect {
		select {
		case <-limit:
			t.Fatalf("it is %+v", w.health())
		case <-tick.C:
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAWorkerThatStopsHandsOverAtOnce(t *testing.T) {
	t.Parallel()
	w := newWard(t, func(int64) error { return nil })
	stop := make(chan struct{})
	w.env.SetWorkerStopChannel(stop)
	close(stop)
	began := time.Now()
	if _, err := w.probe(activities.ProbeShardInput{}); err == nil {
		t.Error("it ended as if its hour were over")
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestWithoutAProberNothingIsProbed(t *testing.T) {
	t.Parallel()
	w := newWard(t, func(int64) error { return nil })
	w.steps.Prober = nil
	if out, err := w.probe(activities.ProbeShardInput{}); err != nil || !out.Off {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestOneConnectionIsAskedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWard(t, func(n int64) error {
		if n <= 2 {
			return domain.E(domain.KindUnavailable, "timed out")
		}
		return nil
	})
	care := &activities.Weddings{Store: w.Store, Prober: w.steps.Prober}
	w.env.RegisterActivity(care)
	ask := func(org domain.OrgID, ids ...domain.IntegrationID) []activities.Answer {
		t.Helper()
		value, err := w.env.ExecuteActivity(care.AskConnections, activities.AskConnectionsInput{Org: org, Connections: ids})
		w.must(err)
		var out activities.AskConnectionsResult
		w.must(value.Get(&out))
		return out.Answers
	}
	if got := ask(w.org, w.id); len(got) != 1 || got[0].Outcome != domain.ProbeFailed || got[0].Cause != domain.KindUnavailable || w.system.asked.Load() != 2 {
		t.Errorf("%+v after %d tries", got, w.system.asked.Load())
	}
	if got := ask(w.org, w.id, w.crm.ID); len(got) != 2 || got[0].Outcome != domain.ProbeOK || got[0].Silent || !got[1].Silent {
		t.Errorf("%+v", got)
	}
	if got := ask(domain.NewID[domain.OrgID](w.clock()), w.id); len(got) != 0 {
		t.Errorf("another tenant may ask it: %+v", got)
	}
}
