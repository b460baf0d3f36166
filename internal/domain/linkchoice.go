package domain

import "time"

// LinkDecision is what a person said about two bookings.
type LinkDecision string

// The decisions.
const (
	DecidedLinked   LinkDecision = "linked"   // the same event
	DecidedUnlinked LinkDecision = "unlinked" // two events
)

// LinkChoice is a person's word about whether two bookings are one event. The newest of a pair counts; no machine step changes
// it or acts against it.
type LinkChoice struct {
	OrgID     OrgID        `json:"-"`
	BookingID BookingID    `json:"booking_id"` // the one that was merged or parted
	OtherID   BookingID    `json:"other_id"`   // the one that it was merged into or parted from
	Decision  LinkDecision `json:"decision"`
	By        string       `json:"by"`     // token subject
	Reason    string       `json:"reason"` // in the person's words; at most 500 bytes, no personal data is asked for
	At        time.Time    `json:"at"`
	// Was is the status that BookingID had before it was merged.
	Was BookingStatus `json:"-"`
	// Entries are those of both bookings at that time, by which they are known again under another id.
	Entries []ChosenEntry `json:"-"`
}

// ChosenEntry is an entry that a LinkChoice was about. Texts are a fingerprint, so it holds no personal data.
type ChosenEntry struct {
	BookingID     BookingID     `json:"b"`
	IntegrationID IntegrationID `json:"i"`
	UID           string        `json:"u,omitempty"`
	Texts         string        `json:"t,omitempty"` // Agreed.ThereTexts
	Live          bool          `json:"l,omitempty"` // it was there
}
