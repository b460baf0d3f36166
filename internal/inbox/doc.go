// Package inbox takes verified webhooks to disk and tells Temporal that they wait. Postgres is the record; everything
// in memory here may be lost at any moment without losing a delivery.
//
// It has four parts, which [New] puts together:
//
//   - [Writer] is the group commit. Many requests hand in a delivery each and wait; a few committers take whatever has
//     queued up and store it by one statement and one commit.
//   - [Dispatcher] tells workflows by signal-with-start that they have work. It sends at once when idle and lingers
//     under load, so that a workflow gets a few signals a second with many ids each, never one per webhook.
//   - [Sweeper] looks in Postgres for work that nobody was told about, such as deliveries whose server died between
//     commit and dispatch.
//   - [Relay] passes on the outbox: rows that other transactions wrote beside their change.
//
// Use:
//
//	in, err := inbox.New(inbox.Deps{Store: db, Signals: temporal, Metrics: registry})
//	go in.Run(ctx)                                     // sweeper and relay, until ctx ends
//	stored, err := in.Writer.Put(ctx, delivery, provider)
//	in.Drain(ctx)                                      // after the HTTP server has stopped
//
// # Promises
//
//   - Put returns an id only for a delivery whose bytes are committed. The id is the stored one, also for a repeat.
//   - Put returns KindUnavailable when the delivery could not be stored or queued; then the caller may try again. A
//     try whose outcome got lost may have been stored: the repeat finds it and returns its id.
//   - A caller that stops waiting does not take its delivery out of the batch.
//   - Every stored delivery is signalled at least once: by the dispatcher, or by a sweeper of any server. Repeated
//     signals are harmless and bounded. Deliveries of one integration are signalled oldest first, but only the
//     workflow, which reads them from Postgres, decides on order.
//   - Workflows are told the most urgent first and, among organisations, in fair shares: what waits of one organisation
//     delays another's by a bounded number of turns, however much it is and however urgent it is said to be.
//   - Temporal being down delays signals and nothing else. Ids are kept up to a bound; beyond it only the fact that
//     there is more is kept.
//   - Memory is bounded: the queue by rows and bytes, the dispatcher by ids and targets, sweeper and relay by the size
//     of their claims.
//
// # Testing
//
// The parts talk to the store and to Temporal through the small interfaces in this package. Timing is tested inside
// testing/synctest bubbles, where minutes pass at once.
package inbox
