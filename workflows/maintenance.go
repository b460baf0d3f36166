package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/upkeep"
)

// Maintenance carries a window of maintenance from its proposal to its end: it waits for approval, announces it, lets its connections
// come to rest, keeps them so until its time is over, lets them go on and looks that nothing is left. What is due stands in storage
// and is carried out by one step; the workflow keeps the time of the next one. It looks at once when a wedding is stored around the
// window, when the last connection has come to rest, and when a person wants something.
func Maintenance(ctx workflow.Context, in contract.MaintenanceInput) (contract.MaintenanceStatus, error) {
	s := &maintenance{in: in, ref: activities.MaintenanceRef{Org: in.OrgID, Maintenance: in.MaintenanceID}, wakes: workflow.GetSignalChannel(ctx, contract.SignalWake)}
	if in.Carried != nil {
		s.MaintenanceCarried = *in.Carried
	}
	s.Runs++
	if err := s.setup(ctx); err != nil {
		return s.told(), err
	}
	err := s.run(ctx)
	return s.told(), err
}

type maintenance struct {
	in contract.MaintenanceInput
	contract.MaintenanceCarried
	ref    activities.MaintenanceRef
	wakes  workflow.ReceiveChannel
	status contract.MaintenanceStatus // of the last step; State is "" before the first
	wishes []*maintenanceWish
	look   bool // a step is due whatever the time
	attr   domain.MaintenanceState
}

// maintenanceWish is what a person asked for, noted by its handler and carried out by the loop.
type maintenanceWish struct {
	activities.DecideMaintenanceInput
	done bool
	err  error
}

func (s *maintenance) told() contract.MaintenanceStatus {
	out := s.status
	out.Failures, out.Runs = s.Failures, s.Runs
	return out
}

func (s *maintenance) setup(ctx workflow.Context) error {
	if err := workflow.SetQueryHandler(ctx, contract.QueryStatus, func() (contract.MaintenanceStatus, error) { return s.told(), nil }); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, contract.UpdateApprove, func(ctx workflow.Context, r contract.ApproveRequest) (contract.MaintenanceStatus, error) {
		return s.take(ctx, activities.DecideMaintenanceInput{Verb: upkeep.Approve, By: r.By, ShortNotice: r.ShortNotice})
	}, workflow.UpdateHandlerOptions{Validator: func(_ workflow.Context, r contract.ApproveRequest) error {
		if s.status.State.Holds() || s.status.State == domain.MaintenanceReplaying {
			return temporal.NewApplicationError("the maintenance has begun", "Refused")
		}
		return s.may(r.By)
	}}); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, contract.UpdateCancel, func(ctx workflow.Context, r contract.CancelRequest) (contract.MaintenanceStatus, error) {
		return s.take(ctx, activities.DecideMaintenanceInput{Verb: upkeep.Cancel, By: r.By})
	}, workflow.UpdateHandlerOptions{Validator: func(_ workflow.Context, r contract.CancelRequest) error { return s.may(r.By) }}); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, contract.UpdateReschedule, func(ctx workflow.Context, r contract.RescheduleRequest) (contract.MaintenanceStatus, error) {
		return s.take(ctx, activities.DecideMaintenanceInput{Verb: upkeep.Reschedule, By: r.By, StartsAt: r.StartsAt, EndsAt: r.EndsAt, ShortNotice: r.ShortNotice, Version: r.Version})
	}, workflow.UpdateHandlerOptions{Validator: s.mayReschedule})
}

func (s *maintenance) may(by string) error {
	switch {
	case by == "":
		return temporal.NewApplicationError("by: who asks is required", "Invalid")
	case s.status.State.Ended():
		return temporal.NewApplicationError("the maintenance is "+string(s.status.State), "Refused")
	}
	return nil
}

func (s *maintenance) mayReschedule(ctx workflow.Context, r contract.RescheduleRequest) error {
	switch now := workflow.Now(ctx); {
	case r.StartsAt.IsZero() && r.EndsAt.IsZero():
		return temporal.NewApplicationError("starts_at or ends_at is required", "Invalid")
	case !r.EndsAt.IsZero() && !r.EndsAt.After(now):
		return temporal.NewApplicationError("ends_at: must be ahead; cancel the maintenance to end it now", "Invalid")
	case !r.StartsAt.IsZero() && !r.EndsAt.IsZero() && !r.EndsAt.After(r.StartsAt):
		return temporal.NewApplicationError("ends_at: must be after starts_at", "Invalid")
	case !r.StartsAt.IsZero() && s.status.State.Holds():
		return temporal.NewApplicationError("the maintenance has begun; only its end can change", "Refused")
	case s.status.State == domain.MaintenanceReplaying:
		return temporal.NewApplicationError("the maintenance is over; what was held is being done", "Refused")
	}
	return s.may(r.By)
}

func (s *maintenance) take(ctx workflow.Context, in activities.DecideMaintenanceInput) (contract.MaintenanceStatus, error) {
	in.MaintenanceRef = s.ref
	w := &maintenanceWish{DecideMaintenanceInput: in}
	s.wishes = append(s.wishes, w)
	if err := workflow.Await(ctx, func() bool { return w.done }); err != nil {
		return contract.MaintenanceStatus{}, err
	}
	return s.told(), w.err
}

func (s *maintenance) run(ctx workflow.Context) error {
	s.look = true
	for {
		s.drain()
		s.carryOut(ctx)
		s.advance(ctx)
		s.describe(ctx)
		if s.status.State.Ended() && len(s.wishes) == 0 && s.Failures == 0 {
			s.drain()
			return workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() && len(s.wishes) == 0 && workflow.AllHandlersFinished(ctx) {
			// Signals that came since the loop looked must not be left in this run; the next one begins with a look.
			s.drain()
			carried := s.MaintenanceCarried
			return workflow.NewContinueAsNewError(ctx, contract.MaintenanceWorkflow, contract.MaintenanceInput{OrgID: s.in.OrgID, MaintenanceID: s.in.MaintenanceID, Carried: &carried})
		}
		if err := s.wait(ctx); err != nil {
			return err
		}
	}
}

// drain takes every signal that is there.
func (s *maintenance) drain() {
	for s.wakes.ReceiveAsync(nil) {
		s.look = true
	}
}

// carryOut does what people asked for, in order. A refusal is theirs to hear; when storage cannot be reached they are told so.
func (s *maintenance) carryOut(ctx workflow.Context) {
	for len(s.wishes) > 0 {
		w := s.wishes[0]
		s.wishes = s.wishes[1:]
		var out contract.MaintenanceStatus
		err := workflow.ExecuteLocalActivity(database(ctx, string(w.Verb)), steps.Maintenances.DecideMaintenance, w.DecideMaintenanceInput).Get(ctx, &out)
		var refused *temporal.ApplicationError
		switch {
		case err == nil:
			s.status, s.Failures, s.RetryAt = out, 0, time.Time{}
		case errors.As(err, &refused) && !retryableKind(kindOf(err)):
			w.err = temporal.NewApplicationError(refused.Message(), "Refused")
		default:
			w.err = temporal.NewApplicationError("it could not be stored; try again", "Unavailable")
		}
		w.done = true
	}
}

// advance does what is due.
func (s *maintenance) advance(ctx workflow.Context) {
	now := workflow.Now(ctx)
	if now.Before(s.RetryAt) || !s.look && !due(s.status.DueAt, now) {
		return
	}
	s.look = false
	var out contract.MaintenanceStatus
	if err := workflow.ExecuteLocalActivity(database(ctx, "look what is due"), steps.Maintenances.AdvanceMaintenance, s.ref).Get(ctx, &out); err != nil {
		s.Failures++
		s.look, s.RetryAt = true, now.Add(backoff(s.Failures))
		workflow.GetLogger(ctx).Warn("what is due of a maintenance could not be done; trying again", "at", s.RetryAt, "error", err)
		return
	}
	s.Failures, s.RetryAt, s.status = 0, time.Time{}, out
	// A moment at least, so that two clocks that differ do not make the workflow spin.
	s.status.DueAt = later(out.DueAt, now)
}

func (s *maintenance) describe(ctx workflow.Context) {
	if s.status.State == "" {
		return
	}
	text := fmt.Sprintf("**%s** · %s to %s", s.status.State, s.status.StartsAt.Format(time.RFC3339), s.status.EndsAt.Format(time.RFC3339))
	if s.status.Connections > 0 {
		text += fmt.Sprintf(" · %d connections · held %d · left %d", s.status.Connections, s.status.Held, s.status.Left)
	}
	if !s.status.DueAt.IsZero() {
		text += "\n\nlooks again at " + s.status.DueAt.Format(time.RFC3339)
	}
	workflow.SetCurrentDetails(ctx, text)
	if s.attr == s.status.State {
		return
	}
	s.attr = s.status.State
	attr := temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(s.attr))
	if err := workflow.UpsertTypedSearchAttributes(ctx, attr); err != nil {
		workflow.GetLogger(ctx).Warn("state was not shown in the search attributes", "error", err)
	}
}

// wait ends when something is due, or before when something changed or a person wants something.
func (s *maintenance) wait(ctx workflow.Context) error {
	at := s.status.DueAt
	if s.Failures > 0 {
		at = s.RetryAt
	}
	awake := func() bool { return len(s.wishes) > 0 || s.Failures == 0 && (s.look || s.wakes.Len() > 0) }
	if at.IsZero() {
		return workflow.Await(ctx, awake)
	}
	_, err := workflow.AwaitWithTimeout(ctx, max(at.Sub(workflow.Now(ctx)), 0), awake)
	return err
}
