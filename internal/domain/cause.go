package domain

import "time"

// CauseKind says what kind of thing changed a booking.
type CauseKind string

// The kinds of causes. ID of a Cause names the thing.
const (
	CauseDelivery    CauseKind = "delivery"    // a webhook; its delivery
	CauseReplay      CauseKind = "replay"      // a webhook handed in once more; the delivery made for it
	CauseSyncRun     CauseKind = "sync_run"    // a listing of a system; the run
	CausePerson      CauseKind = "person"      // a person through the API; the token's subject
	CauseResolution  CauseKind = "resolution"  // a decided conflict; the conflict
	CauseQuarantine  CauseKind = "quarantine"  // held removals that a person approved; the quarantine
	CauseIntegration CauseKind = "integration" // a system, without anything closer; the integration
	CauseSettings    CauseKind = "settings"    // a change of a connection's settings; the integration
	CauseSystem      CauseKind = "system"      // a part of WedSync; its name
)

// Cause is what changed a booking. It names no person other than by a token's subject, as the audit trail does.
type Cause struct {
	Kind CauseKind `json:"kind"`
	ID   string    `json:"id"`
}

// BookingChange is one line of a booking's history.
type BookingChange struct {
	BookingID BookingID `json:"-"`
	Version   int64     `json:"version"` // of the booking after the change
	At        time.Time `json:"at"`
	Cause     Cause     `json:"cause"`
	// Fields are the names of what changed, without values; "created" alone for the first version.
	Fields []string `json:"fields"`
}

// ChangedFields names what differs between two states of a booking; was is nil for a new one.
func ChangedFields(was *Booking, now Booking) []string {
	if was == nil {
		return []string{"created"}
	}
	fields := []string{}
	note := func(name string, differs bool) {
		if differs {
			fields = append(fields, name)
		}
	}
	note("resource", was.ResourceID != now.ResourceID)
	note("category", was.Category != now.Category)
	note("status", was.Status != now.Status)
	note("start", !was.When.Start.Equal(now.When.Start))
	note("end", !was.When.End.Equal(now.When.End))
	note("zone", was.When.Zone != now.When.Zone)
	note("time_kind", was.When.Kind != now.When.Kind)
	note("title", was.Details.Title != now.Details.Title)
	note("location", was.Details.Location != now.Details.Location)
	note("notes", was.Details.Notes != now.Details.Notes)
	note("contact", was.Details.Contact != now.Details.Contact)
	note("private", was.Private != now.Private)
	note("free", was.Free != now.Free)
	note("held_until", !was.HeldUntil.Equal(now.HeldUntil))
	note("merged_into", was.MergedInto != now.MergedInto)
	return fields
}
