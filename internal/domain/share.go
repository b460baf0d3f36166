package domain

import "time"

// ShareID names a link by which somebody without an account sees one wedding.
type ShareID string

// ShareRole says for whom a link is made. What each role sees is the table in rules/share.
type ShareRole string

// The roles of links.
const (
	ShareCouple ShareRole = "couple"
	ShareVendor ShareRole = "vendor" // of one resource; may confirm that resource's items
)

// Bounds of links.
const (
	MaxShares     = 50  // of one wedding that are in use
	MaxShareLabel = 120 // bytes
	MaxShareTitle = 120 // bytes
	// MaxShareLife is the longest life of a link. Hardly a wedding is booked further ahead.
	MaxShareLife = 5 * 366 * 24 * time.Hour
	// DefaultShareLife is how long a link works after the wedding's end, where nobody says.
	DefaultShareLife = 30 * 24 * time.Hour
)

// Share is a link to the live view of one wedding. The token in its address is shown once, when the link is made; only its hash
// is kept.
type Share struct {
	ID         ShareID    `json:"id"`
	OrgID      OrgID      `json:"-"`
	BookingID  BookingID  `json:"booking_id"` // the wedding
	Role       ShareRole  `json:"role"`
	ResourceID ResourceID `json:"resource_id,omitempty"` // of a vendor
	Label      string     `json:"label"`                 // for whom it is; personal, sealed in storage, not shown to who has the link
	Title      string     `json:"title,omitempty"`       // heading of the page; personal, sealed in storage
	ExpiresAt  time.Time  `json:"expires_at"`
	CreatedBy  string     `json:"created_by"` // token subject
	CreatedAt  time.Time  `json:"created_at"`
	RevokedAt  *time.Time `json:"revoked_at,omitempty"`
	Accesses   int64      `json:"accesses"`               // times that it was opened
	LastUsedAt *time.Time `json:"last_used_at,omitempty"` // nil = never
}

// Usable reports whether the link opens anything at an instant.
func (s Share) Usable(now time.Time) bool { return s.RevokedAt == nil && now.Before(s.ExpiresAt) }

// Validate checks role, texts and life at an instant.
func (s Share) Validate(now time.Time) error {
	switch s.Role {
	case ShareCouple:
		if s.ResourceID != "" {
			return Invalid("resource_id", "is for vendors; a couple sees the whole wedding")
		}
	case ShareVendor:
		if fault := idFault(string(s.ResourceID)); fault != "" {
			return Invalid("resource_id", "%s: a vendor's link is for one resource", fault)
		}
	default:
		return Invalid("role", "must be couple or vendor")
	}
	if fault := lineFault(s.Label, MaxShareLabel); fault != "" {
		return Invalid("label", "%s", fault)
	}
	if s.Title != "" {
		if fault := lineFault(s.Title, MaxShareTitle); fault != "" {
			return Invalid("title", "%s", fault)
		}
	}
	if !s.ExpiresAt.After(now) || s.ExpiresAt.Sub(now) > MaxShareLife {
		return Invalid("expires_at", "must be ahead, at most %d days", int(MaxShareLife.Hours()/24))
	}
	return nil
}

// Confirmation is a vendor's word that an item of a wedding's timeline suits.
type Confirmation struct {
	BookingID  BookingID  `json:"-"`
	ItemKey    string     `json:"-"`
	ShareID    ShareID    `json:"share_id"` // by which link
	ResourceID ResourceID `json:"resource_id"`
	Revision   string     `json:"-"` // of the item as it was confirmed
	At         time.Time  `json:"at"`
}
