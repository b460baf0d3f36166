package contract

import (
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// SubscriptionWorkflowID is the id of the workflow that sends webhooks to one receiver.
func SubscriptionWorkflowID(id domain.SubscriptionID) string { return "subscription/" + string(id) }

// SignalWake tells a subscription that events wait, or that its row changed (WakeSignal). Like every signal it is a hint.
const SignalWake = "wake"

// Updates of a subscription, beside UpdatePause (PauseRequest) and UpdateResume (SubscriptionResumeRequest), which answer
// with SubscriptionStateResult.
const (
	// UpdateTest sends a test message (TestRequest) and answers with what came of it (TestResult).
	UpdateTest = "Test"
)

// WakeSignal says that there is something to look at.
type WakeSignal struct {
	// Changed says that a person changed the row: what waits for a next attempt is looked at anew.
	Changed bool `json:"changed,omitempty"`
}

// SubscriptionInput starts a subscription's workflow, and carries its state over to a new run.
type SubscriptionInput struct {
	OrgID          domain.OrgID          `json:"org_id"`
	SubscriptionID domain.SubscriptionID `json:"subscription_id"`
	Carried        *SubscriptionCarried  `json:"carried,omitempty"`
}

// SubscriptionCarried is what a run hands to the next one at continue-as-new.
type SubscriptionCarried struct {
	Work     bool               `json:"work,omitempty"`     // events may wait
	Check    bool               `json:"check,omitempty"`    // the row changed
	RetryAt  time.Time          `json:"retry_at,omitzero"`  // nothing is sent before
	Runs     int                `json:"runs"`               // runs so far
	Failures int                `json:"failures,omitempty"` // steps that failed in a row
	Counts   SubscriptionCounts `json:"counts"`
}

// SubscriptionCounts are totals over all runs.
type SubscriptionCounts struct {
	Wakes  int64 `json:"wakes"`
	Sent   int64 `json:"sent"`
	Failed int64 `json:"failed"` // attempts
	Tests  int64 `json:"tests"`
}

// SubscriptionStatus answers QueryStatus of a subscription.
type SubscriptionStatus struct {
	State    domain.SubscriptionState `json:"state"`
	Counts   SubscriptionCounts       `json:"counts"`
	RetryAt  time.Time                `json:"retry_at,omitzero"`
	Failures int                      `json:"failures"`
	Runs     int                      `json:"runs"`
}

// SubscriptionResumeRequest is the input of UpdateResume of a subscription. By is a token subject.
type SubscriptionResumeRequest struct {
	By      string `json:"by"`
	FromNow bool   `json:"from_now,omitempty"` // leave out what happened meanwhile
}

// SubscriptionStateResult answers Pause and Resume of a subscription.
type SubscriptionStateResult struct {
	State domain.SubscriptionState `json:"state"`
}

// TestRequest is the input of UpdateTest. The caller chooses ID, so a repeated request is the same message.
type TestRequest struct {
	ID domain.AttemptID `json:"id"`
	By string           `json:"by"`
}

// TestResult answers UpdateTest once the receiver answered, or did not.
type TestResult struct {
	Delivered  bool   `json:"delivered"`
	Status     int    `json:"status"`          // of the answer; 0 when there was none
	Error      string `json:"error,omitempty"` // why it was not delivered
	TookMillis int64  `json:"took_ms"`
	MessageID  string `json:"message_id"`
}
