// Package health decides how a connection is observed to do, from probes of it and from everything else that is known of it.
//
//	track = track.Note(result)                      // one more probe
//	passive, signals := health.Passively(now, look) // what is known beside probes
//	verdict := health.Decide(now, state, health.Evidence{Track: track, Passive: passive, ...})
//
// Promises: Decide never leaves the table of moves (Moves), gives a reason with every verdict, and needs more to come back
// from a bad state than to stay in it, so that a connection on the edge does not flicker. An outage of our own makes a
// connection unknown and never down (Doubt). A wish (paused, needs reconnect, maintenance) always wins over what is observed.
//
// Numbers: down after three confirmed failures in a row, or after two while most of the platform fails too, and back after two
// answers; degraded from three failures or eight
// slow answers of ten and back at one and four; unknown when nothing fresh came for three intervals.
//
// Everything is pure: the time is an argument. Test with go test ./internal/rules/health.
package health

import (
	"fmt"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// The numbers of the rules.
const (
	DownAfter = 3 // confirmed failures in a row
	// TogetherAfter is how many it takes while most connections of the platform fail too: each is confirmed by the others then.
	// TogetherFor is how long they must go on at the least, so that connections that are asked often do not fall by a blink, and
	// an outage of our own is known as one before.
	TogetherAfter = 2
	TogetherFor   = 25 * time.Second
	UpAfter       = 2               // answers in a row, coming from down
	RefusedAfter  = 2               // refusals of our credentials in a row
	Window        = 10              // results by which degradation is judged
	SomeFail      = 3               // failures of Window: degraded
	FewFail       = 1               // failures of Window: no longer
	ManySlow      = 8               // slow answers of Window: degraded
	FewSlow       = 4               // slow answers of Window: no longer
	SlowAfter     = 2 * time.Second // from when an answer is slow
	StaleAfter    = 3               // intervals without a result that says anything: unknown
	// StaleGrace is what a probe itself may take beyond its interval: two tries and the pause between them.
	StaleGrace = 25 * time.Second
	// HeardWithin is for how long traffic speaks for a connection that cannot be probed, unless it is polled more seldom.
	HeardWithin = 24 * time.Hour
)

// moves is the one table of what may follow what. Waiting states (paused, maintenance, needs reconnect) are left towards
// unknown only, because nothing was observed meanwhile. Polls stand in only after failing over, and what was down answers
// well, or not by the best way, before it is called slow.
var moves = map[domain.HealthState][]domain.HealthState{
	domain.HealthUnknown: {domain.HealthUp, domain.HealthDegraded, domain.HealthFailingOver, domain.HealthPolling, domain.HealthDown,
		domain.HealthNeedsReconnect, domain.HealthPaused, domain.HealthMaintenance},
	domain.HealthUp: {domain.HealthDegraded, domain.HealthFailingOver, domain.HealthDown, domain.HealthUnknown,
		domain.HealthNeedsReconnect, domain.HealthPaused, domain.HealthMaintenance},
	domain.HealthDegraded: {domain.HealthUp, domain.HealthFailingOver, domain.HealthDown, domain.HealthUnknown,
		domain.HealthNeedsReconnect, domain.HealthPaused, domain.HealthMaintenance},
	domain.HealthFailingOver: {domain.HealthPolling, domain.HealthUp, domain.HealthDegraded, domain.HealthDown, domain.HealthUnknown,
		domain.HealthNeedsReconnect, domain.HealthPaused, domain.HealthMaintenance},
	domain.HealthPolling: {domain.HealthUp, domain.HealthDegraded, domain.HealthFailingOver, domain.HealthDown, domain.HealthUnknown,
		domain.HealthNeedsReconnect, domain.HealthPaused, domain.HealthMaintenance},
	domain.HealthDown: {domain.HealthUp, domain.HealthFailingOver, domain.HealthUnknown,
		domain.HealthNeedsReconnect, domain.HealthPaused, domain.HealthMaintenance},
	domain.HealthNeedsReconnect: {domain.HealthUnknown, domain.HealthPaused, domain.HealthMaintenance},
	domain.HealthPaused:         {domain.HealthUnknown, domain.HealthNeedsReconnect, domain.HealthMaintenance},
	domain.HealthMaintenance:    {domain.HealthUnknown, domain.HealthNeedsReconnect, domain.HealthPaused},
}

// Moves returns what may follow a state, in a fixed order; empty for a word that is no state.
func Moves(from domain.HealthState) []domain.HealthState { return slices.Clone(moves[from]) }

// Allowed reports whether a state may follow another one. Staying is no move.
func Allowed(from, to domain.HealthState) bool { return slices.Contains(moves[from], to) }

// step is the next state on the way from one to another.
func step(from, to domain.HealthState) domain.HealthState {
	switch {
	case from == to || Allowed(from, to):
		return to
	case to == domain.HealthPolling && Allowed(from, domain.HealthFailingOver):
		return domain.HealthFailingOver
	case from == domain.HealthDown && to == domain.HealthDegraded:
		return domain.HealthUp
	}
	return domain.HealthUnknown
}

// Verdict is a state with its reason.
type Verdict struct {
	State  domain.HealthState
	Reason domain.HealthReason
}

func verdict(state domain.HealthState, code domain.HealthCode, format string, args ...any) Verdict {
	return Verdict{state, domain.HealthReason{Code: code, Text: fmt.Sprintf(format, args...)}}
}

// Evidence is what is known of a connection.
type Evidence struct {
	Wish            domain.IntegrationState
	WishReason      string // as stored with the wish
	Maintenance     bool   // in a window now
	MaintenanceText string
	Probed          bool          // it can be asked
	Every           time.Duration // between two probes
	Track           Track
	Reason          domain.HealthReason // of the state that it is in
	RestUntil       time.Time           // until when it wants to be left alone; zero = it does not
	Together        bool                // most probes of its platform fail now
	Since           time.Time           // since when it is looked at; results cannot be missing from before
	Blind           bool                // our own connection is in doubt
	Passive         Passive
	Mode            domain.FailoverMode // how news of it come, as rules/failover decided; "" = as usual
	ModeReason      string
	QuickPolls      time.Duration // between the polls that stand in
}

// Decide tells the state of a connection that is in state from at now, and why. The verdict is from itself or an allowed
// move from it; where the state that the evidence speaks for is further away, it is the next one on the way, and the next
// call goes on.
func Decide(now time.Time, from domain.HealthState, e Evidence) Verdict {
	if !from.Valid() {
		from = domain.HealthUnknown
	}
	v := judge(now, from, e)
	next := step(from, v.State)
	if next == v.State {
		return v
	}
	switch next {
	case domain.HealthUnknown:
		return Verdict{next, left(from)}
	case domain.HealthUp:
		return verdict(next, domain.HealthAnswers, "it answers again")
	}
	v.State = next
	return v
}

// left says why a waiting state was left.
func left(from domain.HealthState) domain.HealthReason {
	switch from {
	case domain.HealthPaused:
		return domain.HealthReason{Code: domain.HealthByPerson, Text: "it was resumed; it is asked anew"}
	case domain.HealthMaintenance:
		return domain.HealthReason{Code: domain.HealthMaintenanceEnd, Text: "the maintenance is over; it is asked anew"}
	case domain.HealthNeedsReconnect:
		return domain.HealthReason{Code: domain.HealthReconnected, Text: "it was connected again; it is asked anew"}
	}
	return domain.HealthReason{Code: domain.HealthNothingFresh, Text: "it is asked anew"}
}

func judge(now time.Time, from domain.HealthState, e Evidence) Verdict {
	switch {
	case e.Wish == domain.IntegrationPaused:
		return verdict(domain.HealthPaused, domain.HealthByPerson, "%s", orElse(e.WishReason, "it was paused"))
	case e.Wish == domain.IntegrationConnecting:
		return verdict(domain.HealthUnknown, domain.HealthNew, "it is being connected")
	case e.Wish == domain.IntegrationNeedsReconnect:
		return verdict(domain.HealthNeedsReconnect, domain.HealthRefused, "%s", orElse(e.WishReason, "the system does not accept our credentials"))
	case e.Maintenance:
		return verdict(domain.HealthMaintenance, domain.HealthInMaintenance, "%s", orElse(e.MaintenanceText, "a maintenance is going on"))
	case e.Probed:
		return judgeProbed(now, from, e)
	}
	return judgeTraffic(now, from, e)
}

func judgeProbed(now time.Time, from domain.HealthState, e Evidence) Verdict {
	t := e.Track
	fresh := t.CountedAt
	// While it is left alone because it said so no result can come, and that it said so is an answer.
	for _, at := range []time.Time{e.Since, e.RestUntil} {
		if fresh.Before(at) {
			fresh = at
		}
	}
	stale := now.Sub(fresh) > StaleAfter*e.Every+StaleGrace
	switch {
	case stale && e.Blind:
		return verdict(domain.HealthUnknown, domain.HealthOurOutage, "our own connection to the outside seems to be down, so nothing can be said of the system")
	case stale:
		return verdict(domain.HealthUnknown, domain.HealthNothingFresh, "no probe of the last %s said anything", (StaleAfter * e.Every).Round(time.Second))
	case t.CountedAt.IsZero() && e.Reason.Code != "":
		return Verdict{from, e.Reason}
	case t.CountedAt.IsZero():
		return verdict(from, domain.HealthNew, "it was not asked yet")
	case t.Failures >= DownAfter:
		return verdict(domain.HealthDown, domain.HealthNoAnswer, "%d confirmed probes in a row were not answered: %s", t.Failures, orElse(t.Last.Text, "no answer"))
	case e.Together && t.Failures >= TogetherAfter && t.failingFor() >= TogetherFor:
		return verdict(domain.HealthDown, domain.HealthNoAnswer, "%d confirmed probes in a row were not answered, and most connections of its platform fail: %s",
			t.Failures, orElse(t.Last.Text, "no answer"))
	case from == domain.HealthDown && t.Successes < UpAfter:
		return verdict(domain.HealthDown, domain.HealthNoAnswer, "it was down, and has not yet answered %d probes in a row", UpAfter)
	case from == domain.HealthUnknown && t.Successes == 0:
		return verdict(from, domain.HealthNothingFresh, "it has not answered yet; %d of the %d failures in a row that it takes to say that it is down", t.Failures, DownAfter)
	}
	if v, found := judgeMode(e); found {
		return v
	}
	if v, found := judgePassive(e.Passive); found {
		return v
	}
	failed, slow := t.failed(), t.slow()
	was := from == domain.HealthDegraded
	switch {
	case failed >= SomeFail || was && failed > FewFail:
		return verdict(domain.HealthDegraded, domain.HealthSomeFail, "%d of the last %d probes were not answered", failed, t.count())
	case slow >= ManySlow || was && slow > FewSlow:
		return verdict(domain.HealthDegraded, domain.HealthSlow, "%d of the last %d answers took longer than %s", slow, t.count(), SlowAfter)
	case was && t.count() < Window && (e.Reason.Code == domain.HealthSomeFail || e.Reason.Code == domain.HealthSlow):
		return Verdict{domain.HealthDegraded, e.Reason} // whoever probes since a moment has not seen enough to call it well
	}
	return verdict(domain.HealthUp, domain.HealthAnswers, "it answers")
}

// judgeMode tells of a connection whose news come by quick polls.
func judgeMode(e Evidence) (Verdict, bool) {
	why := orElse(e.ModeReason, "what it posts is not relied on")
	switch e.Mode {
	case domain.FailoverBegun:
		return verdict(domain.HealthFailingOver, domain.HealthNotTold, "%s; it has not been read by a poll yet", why), true
	case domain.FailoverPolling:
		return verdict(domain.HealthPolling, domain.HealthNotTold, "%s; it is read every %s meanwhile", why, e.QuickPolls), true
	case domain.FailoverReturning:
		return verdict(domain.HealthPolling, domain.HealthNotTold, "%s; it goes back to webhooks after a closing poll", why), true
	case domain.FailoverUsual:
	}
	return Verdict{}, false
}

// judgePassive tells what is wrong with a connection that answers.
func judgePassive(p Passive) (Verdict, bool) {
	switch {
	case p.Untold != "" && p.Polls && !p.Late:
		return verdict(domain.HealthPolling, domain.HealthNotTold, "%s; it is read by polls meanwhile", p.Untold), true
	case p.Untold != "" && p.Polls:
		return verdict(domain.HealthFailingOver, domain.HealthNotTold, "%s; it has not been read by a poll yet", p.Untold), true
	case p.Untold != "":
		return verdict(domain.HealthDegraded, domain.HealthNotTold, "%s, and it is not polled", p.Untold), true
	case p.TrafficFailures >= DownAfter:
		return verdict(domain.HealthDegraded, domain.HealthTrafficFails, "it answers probes, but the last %d readings or writings failed", p.TrafficFailures), true
	case p.TokenExpired:
		return verdict(domain.HealthDegraded, domain.HealthTokenExpired, "the access token ran out and was not renewed"), true
	case p.Late:
		return verdict(domain.HealthDegraded, domain.HealthLate, "it was last read longer ago than it should be"), true
	}
	return Verdict{}, false
}

// judgeTraffic judges a connection that cannot be asked by what goes on anyway.
func judgeTraffic(now time.Time, from domain.HealthState, e Evidence) Verdict {
	p := e.Passive
	heard := max(HeardWithin, 3*p.PollEvery)
	switch {
	case p.TrafficFailures >= DownAfter:
		return verdict(domain.HealthDown, domain.HealthTrafficFails, "the last %d readings or writings failed", p.TrafficFailures)
	case p.HeardAt == nil || now.Sub(*p.HeardAt) > heard:
		return verdict(domain.HealthUnknown, domain.HealthNothingFresh, "it cannot be asked, and nothing was heard of it for %s", heard)
	case p.TrafficFailures > 0 && from == domain.HealthDown:
		return verdict(from, domain.HealthTrafficFails, "the last reading or writing failed")
	}
	if v, found := judgeMode(e); found {
		return v
	}
	if v, found := judgePassive(p); found {
		return v
	}
	return verdict(domain.HealthUp, domain.HealthTrafficWorks, "it cannot be asked, and its traffic works")
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// Shown is the health of a connection as it is told to people: what is stored, unless the wish has changed since the prober
// last looked, which is then told at once. updated is when the wish was made.
func Shown(h domain.Health, wish domain.IntegrationState, reason string, updated time.Time) domain.Health {
	state := h.State
	switch wish {
	case domain.IntegrationPaused:
		state = domain.HealthPaused
	case domain.IntegrationNeedsReconnect:
		state = domain.HealthNeedsReconnect
	case domain.IntegrationConnecting:
		state = domain.HealthUnknown
		h.Reason = judge(updated, h.State, Evidence{Wish: wish}).Reason
	case domain.IntegrationActive, domain.IntegrationDeleted:
		if state == domain.HealthPaused || state == domain.HealthNeedsReconnect {
			h.Reason = left(state)
			state = domain.HealthUnknown
		}
	}
	if state == h.State {
		return h
	}
	if state != domain.HealthUnknown {
		h.Reason = judge(updated, h.State, Evidence{Wish: wish, WishReason: reason}).Reason
	}
	h.State = state
	if updated.After(h.Since) {
		h.Since = updated
	}
	return h
}
