package pagerdutysim_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/sim/pagerdutysim"
)

const key = "0123456789abcdef0123456789abcdef"

func TestIncidentsFollowTheirEvents(t *testing.T) {
	t.Parallel()
	sim := pagerdutysim.New(key)
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	post := func(body string) int {
		t.Helper()
		res, err := http.Post(srv.URL+"/v2/enqueue", "application/json", strings.NewReader(strings.ReplaceAll(body, "KEY", key)))
		if err != nil {
			return 0
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode
	}
	trigger := `{"routing_key":"KEY","event_action":"trigger","dedup_key":"a","payload":{"summary":"down","source":"x","severity":"error"}}`
	for _, c := range []struct {
		name, body string
		want       int
	}{
		{"no JSON", `x`, 400},
		{"short key", `{"routing_key":"x","event_action":"trigger"}`, 400},
		{"no payload", `{"routing_key":"KEY","event_action":"trigger","dedup_key":"a"}`, 400},
		{"unknown severity", strings.Replace(trigger, "error", "bad", 1), 400},
		{"unknown action", strings.Replace(trigger, `"trigger"`, `"shout"`, 1), 400},
		{"resolve without key", `{"routing_key":"KEY","event_action":"resolve"}`, 400},
		{"resolve of nothing", `{"routing_key":"KEY","event_action":"resolve","dedup_key":"a"}`, 202},
		{"trigger", trigger, 202},
		{"trigger again", trigger, 202},
		{"acknowledge", `{"routing_key":"KEY","event_action":"acknowledge","dedup_key":"a"}`, 202},
	} {
		if got := post(c.body); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if all := sim.Incidents(); len(all) != 1 || all[0].Status != "acknowledged" || all[0].Triggers != 2 {
		t.Errorf("%+v", all)
	}
	sim.Fail(pagerdutysim.Limited, pagerdutysim.Down, pagerdutysim.Cut, pagerdutysim.LostAnswer)
	resolve := `{"routing_key":"KEY","event_action":"resolve","dedup_key":"a"}`
	for n, want := range []int{429, 500, 0, 0} {
		if got := post(resolve); got != want {
			t.Errorf("fault %d: %d, want %d", n, got, want)
		}
		if open := sim.Incidents()[0].Status == "acknowledged"; open != (n < 3) {
			t.Errorf("after fault %d the incident is %s", n, sim.Incidents()[0].Status)
		}
	}
	if post(trigger) != 202 || len(sim.Incidents()) != 2 {
		t.Errorf("a trigger after the end: %+v", sim.Incidents())
	}
}
