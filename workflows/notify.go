package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
)

// Notify tells the people of one organisation of what concerns them: it turns what happened into notifications and sends those
// that are due, each when its time comes. What waits, and when it is tried next, is in Postgres; the workflow keeps the next
// times only, so its history holds ids and grows by a step for each wake. It ends when nothing is left to wait for, and whoever
// has news starts it again. One workflow per organisation shares the workers by the organisation's fairness key, and a receiver
// that is slow holds up its own organisation only.
func Notify(ctx workflow.Context, in contract.NotifyInput) error {
	n := &notifier{in: in, wakes: workflow.GetSignalChannel(ctx, contract.SignalWake)}
	if in.Carried != nil {
		n.NotifyCarried = *in.Carried
	} else {
		n.Plan = true
	}
	n.Runs++
	if err := workflow.SetQueryHandler(ctx, contract.QueryStatus, func() (contract.NotifyStatus, error) {
		return contract.NotifyStatus{Counts: n.Counts, DueAt: n.DueAt, LookAt: n.LookAt, Sending: n.sending != nil, Failures: n.Failures, Runs: n.Runs}, nil
	}); err != nil {
		return err
	}
	return n.run(ctx)
}

type notifier struct {
	in contract.NotifyInput
	contract.NotifyCarried

	wakes   workflow.ReceiveChannel
	sending workflow.Future // SendNotifications in progress
	alarm   workflow.Future // the one timer
	alarmAt time.Time
	cancel  workflow.CancelFunc
}

func (n *notifier) run(ctx workflow.Context) error {
	for {
		n.drain()
		n.collect(ctx)
		n.plan(ctx)
		n.start(ctx)
		n.describe(ctx)
		if n.idle() {
			n.drain()
			if n.Plan {
				continue
			}
			return nil
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() && n.sending == nil {
			// Signals that came since the loop looked must not be left in this run.
			n.drain()
			carried := n.NotifyCarried
			return workflow.NewContinueAsNewError(ctx, contract.NotifyWorkflow, contract.NotifyInput{OrgID: n.in.OrgID, Carried: &carried})
		}
		n.setAlarm(ctx)
		if err := workflow.Await(ctx, func() bool {
			return n.wakes.Len() > 0 || n.sending != nil && n.sending.IsReady() || n.alarm != nil && n.alarm.IsReady()
		}); err != nil {
			return err
		}
	}
}

// drain takes every signal that is there.
func (n *notifier) drain() {
	for n.wakes.ReceiveAsync(nil) {
		n.Counts.Wakes++
		n.Plan = true
	}
}

// idle reports whether there is nothing to wait for.
func (n *notifier) idle() bool {
	return n.sending == nil && !n.Plan && n.DueAt.IsZero() && n.LookAt.IsZero() && n.RetryAt.IsZero()
}

// plan turns facts into notifications until none waits.
func (n *notifier) plan(ctx workflow.Context) {
	now := workflow.Now(ctx)
	if !n.RetryAt.IsZero() && !due(n.RetryAt, now) {
		return
	}
	for n.Plan || due(n.LookAt, now) {
		n.RetryAt = time.Time{}
		var out activities.PlanNotificationsResult
		err := workflow.ExecuteLocalActivity(database(ctx, "find out whom to tell"), steps.Notifications.PlanNotifications,
			activities.PlanNotificationsInput{Org: n.in.OrgID, Look: due(n.LookAt, now)}).Get(ctx, &out)
		now = workflow.Now(ctx)
		if err != nil {
			n.failed(ctx, "whom to tell could not be found out", err)
			return
		}
		n.Failures = 0
		n.Counts.Facts += int64(out.Facts)
		n.Counts.Added += int64(out.Added)
		// A look that was due was made; one that is still ahead stays where it is, however often facts come.
		if n.LookAt.IsZero() || due(n.LookAt, now) || out.LookAt.IsZero() {
			n.LookAt = later(out.LookAt, now)
		}
		// New ones go at once; for others a moment's wait keeps a step that finds nothing from being run in a row.
		if n.Plan, n.DueAt = out.More, out.DueAt; out.Added == 0 {
			n.DueAt = later(out.DueAt, now)
		}
	}
}

// start sends what is due.
func (n *notifier) start(ctx workflow.Context) {
	if n.sending != nil || n.DueAt.IsZero() || !due(n.DueAt, workflow.Now(ctx)) || !n.RetryAt.IsZero() {
		return
	}
	n.DueAt = time.Time{}
	n.sending = workflow.ExecuteActivity(broadcasting(ctx, "send notifications"), steps.Notifications.SendNotifications,
		activities.SendNotificationsInput{Org: n.in.OrgID})
}

func (n *notifier) collect(ctx workflow.Context) {
	if n.sending == nil || !n.sending.IsReady() {
		return
	}
	var out activities.SendNotificationsResult
	err := n.sending.Get(ctx, &out)
	n.sending = nil
	// What was planned meanwhile is due at a time that only storage knows.
	n.Plan = true
	if err != nil {
		n.failed(ctx, "sending notifications did not work", err)
		return
	}
	n.Failures = 0
	n.Counts.Sent += int64(out.Sent)
	n.Counts.Failed += int64(out.Failed)
	n.Counts.Suppressed += int64(out.Suppressed)
}

func (n *notifier) failed(ctx workflow.Context, what string, err error) {
	n.Failures++
	n.Plan, n.RetryAt = true, workflow.Now(ctx).Add(backoff(n.Failures))
	workflow.GetLogger(ctx).Warn(what+"; trying again", "at", n.RetryAt, "error", err)
}

// setAlarm keeps one timer for whatever comes next.
func (n *notifier) setAlarm(ctx workflow.Context) {
	if n.alarm != nil && n.alarm.IsReady() {
		n.alarm, n.cancel = nil, nil
	}
	next := n.RetryAt
	if next.IsZero() {
		next = n.LookAt
		if n.sending == nil && !n.DueAt.IsZero() && (next.IsZero() || n.DueAt.Before(next)) {
			next = n.DueAt
		}
	}
	if next.IsZero() || n.alarm != nil && !n.alarmAt.After(next) {
		return
	}
	if n.cancel != nil {
		n.cancel()
	}
	timer, cancel := workflow.WithCancel(ctx)
	n.alarm, n.alarmAt, n.cancel = workflow.NewTimer(timer, max(next.Sub(workflow.Now(ctx)), 0)), next, cancel
}

// describe tells operators in Temporal UI where it stands.
func (n *notifier) describe(ctx workflow.Context) {
	text := fmt.Sprintf("sent %d · failed attempts %d · suppressed %d", n.Counts.Sent, n.Counts.Failed, n.Counts.Suppressed)
	if !n.DueAt.IsZero() {
		text += "\n\nnext message " + n.DueAt.Format(time.RFC3339)
	}
	workflow.SetCurrentDetails(ctx, text)
}
