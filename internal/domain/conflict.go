package domain

import "time"

// ConflictKind says which rule found the clash.
type ConflictKind string

// The kinds of conflicts.
const (
	ConflictOverlap  ConflictKind = "overlap"   // the bookings' own times overlap
	ConflictBuffer   ConflictKind = "buffer"    // only set-up, teardown or travel time overlaps
	ConflictSameDay  ConflictKind = "same_day"  // two weddings on one local day
	ConflictCapacity ConflictKind = "capacity"  // more bookings at once than the resource can serve
	ConflictOffHours ConflictKind = "off_hours" // outside the resource's working hours; Other is empty
)

// Severity orders conflicts for people.
type Severity string

// The severities, rising.
const (
	SeverityLow      Severity = "low"
	SeverityMedium   Severity = "medium"
	SeverityHigh     Severity = "high"
	SeverityCritical Severity = "critical"
)

// Level is 1 for low to 4 for critical, 0 for unknown.
func (s Severity) Level() int {
	switch s {
	case SeverityLow:
		return 1
	case SeverityMedium:
		return 2
	case SeverityHigh:
		return 3
	case SeverityCritical:
		return 4
	}
	return 0
}

// ConflictState is where a conflict stands.
type ConflictState string

// The states of a conflict.
const (
	ConflictOpen      ConflictState = "open"
	ConflictResolving ConflictState = "resolving" // a person decided; the steps are being carried out and verified
	ConflictResolved  ConflictState = "resolved"  // carried out and verified
	ConflictDismissed ConflictState = "dismissed" // a person decided to keep both
	ConflictCleared   ConflictState = "cleared"   // the clash disappeared by itself
)

// Open reports whether somebody still has to act.
func (s ConflictState) Open() bool { return s == ConflictOpen || s == ConflictResolving }

// Conflict is a clash between two bookings of one resource. Booking is the one that should give way by rank and
// age, Other the one that should stay. It holds no personal data.
type Conflict struct {
	ID           ConflictID    `json:"id"`
	OrgID        OrgID         `json:"-"`
	Kind         ConflictKind  `json:"kind"`
	Severity     Severity      `json:"severity"`
	State        ConflictState `json:"state"`
	ResourceID   ResourceID    `json:"resource_id"`
	BookingID    BookingID     `json:"booking_id"`
	OtherID      BookingID     `json:"other_id,omitempty"`
	Overlap      Span          `json:"overlap"`
	Explanation  string        `json:"explanation"` // the rule and the numbers, in words
	Alternatives []Alternative `json:"alternatives"`
	Resolution   *Resolution   `json:"resolution,omitempty"`
	DetectedAt   time.Time     `json:"detected_at"`
	UpdatedAt    time.Time     `json:"updated_at"`
	ClosedAt     *time.Time    `json:"closed_at,omitempty"`
	Version      int64         `json:"version"`
}

// Alternative is one proposed way out, better ones first.
type Alternative struct {
	Action     ResolveAction `json:"action"`     // move or reassign
	BookingID  BookingID     `json:"booking_id"` // the booking that would change
	ResourceID ResourceID    `json:"resource_id"`
	When       When          `json:"when"`
	Score      int           `json:"score"`   // 0..100, higher is better
	Reasons    []string      `json:"reasons"` // the parts of the score in words, without personal data
}

// ResolveAction is what a person (or a policy) decides.
type ResolveAction string

// The actions.
const (
	ActionMove     ResolveAction = "move"      // give BookingID another time
	ActionReassign ResolveAction = "reassign"  // give BookingID another resource at the same time
	ActionCancel   ResolveAction = "cancel"    // cancel BookingID
	ActionKeepBoth ResolveAction = "keep_both" // accept the clash; it is not reported again
)

// Resolution is a decision and how far it has been carried out.
type Resolution struct {
	Action     ResolveAction `json:"action"`
	BookingID  BookingID     `json:"booking_id,omitempty"`
	ResourceID ResourceID    `json:"resource_id,omitempty"`
	When       *When         `json:"when,omitempty"`
	By         string        `json:"by"`     // token subject of the admin
	Reason     string        `json:"reason"` // in the admin's words; at most 500 bytes, no personal data is asked for
	At         time.Time     `json:"at"`
	Error      string        `json:"error,omitempty"` // why carrying out stopped, when it did
	// Before is how the booking was, for undoing the decision when a system refuses it.
	Before *BookingShape `json:"before,omitempty"`
}

// BookingShape is the part of a booking that a resolution alters.
type BookingShape struct {
	ResourceID ResourceID    `json:"resource_id"`
	Status     BookingStatus `json:"status"`
	When       When          `json:"when"`
}

// PushOp says what must happen to a booking's copy in a system we write to.
type PushOp string

// The push operations.
const (
	PushPut    PushOp = "put"
	PushRemove PushOp = "remove"
)

// PushState is where a push stands.
type PushState string

// The states of a push. There is at most one push row per integration and booking: it says what the copy should
// look like, so a newer wish replaces an older one.
const (
	PushPending  PushState = "pending"
	PushRetrying PushState = "retrying"
	PushDone     PushState = "done"
	PushFailed   PushState = "failed" // needs a person; Reason says why
)

// Push is the wish that a booking's copy in an integration reach a version.
type Push struct {
	ID            PushID        `json:"id"`
	OrgID         OrgID         `json:"-"`
	IntegrationID IntegrationID `json:"integration_id"`
	BookingID     BookingID     `json:"booking_id"`
	Op            PushOp        `json:"op"`
	WantVersion   int64         `json:"want_version"`
	State         PushState     `json:"state"`
	Reason        string        `json:"reason,omitempty"`
	Attempts      int           `json:"attempts"`
	NextAttemptAt *time.Time    `json:"next_attempt_at,omitempty"`
	CreatedAt     time.Time     `json:"created_at"`
	UpdatedAt     time.Time     `json:"updated_at"`
}
