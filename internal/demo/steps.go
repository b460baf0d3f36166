package demo

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
)

type story struct {
	target Target
	o      Options
	api    *apiclient.Client

	day      time.Time // local midnight of the wedding
	loc      *time.Location
	resource string
	calendar *calendar
	crm      *crmsim.CRM
	crmHTTP  *http.Server

	calendarID, crmID string // integrations
	hook              string // where the customer system posts
	delivery          string
	message           crmsim.Message
	event             crmsim.Event // the consultation in the customer system
	booking           domain.Booking
	conflict          domain.Conflict
	moved             domain.When
	runID             string

	stopStream context.CancelFunc
	mu         sync.Mutex
	seen       []apiclient.Event
	streamErr  error
}

type step func(ctx context.Context) (string, error)

func (s *story) steps() []step {
	return []step{s.ready, s.addPhotographer, s.connectCalendar, s.firstSync, s.connectCRM, s.follow, s.forged, s.webhook, s.applied,
		s.conflictFound, s.busyWritten, s.again, s.fifty, s.resolve, s.resolved, s.readBack, s.resync, s.trail, s.visible}
}

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

func (s *story) clock(hour int) time.Time { return s.day.Add(time.Duration(hour) * time.Hour) }

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

func (s *story) follow(ctx context.Context) (string, error) {
	stream, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stopStream = stop
	opened := make(chan struct{})
	go func() {
		close(opened)
		err := s.api.Stream(stream, "", func(e apiclient.Event) bool {
			s.mu.Lock()
			s.seen = append(s.seen, e)
			s.mu.Unlock()
			return true
		})
		s.mu.Lock()
		s.streamErr = err
		s.mu.Unlock()
	}()
	<-opened
	// A resync of the calendar makes an event, which shows that the stream is open.
	var r struct {
		ID string `json:"id"`
	}
	if _, err := s.api.Do(ctx, http.MethodPost, "/v1/integrations/"+s.calendarID+"/resync", map[string]any{"full": false}, &r); err != nil {
		return "follow the live stream", err
	}
	_, err := s.event1(ctx, func(e apiclient.Event) bool { return e.Topic == domain.TopicSyncProgress })
	return "following the live stream", err
}

// event1 waits for an event on the live stream, from its beginning on.
func (s *story) event1(ctx context.Context, match func(apiclient.Event) bool) (apiclient.Event, error) {
	var found apiclient.Event
	err := s.eventually(ctx, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if i := slices.IndexFunc(s.seen, match); i >= 0 {
			found = s.seen[i]
			return nil
		}
		if s.streamErr != nil {
			return s.streamErr
		}
		return fmt.Errorf("no such event among %d", len(s.seen))
	})
	return found, err
}

type accepted struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

func (s *story) post(ctx context.Context, m crmsim.Message, spoil bool) (int, accepted, error) {
	var out accepted
	h, err := s.crm.Headers(m, time.Now())
	if err != nil {
		return 0, out, err
	}
	body := m.Body
	if spoil {
		body = bytes.Replace(body, []byte("15:00"), []byte("16:00"), 1)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.hook, bytes.NewReader(body))
	if err != nil {
		return 0, out, err
	}
	req.Header = h
	status, err := s.api.Send(req, &out)
	return status, out, err
}

func (s *story) forged(ctx context.Context) (string, error) {
	s.event = s.crm.Create(crmsim.Event{Kind: "meeting", State: "booked", Starts: s.clock(15).Format("2006-01-02T15:04:05"),
		Ends: s.clock(16).Format("2006-01-02T15:04:05"), Zone: "Europe/London", Title: "Consultation about albums", Client: "A couple of the demo"})
	messages := s.crm.TakeMessages()
	s.message = messages[len(messages)-1]
	status, _, err := s.post(ctx, s.message, true)
	if status != http.StatusUnauthorized {
		return "a forged webhook is refused", fmt.Errorf("status %d, want 401: %w", status, err)
	}
	return "a webhook with a changed body is refused: 401, and nothing is stored", nil
}

func (s *story) webhook(ctx context.Context) (string, error) {
	status, got, err := s.post(ctx, s.message, false)
	if err == nil && (status != http.StatusAccepted || got.ID == "") {
		err = fmt.Errorf("status %d, want 202 with an id", status)
	}
	s.delivery = got.ID
	return "the customer system books a consultation at 15:00 that day; its signed webhook is on disk: 202", err
}

func (s *story) applied(ctx context.Context) (string, error) {
	said := "the booking was applied once"
	err := s.eventually(ctx, func() error {
		var d domain.Delivery
		if _, err := s.api.Do(ctx, http.MethodGet, "/v1/deliveries/"+s.delivery, nil, &d); err != nil {
			return err
		}
		if d.State != domain.DeliveryApplied {
			return fmt.Errorf("the delivery is %s %s", d.State, d.Reason)
		}
		return nil
	})
	if err != nil {
		return said, err
	}
	list, err := s.listBookings(ctx)
	if err != nil {
		return said, err
	}
	for _, b := range list {
		if b.Category == domain.CategoryConsultation {
			s.booking = b
		}
	}
	if len(list) != 2 || s.booking.ID == "" {
		return said, fmt.Errorf("want a wedding and a consultation, have %d bookings", len(list))
	}
	return said, nil
}

func (s *story) conflictFound(ctx context.Context) (string, error) {
	said := "the double-booking appeared on the live stream"
	e, err := s.event1(ctx, func(e apiclient.Event) bool {
		return e.Topic == domain.TopicConflictOpened && e.Refs["booking"] == string(s.booking.ID)
	})
	if err != nil {
		return said, err
	}
	if _, err := s.api.Do(ctx, http.MethodGet, "/v1/conflicts/"+e.Refs["conflict"], nil, &s.conflict); err != nil {
		return said, err
	}
	c := s.conflict
	if c.State != domain.ConflictOpen || len(c.Alternatives) < 3 {
		return said, fmt.Errorf("want an open conflict with at least 3 alternatives, have %s with %d", c.State, len(c.Alternatives))
	}
	for i, a := range c.Alternatives {
		if len(a.Reasons) == 0 || i > 0 && a.Score > c.Alternatives[i-1].Score {
			return said, fmt.Errorf("alternative %d has no reasons or is out of order", i+1)
		}
		said += fmt.Sprintf("\n               %d. %s %s, score %d: %s", i+1, a.Action, a.When.Start.In(s.loc).Format("Mon 2 Jan 15:04"), a.Score, strings.Join(a.Reasons, "; "))
	}
	return said + "\n               " + string(c.Severity) + ": " + c.Explanation, nil
}

// shows waits until the calendar holds a consultation at a time, read over CalDAV.
func (s *story) shows(ctx context.Context, start time.Time, count int) error {
	return s.eventually(ctx, func() error {
		events, err := s.calendar.events(ctx)
		if err != nil {
			return err
		}
		if len(events) != count {
			return fmt.Errorf("the calendar holds %d events, want %d", len(events), count)
		}
		for _, e := range events {
			if strings.Contains(e, start.UTC().Format(icsTime)) && strings.Contains(e, string(s.booking.ID)) {
				return nil
			}
		}
		return fmt.Errorf("no copy of the booking at %s", start.Format(time.RFC3339))
	})
}

func (s *story) busyWritten(ctx context.Context) (string, error) {
	return "the consultation was written into the calendar, so that nobody books over it", s.shows(ctx, s.clock(15), 2)
}

// unchanged checks that there are still two bookings and one open conflict.
func (s *story) unchanged(ctx context.Context) error {
	list, err := s.listBookings(ctx)
	if err != nil {
		return err
	}
	var conflicts struct {
		Items []domain.Conflict `json:"items"`
	}
	if _, err := s.api.Do(ctx, http.MethodGet, "/v1/conflicts?state=open&resource="+s.resource, nil, &conflicts); err != nil {
		return err
	}
	for _, b := range list {
		if b.ID == s.booking.ID && b.Version != s.booking.Version {
			return fmt.Errorf("the booking has version %d now, was %d", b.Version, s.booking.Version)
		}
	}
	if len(list) != 2 || len(conflicts.Items) != 1 {
		return fmt.Errorf("%d bookings and %d open conflicts, want 2 and 1", len(list), len(conflicts.Items))
	}
	return nil
}

func (s *story) again(ctx context.Context) (string, error) {
	said := "the same webhook again: 200 with the same id, and nothing changed"
	status, got, err := s.post(ctx, s.message, false)
	if err != nil {
		return said, err
	}
	if status != http.StatusOK || got.ID != s.delivery {
		return said, fmt.Errorf("status %d and id %s, want 200 and %s", status, got.ID, s.delivery)
	}
	return said, s.unchanged(ctx)
}

func (s *story) fifty(ctx context.Context) (string, error) {
	const copies = 50
	said := "50 copies at once: 50 times 200 with the same id, and nothing changed"
	errs := make(chan error, copies)
	for range copies {
		go func() {
			status, got, err := s.post(ctx, s.message, false)
			if err == nil && (status != http.StatusOK || got.ID != s.delivery) {
				err = fmt.Errorf("status %d and id %s", status, got.ID)
			}
			errs <- err
		}()
	}
	for range copies {
		if err := <-errs; err != nil {
			return said, err
		}
	}
	return said, s.unchanged(ctx)
}

func (s *story) resolve(ctx context.Context) (string, error) {
	said := "an admin takes a proposal"
	n := slices.IndexFunc(s.conflict.Alternatives, func(a domain.Alternative) bool { return a.Action == domain.ActionMove && a.BookingID == s.booking.ID })
	if n < 0 {
		return said, fmt.Errorf("no proposal moves the consultation")
	}
	s.moved = s.conflict.Alternatives[n].When
	said = fmt.Sprintf("an admin moves the consultation to %s, proposal %d", s.moved.Start.In(s.loc).Format("Mon 2 Jan 15:04"), n+1)
	status, err := s.api.Do(ctx, http.MethodPost, "/v1/conflicts/"+string(s.conflict.ID)+"/resolve",
		map[string]any{"alternative": n, "reason": "agreed on the phone", "version": s.conflict.Version}, nil)
	if err == nil && status != http.StatusAccepted {
		err = fmt.Errorf("status %d, want 202", status)
	}
	return said, err
}

func (s *story) resolved(ctx context.Context) (string, error) {
	said := "the conflict is resolved: every system was written and read back before it was closed"
	if _, err := s.event1(ctx, func(e apiclient.Event) bool {
		return e.Topic == domain.TopicConflictClosed && e.Refs["conflict"] == string(s.conflict.ID)
	}); err != nil {
		return said, err
	}
	var c domain.Conflict
	if _, err := s.api.Do(ctx, http.MethodGet, "/v1/conflicts/"+string(s.conflict.ID), nil, &c); err != nil {
		return said, err
	}
	if c.State != domain.ConflictResolved || c.Resolution == nil || c.Resolution.By == "" {
		return said, fmt.Errorf("the conflict is %s", c.State)
	}
	return said, nil
}

func (s *story) readBack(ctx context.Context) (string, error) {
	said := "the calendar shows the new time, read back over CalDAV, and so does the customer system"
	if err := s.shows(ctx, s.moved.Start, 2); err != nil {
		return said, err
	}
	return said, s.eventually(ctx, func() error {
		e, ok := s.crm.Get(s.event.ID)
		if !ok {
			return fmt.Errorf("the customer system lost the consultation")
		}
		at, err := time.Parse(time.RFC3339, e.Starts)
		if err != nil {
			at, err = time.ParseInLocation("2006-01-02T15:04:05", e.Starts, s.loc)
		}
		if err != nil || !at.Equal(s.moved.Start) {
			return fmt.Errorf("the customer system shows %s", e.Starts)
		}
		return nil
	})
}

func (s *story) resync(ctx context.Context) (string, error) {
	said := "an admin asks for a full resync and follows its progress"
	var run domain.SyncRun
	var asked map[string]any
	status, err := s.api.Do(ctx, http.MethodPost, "/v1/integrations/"+s.calendarID+"/resync", map[string]any{"full": true, "reason": "to be sure"}, &asked)
	if err != nil || status != http.StatusAccepted {
		return said, fmt.Errorf("status %d: %w", status, err)
	}
	for _, key := range []string{"run_id", "id"} {
		if id, ok := asked[key].(string); ok && s.runID == "" {
			s.runID = id
		}
	}
	err = s.eventually(ctx, func() error {
		if _, err := s.api.Do(ctx, http.MethodGet, "/v1/syncs/"+s.runID, nil, &run); err != nil {
			return err
		}
		if run.State != domain.SyncDone {
			return fmt.Errorf("the run is %s", run.State)
		}
		return nil
	})
	if err != nil {
		return said, err
	}
	if run.Seen < 2 || run.Applied != 0 || run.Removed != 0 {
		return said, fmt.Errorf("read %d, changed %d, removed %d; want at least 2, 0 and 0", run.Seen, run.Applied, run.Removed)
	}
	return fmt.Sprintf("a full resync read %d entries in %d pages and found nothing to change", run.Seen, run.Pages), nil
}

func (s *story) trail(ctx context.Context) (string, error) {
	said := "the audit trail says who decided, and why"
	var trail struct {
		Items []domain.AuditEntry `json:"items"`
	}
	if _, err := s.api.Do(ctx, http.MethodGet, "/v1/audit?limit=200", nil, &trail); err != nil {
		return said, err
	}
	for _, e := range trail.Items {
		if e.Action == "conflict.resolve" && e.Subject == "conflict/"+string(s.conflict.ID) && e.Reason == "agreed on the phone" && e.Actor != "" {
			return said, nil
		}
	}
	return said, fmt.Errorf("no line about the decision among %d", len(trail.Items))
}

// workflows are the stories behind the story, as operators find them.
func (s *story) workflows() map[string]string {
	return map[string]string{
		"calendar": contract.IntegrationWorkflowID(domain.IntegrationID(s.calendarID)),
		"customer": contract.IntegrationWorkflowID(domain.IntegrationID(s.crmID)),
		"conflict": contract.ConflictWorkflowID(s.conflict.ID),
		"resync":   contract.SyncWorkflowID(domain.SyncRunID(s.runID)),
	}
}

func (s *story) visible(ctx context.Context) (string, error) {
	said := "operators find all four workflows in Temporal UI"
	if s.target.TemporalUI == "" {
		return "Temporal UI is not known to this stack, so its links are left out", nil
	}
	for _, id := range s.workflows() {
		err := s.eventually(ctx, func() error {
			var found struct {
				Executions []any `json:"executions"`
			}
			path := "/api/v1/namespaces/" + s.target.Namespace + "/workflows?query=" + url.QueryEscape(`WorkflowId="`+id+`"`)
			if _, err := apiclient.New(s.target.TemporalUI, "").Do(ctx, http.MethodGet, path, nil, &found); err != nil {
				return err
			}
			if len(found.Executions) == 0 {
				return fmt.Errorf("%s is not there", id)
			}
			return nil
		})
		if err != nil {
			return said, err
		}
	}
	return said, nil
}

func (s *story) links() {
	if s.target.TemporalUI == "" || s.conflict.ID == "" {
		return
	}
	for _, name := range []string{"calendar", "customer", "conflict", "resync"} {
		if id := s.workflows()[name]; !strings.HasSuffix(id, "/") {
			fmt.Fprintf(s.o.Out, "  see  %-9s %s/namespaces/%s/workflows/%s\n", name, strings.TrimSuffix(s.target.TemporalUI, "/"), s.target.Namespace, url.PathEscape(id))
		}
	}
}

func (s *story) close(ctx context.Context) {
	if s.stopStream != nil {
		s.stopStream()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, id := range []string{s.calendarID, s.crmID} {
		if id == "" {
			continue
		}
		if _, err := s.api.Do(ctx, http.MethodPost, "/v1/integrations/"+id+"/pause", map[string]any{"reason": "the demo's systems have stopped"}, nil); err != nil {
			fmt.Fprintf(s.o.Out, "  note  a connection of the demo could not be paused: %v\n", err)
		}
	}
	if s.calendar != nil {
		s.calendar.stop()
	}
	if s.crmHTTP != nil {
		_ = s.crmHTTP.Close()
	}
	if s.crm != nil {
		s.crm.Close()
	}
	s.api.Close()
}
