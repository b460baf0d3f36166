// Package ratelimit bounds how often something may happen: per key in one process, and per key over all processes.
//
// A [Limiter] holds one token bucket per key, for many keys in bounded memory. Buckets are kept as the time at which
// they would be full again, one number each, so a decision is exact, allocates nothing and needs no background work:
//
//	l := ratelimit.New[ratelimit.Key](ratelimit.Options{Rate: 100, Burst: 200})
//	if d := l.Allow(key, 1, time.Now()); !d.OK { /* refuse; d.RetryAfter says when to come back */ }
//
// What a Limiter promises, whatever other keys do: no key gets more than Burst + Rate × t in any time t. A bucket is
// forgotten only when it is full, which loses nothing. When room is needed and no bucket in reach is full, new keys share
// one bucket per shard, so that a flood of invented keys slows the flood and resets nobody.
//
// A [Shared] bounds a key over all processes that take leases of tokens from one place, see there. A [Gauge] bounds how
// much of a key is under way at once.
//
// Nothing here reads a clock: the time is an argument. A time that goes back is taken as no time passing. Everything may
// be used by many goroutines. To test: go test ./internal/ratelimit
package ratelimit
