package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/demo"
)

// playedFile marks a data folder in which the demo was told already.
const playedFile = "demo-told"

func devCommand() *cobra.Command {
	o := app.DevOptions{Config: app.Defaults()}
	o.Config.LogLevel = "info"
	var noDemo bool
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything on this machine: Postgres, Temporal with its UI, server, worker and the demo",
		Long: "Run everything on this machine: a private Postgres and Temporal with its UI, server and worker in one process, and the demo once.\n" +
			"State lives in the data folder; the next start goes on where this one ended. When all is ready, DIR/ready.json tells scripts where.\n" +
			"DATABASE_URL and TEMPORAL_ADDRESS, if set, are used instead of private servers.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Out, o.Terminal = cmd.OutOrStdout(), os.Stderr
			dir := o.DataDir
			if o.Ephemeral && !cmd.Flags().Changed("data-dir") {
				o.DataDir, dir = "", ""
			}
			o.Serving = func(ctx context.Context, r app.Ready) error { return serveDev(ctx, cmd.OutOrStdout(), dir, r, noDemo) }
			err := app.Dev(cmd.Context(), o)
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), "stopped; nothing is left running")
			}
			return err
		},
	}
	settings(cmd, &o.Config, logSettings, traceSettings, consentSettings, mailSettings, func(f *pflag.FlagSet, _ *app.Config) {
		f.StringVar(&o.DataDir, "data-dir", ".wedsync", "folder of all state")
		f.StringVar(&o.HTTPAddr, "http-addr", "127.0.0.1:8080", "address of API and dashboard; port 0 = any free one")
		f.IntVar(&o.TemporalPort, "temporal-port", 0, "port of Temporal; 0 = as last time, else any free one")
		f.IntVar(&o.UIPort, "ui-port", 0, "port of Temporal UI; 0 = as last time, else any free one")
		f.BoolVar(&noDemo, "no-demo", false, "do not tell the demo")
		f.BoolVar(&o.Ephemeral, "ephemeral", false, "keep state in a temporary folder and remove it at the end")
	})
	return cmd
}

// serveDev tells the demo the first time, prints where everything is, and waits.
func serveDev(ctx context.Context, out io.Writer, dir string, r app.Ready, noDemo bool) error {
	played := filepath.Join(dir, playedFile)
	_, err := os.Stat(played)
	if !noDemo && (dir == "" || err != nil) {
		fmt.Fprintln(out, "\nthe demo, told once; it is also the end-to-end test (make demo):")
		story := demo.Run(ctx, demo.Target{HTTP: r.HTTP, AdminToken: r.AdminToken, TemporalUI: r.TemporalUI}, demo.Options{Out: out})
		defer story.Close(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if story.Err() == nil && dir != "" {
			if err := os.WriteFile(played, []byte(time.Now().UTC().Format(time.RFC3339)+"\n"), 0o600); err != nil {
				return fmt.Errorf("note that the demo was told: %w", err)
			}
		}
	}
	if dir == "" {
		dir = "temporary, removed at the end"
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n  dashboard and API\t%s  (documentation at %s/docs)\n", r.HTTP, r.HTTP)
	if r.TemporalUI != "" {
		fmt.Fprintf(w, "  Temporal UI\t%s\n", r.TemporalUI)
		fmt.Fprintf(w, "  codec endpoint\t%s/codec  (set in Temporal UI already)\n", r.HTTP)
	}
	fmt.Fprintf(w, "  admin token\t%s\n", r.AdminToken)
	fmt.Fprintf(w, "  data folder\t%s  (logs in logs/)\n", dir)
	fmt.Fprintf(w, "  to stop\tCtrl-C\n\n")
	if err := w.Flush(); err != nil {
		return err
	}
	<-ctx.Done()
	fmt.Fprintln(out, "\nstopping: requests in flight finish, then Temporal and Postgres stop")
	return nil
}

func demoCommand() *cobra.Command {
	var dir, url, admin, ui string
	var builtin bool
	cfg := app.Defaults()
	cfg.LogLevel = "error"
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Tell the main job as a story, each step asserted, on a running stack or on its own",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			tell := func(ctx context.Context, t demo.Target) error {
				story := demo.Run(ctx, t, demo.Options{Out: out, Builtin: builtin})
				story.Close(ctx)
				return story.Err()
			}
			switch {
			case url != "":
				return tell(cmd.Context(), demo.Target{HTTP: url, AdminToken: admin, TemporalUI: ui})
			case dir != "":
				r, err := app.ReadReady(dir)
				if err != nil {
					return err
				}
				return tell(cmd.Context(), demo.Target{HTTP: r.HTTP, AdminToken: r.AdminToken, TemporalUI: r.TemporalUI})
			}
			fmt.Fprintln(out, "starting a stack of its own, with state that is thrown away")
			// The verdict must be the last line, so the stack stops silently.
			var verdict error
			err := app.Dev(cmd.Context(), app.DevOptions{HTTPAddr: "127.0.0.1:0", Ephemeral: true, Private: true, Config: cfg, Out: out, Terminal: os.Stderr,
				Serving: func(ctx context.Context, r app.Ready) error {
					verdict = tell(ctx, demo.Target{HTTP: r.HTTP, AdminToken: r.AdminToken, TemporalUI: r.TemporalUI})
					return nil
				}})
			if verdict != nil {
				return verdict
			}
			return err
		},
	}
	settings(cmd, &cfg, logSettings, func(f *pflag.FlagSet, _ *app.Config) {
		f.StringVar(&dir, "data-dir", "", "data folder of a running stack (wedsync dev) to tell it on")
		f.StringVar(&url, "url", "", "base URL of a running stack to tell it on")
		f.StringVar(&admin, "token", "", "admin token for --url")
		f.StringVar(&ui, "temporal-ui", "", "base URL of Temporal UI for --url")
		f.BoolVar(&builtin, "builtin-calendar", false, "use the simulated calendar also where Radicale is installed")
	})
	return cmd
}
