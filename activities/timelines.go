package activities

import (
	"context"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/timelines"
)

// Timelines lets what timelines exported follow their weddings.
type Timelines struct{ Store *store.Store }

// FollowWeddingInput names a wedding whose booking changed.
type FollowWeddingInput struct {
	Org     domain.OrgID     `json:"org"`
	Wedding domain.BookingID `json:"wedding"`
}

// FollowWedding brings the exported bookings of a wedding's timeline to where the wedding is now. A wedding without a
// timeline has nothing to follow. Running it again changes nothing.
func (a *Timelines) FollowWedding(ctx context.Context, in FollowWeddingInput) error {
	return fail(a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		return timelines.Follow(ctx, tx, in.Wedding, "system:timeline")
	}))
}
