// Package privacy decides which of a booking's personal texts may be written into another system.
//
// Copy is the one gate: whatever writes a copy of a booking into a calendar or CRM writes the Details it returns and
// no others. It is what Project allows, titled as the connection wishes. Both are pure functions and keep no state.
//
// Test it with go test ./internal/rules/privacy.
package privacy

import (
	"strings"
	"unicode/utf8"

	"github.com/wedsync/wedsync/internal/domain"
)

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

// Copy is Project with the title that the connection's policy gives to copies. A private booking stays Busy, whatever the
// policy says, because even its category is nobody's concern. Titles are cut at domain.MaxTitle bytes.
func Copy(b domain.Booking, policy domain.SyncPolicy) domain.Details {
	d := Project(b)
	if b.Private || policy.MirrorTitle == "" {
		return d
	}
	d.Title = strings.NewReplacer("{title}", d.Title, "{category}", string(b.Category)).Replace(policy.MirrorTitle)
	if d.Title = strings.TrimSpace(d.Title); len(d.Title) > domain.MaxTitle {
		cut := domain.MaxTitle
		for !utf8.RuneStart(d.Title[cut]) {
			cut--
		}
		d.Title = d.Title[:cut]
	}
	return d
}
