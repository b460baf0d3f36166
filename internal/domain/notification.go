package domain

import (
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// RecipientID names a person who is told of things, NotificationID one thing told to one person in one way.
type (
	RecipientID    string
	NotificationID string
)

// NotifyChannel is a way to tell a person.
type NotifyChannel string

// The channels.
const (
	ChannelEmail   NotifyChannel = "email"
	ChannelSlack   NotifyChannel = "slack"   // an incoming webhook of Slack, or of a system that takes the same form
	ChannelWebhook NotifyChannel = "webhook" // an outgoing webhook signed after Standard Webhooks; ids only
	ChannelLive    NotifyChannel = "live"    // an event of the live stream; ids only
	// ChannelPagerDuty is a service of PagerDuty, or of a system that takes its Events API v2. It is told of alerts only.
	ChannelPagerDuty NotifyChannel = "pagerduty"
)

// NotifyChannels lists every channel.
func NotifyChannels() []NotifyChannel {
	return []NotifyChannel{ChannelEmail, ChannelSlack, ChannelWebhook, ChannelLive, ChannelPagerDuty}
}

// NotifyKind says what a person is told of.
type NotifyKind string

// The kinds of notifications.
const (
	NotifyConflictOpened    NotifyKind = "conflict_opened"
	NotifyConflictReminder  NotifyKind = "conflict_reminder"  // nobody decided yet
	NotifyConflictEscalated NotifyKind = "conflict_escalated" // nobody decided by the deadline
	NotifyConflictWorse     NotifyKind = "conflict_worse"     // it became more severe
	NotifyConflictRefused   NotifyKind = "conflict_refused"   // a system refused a decision, which is being taken back
	NotifyConflictStuck     NotifyKind = "conflict_stuck"     // a system does not take it back
	NotifyConflictResolved  NotifyKind = "conflict_resolved"  // for those who were told of it
	NotifyEditConflict      NotifyKind = "edit_conflict"
	NotifyQuarantine        NotifyKind = "quarantine_waiting"
	NotifyReconnect         NotifyKind = "needs_reconnect"
	NotifySyncStale         NotifyKind = "sync_stale"
	NotifyHoldExpiring      NotifyKind = "hold_expiring" // a hold ends within the hour
	NotifyTest              NotifyKind = "test"          // a person asked whether messages arrive

	NotifyAlertOpened       NotifyKind = "alert_opened"
	NotifyAlertWorse        NotifyKind = "alert_worse"
	NotifyAlertReminder     NotifyKind = "alert_reminder"     // nobody acknowledged it yet
	NotifyAlertEscalated    NotifyKind = "alert_escalated"    // a step of the escalation was reached
	NotifyAlertAcknowledged NotifyKind = "alert_acknowledged" // for systems that were told of it
	NotifyAlertResolved     NotifyKind = "alert_resolved"     // for those who were told of it

	NotifyMaintenanceProposed  NotifyKind = "maintenance_proposed"  // somebody must approve it, or may object
	NotifyMaintenanceAnnounced NotifyKind = "maintenance_announced" // it begins in a while
	NotifyMaintenanceMoved     NotifyKind = "maintenance_moved"     // to another time
	NotifyMaintenanceCancelled NotifyKind = "maintenance_cancelled" // or refused
	NotifyMaintenanceStarted   NotifyKind = "maintenance_started"
	NotifyMaintenanceEnded     NotifyKind = "maintenance_ended" // with what became of what was held
	NotifyPreflightFailed      NotifyKind = "preflight_failed"  // before a wedding: something that it rests on may not hold through its day
	NotifyPreflightPassed      NotifyKind = "preflight_passed"  // it will now; for those who were told of the failure
	NotifyWeddingFrozen        NotifyKind = "wedding_frozen"    // its freeze began
	NotifyWeddingOver          NotifyKind = "wedding_over"      // there is a report of its day
)

// OfAlert reports whether a kind is about an alert.
func (k NotifyKind) OfAlert() bool {
	switch k {
	case NotifyAlertOpened, NotifyAlertWorse, NotifyAlertReminder, NotifyAlertEscalated, NotifyAlertAcknowledged, NotifyAlertResolved:
		return true
	}
	return false
}

// NotifyKinds lists every kind.
func NotifyKinds() []NotifyKind {
	return []NotifyKind{NotifyConflictOpened, NotifyConflictReminder, NotifyConflictEscalated, NotifyConflictWorse, NotifyConflictRefused, NotifyConflictStuck,
		NotifyConflictResolved, NotifyEditConflict, NotifyQuarantine, NotifyReconnect, NotifySyncStale, NotifyHoldExpiring, NotifyTest,
		NotifyAlertOpened, NotifyAlertWorse, NotifyAlertReminder, NotifyAlertEscalated, NotifyAlertAcknowledged, NotifyAlertResolved,
		NotifyMaintenanceProposed, NotifyMaintenanceAnnounced, NotifyMaintenanceMoved, NotifyMaintenanceCancelled, NotifyMaintenanceStarted, NotifyMaintenanceEnded,
		NotifyPreflightFailed, NotifyPreflightPassed, NotifyWeddingFrozen, NotifyWeddingOver}
}

// Notifiable reports whether an event may be one that people are told of. Its subject decides.
func Notifiable(t Topic) bool {
	switch t {
	case TopicConflictOpened, TopicConflictUpdated, TopicConflictClosed, TopicConflictReminder, TopicConflictEscalated, TopicConflictRefused, TopicConflictStuck, TopicEditConflict,
		TopicQuarantineOpened, TopicQuarantineChanged, TopicIntegrationChanged, TopicHoldChanged, TopicAlertChanged, TopicMaintenance,
		TopicWeddingChanged, TopicWeddingPreflight, TopicWeddingHandOver:
		return true
	}
	return false
}

// ToldOnly reports whether people are told of an event of a topic only when it says so, in its ref told.
func ToldOnly(t Topic) bool {
	switch t {
	case TopicAlertChanged, TopicMaintenance, TopicWeddingChanged, TopicWeddingPreflight, TopicWeddingHandOver:
		return true
	}
	return false
}

// RecipientState says whether a person is told of anything.
type RecipientState string

// The states of a recipient.
const (
	RecipientActive  RecipientState = "active"
	RecipientPaused  RecipientState = "paused"
	RecipientDeleted RecipientState = "deleted" // final; name and addresses are wiped
)

// Recipient is a person of an organisation who is told of what concerns them.
type Recipient struct {
	ID        RecipientID       `json:"id"`
	OrgID     OrgID             `json:"-"`
	Name      string            `json:"name"` // personal; sealed in storage
	Role      string            `json:"role"` // what they do, such as planner; no personal data
	Zone      string            `json:"zone"` // IANA zone in which they live
	Addresses NotifyAddresses   `json:"addresses"`
	Resources []ResourceID      `json:"resources"` // that they are concerned with; empty = all
	Prefer    NotifyPreferences `json:"preferences"`
	State     RecipientState    `json:"state"`
	CreatedBy string            `json:"created_by"`
	CreatedAt time.Time         `json:"created_at"`
	UpdatedAt time.Time         `json:"updated_at"`
	Version   int64             `json:"version"` // grows by one with each change
}

// NotifyAddresses are where a person is reached; "" = not in that way. They are personal and sealed in storage.
type NotifyAddresses struct {
	Email   string `json:"email,omitempty"`
	Slack   string `json:"slack,omitempty"`   // URL of the incoming webhook, which is a secret
	Webhook string `json:"webhook,omitempty"` // URL that signed webhooks are posted to
	// PagerDuty is the integration key of a service of PagerDuty, which is a secret.
	PagerDuty string `json:"pagerduty,omitempty"`
}

// Has reports whether there is an address for a channel. The live stream needs none.
func (a NotifyAddresses) Has(c NotifyChannel) bool {
	switch c {
	case ChannelEmail:
		return a.Email != ""
	case ChannelSlack:
		return a.Slack != ""
	case ChannelWebhook:
		return a.Webhook != ""
	case ChannelPagerDuty:
		return a.PagerDuty != ""
	case ChannelLive:
		return true
	}
	return false
}

// NotifyPreferences are what a person wants to be told of, how, and when.
type NotifyPreferences struct {
	// Rules are gone through in order; the first one that names a kind decides about it. Without any rule a person is told
	// of everything from medium severity on, in every way for which there is an address.
	Rules []NotifyRule `json:"rules"`
	// Quiet are the hours in which neither mail nor Slack disturbs, except on a wedding day and its eve. nil = none.
	Quiet *QuietHours `json:"quiet_hours,omitempty"`
	// DigestAt is when digests are sent, in minutes after local midnight.
	DigestAt int `json:"digest_at"`
}

// NotifyRule decides about some kinds.
type NotifyRule struct {
	Kinds       []NotifyKind    `json:"kinds,omitempty"`        // empty = all
	Channels    []NotifyChannel `json:"channels"`               // empty = not told at all
	MinSeverity Severity        `json:"min_severity,omitempty"` // "" = low
	// Digest gathers what is not critical until the time for digests.
	Digest bool `json:"digest,omitempty"`
}

// Names reports whether the rule decides about a kind.
func (r NotifyRule) Names(k NotifyKind) bool {
	return len(r.Kinds) == 0 || slices.Contains(r.Kinds, k)
}

// QuietHours is a stretch of every local day, in minutes after midnight: from From until just before To. From after To
// reaches over midnight.
type QuietHours struct {
	From int `json:"from"` // 0..1439
	To   int `json:"to"`   // 0..1439, not From
}

// Bounds of recipients.
const (
	MaxRecipients         = 200 // per organisation, deleted ones not counted
	MaxRecipientName      = 200 // bytes
	MaxRecipientRole      = 60  // bytes
	MaxRecipientResources = 100
	MaxNotifyRules        = 20
	MaxNotifyAddress      = 2048 // bytes; a mail address 254 (RFC 5321 section 4.5.3.1.3)
	maxMailAddress        = 254
)

// Validate checks everything but whether zone and URLs can be used; prefix is put before the names of fields.
func (r Recipient) Validate(prefix string) error {
	if fault := lineFault(r.Name, MaxRecipientName); fault != "" {
		return Invalid(prefix+"name", "%s", fault)
	}
	if r.Role != "" {
		if fault := lineFault(r.Role, MaxRecipientRole); fault != "" {
			return Invalid(prefix+"role", "%s", fault)
		}
	}
	if r.Zone == "" || len(r.Zone) > 64 {
		return Invalid(prefix+"zone", "must be an IANA zone name of 1 to 64 characters")
	}
	if r.Addresses.Email != "" {
		if fault := mailFault(r.Addresses.Email); fault != "" {
			return Invalid(prefix+"addresses.email", "%s", fault)
		}
	}
	for field, url := range map[string]string{"slack": r.Addresses.Slack, "webhook": r.Addresses.Webhook} {
		if len(url) > MaxNotifyAddress {
			return Invalid(prefix+"addresses."+field, "at most %d bytes, has %d", MaxNotifyAddress, len(url))
		}
	}
	if k := r.Addresses.PagerDuty; k != "" && (len(k) != 32 || strings.ContainsFunc(k, func(c rune) bool { return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') })) {
		return Invalid(prefix+"addresses.pagerduty", "must be an integration key of 32 letters and digits")
	}
	if len(r.Resources) > MaxRecipientResources {
		return Invalid(prefix+"resources", "at most %d, has %d", MaxRecipientResources, len(r.Resources))
	}
	for i, id := range r.Resources {
		if fault := idFault(string(id)); fault != "" {
			return Invalid(prefix+"resources["+strconv.Itoa(i)+"]", "%s", fault)
		}
	}
	return r.Prefer.Validate(prefix + "preferences.")
}

// Validate checks every rule and the times; prefix is put before the names of fields.
func (p NotifyPreferences) Validate(prefix string) error {
	if len(p.Rules) > MaxNotifyRules {
		return Invalid(prefix+"rules", "at most %d, has %d", MaxNotifyRules, len(p.Rules))
	}
	for i, r := range p.Rules {
		at := prefix + "rules[" + strconv.Itoa(i) + "]."
		for _, k := range r.Kinds {
			if !slices.Contains(NotifyKinds(), k) {
				return Invalid(at+"kinds", "unknown kind; known are %s", joined(NotifyKinds()))
			}
		}
		for _, c := range r.Channels {
			if !slices.Contains(NotifyChannels(), c) {
				return Invalid(at+"channels", "unknown channel; known are %s", joined(NotifyChannels()))
			}
		}
		if len(r.Kinds) > len(NotifyKinds()) || len(r.Channels) > len(NotifyChannels()) {
			return Invalid(at+"kinds", "names a kind or a channel twice")
		}
		if r.MinSeverity != "" && r.MinSeverity.Level() == 0 {
			return Invalid(at+"min_severity", "must be low, medium, high or critical")
		}
	}
	if q := p.Quiet; q != nil && (q.From < 0 || q.From > 1439 || q.To < 0 || q.To > 1439 || q.From == q.To) {
		return Invalid(prefix+"quiet_hours", "from and to must be 0 to 1439 minutes after midnight and not the same")
	}
	if p.DigestAt < 0 || p.DigestAt > 1439 {
		return Invalid(prefix+"digest_at", "must be 0 to 1439 minutes after midnight, is %d", p.DigestAt)
	}
	return nil
}

func joined[T ~string](all []T) string {
	names := make([]string, len(all))
	for i, v := range all {
		names[i] = string(v)
	}
	return strings.Join(names, ", ")
}

func lineFault(s string, limit int) string {
	switch {
	case strings.TrimSpace(s) == "" || len(s) > limit:
		return "must have 1 to " + strconv.Itoa(limit) + " bytes"
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return "must be one line of text"
	}
	return ""
}

// mailFault takes a bare address such as ann@example.com. The text never quotes it.
func mailFault(s string) string {
	a, err := mail.ParseAddress(s)
	switch {
	case len(s) > maxMailAddress:
		return "at most 254 bytes (RFC 5321)"
	case err != nil || a.Address != s || a.Name != "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "must be a bare mail address in ASCII, such as ann@example.com"
	}
	return ""
}

// NotificationState is where a notification stands.
type NotificationState string

// The states of a notification.
const (
	NotificationQueued     NotificationState = "queued"     // about to be sent
	NotificationHeld       NotificationState = "held"       // until DueAt: quiet hours or a digest
	NotificationRetrying   NotificationState = "retrying"   // an attempt failed; the next one is at DueAt
	NotificationSent       NotificationState = "sent"       // taken by the mail server, the receiver, or the live stream
	NotificationFailed     NotificationState = "failed"     // given up; Reason says why
	NotificationSuppressed NotificationState = "suppressed" // not sent on purpose; Reason says why
)

// Waiting reports whether it is still to be sent.
func (s NotificationState) Waiting() bool {
	return s == NotificationQueued || s == NotificationHeld || s == NotificationRetrying
}

// Valid reports whether s is one of the states.
func (s NotificationState) Valid() bool {
	return s.Waiting() || s == NotificationSent || s == NotificationFailed || s == NotificationSuppressed
}

// Notification is one thing told to one person in one way. It holds ids only: what it says is rendered when it is sent.
type Notification struct {
	ID          NotificationID `json:"id"`
	OrgID       OrgID          `json:"-"`
	RecipientID RecipientID    `json:"recipient_id"`
	Channel     NotifyChannel  `json:"channel"`
	Kind        NotifyKind     `json:"kind"`
	Severity    Severity       `json:"severity"`
	// WeddingDay says that a wedding concerned is today or tomorrow, so that quiet hours do not count.
	WeddingDay bool              `json:"wedding_day"`
	Subject    string            `json:"subject"` // what it is about, such as "conflict/<id>"
	Fact       string            `json:"-"`       // what makes it the same as another one
	State      NotificationState `json:"state"`
	Reason     string            `json:"reason,omitempty"` // why it is held, being tried again, failed or suppressed
	DueAt      *time.Time        `json:"due_at,omitempty"` // when it is sent, or tried again
	Attempts   int               `json:"attempts"`
	Reminders  int               `json:"reminders"` // later ones that joined it while it waited
	Digest     bool              `json:"digest"`    // goes with others in one message
	// MessageID is the same for every attempt, so that a receiver can tell a repeat; "" before the first.
	MessageID      string     `json:"message_id,omitempty"`
	CreatedAt      time.Time  `json:"created_at"`
	UpdatedAt      time.Time  `json:"updated_at"`
	SentAt         *time.Time `json:"sent_at,omitempty"`
	AcknowledgedAt *time.Time `json:"acknowledged_at,omitempty"`
	AcknowledgedBy string     `json:"acknowledged_by,omitempty"` // token subject
}
