package contract

import (
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// AlertsWorkflow looks after the alerts of one organisation. It is woken by SignalWake (WakeSignal) and answers QueryStatus with
// AlertsStatus.
const AlertsWorkflow = "Alerts"

// AlertsWorkflowID is the id of the workflow that looks after the alerts of an organisation.
func AlertsWorkflowID(org domain.OrgID) string { return "alerts/" + string(org) }

// AlertsInput starts the workflow, and carries its state over to a new run.
type AlertsInput struct {
	OrgID   domain.OrgID   `json:"org_id"`
	Carried *AlertsCarried `json:"carried,omitempty"`
}

// AlertsCarried is what a run hands to the next one at continue-as-new.
type AlertsCarried struct {
	Woken    bool         `json:"woken,omitempty"`  // something changed since the last look
	LookAt   time.Time    `json:"look_at,omitzero"` // when to look next
	LookedAt time.Time    `json:"looked_at,omitzero"`
	Runs     int          `json:"runs"` // runs so far
	Failures int          `json:"failures,omitempty"`
	Counts   AlertsCounts `json:"counts"`
}

// AlertsCounts are totals over all runs.
type AlertsCounts struct {
	Wakes   int64 `json:"wakes"`
	Looks   int64 `json:"looks"`
	Changed int64 `json:"changed"` // alerts
	Told    int64 `json:"told"`    // that people were told of
}

// AlertsStatus answers QueryStatus of the workflow.
type AlertsStatus struct {
	Counts   AlertsCounts `json:"counts"`
	Watched  int          `json:"watched"` // connections
	Open     int          `json:"open"`    // alerts
	LookAt   time.Time    `json:"look_at,omitzero"`
	LookedAt time.Time    `json:"looked_at,omitzero"`
	Failures int          `json:"failures"`
	Runs     int          `json:"runs"`
}
