package reconcile

import (
	"cmp"
	"slices"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/conflict"
)

// world is the state of one decision: what was read, overlaid with what the items did so far.
type world struct {
	in       Input
	outcomes []Outcome

	bookings map[domain.BookingID]*domain.Booking
	before   map[domain.BookingID]*domain.Booking // as read; nil entry for new ones
	touched  []domain.BookingID                   // bookings whose version grew, in order
	rejudged []domain.BookingID                   // looked at anew by the present rules; their versions stay
	byPerson map[domain.BookingID]bool            // touched by a person or a resolution
	told     map[domain.BookingID]bool            // touched by the From system's own entry: it knows already
	byHand   map[domain.BookingID]bool            // moved by a hand on our copy in From: the systems that have it as their own do not know
	resend   map[domain.BookingID]bool            // our copy in From was altered or deleted and must be restored
	restore  map[domain.BookingID]bool            // the entry in From lost against the booking and is written over
	gained   map[*domain.Link]bool                // entries that came to another booking: a wish for a copy beside them ends
	filter   filter
	reread   bool
	edits    []domain.EditConflict
	judged   []domain.BookingID // changed on both sides, and decided by the connection's policy

	links      []*domain.Link // stable order
	byExternal map[string]*domain.Link
	byBooking  map[domain.BookingID][]*domain.Link // see rebook
	changed    map[*domain.Link]bool
	newLinks   map[*domain.Link]bool

	occupied map[domain.ResourceID][]Occupied
	moved    map[domain.BookingID]Occupied // new allocations and promoted ones
	freed    map[domain.BookingID]bool

	opened, updated, cleared []domain.Conflict
	clashes                  []conflict.Found
	rechecks                 []Recheck
	pushes                   []domain.Push
}

func newWorld(in Input) *world {
	w := &world{
		in: in, bookings: map[domain.BookingID]*domain.Booking{}, before: map[domain.BookingID]*domain.Booking{},
		byPerson: map[domain.BookingID]bool{}, byHand: map[domain.BookingID]bool{}, gained: map[*domain.Link]bool{}, restore: map[domain.BookingID]bool{},
		filter: newFilter(in.From.Sync.Filters), told: map[domain.BookingID]bool{}, resend: map[domain.BookingID]bool{},
		byExternal: map[string]*domain.Link{}, byBooking: map[domain.BookingID][]*domain.Link{}, changed: map[*domain.Link]bool{}, newLinks: map[*domain.Link]bool{},
		occupied: map[domain.ResourceID][]Occupied{}, moved: map[domain.BookingID]Occupied{}, freed: map[domain.BookingID]bool{},
	}
	for id, b := range in.Bookings {
		b := b
		w.bookings[id] = &b
	}
	for _, l := range in.Links {
		w.addLink(l)
	}
	for id, list := range in.Occupied {
		w.occupied[id] = slices.Clone(list)
	}
	return w
}

// newID draws an identifier for something that this decision makes.
func newID[T domain.AnyID](w *world) T {
	if w.in.Random != nil {
		return domain.NewIDFrom[T](w.in.Now, w.in.Random)
	}
	return domain.NewID[T](w.in.Now)
}

func (w *world) addLink(l domain.Link) *domain.Link {
	p := &l
	w.links = append(w.links, p)
	w.byBooking[l.BookingID] = append(w.byBooking[l.BookingID], p)
	if l.IntegrationID == w.in.From.ID {
		w.byExternal[l.ExternalID] = p
	}
	return p
}

// keep notes a booking's state before its first change in this decision.
func (w *world) keep(id domain.BookingID) {
	if _, seen := w.before[id]; seen {
		return
	}
	if b, ok := w.bookings[id]; ok {
		was := *b
		w.before[id] = &was
	} else {
		w.before[id] = nil
	}
	w.touched = append(w.touched, id)
}

// put stores a new state of a booking with the next version.
func (w *world) put(b domain.Booking) {
	w.keep(b.ID)
	if was := w.before[b.ID]; was != nil {
		b.Version, b.CreatedAt = was.Version+1, was.CreatedAt
	} else {
		b.Version = 1
		if b.CreatedAt.IsZero() {
			b.CreatedAt = w.in.Now
		}
	}
	b.OrgID, b.UpdatedAt = w.in.Org, w.in.Now
	w.bookings[b.ID] = &b
}

func (w *world) touchLink(l *domain.Link) {
	l.UpdatedAt = w.in.Now
	w.changed[l] = true
}

func (w *world) linksOf(id domain.BookingID) []*domain.Link { return w.byBooking[id] }

func (w *world) candidate(b domain.Booking, res Resource) conflict.Candidate {
	event := conflict.EventOf(b.When, res.Loc)
	return conflict.Candidate{BookingID: b.ID, Category: b.Category, Status: b.Status, Event: event,
		Busy: conflict.Busy(res.Resource, event, b.Category), Place: w.in.Places.Find(b.Details.Location), CreatedAt: b.CreatedAt}
}

// plan collects what changed, in an order that does not depend on map iteration.
func (w *world) plan() Plan {
	p := Plan{Outcomes: w.outcomes, Opened: w.opened, Updated: w.updated, Cleared: w.cleared, Rechecks: w.rechecks, Pushes: w.pushes, Clashes: w.clashes,
		Edits: w.edits, Reread: w.reread, Judged: w.judged}
	for _, id := range w.touched {
		p.Bookings = append(p.Bookings, BookingWrite{Booking: *w.bookings[id], Was: w.before[id]})
	}
	ids := make([]domain.BookingID, 0, len(w.moved))
	for id := range w.moved {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		o := w.moved[id]
		p.Allocations = append(p.Allocations, domain.Allocation{ID: o.AllocationID, OrgID: w.in.Org, BookingID: id,
			ResourceID: w.resourceOf(id), Category: o.Category, Status: o.Status, Event: o.Event, Busy: o.Busy, Place: o.Place, Slot: o.Slot, Exclusive: o.Exclusive, ExpiresAt: o.HeldUntil})
	}
	for id := range w.freed {
		p.Freed = append(p.Freed, id)
	}
	slices.Sort(p.Freed)
	for _, l := range w.links {
		if w.changed[l] {
			p.Links = append(p.Links, *l)
		}
	}
	slices.SortFunc(p.Rechecks, func(a, b Recheck) int {
		return cmp.Or(cmp.Compare(a.ConflictID, b.ConflictID), cmp.Compare(a.BookingID, b.BookingID))
	})
	p.Rechecks = slices.Compact(p.Rechecks)
	return p
}

func (w *world) resourceOf(id domain.BookingID) domain.ResourceID {
	if b, ok := w.bookings[id]; ok {
		return b.ResourceID
	}
	for res, list := range w.occupied {
		for _, o := range list {
			if o.BookingID == id {
				return res
			}
		}
	}
	return ""
}
