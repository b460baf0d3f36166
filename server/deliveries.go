package server

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/store"
)

type listDeliveriesInput struct {
	PageParams
	Integration string               `query:"integration" maxLength:"36"`
	State       domain.DeliveryState `query:"state" enum:"received,retrying,applied,ignored,dead"`
}

func (s *Server) listDeliveries(ctx context.Context, in *listDeliveriesInput) (*listOutput[domain.Delivery], error) {
	integration, err := optionalID[domain.IntegrationID]("query.integration", in.Integration)
	if err != nil {
		return nil, err
	}
	var out []domain.Delivery
	var next string
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		out, next, err = tx.Deliveries(ctx, store.DeliveryFilter{Integration: integration, State: in.State}, in.page())
		return err
	})
	if err != nil {
		return nil, err
	}
	return list(out, next), nil
}

type deliveryOutput struct{ Body domain.Delivery }

func (s *Server) getDelivery(ctx context.Context, in *IDParam) (*deliveryOutput, error) {
	id, err := parseID[domain.DeliveryID]("delivery", in.ID)
	if err != nil {
		return nil, err
	}
	out := &deliveryOutput{}
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		out.Body, err = tx.Delivery(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

type contentInput struct {
	IDParam
	Reason string `query:"reason" maxLength:"500" doc:"Why, for the audit trail"`
}

type contentOutput struct {
	Body struct {
		domain.Delivery
		ContentType string            `json:"content_type"`
		Headers     map[string]string `json:"headers"`
		Content     []byte            `json:"content" doc:"The raw body in base64"`
	}
}

// getDeliveryContent opens what a vendor sent, which may name people: the reading itself goes on record first.
func (s *Server) getDeliveryContent(ctx context.Context, in *contentInput) (*contentOutput, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.DeliveryID]("delivery", in.ID)
	if err != nil {
		return nil, err
	}
	out := &contentOutput{}
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		d, err := tx.DeliveryContent(ctx, id)
		if err != nil {
			return err
		}
		out.Body.Delivery, out.Body.ContentType, out.Body.Headers, out.Body.Content = d.Delivery, d.ContentType, d.Headers, d.Body
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "delivery.read_content", Reason: reason, Subject: "delivery/" + string(id),
			After: map[string]string{"integration": string(d.IntegrationID)}})
	})
	if err != nil {
		return nil, err
	}
	if out.Body.Headers == nil {
		out.Body.Headers = map[string]string{}
	}
	return out, nil
}

// replayDelivery lets a delivery wait again and tells its integration. Where that cannot be told, the sweeper finds the
// delivery a little later, so the request has done its work in any case.
func (s *Server) replayDelivery(ctx context.Context, in *actionInput) (*deliveryOutput, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.reason())
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.DeliveryID]("delivery", in.ID)
	if err != nil {
		return nil, err
	}
	out := &deliveryOutput{}
	var ref flow.IntegrationRef
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := tx.Delivery(ctx, id)
		if err != nil {
			return err
		}
		i, err := tx.Integration(ctx, was.IntegrationID)
		if err != nil {
			return err
		}
		if i.State == domain.IntegrationDeleted {
			return domain.E(domain.KindConflict, "its integration is deleted")
		}
		ref = flow.IntegrationRef{Org: who.Org, ID: i.ID, Provider: i.Provider}
		if err := tx.ReplayDelivery(ctx, id); err != nil {
			return err
		}
		if out.Body, err = tx.Delivery(ctx, id); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "delivery.replay", Reason: reason, Subject: "delivery/" + string(id),
			Before: map[string]string{"state": string(was.State)}, After: map[string]string{"state": string(out.Body.State)}})
	})
	if err != nil {
		return nil, err
	}
	tell, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := s.deps.Flow.Deliveries(tell, ref, contract.DeliveriesSignal{IDs: []domain.DeliveryID{id}}); err != nil {
		s.log.Warn("a replayed delivery waits for the sweeper", "request_id", requestID(ctx), "delivery", id, "error", err)
	}
	return out, nil
}

func (s *Server) listAudit(ctx context.Context, in *PageParams) (*listOutput[domain.AuditEntry], error) {
	var out []domain.AuditEntry
	var next string
	err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) (err error) {
		out, next, err = tx.AuditEntries(ctx, in.page())
		return err
	})
	if err != nil {
		return nil, err
	}
	return list(out, next), nil
}
