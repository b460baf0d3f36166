package maintenance

import (
	"fmt"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

const (
	// DrainFor is how long what was going on may take to finish before the window begins all the same.
	DrainFor = 15 * time.Minute
	// ReplayFor is how long what was held may take before the window is done all the same; what is left goes on by itself.
	ReplayFor = 2 * time.Hour
	// ProbeFor is how long a connection may take after the window to be asked again.
	ProbeFor = 5 * time.Minute

	drainLook = 15 * time.Second
)

// Facts are what the course of a window depends on beside the window itself.
type Facts struct {
	Now      time.Time
	Settings domain.MaintenanceSettings
	// Frozen is a freeze of a wedding that overlaps what is left of the window, nil when there is none.
	Frozen *Closure

	Connections int // that are held, or were
	Quiet       int // of them, those with nothing going on
	Left        int // deliveries and writes that waited when they were let go on, and wait still
	Unread      int // connections whose reading after the window is not over
	Unprobed    int // connections that are not asked again yet
}

// Action is what is due of a window.
type Action string

// The actions.
const (
	Wait     Action = ""         // until Due
	Approve  Action = "approve"  // by itself
	Refuse   Action = "refuse"   // nobody approved it
	Announce Action = "announce" // Lead minutes before it begins
	Cancel   Action = "cancel"
	Move     Action = "move" // to another time
	Drain    Action = "drain"
	Run      Action = "run"
	Release  Action = "release"
	Finish   Action = "finish"
)

// Step is what is due.
type Step struct {
	Action Action
	Due    time.Time // when to look again, of Wait; zero = never
	Lead   int       // minutes, of Announce
	Early  bool      // of Release: before its time
	Note   string    // why, in words without personal data
}

// Next returns the one thing that is due of a window. Carry it out and ask again, until it is Wait. It never says that a window
// that overlaps a freeze be approved, announced, drained or run.
func Next(m domain.Maintenance, f Facts) Step {
	if m.State.Ended() {
		return Step{}
	}
	if f.Frozen != nil {
		switch {
		case m.State.Holds():
			return Step{Action: Release, Early: f.Now.Before(m.EndsAt), Note: "a wedding moved in: its freeze begins " + said(f.Frozen.Start)}
		case m.State.Ahead() && f.Settings.WhenWedding == domain.WeddingMoves:
			return Step{Action: Move, Note: "a wedding moved in: its freeze begins " + said(f.Frozen.Start)}
		case m.State.Ahead():
			return Step{Action: Cancel, Note: "a wedding moved in: its freeze begins " + said(f.Frozen.Start)}
		}
	}
	switch m.State {
	case domain.MaintenanceProposed:
		return proposed(m, f)
	case domain.MaintenanceApproved, domain.MaintenanceAnnounced:
		return ahead(m, f)
	case domain.MaintenanceDraining:
		return draining(m, f)
	case domain.MaintenanceRunning:
		if !f.Now.Before(m.EndsAt) {
			return Step{Action: Release, Note: "its time is over"}
		}
		return Step{Due: m.EndsAt}
	case domain.MaintenanceReplaying:
		return replaying(m, f)
	case domain.MaintenanceDone, domain.MaintenanceCancelled, domain.MaintenanceRefused:
	}
	return Step{}
}

func said(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func proposed(m domain.Maintenance, f Facts) Step {
	// From this moment on its notice would be too short.
	decide := m.StartsAt.Add(-f.Settings.Notice())
	switch {
	case m.Approval == domain.ApprovalAutomatic && !f.Now.Before(decide) && f.Now.Before(m.StartsAt.Add(time.Minute)):
		return Step{Action: Approve, Note: "nobody objected before its notice began"}
	case !f.Now.Before(m.StartsAt):
		return Step{Action: Refuse, Note: "nobody approved it before it was to begin"}
	case m.Approval == domain.ApprovalAutomatic:
		return Step{Due: decide}
	}
	return Step{Due: m.StartsAt}
}

func ahead(m domain.Maintenance, f Facts) Step {
	if !f.Now.Before(m.EndsAt) {
		return Step{Action: Cancel, Note: "its time went by while nothing could begin"}
	}
	// Of announcements that are due together only the last is made: who approves an hour before tells people of an hour.
	due, lead := m.StartsAt, 0
	for _, minutes := range f.Settings.AnnounceMinutes {
		if m.Announced != nil && minutes >= *m.Announced {
			continue
		}
		at := m.StartsAt.Add(-time.Duration(minutes) * time.Minute)
		if at.After(f.Now) {
			due = earliest(due, at)
		} else if lead == 0 || minutes < lead {
			lead = minutes
		}
	}
	switch {
	case lead > 0:
		return Step{Action: Announce, Lead: lead}
	case !f.Now.Before(m.StartsAt):
		return Step{Action: Drain, Note: "its time has come"}
	}
	return Step{Due: due}
}

func draining(m domain.Maintenance, f Facts) Step {
	late := m.StartsAt
	if m.BeganAt != nil {
		late = m.BeganAt.Add(DrainFor)
	}
	switch {
	case !f.Now.Before(m.EndsAt):
		return Step{Action: Release, Note: "its time is over"}
	case f.Quiet >= f.Connections:
		return Step{Action: Run, Note: "nothing is going on any more"}
	case !f.Now.Before(late):
		return Step{Action: Run, Note: fmt.Sprintf("%d of %d connections did not come to rest within %d minutes", f.Connections-f.Quiet, f.Connections, int(DrainFor.Minutes()))}
	}
	return Step{Due: earliest(earliest(f.Now.Add(drainLook), late), m.EndsAt)}
}

func replaying(m domain.Maintenance, f Facts) Step {
	since := m.EndsAt
	if m.ReleasedAt != nil {
		since = *m.ReleasedAt
	}
	took := f.Now.Sub(since)
	unprobed := f.Unprobed
	if took >= ProbeFor {
		unprobed = 0
	}
	switch {
	case f.Left == 0 && f.Unread == 0 && unprobed == 0:
		note := "everything that was held is done"
		if f.Unprobed > 0 {
			note += fmt.Sprintf("; %d connections were not asked again yet", f.Unprobed)
		}
		return Step{Action: Finish, Note: note}
	case took >= ReplayFor:
		return Step{Action: Finish, Note: fmt.Sprintf("%d deliveries and writes wait still, and %d connections were not read; they go on by themselves", f.Left, f.Unread)}
	case took < time.Minute:
		return Step{Due: f.Now.Add(5 * time.Second)}
	}
	return Step{Due: f.Now.Add(30 * time.Second)}
}
