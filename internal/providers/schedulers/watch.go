package schedulers

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// lookAfter is when a webhook is looked at again. Webhooks of schedulers have no end of their own.
const lookAfter = 24 * time.Hour

// Watch makes a webhook. Plans without webhooks answer KindForbidden, and are polled.
func (c *connection) Watch(ctx context.Context, r provider.WatchRequest) (provider.Watched, error) {
	if r.ID == "" || r.URL == "" || r.Secret == "" {
		return provider.Watched{}, c.fail("watch", domain.Invalid("watch", "needs an id, an address and a secret"))
	}
	account, err := c.chosen(ctx)
	if err != nil {
		return provider.Watched{}, c.fail("watch", err)
	}
	id, err := c.ask.hook(ctx, account, r.URL, r.Secret)
	if err != nil {
		return provider.Watched{}, c.fail("watch", err)
	}
	return provider.Watched{ID: r.ID, RemoteID: id, ExpiresAt: c.now().Add(lookAfter).UTC()}, nil
}

// Renew looks whether the webhook is there and works. KindNotFound asks for a new one.
func (c *connection) Renew(ctx context.Context, w provider.Watched, _ time.Time) (provider.Watched, error) {
	works, err := c.ask.hooked(ctx, w.RemoteID)
	if err == nil && !works {
		err = domain.E(domain.KindNotFound, "the webhook is disabled or gone: make another one")
	}
	if err != nil {
		return provider.Watched{}, c.fail("look at a webhook of", err)
	}
	w.ExpiresAt = c.now().Add(lookAfter).UTC()
	return w, nil
}

// Unwatch removes the webhook.
func (c *connection) Unwatch(ctx context.Context, w provider.Watched) error {
	err := c.ask.unhook(ctx, w.RemoteID)
	if domain.KindOf(err) == domain.KindNotFound {
		return nil
	}
	return c.fail("stop watching", err)
}

// signed takes a message for a hint if its signature was made with the secret of the watch.
func signed(r provider.NoticeRequest, config webhookauth.Config) (provider.Notice, error) {
	v, err := webhookauth.New(config, webhookauth.Plain(webhookauth.Secret(r.Secret)), webhookauth.Options{})
	if err != nil {
		return provider.Notice{}, domain.E(domain.KindInternal, "make a verifier: %w", err)
	}
	if _, err := v.Verify(context.Background(), webhookauth.Request{Header: r.Header, Body: r.Body}, r.At); err != nil {
		return provider.Notice{}, domain.E(domain.KindUnauthenticated, "check a message: %w", err)
	}
	return provider.Notice{Changed: true}, nil
}
