package domain

import "time"

// Topic names what a live event is about.
type Topic string

// The topics of the live stream.
const (
	// TopicDeliveryAccepted tells of webhooks that were stored. One event names up to 40 of them, parted by commas.
	TopicDeliveryAccepted   Topic = "delivery.accepted"
	TopicDeliveryApplied    Topic = "delivery.applied"
	TopicDeliveryIgnored    Topic = "delivery.ignored"
	TopicDeliveryRetrying   Topic = "delivery.retrying"
	TopicDeliveryDead       Topic = "delivery.dead"
	TopicDeliveryRouted     Topic = "delivery.routed" // handed to another integration, which has its own delivery of it
	TopicDeliveryReplayed   Topic = "delivery.replayed"
	TopicReplayProgress     Topic = "replay.progress"
	TopicReplayFinished     Topic = "replay.finished"
	TopicBookingChanged     Topic = "booking.changed"
	TopicBookingLinked      Topic = "booking.linked"   // a person said that two bookings are one
	TopicBookingUnlinked    Topic = "booking.unlinked" // a person said that they are two
	TopicConflictOpened     Topic = "conflict.opened"
	TopicConflictUpdated    Topic = "conflict.updated"
	TopicConflictClosed     Topic = "conflict.closed"
	TopicConflictReminder   Topic = "conflict.reminder"  // somebody still has to decide
	TopicConflictEscalated  Topic = "conflict.escalated" // nobody decided by the deadline
	TopicConflictRefused    Topic = "conflict.refused"   // a system refused a decision, which is being taken back
	TopicConflictStuck      Topic = "conflict.stuck"     // a system does not take a decision back
	TopicConflictPolicy     Topic = "conflict_policy.changed"
	TopicEditConflict       Topic = "edit_conflict.changed" // edits on both sides wait for a person, or no longer do
	TopicSyncProgress       Topic = "sync.progress"
	TopicPushDone           Topic = "push.done"
	TopicPushFailed         Topic = "push.failed"
	TopicIntegrationChanged Topic = "integration.changed"
	TopicHealthChanged      Topic = "integration.health"    // a connection went down, came back, or anything between
	TopicFailover           Topic = "integration.failover"  // news of a connection come another way now
	TopicCaughtUp           Topic = "integration.caught_up" // what was missed in an outage or while polls stood in has been read
	TopicDrill              Topic = "drill.changed"         // an exercise of failing over began, went on or ended
	TopicResourceChanged    Topic = "resource.changed"
	TopicVenueChanged       Topic = "venue.changed"      // a known venue was added, changed or removed
	TopicQuarantineOpened   Topic = "quarantine.opened"  // too many removals at once are held
	TopicQuarantineChanged  Topic = "quarantine.changed" // more were held, or a person decided, or it is done
	TopicPurgeProgress      Topic = "purge.progress"
	TopicOnboardingChanged  Topic = "onboarding.changed" // a step of connecting a system began or ended
	// TopicSubscriptionChanged tells that a subscription was made, changed, paused, resumed, disabled or deleted.
	TopicSubscriptionChanged Topic = "subscription.changed"
	// TopicTimelineChanged tells that the timeline of a wedding was made, changed, followed its wedding, or was removed.
	TopicTimelineChanged Topic = "timeline.changed"
	// TopicHoldChanged tells that a hold was made, extended, confirmed, released, lost, or expired.
	TopicHoldChanged Topic = "hold.changed"
	// TopicNotification tells where a notification stands; one that goes by the live stream is told by state sent.
	TopicNotification Topic = "notification.changed"
	// TopicRecipientChanged tells that a person to notify was made, changed or deleted.
	TopicRecipientChanged Topic = "recipient.changed"
	// TopicAlertChanged tells that an alert was opened, changed, acknowledged or resolved; told says what people are told of it.
	TopicAlertChanged Topic = "alert.changed"
	// TopicAlertSettings tells that an objective, a rule, the policy or a silence was made, changed or removed.
	TopicAlertSettings Topic = "alert_settings.changed"
	// TopicMaintenance tells that a window of maintenance was proposed or changed; told says what people are told of it.
	TopicMaintenance Topic = "maintenance.changed"
	// TopicMaintenanceSettings tells that settings of maintenance, or what providers announced, changed.
	TopicMaintenanceSettings Topic = "maintenance_settings.changed"
	// TopicWeddingChanged tells that the care for a wedding began a new part: waiting, preflight, frozen, day, handed over, ended.
	TopicWeddingChanged Topic = "wedding.changed"
	// TopicWeddingPreflight tells that everything a wedding rests on was checked; told says what people are told of it.
	TopicWeddingPreflight Topic = "wedding.preflight"
	// TopicWeddingHandOver tells that there is a report of a wedding day.
	TopicWeddingHandOver Topic = "wedding.handed_over"
	// TopicShareChanged tells that a wedding was shared by a link, or that a link was revoked.
	TopicShareChanged Topic = "share.changed"
	// TopicShareConfirmed tells that a vendor confirmed an item of a wedding's timeline through a link.
	TopicShareConfirmed Topic = "share.confirmed"
	// TopicSubscriptionTest is the topic of test messages. They are sent to one subscriber and are not in the stream.
	TopicSubscriptionTest Topic = "subscription.test"
	// TopicStreamGap tells a reader that events after its position are no longer kept. It is not in the stream either.
	TopicStreamGap Topic = "stream.gap"
)

// Event is one line of an organisation's live stream. It carries ids, not people: a reader fetches details by id
// with its own rights.
type Event struct {
	// Cursor orders events and resumes the stream; opaque to clients, at most 60 characters.
	Cursor string            `json:"-"`
	OrgID  OrgID             `json:"-"`
	Topic  Topic             `json:"topic"`
	At     time.Time         `json:"at"`
	Refs   map[string]string `json:"refs"` // e.g. {"booking":"…","conflict":"…"}
}

// AuditEntry is one line of the append-only trail: who did what to which ids, and why.
type AuditEntry struct {
	OrgID  OrgID     `json:"-"`
	Seq    int64     `json:"seq"` // 1.. without gaps, per organisation
	At     time.Time `json:"at"`
	Actor  string    `json:"actor"`  // token subject, or "system:<part>"
	Action string    `json:"action"` // verb and noun, such as "integration.pause"
	Reason string    `json:"reason"` // why, in words
	// Subject names what was acted on, such as "integration/<id>".
	Subject string            `json:"subject"`
	Before  map[string]string `json:"before,omitempty"` // ids and plain values only
	After   map[string]string `json:"after,omitempty"`
	Prev    string            `json:"prev"` // hex hash of the entry before; 64 zeros for the first
	Hash    string            `json:"hash"` // hex SHA-256 over the canonical form of this entry with Prev
}

// Role is what a caller of the admin API may do; each includes the ones below it.
type Role string

// The roles.
const (
	RoleAdmin    Role = "admin"    // everything in its organisation
	RoleOperator Role = "operator" // pause, resume, resync, resolve
	RoleViewer   Role = "viewer"   // read
)

// Level is 3 for admin, 2 for operator, 1 for viewer, 0 for unknown.
func (r Role) Level() int {
	switch r {
	case RoleAdmin:
		return 3
	case RoleOperator:
		return 2
	case RoleViewer:
		return 1
	}
	return 0
}
