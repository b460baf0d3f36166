package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/webhookauth"
)

// wedsync runs the program as main does and returns its exit status, what it printed and what it says is wrong.
func wedsync(t *testing.T, stdin string, args ...string) (code int, out, fault string) {
	t.Helper()
	var buffer bytes.Buffer
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&buffer)
	root.SetErr(&buffer)
	if err := root.ExecuteContext(t.Context()); err != nil {
		return status(err), buffer.String(), err.Error()
	}
	return 0, buffer.String(), ""
}

func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

const (
	slackSecret    = "8f742231b10e8888abcd99yyyzzz85a5"
	slackBody      = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	slackTime      = "X-Slack-Request-Timestamp: 1531420618"
	slackSignature = "X-Slack-Signature: v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
)

func TestWebhookVerifyExplainsWhyARequestPasses(t *testing.T) {
	t.Parallel()
	const random = "kX3vQ9zT0bLr7WmYc5HnEa"
	other := strings.Repeat("o", 32)
	for name, c := range map[string]struct {
		stdin string
		args  []string
		want  []string
	}{
		"Slack's published example": {"", []string{"--scheme", "slack", "--secret", slackSecret, "--header", slackTime, "--header", slackSignature, "--body-file", file(t, slackBody), "--at", "1531420620"},
			[]string{"genuine     scheme slack", "credential  --secret 1, 1 of 1", "2018-07-12T18:36:58Z, 2s before it came", "message id  none"}},
		"the body from standard input, the second of two secrets from a file": {slackBody, []string{"--scheme", "slack", "--secret-file", file(t, other+"\n"+slackSecret+"\n"), "--header", slackTime, "--header", slackSignature, "--body-file", "-", "--at", "2018-07-12T18:40:00Z"},
			[]string{"(2), 2 of 2"}},
		"a wider tolerance": {slackBody, []string{"--scheme", "slack", "--secret", slackSecret, "--header", slackTime, "--header", slackSignature, "--body-file", "-", "--at", "1531421618", "--tolerance", "20m"},
			[]string{"16m40s before it came"}},
		"a scheme with settings": {"Hello, World!", []string{"--config", file(t, `{"scheme":"hmac","header":"X-Hub-Signature-256","prefix":"sha256=","id_header":"X-Id","challenge":"meta"}`), "--secret", "It's a Secret to Everybody",
			"--header", "x-hub-signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", "--header", "X-Id: 7", "--body-file", "-"},
			[]string{"scheme hmac", "message id  7, not signed", "no signed time"}},
		"an address that is signed": {"{}", []string{"--scheme", "square", "--url", "https://example.com/hook", "--secret", other, "--header", squareHeader(t, other), "--body-file", "-"},
			[]string{"scheme square"}},
		"a scheme that shows its secret": {"{}", []string{"--scheme", "bearer", "--secret", other, "--header", "Authorization: Bearer " + other, "--body-file", "-"},
			[]string{"scheme bearer"}},
		"a path token": {"{}", []string{"--scheme", "path-token", "--secret", random, "--path-token", random, "--body-file", "-"},
			[]string{"scheme path-token", "a hint only"}},
	} {
		code, out, fault := wedsync(t, c.stdin, append([]string{"webhook", "verify"}, c.args...)...)
		if code != 0 || fault != "" {
			t.Errorf("%s: status %d, %s\n%s", name, code, fault, out)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", name, want, out)
			}
		}
		if strings.Contains(out, slackSecret) || strings.Contains(out, other) || strings.Contains(out, random) {
			t.Errorf("%s: shows the secret:\n%s", name, out)
		}
	}
}

func squareHeader(t *testing.T, secret string) string {
	t.Helper()
	const name = "X-Square-Hmacsha256-Signature"
	h, err := webhookauth.Sign(webhookauth.Config{Scheme: webhookauth.Square, URL: "https://example.com/hook"}, webhookauth.Secret(secret), "", time.Time{}, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	return name + ": " + h.Get(name)
}

func TestWebhookVerifyTakesSecretsFromTheEnvironment(t *testing.T) {
	t.Setenv("A_SLACK_SECRET", slackSecret)
	code, out, fault := wedsync(t, slackBody, "webhook", "verify", "--scheme", "slack", "--secret-env", "A_SLACK_SECRET", "--header", slackTime, "--header", slackSignature, "--body-file", "-", "--at", "1531420618")
	if code != 0 || !strings.Contains(out, "credential  --secret-env A_SLACK_SECRET, 1 of 1") {
		t.Errorf("status %d, %s\n%s", code, fault, out)
	}
}

func TestWebhookVerifyNamesTheReasonOfARefusalAndEndsWithStatusOne(t *testing.T) {
	t.Parallel()
	base := []string{"webhook", "verify", "--scheme", "slack", "--secret", slackSecret, "--body-file", "-"}
	for name, c := range map[string]struct {
		stdin     string
		args      []string
		want, out string
	}{
		"too old":         {slackBody, []string{"--header", slackTime, "--header", slackSignature, "--at", "1531421618"}, "refused: timestamp_too_old: signed 1000 s ago; the limit is 300 s", "refused  scheme slack"},
		"altered":         {slackBody + "x", []string{"--header", slackTime, "--header", slackSignature, "--at", "1531420618"}, "refused: signature_mismatch: ", ""},
		"header missing":  {slackBody, []string{"--header", slackTime, "--at", "1531420618"}, "refused: missing_header: header X-Slack-Signature is missing", ""},
		"header twice":    {slackBody, []string{"--header", slackTime, "--header", slackTime, "--header", slackSignature}, "refused: duplicate_header: ", ""},
		"line break kept": {slackBody + "\n", []string{"--header", slackTime, "--header", slackSignature, "--at", "1531420618"}, "refused: signature_mismatch: ", "genuine without the line break"},
		"no body":         {"", []string{"--header", slackTime, "--header", slackSignature, "--at", "1531420618"}, "refused: signature_mismatch: ", "0 bytes of body"},
	} {
		code, out, fault := wedsync(t, c.stdin, slices.Concat(base, c.args)...)
		if code != 1 || !strings.HasPrefix(fault, c.want) || !strings.Contains(out, c.out) {
			t.Errorf("%s: status %d, %s\n%s", name, code, fault, out)
		}
	}
}

func TestWebhookVerifyRefusesWrongCallsWithStatusTwo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no scheme":          {nil, "--scheme: is required"},
		"unknown scheme":     {[]string{"--scheme", "none", "--secret", slackSecret}, "scheme: unknown; want one of"},
		"no secret":          {[]string{"--scheme", "slack"}, "secrets: 0; want 1 to 8"},
		"short secret":       {[]string{"--scheme", "slack", "--secret", "Hush"}, "secrets[0]: 4 bytes; want 16 to 512"},
		"no such file":       {[]string{"--scheme", "slack", "--secret", slackSecret, "--body-file", "/nowhere/at/all"}, "--body-file: "},
		"no such variable":   {[]string{"--scheme", "slack", "--secret-env", "NOBODY_SET_THIS"}, "--secret-env: NOBODY_SET_THIS is not set"},
		"header without :":   {[]string{"--scheme", "slack", "--secret", slackSecret, "--header", "X"}, "--header: number 1"},
		"time":               {[]string{"--scheme", "slack", "--secret", slackSecret, "--at", "yesterday"}, "--at: want a time"},
		"tolerance":          {[]string{"--scheme", "slack", "--secret", slackSecret, "--tolerance", "10ms"}, "--tolerance: want whole seconds"},
		"config that is off": {[]string{"--config", file(t, `{"scheme":"slack","colour":"red"}`)}, "--config: "},
		"config and scheme":  {[]string{"--config", file(t, `{"scheme":"slack"}`), "--scheme", "github"}, "--scheme: github, but the config says slack"},
		"standard input twice": {[]string{"--scheme", "slack", "--secret-file", "-", "--body-file", "-"},
			"--body-file: standard input is read by --secret-file already"},
		"an address that is missing": {[]string{"--scheme", "square", "--secret", slackSecret}, "url: missing"},
		"a field of another scheme":  {[]string{"--config", file(t, `{"scheme":"slack","content":"{body}"}`), "--secret", slackSecret}, "content: slack has no use for it"},
		"peer":                       {[]string{"--scheme", "slack", "--secret", slackSecret, "--peer", "here"}, "--peer: want an IP address"},
		"unknown flag":               {[]string{"--colour"}, "unknown flag"},
	} {
		code, out, fault := wedsync(t, slackSecret, append([]string{"webhook", "verify"}, c.args...)...)
		if code != 2 || !strings.HasPrefix(fault, c.want) {
			t.Errorf("%s: status %d, %s\n%s", name, code, fault, out)
		}
		if strings.Contains(fault+out, "Hush") {
			t.Errorf("%s: shows the secret", name)
		}
	}
}

func TestWebhookSchemesListsEveryScheme(t *testing.T) {
	t.Parallel()
	code, out, _ := wedsync(t, "", "webhook", "schemes")
	if code != 0 {
		t.Fatal(code)
	}
	for _, s := range webhookauth.Schemes() {
		if !strings.Contains(out, "\n"+string(s.Scheme)+" ") && !strings.HasPrefix(out, string(s.Scheme)+" ") {
			t.Errorf("no %s", s.Scheme)
		}
	}
	if !strings.Contains(out, "required: url") {
		t.Errorf("does not say what is needed:\n%s", out)
	}
}
