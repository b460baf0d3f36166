package server

import (
	"context"
	"strconv"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// editSide is one version of a booking.
type editSide struct {
	Removed bool                 `json:"removed,omitempty" doc:"The entry is gone there"`
	When    *domain.When         `json:"when,omitempty"`
	Status  domain.BookingStatus `json:"status,omitempty"`
	Details *domain.Details      `json:"details,omitempty"`
}

type editConflictView struct {
	domain.EditConflict
	There editSide  `json:"there" doc:"What the system's entry says"`
	Here  *editSide `json:"here,omitempty" doc:"The booking as it is here; in single reads only"`
}

func viewEdit(e domain.EditConflict) editConflictView {
	v := editConflictView{EditConflict: e}
	if v.There.Removed = e.There.Op == domain.OpRemove || e.There.Status == domain.StatusCancelled; !v.There.Removed {
		v.There.When, v.There.Status, v.There.Details = &e.There.When, e.There.Status, &e.There.Details
	}
	return v
}

type listEditConflictsInput struct {
	PageParams
	State       domain.EditState `query:"state" enum:"open,resolved,cleared"`
	Integration string           `query:"integration" maxLength:"36"`
}

func (s *Server) listEditConflicts(ctx context.Context, in *listEditConflictsInput) (*listOutput[editConflictView], error) {
	integration, err := optionalID[domain.IntegrationID]("query.integration", in.Integration)
	if err != nil {
		return nil, err
	}
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]editConflictView, string, error) {
		all, next, err := tx.EditConflicts(ctx, store.EditConflictFilter{State: in.State, Integration: integration}, in.page())
		return views(all, viewEdit), next, err
	})
}

type editConflictOutput struct {
	ETag string `header:"ETag"`
	Body editConflictView
}

func (s *Server) readEditConflict(ctx context.Context, rawID string) (v editConflictView, err error) {
	id, err := parseID[domain.EditConflictID]("edit conflict", rawID)
	if err != nil {
		return v, err
	}
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		e, err := tx.EditConflict(ctx, id)
		if err != nil {
			return err
		}
		v = viewEdit(e)
		b, err := tx.Booking(ctx, e.BookingID)
		v.Here = &editSide{Removed: b.Status == domain.StatusCancelled, When: &b.When, Status: b.Status, Details: &b.Details}
		return err
	})
	return v, err
}

func (s *Server) getEditConflict(ctx context.Context, in *IDParam) (*editConflictOutput, error) {
	v, err := s.readEditConflict(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &editConflictOutput{ETag: etag(v.Version), Body: v}, nil
}

type resolveEditInput struct {
	IDParam
	VersionHeader
	Body struct {
		Choice  domain.EditChoice `json:"choice" enum:"source,copy,both" doc:"The side where the booking came from, the other side, or both as two bookings"`
		Reason  string            `json:"reason,omitempty" maxLength:"500" doc:"Why, in your words; no personal data"`
		Version int64             `json:"version,omitempty" minimum:"1" doc:"Of the edit conflict as you saw it, unless If-Match says it"`
	}
}

// resolveEditConflict carries the choice out in one transaction; what has to be written elsewhere follows.
func (s *Server) resolveEditConflict(ctx context.Context, in *resolveEditInput) (*editConflictOutput, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.Body.Reason)
	if err != nil {
		return nil, err
	}
	was, err := s.readEditConflict(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	expect, err := in.expect(in.Body.Version, was.Version)
	if err != nil {
		return nil, err
	}
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if _, err := apply.Settle(ctx, tx, was.ID, in.Body.Choice, expect, who.Subject, reason); err != nil {
			return err
		}
		if err := tx.Emit(ctx, domain.TopicEditConflict, map[string]string{"edit_conflict": string(was.ID), "booking": string(was.BookingID),
			"integration": string(was.IntegrationID), "state": string(domain.EditResolved)}); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "edit_conflict.resolve", Reason: reason, Subject: "edit-conflict/" + string(was.ID),
			Before: map[string]string{"state": string(was.State), "version": strconv.FormatInt(was.Version, 10)},
			After: map[string]string{"choice": string(in.Body.Choice), "booking": string(was.BookingID), "integration": string(was.IntegrationID),
				"there_is_source": strconv.FormatBool(was.ThereIsSource)}})
	})
	if err != nil {
		return nil, err
	}
	return s.getEditConflict(ctx, &in.IDParam)
}
