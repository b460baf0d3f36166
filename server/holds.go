package server

import (
	"context"
	"errors"
	"time"

	"github.com/wedsync/wedsync/internal/diary"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/holds"
	"github.com/wedsync/wedsync/internal/store"
)

type holdOutput struct {
	ETag string `header:"ETag"`
	Body struct {
		domain.Hold
		Booking  domain.Booking `json:"booking" doc:"What is held: tentative, and confirmed once the hold is"`
		Warnings []string       `json:"warnings,omitempty" doc:"What does not stand in its way, such as working hours"`
		// Systems and Sources answer who else sees it, and how sure it is.
		Systems []holds.System `json:"systems" doc:"Connected systems that show it or are to, and since when"`
		Sources []diary.Source `json:"sources" doc:"The systems from which it is known that the time is free, and how fresh they are"`
	}
}

func holdAnswer(v holds.View) *holdOutput {
	out := &holdOutput{ETag: etag(v.Version)}
	out.Body.Hold, out.Body.Booking, out.Body.Systems, out.Body.Sources = v.Hold, v.Booking, v.Systems, v.Sources
	for _, c := range v.Clashes {
		out.Body.Warnings = append(out.Body.Warnings, c.Explanation)
	}
	if out.Body.Sources == nil {
		out.Body.Sources = []diary.Source{}
	}
	return out
}

// desk answers 503 where the server was made without one.
func (s *Server) desk() (*holds.Desk, error) {
	if s.deps.Holds == nil {
		return nil, domain.E(domain.KindUnavailable, "this server keeps no holds")
	}
	return s.deps.Holds, nil
}

// refused makes the problem of a refusal: what is in the way, other ways, and systems that could not be read.
func refused(err error, subject domain.BookingID) error {
	var r *holds.Refusal
	if !errors.As(err, &r) {
		return err
	}
	p := *problemOf(r.Err)
	p.Clashes, p.Alternatives, p.Sources = viewClashes(r.Clashes, subject), r.Ways, r.Unknown
	if errors.Is(err, holds.ErrUnknownSources) {
		p.Code, p.Type = "unknown_sources", "/docs#problem-unknown_sources"
	}
	return &p
}

type createHoldInput struct {
	KeyHeader
	Body struct {
		ResourceID string          `json:"resource_id" maxLength:"36"`
		Category   domain.Category `json:"category" enum:"wedding,engagement,vendor,consultation,travel,hold,maintenance,personal" doc:"Of the booking that it is to become"`
		When       whenBody        `json:"when"`
		Details    domain.Details  `json:"details,omitempty"`
		Private    bool            `json:"private,omitempty" doc:"Shown as Busy elsewhere"`
		Shared     bool            `json:"shared,omitempty" doc:"Other shared holds may have the time too; the first that is confirmed gets it, and the others are lost"`
		Minutes    int             `json:"expires_in_minutes,omitempty" minimum:"1" maximum:"129600" default:"2880" doc:"How long it keeps the time"`
		Reason     string          `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail; no personal data"`
	}
}

func (s *Server) createHold(ctx context.Context, in *createHoldInput) (*holdOutput, error) {
	desk, err := s.desk()
	if err != nil {
		return nil, err
	}
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	id, _ := newOrRepeated[domain.BookingID](in.Key, who, "hold", s.now())
	w := holds.Wish{Category: b.Category, Details: b.Details, Private: b.Private, Shared: b.Shared, Minutes: b.Minutes}
	if w.ResourceID, err = domain.ParseID[domain.ResourceID]("body.resource_id", b.ResourceID); err != nil {
		return nil, err
	}
	if err := w.Details.Validate(); err != nil {
		return nil, err
	}
	r, err := s.readResource(ctx, w.ResourceID)
	if domain.KindOf(err) == domain.KindNotFound {
		return nil, domain.Invalid("body.resource_id", "no such resource")
	}
	if err != nil {
		return nil, err
	}
	if w.When, err = b.When.when("body.when", r.Zone); err != nil {
		return nil, err
	}
	v, err := desk.Place(ctx, who.Org, id, w, who.Subject, reason)
	if err != nil {
		return nil, refused(err, id)
	}
	return holdAnswer(v), nil
}

type holdItem struct {
	domain.Hold
	Booking domain.Booking `json:"booking"`
}

type listHoldsInput struct {
	PageParams
	State domain.HoldState `query:"state" enum:"held,confirmed,released,expired,lost"`
}

func (s *Server) listHolds(ctx context.Context, in *listHoldsInput) (*listOutput[holdItem], error) {
	var out []holdItem
	var next string
	err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		all, more, err := tx.Holds(ctx, in.State, in.page())
		if err != nil {
			return err
		}
		ids := make([]domain.BookingID, len(all))
		for i, h := range all {
			ids[i] = h.ID
		}
		bookings, err := tx.BookingsByID(ctx, ids)
		out, next = make([]holdItem, len(all)), more
		for i, h := range all {
			out[i] = holdItem{Hold: h, Booking: bookings[h.ID]}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return list(out, next), nil
}

// withHold finds the desk and reads the id of a path.
func (s *Server) withHold(in IDParam) (*holds.Desk, domain.BookingID, error) {
	desk, err := s.desk()
	if err != nil {
		return nil, "", err
	}
	id, err := parseID[domain.BookingID]("hold", in.ID)
	return desk, id, err
}

func (s *Server) getHold(ctx context.Context, in *IDParam) (*holdOutput, error) {
	desk, id, err := s.withHold(*in)
	if err != nil {
		return nil, err
	}
	v, err := desk.Show(ctx, callerOf(ctx).Org, id)
	if err != nil {
		return nil, err
	}
	return holdAnswer(v), nil
}

type extendHoldInput struct {
	IDParam
	Body struct {
		Minutes int    `json:"expires_in_minutes" minimum:"1" maximum:"129600" doc:"How long it keeps the time from now on"`
		Reason  string `json:"reason,omitempty" maxLength:"500"`
	}
}

func (s *Server) extendHold(ctx context.Context, in *extendHoldInput) (*holdOutput, error) {
	desk, id, err := s.withHold(in.IDParam)
	if err != nil {
		return nil, err
	}
	reason, err := checkReason(in.Body.Reason)
	if err != nil {
		return nil, err
	}
	who := callerOf(ctx)
	v, err := desk.Extend(ctx, who.Org, id, time.Duration(in.Body.Minutes)*time.Minute, who.Subject, reason)
	if err != nil {
		return nil, err
	}
	return holdAnswer(v), nil
}

type releaseHoldInput struct {
	IDParam
	Body *reasonBody
}

func (s *Server) releaseHold(ctx context.Context, in *releaseHoldInput) (*holdOutput, error) {
	desk, id, err := s.withHold(in.IDParam)
	if err != nil {
		return nil, err
	}
	body := reasonBody{}
	if in.Body != nil {
		body = *in.Body
	}
	reason, err := checkReason(body.Reason)
	if err != nil {
		return nil, err
	}
	who := callerOf(ctx)
	v, err := desk.Release(ctx, who.Org, id, who.Subject, reason)
	if err != nil {
		return nil, err
	}
	return holdAnswer(v), nil
}

type confirmBody struct {
	Reason   string `json:"reason,omitempty" maxLength:"500"`
	Override string `json:"override,omitempty" maxLength:"500" doc:"Confirm although systems could not be read, and why; it goes into the audit trail"`
}

type confirmHoldInput struct {
	IDParam
	Body *confirmBody
}

func (s *Server) confirmHold(ctx context.Context, in *confirmHoldInput) (*holdOutput, error) {
	desk, id, err := s.withHold(in.IDParam)
	if err != nil {
		return nil, err
	}
	body := confirmBody{}
	if in.Body != nil {
		body = *in.Body
	}
	reason, err := checkReason(body.Reason)
	if err != nil {
		return nil, err
	}
	if n := len(body.Override); n > MaxReason {
		return nil, domain.Invalid("body.override", "at most %d bytes, has %d", MaxReason, n)
	}
	who := callerOf(ctx)
	v, err := desk.Confirm(ctx, who.Org, id, holds.Confirmation{By: who.Subject, Reason: reason, Override: body.Override})
	if err != nil {
		return nil, refused(err, id)
	}
	return holdAnswer(v), nil
}
