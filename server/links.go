package server

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

type linkInput struct {
	IDParam
	Body struct {
		BookingID string `json:"booking_id" maxLength:"36" doc:"The booking that is the same event; it is merged into the one of the address"`
		Reason    string `json:"reason,omitempty" maxLength:"500" doc:"Why, in your words; no personal data"`
	}
}

// linkBookings makes two bookings one. It is repeatable: what is one already stays so.
func (s *Server) linkBookings(ctx context.Context, in *linkInput) (*bookingOutput, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.Body.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.BookingID]("booking", in.ID)
	if err != nil {
		return nil, err
	}
	other, err := domain.ParseID[domain.BookingID]("body.booking_id", in.Body.BookingID)
	if err != nil {
		return nil, err
	}
	var r apply.Result
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) (err error) {
		if _, err := tx.Booking(ctx, id); err != nil {
			return err
		}
		r, err = apply.Link(ctx, tx, id, other, who.Subject, reason)
		return atBody(err, "")
	})
	if err != nil {
		return nil, err
	}
	return s.getBooking(ctx, &IDParam{ID: string(r.Outcomes[0].BookingID)})
}

type unlinkInput struct {
	IDParam
	Body *struct {
		BookingID string `json:"booking_id,omitempty" maxLength:"36" doc:"The booking that was linked with this one and is another event; absent where the address names it"`
		LinkID    string `json:"link_id,omitempty" maxLength:"36" doc:"Or the entry of a system (copies[].id) that is another event"`
		Reason    string `json:"reason,omitempty" maxLength:"500" doc:"Why, in your words; no personal data"`
	}
}

// unlinkBookings parts a booking in two, and answers with the one that was parted.
func (s *Server) unlinkBookings(ctx context.Context, in *unlinkInput) (*bookingOutput, error) {
	who := callerOf(ctx)
	id, err := parseID[domain.BookingID]("booking", in.ID)
	if err != nil {
		return nil, err
	}
	var back domain.BookingID
	var entry domain.LinkID
	reason := ""
	if b := in.Body; b != nil {
		if back, err = optionalID[domain.BookingID]("body.booking_id", b.BookingID); err != nil {
			return nil, err
		}
		if entry, err = optionalID[domain.LinkID]("body.link_id", b.LinkID); err != nil {
			return nil, err
		}
		reason = b.Reason
	}
	if reason, err = checkReason(reason); err != nil {
		return nil, err
	}
	var r apply.Result
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) (err error) {
		if _, err := tx.Booking(ctx, id); err != nil {
			return err
		}
		r, err = apply.Unlink(ctx, tx, id, back, entry, who.Subject, reason)
		return atBody(err, "")
	})
	if err != nil {
		return nil, err
	}
	out, err := s.getBooking(ctx, &IDParam{ID: string(r.Outcomes[0].BookingID)})
	if err == nil {
		out.Body.Conflicts = r.Conflicts()
	}
	return out, err
}

type listLinkSuggestionsInput struct {
	From     time.Time `query:"from" doc:"Start of the window; now where absent"`
	To       time.Time `query:"to" doc:"End of the window, at most 92 days later, which it is where absent"`
	Resource string    `query:"resource" maxLength:"36"`
	Limit    int       `query:"limit" minimum:"1" maximum:"200" default:"50"`
}

type linkSuggestionsOutput struct {
	Body struct {
		Items []apply.LinkSuggestion `json:"items" doc:"Likeliest first"`
		Cut   bool                   `json:"cut" doc:"The window has more bookings than were compared; ask about a shorter one"`
	}
}

// suggestionWindow is the longest window that is searched for pairs.
const suggestionWindow = 92 * 24 * time.Hour

func (s *Server) listLinkSuggestions(ctx context.Context, in *listLinkSuggestionsInput) (*linkSuggestionsOutput, error) {
	resource, err := optionalID[domain.ResourceID]("query.resource", in.Resource)
	if err != nil {
		return nil, err
	}
	from, to := in.From.UTC(), in.To.UTC()
	if in.From.IsZero() {
		from = s.now().UTC()
	}
	if in.To.IsZero() {
		to = from.Add(suggestionWindow)
	}
	window := domain.Span{Start: from, End: to}
	if !window.End.After(window.Start) || window.Duration() > suggestionWindow {
		return nil, domain.Invalid("query.to", "must be after from, by at most %d days", int(suggestionWindow.Hours()/24))
	}
	out := &linkSuggestionsOutput{}
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) (err error) {
		out.Body.Items, out.Body.Cut, err = apply.LinkSuggestions(ctx, tx, resource, window, in.Limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
