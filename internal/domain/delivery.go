package domain

import "time"

// DeliveryState is where a received webhook stands.
type DeliveryState string

// The states of a delivery. Received and retrying ones still have work to do.
const (
	DeliveryReceived DeliveryState = "received" // on disk, acknowledged, not applied yet
	DeliveryRetrying DeliveryState = "retrying" // a try did not work; NextAttemptAt says when the next one is
	DeliveryApplied  DeliveryState = "applied"  // its changes took effect, or were found to be already there
	DeliveryIgnored  DeliveryState = "ignored"  // understood, and nothing in it is for us
	DeliveryDead     DeliveryState = "dead"     // cannot be applied without a person; Reason says why
)

// Delivery is one webhook as it arrived. Headers and body are kept sealed and are read only to apply or replay it.
type Delivery struct {
	ID            DeliveryID    `json:"id"`
	OrgID         OrgID         `json:"-"`
	IntegrationID IntegrationID `json:"integration_id"`
	DedupeKey     string        `json:"dedupe_key"` // hex of SHA-256 over the vendor's message id or the body
	State         DeliveryState `json:"state"`
	Priority      Priority      `json:"priority"`         // decides the order among those that wait
	Reason        string        `json:"reason,omitempty"` // outcome or error in words, without personal data
	Size          int           `json:"size"`             // bytes of the body as received
	Attempts      int           `json:"attempts"`
	NextAttemptAt *time.Time    `json:"next_attempt_at,omitempty"`
	ReceivedAt    time.Time     `json:"received_at"`
	AppliedAt     *time.Time    `json:"applied_at,omitempty"`
	// RoutedFrom is the delivery that a rule of another integration handed over; "" for what a vendor sent here.
	RoutedFrom DeliveryID `json:"routed_from,omitempty"`
	Duplicates int        `json:"-"`
	ErasedAt   *time.Time `json:"erased_at,omitempty"` // retention emptied the content; it cannot be replayed any more
	BodyHash   string     `json:"body_hash,omitempty"` // hex of SHA-256 over the raw body, from then on
	// EventType and Entity are known once it was decoded: the vendor's word for what happened, and the external id of
	// the first entry in it.
	EventType string `json:"event_type,omitempty"`
	Entity    string `json:"entity,omitempty"`
	// OriginID and ReplayID are set on a replay: the delivery that the vendor sent, and the request that made this one.
	// ReceivedAt is the origin's then, and ReplayedAt says when this one was made.
	OriginID   DeliveryID `json:"origin_id,omitempty"`
	ReplayID   ReplayID   `json:"replay_id,omitempty"`
	ReplayedAt *time.Time `json:"replayed_at,omitempty"`
	// TraceID is the trace of its story, from the request that brought it to what was written elsewhere; "" when it was not
	// traced. Copies of it share it. Trace is the span that later steps stand below.
	TraceID string `json:"trace_id,omitempty"`
	Trace   Trace  `json:"-"`
}

// RawDelivery is a delivery with its opened content.
type RawDelivery struct {
	Delivery
	ContentType string
	Headers     map[string]string // the few kept: content type, message id, event type; lower-case names
	Body        []byte
}

// Position is where a delivery stands in the order in which the vendor sent: its own id, or its origin's for a replay.
func (d Delivery) Position() DeliveryID {
	if d.OriginID != "" {
		return d.OriginID
	}
	return d.ID
}

// DeliveryAttempt is one try of a delivery.
type DeliveryAttempt struct {
	N          int           `json:"n"` // 1 for the first
	At         time.Time     `json:"at"`
	Outcome    DeliveryState `json:"outcome"`
	Reason     string        `json:"reason,omitempty"` // without personal data
	DurationMS int           `json:"duration_ms,omitempty"`
	Worker     string        `json:"worker,omitempty"` // the process that tried
}
