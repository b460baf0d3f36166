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
		{"integration mapping samples honeybook", "GET /v1/providers/honeybook/samples"},
		{"integration mapping show " + someID, "GET /v1/integrations/" + someID + "/mappings"},
		{"integration lead list " + someID, "GET /v1/integrations/" + someID + "/leads?limit=200"},
		{"integration refusals " + someID, "GET /v1/integrations/" + someID + "/refusals?limit=200"},
		{"delivery list --state dead --integration " + someID, "GET /v1/deliveries?integration=" + someID + "&limit=50&state=dead"},
		{"delivery show " + someID, "GET /v1/deliveries/" + someID},
		{"delivery schedule", "GET /v1/deliveries/schedule"},
		{"delivery replay " + someID + " --reason again", `POST /v1/deliveries/` + someID + `/replay {"reason":"again"}`},
		{"delivery discard " + someID + " --reason junk", `POST /v1/deliveries/` + someID + `/discard {"reason":"junk"}`},
		{"wedding list", "GET /v1/weddings?limit=200&open=true"},
		{"wedding list --all --json", "GET /v1/weddings?limit=200"},
		{"wedding show " + someID, "GET /v1/weddings/" + someID},
		{"wedding show --json " + someID, "GET /v1/weddings/" + someID},
		{"wedding handover " + someID, "GET /v1/weddings/" + someID + "/handover"},
		{"wedding log " + someID, "GET /v1/weddings/" + someID + "/log"},
		{"wedding preflights " + someID, "GET /v1/weddings/" + someID + "/preflights?limit=50"},
		{"wedding preflight --wait=false --reason soon " + someID, `POST /v1/weddings/` + someID + `/preflight {"reason":"soon"}`},
		{"timeline show " + someID, "GET /v1/bookings/" + someID + "/timeline"},
		{"venue list", "GET /v1/venues"},
		{"venue add Barn --latitude 51.4 --longitude=-2.6 --alias Stone_Barn", `POST /v1/venues {"aliases":["Stone_Barn"],"latitude":51.4,"longitude":-2.6,"name":"Barn","reason":""}`},
		{"venue delete " + someID, "DELETE /v1/venues/" + someID},
		{"blackout list " + someID, "GET /v1/resources/" + someID + "/blackouts"},
		{"blackout add " + someID + " 2027-12-24 --to 2027-12-26 --yearly", `POST /v1/resources/` + someID + `/blackouts {"from":"2027-12-24","reason":"","to":"2027-12-26","yearly":true}`},
		{"blackout remove " + someID + " " + someID, "DELETE /v1/resources/" + someID + "/blackouts/" + someID},
		{"booking link " + someID + " " + someID + " --reason same", `POST /v1/bookings/` + someID + `/link {"booking_id":"` + someID + `","reason":"same"}`},
		{"booking unlink " + someID + " --entry " + someID, `POST /v1/bookings/` + someID + `/unlink {"link_id":"` + someID + `","reason":""}`},
		{"booking suggestions --resource " + someID, "GET /v1/link-suggestions?resource=" + someID},
		{"scrape consents " + someID, "GET /v1/integrations/" + someID + "/scrape-consents?limit=200"},
		{"scrape consent " + someID + " --origin https://portal.example.com --agreed --reason asked", `POST /v1/integrations/` + someID +
			`/scrape-consents {"agreed":true,"origin":"https://portal.example.com","reason":"asked"}`},
		{"scrape withdraw " + someID + " " + someID + " --reason enough", "DELETE /v1/integrations/" + someID + "/scrape-consents/" + someID + "?reason=enough"},
		{"scrape snapshots " + someID, "GET /v1/integrations/" + someID + "/snapshots?limit=200"},
		{"scrape snapshot " + someID + " " + someID, "GET /v1/integrations/" + someID + "/snapshots/" + someID},
		{"timeline delete " + someID, "DELETE /v1/bookings/" + someID + "/timeline"},
		{"quarantine list", "GET /v1/quarantines?limit=200&state=open"},
		{"quarantine list --state=", "GET /v1/quarantines?limit=200"},
		{"quarantine show " + someID, "GET /v1/quarantines/" + someID + "?limit=200"},
		{"quarantine approve " + someID + " --reason moved", `POST /v1/quarantines/` + someID + `/approve {"reason":"moved"}`},
		{"quarantine restore " + someID + " --reason mistake", `POST /v1/quarantines/` + someID + `/restore {"reason":"mistake"}`},
		{"integration plan --json " + someID, "POST /v1/integrations/" + someID + "/plan"},
		{"integration purge " + someID + " --reason leaving", `POST /v1/integrations/` + someID + `/purge {"dry_run":false,"reason":"leaving"}`},
		{"integration purge --dry-run " + someID, `POST /v1/integrations/` + someID + `/purge {"dry_run":true,"reason":""}`},
		{"integration purge --status " + someID, "GET /v1/integrations/" + someID + "/purge"},
		{"integration delete " + someID, "DELETE /v1/integrations/" + someID},
		{"integration delete --purge " + someID, "DELETE /v1/integrations/" + someID + "?purge=true"},
		{"explain " + someID, "GET /v1/bookings/" + someID + "/explain"},
		{"explain --integration " + someID + " --external-id a/b#c", "GET /v1/integrations/" + someID + "/explain?external_id=a/b#c"},
		{"conflict resolve " + someID + " --action ignore --until 2027-06-01T09:00:00Z --version 3 --reason later", `POST /v1/conflicts/` + someID +
			`/resolve {"action":"ignore","reason":"later","until":"2027-06-01T09:00:00Z","version":3}`},
		{"conflict resolve " + someID + " --action move --booking " + someID + " --start 2027-06-01T09:00:00Z --end 2027-06-01T10:00:00Z --version 3", `POST /v1/conflicts/` + someID +
			`/resolve {"action":"move","booking_id":"` + someID + `","reason":"","version":3,"when":{"end":"2027-06-01T10:00:00Z","start":"2027-06-01T09:00:00Z"}}`},
		{"conflict withdraw " + someID + " --version 4 --reason changed", `POST /v1/conflicts/` + someID + `/withdraw {"reason":"changed","version":4}`},
		{"conflict policy list", "GET /v1/conflict-policies"},
		{"conflict policy set vendor consultation --rule higher_category --then cancel --reason rule", `PUT /v1/conflict-policies/vendor/consultation {"reason":"rule","rule":"higher_category","then":"cancel"}`},
		{"conflict policy set vendor vendor --rule source_priority --source " + someID, `PUT /v1/conflict-policies/vendor/vendor {"reason":"","rule":"source_priority","sources":["` + someID + `"]}`},
		{"conflict policy delete vendor consultation --reason enough", "DELETE /v1/conflict-policies/vendor/consultation?reason=enough"},
		{"conflict policy preview", "POST /v1/conflict-policies/preview?limit=200"},
		{"conflict policy preview --category vendor --other hold --rule newest_wins", `POST /v1/conflict-policies/preview?limit=200 {"category":"vendor","other":"hold","rule":"newest_wins"}`},
		{"conflict policy apply --reason rule", `POST /v1/conflict-policies/apply {"reason":"rule"}`},
		{"edit-conflict list", "GET /v1/edit-conflicts?limit=200&state=open"},
		{"edit-conflict get " + someID, "GET /v1/edit-conflicts/" + someID},
		{"edit-conflict resolve " + someID + " --choice both --version 3 --reason agreed", `POST /v1/edit-conflicts/` + someID + `/resolve {"choice":"both","reason":"agreed","version":3}`},
		{"feed create " + someID + " --label Studio --detail titles --past-days 7", `POST /v1/resources/` + someID + `/feeds {"detail":"titles","future_days":730,"label":"Studio","past_days":7,"reason":""}`},
		{"feed list " + someID, "GET /v1/resources/" + someID + "/feeds?limit=200"},
		{"feed revoke " + someID + " " + someID + " --reason leaked", "DELETE /v1/resources/" + someID + "/feeds/" + someID + "?reason=leaked"},
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

func TestPolicyChangesOnlyWhatItsFlagsSay(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"`+someID+`","version":7,"sync":{"filters":{"skip_free":true,"categories":["wedding"]},"private":"skip"}}`)
	})
	code, out, fault := wedsync(t, "", "integration", "policy", someID, "--url", a.URL, "--token", "secret", "--edit-conflicts", "manual", "--not-label", "Tomato",
		"--category", "", "--reason", "season")
	if code != 0 {
		t.Fatalf("status %d, %s %s", code, out, fault)
	}
	want := []string{"GET /v1/integrations/" + someID,
		`PATCH /v1/integrations/` + someID + ` {"reason":"season","sync":{"filters":{"exclude_labels":["Tomato"],"skip_free":true},"edit_conflicts":"manual","private":"skip"},"version":7}`}
	if !slices.Equal(a.asked, want) {
		t.Errorf("asked\n%q, want\n%q", a.asked, want)
	}
	a.asked = nil
	if code, _, fault := wedsync(t, "", "integration", "policy", someID, "--url", a.URL, "--token", "secret", "--edit-conflicts", "mine"); code == 0 || !strings.Contains(fault, "edit_conflicts") || len(a.asked) != 1 {
		t.Errorf("a policy that does not exist: status %d, %q, asked %q", code, fault, a.asked)
	}
}

func TestPlanIsPrintedAsALineForEachEntry(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"entries":[{"action":"change","external_id":"e1","when":{"start":"2027-06-12T09:00:00Z","end":"2027-06-12T10:00:00Z"},"title":"Flowers",
			"reason":"it was changed there","fields":["end"],"writes":[{"integration_id":"other","op":"put"}]},{"action":"push","booking_id":"b1","reason":"a copy waits"}],
			"counts":{"change":1,"push":1},"writes":1,"read":4,"pages":2,"unlisted":3,"stopped":"the time of a plan is over"}`)
	})
	code, out, fault := wedsync(t, "", "integration", "plan", someID, "--url", a.URL, "--token", "secret")
	want := "change  e1 2027-06-12T09:00:00Z \"Flowers\": it was changed there (end); put in other\npush    booking b1: a copy waits\n… and 3 more\n" +
		"read 4 on 2 pages: change 1, push 1; writes to other systems 1\nstopped early: the time of a plan is over, so missing entries were not looked for\n"
	if code != 0 || out != want {
		t.Errorf("status %d, printed\n%s%s, want\n%s", code, out, fault, want)
	}
}

func TestExplainNeedsABookingOrAnEntry(t *testing.T) {
	t.Parallel()
	a := newAPI(t, nil)
	for _, args := range []string{"explain", "explain " + someID + " --external-id x", "explain --integration " + someID, "explain --external-id x"} {
		if code, _, fault := wedsync(t, "", append(strings.Fields(args), "--url", a.URL, "--token", "secret")...); code == 0 || !strings.Contains(fault, "BOOKING") {
			t.Errorf("%s: status %d, %q", args, code, fault)
		}
	}
	if len(a.asked) != 0 {
		t.Errorf("asked %q", a.asked)
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
