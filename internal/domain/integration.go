package domain

import (
	"encoding/json"
	"time"
)

// IntegrationState is where a connection stands.
type IntegrationState string

// The states of an integration.
const (
	IntegrationActive         IntegrationState = "active"
	IntegrationPaused         IntegrationState = "paused"          // by a person; deliveries are kept and wait
	IntegrationNeedsReconnect IntegrationState = "needs_reconnect" // the other side no longer accepts our credentials
	IntegrationConnecting     IntegrationState = "connecting"      // its onboarding is under way; deliveries are kept and wait
	IntegrationDeleted        IntegrationState = "deleted"         // kept for the audit trail; takes no webhooks
)

// Direction says which way changes flow.
type Direction string

// The directions.
const (
	DirectionImport        Direction = "import"        // only read
	DirectionExport        Direction = "export"        // only write
	DirectionBidirectional Direction = "bidirectional" // both
)

// Imports reports whether changes are taken from the system.
func (d Direction) Imports() bool { return d == DirectionImport || d == DirectionBidirectional }

// Exports reports whether bookings are written to the system.
func (d Direction) Exports() bool { return d == DirectionExport || d == DirectionBidirectional }

// Integration is one connection of one organisation to one outside system.
type Integration struct {
	ID          IntegrationID    `json:"id"`
	OrgID       OrgID            `json:"-"`
	Name        string           `json:"name"`     // label chosen by the admin, 1..120 characters, no personal data
	Provider    string           `json:"provider"` // name of a provider.Registration, such as "custom"
	State       IntegrationState `json:"state"`
	StateReason string           `json:"state_reason"` // why it is in this state, in words
	Direction   Direction        `json:"direction"`
	ResourceID  ResourceID       `json:"resource_id"` // the resource whose bookings it carries
	// Settings is the provider's own configuration, without secrets. Its shape is checked by the provider.
	Settings json.RawMessage `json:"settings"`
	// Sync says what is taken and shown, and who wins when both sides changed.
	Sync      SyncPolicy    `json:"sync"`
	PollEvery time.Duration `json:"-"` // reconcile interval; 0 = never polled
	// Priority is given to deliveries that nothing else decides about; the zero value is PriorityNormal.
	Priority Priority `json:"priority"`
	// Guard says from when removals wait for a person.
	Guard Guard `json:"guard"`
	// Held is true while removals wait for a person.
	Held bool `json:"held"`
	// Copies says whether copies are written, where the direction allows it.
	Copies Copies `json:"copies"`
	// WorkHold says that deliveries wait and nothing is written for a window of maintenance; nil = none. One whose time is over is none.
	WorkHold *WorkHold `json:"work_hold,omitempty"`
	// SyncCursor is the provider's opaque position; "" means that the next pull is a full listing.
	SyncCursor     string     `json:"-"`
	LastDeliveryAt *time.Time `json:"last_delivery_at,omitempty"`
	LastSyncAt     *time.Time `json:"last_sync_at,omitempty"`
	CreatedAt      time.Time  `json:"created_at"`
	UpdatedAt      time.Time  `json:"updated_at"`
	Version        int64      `json:"version"` // grows by one with each change of settings, secrets or state
}

// SyncRun is one pull or full resync of an integration, with its progress.
type SyncRun struct {
	ID            SyncRunID     `json:"id"`
	OrgID         OrgID         `json:"-"`
	IntegrationID IntegrationID `json:"integration_id"`
	Full          bool          `json:"full"`
	State         SyncState     `json:"state"`
	Pages         int           `json:"pages"`
	Seen          int           `json:"seen"`        // changes read
	Applied       int           `json:"applied"`     // changes that altered something
	Unchanged     int           `json:"unchanged"`   // echoes and repeats
	Removed       int           `json:"removed"`     // proved deletions applied
	Quarantined   int           `json:"quarantined"` // deletions held back because they were too many at once
	Rejected      int           `json:"rejected"`    // changes that could not be understood
	Error         string        `json:"error,omitempty"`
	// VendorRequestID is under which the outside system logged the last call that failed, for its support; "" if none did, or it
	// gave none.
	VendorRequestID string `json:"vendor_request_id,omitempty"`
	RequestedBy     string `json:"requested_by"` // "schedule", "webhook" or an admin's subject
	// Expected is how many entries the whole listing has, as the system said or as known from before; 0 = not known.
	Expected  int        `json:"-"`
	NoticedAt *time.Time `json:"noticed_at,omitempty"` // the earliest notice of the system that it answers
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
}

// SyncState is where a run stands.
type SyncState string

// The states of a sync run.
const (
	SyncRunning   SyncState = "running"
	SyncDone      SyncState = "done"
	SyncFailed    SyncState = "failed"
	SyncCancelled SyncState = "cancelled"
)
