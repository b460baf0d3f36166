package contract

import (
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// ProbeWorkflow keeps one part of all connections under probes. It answers QueryStatus with ProbeStatus.
const ProbeWorkflow = "Probe"

// QueueProbe runs the long activities that ask outside systems whether they are well. It has workers of its own, because such an
// activity holds its place for an hour.
const QueueProbe = "wedsync-probe"

// ProbeWorkflowID is the id of the workflow of a shard, 0 to domain.ProbeShards-1.
func ProbeWorkflowID(shard int) string { return "probe/" + strconv.Itoa(shard) }

// SignalHealth tells the workflow of a shard that the health of some of its connections moved (HealthSignal). Results of
// probes never reach a history, moves do. Storage is the record; what is told here is for people who look at the workflow.
const SignalHealth = "health"

// MaxHealthMoves bounds the moves that one HealthSignal names.
const MaxHealthMoves = 50

// HealthSignal tells of moves. More counts those that were not named.
type HealthSignal struct {
	Moves []HealthMoved `json:"moves"`
	More  int           `json:"more,omitempty"`
}

// HealthMoved is one move of a connection's health.
type HealthMoved struct {
	OrgID         domain.OrgID         `json:"org_id"`
	IntegrationID domain.IntegrationID `json:"integration_id"`
	From          domain.HealthState   `json:"from"`
	To            domain.HealthState   `json:"to"`
	Reason        domain.HealthCode    `json:"reason"`
	At            time.Time            `json:"at"`
}

// ProbeInput starts the workflow of a shard, and carries its state over to a new run.
type ProbeInput struct {
	Shard   int           `json:"shard"`
	Carried *ProbeCarried `json:"carried,omitempty"`
}

// ProbeCarried is what a run hands to the next one at continue-as-new.
type ProbeCarried struct {
	Runs     int           `json:"runs"` // runs so far
	Failures int           `json:"failures,omitempty"`
	RetryAt  time.Time     `json:"retry_at,omitzero"`
	Beat     *ProbeBeat    `json:"beat,omitempty"` // where the last activity stopped
	Moves    int64         `json:"moves"`
	Recent   []HealthMoved `json:"recent,omitempty"` // the newest moves
}

// ProbeBeat is how far the probing of a shard is. It travels with every heartbeat, so that whoever takes over after a crash goes
// on where the other one stopped.
type ProbeBeat struct {
	At      time.Time `json:"at"`
	Targets int       `json:"targets"` // connections of the shard
	Probes  int64     `json:"probes"`  // results so far, of all activities of the workflow
	Failed  int64     `json:"failed"`
	Moves   int64     `json:"moves"` // of health
	LagMS   int64     `json:"lag_ms"`
	Busy    int       `json:"busy"` // probes on their way
	Limit   int       `json:"limit"`
	// Suspects are connections whose newest probes failed, with how many did in a row; MaxSuspects at most.
	Suspects map[domain.IntegrationID]int `json:"suspects,omitempty"`
}

// MaxSuspects bounds ProbeBeat.Suspects.
const MaxSuspects = 400

// ProbeStatus answers QueryStatus of a shard's workflow.
type ProbeStatus struct {
	Shard    int           `json:"shard"`
	Running  bool          `json:"running"` // an activity probes
	Moves    int64         `json:"moves"`
	Recent   []HealthMoved `json:"recent,omitempty"`
	Beat     *ProbeBeat    `json:"beat,omitempty"` // of the activity before
	Failures int           `json:"failures"`
	Runs     int           `json:"runs"`
}
