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

// Subscription sends webhooks to one receiver for as long as the subscription exists: in the order of the live stream,
// each until it gets through. What waits, and when it is tried next, is in Postgres; an idle one has no timer.
func Subscription(ctx workflow.Context, in contract.SubscriptionInput) error {
	s := newSubscription(ctx, in)
	if err := s.setup(ctx); err != nil {
		return err
	}
	return s.run(ctx)
}

// testLimit bounds the test messages that wait at the same time.
const testLimit = 5

type subscription struct {
	in contract.SubscriptionInput
	contract.SubscriptionCarried

	wakes   workflow.ReceiveChannel
	state   domain.SubscriptionState // as last told by a step
	orders  []*subscriptionOrder
	tests   int             // under way
	sending workflow.Future // SendEvents in progress
	alarm   workflow.Future // the one timer
	alarmAt time.Time
	cancel  workflow.CancelFunc
	attrs   domain.SubscriptionState
	obeyed  bool // a person's wish was carried out while sending went on: what that tells of the state is old
}

// subscriptionOrder is a pause or resume noted by its handler and carried out by the loop.
type subscriptionOrder struct {
	state   domain.SubscriptionState
	by      string
	fromNow bool
	done    bool
	err     error
}

func newSubscription(ctx workflow.Context, in contract.SubscriptionInput) *subscription {
	s := &subscription{in: in, state: domain.SubscriptionActive, attrs: domain.SubscriptionActive}
	if in.Carried != nil {
		s.SubscriptionCarried = *in.Carried
	} else {
		// A first run may follow a crash that left work behind, so it looks.
		s.Work = true
	}
	s.Runs++
	s.wakes = workflow.GetSignalChannel(ctx, contract.SignalWake)
	return s
}

func (s *subscription) setup(ctx workflow.Context) error {
	if err := workflow.SetQueryHandler(ctx, contract.QueryStatus, func() (contract.SubscriptionStatus, error) {
		return contract.SubscriptionStatus{State: s.state, Counts: s.Counts, RetryAt: s.RetryAt, Failures: s.Failures, Runs: s.Runs}, nil
	}); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, contract.UpdatePause, func(ctx workflow.Context, r contract.PauseRequest) (contract.SubscriptionStateResult, error) {
		return s.take(ctx, &subscriptionOrder{state: domain.SubscriptionPaused, by: r.By})
	}, workflow.UpdateHandlerOptions{Validator: func(_ workflow.Context, r contract.PauseRequest) error { return s.mayAsk(r.By) }}); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, contract.UpdateResume, func(ctx workflow.Context, r contract.SubscriptionResumeRequest) (contract.SubscriptionStateResult, error) {
		return s.take(ctx, &subscriptionOrder{state: domain.SubscriptionActive, by: r.By, fromNow: r.FromNow})
	}, workflow.UpdateHandlerOptions{Validator: func(_ workflow.Context, r contract.SubscriptionResumeRequest) error { return s.mayAsk(r.By) }}); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, contract.UpdateTest, s.test, workflow.UpdateHandlerOptions{Validator: s.mayTest})
}

func (s *subscription) mayAsk(by string) error {
	switch {
	case by == "":
		return temporal.NewApplicationError("by: who asks is required", "Invalid")
	case s.state == domain.SubscriptionDeleted:
		return temporal.NewApplicationError("the subscription is deleted", "Refused")
	}
	return nil
}

func (s *subscription) take(ctx workflow.Context, o *subscriptionOrder) (contract.SubscriptionStateResult, error) {
	s.orders = append(s.orders, o)
	if err := workflow.Await(ctx, func() bool { return o.done }); err != nil {
		return contract.SubscriptionStateResult{}, err
	}
	return contract.SubscriptionStateResult{State: s.state}, o.err
}

func (s *subscription) mayTest(_ workflow.Context, r contract.TestRequest) error {
	if r.ID == "" {
		return temporal.NewApplicationError("id: is required", "Invalid")
	}
	if s.tests >= testLimit {
		return temporal.NewApplicationError(fmt.Sprintf("%d tests wait already, which is the limit", testLimit), "Refused")
	}
	return s.mayAsk(r.By)
}

// test sends its message beside whatever the loop does: its order among the events does not matter.
func (s *subscription) test(ctx workflow.Context, r contract.TestRequest) (contract.TestResult, error) {
	s.tests++
	defer func() { s.tests-- }()
	var out contract.TestResult
	err := workflow.ExecuteActivity(testing(ctx), steps.Subscription.SendTest, activities.SendTestInput{SubscriptionStep: s.step(), Test: r}).Get(ctx, &out)
	if err != nil {
		if text := activities.RefusalText(err); text != "" {
			return out, temporal.NewApplicationError(text, "Refused")
		}
		return out, temporal.NewApplicationError("the test could not be sent; try again", "Refused")
	}
	s.Counts.Tests++
	return out, nil
}

func (s *subscription) step() activities.SubscriptionStep {
	return activities.SubscriptionStep{Org: s.in.OrgID, Subscription: s.in.SubscriptionID}
}

func (s *subscription) run(ctx workflow.Context) error {
	for {
		s.drain()
		s.collect(ctx)
		s.obey(ctx)
		s.start(ctx)
		s.describe(ctx)
		if s.state == domain.SubscriptionDeleted {
			s.drain()
			return workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() && s.sending == nil && len(s.orders) == 0 && workflow.AllHandlersFinished(ctx) {
			// Signals that came since the loop looked must not be left in this run.
			s.drain()
			carried := s.SubscriptionCarried
			return workflow.NewContinueAsNewError(ctx, contract.SubscriptionWorkflow, contract.SubscriptionInput{
				OrgID: s.in.OrgID, SubscriptionID: s.in.SubscriptionID, Carried: &carried})
		}
		s.setAlarm(ctx)
		if err := workflow.Await(ctx, func() bool { return s.awake(ctx) }); err != nil {
			return err
		}
	}
}

// drain takes every signal that is there. Signals only raise flags.
func (s *subscription) drain() {
	var w contract.WakeSignal
	for s.wakes.ReceiveAsync(&w) {
		s.Counts.Wakes++
		s.Work = true
		s.Check = s.Check || w.Changed
		w = contract.WakeSignal{}
	}
}

// obey carries out what people asked for. It waits for no sender: the rows tell a sender that it was stopped.
func (s *subscription) obey(ctx workflow.Context) {
	for len(s.orders) > 0 {
		o := s.orders[0]
		s.orders = s.orders[1:]
		var state domain.SubscriptionState
		err := workflow.ExecuteLocalActivity(database(ctx, "set state"), steps.Subscription.SetSubscriptionState,
			activities.SetSubscriptionStateInput{SubscriptionStep: s.step(), State: o.state, By: o.by, FromNow: o.fromNow}).Get(ctx, &state)
		switch text := activities.RefusalText(err); {
		case text != "":
			o.err = temporal.NewApplicationError(text, "Refused")
		case err != nil:
			o.err = temporal.NewApplicationError("storage does not answer; try again", "Refused")
		default:
			s.state, s.obeyed = state, s.sending != nil
			if state == domain.SubscriptionActive {
				s.Work, s.Check = true, true
			}
		}
		o.done = true
	}
}

// ready reports whether sending should begin now.
func (s *subscription) ready(ctx workflow.Context) bool {
	if s.sending != nil || !s.Work && !s.Check && s.RetryAt.IsZero() {
		return false
	}
	return s.Check || s.RetryAt.IsZero() || due(s.RetryAt, workflow.Now(ctx))
}

func (s *subscription) start(ctx workflow.Context) {
	if s.state == domain.SubscriptionDeleted || !s.ready(ctx) {
		return
	}
	s.Work, s.Check, s.RetryAt = false, false, time.Time{}
	s.sending = workflow.ExecuteActivity(broadcasting(ctx, "send events"), steps.Subscription.SendEvents, s.step())
}

func (s *subscription) collect(ctx workflow.Context) {
	if s.sending == nil || !s.sending.IsReady() {
		return
	}
	var out activities.SendEventsResult
	err := s.sending.Get(ctx, &out)
	s.sending = nil
	now := workflow.Now(ctx)
	if err != nil {
		s.Failures++
		s.Work, s.RetryAt = true, now.Add(backoff(s.Failures))
		workflow.GetLogger(ctx).Warn("sending events did not work; trying again", "at", s.RetryAt, "error", err)
		return
	}
	s.Failures = 0
	s.Counts.Sent += int64(out.Sent)
	s.Counts.Failed += int64(out.Failed)
	s.Work = s.Work || out.More
	if s.obeyed {
		s.obeyed, s.Check = false, true
		return
	}
	s.state = out.State
	s.RetryAt = later(out.RetryAt, now)
}

// awake reports whether there is a reason to go through the loop.
func (s *subscription) awake(ctx workflow.Context) bool {
	return s.wakes.Len() > 0 || len(s.orders) > 0 || s.sending != nil && s.sending.IsReady() || s.alarm != nil && s.alarm.IsReady() || s.ready(ctx) ||
		// The last test may have held up a new run.
		s.tests == 0 && workflow.GetInfo(ctx).GetContinueAsNewSuggested() && s.sending == nil && workflow.AllHandlersFinished(ctx)
}

// setAlarm keeps one timer for the next attempt, and none while there is nothing to try.
func (s *subscription) setAlarm(ctx workflow.Context) {
	if s.alarm != nil && s.alarm.IsReady() {
		s.alarm, s.cancel = nil, nil
	}
	if s.sending != nil || s.RetryAt.IsZero() || s.alarm != nil && !s.alarmAt.After(s.RetryAt) {
		return
	}
	if s.cancel != nil {
		s.cancel()
	}
	timer, cancel := workflow.WithCancel(ctx)
	s.alarm, s.alarmAt, s.cancel = workflow.NewTimer(timer, max(s.RetryAt.Sub(workflow.Now(ctx)), 0)), s.RetryAt, cancel
}

// describe tells operators in Temporal UI where the subscription stands.
func (s *subscription) describe(ctx workflow.Context) {
	text := fmt.Sprintf("**%s** · sent %d · failed attempts %d", s.state, s.Counts.Sent, s.Counts.Failed)
	if !s.RetryAt.IsZero() {
		text += "\n\nnext attempt " + s.RetryAt.Format(time.RFC3339)
	}
	workflow.SetCurrentDetails(ctx, text)
	if s.attrs != s.state {
		if err := workflow.UpsertTypedSearchAttributes(ctx, temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(s.state))); err != nil {
			workflow.GetLogger(ctx).Warn("state was not shown in the search attributes", "error", err)
		}
		s.attrs = s.state
	}
}
