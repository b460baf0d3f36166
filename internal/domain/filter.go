package domain

import (
	"slices"
	"strings"
)

// EventFilter chooses events of an organisation's live stream. Values of one field are alternatives, fields are
// conditions that must all hold, and an empty field takes everything. The zero value takes every event.
type EventFilter struct {
	// Topics are names ("delivery.dead") or, ending in ".*", all names below one ("delivery.*").
	Topics []string `json:"topics,omitempty"`
	// Weddings are bookings: an event matches that names one of them as its booking, for a conflict as the other one, or,
	// for a delivery that told of several, among its bookings.
	Weddings     []BookingID     `json:"weddings,omitempty"`
	Integrations []IntegrationID `json:"integrations,omitempty"`
	Resources    []ResourceID    `json:"resources,omitempty"`
}

// Limits of a filter.
const (
	MaxFilterValues = 20 // of each field
	MaxTopicBytes   = 60 // of one topic
)

// Check returns an error of kind invalid that names the first wrong field, with prefix before it, and the limit.
func (f EventFilter) Check(prefix string) error {
	for _, field := range []struct {
		name   string
		values []string
		fault  func(string) string
	}{
		{"topics", f.Topics, topicFault},
		{"weddings", texts(f.Weddings), idFault},
		{"integrations", texts(f.Integrations), idFault},
		{"resources", texts(f.Resources), idFault},
	} {
		if n := len(field.values); n > MaxFilterValues {
			return Invalid(prefix+field.name, "at most %d, has %d", MaxFilterValues, n)
		}
		for i, v := range field.values {
			if fault := field.fault(v); fault != "" {
				return Invalid(prefix+field.name, "value %d %s", i+1, fault)
			}
		}
	}
	return nil
}

func texts[T AnyID](ids []T) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}

func topicFault(t string) string {
	name := strings.TrimSuffix(t, ".*")
	switch {
	case len(t) > MaxTopicBytes:
		return "is too long: a topic has at most 60 characters"
	case name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz._") != "" || name[0] == '.' || name[len(name)-1] == '.' || strings.Contains(name, ".."):
		return "must be a topic in lower-case letters, such as delivery.dead, or all below one, such as delivery.*"
	}
	return ""
}

func idFault(id string) string {
	if _, ok := ParseUUID(id); !ok {
		return "must be a UUID in lower-case canonical form (36 characters)"
	}
	return ""
}

// All reports whether the filter takes every event.
func (f EventFilter) All() bool {
	return len(f.Topics) == 0 && len(f.Weddings) == 0 && len(f.Integrations) == 0 && len(f.Resources) == 0
}

// Match reports whether the filter takes e. Whose event it is must have been checked before.
func (f EventFilter) Match(e Event) bool {
	return f.topic(e.Topic) &&
		(len(f.Weddings) == 0 || f.wedding(e.Refs)) &&
		(len(f.Integrations) == 0 || slices.Contains(f.Integrations, IntegrationID(e.Refs["integration"]))) &&
		(len(f.Resources) == 0 || slices.Contains(f.Resources, ResourceID(e.Refs["resource"])))
}

// MaxEventBookings is how many bookings one event names at most; see the reference bookings, which parts them by commas.
const MaxEventBookings = 20

func (f EventFilter) wedding(refs map[string]string) bool {
	return slices.ContainsFunc(f.Weddings, func(id BookingID) bool {
		return refs["booking"] == string(id) || refs["other"] == string(id) || strings.Contains(refs["bookings"], string(id))
	})
}

func (f EventFilter) topic(t Topic) bool {
	for _, want := range f.Topics {
		if below, all := strings.CutSuffix(want, "*"); all {
			if strings.HasPrefix(string(t), below) {
				return true
			}
		} else if want == string(t) {
			return true
		}
	}
	return len(f.Topics) == 0
}
