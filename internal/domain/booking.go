package domain

import "time"

// Category says what a booking is for. Severity of a conflict grows with it.
type Category string

// The categories, from the most to the least severe to lose.
const (
	CategoryWedding      Category = "wedding"
	CategoryEngagement   Category = "engagement"
	CategoryVendor       Category = "vendor"
	CategoryConsultation Category = "consultation"
	CategoryTravel       Category = "travel"
	CategoryHold         Category = "hold"
	CategoryMaintenance  Category = "maintenance"
	CategoryPersonal     Category = "personal"
)

// Categories lists every category, most severe first.
func Categories() []Category {
	return []Category{CategoryWedding, CategoryEngagement, CategoryVendor, CategoryConsultation,
		CategoryTravel, CategoryHold, CategoryMaintenance, CategoryPersonal}
}

// Valid reports whether c is one of Categories.
func (c Category) Valid() bool { return c.Rank() > 0 }

// Rank is 8 for a wedding down to 1 for a personal entry, 0 for an unknown category.
func (c Category) Rank() int {
	for i, k := range Categories() {
		if c == k {
			return 8 - i
		}
	}
	return 0
}

// BookingStatus says how firm a booking is.
type BookingStatus string

// The statuses.
const (
	StatusConfirmed BookingStatus = "confirmed" // blocks, and may not overlap another confirmed one
	StatusTentative BookingStatus = "tentative" // blocks softly: an overlap is a low conflict
	StatusCancelled BookingStatus = "cancelled" // does not block; kept with its links
)

// Details are the personal parts of a booking, sealed in storage and erasable. They never reach logs, workflow
// histories, search attributes, conflict texts or the live stream.
type Details struct {
	Title    string `json:"title,omitempty"`    // at most 500 bytes
	Location string `json:"location,omitempty"` // at most 500 bytes
	Notes    string `json:"notes,omitempty"`    // at most 8,000 bytes
	Contact  string `json:"contact,omitempty"`  // name or mail of the couple, at most 500 bytes
}

// Booking is one real-world use of a resource's time, however many systems know about it.
type Booking struct {
	ID         BookingID     `json:"id"`
	OrgID      OrgID         `json:"-"`
	ResourceID ResourceID    `json:"resource_id"`
	Category   Category      `json:"category"`
	Status     BookingStatus `json:"status"`
	When       When          `json:"when"`
	Details    Details       `json:"details"`
	// Private bookings are written to other systems as "Busy" without details.
	Private bool `json:"private"`
	// Free bookings are known but do not block (transparent calendar entries, declined invitations).
	Free bool `json:"free"`
	// SourceID is the integration that first brought it; "" for one made in WedSync.
	SourceID IntegrationID `json:"source_id,omitempty"`
	// BesideID is the booking of which this is the other version, kept because both sides had changed it; "" for most.
	BesideID BookingID `json:"beside_id,omitempty"`
	// HeldUntil is when a tentative booking ends by itself, see Hold; zero for one that does not.
	HeldUntil time.Time `json:"held_until,omitzero"`
	// MergedInto is the booking that a person said this one is the same as; this one is cancelled then, and kept so that it
	// can be parted again. "" for most.
	MergedInto BookingID `json:"merged_into,omitempty"`
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
	Version    int64     `json:"version"` // grows by one with every effective change
}

// Blocks reports whether the booking takes its resource's time.
func (b Booking) Blocks() bool { return b.Status != StatusCancelled && !b.Free }

// Lapsed reports whether the booking was a hold that is over, even if nobody has cancelled it yet.
func (b Booking) Lapsed(now time.Time) bool {
	return b.Status == StatusTentative && !b.HeldUntil.IsZero() && !b.HeldUntil.After(now)
}

// Link ties a booking to its copy in one outside system.
type Link struct {
	ID            LinkID        `json:"id"`
	OrgID         OrgID         `json:"-"`
	IntegrationID IntegrationID `json:"integration_id"`
	BookingID     BookingID     `json:"booking_id"`
	ExternalID    string        `json:"external_id"`        // the system's own id or path, at most 500 bytes
	UID           string        `json:"uid,omitempty"`      // iCalendar UID or another id shared between systems
	Revision      string        `json:"revision,omitempty"` // ETag or the like, for conditional writes
	// Mirror is true for copies that WedSync wrote; reading one back is an echo, not news.
	Mirror bool `json:"mirror"`
	// How says how the entry was found to be of this booking, in words without personal data; "" for the entry that made it.
	How string `json:"how,omitempty"`
	// HomeID is the booking that the entry had before a person linked that one with this; "" for most.
	HomeID BookingID `json:"home_id,omitempty"`
	// Hash is the fingerprint of the change as last read or written, in normalised form.
	Hash string `json:"-"`
	// RemoteVersion orders changes of one external id where the system gives an order; 0 = unknown.
	RemoteVersion int64 `json:"-"`
	// WrittenVersion is the booking version last written to this copy; 0 = never written by us.
	WrittenVersion int64 `json:"-"`
	// Agreed is the common state of the copy and the booking, against which later edits of either are told.
	Agreed    Agreed     `json:"-"`
	SeenRun   SyncRunID  `json:"-"` // last full listing that contained it
	RemovedAt *time.Time `json:"removed_at,omitempty"`
	UpdatedAt time.Time  `json:"updated_at"`
}

// Agreed is what a booking and its copy in one system were when they were last compared. Shapes are times and status,
// which name nobody; texts are fingerprints. The zero value knows nothing.
type Agreed struct {
	Version int64  `json:"v,omitempty"` // of the booking
	Shape   string `json:"s,omitempty"` // of the booking
	// Since is the booking's version from which on it has had this Shape without a break, as far as known; 0 = not known.
	Since int64  `json:"n,omitempty"`
	Texts string `json:"t,omitempty"` // of the booking
	// There and ThereTexts are the same of the entry as last read or read back.
	There      string `json:"e,omitempty"`
	ThereTexts string `json:"x,omitempty"`
	// Modified is when the entry was changed there, as far as known, and Told whether that made the booking's Version.
	Modified time.Time `json:"m,omitzero"`
	Told     bool      `json:"d,omitempty"`
	// Writing lists the times that are being written there, noted before the write and parted by spaces. They are known
	// again if they are read back before the answer comes, or when it was lost. An answer clears them.
	Writing string `json:"w,omitempty"`
	// Filtered says that the entry is there but left out by the connection's filters; its link counts as removed.
	Filtered bool `json:"f,omitempty"`
	// Asked is the open EditConflict about the entry; nothing is written to it meanwhile.
	Asked EditConflictID `json:"a,omitempty"`
}

// Allocation is the stretch of a resource's time that a booking takes, buffers included. The database keeps
// confirmed exclusive allocations of one resource and slot from overlapping, whatever the concurrency.
type Allocation struct {
	ID         AllocationID  `json:"id"`
	OrgID      OrgID         `json:"-"`
	BookingID  BookingID     `json:"booking_id"`
	ResourceID ResourceID    `json:"resource_id"`
	Category   Category      `json:"category"`
	Status     BookingStatus `json:"status"`
	Event      Span          `json:"event"` // the booking's own time
	Busy       Span          `json:"busy"`  // the same with buffers
	Place      Point         `json:"-"`     // where it is, as far as known; sealed in storage
	Slot       int           `json:"slot"`  // 0..Capacity-1
	// Exclusive is false for imported reality that overlaps: it is recorded, reported as a conflict, and does not
	// take part in the exclusion constraint.
	Exclusive bool `json:"exclusive"`
	// ExpiresAt is when a hold gives the time back; zero for other bookings. Later the allocation is not read any more.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}
