package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
)

// onboardingView is what the API says of an onboarding.
type onboardingView struct {
	domain.Onboarding
	Step     domain.OnboardStep `json:"step"`
	Sync     *domain.SyncRun    `json:"sync"`
	Progress *domain.Progress   `json:"progress"`
	Next     string             `json:"next"`
}

func onboardCommand() *cobra.Command {
	r := &remote{}
	var allow, retry, cancel, status, leave bool
	var reason string
	cmd := &cobra.Command{
		Use:   "onboard FILE|ID",
		Short: "Connect a system step by step and follow it",
		Long: "Connect a system step by step and follow it: a new one as the JSON in FILE says (the body of POST /v1/integrations; - = standard\n" +
			"input), or the integration ID, which does not run or is being connected already. Credentials are checked, a second connection to\n" +
			"the same place is noticed, webhooks are registered, everything is read, and only then does it run. What is refused waits until it\n" +
			"is mended. Interrupting this only ends the following.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.client()
			if err != nil {
				return err
			}
			defer c.Close()
			ctx, id := cmd.Context(), args[0]
			if _, known := domain.ParseUUID(id); !known {
				if retry || cancel || status {
					return domain.Invalid("ID", "must be the id of an integration with --retry, --cancel and --status")
				}
				if id, err = createOnboarding(ctx, c, id); err != nil {
					return err
				}
				fmt.Fprintln(cmd.ErrOrStderr(), "integration "+id)
			}
			path := "/v1/integrations/" + url.PathEscape(id) + "/onboarding"
			body := map[string]any{"allow_duplicate": allow, "reason": reason}
			switch {
			case status:
				return r.call(cmd, http.MethodGet, path, nil)
			case cancel:
				_, err = c.Do(ctx, http.MethodPost, path+"/cancel", map[string]any{"reason": reason}, nil)
			case retry:
				_, err = c.Do(ctx, http.MethodPost, path+"/resume", body, nil)
			case id == args[0]:
				_, err = c.Do(ctx, http.MethodPost, path, body, nil)
			}
			if err != nil || leave {
				return err
			}
			return followOnboarding(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), c, path)
		},
	}
	settings(cmd, &app.Config{}, r.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.BoolVar(&allow, "allow-duplicate", false, "connect it although the same account and calendar are connected already")
		f.BoolVar(&retry, "retry", false, "go on with one that waits, once its cause is mended")
		f.BoolVar(&cancel, "cancel", false, "end it, and undo what it did")
		f.BoolVar(&status, "status", false, "only show how far it is")
		f.BoolVar(&leave, "no-follow", false, "do not follow it")
		f.StringVar(&reason, "reason", "", "why, for the audit trail")
	})
	return cmd
}

// createOnboarding creates the integration that a file describes, to be brought to work step by step.
func createOnboarding(ctx context.Context, c *apiclient.Client, file string) (string, error) {
	in, err := readJSON(file)
	if err != nil {
		return "", err
	}
	var body map[string]any
	d := json.NewDecoder(bytes.NewReader(in.(json.RawMessage)))
	d.UseNumber()
	if err := d.Decode(&body); err != nil {
		return "", domain.Invalid("FILE", "must be a JSON object")
	}
	body["onboard"] = true
	var made domain.Integration
	_, err = c.Do(ctx, http.MethodPost, "/v1/integrations", body, &made)
	return string(made.ID), err
}

// liveLine shows one line that changes: in place on a terminal, else as a line each time it differs.
type liveLine struct {
	out      io.Writer
	terminal bool
	last     string
}

func newLiveLine(out io.Writer) *liveLine {
	f, ok := out.(*os.File)
	return &liveLine{out: out, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

func (l *liveLine) show(text string) {
	if text == l.last {
		return
	}
	l.last = text
	if l.terminal {
		fmt.Fprint(l.out, "\r\x1b[K"+text)
	} else {
		fmt.Fprintln(l.out, text)
	}
}

func (l *liveLine) end() {
	if l.terminal && l.last != "" {
		fmt.Fprintln(l.out)
	}
}

// followOnboarding shows how far an onboarding is until it ends or waits for a person. Where that person's consent is
// what it waits for, the link is printed and it is followed on.
func followOnboarding(ctx context.Context, out, notes io.Writer, c *apiclient.Client, path string) error {
	line := newLiveLine(out)
	defer line.end()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	asked := 0 // the attempt for which a link was printed
	for {
		var v onboardingView
		if _, err := c.Do(ctx, http.MethodGet, path, nil, &v); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		line.show(describeOnboarding(v))
		switch v.State {
		case domain.OnboardingDone:
			return nil
		case domain.OnboardingCancelled, domain.OnboardingFailed:
			return domain.E(domain.KindConflict, "the onboarding is %s. %s", v.State, v.Next)
		case domain.OnboardingWaiting:
			if v.FaultKind == domain.KindUnauthenticated && asked != v.Attempt {
				link, err := consentLink(ctx, c, strings.TrimSuffix(path, "/onboarding"))
				if err != nil {
					return err
				}
				if link != "" {
					asked = v.Attempt
					fmt.Fprintf(notes, "\nopen this in a browser and let WedSync in; it then goes on by itself:\n%s\n", link)
				}
			}
			if asked != v.Attempt && v.RetryAt == nil {
				return domain.E(domain.KindConflict, "it waits: %s. %s", v.Fault, v.Next)
			}
		case domain.OnboardingRunning, domain.OnboardingCancelling:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// consentLink makes the link by which a person lets WedSync in; "" for a system that has secrets instead.
func consentLink(ctx context.Context, c *apiclient.Client, integration string) (string, error) {
	var i struct {
		ConnectURL string `json:"connect_url"`
	}
	if _, err := c.Do(ctx, http.MethodGet, integration, nil, &i); err != nil || i.ConnectURL == "" {
		return "", err
	}
	var link struct {
		URL string `json:"url"`
	}
	_, err := c.Do(ctx, http.MethodPost, integration+"/connect", map[string]any{}, &link)
	return link.URL, err
}

// describeOnboarding is an onboarding in one line.
func describeOnboarding(v onboardingView) string {
	over := 0
	for _, p := range v.Steps {
		if p.State == domain.OnboardStepDone || p.State == domain.OnboardStepSkipped {
			over++
		}
	}
	text := fmt.Sprintf("%s: %d of %d steps", v.State, over, len(v.Steps))
	if v.Step != "" {
		text += ", " + strings.ReplaceAll(string(v.Step), "_", " ")
	}
	if v.Sync != nil && v.Sync.State == domain.SyncRunning {
		text += fmt.Sprintf(", read %d", v.Sync.Seen)
		if p := v.Progress; p != nil && p.Expected > 0 {
			text += fmt.Sprintf(" of about %d (%d%%)", p.Expected, p.Percent)
			if p.ETA != nil {
				text += ", until about " + p.ETA.Local().Format("15:04:05")
			}
		}
	}
	if v.State == domain.OnboardingWaiting && v.RetryAt != nil {
		text += fmt.Sprintf(": %s; tried again %s", v.Fault, v.RetryAt.Local().Format("15:04:05"))
	}
	return text
}
