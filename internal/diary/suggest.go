package diary

import (
	"context"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/conflict"
	"github.com/wedsync/wedsync/internal/rules/place"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/rules/suggest"
	"github.com/wedsync/wedsync/internal/rules/weddingday"
	"github.com/wedsync/wedsync/internal/store"
)

// Asked is a booking that looks for a place. It need not be stored: its resource, category and time count.
type Asked struct {
	Booking domain.Booking
	Stored  bool     // it is stored, with its id
	Skills  []string // what another resource must have; nil means those of the booking's resource
	Max     int      // ways at most; 0 = suggest.DefaultMax
}

// Advice is what can be done for a booking.
type Advice struct {
	Fits      bool // as it is asked for, nothing is in the way
	Clashes   []conflict.Found
	Ways      []domain.Alternative
	Exchanges []suggest.Exchange
	Sources   []Source // of every resource named, in the order of their ids
}

// own is how far around the booking the calendar of its own resource is read: as far as package suggest goes, and a few
// days more for what could clash there.
const own = (suggest.WideHorizon + 4) * 24 * time.Hour

// Suggest looks for other times on the same resource, for other resources of the same kind with the skills needed among the
// first store.LookedThrough, and for exchanges with them. It takes three round trips.
func Suggest(ctx context.Context, tx *store.Tx, asked Asked) (Advice, error) {
	b := asked.Booking
	if err := b.When.Validate("when"); err != nil {
		return Advice{}, err
	}
	var (
		resources []domain.Resource
		mine      []store.BusyAllocation
		venues    []domain.Venue
		settings  domain.FreezeSettings
	)
	r := tx.Reads()
	r.FreezeSettings(&settings)
	if b.Details.Location != "" {
		r.Venues(&venues)
	}
	r.Resources([]domain.ResourceID{b.ResourceID}, &resources)
	r.AllocationsNear([]store.Near{{Resource: b.ResourceID, Span: b.When.Pad(own, own)}}, &mine)
	if err := r.Do(ctx); err != nil {
		return Advice{}, err
	}
	if len(resources) == 0 {
		return Advice{}, domain.E(domain.KindNotFound, "no such resource")
	}
	loc, err := calendartime.LoadZone(resources[0].Zone)
	if err != nil {
		return Advice{}, domain.E(domain.KindInternal, "zone of a stored resource: %w", err)
	}
	request := suggest.Request{Subject: b, Place: place.Learn(venues).Find(b.Details.Location), Resource: resources[0], Loc: loc, Now: tx.Now, Freeze: weddingday.PeriodsOf(settings).Freeze, Max: asked.Max, Skills: asked.Skills,
		Busy: byResource(mine, b.ID)[b.ResourceID]}
	if request.Skills == nil {
		request.Skills = resources[0].Skills
	}
	event := conflict.EventOf(b.When, loc)
	subject := conflict.Candidate{BookingID: b.ID, Category: b.Category, Status: b.Status, Event: event,
		Busy: conflict.Busy(resources[0], event, b.Category), Place: request.Place, CreatedAt: b.CreatedAt}
	a := Advice{Clashes: conflict.Detect(tx.Now, resources[0], loc, subject, request.Busy)}
	a.Fits = len(a.Clashes) == 0
	if err := others(ctx, tx, &request, reach(subject, request.Busy, a.Clashes)); err != nil {
		return a, err
	}
	a.Ways = suggest.Alternatives(request)
	a.Exchanges = suggest.Exchanges(request, asked.Stored)
	a.Sources, err = Sources(ctx, tx, a.resources(b.ResourceID)...)
	return a, err
}

// longestReach bounds how far around a booking the calendars of other resources are read for what could change hands.
const longestReach = 7 * 24 * time.Hour

// reach is the time around the subject, and around what clashes with it and could change hands.
func reach(subject conflict.Candidate, busy []conflict.Candidate, clashes []conflict.Found) domain.Span {
	span := subject.Busy
	for _, f := range clashes {
		for _, c := range busy {
			if (c.BookingID == f.BookingID || c.BookingID == f.OtherID) && c.Event.Duration() <= longestReach {
				if c.Busy.Start.Before(span.Start) {
					span.Start = c.Busy.Start
				}
				if c.Busy.End.After(span.End) {
					span.End = c.Busy.End
				}
			}
		}
	}
	return reconcile.Reach(span)
}

// others reads the resources that may take bookings over, with what is taken of them.
func others(ctx context.Context, tx *store.Tx, request *suggest.Request, span domain.Span) error {
	var (
		found []store.ShutResource
		near  []store.BusyAllocation
	)
	r := tx.Reads()
	r.Searched(store.ResourceAsk{Kind: request.Resource.Kind, Skills: request.Skills}, span, &found, &near)
	if err := r.Do(ctx); err != nil {
		return err
	}
	busy, zones := byResource(near, request.Subject.ID), map[string]*time.Location{}
	for _, f := range found {
		if f.ID == request.Resource.ID {
			continue
		}
		loc := zones[f.Zone]
		if loc == nil {
			var err error
			if loc, err = calendartime.LoadZone(f.Zone); err != nil {
				return domain.E(domain.KindInternal, "zone of a stored resource: %w", err)
			}
			zones[f.Zone] = loc
		}
		request.Others = append(request.Others, suggest.Other{Resource: f.Resource, Loc: loc, Busy: busy[f.ID]})
	}
	return nil
}

// resources are those that the advice names, each once.
func (a Advice) resources(first domain.ResourceID) []domain.ResourceID {
	ids := []domain.ResourceID{first}
	for _, w := range a.Ways {
		ids = append(ids, w.ResourceID)
	}
	for _, e := range a.Exchanges {
		for _, s := range e.Steps {
			ids = append(ids, s.To)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
