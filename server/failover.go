package server

import (
	"context"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/drills"
	"github.com/wedsync/wedsync/internal/store"
)

// shownEpisodes is how many of the newest episodes are told with one integration.
const shownEpisodes = 20

type failoverView struct {
	domain.Failover
	PollMS   int64                    `json:"poll_every_ms,omitempty" doc:"Between the polls that stand in"`
	Episodes []domain.FailoverEpisode `json:"episodes" doc:"When polls stood in, and outages that were caught up, newest first, at most 20"`
}

type failoverOutput struct{ Body failoverView }

func (s *Server) getFailover(ctx context.Context, in *IDParam) (*failoverOutput, error) {
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	return s.failoverOf(ctx, id)
}

func (s *Server) failoverOf(ctx context.Context, id domain.IntegrationID) (*failoverOutput, error) {
	out := &failoverOutput{}
	return out, s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		if _, err := present(ctx, tx, id); err != nil {
			return err
		}
		f, err := tx.Failover(ctx, id)
		if err != nil {
			return err
		}
		out.Body = failoverView{Failover: f, PollMS: f.PollEvery.Milliseconds(), Episodes: []domain.FailoverEpisode{}}
		list, _, err := tx.Episodes(ctx, id, store.Page{Limit: shownEpisodes})
		out.Body.Episodes = append(out.Body.Episodes, list...)
		return err
	})
}

type setFailoverInput struct {
	IDParam
	Body struct {
		To     string `json:"to" enum:"polling,webhooks" doc:"polling: read it quickly and do not rely on what it posts, until somebody says otherwise. webhooks: back, after a closing poll"`
		Reason string `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail; at most 500 bytes, no personal data"`
	}
}

// setFailover sends an integration over to polls, or back.
func (s *Server) setFailover(ctx context.Context, in *setFailoverInput) (*failoverOutput, error) {
	who := callerOf(ctx)
	ref, err := s.askedFor(ctx, in.ID, "integration.failover", in.Body.Reason, map[string]string{"to": in.Body.To})
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, flowTimeout)
	defer cancel()
	_, err = s.deps.Flow.Failover(wait, ref, contract.FailoverRequest{To: in.Body.To, Cause: domain.OverByPerson, Hold: in.Body.To == contract.FailoverToPolling, By: who.Subject})
	if err != nil {
		s.recordRefusal(ctx, "integration.failover", "integration/"+string(ref.ID), err)
		return nil, flowFault(err)
	}
	return s.failoverOf(ctx, ref.ID)
}

type drillView struct {
	domain.Drill
	NoticedMS *int64 `json:"noticed_after_ms,omitempty" doc:"How long it took until it failed over"`
	MaxLagMS  int64  `json:"max_lag_ms" doc:"The longest that a change can have waited for a poll"`
}

func viewDrill(d domain.Drill) drillView {
	v := drillView{Drill: d, MaxLagMS: d.MaxLag.Milliseconds()}
	if d.NoticedAt != nil {
		ms := d.NoticedAt.Sub(d.BeganAt).Milliseconds()
		v.NoticedMS = &ms
	}
	return v
}

type drillOutput struct {
	Location string `header:"Location"`
	Body     drillView
}

func (s *Server) beginDrill(ctx context.Context, in *actionInput) (*drillOutput, error) {
	who := callerOf(ctx)
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	if _, err := s.askedFor(ctx, in.ID, "integration.drill", in.reason(), nil); err != nil {
		return nil, err
	}
	out := &drillOutput{}
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		d, err := drills.Begin(ctx, tx, id, who.Subject)
		out.Body = viewDrill(d)
		out.Location = "/v1/drills/" + string(d.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Server) getDrill(ctx context.Context, in *IDParam) (*drillOutput, error) {
	id, err := parseID[domain.DrillID]("drill", in.ID)
	if err != nil {
		return nil, err
	}
	out := &drillOutput{}
	return out, s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		d, err := tx.Drill(ctx, id)
		out.Body = viewDrill(d)
		return err
	})
}

type listDrillsInput struct {
	PageParams
	Integration string `query:"integration_id" doc:"Those of this integration only"`
}

func (s *Server) listDrills(ctx context.Context, in *listDrillsInput) (*listOutput[drillView], error) {
	var id domain.IntegrationID
	if in.Integration != "" {
		var err error
		if id, err = domain.ParseID[domain.IntegrationID]("integration_id", in.Integration); err != nil {
			return nil, err
		}
	}
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]drillView, string, error) {
		all, next, err := tx.Drills(ctx, id, in.page())
		return views(all, viewDrill), next, err
	})
}

type drillScheduleBody struct {
	EveryDays int        `json:"every_days" minimum:"0" maximum:"365" doc:"One connection has its turn every so many days; 0 = never"`
	NextAt    *time.Time `json:"next_at,omitempty" readOnly:"true" doc:"When the next one has its turn, unless a wedding is near"`
	UpdatedBy string     `json:"updated_by,omitempty" readOnly:"true"`
}

type drillScheduleOutput struct{ Body drillScheduleBody }

func (s *Server) getDrillSchedule(ctx context.Context, _ *struct{}) (*drillScheduleOutput, error) {
	out := &drillScheduleOutput{}
	return out, s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		plan, err := tx.DrillSchedule(ctx)
		if domain.KindOf(err) == domain.KindNotFound {
			return nil
		}
		if err == nil {
			out.Body = drillScheduleBody{EveryDays: plan.EveryDays, NextAt: &plan.NextAt, UpdatedBy: plan.UpdatedBy}
		}
		return err
	})
}

type putDrillScheduleInput struct {
	Body struct {
		EveryDays int    `json:"every_days" minimum:"0" maximum:"365" doc:"One connection has its turn every so many days; 0 = never"`
		Reason    string `json:"reason,omitempty" maxLength:"500"`
	}
}

func (s *Server) putDrillSchedule(ctx context.Context, in *putDrillScheduleInput) (*drillScheduleOutput, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.Body.Reason)
	if err != nil {
		return nil, err
	}
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.PutDrillSchedule(ctx, in.Body.EveryDays, tx.Now.AddDate(0, 0, in.Body.EveryDays), who.Subject); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "drills.schedule", Reason: reason, Subject: "organization/" + string(who.Org),
			After: map[string]string{"every_days": strconv.Itoa(in.Body.EveryDays)}})
	})
	if err != nil {
		return nil, err
	}
	return s.getDrillSchedule(ctx, nil)
}
