package app_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/caldavsim"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/sim/googlesim"
	"github.com/wedsync/wedsync/internal/sim/oauthsim"
)

// saturday is the story of one photographer, three systems and five bookings for one day.
type saturday struct {
	*testing.T
	ctx context.Context
	api *apiclient.Client
	day time.Time // local midnight
	loc *time.Location

	crm    *crmsim.CRM
	caldav *caldavsim.Server
	google *googlesim.Server

	resource string
	hook     string
	raced    bool              // two people decided at once
	systems  map[string]string // integrations by the name of the system
	servers  []*http.Server
}

// patience bounds each wait; on a quiet machine the whole story takes a fraction of it.
const patience = 3 * time.Minute

func (s *saturday) serve(h http.Handler) string {
	s.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	s.servers = append(s.servers, srv)
	go func() { _ = srv.Serve(l) }()
	return "http://" + l.Addr().String()
}

func (s *saturday) call(method, path string, in, out any) {
	s.Helper()
	if _, err := s.api.Do(s.ctx, method, path, in, out); err != nil {
		s.Fatalf("%s %s: %v", method, path, err)
	}
}

// await asks until check is content.
func (s *saturday) await(what string, check func() error) {
	s.Helper()
	began := time.Now()
	limit, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			s.Logf("%s (%s)", what, time.Since(began).Round(time.Millisecond))
			return
		}
		select {
		case <-limit.Done():
			s.Fatalf("waited %s for: %s: %v", patience, what, err)
		case <-tick.C:
		}
	}
}

func (s *saturday) connect(name, provider string, settings any, secrets map[string]string) (id, hook string) {
	s.Helper()
	var out struct {
		ID  string `json:"id"`
		URL string `json:"webhook_url"`
	}
	s.call(http.MethodPost, "/v1/integrations", map[string]any{"name": name, "provider": provider, "direction": "bidirectional", "resource_id": s.resource,
		"poll_seconds": 3600, "settings": settings, "secrets": secrets}, &out)
	s.systems[name] = out.ID
	return out.ID, out.URL
}

func (s *saturday) at(hour float64) time.Time {
	return s.day.Add(time.Duration(hour * float64(time.Hour)))
}

// setUp connects three empty systems.
func (s *saturday) setUp() {
	var r struct {
		ID string `json:"id"`
	}
	s.call(http.MethodPost, "/v1/resources", map[string]any{"name": "The photographer", "kind": "person", "zone": "Europe/London"}, &r)
	s.resource = r.ID

	secret := "whsec_" + "ZGVtby1zZWNyZXQtb2YtdGhlLXNpbXVsYXRlZC1jcm0hIQ=="
	s.crm = crmsim.New(crmsim.Options{APIKey: "key", WebhookSecret: secret})
	_, s.hook = s.connect("crm", "custom", crmsim.Settings(s.serve(s.crm)), map[string]string{"api_key": "key", "webhook_secret": secret})

	rules := []map[string]any{{"category": "wedding", "contains": []string{"wedding"}}, {"category": "engagement", "contains": []string{"engagement"}}}
	s.caldav = caldavsim.New(caldavsim.Options{Username: "studio", Password: "pw", Calendars: []caldavsim.Calendar{{Name: "bookings"}}})
	s.connect("calendar", "caldav", map[string]any{"url": s.serve(s.caldav.Handler()), "username": "studio", "category_default": "consultation", "category_rules": rules},
		map[string]string{"password": "pw"})

	s.google = googlesim.New(googlesim.Options{Calendars: []googlesim.Calendar{{ID: googleCalendar, Zone: "Europe/London", Primary: true}}})
	consents := oauthsim.New(oauthsim.Options{})
	at := s.serve(consents)
	id, _ := s.connect("google", "google", map[string]any{"calendar": googleCalendar, "category_default": "consultation", "category_rules": rules,
		"development": map[string]string{"api": s.serve(s.google.Handler()) + "/calendar/v3/", "auth": at + "/authorize", "token": at + "/token", "revoke": at + "/revoke"}}, nil)
	var link struct {
		URL string `json:"url"`
	}
	s.call(http.MethodPost, "/v1/integrations/"+id+"/connect", map[string]any{}, &link)
	back, err := consents.Consent(link.URL)
	if err != nil {
		s.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil {
		s.Fatal(err)
	}
	answer, err := http.PostForm(s.api.URL("/oauth/callback"), u.Query())
	if err != nil {
		s.Fatal(err)
	}
	page, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err != nil || answer.StatusCode != http.StatusOK {
		s.Fatalf("consent: %d %s %v", answer.StatusCode, page, err)
	}
	for name, id := range s.systems {
		s.await("the first reading of "+name, func() error {
			var i domain.Integration
			s.call(http.MethodGet, "/v1/integrations/"+id, nil, &i)
			if i.State != domain.IntegrationActive || i.LastSyncAt == nil {
				return fmt.Errorf("it is %s, %s", i.State, i.StateReason)
			}
			return nil
		})
	}
}

// book makes the five bookings, all at once.
func (s *saturday) book() {
	ics := func(name, title string, from, to float64) {
		const form = "20060102T150405Z"
		s.caldav.PutEvent("bookings", name+".ics", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Test//Calendar//EN\r\nBEGIN:VEVENT\r\nUID:"+name+"\r\nDTSTAMP:"+
			time.Now().UTC().Format(form)+"\r\nDTSTART:"+s.at(from).UTC().Format(form)+"\r\nDTEND:"+s.at(to).UTC().Format(form)+"\r\nSUMMARY:"+title+"\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
	}
	ics("wedding", "Wedding at the old mill", 12, 20)
	ics("engagement", "Engagement in the park", 16, 18)
	meet := func(kind, title string, from, to float64) {
		s.crm.Create(crmsim.Event{Kind: kind, State: "booked", Starts: s.at(from).Format(time.RFC3339), Ends: s.at(to).Format(time.RFC3339), Zone: "Europe/London", Title: title})
	}
	meet("meeting", "Albums", 13, 14)
	meet("vendor", "Florist", 13.5, 14.5)
	s.google.Put(googleCalendar, map[string]any{"summary": "Prints", "start": map[string]any{"dateTime": s.at(18.5).Format(time.RFC3339), "timeZone": "Europe/London"},
		"end": map[string]any{"dateTime": s.at(19.5).Format(time.RFC3339), "timeZone": "Europe/London"}})
	var all sync.WaitGroup
	for _, name := range []string{"calendar", "google"} {
		all.Go(func() {
			if _, err := s.api.Do(s.ctx, http.MethodPost, "/v1/integrations/"+s.systems[name]+"/resync", map[string]any{"full": false}, nil); err != nil {
				s.Error(err)
			}
		})
	}
	for _, m := range s.crm.TakeMessages() {
		all.Go(func() {
			if got, err := s.crm.Deliver(s.ctx, http.DefaultClient, s.hook, m); err != nil || !got.Delivered() {
				s.Errorf("webhook: %+v %v", got, err)
			}
		})
	}
	all.Wait()
	s.await("all five bookings are known", func() error {
		if n := len(s.bookings()); n != 5 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
}

func (s *saturday) bookings() []domain.Booking {
	s.Helper()
	var out struct{ Items []domain.Booking }
	s.call(http.MethodGet, "/v1/bookings?limit=200&resource="+s.resource, nil, &out)
	return slices.DeleteFunc(out.Items, func(b domain.Booking) bool { return b.Status == domain.StatusCancelled })
}

func (s *saturday) conflicts(state domain.ConflictState) []domain.Conflict {
	s.Helper()
	var out struct{ Items []domain.Conflict }
	s.call(http.MethodGet, "/v1/conflicts?limit=200&resource="+s.resource+"&state="+string(state), nil, &out)
	return out.Items
}

func (s *saturday) unclosed() []domain.Conflict {
	var out []domain.Conflict
	for _, state := range domain.ConflictStates() {
		if state.Open() {
			out = append(out, s.conflicts(state)...)
		}
	}
	return out
}

func (s *saturday) resolve(c domain.Conflict, n int) (status int, err error) {
	return s.api.Do(s.ctx, http.MethodPost, "/v1/conflicts/"+string(c.ID)+"/resolve", map[string]any{"alternative": n, "reason": "agreed by phone", "version": c.Version}, nil)
}

// decide takes a proposal for every open conflict, until none is open.
func (s *saturday) decide() {
	s.await("every conflict is decided", func() error {
		open := s.conflicts(domain.ConflictOpen)
		var refused []error
		for _, c := range open {
			n := slices.IndexFunc(c.Alternatives, func(a domain.Alternative) bool { return a.Action == domain.ActionMove })
			if n < 0 {
				return fmt.Errorf("conflict %s has no way out by moving: %+v", c.ID, c.Alternatives)
			}
			if !s.raced {
				s.bothAtOnce(c, n)
				continue
			}
			// A proposal may have been taken by the decision before, or the conflict be settled by it.
			_, err := s.resolve(c, n)
			if err != nil && domain.KindOf(err) != domain.KindConflict && domain.KindOf(err) != domain.KindNotFound {
				return err
			}
			refused = append(refused, err)
		}
		if len(open) > 0 {
			return fmt.Errorf("%d are open: %w", len(open), errors.Join(refused...))
		}
		return nil
	})
}

// bothAtOnce lets two people decide at the same moment: one wins, the other is told who did. Where the proposal is not free
// any more neither can win, and it is tried again with another conflict.
func (s *saturday) bothAtOnce(c domain.Conflict, n int) {
	var both sync.WaitGroup
	errs := make([]error, 2)
	for i := range errs {
		both.Go(func() { _, errs[i] = s.resolve(c, n) })
	}
	both.Wait()
	lost := errors.Join(errs...)
	if errs[0] != nil && errs[1] != nil && domain.KindOf(errs[0]) == domain.KindConflict && domain.KindOf(errs[1]) == domain.KindConflict {
		return
	}
	s.raced = true
	if (errs[0] == nil) == (errs[1] == nil) || domain.KindOf(cmp.Or(errs[0], errs[1])) != domain.KindConflict {
		s.Errorf("two decisions at once came to %v and %v", errs[0], errs[1])
	} else if !strings.Contains(lost.Error(), "decided") && !strings.Contains(lost.Error(), "changed") {
		s.Errorf("the one who lost is told %v", lost)
	}
}

// span is how times are compared over systems.
func span(from, to time.Time) string {
	return from.UTC().Format(time.RFC3339) + "/" + to.UTC().Format(time.RFC3339)
}

// shown reads what each system shows, from its own side.
func (s *saturday) shown() map[string][]string {
	s.Helper()
	out := map[string][]string{}
	for _, e := range s.crm.Events() {
		from, errFrom := time.Parse(time.RFC3339, e.Starts)
		to, errTo := time.Parse(time.RFC3339, e.Ends)
		if err := errors.Join(errFrom, errTo); err != nil {
			s.Fatal(err)
		}
		if e.State != "cancelled" {
			out["crm"] = append(out["crm"], span(from, to))
		}
	}
	for _, e := range s.caldav.Events("bookings") {
		out["calendar"] = append(out["calendar"], span(s.icsTime(e.Data, "DTSTART"), s.icsTime(e.Data, "DTEND")))
	}
	for _, e := range s.google.Events(googleCalendar) {
		if e["status"] == "cancelled" {
			continue
		}
		at := func(field string) time.Time {
			m, _ := e[field].(map[string]any)
			text, _ := m["dateTime"].(string)
			when, err := time.Parse(time.RFC3339, text)
			if err != nil {
				s.Fatal(err)
			}
			return when
		}
		out["google"] = append(out["google"], span(at("start"), at("end")))
	}
	for _, list := range out {
		slices.Sort(list)
	}
	return out
}

// icsTime reads a time of an event as it is stored, in UTC or with its zone.
func (s *saturday) icsTime(data, name string) time.Time {
	s.Helper()
	event := data[strings.Index(data, "BEGIN:VEVENT"):]
	for line := range strings.Lines(event) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if prop, params, _ := strings.Cut(key, ";"); prop == name {
			loc := time.UTC
			if _, zone, ok := strings.Cut(params, "TZID="); ok {
				var err error
				if loc, err = time.LoadLocation(strings.Trim(zone, `"`)); err != nil {
					s.Fatal(err)
				}
			}
			at, err := time.ParseInLocation("20060102T150405", strings.TrimSuffix(value, "Z"), loc)
			if err != nil {
				s.Fatal(err)
			}
			return at
		}
	}
	s.Fatalf("no %s in %s", name, data)
	return time.Time{}
}

// consistent checks that five bookings stand, that none clash, and that each system shows exactly them.
func (s *saturday) consistent() error {
	list := s.bookings()
	var want []string
	for i, a := range list {
		want = append(want, span(a.When.Start, a.When.End))
		for _, b := range list[i+1:] {
			if a.When.Overlaps(b.When.Span) {
				return fmt.Errorf("bookings %s and %s overlap", a.ID, b.ID)
			}
		}
	}
	slices.Sort(want)
	if len(want) != 5 {
		return fmt.Errorf("%d bookings", len(want))
	}
	shown := s.shown()
	for name := range s.systems {
		if !slices.Equal(want, shown[name]) {
			return fmt.Errorf("%s shows %v, want %v", name, shown[name], want)
		}
	}
	return nil
}

// TestFiveBookingsForOneSaturdayEndTheSameInThreeSystems lets three systems book one photographer five times for one
// Saturday at once, while a policy decides part of it, two people decide at the same moment, and one vendor is down. When it
// is back everything is the same everywhere, read from the systems' own side.
func TestFiveBookingsForOneSaturdayEndTheSameInThreeSystems(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts Postgres and Temporal")
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 18*time.Minute)
	defer cancel()
	cfg := app.Defaults()
	cfg.LogLevel = "error"
	cfg.Google = app.OAuthApp{ID: "client", Secret: "secret"}
	err := app.Dev(ctx, app.DevOptions{HTTPAddr: "127.0.0.1:0", Ephemeral: true, Private: true, Config: cfg, Out: log{t}, Serving: func(ctx context.Context, r app.Ready) error {
		// A test of its own, so that the stack is stopped in order when it ends early.
		t.Run("story", func(t *testing.T) { fiveForOneSaturday(ctx, t, r) })
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func fiveForOneSaturday(ctx context.Context, t *testing.T, ready app.Ready) {
	s := &saturday{T: t, ctx: ctx, api: apiclient.New(ready.HTTP, ready.AdminToken), systems: map[string]string{}}
	defer s.api.Close()
	defer func() {
		for _, srv := range s.servers {
			_ = srv.Close()
		}
		if s.crm != nil {
			s.crm.Close()
		}
	}()
	var err error
	if s.loc, err = time.LoadLocation("Europe/London"); err != nil {
		t.Fatal(err)
	}
	day := time.Now().In(s.loc).AddDate(0, 8, 0)
	day = day.AddDate(0, 0, (int(time.Saturday)-int(day.Weekday())+7)%7)
	s.day = time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, s.loc)
	s.setUp()
	began := time.Now()

	s.call(http.MethodPut, "/v1/conflict-policies/vendor/consultation", map[string]any{"rule": "higher_category", "reason": "house rule"}, nil)
	s.book()
	s.google.SetFaults(googlesim.Faults{Status: http.StatusServiceUnavailable, Reason: "backendError"})
	s.await("the policy decides its conflict", func() error {
		for _, c := range append(s.unclosed(), s.conflicts(domain.ConflictResolved)...) {
			if c.Resolution != nil && strings.HasPrefix(c.Resolution.By, "policy/") {
				return nil
			}
		}
		return fmt.Errorf("unclosed: %+v", s.unclosed())
	})
	s.decide()
	if !s.raced {
		t.Error("no two people decided at once")
	}
	s.await("a decision waits for the vendor that is down, and says so", func() error {
		for _, c := range s.conflicts(domain.ConflictResolving) {
			for _, st := range c.Resolution.Steps {
				if string(st.IntegrationID) == s.systems["google"] && st.State == domain.StepWaiting {
					return nil
				}
			}
		}
		return fmt.Errorf("unclosed: %+v", s.unclosed())
	})
	s.google.Heal()
	s.await("every conflict is closed", func() error {
		// What moved meanwhile may have met another booking.
		for _, c := range s.conflicts(domain.ConflictOpen) {
			if n := slices.IndexFunc(c.Alternatives, func(a domain.Alternative) bool { return a.Action == domain.ActionMove }); n >= 0 {
				_, _ = s.resolve(c, n)
			}
		}
		if left := s.unclosed(); len(left) > 0 {
			return fmt.Errorf("%s %s %+v", left[0].State, left[0].ID, left[0].Resolution)
		}
		return nil
	})
	s.await("all three systems show the five bookings and nothing else", s.consistent)

	byPolicy := 0
	for _, c := range append(s.conflicts(domain.ConflictResolved), s.conflicts(domain.ConflictCleared)...) {
		if c.Resolution != nil && strings.HasPrefix(c.Resolution.By, "policy/") {
			byPolicy++
		}
	}
	if byPolicy != 1 {
		t.Errorf("the policy decided %d conflicts, want the one of the vendor and the consultation", byPolicy)
	}
	// Another reading of everything finds nothing to change.
	for name, id := range s.systems {
		var run struct {
			ID string `json:"run_id"`
		}
		s.call(http.MethodPost, "/v1/integrations/"+id+"/resync", map[string]any{"full": true}, &run)
		s.await("a full reading of "+name+" finds nothing to change", func() error {
			var got domain.SyncRun
			if _, err := s.api.Do(ctx, http.MethodGet, "/v1/syncs/"+run.ID, nil, &got); err != nil {
				return err
			}
			if got.State != domain.SyncDone {
				return fmt.Errorf("the run is %s", got.State)
			}
			if got.Applied != 0 || got.Removed != 0 {
				t.Errorf("%s: the run changed %d and removed %d", name, got.Applied, got.Removed)
			}
			return nil
		})
	}
	if err := s.consistent(); err != nil {
		t.Error(err)
	}
	t.Logf("from the first booking to the last check: %s", time.Since(began).Round(time.Millisecond))
}
