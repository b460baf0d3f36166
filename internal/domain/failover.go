package domain

import "time"

// FailoverMode says how news of a connection come.
type FailoverMode string

// The modes.
const (
	FailoverUsual     FailoverMode = "usual"        // by what its system posts, and by its usual polls
	FailoverBegun     FailoverMode = "failing_over" // what it posts is not relied on; the first quick poll has not worked yet
	FailoverPolling   FailoverMode = "polling"      // quick polls stand in; what is posted is applied all the same
	FailoverReturning FailoverMode = "returning"    // what it posts is relied on again once a closing poll has worked
)

// Valid reports whether m is one of the four.
func (m FailoverMode) Valid() bool {
	return m == FailoverUsual || m == FailoverBegun || m == FailoverPolling || m == FailoverReturning
}

// FailoverCause says in one word why a connection fails over or returns.
type FailoverCause string

// The causes.
const (
	OverSilent      FailoverCause = "silent"      // webhooks are silent against their rhythm
	OverWatch       FailoverCause = "watch"       // the address to which the system posts is lost, ran out or is not taken
	OverUnannounced FailoverCause = "unannounced" // a poll found a change of which nobody had told
	OverByPerson    FailoverCause = "by_person"
	OverWeddingDay  FailoverCause = "wedding_day" // on a wedding day it does not wait
	OverDrill       FailoverCause = "drill"
	BackHeardAgain  FailoverCause = "heard_again"  // what is posted arrives again
	BackRepaired    FailoverCause = "repaired"     // the subscription was made anew, and nothing was missed since
	BackRefused     FailoverCause = "not_returned" // the closing poll did not work
	OverOutage      FailoverCause = "outage"       // of an episode: the system was down
	OverReconnected FailoverCause = "reconnected"  // of an episode: it did not accept our credentials
)

// Failover is how news of one connection come, and what is known about it.
type Failover struct {
	IntegrationID IntegrationID `json:"integration_id"`
	Provider      string        `json:"provider"`
	Mode          FailoverMode  `json:"mode" enum:"usual,failing_over,polling,returning"`
	Cause         FailoverCause `json:"cause,omitempty" doc:"Why, in one word"`
	Reason        string        `json:"reason,omitempty" doc:"Why, in words; no personal data"`
	By            string        `json:"by,omitempty" doc:"Who moved it: a token's subject, or a part of WedSync"`
	Since         time.Time     `json:"since" doc:"When the mode began"`
	DueAt         *time.Time    `json:"due_at,omitempty" doc:"When it is judged anew"`
	Held          bool          `json:"held,omitempty" doc:"A person wants polls until a person says otherwise"`
	PollEvery     time.Duration `json:"-"`
	PullWantedAt  *time.Time    `json:"-"`
	Suspect       FailoverCause `json:"suspect,omitempty" doc:"What speaks against the webhooks and was not judged yet"`
	SuspectText   string        `json:"suspect_text,omitempty"`
	SuspectedAt   *time.Time    `json:"-"`
	FoundAt       *time.Time    `json:"found_at,omitempty" doc:"When a poll last found a change of which nobody had told"`
	Found         int64         `json:"found,omitempty" doc:"How many of these there were since the mode began"`
	NoticesBefore int64         `json:"-"`
	RepairAt      *time.Time    `json:"repair_at,omitempty" doc:"When the subscription is made anew next"`
	Repairs       int           `json:"repairs,omitempty" doc:"How often it was, since the mode began"`
	Flaps         int           `json:"flaps,omitempty" doc:"How often it failed over within hours; each time it stays with polls longer"`
	FlappedAt     *time.Time    `json:"-"`
	MutedUntil    *time.Time    `json:"muted_until,omitempty" doc:"A drill lets what is posted lie until then"`
	MutedNotices  int64         `json:"-"`
	Episode       EpisodeID     `json:"-"`
}

// Muted reports whether a drill lets what the system posts lie at a time.
func (f Failover) Muted(at time.Time) bool { return f.MutedUntil != nil && at.Before(*f.MutedUntil) }

// EpisodeID names an episode.
type EpisodeID string

// FailoverEpisode is a time for which polls stood in, or an outage whose changes were caught up afterwards.
type FailoverEpisode struct {
	ID            EpisodeID     `json:"id"`
	IntegrationID IntegrationID `json:"integration_id"`
	Provider      string        `json:"provider"`
	Kind          string        `json:"kind" enum:"failover,outage"`
	Cause         FailoverCause `json:"cause"`
	Reason        string        `json:"reason"`
	By            string        `json:"by"`
	GoodUntil     *time.Time    `json:"good_until,omitempty" doc:"The last good point: when everything had last been read or told"`
	BeganAt       time.Time     `json:"began_at"`
	PollingAt     *time.Time    `json:"polling_at,omitempty" doc:"When the first poll had worked"`
	EndedAt       *time.Time    `json:"ended_at,omitempty"`
	Polls         int           `json:"polls"`
	CaughtUp      int64         `json:"caught_up" doc:"Changes that polls brought; each was applied once"`
}

// The kinds of episodes.
const (
	EpisodeFailover = "failover"
	EpisodeOutage   = "outage"
)

// DrillID names a drill.
type DrillID string

// DrillState is how far a drill is.
type DrillState string

// The states.
const (
	DrillWatching  DrillState = "watching"  // what is posted lies, and it is waited that somebody notices
	DrillPolling   DrillState = "polling"   // it was noticed; polls stand in
	DrillReturning DrillState = "returning" // what was posted counts again
	DrillDone      DrillState = "done"
	DrillFailed    DrillState = "failed" // something was lost or doubled, or it did not fail over or return
	DrillCancelled DrillState = "cancelled"
)

// Ended reports whether a drill is over.
func (s DrillState) Ended() bool { return s == DrillDone || s == DrillFailed || s == DrillCancelled }

// Drill is an exercise: what one system posts is left lying on purpose, and everything that ought to happen then is watched.
type Drill struct {
	ID            DrillID       `json:"id"`
	IntegrationID IntegrationID `json:"integration_id"`
	State         DrillState    `json:"state" enum:"watching,polling,returning,done,failed,cancelled"`
	RequestedBy   string        `json:"requested_by"`
	BeganAt       time.Time     `json:"began_at"`
	WatchUntil    time.Time     `json:"watch_until" doc:"Until when it is waited that the silence is noticed"`
	MutedUntil    time.Time     `json:"muted_until" doc:"After which what was posted counts again, whatever happens"`
	AskedAt       *time.Time    `json:"-"`
	NoticedAt     *time.Time    `json:"noticed_at,omitempty" doc:"When it failed over"`
	NoticedItself bool          `json:"noticed_itself" doc:"It failed over by itself; else nothing gave it away and the drill did it"`
	PollingAt     *time.Time    `json:"polling_at,omitempty"`
	UnmutedAt     *time.Time    `json:"unmuted_at,omitempty"`
	EndedAt       *time.Time    `json:"ended_at,omitempty"`
	Posted        int64         `json:"posted" doc:"Webhooks and messages that lay meanwhile"`
	Changes       int64         `json:"changes" doc:"Changes that polls brought meanwhile"`
	Lost          int64         `json:"lost" doc:"Entries of which only what lay told, so that polls had missed them; they are applied now"`
	Duplicated    int64         `json:"duplicated" doc:"Changes that took effect a second time"`
	MaxLag        time.Duration `json:"-"`
	Verdict       string        `json:"verdict,omitempty" doc:"In words"`
}

// DrillSchedule is how often an organisation wants its connections exercised, one after the other.
type DrillSchedule struct {
	EveryDays int       `json:"every_days" minimum:"1" maximum:"365"`
	NextAt    time.Time `json:"next_at" doc:"When the next connection has its turn, unless a wedding is near"`
	UpdatedBy string    `json:"updated_by"`
	UpdatedAt time.Time `json:"updated_at"`
}
