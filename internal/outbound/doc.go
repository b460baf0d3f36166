// Package outbound is the discipline of calls to outside systems: how fast one may be called, when calls are held back, and what
// is told of both. It stands between a provider and [httpx.Client] as a gate, so providers need not know of it:
//
//	d := outbound.New(ctx, outbound.Options{Store: db, Log: log, Metrics: registry})
//	defer d.Close()
//	client := client.Through(d.For(integration, registration, connection))
//
// # Promises
//
//   - Limits hold over all processes: every call takes a token of its integration, of its account where the provider names
//     one, and of its host. Tokens are leased from Postgres ahead of need, many keys in one statement; a key that is used
//     little never asks. While Postgres is slow or gone each process gives half of the limit by itself.
//   - Who has to wait for a token has its turn by integration: one with a thousand calls does not keep out the others at the
//     same host. A turn that is further off than Options.MaxTurn is refused as rate_limited with the time to wait.
//   - A system that does not answer is left alone: after some failures (rules/breaker says which count) calls of that
//     integration to that host are refused as unavailable, with the time of the next probe. One worker of all makes it. A
//     system that answers 429 or 503 with Retry-After is left alone until then, too, by all. Where the provider names the account
//     that a limit is of, a 429 with Retry-After holds back every integration with that account, and where it rests
//     (provider.Limit.Rest) a 429 or 503 without one, too.
//   - What a provider does once in a time, such as a look for news, is done by one of all workers ([Discipline.Once]).
//   - A refused call was not sent and has [ErrHeld] in its chain: it counts as no try of what was to be done.
//   - What is kept is small: nothing for connections that work, a row for one that does not. Error texts and rows hold the
//     host, the status and the request's id, and never a path, a header or a body.
//
// Everything may be used by many goroutines. To test: go test ./internal/outbound; without a Store the package works for one
// process alone.
package outbound
