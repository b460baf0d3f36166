package holds

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// SystemState says whether a connected system shows what is held.
type SystemState string

// The states.
const (
	SystemShown   SystemState = "shown"   // it has the booking as it is now
	SystemWaiting SystemState = "waiting" // it is being written
	SystemFailed  SystemState = "failed"  // it refused for good; Reason says why
	SystemRemoved SystemState = "removed" // its copy was taken out, because the time is free again
)

// System is a connected system that others may book the resource through.
type System struct {
	IntegrationID domain.IntegrationID `json:"integration_id"`
	Provider      string               `json:"provider"`
	State         SystemState          `json:"state" enum:"shown,waiting,failed,removed"`
	Since         *time.Time           `json:"since,omitempty" doc:"When it took the newest state; of one that waits, since when"`
	LagMS         *int64               `json:"lag_ms,omitempty" doc:"From the wish to the system's answer, in milliseconds"`
	Reason        string               `json:"reason,omitempty" doc:"Why it does not show it yet"`
}

// systems tells which systems show a booking.
func systems(ctx context.Context, tx *store.Tx, b domain.Booking) ([]System, error) {
	pushes, err := tx.PushesOf(ctx, b.ID)
	if err != nil || len(pushes) == 0 {
		return []System{}, err
	}
	out := make([]System, 0, len(pushes))
	for _, p := range pushes {
		i, err := tx.Integration(ctx, p.IntegrationID)
		if err != nil {
			return nil, err
		}
		if i.State == domain.IntegrationDeleted {
			continue
		}
		s := System{IntegrationID: i.ID, Provider: i.Provider, State: SystemWaiting, Since: p.WantedAt, Reason: p.Reason}
		switch p.State {
		case domain.PushDone:
			s.State, s.Since, s.Reason = SystemShown, p.ShownAt, ""
			if p.Op == domain.PushRemove {
				s.State = SystemRemoved
			}
			if p.WantedAt != nil && p.ShownAt != nil {
				lag := max(p.ShownAt.Sub(*p.WantedAt), 0).Milliseconds()
				s.LagMS = &lag
			}
		case domain.PushFailed:
			s.State = SystemFailed
		case domain.PushPending, domain.PushRetrying:
			if i.State != domain.IntegrationActive {
				s.Reason = "the connection is " + string(i.State)
			}
		}
		out = append(out, s)
	}
	return out, nil
}
