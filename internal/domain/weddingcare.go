package domain

import "time"

// PreflightID names one check of everything that a wedding rests on.
type PreflightID string

// CareState is where the care for one wedding stands.
type CareState string

// The states, in the order in which a wedding goes through them.
const (
	CareWaiting    CareState = "waiting"     // further away than the first preflight
	CarePreflight  CareState = "preflight"   // within a week
	CareFrozen     CareState = "frozen"      // within 48 hours: nothing risky happens by itself
	CareDay        CareState = "day"         // it is the day
	CareHandedOver CareState = "handed_over" // over, with a report of the day
	CareEnded      CareState = "ended"       // cancelled, merged, or no wedding any more
)

// CareStates lists every state.
func CareStates() []CareState {
	return []CareState{CareWaiting, CarePreflight, CareFrozen, CareDay, CareHandedOver, CareEnded}
}

// Over reports whether nothing is done for the wedding any more.
func (s CareState) Over() bool { return s == CareHandedOver || s == CareEnded }

// WeddingCare is what is done for one wedding and when. Times follow from the booking, by the clock of the place where it is.
type WeddingCare struct {
	BookingID  BookingID  `json:"booking_id"` // the wedding
	OrgID      OrgID      `json:"-"`
	ResourceID ResourceID `json:"resource_id"`
	State      CareState  `json:"state"`
	StartsAt   time.Time  `json:"starts_at"`
	EndsAt     time.Time  `json:"ends_at"`
	Zone       string     `json:"zone"` // IANA zone of the venue
	Date       string     `json:"date"` // local date of the first day, YYYY-MM-DD

	PreflightWeek   time.Time `json:"preflight_week"`   // when the first preflight is due
	PreflightFreeze time.Time `json:"preflight_freeze"` // when the second one is due
	FreezeFrom      time.Time `json:"freeze_from"`
	DayFrom         time.Time `json:"day_from"`
	DayUntil        time.Time `json:"day_until"` // and the freeze ends

	// NextAt is when time alone brings something to do; zero when nothing is left.
	NextAt time.Time `json:"next_at,omitzero"`
	// Preflight is the outcome of the newest preflight, PreflightAt when it was made; "" and nil before the first.
	Preflight   CheckState  `json:"preflight,omitempty"`
	PreflightAt *time.Time  `json:"preflight_at,omitempty"`
	PreflightID PreflightID `json:"preflight_id,omitempty"`
	// WantedAt is since when somebody waits for a preflight; nil = nobody does.
	WantedAt *time.Time `json:"wanted_at,omitempty"`
	WantedBy string     `json:"wanted_by,omitempty"`
	// Told are the findings that people were told of last, in the words of rules/weddingcare; empty when nothing is wrong that they
	// know of.
	Told []string `json:"-"`
	// HealthSeq is up to which move of health the log of the day goes.
	HealthSeq int64     `json:"-"`
	UpdatedAt time.Time `json:"updated_at"`
	Version   int64     `json:"version"`
}

// CheckState is the outcome of one check, and of a preflight.
type CheckState string

// The outcomes, the worst first.
const (
	CheckBlocking  CheckState = "blocking"       // the wedding is in danger: somebody must do something before it
	CheckAttention CheckState = "attention"      // somebody should look
	CheckOK        CheckState = "ok"             //
	CheckNone      CheckState = "not_applicable" // there is nothing to check
)

// Level is 3 for blocking, 2 for attention, 1 for ok and 0 for not applicable.
func (s CheckState) Level() int {
	switch s {
	case CheckBlocking:
		return 3
	case CheckAttention:
		return 2
	case CheckOK:
		return 1
	case CheckNone:
	}
	return 0
}

// CheckKind names what is checked.
type CheckKind string

// The checks of each connection.
const (
	CheckConnected   CheckKind = "connected"   // it runs: neither paused nor in need of a reconnect
	CheckAnswers     CheckKind = "answers"     // it was asked now, and answered
	CheckCredentials CheckKind = "credentials" // what we show it is valid through the day
	CheckWebhooks    CheckKind = "webhooks"    // what it shows us is accepted through the day
	CheckWatch       CheckKind = "watch"       // it goes on telling of news through the day
	CheckFresh       CheckKind = "fresh"       // it was read lately
	CheckDeliveries  CheckKind = "deliveries"  // nothing that it told of this wedding waits or was given up
	CheckCopy        CheckKind = "copy"        // it shows the wedding as it is
)

// The checks of the wedding as a whole.
const (
	CheckConfirmed  CheckKind = "confirmed"  // the booking is firm
	CheckConflicts  CheckKind = "conflicts"  // nobody has to decide anything about its time
	CheckHeld       CheckKind = "held"       // no removal and no edit of it waits for a decision
	CheckTimeline   CheckKind = "timeline"   // there is an order of the day, and it can be kept
	CheckVendors    CheckKind = "vendors"    // vendors confirmed their parts as they are
	CheckConnection CheckKind = "connection" // there is any connection at all
)

// Check is one line of a preflight. It holds ids and plain words, no personal data.
type Check struct {
	Kind  CheckKind  `json:"kind"`
	State CheckState `json:"state"`
	// IntegrationID is the connection that was checked; "" for a check of the wedding as a whole. Name is its label.
	IntegrationID IntegrationID `json:"integration_id,omitempty"`
	Name          string        `json:"name,omitempty"`
	Reason        string        `json:"reason"`       // what was found, in words
	Do            string        `json:"do,omitempty"` // what a person does about it; "" when nothing is to be done
}

// PreflightKind says why a preflight was made.
type PreflightKind string

// The kinds.
const (
	PreflightWeek   PreflightKind = "week"   // seven days before
	PreflightFreeze PreflightKind = "freeze" // 48 hours before
	PreflightAgain  PreflightKind = "again"  // the one before found something
	PreflightAsked  PreflightKind = "asked"  // a person asked for it
)

// Preflight is one check of everything that a wedding rests on.
type Preflight struct {
	ID        PreflightID   `json:"id"`
	OrgID     OrgID         `json:"-"`
	BookingID BookingID     `json:"booking_id"`
	Kind      PreflightKind `json:"kind"`
	State     CheckState    `json:"state"` // of the worst check
	Checks    []Check       `json:"checks"`
	Start     time.Time     `json:"starts_at"` // of the wedding, when it was made
	MadeAt    time.Time     `json:"made_at"`
	By        string        `json:"requested_by"` // a token's subject, or system:wedding
}

// Count is how many checks have a state.
func (p Preflight) Count(s CheckState) (n int) {
	for _, c := range p.Checks {
		if c.State == s {
			n++
		}
	}
	return n
}

// NoteKind says what happened on a wedding day.
type NoteKind string

// The kinds of notes.
const (
	NoteCare     NoteKind = "care"     // a part of the care began or ended
	NoteHealth   NoteKind = "health"   // a connection went down, came back, or anything between
	NoteFailover NoteKind = "failover" // a connection is polled instead of waiting for its news, or that did not work
	NoteConflict NoteKind = "conflict" // a clash was found, or is over
	NoteDelivery NoteKind = "delivery" // something that a connection told was late or given up
	NoteCopy     NoteKind = "copy"     // the wedding could not be shown somewhere
	NoteAlert    NoteKind = "alert"    // people were told of something
)

// WeddingNote is one line of the log of a wedding day. It holds ids and plain words, no personal data.
type WeddingNote struct {
	Seq       int64     `json:"seq"`
	BookingID BookingID `json:"-"`
	At        time.Time `json:"at"` // when it happened
	Kind      NoteKind  `json:"kind"`
	Bad       bool      `json:"bad"`     // it is a failure, as opposed to its end and to what was done
	Subject   string    `json:"subject"` // what it is about, such as "integration/<id>"
	Text      string    `json:"text"`
	Key       string    `json:"-"` // the same thing is noted once
}

// HandOver is the report of a wedding day.
type HandOver struct {
	BookingID BookingID     `json:"booking_id"`
	OrgID     OrgID         `json:"-"`
	DayFrom   time.Time     `json:"day_from"`
	DayUntil  time.Time     `json:"day_until"`
	Zone      string        `json:"zone"`
	MadeAt    time.Time     `json:"made_at"`
	Quiet     bool          `json:"quiet"`    // nothing failed and nothing is left open
	Summary   string        `json:"summary"`  // in a sentence
	Failures  []DayFailure  `json:"failures"` // in the order in which they were noticed
	Open      []DayLeft     `json:"open"`     // what somebody still has to do
	Log       []WeddingNote `json:"log"`
}

// DayFailure is something that went wrong on the day.
type DayFailure struct {
	Subject   string        `json:"subject"`
	Name      string        `json:"name,omitempty"` // label of a connection
	What      string        `json:"what"`
	NoticedAt time.Time     `json:"noticed_at"`
	OverAt    *time.Time    `json:"over_at,omitempty"` // nil = it goes on
	Lasted    time.Duration `json:"-"`
	Done      []string      `json:"done"` // what was done about it, in order
}

// DayLeft is something that is left to do.
type DayLeft struct {
	Subject string `json:"subject"`
	What    string `json:"what"`
	Do      string `json:"do"`
}
