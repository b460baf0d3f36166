// Package jwks fetches and keeps the public keys that senders of webhooks publish as JSON Web Key Sets (RFC 7517).
//
//	client, err := httpx.New(httpx.Options{MaxBody: jwks.MaxBody, Timeouts: httpx.Timeouts{Total: 5 * time.Second}})
//	sets := jwks.New(jwks.Options{HTTP: client})
//	v, err := webhookauth.New(cfg, nil, webhookauth.Options{KeySets: sets})
//
// # Promises
//
//   - One fetch per address at a time, whoever waits for it; a caller that gives up leaves it running for the others.
//   - A set is kept as long as its Cache-Control max-age says, at least a minute and at most a day, and ten minutes
//     where it says nothing. An unknown key id asks again, at most once in 30 seconds per address, so that a flood of
//     invented ids causes no flood of requests. An id is called unknown only by a set that was asked for after the call;
//     until then the answer is that it is not known yet, so that such a flood cannot have a new key refused for good.
//   - After a fault the address is left alone, for one second at first and doubling up to five minutes, with jitter. What
//     was fetched before is used meanwhile, up to a day beyond its time; after that there is no key.
//   - A set is taken whole or not at all: one that is too large, is no JSON, holds too many keys or two of one id
//     replaces nothing. Keys of kinds that no algorithm uses, keys for encryption and private keys are left out.
//   - Memory is bounded by the number of addresses, the keys of each and the length of a body.
//   - Only https, unless allowed for development. Which addresses may be reached at all is the HTTP client's part.
//
// # Testing
//
// Tests run against a faulty server of their own and an injected clock: go test ./internal/webhookauth/jwks.
package jwks
