package domain

import "time"

// HoldState is where a hold stands.
type HoldState string

// The states of a hold. All but the first are final.
const (
	HoldLive      HoldState = "held"      // the time is kept until ExpiresAt
	HoldConfirmed HoldState = "confirmed" // it became a booking
	HoldReleased  HoldState = "released"  // somebody gave the time back, or cancelled its booking
	HoldExpired   HoldState = "expired"   // nobody confirmed it in time
	HoldLost      HoldState = "lost"      // it shared the time with another hold, which was confirmed first
)

// Limits of a hold's time.
const (
	MinHold = time.Minute         // the shortest
	MaxHold = 90 * 24 * time.Hour // the longest from now on, when it is made and when it is extended
)

// Hold is a tentative booking that ends by itself. Its id is that of the booking, which says what is held and when.
type Hold struct {
	ID    BookingID `json:"id"`
	OrgID OrgID     `json:"-"`
	State HoldState `json:"state"`
	// Shared lets other shared holds have the time too: the first to be confirmed gets it, the others are lost.
	Shared    bool       `json:"shared"`
	ExpiresAt time.Time  `json:"expires_at"`       // after this the time is free, whether or not anybody noticed
	Reason    string     `json:"reason"`           // why it is in this state, in words without personal data
	LostTo    BookingID  `json:"lost_to,omitzero"` // of a lost hold: the booking that got the time
	MadeBy    string     `json:"made_by"`          // token subject
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	Version   int64      `json:"version"`
}

// Live reports whether the hold keeps its time at now.
func (h Hold) Live(now time.Time) bool { return h.State == HoldLive && h.ExpiresAt.After(now) }
