package domain

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Timeline is the order of a wedding day: items that hang on each other and, in the end, on the start of the wedding's
// booking, so that all of them shift when it moves. Times are not stored; they follow from the items.
type Timeline struct {
	BookingID BookingID `json:"booking_id"` // the wedding
	OrgID     OrgID     `json:"-"`
	TimelinePlan
	// Exported are the bookings that stand for items in their resources' calendars, by key of the item.
	Exported map[string]BookingID `json:"exported"`
	// Followed is the version of the wedding's booking that the exported bookings were made from.
	Followed  int64     `json:"followed"`
	UpdatedAt time.Time `json:"updated_at"`
	Version   int64     `json:"version"` // grows by one with every change of the plan
}

// TimelinePlan is what people decide.
type TimelinePlan struct {
	// TravelMinutes is how long a way takes for which no journey is listed.
	TravelMinutes int            `json:"travel_minutes,omitempty"`
	Journeys      []Journey      `json:"journeys,omitempty"`
	Items         []TimelineItem `json:"items"`
}

// Journey is how long the way between two places takes, in either direction.
type Journey struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Minutes int    `json:"minutes"`
}

// TimelineKind says what an item is.
type TimelineKind string

// The kinds of items.
const (
	TimelineCeremony  TimelineKind = "ceremony"
	TimelineReception TimelineKind = "reception"
	TimelineArrival   TimelineKind = "arrival" // of a vendor
	TimelineSetup     TimelineKind = "setup"
	TimelinePhotos    TimelineKind = "photos"
	TimelineMeal      TimelineKind = "meal"
	TimelineMusic     TimelineKind = "music"
	TimelineTeardown  TimelineKind = "teardown"
	TimelineOther     TimelineKind = "other"
)

func (k TimelineKind) valid() bool {
	switch k {
	case TimelineCeremony, TimelineReception, TimelineArrival, TimelineSetup, TimelinePhotos, TimelineMeal, TimelineMusic, TimelineTeardown, TimelineOther:
		return true
	}
	return false
}

// Edge is the start or the end of an item.
type Edge string

// The edges.
const (
	EdgeStart Edge = "start"
	EdgeEnd   Edge = "end"
)

// TimelineItem is one entry of a timeline. It starts OffsetMinutes after an edge of another item, or after the wedding's
// start when After is empty.
type TimelineItem struct {
	Key             string       `json:"key"` // unique in the timeline
	Kind            TimelineKind `json:"kind"`
	Title           string       `json:"title"`
	Place           string       `json:"place,omitempty"`          // where; the same words are the same place
	ResourceID      ResourceID   `json:"resource_id,omitempty"`    // the vendor whose time it takes
	After           string       `json:"after,omitempty"`          // key of another item
	Edge            Edge         `json:"edge,omitempty"`           // of that item; "" = end
	OffsetMinutes   int          `json:"offset_minutes,omitempty"` // may be negative
	DurationMinutes int          `json:"duration_minutes"`
	// Export writes the item as a booking of its resource, and so into that resource's calendars.
	Export bool `json:"export,omitempty"`
}

// Bounds of a timeline.
const (
	MaxTimelineItems    = 200
	MaxJourneys         = 200
	MaxTimelineKey      = 40
	MaxTimelineText     = 200
	MaxTimelineOffset   = 7 * 24 * 60 // minutes, in either direction
	MaxTimelineDuration = 3 * 24 * 60
	MaxTravelMinutes    = 24 * 60
)

// Validate checks each field by itself; prefix is put before the names of fields. Whether items hang together is
// rules/timeline's part.
func (p TimelinePlan) Validate(prefix string) error {
	at := func(list string, i int, field string) string {
		return prefix + list + "[" + strconv.Itoa(i) + "]." + field
	}
	if p.TravelMinutes < 0 || p.TravelMinutes > MaxTravelMinutes {
		return Invalid(prefix+"travel_minutes", "must be 0 to %d, is %d", MaxTravelMinutes, p.TravelMinutes)
	}
	if len(p.Journeys) > MaxJourneys {
		return Invalid(prefix+"journeys", "at most %d, has %d", MaxJourneys, len(p.Journeys))
	}
	for i, j := range p.Journeys {
		for field, text := range map[string]string{"from": j.From, "to": j.To} {
			if strings.TrimSpace(text) == "" || len(text) > MaxTimelineText || !utf8.ValidString(text) {
				return Invalid(at("journeys", i, field), "must be a place of 1 to %d bytes", MaxTimelineText)
			}
		}
		if j.Minutes < 0 || j.Minutes > MaxTravelMinutes {
			return Invalid(at("journeys", i, "minutes"), "must be 0 to %d, is %d", MaxTravelMinutes, j.Minutes)
		}
	}
	if len(p.Items) > MaxTimelineItems {
		return Invalid(prefix+"items", "at most %d, has %d", MaxTimelineItems, len(p.Items))
	}
	seen := map[string]bool{}
	for i, item := range p.Items {
		if fault := item.fault(seen); fault != nil {
			return Invalid(at("items", i, fault.field), "%s", fault.text)
		}
		seen[item.Key] = true
	}
	return nil
}

type itemFault struct{ field, text string }

func (item TimelineItem) fault(seen map[string]bool) *itemFault {
	switch {
	case item.Key == "" || len(item.Key) > MaxTimelineKey || strings.Trim(item.Key, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "":
		return &itemFault{"key", "must have 1 to 40 of the characters a to z, 0 to 9, - and _"}
	case seen[item.Key]:
		return &itemFault{"key", "is used by an item before it"}
	case !item.Kind.valid():
		return &itemFault{"kind", "must be ceremony, reception, arrival, setup, photos, meal, music, teardown or other"}
	case strings.TrimSpace(item.Title) == "" || len(item.Title) > MaxTimelineText || !utf8.ValidString(item.Title):
		return &itemFault{"title", "must have 1 to 200 bytes"}
	case len(item.Place) > MaxTimelineText || !utf8.ValidString(item.Place):
		return &itemFault{"place", "must have at most 200 bytes"}
	case item.Edge != "" && item.Edge != EdgeStart && item.Edge != EdgeEnd:
		return &itemFault{"edge", "must be start or end"}
	case item.Edge != "" && item.After == "":
		return &itemFault{"edge", "needs after: without it an item hangs on the start of the wedding"}
	case item.OffsetMinutes < -MaxTimelineOffset || item.OffsetMinutes > MaxTimelineOffset:
		return &itemFault{"offset_minutes", "must be within seven days (10080 minutes) in either direction"}
	case item.DurationMinutes < 1 || item.DurationMinutes > MaxTimelineDuration:
		return &itemFault{"duration_minutes", "must be 1 to 4320"}
	case item.Export && item.ResourceID == "":
		return &itemFault{"export", "needs resource_id: the calendar to export to"}
	case item.ResourceID != "" && idFault(string(item.ResourceID)) != "":
		return &itemFault{"resource_id", idFault(string(item.ResourceID))}
	}
	return nil
}
