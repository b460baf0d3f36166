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
	"github.com/wedsync/wedsync/internal/sim/caldavsim"
	"github.com/wedsync/wedsync/internal/sim/tavesim"
)

// TestAStudioIsConnectedMendedAndDisconnected plays it on the whole program: a key that is wrong at first, a second connection
// to the same studio, all connections at once, and the end of one with its copies.
func TestAStudioIsConnectedMendedAndDisconnected(t *testing.T) {
	t.Parallel()
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	cfg := app.Defaults()
	cfg.LogLevel, cfg.PublicURL = "error", "http://"+addr
	s := &studio{T: t, stack: startStack(t, addr, cfg), doors: map[string]*door{}, ids: map[string]string{}}
	s.api = apiclient.New(s.stack.Ready.HTTP, s.stack.Ready.AdminToken)
	t.Cleanup(s.api.Close)
	tave := tavesim.New(tavesim.Options{Key: "right-key", Zone: "Europe/London"})
	dav := caldavsim.New(caldavsim.Options{Username: "studio", Password: "pw", Calendars: []caldavsim.Calendar{{Name: davCalendar}}})
	at, diary := s.serve(tave.Handler()), s.serve(dav.Handler())
	day := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 2, 0)
	for n := range 3 {
		tave.Add("event", tavesim.Object{"name": fmt.Sprintf("Engagement %d", n), "startDate": day.AddDate(0, 0, n).Format(time.DateOnly), "startTime": "10:00:00",
			"endDate": day.AddDate(0, 0, n).Format(time.DateOnly), "endTime": "12:00:00"})
	}
	var resource struct {
		ID string `json:"id"`
	}
	s.call(http.MethodPost, "/v1/resources", map[string]any{"name": "The photographer", "kind": "person", "zone": "Europe/London"}, &resource)
	onboard := func(provider string, settings map[string]any, secrets map[string]string) string {
		var i domain.Integration
		s.call(http.MethodPost, "/v1/integrations", map[string]any{"name": provider, "provider": provider, "direction": "bidirectional", "resource_id": resource.ID,
			"settings": settings, "secrets": secrets, "onboard": true}, &i)
		if i.State != domain.IntegrationConnecting {
			t.Errorf("%s is %s", provider, i.State)
		}
		return string(i.ID)
	}
	becomes := func(id string, want domain.OnboardingState) (o domain.Onboarding) {
		t.Helper()
		s.await("an onboarding that is "+string(want), func() error {
			o = domain.Onboarding{}
			s.call(http.MethodGet, "/v1/integrations/"+id+"/onboarding", nil, &o)
			if o.State != want {
				return fmt.Errorf("it is %s: %s %+v", o.State, o.Fault, o.Steps)
			}
			return nil
		})
		return o
	}
	state := func(id string) (i domain.Integration) {
		s.call(http.MethodGet, "/v1/integrations/"+id, nil, &i)
		return i
	}
	studioAt := map[string]any{"api_url": at + tavesim.Base, "requests_per_second": 1000}

	crm := onboard("tave", studioAt, map[string]string{"api_key": "wrong-key"})
	if o := becomes(crm, domain.OnboardingWaiting); o.FaultKind != domain.KindUnauthenticated || o.Current() != domain.OnboardCredentials || strings.Contains(o.Fault, "wrong-key") {
		t.Errorf("it waits as %+v", o)
	}
	if n := len(tave.All("rest-hook")); n != 0 || state(crm).State != domain.IntegrationConnecting {
		t.Errorf("%d hooks, the integration is %s", n, state(crm).State)
	}
	s.call(http.MethodPatch, "/v1/integrations/"+crm, map[string]any{"version": state(crm).Version, "secrets": map[string]string{"api_key": "right-key"}}, nil)
	o := becomes(crm, domain.OnboardingDone)
	for _, p := range o.Steps {
		if p.State != domain.OnboardStepDone || p.StartedAt == nil || p.EndedAt == nil {
			t.Errorf("step %+v", p)
		}
	}
	if n := len(tave.All("rest-hook")); n == 0 || state(crm).State != domain.IntegrationActive {
		t.Errorf("%d hooks, the integration is %s", n, state(crm).State)
	}
	if !strings.HasPrefix(o.Steps[3].Note, "read 3 entries") {
		t.Errorf("the first reading: %q", o.Steps[3].Note)
	}

	twin := onboard("tave", studioAt, map[string]string{"api_key": "right-key"})
	if o := becomes(twin, domain.OnboardingWaiting); string(o.Duplicate) != crm {
		t.Errorf("the twin waits as %+v", o)
	}
	s.call(http.MethodPost, "/v1/integrations/"+twin+"/onboarding/cancel", map[string]any{"reason": "by mistake"}, nil)
	becomes(twin, domain.OnboardingCancelled)
	if state(twin).State != domain.IntegrationPaused {
		t.Errorf("the twin is %s", state(twin).State)
	}
	s.call(http.MethodDelete, "/v1/integrations/"+twin, nil, nil)

	calendar := onboard("caldav", map[string]any{"url": diary, "username": "studio"}, map[string]string{"password": "pw"})
	becomes(calendar, domain.OnboardingDone)
	tave.Add("event", tavesim.Object{"name": "Rehearsal", "startDate": day.AddDate(0, 0, 9).Format(time.DateOnly), "startTime": "10:00:00",
		"endDate": day.AddDate(0, 0, 9).Format(time.DateOnly), "endTime": "12:00:00"})

	type answer struct {
		Items []struct {
			ID      string `json:"integration_id"`
			Outcome string `json:"outcome"`
			Reason  string `json:"reason"`
			Healthy *bool  `json:"healthy"`
		} `json:"items"`
	}
	all := func(action, want string) (a answer) {
		t.Helper()
		s.call(http.MethodPost, "/v1/integrations:batch", map[string]any{"action": action}, &a)
		if len(a.Items) != 2 {
			t.Fatalf("%s of %+v", action, a.Items)
		}
		for _, i := range a.Items {
			if i.Outcome != want || i.Healthy != nil && !*i.Healthy {
				t.Errorf("%s: %+v", action, i)
			}
		}
		return a
	}
	all("health", "done")
	all("initialise", "already")
	all("pause", "done")
	all("pause", "already")
	all("resume", "done")
	all("resync", "done")
	s.await("a copy in the calendar", func() error {
		if n := len(dav.Events(davCalendar)); n != 1 {
			return fmt.Errorf("%d entries", n)
		}
		return nil
	})

	var d struct {
		Stage  string `json:"stage"`
		Copies struct{ There, Removed int }
	}
	path := "/v1/integrations/" + calendar + "/disconnect"
	s.await("the copy is known, and a dry run counts it", func() error {
		s.call(http.MethodPost, path, map[string]any{"copies": "remove", "dry_run": true}, &d)
		if d.Stage != "counted" || d.Copies.There != 1 {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
	if len(dav.Events(davCalendar)) != 1 {
		t.Error("a dry run removed the copy")
	}
	s.call(http.MethodPost, path, map[string]any{"copies": "remove", "reason": "moved"}, nil)
	s.await("the end of the connection", func() error {
		if s.call(http.MethodGet, path, nil, &d); d.Stage != "done" {
			return fmt.Errorf("it is %+v", d)
		}
		return nil
	})
	if n := len(dav.Events(davCalendar)); n != 0 || d.Copies.Removed != 1 {
		t.Errorf("%d copies are left; %+v", n, d)
	}
	s.call(http.MethodPost, "/v1/integrations/"+crm+"/disconnect", map[string]any{"copies": "keep"}, nil)
	s.await("the end of the hooks", func() error {
		var v struct {
			Stage string `json:"stage"`
		}
		if s.call(http.MethodGet, "/v1/integrations/"+crm+"/disconnect", nil, &v); v.Stage != "done" || len(tave.All("rest-hook")) != 0 {
			return fmt.Errorf("%s, %d hooks", v.Stage, len(tave.All("rest-hook")))
		}
		return nil
	})
}
