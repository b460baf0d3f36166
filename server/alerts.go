package server

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/alerting"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/sla"
	"github.com/wedsync/wedsync/internal/store"
)

type listAlertsInput struct {
	PageParams
	State  string `query:"state" enum:"open,acknowledged,resolved"`
	Target string `query:"target" maxLength:"64" doc:"Id of an integration or name of a provider"`
}

func (s *Server) listAlerts(ctx context.Context, in *listAlertsInput) (*listOutput[domain.Alert], error) {
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]domain.Alert, string, error) {
		return tx.Alerts(ctx, store.AlertFilter{State: domain.AlertState(in.State), Target: in.Target}, in.page())
	})
}

type alertOutput struct{ Body domain.Alert }

func (s *Server) getAlert(ctx context.Context, in *IDParam) (*alertOutput, error) {
	id, err := parseID[domain.AlertID]("alert", in.ID)
	if err != nil {
		return nil, err
	}
	out := &alertOutput{}
	return out, s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		out.Body, err = tx.Alert(ctx, id)
		return err
	})
}

// acknowledgeAlert notes that somebody looks after it. PagerDuty is told too.
func (s *Server) acknowledgeAlert(ctx context.Context, in *actionInput) (*alertOutput, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.reason())
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.AlertID]("alert", in.ID)
	if err != nil {
		return nil, err
	}
	out := &alertOutput{}
	return out, s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := tx.Alert(ctx, id)
		if err != nil {
			return err
		}
		if out.Body, err = tx.AcknowledgeAlert(ctx, id, who.Subject); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "alert.acknowledge", Reason: reason, Subject: "alert/" + string(id),
			Before: map[string]string{"state": string(was.State)}, After: map[string]string{"state": string(out.Body.State), "severity": string(was.Severity)}})
	})
}

type periodInput struct {
	Period string `path:"period" maxLength:"7" doc:"A year such as 2026 or a month such as 2026-11, in the zone of the organisation"`
}

type reportOutput struct{ Body sla.Report }

// getReport reckons what became of what was promised.
func (s *Server) getReport(ctx context.Context, in *periodInput) (*reportOutput, error) {
	r, err := s.report(ctx, in.Period)
	if err != nil {
		return nil, err
	}
	return &reportOutput{Body: r}, nil
}

// orgZone is the zone of an organisation, in which its months begin and end; UTC where none is known.
func (s *Server) orgZone(ctx context.Context, org domain.OrgID) (*time.Location, error) {
	o, err := s.deps.Store.Organization(ctx, org)
	switch {
	case domain.KindOf(err) == domain.KindNotFound:
		return time.UTC, nil
	case err != nil:
		return nil, err
	}
	if loc, err := calendartime.LoadZone(o.Zone); err == nil {
		return loc, nil
	}
	return time.UTC, nil
}

func (s *Server) report(ctx context.Context, period string) (r sla.Report, err error) {
	who := callerOf(ctx)
	loc, err := s.orgZone(ctx, who.Org)
	if err != nil {
		return r, err
	}
	p, err := sla.ParsePeriod(period, loc)
	if err != nil {
		return r, err
	}
	err = s.deps.Store.TenantRead(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		r, err = alerting.Report(ctx, tx, p)
		return err
	})
	return r, err
}

// reportCSV is the same report for a spreadsheet.
func (s *Server) reportCSV(c echo.Context) error {
	r, err := s.report(c.Request().Context(), c.Param("period"))
	if err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
	h.Set("Content-Disposition", `attachment; filename="wedsync-sla-`+r.Period.Name+`.csv"`)
	c.Response().WriteHeader(http.StatusOK)
	return sla.WriteCSV(c.Response(), r)
}

func (s *Server) listScores(ctx context.Context, in *PageParams) (*listOutput[alerting.Scored], error) {
	var out []alerting.Scored
	var next string
	err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		all, after, err := tx.Healths(ctx, in.page())
		if err != nil {
			return err
		}
		ids := make([]domain.IntegrationID, len(all))
		for i, h := range all {
			ids[i] = h.IntegrationID
		}
		next = after
		out, err = alerting.Scores(ctx, tx, ids)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list(out, next), nil
}

type scoreOutput struct{ Body alerting.Scored }

func (s *Server) getScore(ctx context.Context, in *IDParam) (*scoreOutput, error) {
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	out := &scoreOutput{}
	return out, s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		all, err := alerting.Scores(ctx, tx, []domain.IntegrationID{id})
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return domain.E(domain.KindNotFound, "no such integration")
		}
		out.Body = all[0]
		return nil
	})
}
