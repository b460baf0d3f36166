package server

import (
	"context"
	"errors"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/retry"
	"github.com/wedsync/wedsync/internal/store"
)

type listDeliveriesInput struct {
	PageParams
	Integration string               `query:"integration" maxLength:"36"`
	State       domain.DeliveryState `query:"state" enum:"received,retrying,applied,ignored,dead"`
	EventType   string               `query:"event_type" maxLength:"100" doc:"The vendor's word for what happened, as a whole"`
	Entity      string               `query:"entity" maxLength:"500" doc:"External id of the first entry in it, as a whole"`
	Origin      string               `query:"origin" maxLength:"36" doc:"Replays of this delivery"`
	Replay      string               `query:"replay" maxLength:"36" doc:"Made by this replay"`
	From        time.Time            `query:"from" doc:"Stored at or after this, to the millisecond; a replay counts when it was made"`
	To          time.Time            `query:"to" doc:"Stored before this"`
}

func (in *listDeliveriesInput) filter() (f store.DeliveryFilter, err error) {
	f = store.DeliveryFilter{State: in.State, EventType: in.EventType, Entity: in.Entity, From: in.From, To: in.To}
	var errs [3]error
	f.Integration, errs[0] = optionalID[domain.IntegrationID]("query.integration", in.Integration)
	f.Origin, errs[1] = optionalID[domain.DeliveryID]("query.origin", in.Origin)
	f.Replay, errs[2] = optionalID[domain.ReplayID]("query.replay", in.Replay)
	return f, errors.Join(errs[:]...)
}

func (s *Server) listDeliveries(ctx context.Context, in *listDeliveriesInput) (*listOutput[domain.Delivery], error) {
	filter, err := in.filter()
	if err != nil {
		return nil, err
	}
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]domain.Delivery, string, error) {
		return tx.Deliveries(ctx, filter, in.page())
	})
}

type deliveryOutput struct{ Body domain.Delivery }

type deliveryDetailOutput struct {
	Body struct {
		domain.Delivery
		History []domain.DeliveryAttempt `json:"history" doc:"Its tries, oldest first: at most the first 3 and the last 20"`
	}
}

func (s *Server) getDelivery(ctx context.Context, in *IDParam) (*deliveryDetailOutput, error) {
	id, err := parseID[domain.DeliveryID]("delivery", in.ID)
	if err != nil {
		return nil, err
	}
	out := &deliveryDetailOutput{}
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		if out.Body.Delivery, err = tx.Delivery(ctx, id); err != nil {
			return err
		}
		out.Body.History, err = tx.DeliveryAttempts(ctx, out.Body.Delivery)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

type scheduleStep struct {
	AfterTry       int   `json:"after_try" doc:"The try that did not work"`
	WaitSeconds    int64 `json:"wait_seconds" doc:"Until the next one, at the least"`
	ElapsedSeconds int64 `json:"elapsed_seconds" doc:"From the first try to the next one, at the least"`
}

type scheduleOutput struct {
	Body struct {
		Tries         int            `json:"tries" doc:"After the last one a delivery is a dead letter"`
		JitterPercent int            `json:"jitter_percent" doc:"The most that is added to a wait at random"`
		Waits         []scheduleStep `json:"waits"`
	}
}

func (s *Server) getSchedule(context.Context, *struct{}) (*scheduleOutput, error) {
	out := &scheduleOutput{}
	out.Body.Tries, out.Body.JitterPercent = retry.Tries, retry.JitterPercent
	for _, step := range retry.Schedule() {
		out.Body.Waits = append(out.Body.Waits, scheduleStep{step.AfterTry, int64(step.Wait.Seconds()), int64(step.Elapsed.Seconds())})
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

func (s *Server) listAudit(ctx context.Context, in *PageParams) (*listOutput[domain.AuditEntry], error) {
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]domain.AuditEntry, string, error) {
		return tx.AuditEntries(ctx, in.page())
	})
}
