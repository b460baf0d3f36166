package server

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// whenBody is a time as a caller gives it.
type whenBody struct {
	Start time.Time       `json:"start" doc:"First instant"`
	End   time.Time       `json:"end" doc:"First instant after it"`
	Zone  string          `json:"zone,omitempty" maxLength:"64" doc:"IANA zone in which it is thought of; the resource's where absent"`
	Kind  domain.TimeKind `json:"kind,omitempty" enum:"zoned,all_day,floating" default:"zoned"`
}

// when completes and checks a time. Days of an all-day time must be whole in its zone.
func (w whenBody) when(field, zone string) (domain.When, error) {
	if w.Zone != "" {
		zone = w.Zone
	}
	loc, err := loadZone(field+".zone", zone)
	if err != nil {
		return domain.When{}, err
	}
	out := domain.When{Span: domain.Span{Start: w.Start.UTC().Truncate(time.Second), End: w.End.UTC().Truncate(time.Second)}, Zone: zone, Kind: w.Kind}
	if out.Kind == "" {
		out.Kind = domain.TimeZoned
	}
	if err := out.Validate(field); err != nil {
		return domain.When{}, err
	}
	if out.Kind == domain.TimeAllDay && (!startsDay(out.Start, loc) || !startsDay(out.End, loc)) {
		return domain.When{}, domain.Invalid(field, "an all-day time must start and end where days begin in %s", zone)
	}
	return out, nil
}

// startsDay reports whether t is the first instant of its local day. Where a clock change skips midnight, the day begins
// later, so the instant before is asked instead of the clock.
func startsDay(t time.Time, loc *time.Location) bool {
	return t.In(loc).YearDay() != t.Add(-time.Second).In(loc).YearDay()
}

type linkView struct {
	ID            domain.LinkID        `json:"id"`
	IntegrationID domain.IntegrationID `json:"integration_id"`
	ExternalID    string               `json:"external_id"`
	Mirror        bool                 `json:"mirror" doc:"A copy that WedSync wrote"`
	How           string               `json:"how,omitempty" doc:"How it was found to be of this booking; absent for the entry that made it"`
	HomeID        domain.BookingID     `json:"home_id,omitempty" doc:"The booking that it had before a person linked that one with this"`
	RemovedAt     *time.Time           `json:"removed_at,omitempty"`
	UpdatedAt     time.Time            `json:"updated_at"`
}

func viewLink(l domain.Link) linkView {
	return linkView{ID: l.ID, IntegrationID: l.IntegrationID, ExternalID: l.ExternalID, Mirror: l.Mirror, How: l.How, HomeID: l.HomeID,
		RemovedAt: l.RemovedAt, UpdatedAt: l.UpdatedAt}
}

type bookingOutput struct {
	ETag string `header:"ETag"`
	Body struct {
		domain.Booking
		Copies []linkView `json:"copies,omitempty" doc:"The booking in outside systems"`
		// Conflicts are told when a change by hand causes them.
		Conflicts []domain.Conflict `json:"conflicts,omitempty" doc:"Conflicts that this change caused or kept"`
	}
}

func bookingAnswer(b domain.Booking) *bookingOutput {
	out := &bookingOutput{ETag: etag(b.Version)}
	out.Body.Booking = b
	return out
}

type listBookingsInput struct {
	PageParams
	From     time.Time            `query:"from" doc:"Only bookings that end after this"`
	To       time.Time            `query:"to" doc:"Only bookings that start before this"`
	Resource string               `query:"resource" maxLength:"36"`
	Category domain.Category      `query:"category" enum:"wedding,engagement,vendor,consultation,travel,hold,maintenance,personal"`
	Status   domain.BookingStatus `query:"status" enum:"confirmed,tentative,cancelled"`
}

func (s *Server) listBookings(ctx context.Context, in *listBookingsInput) (*listOutput[domain.Booking], error) {
	resource, err := optionalID[domain.ResourceID]("query.resource", in.Resource)
	if err != nil {
		return nil, err
	}
	f := store.BookingFilter{From: in.From, To: in.To, Resource: resource, Category: in.Category, Status: in.Status}
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]domain.Booking, string, error) {
		return tx.Bookings(ctx, f, in.page())
	})
}

func (s *Server) getBooking(ctx context.Context, in *IDParam) (*bookingOutput, error) {
	id, err := parseID[domain.BookingID]("booking", in.ID)
	if err != nil {
		return nil, err
	}
	var b domain.Booking
	var links []domain.Link
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		if b, err = tx.Booking(ctx, id); err != nil {
			return err
		}
		links, err = tx.LinksOf(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := bookingAnswer(b)
	for _, l := range links {
		out.Body.Copies = append(out.Body.Copies, viewLink(l))
	}
	return out, nil
}

type createBookingInput struct {
	KeyHeader
	Body struct {
		ResourceID string               `json:"resource_id" maxLength:"36"`
		Category   domain.Category      `json:"category" enum:"wedding,engagement,vendor,consultation,travel,hold,maintenance,personal"`
		Status     domain.BookingStatus `json:"status,omitempty" enum:"confirmed,tentative" default:"confirmed"`
		When       whenBody             `json:"when"`
		Details    domain.Details       `json:"details,omitempty"`
		Private    bool                 `json:"private,omitempty" doc:"Shown as Busy elsewhere"`
		Free       bool                 `json:"free,omitempty" doc:"Known, but takes no time"`
		Reason     string               `json:"reason,omitempty" maxLength:"500"`
	}
}

func (s *Server) createBooking(ctx context.Context, in *createBookingInput) (*bookingOutput, error) {
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	id, repeatable := newOrRepeated[domain.BookingID](in.Key, who, "booking", s.now())
	if repeatable {
		if had, err := s.getBooking(ctx, &IDParam{ID: string(id)}); err == nil || domain.KindOf(err) != domain.KindNotFound {
			return had, err
		}
	}
	c := ManualChange{ID: id, Category: b.Category, Status: b.Status, Details: b.Details, Private: b.Private, Free: b.Free, Reason: reason}
	if c.ResourceID, err = domain.ParseID[domain.ResourceID]("body.resource_id", b.ResourceID); err != nil {
		return nil, err
	}
	if err := c.Details.Validate(); err != nil {
		return nil, err
	}
	r, err := s.readResource(ctx, c.ResourceID)
	if domain.KindOf(err) == domain.KindNotFound {
		return nil, domain.Invalid("body.resource_id", "no such resource")
	}
	if err != nil {
		return nil, err
	}
	if c.When, err = b.When.when("body.when", r.Zone); err != nil {
		return nil, err
	}
	out, err := s.applyManual(ctx, c)
	if repeatable && domain.KindOf(err) == domain.KindConflict {
		if had, again := s.getBooking(ctx, &IDParam{ID: string(id)}); again == nil {
			return had, nil // the same request came twice at once
		}
	}
	return out, err
}

func (s *Server) applyManual(ctx context.Context, c ManualChange) (*bookingOutput, error) {
	who := callerOf(ctx)
	b, conflicts, err := s.deps.ApplyManual(ctx, who.Org, who.Subject, c)
	if err != nil {
		return nil, err
	}
	out := bookingAnswer(b)
	out.Body.Conflicts = conflicts
	return out, nil
}

type updateBookingInput struct {
	IDParam
	VersionHeader
	Body struct {
		Version    int64                 `json:"version,omitempty" minimum:"1" doc:"The version that the change was made from, unless If-Match says it"`
		ResourceID *string               `json:"resource_id,omitempty" maxLength:"36"`
		Category   *domain.Category      `json:"category,omitempty" enum:"wedding,engagement,vendor,consultation,travel,hold,maintenance,personal"`
		Status     *domain.BookingStatus `json:"status,omitempty" enum:"confirmed,tentative,cancelled" doc:"cancelled frees the time and removes the copies"`
		When       *whenBody             `json:"when,omitempty"`
		Details    *domain.Details       `json:"details,omitempty" doc:"Replaces all details"`
		Private    *bool                 `json:"private,omitempty"`
		Free       *bool                 `json:"free,omitempty"`
		Reason     string                `json:"reason,omitempty" maxLength:"500"`
	}
}

func (s *Server) updateBooking(ctx context.Context, in *updateBookingInput) (*bookingOutput, error) {
	b := &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.BookingID]("booking", in.ID)
	if err != nil {
		return nil, err
	}
	had, err := s.getBooking(ctx, &in.IDParam)
	if err != nil {
		return nil, err
	}
	was := had.Body.Booking
	expect, err := in.expect(b.Version, was.Version)
	if err != nil {
		return nil, err
	}
	c := ManualChange{ID: id, ResourceID: was.ResourceID, Category: was.Category, Status: was.Status, When: was.When, Details: was.Details,
		Private: was.Private, Free: was.Free, ExpectVersion: expect, Reason: reason}
	assign(&c.Category, b.Category)
	assign(&c.Status, b.Status)
	assign(&c.Details, b.Details)
	assign(&c.Private, b.Private)
	assign(&c.Free, b.Free)
	if err := c.Details.Validate(); err != nil {
		return nil, err
	}
	if b.ResourceID != nil {
		if c.ResourceID, err = domain.ParseID[domain.ResourceID]("body.resource_id", *b.ResourceID); err != nil {
			return nil, err
		}
		if _, err := s.readResource(ctx, c.ResourceID); domain.KindOf(err) == domain.KindNotFound {
			return nil, domain.Invalid("body.resource_id", "no such resource")
		} else if err != nil {
			return nil, err
		}
	}
	if b.When != nil {
		if c.When, err = b.When.when("body.when", was.When.Zone); err != nil {
			return nil, err
		}
	}
	return s.applyManual(ctx, c)
}
