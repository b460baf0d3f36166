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

// Watch makes a webhook, or takes over the one that an earlier try made whose answer was lost. Those of watches that are over
// are removed. Plans without webhooks answer KindForbidden, and are polled.
func (c *connection) Watch(ctx context.Context, r provider.WatchRequest) (provider.Watched, error) {
	if r.ID == "" || r.URL == "" || r.Secret == "" {
		return provider.Watched{}, c.fail("watch", domain.Invalid("watch", "needs an id, an address and a secret"))
	}
	account, err := c.chosen(ctx)
	if err != nil {
		return provider.Watched{}, c.fail("watch", err)
	}
	id, err := c.hook(ctx, account, r)
	if err != nil {
		return provider.Watched{}, c.fail("watch", err)
	}
	return provider.Watched{ID: r.ID, RemoteID: id, ExpiresAt: c.now().Add(lookAfter).UTC()}, nil
}

func (c *connection) hook(ctx context.Context, account string, r provider.WatchRequest) (id string, err error) {
	there, err := c.ask.hooks(ctx, account)
	if err != nil {
		return "", err
	}
	target := c.ask.target(r.URL, r.Secret)
	// A webhook of the same address that does not work, or is there twice, is a stray too.
	strays := append([]string{r.URL}, r.Over...)
	for _, h := range there {
		switch {
		case h.id == "":
		case id == "" && h.works && h.address == target:
			id = h.id
		case provider.PostsTo(h.address, strays...):
			if err := c.drop(ctx, h.id); err != nil && domain.Retryable(err) {
				return "", err // one that can never be removed does not stand in the way
			}
		}
	}
	if id != "" {
		return id, nil
	}
	return c.ask.hook(ctx, account, target, r.Secret)
}

// Sweep removes the webhooks with one of these addresses.
func (c *connection) Sweep(ctx context.Context, addresses []string) error {
	const doing = "end a watch whose making was not answered at"
	account, err := c.chosen(ctx)
	if err != nil {
		return c.fail(doing, err)
	}
	there, err := c.ask.hooks(ctx, account)
	if err != nil {
		return c.fail(doing, err)
	}
	for _, h := range there {
		if h.id == "" || !provider.PostsTo(h.address, addresses...) {
			continue
		}
		if err := c.drop(ctx, h.id); err != nil {
			return c.fail(doing, err)
		}
	}
	return nil
}

// drop removes a webhook. One that is gone is success.
func (c *connection) drop(ctx context.Context, id string) error {
	err := c.ask.unhook(ctx, id)
	if domain.KindOf(err) == domain.KindNotFound {
		return nil
	}
	return err
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
	return c.fail("stop watching", c.drop(ctx, w.RemoteID))
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
