package holds

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/conflict"
	"github.com/wedsync/wedsync/internal/rules/place"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

// scene is what is taken around a booking, read under the lock of its resource.
type scene struct {
	now     time.Time
	res     domain.Resource
	loc     *time.Location
	subject conflict.Candidate
	firm    []conflict.Candidate // everything but shared holds
	shared  []conflict.Candidate // live shared holds
	holds   map[domain.BookingID]domain.Hold
}

func candidateOf(res domain.Resource, loc *time.Location, b domain.Booking, created time.Time) conflict.Candidate {
	event := conflict.EventOf(b.When, loc)
	return conflict.Candidate{BookingID: b.ID, Category: b.Category, Status: b.Status, Event: event,
		Busy: conflict.Busy(res, event, b.Category), CreatedAt: created}
}

// lookAt locks the resource of a booking and reads what is taken around it. The holds among that are locked too.
func lookAt(ctx context.Context, tx *store.Tx, b domain.Booking) (s scene, err error) {
	var (
		resources []domain.Resource
		venues    []domain.Venue
	)
	r := tx.Reads()
	r.LockResources([]domain.ResourceID{b.ResourceID}, &resources)
	if b.Details.Location != "" {
		r.Venues(&venues)
	}
	if err := r.Do(ctx); err != nil {
		return s, err
	}
	if len(resources) == 0 {
		return s, domain.Invalid("resource_id", "no such resource")
	}
	s = scene{now: tx.Now, res: resources[0], holds: map[domain.BookingID]domain.Hold{}}
	if s.loc, err = calendartime.LoadZone(s.res.Zone); err != nil {
		return s, domain.E(domain.KindInternal, "zone of a stored resource: %w", err)
	}
	created := b.CreatedAt
	if created.IsZero() {
		created = tx.Now
	}
	s.subject = candidateOf(s.res, s.loc, b, created)
	s.subject.Place = place.Learn(venues).Find(b.Details.Location)
	near, err := tx.AllocationsNear(ctx, []store.Near{{Resource: b.ResourceID, Span: reconcile.Reach(s.subject.Busy)}})
	if err != nil {
		return s, err
	}
	var held []domain.BookingID
	for _, a := range near {
		if !a.ExpiresAt.IsZero() && a.BookingID != b.ID {
			held = append(held, a.BookingID)
		}
	}
	if len(held) > 0 {
		list, err := tx.LockHolds(ctx, held)
		if err != nil {
			return s, err
		}
		for _, h := range list {
			s.holds[h.ID] = h
		}
	}
	for _, a := range near {
		if a.BookingID == b.ID {
			continue
		}
		c := conflict.Candidate{BookingID: a.BookingID, Category: a.Category, Status: a.Status, Event: a.Event, Busy: a.Busy, Place: a.Place, CreatedAt: a.BookedAt}
		if s.holds[a.BookingID].Shared {
			s.shared = append(s.shared, c)
		} else {
			s.firm = append(s.firm, c)
		}
	}
	return s, nil
}

// inTheWay lists what clashes with the booking. Shared holds do not stand in the way of one another, nor of a
// confirmation.
func (s scene) inTheWay(passShared bool) []conflict.Found {
	neighbours := s.firm
	if !passShared {
		neighbours = append(append([]conflict.Candidate{}, s.firm...), s.shared...)
	}
	return conflict.Detect(s.now, s.res, s.loc, s.subject, neighbours)
}

// losers are the shared holds that have no room beside the booking once it is confirmed.
func (s scene) losers() []domain.Hold {
	beside := append(append([]conflict.Candidate{}, s.firm...), s.subject)
	var out []domain.Hold
	for _, c := range s.shared {
		if len(blocking(conflict.Detect(s.now, s.res, s.loc, c, beside))) > 0 {
			out = append(out, s.holds[c.BookingID])
		}
	}
	return out
}

// blocking leaves out what is told and does not stand in the way: being outside working hours.
func blocking(found []conflict.Found) []conflict.Found {
	var out []conflict.Found
	for _, f := range found {
		if f.Kind != domain.ConflictOffHours {
			out = append(out, f)
		}
	}
	return out
}
