package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
)

// This file reads what is new by one activity. A workflow of its own for each pull would cost Temporal four times as much, and
// with thousands of connections that are polled and hinted at that is most of what it does.

// scheduled is who asks for a pull that is due, or that a message of the system brought forward.
const scheduled = "schedule"

// pullNews begins a pull. It is entry 15 of versions.go.
func (s *integration) pullNews(ctx workflow.Context, r contract.ResyncRequest) {
	once := workflow.WithActivityOptions(reading(ctx, "pull changes"), workflow.ActivityOptions{
		TaskQueue:              contract.QueueSync,
		StartToCloseTimeout:    time.Minute,
		ScheduleToCloseTimeout: 3 * time.Minute,
		HeartbeatTimeout:       30 * time.Second,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumAttempts: 2},
		Summary:                "pull changes",
	})
	s.pull = r
	s.pulling = workflow.ExecuteActivity(once, steps.Syncs.PullNews, activities.PullNewsInput{
		SyncRef: activities.SyncRef{Org: s.in.OrgID, Integration: s.in.IntegrationID, Run: r.RunID}, By: r.By})
	s.Current, s.pulledAt = &r.RunID, workflow.Now(ctx)
}

// collectNews ends the pull, or goes on with its run by a Sync: there is more than an activity should read, or a fault that is
// to be tried for longer and recorded.
func (s *integration) collectNews(ctx workflow.Context) {
	if s.pulling == nil || !s.pulling.IsReady() {
		return
	}
	var out activities.PullNewsResult
	err := s.pulling.Get(ctx, &out)
	s.pulling = nil
	if err == nil && out.Done {
		s.endSync(s.pull.RunID)
		return
	}
	s.Current = nil
	s.startChild(ctx, s.pull)
}
