package tave

import (
	"context"
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// hookEvents are the events of rest hooks that may concern a date. The vendor has no others but contact.created, which by
// itself concerns none; above all it has none for changes and removals.
var hookEvents = []string{"job.created", "order.booked", "payment.created"}

// secretParam carries the secret of a watch in its address: deliveries are not signed, and have nothing else that we set.
const secretParam = "key"

type restHook struct {
	ID    string `json:"id,omitempty"`
	Event string `json:"event"`
	URL   string `json:"url"`
}

// Watch subscribes r.URL to each event. Hooks that an earlier try made have the same address and are taken over.
func (c *connection) Watch(ctx context.Context, r provider.WatchRequest) (provider.Watched, error) {
	w, err := c.watch(ctx, r)
	if err != nil {
		return provider.Watched{}, domain.E(domain.KindOf(err), "watch studio: %w", err)
	}
	return w, nil
}

func (c *connection) watch(ctx context.Context, r provider.WatchRequest) (provider.Watched, error) {
	address := r.URL + "?" + url.Values{secretParam: {r.Secret}}.Encode()
	there, err := c.restHooks(ctx)
	if err != nil {
		return provider.Watched{}, err
	}
	if err := c.sweep(ctx, there, r.Over); err != nil && domain.Retryable(err) {
		return provider.Watched{}, err // one that can never be removed does not stand in the way
	}
	ids := make([]string, 0, len(hookEvents))
	for _, name := range hookEvents {
		i := slices.IndexFunc(there, func(h restHook) bool { return h.Event == name && h.URL == address && validID(h.ID) })
		if i >= 0 {
			ids = append(ids, there[i].ID)
			continue
		}
		var made restHook
		if _, err := c.client.do(ctx, http.MethodPost, "/rest-hook", nil, restHook{Event: name, URL: address}, &made); err != nil {
			return provider.Watched{}, err
		}
		if !validID(made.ID) {
			return provider.Watched{}, domain.E(domain.KindUnavailable, "the studio answered without the rest hook")
		}
		ids = append(ids, made.ID)
	}
	// Rest hooks have no end. The wished one makes the caller look after them.
	return provider.Watched{ID: r.ID, RemoteID: strings.Join(ids, ","), ExpiresAt: r.Until.UTC()}, nil
}

func (c *connection) restHooks(ctx context.Context) ([]restHook, error) {
	return everything[restHook](ctx, c.client, "/rest-hook", "resthook-collection", nil)
}

// Sweep removes the hooks with one of these addresses.
func (c *connection) Sweep(ctx context.Context, addresses []string) error {
	there, err := c.restHooks(ctx)
	if err == nil {
		err = c.sweep(ctx, there, addresses)
	}
	if err != nil {
		return domain.E(domain.KindOf(err), "end watches whose making was not answered: %w", err)
	}
	return nil
}

func (c *connection) sweep(ctx context.Context, there []restHook, addresses []string) error {
	var strays []string
	for _, h := range there {
		if provider.PostsTo(h.URL, addresses...) {
			strays = append(strays, h.ID)
		}
	}
	if len(strays) == 0 {
		return nil
	}
	return c.Unwatch(ctx, provider.Watched{RemoteID: strings.Join(strays, ",")})
}

// Renew looks whether all hooks are still there. One that is missing is KindNotFound: they are made anew.
func (c *connection) Renew(ctx context.Context, w provider.Watched, until time.Time) (provider.Watched, error) {
	for _, id := range strings.Split(w.RemoteID, ",") {
		if !validID(id) {
			return provider.Watched{}, domain.E(domain.KindNotFound, "renew watch: it has no rest hooks")
		}
		var h restHook
		if _, err := c.client.get(ctx, "/rest-hook/"+id, nil, &h); err != nil {
			return provider.Watched{}, domain.E(domain.KindOf(err), "renew watch: %w", err)
		}
		if h.ID != id {
			return provider.Watched{}, domain.E(domain.KindUnavailable, "renew watch: the answer is not the rest hook that was asked for")
		}
	}
	w.ExpiresAt = until.UTC()
	return w, nil
}

// Unwatch removes the hooks. Those that are gone are success.
func (c *connection) Unwatch(ctx context.Context, w provider.Watched) error {
	for _, id := range strings.Split(w.RemoteID, ",") {
		if !validID(id) {
			continue
		}
		if _, err := c.client.do(ctx, http.MethodDelete, "/rest-hook/"+id, nil, nil, nil); err != nil && domain.KindOf(err) != domain.KindNotFound {
			return domain.E(domain.KindOf(err), "end watch: %w", err)
		}
	}
	return nil
}

// notice reads a delivery. It is a hint and no more: what its body looks like is not published beyond a targetId, and what it
// names is read over the API in any case.
func notice(r provider.NoticeRequest) (provider.Notice, error) {
	keys := r.Query[secretParam]
	if r.Secret == "" || len(keys) != 1 || subtle.ConstantTimeCompare([]byte(keys[0]), []byte(r.Secret)) != 1 {
		return provider.Notice{}, domain.E(domain.KindUnauthenticated, "the address does not hold the secret of the watch")
	}
	return provider.Notice{Changed: true}, nil
}

// Selective says that only some changes are posted: new jobs and contacts, and booked orders.
func (c *connection) Selective() bool { return true }
