package contract

import (
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// NotifyWorkflow tells the people of one organisation of what concerns them. It is woken by SignalWake (WakeSignal) and answers
// QueryStatus with NotifyStatus.
const NotifyWorkflow = "Notify"

// NotifyWorkflowID is the id of the workflow that notifies the people of an organisation.
func NotifyWorkflowID(org domain.OrgID) string { return "notify/" + string(org) }

// NotifyInput starts the workflow that notifies an organisation's people, and carries its state over to a new run.
type NotifyInput struct {
	OrgID   domain.OrgID   `json:"org_id"`
	Carried *NotifyCarried `json:"carried,omitempty"`
}

// NotifyCarried is what a run hands to the next one at continue-as-new.
type NotifyCarried struct {
	Plan     bool         `json:"plan,omitempty"`    // facts may wait
	DueAt    time.Time    `json:"due_at,omitzero"`   // the next message is to be sent then
	LookAt   time.Time    `json:"look_at,omitzero"`  // when to look for stale connections
	RetryAt  time.Time    `json:"retry_at,omitzero"` // after a step that did not work
	Runs     int          `json:"runs"`              // runs so far
	Failures int          `json:"failures,omitempty"`
	Counts   NotifyCounts `json:"counts"`
}

// NotifyCounts are totals over all runs.
type NotifyCounts struct {
	Wakes      int64 `json:"wakes"`
	Facts      int64 `json:"facts"`
	Added      int64 `json:"added"`
	Sent       int64 `json:"sent"` // messages
	Failed     int64 `json:"failed"`
	Suppressed int64 `json:"suppressed"`
}

// NotifyStatus answers QueryStatus of the workflow that notifies.
type NotifyStatus struct {
	Counts   NotifyCounts `json:"counts"`
	DueAt    time.Time    `json:"due_at,omitzero"`
	LookAt   time.Time    `json:"look_at,omitzero"`
	Sending  bool         `json:"sending"`
	Failures int          `json:"failures"`
	Runs     int          `json:"runs"`
}
