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

// weddingVersion is the entry in versions.go that brought Wedding.
const weddingVersion = "v12"

// TestWeddingHistoriesHoldNobodyAndReplay books a wedding within its freeze on real servers, which starts the workflow by the
// outbox; it is checked, moved into its day, where a connection stops telling of news, and cancelled. With -update its history is
// kept in testdata.
func TestWeddingHistoriesHoldNobodyAndReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.await("the first reading of both systems", func() bool { return w.status(w.cal).Counts.Syncs == 1 && w.status(w.crm).Counts.Syncs == 1 })
	wedding := func(begins time.Time, status domain.BookingStatus) domain.Change {
		c := entry("near", domain.CategoryWedding, 14, 12, 8)
		c.When.Span, c.Status = domain.Span{Start: begins, End: begins.Add(8 * time.Hour)}, status
		return c
	}
	care := func() (c domain.WeddingCare) {
		w.tenant(func(ctx context.Context, tx *store.Tx) error {
			all, _, err := tx.WeddingCares(ctx, store.CareFilter{}, store.Page{})
			if len(all) > 0 {
				c = all[0]
			}
			return err
		})
		return c
	}
	soon := time.Now().Truncate(time.Second).Add(40 * time.Hour).UTC()
	w.deliver(w.crm, body(wedding(soon, domain.StatusConfirmed)))
	w.await("the preflight of the freeze", func() bool { c := care(); return c.State == domain.CareFrozen && c.PreflightAt != nil })
	id := contract.WeddingWorkflowID(care().BookingID)
	w.deliver(w.crm, body(wedding(time.Now().Truncate(time.Second).Add(time.Minute).UTC(), domain.StatusConfirmed)))
	w.await("its day and another preflight", func() bool { c := care(); return c.State == domain.CareDay && c.PreflightAt != nil })
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		for _, m := range []store.HealthMove{{Integration: w.cal.ID, To: domain.HealthUp, Reason: domain.HealthReason{Code: domain.HealthAnswers, Text: "it answers"}},
			{Integration: w.cal.ID, To: domain.HealthFailingOver, Reason: domain.HealthReason{Code: domain.HealthNotTold, Text: markers[4]}}} {
			if _, _, err := tx.MoveHealth(ctx, m); err != nil {
				return err
			}
		}
		return nil
	})
	w.await("the note that it is to be polled", func() bool {
		failovers := 0
		w.tenant(func(ctx context.Context, tx *store.Tx) error {
			log, err := tx.WeddingNotes(ctx, care().BookingID, time.Now().Add(-48*time.Hour), 100)
			failovers = 0
			for _, n := range log {
				if n.Kind == domain.NoteFailover {
					failovers++
				}
			}
			return err
		})
		return failovers > 0
	})
	// What a system says would wait for a person on this day; the person says it.
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		b, err := tx.Booking(ctx, care().BookingID)
		if err != nil {
			return err
		}
		b.Status = domain.StatusCancelled
		_, err = apply.Manual(ctx, tx, b, "admin-1", markers[4])
		return err
	})
	w.await("the end of the workflow", func() bool {
		d, err := w.Temporal().DescribeWorkflowExecution(t.Context(), id, "")
		w.must(err)
		return d.WorkflowExecutionInfo.Status == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
	})
	if c := care(); c.State != domain.CareEnded {
		t.Errorf("%+v", c)
	}
	for n, h := range w.histories(id) {
		file := fmt.Sprintf("%s-wedding-%d", weddingVersion, n+1)
		checkHoldsNobody(t, w.ring, file, h)
		if err := replay(w.ring, h); err != nil {
			t.Errorf("replay of the fresh %s: %v", file, err)
		}
		if *updateFiles && n < 1 {
			w.record(file, h)
		}
	}
}
