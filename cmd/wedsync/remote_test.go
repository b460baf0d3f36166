package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// api is a server that notes what it is asked and answers with an empty object, or with events.
type api struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string // method, path with its query in order, body
}

func newAPI(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *api {
	t.Helper()
	a := &api{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		query, err := url.QueryUnescape(r.URL.Query().Encode())
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		a.mu.Lock()
		a.asked = append(a.asked, strings.TrimSpace(strings.TrimSuffix(fmt.Sprintf("%s %s?%s", r.Method, r.URL.Path, query), "?")+" "+string(body)))
		a.mu.Unlock()
		if answer != nil {
			answer(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{}`)
	}))
	t.Cleanup(a.Close)
	return a
}

const someID = "0190a5c0-0000-7000-8000-000000000001"

// TestRemoteCommandsAskWhatTheirHelpSays runs commands against a server that only listens, so that a renamed route or a
// forgotten field shows.
func TestRemoteCommandsAskWhatTheirHelpSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want string }{
		{"integration list", "GET /v1/integrations?limit=200"},
		{"integration get " + someID, "GET /v1/integrations/" + someID},
		{"integration pause " + someID + " --reason rest", `POST /v1/integrations/` + someID + `/pause {"reason":"rest"}`},
		{"integration resume " + someID, `POST /v1/integrations/` + someID + `/resume {"reason":""}`},
		{"integration refusals " + someID, "GET /v1/integrations/" + someID + "/refusals?limit=200"},
		{"delivery list --state dead --integration " + someID, "GET /v1/deliveries?integration=" + someID + "&limit=50&state=dead"},
		{"delivery show " + someID, "GET /v1/deliveries/" + someID},
		{"delivery schedule", "GET /v1/deliveries/schedule"},
		{"delivery replay " + someID + " --reason again", `POST /v1/deliveries/` + someID + `/replay {"reason":"again"}`},
		{"delivery discard " + someID + " --reason junk", `POST /v1/deliveries/` + someID + `/discard {"reason":"junk"}`},
		{"timeline show " + someID, "GET /v1/bookings/" + someID + "/timeline"},
		{"timeline delete " + someID, "DELETE /v1/bookings/" + someID + "/timeline"},
	} {
		a := newAPI(t, nil)
		if code, out, fault := wedsync(t, "", append(strings.Fields(c.args), "--url", a.URL, "--token", "secret")...); code != 0 {
			t.Errorf("wedsync %s: status %d, %s %s", c.args, code, out, fault)
		}
		if !slices.Equal(a.asked, []string{c.want}) {
			t.Errorf("wedsync %s asked\n%q, want\n%q", c.args, a.asked, c.want)
		}
	}
}

func TestEventsPrintsWhatTheFilterTakes(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for n := range 3 {
			_, _ = fmt.Fprintf(w, "id: 7-%d\nevent: conflict.opened\ndata: {\"topic\":\"conflict.opened\",\"at\":\"2027-06-12T09:00:00Z\",\"refs\":{\"booking\":%q}}\n\n", n, someID)
		}
	})
	code, out, fault := wedsync(t, "", "events", "--url", a.URL, "--token", "secret", "--topics", "conflict.*,delivery.dead", "--wedding", someID, "--since", "7-0", "--count", "2")
	if code != 0 || !slices.Equal(a.asked, []string{"GET /v1/stream?topics=conflict.*,delivery.dead&wedding=" + someID}) {
		t.Fatalf("status %d, %s; asked %q", code, fault, a.asked)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 {
		t.Fatalf("printed %d lines, want 2:\n%s", len(lines), out)
	}
	for n, text := range lines {
		var got line
		if err := json.Unmarshal([]byte(text), &got); err != nil || got.ID != fmt.Sprintf("7-%d", n) || got.Topic != "conflict.opened" || got.Refs["booking"] != someID {
			t.Errorf("line %d is %s (%v)", n, text, err)
		}
	}
	for args, field := range map[string]string{"--wedding x": "weddings", "--topics A": "topics", "--count -1": "count"} {
		if code, _, fault := wedsync(t, "", append([]string{"events", "--url", a.URL, "--token", "secret"}, strings.Fields(args)...)...); code == 0 || !strings.Contains(fault, field) {
			t.Errorf("events %s: status %d, %q; want an error that names %s", args, code, fault, field)
		}
	}
}
