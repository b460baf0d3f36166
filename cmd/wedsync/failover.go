package main

import (
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

func failoverCommand() *cobra.Command {
	r := &remote{}
	var to, reason string
	cmd := &cobra.Command{
		Use: "failover ID", Short: "Show how news of an integration come, or send it over to quick polls and back", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/v1/integrations/" + url.PathEscape(args[0]) + "/failover"
			switch to {
			case "":
				return r.call(cmd, http.MethodGet, path, nil)
			case contract.FailoverToPolling, contract.FailoverToWebhooks:
				return r.call(cmd, http.MethodPost, path, map[string]any{"to": to, "reason": reason})
			}
			return domain.Invalid("--to", "must be polling or webhooks")
		},
	}
	settings(cmd, &app.Config{}, r.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.StringVar(&to, "to", "", "polling: read it quickly until told otherwise; webhooks: back, after a closing poll; empty only shows")
		f.StringVar(&reason, "reason", "", "why, for the audit trail")
	})
	return cmd
}

func drillCommand() *cobra.Command {
	r := &remote{}
	var reason string
	var show, list bool
	every := -1
	cmd := &cobra.Command{
		Use:   "drill [ID]",
		Short: "Exercise failing over: let what the system of an integration posts lie for a while, and report",
		Long: "Exercise failing over: what the system of integration ID posts is left lying for a while, and everything that ought to happen then is\n" +
			"watched: that it is noticed, that polls bring the changes, once, and that it goes back. Nothing is lost: what lay is applied\n" +
			"afterwards. With --show ID is the id of a drill, whose report is printed; without ID drills are listed, or scheduled by --every.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && show:
				return r.call(cmd, http.MethodGet, "/v1/drills/"+url.PathEscape(args[0]), nil)
			case len(args) == 1 && list:
				return r.call(cmd, http.MethodGet, "/v1/drills?"+url.Values{"integration_id": {args[0]}}.Encode(), nil)
			case len(args) == 1:
				return r.call(cmd, http.MethodPost, "/v1/integrations/"+url.PathEscape(args[0])+"/drill", map[string]any{"reason": reason})
			case every >= 0:
				return r.call(cmd, http.MethodPut, "/v1/drill-schedule", map[string]any{"every_days": every, "reason": reason})
			}
			return r.call(cmd, http.MethodGet, "/v1/drills", nil)
		},
	}
	settings(cmd, &app.Config{}, r.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.BoolVar(&show, "show", false, "ID is a drill: print its report")
		f.BoolVar(&list, "list", false, "list the drills of integration ID")
		f.IntVar(&every, "every", every, "without ID: exercise one connection of the organisation every so many days; 0 = never")
		f.StringVar(&reason, "reason", "", "why, for the audit trail")
	})
	return cmd
}
