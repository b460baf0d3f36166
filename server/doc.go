// Package server is WedSync's HTTP side: the admin API, the live stream, the dashboard, the health and metrics
// endpoints, and the place where webhooks come in. It is the only importer of Echo.
//
// Make one with [New] from [Deps], and serve it with [Server.Run], or mount [Server.Handler] in a test:
//
//	s, err := server.New(deps)
//	err = s.Run(ctx, listener) // returns nil after a graceful drain
//
// # The route table
//
// Every route is one row of the table in routes.go, with its access on the row: public, webhook, viewer, operator,
// admin or metrics. Nothing is reachable that is not in the table, and a test walks the table with every kind of
// caller. The organisation of a request comes from its token only; a foreign id is answered as an unknown one, 404.
//
// # Promises
//
//   - Every error is problem+json (RFC 9457) with a stable "code". Bad input names the field and the limit. A fault of
//     ours carries a request id and nothing else; its cause is in the log under that id.
//   - Input is refused before anything is stored. An admin action and its audit line are one transaction.
//   - Secrets are write-only: they are taken, sealed, and never returned.
//   - The access log has method, route, status, size and time; never a query string, a body or a token. The webhook
//     route has no log line per request, only counters.
//   - On cancel, [Server.Run] first answers 503 on /readyz, then stops accepting, lets requests in flight finish within
//     a bound, and closes live streams with an event that says why.
//
// # Testing
//
// Tests use the real router over a private Postgres from internal/store/storetest. Temporal is behind [Flow], which
// tests answer themselves.
package server
