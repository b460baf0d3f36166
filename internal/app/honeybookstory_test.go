package app_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/honeybooksim"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// relayStudio is a photographer whose projects are at HoneyBook, relayed by Zapier, on the whole program.
type relayStudio struct {
	*studio
	book *honeybooksim.Studio
	hook string // address that the steps post to
	id   string // of the integration
	day  time.Time
}

func newRelayStudio(t *testing.T) *relayStudio {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	cfg := app.Defaults()
	cfg.LogLevel, cfg.PublicURL = "error", "http://"+addr
	s := &relayStudio{studio: &studio{T: t, stack: startStack(t, addr, cfg), doors: map[string]*door{}, ids: map[string]string{}},
		day: time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 3, 0)}
	s.api = apiclient.New(s.stack.Ready.HTTP, s.stack.Ready.AdminToken)
	t.Cleanup(s.api.Close)
	// Each run of a step is a minute later than the one before, so that their order is told.
	var mu sync.Mutex
	clock := time.Now().UTC().Add(-24 * time.Hour)
	tick := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		clock = clock.Add(time.Minute)
		return clock
	}
	const key, company = "relay-key-of-the-story", "5f0e1d2c3b4a59687766554a"
	s.book = honeybooksim.New(honeybooksim.Options{Tool: honeybooksim.Zapier, Now: tick, Company: company,
		Auth: webhookauth.Config{Scheme: webhookauth.APIKey, Header: "X-WedSync-Key"}, Secret: webhookauth.Secret(key)})
	var resource struct {
		ID string `json:"id"`
	}
	s.call(http.MethodPost, "/v1/resources", map[string]any{"name": "The photographer", "kind": "person", "zone": "America/New_York"}, &resource)
	s.resource = resource.ID
	var i struct {
		ID   string `json:"id"`
		Hook string `json:"webhook_url"`
	}
	s.call(http.MethodPost, "/v1/integrations", map[string]any{"name": "HoneyBook", "provider": "honeybook", "direction": "import", "resource_id": s.resource,
		"settings": map[string]any{"lead_form": map[string]any{"enabled": true, "vendor_id": "v", "company_id": company, "contact_form_id": "f", "url": s.serve(s.book.Forms())}},
		"secrets":  map[string]string{"webhook_secret": key}}, &i)
	s.hook, s.id = i.Hook, i.ID
	return s
}

// date is the nth day of the story, as HoneyBook's owner sees it.
func (s *relayStudio) date(n int) string { return s.day.AddDate(0, 0, n).Format("01/02/2006") }

// deliver runs the steps that wait, and checks that WedSync took each.
func (s *relayStudio) deliver() {
	s.Helper()
	results, err := s.book.Deliver(s.Context(), &http.Client{Timeout: 10 * time.Second}, s.hook)
	if err != nil {
		s.Fatal(err)
	}
	for _, r := range results {
		if r.Tries > 0 && r.Status != http.StatusAccepted && r.Status != http.StatusOK {
			s.Errorf("a post of %s was answered %d", r.Trigger, r.Status)
		}
	}
}

// is waits until the one booking with a title has a status and begins on the nth day of the story in New York; "" waits until
// there is none.
func (s *relayStudio) is(title string, status domain.BookingStatus, n int) (b domain.Booking) {
	s.Helper()
	s.await(title+" to be "+string(status), func() error {
		var found []domain.Booking
		for _, one := range s.bookings() {
			if one.Details.Title == title {
				found = append(found, one)
			}
		}
		if status == "" {
			if len(found) > 0 {
				return fmt.Errorf("there are %d", len(found))
			}
			return nil
		}
		if len(found) != 1 {
			return fmt.Errorf("there are %d", len(found))
		}
		b = found[0]
		zone, err := time.LoadLocation("America/New_York")
		if err != nil {
			return err
		}
		if got := b.When.Start.In(zone).Format("01/02/2006 15:04"); b.Status != status || got != s.date(n)+" 00:00" || b.When.Kind != domain.TimeAllDay {
			return fmt.Errorf("it is %s, %s at %s", b.Status, b.When.Kind, got)
		}
		return nil
	})
	return b
}

// meets waits until the one booking of a meeting lasts an hour from when it starts in New York.
func (s *relayStudio) meets(m honeybooksim.Meeting) (b domain.Booking) {
	s.Helper()
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		s.Fatal(err)
	}
	s.await("the meeting "+m.Start, func() error {
		n := 0
		for _, one := range s.bookings() {
			if one.Details.Title == m.Name {
				b = one
				n++
			}
		}
		if got := b.When.Start.In(zone).Format("2006-01-02T15:04:05"); n != 1 || got != m.Start || b.When.Duration() != time.Hour {
			return fmt.Errorf("%d of that name, the last at %s for %s", n, got, b.When.Duration())
		}
		return nil
	})
	return b
}

// conflicts are the open ones.
func (s *relayStudio) conflicts() []domain.Conflict {
	s.Helper()
	var out listOf[domain.Conflict]
	s.call(http.MethodGet, "/v1/conflicts?state=open&limit=200", nil, &out)
	return out.Items
}

// settled waits until every delivery was read, and returns how many there are by state.
func (s *relayStudio) settled() map[domain.DeliveryState]int {
	s.Helper()
	var states map[domain.DeliveryState]int
	s.await("the deliveries to be read", func() error {
		var out listOf[domain.Delivery]
		s.call(http.MethodGet, "/v1/deliveries?limit=200&integration="+s.id, nil, &out)
		states = map[domain.DeliveryState]int{}
		for _, d := range out.Items {
			states[d.State]++
		}
		if n := states[domain.DeliveryReceived] + states[domain.DeliveryRetrying]; n > 0 {
			return fmt.Errorf("%d wait", n)
		}
		return nil
	})
	return states
}

// TestAProjectRelayedFromHoneyBookIsBookedOnceAndItsClashIsFound tells of a studio at HoneyBook whose Zapier steps post to
// WedSync, on real Postgres and real Temporal.
func TestAProjectRelayedFromHoneyBookIsBookedOnceAndItsClashIsFound(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts Postgres and Temporal")
	}
	t.Parallel()
	s := newRelayStudio(t)
	start := s.day.AddDate(0, 0, 5).Add(18 * time.Hour)
	s.call(http.MethodPost, "/v1/bookings", map[string]any{"resource_id": s.resource, "category": "wedding",
		"when": map[string]any{"start": start, "end": start.Add(6 * time.Hour), "zone": "America/New_York"}, "details": map[string]string{"title": "Of old"}}, nil)

	// An enquiry pencils its day in, and booking it makes it firm. The step runs twice, and once its answer is lost.
	project := s.book.Enquire(honeybooksim.Project{Name: "Marigold", Type: "Wedding", Date: s.date(1), Client: "A client", Email: "client@example.com", Location: "The barn"})
	s.deliver()
	s.is("Marigold", domain.StatusTentative, 1)
	s.book.Break(honeybooksim.RunTwice, 1)
	s.book.Break(honeybooksim.AnswerLost, 1)
	s.book.Book(project)
	s.deliver()
	marigold := s.is("Marigold", domain.StatusConfirmed, 1)
	if marigold.Category != domain.CategoryWedding || marigold.Details.Location != "The barn" {
		t.Errorf("the booking is %s at %q", marigold.Category, marigold.Details.Location)
	}

	// A stage of before the booking comes late, and changes nothing.
	s.book.Move(project, "Proposal Sent")
	s.book.Break(honeybooksim.RunLate, 1)
	s.book.Pay(project, "1500.00")
	s.deliver()
	s.settled()
	if b := s.is("Marigold", domain.StatusConfirmed, 1); b.ID != marigold.ID {
		t.Errorf("the project is another booking, %s", b.ID)
	}

	// The date moves onto a day that is taken. HoneyBook tells of it with its next trigger, and the clash is found.
	s.book.Edit(project, func(p *honeybooksim.Project) { p.Date = s.date(5) })
	s.book.Pay(project, "500.00")
	s.deliver()
	moved := s.is("Marigold", domain.StatusConfirmed, 5)
	s.await("the conflict", func() error {
		for _, c := range s.conflicts() {
			if (c.BookingID == moved.ID || c.OtherID == moved.ID) && c.Severity == domain.SeverityCritical {
				return nil
			}
		}
		return fmt.Errorf("open: %+v", s.conflicts())
	})

	// The client goes. A cancelled stage gives the day back, and the clash with it.
	s.book.Move(project, "Cancelled")
	s.deliver()
	s.is("Marigold", "", 0)
	s.await("the conflict to clear", func() error {
		if open := s.conflicts(); len(open) > 0 {
			return fmt.Errorf("%d are open", len(open))
		}
		return nil
	})

	// A project that was booked without a date waits for a person, who maps the field that the step really sends.
	s.book.Book(s.book.Enquire(honeybooksim.Project{Name: "Quillfeather", Type: "Wedding", Details: s.date(9)}))
	s.deliver()
	if states := s.settled(); states[domain.DeliveryDead] != 1 || states[domain.DeliveryIgnored] != 1 {
		t.Errorf("deliveries %v; want one enquiry left alone and one dead letter", states)
	}
	var have struct {
		Version int64 `json:"version"`
		Kinds   []struct {
			Kind    string            `json:"kind"`
			Mapping map[string]string `json:"mapping"`
		} `json:"kinds"`
	}
	s.call(http.MethodGet, "/v1/integrations/"+s.id+"/mappings", nil, &have)
	for _, k := range have.Kinds {
		if k.Kind != "project_booked" {
			continue
		}
		k.Mapping["start"], k.Mapping["notes"] = "read_day(item.?project_details, 'MDY')", ""
		s.call(http.MethodPut, "/v1/integrations/"+s.id+"/mappings/project_booked", map[string]any{"version": have.Version, "mapping": k.Mapping, "reason": "story"}, nil)
	}
	var dead listOf[domain.Delivery]
	s.call(http.MethodGet, "/v1/deliveries?state=dead&integration="+s.id, nil, &dead)
	if len(dead.Items) != 1 || dead.Items[0].EventType != "" && dead.Items[0].EventType != "project_booked" {
		t.Fatalf("dead letters %+v", dead.Items)
	}
	s.call(http.MethodPost, "/v1/deliveries/"+string(dead.Items[0].ID)+"/replay", map[string]any{"reason": "story"}, nil)
	s.is("Quillfeather", domain.StatusConfirmed, 9)

	// A new client takes no time. A meeting is a consultation of its own, and moves with its next trigger.
	known := s.settled()[domain.DeliveryIgnored]
	s.book.Client("Hawthorn", "hawthorn@example.com")
	meeting := honeybooksim.Meeting{Name: "Call with Hawthorn", Start: s.day.AddDate(0, 0, 12).Format(time.DateOnly) + "T15:00:00", Client: "Hawthorn", Email: "hawthorn@example.com"}
	meeting.ID = s.book.Meet(meeting)
	s.deliver()
	call := s.meets(meeting)
	meeting.Start = s.day.AddDate(0, 0, 13).Format(time.DateOnly) + "T16:30:00"
	s.book.Meet(meeting)
	s.deliver()
	if b := s.meets(meeting); b.ID != call.ID || b.Category != domain.CategoryConsultation {
		s.Errorf("the meeting is %s, a %s; it was %s", b.ID, b.Category, call.ID)
	}
	if states := s.settled(); states[domain.DeliveryIgnored] != known+1 {
		s.Errorf("deliveries %v; want one more than %d left alone, a new client", states, known)
	}

	// An enquiry goes the other way once, however often it is asked for.
	lead := map[string]any{"full_name": "Oakbridge", "email": "oakbridge@example.com", "event_type": "Wedding", "event_date": s.day.Format(time.DateOnly)}
	for range 3 {
		var out struct {
			State     string `json:"state"`
			Confirmed bool   `json:"confirmed"`
		}
		if _, err := s.api.DoWithKey(s.Context(), http.MethodPost, "/v1/integrations/"+s.id+"/leads", "enquiry-1", lead, &out); err != nil || out.State != "answered" || out.Confirmed {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	if leads := s.book.Leads(); len(leads) != 1 || leads[0].Get("event_date") != s.day.Format("01/02/06") {
		t.Errorf("enquiries that arrived: %v", leads)
	}
}
