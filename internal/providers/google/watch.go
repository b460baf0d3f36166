package google

import (
	"context"
	"crypto/subtle"
	"fmt"
	"time"

	"google.golang.org/api/calendar/v3"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// channelTries is how many ids of channels are tried for one watch. An id that Google knows from a try whose answer was
// lost cannot be used again.
const channelTries = 3

// unsaid is how long a channel is taken to live when Google does not say it.
const unsaid = time.Hour

// Watch makes a channel for the events of the calendar. Google posts a sync message before it answers. A channel for
// free/busy only cannot be made, because the events may not be listed.
func (c *connection) Watch(ctx context.Context, r provider.WatchRequest) (provider.Watched, error) {
	w, err := c.watch(ctx, r)
	if err != nil {
		return provider.Watched{}, fail("watch Google calendar", err)
	}
	return w, nil
}

func (c *connection) watch(ctx context.Context, r provider.WatchRequest) (provider.Watched, error) {
	id, err := c.chosen()
	if err != nil {
		return provider.Watched{}, err
	}
	if c.settings.busyOnly() {
		return provider.Watched{}, domain.E(domain.KindForbidden, "a calendar that shows only when it is busy cannot be watched")
	}
	if r.ID == "" || len(r.ID) > 60 || r.URL == "" || r.Secret == "" || len(r.Secret) > 256 {
		return provider.Watched{}, domain.Invalid("watch", "needs an id of at most 60 bytes, an address and a secret of at most 256 bytes")
	}
	for try := range channelTries {
		channel := r.ID
		if try > 0 {
			channel = fmt.Sprintf("%s-%d", r.ID, try+1)
		}
		in := &calendar.Channel{Id: channel, Type: "web_hook", Address: r.URL, Token: r.Secret}
		if !r.Until.IsZero() {
			in.Expiration = r.Until.UnixMilli()
		}
		out, err := c.api.Events.Watch(id, in).Context(ctx).Do()
		if refusedFor(err, "channelIdNotUnique") {
			continue
		}
		if err != nil {
			return provider.Watched{}, err
		}
		if out.Id != channel || out.ResourceId == "" {
			return provider.Watched{}, errUnreadable
		}
		w := provider.Watched{ID: r.ID, RemoteID: out.Id, ResourceID: out.ResourceId, ExpiresAt: c.now().Add(unsaid).UTC()}
		if out.Expiration > 0 {
			w.ExpiresAt = time.UnixMilli(out.Expiration).UTC()
		}
		return w, nil
	}
	return provider.Watched{}, domain.E(domain.KindConflict, "the id of the watch was used too often: use another one")
}

// Renew answers KindNotFound: channels cannot be prolonged. A new one is made beside the old.
func (c *connection) Renew(context.Context, provider.Watched, time.Time) (provider.Watched, error) {
	return provider.Watched{}, domain.E(domain.KindNotFound, "Google's channels cannot be prolonged: make another one")
}

// Unwatch stops a channel. Messages that are under way, and sometimes later ones, still come.
func (c *connection) Unwatch(ctx context.Context, w provider.Watched) error {
	err := c.api.Channels.Stop(&calendar.Channel{Id: w.RemoteID, ResourceId: w.ResourceID}).Context(ctx).Do()
	if kindOf(err) == domain.KindNotFound {
		return nil
	}
	return fail("stop watching Google calendar", err)
}

// notice reads a message of a channel. It is known by its token alone: a message of an earlier channel of the same watch,
// one that was stopped, and one that comes before the answer to Watch are all worth a look. The states are sync, which
// only says that the channel is there, exists and not_exists; an unknown one is taken for a change.
func notice(r provider.NoticeRequest) (provider.Notice, error) {
	token := r.Header.Get("X-Goog-Channel-Token")
	if r.Secret == "" || subtle.ConstantTimeCompare([]byte(token), []byte(r.Secret)) != 1 {
		return provider.Notice{}, domain.E(domain.KindUnauthenticated, "the message does not show the token of its channel")
	}
	state := r.Header.Get("X-Goog-Resource-State")
	if state == "" || r.Header.Get("X-Goog-Channel-Id") == "" {
		return provider.Notice{}, domain.Invalid("header", "X-Goog-Resource-State and X-Goog-Channel-ID are required")
	}
	return provider.Notice{Changed: state != "sync"}, nil
}
