package contract

import (
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// MaintenanceWorkflow carries a window of maintenance from its proposal to its end. It is woken by SignalWake (WakeSignal), takes
// UpdateApprove, UpdateCancel and UpdateReschedule, and answers QueryStatus with MaintenanceStatus, which is its result too.
const MaintenanceWorkflow = "Maintenance"

// MaintenanceWorkflowID is the id of the workflow of a window.
func MaintenanceWorkflowID(id domain.MaintenanceID) string { return "maintenance/" + string(id) }

// Updates of a window, beside UpdateCancel.
const (
	UpdateApprove    = "Approve"
	UpdateReschedule = "Reschedule"
)

// MaintenanceInput starts the workflow, and carries its counts over to a new run: what there is to do follows from storage.
type MaintenanceInput struct {
	OrgID         domain.OrgID         `json:"org_id"`
	MaintenanceID domain.MaintenanceID `json:"maintenance_id"`
	Carried       *MaintenanceCarried  `json:"carried,omitempty"`
}

// MaintenanceCarried is what a run hands to the next one at continue-as-new.
type MaintenanceCarried struct {
	Runs     int       `json:"runs"` // runs so far
	Failures int       `json:"failures,omitempty"`
	RetryAt  time.Time `json:"retry_at,omitzero"` // storage failed: nothing before this
}

// MaintenanceStatus tells where a window stands.
type MaintenanceStatus struct {
	State       domain.MaintenanceState `json:"state"`
	StartsAt    time.Time               `json:"starts_at,omitzero"`
	EndsAt      time.Time               `json:"ends_at,omitzero"`
	DueAt       time.Time               `json:"due_at,omitzero"` // when something is due again
	Connections int                     `json:"connections,omitempty"`
	Held        int                     `json:"held,omitempty"`
	Left        int                     `json:"left,omitempty"`
	Failures    int                     `json:"failures,omitempty"`
	Runs        int                     `json:"runs,omitempty"`
	Version     int64                   `json:"version,omitempty"`
}

// ApproveRequest is the input of UpdateApprove. By is a token subject; reasons are kept in the audit trail.
type ApproveRequest struct {
	By          string `json:"by"`
	ShortNotice bool   `json:"short_notice,omitempty"` // let it begin before the usual notice
}

// RescheduleRequest is the input of UpdateReschedule: a new beginning, a new end, or both. One that has begun keeps its beginning.
type RescheduleRequest struct {
	By          string    `json:"by"`
	StartsAt    time.Time `json:"starts_at,omitzero"`
	EndsAt      time.Time `json:"ends_at,omitzero"`
	ShortNotice bool      `json:"short_notice,omitempty"`
	Version     int64     `json:"version,omitempty"` // that the person saw; 0 = any
}
