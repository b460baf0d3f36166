package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/openapitest"
	"github.com/wedsync/wedsync/internal/sim/caldavsim"
	"github.com/wedsync/wedsync/internal/sim/tavesim"
)

// crmStudio is a photographer with a studio at Tave and a CalDAV calendar, on the whole program.
type crmStudio struct {
	*studio
	tave *tavesim.Server
	day  time.Time
}

const (
	taveKey  = "key-of-the-studio"
	taveSpec = "../../../shared/specs/vsco-openapi.json"
)

func newCRMStudio(t *testing.T) *crmStudio {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	cfg := app.Defaults()
	cfg.LogLevel, cfg.PublicURL = "error", "http://"+addr
	s := &crmStudio{studio: &studio{T: t, stack: startStack(t, addr, cfg), doors: map[string]*door{}, ids: map[string]string{}},
		day: time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 2, 0)}
	s.api = apiclient.New(s.stack.Ready.HTTP, s.stack.Ready.AdminToken)
	t.Cleanup(s.api.Close)
	doc := openapitest.Load(t, taveSpec, openapitest.Options{Base: tavesim.Base, Answers: map[int]openapitest.Undeclared{
		404: {Schema: "Error", Why: "the document declares it for one operation only"}}})
	s.tave = tavesim.New(tavesim.Options{Key: taveKey, Zone: "Europe/London", Wrap: func(h http.Handler) http.Handler { return doc.Wrap(t, h) }})
	s.dav = caldavsim.New(caldavsim.Options{Username: "studio", Password: "pw", Calendars: []caldavsim.Calendar{{Name: davCalendar}}})
	s.doors["tave"] = &door{next: s.tave.Handler(), writes: func(r *http.Request) bool { return !strings.Contains(r.URL.Path, "/rest-hook") }}
	s.doors["caldav"] = &door{next: s.dav.Handler(), writes: func(r *http.Request) bool { return r.Method == http.MethodPut || r.Method == http.MethodDelete }}
	var resource struct {
		ID string `json:"id"`
	}
	s.call(http.MethodPost, "/v1/resources", map[string]any{"name": "The photographer", "kind": "person", "zone": "Europe/London"}, &resource)
	s.resource = resource.ID
	for name, body := range map[string]map[string]any{
		"caldav": {"settings": map[string]any{"url": s.serve(s.doors["caldav"]), "username": "studio"}, "secrets": map[string]string{"password": "pw"}},
		"tave": {"settings": map[string]any{"api_url": s.serve(s.doors["tave"]) + tavesim.Base, "requests_per_second": 1000, "jobs": map[string]string{"wedding": "Wedding"}},
			"secrets": map[string]string{"api_key": taveKey}},
	} {
		body["name"], body["provider"], body["direction"], body["resource_id"] = name, name, "bidirectional", s.resource
		var i domain.Integration
		s.call(http.MethodPost, "/v1/integrations", body, &i)
		s.ids[name] = string(i.ID)
	}
	return s
}

// at is ten o'clock in UTC on the nth day of the story.
func (s *crmStudio) at(n int) time.Time { return s.day.AddDate(0, 0, n).Add(10 * time.Hour) }

// job adds a wedding of eight hours on the nth day, and returns the ids of job and event.
func (s *crmStudio) job(n int, stage, name string) (job, event string) {
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		s.Fatal(err)
	}
	from, to := s.at(n).In(london), s.at(n).Add(8*time.Hour).In(london)
	job = s.tave.Add("job", tavesim.Object{"stage": stage, "jobTypeId": s.tave.Named("job-type", "Wedding"), "name": name, "eventDate": from.Format(time.DateOnly)})
	return job, s.tave.Add("event", tavesim.Object{"jobId": job, "typeId": s.tave.Named("event-type", "Wedding"), "startDate": from.Format(time.DateOnly),
		"startTime": from.Format(time.TimeOnly), "endDate": to.Format(time.DateOnly), "endTime": to.Format(time.TimeOnly)})
}

// hooks posts what the studio has to tell.
func (s *crmStudio) hooks() {
	s.Helper()
	statuses, err := s.tave.DeliverHooks(s.Context(), &http.Client{Timeout: 10 * time.Second})
	if err != nil {
		s.Fatal(err)
	}
	for _, status := range statuses {
		if status != http.StatusAccepted {
			s.Errorf("a rest hook was answered %d", status)
		}
	}
}

// calendar is what the CalDAV calendar shows under a title: the time of its event and its status, "" if there is none.
func (s *crmStudio) calendar(title string) string {
	s.Helper()
	var found []string
	for _, ev := range s.dav.Events(davCalendar) {
		lines := strings.Split(strings.ReplaceAll(ev.Data, "\r\n ", ""), "\r\n")
		if !strings.Contains(strings.Join(lines, "\n"), "\nSUMMARY:"+title+"\n") {
			continue
		}
		e, _ := s.entry("caldav", ev.Path)
		status := "CONFIRMED"
		for _, l := range lines {
			if v, ok := strings.CutPrefix(l, "STATUS:"); ok {
				status = v
			}
		}
		found = append(found, e.Start.Format(time.RFC3339)+" "+status)
	}
	return strings.Join(found, ", ")
}

// shown waits until the calendar shows a title once, at a time and with a status; "" waits until it is gone.
func (s *crmStudio) shown(title string, at time.Time, status string) {
	s.Helper()
	want := at.Format(time.RFC3339) + " " + status
	if status == "" {
		want = ""
	}
	s.await("the calendar to show "+title, func() error {
		if got := s.calendar(title); got != want {
			return fmt.Errorf("it shows %q, want %q", got, want)
		}
		return nil
	})
}

// titled waits for the one booking with a title.
func (s *crmStudio) titled(title string) (b domain.Booking) {
	s.Helper()
	s.await("the booking "+title, func() error {
		n := 0
		for _, one := range s.bookings() {
			if one.Details.Title == title {
				b = one
				n++
			}
		}
		if n != 1 {
			return fmt.Errorf("%d bookings", n)
		}
		return nil
	})
	return b
}

// decide changes a booking as a person in WedSync does.
func (s *crmStudio) decide(title string, fields map[string]any) {
	s.Helper()
	b := s.titled(title)
	fields["version"], fields["reason"] = b.Version, "story"
	s.call(http.MethodPatch, "/v1/bookings/"+string(b.ID), fields, nil)
}

// event waits for the one event of the studio with a name, and returns it once it is as wished.
func (s *crmStudio) event(name string, is func(tavesim.Object) bool) (found tavesim.Object) {
	s.Helper()
	s.await("the studio's event "+name, func() error {
		n := 0
		for _, id := range s.tave.All("event") {
			if e := s.tave.Get("event", id); e != nil && e["name"] == name {
				found = e
				n++
			}
		}
		if n != 1 || !is(found) {
			return fmt.Errorf("%d events, the last is %v", n, found)
		}
		return nil
	})
	return found
}

// jobIs waits until a job is as wished.
func (s *crmStudio) jobIs(id, stage string, closed bool) {
	s.Helper()
	s.await("the studio's job", func() error {
		if j := s.tave.Get("job", id); j["stage"] != stage || j["closed"] != closed {
			return fmt.Errorf("stage %v, closed %v", j["stage"], j["closed"])
		}
		return nil
	})
}

// rest reads both systems until neither is written to.
func (s *crmStudio) rest() {
	s.Helper()
	for range 6 {
		was := fmt.Sprint(s.writes())
		for _, name := range []string{"tave", "caldav"} {
			s.resync(name, false)
		}
		s.await("the writes", func() error {
			if n := s.waiting(); n > 0 {
				return fmt.Errorf("%d wait", n)
			}
			return nil
		})
		if fmt.Sprint(s.writes()) == was {
			return
		}
	}
	s.Fatalf("both systems never came to rest: %v", s.writes())
}

// TestAStudioAndACalendarKeepEachOthersDates tells how a studio at Tave and a CalDAV calendar are kept in step by the whole
// program, on real Postgres and real Temporal. Each date lies on a day of its own.
func TestAStudioAndACalendarKeepEachOthersDates(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts Postgres and Temporal")
	}
	t.Parallel()
	s := newCRMStudio(t)

	// What both had before they were connected.
	_, booked := s.job(1, "booked", "Marigold")
	lead, _ := s.job(2, "lead", "Quillfeather")
	s.dav.PutEvent(davCalendar, "dentist.ics", davEvent("dentist", "Dentist", s.at(3)))
	s.resync("tave", false)
	s.resync("caldav", false)
	s.shown("Marigold", s.at(1), "CONFIRMED")
	s.shown("Quillfeather", s.at(2), "TENTATIVE")
	s.event("Dentist", func(e tavesim.Object) bool { return e["jobId"] == nil && e["confirmed"] == true })
	if b := s.titled("Marigold"); b.Category != domain.CategoryWedding || b.Status != domain.StatusConfirmed {
		t.Errorf("the studio's wedding is %s, %s", b.Category, b.Status)
	}

	// Rest hooks stand and are hints: a new lead is there at once, and one whose hook was lost with the next poll.
	s.await("the rest hooks", func() error {
		f := s.integration("tave").Freshness
		if len(s.tave.All("rest-hook")) != 3 || f == nil || len(f.Watches) != 1 || f.Watches[0].State != domain.WatchActive {
			return fmt.Errorf("%d hooks, %+v", len(s.tave.All("rest-hook")), f)
		}
		return nil
	})
	fresh, _ := s.job(4, "lead", "Oakbridge")
	s.tave.BreakHooks(tavesim.HookDuplicate, 1)
	s.hooks()
	s.shown("Oakbridge", s.at(4), "TENTATIVE")
	_, _ = s.job(5, "lead", "Willowby")
	s.tave.BreakHooks(tavesim.HookLost, 1)
	s.hooks()
	s.resync("tave", false)
	s.shown("Willowby", s.at(5), "TENTATIVE")
	_, _ = s.job(8, "lead", "Larkspur")
	s.tave.BreakHooks(tavesim.HookLate, 1)
	s.hooks()
	s.resync("tave", false)
	s.shown("Larkspur", s.at(8), "TENTATIVE")
	s.hooks() // what it tells is known

	// Statuses go both ways: the client books an order, a person here confirms and another gives up.
	s.tave.Book(s.tave.Add("order", tavesim.Object{"jobId": fresh}))
	s.hooks()
	s.shown("Oakbridge", s.at(4), "CONFIRMED")
	s.decide("Quillfeather", map[string]any{"status": "confirmed"})
	s.jobIs(lead, "booked", false)
	s.shown("Quillfeather", s.at(2), "CONFIRMED")
	s.rest()
	s.decide("Quillfeather", map[string]any{"status": "cancelled"})
	s.jobIs(lead, "booked", true)
	s.shown("Quillfeather", s.at(2), "")

	// A hold made in WedSync is a lead of the studio and a tentative event of the calendar, and becomes a booked job.
	var made domain.Booking
	s.call(http.MethodPost, "/v1/bookings", map[string]any{"resource_id": s.resource, "category": "wedding", "status": "tentative", "reason": "story",
		"when": map[string]any{"start": s.at(6), "end": s.at(6).Add(6 * time.Hour), "zone": "Europe/London"}, "details": map[string]any{"title": "Hawthorn"}}, &made)
	hold := s.event("Hawthorn", func(e tavesim.Object) bool { return e["jobId"] != nil && e["confirmed"] == false })
	s.jobIs(hold["jobId"].(string), "lead", false)
	s.shown("Hawthorn", s.at(6), "TENTATIVE")
	s.rest()
	s.decide("Hawthorn", map[string]any{"status": "confirmed"})
	s.jobIs(hold["jobId"].(string), "booked", false)
	s.shown("Hawthorn", s.at(6), "CONFIRMED")

	// Times go both ways: a person moves the calendar's copy of the studio's wedding, and the studio moves another.
	s.rest()
	for _, ev := range s.dav.Events(davCalendar) {
		if strings.Contains(ev.Data, "SUMMARY:Marigold") {
			moved := strings.NewReplacer(s.at(1).Format("20060102"), s.at(7).Format("20060102")).Replace(ev.Data)
			s.dav.PutEvent(davCalendar, ev.Path[strings.LastIndex(ev.Path, "/")+1:], moved)
		}
	}
	s.resync("caldav", false)
	s.await("the studio's wedding to move", func() error {
		if e := s.tave.Get("event", booked); e["startDate"] != s.at(7).Format(time.DateOnly) {
			return fmt.Errorf("it is on %v", e["startDate"])
		}
		return nil
	})
	s.shown("Marigold", s.at(7), "CONFIRMED")
	s.rest()
	_, clash := s.job(3, "booked", "Bramble")
	s.resync("tave", false)
	s.shown("Bramble", s.at(3), "CONFIRMED")
	var conflicts listOf[domain.Conflict]
	s.await("the double-booking", func() error {
		s.call(http.MethodGet, "/v1/conflicts?state=open", nil, &conflicts)
		if len(conflicts.Items) != 1 {
			return fmt.Errorf("%d conflicts", len(conflicts.Items))
		}
		return nil
	})

	// The studio removes an event. Nothing tells of it; a full listing finds it, and asks before it believes.
	s.tave.Delete("event", clash)
	s.tave.Edit("job", s.tave.All("job")[len(s.tave.All("job"))-1], tavesim.Object{"eventDate": nil})
	s.resync("tave", true)
	s.shown("Bramble", s.at(3), "")
	s.rest()

	// Nothing is written without need, however often everything is listed.
	before := fmt.Sprint(s.writes())
	s.resync("tave", true)
	s.resync("caldav", true)
	s.rest()
	if after := fmt.Sprint(s.writes()); after != before {
		t.Errorf("writes without need: %s before, %s after", before, after)
	}
}
