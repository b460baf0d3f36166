// Package worker runs WedSync's workflows and activities: which of them live on which task queue is decided here, in one
// list, and a process serves the queues it is told to, so that each part can be deployed and scaled on its own.
//
// Stopping waits for running activities up to a bound; what is not finished then is handed over by Temporal's own
// retries, which every activity bears.
package worker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/mailer"
	"github.com/wedsync/wedsync/internal/monitor"
	"github.com/wedsync/wedsync/internal/notify"
	"github.com/wedsync/wedsync/internal/rules/failover"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/tracing"
	"github.com/wedsync/wedsync/workflows"
)

// Deps is what the activities need.
type Deps struct {
	Temporal client.Client
	Store    *store.Store
	Opener   *connect.Opener
	Log      *slog.Logger
	// NotifyURL is the public address of the servers to which outside systems post; "" makes no watches.
	NotifyURL string
	// PagerDuty is where events for PagerDuty are posted; "" = notify.PagerDutyURL.
	PagerDuty string
	// Broadcast posts outgoing webhooks. Required to serve contract.QueueBroadcast.
	Broadcast *httpx.Client
	// Mail hands notifications to a mail server; nil sends none.
	Mail *mailer.Mailer
	// Link is the public address of the dashboard, for notifications; "" = they hold none.
	Link string
	// Tracer follows traced work through workflows and steps; nil = tracing is off.
	Tracer *tracing.Tracer
	// FailOver has a connection read at once that tells of no news on the day of a wedding; nil = there is no way.
	FailOver func(ctx context.Context, org domain.OrgID, id domain.IntegrationID, reason string) error
	// Interceptors stand around workflows and steps, inside those of tracing; nil = none.
	Interceptors []interceptor.WorkerInterceptor
	// BroadcastWait replaces the published schedule of retries, for tests.
	BroadcastWait func(failures int) time.Duration

	// ProbeOpener opens connections for probes, over a client that allows ProbeConns connections to a host; nil = Opener.
	ProbeOpener *connect.Opener
	// ProbeControl asks something that works whenever our own connection to the outside does; nil = there is nothing to ask.
	ProbeControl func(ctx context.Context) error

	// Failover are the numbers of failing over; the zero value of each takes its default.
	Failover failover.Settings

	gate   *activities.Gate
	prober *monitor.Prober
}

// ProbeConns is how many connections to one host probes may need at once: most connections of a platform share its host, and
// while it hangs each probe holds one. With fewer, probes would wait for each other and fail by our own fault.
const ProbeConns = 2000

// workflowTasks is how many workflows one process carries on at the same time.
const workflowTasks = 50

// Options tune a worker process. The zero value serves every queue with defaults for a small machine.
type Options struct {
	Queues        []string      // of contract.Queues(); empty = all
	DatabaseSteps int           // database steps at once; default 6
	Reads         int           // reads of outside systems at once; default 32
	Writes        int           // writes to outside systems at once; default 32
	Posts         int           // subscribers that are sent to at once; default 64
	Shards        int           // shards of the probing at once; default all of them
	ProbeEvery    time.Duration // between two probes of a connection; 0 = nothing is probed
	StopTimeout   time.Duration // how long running activities may take to finish; default 20 s
}

// Validate checks the queue names and the bounds.
func (o Options) Validate() error {
	for _, q := range o.Queues {
		if !slices.Contains(contract.Queues(), q) {
			return domain.Invalid("queues", "unknown queue %q; known are %s", q, strings.Join(contract.Queues(), ", "))
		}
	}
	for name, n := range map[string]int{"database-steps": o.DatabaseSteps, "reads": o.Reads, "writes": o.Writes, "posts": o.Posts, "probe-shards": o.Shards} {
		if n < 0 || n > 10_000 {
			return domain.Invalid(name, "must be 0 (default) to 10000, is %d", n)
		}
	}
	if o.ProbeEvery != 0 && (o.ProbeEvery < monitor.LeastEvery || o.ProbeEvery > monitor.MostEvery) {
		return domain.Invalid("probe-every", "must be %s to %s, or 0 to probe nothing, is %s", monitor.LeastEvery, monitor.MostEvery, o.ProbeEvery)
	}
	return nil
}

// Worker serves task queues.
type Worker struct {
	workers []worker.Worker
	queues  []string
	fatal   chan error
}

// beatEvery is how often heartbeats of a step are sent at the most. The SDK by itself sends one each four fifths of their time-out:
// of 30 s that leaves 6 s to a slow machine, and a step that goes on well is taken for lost and begun anew.
const beatEvery = 5 * time.Second

// common are the options of every queue.
func common(d Deps, o Options) worker.Options {
	return worker.Options{
		WorkerStopTimeout:            o.StopTimeout,
		MaxHeartbeatThrottleInterval: beatEvery,
		DisableRegistrationAliasing:  true,
		Interceptors:                 append(interceptors(d.Tracer), d.Interceptors...),
	}
}

// New makes a worker; Start begins to serve.
func New(d Deps, o Options) (*Worker, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if len(o.Queues) == 0 {
		o.Queues = contract.Queues()
	}
	if o.StopTimeout == 0 {
		o.StopTimeout = 20 * time.Second
	}
	if slices.Contains(o.Queues, contract.QueueBroadcast) && d.Broadcast == nil {
		return nil, domain.Invalid("queues", "%s needs a client for outgoing webhooks", contract.QueueBroadcast)
	}
	w := &Worker{queues: o.Queues, fatal: make(chan error, len(o.Queues))}
	for _, q := range o.Queues {
		options := common(d, o)
		options.OnFatalError = func(err error) {
			w.fatal <- fmt.Errorf("worker on %s: %w", q, err)
		}
		switch q {
		case contract.QueueCore:
			options.DisableWorkflowWorker = false
			options.LocalActivityWorkerOnly = true
			// Batches of deliveries pass a gate that shares the steps fairly. Those that wait before it hold a slot, so
			// there are slots for all workflow tasks: other steps are short and not held up.
			steps := orDefault(o.DatabaseSteps, 6)
			d.gate = activities.NewGate(steps)
			options.MaxConcurrentLocalActivityExecutionSize = max(steps, workflowTasks)
			options.MaxConcurrentWorkflowTaskExecutionSize = workflowTasks
			// Half of the polls wait at the queue of this process's own workflows. A task that finds no poll waiting is
			// written to Temporal's store and read back, which is dearer than the polls: with 4, bench-flow's steady
			// part cost Temporal a tenth more processor time and p99 was about twice as long.
			options.MaxConcurrentWorkflowTaskPollers = 32
		case contract.QueueSync:
			options.DisableWorkflowWorker = true
			options.MaxConcurrentActivityExecutionSize = orDefault(o.Reads, 32)
		case contract.QueuePush:
			options.DisableWorkflowWorker = true
			options.MaxConcurrentActivityExecutionSize = orDefault(o.Writes, 32)
		case contract.QueueBroadcast:
			options.DisableWorkflowWorker = true
			options.MaxConcurrentActivityExecutionSize = orDefault(o.Posts, 64)
		case contract.QueueProbe:
			options.DisableWorkflowWorker = true
			options.MaxConcurrentActivityExecutionSize = orDefault(o.Shards, domain.ProbeShards)
			if o.ProbeEvery > 0 {
				opener := d.ProbeOpener
				if opener == nil {
					opener = d.Opener
				}
				d.prober = activities.NewProber(d.Store, opener, d.Log, monitor.Options{Every: o.ProbeEvery, Control: d.ProbeControl})
			}
		}
		one := worker.New(d.Temporal, q, options)
		Register(one, q, d)
		w.workers = append(w.workers, one)
	}
	return w, nil
}

func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

// Registry is what Register needs of a worker or of a test environment.
type Registry interface {
	RegisterWorkflowWithOptions(w any, o workflow.RegisterOptions)
	RegisterActivity(a any)
}

// Register puts the workflows and activities of a queue into a registry. The core queue gets all activities, because
// database steps run there as local activities; the others get what is called on them.
func Register(r Registry, queue string, d Deps) {
	if queue == contract.QueueCore {
		RegisterWorkflows(r)
		r.RegisterActivity(&activities.Integrations{Store: d.Store, Opener: d.Opener, NotifyURL: d.NotifyURL})
		r.RegisterActivity(&activities.Deliveries{Gate: d.gate, Store: d.Store, Opener: d.Opener, Worker: identity()})
		r.RegisterActivity(&activities.Replays{Store: d.Store, Opener: d.Opener})
		r.RegisterActivity(&activities.Timelines{Store: d.Store})
		r.RegisterActivity(&activities.Holds{Store: d.Store})
		r.RegisterActivity(&activities.Alerts{Store: d.Store})
		r.RegisterActivity(&activities.Maintenances{Store: d.Store})
		r.RegisterActivity(&activities.Failovers{Store: d.Store, Opener: d.Opener, NotifyURL: d.NotifyURL, Settings: d.Failover})
	}
	if queue == contract.QueueCore || queue == contract.QueueSync {
		r.RegisterActivity(&activities.Weddings{Store: d.Store, Prober: d.once(), FailOver: d.FailOver})
	}
	if queue == contract.QueueCore || queue == contract.QueueSync {
		r.RegisterActivity(&activities.Onboardings{Store: d.Store, Opener: d.Opener, NotifyURL: d.NotifyURL})
	}
	if queue == contract.QueueCore || queue == contract.QueueSync {
		r.RegisterActivity(&activities.Syncs{Store: d.Store, Opener: d.Opener, Grace: d.Failover.Grace})
		r.RegisterActivity(&activities.Conflicts{Store: d.Store, Opener: d.Opener})
	}
	if queue == contract.QueueSync {
		r.RegisterActivity(&activities.Watches{Store: d.Store, Opener: d.Opener, NotifyURL: d.NotifyURL})
	}
	if queue == contract.QueueProbe {
		r.RegisterActivity(&activities.Probes{Store: d.Store, Prober: d.prober, Tell: d.tellHealth, Log: d.Log})
	}
	if queue == contract.QueuePush {
		r.RegisterActivity(&activities.Pushes{Store: d.Store, Opener: d.Opener})
	}
	if queue == contract.QueueCore || queue == contract.QueueBroadcast {
		r.RegisterActivity(&activities.Subscriptions{Store: d.Store, HTTP: d.Broadcast, Wait: d.BroadcastWait})
		r.RegisterActivity(&activities.Notifications{Store: d.Store, Senders: notify.Senders{Mail: d.Mail, HTTP: d.Broadcast, PagerDuty: d.PagerDuty}, Link: d.Link})
	}
}

// once makes a prober that asks connections one by one, with connections and limits of its own; nil when there is nothing to open
// them with.
func (d Deps) once() *monitor.Prober {
	if d.Opener == nil || d.Store == nil {
		return nil
	}
	return activities.NewProber(d.Store, d.Opener, d.Log, monitor.Options{Control: d.ProbeControl})
}

// tellHealth hands moves of health to the workflow of a shard.
func (d Deps) tellHealth(ctx context.Context, shard int, s contract.HealthSignal) error {
	return d.Temporal.SignalWorkflow(ctx, contract.ProbeWorkflowID(shard), "", contract.SignalHealth, s)
}

// identity names this process in the history of attempts, as Temporal's clients name themselves.
func identity() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%d@%s", os.Getpid(), host)
}

// RegisterWorkflows puts the workflows into a registry, as the replay test does too.
func RegisterWorkflows(r interface {
	RegisterWorkflowWithOptions(w any, o workflow.RegisterOptions)
}) {
	r.RegisterWorkflowWithOptions(workflows.Integration, workflow.RegisterOptions{Name: contract.IntegrationWorkflow})
	r.RegisterWorkflowWithOptions(workflows.Sync, workflow.RegisterOptions{Name: contract.SyncWorkflow})
	r.RegisterWorkflowWithOptions(workflows.Conflict, workflow.RegisterOptions{Name: contract.ConflictWorkflow})
	r.RegisterWorkflowWithOptions(workflows.Subscription, workflow.RegisterOptions{Name: contract.SubscriptionWorkflow})
	r.RegisterWorkflowWithOptions(workflows.Replay, workflow.RegisterOptions{Name: contract.ReplayWorkflow})
	r.RegisterWorkflowWithOptions(workflows.Timeline, workflow.RegisterOptions{Name: contract.TimelineWorkflow})
	r.RegisterWorkflowWithOptions(workflows.Hold, workflow.RegisterOptions{Name: contract.HoldWorkflow})
	r.RegisterWorkflowWithOptions(workflows.Notify, workflow.RegisterOptions{Name: contract.NotifyWorkflow})
	r.RegisterWorkflowWithOptions(workflows.Probe, workflow.RegisterOptions{Name: contract.ProbeWorkflow})
	r.RegisterWorkflowWithOptions(workflows.Onboard, workflow.RegisterOptions{Name: contract.OnboardWorkflow})
	r.RegisterWorkflowWithOptions(workflows.Alerts, workflow.RegisterOptions{Name: contract.AlertsWorkflow})
	r.RegisterWorkflowWithOptions(workflows.Maintenance, workflow.RegisterOptions{Name: contract.MaintenanceWorkflow})
	r.RegisterWorkflowWithOptions(workflows.Wedding, workflow.RegisterOptions{Name: contract.WeddingWorkflow})
}

// Start begins to serve. It needs Temporal to be reachable.
func (w *Worker) Start() error {
	for i, one := range w.workers {
		if err := one.Start(); err != nil {
			for _, started := range w.workers[:i] {
				started.Stop()
			}
			return domain.E(domain.KindUnavailable, "start worker on %s: %w", w.queues[i], err)
		}
	}
	return nil
}

// Fatal delivers an error after which the worker no longer serves, such as a namespace that vanished.
func (w *Worker) Fatal() <-chan error { return w.fatal }

// Stop ends polling, waits for what runs up to the stop timeout, and returns. ctx shortens the wait.
func (w *Worker) Stop(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, one := range w.workers {
			one.Stop()
		}
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
