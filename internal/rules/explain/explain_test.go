package explain_test

import (
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/explain"
)

func TestEverySystemHasOneReason(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 6, 12, 9, 0, 0, 0, time.UTC)
	own, copied := domain.Link{ID: "o"}, domain.Link{ID: "c", Mirror: true}
	gone, lost := domain.Link{ID: "g", RemovedAt: &at}, domain.Link{ID: "l", Mirror: true, RemovedAt: &at}
	push := func(op domain.PushOp, s domain.PushState, reason string) *domain.Push {
		return &domain.Push{Op: op, State: s, Reason: reason, NextAttemptAt: &at}
	}
	for name, c := range map[string]struct {
		change func(*explain.Input)
		shows  explain.Shows
		code   explain.Code
	}{
		"own entry":              {func(i *explain.Input) { i.Links = []domain.Link{own} }, explain.ShowsOwn, explain.CodeOwn},
		"own entry while paused": {func(i *explain.Input) { i.Links = []domain.Link{own}; i.Integration.State = domain.IntegrationPaused }, explain.ShowsOwn, explain.CodeOwn},
		"own entry to be changed": {func(i *explain.Input) {
			i.Links = []domain.Link{own}
			i.Push = push(domain.PushPut, domain.PushPending, "")
		}, explain.ShowsPending, explain.CodeWaiting},
		"copy":         {func(i *explain.Input) { i.Links = []domain.Link{lost, copied} }, explain.ShowsCopy, explain.CodeCopy},
		"private copy": {func(i *explain.Input) { i.Links = []domain.Link{copied}; i.Booking.Private = true }, explain.ShowsCopy, explain.CodeBusy},
		"held":         {func(i *explain.Input) { i.Links = []domain.Link{own}; i.Held = true }, explain.ShowsNot, explain.CodeHeld},
		"edited on both sides": {func(i *explain.Input) {
			i.Links, i.Edited = []domain.Link{own}, true
			i.Push = push(domain.PushPut, domain.PushPending, "")
		}, explain.ShowsFailed, explain.CodeEdited},
		"edited here, removed there": {func(i *explain.Input) { i.Links, i.Edited = []domain.Link{gone}, true }, explain.ShowsFailed, explain.CodeEdited},
		"edited, then disconnected": {func(i *explain.Input) {
			i.Links, i.Edited = []domain.Link{gone}, true
			i.Integration.State = domain.IntegrationDeleted
		}, explain.ShowsNot, explain.CodeDisconnected},
		"waiting": {func(i *explain.Input) { i.Push = push(domain.PushPut, domain.PushPending, "") }, explain.ShowsPending, explain.CodeWaiting},
		"waiting while paused": {func(i *explain.Input) {
			i.Push = push(domain.PushPut, domain.PushPending, "")
			i.Integration.State = domain.IntegrationPaused
		}, explain.ShowsPending, explain.CodePaused},
		"waiting for credentials": {func(i *explain.Input) {
			i.Push = push(domain.PushPut, domain.PushRetrying, "x")
			i.Integration.State = domain.IntegrationNeedsReconnect
		}, explain.ShowsFailed, explain.CodeNeedsReconnect},
		"pending, being connected": {func(i *explain.Input) {
			i.Integration.State = domain.IntegrationConnecting
			i.Push = push(domain.PushPut, domain.PushPending, "")
		}, explain.ShowsPending, explain.CodeConnecting},
		"retrying": {func(i *explain.Input) { i.Push = push(domain.PushPut, domain.PushRetrying, "down") }, explain.ShowsPending, explain.CodeRetrying},
		"given up": {func(i *explain.Input) {
			i.Links = []domain.Link{copied}
			i.Push = push(domain.PushPut, domain.PushFailed, "refused")
		}, explain.ShowsFailed, explain.CodeFailed},
		"being removed": {func(i *explain.Input) {
			i.Links = []domain.Link{copied}
			i.Push = push(domain.PushRemove, domain.PushPending, "")
		}, explain.ShowsPending, explain.CodeRemoving},
		"removal of nothing": {func(i *explain.Input) {
			i.Push = push(domain.PushRemove, domain.PushPending, "")
			i.Booking.Status = domain.StatusCancelled
		}, explain.ShowsNot, explain.CodeCancelled},
		"disconnected": {func(i *explain.Input) { i.Integration.State = domain.IntegrationDeleted }, explain.ShowsNot, explain.CodeDisconnected},
		"only read":    {func(i *explain.Input) { i.Integration.Direction = domain.DirectionImport }, explain.ShowsNot, explain.CodeImportOnly},
		"gone there": {func(i *explain.Input) {
			i.Integration.Direction = domain.DirectionImport
			i.Links = []domain.Link{gone}
		}, explain.ShowsNot, explain.CodeGoneThere},
		"another resource":               {func(i *explain.Input) { i.Integration.ResourceID = "r2" }, explain.ShowsNot, explain.CodeOtherResource},
		"cancelled":                      {func(i *explain.Input) { i.Booking.Status = domain.StatusCancelled }, explain.ShowsNot, explain.CodeCancelled},
		"private and skipped":            {func(i *explain.Input) { i.Booking.Private = true; i.Integration.Sync.Private = domain.PrivateSkip }, explain.ShowsNot, explain.CodePrivate},
		"filtered":                       {func(i *explain.Input) { l := gone; l.Agreed.Filtered = true; i.Links = []domain.Link{l} }, explain.ShowsNot, explain.CodeFiltered},
		"free":                           {func(i *explain.Input) { i.Booking.Free = true }, explain.ShowsNot, explain.CodeFree},
		"purged":                         {func(i *explain.Input) { i.Integration.Copies = domain.CopiesPurged }, explain.ShowsNot, explain.CodePurged},
		"connected after it was made":    {func(*explain.Input) {}, explain.ShowsNot, explain.CodeNotWished},
		"connected after it, and paused": {func(i *explain.Input) { i.Integration.State = domain.IntegrationPaused }, explain.ShowsPending, explain.CodePaused},
	} {
		in := explain.Input{Booking: domain.Booking{ID: "b", ResourceID: "r", Status: domain.StatusConfirmed},
			Integration: domain.Integration{ResourceID: "r", State: domain.IntegrationActive, Direction: domain.DirectionBidirectional, Copies: domain.CopiesKept}}
		c.change(&in)
		got := explain.System(in)
		if got.Shows != c.shows || got.Code != c.code || got.Reason == "" {
			t.Errorf("%s: %+v, want %s %s", name, got, c.shows, c.code)
		}
	}
}
