package inbox

import (
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
)

// This file holds what the dispatcher is told: each kind of news becomes part of the errand of one workflow.

// tellIntegration adds an errand for an integration's workflow. Ids are ignored when the workflow is about to be told
// of deliveries anyway, so that repeated sweeps do not pile them up.
func (d *Dispatcher) tellIntegration(ref flow.IntegrationRef, e errand) {
	d.mu.Lock()
	if t := d.integration(ref); t != nil {
		if e.deliveries && t.errand.deliveries {
			e.ids, e.more = nil, true
		}
		d.ids += t.errand.merge(e, d.o.MaxIDs-d.ids)
		d.ready(t)
	}
	d.mu.Unlock()
	d.poke()
}

// tellConflict adds an errand for a conflict's workflow.
func (d *Dispatcher) tellConflict(org domain.OrgID, id domain.ConflictID, e errand) {
	d.mu.Lock()
	if t := d.target(org, contract.ConflictWorkflowID(id)); t != nil {
		t.conflict = id
		t.errand.merge(e, 0)
		d.ready(t)
	}
	d.mu.Unlock()
	d.poke()
}

// startReplay adds the start of a replay's workflow.
func (d *Dispatcher) startReplay(in contract.ReplayInput, row int64) {
	d.mu.Lock()
	if t := d.target(in.OrgID, contract.ReplayWorkflowID(in.ReplayID)); t != nil {
		t.errand.merge(errand{replay: &in, rows: []int64{row}}, 0)
		d.ready(t)
	}
	d.mu.Unlock()
	d.poke()
}

// followTimeline adds the news that a wedding with a timeline changed.
func (d *Dispatcher) followTimeline(in contract.TimelineInput, row int64) {
	d.mu.Lock()
	if t := d.target(in.OrgID, contract.TimelineWorkflowID(in.BookingID)); t != nil {
		t.errand.merge(errand{timeline: &in, rows: []int64{row}}, 0)
		d.ready(t)
	}
	d.mu.Unlock()
	d.poke()
}

// tellHold adds the news that a hold was made, changed or ended.
func (d *Dispatcher) tellHold(in contract.HoldInput, row int64) {
	d.mu.Lock()
	if t := d.target(in.OrgID, contract.HoldWorkflowID(in.BookingID)); t != nil {
		t.errand.merge(errand{hold: &in, rows: []int64{row}}, 0)
		d.ready(t)
	}
	d.mu.Unlock()
	d.poke()
}

// tellOnboarding adds the news that an onboarding was begun or changed.
func (d *Dispatcher) tellOnboarding(in contract.OnboardInput, row int64) {
	d.mu.Lock()
	if t := d.target(in.OrgID, contract.OnboardWorkflowID(in.IntegrationID)); t != nil {
		t.errand.merge(errand{onboarding: &in, rows: []int64{row}}, 0)
		d.ready(t)
	}
	d.mu.Unlock()
	d.poke()
}

// wakeNotify adds the news that people of an organisation may have to be told of something.
func (d *Dispatcher) wakeNotify(org domain.OrgID, row int64) {
	d.mu.Lock()
	if t := d.target(org, contract.NotifyWorkflowID(org)); t != nil {
		t.errand.merge(errand{notify: org, rows: []int64{row}}, 0)
		d.ready(t)
	}
	d.mu.Unlock()
	d.poke()
}

// wakeAlerts adds the news that something changed that the alerts of an organisation rest on.
func (d *Dispatcher) wakeAlerts(org domain.OrgID, row int64) {
	d.mu.Lock()
	if t := d.target(org, contract.AlertsWorkflowID(org)); t != nil {
		t.errand.merge(errand{alerts: org, rows: []int64{row}}, 0)
		d.ready(t)
	}
	d.mu.Unlock()
	d.poke()
}

// wakeMaintenance adds the news that a window was made or changed, or something on which it depends.
func (d *Dispatcher) wakeMaintenance(in contract.MaintenanceInput, row int64) {
	d.mu.Lock()
	if t := d.target(in.OrgID, contract.MaintenanceWorkflowID(in.MaintenanceID)); t != nil {
		t.errand.merge(errand{upkeep: &in, rows: []int64{row}}, 0)
		d.ready(t)
	}
	d.mu.Unlock()
	d.poke()
}

// tellWedding adds the news that a wedding was booked or changed, or that its care has something to look at.
func (d *Dispatcher) tellWedding(in contract.WeddingInput, row int64) {
	d.mu.Lock()
	if t := d.target(in.OrgID, contract.WeddingWorkflowID(in.BookingID)); t != nil {
		t.errand.merge(errand{wedding: &in, rows: []int64{row}}, 0)
		d.ready(t)
	}
	d.mu.Unlock()
	d.poke()
}
