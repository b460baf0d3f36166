package server

import (
	"context"
	"reflect"
	"slices"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

type blackoutOutput struct{ Body domain.Blackout }

type addBlackoutInput struct {
	IDParam
	KeyHeader
	Body struct {
		From   string `json:"from" minLength:"10" maxLength:"10" example:"2027-12-24" doc:"First day, in the resource's zone"`
		To     string `json:"to,omitempty" maxLength:"10" example:"2027-12-26" doc:"Last day; the first where absent"`
		Yearly bool   `json:"yearly,omitempty" doc:"Again every year from then on"`
		Reason string `json:"reason,omitempty" maxLength:"200" doc:"Why; no personal data"`
	}
}

// addBlackout keeps days free of clients. Bookings that lie on them already become conflicts in the same transaction.
func (s *Server) addBlackout(ctx context.Context, in *addBlackoutInput) (*blackoutOutput, error) {
	who, b := callerOf(ctx), &in.Body
	id, err := parseID[domain.ResourceID]("resource", in.ID)
	if err != nil {
		return nil, err
	}
	key, _ := newOrRepeated[domain.BlackoutID](in.Key, who, "blackout "+in.ID, s.now())
	out := domain.Blackout{ID: key, From: b.From, To: b.To, Yearly: b.Yearly, Reason: b.Reason}
	if out.To == "" {
		out.To = out.From
	}
	if err := out.Validate("body."); err != nil {
		return nil, err
	}
	err = s.changeBlackouts(ctx, id, "resource.blackout", b.Reason, out, func(r *domain.Resource) error {
		if at := slices.IndexFunc(r.Blackouts, func(h domain.Blackout) bool { return h.ID == key }); at >= 0 {
			out = r.Blackouts[at] // the same request came twice
			return nil
		}
		if len(r.Blackouts) >= domain.MaxBlackouts {
			return domain.Invalid("body.from", "a resource has at most %d blackouts", domain.MaxBlackouts)
		}
		r.Blackouts = append(r.Blackouts, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &blackoutOutput{Body: out}, nil
}

// changeBlackouts changes a resource's days without clients, whatever its version: entries stand for themselves.
func (s *Server) changeBlackouts(ctx context.Context, id domain.ResourceID, action, reason string, about domain.Blackout, change func(*domain.Resource) error) error {
	who := callerOf(ctx)
	reason, err := checkReason(reason)
	if err != nil {
		return err
	}
	return s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.LockResources(ctx, []domain.ResourceID{id}); err != nil {
			return err
		}
		was, err := tx.Resource(ctx, id)
		if err != nil {
			return err
		}
		r := was
		r.Blackouts = slices.Clone(was.Blackouts)
		if err := change(&r); err != nil || reflect.DeepEqual(was.Blackouts, r.Blackouts) {
			return err
		}
		if err := tx.UpdateResource(ctx, r, was.Version); err != nil {
			return err
		}
		if err := rejudged(ctx, tx, was, r); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: action, Reason: reason, Subject: "resource/" + string(id),
			After: map[string]string{"blackout": string(about.ID), "from": about.From, "to": about.To}})
	})
}

// rejudged looks at a resource's coming bookings again where its rules are others now.
func rejudged(ctx context.Context, tx *store.Tx, was, now domain.Resource) error {
	if reflect.DeepEqual(rulesOf(was), rulesOf(now)) {
		return nil
	}
	_, err := apply.RejudgeResource(ctx, tx, now.ID, "the rules of the resource changed")
	return err
}

// rulesOf is the part of a resource that decides about clashes.
func rulesOf(r domain.Resource) []any {
	return []any{r.Zone, r.Capacity, r.BufferBefore, r.BufferAfter, len(r.Hours), append(domain.WorkingHours{}, r.Hours...), r.OneWeddingADay, r.Travel,
		append([]domain.Blackout{}, r.Blackouts...)}
}

func (s *Server) listBlackouts(ctx context.Context, in *IDParam) (*listOutput[domain.Blackout], error) {
	id, err := parseID[domain.ResourceID]("resource", in.ID)
	if err != nil {
		return nil, err
	}
	r, err := s.readResource(ctx, id)
	if err != nil {
		return nil, err
	}
	return list(r.Blackouts, ""), nil
}

type removeBlackoutInput struct {
	IDParam
	Blackout string `path:"blackout" maxLength:"36" doc:"UUID in lower case"`
	Reason   string `query:"reason" maxLength:"500" doc:"Why, for the audit trail"`
}

func (s *Server) removeBlackout(ctx context.Context, in *removeBlackoutInput) (*struct{}, error) {
	id, err := parseID[domain.ResourceID]("resource", in.ID)
	if err != nil {
		return nil, err
	}
	blackout, err := parseID[domain.BlackoutID]("blackout", in.Blackout)
	if err != nil {
		return nil, err
	}
	return nil, s.changeBlackouts(ctx, id, "resource.unblackout", in.Reason, domain.Blackout{ID: blackout}, func(r *domain.Resource) error {
		had := len(r.Blackouts)
		r.Blackouts = slices.DeleteFunc(r.Blackouts, func(b domain.Blackout) bool { return b.ID == blackout })
		if len(r.Blackouts) == had {
			return domain.E(domain.KindNotFound, "no such blackout")
		}
		return nil
	})
}
