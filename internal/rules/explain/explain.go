// Package explain says why a system shows a booking, or why it does not. It decides from what is stored alone, so its
// answers are a table that can be checked by eye: [System] for one system. Reasons are words for people and hold no
// personal data; codes are for programs and do not change.
//
// Test it with tables (go test ./internal/rules/explain).
package explain

import (
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Shows says whether a system shows a booking.
type Shows string

// The answers.
const (
	ShowsOwn     Shows = "own"     // as an entry of its own
	ShowsCopy    Shows = "copy"    // as a copy that WedSync wrote
	ShowsPending Shows = "pending" // not as it should yet; it is being worked on
	ShowsFailed  Shows = "failed"  // not as it should, and a person must look
	ShowsNot     Shows = "no"
)

// Code is why.
type Code string

// The codes.
const (
	CodeOwn            Code = "own_entry"
	CodeCopy           Code = "copy_written"
	CodeBusy           Code = "copy_as_busy"         // a private booking is shown without details
	CodeHeld           Code = "held"                 // its removal waits for a person
	CodeEdited         Code = "edited_on_both_sides" // a person has to say which version counts
	CodeWaiting        Code = "copy_waiting"
	CodeRetrying       Code = "copy_retrying"
	CodeFailed         Code = "copy_failed"
	CodeRemoving       Code = "copy_removing"
	CodePaused         Code = "paused"
	CodeNeedsReconnect Code = "needs_reconnect"
	CodeConnecting     Code = "connecting"
	CodeDisconnected   Code = "disconnected"
	CodeImportOnly     Code = "import_only"
	CodeOtherResource  Code = "other_resource"
	CodeCancelled      Code = "cancelled"
	CodeFree           Code = "free"
	CodePrivate        Code = "private_skipped" // the connection shows no private bookings
	CodeFiltered       Code = "filtered"        // its entry there is left out by the connection's filters
	CodePurged         Code = "copies_purged"
	CodeGoneThere      Code = "gone_there"    // its entry was removed there, and the booking lives on by others
	CodeNotWished      Code = "not_asked_for" // nothing has caused a copy since the connection was made
)

// Verdict is the answer for one system.
type Verdict struct {
	Shows  Shows  `json:"shows"`
	Code   Code   `json:"code"`
	Reason string `json:"reason"`
}

// Input is what is known of a booking and one integration.
type Input struct {
	Booking     domain.Booking
	Integration domain.Integration
	Links       []domain.Link // of the booking in this integration, removed ones included
	Push        *domain.Push  // of the booking to this integration
	Held        bool          // a removal of its entry there is in an open quarantine
	Edited      bool          // an edit conflict between it and its entry there is open
}

// System says whether and why one system shows a booking. The most telling reason is given: what a person would have to
// mend comes before what is as it should be.
func System(in Input) Verdict {
	var own, copied, gone *domain.Link
	filtered := false
	for n := range in.Links {
		switch l := &in.Links[n]; {
		case l.RemovedAt != nil && !l.Mirror:
			gone, filtered = l, filtered || l.Agreed.Filtered
		case l.RemovedAt != nil:
		case l.Mirror:
			copied = l
		default:
			own = l
		}
	}
	b, i := in.Booking, in.Integration
	if in.Held {
		return Verdict{ShowsNot, CodeHeld, "the system no longer has its entry, or did not list it; too many went at once, so it waits for a person whether the booking goes too"}
	}
	if in.Edited && i.State != domain.IntegrationDeleted {
		return Verdict{ShowsFailed, CodeEdited, "it was changed here and there; each side keeps its own version until a person decides the edit conflict"}
	}
	if v, waits := pushed(in, copied != nil); waits && own == nil {
		return stopped(i, v)
	}
	switch {
	case own != nil:
		if v, waits := pushed(in, true); waits {
			return stopped(i, v)
		}
		return Verdict{ShowsOwn, CodeOwn, "the system has it as an entry of its own"}
	case copied != nil && b.Private:
		return Verdict{ShowsCopy, CodeBusy, "our copy is there and says only Busy, because the booking is private"}
	case copied != nil:
		return Verdict{ShowsCopy, CodeCopy, "our copy is there"}
	case i.State == domain.IntegrationDeleted:
		return Verdict{ShowsNot, CodeDisconnected, "the connection was deleted"}
	case filtered:
		return Verdict{ShowsNot, CodeFiltered, "the system has an entry of its own, which the connection's filters leave out"}
	case gone != nil && b.Status != domain.StatusCancelled && !i.Direction.Exports():
		return Verdict{ShowsNot, CodeGoneThere, "its entry there was removed, and the booking stays because of another system or a person"}
	case !i.Direction.Exports():
		return Verdict{ShowsNot, CodeImportOnly, "the connection only reads; bookings of others are not written there"}
	case b.ResourceID != i.ResourceID:
		return Verdict{ShowsNot, CodeOtherResource, "the connection carries the bookings of another resource"}
	case b.Status == domain.StatusCancelled:
		return Verdict{ShowsNot, CodeCancelled, "the booking is cancelled"}
	case b.Free:
		return Verdict{ShowsNot, CodeFree, "the booking takes no time, and only busy time is written"}
	case b.Private && i.Sync.Private == domain.PrivateSkip:
		return Verdict{ShowsNot, CodePrivate, "the booking is private, and the connection shows no private ones"}
	case i.Copies != domain.CopiesKept && i.Copies != "":
		return Verdict{ShowsNot, CodePurged, "our copies were removed there, and none are written until the direction of the connection is set anew"}
	}
	return stopped(i, Verdict{ShowsNot, CodeNotWished, "the booking has not changed since the connection was made; a copy is written with its next change"})
}

// pushed says what a push that is not done means; waits is false when there is nothing to wait for.
func pushed(in Input, there bool) (v Verdict, waits bool) {
	p := in.Push
	if p == nil || p.State == domain.PushDone {
		return v, false
	}
	if p.Op == domain.PushRemove && !there {
		return v, false
	}
	because := ""
	if p.Reason != "" {
		because = ": " + p.Reason
	}
	switch p.State {
	case domain.PushFailed:
		return Verdict{ShowsFailed, CodeFailed, "writing there was given up" + because}, true
	case domain.PushRetrying:
		again := ""
		if p.NextAttemptAt != nil {
			again = "; the next try is at " + p.NextAttemptAt.UTC().Format(time.RFC3339)
		}
		return Verdict{ShowsPending, CodeRetrying, "writing there did not work yet" + because + again}, true
	case domain.PushPending, domain.PushDone:
	}
	if p.Op == domain.PushRemove {
		return Verdict{ShowsPending, CodeRemoving, "our copy there is being removed"}, true
	}
	return Verdict{ShowsPending, CodeWaiting, "it is to be written there"}, true
}

// stopped replaces a wait by what stands in its way.
func stopped(i domain.Integration, v Verdict) Verdict {
	switch i.State {
	case domain.IntegrationPaused:
		return Verdict{ShowsPending, CodePaused, "the connection is paused; it goes on when it is resumed"}
	case domain.IntegrationNeedsReconnect:
		return Verdict{ShowsFailed, CodeNeedsReconnect, "the system no longer accepts our credentials; reconnect it"}
	case domain.IntegrationConnecting:
		return Verdict{ShowsPending, CodeConnecting, "the connection is being made; it goes on when that is done"}
	case domain.IntegrationDeleted:
		return Verdict{ShowsNot, CodeDisconnected, "the connection was deleted"}
	case domain.IntegrationActive:
	}
	return v
}
