package contract

import (
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// UpdateFailover sends a connection over to quick polls, or back to what its system posts (FailoverRequest).
const UpdateFailover = "Failover"

// Where a connection may be sent.
const (
	FailoverToPolling  = "polling"
	FailoverToWebhooks = "webhooks"
)

// FailoverRequest is the input of UpdateFailover. The reason typed by a person is kept in the audit trail, not here.
type FailoverRequest struct {
	To    string               `json:"to"` // FailoverToPolling or FailoverToWebhooks
	Cause domain.FailoverCause `json:"cause"`
	Hold  bool                 `json:"hold,omitempty"` // stay with polls until somebody says otherwise
	By    string               `json:"by"`
}

// FailoverResult answers UpdateFailover: how news come now. The first poll, or the closing one, begins at once and is not waited for.
type FailoverResult struct {
	Mode  domain.FailoverMode `json:"mode"`
	Moved bool                `json:"moved"` // false: it was so already
}

// FailoverConfig is the part of a connection's failover that its workflow acts on.
type FailoverConfig struct {
	Mode       domain.FailoverMode `json:"mode"`
	Due        time.Time           `json:"due,omitzero"`         // when it is to be judged; zero = when something happens
	MutedUntil time.Time           `json:"muted_until,omitzero"` // a drill lets deliveries lie until then
}
