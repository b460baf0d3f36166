// Package notify tells people of what concerns them: it finds out whom, says it in words, and hands it to mail, Slack, a signed
// webhook, the live stream or PagerDuty.
//
//	planned, err := notify.Plan(ctx, tx, look)            // facts become notifications, in the caller's transaction
//	view, over, err := notify.Load(ctx, tx, person, n, url) // what one says, from ids, at the time of sending
//	content, err := notify.Render(view)
//	outcome := senders.Send(ctx, message)                 // one message, in one way
//
// # Promises
//
//   - A fact is written in the transaction of the change that it is about, and taken in the transaction that writes its
//     notifications, so none is lost or told twice. The same fact reaches a person once in each way (a unique index); reminders
//     join one that still waits; what was settled before it was sent is suppressed with the reason.
//   - Whom to tell and when is decided by rules/notify.
//   - Stored notifications, events and errors hold ids only. Names, titles and addresses are opened to render and send, and kept
//     nowhere.
//   - Sending is at least once: a message whose answer was lost is sent again under the same id, which is the Message-ID of a
//     mail, the webhook-id of a webhook, and the reference at the end of a Slack message.
//   - Mail says times, names and titles; Slack says no titles of bookings; webhooks and the live stream hold ids only. The title of
//     a private booking is never said.
//
// # Testing
//
// go test ./internal/notify tries what is said. Planning and sending are tried where they belong together, by the workflow on
// PostgreSQL with mail and Slack as simulators and a clock that skips: go test ./workflows -run 'Mail|Slack|Digest|Hold'.
package notify
