package app

import (
	"time"

	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/webhookauth/jwks"
)

// keySets keeps the public keys that senders of webhooks publish. It has a client of its own: a sender waits for the
// answer, so the time is short, and a set is small.
func (c *Core) keySets() (*jwks.Sets, error) {
	policy := httpx.PublicOnly
	if c.Config.AllowPrivate {
		policy = httpx.AllowPrivate
	}
	client, err := httpx.New(httpx.Options{Allow: policy, UserAgent: "WedSync/" + Version, MaxBody: jwks.MaxBody,
		Timeouts: httpx.Timeouts{Dial: 2 * time.Second, TLS: 2 * time.Second, Header: 4 * time.Second, Total: 5 * time.Second}})
	if err != nil {
		return nil, err
	}
	return jwks.New(jwks.Options{HTTP: client, AllowHTTP: c.Config.AllowPrivate}), nil
}
