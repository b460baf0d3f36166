package activities

import (
	"context"

	"github.com/wedsync/wedsync/internal/domain"
)

// newsPages is how many pages PullNews reads at most. Nearly always there are one or two; what is longer is for a Sync.
const newsPages = 8

// PullNewsInput names a run that the integration's workflow begins.
type PullNewsInput struct {
	SyncRef
	By string `json:"by"`
}

// PullNewsResult says whether the run is over.
type PullNewsResult struct {
	Done bool `json:"done"`
}

// PullNews is a whole run for the usual case that a known position has little news: it begins the run, reads what changed and
// ends it. Whatever is longer, is lost or lists everything is not done: the caller goes on with the same run by a Sync, which
// also records a fault that stays.
//
// Running it again after the answer was lost goes on where the run is, or finds it ended.
func (a *Syncs) PullNews(ctx context.Context, in PullNewsInput) (PullNewsResult, error) {
	var out PullNewsResult
	err := beating(ctx, func(ctx context.Context) error {
		run, err := a.startRun(ctx, StartSyncRunInput{SyncRef: in.SyncRef, By: in.By})
		if err != nil {
			return err
		}
		if run.State != domain.SyncRunning {
			out.Done = true
			return nil
		}
		got, err := a.pullPages(ctx, PullPageInput{SyncRef: in.SyncRef, Pages: newsPages})
		if domain.KindOf(err) == domain.KindGoneToken {
			return nil
		}
		if err != nil || got.More || got.Complete {
			return err
		}
		out.Done = true
		return a.endRun(ctx, EndSyncRunInput{SyncRef: in.SyncRef, State: domain.SyncDone})
	})
	if err != nil {
		out.Done = false
	}
	return out, a.fail(ctx, in.SyncRef, "read changes", err)
}
