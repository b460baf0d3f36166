package inbox

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/domain"
)

// Storage is what the inbox needs of the store: store.Store, or a fake in tests.
type Storage interface {
	Inserter
	WorkFinder
	Outbox
}

// Deps are the parts an Inbox stands on.
type Deps struct {
	Store   Storage
	Signals Signals
	Log     *slog.Logger          // nil = slog.Default
	Metrics prometheus.Registerer // nil = none
	// Accepted, if set, is called after each commit with every delivery that is new. It must not block.
	Accepted func(org domain.OrgID, integration domain.IntegrationID, id domain.DeliveryID)

	Writer     WriterOptions
	Dispatcher DispatcherOptions
	Sweeper    SweeperOptions
	Relay      RelayOptions
}

// Inbox is the four parts, connected.
type Inbox struct {
	Writer     *Writer
	Dispatcher *Dispatcher
	Sweeper    *Sweeper
	Relay      *Relay
}

// New starts writer and dispatcher; [Inbox.Run] does the rest. It fails only if metrics of the same names are
// registered already.
func New(deps Deps) (*Inbox, error) {
	if deps.Store == nil || deps.Signals == nil {
		return nil, domain.E(domain.KindInvalid, "make an inbox: Store and Signals are required")
	}
	log := deps.Log
	if log == nil {
		log = slog.Default()
	}
	m := newMetrics()
	in := &Inbox{}
	in.Dispatcher = newDispatcher(deps.Signals, deps.Dispatcher, log, m)
	committed := in.Dispatcher.deliver
	if deps.Accepted != nil {
		committed = func(fresh []Committed) {
			in.Dispatcher.deliver(fresh)
			for _, c := range fresh {
				deps.Accepted(c.Ref.Org, c.Ref.ID, c.ID)
			}
		}
	}
	in.Writer = newWriter(deps.Store, deps.Writer, m, committed)
	in.Sweeper = newSweeper(deps.Store, in.Dispatcher, deps.Sweeper, log, m)
	in.Relay = newRelay(deps.Store, in.Dispatcher, deps.Relay, log, m)
	if err := m.register(deps.Metrics, in.Writer, in.Dispatcher); err != nil {
		end, cancel := context.WithCancel(context.Background())
		cancel()
		return nil, errors.Join(domain.E(domain.KindInternal, "register inbox metrics: %w", err), in.Drain(end))
	}
	return in, nil
}

// Run sweeps and relays until ctx ends. It always returns nil after that: faults of storage and Temporal are logged
// and waited out.
func (in *Inbox) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	parts.Go(func() { in.Sweeper.run(ctx) })
	parts.Go(func() { in.Relay.run(ctx) })
	parts.Wait()
	return nil
}

// Drain stores what is queued, sends what waits, and stops writer and dispatcher. Call it when no request is under way
// any more and Run has returned. What cannot be done before ctx ends is in storage or was never acknowledged.
func (in *Inbox) Drain(ctx context.Context) error {
	return errors.Join(in.Writer.drain(ctx), in.Dispatcher.drain(ctx))
}
