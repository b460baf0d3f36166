package domain

import (
	"slices"
	"strconv"
	"time"
)

// AlertID names an alert, AlertRuleID a setting of a rule, SilenceID a time without alerts.
type (
	AlertID     string
	AlertRuleID string
	SilenceID   string
)

// AlertKind says which rule raised an alert.
type AlertKind string

// The rules.
const (
	AlertConnection   AlertKind = "connection"    // the system does not answer, or does not accept our credentials
	AlertErrorRate    AlertKind = "error_rate"    // too many probes fail for what was promised
	AlertResponseTime AlertKind = "response_time" // more than 5 of 100 answers take longer than promised
	AlertDegradation  AlertKind = "degradation"   // answers take longer than they used to; two detectors agree
	AlertSilence      AlertKind = "silence"       // a system that used to tell of changes tells of none
)

// AlertKinds lists every rule.
func AlertKinds() []AlertKind {
	return []AlertKind{AlertConnection, AlertErrorRate, AlertResponseTime, AlertDegradation, AlertSilence}
}

// AlertState is where an alert stands.
type AlertState string

// The states of an alert.
const (
	AlertOpen         AlertState = "open"
	AlertAcknowledged AlertState = "acknowledged" // somebody looks after it: neither reminders nor escalation until it gets worse
	AlertResolved     AlertState = "resolved"     // what raised it is over
)

// Alert is something wrong with a connection, or with many of one platform.
type Alert struct {
	ID    AlertID    `json:"id"`
	OrgID OrgID      `json:"-"`
	Kind  AlertKind  `json:"kind"`
	Scope Scope      `json:"scope"` // platform or integration
	State AlertState `json:"state"`
	// Severity is Technical raised by the nearness of the next wedding.
	Severity  Severity   `json:"severity"`
	Technical Severity   `json:"technical"`
	Reason    string     `json:"reason"` // the rule and its numbers, in words
	WeddingAt *time.Time `json:"wedding_at,omitempty"`
	Members   int        `json:"members"` // connections concerned, of an alert of a platform
	// InhibitedBy is the alert that says the same of more, so that this one is not told.
	InhibitedBy AlertID `json:"inhibited_by,omitempty"`
	// SilencedUntil is when the silence ends that keeps it from being told.
	SilencedUntil *time.Time `json:"silenced_until,omitempty"`
	OpenedAt      time.Time  `json:"opened_at"`
	UpdatedAt     time.Time  `json:"updated_at"`
	ClearSince    *time.Time `json:"clear_since,omitempty"` // since when what raised it is no longer seen
	ResolvedAt    *time.Time `json:"resolved_at,omitempty"`
	Resolution    string     `json:"resolution,omitempty"` // why it is over
	// ToldAt is when people were first told, ToldSeverity how bad it was when they were last told; "" = they were not.
	ToldAt       *time.Time `json:"told_at,omitempty"`
	ToldSeverity Severity   `json:"told_severity,omitempty"`
	Reminders    int        `json:"reminders"`
	RemindAt     *time.Time `json:"remind_at,omitempty"`
	// Level is how many steps of the escalation were taken.
	Level          int        `json:"level"`
	EscalateAt     *time.Time `json:"escalate_at,omitempty"`
	AcknowledgedAt *time.Time `json:"acknowledged_at,omitempty"`
	AcknowledgedBy string     `json:"acknowledged_by,omitempty"` // token subject
	// Flaps are the times at which it came back soon after it was over, the newest last.
	Flaps    []time.Time `json:"flaps,omitempty"`
	Flapping bool        `json:"flapping"` // it comes and goes: it stays open until it was calm for longer
	Version  int64       `json:"version"`
}

// Unresolved reports whether it is still wrong.
func (a Alert) Unresolved() bool { return a.State != AlertResolved }

// Quiet reports whether it is kept from being told.
func (a Alert) Quiet() bool { return a.InhibitedBy != "" || a.SilencedUntil != nil }

// AlertRule changes what a rule does for some connections. The narrowest scope counts; without any the standard holds.
type AlertRule struct {
	ID      AlertRuleID `json:"id"`
	OrgID   OrgID       `json:"-"`
	Scope   Scope       `json:"scope"`
	Kind    AlertKind   `json:"rule"`
	Enabled bool        `json:"enabled"`
	// Severity replaces the technical severity; "" keeps the standard one.
	Severity Severity `json:"severity,omitempty"`
	// ResolveAfter is how long it must be calm before an alert is over, in minutes; 0 keeps the standard.
	ResolveAfter int       `json:"resolve_after_minutes"`
	CreatedBy    string    `json:"created_by"`
	CreatedAt    time.Time `json:"created_at"`
	UpdatedAt    time.Time `json:"updated_at"`
	Version      int64     `json:"version"`
}

// Bounds of alert settings.
const (
	MaxAlertRules      = 500
	MaxSilences        = 200 // that are not over, per organisation
	MaxEscalationSteps = 10
	MaxEscalationRoles = 10
	MaxSilenceLength   = 31 * 24 * time.Hour // of one occurrence
	MaxSilenceRule     = 500                 // bytes of an RRULE
	maxSilenceReason   = 500
)

// Validate checks scope, rule and limits; prefix is put before the names of fields.
func (r AlertRule) Validate(prefix string) error {
	if err := r.Scope.Validate(prefix + "scope."); err != nil {
		return err
	}
	if !slices.Contains(AlertKinds(), r.Kind) {
		return Invalid(prefix+"rule", "unknown rule; known are %s", joined(AlertKinds()))
	}
	if r.Severity != "" && r.Severity.Level() == 0 {
		return Invalid(prefix+"severity", "must be low, medium, high or critical")
	}
	if r.ResolveAfter < 0 || r.ResolveAfter > 1440 {
		return Invalid(prefix+"resolve_after_minutes", "must be 0 to 1440, is %d", r.ResolveAfter)
	}
	return nil
}

// RuleFor returns the narrowest setting of a rule for a connection; without any the rule is on with its standard.
func RuleFor(all []AlertRule, kind AlertKind, platform string, id IntegrationID) AlertRule {
	out, narrow := AlertRule{Kind: kind, Enabled: true}, 0
	for _, r := range all {
		if r.Kind == kind && r.Scope.Covers(platform, id) && r.Scope.Narrowness() > narrow {
			out, narrow = r, r.Scope.Narrowness()
		}
	}
	return out
}

// AlertPolicy says how long an organisation lets an alert lie.
type AlertPolicy struct {
	// RemindEvery is how often people are told again of one that nobody acknowledged, in minutes.
	RemindEvery int `json:"remind_every_minutes" minimum:"5" maximum:"1440"`
	// Steps are taken one after the other while nobody acknowledges.
	Steps   []EscalationStep `json:"steps"`
	Version int64            `json:"version"` // 0 = the standard
}

// EscalationStep tells further people.
type EscalationStep struct {
	After int      `json:"after_minutes" minimum:"1" maximum:"1440"` // since people were first told
	Roles []string `json:"roles,omitempty"`                          // of recipients; empty = everybody concerned
}

// StandardAlertPolicy reminds every hour and tells everybody after 15 minutes and again after an hour.
func StandardAlertPolicy() AlertPolicy {
	return AlertPolicy{RemindEvery: 60, Steps: []EscalationStep{{After: 15}, {After: 60}}}
}

// Validate checks the limits and that steps rise; prefix is put before the names of fields.
func (p AlertPolicy) Validate(prefix string) error {
	if p.RemindEvery < 5 || p.RemindEvery > 1440 {
		return Invalid(prefix+"remind_every_minutes", "must be 5 to 1440, is %d", p.RemindEvery)
	}
	if len(p.Steps) > MaxEscalationSteps {
		return Invalid(prefix+"steps", "at most %d, has %d", MaxEscalationSteps, len(p.Steps))
	}
	last := 0
	for i, s := range p.Steps {
		at := prefix + "steps[" + strconv.Itoa(i) + "]."
		if s.After <= last || s.After > 1440 {
			return Invalid(at+"after_minutes", "must be 1 to 1440 and later than the step before")
		}
		last = s.After
		if len(s.Roles) > MaxEscalationRoles {
			return Invalid(at+"roles", "at most %d, has %d", MaxEscalationRoles, len(s.Roles))
		}
		for _, r := range s.Roles {
			if fault := lineFault(r, MaxRecipientRole); fault != "" {
				return Invalid(at+"roles", "%s", fault)
			}
		}
	}
	return nil
}

// ToldFirst reports whether a person with a role is told when an alert opens: those whose role is named by a later step only
// are not.
func (p AlertPolicy) ToldFirst(role string) bool {
	for _, s := range p.Steps {
		if slices.Contains(s.Roles, role) {
			return false
		}
	}
	return true
}

// ToldAt reports whether a person with a role is told by the n-th step, counted from 1.
func (p AlertPolicy) ToldAt(n int, role string) bool {
	if n < 1 || n > len(p.Steps) {
		return false
	}
	roles := p.Steps[n-1].Roles
	return len(roles) == 0 || slices.Contains(roles, role)
}

// Silence is a time in which alerts are noted and not told. It may recur.
type Silence struct {
	ID    SilenceID `json:"id"`
	OrgID OrgID     `json:"-"`
	Scope Scope     `json:"scope"`
	// Kinds are the rules that are silent; empty = all.
	Kinds    []AlertKind `json:"rules,omitempty"`
	StartsAt time.Time   `json:"starts_at"` // of the first occurrence
	EndsAt   time.Time   `json:"ends_at"`   // of the first occurrence
	// RRULE repeats it after RFC 5545, on the clock of Zone; "" = once.
	RRULE     string     `json:"rrule,omitempty"`
	Zone      string     `json:"zone"`
	Reason    string     `json:"reason"`
	CreatedBy string     `json:"created_by"`
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
	EndedAt   *time.Time `json:"ended_at,omitempty"` // when a person ended it, or its last occurrence was over
	Version   int64      `json:"version"`
}

// Matches reports whether it is about an alert.
func (s Silence) Matches(a Alert, platform string) bool {
	if len(s.Kinds) > 0 && !slices.Contains(s.Kinds, a.Kind) {
		return false
	}
	id := IntegrationID("")
	if a.Scope.Kind == ScopeIntegration {
		id = IntegrationID(a.Scope.Target)
	}
	return s.Scope.Covers(platform, id)
}

// Validate checks everything but zone and RRULE; prefix is put before the names of fields.
func (s Silence) Validate(prefix string) error {
	if err := s.Scope.Validate(prefix + "scope."); err != nil {
		return err
	}
	for _, k := range s.Kinds {
		if !slices.Contains(AlertKinds(), k) {
			return Invalid(prefix+"rules", "unknown rule; known are %s", joined(AlertKinds()))
		}
	}
	if len(s.Kinds) > len(AlertKinds()) {
		return Invalid(prefix+"rules", "names a rule twice")
	}
	length := s.EndsAt.Sub(s.StartsAt)
	switch {
	case s.StartsAt.IsZero() || length < time.Minute || length > MaxSilenceLength:
		return Invalid(prefix+"ends_at", "must be a minute to 31 days after starts_at")
	case len(s.RRULE) > MaxSilenceRule:
		return Invalid(prefix+"rrule", "at most %d bytes, has %d", MaxSilenceRule, len(s.RRULE))
	case s.Zone == "" || len(s.Zone) > 64:
		return Invalid(prefix+"zone", "must be an IANA zone name of 1 to 64 characters")
	}
	if fault := lineFault(s.Reason, maxSilenceReason); fault != "" {
		return Invalid(prefix+"reason", "%s", fault)
	}
	return nil
}
