package domain

import "time"

// SubscriptionState says whether a subscription is served.
type SubscriptionState string

// The states of a subscription.
const (
	SubscriptionActive   SubscriptionState = "active"
	SubscriptionPaused   SubscriptionState = "paused"   // by a person; the position in the stream is kept
	SubscriptionDisabled SubscriptionState = "disabled" // by us: the receiver is gone or kept failing; a person resumes it
	SubscriptionDeleted  SubscriptionState = "deleted"  // final
)

// Limits of subscriptions.
const (
	MaxSubscriptions       = 50   // per organisation, deleted ones not counted
	MaxSubscriptionURL     = 2048 // bytes
	MaxSubscriptionSecrets = 4    // valid at the same time
)

// Subscription is a receiver of outgoing webhooks: who is told of which events, and how far that is.
type Subscription struct {
	ID          SubscriptionID    `json:"id"`
	OrgID       OrgID             `json:"-"`
	URL         string            `json:"url"`
	Description string            `json:"description"`
	Filter      EventFilter       `json:"filter"`
	State       SubscriptionState `json:"state"`
	// StateReason says in words why it is paused or disabled.
	StateReason string `json:"state_reason,omitempty"`
	// FailingSince is when the failures in a row began; nil when the last attempt got through.
	FailingSince  *time.Time `json:"failing_since,omitempty"`
	Failures      int        `json:"failures"`                  // attempts that failed in a row
	NextAttemptAt *time.Time `json:"next_attempt_at,omitempty"` // nothing is sent before this
	LastSuccessAt *time.Time `json:"last_success_at,omitempty"`
	// Cursor is the place in the stream up to which everything was sent or did not match.
	Cursor    string               `json:"cursor"`
	Secrets   []SubscriptionSecret `json:"secrets"` // without the secrets themselves
	CreatedBy string               `json:"created_by"`
	CreatedAt time.Time            `json:"created_at"`
	UpdatedAt time.Time            `json:"updated_at"`
	Version   int64                `json:"version"` // counts changes by people
}

// SubscriptionSecret names a signing secret without giving it away.
type SubscriptionSecret struct {
	ID        string     `json:"id"`
	CreatedAt time.Time  `json:"created_at"`
	NotAfter  *time.Time `json:"not_after,omitempty"` // no longer used for signing after this; nil = no end
}

// SubscriptionAttempt is one request to a subscriber.
type SubscriptionAttempt struct {
	ID        AttemptID `json:"id"`
	MessageID string    `json:"message_id"` // the webhook-id, the same for every attempt of one event
	Topic     Topic     `json:"topic"`
	Number    int       `json:"number"` // 1.. of this message
	At        time.Time `json:"at"`
	Status    int       `json:"status"`          // of the answer; 0 when there was none
	Error     string    `json:"error,omitempty"` // why it failed; "" when it got through
	Took      int64     `json:"took_ms"`
}
