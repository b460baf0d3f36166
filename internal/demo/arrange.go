package demo

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
)

func (s *story) ready(ctx context.Context) (string, error) {
	var health map[string]any
	_, err := s.api.Do(ctx, http.MethodGet, "/readyz", nil, &health)
	return "the stack is ready: Postgres and Temporal both answer", err
}

func (s *story) addPhotographer(ctx context.Context) (string, error) {
	var err error
	if s.loc, err = time.LoadLocation("Europe/London"); err != nil {
		return "load the zone", err
	}
	// A Saturday about eight months ahead.
	day := time.Now().In(s.loc).AddDate(0, 8, 0)
	day = day.AddDate(0, 0, (int(time.Saturday)-int(day.Weekday())+7)%7)
	s.day = time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, s.loc)
	hours := []map[string]int{}
	for weekday := 0; weekday < 7; weekday++ {
		hours = append(hours, map[string]int{"weekday": weekday, "from": 9 * 60, "to": 19 * 60})
	}
	var r struct {
		ID string `json:"id"`
	}
	_, err = s.api.Do(ctx, http.MethodPost, "/v1/resources", map[string]any{"name": "The photographer", "kind": "person", "zone": "Europe/London",
		"buffer_before_minutes": 30, "buffer_after_minutes": 30, "working_hours": hours, "skills": []string{"photography"}}, &r)
	s.resource = r.ID
	return "an organisation with one photographer, who works from 9 to 19 and needs half an hour around each appointment", err
}

const icsTime = "20060102T150405Z"

func (s *story) connectCalendar(ctx context.Context) (string, error) {
	said := "connect a calendar that already holds a wedding"
	c, err := startCalendar(ctx, s.o.Builtin)
	if err != nil {
		return said, err
	}
	s.calendar = c
	wedding := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Demo//Calendar//EN\r\nBEGIN:VEVENT\r\nUID:demo-wedding\r\nDTSTAMP:" + time.Now().UTC().Format(icsTime) +
		"\r\nDTSTART:" + s.clock(12).UTC().Format(icsTime) + "\r\nDTEND:" + s.clock(18).UTC().Format(icsTime) +
		"\r\nSUMMARY:Wedding at the old mill\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	if err := c.put(ctx, "demo-wedding.ics", wedding); err != nil {
		return said, err
	}
	var i struct {
		ID string `json:"id"`
	}
	_, err = s.api.Do(ctx, http.MethodPost, "/v1/integrations", map[string]any{"name": "Studio calendar", "provider": "caldav", "direction": "bidirectional",
		"resource_id": s.resource, "poll_seconds": 3600, "secrets": map[string]string{"password": calendarPassword},
		"settings": map[string]any{"url": c.url, "username": calendarUser, "category_default": "consultation",
			"category_rules": []map[string]any{{"category": "wedding", "contains": []string{"wedding"}}}}}, &i)
	s.calendarID = i.ID
	return "connected a calendar on " + c.name + "; the calendar was found by discovery", err
}

type bookings struct {
	Items []domain.Booking `json:"items"`
}

func (s *story) listBookings(ctx context.Context) ([]domain.Booking, error) {
	var out bookings
	_, err := s.api.Do(ctx, http.MethodGet, "/v1/bookings?limit=200&resource="+s.resource, nil, &out)
	return out.Items, err
}

func (s *story) firstSync(ctx context.Context) (string, error) {
	said := "the first sync read the wedding from the calendar: " + s.day.Format("Monday 2 January 2006") + ", 12:00 to 18:00"
	return said, s.eventually(ctx, func() error {
		list, err := s.listBookings(ctx)
		if err != nil {
			return err
		}
		if len(list) != 1 || list[0].Category != domain.CategoryWedding || !list[0].When.Start.Equal(s.clock(12)) {
			return fmt.Errorf("want one wedding at 12:00, have %d bookings", len(list))
		}
		return nil
	})
}

func (s *story) connectCRM(ctx context.Context) (string, error) {
	said := "connect a customer system of kind custom"
	secret := "whsec_" + "ZGVtby1zZWNyZXQtb2YtdGhlLXNpbXVsYXRlZC1jcm0hIQ=="
	s.crm = crmsim.New(crmsim.Options{APIKey: "demo-key", WebhookSecret: secret})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return said, err
	}
	s.crmHTTP = &http.Server{Handler: s.crm, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.crmHTTP.Serve(l) }()
	var i struct {
		ID         string `json:"id"`
		WebhookURL string `json:"webhook_url"`
	}
	_, err = s.api.Do(ctx, http.MethodPost, "/v1/integrations", map[string]any{"name": "Studio CRM", "provider": "custom", "direction": "bidirectional",
		"resource_id": s.resource, "secrets": map[string]string{"api_key": "demo-key", "webhook_secret": secret},
		"settings": crmsim.Settings("http://" + l.Addr().String())}, &i)
	s.crmID, s.hook = i.ID, i.WebhookURL
	return "connected a customer system of kind custom; its webhooks are mapped by expressions in its settings", err
}
