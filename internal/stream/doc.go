// Package stream is the live view of an organisation: server-sent events of what was committed, resumable from any
// event on.
//
//	hub := stream.New(store, stream.Options{})
//	go hub.Run(ctx)
//	err := hub.Serve(w, r, stream.Request{Org: org, After: lastEventID, Until: tokenExpiry}) // returns at the end
//
// One reader per process follows the stream table, woken by Postgres notifications and, since a row may become
// readable later than its notification, by a short poll. It hands each event to the subscribers of its organisation.
// With no subscriber it does not read at all.
//
// # Promises
//
//   - Only committed rows are shown, in cursor order, to subscribers of their own organisation only.
//   - A subscriber that comes back with the last id it saw gets everything after it, without gap or repeat: the backlog
//     from the database first, then live events.
//   - Nobody is waited for. A subscriber whose buffer is full is dropped with the reason "slow"; it can resume.
//   - Every stream carries a sign of life each 15 s, and ends when the token that opened it does.
//   - A database that is away stops events, not streams; they go on when it is back.
//   - A cursor that is no cursor is invalid before anything is sent; one that is too old to resume from is answered
//     with an event "stream.reset", after which a client reads its lists anew.
//
// # Testing
//
// The hub takes its rows from a [Source]; tests use a real store for order and resuming, and their own for faults.
package stream
