package health

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/freshness"
)

// Passive is what speaks for or against a connection beside probes.
type Passive struct {
	TrafficFailures int        // readings or writings that failed in a row, the newest ones
	HeardAt         *time.Time // when anything last worked: a reading, a writing, a webhook
	Untold          string     // why it does not tell of news any more, in words; "" = it does, or never did
	Polls           bool       // it is read now and then anyway
	PollEvery       time.Duration
	Late            bool // it was last read longer ago than it should be
	TokenExpired    bool
}

// Look is what storage knows of a connection.
type Look struct {
	Imports        bool
	PollEvery      time.Duration // 0 = not polled
	CreatedAt      time.Time
	LastSyncAt     *time.Time // of the last reading that came to its end
	LastDeliveryAt *time.Time
	Outcomes       []Outcome      // of readings and writings that are over, the newest first
	Watches        []domain.Watch // that are not over
	TokenExpiresAt *time.Time     // of the access token; nil = it has none
	Rhythm         Rhythm
}

// Outcome is how a reading or a writing ended.
type Outcome struct {
	OK bool
	At time.Time
}

// tokenGrace is for how long an access token may be over before that says anything: it is renewed when it is used.
const tokenGrace = time.Hour

// watchGrace is for how long a watch may be over, or wait, before that says anything.
const watchGrace = 5 * time.Minute

// Passively sums up what is known of a connection at now, and tells it in words.
func Passively(now time.Time, l Look) (Passive, []domain.HealthSignal) {
	p := Passive{Polls: l.Imports && l.PollEvery > 0, PollEvery: l.PollEvery}
	var out []domain.HealthSignal
	say := func(kind domain.HealthSignalKind, ok bool, format string, args ...any) {
		out = append(out, domain.HealthSignal{Kind: kind, OK: ok, Text: fmt.Sprintf(format, args...)})
	}
	heard := func(at *time.Time) {
		if at != nil && (p.HeardAt == nil || at.After(*p.HeardAt)) {
			p.HeardAt = at
		}
	}
	heard(l.LastDeliveryAt)
	heard(l.LastSyncAt)
	for n, o := range l.Outcomes {
		if o.OK {
			heard(&o.At)
			break
		}
		p.TrafficFailures = n + 1
	}
	switch {
	case p.TrafficFailures > 0:
		say(domain.SignalTraffic, p.TrafficFailures < DownAfter, "the last %d readings or writings failed", p.TrafficFailures)
	case len(l.Outcomes) > 0:
		say(domain.SignalTraffic, true, "the last reading or writing worked, at %s", l.Outcomes[0].At.UTC().Format(time.RFC3339))
	}
	if len(l.Watches) > 0 {
		p.Untold = BrokenWatch(now, l.Watches)
		say(domain.SignalWatch, p.Untold == "", "%s", orElse(p.Untold, "the system posts to an address that is valid"))
	}
	if allowed, known := l.Rhythm.Allowed(); known {
		silent := now.Sub(l.Rhythm.Last)
		if over := silent > allowed; over && p.Untold == "" {
			p.Untold = fmt.Sprintf("no webhook came for %s, and usually one comes within %s", silent.Round(time.Minute), allowed.Round(time.Minute))
			say(domain.SignalWebhooks, false, "%s", p.Untold)
		} else {
			say(domain.SignalWebhooks, !over, "the last webhook came %s ago; usually one comes within %s", silent.Round(time.Minute), allowed.Round(time.Minute))
		}
	}
	if l.TokenExpiresAt != nil {
		p.TokenExpired = now.Sub(*l.TokenExpiresAt) > tokenGrace
		if p.TokenExpired {
			say(domain.SignalToken, false, "the access token ran out at %s and was not renewed", l.TokenExpiresAt.UTC().Format(time.RFC3339))
		} else {
			say(domain.SignalToken, true, "the access token is valid, or was used lately")
		}
	}
	if p.Polls {
		read := l.CreatedAt
		if l.LastSyncAt != nil {
			read = *l.LastSyncAt
		}
		// Twice what is published, so that a poll that is a moment late does not move anything.
		allowed := 2 * freshness.Target(false, l.PollEvery)
		p.Late = now.Sub(read) > allowed
		say(domain.SignalSync, !p.Late, "last read %s ago; at most %s is as it should be", now.Sub(read).Round(time.Second), allowed)
	}
	return p, out
}

// BrokenWatch says what is wrong with the watches of a connection that are not over, "" if one stands.
func BrokenWatch(now time.Time, watches []domain.Watch) string {
	stands := slices.ContainsFunc(watches, func(w domain.Watch) bool {
		return w.State == domain.WatchActive && (w.ExpiresAt == nil || now.Sub(*w.ExpiresAt) <= watchGrace)
	})
	if stands {
		return ""
	}
	for _, w := range watches {
		switch {
		case w.State == domain.WatchActive:
			return "the address that the system posts to ran out at " + w.ExpiresAt.UTC().Format(time.RFC3339)
		case w.State == domain.WatchPending && now.Sub(w.MadeAt) > watchGrace:
			return "the system has not taken the address to post to"
		}
	}
	return ""
}

// Rhythm is how often the webhooks of a connection usually come: the longest silence between two of them, which fades with
// time. Nights and weekends are in it by themselves.
type Rhythm struct {
	Longest time.Duration
	Gaps    int64     // silences so far
	Since   time.Time // the first webhook that was counted
	Last    time.Time // the newest
}

const (
	rhythmHalf  = 14 * 24 * time.Hour // in this time the longest silence fades to half
	rhythmGaps  = 20                  // silences that it takes to know a rhythm
	rhythmSpan  = 7 * 24 * time.Hour  // days that it takes, so that a weekend is among them
	rhythmTimes = 2                   // how many times the longest silence is still usual
	rhythmLeast = time.Hour           // less than this is never silence
)

// Note counts the newest webhook. One that is not newer changes nothing.
func (r Rhythm) Note(at time.Time) Rhythm {
	switch {
	case r.Last.IsZero():
		return Rhythm{Since: at, Last: at}
	case !at.After(r.Last):
		return r
	}
	gap := at.Sub(r.Last)
	faded := time.Duration(float64(r.Longest) * math.Exp2(-gap.Hours()/rhythmHalf.Hours()))
	return Rhythm{Longest: max(gap, faded), Gaps: r.Gaps + 1, Since: r.Since, Last: at}
}

// Allowed is how long a silence is usual at most; false while too little is known.
func (r Rhythm) Allowed() (time.Duration, bool) {
	if r.Gaps < rhythmGaps || r.Last.Sub(r.Since) < rhythmSpan {
		return 0, false
	}
	return max(rhythmTimes*r.Longest, rhythmLeast), true
}
