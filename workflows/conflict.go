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

// Conflict is the story of one clash. A policy of the organisation looks at it first, where there is one. Then it waits for
// a person, with reminders that come faster the worse and the nearer the wedding is, and with a deadline by which it is
// escalated; a person may also have it come back later. It carries a decision out, checks that every system concerned
// really shows it, and takes it back when one refuses, for as long as that takes. When the clash disappears by itself, the
// story ends.
func Conflict(ctx workflow.Context, in contract.ConflictInput) (contract.ConflictStatus, error) {
	s := &clash{in: in, answers: map[string]*contract.ResolveResult{}, refused: map[string]string{}, status: contract.ConflictStatus{State: domain.ConflictOpen, Severity: in.Severity, Step: "waiting for a decision"}}
	s.rechecks = workflow.GetSignalChannel(ctx, contract.SignalRecheck)
	if in.Carried != nil {
		s.status.State, s.status.Reminders, s.status.NextAlarm = in.Carried.State, in.Carried.Reminders, in.Carried.NextAlarm
		s.pending, s.look, s.remindAt = in.Carried.Pending, in.Carried.Recheck, in.Carried.RemindAt
		if s.remindAt.IsZero() && !in.Carried.State.Carrying() {
			s.remindAt = in.Carried.NextAlarm // of an earlier version
		}
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
	answers  map[string]*contract.ResolveResult // decisions that were taken up
	refused  map[string]string                  // decisions that were not, and why
	view     activities.ConflictView
	remindAt time.Time
	policy   bool // the organisation's policy is to look at it
	soon     bool // there is more to be done at once
	look     bool // a booking changed, or a step of the resolution ended
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
		return refuse("%s", s.over())
	case s.pending != nil:
		return refuse("another decision came first: %s decided %s", s.pending.By, s.pending.Action)
	case !s.status.State.Decidable():
		return refuse("another decision is being carried out: %s", s.decided())
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
	case domain.ActionCancel, domain.ActionTentative:
		if r.BookingID == "" {
			return refuse("%s needs booking_id", r.Action)
		}
	case domain.ActionIgnore:
		if r.Until == nil {
			return refuse("ignore needs until")
		}
	case domain.ActionKeepBoth:
	default:
		return refuse("action must be move, reassign, cancel, tentative, ignore or keep_both")
	}
	return nil
}

func (s *clash) over() string {
	text := fmt.Sprintf("the conflict is %s already", s.status.State)
	if s.view.Decided != "" {
		text += ": " + s.view.Decided
	}
	return text
}

// decided says who decided what.
func (s *clash) decided() string {
	if s.view.Decided == "" {
		return "the conflict is " + string(s.status.State)
	}
	return s.view.Decided
}

func (s *clash) take(ctx workflow.Context, r contract.ResolveRequest) (contract.ResolveResult, error) {
	s.pending = &r
	// The person learns whether the decision could be begun, since another booking may have taken the time meanwhile.
	var out *contract.ResolveResult
	var why string
	if err := workflow.Await(ctx, func() bool {
		out, why = s.answers[r.DecisionID], s.refused[r.DecisionID]
		return out != nil || why != "" || s.pending == nil
	}); err != nil {
		return contract.ResolveResult{}, err
	}
	delete(s.answers, r.DecisionID)
	delete(s.refused, r.DecisionID)
	switch {
	case out != nil:
		return *out, nil
	case why == "":
		why = s.over()
	}
	return contract.ResolveResult{}, temporal.NewApplicationError(why, "Refused")
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
				RemindAt: s.remindAt, Pending: s.pending, Recheck: true}
			return workflow.NewContinueAsNewError(ctx, contract.ConflictWorkflow, s.in)
		}
		if s.soon {
			s.soon = false
			continue
		}
		wait := s.status.NextAlarm.Sub(workflow.Now(ctx))
		if _, err := workflow.AwaitWithTimeout(ctx, max(wait, time.Second), func() bool {
			return s.rechecks.Len() > 0 || s.look && !s.status.State.Carrying() || s.pending != nil
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
	case s.pending != nil:
		r := *s.pending
		err := workflow.ExecuteLocalActivity(database(ctx, "take up the decision"), steps.Conflicts.BeginResolution,
			activities.BeginResolutionInput{ConflictRef: ref, DecisionID: r.DecisionID, By: r.By}).Get(ctx, &seen)
		if err != nil && retryableKind(kindOf(err)) {
			return s.later(ctx, "the decision could not be stored yet", err)
		}
		s.pending = nil
		if err != nil {
			// Refused for good: the time was taken, the resource is gone. The conflict stays open.
			// It may be because the conflict is over already, so it is read again.
			s.status.Step = refusal(err)
			s.refused[r.DecisionID] = s.status.Step
			s.look = true
			s.again(now)
			return nil
		}
		s.failures = 0
		s.adopt(seen)
		s.answers[r.DecisionID] = &contract.ResolveResult{State: seen.State}
		s.look, s.looks = true, 0
		s.status.Step = "the decision is being carried out"
		s.status.NextAlarm = now
		if !s.status.State.Carrying() {
			s.waitOn(now)
			return nil
		}
		return s.verify(ctx, ref)
	case s.status.State.Carrying() && (s.look || s.status.State != domain.ConflictStuck || now.Before(s.remindAt) || s.remindAt.IsZero()):
		return s.verify(ctx, ref)
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
		s.policy = seen.PolicyDue
		s.soon = s.policy
		if s.status.State.Carrying() {
			// A run before this one, or another program, began it.
			s.soon, s.looks = true, 0
			return nil
		}
		// What became worse is not left to the reminder of what it was before.
		if alarm := now.Add(s.reminder(now)); s.remindAt.IsZero() || alarm.Before(s.remindAt) {
			s.remindAt = alarm
		}
		s.waitOn(now)
	case s.policy:
		err := workflow.ExecuteLocalActivity(database(ctx, "ask the policy"), steps.Conflicts.ApplyConflictPolicy, ref).Get(ctx, &seen)
		if err != nil {
			return s.later(ctx, "the policy could not be applied yet", err)
		}
		s.failures, s.policy = 0, false
		s.adopt(seen)
		if seen.Reason != "" {
			s.status.Step = "policy: " + seen.Reason
		}
		s.soon, s.looks = s.status.State.Carrying(), 0
		s.waitOn(now)
	case s.status.State == domain.ConflictIgnored:
		if now.Before(s.view.IgnoredUntil) {
			s.waitOn(now)
			return nil
		}
		if err := workflow.ExecuteLocalActivity(database(ctx, "bring it back"), steps.Conflicts.WakeConflict,
			activities.WakeConflictInput{ConflictRef: ref, Until: s.view.IgnoredUntil}).Get(ctx, &seen); err != nil {
			return s.later(ctx, "the conflict could not be brought back yet", err)
		}
		s.failures = 0
		s.adopt(seen)
		s.status.Step = "waiting for a decision"
		s.again(now)
	case !s.view.DeadlineAt.IsZero() && !now.Before(s.view.DeadlineAt):
		if err := workflow.ExecuteLocalActivity(database(ctx, "escalate"), steps.Conflicts.EscalateConflict,
			activities.EscalateConflictInput{ConflictRef: ref, Deadline: s.view.DeadlineAt}).Get(ctx, &seen); err != nil {
			return s.later(ctx, "it could not be escalated yet", err)
		}
		s.failures = 0
		s.adopt(seen)
		s.again(now)
	case !now.Before(s.remindAt):
		if err := workflow.ExecuteLocalActivity(database(ctx, "remind"), steps.Conflicts.RemindConflict,
			activities.RemindConflictInput{ConflictRef: ref, Number: s.status.Reminders + 1}).Get(ctx, &seen); err != nil {
			return s.later(ctx, "the reminder could not be stored yet", err)
		}
		s.failures = 0
		s.status.Reminders++
		s.adopt(seen)
		s.again(now)
	}
	return nil
}

// verify looks how far carrying out or taking back is.
func (s *clash) verify(ctx workflow.Context, ref activities.ConflictRef) error {
	var v activities.VerifyResolutionResult
	err := workflow.ExecuteActivity(reading(ctx, "check every system"), steps.Conflicts.VerifyResolution, ref).Get(ctx, &v)
	if err != nil {
		return s.later(ctx, "the systems could not be checked yet", err)
	}
	now := workflow.Now(ctx)
	was := s.status.State
	s.failures, s.look = 0, false
	s.adopt(v.ConflictView)
	s.status.Step = v.Step
	s.status.NextAlarm = now.Add(verifyAfter(s.looks))
	s.looks++
	switch {
	case s.status.State == domain.ConflictOpen:
		// Taken back because a system refused: wait for another decision.
		s.again(now)
	case s.status.State == domain.ConflictStuck && was != domain.ConflictStuck:
		s.remindAt = now.Add(s.reminder(now))
	}
	return nil
}

// again waits for a person from now on.
func (s *clash) again(now time.Time) {
	s.remindAt = now.Add(s.reminder(now))
	s.waitOn(now)
}

// reminder is the wait before the next one. What was escalated is told twice as often.
func (s *clash) reminder(now time.Time) time.Duration {
	wait := reminderAfter(s.status.Severity, s.in.WeddingDate, now)
	if s.view.Escalated {
		wait /= 2
	}
	return wait
}

// waitOn sets when the next thing is to be done.
func (s *clash) waitOn(now time.Time) {
	switch s.status.State {
	case domain.ConflictOpen:
		if s.status.NextAlarm = s.remindAt; !s.view.DeadlineAt.IsZero() && s.view.DeadlineAt.Before(s.remindAt) {
			s.status.NextAlarm = s.view.DeadlineAt
		}
	case domain.ConflictIgnored:
		s.status.NextAlarm = s.view.IgnoredUntil
	case domain.ConflictResolving, domain.ConflictUndoing, domain.ConflictStuck:
		s.status.NextAlarm = now
	case domain.ConflictResolved, domain.ConflictDismissed, domain.ConflictCleared:
	}
}

func (s *clash) adopt(v activities.ConflictView) {
	s.status.State, s.status.Severity, s.version, s.view = v.State, v.Severity, v.Version, v
	s.status.DeadlineAt, s.status.Escalated, s.status.IgnoredUntil, s.status.Decided = v.DeadlineAt, v.Escalated, v.IgnoredUntil, v.Decided
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
	if s.status.State == domain.ConflictOpen && !s.view.DeadlineAt.IsZero() {
		text += "\n\nescalated at " + s.view.DeadlineAt.Format(time.RFC3339) + " unless somebody decides"
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
