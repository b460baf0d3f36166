package provider

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// LeadSender is implemented by systems that take an enquiry and tell nothing of what became of it.
type LeadSender interface {
	// SendLead hands an enquiry in, once. nil means that the system answered with success, which need not mean that it
	// made something of it. After KindUnavailable the enquiry may have arrived, so only somebody who has looked there may
	// send it again. After any other kind it did not.
	SendLead(ctx context.Context, l Lead) error
	// LeadsADay is how many the settings allow in 24 hours.
	LeadsADay() int
}

// Lead is an enquiry of a couple.
type Lead struct {
	FullName  string            // required
	Email     string            // required
	Phone     string            // may be empty, as all that follow
	EventType string            // such as Wedding
	EventDate calendartime.Date // zero = not known
	Location  string
	Guests    int // 0 = not known
	Budget    string
	Details   string
}

// Limits of a lead, in bytes.
const (
	MaxLeadText    = 200
	MaxLeadDetails = 2000
	MaxLeadGuests  = 10_000
)

// Validate checks what a lead must have, and limits. Errors are domain.Invalid with the field as the API names it.
func (l Lead) Validate() error {
	for _, f := range []struct {
		name, text string
		limit      int
		needed     bool
		lines      bool
	}{{"full_name", l.FullName, MaxLeadText, true, false}, {"email", l.Email, MaxLeadText, true, false}, {"phone_number", l.Phone, MaxLeadText, false, false},
		{"event_type", l.EventType, MaxLeadText, false, false}, {"event_location", l.Location, MaxLeadText, false, false},
		{"event_budget", l.Budget, MaxLeadText, false, false}, {"event_details", l.Details, MaxLeadDetails, false, true}} {
		switch {
		case f.needed && strings.TrimSpace(f.text) == "":
			return domain.Invalid(f.name, "is required")
		case len(f.text) > f.limit:
			return domain.Invalid(f.name, "at most %d bytes, has %d", f.limit, len(f.text))
		case !utf8.ValidString(f.text) || strings.ContainsFunc(f.text, func(r rune) bool { return unicode.IsControl(r) && !(f.lines && (r == '\n' || r == '\t')) }):
			return domain.Invalid(f.name, "must be printable text")
		}
	}
	user, host, ok := strings.Cut(l.Email, "@")
	if !ok || user == "" || !strings.Contains(host, ".") || strings.ContainsAny(l.Email, " <>,;") {
		return domain.Invalid("email", "must be an address such as ada@example.com")
	}
	if l.Guests < 0 || l.Guests > MaxLeadGuests {
		return domain.Invalid("event_guests", "must be 0 to %d, is %d", MaxLeadGuests, l.Guests)
	}
	return nil
}
