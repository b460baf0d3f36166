package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
)

// remote is a running server that commands talk to.
type remote struct {
	dir, url, token string
	override        string // reason for which something risky is done while a wedding is near or on
}

func (r *remote) flags(f *pflag.FlagSet, _ *app.Config) {
	f.StringVar(&r.dir, "data-dir", ".wedsync", "data folder of a development stack, where --url is absent")
	f.StringVar(&r.url, "url", "", "base URL of the server")
	f.StringVar(&r.token, "token", "", "admin token for --url")
}

// overrideFlag is for commands that do what is refused while a wedding is near or on.
func (r *remote) overrideFlag(f *pflag.FlagSet) {
	f.StringVar(&r.override, "override-freeze", "", "why this is done although a wedding is near or on, 3 to 500 characters, for the audit trail; admins only")
}

func (r *remote) client() (*apiclient.Client, error) {
	if r.url != "" {
		return apiclient.New(r.url, r.token).With(freeze.Header, r.override), nil
	}
	ready, err := app.ReadReady(r.dir)
	if err != nil {
		return nil, err
	}
	return apiclient.New(ready.HTTP, ready.AdminToken).With(freeze.Header, r.override), nil
}

// call makes one request and prints the answer.
func (r *remote) call(cmd *cobra.Command, method, path string, body any) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	defer c.Close()
	var out json.RawMessage
	if _, err := c.Do(cmd.Context(), method, path, body, &out); err != nil {
		return err
	}
	return printJSON(cmd.OutOrStdout(), out)
}

func printJSON(w io.Writer, v any) error {
	if raw, ok := v.(json.RawMessage); ok && len(raw) == 0 {
		return nil
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, string(b))
	return err
}

// remoteCommand is a command that makes one request. path gets the arguments.
func remoteCommand(use, short string, args int, method string, path func(args []string) string, body func(args []string) (any, error), more func(f *pflag.FlagSet)) *cobra.Command {
	return (&remote{}).command(use, short, args, method, path, body, more)
}

// riskyCommand is a remoteCommand that an admin may insist on while a wedding is near or on.
func riskyCommand(use, short string, args int, method string, path func(args []string) string, body func(args []string) (any, error), more func(f *pflag.FlagSet)) *cobra.Command {
	r := &remote{}
	return r.command(use, short, args, method, path, body, func(f *pflag.FlagSet) {
		if more != nil {
			more(f)
		}
		r.overrideFlag(f)
	})
}

func (r *remote) command(use, short string, args int, method string, path func(args []string) string, body func(args []string) (any, error), more func(f *pflag.FlagSet)) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(args),
		RunE: func(cmd *cobra.Command, args []string) error {
			var in any
			if body != nil {
				var err error
				if in, err = body(args); err != nil {
					return err
				}
			}
			return r.call(cmd, method, path(args), in)
		},
	}
	settings(cmd, &app.Config{}, r.flags, func(f *pflag.FlagSet, _ *app.Config) {
		if more != nil {
			more(f)
		}
	})
	return cmd
}

func integrationCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "integration", Short: "Connect systems and work with connections"}
	at := func(suffix string) func([]string) string {
		return func(args []string) string { return "/v1/integrations/" + args[0] + suffix }
	}
	var reason string
	why := func(f *pflag.FlagSet) { f.StringVar(&reason, "reason", "", "why, for the audit trail") }
	because := func([]string) (any, error) { return map[string]any{"reason": reason}, nil }
	cmd.AddCommand(
		remoteCommand("list", "List integrations", 0, http.MethodGet, func([]string) string { return "/v1/integrations?limit=200" }, nil, nil),
		remoteCommand("get ID", "Show an integration", 1, http.MethodGet, at(""), nil, nil),
		remoteCommand("create FILE", "Connect a system as the JSON in FILE says (the body of POST /v1/integrations; - = standard input)", 1, http.MethodPost,
			func([]string) string { return "/v1/integrations" }, func(args []string) (any, error) { return readJSON(args[0]) }, nil),
		connectCommand(),
		onboardCommand(),
		disconnectCommand(),
		remoteCommand("pause ID", "Stop applying and writing; what arrives is kept", 1, http.MethodPost, at("/pause"), because, why),
		remoteCommand("resume ID", "Go on after a pause or a reconnect", 1, http.MethodPost, at("/resume"), because, why),
		deleteIntegrationCommand(),
		planCommand(),
		purgeCommand(),
		failoverCommand(),
		remoteCommand("refusals ID", "List a sample of the webhooks that were refused: from where, by which scheme, and why", 1, http.MethodGet, at("/refusals?limit=200"), nil, nil),
		policyCommand(),
		resyncCommand(),
		mappingCommand(),
		leadCommand(),
		lintCommand(), newDefinitionCommand(), schemaCommand(),
		credentialCommand(),
	)
	return cmd
}

func readJSON(path string) (any, error) {
	in := os.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, domain.Invalid("FILE", "cannot be opened: %v", err)
		}
		defer f.Close()
		in = f
	}
	const limit = 1 << 20
	b, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, err
	}
	if len(b) > limit {
		return nil, domain.Invalid("FILE", "at most %d bytes", limit)
	}
	if !json.Valid(b) {
		return nil, domain.Invalid("FILE", "is no JSON")
	}
	return json.RawMessage(b), nil
}

// connectCommand prints the link by which a person lets WedSync into a system.
func connectCommand() *cobra.Command {
	r := &remote{}
	var reason string
	cmd := &cobra.Command{
		Use: "connect ID", Short: "Print the link by which a person lets WedSync into the system, such as Google or Microsoft", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.client()
			if err != nil {
				return err
			}
			defer c.Close()
			var link struct {
				URL       string    `json:"url"`
				ExpiresAt time.Time `json:"expires_at"`
			}
			if _, err := c.Do(cmd.Context(), http.MethodPost, "/v1/integrations/"+args[0]+"/connect", map[string]any{"reason": reason}, &link); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "open this in a browser; it works once, until %s:\n", link.ExpiresAt.Local().Format("15:04:05"))
			_, err = fmt.Fprintln(cmd.OutOrStdout(), link.URL)
			return err
		},
	}
	settings(cmd, &app.Config{}, r.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.StringVar(&reason, "reason", "", "why, for the audit trail")
	})
	return cmd
}

func resyncCommand() *cobra.Command {
	r := &remote{}
	var full bool
	var reason string
	cmd := &cobra.Command{
		Use: "resync ID", Short: "Read the system anew and follow the progress", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.client()
			if err != nil {
				return err
			}
			defer c.Close()
			var asked struct {
				RunID string `json:"run_id"`
			}
			if _, err := c.Do(cmd.Context(), http.MethodPost, "/v1/integrations/"+args[0]+"/resync", map[string]any{"full": full, "reason": reason}, &asked); err != nil {
				return err
			}
			return follow(cmd.Context(), cmd.OutOrStdout(), c, asked.RunID)
		},
	}
	settings(cmd, &app.Config{}, r.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.BoolVar(&full, "full", false, "read everything instead of what changed")
		f.StringVar(&reason, "reason", "", "why, for the audit trail")
		r.overrideFlag(f)
	})
	return cmd
}

// follow prints a run's progress, a line when it changes, until it ends. The run goes on if this is interrupted.
func follow(ctx context.Context, out io.Writer, c *apiclient.Client, id string) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for {
		var run domain.SyncRun
		_, err := c.Do(ctx, http.MethodGet, "/v1/syncs/"+id, nil, &run)
		if err != nil && domain.KindOf(err) != domain.KindNotFound {
			return err
		}
		line := fmt.Sprintf("%s: pages %d, read %d, changed %d, unchanged %d, removed %d, held back %d", run.State, run.Pages, run.Seen, run.Applied, run.Unchanged, run.Removed, run.Quarantined)
		if err == nil && line != last {
			fmt.Fprintln(out, line)
			last = line
		}
		switch run.State {
		case domain.SyncDone:
			return nil
		case domain.SyncFailed, domain.SyncCancelled:
			return domain.E(domain.KindInternal, "the run %s: %s", run.State, run.Error)
		case domain.SyncRunning:
		}
		select {
		case <-ctx.Done():
			fmt.Fprintf(out, "the run %s goes on\n", id)
			return nil
		case <-tick.C:
		}
	}
}

func conflictCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "conflict", Short: "List and resolve double-bookings"}
	var action, reason, booking, resource, start, end, until string
	var alternative int
	var version int64
	cmd.AddCommand(
		conflictPolicyCommand(),
		remoteCommand("list", "List open conflicts", 0, http.MethodGet, func([]string) string { return "/v1/conflicts?state=open&limit=200" }, nil, nil),
		remoteCommand("get ID", "Show a conflict with its ways out", 1, http.MethodGet, func(a []string) string { return "/v1/conflicts/" + a[0] }, nil, nil),
		remoteCommand("resolve ID", "Decide a conflict: take a proposal, or say what is to be done", 1, http.MethodPost,
			func(a []string) string { return "/v1/conflicts/" + a[0] + "/resolve" },
			func([]string) (any, error) {
				body := map[string]any{"reason": reason, "version": version}
				switch {
				case action != "" && alternative >= 0:
					return nil, domain.Invalid("alternative", "stands alone, without --action")
				case action != "":
					body["action"] = action
					for name, value := range map[string]string{"booking_id": booking, "resource_id": resource, "until": until} {
						if value != "" {
							body[name] = value
						}
					}
					if start != "" || end != "" {
						body["when"] = map[string]any{"start": start, "end": end}
					}
				case alternative >= 0:
					body["alternative"] = alternative
				default:
					return nil, domain.Invalid("alternative", "or --action is required")
				}
				return body, nil
			},
			func(f *pflag.FlagSet) {
				f.IntVar(&alternative, "alternative", -1, "number of the proposal, 0 being the best")
				f.StringVar(&action, "action", "", "move, reassign, cancel, tentative, ignore or keep_both")
				f.StringVar(&booking, "booking", "", "the booking to change; the one that should give way where absent")
				f.StringVar(&resource, "resource", "", "for reassign: who takes it over")
				f.StringVar(&start, "start", "", "for move: RFC 3339")
				f.StringVar(&end, "end", "", "for move: RFC 3339")
				f.StringVar(&until, "until", "", "for ignore: when it comes back, RFC 3339")
				f.Int64Var(&version, "version", 0, "of the conflict as you saw it")
				f.StringVar(&reason, "reason", "", "why, for the audit trail")
			}),
		remoteCommand("withdraw ID", "Call off a decision that is being carried out", 1, http.MethodPost,
			func(a []string) string { return "/v1/conflicts/" + a[0] + "/withdraw" },
			func([]string) (any, error) { return map[string]any{"reason": reason, "version": version}, nil },
			func(f *pflag.FlagSet) {
				f.Int64Var(&version, "version", 0, "of the conflict as you saw it")
				f.StringVar(&reason, "reason", "", "why, for the audit trail")
			}),
	)
	return cmd
}
