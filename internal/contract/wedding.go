package contract

import (
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// WeddingWorkflow looks after one wedding until its day is over. It is told of changes by SignalWedding and answers QueryStatus with
// WeddingStatus, which is its result too.
const WeddingWorkflow = "Wedding"

// SignalWedding tells a wedding that it was booked, moved, changed or cancelled, or that something happened that it waits for. It
// has no payload.
const SignalWedding = "wedding"

// WeddingWorkflowID is the id of the workflow that looks after a wedding.
func WeddingWorkflowID(wedding domain.BookingID) string { return "wedding/" + string(wedding) }

// WeddingInput starts the workflow. It carries nothing over: what there is to do follows from storage.
type WeddingInput struct {
	OrgID     domain.OrgID     `json:"org_id"`
	BookingID domain.BookingID `json:"booking_id"`
}

// WeddingStatus is where the care for a wedding stands.
type WeddingStatus struct {
	State     domain.CareState  `json:"state"`
	Date      string            `json:"date,omitempty"`      // local date of the wedding, YYYY-MM-DD
	Preflight domain.CheckState `json:"preflight,omitempty"` // outcome of the newest one
	FreezeAt  time.Time         `json:"freeze_at,omitzero"`
	DayFrom   time.Time         `json:"day_from,omitzero"`
	DayUntil  time.Time         `json:"day_until,omitzero"`
	NextAt    time.Time         `json:"next_at,omitzero"` // when time alone brings something to do
}
