package inbox

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/store"
)

// WorkFinder finds work that waits: store.Store, or a fake in tests.
type WorkFinder interface {
	// IntegrationsWithWork returns integrations whose oldest delivery or push has been due for longer than olderThan.
	// Calls in turn go round all such integrations, limit at a time.
	IntegrationsWithWork(ctx context.Context, olderThan time.Duration, limit int) ([]store.WaitingIntegration, error)
}

// SweeperOptions tune a Sweeper. The zero value of every field takes its default.
type SweeperOptions struct {
	// Every is the time between sweeps, default 5 s, spread by a fifth so that many servers do not sweep together.
	Every time.Duration
	// OlderThan is how long work must have waited, default 15 s: younger work is on its way by itself.
	OlderThan time.Duration
	// Again is the least time between two signals for one integration found by sweeps, default 30 s.
	Again time.Duration
	// Limit bounds the integrations of one sweep, default 500.
	Limit int
}

func (o *SweeperOptions) defaults() {
	setDefault(&o.Every, 5*time.Second)
	setDefault(&o.OlderThan, 15*time.Second)
	setDefault(&o.Again, 30*time.Second)
	setDefault(&o.Limit, 500)
}

// Sweeper finds what nobody was told about. It runs in every server: a workflow that is told twice drains once.
type Sweeper struct {
	db   WorkFinder
	d    *Dispatcher
	o    SweeperOptions
	log  *slog.Logger
	m    *metrics
	last map[domain.IntegrationID]time.Time
	bad  bool
	more bool // the last sweep found as many as it may: others wait behind them
}

func newSweeper(db WorkFinder, d *Dispatcher, o SweeperOptions, log *slog.Logger, m *metrics) *Sweeper {
	o.defaults()
	return &Sweeper{db: db, d: d, o: o, log: log, m: m, last: make(map[domain.IntegrationID]time.Time)}
}

func (s *Sweeper) run(ctx context.Context) {
	timer := time.NewTimer(rand.N(s.o.Every))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := s.Sweep(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !s.bad:
			s.log.Warn("the sweep for waiting work does not work; it goes on trying", "error", err)
		case err == nil && s.bad:
			s.log.Info("the sweep for waiting work works again")
		}
		s.bad = err != nil
		every := s.o.Every
		if s.more && err == nil {
			// Many wait, perhaps all of one organisation. Those behind them must not wait for each round of theirs.
			every /= 10
		}
		timer.Reset(every - every/10 + rand.N(every/5+1))
	}
}

// Sweep looks once and hands what it finds to the dispatcher. It must not run twice at the same time.
func (s *Sweeper) Sweep(ctx context.Context) error {
	found, err := s.db.IntegrationsWithWork(ctx, s.o.OlderThan, s.o.Limit)
	if err != nil {
		s.m.sweeps.WithLabelValues("error").Inc()
		return domain.E(domain.KindOf(err), "look for waiting work: %w", err)
	}
	s.more = len(found) >= s.o.Limit
	now := time.Now()
	for id, at := range s.last {
		if now.Sub(at) >= s.o.Again {
			delete(s.last, id)
		}
	}
	told := 0
	for i := range found {
		w := &found[i]
		if _, recently := s.last[w.Integration]; recently {
			continue
		}
		s.last[w.Integration] = now
		s.d.tellIntegration(flow.IntegrationRef{Org: w.Org, ID: w.Integration}, errand{
			deliveries: len(w.IDs) > 0, ids: w.IDs, more: w.More, pushes: w.Pushes, priority: w.Priority})
		told++
	}
	s.m.sweeps.WithLabelValues("ok").Inc()
	s.m.swept.Add(float64(told))
	return nil
}
