package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// This file has it judged whether news of a connection come by what its system posts or by quick polls, which is entry 14 of
// versions.go. Everything here rests on Config.Failover, which a step reads, and on a message that earlier histories do not hold.

// muted reports until when a drill lets deliveries lie; the zero time if none does.
func (s *integration) muted(now time.Time) time.Time {
	if s.Config == nil || s.Config.Failover == nil || !now.Before(s.Config.Failover.MutedUntil) {
		return time.Time{}
	}
	return s.Config.Failover.MutedUntil
}

// planFailover takes over from the integration's row when failing over is to be judged. Quick polls begin at once.
func (s *integration) planFailover(ctx workflow.Context) {
	s.failoverDue = time.Time{}
	f := s.Config.Failover
	if f == nil {
		return
	}
	s.failoverDue = f.Due
	if f.Mode != domain.FailoverUsual && s.Config.CanPull && s.Config.PollSeconds > 0 {
		if next := workflow.Now(ctx).Add(time.Duration(s.Config.PollSeconds) * time.Second); s.NextPoll.IsZero() || next.Before(s.NextPoll) {
			s.NextPoll = next
		}
	}
}

// keepFailover has it judged when that is due.
func (s *integration) keepFailover(ctx workflow.Context) {
	if !due(s.failoverDue, workflow.Now(ctx)) {
		return
	}
	s.failoverDue = time.Time{}
	var cfg contract.IntegrationConfig
	err := workflow.ExecuteLocalActivity(database(ctx, "judge failing over"), steps.Failovers.KeepFailover,
		activities.KeepFailoverInput{Org: s.in.OrgID, Integration: s.in.IntegrationID}).Get(ctx, &cfg)
	if err != nil {
		s.failoverDue = workflow.Now(ctx).Add(judgeAgain)
		workflow.GetLogger(ctx).Warn("failing over was not judged; trying again", "error", err)
		return
	}
	s.follow(ctx, cfg)
	// What is due at once was just judged, by the clock of the database.
	s.failoverDue = later(s.failoverDue, workflow.Now(ctx))
}

// judgeAgain is the wait after a judgement that did not work.
const judgeAgain = 30 * time.Second

// follow takes over what a step about failing over returned.
func (s *integration) follow(ctx workflow.Context, cfg contract.IntegrationConfig) {
	s.Config = &cfg
	s.rest(workflow.Now(ctx))
	s.planWatches(cfg.WatchesDue)
	s.planFailover(ctx)
	s.hurry(ctx)
}

// sendOver carries out a wish to fail over or to return.
func (s *integration) sendOver(ctx workflow.Context, o *order) {
	var out activities.SetFailoverResult
	err := workflow.ExecuteLocalActivity(database(ctx, "fail over to "+o.failover.To), steps.Failovers.SetFailover,
		activities.SetFailoverInput{Org: s.in.OrgID, Integration: s.in.IntegrationID, Request: *o.failover}).Get(ctx, &out)
	switch {
	case err != nil:
		o.err = temporal.NewApplicationError("the wish could not be stored; try again", "Unavailable", err)
	case out.Refused != "":
		o.err = temporal.NewApplicationError(out.Refused, "Refused")
	default:
		o.outcome = out.Result
		s.follow(ctx, out.Config)
	}
}

func (s *integration) mayFailOver(_ workflow.Context, r contract.FailoverRequest) error {
	switch {
	case r.By == "":
		return temporal.NewApplicationError("by: who asks is required", "Invalid")
	case r.To != contract.FailoverToPolling && r.To != contract.FailoverToWebhooks:
		return temporal.NewApplicationError("to: must be polling or webhooks", "Invalid")
	case s.state() == domain.IntegrationDeleted:
		return temporal.NewApplicationError("the integration is deleted", "Refused")
	}
	return nil
}

func (s *integration) takeFailover(ctx workflow.Context, r contract.FailoverRequest) (contract.FailoverResult, error) {
	o := &order{failover: &r}
	s.orders = append(s.orders, o)
	if s.state() == domain.IntegrationConnecting {
		s.reload = true // its onboarding may have ended this moment
	}
	if err := workflow.Await(ctx, func() bool { return o.done }); err != nil {
		return contract.FailoverResult{}, err
	}
	return o.outcome, o.err
}
