package contract

import (
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// HoldInput starts the workflow that ends a hold. It carries nothing over: what there is to do follows from storage.
type HoldInput struct {
	OrgID     domain.OrgID     `json:"org_id"`
	BookingID domain.BookingID `json:"booking_id"`
}

// HoldStatus answers QueryStatus of a hold, and is the workflow's result.
type HoldStatus struct {
	State     domain.HoldState `json:"state"`
	ExpiresAt time.Time        `json:"expires_at"`
}
