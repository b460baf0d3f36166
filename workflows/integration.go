package workflows

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// Integration lives as long as a connection. It applies what vendors delivered, in order of arrival, writes copies to
// the system, polls it, and takes pause, resume and resync from people.
func Integration(ctx workflow.Context, in contract.IntegrationInput) error {
	s := newIntegration(ctx, in)
	if err := s.setup(ctx); err != nil {
		return err
	}
	return s.run(ctx)
}

// resyncLimit bounds the resyncs waiting behind the one in progress; each covers everything, so more make no sense.
const resyncLimit = 5

// applyRounds bounds the batches applied before pushes, syncs and people get their turn.
const applyRounds = 10

// oldestEvery is how often a batch takes the oldest deliveries whatever their priority, so that bulk gets at least that
// share of the work however much is more urgent.
const oldestEvery = 8

// orphanAfter is how long a new run waits for the end of a sync that the run before it started. Only its signal tells,
// which a terminated sync does not send.
const orphanAfter = 24 * time.Hour

type integration struct {
	in contract.IntegrationInput
	contract.IntegrationCarried

	deliveries, pushSignals, changes, synced workflow.ReceiveChannel

	reload   bool // the row may have changed
	orders   []*order
	pushing  workflow.Future // PushBookings in progress
	syncing  workflow.Future // child Sync in progress, known in this run
	pulling  workflow.Future // PullNews in progress
	pull     contract.ResyncRequest
	alarm    workflow.Future // the one timer
	alarmAt  time.Time
	cancel   workflow.CancelFunc
	retryAt  time.Time // database steps failed: nothing before this
	pushFail int       // failed writing steps in a row
	batches  int       // of deliveries, in this run
	orphanAt time.Time // a sync run taken over from the run before counts as lost at this time
	attrs    domain.IntegrationState
	finished bool
	begun    bool // the first pull is behind, or was by an earlier run

	keeping    workflow.Future // KeepWatches in progress
	watchesDue time.Time       // when the watches are to be looked after
	watchRetry time.Time       // KeepWatches failed: not before this
	watchFail  int
	pulledAt   time.Time // when this run last began a pull

	quiet domain.MaintenanceID // the window that was told that nothing goes on any more

	failoverDue time.Time // when failing over is to be judged
	pulled      bool      // a pull ended that was not judged yet
}

// order is a pause or resume, or a wish to fail over, noted by its handler and carried out by the loop.
type order struct {
	state domain.IntegrationState
	by    string
	done  bool
	err   error

	failover *contract.FailoverRequest // nil for the others
	outcome  contract.FailoverResult
}

func newIntegration(ctx workflow.Context, in contract.IntegrationInput) *integration {
	s := &integration{in: in, reload: true}
	if in.Carried != nil {
		s.IntegrationCarried, s.begun = *in.Carried, true
	} else {
		// A first run may follow a crash that left work behind, so it looks.
		s.Deliveries, s.Pushes = true, true
	}
	if s.Current != nil {
		s.orphanAt = workflow.Now(ctx).Add(orphanAfter)
	}
	s.Runs++
	s.deliveries = workflow.GetSignalChannel(ctx, contract.SignalDeliveries)
	s.pushSignals = workflow.GetSignalChannel(ctx, contract.SignalPushes)
	s.changes = workflow.GetSignalChannel(ctx, contract.SignalChanged)
	s.synced = workflow.GetSignalChannel(ctx, contract.SignalSynced)
	return s
}

func (s *integration) run(ctx workflow.Context) error {
	for {
		s.drain()
		s.act(ctx)
		s.describe(ctx)
		if s.finished {
			s.drain()
			return workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
		}
		if s.mayRenew(ctx) {
			return s.renew(ctx)
		}
		s.setAlarm(ctx)
		if err := workflow.Await(ctx, func() bool { return s.awake(ctx) }); err != nil {
			return err
		}
	}
}

// drain takes every signal that is there. Signals only raise flags, so order between them does not matter.
func (s *integration) drain() {
	for {
		var d contract.DeliveriesSignal
		if !s.deliveries.ReceiveAsync(&d) {
			break
		}
		s.Deliveries = true
		s.Counts.Signals++
	}
	for s.pushSignals.ReceiveAsync(nil) {
		s.Pushes = true
	}
	for s.changes.ReceiveAsync(nil) {
		s.reload = true
	}
	for {
		var done contract.SyncedSignal
		if !s.synced.ReceiveAsync(&done) {
			break
		}
		s.endSync(done.RunID)
	}
}

func (s *integration) endSync(id domain.SyncRunID) {
	if s.Current == nil || *s.Current != id {
		return
	}
	s.Current, s.syncing, s.LastRun = nil, nil, &id
	s.Counts.Syncs++
	// A run may have found that the credentials no longer work.
	s.reload = true
	s.pulled = true
}

// act does everything that can be done now.
func (s *integration) act(ctx workflow.Context) {
	now := workflow.Now(ctx)
	if s.alarm != nil && s.alarm.IsReady() {
		s.alarm, s.cancel = nil, nil
	}
	if now.Before(s.retryAt) {
		return
	}
	if s.reload || s.Config == nil || s.restOver(now) {
		if !s.load(ctx) {
			return
		}
	}
	s.carryOut(ctx)
	s.collectWatches(ctx)
	if !s.resting(now) || s.Config.State == domain.IntegrationDeleted {
		s.keepWatches(ctx)
	}
	if s.Config.State == domain.IntegrationDeleted {
		// Its watches are ended before. That is tried for an hour at the most.
		s.finished = s.keeping == nil && s.watchesDue.IsZero()
		return
	}
	s.collectPush(ctx)
	s.collectNews(ctx)
	if s.syncing != nil && s.syncing.IsReady() && s.Current != nil {
		// The child ended without its signal: it was terminated or failed hard.
		s.endSync(*s.Current)
	}
	if s.Current != nil && s.syncing == nil && s.pulling == nil && due(s.orphanAt, now) {
		workflow.GetLogger(ctx).Warn("a sync run of an earlier run of this workflow never reported its end", "run", *s.Current)
		s.endSync(*s.Current)
	}
	if s.resting(now) {
		s.comeToRest(ctx)
		return
	}
	if s.Config.State != domain.IntegrationActive {
		return
	}
	if f := s.Config.Failover; f != nil && s.pulled && f.Mode != domain.FailoverUsual {
		s.failoverDue = now
	}
	s.pulled = false
	s.keepFailover(ctx)
	s.applyDeliveries(ctx)
	s.startPush(ctx)
	s.startSync(ctx)
}

func (s *integration) failed(ctx workflow.Context, doing string, err error) {
	s.Failures++
	wait := backoff(s.Failures)
	s.retryAt = workflow.Now(ctx).Add(wait)
	workflow.GetLogger(ctx).Warn(doing+" did not work; waiting", "failures", s.Failures, "wait", wait, "error", err)
}

func (s *integration) load(ctx workflow.Context) bool {
	var cfg contract.IntegrationConfig
	err := workflow.ExecuteLocalActivity(database(ctx, "read settings"), steps.Integrations.LoadIntegration,
		activities.LoadIntegrationInput{Org: s.in.OrgID, Integration: s.in.IntegrationID}).Get(ctx, &cfg)
	if err != nil {
		s.failed(ctx, "read the integration", err)
		return false
	}
	if s.Config != nil && s.Config.Version != cfg.Version {
		// New settings may let through what waited for them.
		s.Deliveries, s.Pushes = true, true
	}
	s.reload, s.Config, s.Failures = false, &cfg, 0
	s.planWatches(cfg.WatchesDue)
	defer s.rest(workflow.Now(ctx))
	defer s.planFailover(ctx)
	defer func() { s.begun = s.begun || cfg.State == domain.IntegrationActive }()
	switch {
	case cfg.CanPull && !s.begun:
		// A new connection is read at once.
		s.NextPoll = workflow.Now(ctx)
	case cfg.PollSeconds <= 0 || !cfg.CanPull:
		s.NextPoll = time.Time{}
	case s.NextPoll.IsZero():
		// The phase is spread by the workflow's own randomness, so that thousands of connections do not poll at once.
		s.NextPoll = workflow.Now(ctx).Add(s.spread(ctx, cfg.PollSeconds))
	}
	s.hurry(ctx)
	return true
}

func (s *integration) spread(ctx workflow.Context, seconds int64) time.Duration {
	var share float64
	h := uint32(2166136261)
	for _, c := range []byte(workflow.GetInfo(ctx).WorkflowExecution.ID) {
		h = (h ^ uint32(c)) * 16777619
	}
	share = 0.1 + 0.9*float64(h%1000)/1000
	return time.Duration(share * float64(seconds) * float64(time.Second))
}

func (s *integration) carryOut(ctx workflow.Context) {
	if !s.Config.CanPull {
		s.Resyncs = nil
	}
	for len(s.orders) > 0 {
		o := s.orders[0]
		s.orders = s.orders[1:]
		if s.Config.State == domain.IntegrationConnecting {
			o.err, o.done = errConnecting, true
			continue
		}
		if o.failover != nil {
			s.sendOver(ctx, o)
			o.done = true
			continue
		}
		if s.Config.State != o.state {
			var cfg contract.IntegrationConfig
			err := workflow.ExecuteLocalActivity(database(ctx, "become "+string(o.state)), steps.Integrations.SetIntegrationState,
				activities.SetIntegrationStateInput{Org: s.in.OrgID, Integration: s.in.IntegrationID, State: o.state, By: o.by}).Get(ctx, &cfg)
			if err != nil {
				o.err = temporal.NewApplicationError("the state could not be stored; try again", "Unavailable", err)
				o.done = true
				continue
			}
			s.Config = &cfg
			s.rest(workflow.Now(ctx))
			s.planWatches(cfg.WatchesDue)
			if o.state == domain.IntegrationActive {
				s.Deliveries, s.Pushes = true, true
			}
		}
		o.done = true
	}
}

func (s *integration) applyDeliveries(ctx workflow.Context) {
	if !s.muted(workflow.Now(ctx)).IsZero() {
		return // a drill lets them lie; they are stored, and applied when it is over
	}
	for round := 0; round < applyRounds && (s.Deliveries || due(s.DeliveriesDue, workflow.Now(ctx))); round++ {
		s.Deliveries = false
		var out activities.ApplyDeliveriesResult
		err := workflow.ExecuteLocalActivity(database(ctx, "apply deliveries"), steps.Deliveries.ApplyDeliveries,
			activities.ApplyDeliveriesInput{Org: s.in.OrgID, Integration: s.in.IntegrationID, Oldest: s.batches%oldestEvery == oldestEvery-1}).Get(ctx, &out)
		s.batches++
		if err != nil {
			s.Deliveries = true
			s.failed(ctx, "apply deliveries", err)
			return
		}
		s.Failures = 0
		s.Counts.Applied += int64(out.Applied)
		s.Counts.Ignored += int64(out.Ignored)
		s.Counts.Dead += int64(out.Dead)
		s.Counts.Retried += int64(out.Retried)
		s.DeliveriesDue = later(out.NextDue, workflow.Now(ctx))
		s.Deliveries = s.Deliveries || out.More
		if out.NeedsReload {
			s.reload = true
		}
		s.drain()
		if len(s.orders) > 0 || workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			return
		}
	}
}

func (s *integration) startPush(ctx workflow.Context) {
	if s.pushing != nil || !s.Config.CanWrite || !s.Pushes && !due(s.PushesDue, workflow.Now(ctx)) {
		return
	}
	s.Pushes, s.PushesDue = false, time.Time{}
	s.pushing = workflow.ExecuteActivity(writing(ctx, "write copies"), steps.Pushes.PushBookings,
		activities.PushBookingsInput{Org: s.in.OrgID, Integration: s.in.IntegrationID})
}

func (s *integration) collectPush(ctx workflow.Context) {
	if s.pushing == nil || !s.pushing.IsReady() {
		return
	}
	var out activities.PushBookingsResult
	err := s.pushing.Get(ctx, &out)
	s.pushing = nil
	if err != nil {
		wait := min(time.Minute<<min(s.pushFail, 6), time.Hour)
		s.pushFail++
		s.PushesDue = workflow.Now(ctx).Add(wait)
		workflow.GetLogger(ctx).Warn("writing copies did not work; trying again", "wait", wait, "error", err)
		return
	}
	s.Counts.Pushed += int64(out.Done)
	s.pushFail = 0
	s.PushesDue = later(out.NextDue, workflow.Now(ctx))
	s.Pushes = s.Pushes || out.More
	if out.Reconnect {
		s.reload = true
	}
	if out.Pull && s.Config.CanPull && s.Current == nil {
		// A copy changed there since we read it: read the news, then write again.
		s.NextPoll = workflow.Now(ctx)
	}
}

func (s *integration) startSync(ctx workflow.Context) {
	if s.Current != nil || !s.Config.CanPull {
		return
	}
	now := workflow.Now(ctx)
	var r contract.ResyncRequest
	switch {
	case len(s.Resyncs) > 0:
		r = s.Resyncs[0]
		s.Resyncs = slices.Delete(s.Resyncs, 0, 1)
	case due(s.NextPoll, now):
		var id string
		if workflow.SideEffect(ctx, func(workflow.Context) any { return string(domain.NewID[domain.SyncRunID](now)) }).Get(&id) != nil {
			return
		}
		r = contract.ResyncRequest{RunID: domain.SyncRunID(id), By: scheduled}
	default:
		return
	}
	if s.Config.PollSeconds > 0 {
		s.NextPoll = now.Add(time.Duration(s.Config.PollSeconds) * time.Second)
	} else {
		s.NextPoll = time.Time{}
	}
	if s.Config.QuickPull && !r.Full && r.By == scheduled {
		s.pullNews(ctx, r)
		return
	}
	s.startChild(ctx, r)
}

// startChild begins, or goes on with, a run by a workflow of its own.
func (s *integration) startChild(ctx workflow.Context, r contract.ResyncRequest) {
	now := workflow.Now(ctx)
	child := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            contract.SyncWorkflowID(r.RunID),
		WorkflowTaskTimeout:   30 * time.Second,
		ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_ABANDON,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		StaticSummary:         map[bool]string{true: "full resync", false: "pull changes"}[r.Full],
		TypedSearchAttributes: temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword(contract.AttrOrg).ValueSet(string(s.in.OrgID)),
			temporal.NewSearchAttributeKeyKeyword(contract.AttrIntegration).ValueSet(string(s.in.IntegrationID)),
			temporal.NewSearchAttributeKeyKeyword(contract.AttrProvider).ValueSet(s.Config.Provider),
			temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(domain.SyncRunning)),
		),
	})
	future := workflow.ExecuteChildWorkflow(child, contract.SyncWorkflow, contract.SyncInput{OrgID: s.in.OrgID,
		IntegrationID: s.in.IntegrationID, RunID: r.RunID, Full: r.Full, By: r.By})
	if err := future.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
		// The same run was asked for twice and is over already, or Temporal refused it; the next poll tries again.
		workflow.GetLogger(ctx).Warn("sync was not started", "run", r.RunID, "error", err)
		return
	}
	s.Current, s.syncing, s.pulledAt = &r.RunID, future, now
}

// awake reports whether there is a reason to go through the loop.
func (s *integration) awake(ctx workflow.Context) bool {
	if s.deliveries.Len() > 0 || s.pushSignals.Len() > 0 || s.changes.Len() > 0 || s.synced.Len() > 0 ||
		s.alarm != nil && s.alarm.IsReady() {
		return true
	}
	if !s.retryAt.IsZero() {
		// The database could not be reached: act would do nothing before the alarm.
		return false
	}
	if s.reload || len(s.orders) > 0 || s.pushing != nil && s.pushing.IsReady() || s.syncing != nil && s.syncing.IsReady() ||
		s.pulling != nil && s.pulling.IsReady() || s.keeping != nil && s.keeping.IsReady() {
		return true
	}
	return s.Config != nil && s.Config.State == domain.IntegrationActive && !s.resting(workflow.Now(ctx)) &&
		(s.Deliveries && s.muted(workflow.Now(ctx)).IsZero() || s.Current == nil && len(s.Resyncs) > 0 || s.pushing == nil && s.Pushes && s.Config.CanWrite)
}

// setAlarm keeps one timer for the earliest thing to do. A timer that stands earlier is left, since setting it anew
// would cost two events for every signal.
func (s *integration) setAlarm(ctx workflow.Context) {
	now := workflow.Now(ctx)
	at := time.Time{}
	consider := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if now.Before(s.retryAt) {
		consider(s.retryAt)
	} else {
		s.retryAt = time.Time{}
		resting := s.resting(now)
		if resting {
			consider(later(s.Config.WorkHold.Until, now))
			if s.Current != nil && s.syncing == nil && s.pulling == nil {
				consider(s.orphanAt)
			}
		}
		if s.keeping == nil && (!resting || s.state() == domain.IntegrationDeleted) {
			consider(s.watchesDue)
		}
		if s.state() == domain.IntegrationActive && !resting {
			if until := s.muted(now); until.IsZero() {
				consider(s.DeliveriesDue)
			} else if s.Deliveries || !s.DeliveriesDue.IsZero() {
				consider(until)
			}
			consider(s.failoverDue)
			if s.pushing == nil {
				consider(s.PushesDue)
			}
			if s.Current == nil {
				consider(s.NextPoll)
			} else if s.syncing == nil && s.pulling == nil {
				consider(s.orphanAt)
			}
		}
	}
	if at.IsZero() || s.alarm != nil && !s.alarmAt.After(at) {
		return
	}
	if s.cancel != nil {
		s.cancel()
	}
	timer, cancel := workflow.WithCancel(ctx)
	s.alarm, s.alarmAt, s.cancel = workflow.NewTimer(timer, max(at.Sub(now), 0)), at, cancel
}

// mayRenew reports whether the run should hand over to a new one. It waits for writes in progress, and for a sync
// unless the history grows long.
func (s *integration) mayRenew(ctx workflow.Context) bool {
	info := workflow.GetInfo(ctx)
	return info.GetContinueAsNewSuggested() && s.pushing == nil && s.pulling == nil && s.keeping == nil && len(s.orders) == 0 && workflow.AllHandlersFinished(ctx) &&
		(s.Current == nil || info.GetCurrentHistoryLength() > 3*int(suggestedLength))
}

// suggestedLength is the server's default history length for suggesting a new run.
const suggestedLength = 4096

func (s *integration) renew(ctx workflow.Context) error {
	// Signals that came since the loop looked must not be left in this run.
	s.drain()
	carried := s.IntegrationCarried
	carried.Config = nil // read anew: settings may have changed
	return workflow.NewContinueAsNewError(ctx, contract.IntegrationWorkflow, contract.IntegrationInput{
		OrgID: s.in.OrgID, IntegrationID: s.in.IntegrationID, Carried: &carried})
}

// describe tells operators in Temporal UI where the connection stands.
func (s *integration) describe(ctx workflow.Context) {
	text := fmt.Sprintf("**%s** · applied %d · ignored %d · dead %d · written %d · syncs %d",
		s.state(), s.Counts.Applied, s.Counts.Ignored, s.Counts.Dead, s.Counts.Pushed, s.Counts.Syncs)
	if s.Current != nil {
		text += "\n\nsyncing: `sync/" + string(*s.Current) + "`"
	}
	if s.Failures > 0 {
		text += fmt.Sprintf("\n\n%d failures in a row; next try %s", s.Failures, s.retryAt.Format(time.RFC3339))
	}
	if s.resting(workflow.Now(ctx)) {
		text += "\n\nin maintenance until " + s.Config.WorkHold.Until.Format(time.RFC3339) + "; what arrives waits"
	}
	if !s.NextPoll.IsZero() {
		text += "\n\nnext poll " + s.NextPoll.Format(time.RFC3339)
	}
	workflow.SetCurrentDetails(ctx, text)
	if state := s.state(); s.attrs != state && s.Config != nil {
		// The start options already said active.
		if s.attrs != "" || state != domain.IntegrationActive || s.Runs > 1 {
			if err := workflow.UpsertTypedSearchAttributes(ctx, temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(state))); err != nil {
				workflow.GetLogger(ctx).Warn("state was not shown in the search attributes", "error", err)
			}
		}
		s.attrs = state
	}
}

// later keeps a time told by the database from lying in the past of the workflow's clock, which would be asked again and
// again until the other clock has caught up.
func later(at, now time.Time) time.Time {
	if soon := now.Add(time.Second); !at.IsZero() && at.Before(soon) {
		return soon
	}
	return at
}

func due(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }
