package server

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/sla"
	"github.com/wedsync/wedsync/internal/store"
)

// shownOf is how many of the newest drills and episodes the page of an integration shows.
const shownOf = 5

// integrationPage is one integration: how it does, how news of it come, and what was exercised.
type integrationPage struct {
	Notice, Fault          string
	Insist                 *insistForm
	Freeze                 *freezeNotice
	CanOperate, CanConnect bool
	Row                    integrationRow
	Title                  string // of its provider
	Windows                []windowLine
	Mode                   mark
	Failover               domain.Failover
	OverCause              string
	Polls                  bool // quick polls stand in, so that it can be sent back
	CanDrill               bool
	Drills                 []drillRow
	Episodes               []episodeRow
}

// windowLine is a window of maintenance that covers the integration and has not ended.
type windowLine struct {
	When, Why string
	State     mark
}

type drillRow struct {
	domain.Drill
	Mark             mark
	Noticed, Longest string
}

type episodeRow struct {
	domain.FailoverEpisode
	What, Cause, Took string
}

func (s *Server) integrationPage(c echo.Context) error {
	return s.showIntegration(c, http.StatusOK, integrationPage{Notice: doneWords[c.QueryParam("done")]})
}

// showIntegration fills the page around what d says already.
func (s *Server) showIntegration(c echo.Context, status int, d integrationPage) error {
	ctx := c.Request().Context()
	who := callerOf(ctx)
	id, err := parseID[domain.IntegrationID]("integration", c.Param("id"))
	if err != nil {
		return err
	}
	d.CanOperate, d.CanConnect = canOperate(who), isAdmin(who)
	if err := s.deps.Store.TenantRead(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		i, err := present(ctx, tx, id)
		if err != nil {
			return err
		}
		r, err := tx.Resource(ctx, i.ResourceID)
		if err != nil {
			return err
		}
		rows := []integrationRow{s.integrationRow(i, r.Name, d.CanConnect)}
		if err := s.fillFreshness(ctx, tx, rows); err != nil {
			return err
		}
		if err := s.fillOnboarding(ctx, tx, rows); err != nil {
			return err
		}
		d.Row, d.Title = rows[0], s.providers[i.Provider].Title
		if d.Freeze, err = freezeOn(ctx, tx, who); err != nil {
			return err
		}
		if d.Windows, err = windowsOf(ctx, tx, i, r.Zone); err != nil {
			return err
		}
		return d.fillFailover(ctx, tx, i)
	}); err != nil {
		return err
	}
	return s.show(c, status, "integration.html", s.frame(c, d.Row.Name, d))
}

// windowsOf are the windows of maintenance that cover an integration and have not ended, in the order of their beginnings.
func windowsOf(ctx context.Context, tx *store.Tx, i domain.Integration, zone string) (out []windowLine, err error) {
	open, err := tx.OpenMaintenances(ctx)
	for _, m := range open {
		if m.Covers(i.Provider, i.ID) {
			out = append(out, windowLine{When: spanText(m.Span(), zone), Why: m.Reason, State: windowMark(m.State)})
		}
	}
	return out, err
}

// fillFailover tells how news of the integration come, and of its newest drills and episodes.
func (d *integrationPage) fillFailover(ctx context.Context, tx *store.Tx, i domain.Integration) error {
	var err error
	if d.Failover, err = tx.Failover(ctx, i.ID); err != nil {
		return err
	}
	d.Mode, d.OverCause = modeMark(d.Failover.Mode), causeWords[d.Failover.Cause]
	d.Polls = d.Failover.Mode == domain.FailoverPolling || d.Failover.Mode == domain.FailoverBegun
	d.CanDrill = i.State == domain.IntegrationActive && d.Failover.Mode == domain.FailoverUsual && d.Freeze == nil
	episodes, _, err := tx.Episodes(ctx, i.ID, store.Page{Limit: shownOf})
	if err != nil {
		return err
	}
	d.Episodes = nil
	for _, e := range episodes {
		row := episodeRow{FailoverEpisode: e, What: "Quick polls stood in", Cause: causeWords[e.Cause], Took: "goes on"}
		if e.Kind == domain.EpisodeOutage {
			row.What = "An outage was caught up"
		}
		if e.EndedAt != nil {
			row.Took = shortSpan(e.EndedAt.Sub(e.BeganAt))
		}
		d.Episodes = append(d.Episodes, row)
	}
	drills, _, err := tx.Drills(ctx, i.ID, store.Page{Limit: shownOf})
	if err != nil {
		return err
	}
	d.Drills = nil
	for _, one := range drills {
		row := drillRow{Drill: one, Mark: drillMark(one.State), Longest: shortSpan(one.MaxLag)}
		if one.NoticedAt != nil {
			row.Noticed = shortSpan(one.NoticedAt.Sub(one.BeganAt))
		}
		d.CanDrill = d.CanDrill && one.State.Ended()
		d.Drills = append(d.Drills, row)
	}
	return nil
}

// shortSpan is how long something took, to the second.
func shortSpan(d time.Duration) string { return sla.Words(int64(d.Round(time.Second) / time.Second)) }

// spanText spells a stretch out by the clock of a zone.
func spanText(s domain.Span, zone string) string {
	return whenText(domain.When{Span: s, Zone: zone, Kind: domain.TimeZoned})
}

// sendOver carries out the button that sends an integration over to polls, or back. It returns the word of what was done.
func (s *Server) sendOver(ctx context.Context, a *actionInput, to string) (string, error) {
	if to != contract.FailoverToPolling && to != contract.FailoverToWebhooks {
		return "", malformed("to", "must be one of the buttons")
	}
	in := &setFailoverInput{IDParam: a.IDParam}
	in.Body.To, in.Body.Reason = to, a.reason()
	_, err := s.setFailover(ctx, in)
	return to, err
}

func modeMark(m domain.FailoverMode) mark {
	switch m {
	case domain.FailoverBegun:
		return mark{"◆", "Quick polls begin", "high"}
	case domain.FailoverPolling:
		return mark{"◐", "Quick polls stand in", "medium"}
	case domain.FailoverReturning:
		return mark{"↺", "Going back to what the system posts", "medium"}
	case domain.FailoverUsual:
	}
	return mark{"✓", "As usual", "good"}
}

func drillMark(s domain.DrillState) mark {
	switch s {
	case domain.DrillWatching:
		return mark{"…", "What is posted lies; it is waited that somebody notices", "medium"}
	case domain.DrillPolling:
		return mark{"◐", "It was noticed; quick polls stand in", "medium"}
	case domain.DrillReturning:
		return mark{"↺", "Going back", "medium"}
	case domain.DrillDone:
		return mark{"✓", "Passed", "good"}
	case domain.DrillFailed:
		return mark{"✕", "Failed", "critical"}
	case domain.DrillCancelled:
	}
	return mark{"–", "Called off", "low"}
}

// causeWords say why news of a connection come another way.
var causeWords = map[domain.FailoverCause]string{
	domain.OverSilent: "webhooks were silent", domain.OverWatch: "the address that the system posts to was lost", domain.OverUnannounced: "a poll found a change that nobody had told of",
	domain.OverByPerson: "a person wanted it", domain.OverWeddingDay: "on a wedding day it does not wait", domain.OverDrill: "a drill", domain.BackHeardAgain: "what is posted arrives again",
	domain.BackRepaired: "the subscription was made anew", domain.BackRefused: "the closing poll did not work", domain.OverOutage: "the system was down",
	domain.OverReconnected: "the system did not accept the credentials",
}
