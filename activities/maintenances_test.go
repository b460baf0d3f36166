package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/upkeep"
)

// maintain makes a window of the calendar's connection that begins in four days, and approves it.
func (d *desk) maintain() activities.MaintenanceRef {
	d.t.Helper()
	ref := activities.MaintenanceRef{Org: d.org, Maintenance: domain.NewID[domain.MaintenanceID](d.clock())}
	starts := d.clock().Add(96 * time.Hour)
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := upkeep.Create(ctx, tx, domain.Maintenance{ID: ref.Maintenance, Scopes: []domain.Scope{{Kind: domain.ScopeIntegration, Target: string(d.cal.ID)}},
			StartsAt: starts, EndsAt: starts.Add(2 * time.Hour), Reason: "a new server", RequestedBy: "op-1"})
		return err
	})
	return ref
}

func (d *desk) maintenances() *activities.Maintenances {
	return &activities.Maintenances{Store: d.Store}
}

func TestWorkOfAConnectionInMaintenanceWaitsAndIsDoneAfterwards(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ref := d.maintain()
	if got, err := d.maintenances().DecideMaintenance(t.Context(), activities.DecideMaintenanceInput{MaintenanceRef: ref, Verb: upkeep.Approve, By: "admin-1"}); err != nil ||
		got.State != domain.MaintenanceApproved {
		t.Fatalf("%+v, %v", got, err)
	}
	d.advance(96 * time.Hour)
	advance := func() contract.MaintenanceStatus {
		got, err := d.maintenances().AdvanceMaintenance(t.Context(), ref)
		d.must(err)
		return got
	}
	if got := advance(); got.State != domain.MaintenanceDraining || got.Connections != 1 {
		t.Fatalf("%+v", got)
	}
	cfg, err := (&activities.Integrations{Store: d.Store, Opener: d.opener}).LoadIntegration(t.Context(), activities.LoadIntegrationInput{Org: d.org, Integration: d.cal.ID})
	if err != nil || cfg.State != domain.IntegrationActive || !cfg.WorkHold.In(d.clock()) || cfg.WorkHold.By != ref.Maintenance {
		t.Fatalf("the connection's workflow reads %+v, %v", cfg, err)
	}
	id := d.deliver(d.cal, "[]")[0]
	d.arrive(d.crm, change("w1", domain.CategoryVendor, 10, 12))
	apply := &activities.Deliveries{Store: d.Store, Opener: d.opener}
	got, err := apply.ApplyDeliveries(t.Context(), activities.ApplyDeliveriesInput{Org: d.org, Integration: d.cal.ID})
	if err != nil || got.Applied+got.Ignored+got.Dead != 0 || !got.NeedsReload || d.delivery(id).State != domain.DeliveryReceived {
		t.Errorf("a delivery during a maintenance: %+v, %v, %s", got, err, d.delivery(id).State)
	}
	if wrote := d.write(d.cal); wrote.Done != 0 || d.atCal.count("put") != 0 {
		t.Errorf("written during a maintenance: %+v", wrote)
	}
	if wrote := d.write(d.crm); wrote.Failed != 0 {
		t.Errorf("another connection: %+v", wrote)
	}
	for range 2 { // a repeat changes nothing
		d.must((&activities.Maintenances{Store: d.Store}).NoteQuiet(t.Context(), activities.NoteQuietInput{MaintenanceRef: ref, Integration: d.cal.ID}))
	}
	if got := advance(); got.State != domain.MaintenanceRunning {
		t.Fatalf("%+v", got)
	}
	d.advance(2 * time.Hour)
	if got := advance(); got.State != domain.MaintenanceReplaying || got.Held != 2 {
		t.Fatalf("%+v", got)
	}
	if again := advance(); again.State != domain.MaintenanceReplaying || again.Version == 0 {
		t.Errorf("%+v", again)
	}
	if got, err = apply.ApplyDeliveries(t.Context(), activities.ApplyDeliveriesInput{Org: d.org, Integration: d.cal.ID}); err != nil || got.Ignored != 1 {
		t.Errorf("after it: %+v, %v", got, err)
	}
	if got := advance(); got.State != domain.MaintenanceReplaying {
		t.Errorf("a write waits and it is %s", got.State)
	}
	if wrote := d.write(d.cal); wrote.Done != 1 || d.atCal.count("put") != 1 {
		t.Errorf("written after it: %+v", wrote)
	}
	if got := advance(); got.State != domain.MaintenanceDone || got.Left != 0 {
		t.Errorf("%+v", got)
	}
}

func TestAWindowThatIsNotThereEndsItsWorkflowAndRefusesPeople(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ref := activities.MaintenanceRef{Org: d.org, Maintenance: domain.NewID[domain.MaintenanceID](d.clock())}
	if got, err := d.maintenances().AdvanceMaintenance(t.Context(), ref); err != nil || !got.State.Ended() {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := d.maintenances().DecideMaintenance(t.Context(), activities.DecideMaintenanceInput{MaintenanceRef: ref, Verb: upkeep.Cancel, By: "admin-1"}); err == nil {
		t.Error("somebody cancelled it")
	}
}
