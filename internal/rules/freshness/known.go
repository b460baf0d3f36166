package freshness

import (
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Link is what is known about the way in which news of a source reach us.
type Link struct {
	Readable bool       // it can be listed
	Tells    bool       // it posts webhooks of its own accord
	Waiting  *time.Time // since when something that it told waits to be applied; nil = nothing does
}

// Known is how much is known of a source at a time: everything, or nothing for sure that happened there since Since.
type Known struct {
	Fresh  bool
	Since  time.Time // of one that is not fresh
	Reason string    // in words, without personal data; "" for a fresh one
}

// KnownOf tells how much is known at now of what happens in a source. One that is told of by a watch or by webhooks is
// fresh while nothing of it waits for longer than Allowance; one that is polled, while the last listing is no older than
// its target; one that is only read when somebody asks, for Allowance after the reading. One that does not run is known
// as of when it was last heard. One that cannot be listed and has told nothing yet has nothing to be asked for, and
// counts as fresh.
func KnownOf(now time.Time, i domain.Integration, m Measured, l Link) Known {
	unknown := func(since time.Time, reason string) Known { return Known{Since: since, Reason: reason} }
	switch {
	case i.State == domain.IntegrationPaused:
		return unknown(lastHeard(i), "the connection is paused")
	case i.State == domain.IntegrationConnecting:
		return unknown(lastHeard(i), "the connection is being made")
	case i.State != domain.IntegrationActive:
		return unknown(lastHeard(i), "the connection must be reconnected")
	case i.WorkHold.In(now):
		return unknown(lastHeard(i), "the connection is in maintenance")
	case l.Waiting != nil && now.Sub(*l.Waiting) > Allowance:
		return unknown(*l.Waiting, "what it told waits to be applied")
	case m.Wanted != nil && now.Sub(*m.Wanted) > Allowance:
		return unknown(*m.Wanted, "it told of a change that was not read yet")
	case !l.Readable:
		return Known{Fresh: true}
	case i.LastSyncAt == nil:
		return unknown(i.CreatedAt, "it was never read to its end")
	}
	age := now.Sub(*i.LastSyncAt)
	watched := slices.ContainsFunc(m.Watches, func(w domain.Watch) bool { return w.State == domain.WatchActive })
	switch {
	case i.PollEvery > 0 && age > Target(false, i.PollEvery):
		return unknown(*i.LastSyncAt, "it was last read longer ago than it should be")
	case i.PollEvery == 0 && !watched && !l.Tells && age > Allowance:
		return unknown(*i.LastSyncAt, "it is read only when somebody asks")
	}
	return Known{Fresh: true}
}

func lastHeard(i domain.Integration) time.Time {
	at := i.CreatedAt
	for _, t := range []*time.Time{i.LastSyncAt, i.LastDeliveryAt} {
		if t != nil && t.After(at) {
			at = *t
		}
	}
	return at
}
