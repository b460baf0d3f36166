package contract

import "github.com/wedsync/wedsync/internal/domain"

// TimelineInput starts the workflow that lets a timeline follow its wedding. It carries nothing over: what there is to do
// follows from storage.
type TimelineInput struct {
	OrgID     domain.OrgID     `json:"org_id"`
	BookingID domain.BookingID `json:"booking_id"` // the wedding
}
