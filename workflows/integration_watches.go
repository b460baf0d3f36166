package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
)

// This file keeps the addresses to which a system posts when something changed there, and turns such messages into pulls.
// Both come from the integration's row, which the workflow reads again whenever it is told to: a message is a hint.

// changeWatches is entry 4 of versions.go.
const changeWatches = "watches"

// pullSpacing is the least time between the beginnings of two pulls because of messages. The first message after a quiet
// time is followed at once; a burst makes one pull now and one after it.
const pullSpacing = 5 * time.Second

// hurry brings the next pull forward when the system told that something changed.
func (s *integration) hurry(ctx workflow.Context) {
	if s.Config.PullWanted.IsZero() || !s.Config.CanPull {
		return
	}
	soon := workflow.Now(ctx)
	if next := s.pulledAt.Add(pullSpacing); !s.pulledAt.IsZero() && soon.Before(next) {
		soon = next
	}
	if s.NextPoll.IsZero() || soon.Before(s.NextPoll) {
		s.NextPoll = soon
	}
}

// planWatches takes from the integration's row when its watches are to be looked after. A step that failed keeps its wait.
func (s *integration) planWatches(at time.Time) {
	if !at.IsZero() && at.Before(s.watchRetry) {
		at = s.watchRetry
	}
	s.watchesDue = at
}

// keepWatches starts what is due for the watches, one step at a time.
func (s *integration) keepWatches(ctx workflow.Context) {
	now := workflow.Now(ctx)
	if s.keeping != nil || !due(s.watchesDue, now) {
		return
	}
	if workflow.GetVersion(ctx, changeWatches, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		s.watchesDue = time.Time{}
		return
	}
	s.watchesDue = time.Time{}
	s.keeping = workflow.ExecuteActivity(reading(ctx, "keep watches"), steps.Watches.KeepWatches,
		activities.KeepWatchesInput{Org: s.in.OrgID, Integration: s.in.IntegrationID})
}

func (s *integration) collectWatches(ctx workflow.Context) {
	if s.keeping == nil || !s.keeping.IsReady() {
		return
	}
	var out activities.KeepWatchesResult
	err := s.keeping.Get(ctx, &out)
	s.keeping = nil
	now := workflow.Now(ctx)
	if err != nil {
		wait := min(time.Minute<<min(s.watchFail, 6), time.Hour)
		s.watchFail++
		s.watchRetry = now.Add(wait)
		s.watchesDue = s.watchRetry
		workflow.GetLogger(ctx).Warn("watches were not kept; polling goes on and they are tried again", "wait", wait, "error", err)
		return
	}
	s.watchFail, s.watchRetry, s.watchesDue = 0, time.Time{}, later(out.NextDue, now)
	if out.Pull || out.Refused {
		s.reload = true
	}
}
