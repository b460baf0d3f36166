package server

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/maintenance"
	"github.com/wedsync/wedsync/internal/store"
)

// ownForm ends the key of the form in which a time is typed, to tell it from the one that offers times.
const ownForm = "-own"

// findTimes ranks times for what a form asks.
func (s *Server) findTimes(ctx context.Context, f windowForm) ([]maintenance.Proposal, error) {
	minutes, err := minutesOf(f.Minutes)
	if err != nil {
		return nil, err
	}
	scope, err := scopeOf(f.Target)
	if err != nil {
		return nil, err
	}
	in := &proposeMaintenanceInput{Duration: int(minutes / time.Minute), Limit: shownProposals}
	switch scope.Kind {
	case domain.ScopePlatform:
		in.Platform = scope.Target
	case domain.ScopeIntegration:
		in.Integration = scope.Target
	case domain.ScopeOrganization:
	}
	out, err := s.proposeMaintenance(ctx, in)
	if err != nil {
		return nil, err
	}
	return out.Body.Items, nil
}

// doPropose carries out the form that proposes a window.
func (s *Server) doPropose(c echo.Context) error {
	form := c.Request().PostForm
	f := windowForm{Target: form.Get("target"), Starts: form.Get("starts"), Minutes: form.Get("minutes"), Reason: form.Get("reason"), Key: form.Get("key")}
	if err := s.propose(c.Request().Context(), f); err != nil {
		status, _ := statusOf(err)
		if status == http.StatusInternalServerError {
			return err
		}
		// Only where nobody knows what became of it another try is the same wish.
		if f.Key = strings.TrimSuffix(f.Key, ownForm); domain.KindOf(err) != domain.KindUnavailable {
			f.Key = ""
		}
		if _, rfc := time.Parse(time.RFC3339, f.Starts); rfc == nil {
			f.Starts = "" // of a proposal; the field holds local times only
		}
		return s.showMaintenance(c, status, maintenancePage{Fault: plain(err), Form: f}, nil)
	}
	return c.Redirect(http.StatusSeeOther, "/maintenance?done=propose")
}

func (s *Server) propose(ctx context.Context, f windowForm) error {
	scope, err := scopeOf(f.Target)
	if err != nil {
		return err
	}
	minutes, err := minutesOf(f.Minutes)
	if err != nil {
		return err
	}
	if len(f.Key) > 200 {
		return malformed("key", "at most 200 bytes")
	}
	in := &createMaintenanceInput{KeyHeader: KeyHeader{Key: f.Key}}
	if in.Body.StartsAt, err = s.beginningOf(ctx, f.Starts); err != nil {
		return err
	}
	in.Body.Scopes, in.Body.EndsAt, in.Body.Reason = []domain.Scope{scope}, in.Body.StartsAt.Add(minutes), strings.TrimSpace(f.Reason)
	_, err = s.createMaintenance(ctx, in)
	return err
}

// beginningOf reads when a window is to begin: an instant, as proposals have it, or what a clock of the organisation shows.
func (s *Server) beginningOf(ctx context.Context, text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC(), nil
	}
	local, err := time.Parse("2006-01-02T15:04", text)
	if err != nil {
		return time.Time{}, domain.Invalid("starts_at", "must be a date and a time, such as 2027-03-01T02:00")
	}
	var zone *time.Location
	if err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		zone, _, err = maintenanceZone(ctx, tx)
		return err
	}); err != nil {
		return time.Time{}, err
	}
	wall := calendartime.WallOf(local, time.UTC)
	at := calendartime.Resolve(wall, zone)
	if calendartime.WallOf(at, zone) != wall {
		return time.Time{}, domain.Invalid("starts_at", "does not exist: clocks in %s go forward then", zone)
	}
	return at.UTC(), nil
}

// scopeOf reads what a window is to cover: all, a platform or an integration.
func scopeOf(text string) (domain.Scope, error) {
	kind, target, _ := strings.Cut(text, ":")
	switch kind {
	case "", organizationAll:
		return domain.Scope{Kind: domain.ScopeOrganization}, nil
	case "platform":
		return domain.Scope{Kind: domain.ScopePlatform, Target: target}, nil
	case "integration":
		id, err := domain.ParseID[domain.IntegrationID]("query.target", target)
		return domain.Scope{Kind: domain.ScopeIntegration, Target: string(id)}, err
	}
	return domain.Scope{}, malformed("query.target", "must be one of the list")
}

func minutesOf(text string) (time.Duration, error) {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if least, most := int(domain.MinMaintenance/time.Minute), int(domain.MaxMaintenance/time.Minute); err != nil || n < least || n > most {
		return 0, domain.Invalid("duration_minutes", "must be %d to %d minutes", least, most)
	}
	return time.Duration(n) * time.Minute, nil
}

// doApproveWindow is the button that lets a window take place.
func (s *Server) doApproveWindow(c echo.Context) error {
	form := c.Request().PostForm
	in := &approveMaintenanceInput{IDParam: IDParam{ID: c.Param("id")}}
	in.Body = &struct {
		ShortNotice bool   `json:"short_notice,omitempty" doc:"Let it begin before the usual notice"`
		Reason      string `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail; no personal data"`
	}{ShortNotice: form.Get("short_notice") != "", Reason: form.Get("reason")}
	_, err := s.approveMaintenance(c.Request().Context(), in)
	return s.doneWindow(c, "approve", err)
}

// doCancelWindow is the button that refuses, cancels or ends a window.
func (s *Server) doCancelWindow(c echo.Context) error {
	_, err := s.cancelMaintenance(c.Request().Context(), &actionInput{IDParam: IDParam{ID: c.Param("id")}, Body: &reasonBody{Reason: c.Request().PostForm.Get("reason")}})
	return s.doneWindow(c, "cancel", err)
}

func (s *Server) doneWindow(c echo.Context, what string, err error) error {
	if err == nil {
		return c.Redirect(http.StatusSeeOther, "/maintenance?done="+what)
	}
	status, _ := statusOf(err)
	if status == http.StatusInternalServerError {
		return err
	}
	return s.showMaintenance(c, status, maintenancePage{Fault: plain(err)}, nil)
}
