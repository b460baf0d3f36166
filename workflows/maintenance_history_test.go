package workflows_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/upkeep"
)

// maintenanceVersion is the entry in versions.go that brought Maintenance, and connections that rest.
const maintenanceVersion = "v13"

// window proposes one of a connection.
func (w *world) window(i domain.Integration, starts time.Time, lasts time.Duration) contract.MaintenanceInput {
	w.t.Helper()
	in := contract.MaintenanceInput{OrgID: w.org, MaintenanceID: domain.NewID[domain.MaintenanceID](time.Now())}
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := upkeep.Create(ctx, tx, domain.Maintenance{ID: in.MaintenanceID, Scopes: []domain.Scope{{Kind: domain.ScopeIntegration, Target: string(i.ID)}},
			StartsAt: starts, EndsAt: starts.Add(lasts), Reason: markers[4], RequestedBy: "op-1"})
		return err
	})
	return in
}

func (w *world) maintenance(in contract.MaintenanceInput) (m domain.Maintenance) {
	w.t.Helper()
	w.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		m, err = tx.Maintenance(ctx, in.MaintenanceID)
		return err
	})
	return m
}

func (w *world) bookings(category domain.Category) (all []domain.Booking) {
	w.t.Helper()
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		list, _, err := tx.Bookings(ctx, store.BookingFilter{Category: category}, store.Page{})
		all = list
		return err
	})
	return all
}

// TestMaintenanceOnRealServers lets a connection rest: what arrives is stored, applied once after the window, and read since the last
// good point. A wedding that is booked then ends a second window while it runs, and a third one before it begins. With -update the
// histories are kept in testdata.
func TestMaintenanceOnRealServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		s := domain.StandardMaintenanceSettings()
		s.Weekdays, s.Zone = []int{0, 1, 2, 3, 4, 5, 6}, "UTC" // whatever day it is
		_, err := tx.PutMaintenanceSettings(ctx, s, "admin-1", 0)
		return err
	})
	w.await("the first reading of both systems", func() bool { return w.status(w.cal).Counts.Syncs == 1 && w.status(w.crm).Counts.Syncs == 1 })

	begin := func(i domain.Integration) contract.MaintenanceInput {
		in := w.window(i, time.Now().Add(3*time.Second), time.Hour)
		if _, err := w.ApproveMaintenance(t.Context(), in, contract.ApproveRequest{By: "admin-1"}); domain.KindOf(err) != domain.KindConflict {
			t.Errorf("approved within its notice: %v", err)
		}
		approved, err := w.ApproveMaintenance(t.Context(), in, contract.ApproveRequest{By: "admin-1", ShortNotice: true})
		w.must(err)
		if approved.State != domain.MaintenanceAnnounced {
			t.Errorf("approved it is %s", approved.State)
		}
		w.await("the maintenance to run", func() bool { return w.maintenance(in).State == domain.MaintenanceRunning })
		return in
	}
	first := begin(w.cal)
	held := w.deliver(w.cal, body(entry("talk", domain.CategoryConsultation, 14, 13, 1)))
	w.tenant(func(ctx context.Context, tx *store.Tx) error { // whatever tells a workflow of it
		return tx.Enqueue(ctx, store.OutboxDeliveries, string(w.cal.ID), "", tx.Now)
	})
	other := w.deliver(w.crm, body(entry("visit", domain.CategoryVendor, 20, 9, 1)))
	w.await("a delivery of another connection, whose copy waits", func() bool { return w.delivered(other) == domain.DeliveryApplied })
	if state := w.delivered(held); state != domain.DeliveryReceived {
		t.Errorf("a delivery during the maintenance is %s", state)
	}
	longer, err := w.RescheduleMaintenance(t.Context(), first, contract.RescheduleRequest{By: "admin-1", EndsAt: w.maintenance(first).EndsAt.Add(time.Hour)})
	w.must(err)
	if longer.State != domain.MaintenanceRunning || !longer.EndsAt.Equal(w.maintenance(first).EndsAt) {
		t.Errorf("longer: %+v", longer)
	}
	syncs := w.status(w.cal).Counts.Syncs
	_, err = w.CancelMaintenance(t.Context(), first, contract.CancelRequest{By: "admin-1"})
	w.must(err)
	w.await("the end of the first maintenance", func() bool { return w.maintenance(first).State == domain.MaintenanceDone })
	if m := w.maintenance(first); !m.Early || m.Held < 2 || m.Left != 0 || m.Connections != 1 {
		t.Errorf("the first one ended as %+v", m)
	}
	if w.delivered(held) != domain.DeliveryApplied || w.status(w.cal).Counts.Syncs <= syncs {
		t.Errorf("the delivery is %s, %d readings since", w.delivered(held), w.status(w.cal).Counts.Syncs-syncs)
	}
	if all := w.bookings(domain.CategoryConsultation); len(all) != 1 || all[0].Version != 1 {
		t.Errorf("applied as %d bookings", len(all))
	}
	w.await("the copy that waited", func() bool { return w.status(w.cal).Counts.Pushed > 0 })

	second := begin(w.crm)
	third := w.window(w.cal, time.Now().Add(10*24*time.Hour), time.Hour)
	w.await("the third one", func() bool {
		s, err := w.MaintenanceStatus(t.Context(), third.MaintenanceID)
		return err == nil && s.State == domain.MaintenanceProposed
	})
	wedding := entry("soon", domain.CategoryWedding, 1, 0, 1)
	wedding.When.Span = domain.Span{Start: time.Now().UTC().Truncate(time.Second).Add(24 * time.Hour), End: time.Now().UTC().Truncate(time.Second).Add(30 * time.Hour)}
	far := entry("far", domain.CategoryWedding, 1, 0, 1)
	far.When.Span = domain.Span{Start: wedding.When.Start.Add(10 * 24 * time.Hour), End: wedding.When.End.Add(10 * 24 * time.Hour)}
	w.deliver(w.cal, body(wedding, far))
	w.await("the end of the second and the third", func() bool { return w.maintenance(second).State.Ended() && w.maintenance(third).State.Ended() })
	if m := w.maintenance(second); m.State != domain.MaintenanceDone || !m.Early || !strings.Contains(m.Note, "a wedding moved in") {
		t.Errorf("the second one ended as %s: %s", m.State, m.Note)
	}
	if m := w.maintenance(third); m.State != domain.MaintenanceCancelled || !strings.Contains(m.Note, "a wedding moved in") {
		t.Errorf("the third one ended as %s: %s", m.State, m.Note)
	}

	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SetIntegrationState(ctx, w.cal.ID, domain.IntegrationDeleted, "by admin-1")
		return err
	})
	for name, id := range map[string]string{"maintenance": contract.MaintenanceWorkflowID(first.MaintenanceID), "maintenance-wedding": contract.MaintenanceWorkflowID(second.MaintenanceID),
		"integration-rested": contract.IntegrationWorkflowID(w.cal.ID)} {
		w.await("the end of the workflow of "+name, func() bool {
			d, err := w.Temporal().DescribeWorkflowExecution(t.Context(), id, "")
			w.must(err)
			return d.WorkflowExecutionInfo.Status == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
		})
		for n, h := range w.histories(id) {
			file := fmt.Sprintf("%s-%s-%d", maintenanceVersion, name, n+1)
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
