// Package contract holds the words on the wire between WedSync and Temporal: workflow names, task queues, workflow
// ids, inputs, results, signals, updates, queries and search attributes. Server, dispatcher, workers and operators'
// tools all take them from here, so they can be read and deployed apart.
//
// Everything here may end up in a workflow history: ids and plain states only, never names, mails, titles or texts
// typed by people. Golden JSON tests keep field names stable, because running workflows hold them.
package contract

import (
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Task queues. Workers choose the ones they serve with --queues.
const (
	// QueueCore runs workflows and their database steps.
	QueueCore = "wedsync-core"
	// QueueSync runs reads from outside systems.
	QueueSync = "wedsync-sync"
	// QueuePush runs writes to outside systems.
	QueuePush = "wedsync-push"
	// QueueBroadcast runs outgoing webhooks. It has workers of its own, so that receivers who let us wait do not hold up
	// writes to calendars.
	QueueBroadcast = "wedsync-broadcast"
)

// Queues lists every task queue.
func Queues() []string { return []string{QueueCore, QueueSync, QueuePush, QueueBroadcast, QueueProbe} }

// Workflow type names.
const (
	IntegrationWorkflow = "Integration"
	SyncWorkflow        = "Sync"
	ConflictWorkflow    = "Conflict"
	// SubscriptionWorkflow sends webhooks to one receiver.
	SubscriptionWorkflow = "Subscription"
	ReplayWorkflow       = "Replay"
	// TimelineWorkflow lets what a timeline exported follow its wedding.
	TimelineWorkflow = "Timeline"
	// HoldWorkflow ends a hold when its time has come.
	HoldWorkflow = "Hold"
)

// IntegrationWorkflowID is the id of the workflow that lives as long as a connection.
func IntegrationWorkflowID(id domain.IntegrationID) string { return "integration/" + string(id) }

// SyncWorkflowID is the id of one sync run.
func SyncWorkflowID(id domain.SyncRunID) string { return "sync/" + string(id) }

// ConflictWorkflowID is the id of a conflict's story.
func ConflictWorkflowID(id domain.ConflictID) string { return "conflict/" + string(id) }

// ReplayWorkflowID is the id of one replay of deliveries.
func ReplayWorkflowID(id domain.ReplayID) string { return "replay/" + string(id) }

// TimelineWorkflowID is the id of the workflow that follows a wedding.
func TimelineWorkflowID(wedding domain.BookingID) string { return "timeline/" + string(wedding) }

// HoldWorkflowID is the id of a hold's story.
func HoldWorkflowID(id domain.BookingID) string { return "hold/" + string(id) }

// ParseWorkflowID splits a workflow id made above into its kind and its identifier.
func ParseWorkflowID(s string) (kind, id string, ok bool) {
	kind, id, ok = strings.Cut(s, "/")
	if _, valid := domain.ParseUUID(id); !valid {
		return "", "", false
	}
	return kind, id, ok
}

// Search attributes, all of type Keyword. They hold ids and states and are readable by operators.
const (
	AttrOrg         = "WedsyncOrg"
	AttrIntegration = "WedsyncIntegration"
	AttrProvider    = "WedsyncProvider"
	AttrState       = "WedsyncState"
	AttrWeddingDate = "WedsyncWeddingDate" // local date of the wedding concerned, YYYY-MM-DD
)

// SearchAttributes maps each attribute to its Temporal type, for registering them.
func SearchAttributes() map[string]string {
	return map[string]string{AttrOrg: "Keyword", AttrIntegration: "Keyword", AttrProvider: "Keyword",
		AttrState: "Keyword", AttrWeddingDate: "Keyword"}
}

// Signal names. A signal only notes that there is work: Postgres is the record, so a repeated or lost signal does no
// harm beyond delay.
const (
	// SignalDeliveries tells an integration that deliveries wait (DeliveriesSignal).
	SignalDeliveries = "deliveries"
	// SignalPushes tells an integration that copies must be written (PushesSignal).
	SignalPushes = "pushes"
	// SignalChanged tells an integration that its row changed (settings, state) and must be re-read (ChangedSignal).
	SignalChanged = "changed"
	// SignalSynced tells an integration that its sync run ended (SyncedSignal).
	SignalSynced = "synced"
	// SignalRecheck tells a conflict that one of its bookings changed (RecheckSignal).
	SignalRecheck = "recheck"
	// SignalFollow tells a timeline that its wedding changed. It has no payload.
	SignalFollow = "follow"
	// SignalHold tells a hold that it was extended or has ended. It has no payload.
	SignalHold = "hold"
)

// MaxIDsPerSignal bounds the ids that one DeliveriesSignal carries.
const MaxIDsPerSignal = 200

// DeliveriesSignal names waiting deliveries, oldest first. More says that there are others than those named; the
// workflow drains whatever waits in any case.
type DeliveriesSignal struct {
	IDs  []domain.DeliveryID `json:"ids"`
	More bool                `json:"more,omitempty"`
}

// PushesSignal says that pushes of the integration wait.
type PushesSignal struct {
	Count int `json:"count"`
}

// ChangedSignal says that the integration's row changed.
type ChangedSignal struct {
	Version int64 `json:"version"`
}

// SyncedSignal says that a sync run of the integration ended.
type SyncedSignal struct {
	RunID domain.SyncRunID `json:"run_id"`
	State domain.SyncState `json:"state"`
}

// RecheckSignal says that a booking of the conflict changed.
type RecheckSignal struct {
	BookingID domain.BookingID `json:"booking_id"`
}

// Update names. Updates are for people: they are validated, and the caller learns the outcome.
const (
	UpdatePause   = "Pause"
	UpdateResume  = "Resume"
	UpdateResync  = "Resync"
	UpdateResolve = "Resolve"
	UpdateCancel  = "Cancel"
)

// Query names.
const (
	QueryStatus   = "status"   // IntegrationStatus or ConflictStatus
	QueryProgress = "progress" // SyncProgress or ReplayProgress
)

// IntegrationInput starts an integration's workflow, and carries its state over to a new run.
type IntegrationInput struct {
	OrgID         domain.OrgID         `json:"org_id"`
	IntegrationID domain.IntegrationID `json:"integration_id"`
	Carried       *IntegrationCarried  `json:"carried,omitempty"`
}

// IntegrationCarried is what a run hands to the next one at continue-as-new.
type IntegrationCarried struct {
	Deliveries    bool               `json:"deliveries,omitempty"` // deliveries may be waiting
	Pushes        bool               `json:"pushes,omitempty"`
	DeliveriesDue time.Time          `json:"deliveries_due,omitzero"` // earliest retry
	PushesDue     time.Time          `json:"pushes_due,omitzero"`
	NextPoll      time.Time          `json:"next_poll,omitzero"`
	Resyncs       []ResyncRequest    `json:"resyncs,omitempty"` // accepted and not started
	Runs          int                `json:"runs"`              // runs so far
	Counts        IntegrationCounts  `json:"counts"`
	Failures      int                `json:"failures,omitempty"` // consecutive failed steps
	Current       *domain.SyncRunID  `json:"current,omitempty"`  // sync run in progress
	LastRun       *domain.SyncRunID  `json:"last_run,omitempty"`
	Config        *IntegrationConfig `json:"config,omitempty"`
	Rested        bool               `json:"rested,omitempty"` // its work was held, and what waited was not looked for since
}

// IntegrationConfig is the part of an integration's row that its workflow acts on.
type IntegrationConfig struct {
	Provider    string                  `json:"provider"`
	State       domain.IntegrationState `json:"state"`
	PollSeconds int64                   `json:"poll_seconds"`
	CanPull     bool                    `json:"can_pull"`
	CanWrite    bool                    `json:"can_write"`
	Version     int64                   `json:"version"`
	WatchesDue  time.Time               `json:"watches_due,omitzero"` // when its watches are to be looked after; zero = never
	PullWanted  time.Time               `json:"pull_wanted,omitzero"` // since when a message of the system waits for a pull
	QuickPull   bool                    `json:"quick_pull,omitempty"` // its position is known, so a pull needs no workflow of its own
	WorkHold    *domain.WorkHold        `json:"work_hold,omitempty"`  // its work rests for a window of maintenance
	Failover    *FailoverConfig         `json:"failover,omitempty"`   // how its news come; nil = as usual, with nothing to judge
}

// IntegrationCounts are totals over all runs.
type IntegrationCounts struct {
	Signals int64 `json:"signals"`
	Applied int64 `json:"applied"`
	Ignored int64 `json:"ignored"`
	Dead    int64 `json:"dead"`
	Retried int64 `json:"retried"`
	Pushed  int64 `json:"pushed"`
	Syncs   int64 `json:"syncs"`
}

// IntegrationStatus answers QueryStatus of an integration.
type IntegrationStatus struct {
	State         domain.IntegrationState `json:"state"`
	Counts        IntegrationCounts       `json:"counts"`
	DeliveriesDue time.Time               `json:"deliveries_due,omitzero"`
	PushesDue     time.Time               `json:"pushes_due,omitzero"`
	NextPoll      time.Time               `json:"next_poll,omitzero"`
	WatchesDue    time.Time               `json:"watches_due,omitzero"`
	Current       *domain.SyncRunID       `json:"current,omitempty"`
	LastRun       *domain.SyncRunID       `json:"last_run,omitempty"`
	Failures      int                     `json:"failures"`
	Runs          int                     `json:"runs"`
}

// PauseRequest is the input of UpdatePause; ResumeRequest of UpdateResume. By is a token subject. The reason typed by
// the admin is kept in the audit trail, not here.
type PauseRequest struct {
	By string `json:"by"`
}

// ResumeRequest is the input of UpdateResume.
type ResumeRequest struct {
	By string `json:"by"`
}

// StateResult answers Pause and Resume.
type StateResult struct {
	State domain.IntegrationState `json:"state"`
}

// ResyncRequest is the input of UpdateResync. The caller chooses RunID, so a repeated request is the same run.
type ResyncRequest struct {
	RunID domain.SyncRunID `json:"run_id"`
	Full  bool             `json:"full"`
	By    string           `json:"by"`
}

// ResyncResult answers UpdateResync: the run is accepted and will be carried out by workflow WorkflowID.
type ResyncResult struct {
	RunID      domain.SyncRunID `json:"run_id"`
	WorkflowID string           `json:"workflow_id"`
	Queued     int              `json:"queued"` // requests before this one
}

// SyncInput starts one sync run, and carries its state over to a new run of the workflow.
type SyncInput struct {
	OrgID         domain.OrgID         `json:"org_id"`
	IntegrationID domain.IntegrationID `json:"integration_id"`
	RunID         domain.SyncRunID     `json:"run_id"`
	Full          bool                 `json:"full"`
	By            string               `json:"by"`
	Carried       *SyncProgress        `json:"carried,omitempty"`
}

// SyncProgress answers QueryProgress and is the result of a sync.
type SyncProgress struct {
	State       domain.SyncState `json:"state"`
	Phase       string           `json:"phase"` // "pull", "confirm" or "done"
	Pages       int              `json:"pages"`
	Seen        int              `json:"seen"`
	Applied     int              `json:"applied"`
	Unchanged   int              `json:"unchanged"`
	Removed     int              `json:"removed"`
	Proved      int              `json:"proved"` // of the removed ones, those asked for by themselves after the last page
	Quarantined int              `json:"quarantined"`
	Rejected    int              `json:"rejected"`
	Restarts    int              `json:"restarts"` // times the listing began anew after a lost token

	Expected  int        `json:"expected,omitempty"` // entries of the whole listing; 0 = not known
	StartedAt time.Time  `json:"started_at,omitzero"`
	PerSecond float64    `json:"entries_per_second,omitempty"`
	ETA       *time.Time `json:"eta,omitempty"` // when the listing is read at this pace
}

// ConflictInput starts a conflict's workflow, and carries its state over to a new run.
type ConflictInput struct {
	OrgID       domain.OrgID      `json:"org_id"`
	ConflictID  domain.ConflictID `json:"conflict_id"`
	WeddingDate string            `json:"wedding_date,omitempty"`
	Severity    domain.Severity   `json:"severity"`
	Carried     *ConflictCarried  `json:"carried,omitempty"`
}

// ConflictCarried is what a conflict's run hands to the next one.
type ConflictCarried struct {
	State     domain.ConflictState `json:"state"`
	Reminders int                  `json:"reminders"`
	NextAlarm time.Time            `json:"next_alarm,omitzero"`
	RemindAt  time.Time            `json:"remind_at,omitzero"` // NextAlarm may be a deadline
	Pending   *ResolveRequest      `json:"pending,omitempty"`
	Recheck   bool                 `json:"recheck,omitempty"`
}

// ConflictStatus answers QueryStatus of a conflict, and is the workflow's result.
type ConflictStatus struct {
	State     domain.ConflictState `json:"state"`
	Severity  domain.Severity      `json:"severity"`
	Step      string               `json:"step"` // what the workflow is doing, in words
	Reminders int                  `json:"reminders"`
	NextAlarm time.Time            `json:"next_alarm,omitzero"`

	DeadlineAt   time.Time `json:"deadline_at,omitzero"`   // when it is escalated unless somebody decides; zero = never, or it was
	Escalated    bool      `json:"escalated,omitempty"`    // nobody decided by the deadline
	IgnoredUntil time.Time `json:"ignored_until,omitzero"` // when it comes back
	Decided      string    `json:"decided,omitempty"`      // who decided what, while that is carried out; by a token's subject
}

// ResolveRequest is the input of UpdateResolve. The reason typed by the admin is stored with the conflict before the
// update is sent; it does not pass through here.
type ResolveRequest struct {
	Action     domain.ResolveAction `json:"action"`
	BookingID  domain.BookingID     `json:"booking_id,omitempty"`
	ResourceID domain.ResourceID    `json:"resource_id,omitempty"`
	When       *domain.When         `json:"when,omitempty"`
	Until      *time.Time           `json:"until,omitempty"` // for ignore
	// DecisionID names the stored decision with the admin's reason; it is also the update's id, so a repeated request
	// is one decision.
	DecisionID string `json:"decision_id"`
	By         string `json:"by"`
	Version    int64  `json:"version"` // of the conflict as the admin saw it; another one is refused
}

// ResolveResult answers UpdateResolve once the decision is accepted; carrying it out goes on.
type ResolveResult struct {
	State domain.ConflictState `json:"state"`
}
