package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/diary"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/holds"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// holdVersion is the entry in versions.go that brought Hold.
const holdVersion = "v6"

// TestHoldsOnRealServers lets one hold be extended and confirmed after its sources were read anew, and another one expire;
// both are shown in the calendar and the second is taken out of it. With -update the histories are kept in testdata.
func TestHoldsOnRealServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	opener := connect.New(func(name string) (provider.Registration, bool) {
		return provider.Registration{Name: name, Open: func(provider.Connection) (any, error) { return w.atCal, nil }}, true
	}, nil, time.Now, 0)
	desk := &holds.Desk{Store: w.Store, Opener: opener, ReadWithin: time.Minute, Read: func(ctx context.Context, i domain.Integration, run domain.SyncRunID, by string) error {
		_, err := w.Resync(ctx, w.ref(i), contract.ResyncRequest{RunID: run, By: by})
		return err
	}}
	w.await("the first reading of both systems", func() bool { return w.status(w.cal).Counts.Syncs == 1 && w.status(w.crm).Counts.Syncs == 1 })
	wish := func(day int) holds.Wish {
		start := time.Date(2031, 6, day, 12, 0, 0, 0, time.UTC)
		return holds.Wish{ResourceID: w.person.ID, Category: domain.CategoryWedding, Minutes: 60, Details: domain.Details{Title: markers[2]},
			When: domain.When{Span: domain.Span{Start: start, End: start.Add(8 * time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned}}
	}
	place := func(day int) holds.View {
		v, err := desk.Place(t.Context(), w.org, domain.NewID[domain.BookingID](time.Now()), wish(day), "admin-1", markers[4])
		w.must(err)
		return v
	}
	shown := func(id domain.BookingID, want holds.SystemState) func() bool {
		return func() bool {
			v, err := desk.Show(t.Context(), w.org, id)
			w.must(err)
			for _, s := range v.Systems {
				if s.State != want || s.LagMS == nil {
					return false
				}
			}
			return len(v.Systems) == 2
		}
	}
	kept, lapsing := place(14), place(21)
	w.await("both holds in both systems", func() bool { return shown(kept.ID, holds.SystemShown)() && shown(lapsing.ID, holds.SystemShown)() })
	_, err := desk.Extend(t.Context(), w.org, kept.ID, 2*time.Hour, "admin-1", markers[4])
	w.must(err)
	// The systems were read a while ago for all that is known, since they tell nothing and are not polled.
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE integrations SET last_sync_at = now() - interval '1 hour'")
		return err
	})
	confirmed, err := desk.Confirm(t.Context(), w.org, kept.ID, holds.Confirmation{By: "admin-1", Reason: markers[4]})
	var refused *holds.Refusal
	if errors.As(err, &refused) {
		t.Fatalf("refused: %v %+v", err, refused)
	}
	w.must(err)
	for _, s := range confirmed.Sources {
		if s.State != diary.SourceFresh || s.ReadAt == nil || time.Since(*s.ReadAt) > 10*time.Minute {
			t.Errorf("source %+v was not read", s)
		}
	}
	// Its timer would fire in an hour; the clock of its row is set forward instead.
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE holds SET expires_at = now() - interval '1 second' WHERE id = $1", lapsing.ID); err != nil {
			return err
		}
		return tx.Enqueue(ctx, store.OutboxHold, string(lapsing.ID), "", tx.Now)
	})
	w.await("the second hold out of both systems", shown(lapsing.ID, holds.SystemRemoved))
	for name, id := range map[string]domain.BookingID{"confirmed": kept.ID, "expired": lapsing.ID} {
		flow := contract.HoldWorkflowID(id)
		w.await("the end of the workflow of the hold that was "+name, func() bool {
			d, err := w.Temporal().DescribeWorkflowExecution(t.Context(), flow, "")
			w.must(err)
			return d.WorkflowExecutionInfo.Status == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
		})
		for n, h := range w.histories(flow) {
			file := fmt.Sprintf("%s-hold-%s-%d", holdVersion, name, n+1)
			checkHoldsNobody(t, w.ring, file, h)
			if err := replay(w.ring, h); err != nil {
				t.Errorf("replay of the fresh %s: %v", file, err)
			}
			if *updateFiles && n < 1 {
				w.record(file, h)
			}
		}
	}
}
