package domain

import "time"

// ConflictKind says which rule found the clash.
type ConflictKind string

// The kinds of conflicts.
const (
	ConflictOverlap  ConflictKind = "overlap"   // the bookings' own times overlap
	ConflictBuffer   ConflictKind = "buffer"    // only set-up, teardown or travel time overlaps
	ConflictTravel   ConflictKind = "travel"    // the way from one place to the next takes longer than the time in between
	ConflictSameDay  ConflictKind = "same_day"  // two weddings on one local day
	ConflictCapacity ConflictKind = "capacity"  // more bookings at once than the resource can serve
	ConflictOffHours ConflictKind = "off_hours" // outside the resource's working hours; Other is empty
	ConflictBlackout ConflictKind = "blackout"  // on a day that the resource keeps free of clients; Other is empty
	// ConflictTimeline says that a vendor cannot keep the timeline of a wedding. Booking is the wedding, the resource is the
	// vendor, Other is empty.
	ConflictTimeline ConflictKind = "timeline"
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
	ConflictIgnored   ConflictState = "ignored"   // a person wants to hear of it at IgnoredUntil, if it still clashes then
	ConflictResolving ConflictState = "resolving" // it was decided; the steps are being carried out and verified
	ConflictUndoing   ConflictState = "undoing"   // a system refused; what was carried out is being taken back
	ConflictStuck     ConflictState = "stuck"     // a system does not take it back; the steps say which, and it is tried again
	ConflictResolved  ConflictState = "resolved"  // carried out and verified
	ConflictDismissed ConflictState = "dismissed" // a person accepted what is left: kept both, or made one tentative
	ConflictCleared   ConflictState = "cleared"   // the clash disappeared by itself
)

// ConflictStates lists every state.
func ConflictStates() []ConflictState {
	return []ConflictState{ConflictOpen, ConflictIgnored, ConflictResolving, ConflictUndoing, ConflictStuck, ConflictResolved, ConflictDismissed,
		ConflictCleared}
}

// Open reports whether the story goes on: somebody has to act, or something is being carried out.
func (s ConflictState) Open() bool { return s == ConflictOpen || s == ConflictIgnored || s.Carrying() }

// Carrying reports whether a decision is being carried out or taken back.
func (s ConflictState) Carrying() bool {
	return s == ConflictResolving || s == ConflictUndoing || s == ConflictStuck
}

// Decidable reports whether a decision may be taken. Of a stuck conflict that is one which writes to the systems.
func (s ConflictState) Decidable() bool {
	return s == ConflictOpen || s == ConflictIgnored || s == ConflictStuck
}

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

	WeddingDate  string      `json:"wedding_date,omitempty"`  // local date of the wedding concerned, YYYY-MM-DD
	WaitingSince time.Time   `json:"waiting_since"`           // since when a person is waited for; DeadlineAt counts from it
	DeadlineAt   *time.Time  `json:"deadline_at,omitempty"`   // when it is escalated unless somebody decides
	EscalatedAt  *time.Time  `json:"escalated_at,omitempty"`  // when it was
	Reminders    int         `json:"reminders"`               // sent so far
	IgnoredUntil *time.Time  `json:"ignored_until,omitempty"` // while ignored
	Policy       *PolicyNote `json:"policy,omitempty"`        // what the organisation's policy said about it
	PolicyAsked  bool        `json:"-"`                       // a person wants the policy of today to look at it
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
	// ActionTentative makes BookingID tentative. It no longer holds the time; the pair is reported again if it is confirmed.
	ActionTentative ResolveAction = "tentative"
	ActionIgnore    ResolveAction = "ignore" // be quiet until Until
)

// Writes reports whether the action alters a booking, so that other systems must be written.
func (a ResolveAction) Writes() bool {
	return a == ActionMove || a == ActionReassign || a == ActionCancel || a == ActionTentative
}

// Resolution is a decision and how far it has been carried out.
type Resolution struct {
	Action     ResolveAction `json:"action"`
	BookingID  BookingID     `json:"booking_id,omitempty"`
	ResourceID ResourceID    `json:"resource_id,omitempty"`
	When       *When         `json:"when,omitempty"`
	Until      *time.Time    `json:"until,omitempty"` // for ignore
	By         string        `json:"by"`              // token subject of the admin, or "policy/<id>"
	Reason     string        `json:"reason"`          // in the admin's words; at most 500 bytes, no personal data is asked for
	At         time.Time     `json:"at"`
	Error      string        `json:"error,omitempty"` // why carrying out stopped, when it did
	// Before is how the booking was, for undoing the decision when a system refuses it, and After how it was decided to be:
	// a booking that is neither was changed by somebody else meanwhile.
	Before *BookingShape `json:"before,omitempty"`
	After  *BookingShape `json:"after,omitempty"`
	// Steps are the systems concerned; of a decision that is taken back, in the order in which that happens.
	Steps []ResolutionStep `json:"steps,omitempty"`
}

// StepState is where one system stands with a decision.
type StepState string

// The states of a step.
const (
	StepWaiting  StepState = "waiting"  // to be written
	StepWritten  StepState = "written"  // the system took the change; not read back yet
	StepVerified StepState = "verified" // read back as decided
	StepRefused  StepState = "refused"  // Reason says why
	StepByHand   StepState = "by_hand"  // the connection only reads, so a person has to change it there
	StepToUndo   StepState = "to_undo"  // waits for its turn to be taken back
	StepUndoing  StepState = "undoing"  // being written as it was before
	StepUndone   StepState = "undone"   // read back as it was before
	StepStuck    StepState = "stuck"    // does not take it back; it still shows what was decided, as far as known
)

// ResolutionStep is one system's part in carrying a decision out.
type ResolutionStep struct {
	IntegrationID IntegrationID `json:"integration_id"`
	State         StepState     `json:"state"`
	Reason        string        `json:"reason,omitempty"` // in words, without personal data
	At            time.Time     `json:"at"`               // since when it is in this state
	WrittenAt     *time.Time    `json:"written_at,omitempty"`
	Tries         int           `json:"tries,omitempty"` // reads that showed something else
}

// BookingShape is the part of a booking that a resolution alters.
type BookingShape struct {
	ResourceID ResourceID    `json:"resource_id"`
	Status     BookingStatus `json:"status"`
	When       When          `json:"when"`
}

// Shape is the part of the booking that a resolution alters.
func (b Booking) Shape() BookingShape {
	return BookingShape{ResourceID: b.ResourceID, Status: b.Status, When: b.When}
}

// Equal reports whether both are the same state. Of cancelled bookings the time does not matter.
func (s BookingShape) Equal(o BookingShape) bool {
	return s.ResourceID == o.ResourceID && s.Status == o.Status && (s.Status == StatusCancelled || s.When.Start.Equal(o.When.Start) && s.When.End.Equal(o.When.End))
}

// Decided says in words who decided what, "" when nobody has.
func (c Conflict) Decided() string {
	r := c.Resolution
	if r == nil || r.By == "" {
		return ""
	}
	what := string(r.Action)
	if r.BookingID != "" && r.Action.Writes() {
		what += " of booking " + string(r.BookingID)
	}
	return r.By + " decided " + what + " at " + r.At.UTC().Format(time.RFC3339)
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
	// WantedAt is when the newest wish was made, and ShownAt when the system had taken it; nil while it has not.
	WantedAt  *time.Time `json:"wanted_at,omitempty"`
	ShownAt   *time.Time `json:"shown_at,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
	Trace     Trace      `json:"-"` // of the step that wished for it
	// Tried is the key of a write that was to make a copy and whose answer is not known, in a system where nobody would come
	// across the copy by reading; "" for most.
	Tried string `json:"-"`
}
