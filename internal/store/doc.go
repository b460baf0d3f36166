// Package store keeps everything WedSync knows in PostgreSQL: organisations, resources, integrations, deliveries,
// bookings, conflicts, pushes, sync runs, the outbox, the live stream and the audit trail. There is one file per noun.
//
//	applied, err := store.Migrate(ctx, ownerURL)
//	s, err := store.Open(ctx, url, ring, store.Options{})
//	defer s.Close()
//	err = s.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
//		b, err := tx.Booking(ctx, id)
//		...
//		return tx.Emit(ctx, domain.TopicBookingChanged, map[string]string{"booking": string(b.ID)})
//	})
//
// # Tenancy
//
// Two pools log in as one user and take a role each. [Store.Tenant] and [Store.TenantRead] use wedsync_app, which sees
// only rows of the organisation set for that one transaction; without a setting it sees nothing. Methods of [Store]
// that take no organisation use wedsync_system, which sees all of them with the few grants that intake, dispatch and
// the live stream need. Row-level security is forced on every table, for the tables' owner too.
//
// # Promises
//
//   - A nil error from Tenant or InsertDeliveries means committed and flushed (synchronous_commit is set to on).
//   - One transaction has one Now, in UTC and whole microseconds, which is what PostgreSQL keeps.
//   - The function given to Tenant may run several times: it is repeated after a serialisation failure or a deadlock,
//     at most 5 times in all, and must do nothing that a rollback does not undo.
//   - Live events and audit lines of a transaction are written at its end, in the order in which they were given,
//     followed by one notification. They become visible with everything else, or not at all.
//   - A reader of the stream meets every event exactly once, in an order that never changes, whatever the order of
//     commits. An event is held back while an older transaction is still running anywhere in the cluster.
//   - Names, secrets, details of bookings and contents of deliveries are sealed before they leave the process, bound to
//     their table, column, row and organisation.
//
// # Failure
//
// Every error has a domain kind, given in one place (errors.go): not_found for a missing row, unavailable for a database
// that is down, full, slow or shutting down, conflict and invalid for a broken constraint, whose name the text holds.
// Texts never hold values of rows or parameters. After unavailable from Tenant the commit may have happened: repeat the
// work in a form that is safe to repeat.
//
// # Testing
//
// Tests need the PostgreSQL server programs and use a private cluster with a fresh copy of a migrated database each:
// go test ./internal/store. Packages above take a store of their own from storetest. Benchmarks run with fsync on: go test ./internal/store -run none -bench .
package store
