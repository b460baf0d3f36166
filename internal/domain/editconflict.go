package domain

import "time"

// EditConflict is a question to a person: a booking was changed here, and its entry in a system too, since they last
// agreed, and the connection's policy is manual. Until it is answered each side keeps what it has.
type EditConflict struct {
	ID            EditConflictID `json:"id"`
	OrgID         OrgID          `json:"-"`
	IntegrationID IntegrationID  `json:"integration_id"`
	BookingID     BookingID      `json:"booking_id"`
	ExternalID    string         `json:"external_id"` // of the entry
	Kind          EditKind       `json:"kind"`
	State         EditState      `json:"state"`
	// ThereIsSource says which side the choice source means: true when the system's entry is where the booking came
	// from, so that copy is the state here; false when the entry is the copy.
	ThereIsSource bool       `json:"there_is_source"`
	There         Change     `json:"-"` // the entry as last read; sealed in storage
	BookingAt     int64      `json:"booking_version"`
	Choice        EditChoice `json:"choice,omitempty"`
	By            string     `json:"by,omitempty"`     // token subject of who chose
	Reason        string     `json:"reason,omitempty"` // in their words; or why it was closed without a choice
	DetectedAt    time.Time  `json:"detected_at"`
	UpdatedAt     time.Time  `json:"updated_at"`
	ClosedAt      *time.Time `json:"closed_at,omitempty"`
	Version       int64      `json:"version"`
}

// EditKind says what met what.
type EditKind string

// The kinds.
const (
	EditBothChanged EditKind = "both_changed" // changed here and there
	EditRemoved     EditKind = "removed"      // changed here, removed there
)

// EditState is where an edit conflict stands.
type EditState string

// The states.
const (
	EditOpen     EditState = "open"
	EditResolved EditState = "resolved" // a person chose
	EditCleared  EditState = "cleared"  // both sides agree again
)

// EditChoice is what a person decides.
type EditChoice string

// The choices.
const (
	ChooseSource EditChoice = "source"
	ChooseCopy   EditChoice = "copy"
	ChooseBoth   EditChoice = "both" // both versions stay, as two bookings
)
