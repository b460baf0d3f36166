// Package failover decides how news of a connection come: by what its system posts, or by quick polls that stand in while that
// cannot be relied on, and when it goes back.
//
//	next := failover.Decide(now, evidence, failover.Settings{}.Defaults())
//
// What speaks against what is posted: silence against the usual rhythm (rules/health knows it), an address to post to that is
// lost, and a poll that finds changes of which nobody had told. Polls begin where the last complete reading stopped, which lies
// before the last good message, so there is no gap; what is told twice is known by entry and version and applied once.
//
// The way back needs proof: messages that came since, or a subscription made anew, and a quiet time in which polls found nothing
// that had not been told. Then one closing poll covers the overlap. Each mode lasts a least time, and a connection that goes
// back and forth stays with polls twice as long every time. Only a part of the connections of one platform may fail over at once by
// themselves: quick polls of all of them would add to an outage of the platform.
//
// Everything is pure: the time is an argument. Test with go test ./internal/rules/failover.
package failover

import (
	"fmt"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Settings are the numbers. The zero value of each takes its default.
type Settings struct {
	Poll   time.Duration // between two quick polls; default 15 s. A slow system gets more, see PollEvery
	Grace  time.Duration // how long a message may take that tells of what a poll found; default 30 s
	Stay   time.Duration // the least time with polls; default 2 min, doubled with every flap up to 32 times
	Quiet  time.Duration // without anything untold, before a single message or a repair is believed; default 10 min
	Good   int           // messages that are proof by themselves; default 3
	Repair time.Duration // between two repairs, doubling up to an hour; default 1 min
}

// Bounds of the settings.
const (
	LeastPoll = time.Second
	MostPoll  = 5 * time.Minute
	mostStay  = 5 // doublings
	flapsFor  = 6 * time.Hour
	mostWait  = time.Hour
	recheck   = time.Minute
	closing   = 10 * time.Minute // a closing poll that takes longer has failed
)

// Defaults returns s with its defaults filled in.
func (s Settings) Defaults() Settings {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&s.Poll, 15 * time.Second}, {&s.Grace, 30 * time.Second}, {&s.Stay, 2 * time.Minute}, {&s.Quiet, 10 * time.Minute}, {&s.Repair, time.Minute}} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	if s.Good == 0 {
		s.Good = 3
	}
	return s
}

// PollEvery is the time between two quick polls of a connection. usual is its poll interval, 0 = it is read when asked; perSecond
// is how many calls its system allows, 0 = not known. A quick poll may take a twentieth of these, at three calls each; it is never
// slower than usual polls are, and never slower than MostPoll.
func (s Settings) PollEvery(usual time.Duration, perSecond float64) time.Duration {
	every := max(s.Poll, LeastPoll)
	if perSecond > 0 {
		every = max(every, time.Duration(60/perSecond*float64(time.Second)).Truncate(time.Second))
	}
	every = min(every, MostPoll)
	if usual > 0 {
		every = min(every, usual)
	}
	return every
}

// Room is how many connections of a platform may fail over at once by themselves: a fifth, and ten in any case.
func Room(total int) int { return max(10, total/5) }

// Evidence is what is known of a connection.
type Evidence struct {
	domain.Failover
	CanPoll  bool
	CanHear  bool // its system posts, or would
	Answers  bool // as far as known: it is not down
	LastPush *time.Time
	Pushes   int        // messages since the mode began; what a drill lets lie is none
	Watches  bool       // it posts to an address that we ask it for, so it can be asked again
	StandsAt *time.Time // since when such an address stands that is not doubted; nil = none does
	Broken   string     // why none stands, in words; "" = one does, or there is nothing to be wrong
	PolledAt *time.Time // when a reading ended that began within the mode
	Every    time.Duration
	Over     int // connections of its platform that failed over, all tenants together
	Total    int
}

// began is when it failed over.
func (e Evidence) began() time.Time {
	if e.FlappedAt != nil && e.FlappedAt.Before(e.Since) {
		return *e.FlappedAt
	}
	return e.Since
}

// Decision is what to do.
type Decision struct {
	Mode   domain.FailoverMode
	Cause  domain.FailoverCause
	Reason string
	Pull   bool      // read the system now
	Repair bool      // make the subscription anew
	Clear  bool      // what was suspected has been judged
	Due    time.Time // judge again; zero = when something happens
}

// Moved reports whether the decision leaves the mode.
func (d Decision) Moved(from domain.FailoverMode) bool { return d.Mode != from }

// Decide judges a connection at now. It moves by one mode at the most.
func Decide(now time.Time, e Evidence, s Settings) Decision {
	stay := Decision{Mode: e.Mode, Cause: e.Cause, Reason: e.Reason}
	if e.Mode != domain.FailoverUsual && (!e.CanPoll || !e.CanHear) {
		return Decision{Mode: domain.FailoverUsual, Cause: domain.OverByPerson, Reason: "its settings leave nothing to fail over between", Clear: true}
	}
	switch e.Mode {
	case domain.FailoverBegun:
		if e.PolledAt != nil {
			return Decision{Mode: domain.FailoverPolling, Cause: e.Cause, Reason: e.Reason, Due: now.Add(min(s.Repair, recheck)), Clear: true}
		}
		stay.Due = now.Add(recheck)
		return stay
	case domain.FailoverPolling:
		return polling(now, e, s, stay)
	case domain.FailoverReturning:
		switch {
		case e.PolledAt != nil:
			return Decision{Mode: domain.FailoverUsual, Cause: e.Cause, Reason: e.Reason, Clear: true}
		case now.Sub(e.Since) >= closing:
			return Decision{Mode: domain.FailoverPolling, Cause: domain.BackRefused, Reason: "the closing poll did not come to its end within " + closing.String(), Due: now.Add(recheck)}
		}
		stay.Due = now.Add(recheck)
		return stay
	case domain.FailoverUsual:
	}
	return usual(now, e, s, stay)
}

// usual looks whether what is posted can still be relied on.
func usual(now time.Time, e Evidence, s Settings, stay Decision) Decision {
	if !e.CanPoll || !e.CanHear {
		stay.Clear = true
		return stay
	}
	cause, why, due := suspicion(now, e, s)
	if cause == "" {
		stay.Due, stay.Clear = due, due.IsZero()
		return stay
	}
	switch {
	case !e.Answers:
		// There is nothing to be had by polls either. The outage is told as such, and caught up after it.
		stay.Due = now.Add(s.Grace)
	case now.Sub(e.Since) < s.Stay/2 && e.Flaps > 0:
		stay.Due = e.Since.Add(s.Stay / 2)
	case e.Over >= Room(e.Total):
		stay.Due = now.Add(recheck)
		stay.Reason = fmt.Sprintf("%s; %d connections of its platform fail over already, which is the most at once, so its usual polls go on", why, e.Over)
	default:
		return Decision{Mode: domain.FailoverBegun, Cause: cause, Reason: why, Pull: true, Clear: true, Due: now.Add(recheck)}
	}
	return stay
}

// suspicion tells what speaks against what is posted; with no cause yet, when to look again.
func suspicion(now time.Time, e Evidence, s Settings) (domain.FailoverCause, string, time.Time) {
	if e.Broken != "" {
		return domain.OverWatch, e.Broken, time.Time{}
	}
	if e.SuspectedAt != nil && !since(e.LastPush, *e.SuspectedAt) {
		return e.Suspect, e.SuspectText, time.Time{}
	}
	if at, open := untold(e, s); open {
		if due := at.Add(s.Grace); now.Before(due) {
			return "", "", due
		}
		return domain.OverUnannounced, fmt.Sprintf("a poll found %d changes of which nobody had told", max(e.Found, 1)), time.Time{}
	}
	return "", "", time.Time{}
}

// untold is when a poll last found a change of which nobody told before, about then, or since.
func untold(e Evidence, s Settings) (time.Time, bool) {
	if e.FoundAt == nil || since(e.LastPush, e.FoundAt.Add(-s.Grace)) {
		return time.Time{}, false
	}
	return *e.FoundAt, true
}

func since(at *time.Time, from time.Time) bool { return at != nil && !at.Before(from) }

// polling looks whether it may go back, and whether the subscription is to be made anew.
func polling(now time.Time, e Evidence, s Settings, stay Decision) Decision {
	stay.Due = now.Add(recheck)
	at, open := untold(e, s)
	renewed := since(e.StandsAt, e.began())
	if e.Watches && e.RepairAt != nil && !now.Before(*e.RepairAt) && !e.Muted(now) && e.Pushes < s.Good {
		stay.Repair = !renewed || open && at.After(e.StandsAt.Add(s.Grace))
	}
	if e.Held || e.Muted(now) {
		return stay
	}
	if until := e.Since.Add(s.stay(e.Flaps)); now.Before(until) {
		stay.Due = earlier(stay.Due, until)
		return stay
	}
	quietFrom := e.Since
	if e.FoundAt != nil && e.FoundAt.After(quietFrom) && open {
		quietFrom = at
	}
	if renewed && e.StandsAt.After(quietFrom) {
		quietFrom = *e.StandsAt
	}
	quiet := !now.Before(quietFrom.Add(s.Quiet))
	back := Decision{Mode: domain.FailoverReturning, Pull: true, Due: now.Add(recheck), Clear: true}
	switch {
	case e.Pushes >= s.Good && !open, e.Pushes > 0 && quiet && !open:
		back.Cause, back.Reason = domain.BackHeardAgain, fmt.Sprintf("%d messages came since %s", e.Pushes, e.Since.UTC().Format(time.RFC3339))
		return back
	case renewed && quiet:
		back.Cause, back.Reason = domain.BackRepaired, "the system posts to a new address since "+e.StandsAt.UTC().Format(time.RFC3339)+", and nothing was missed since"
		return back
	case e.Pushes > 0 || renewed:
		stay.Due = earlier(stay.Due, quietFrom.Add(s.Quiet))
	}
	return stay
}

// stay is the least time with polls.
func (s Settings) stay(flaps int) time.Duration { return s.Stay << min(max(flaps-1, 0), mostStay) }

// RepairIn is the wait before the next repair when there were some.
func (s Settings) RepairIn(repairs int) time.Duration {
	return min(s.Repair<<min(repairs, 10), mostWait)
}

// Flaps is how often a connection failed over within hours, this time included.
func Flaps(now time.Time, flaps int, last *time.Time) int {
	if last == nil || now.Sub(*last) > flapsFor {
		return 1
	}
	return flaps + 1
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
