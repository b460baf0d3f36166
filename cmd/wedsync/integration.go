package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
)

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

// connectCommand prints the link by which a person lets WedSync into a system.
func connectCommand() *cobra.Command {
	r := &remote{}
	var reason string
	cmd := &cobra.Command{
		Use: "connect ID", Short: "Print the link by which a person lets WedSync into the system, such as Google or Microsoft", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var link struct {
				URL       string    `json:"url"`
				ExpiresAt time.Time `json:"expires_at"`
			}
			if err := r.do(cmd, http.MethodPost, "/v1/integrations/"+args[0]+"/connect", map[string]any{"reason": reason}, &link); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "open this in a browser; it works once, until %s:\n", link.ExpiresAt.Local().Format("15:04:05"))
			_, err := fmt.Fprintln(cmd.OutOrStdout(), link.URL)
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

func disconnectCommand() *cobra.Command {
	r := &remote{}
	var remove, dry, status, leave bool
	var reason string
	cmd := &cobra.Command{
		Use:   "disconnect ID",
		Short: "End a connection for good: hooks are taken back, and with --remove-copies what WedSync wrote there",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/v1/integrations/" + url.PathEscape(args[0]) + "/disconnect"
			if status {
				return r.call(cmd, http.MethodGet, path, nil)
			}
			body := map[string]any{"copies": map[bool]string{true: "remove", false: "keep"}[remove], "dry_run": dry, "reason": reason}
			if dry || leave {
				return r.call(cmd, http.MethodPost, path, body)
			}
			c, err := r.client()
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Do(cmd.Context(), http.MethodPost, path, body, nil); err != nil {
				return err
			}
			return followDisconnect(cmd.Context(), cmd.OutOrStdout(), c, path)
		},
	}
	settings(cmd, &app.Config{}, r.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.BoolVar(&remove, "remove-copies", false, "take the copies that WedSync wrote out of the system first; its own entries are not touched")
		f.BoolVar(&dry, "dry-run", false, "only tell what it would do")
		f.BoolVar(&status, "status", false, "only show how far it is")
		f.BoolVar(&leave, "no-follow", false, "do not follow it; it goes on by itself")
		f.StringVar(&reason, "reason", "", "why, for the audit trail")
		r.overrideFlag(f)
	})
	return cmd
}

// followDisconnect shows how far disconnecting is until it is done. It goes on if this is interrupted.
func followDisconnect(ctx context.Context, out io.Writer, c *apiclient.Client, path string) error {
	line := newLiveLine(out)
	defer line.end()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		var v struct {
			Stage  string `json:"stage"`
			Copies struct {
				There   int `json:"there"`
				Removed int `json:"removed"`
				Failed  int `json:"failed"`
			} `json:"copies"`
			Hooks []struct{} `json:"hooks"`
			Note  string     `json:"note"`
		}
		if _, err := c.Do(ctx, http.MethodGet, path, nil, &v); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		text := fmt.Sprintf("%s: copies removed %d, there %d, hooks %d", strings.ReplaceAll(v.Stage, "_", " "), v.Copies.Removed, v.Copies.There, len(v.Hooks))
		if v.Copies.Failed > 0 {
			text += fmt.Sprintf(", could not be removed %d", v.Copies.Failed)
		}
		if v.Note != "" {
			text += "; " + v.Note
		}
		line.show(text)
		if v.Stage == "done" {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
