package workflows_test

import (
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

func TestNewsAreReadWithoutAWorkflowOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := newConnection(t)
	s.config.PollSeconds, s.config.QuickPull = 600, true
	s.syncing(time.Minute, false)
	seen := map[domain.SyncRunID]bool{}
	s.news = func(_ int, in activities.PullNewsInput) (activities.PullNewsResult, error) {
		if in.By != "schedule" || in.Org != org || in.Integration != integration || seen[in.Run] {
			t.Errorf("pulls %+v", in)
		}
		seen[in.Run] = true
		return activities.PullNewsResult{Done: true}, nil
	}
	s.at(5*time.Hour, func() {
		if got := ask[contract.IntegrationStatus](s.stage, contract.QueryStatus); got.Current != nil || got.LastRun == nil || !seen[*got.LastRun] ||
			got.Counts.Syncs != int64(len(seen)) {
			t.Errorf("status is %+v after %d pulls", got, len(seen))
		}
		update[contract.ResyncResult](s.stage, contract.UpdateResync, "1", contract.ResyncRequest{RunID: run1, By: "alex"})
	})
	s.run(10*time.Hour + time.Minute)
	if n := len(seen); n < 58 || n > 61 {
		t.Errorf("%d pulls in ten hours, want 60", n)
	}
	if len(s.syncs) != 1 || s.syncs[0].RunID != run1 {
		t.Errorf("a person's resync is a workflow of its own: %+v", s.syncs)
	}
}

func TestWhatIsLongerOrFailsGoesOnAsASyncOfTheSameRun(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func() (activities.PullNewsResult, error){
		"longer": func() (activities.PullNewsResult, error) { return activities.PullNewsResult{}, nil },
		"refused": func() (activities.PullNewsResult, error) {
			return activities.PullNewsResult{}, refusedAs(domain.KindPermanent, "no such list")
		},
		"down": func() (activities.PullNewsResult, error) { return activities.PullNewsResult{}, errDown },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newConnection(t)
			s.config.PollSeconds, s.config.QuickPull = 3600, true
			s.syncing(time.Minute, false)
			var began domain.SyncRunID
			s.news = func(_ int, in activities.PullNewsInput) (activities.PullNewsResult, error) {
				began = in.Run
				return end()
			}
			s.run(90 * time.Minute)
			if len(s.syncs) != 1 || s.syncs[0].RunID != began || s.syncs[0].By != "schedule" || s.count("PullNews") > 2 {
				t.Errorf("%d tries of %s, syncs %+v", s.count("PullNews"), began, s.syncs)
			}
		})
	}
}
