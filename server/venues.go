package server

import (
	"context"
	"slices"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/place"
	"github.com/wedsync/wedsync/internal/store"
)

type venueOutput struct {
	ETag string `header:"ETag"`
	Body domain.Venue
}

func venueAnswer(v domain.Venue) *venueOutput {
	return &venueOutput{ETag: etag(v.Version), Body: wholeVenue(v)}
}

func wholeVenue(v domain.Venue) domain.Venue {
	if v.Aliases == nil {
		v.Aliases = []string{}
	}
	return v
}

type createVenueInput struct {
	KeyHeader
	Body struct {
		Name    string   `json:"name" minLength:"1" maxLength:"200" doc:"As locations of bookings name it, in whole or before a comma"`
		Aliases []string `json:"aliases,omitempty" maxItems:"20" doc:"Other ways in which it is written"`
		Lat     float64  `json:"latitude" minimum:"-90" maximum:"90"`
		Lon     float64  `json:"longitude" minimum:"-180" maximum:"180"`
		Reason  string   `json:"reason,omitempty" maxLength:"500"`
	}
}

func (s *Server) createVenue(ctx context.Context, in *createVenueInput) (*venueOutput, error) {
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	id, repeatable := newOrRepeated[domain.VenueID](in.Key, who, "venue", s.now())
	v := domain.Venue{ID: id, OrgID: who.Org, Name: b.Name, Aliases: b.Aliases, Point: domain.Point{Lat: b.Lat, Lon: b.Lon}}
	if err := v.Validate("body."); err != nil {
		return nil, err
	}
	err = s.changeVenues(ctx, "venue.create", reason, id, func(ctx context.Context, tx *store.Tx, had []domain.Venue) error {
		if at := slices.IndexFunc(had, func(h domain.Venue) bool { return h.ID == id }); at >= 0 && repeatable {
			v = had[at]
			return errNothingNew
		}
		if err := namesFree(v, had); err != nil {
			return err
		}
		if err := tx.CreateVenue(ctx, v); err != nil {
			return atBody(err, "")
		}
		v, err = tx.Venue(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return venueAnswer(v), nil
}

// errNothingNew ends a change of venues that was made before.
var errNothingNew = domain.E(domain.KindConflict, "nothing to change")

// changeVenues changes venues while nobody else does, and looks at the coming bookings again that are elsewhere by it.
func (s *Server) changeVenues(ctx context.Context, action, reason string, id domain.VenueID, change func(ctx context.Context, tx *store.Tx, had []domain.Venue) error) error {
	who := callerOf(ctx)
	return s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.LockVenues(ctx); err != nil {
			return err
		}
		had, err := tx.Venues(ctx)
		if err != nil {
			return err
		}
		if err := change(ctx, tx, had); err == errNothingNew {
			return nil
		} else if err != nil {
			return err
		}
		if _, err := apply.RejudgePlaces(ctx, tx, had, "a venue was changed"); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: action, Reason: reason, Subject: "venue/" + string(id)})
	})
}

// namesFree refuses a name that leads to another venue.
func namesFree(v domain.Venue, others []domain.Venue) error {
	known := place.Learn(slices.DeleteFunc(slices.Clone(others), func(o domain.Venue) bool { return o.ID == v.ID }))
	for i, name := range append([]string{v.Name}, v.Aliases...) {
		field := "body.aliases"
		if i == 0 {
			field = "body.name"
		}
		if place.Fold(name) == "" {
			return domain.Invalid(field, "must have a letter or a digit")
		}
		if o, taken := known.Named(name); taken {
			return domain.Invalid(field, "is a name of venue %s", o.ID)
		}
	}
	return nil
}

func (s *Server) listVenues(ctx context.Context, _ *struct{}) (*listOutput[domain.Venue], error) {
	var all []domain.Venue
	err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) (err error) {
		all, err = tx.Venues(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i] = wholeVenue(all[i])
	}
	return list(all, ""), nil
}

func (s *Server) readVenue(ctx context.Context, id domain.VenueID) (v domain.Venue, err error) {
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		v, err = tx.Venue(ctx, id)
		return err
	})
	return v, err
}

func (s *Server) getVenue(ctx context.Context, in *IDParam) (*venueOutput, error) {
	id, err := parseID[domain.VenueID]("venue", in.ID)
	if err != nil {
		return nil, err
	}
	v, err := s.readVenue(ctx, id)
	if err != nil {
		return nil, err
	}
	return venueAnswer(v), nil
}

type updateVenueInput struct {
	IDParam
	VersionHeader
	Body struct {
		Version int64     `json:"version,omitempty" minimum:"1" doc:"The version that the change was made from, unless If-Match says it"`
		Name    *string   `json:"name,omitempty" minLength:"1" maxLength:"200"`
		Aliases *[]string `json:"aliases,omitempty" maxItems:"20"`
		Lat     *float64  `json:"latitude,omitempty" minimum:"-90" maximum:"90"`
		Lon     *float64  `json:"longitude,omitempty" minimum:"-180" maximum:"180"`
		Reason  string    `json:"reason,omitempty" maxLength:"500"`
	}
}

func (s *Server) updateVenue(ctx context.Context, in *updateVenueInput) (*venueOutput, error) {
	b := &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.VenueID]("venue", in.ID)
	if err != nil {
		return nil, err
	}
	var v domain.Venue
	err = s.changeVenues(ctx, "venue.update", reason, id, func(ctx context.Context, tx *store.Tx, had []domain.Venue) error {
		at := slices.IndexFunc(had, func(h domain.Venue) bool { return h.ID == id })
		if at < 0 {
			return domain.E(domain.KindNotFound, "no such venue")
		}
		v = had[at]
		expect, err := in.expect(b.Version, v.Version)
		if err != nil {
			return err
		}
		assign(&v.Name, b.Name)
		assign(&v.Aliases, b.Aliases)
		assign(&v.Lat, b.Lat)
		assign(&v.Lon, b.Lon)
		if err := v.Validate("body."); err != nil {
			return err
		}
		if err := namesFree(v, had); err != nil {
			return err
		}
		if err := tx.UpdateVenue(ctx, v, expect); err != nil {
			return err
		}
		v, err = tx.Venue(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return venueAnswer(v), nil
}

type deleteVenueInput struct {
	IDParam
	Reason string `query:"reason" maxLength:"500" doc:"Why, for the audit trail"`
}

func (s *Server) deleteVenue(ctx context.Context, in *deleteVenueInput) (*struct{}, error) {
	reason, err := checkReason(in.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.VenueID]("venue", in.ID)
	if err != nil {
		return nil, err
	}
	return nil, s.changeVenues(ctx, "venue.delete", reason, id, func(ctx context.Context, tx *store.Tx, _ []domain.Venue) error {
		return tx.DeleteVenue(ctx, id)
	})
}
