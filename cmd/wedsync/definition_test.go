package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/providers/custom"
)

// runWith runs a command with something to read.
func runWith(t *testing.T, in string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	root := rootCommand()
	var out, errs bytes.Buffer
	root.SetIn(strings.NewReader(in))
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	return out.String(), errs.String(), err
}

func TestLintTellsPlacesAndFailsOnErrors(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "d.yaml")
	if err := os.WriteFile(file, []byte("base_url: https://a.example\nlist:\n  path: /x\n  items: bdy.x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, err := runWith(t, "", "integration", "lint", file)
	if domain.KindOf(err) != domain.KindInvalid || !strings.Contains(out, file+":4:10: error: list.items: undeclared reference to 'bdy'") {
		t.Errorf("%v\n%s", err, out)
	}
	good := "../../docs/examples/definitions/booking-desk.yaml"
	out, _, err = runWith(t, "", "integration", "lint", "--strict", good)
	if err != nil || !strings.Contains(out, "0 errors, 0 warnings") || !strings.Contains(out, "needs the secrets: client_secret, webhook_secret") {
		t.Errorf("%v\n%s", err, out)
	}
	out, _, err = runWith(t, "webhook: {}", "integration", "lint", "--json", "-")
	if domain.KindOf(err) != domain.KindInvalid || !strings.Contains(out, `"severity": "error"`) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestSchemaIsPrinted(t *testing.T) {
	t.Parallel()
	out, _, err := runWith(t, "", "integration", "schema")
	if err != nil || out != string(custom.DefinitionSchema()) {
		t.Errorf("%v, %d bytes", err, len(out))
	}
}

func TestNewWritesADefinitionThatLintsClean(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "d.yaml")
	args := []string{"integration", "new", "--no-input", "--name", "Barn", "--base-url", "https://barn.example", "--auth", "bearer", "--paging", "cursor",
		"--webhook", "hmac-sha256", "--write", "--zone", "-", "--out", file}
	if _, _, err := runWith(t, "", args...); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	report := custom.Lint(t.Context(), text)
	if !report.OK() || report.Name != "Barn" || strings.Contains(string(text), "zone:") {
		t.Errorf("%v\n%s", report.Findings, text)
	}
	if _, _, err := runWith(t, "", args...); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("a file that exists is written over: %v", err)
	}
	if _, _, err := runWith(t, "", "integration", "new", "--no-input", "--auth", "trust"); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("an unknown choice: %v", err)
	}
	if _, _, err := runWith(t, "", "integration", "new", "--no-input", "--items", "bdy"); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("a wrong expression: %v", err)
	}
}

func TestInterviewAsksWhatMattersAndTakesWhatIsShown(t *testing.T) {
	t.Parallel()
	n := &newDefinition{draft: custom.Defaults()}
	n.draft.Webhook = ""
	var out bytes.Buffer
	// name, base URL, auth, user name; no listing, so nothing about it; id … version; webhook and its entries.
	answers := []string{"Barn", "", "basic", "ada", "-", "", "", "-", "", "", "", "", "", "standard-webhooks", ""}
	if err := n.interview(strings.NewReader(strings.Join(answers, "\n")+"\n"), &out, func(string) bool { return false }); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	d := n.draft
	if d.Name != "Barn" || d.Auth != "basic" || d.Username != "ada" || d.ListPath != "" || d.Status != "" || d.Webhook != "standard-webhooks" || d.BaseURL != custom.Defaults().BaseURL {
		t.Errorf("%+v", d)
	}
	if asked := out.String(); strings.Contains(asked, "token endpoint") || strings.Contains(asked, "how it pages") || !strings.Contains(asked, "user name [wedsync]: ") {
		t.Error(asked)
	}
	text, err := custom.Scaffold(d)
	if err != nil || !custom.Lint(t.Context(), text).OK() {
		t.Errorf("%v\n%s", err, text)
	}
	if err := n.interview(strings.NewReader("Barn\n"), &out, func(string) bool { return false }); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("an interview that ends early: %v", err)
	}
}

func TestApplyMakesAnIntegrationAndShowsNoSecret(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"id":"made"}`))
	})
	secret := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(secret, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"integration", "new", "--no-input", "--from", "../../docs/examples/definitions/venue-diary.json", "--apply", "--resource", someID, "--url", a.URL, "--token", "secret"}
	if _, _, err := runWith(t, "", args...); domain.KindOf(err) != domain.KindInvalid || !strings.Contains(err.Error(), "WEDSYNC_SECRET_TOKEN") {
		t.Errorf("without its secret: %v", err)
	}
	out, errs, err := runWith(t, "", append(args, "--secret-file", "token="+secret)...)
	if err != nil || !strings.Contains(out, "made") || strings.Contains(out+errs, "sesame") {
		t.Fatalf("%v\n%s%s", err, out, errs)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.asked) != 1 || !strings.HasPrefix(a.asked[0], "POST /v1/integrations ") || !strings.Contains(a.asked[0], `"secrets":{"token":"open sesame"}`) ||
		!strings.Contains(a.asked[0], `"direction":"import"`) || !strings.Contains(a.asked[0], `"name":"Venue diary"`) || strings.Contains(a.asked[0], `"samples"`) {
		t.Errorf("asked %v", a.asked)
	}
}

func TestADefinitionThatIsTooLongIsRefusedAndNotCutOff(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"integration", "lint", "-"}, {"integration", "new", "--from", "-"}} {
		code, _, fault := wedsync(t, strings.Repeat("#\n", maxDefinitionFile/2+1), args...)
		if code != 2 || !strings.Contains(fault, "more than 4194304 bytes") {
			t.Errorf("%v: status %d, %q", args, code, fault)
		}
	}
}
