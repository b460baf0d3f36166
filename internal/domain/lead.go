package domain

import "time"

// LeadID names an enquiry that was handed in at an outside system.
type LeadID string

// LeadState says how far it came.
type LeadState string

// The states. None of them says that the system made something of the enquiry: it tells nobody.
const (
	LeadSending  LeadState = "sending"  // the request is under way, or the process ended during it
	LeadAnswered LeadState = "answered" // the system answered with success
	LeadRefused  LeadState = "refused"  // the system refused it; it did not arrive
	LeadUnknown  LeadState = "unknown"  // no answer came: it may have arrived, and is not sent again by itself
)

// LeadTimeout is after which time an enquiry that is still being sent counts as unknown.
const LeadTimeout = 2 * time.Minute

// SentLead is an enquiry that was handed in. What it said is not kept.
type SentLead struct {
	ID            LeadID        `json:"id"`
	OrgID         OrgID         `json:"-"`
	IntegrationID IntegrationID `json:"integration_id"`
	RequestHash   [32]byte      `json:"-"`
	State         LeadState     `json:"state"`
	Reason        string        `json:"reason,omitempty"` // why it was refused, or what is not known; no personal data
	RequestedBy   string        `json:"requested_by"`
	CreatedAt     time.Time     `json:"created_at"`
	SettledAt     *time.Time    `json:"settled_at,omitempty"`
}

// At is the enquiry as it stands at a time: one that was never settled is unknown after LeadTimeout.
func (l SentLead) At(now time.Time) SentLead {
	if l.State == LeadSending && now.Sub(l.CreatedAt) > LeadTimeout {
		l.State, l.Reason = LeadUnknown, "the process that sent it ended before an answer came"
	}
	return l
}
