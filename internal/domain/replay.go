package domain

import "time"

// ReplayState is where a replay stands.
type ReplayState string

// The states of a replay.
const (
	ReplayRunning   ReplayState = "running"
	ReplayPaused    ReplayState = "paused"
	ReplayDone      ReplayState = "done"
	ReplayCancelled ReplayState = "cancelled"
	ReplayFailed    ReplayState = "failed"
)

// Ended reports whether nothing more happens.
func (s ReplayState) Ended() bool {
	return s == ReplayDone || s == ReplayCancelled || s == ReplayFailed
}

// Bounds of a replay's rate, in deliveries a second.
const (
	DefaultReplayRate = 50
	MaxReplayRate     = 1000
)

// ReplayFilter chooses deliveries; empty fields do not narrow. Deliveries that are still to be tried are never replayed.
type ReplayFilter struct {
	Delivery    DeliveryID    `json:"delivery,omitempty"` // this one only
	Integration IntegrationID `json:"integration,omitempty"`
	State       DeliveryState `json:"state,omitempty"` // applied, ignored or dead
	EventType   string        `json:"event_type,omitempty"`
	Entity      string        `json:"entity,omitempty"`
	From        *time.Time    `json:"from,omitempty"` // made at or after this, to the millisecond
	To          *time.Time    `json:"to,omitempty"`   // made before this
}

// Empty reports whether the filter chooses everything.
func (f ReplayFilter) Empty() bool { return f == ReplayFilter{} }

// The reasons for which a replay leaves a delivery out.
const (
	SkipErased       = "erased"              // its content was erased when its time was over
	SkipUnreadable   = "unreadable"          // its content cannot be opened: the key is missing, or it was changed in storage
	SkipDisconnected = "integration_deleted" // its integration takes nothing any more
	SkipRepeated     = "repeated"            // this replay has made a copy of the same origin already
)

// ReplayTally counts by word.
type ReplayTally struct {
	Skipped  map[string]int        `json:"skipped,omitempty"`  // by reason
	Outcomes map[DeliveryState]int `json:"outcomes,omitempty"` // dry run: what would become of the deliveries
	Effects  map[string]int        `json:"effects,omitempty"`  // dry run: what would become of the changes in them
}

// MaxReplaySamples bounds the deliveries that a dry run tells about one by one.
const MaxReplaySamples = 100

// ReplaySample is what one delivery would do.
type ReplaySample struct {
	Delivery DeliveryID     `json:"delivery"`
	Outcome  DeliveryState  `json:"outcome"`
	Reason   string         `json:"reason,omitempty"`
	Effects  map[string]int `json:"effects,omitempty"`
}

// Replay is a request to apply deliveries once more, with its progress. Each is handed in anew as a delivery of its own.
// A dry run only says what would happen.
type Replay struct {
	ID          ReplayID       `json:"id"`
	OrgID       OrgID          `json:"-"`
	Filter      ReplayFilter   `json:"filter"`
	DryRun      bool           `json:"dry_run"`
	Rate        int            `json:"rate"` // deliveries a second, 1..1000
	State       ReplayState    `json:"state"`
	Total       int            `json:"total"`    // matches counted at the beginning, up to 100,000
	Seen        int            `json:"seen"`     // looked at so far
	Replayed    int            `json:"replayed"` // handed in anew; of a dry run: decided
	Skipped     int            `json:"skipped"`
	Tally       ReplayTally    `json:"tally"`
	Samples     []ReplaySample `json:"samples,omitempty"`
	RequestedBy string         `json:"requested_by"` // token subject
	Reason      string         `json:"reason"`
	Error       string         `json:"error,omitempty"`
	CreatedAt   time.Time      `json:"created_at"`
	UpdatedAt   time.Time      `json:"updated_at"`
	EndedAt     *time.Time     `json:"ended_at,omitempty"`
	// OverridesFreeze says that an admin lets it go on while a wedding is near or on.
	OverridesFreeze bool `json:"overrides_freeze,omitempty"`
}
