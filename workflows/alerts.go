package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
)

const (
	// alertsEvery is how often connections are looked at.
	alertsEvery = time.Minute
	// alertsSpacing is the least time between two looks: when a platform fails, hundreds of connections change within seconds.
	alertsSpacing = 5 * time.Second
)

// Alerts looks after the alerts of one organisation. Once a minute, when the health of a connection changed, and when a reminder,
// an escalation or the end of a silence is due, one step looks at all its connections: states, what the prober stored, silences,
// weddings. What is wrong and who is to hear of it is in Postgres; the workflow keeps the time of the next look only. It ends when
// nothing is known of any connection and no alert is open; the next change of a connection starts it again.
func Alerts(ctx workflow.Context, in contract.AlertsInput) error {
	a := &alerter{in: in, wakes: workflow.GetSignalChannel(ctx, contract.SignalWake)}
	if in.Carried != nil {
		a.AlertsCarried = *in.Carried
	} else {
		a.Woken = true
	}
	a.Runs++
	if err := workflow.SetQueryHandler(ctx, contract.QueryStatus, func() (contract.AlertsStatus, error) {
		return contract.AlertsStatus{Counts: a.Counts, Watched: a.seen.Watched, Open: a.seen.Open, LookAt: a.LookAt, LookedAt: a.LookedAt, Failures: a.Failures, Runs: a.Runs}, nil
	}); err != nil {
		return err
	}
	return a.run(ctx)
}

type alerter struct {
	in contract.AlertsInput
	contract.AlertsCarried

	wakes  workflow.ReceiveChannel
	looked bool                            // in this run
	seen   activities.EvaluateAlertsResult // of the last look
}

func (a *alerter) run(ctx workflow.Context) error {
	for {
		a.drain()
		now := workflow.Now(ctx)
		if due := a.due(); !due.After(now) {
			a.look(ctx)
			now = workflow.Now(ctx)
			workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d connections · %d alerts · looks again at %s", a.seen.Watched, a.seen.Open, a.due().Format(time.RFC3339)))
		}
		a.drain()
		if a.looked && !a.Woken && a.seen.Watched == 0 && a.seen.Open == 0 {
			return nil
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			// Signals that came since the loop looked must not be left in this run.
			a.drain()
			carried := a.AlertsCarried
			return workflow.NewContinueAsNewError(ctx, contract.AlertsWorkflow, contract.AlertsInput{OrgID: a.in.OrgID, Carried: &carried})
		}
		if wait := a.due().Sub(now); wait > 0 {
			if err := a.wait(ctx, wait); err != nil {
				return err
			}
		}
	}
}

// drain takes every signal that is there.
func (a *alerter) drain() {
	for a.wakes.ReceiveAsync(nil) {
		a.Counts.Wakes++
		a.Woken = true
	}
}

// due is when to look: at the time that is set, or as soon as may be when something changed.
func (a *alerter) due() time.Time {
	if a.Failures > 0 || !a.Woken {
		return a.LookAt
	}
	soon := a.LookedAt.Add(alertsSpacing)
	if a.LookAt.Before(soon) && !a.LookAt.IsZero() {
		return a.LookAt
	}
	return soon
}

func (a *alerter) look(ctx workflow.Context) {
	a.Woken = false
	a.Counts.Looks++
	var out activities.EvaluateAlertsResult
	err := workflow.ExecuteLocalActivity(database(ctx, "look for alerts"), steps.Alerts.EvaluateAlerts, activities.EvaluateAlertsInput{Org: a.in.OrgID}).Get(ctx, &out)
	now := workflow.Now(ctx)
	a.LookedAt = now
	if err != nil {
		a.Failures++
		a.Woken, a.LookAt = true, now.Add(backoff(a.Failures))
		workflow.GetLogger(ctx).Warn("alerts could not be looked at; trying again", "at", a.LookAt, "error", err)
		return
	}
	a.Failures, a.seen, a.looked = 0, out, true
	a.Counts.Changed += int64(out.Changed)
	a.Counts.Told += int64(out.Told)
	a.LookAt = now.Add(alertsEvery)
	if out.More {
		a.Woken, a.LookAt = true, now
	}
	// A moment at least, so that two clocks that differ do not make the workflow spin.
	if !out.Next.IsZero() && out.Next.Before(a.LookAt) {
		a.LookAt = later(out.Next, now)
	}
}

// wait ends after a time, or before when something changed.
func (a *alerter) wait(ctx workflow.Context, by time.Duration) error {
	timer, cancel := workflow.WithCancel(ctx)
	defer cancel()
	workflow.NewSelector(ctx).
		AddFuture(workflow.NewTimer(timer, by), func(workflow.Future) {}).
		AddReceive(a.wakes, func(workflow.ReceiveChannel, bool) {}).
		Select(ctx)
	return ctx.Err()
}
