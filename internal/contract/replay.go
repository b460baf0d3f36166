package contract

import "github.com/wedsync/wedsync/internal/domain"

// ReplayInput starts a replay's workflow, and carries its state over to a new run. What is to be replayed, and how fast,
// stands in the replay's row: filters may name entries.
type ReplayInput struct {
	OrgID    domain.OrgID    `json:"org_id"`
	ReplayID domain.ReplayID `json:"replay_id"`
	Carried  *ReplayProgress `json:"carried,omitempty"`
}

// ReplayProgress answers QueryProgress of a replay, and is the workflow's result.
type ReplayProgress struct {
	State    domain.ReplayState `json:"state"`
	DryRun   bool               `json:"dry_run,omitempty"`
	Rate     int                `json:"rate"` // deliveries a second
	Total    int                `json:"total"`
	Seen     int                `json:"seen"`
	Replayed int                `json:"replayed"`
	Skipped  int                `json:"skipped"`
	Pages    int                `json:"pages"`
}

// CancelRequest is the input of UpdateCancel. By is a token subject.
type CancelRequest struct {
	By string `json:"by"`
}

// ReplayStateResult answers Pause, Resume and Cancel of a replay.
type ReplayStateResult struct {
	State domain.ReplayState `json:"state"`
}
