package monitor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/monitor"
	"github.com/wedsync/wedsync/internal/rules/health"
	"github.com/wedsync/wedsync/internal/store"
)

// world is storage in memory and the systems outside, in a bubble of time of its own.
type world struct {
	t *testing.T

	mu      sync.Mutex
	targets []store.ProbeTarget // all of shard 0
	looks   map[domain.IntegrationID]store.ProbeLook
	saved   map[domain.IntegrationID][]domain.ProbeResult
	seen    map[string]bool // batches
	changes []domain.HealthChange
	away    bool // storage
	lost    int  // answers of storage that are still to be lost

	// answer is what a system says to the n-th probe of a connection; nil = it is well.
	answer func(ctx context.Context, t store.ProbeTarget, n int) error
	asked  map[domain.IntegrationID][]time.Time
	busy   int
	most   int             // probes on their way at once
	mute   map[string]bool // platforms without a probe
	told   int
	again  []domain.IntegrationID // marked as in need of a reconnect
}

func newWorld(t *testing.T, platforms map[string]int) *world {
	w := &world{t: t, looks: map[domain.IntegrationID]store.ProbeLook{}, saved: map[domain.IntegrationID][]domain.ProbeResult{}, seen: map[string]bool{},
		asked: map[domain.IntegrationID][]time.Time{}, mute: map[string]bool{}}
	n := 0
	for _, name := range []string{"a", "b", "c", "d"} {
		for range platforms[name] {
			n++
			id := domain.IntegrationID(fmt.Sprintf("01900000-0000-7000-8000-%010x00", n))
			w.targets = append(w.targets, store.ProbeTarget{Health: domain.Health{IntegrationID: id, OrgID: domain.OrgID(fmt.Sprintf("01900000-0000-7000-8000-0000000000%02x", n%7)),
				Provider: name, State: domain.HealthUnknown, Since: time.Now()}, Wish: domain.IntegrationActive, Version: 1, Zone: "UTC", CreatedAt: time.Now()})
		}
	}
	return w
}

func (w *world) ProbeTargets(context.Context, int) ([]store.ProbeTarget, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return nil, domain.E(domain.KindUnavailable, "storage is away")
	}
	return slices.Clone(w.targets), nil
}

func (w *world) ProbeLooks(context.Context, int) (map[domain.IntegrationID]store.ProbeLook, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return nil, domain.E(domain.KindUnavailable, "storage is away")
	}
	return w.looks, nil
}

func (w *world) SaveProbes(_ context.Context, batches []store.ProbeBatch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return domain.E(domain.KindUnavailable, "storage is away")
	}
	for _, b := range batches {
		key := string(b.Integration) + b.From.String()
		for _, r := range b.Results {
			if r.At.Before(b.From) || !r.At.Truncate(time.Hour).Equal(b.From.Truncate(time.Hour)) {
				w.t.Errorf("a result of %s is in a batch from %s", r.At, b.From)
			}
		}
		if !w.seen[key] {
			w.seen[key] = true
			w.saved[b.Integration] = append(w.saved[b.Integration], b.Results...)
		}
	}
	if w.lost > 0 {
		w.lost--
		return domain.E(domain.KindUnavailable, "the connection broke")
	}
	return nil
}

func (w *world) MoveHealths(_ context.Context, org domain.OrgID, moves []store.HealthMove) (out []domain.HealthChange, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return nil, domain.E(domain.KindUnavailable, "storage is away")
	}
	for _, m := range moves {
		n := slices.IndexFunc(w.targets, func(t store.ProbeTarget) bool { return t.IntegrationID == m.Integration })
		t := &w.targets[n]
		if t.OrgID != org {
			w.t.Errorf("%s is not of the tenant that it was stored for", m.Integration)
		}
		if t.State == m.To {
			t.Reason = m.Reason
			continue
		}
		if !health.Allowed(t.State, m.To) {
			w.t.Errorf("%s became %s", t.State, m.To)
		}
		c := domain.HealthChange{OrgID: org, IntegrationID: m.Integration, Provider: t.Provider, From: t.State, To: m.To, Reason: m.Reason, At: time.Now()}
		t.State, t.Reason, t.Since = m.To, m.Reason, c.At
		w.changes, out = append(w.changes, c), append(out, c)
	}
	return out, nil
}

// times is how often a connection was asked so far.
func (w *world) times(id domain.IntegrationID) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.asked[id])
}

// system is a connection to a system outside.
type system struct {
	w *world
	t store.ProbeTarget
}

func (s system) Probe(ctx context.Context) error {
	w := s.w
	w.mu.Lock()
	w.asked[s.t.IntegrationID] = append(w.asked[s.t.IntegrationID], time.Now())
	n, answer := len(w.asked[s.t.IntegrationID]), w.answer
	w.busy++
	w.most = max(w.most, w.busy)
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.busy--
		w.mu.Unlock()
	}()
	if answer == nil {
		return pause(ctx, 100*time.Millisecond)
	}
	return answer(ctx, s.t, n)
}

// pause is how long a system takes to answer.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return domain.E(domain.KindUnavailable, "timed out: %w", ctx.Err())
	}
}

func hang(ctx context.Context) error { return pause(ctx, time.Hour) }

func (w *world) prober(o monitor.Options) *monitor.Prober {
	return monitor.New(monitor.Deps{Store: w, Open: func(_ context.Context, t store.ProbeTarget) (any, error) {
		if w.mute[t.Provider] {
			return struct{}{}, nil
		}
		return system{w, t}, nil
	}, Reconnect: func(_ context.Context, _ domain.OrgID, id domain.IntegrationID) error {
		w.edit(id, func(t *store.ProbeTarget) {
			t.Wish, t.WishReason = domain.IntegrationNeedsReconnect, "the system did not accept our credentials"
		})
		w.mu.Lock()
		defer w.mu.Unlock()
		w.again = append(w.again, id)
		return nil
	}}, o)
}

// edit changes what is stored of a connection.
func (w *world) edit(id domain.IntegrationID, fn func(t *store.ProbeTarget)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := range w.targets {
		if w.targets[n].IntegrationID == id || id == "" {
			fn(&w.targets[n])
		}
	}
}

func (w *world) set(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

// run is a prober at work on shard 0.
type run struct {
	stop func() contract.ProbeBeat
	mu   sync.Mutex
	last contract.ProbeBeat
}

func (w *world) run(o monitor.Options, last *contract.ProbeBeat) *run {
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{}
	done := make(chan contract.ProbeBeat, 1)
	go func() {
		beat, err := w.prober(o).Run(ctx, 0, last, func(b contract.ProbeBeat) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.last = b
		}, func(c []domain.HealthChange) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told += len(c)
		})
		if err != nil {
			w.t.Errorf("run: %v", err)
		}
		done <- beat
	}()
	r.stop = func() contract.ProbeBeat {
		cancel()
		return <-done
	}
	return r
}

func (r *run) beat() contract.ProbeBeat {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// wait lets time pass in the bubble.
func wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// states counts the connections of a platform by state.
func (w *world) states(platform string) map[domain.HealthState]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[domain.HealthState]int{}
	for _, t := range w.targets {
		if t.Provider == platform {
			out[t.State]++
		}
	}
	return out
}

// outcomes counts what was stored.
func (w *world) outcomes() map[domain.ProbeOutcome]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[domain.ProbeOutcome]int{}
	for _, list := range w.saved {
		for _, r := range list {
			out[r.Outcome]++
		}
	}
	return out
}

var errBroken = errors.New("a text that may quote anything")
