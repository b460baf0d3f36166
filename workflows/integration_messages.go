package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// This file holds what people may ask of an integration's workflow. Handlers note it; the loop carries it out.

func (s *integration) setup(ctx workflow.Context) error {
	if err := workflow.SetQueryHandler(ctx, contract.QueryStatus, s.status); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, contract.UpdatePause, func(ctx workflow.Context, r contract.PauseRequest) (contract.StateResult, error) {
		return s.take(ctx, domain.IntegrationPaused, r.By)
	}, workflow.UpdateHandlerOptions{Validator: func(_ workflow.Context, r contract.PauseRequest) error {
		return s.mayBecome(domain.IntegrationPaused, r.By)
	}}); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, contract.UpdateResume, func(ctx workflow.Context, r contract.ResumeRequest) (contract.StateResult, error) {
		return s.take(ctx, domain.IntegrationActive, r.By)
	}, workflow.UpdateHandlerOptions{Validator: func(_ workflow.Context, r contract.ResumeRequest) error {
		return s.mayBecome(domain.IntegrationActive, r.By)
	}}); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, contract.UpdateFailover, s.takeFailover,
		workflow.UpdateHandlerOptions{Validator: s.mayFailOver}); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, contract.UpdateResync, s.takeResync,
		workflow.UpdateHandlerOptions{Validator: s.mayResync})
}

func (s *integration) status() (contract.IntegrationStatus, error) {
	return contract.IntegrationStatus{State: s.state(), Counts: s.Counts, DeliveriesDue: s.DeliveriesDue, PushesDue: s.PushesDue,
		NextPoll: s.NextPoll, WatchesDue: s.watchesDue, Current: s.Current, LastRun: s.LastRun, Failures: s.Failures, Runs: s.Runs}, nil
}

func (s *integration) state() domain.IntegrationState {
	if s.Config == nil {
		return domain.IntegrationActive
	}
	return s.Config.State
}

func (s *integration) mayBecome(want domain.IntegrationState, by string) error {
	switch {
	case by == "":
		return temporal.NewApplicationError("by: who asks is required", "Invalid")
	case s.state() == domain.IntegrationDeleted:
		return temporal.NewApplicationError("the integration is deleted", "Refused")
	case want == domain.IntegrationPaused && s.state() == domain.IntegrationNeedsReconnect:
		return temporal.NewApplicationError("the integration needs to be reconnected; it is not running", "Refused")
	}
	return nil
}

// errConnecting refuses what is the onboarding's to decide.
var errConnecting = temporal.NewApplicationError("the integration is being connected; resume or cancel its onboarding", "Refused")

func (s *integration) take(ctx workflow.Context, state domain.IntegrationState, by string) (contract.StateResult, error) {
	o := &order{state: state, by: by}
	s.orders = append(s.orders, o)
	if s.state() == domain.IntegrationConnecting {
		s.reload = true // its onboarding may have ended this moment
	}
	if err := workflow.Await(ctx, func() bool { return o.done }); err != nil {
		return contract.StateResult{}, err
	}
	return contract.StateResult{State: s.state()}, o.err
}

func (s *integration) mayResync(_ workflow.Context, r contract.ResyncRequest) error {
	switch {
	case r.By == "" || r.RunID == "":
		return temporal.NewApplicationError("run_id and by are required", "Invalid")
	case s.state() == domain.IntegrationDeleted:
		return temporal.NewApplicationError("the integration is deleted", "Refused")
	case s.state() == domain.IntegrationPaused:
		return temporal.NewApplicationError("the integration is paused; resume it first", "Refused")
	case s.Config != nil && !s.Config.CanPull:
		return temporal.NewApplicationError("this system cannot be listed, so there is nothing to resync from", "Refused")
	case len(s.Resyncs) >= resyncLimit:
		return temporal.NewApplicationError(fmt.Sprintf("%d resyncs wait already, which is the limit", resyncLimit), "Refused")
	}
	return nil
}

func (s *integration) takeResync(ctx workflow.Context, r contract.ResyncRequest) (contract.ResyncResult, error) {
	// The very first message of a workflow is checked against settings that are not read yet.
	if err := workflow.Await(ctx, func() bool { return s.Config != nil }); err != nil {
		return contract.ResyncResult{}, err
	}
	if s.state() == domain.IntegrationConnecting {
		s.reload = true // its onboarding may have ended this moment
		if err := workflow.Await(ctx, func() bool { return !s.reload }); err != nil {
			return contract.ResyncResult{}, err
		}
		if s.state() == domain.IntegrationConnecting {
			return contract.ResyncResult{}, errConnecting
		}
	}
	out := contract.ResyncResult{RunID: r.RunID, WorkflowID: contract.SyncWorkflowID(r.RunID)}
	is := func(id *domain.SyncRunID) bool { return id != nil && *id == r.RunID }
	at := slices.IndexFunc(s.Resyncs, func(one contract.ResyncRequest) bool { return one.RunID == r.RunID })
	switch {
	case is(s.Current) || is(s.LastRun):
		return out, nil
	case at >= 0:
		out.Queued = at
	default:
		if err := s.mayResync(ctx, r); err != nil {
			return contract.ResyncResult{}, err
		}
		out.Queued = len(s.Resyncs)
		s.Resyncs = append(s.Resyncs, r)
	}
	if s.Current != nil {
		out.Queued++
	}
	return out, nil
}
