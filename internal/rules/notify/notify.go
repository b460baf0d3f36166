// Package notify decides who is told of a fact, in which ways and when, and when a message that failed is tried again.
//
//	routes := notify.Decide(person, notify.Fact{Kind: domain.NotifyConflictOpened, Severity: domain.SeverityHigh}, now)
//
// The first rule of a person's preferences that names the kind decides about channels, severity and digest. Quiet hours
// hold back mail and Slack until they end in the person's own zone; they do not count on a wedding day and its eve, not for
// what is urgent, not for webhooks and the live stream, which wake nobody, and not for PagerDuty, which has hours of its own.
//
// Everything is pure: the time is an argument. Test with go test ./internal/rules/notify.
package notify

import (
	"fmt"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Fact is something that people may be told of.
type Fact struct {
	Kind       domain.NotifyKind
	Severity   domain.Severity
	WeddingDay bool                // a wedding concerned is today or tomorrow
	Urgent     bool                // neither quiet hours nor digests hold it
	Resources  []domain.ResourceID // that it concerns; empty = the whole organisation
}

// Route is one way in which a person is, or is not, told of a fact.
type Route struct {
	Channel domain.NotifyChannel
	State   domain.NotificationState // queued, held or suppressed
	Reason  string                   // why it is held or suppressed
	Due     time.Time                // when it is to be sent; zero for a suppressed one
	Digest  bool
}

// standard is what a person is told of who set no rules.
var standard = domain.NotifyRule{MinSeverity: domain.SeverityMedium}

// Decide returns the ways in which a person is told of a fact at now, in the order of the rule's channels. It is empty for
// a person who is not concerned or wants to hear nothing of the kind. The zone must be one that calendartime knows; an
// unknown one counts as UTC, since it must not keep anybody from being told.
func Decide(p domain.Recipient, f Fact, now time.Time) []Route {
	if p.State != domain.RecipientActive || !concerned(p, f) {
		return nil
	}
	rule, channels := standard, []domain.NotifyChannel(nil)
	if len(p.Prefer.Rules) == 0 {
		for _, c := range domain.NotifyChannels() {
			if p.Addresses.Has(c) && (c != domain.ChannelPagerDuty || f.Kind.OfAlert()) {
				channels = append(channels, c)
			}
		}
	} else {
		i := slices.IndexFunc(p.Prefer.Rules, func(r domain.NotifyRule) bool { return r.Names(f.Kind) })
		if i < 0 {
			return nil
		}
		rule = p.Prefer.Rules[i]
		channels = rule.Channels
	}
	loc, err := calendartime.LoadZone(p.Zone)
	if err != nil {
		loc = time.UTC
	}
	var out []Route
	for _, c := range channels {
		if slices.ContainsFunc(out, func(r Route) bool { return r.Channel == c }) {
			continue
		}
		out = append(out, decide(p, rule, c, f, now, loc))
	}
	return out
}

func concerned(p domain.Recipient, f Fact) bool {
	return len(p.Resources) == 0 || len(f.Resources) == 0 ||
		slices.ContainsFunc(f.Resources, func(id domain.ResourceID) bool { return slices.Contains(p.Resources, id) })
}

func decide(p domain.Recipient, rule domain.NotifyRule, c domain.NotifyChannel, f Fact, now time.Time, loc *time.Location) Route {
	r := Route{Channel: c, State: domain.NotificationQueued, Due: now}
	switch {
	case !p.Addresses.Has(c):
		return Route{Channel: c, State: domain.NotificationSuppressed, Reason: fmt.Sprintf("the person has no address for %s", c)}
	case c == domain.ChannelPagerDuty && !f.Kind.OfAlert():
		return Route{Channel: c, State: domain.NotificationSuppressed, Reason: "PagerDuty is told of alerts only, which end by themselves"}
	case f.Severity.Level() < rule.MinSeverity.Level() && !f.WeddingDay:
		return Route{Channel: c, State: domain.NotificationSuppressed, Reason: fmt.Sprintf("severity %s is below %s, which the person asked for", f.Severity, rule.MinSeverity)}
	case f.WeddingDay, f.Urgent, c == domain.ChannelLive, c == domain.ChannelWebhook, c == domain.ChannelPagerDuty:
		return r
	}
	if rule.Digest && f.Severity != domain.SeverityCritical {
		r.State, r.Reason, r.Digest = domain.NotificationHeld, "waits for the digest", true
		r.Due = NextAt(p.Prefer.DigestAt, now, loc)
	}
	if until := QuietUntil(p.Prefer.Quiet, r.Due, loc); until.After(r.Due) {
		r.State, r.Due = domain.NotificationHeld, until
		if !r.Digest {
			r.Reason = "quiet hours"
		}
	}
	return r
}

// QuietUntil returns when the quiet hours that hold t end, or t when they do not. A clock that a zone skips or repeats is
// read as RFC 5545 does.
func QuietUntil(q *domain.QuietHours, t time.Time, loc *time.Location) time.Time {
	if q == nil {
		return t
	}
	w := calendartime.WallOf(t, loc)
	at := w.Hour*60 + w.Minute
	day := w.Date()
	switch {
	case q.From < q.To:
		if at < q.From || at >= q.To {
			return t
		}
	case at >= q.From:
		day = day.AddDays(1)
	case at >= q.To:
		return t
	}
	end := calendartime.Resolve(day.At(q.To/60, q.To%60), loc).UTC()
	if !end.After(t) {
		return t
	}
	return end
}

// NextAt returns the next time after now at which the local clock shows so many minutes after midnight.
func NextAt(minutes int, now time.Time, loc *time.Location) time.Time {
	day := calendartime.DateOf(now, loc)
	for {
		if at := calendartime.Resolve(day.At(minutes/60, minutes%60), loc); at.After(now) {
			return at.UTC()
		}
		day = day.AddDays(1)
	}
}

// WeddingDays is when a wedding counts as near enough for quiet hours not to: its start lies on the local day of now or on
// the next one.
func WeddingDays(now time.Time, loc *time.Location) domain.Span {
	today := calendartime.DateOf(now, loc)
	return calendartime.AllDay(loc, today, today.AddDays(2))
}

// GiveUpAfter is how long a message is tried. Word of a clash that is older helps nobody; the notification is shown as
// failed then, and can be sent again by hand.
const GiveUpAfter = 48 * time.Hour

// Wait is the time to the next try after the n-th failure in a row: 30 s, 2 min, 10 min, 30 min, then every hour. The first
// steps are for a server that asks to come back (greylisting, RFC 6647 section 2), the last for one that is down.
func Wait(n int) time.Duration {
	schedule := []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour}
	return schedule[min(max(n, 1), len(schedule))-1]
}
