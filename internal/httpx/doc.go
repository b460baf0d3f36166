// Package httpx is the only way out to other systems over HTTP. It bounds what a slow, broken or hostile host can do
// and turns answers into error kinds, so that a provider decides nothing about timeouts, sizes or retries.
//
//	client, err := httpx.New(httpx.Options{UserAgent: "WedSync/1.0"})
//	res, err := client.Do(req)
//	if err != nil { … domain.KindOf(err), domain.RetryAfter(err) … }
//
// # Promises
//
//   - Address guard: every connection is checked on the address it is really made to, after resolving, so neither a
//     name that points inwards nor one that changes between two look-ups gets through. See [CheckAddress]. Proxies
//     from the environment are not used, because they would make the connection in our place.
//   - https only, unless [AllowPrivate] is set for development.
//   - Redirects are never followed by Do. [Client.DoFollow] follows them only where the caller allows the target.
//   - A body is read whole or not returned: over MaxBody (counted after decompression) is too_large, cut off is
//     unavailable. Nothing is left open, so there is nothing to close. [Client.DoRead] hands a long one over as it comes.
//   - Every phase has a time limit, and the whole exchange has one.
//   - Requests are sent once. net/http itself repeats an idempotent one only when a kept connection turns out dead.
//
// # Errors
//
// Any status but 2xx and 304 is an error; the [Response] is returned beside it, since some systems explain themselves
// in the body.
//
//	401 unauthenticated · 403 forbidden · 404 and 410 not_found (see [GoneToken]) · 409 and 412 conflict
//	429 rate_limited · 408, 423, 425 and 5xx unavailable · other 4xx and redirects permanent
//	timeouts, refused, reset or untrusted connections unavailable · an address that is not allowed permanent
//
// A Retry-After header of 429 and 5xx is kept as domain.RetryAfter, at most [MaxRetryAfter]. Error texts hold the
// method, the host and the status, and never a path, query, user, header or body: paths name people too.
//
// # Testing
//
// Tests run against net/http/httptest with AllowPrivate; the guard itself is a pure function with a table.
package httpx
