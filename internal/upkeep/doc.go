// Package upkeep lets connections rest: it brings weddings, settings, traffic and announcements before the rules of maintenance, and
// carries out what they say.
//
//	ways, err := upkeep.Propose(ctx, tx, upkeep.Wish{Scopes: scopes, Search: span, Duration: time.Hour})
//	window, err := upkeep.Create(ctx, tx, window)            // proposed; its workflow is started by the outbox
//	standing, err := upkeep.Advance(ctx, tx, id)             // whatever is due, and when to come again
//	window, err := upkeep.Decide(ctx, tx, id, decision)      // what a person wants of it
//	state, err := upkeep.StateAt(ctx, tx, at)                // open or closed
//	windows, err := upkeep.Sweep(ctx, tx)                    // now and then: what nobody has to ask for is proposed, what is old goes
//
// # Promises
//
//   - No window is stored, approved, announced or begun in the freeze of a wedding of the organisation, and one in which a freeze
//     moves later is ended: weddings are read in the transaction that decides, and whoever stores a wedding has the windows around it
//     looked at (store.StoreEffects). Nothing overrides that.
//   - Everything of one call commits together: the window, its connections' rest, health, audit lines and live events. Calls for one
//     organisation wait for each other, so no two windows hold one connection.
//   - Advance may be called at any time and any number of times; what is done already is not done again.
//   - A connection that rests is told by its row (Integration.WorkHold), which is over by its time even when nobody comes to end it.
//
// Errors have the kinds of package domain; conflict says in words what is in the way.
//
// # Testing
//
// go test ./internal/upkeep runs on PostgreSQL. Decisions are tried in rules/maintenance, timers in the workflow.
package upkeep
