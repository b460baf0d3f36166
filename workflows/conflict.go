package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// Conflict is the story of one clash: it waits for a person, with reminders that come faster the worse and the nearer
// the wedding is; it carries a decision out, checks that every system concerned really shows it, and undoes it when
// one refuses. When the clash disappears by itself, the story ends.
func Conflict(ctx workflow.Context, in contract.ConflictInput) (contract.ConflictStatus, error) {
	s := &clash{in: in, status: contract.ConflictStatus{State: domain.ConflictOpen, Severity: in.Severity, Step: "waiting for a decision"}}
	s.rechecks = workflow.GetSignalChannel(ctx, contract.SignalRecheck)
	if in.Carried != nil {
		s.status.State, s.status.Reminders, s.status.NextAlarm = in.Carried.State, in.Carried.Reminders, in.Carried.NextAlarm
		s.pending, s.look = in.Carried.Pending, in.Carried.Recheck
	}
	if err := s.setup(ctx); err != nil {
		return s.status, err
	}
	err := s.run(ctx)
	return s.status, err
}

type clash struct {
	in       contract.ConflictInput
	status   contract.ConflictStatus
	version  int64
	rechecks workflow.ReceiveChannel
	pending  *contract.ResolveRequest
	look     bool // a booking changed, or a step of the resolution ended
	started  bool // the decision was taken up
	failures int
	looks    int // at a resolution, since a signal told of it
	shown    domain.ConflictState
}

// verifyAfter is the wait before the n-th look at a resolution that no signal reported on. A system may be paused for
// days, so it grows from half a minute to a quarter of an hour.
func verifyAfter(n int) time.Duration { return min(30*time.Second<<min(n, 5), 15*time.Minute) }

func (s *clash) setup(ctx workflow.Context) error {
	if err := workflow.SetQueryHandler(ctx, contract.QueryStatus, func() (contract.ConflictStatus, error) { return s.status, nil }); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, contract.UpdateResolve, s.take, workflow.UpdateHandlerOptions{Validator: s.mayResolve})
}

// mayResolve lets one decision in: of two people deciding at once, the second is told.
func (s *clash) mayResolve(_ workflow.Context, r contract.ResolveRequest) error {
	refuse := func(format string, args ...any) error {
		return temporal.NewApplicationError(fmt.Sprintf(format, args...), "Refused")
	}
	switch {
	case !s.status.State.Open():
		return refuse("the conflict is %s already", s.status.State)
	case s.pending != nil || s.status.State == domain.ConflictResolving:
		return refuse("another decision is being carried out")
	case r.Version < s.version:
		return refuse("the conflict changed since it was read (version %d, now %d); read it again", r.Version, s.version)
	case r.DecisionID == "" || r.By == "":
		return refuse("decision_id and by are required")
	}
	switch r.Action {
	case domain.ActionMove:
		if r.When == nil || r.BookingID == "" {
			return refuse("a move needs booking_id and when")
		}
	case domain.ActionReassign:
		if r.ResourceID == "" || r.BookingID == "" {
			return refuse("a reassignment needs booking_id and resource_id")
		}
	case domain.ActionCancel:
		if r.BookingID == "" {
			return refuse("a cancellation needs booking_id")
		}
	case domain.ActionKeepBoth:
	default:
		return refuse("action must be move, reassign, cancel or keep_both")
	}
	return nil
}

func (s *clash) take(ctx workflow.Context, r contract.ResolveRequest) (contract.ResolveResult, error) {
	s.pending = &r
	// The person learns whether the decision could be begun, since another booking may have taken the time meanwhile.
	if err := workflow.Await(ctx, func() bool { return s.pending == nil || s.started }); err != nil {
		return contract.ResolveResult{}, err
	}
	switch {
	case s.started:
		return contract.ResolveResult{State: s.status.State}, nil
	case s.status.State.Open():
		return contract.ResolveResult{}, temporal.NewApplicationError(s.status.Step, "Refused")
	}
	return contract.ResolveResult{}, temporal.NewApplicationError(fmt.Sprintf("the conflict is %s already", s.status.State), "Refused")
}

func (s *clash) run(ctx workflow.Context) error {
	s.look = true
	for {
		for s.rechecks.ReceiveAsync(nil) {
			s.look, s.looks = true, 0
		}
		if err := s.act(ctx); err != nil {
			return err
		}
		s.describe(ctx)
		if !s.status.State.Open() {
			// A decision that came while the end was read is refused by its handler.
			s.pending = nil
			return workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() && workflow.AllHandlersFinished(ctx) {
			for s.rechecks.ReceiveAsync(nil) {
				s.look = true
			}
			s.in.Carried = &contract.ConflictCarried{State: s.status.State, Reminders: s.status.Reminders, NextAlarm: s.status.NextAlarm,
				Pending: s.pending, Recheck: true}
			return workflow.NewContinueAsNewError(ctx, contract.ConflictWorkflow, s.in)
		}
		wait := s.status.NextAlarm.Sub(workflow.Now(ctx))
		if _, err := workflow.AwaitWithTimeout(ctx, max(wait, time.Second), func() bool {
			return s.rechecks.Len() > 0 || s.look && s.status.State == domain.ConflictOpen || s.pending != nil && !s.started
		}); err != nil {
			return err
		}
	}
}

func (s *clash) act(ctx workflow.Context) error {
	ref := activities.ConflictRef{Org: s.in.OrgID, Conflict: s.in.ConflictID}
	now := workflow.Now(ctx)
	var seen activities.ConflictView
	switch {
	case s.pending != nil && !s.started:
		err := workflow.ExecuteLocalActivity(database(ctx, "take up the decision"), steps.Conflicts.BeginResolution,
			activities.BeginResolutionInput{ConflictRef: ref, DecisionID: s.pending.DecisionID, By: s.pending.By}).Get(ctx, &seen)
		if err != nil && retryableKind(kindOf(err)) {
			return s.later(ctx, "the decision could not be stored yet", err)
		}
		if err != nil {
			// Refused for good: the time was taken, the resource is gone. The conflict stays open.
			// It may be because the conflict is over already, so it is read again.
			s.status.Step = refusal(err)
			s.pending, s.look = nil, true
			s.status.NextAlarm = now.Add(reminderAfter(s.status.Severity, s.in.WeddingDate, now))
			return nil
		}
		s.failures = 0
		s.adopt(seen)
		s.started, s.look, s.looks = true, true, 0
		s.status.Step = "the decision is being carried out"
		s.status.NextAlarm = now
		if !s.status.State.Open() {
			return nil
		}
		fallthrough
	case s.status.State == domain.ConflictResolving:
		var v activities.VerifyResolutionResult
		err := workflow.ExecuteActivity(reading(ctx, "check every system"), steps.Conflicts.VerifyResolution, ref).Get(ctx, &v)
		if err != nil {
			return s.later(ctx, "the systems could not be checked yet", err)
		}
		s.failures, s.look = 0, false
		s.adopt(v.ConflictView)
		s.status.Step = v.Step
		s.status.NextAlarm = workflow.Now(ctx).Add(verifyAfter(s.looks))
		s.looks++
		if s.status.State == domain.ConflictOpen {
			// Undone because a system refused: wait for another decision.
			s.pending, s.started = nil, false
			s.status.NextAlarm = workflow.Now(ctx).Add(reminderAfter(s.status.Severity, s.in.WeddingDate, workflow.Now(ctx)))
		}
	case s.look:
		err := workflow.ExecuteLocalActivity(database(ctx, "read the conflict"), steps.Conflicts.LoadConflict, ref).Get(ctx, &seen)
		if isKind(err, domain.KindNotFound) {
			s.status.State, s.status.Step, s.look = domain.ConflictCleared, "the conflict does not exist any more", false
			return nil
		}
		if err != nil {
			return s.later(ctx, "the conflict could not be read yet", err)
		}
		s.failures, s.look = 0, false
		s.adopt(seen)
		// What became worse is not left to the reminder of what it was before.
		alarm := now.Add(reminderAfter(s.status.Severity, s.in.WeddingDate, now))
		if s.status.NextAlarm.IsZero() || alarm.Before(s.status.NextAlarm) {
			s.status.NextAlarm = alarm
		}
	case !now.Before(s.status.NextAlarm):
		if err := workflow.ExecuteLocalActivity(database(ctx, "remind"), steps.Conflicts.RemindConflict,
			activities.RemindConflictInput{ConflictRef: ref, Number: s.status.Reminders + 1}).Get(ctx, &seen); err != nil {
			return s.later(ctx, "the reminder could not be stored yet", err)
		}
		s.failures = 0
		s.status.Reminders++
		s.adopt(seen)
		s.status.NextAlarm = now.Add(reminderAfter(s.status.Severity, s.in.WeddingDate, now))
	}
	return nil
}

func (s *clash) adopt(v activities.ConflictView) {
	s.status.State, s.status.Severity, s.version = v.State, v.Severity, v.Version
	if v.WeddingDate != "" {
		s.in.WeddingDate = v.WeddingDate
	}
	s.in.Severity = v.Severity
}

// later waits after a step that did not work and may work again.
func (s *clash) later(ctx workflow.Context, step string, err error) error {
	if temporal.IsCanceledError(err) {
		return err
	}
	s.failures++
	s.status.Step = step
	workflow.GetLogger(ctx).Warn(step, "failures", s.failures, "error", err)
	return workflow.Sleep(ctx, backoff(s.failures))
}

func (s *clash) describe(ctx workflow.Context) {
	text := fmt.Sprintf("**%s** · severity %s · %s", s.status.State, s.status.Severity, s.status.Step)
	if s.in.WeddingDate != "" {
		text += "\n\nwedding on " + s.in.WeddingDate
	}
	if s.status.State.Open() && !s.status.NextAlarm.IsZero() {
		text += "\n\nnext look " + s.status.NextAlarm.Format(time.RFC3339)
	}
	workflow.SetCurrentDetails(ctx, text)
	if s.shown == s.status.State {
		return
	}
	if s.shown != "" || s.status.State != domain.ConflictOpen {
		if err := workflow.UpsertTypedSearchAttributes(ctx, temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(s.status.State))); err != nil {
			workflow.GetLogger(ctx).Warn("state was not shown in the search attributes", "error", err)
		}
	}
	s.shown = s.status.State
}

// reminderAfter is the wait before the next reminder: by severity, halved within two weeks of the wedding, at most an
// hour within two days of it, and a week once it is over.
func reminderAfter(severity domain.Severity, weddingDate string, now time.Time) time.Duration {
	wait := 72 * time.Hour
	switch severity {
	case domain.SeverityCritical:
		wait = time.Hour
	case domain.SeverityHigh:
		wait = 6 * time.Hour
	case domain.SeverityMedium:
		wait = 24 * time.Hour
	case domain.SeverityLow:
	}
	day, err := time.Parse(time.DateOnly, weddingDate)
	if err != nil {
		return wait
	}
	switch left := day.Sub(now); {
	case left < -36*time.Hour:
		return 7 * 24 * time.Hour
	case left < 48*time.Hour:
		return min(wait, time.Hour)
	case left < 14*24*time.Hour:
		return wait / 2
	}
	return wait
}

func retryableKind(k domain.ErrorKind) bool {
	return domain.Retryable(&domain.Error{Kind: k})
}

// refusal is the text of a refusal that is safe to show.
func refusal(err error) string {
	if msg := activities.RefusalText(err); msg != "" {
		return "refused: " + msg
	}
	return "refused: the decision cannot be carried out"
}
