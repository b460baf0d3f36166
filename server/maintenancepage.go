package server

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/maintenance"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/upkeep"
)

const (
	shownWindows    = 20 // that are over
	shownProposals  = 5
	usualMinutes    = 60
	organizationAll = "organization" // the value of a form that means all connections
)

type maintenancePage struct {
	Notice, Fault          string
	CSRF                   string
	CanOperate, CanApprove bool
	Zone                   string // on whose clock times are typed
	Freeze                 *freezeNotice
	Now                    string // whether maintenance may be now
	Rules                  []string
	Groups                 []windowGroup
	Over                   []windowCard
	MoreOver               bool
	Form                   windowForm
	Targets                []windowTarget
	Asked                  bool // for times
	Found                  []foundTime
}

type windowGroup struct {
	ID, Title, Empty string
	Windows          []windowCard
}

type windowCard struct {
	domain.Maintenance
	Mark         mark
	When, Covers string
	Approve      bool   // it waits for that
	Short        bool   // it begins within the usual notice
	End          string // words of the button that ends it; "" = nothing to end
	Done         string // words for how that is asked
	Standing     string // how far its connections are
	CSRF         string
}

// windowForm is what was typed, so that a refused form is not typed anew.
type windowForm struct{ Target, Starts, Minutes, Reason, Key string }

type windowTarget struct {
	Value, Word string
	Chosen      bool
}

type foundTime struct {
	Starts, When string
	Score        float64
	Why          []string
}

func (s *Server) maintenancePage(c echo.Context) error {
	notices := map[string]string{"propose": "The window is proposed.", "approve": "The window is approved.", "cancel": "The window is called off."}
	d := maintenancePage{Notice: notices[c.QueryParam("done")], Form: windowForm{Target: c.QueryParam("target"), Minutes: c.QueryParam("minutes")}}
	status := http.StatusOK
	if d.Form.Minutes != "" {
		d.Asked = true
		found, err := s.findTimes(c.Request().Context(), d.Form)
		if err != nil {
			if status, _ = statusOf(err); status == http.StatusInternalServerError {
				return err
			}
			d.Asked, d.Fault = false, plain(err)
		}
		return s.showMaintenance(c, status, d, found)
	}
	return s.showMaintenance(c, status, d, nil)
}

// showMaintenance fills the page around what d says already.
func (s *Server) showMaintenance(c echo.Context, status int, d maintenancePage, found []maintenance.Proposal) error {
	ctx := c.Request().Context()
	who := callerOf(ctx)
	d.CanOperate, d.CanApprove, d.CSRF = canOperate(who), isAdmin(who), csrfToken(s.sessionOf(c.Request()))
	if d.Form.Minutes == "" {
		d.Form.Minutes = strconv.Itoa(usualMinutes)
	}
	if d.Form.Key == "" {
		d.Form.Key = newRequestID() // pressed twice, the form makes one window
	}
	if err := s.deps.Store.TenantRead(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		zone, settings, err := maintenanceZone(ctx, tx)
		if err != nil {
			return err
		}
		d.Zone, d.Rules = zone.String(), upkeepRules(settings)
		if d.Freeze, err = freezeOn(ctx, tx, who); err != nil {
			return err
		}
		state, err := upkeep.StateAt(ctx, tx, tx.Now)
		if err != nil {
			return err
		}
		d.Now = openText(state, zone)
		names, err := s.fillTargets(ctx, tx, &d)
		if err != nil {
			return err
		}
		if err := d.fillWindows(ctx, tx, zone, settings, names); err != nil {
			return err
		}
		d.Found = nil
		for _, p := range found {
			d.Found = append(d.Found, foundTime{Starts: p.Start.UTC().Format(time.RFC3339), When: spanText(p.Span, d.Zone), Score: p.Score, Why: p.Why})
		}
		return nil
	}); err != nil {
		return err
	}
	return s.show(c, status, "maintenance.html", s.frame(c, "Maintenance", d))
}

// maintenanceZone is on whose clock the organisation means days and hours of maintenance.
func maintenanceZone(ctx context.Context, tx *store.Tx) (*time.Location, domain.MaintenanceSettings, error) {
	settings, err := tx.MaintenanceSettings(ctx)
	if err != nil {
		return nil, settings, err
	}
	name := settings.Zone
	if name == "" {
		if name, err = tx.Zone(ctx); err != nil {
			return nil, settings, err
		}
	}
	loc, err := calendartime.LoadZone(name)
	if err != nil {
		loc = time.UTC
	}
	return loc, settings, nil
}

// fillTargets lists what a window may cover and returns the names of the integrations.
func (s *Server) fillTargets(ctx context.Context, tx *store.Tx, d *maintenancePage) (map[domain.IntegrationID]string, error) {
	names, err := integrationNames(ctx, tx)
	if err != nil {
		return nil, err
	}
	all, _, err := tx.Integrations(ctx, store.Page{Limit: store.MaxPage})
	if err != nil {
		return nil, err
	}
	d.Targets = []windowTarget{{Value: organizationAll, Word: "All connections"}}
	var platforms []string
	for _, i := range all {
		if !slices.Contains(platforms, i.Provider) {
			platforms = append(platforms, i.Provider)
		}
	}
	slices.Sort(platforms)
	for _, p := range platforms {
		d.Targets = append(d.Targets, windowTarget{Value: "platform:" + p, Word: "All of " + s.platformName(p)})
	}
	for _, i := range all {
		d.Targets = append(d.Targets, windowTarget{Value: "integration:" + string(i.ID), Word: i.Name})
	}
	for n := range d.Targets {
		d.Targets[n].Chosen = d.Targets[n].Value == d.Form.Target
	}
	return names, nil
}

func (s *Server) platformName(name string) string {
	if reg, ok := s.providers[name]; ok && reg.Title != "" {
		return reg.Title
	}
	return name
}

// fillWindows sorts windows by what a person has to do about them.
func (d *maintenancePage) fillWindows(ctx context.Context, tx *store.Tx, zone *time.Location, settings domain.MaintenanceSettings, names map[domain.IntegrationID]string) error {
	open, err := tx.OpenMaintenances(ctx)
	if err != nil {
		return err
	}
	d.Groups = []windowGroup{{ID: "waiting", Title: "Waiting for approval", Empty: "No window waits for approval."}, {ID: "ahead", Title: "Approved", Empty: "No window is ahead."},
		{ID: "running", Title: "Going on", Empty: "No connection is in maintenance."}}
	for _, m := range open {
		card := windowCardOf(m, zone, names)
		n := 2
		switch {
		case m.State == domain.MaintenanceProposed:
			n = 0
			card.Approve = d.CanApprove
			card.Short = m.StartsAt.Before(tx.Now.Add(settings.Notice()))
		case m.State.Ahead():
			n = 1
		default:
			members, err := tx.MaintenanceMembers(ctx, m.ID)
			if err != nil {
				return err
			}
			card.Standing = standingText(m, members)
		}
		if d.CanOperate {
			card.End, card.Done = endWords(m.State, d.CanApprove)
			card.CSRF = d.CSRF
		}
		d.Groups[n].Windows = append(d.Groups[n].Windows, card)
	}
	d.Over, d.MoreOver = nil, false
	recent, next, err := tx.Maintenances(ctx, store.MaintenanceFilter{}, store.Page{Limit: shownWindows + domain.MaxMaintenances})
	if err != nil {
		return err
	}
	for _, m := range recent {
		if !m.State.Ended() {
			continue
		}
		if len(d.Over) == shownWindows {
			d.MoreOver = true
			break
		}
		card := windowCardOf(m, zone, names)
		if m.BeganAt != nil {
			card.Standing = standingText(m, nil)
		}
		d.Over = append(d.Over, card)
	}
	d.MoreOver = d.MoreOver || next != ""
	return nil
}

func windowCardOf(m domain.Maintenance, zone *time.Location, names map[domain.IntegrationID]string) windowCard {
	var covers []string
	for _, scope := range m.Scopes {
		switch scope.Kind {
		case domain.ScopeOrganization:
			covers = append(covers, "all connections")
		case domain.ScopePlatform:
			covers = append(covers, "all of "+scope.Target)
		case domain.ScopeIntegration:
			name := names[domain.IntegrationID(scope.Target)]
			if name == "" {
				name = "a connection that is gone"
			}
			covers = append(covers, name)
		}
	}
	return windowCard{Maintenance: m, Mark: windowMark(m.State), When: spanText(m.Span(), zone.String()), Covers: strings.Join(covers, ", ")}
}
