package domain

import "time"

// HealthState is how a connection is observed to do. IntegrationState is what was wished for it; health never contradicts
// the wish: a paused connection is paused here too. Which moves are allowed stands in one table, in package
// internal/rules/health.
type HealthState string

// The states of health.
const (
	HealthUnknown        HealthState = "unknown"         // nothing fresh is known: never asked, or we could not ask
	HealthUp             HealthState = "up"              // it answers, and news come by the usual way
	HealthDegraded       HealthState = "degraded"        // it answers, but slowly, not always, or not to everything
	HealthFailingOver    HealthState = "failing_over"    // it stopped telling of news; reading it by polls has not worked yet
	HealthPolling        HealthState = "polling"         // it does not tell of news, and polls stand in
	HealthDown           HealthState = "down"            // it does not answer
	HealthNeedsReconnect HealthState = "needs_reconnect" // it does not accept our credentials
	HealthPaused         HealthState = "paused"          // by a person; nothing is asked
	HealthMaintenance    HealthState = "maintenance"     // in a window of maintenance; nothing is asked
)

// HealthStates lists all of them, the best first.
func HealthStates() []HealthState {
	return []HealthState{HealthUp, HealthPolling, HealthDegraded, HealthFailingOver, HealthUnknown, HealthMaintenance, HealthPaused,
		HealthNeedsReconnect, HealthDown}
}

// Valid reports whether s is one of the nine.
func (s HealthState) Valid() bool {
	switch s {
	case HealthUnknown, HealthUp, HealthDegraded, HealthFailingOver, HealthPolling, HealthDown, HealthNeedsReconnect, HealthPaused, HealthMaintenance:
		return true
	}
	return false
}

// Probed reports whether a connection of this state is asked at all.
func (s HealthState) Probed() bool {
	return s != HealthPaused && s != HealthMaintenance && s != HealthNeedsReconnect
}

// Works reports whether bookings flow both ways, if not by the best way.
func (s HealthState) Works() bool {
	return s == HealthUp || s == HealthDegraded || s == HealthPolling || s == HealthFailingOver
}

// HealthCode says in one word why a connection is in its state. It is for programs; HealthReason has words for people.
type HealthCode string

// The codes.
const (
	HealthNew            HealthCode = "new"             // it was just made
	HealthAnswers        HealthCode = "answers"         // the last probe was answered
	HealthNoAnswer       HealthCode = "no_answer"       // confirmed probes failed in a row
	HealthSomeFail       HealthCode = "some_fail"       // too many of the last probes failed
	HealthSlow           HealthCode = "slow"            // most of the last answers were slow
	HealthTrafficFails   HealthCode = "traffic_fails"   // reading or writing fails
	HealthTrafficWorks   HealthCode = "traffic_works"   // reading or writing worked; it has no probe
	HealthNotTold        HealthCode = "not_told"        // watch expired, or webhooks are silent against their rhythm
	HealthLate           HealthCode = "late"            // it is read later than it should be
	HealthTokenExpired   HealthCode = "token_expired"   // the access token ran out and was not renewed
	HealthRefused        HealthCode = "refused"         // credentials are not accepted
	HealthNothingFresh   HealthCode = "nothing_fresh"   // no result of three intervals
	HealthOurOutage      HealthCode = "our_outage"      // our own connection seems to be the fault
	HealthByPerson       HealthCode = "by_person"       // paused, or resumed
	HealthInMaintenance  HealthCode = "in_maintenance"  // a window began
	HealthMaintenanceEnd HealthCode = "maintenance_end" // a window ended
	HealthReconnected    HealthCode = "reconnected"     // credentials were given anew
)

// HealthReason is why a connection is in its state.
type HealthReason struct {
	Code HealthCode `json:"code" doc:"Why, in one word"`
	Text string     `json:"text" doc:"Why, in words; no personal data"`
}

// Health is where a connection stands.
type Health struct {
	IntegrationID IntegrationID `json:"integration_id"`
	OrgID         OrgID         `json:"-"`
	Provider      string        `json:"provider"`
	State         HealthState   `json:"state"`
	Reason        HealthReason  `json:"reason"`
	Since         time.Time     `json:"since" doc:"When the state began"`
	// LastProbe is the newest result that counts or not; nil before the first one.
	LastProbe *ProbeResult `json:"last_probe,omitempty"`
	// ProbeEvery is the usual interval of this connection, 0 = that of the installation. BoostEvery replaces it until
	// BoostUntil if it is shorter.
	ProbeEvery       time.Duration  `json:"-"`
	BoostEvery       time.Duration  `json:"-"`
	BoostUntil       *time.Time     `json:"boost_until,omitempty" doc:"Until when it is asked more often"`
	MaintenanceUntil *time.Time     `json:"maintenance_until,omitempty" doc:"Until when it is not asked"`
	Signals          []HealthSignal `json:"signals,omitempty" doc:"What is known beside probes"`
}

// LeastProbeEvery bounds how often one connection is asked.
const LeastProbeEvery = 5 * time.Second

// Every is the interval between two probes at a time, for an installation whose usual interval is usual.
func (h Health) Every(now time.Time, usual time.Duration) time.Duration {
	every := usual
	if h.ProbeEvery > 0 {
		every = h.ProbeEvery
	}
	if h.BoostEvery > 0 && h.BoostUntil != nil && now.Before(*h.BoostUntil) {
		every = min(every, h.BoostEvery)
	}
	return max(every, LeastProbeEvery)
}

// HealthSignal is one thing that is known of a connection beside probes.
type HealthSignal struct {
	Kind HealthSignalKind `json:"kind"`
	OK   bool             `json:"ok"`
	Text string           `json:"text" doc:"In words; no personal data"`
}

// HealthSignalKind names such a thing.
type HealthSignalKind string

// The kinds.
const (
	SignalTraffic  HealthSignalKind = "traffic"  // outcomes of reading and writing
	SignalWebhooks HealthSignalKind = "webhooks" // silence against the usual rhythm
	SignalToken    HealthSignalKind = "token"    // expiry of the access token
	SignalWatch    HealthSignalKind = "watch"    // expiry of the address that the system posts to
	SignalSync     HealthSignalKind = "sync"     // how old the last reading is
)

// HealthChange is one move of a connection's health, as the log keeps it.
type HealthChange struct {
	Seq           int64         `json:"seq"` // grows with the moves of an organisation; a reader goes on behind the last one it saw
	OrgID         OrgID         `json:"-"`
	IntegrationID IntegrationID `json:"integration_id"`
	Provider      string        `json:"provider"`
	From          HealthState   `json:"from"`
	To            HealthState   `json:"to"`
	Reason        HealthReason  `json:"reason"`
	At            time.Time     `json:"at"`
	// Lasted is how long the state before it was.
	Lasted time.Duration `json:"-"`
}

// ProbeOutcome is what one probe says. Its number is stored.
type ProbeOutcome int16

// The outcomes. Only the first two count for availability.
const (
	ProbeOK      ProbeOutcome = 1 // answered and accepted; a refusal that a second try did not meet again counts so too
	ProbeFailed  ProbeOutcome = 2 // not answered, twice
	ProbeRefused ProbeOutcome = 3 // our credentials were not accepted, twice: they answer, so it is no failure of theirs
	ProbeLimited ProbeOutcome = 4 // they answered that we ask too often
	ProbeLate    ProbeOutcome = 5 // we asked more than MaxProbeLag too late, so a failure says nothing about them
	ProbeBlind   ProbeOutcome = 6 // it failed while our own connection was in doubt
)

// String returns the word shown to people and used as a label of metrics.
func (o ProbeOutcome) String() string {
	switch o {
	case ProbeOK:
		return "ok"
	case ProbeFailed:
		return "failed"
	case ProbeRefused:
		return "refused"
	case ProbeLimited:
		return "limited"
	case ProbeLate:
		return "late"
	case ProbeBlind:
		return "blind"
	}
	return "unknown"
}

// MarshalText writes the word.
func (o ProbeOutcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads it.
func (o *ProbeOutcome) UnmarshalText(text []byte) error {
	for n := ProbeOK; n <= ProbeBlind; n++ {
		if n.String() == string(text) {
			*o = n
			return nil
		}
	}
	return Invalid("outcome", "must be ok, failed, refused, limited, late or blind")
}

// Counts reports whether the outcome says anything about the availability of the system: true for ok and failed.
func (o ProbeOutcome) Counts() bool { return o == ProbeOK || o == ProbeFailed }

// MaxProbeLag is how late a probe may begin. What fails after that is our own fault as likely as theirs.
const MaxProbeLag = 5 * time.Second

// ProbeResult is one probe of one connection.
type ProbeResult struct {
	At      time.Time     `json:"at"` // when it was due
	Outcome ProbeOutcome  `json:"outcome"`
	Took    time.Duration `json:"-"` // of the try that decided; whole milliseconds are stored
	Lag     time.Duration `json:"-"` // how late it began
	Tries   int           `json:"tries"`
	// Cause is the kind of the error, "" for ok.
	Cause ErrorKind `json:"cause,omitempty"`
	// Text is the error in words; kept of the newest result only.
	Text string `json:"text,omitempty"`
}

// ProbeBounds are the upper bounds of the histogram of response times. Counts are stored by them, so they never change. The
// default objective, 500 ms, is one of them, so its share is exact.
var ProbeBounds = []time.Duration{5 * time.Millisecond, 10 * time.Millisecond, 15 * time.Millisecond, 25 * time.Millisecond, 40 * time.Millisecond,
	60 * time.Millisecond, 85 * time.Millisecond, 120 * time.Millisecond, 170 * time.Millisecond, 240 * time.Millisecond, 340 * time.Millisecond,
	500 * time.Millisecond, 700 * time.Millisecond, time.Second, 1400 * time.Millisecond, 2 * time.Second, 2800 * time.Millisecond, 4 * time.Second,
	5600 * time.Millisecond, 8 * time.Second, 11 * time.Second, 16 * time.Second, 22 * time.Second}

// ProbeLagBounds are those of the histogram of the prober's own lag.
var ProbeLagBounds = []time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 15 * time.Second}

// Histogram counts durations by bounds: up to each bound and above its predecessor, and at the end those above all. The nil
// histogram has none.
type Histogram []int64

// Add counts one duration and returns the histogram, which it makes when there is none.
func (h Histogram) Add(bounds []time.Duration, d time.Duration) Histogram {
	if h == nil {
		h = make(Histogram, len(bounds)+1)
	}
	for n, b := range bounds {
		if d <= b {
			h[n]++
			return h
		}
	}
	h[len(bounds)]++
	return h
}

// Merge adds the counts of another histogram over the same bounds.
func (h Histogram) Merge(o Histogram) Histogram {
	if h == nil && o != nil {
		h = make(Histogram, len(o))
	}
	for n := range min(len(h), len(o)) {
		h[n] += o[n]
	}
	return h
}

// Count is how many durations there are.
func (h Histogram) Count() (n int64) {
	for _, c := range h {
		n += c
	}
	return n
}

// Quantile is the duration that the share q (0 to 1) of all does not exceed, interpolated inside its bucket; what lies above
// all bounds is told as the last one. 0 when there are none.
func (h Histogram) Quantile(bounds []time.Duration, q float64) time.Duration {
	total := h.Count()
	if total == 0 {
		return 0
	}
	rank := q * float64(total)
	var below float64
	var lower time.Duration
	for n, c := range h {
		if n >= len(bounds) {
			break
		}
		in := float64(c)
		if in > 0 && below+in >= rank {
			return lower + time.Duration((rank-below)/in*float64(bounds[n]-lower))
		}
		below += in
		lower = bounds[n]
	}
	return lower
}

// HealthRollup is one hour of one connection. Rows of several hours, connections of a platform or of an organisation are
// added with [HealthRollup.Merge]. Availability is OK / (OK + Failed): what was unknown is in neither number.
type HealthRollup struct {
	IntegrationID IntegrationID `json:"integration_id,omitempty"`
	Provider      string        `json:"provider"`
	Hour          time.Time     `json:"hour"` // its beginning, UTC
	OK            int64         `json:"ok"`
	Failed        int64         `json:"failed"`
	Unknown       int64         `json:"unknown"` // every other outcome
	Took          Histogram     `json:"-"`       // of ok probes, by ProbeBounds
	TookSum       time.Duration `json:"-"`
	TookMax       time.Duration `json:"-"`
	// TrafficOK and TrafficFailed are syncs that ended and writes that were answered.
	TrafficOK     int64 `json:"traffic_ok"`
	TrafficFailed int64 `json:"traffic_failed"`
	// Seconds are spent in each state; a state that did not occur is missing.
	Seconds map[HealthState]int64 `json:"seconds"`
}

// Merge adds another rollup; hour and names stay.
func (r HealthRollup) Merge(o HealthRollup) HealthRollup {
	r.OK, r.Failed, r.Unknown = r.OK+o.OK, r.Failed+o.Failed, r.Unknown+o.Unknown
	r.Took = append(Histogram(nil), r.Took...).Merge(o.Took)
	r.TookSum, r.TookMax = r.TookSum+o.TookSum, max(r.TookMax, o.TookMax)
	r.TrafficOK, r.TrafficFailed = r.TrafficOK+o.TrafficOK, r.TrafficFailed+o.TrafficFailed
	seconds := make(map[HealthState]int64, len(r.Seconds)+len(o.Seconds))
	for _, from := range []map[HealthState]int64{r.Seconds, o.Seconds} {
		for s, n := range from {
			seconds[s] += n
		}
	}
	r.Seconds = seconds
	return r
}

// Availability is the share of counting probes that were answered; ok is false when none counted, which is not the same as
// all or none.
func (r HealthRollup) Availability() (share float64, ok bool) {
	if n := r.OK + r.Failed; n > 0 {
		return float64(r.OK) / float64(n), true
	}
	return 0, false
}

// ProbeShards is into how many parts the connections are divided for probing. Which one a connection is in follows from its
// id and is stored with it, so the number never changes.
const ProbeShards = 16

// ProbeShard is the part that a connection is in, 0 to ProbeShards-1.
func ProbeShard(id IntegrationID) int {
	b, ok := ParseUUID(string(id))
	if !ok {
		return 0
	}
	return int(b[15] % ProbeShards)
}
