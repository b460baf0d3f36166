// Package stream is the live view of an organisation: server-sent events of what was committed, resumable from any
// event on.
//
//	hub := stream.New(store, stream.Options{})
//	go hub.Run(ctx)
//	err := hub.Serve(w, r, stream.Request{Org: org, After: lastEventID, Until: tokenExpiry}) // returns at the end
//
// One reader per process follows the stream table, woken by Postgres notifications and, since a row may become
// readable later than its notification, by a short poll. It hands each event to the subscribers of its organisation
// whose filter takes it, rendered once for all of them. With no subscriber, and nobody watching, it does not read at all.
//
// # Promises
//
//   - Only committed rows are shown, in cursor order, to subscribers of their own organisation only.
//   - A subscriber that comes back with the last id it saw gets everything after it that its filter takes, without gap or
//     repeat: the backlog from the database first, then live events. A backlog is read in bounded pages in the order of
//     an index, by a few subscribers at a time, and the id moves on also over pages of which nothing is wanted.
//   - Nobody is waited for. A subscriber whose queue is full is dropped with the reason "slow"; it can resume.
//   - Every stream carries a sign of life within each 15 s, at times that are spread by chance, and ends when the token
//     that opened it does. It moves the id on, so that a quiet stream does not fall out of retention.
//   - An idle subscriber holds no buffer here. What is left is its connection.
//   - A database that is away stops events, not streams; they go on when it is back.
//   - A cursor that is no cursor is invalid before anything is sent. One after which events were purged is answered with an
//     event "stream.gap" that names where the stream goes on; a client reads its lists anew.
//   - Beyond the limit of an organisation a stream is refused as rate_limited, beyond that of the process as unavailable.
//
// # Testing
//
// The hub takes its rows from a [Source]; tests use a real store for order and resuming, and their own for faults.
package stream
