package workflows_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// notifyVersion is the entry in versions.go that brought Notify.
const notifyVersion = "v8"

// TestNotifyHistoriesHoldNobodyAndReplay tells a person of two conflicts on real servers: one by the live stream, and by a
// webhook that nobody takes at first. With -update its history is kept in testdata.
func TestNotifyHistoriesHoldNobodyAndReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := secretOf(7)
	hook := newReceiver(t, secret)
	hook.next(503)
	kinds := []domain.NotifyKind{domain.NotifyConflictOpened, domain.NotifyConflictResolved}
	who := domain.Recipient{ID: domain.NewID[domain.RecipientID](time.Now()), Name: markers[0], Zone: "Europe/London", CreatedBy: "admin-1",
		Addresses: domain.NotifyAddresses{Webhook: hook.URL + "/hook"},
		Prefer:    domain.NotifyPreferences{Rules: []domain.NotifyRule{{Kinds: kinds, Channels: []domain.NotifyChannel{domain.ChannelLive, domain.ChannelWebhook}}}}}
	w.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.CreateRecipient(ctx, who, secret) })
	start := time.Date(2031, 6, 14, 13, 0, 0, 0, time.UTC)
	for n := range 3 {
		w.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, err := apply.Manual(ctx, tx, domain.Booking{ID: domain.NewID[domain.BookingID](tx.Now), OrgID: w.org, ResourceID: w.person.ID, Category: domain.CategoryVendor,
				Status: domain.StatusConfirmed, When: domain.When{Span: domain.Span{Start: start.Add(time.Duration(n) * time.Minute), End: start.Add(time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned},
				Details: domain.Details{Title: markers[2], Contact: markers[3]}}, "admin-1", markers[4])
			return err
		})
	}
	var all []domain.Notification
	w.await("everything to be told", func() bool {
		w.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
			all, _, err = tx.Notifications(ctx, store.NotificationFilter{}, store.Page{})
			return err
		})
		sent := 0
		for _, n := range all {
			if n.State == domain.NotificationSent {
				sent++
			}
		}
		return sent >= 4 && sent == len(all)
	})
	tried := 0
	for _, n := range all {
		tried = max(tried, n.Attempts)
	}
	if tried != 2 {
		t.Errorf("tried %d times at most, want 2: one was refused", tried)
	}
	id := contract.NotifyWorkflowID(w.org)
	w.await("the end of the workflow", func() bool {
		d, err := w.Temporal().DescribeWorkflowExecution(t.Context(), id, "")
		w.must(err)
		return d.WorkflowExecutionInfo.Status == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
	})
	for n, h := range w.histories(id) {
		file := fmt.Sprintf("%s-notify-%d", notifyVersion, n+1)
		checkHoldsNobody(t, w.ring, file, h)
		if err := replay(w.ring, h); err != nil {
			t.Errorf("replay of the fresh %s: %v", file, err)
		}
		if *updateFiles && n < 1 {
			w.record(file, h)
		}
	}
}
