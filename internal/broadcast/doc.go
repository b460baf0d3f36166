// Package broadcast wakes what follows the live stream inside the server: the workflows of subscriptions, and the
// announcement of accepted webhooks.
//
//	w := broadcast.NewWaker(store, flow, broadcast.WakerOptions{})
//	hub := stream.New(store, stream.Options{Watch: w.Watch, Watching: w.Watching})
//	go w.Run(ctx)
//
//	a := broadcast.NewAnnouncer(store, broadcast.AnnouncerOptions{})
//	go a.Run(ctx) // and a.Accepted(…) after each commit of intake
//
// # Promises
//
//   - A subscription with a matching event is woken within about a second, at most once a second, and by a signal that
//     starts its workflow if there is none. Without a subscription nothing is read, and one without matching events costs
//     a comparison per event of its organisation.
//   - Waking may be lost, with a process or with Temporal. A sweep then finds every subscription that is behind the
//     stream, in every server, every 30 s. It moves the positions of those for whom nothing matches, so that none falls
//     out of the retention of the stream, and tells the workflows of deleted ones.
//   - Accepted webhooks are announced after their commit, in batches a few times a second, up to 40 to an event. Intake
//     never waits for it: a queue that is full, or a process that dies, loses announcements, and never deliveries. What
//     becomes of a delivery is told by events that are written in the same transaction.
//
// # Testing
//
// Both take their storage and Temporal by interface; e2e tests in workflows use real ones.
package broadcast
