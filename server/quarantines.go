package server

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/store"
)

// Guard carries decisions about held removals out, and plans readings. *guard.Guard is one. Errors are as its own.
type Guard interface {
	Approve(ctx context.Context, org domain.OrgID, id domain.QuarantineID, by, why string, until time.Time) (domain.Quarantine, error)
	Restore(ctx context.Context, org domain.OrgID, id domain.QuarantineID, by, why string, until time.Time) (domain.Quarantine, error)
	Plan(ctx context.Context, org domain.OrgID, id domain.IntegrationID, l guard.PlanLimits) (guard.Plan, error)
}

func (s *Server) guard() (Guard, error) {
	if s.deps.Guard == nil {
		return nil, domain.E(domain.KindUnavailable, "this server has no way to other systems")
	}
	return s.deps.Guard, nil
}

// decideTime is how long a decision is carried out while a person waits; the rest is gone on with.
const decideTime = 15 * time.Second

type listQuarantinesInput struct {
	PageParams
	State       domain.QuarantineState `query:"state" enum:"open,approved,restored,expired"`
	Integration string                 `query:"integration" maxLength:"36"`
}

func (s *Server) listQuarantines(ctx context.Context, in *listQuarantinesInput) (*listOutput[domain.Quarantine], error) {
	id, err := optionalID[domain.IntegrationID]("query.integration", in.Integration)
	if err != nil {
		return nil, err
	}
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]domain.Quarantine, string, error) {
		return tx.Quarantines(ctx, store.QuarantineFilter{State: in.State, Integration: id}, in.page())
	})
}

type heldView struct {
	domain.HeldRemoval
	ExternalID string               `json:"external_id"`
	Copy       bool                 `json:"copy" doc:"Our own copy, which would be written again"`
	Category   domain.Category      `json:"category"`
	Status     domain.BookingStatus `json:"status"`
	When       domain.When          `json:"when"`
	Title      string               `json:"title,omitempty" doc:"Private for private bookings"`
	// Lives says that another system has the booking as its own entry, so that it would stay.
	Lives bool `json:"lives" doc:"Another system has it as its own entry, so the booking would stay"`
}

type quarantineOutput struct {
	Body struct {
		domain.Quarantine
		Removals []heldView `json:"removals" doc:"What is held, a page at a time"`
		Next     string     `json:"next,omitempty" doc:"Pass as after for the next page of removals"`
	}
}

type getQuarantineInput struct {
	IDParam
	PageParams
}

func (s *Server) getQuarantine(ctx context.Context, in *getQuarantineInput) (*quarantineOutput, error) {
	id, err := parseID[domain.QuarantineID]("quarantine", in.ID)
	if err != nil {
		return nil, err
	}
	out := &quarantineOutput{}
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		if out.Body.Quarantine, err = tx.Quarantine(ctx, id); err != nil {
			return err
		}
		rows, next, err := tx.HeldRows(ctx, id, false, in.page())
		if err != nil {
			return err
		}
		ids := make([]domain.BookingID, len(rows))
		for n, r := range rows {
			ids[n] = r.BookingID
		}
		bookings, err := tx.BookingsByID(ctx, ids)
		if err != nil {
			return err
		}
		links, err := tx.LinksFor(ctx, store.LinkKeys{Bookings: ids})
		if err != nil {
			return err
		}
		lives := map[domain.BookingID]bool{}
		for _, l := range links {
			if !l.Mirror && l.RemovedAt == nil && l.IntegrationID != out.Body.IntegrationID {
				lives[l.BookingID] = true
			}
		}
		out.Body.Removals, out.Body.Next = []heldView{}, next
		for _, r := range rows {
			b := bookings[r.BookingID]
			v := heldView{HeldRemoval: r.HeldRemoval, ExternalID: r.Link.ExternalID, Copy: r.Link.Mirror, Category: b.Category, Status: b.Status, When: b.When,
				Title: b.Details.Title, Lives: lives[b.ID]}
			if b.Private {
				v.Title = "Private"
			}
			out.Body.Removals = append(out.Body.Removals, v)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

type decidedOutput struct{ Body domain.Quarantine }

func (s *Server) approveQuarantine(ctx context.Context, in *actionInput) (*decidedOutput, error) {
	return s.decideQuarantine(ctx, in, Guard.Approve)
}

func (s *Server) restoreQuarantine(ctx context.Context, in *actionInput) (*decidedOutput, error) {
	return s.decideQuarantine(ctx, in, Guard.Restore)
}

func (s *Server) decideQuarantine(ctx context.Context, in *actionInput,
	decide func(Guard, context.Context, domain.OrgID, domain.QuarantineID, string, string, time.Time) (domain.Quarantine, error)) (*decidedOutput, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.reason())
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.QuarantineID]("quarantine", in.ID)
	if err != nil {
		return nil, err
	}
	g, err := s.guard()
	if err != nil {
		return nil, err
	}
	q, err := decide(g, ctx, who.Org, id, who.Subject, reason, time.Now().Add(decideTime))
	if err != nil {
		return nil, err
	}
	return &decidedOutput{Body: q}, nil
}
