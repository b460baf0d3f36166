package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/guard"
)

func quarantineCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "quarantine", Short: "Decide about removals that were too many at once"}
	at := func(suffix string) func([]string) string {
		return func(args []string) string { return "/v1/quarantines/" + url.PathEscape(args[0]) + suffix }
	}
	var reason, state string
	why := func(f *pflag.FlagSet) { f.StringVar(&reason, "reason", "", "why, for the audit trail") }
	because := func([]string) (any, error) { return map[string]any{"reason": reason}, nil }
	cmd.AddCommand(
		remoteCommand("list", "List held removals, newest first", 0, http.MethodGet, func([]string) string {
			q := url.Values{"limit": {"200"}}
			if state != "" {
				q.Set("state", state)
			}
			return "/v1/quarantines?" + q.Encode()
		}, nil, func(f *pflag.FlagSet) {
			f.StringVar(&state, "state", "open", "open, approved, restored or expired; empty for all")
		}),
		remoteCommand("show ID", "Show held removals with the bookings that would go", 1, http.MethodGet, at("?limit=200"), nil, nil),
		remoteCommand("approve ID", "Carry the removals out; each is proved once more, and what is there after all stays", 1, http.MethodPost, at("/approve"), because, why),
		remoteCommand("restore ID", "Keep the bookings, and write them back where the connection writes", 1, http.MethodPost, at("/restore"), because, why),
	)
	return cmd
}

func deleteIntegrationCommand() *cobra.Command {
	var purge bool
	return riskyCommand("delete ID", "Disconnect for good", 1, http.MethodDelete, func(args []string) string {
		path := "/v1/integrations/" + url.PathEscape(args[0])
		if purge {
			path += "?purge=true"
		}
		return path
	}, nil, func(f *pflag.FlagSet) {
		f.BoolVar(&purge, "purge", false, "take our copies out of the system first; it is deleted when none is left")
	})
}

func purgeCommand() *cobra.Command {
	r := &remote{}
	var dry, status bool
	var reason string
	cmd := &cobra.Command{
		Use: "purge ID", Short: "Take every copy that WedSync wrote out of a system; its own entries are not touched", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/v1/integrations/" + url.PathEscape(args[0]) + "/purge"
			if status {
				return r.call(cmd, http.MethodGet, path, nil)
			}
			return r.call(cmd, http.MethodPost, path, map[string]any{"dry_run": dry, "reason": reason})
		},
	}
	settings(cmd, &app.Config{}, r.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.BoolVar(&dry, "dry-run", false, "only count the copies")
		f.BoolVar(&status, "status", false, "only show how far the last purge is")
		f.StringVar(&reason, "reason", "", "why, for the audit trail")
		r.overrideFlag(f)
	})
	return cmd
}

func planCommand() *cobra.Command {
	return textCommand("plan ID", "Show what reading a system now would do; nothing is stored", 1, http.MethodPost,
		func(args []string) string { return "/v1/integrations/" + url.PathEscape(args[0]) + "/plan" }, printPlan, nil)
}

// printPlan writes a line for each entry and the counts below.
func printPlan(w io.Writer, p *guard.Plan) error {
	var b strings.Builder
	for _, e := range p.Entries {
		when := ""
		if !e.When.Start.IsZero() {
			when = " " + e.When.Start.UTC().Format(time.RFC3339)
		}
		name := e.ExternalID
		if name == "" {
			name = "booking " + string(e.BookingID)
		}
		fmt.Fprintf(&b, "%-7s %s%s", e.Action, name, when)
		if e.Title != "" {
			fmt.Fprintf(&b, " %q", e.Title)
		}
		fmt.Fprintf(&b, ": %s", e.Reason)
		if len(e.Fields) > 0 {
			fmt.Fprintf(&b, " (%s)", strings.Join(e.Fields, ", "))
		}
		for _, x := range e.Writes {
			fmt.Fprintf(&b, "; %s in %s", x.Op, x.IntegrationID)
		}
		b.WriteString("\n")
	}
	if p.Unlisted > 0 {
		fmt.Fprintf(&b, "… and %d more\n", p.Unlisted)
	}
	var counts []string
	for action, n := range p.Counts {
		counts = append(counts, fmt.Sprintf("%s %d", action, n))
	}
	slices.Sort(counts)
	fmt.Fprintf(&b, "read %d on %d pages: %s; writes to other systems %d\n", p.Read, p.Pages, strings.Join(counts, ", "), p.Writes)
	switch {
	case p.Stopped != "":
		fmt.Fprintf(&b, "stopped early: %s, so missing entries were not looked for\n", p.Stopped)
	case !p.Complete:
		b.WriteString("the system does not tell when it has named everything, so missing entries were not looked for\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func explainCommand() *cobra.Command {
	var integration, externalID string
	r := &remote{}
	cmd := &cobra.Command{
		Use:   "explain [BOOKING]",
		Short: "Explain a booking, or an entry of a system (--integration and --external-id): where it is from, who shows it and why, every change",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && integration == "" && externalID == "":
				return r.call(cmd, http.MethodGet, "/v1/bookings/"+url.PathEscape(args[0])+"/explain", nil)
			case len(args) == 0 && integration != "" && externalID != "":
				return r.call(cmd, http.MethodGet, "/v1/integrations/"+url.PathEscape(integration)+"/explain?"+url.Values{"external_id": {externalID}}.Encode(), nil)
			}
			return domain.Invalid("BOOKING", "is required, or --integration and --external-id together instead")
		},
	}
	settings(cmd, &app.Config{}, r.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.StringVar(&integration, "integration", "", "the integration of the entry")
		f.StringVar(&externalID, "external-id", "", "the system's own id of the entry")
	})
	return cmd
}
