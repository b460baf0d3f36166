package domain

import "time"

// QuarantineID names a set of held removals, PurgeID a purge of our own copies.
type (
	QuarantineID string
	PurgeID      string
)

// Guard says how many removals of one connection are carried out without asking: as long as they are not more than
// Removals and also not more than Percent of what the system is known to have.
type Guard struct {
	Removals int `json:"removals"` // 0..100,000
	Percent  int `json:"percent"`  // 0..100
}

// DefaultGuard holds more than five that are more than a fifth.
var DefaultGuard = Guard{Removals: 5, Percent: 20}

// GuardWindow is the time within which removals count together. A sync run counts as one however long it takes.
const GuardWindow = 10 * time.Minute

// QuarantineTime is how long held removals wait for a person. What is not decided by then stays.
const QuarantineTime = 30 * 24 * time.Hour

// Validate checks the limits; field is the path of the guard.
func (g Guard) Validate(field string) error {
	if g.Removals < 0 || g.Removals > 100_000 {
		return Invalid(field+".removals", "must be 0 to 100000, is %d", g.Removals)
	}
	if g.Percent < 0 || g.Percent > 100 {
		return Invalid(field+".percent", "must be 0 to 100, is %d", g.Percent)
	}
	return nil
}

// Holds reports whether so many removals out of so many known entries must wait for a person.
func (g Guard) Holds(removals, known int) bool {
	return removals > g.Removals && removals*100 > g.Percent*known
}

// Copies says what becomes of the copies that WedSync writes into a system.
type Copies string

// The ways with copies.
const (
	CopiesKept    Copies = "kept"    // written and kept up to date, as the direction says
	CopiesPurging Copies = "purging" // being removed; no new ones are written
	CopiesPurged  Copies = "purged"  // removed; none are written until the direction is set anew
)

// QuarantineState is where a quarantine stands.
type QuarantineState string

// The states of a quarantine. All but open are final.
const (
	QuarantineOpen     QuarantineState = "open"
	QuarantineApproved QuarantineState = "approved" // carried out, except for entries that came back
	QuarantineRestored QuarantineState = "restored" // the bookings stay, and are written back where the connection writes
	QuarantineExpired  QuarantineState = "expired"  // nobody decided; the bookings stay
)

// Quarantine is a set of removals of one integration that were too many at once. Their bookings stay as they are until a
// person decides.
type Quarantine struct {
	ID            QuarantineID    `json:"id"`
	OrgID         OrgID           `json:"-"`
	IntegrationID IntegrationID   `json:"integration_id"`
	Cause         Cause           `json:"cause"` // what brought the first of them
	State         QuarantineState `json:"state"`
	Known         int             `json:"known"`   // entries that the system was known to have
	Missing       int             `json:"missing"` // of these, removed within the window or held
	Held          int             `json:"held"`    // held here
	Left          int             `json:"left"`    // of these, without an outcome yet
	Reason        string          `json:"reason"`
	CreatedAt     time.Time       `json:"created_at"`
	UpdatedAt     time.Time       `json:"updated_at"`
	ExpiresAt     time.Time       `json:"expires_at"`
	DecidedBy     string          `json:"decided_by,omitempty"`
	DecidedAt     *time.Time      `json:"decided_at,omitempty"`
	Decision      string          `json:"decision,omitempty"` // why, in the words of who decided
}

// HeldKind says how a held removal came about.
type HeldKind string

// The kinds of held removals.
const (
	HeldReported  HeldKind = "reported"  // the system said that the entry is gone
	HeldAbsent    HeldKind = "absent"    // a full listing did not contain it
	HeldElsewhere HeldKind = "elsewhere" // the connection was pointed at another account or calendar
)

// HeldOutcome says what became of a held removal.
type HeldOutcome string

// The outcomes; "" while nothing was done.
const (
	HeldRemoved HeldOutcome = "removed" // carried out
	HeldBack    HeldOutcome = "back"    // the entry exists after all, so nothing was to be done
	HeldKept    HeldOutcome = "kept"    // the booking stays without an entry there
	HeldWritten HeldOutcome = "written" // the booking stays and is written back to the system
)

// HeldRemoval is one held removal.
type HeldRemoval struct {
	QuarantineID  QuarantineID `json:"quarantine_id"`
	LinkID        LinkID       `json:"link_id"`
	BookingID     BookingID    `json:"booking_id"`
	Kind          HeldKind     `json:"kind"`
	RemoteVersion int64        `json:"-"`
	At            time.Time    `json:"at"`
	Outcome       HeldOutcome  `json:"outcome,omitempty"`
}

// Purge is the removal of all copies that WedSync wrote into one system.
type Purge struct {
	ID            PurgeID       `json:"id"`
	OrgID         OrgID         `json:"-"`
	IntegrationID IntegrationID `json:"integration_id"`
	Copies        int           `json:"copies"`     // that were there at the beginning
	Left          int           `json:"left"`       // that are there now
	Failed        int           `json:"failed"`     // of these, given up after many tries
	Disconnect    bool          `json:"disconnect"` // the integration is deleted when none is left
	RequestedBy   string        `json:"requested_by"`
	Reason        string        `json:"reason"`
	CreatedAt     time.Time     `json:"created_at"`
	EndedAt       *time.Time    `json:"ended_at,omitempty"`
	// OverridesFreeze says that an admin lets it go on while a wedding is near or on.
	OverridesFreeze bool `json:"overrides_freeze,omitempty"`
}
