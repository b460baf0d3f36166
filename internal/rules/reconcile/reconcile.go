// Package reconcile decides what a set of changes from outside systems (or from a person) does to an organisation's
// bookings. It is a pure function: everything known goes in, a Plan comes out, and package apply carries the plan out
// in the same transaction in which the knowledge was read under locks.
//
// The questions it answers, in this order for each change:
//
//   - Which booking is meant? By mapping row, by the origin marker of a copy of ours, by shared UID, and at last by
//     careful likeness (same resource, near-same time, same words). What a person said about it comes before UID and
//     likeness, and is never overturned by them. See match.go and link.go.
//   - Is it news? Repeats, echoes of our own writes and stale versions have no effect.
//   - Does the connection want it? See filter.go.
//   - What becomes of the booking, its allocation and its conflicts? See effects.go and clashes.go.
//   - Was the booking changed too since both agreed? Then the connection's policy decides, or a person. See agreed.go,
//     edits.go and ask.go.
//   - Which other systems must be told, and what is written there? See pushes.go and writes.go.
//
// Order matters inside one call: later changes see the effect of earlier ones. The same input gives the same plan,
// except for the random bits of new identifiers, which Input.Random may give. Planning a plan's outcome again gives a
// plan without effect, which a property test holds.
package reconcile

import (
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/conflict"
	"github.com/wedsync/wedsync/internal/rules/place"
)

// Input is everything that a decision needs. The caller has locked the resources named in it.
type Input struct {
	Now   time.Time
	Org   domain.OrgID
	From  domain.Integration // the system that the changes come from; zero for changes by a person
	Items []Item             // in order of arrival
	// ReadAt is when the page was asked for that the items come from; zero = they were not read from a page. An entry
	// that changed here later is not judged by it: the plan then says Reread, and nothing of it may be stored.
	ReadAt time.Time

	Links     []domain.Link // every link, live or removed, of the bookings concerned and of the external ids named
	Bookings  map[domain.BookingID]domain.Booking
	Resources map[domain.ResourceID]Resource
	Occupied  map[domain.ResourceID][]Occupied // blocking allocations near any time concerned
	Exports   []domain.Integration             // connections of the organisation that take writes
	Conflicts []domain.Conflict                // open, ignored or being carried out, of any booking concerned
	Dismissed map[string]string                // PairKey to the fingerprint that a person accepted
	Places    place.Known                      // the venues of the organisation; none where no text could name one
	Choices   []domain.LinkChoice              // what persons said about pairs of the bookings concerned
	// Ask are the bookings about which a person decides when both sides changed them, or when a system makes a wedding
	// something else than one that takes time, whatever the connection's policy says.
	Ask map[domain.BookingID]bool
	// Random fills the random bits of new identifiers; nil = the system's own randomness.
	Random func([]byte)
}

// Item is one wish: a change read from a system, or the booking as a person wants it.
type Item struct {
	Change *domain.Change
	// Manual is the whole booking as wanted by a person or a resolution. A new id creates it.
	Manual *domain.Booking
	// Settle is a person's answer to an edit conflict; From is its integration.
	Settle *Settle
	// Join and Part are a person's word that two bookings are one event, or that one is two.
	Join *Join
	Part *Part
	// Rejudge names a booking that is looked at anew because the rules of its resource, or a venue, changed.
	Rejudge domain.BookingID
}

// Resource is a resource with its loaded zone.
type Resource struct {
	domain.Resource
	Loc *time.Location
}

// Occupied is an allocation as read.
type Occupied struct {
	conflict.Occupied
	AllocationID domain.AllocationID
	HeldUntil    time.Time // of a hold; zero for other bookings
}

// Effect says what an item did.
type Effect string

// The effects.
const (
	EffectCreated   Effect = "created"
	EffectUpdated   Effect = "updated"
	EffectLinked    Effect = "linked"    // known from another system already: one booking, one more link
	EffectRemoved   Effect = "removed"   // the entry is gone there; the booking may live on through other systems
	EffectUnchanged Effect = "unchanged" // a repeat
	EffectEcho      Effect = "echo"      // our own write came back
	EffectStale     Effect = "stale"     // older than what was applied already
	EffectUnknown   Effect = "unknown"   // a removal of something never seen
	EffectRejected  Effect = "rejected"  // not acceptable; Reason says why
	EffectFiltered  Effect = "filtered"  // left out by the connection's filters, as before
	EffectAsked     Effect = "asked"     // changed on both sides; a person decides, nothing else altered
)

// Changes reports whether the effect altered a booking or its links for others to see.
func (e Effect) Changes() bool {
	switch e {
	case EffectCreated, EffectUpdated, EffectLinked, EffectRemoved:
		return true
	case EffectUnchanged, EffectEcho, EffectStale, EffectUnknown, EffectRejected, EffectFiltered, EffectAsked:
	}
	return false
}

// Outcome is the effect of one item.
type Outcome struct {
	Effect    Effect
	BookingID domain.BookingID // "" where no booking is concerned
	Reason    string           // in words, without personal data
	// Doubt says of a stale item that it was read from the system and says something else than what is known of its entry. The
	// system answers from a copy that is behind, its clock stepped back, or the entry changed here meanwhile: it must be asked for,
	// by itself if it was not, and later if it was.
	Doubt bool
}

// BookingWrite is a booking to be stored.
type BookingWrite struct {
	Booking domain.Booking
	Was     *domain.Booking // nil for a new one
}

// Recheck tells a conflict's workflow to look again.
type Recheck struct {
	ConflictID domain.ConflictID
	BookingID  domain.BookingID
}

// Plan is what must be stored, all of it or nothing.
type Plan struct {
	Outcomes    []Outcome // one per item, in order
	Bookings    []BookingWrite
	Allocations []domain.Allocation // replace whatever their bookings had
	Freed       []domain.BookingID  // bookings whose allocation goes away
	Links       []domain.Link       // new or changed, whole rows
	Opened      []domain.Conflict   // without alternatives
	Updated     []domain.Conflict   // still clashing, with other facts; without alternatives
	Cleared     []domain.Conflict
	Rechecks    []Recheck
	Pushes      []domain.Push
	Edits       []domain.EditConflict // new and changed; one that closes has no There
	// Reread says that the page behind the items is older than what is known of one of its entries. It must be read again.
	Reread bool
	// Judged are the bookings that both sides had changed and about which the connection's policy decided.
	Judged []domain.BookingID
	// Clashes are all that the bookings concerned have now, new or known or accepted. Nothing of it is stored.
	Clashes []conflict.Found
}

// Empty reports whether the plan stores nothing.
func (p Plan) Empty() bool {
	return len(p.Bookings)+len(p.Allocations)+len(p.Freed)+len(p.Links)+len(p.Opened)+len(p.Updated)+len(p.Cleared)+
		len(p.Rechecks)+len(p.Pushes)+len(p.Edits) == 0
}

// Decide makes the plan.
func Decide(in Input) Plan {
	w := newWorld(in)
	for _, item := range in.Items {
		var o Outcome
		switch {
		case item.Manual != nil:
			o = w.applyManual(*item.Manual)
		case item.Settle != nil:
			o = w.applySettle(*item.Settle)
		case item.Join != nil:
			o = w.applyJoin(*item.Join)
		case item.Part != nil:
			o = w.applyPart(*item.Part)
		case item.Rejudge != "":
			o = w.rejudge(item.Rejudge)
		case item.Change != nil:
			o = w.applyChange(*item.Change)
		default:
			o = Outcome{Effect: EffectRejected, Reason: "empty item"}
		}
		w.outcomes = append(w.outcomes, o)
	}
	w.settleClashes()
	w.wantPushes()
	return w.plan()
}
