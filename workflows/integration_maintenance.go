package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/wedsync/wedsync/activities"
)

// This file lets a connection rest during a window of maintenance, which its row tells of: nothing new is begun, what goes on
// finishes, and then the window is told. Deliveries and writes wait in storage. The row is read by a step, so histories from before
// there were such windows take the way they took.

// resting reports whether the connection's work is held.
func (s *integration) resting(now time.Time) bool {
	return s.Config != nil && s.Config.WorkHold.In(now)
}

// rested tells whether a rest that was known of is over, by its time or because its row says so.
func (s *integration) restOver(now time.Time) bool {
	return s.Config != nil && s.Config.WorkHold != nil && !s.Config.WorkHold.In(now)
}

// rest notes, once the row was read, that the connection rests, or has done so: then everything that may have waited is looked for,
// and the system is read from where it was left.
func (s *integration) rest(now time.Time) {
	if s.resting(now) {
		s.Rested = true
		return
	}
	s.Config.WorkHold = nil
	if !s.Rested {
		return
	}
	s.Rested, s.quiet = false, ""
	s.Deliveries, s.Pushes = true, true
	if s.Config.CanPull {
		s.NextPoll = now
	}
}

// comeToRest tells the window, once, that nothing goes on any more.
func (s *integration) comeToRest(ctx workflow.Context) {
	hold := s.Config.WorkHold
	if s.quiet == hold.By || s.pushing != nil || s.keeping != nil || s.Current != nil {
		return
	}
	if err := workflow.ExecuteLocalActivity(database(ctx, "come to rest"), steps.Maintenances.NoteQuiet, activities.NoteQuietInput{
		MaintenanceRef: activities.MaintenanceRef{Org: s.in.OrgID, Maintenance: hold.By}, Integration: s.in.IntegrationID, Pulls: s.Config.CanPull}).Get(ctx, nil); err != nil {
		s.failed(ctx, "tell that the connection rests", err)
		return
	}
	s.quiet = hold.By
}
