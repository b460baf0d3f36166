package domain

import "time"

// ObjectiveID names what an organisation promises of its connections.
type ObjectiveID string

// ScopeKind says how wide something reaches.
type ScopeKind string

// The scopes, from wide to narrow.
const (
	ScopeOrganization ScopeKind = "organization" // every connection
	ScopePlatform     ScopeKind = "platform"     // the connections of one provider
	ScopeIntegration  ScopeKind = "integration"  // one connection
)

// Scope says which connections something is about. Of several that fit, the narrowest counts.
type Scope struct {
	Kind ScopeKind `json:"kind" enum:"organization,platform,integration"`
	// Target is the name of a provider or the id of an integration; "" for the organisation.
	Target string `json:"target,omitempty" maxLength:"64"`
}

// Covers reports whether a connection is in the scope.
func (s Scope) Covers(platform string, id IntegrationID) bool {
	switch s.Kind {
	case ScopeOrganization:
		return true
	case ScopePlatform:
		return s.Target == platform
	case ScopeIntegration:
		return s.Target == string(id)
	}
	return false
}

// Narrowness is 1 for the organisation to 3 for one connection, 0 for unknown.
func (s Scope) Narrowness() int {
	switch s.Kind {
	case ScopeOrganization:
		return 1
	case ScopePlatform:
		return 2
	case ScopeIntegration:
		return 3
	}
	return 0
}

// Validate checks kind and target; prefix is put before the names of fields. Whether the target exists is not known here.
func (s Scope) Validate(prefix string) error {
	switch s.Kind {
	case ScopeOrganization:
		if s.Target != "" {
			return Invalid(prefix+"target", "must be empty for the organization")
		}
	case ScopePlatform:
		if s.Target == "" || len(s.Target) > 64 {
			return Invalid(prefix+"target", "must be the name of a provider, 1 to 64 characters")
		}
	case ScopeIntegration:
		if fault := idFault(s.Target); fault != "" {
			return Invalid(prefix+"target", "%s", fault)
		}
	default:
		return Invalid(prefix+"kind", "must be organization, platform or integration")
	}
	return nil
}

// Targets are what a connection is measured against.
type Targets struct {
	// Availability is the share of probes that must find the system up, in percent of a month.
	Availability float64 `json:"availability_percent" minimum:"50" maximum:"99.999"`
	// LatencyMS is within which 95 of 100 answers must come, in milliseconds.
	LatencyMS int `json:"latency_ms" minimum:"10" maximum:"60000"`
	// Errors is the share of probes that may fail over six hours before somebody is told, in percent.
	Errors float64 `json:"errors_percent" minimum:"0.01" maximum:"50"`
}

// StandardTargets are those of connections that nothing was said about.
func StandardTargets() Targets { return Targets{Availability: 99.9, LatencyMS: 500, Errors: 1} }

// Latency is LatencyMS as a duration.
func (t Targets) Latency() time.Duration { return time.Duration(t.LatencyMS) * time.Millisecond }

// Budget is the share of probes that may fail, 0 to 1.
func (t Targets) Budget() float64 { return 1 - t.Availability/100 }

// Validate checks the limits; prefix is put before the names of fields.
func (t Targets) Validate(prefix string) error {
	switch {
	case !(t.Availability >= 50 && t.Availability <= 99.999):
		return Invalid(prefix+"availability_percent", "must be 50 to 99.999")
	case t.LatencyMS < 10 || t.LatencyMS > 60_000:
		return Invalid(prefix+"latency_ms", "must be 10 to 60000, is %d", t.LatencyMS)
	case !(t.Errors >= 0.01 && t.Errors <= 50):
		return Invalid(prefix+"errors_percent", "must be 0.01 to 50")
	}
	return nil
}

// Objective is what an organisation promises of some of its connections.
type Objective struct {
	ID        ObjectiveID `json:"id"`
	OrgID     OrgID       `json:"-"`
	Scope     Scope       `json:"scope"`
	Targets   Targets     `json:"targets"`
	CreatedBy string      `json:"created_by"`
	CreatedAt time.Time   `json:"created_at"`
	UpdatedAt time.Time   `json:"updated_at"`
	Version   int64       `json:"version"` // grows by one with each change
}

// MaxObjectives bounds the objectives of an organisation.
const MaxObjectives = 500

// TargetsFor returns the targets of the narrowest objective that covers a connection, the standard ones where none does. For
// the targets of a platform id is ""; for those of the organisation both are.
func TargetsFor(all []Objective, platform string, id IntegrationID) Targets {
	out, narrow := StandardTargets(), 0
	for _, o := range all {
		if o.Scope.Covers(platform, id) && o.Scope.Narrowness() > narrow {
			out, narrow = o.Targets, o.Scope.Narrowness()
		}
	}
	return out
}
