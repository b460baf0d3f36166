package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// runCommand runs the program against a server and returns what it printed.
func runCommand(t *testing.T, a *api, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := rootCommand()
	cmd.SetArgs(append(args, "--url", a.URL, "--token", "secret"))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestOnboardCreatesFollowsAndTellsWhatToDo(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "connection.json")
	if err := os.WriteFile(file, []byte(`{"name":"x","poll_seconds":300}`), 0o600); err != nil {
		t.Fatal(err)
	}
	const path = "/v1/integrations/" + someID
	step := func(state, rest string) string {
		return `{"state":"` + state + `","attempt":1,"steps":[{"name":"credentials","state":"done"},{"name":"duplicate","state":"pending"}]` + rest + `}`
	}
	for name, c := range map[string]struct {
		args    []string
		answers []string // to the questions how far it is
		want    []string // in what is printed
		asked   []string
		fault   string
	}{
		"a new one that works": {[]string{"integration", "onboard", file},
			[]string{step("running", `,"step":"first_sync","sync":{"state":"running","seen":50},"progress":{"expected":200,"percent":25}`), step("done", "")},
			[]string{"integration " + someID, "running: 1 of 2 steps, first sync, read 50 of about 200 (25%)", "done: 1 of 2 steps"},
			[]string{`POST /v1/integrations {"name":"x","onboard":true,"poll_seconds":300}`}, ""},
		"one that is refused": {[]string{"integration", "onboard", someID, "--allow-duplicate"},
			[]string{step("waiting", `,"fault_kind":"invalid","fault":"no such calendar","next":"change settings"`)}, nil,
			[]string{`POST ` + path + `/onboarding {"allow_duplicate":true,"reason":""}`}, "it waits: no such calendar. change settings"},
		"one that needs a consent": {[]string{"integration", "onboard", someID, "--retry"},
			[]string{step("waiting", `,"fault_kind":"unauthenticated","fault":"nobody has let it in"`), step("done", "")},
			[]string{"https://accounts.example/consent"}, []string{`POST ` + path + `/onboarding/resume {"allow_duplicate":false,"reason":""}`, `POST ` + path + `/connect {}`}, ""},
		"one that is cancelled": {[]string{"integration", "onboard", someID, "--cancel", "--reason", "wrong account"},
			[]string{step("cancelling", ""), step("cancelled", `,"next":"begin anew"`)}, nil,
			[]string{`POST ` + path + `/onboarding/cancel {"reason":"wrong account"}`}, "the onboarding is cancelled. begin anew"},
		"a file that is not followed": {[]string{"integration", "onboard", file, "--no-follow"}, nil, []string{"integration " + someID}, nil, ""},
		"a file to go on with":        {[]string{"integration", "onboard", file, "--retry"}, nil, nil, nil, "ID: must be the id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int32
			a := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				switch {
				case r.Method == "GET" && strings.HasSuffix(r.URL.Path, "/onboarding"):
					at := min(int(n.Add(1)), len(c.answers)) - 1
					_, _ = io.WriteString(w, c.answers[at])
				case strings.HasSuffix(r.URL.Path, "/connect"):
					_, _ = io.WriteString(w, `{"url":"https://accounts.example/consent"}`)
				default:
					_, _ = io.WriteString(w, `{"id":"`+someID+`","connect_url":"x"}`)
				}
			})
			out, err := runCommand(t, a, c.args...)
			if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("ended with %v, want %q", err, c.fault)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("printed %q, want %q in it", out, want)
				}
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			all := strings.Join(a.asked, "\n")
			for _, want := range c.asked {
				if !strings.Contains(all, want) {
					t.Errorf("asked\n%s\nwant %s", all, want)
				}
			}
		})
	}
}

func TestIntegrationsActsOnAllPageByPage(t *testing.T) {
	t.Parallel()
	var bodies []map[string]any
	a := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if len(bodies) == 0 {
			bodies = append(bodies, nil)
			_, _ = io.WriteString(w, `{"items":[{"integration_id":"a","name":"One","outcome":"done","state":"paused"},{"integration_id":"b","name":"Two","outcome":"already","state":"paused"}],"next":"b"}`)
			return
		}
		_, _ = io.WriteString(w, `{"items":[{"integration_id":"c","name":"Three","outcome":"refused","reason":"it is being connected","state":"connecting"}]}`)
	})
	out, err := runCommand(t, a, "integrations", "pause", "--provider", "google", "--reason", "holiday")
	if err == nil || status(err) != 1 {
		t.Errorf("one was refused, and it ended with %v", err)
	}
	for _, want := range []string{"done      a One (paused)", "already   b Two (paused)", "refused   c Three (connecting): it is being connected", "1 already, 1 done, 1 refused"} {
		if !strings.Contains(out, want) {
			t.Errorf("printed\n%s\nwithout %q", out, want)
		}
	}
	var first, second map[string]any
	for n, into := range []*map[string]any{&first, &second} {
		text, _ := strings.CutPrefix(a.asked[n], "POST /v1/integrations:batch ")
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("%q: %v", a.asked[n], err)
		}
	}
	if first["action"] != "pause" || first["reason"] != "holiday" || first["after"] != nil || second["after"] != "b" || first["filter"].(map[string]any)["provider"] != "google" {
		t.Errorf("asked %v, then %v", first, second)
	}
	if _, err := runCommand(t, a, "integrations", "explode"); status(err) != 2 {
		t.Errorf("an unknown action: %v", err)
	}
}

func TestDisconnectIsFollowedToItsEnd(t *testing.T) {
	t.Parallel()
	var n atomic.Int32
	a := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		stage := "removing_copies"
		if r.Method == "GET" && n.Add(1) > 1 {
			stage = "done"
		}
		_, _ = io.WriteString(w, `{"stage":"`+stage+`","copies":{"there":3,"removed":4},"hooks":[{}]}`)
	})
	out, err := runCommand(t, a, "integration", "disconnect", someID, "--remove-copies", "--reason", "moved")
	if err != nil || !strings.Contains(out, "removing copies: copies removed 4, there 3, hooks 1") || !strings.Contains(out, "done: ") {
		t.Errorf("printed %q, %v", out, err)
	}
	if want := `POST /v1/integrations/` + someID + `/disconnect {"copies":"remove","dry_run":false,"reason":"moved"}`; a.asked[0] != want {
		t.Errorf("asked %q", a.asked[0])
	}
	n.Store(0)
	if out, err := runCommand(t, a, "integration", "disconnect", someID, "--dry-run"); err != nil || !strings.Contains(out, `"there": 3`) {
		t.Errorf("printed %q, %v", out, err)
	}
}
