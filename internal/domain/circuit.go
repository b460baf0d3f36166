package domain

import "time"

// CircuitState is where the calls of an integration to one host stand.
type CircuitState string

// The states of a circuit.
const (
	CircuitClosed CircuitState = "closed" // calls go
	CircuitOpen   CircuitState = "open"   // the system did not answer: one call tries again when it is due
	CircuitPaused CircuitState = "paused" // the system asked to be left alone until then
)

// Circuit is what is known of the calls of one integration to one host, while they are held back.
type Circuit struct {
	OrgID         OrgID         `json:"-"`
	IntegrationID IntegrationID `json:"-"`
	Host          string        `json:"host"` // with port where it is not the scheme's own
	State         CircuitState  `json:"state"`
	Until         time.Time     `json:"until"`                       // no call before
	Openings      int           `json:"openings,omitempty"`          // in a row
	Reason        string        `json:"reason"`                      // the last failure, without personal data
	RequestID     string        `json:"vendor_request_id,omitempty"` // of the last failure, for the system's support
	Since         time.Time     `json:"since"`
	UpdatedAt     time.Time     `json:"-"`
	Version       int64         `json:"-"` // grows with each change
}

// Holds reports whether calls are held back at a time.
func (c Circuit) Holds(now time.Time) bool {
	return c.State == CircuitOpen || c.State == CircuitPaused && now.Before(c.Until)
}
