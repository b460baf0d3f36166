package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	rules "github.com/wedsync/wedsync/internal/rules/notify"
	"github.com/wedsync/wedsync/internal/store"
)

// PagerDutyURL is where the Events API v2 takes events of every service.
const PagerDutyURL = "https://events.pagerduty.com/v2/enqueue"

var alertKinds = map[string]domain.NotifyKind{
	"opened": domain.NotifyAlertOpened, "worse": domain.NotifyAlertWorse, "reminder": domain.NotifyAlertReminder,
	"escalated": domain.NotifyAlertEscalated, "acknowledged": domain.NotifyAlertAcknowledged, "resolved": domain.NotifyAlertResolved,
}

// alert has people told of an alert, as the plan of package rules/alert said.
func (p *planner) alert(ctx context.Context, f store.Fact) error {
	kind, ok := alertKinds[f.Refs["told"]]
	if !ok {
		return nil
	}
	a, err := p.tx.Alert(ctx, domain.AlertID(f.Refs["alert"]))
	if err != nil {
		return err
	}
	subject := "alert/" + string(a.ID)
	// An alert that comes and goes is told of each time, so the time makes the difference.
	m := matter{subject: subject, key: subject + "/" + string(kind) + "/" + f.At.UTC().Format(time.RFC3339Nano), Fact: rules.Fact{Kind: kind, Severity: a.Severity}}
	if err := p.concernedBy(ctx, &m, a); err != nil {
		return err
	}
	about, err := p.tx.NotificationsAbout(ctx, subject, aboutAtOnce)
	if err != nil {
		return err
	}
	policy, err := p.tx.AlertPolicy(ctx)
	if err != nil {
		return err
	}
	had := map[domain.RecipientID]bool{}
	for _, n := range about {
		// Whether a try that is going on arrives is not known, and a word too many of the end does no harm.
		if n.State == domain.NotificationSent || n.State.Waiting() || n.Attempts > 0 {
			had[n.RecipientID] = n.State == domain.NotificationSent || n.Attempts > 0 || had[n.RecipientID]
		}
	}
	m.only = map[domain.RecipientID]bool{}
	switch kind {
	case domain.NotifyAlertResolved, domain.NotifyAlertAcknowledged:
		// What was told as bad must be ended as bad, or a rule for severities would keep its end from whoever heard its beginning.
		m.Severity = a.ToldSeverity
		for id, told := range had {
			m.only[id] = told
		}
		for _, n := range about {
			// The message that the connection needs reconnecting stood for the beginning.
			if n.Kind == domain.NotifyAlertOpened && n.State == domain.NotificationSuppressed && n.Reason == toldOtherwise {
				m.only[n.RecipientID] = true
			}
		}
		if kind == domain.NotifyAlertAcknowledged {
			m.by = []domain.NotifyChannel{domain.ChannelPagerDuty}
		}
		why := "the alert was resolved before this was sent"
		if kind == domain.NotifyAlertAcknowledged {
			why = "acknowledged by " + a.AcknowledgedBy
		}
		if _, err := p.tx.SettleSubject(ctx, subject, why, false); err != nil {
			return err
		}
	case domain.NotifyAlertEscalated:
		m.Urgent = true
		level, _ := strconv.Atoi(f.Refs["level"]) // 0 for none, which is no step
		for _, who := range p.people {
			m.only[who.ID] = policy.ToldAt(level, who.Role)
		}
	default:
		if kind == domain.NotifyAlertOpened {
			if m.told, err = p.toldToReconnect(ctx, a); err != nil {
				return err
			}
		}
		m.Urgent = a.Severity == domain.SeverityCritical
		for _, who := range p.people {
			_, before := had[who.ID]
			m.only[who.ID] = before || policy.ToldFirst(who.Role)
		}
	}
	return p.tell(ctx, m, about)
}

// toldOtherwise is why the beginning of an alert is not told to somebody who knows.
const toldOtherwise = "told already that the connection needs reconnecting"

// toldToReconnect returns who was told, or is about to be, that the connection of an alert needs reconnecting. The alert says the
// same, so they are not told of its beginning too; its reminders, its steps and its end are told to all.
func (p *planner) toldToReconnect(ctx context.Context, a domain.Alert) ([]domain.Notification, error) {
	if a.Kind != domain.AlertConnection || a.Scope.Kind != domain.ScopeIntegration {
		return nil, nil
	}
	i, err := p.tx.Integration(ctx, domain.IntegrationID(a.Scope.Target))
	if err != nil || i.State != domain.IntegrationNeedsReconnect {
		return nil, err
	}
	about, err := p.tx.NotificationsAbout(ctx, "integration/"+string(i.ID), aboutAtOnce)
	return slices.DeleteFunc(about, func(n domain.Notification) bool {
		return n.Kind != domain.NotifyReconnect || n.State != domain.NotificationSent && !n.State.Waiting()
	}), err
}

// joinTold keeps the beginning of an alert from somebody who knows. A message that still waits goes out as soon as the alert would
// have.
func (p *planner) joinTold(ctx context.Context, n *domain.Notification, told []domain.Notification) error {
	if !n.State.Waiting() {
		return nil
	}
	for _, had := range told {
		if had.RecipientID != n.RecipientID || had.Channel != n.Channel {
			continue
		}
		if had.State.Waiting() && had.Attempts == 0 {
			if n.Severity.Level() > had.Severity.Level() {
				had.Severity = n.Severity
			}
			had.WeddingDay = had.WeddingDay || n.WeddingDay
			if err := p.tx.JoinNotification(ctx, had, *n.DueAt); domain.KindOf(err) == domain.KindNotFound {
				continue // settled meanwhile
			} else if err != nil {
				return err
			}
		}
		n.State, n.Reason, n.DueAt, n.Digest = domain.NotificationSuppressed, toldOtherwise, nil, false
		return nil
	}
	return nil
}

// concernedBy notes whom an alert concerns, and whether a wedding is near.
func (p *planner) concernedBy(ctx context.Context, m *matter, a domain.Alert) (err error) {
	if a.Scope.Kind == domain.ScopePlatform {
		if m.Resources, err = p.tx.ResourcesOfPlatform(ctx, a.Scope.Target); err != nil {
			return err
		}
	} else {
		i, err := p.tx.Integration(ctx, domain.IntegrationID(a.Scope.Target))
		if err != nil {
			return err
		}
		m.Resources = []domain.ResourceID{i.ResourceID}
	}
	if a.WeddingAt == nil || len(m.Resources) == 0 {
		return nil
	}
	loc, err := p.zoneOf(ctx, m.Resources[0])
	if err != nil {
		return err
	}
	m.WeddingDay = a.WeddingAt.Before(rules.WeddingDays(p.tx.Now, loc).End)
	return nil
}

func (l loader) alert(ctx context.Context, v *View, id domain.AlertID) (over string, err error) {
	a, err := l.tx.Alert(ctx, id)
	if err != nil {
		return "", err
	}
	switch v.Kind {
	case domain.NotifyAlertResolved:
		if a.Unresolved() {
			return "the alert is open again", nil
		}
	case domain.NotifyAlertReminder, domain.NotifyAlertEscalated:
		if a.State != domain.AlertOpen {
			return "the alert is " + string(a.State) + " already", nil
		}
	default:
		if !a.Unresolved() {
			return "the alert is resolved already", nil
		}
	}
	v.Rule, v.What, v.When, v.State = a.Kind, a.Reason, l.moment(a.OpenedAt), string(a.State)
	if v.Kind == domain.NotifyAlertResolved {
		v.What = a.Resolution
	}
	if a.Scope.Kind == domain.ScopePlatform {
		v.System, v.Members = a.Scope.Target, a.Members
		return "", nil
	}
	i, err := l.tx.Integration(ctx, domain.IntegrationID(a.Scope.Target))
	if err != nil {
		return "", err
	}
	v.System = i.Name
	return "", nil
}

// pagerDutyEvent is a body of the Events API v2, as its documentation has it.
type pagerDutyEvent struct {
	RoutingKey string            `json:"routing_key"`
	Action     string            `json:"event_action"` // trigger, acknowledge or resolve
	DedupKey   string            `json:"dedup_key"`
	Payload    *pagerDutyPayload `json:"payload,omitempty"` // of a trigger
	Client     string            `json:"client,omitempty"`
	ClientURL  string            `json:"client_url,omitempty"`
}

type pagerDutyPayload struct {
	Summary   string            `json:"summary"` // at most 1024 characters
	Source    string            `json:"source"`
	Severity  string            `json:"severity"` // critical, error, warning or info
	Timestamp string            `json:"timestamp"`
	Component string            `json:"component,omitempty"`
	Class     string            `json:"class,omitempty"`
	Details   map[string]string `json:"custom_details,omitempty"`
}

const maxPagerDutySummary = 1024

// pagerDuty posts one event for each notification of a message. All events of an alert have one key, so whatever is repeated
// or comes twice changes nothing there.
func (s Senders) pagerDuty(ctx context.Context, m Message) error {
	url := s.PagerDuty
	if url == "" {
		url = PagerDutyURL
	}
	for i, n := range m.All {
		view := m.View
		if len(view.Items) > i {
			view = view.Items[i]
		}
		e := pagerDutyEvent{RoutingKey: m.To.Addresses.PagerDuty, Action: "trigger", DedupKey: "wedsync/" + n.Subject}
		switch n.Kind {
		case domain.NotifyAlertResolved:
			e.Action = "resolve"
		case domain.NotifyAlertAcknowledged:
			e.Action = "acknowledge"
		default:
			c, err := Render(view)
			if err != nil {
				return err
			}
			summary := c.Subject
			if r := []rune(summary); len(r) > maxPagerDutySummary {
				summary = string(r[:maxPagerDutySummary-1]) + "…"
			}
			e.Payload = &pagerDutyPayload{Summary: summary, Source: "wedsync", Severity: pagerDutySeverity(n.Severity), Timestamp: n.CreatedAt.UTC().Format(time.RFC3339),
				Component: view.System, Class: string(view.Rule), Details: map[string]string{"alert": n.Subject, "what": view.What, "wedding_day": strconv.FormatBool(n.WeddingDay)}}
			e.Client, e.ClientURL = "WedSync", view.Link
		}
		var body bytes.Buffer
		if err := json.NewEncoder(&body).Encode(e); err != nil {
			return domain.E(domain.KindInternal, "render an event for PagerDuty")
		}
		if err := s.post(ctx, url, body.Bytes(), http.Header{}); err != nil {
			return err
		}
		if n.Kind != domain.NotifyTest {
			continue
		}
		// Nobody is to be left with an incident of a sample. A repeat joins the incident and ends it again.
		end, err := json.Marshal(pagerDutyEvent{RoutingKey: e.RoutingKey, Action: "resolve", DedupKey: e.DedupKey})
		if err != nil {
			return domain.E(domain.KindInternal, "render an event for PagerDuty")
		}
		if err := s.post(ctx, url, end, http.Header{}); err != nil {
			return err
		}
	}
	return nil
}

func pagerDutySeverity(s domain.Severity) string {
	switch s {
	case domain.SeverityCritical:
		return "critical"
	case domain.SeverityHigh:
		return "error"
	case domain.SeverityMedium:
		return "warning"
	case domain.SeverityLow:
	}
	return "info"
}
