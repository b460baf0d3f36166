package activities

import (
	"context"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/holds"
	"github.com/wedsync/wedsync/internal/store"
)

// Holds ends holds whose time has come.
type Holds struct{ Store *store.Store }

// ExpireHoldInput names a hold by its booking.
type ExpireHoldInput struct {
	Org     domain.OrgID     `json:"org"`
	Booking domain.BookingID `json:"booking"`
}

// ExpireHold cancels the booking of a hold whose time has come, by the clock of the store, and takes it out of the other
// systems. One that still lasts, or is over already, is left alone; it is told how each stands. A hold that does not exist
// is told as released. Running it again changes nothing.
func (a *Holds) ExpireHold(ctx context.Context, in ExpireHoldInput) (contract.HoldStatus, error) {
	var out contract.HoldStatus
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		h, err := holds.Expire(ctx, tx, in.Booking)
		if domain.KindOf(err) == domain.KindNotFound {
			out = contract.HoldStatus{State: domain.HoldReleased, ExpiresAt: tx.Now}
			return nil
		}
		out = contract.HoldStatus{State: h.State, ExpiresAt: h.ExpiresAt}
		return err
	})
	return out, fail(err)
}
