package domain

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// ChangeOp says what happened to an entry in an outside system.
type ChangeOp string

// The operations.
const (
	OpUpsert ChangeOp = "upsert" // the entry exists and looks like this
	OpRemove ChangeOp = "remove" // the system said that the entry is gone; absence alone is never this
)

// Change is one entry of an outside system as read from a webhook or a listing, in WedSync's words.
type Change struct {
	Op         ChangeOp `json:"op"`
	ExternalID string   `json:"external_id"`
	UID        string   `json:"uid,omitempty"`      // id shared between systems (iCalendar UID), may be empty
	Revision   string   `json:"revision,omitempty"` // ETag or the like
	// RemoteVersion orders changes of one ExternalID (a sequence number, or milliseconds of an update time).
	// A lower one than already applied is stale and has no effect, unless Asked. 0 = the system gives no order.
	RemoteVersion int64         `json:"remote_version,omitempty"`
	Category      Category      `json:"category,omitempty"`
	Status        BookingStatus `json:"status,omitempty"`
	When          When          `json:"when,omitzero"`
	Details       Details       `json:"details,omitzero"`
	Private       bool          `json:"private,omitempty"`
	Free          bool          `json:"free,omitempty"`
	// Labels are the entry's categories or colours in the system's own words, for filters; at most 20 of 100 bytes.
	Labels []string `json:"labels,omitempty"`
	// Declined says that the owner of the calendar declined the invitation.
	Declined bool `json:"declined,omitempty"`
	// Kind is the system's type of entry where it is not an ordinary one: out_of_office, focus_time, working_location,
	// birthday, from_mail.
	Kind string `json:"kind,omitempty"`
	// ChangedAt is when the entry was changed, by the clock of its system; nil where the system does not tell. It measures
	// how fresh we are, and which of two edits is the newest.
	ChangedAt *time.Time `json:"changed_at,omitempty"`
	// Origin is the booking id of the marker found on the entry, when WedSync itself wrote it.
	Origin BookingID `json:"origin,omitempty"`
	// Unbound says that Origin is of a system in which a marker cannot be bound to its entry: somebody who duplicated our copy
	// carried it along. Elsewhere the provider has checked that Origin belongs to this very entry.
	Unbound bool `json:"unbound,omitempty"`
	// CopyOf is the booking id of a marker found on an entry that it was not written on: somebody duplicated a copy of ours.
	// The entry is an event of its own, however alike. "" without such a marker, and always with Origin.
	CopyOf BookingID `json:"copy_of,omitempty"`
	// Asked says that the system was asked for this very entry, so that the change is what it says now. RemoteVersion does not
	// make it stale then: a clock by which a system numbers its changes can step back.
	Asked bool `json:"-"`
	// Trace is the step that brought the change, for what it causes. It is no part of what the change says.
	Trace Trace `json:"-"`
}

// Limits of a change's fields, in bytes.
const (
	MaxExternalID = 500
	MaxTitle      = 500
	MaxNotes      = 8000
	MaxLabels     = 20
	MaxLabel      = 100
)

// Validate checks limits and presence; details that are too long are an error rather than cut silently.
func (c Change) Validate() error {
	switch c.Op {
	case OpUpsert, OpRemove:
	default:
		return Invalid("op", "must be upsert or remove, not %q", string(c.Op))
	}
	if n := len(c.ExternalID); n < 1 || n > MaxExternalID {
		return Invalid("external_id", "must have 1 to %d bytes, has %d", MaxExternalID, n)
	}
	if len(c.UID) > MaxExternalID {
		return Invalid("uid", "at most %d bytes, has %d", MaxExternalID, len(c.UID))
	}
	if len(c.Revision) > MaxExternalID {
		return Invalid("revision", "at most %d bytes, has %d", MaxExternalID, len(c.Revision))
	}
	if c.Op == OpRemove {
		return nil
	}
	if len(c.Labels) > MaxLabels {
		return Invalid("labels", "at most %d, has %d", MaxLabels, len(c.Labels))
	}
	for _, l := range c.Labels {
		if len(l) > MaxLabel {
			return Invalid("labels", "at most %d bytes each, one has %d", MaxLabel, len(l))
		}
	}
	if len(c.Kind) > MaxLabel {
		return Invalid("kind", "at most %d bytes, has %d", MaxLabel, len(c.Kind))
	}
	if !c.Category.Valid() {
		return Invalid("category", "must be one of wedding, engagement, vendor, consultation, travel, hold, maintenance, personal, not %q", string(c.Category))
	}
	switch c.Status {
	case StatusConfirmed, StatusTentative, StatusCancelled:
	default:
		return Invalid("status", "must be confirmed, tentative or cancelled, not %q", string(c.Status))
	}
	if c.Status != StatusCancelled {
		if err := c.When.Validate("when"); err != nil {
			return err
		}
	}
	return c.Details.Validate()
}

// Validate checks the byte limits of the personal texts.
func (d Details) Validate() error {
	for _, f := range []struct {
		name, text string
		limit      int
	}{{"title", d.Title, MaxTitle}, {"location", d.Location, MaxTitle}, {"contact", d.Contact, MaxTitle}, {"notes", d.Notes, MaxNotes}} {
		if len(f.text) > f.limit {
			return Invalid(f.name, "at most %d bytes, has %d", f.limit, len(f.text))
		}
	}
	return nil
}

// Hash is the fingerprint of what the change says, leaving out revision, order and time of the change, so that a repeat
// or an echo in another wrapping is recognised. It is hex SHA-256.
func (c Change) Hash() string {
	c.Revision, c.RemoteVersion, c.Origin, c.Unbound, c.CopyOf, c.ChangedAt = "", 0, "", false, "", nil
	c.When.Start, c.When.End = c.When.Start.UTC().Truncate(time.Second), c.When.End.UTC().Truncate(time.Second)
	b, err := json.Marshal(c)
	if err != nil {
		panic("marshal a change of plain fields: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
