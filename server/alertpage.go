package server

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/wedsync/wedsync/internal/alerting"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/sla"
	"github.com/wedsync/wedsync/internal/store"
)

const (
	shownAlerts = 50
	shownScores = 100
)

type alertsData struct {
	Notice, Fault string
	CanOperate    bool
	Alerts        []alertCard
	More          bool
	Over          []alertCard // the newest that are over
	Undelivered   []undelivered
	Silences      []silenceView
	Scores        []scoreRow
	Month, Year   string // periods that have reports
}

type alertCard struct {
	domain.Alert
	Title string
	Link  string // to the page of the connection it is about; "" = it is about more, or about one that is gone
	Quiet string // why nobody is told
}

// undelivered is a message that was given up or is being tried again; whom it is for is told to admins only.
type undelivered struct {
	domain.Notification
	What string
}

const shownUndelivered = 10

// undeliveredOf reads the newest messages that did not get through, those that were given up first.
func undeliveredOf(ctx context.Context, tx *store.Tx) (out []undelivered, err error) {
	for _, state := range []domain.NotificationState{domain.NotificationFailed, domain.NotificationRetrying} {
		all, _, err := tx.Notifications(ctx, store.NotificationFilter{State: state}, store.Page{Limit: shownUndelivered})
		if err != nil {
			return nil, err
		}
		for _, n := range all {
			out = append(out, undelivered{n, strings.ReplaceAll(string(n.Kind), "_", " ")})
		}
	}
	return out, nil
}

type scoreRow struct {
	alerting.Scored
	Name string
}

func (s *Server) alertsPage(c echo.Context) error {
	notice := ""
	if c.QueryParam("done") == "acknowledge" {
		notice = "The alert is acknowledged. Nobody is reminded of it until it gets worse."
	}
	return s.showAlerts(c, http.StatusOK, notice, "")
}

func (s *Server) showAlerts(c echo.Context, status int, notice, fault string) error {
	ctx := c.Request().Context()
	who := callerOf(ctx)
	loc, err := s.orgZone(ctx, who.Org)
	if err != nil {
		return err
	}
	now := s.now().In(loc) // on the last evening of a month it is another one elsewhere
	d := alertsData{Notice: notice, Fault: fault, CanOperate: canOperate(who), Month: now.Format("2006-01"), Year: now.Format("2006")}
	err = s.deps.Store.TenantRead(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		open, next, err := tx.Alerts(ctx, store.AlertFilter{Open: true}, store.Page{Limit: shownAlerts})
		if err != nil {
			return err
		}
		d.More = next != ""
		over, _, err := tx.Alerts(ctx, store.AlertFilter{State: domain.AlertResolved}, store.Page{Limit: 10})
		if err != nil {
			return err
		}
		names, err := integrationNames(ctx, tx)
		if err != nil {
			return err
		}
		for _, a := range open {
			d.Alerts = append(d.Alerts, cardOfAlert(a, names))
		}
		for _, a := range over {
			d.Over = append(d.Over, cardOfAlert(a, names))
		}
		if d.Undelivered, err = undeliveredOf(ctx, tx); err != nil {
			return err
		}
		silences, err := tx.SilencesInForce(ctx)
		if err != nil {
			return err
		}
		for _, one := range silences {
			d.Silences = append(d.Silences, viewSilence(one, tx.Now))
		}
		all, _, err := tx.Healths(ctx, store.Page{Limit: shownScores})
		if err != nil {
			return err
		}
		ids := make([]domain.IntegrationID, len(all))
		for i, h := range all {
			ids[i] = h.IntegrationID
		}
		scores, err := alerting.Scores(ctx, tx, ids)
		for _, one := range scores {
			d.Scores = append(d.Scores, scoreRow{one, names[one.IntegrationID]})
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.show(c, status, "alerts.html", s.frame(c, "Alerts", d))
}

func integrationNames(ctx context.Context, tx *store.Tx) (map[domain.IntegrationID]string, error) {
	out := map[domain.IntegrationID]string{}
	for page := (store.Page{Limit: store.MaxPage}); ; {
		all, next, err := tx.Integrations(ctx, page)
		if err != nil {
			return nil, err
		}
		for _, i := range all {
			out[i.ID] = i.Name
		}
		if next == "" {
			return out, nil
		}
		page.After = next
	}
}

func cardOfAlert(a domain.Alert, names map[domain.IntegrationID]string) alertCard {
	card := alertCard{Alert: a, Title: "All of " + a.Scope.Target}
	if a.Scope.Kind == domain.ScopeIntegration {
		card.Title = names[domain.IntegrationID(a.Scope.Target)]
		card.Link = "/integrations/" + a.Scope.Target
		if card.Title == "" {
			card.Title, card.Link = "A connection that is gone", ""
		}
	}
	card.Title += " · " + alertWords[a.Kind]
	switch {
	case a.InhibitedBy != "":
		card.Quiet = "Another alert says the same of more, so nobody is told of this one."
	case a.SilencedUntil != nil:
		card.Quiet = "Silenced until " + utcText(*a.SilencedUntil) + "."
	}
	return card
}

var alertWords = map[domain.AlertKind]string{domain.AlertConnection: "connection", domain.AlertErrorRate: "error rate", domain.AlertResponseTime: "response time",
	domain.AlertDegradation: "slower than usual", domain.AlertSilence: "silence"}

// doAlert is the button of an alert.
func (s *Server) doAlert(c echo.Context) error {
	_, err := s.acknowledgeAlert(c.Request().Context(), &actionInput{IDParam: IDParam{ID: c.Param("id")}, Body: &reasonBody{Reason: c.Request().PostForm.Get("reason")}})
	if err != nil {
		p := problemOf(err)
		if p.Status >= http.StatusInternalServerError {
			return err
		}
		return s.showAlerts(c, p.Status, "", plain(err))
	}
	return c.Redirect(http.StatusSeeOther, "/alerts?done=acknowledge")
}

// reportPage is a report for people.
func (s *Server) reportPage(c echo.Context) error {
	r, err := s.report(c.Request().Context(), c.Param("period"))
	if err != nil {
		return err
	}
	return s.show(c, http.StatusOK, "sla.html", s.frame(c, "Service levels "+r.Period.Name, r))
}

func secondsText(n int64) string { return sla.Words(n) }

func shareText(v *float64) string {
	if v == nil {
		return "not known"
	}
	return strconv.FormatFloat(*v, 'f', -1, 64) + " %"
}

func millisText(v *int64) string {
	if v == nil {
		return "not known"
	}
	return (time.Duration(*v) * time.Millisecond).String()
}

func verdictMark(v sla.Verdict) mark {
	switch v {
	case sla.Met:
		return mark{"✓", "Met", "low"}
	case sla.Missed:
		return mark{"◆", "Missed", "high"}
	case sla.Unknown:
	}
	return mark{"■", "Not known", "medium"}
}
