package domain

import "time"

// WatchState is where a watch stands.
type WatchState string

// The states of a watch.
const (
	WatchPending  WatchState = "pending"  // stored; the system was not asked yet, or its answer is not known
	WatchActive   WatchState = "active"   // the system posts to it
	WatchRetiring WatchState = "retiring" // another one took its place, or none is wanted; the system is told to end it
	WatchRetired  WatchState = "retired"  // over; what still comes is taken quietly and leads to nothing
)

// Watch is an address of ours to which an outside system posts when something changed there.
type Watch struct {
	ID            WatchID       `json:"id"`
	IntegrationID IntegrationID `json:"-"`
	RemoteID      string        `json:"-"` // the system's name for it; "" while the answer is not known
	ResourceID    string        `json:"-"` // what the system watches, where ending needs it
	State         WatchState    `json:"state"`
	ExpiresAt     *time.Time    `json:"expires_at,omitempty" doc:"When the system ends it, as the system said"`
	RenewAfter    time.Time     `json:"renew_after" doc:"When it is looked after next: made, renewed or ended"`
	MadeAt        time.Time     `json:"made_at"`
	LastNoticeAt  *time.Time    `json:"last_notice_at,omitempty" doc:"When the system last posted"`
	Notices       int64         `json:"notices" doc:"Messages so far"`
	Failures      int           `json:"failures,omitempty" doc:"Calls about it that failed in a row"`
	Fault         string        `json:"fault,omitempty" doc:"Why the last call failed"`
}
