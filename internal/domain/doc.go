// Package domain holds the nouns of WedSync: organisations, the resources they rent out (a photographer, a
// band, a room), the integrations that connect outside systems, the deliveries those systems send, the changes
// found in them, the bookings they describe, and the conflicts between bookings.
//
// It imports only the standard library and knows nothing of tables, HTTP or Temporal, so every other package can
// share its vocabulary. Instants are UTC, intervals are half-open [Start, End), money does not occur.
//
// Personal data (names, titles, places, notes) lives only in Details and in Resource.Name; nothing else in this
// package may hold it, because everything else is allowed to appear in logs, workflow histories and the live stream.
//
// Test it with go test ./internal/domain.
package domain
