package server

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/diary"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/conflict"
	"github.com/wedsync/wedsync/internal/rules/suggest"
	"github.com/wedsync/wedsync/internal/store"
)

type suggestionsInput struct {
	Booking  string          `query:"booking" maxLength:"36" doc:"A booking that is to get another place"`
	Conflict string          `query:"conflict" maxLength:"36" doc:"A conflict: the booking of it that should give way is to get another place"`
	Resource string          `query:"resource" maxLength:"36" doc:"For a booking that does not exist yet: its resource, with category, start and end"`
	Category domain.Category `query:"category" enum:"wedding,engagement,vendor,consultation,travel,hold,maintenance,personal"`
	Start    time.Time       `query:"start"`
	End      time.Time       `query:"end"`
	Zone     string          `query:"zone" maxLength:"64" doc:"IANA zone whose clock the booking keeps on other dates; the resource's where absent"`
	Kind     domain.TimeKind `query:"kind" enum:"zoned,all_day,floating"`
	Skill    string          `query:"skill" maxLength:"1300" doc:"What another resource must have, parted by commas; the skills of the booking's resource where absent"`
	Max      int             `query:"max" minimum:"1" maximum:"20" default:"5" doc:"Ways at most, of each sort"`
}

type clashView struct {
	Kind      domain.ConflictKind `json:"kind"`
	Severity  domain.Severity     `json:"severity"`
	BookingID domain.BookingID    `json:"booking_id,omitempty" doc:"The booking in the way; absent for working hours"`
	Reason    string              `json:"reason" doc:"In words"`
}

type suggestionsOutput struct {
	Body struct {
		Fits      bool                 `json:"fits" doc:"As asked for, nothing is in the way"`
		Clashes   []clashView          `json:"clashes" doc:"What is in the way"`
		Ways      []domain.Alternative `json:"ways" doc:"Other times and other resources, best first"`
		Exchanges []suggest.Exchange   `json:"exchanges" doc:"Ways that change several bookings together, best first"`
		Sources   []diary.Source       `json:"sources" doc:"The systems from which it is known that these are free"`
	}
}

func viewClashes(found []conflict.Found, subject domain.BookingID) []clashView {
	out := []clashView{}
	for _, f := range found {
		v := clashView{Kind: f.Kind, Severity: f.Severity, BookingID: f.OtherID, Reason: f.Explanation}
		if v.BookingID == subject {
			v.BookingID = f.BookingID
		}
		out = append(out, v)
	}
	return out
}

func (s *Server) getSuggestions(ctx context.Context, in *suggestionsInput) (*suggestionsOutput, error) {
	forms := 0
	for _, set := range []bool{in.Booking != "", in.Conflict != "", in.Resource != ""} {
		if set {
			forms++
		}
	}
	if forms != 1 {
		return nil, domain.Invalid("query.booking", "give either booking, or conflict, or resource with category, start and end")
	}
	skills, err := skillList("query.skill", in.Skill)
	if err != nil {
		return nil, err
	}
	asked := diary.Asked{Skills: skills, Max: in.Max, Stored: in.Resource == ""}
	if asked.Booking.ID, err = optionalID[domain.BookingID]("query.booking", in.Booking); err != nil {
		return nil, err
	}
	clash, err := optionalID[domain.ConflictID]("query.conflict", in.Conflict)
	if err != nil {
		return nil, err
	}
	if in.Resource != "" {
		if asked.Booking, err = s.asked(ctx, in); err != nil {
			return nil, err
		}
	}
	var a diary.Advice
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		if clash != "" {
			c, err := tx.Conflict(ctx, clash)
			if err != nil {
				return err
			}
			asked.Booking.ID = c.BookingID
		}
		if asked.Stored {
			if asked.Booking, err = tx.Booking(ctx, asked.Booking.ID); err != nil {
				return err
			}
		}
		a, err = diary.Suggest(ctx, tx, asked)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &suggestionsOutput{}
	out.Body.Fits, out.Body.Clashes = a.Fits, viewClashes(a.Clashes, asked.Booking.ID)
	out.Body.Ways, out.Body.Exchanges, out.Body.Sources = a.Ways, a.Exchanges, a.Sources
	if out.Body.Ways == nil {
		out.Body.Ways = []domain.Alternative{}
	}
	if out.Body.Exchanges == nil {
		out.Body.Exchanges = []suggest.Exchange{}
	}
	return out, nil
}

// asked is a booking that does not exist yet.
func (s *Server) asked(ctx context.Context, in *suggestionsInput) (domain.Booking, error) {
	id, err := domain.ParseID[domain.ResourceID]("query.resource", in.Resource)
	if err != nil {
		return domain.Booking{}, err
	}
	if !in.Category.Valid() {
		return domain.Booking{}, domain.Invalid("query.category", "is required for a booking that does not exist yet")
	}
	res, err := s.readResource(ctx, id)
	if err != nil {
		return domain.Booking{}, err
	}
	w := whenBody{Start: in.Start, End: in.End, Zone: in.Zone, Kind: in.Kind}
	when, err := w.when("query", res.Zone)
	if err != nil {
		return domain.Booking{}, err
	}
	return domain.Booking{ResourceID: id, Category: in.Category, Status: domain.StatusConfirmed, When: when, CreatedAt: s.now().UTC()}, nil
}
