package failover

import (
	"fmt"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// The times of a drill.
const (
	DrillWatch   = 5 * time.Minute  // how long it is waited that somebody notices
	DrillMuted   = 15 * time.Minute // after which what lies counts again, whatever happens
	DrillReturn  = 10 * time.Minute // the most that the way back may take
	DrillTurns   = 2                // quick polls that stand in before it goes back
	DrillAsks    = time.Minute      // between the readings that may notice something
	DrillFreeze  = time.Hour        // no freeze may begin within this time
	drillAtLeast = time.Second
)

// DrillEvidence is what a drill goes by.
type DrillEvidence struct {
	domain.Drill
	Failover domain.Failover
	Polls    int  // readings that ended since polls stand in
	Left     int  // of what lay, still to be applied
	Active   bool // the connection is
}

// DrillStep is what a drill does next.
type DrillStep struct {
	State  domain.DrillState
	Ask    bool // have the system read once
	Over   bool // fail over now: nothing gave it away
	Unmute bool // what lies counts again
	Return bool // go back
	Report bool // look what became of it, and end
	Why    string
	Due    time.Time
}

// DecideDrill says what a drill does at now. It moves by one state at the most.
func DecideDrill(now time.Time, e DrillEvidence, s Settings) DrillStep {
	out := DrillStep{State: e.State}
	if !e.Active && e.State != domain.DrillReturning {
		return DrillStep{State: domain.DrillCancelled, Unmute: true, Why: "the connection was paused or needs to be reconnected"}
	}
	overtime := !now.Before(e.MutedUntil)
	switch e.State {
	case domain.DrillWatching:
		switch {
		case e.Failover.Mode == domain.FailoverPolling || e.Failover.Mode == domain.FailoverBegun:
			return DrillStep{State: domain.DrillPolling, Due: now.Add(s.Poll)}
		case overtime:
			return DrillStep{State: domain.DrillFailed, Unmute: true, Why: "it did not fail over in the time of the drill"}
		case !now.Before(e.WatchUntil):
			out.Over, out.Due = true, now.Add(drillAtLeast)
			return out
		}
		every := min(DrillAsks, max(s.Grace, drillAtLeast))
		out.Ask = e.AskedAt == nil && now.Sub(e.BeganAt) >= every || e.AskedAt != nil && now.Sub(*e.AskedAt) >= every
		out.Due = earlier(now.Add(every), e.WatchUntil)
		return out
	case domain.DrillPolling:
		switch {
		case e.Failover.Mode == domain.FailoverPolling && e.Polls >= DrillTurns:
			return DrillStep{State: domain.DrillReturning, Unmute: true, Return: true, Due: now.Add(s.Poll)}
		case overtime:
			return DrillStep{State: domain.DrillFailed, Unmute: true, Return: true, Why: fmt.Sprintf("%d quick polls worked in the time of the drill, want %d", e.Polls, DrillTurns)}
		}
		out.Due = earlier(now.Add(s.Poll), e.MutedUntil)
		return out
	case domain.DrillReturning:
		switch {
		case e.Failover.Mode == domain.FailoverUsual && e.Left == 0:
			return DrillStep{State: domain.DrillDone, Report: true}
		case e.UnmutedAt != nil && now.Sub(*e.UnmutedAt) >= DrillReturn:
			return DrillStep{State: domain.DrillFailed, Report: true, Why: "it did not return to what its system posts within " + DrillReturn.String()}
		}
		out.Due = now.Add(max(s.Poll, drillAtLeast))
		return out
	case domain.DrillDone, domain.DrillFailed, domain.DrillCancelled:
	}
	return out
}
