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
	"github.com/wedsync/wedsync/internal/timelines"
)

// timelineVersion is the entry in versions.go that brought Timeline.
const timelineVersion = "v5"

// TestTimelineHistoriesHoldNobodyAndReplay moves a wedding with a timeline on real servers. With -update its history is
// kept in testdata.
func TestTimelineHistoriesHoldNobodyAndReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	vendor := domain.Resource{ID: domain.NewID[domain.ResourceID](time.Now()), Name: markers[0], Kind: domain.ResourcePerson, Zone: "Europe/London", Capacity: 1}
	start := time.Date(2031, 6, 14, 13, 0, 0, 0, time.UTC)
	wedding := domain.Booking{ID: domain.NewID[domain.BookingID](time.Now()), OrgID: w.org, ResourceID: w.person.ID, Category: domain.CategoryWedding,
		Status: domain.StatusConfirmed, When: domain.When{Span: domain.Span{Start: start, End: start.Add(8 * time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned},
		Details: domain.Details{Title: markers[2]}}
	var exported domain.BookingID
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CreateResource(ctx, vendor); err != nil {
			return err
		}
		_, err := apply.Manual(ctx, tx, wedding, "admin-1", markers[4])
		return err
	})
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		v, err := timelines.Set(ctx, tx, wedding.ID, domain.TimelinePlan{Items: []domain.TimelineItem{{Key: "music", Kind: domain.TimelineMusic, Title: markers[2],
			Place: markers[1], ResourceID: vendor.ID, OffsetMinutes: 60, DurationMinutes: 120, Export: true}}}, 0, "admin-1", "")
		exported = v.Exported["music"]
		return err
	})
	for n := range 2 {
		wedding.When.Start, wedding.When.End = wedding.When.Start.Add(time.Hour), wedding.When.End.Add(time.Hour)
		w.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, err := apply.Manual(ctx, tx, wedding, "admin-1", markers[4])
			return err
		})
		w.await(fmt.Sprintf("move %d of the exported booking", n+1), func() bool {
			var b domain.Booking
			w.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
				b, err = tx.Booking(ctx, exported)
				return err
			})
			return b.When.Start.Equal(wedding.When.Start.Add(time.Hour))
		})
	}
	id := contract.TimelineWorkflowID(wedding.ID)
	w.await("the end of the workflow", func() bool {
		d, err := w.Temporal().DescribeWorkflowExecution(t.Context(), id, "")
		w.must(err)
		return d.WorkflowExecutionInfo.Status == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
	})
	for n, h := range w.histories(id) {
		file := fmt.Sprintf("%s-timeline-%d", timelineVersion, n+1)
		checkHoldsNobody(t, w.ring, file, h)
		if err := replay(w.ring, h); err != nil {
			t.Errorf("replay of the fresh %s: %v", file, err)
		}
		if *updateFiles && n < 1 {
			w.record(file, h)
		}
	}
}
