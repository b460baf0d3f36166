package activities

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/monitor"
	"github.com/wedsync/wedsync/internal/store"
)

// Probes asks outside systems whether they are well.
type Probes struct {
	Store *store.Store
	// Prober is shared by the shards of a process; nil = this installation probes nothing.
	Prober *monitor.Prober
	// Tell hands moves of health to the shard's workflow; nil tells nobody. What it cannot hand over is left: storage has it.
	Tell func(ctx context.Context, shard int, s contract.HealthSignal) error
	// For is how long one activity probes before it hands over; default an hour.
	For time.Duration
	Log *slog.Logger
}

// NewProber makes the prober of a process over its storage and providers.
func NewProber(s *store.Store, opener *connect.Opener, log *slog.Logger, o monitor.Options) *monitor.Prober {
	return monitor.New(monitor.Deps{Store: s, Log: log, Open: func(ctx context.Context, t store.ProbeTarget) (any, error) {
		if opened, err, kept := opener.Opened(t.IntegrationID, t.Version, t.Zone); kept {
			return opened, err
		}
		i, zone, secrets, err := s.ProbeConnection(ctx, t.IntegrationID)
		if err != nil {
			return nil, err
		}
		return opener.Open(i, zone, func() (map[string]string, error) { return secrets, nil })
	}, Reconnect: func(ctx context.Context, org domain.OrgID, id domain.IntegrationID) error {
		return needsReconnect(ctx, s, opener, org, id, "probe")
	}}, o)
}

// ProbeShardInput names a shard, and where whoever probed it before stopped.
type ProbeShardInput struct {
	Shard int                 `json:"shard"`
	Last  *contract.ProbeBeat `json:"last,omitempty"`
}

// ProbeShardResult tells how far it is.
type ProbeShardResult struct {
	Beat contract.ProbeBeat `json:"beat"`
	Off  bool               `json:"off,omitempty"` // this installation probes nothing
}

const (
	probeFor = time.Hour
	// The first move is told soon, and those that follow together: an outage moves hundreds within a minute, and each signal
	// is a few events of a history.
	tellSoon  = 2 * time.Second
	tellEvery = 30 * time.Second
)

// ProbeShard probes a shard for an hour, and beats with how far it is every few seconds. If the process dies, the next one
// begins where the last heartbeat says; two at the same time do no harm, since results are counted once each and moves are
// checked against what is stored. A worker that stops hands over at once.
func (a *Probes) ProbeShard(ctx context.Context, in ProbeShardInput) (ProbeShardResult, error) {
	if a.Prober == nil {
		return ProbeShardResult{Off: true}, nil
	}
	last := in.Last
	if activity.HasHeartbeatDetails(ctx) {
		var beat contract.ProbeBeat
		if err := activity.GetHeartbeatDetails(ctx, &beat); err == nil {
			last = &beat
		}
	}
	span := a.For
	if span == 0 {
		span = probeFor
	}
	run, cancel := context.WithTimeout(ctx, span)
	defer cancel()
	var stops atomic.Bool
	go func() {
		select {
		case <-activity.GetWorkerStopChannel(ctx):
			stops.Store(true)
			cancel()
		case <-run.Done():
		}
	}()
	tell := &teller{a: a, shard: in.Shard, wake: make(chan struct{}, 1)}
	var told sync.WaitGroup
	told.Go(func() { tell.run(run) })
	beat, err := a.Prober.Run(run, in.Shard, last, func(b contract.ProbeBeat) { activity.RecordHeartbeat(ctx, b) }, tell.note)
	cancel()
	told.Wait()
	tell.flush(context.WithoutCancel(ctx))
	switch {
	case err != nil:
		return ProbeShardResult{}, fail(err)
	case ctx.Err() != nil:
		return ProbeShardResult{}, ctx.Err()
	case stops.Load():
		activity.RecordHeartbeat(ctx, beat)
		return ProbeShardResult{}, temporal.NewApplicationErrorWithOptions("the worker stops; another one goes on", string(domain.KindUnavailable),
			temporal.ApplicationErrorOptions{NextRetryDelay: 100 * time.Millisecond, Category: temporal.ApplicationErrorCategoryBenign})
	}
	return ProbeShardResult{Beat: beat}, nil
}

// teller hands moves to the shard's workflow, few signals for many moves.
type teller struct {
	a     *Probes
	shard int
	wake  chan struct{}

	mu    sync.Mutex
	moves []contract.HealthMoved
	more  int
}

func (t *teller) note(changes []domain.HealthChange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range changes {
		if len(t.moves) == contract.MaxHealthMoves {
			t.more++
			continue
		}
		t.moves = append(t.moves, contract.HealthMoved{OrgID: c.OrgID, IntegrationID: c.IntegrationID, From: c.From, To: c.To, Reason: c.Reason.Code, At: c.At})
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *teller) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		}
		timer := time.NewTimer(tellSoon)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		t.flush(ctx)
		// Who moves again soon is told of later.
		quiet := time.NewTimer(tellEvery - tellSoon)
		select {
		case <-ctx.Done():
			quiet.Stop()
			return
		case <-quiet.C:
		}
	}
}

func (t *teller) flush(ctx context.Context) {
	t.mu.Lock()
	s := contract.HealthSignal{Moves: t.moves, More: t.more}
	t.moves, t.more = nil, 0
	t.mu.Unlock()
	if len(s.Moves) == 0 || t.a.Tell == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := t.a.Tell(ctx, t.shard, s); err != nil && t.a.Log != nil {
		t.a.Log.Warn("moves of health were not told to the workflow; they are stored", "shard", t.shard, "error", err)
	}
}
