package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMappingIsChangedFromTheVersionThatIsStored(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"version":7}`)
	})
	file := filepath.Join(t.TempDir(), "mapping.json")
	if err := os.WriteFile(file, []byte(`{"start":"item.day"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	set := []string{"integration", "mapping", "set", someID, "project_booked", file, "--url", a.URL, "--token", "secret"}
	if code, out, fault := wedsync(t, "", append(set, "--reason", "sent so")...); code != 0 {
		t.Fatalf("status %d, %s %s", code, out, fault)
	}
	change := `PUT /v1/integrations/` + someID + `/mappings/project_booked {"mapping":{"start":"item.day"},"reason":"sent so","version":7}`
	if want := []string{"GET /v1/integrations/" + someID + "/mappings", change}; !slices.Equal(a.asked, want) {
		t.Errorf("asked\n%q, want\n%q", a.asked, want)
	}
	a.asked = nil
	if code, _, fault := wedsync(t, "", append(set, "--reason", "sent so", "--version", "7")...); code != 0 || !slices.Equal(a.asked, []string{change}) {
		t.Errorf("with a version: %d, %s, asked %q", code, fault, a.asked)
	}
}

func TestEnquiryIsNotSentWithoutAKey(t *testing.T) {
	t.Parallel()
	var keys []string
	a := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{}`)
	})
	file := filepath.Join(t.TempDir(), "lead.json")
	if err := os.WriteFile(file, []byte(`{"full_name":"x","email":"x@example.com"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	send := []string{"integration", "lead", "send", someID, file, "--url", a.URL, "--token", "secret"}
	if code, _, fault := wedsync(t, "", send...); code == 0 || !strings.Contains(fault, "key") || len(a.asked) != 0 {
		t.Errorf("without a key: %d, %s, asked %q", code, fault, a.asked)
	}
	want := []string{"POST /v1/integrations/" + someID + `/leads {"full_name":"x","email":"x@example.com"}`}
	if code, _, fault := wedsync(t, "", append(send, "--key", "one")...); code != 0 || !slices.Equal(a.asked, want) || !slices.Equal(keys, []string{"one"}) {
		t.Errorf("with a key: %d, %s, asked %q under %q", code, fault, a.asked, keys)
	}
}
