// Package privacy decides which of a booking's personal texts may be written into another system.
//
// Project is the one gate: whatever writes a copy of a booking into a calendar or CRM writes the Details it returns and
// no others. It is a pure function and keeps no state.
//
// Test it with go test ./internal/rules/privacy.
package privacy

import "github.com/wedsync/wedsync/internal/domain"

// BusyTitle is all that another system learns about a private booking.
const BusyTitle = "Busy"

// Project returns what another system may be told: of a private booking only that the time is taken, of any other its
// title and location. Notes and contact never leave. Times and status are not its concern.
func Project(b domain.Booking) domain.Details {
	if b.Private {
		return domain.Details{Title: BusyTitle}
	}
	return domain.Details{Title: b.Details.Title, Location: b.Details.Location}
}
