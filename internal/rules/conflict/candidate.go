package conflict

import (
	"cmp"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// Candidate is a booking as far as conflicts care: its rank, its firmness and the time it takes.
type Candidate struct {
	BookingID domain.BookingID
	Category  domain.Category
	Status    domain.BookingStatus
	Event     domain.Span  // the booking's own time
	Busy      domain.Span  // the same with buffers, from Busy; contains Event
	Place     domain.Point // where it is; zero when that is not known
	CreatedAt time.Time
}

// Occupied is a stored neighbour with the slot it holds.
type Occupied struct {
	Candidate
	Slot      int
	Exclusive bool // takes part in the database's exclusion
}

// EventOf is the time that a booking takes of a resource in zone loc. Whole days are meant where the resource works: an
// entry of 5 June that was written in another zone claims 5 June there, not the hours of a day elsewhere.
func EventOf(when domain.When, loc *time.Location) domain.Span {
	if when.Kind != domain.TimeAllDay || when.Zone == loc.String() {
		return when.Span
	}
	there, err := calendartime.LoadZone(when.Zone)
	if err != nil {
		return when.Span
	}
	first, end, whole := calendartime.WholeDays(when.Span, there)
	if !whole {
		return when.Span
	}
	if here := calendartime.AllDay(loc, first, end); here.End.After(here.Start) {
		return here
	}
	return when.Span
}

// HasBuffers reports whether bookings of the category need set-up and travel time around them.
func HasBuffers(c domain.Category) bool {
	switch c {
	case domain.CategoryTravel, domain.CategoryHold, domain.CategoryMaintenance, domain.CategoryPersonal:
		return false
	case domain.CategoryWedding, domain.CategoryEngagement, domain.CategoryVendor, domain.CategoryConsultation:
	}
	return true
}

// Busy is the time that a booking of category c takes of the resource: the event and, for categories that need them,
// the resource's buffers. Whole local days of the resource's zone take no buffers: such an entry claims a date, set-up
// and travel included, and weddings entered by date on a Saturday and a Sunday do not clash at midnight.
func Busy(res domain.Resource, event domain.Span, c domain.Category) domain.Span {
	if !HasBuffers(c) || wholeDays(res, event) {
		return event
	}
	return event.Pad(res.BufferBefore, res.BufferAfter)
}

func wholeDays(res domain.Resource, event domain.Span) bool {
	// No local day is shorter, and most appointments are: the look-up is for the few.
	if event.Duration() < 20*time.Hour {
		return false
	}
	loc, err := calendartime.LoadZone(res.Zone)
	if err != nil {
		return false
	}
	_, _, whole := calendartime.WholeDays(event, loc)
	return whole
}

// GivesWay reports whether a should move rather than b: the lower category, then tentative before confirmed, then
// the one made later, then the larger id.
func GivesWay(a, b Candidate) bool { return compare(a, b) < 0 }

// compare orders candidates from the one that gives way first.
func compare(a, b Candidate) int {
	firm := func(c Candidate) int {
		if c.Status == domain.StatusTentative {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(a.Category.Rank(), b.Category.Rank()),
		cmp.Compare(firm(a), firm(b)),
		b.CreatedAt.Compare(a.CreatedAt),
		cmp.Compare(b.BookingID, a.BookingID),
	)
}

// Slot finds a place for the subject among the resource's slots: the smallest one in which no confirmed exclusive
// neighbour is busy at the same time, and true. Where every slot is taken it is 0 and false: the booking is recorded
// without exclusion and reported as a conflict. The subject's own entry among the neighbours does not count.
func Slot(res domain.Resource, subject Candidate, neighbours []Occupied) (slot int, exclusive bool) {
	taken := make([]bool, max(res.Capacity, 1))
	for _, n := range neighbours {
		if n.BookingID == subject.BookingID || !n.Exclusive || n.Status != domain.StatusConfirmed || n.Slot < 0 || n.Slot >= len(taken) {
			continue
		}
		if n.Busy.Overlaps(subject.Busy) {
			taken[n.Slot] = true
		}
	}
	for i, t := range taken {
		if !t {
			return i, true
		}
	}
	return 0, false
}
