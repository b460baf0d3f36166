package workflows

import (
	"strconv"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
)

// database is for steps on our own Postgres. They are short; after three quick tries the workflow itself waits with
// backoff, so that an outage does not fill the history with task heartbeats.
func database(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout: 10 * time.Second,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: 100 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: time.Second, MaximumAttempts: 3,
		},
		Summary: summary,
	})
}

// reading is for calls that read an outside system. Retries go on for an hour; after that the run is given up and the
// next poll starts anew. They are two minutes apart at the most, as the probes of a circuit are (rules/breaker): a system that does
// not answer is spared by its circuit, and what timed out by our own slowness is not to wait for longer once that is over.
func reading(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              contract.QueueSync,
		StartToCloseTimeout:    2 * time.Minute,
		ScheduleToCloseTimeout: time.Hour,
		HeartbeatTimeout:       30 * time.Second,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 2 * time.Minute,
		},
		Summary: summary,
	})
}

// connecting is for the questions of an onboarding, while a person may be waiting. What cannot be reached for ten minutes is
// tried again by the onboarding itself. A cancelled one is waited for, so that nothing is made while it is undone.
func connecting(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              contract.QueueSync,
		StartToCloseTimeout:    2 * time.Minute,
		ScheduleToCloseTimeout: 10 * time.Minute,
		HeartbeatTimeout:       30 * time.Second,
		WaitForCancellation:    true,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute,
		},
		Summary: summary,
	})
}

// writing is for calls that write to an outside system. Each push keeps its own retry schedule in Postgres, so the
// activity itself is tried only a few times, for lost workers.
func writing(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              contract.QueuePush,
		StartToCloseTimeout:    5 * time.Minute,
		ScheduleToCloseTimeout: 15 * time.Minute,
		HeartbeatTimeout:       30 * time.Second,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute, MaximumAttempts: 5,
		},
		Summary: summary,
	})
}

// broadcasting is for outgoing webhooks. Each subscription keeps its own retry schedule in Postgres, so the activity
// itself is tried only a few times, for lost workers.
func broadcasting(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              contract.QueueBroadcast,
		StartToCloseTimeout:    5 * time.Minute,
		ScheduleToCloseTimeout: 15 * time.Minute,
		HeartbeatTimeout:       30 * time.Second,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute, MaximumAttempts: 5,
		},
		Summary: summary,
	})
}

// probing is for the long activity that asks a shard's systems. It beats every few seconds, so a worker that died is noticed
// within the heartbeat timeout, and tries are not bounded: somebody must go on.
func probing(ctx workflow.Context, shard int) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           contract.QueueProbe,
		StartToCloseTimeout: 65 * time.Minute,
		HeartbeatTimeout:    15 * time.Second,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 10 * time.Second,
		},
		Summary: "probe shard " + strconv.Itoa(shard),
	})
}

// testing is for a message that a person waits for: one try, within what the API waits.
func testing(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              contract.QueueBroadcast,
		StartToCloseTimeout:    20 * time.Second,
		ScheduleToCloseTimeout: 25 * time.Second,
		RetryPolicy:            &temporal.RetryPolicy{MaximumAttempts: 1},
		Summary:                "send test",
	})
}

// checking is for asking the connections of a wedding. Whoever does not answer is a result; a worker that is lost is not waited
// for long, because a preflight that could not ask says so and is made again.
func checking(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              contract.QueueSync,
		StartToCloseTimeout:    5 * time.Minute,
		ScheduleToCloseTimeout: 15 * time.Minute,
		HeartbeatTimeout:       time.Minute,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute,
		},
		Summary: "ask the connections of the wedding",
	})
}

// backoff is the wait after the n-th failure in a row of a step, 1 s doubling to 5 minutes.
func backoff(n int) time.Duration {
	d := time.Second
	for i := 1; i < n && d < 5*time.Minute; i++ {
		d *= 2
	}
	return min(d, 5*time.Minute)
}

// steps names activities for the compiler: the SDK takes their names and checks nothing but the types. The pointers stay
// nil, since the worker's registered values carry the activities out.
var steps struct {
	Integrations  *activities.Integrations
	Deliveries    *activities.Deliveries
	Syncs         *activities.Syncs
	Pushes        *activities.Pushes
	Conflicts     *activities.Conflicts
	Subscription  *activities.Subscriptions
	Replays       *activities.Replays
	Watches       *activities.Watches
	Timelines     *activities.Timelines
	Holds         *activities.Holds
	Notifications *activities.Notifications
	Probes        *activities.Probes
	Onboardings   *activities.Onboardings
	Alerts        *activities.Alerts
	Maintenances  *activities.Maintenances
	Weddings      *activities.Weddings
	Failovers     *activities.Failovers
}
