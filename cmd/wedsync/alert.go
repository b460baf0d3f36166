package main

import (
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/rules/sla"
)

// withReason puts a reason for the audit trail into a path.
func withReason(path, reason string) string {
	if reason == "" {
		return path
	}
	return path + "?reason=" + url.QueryEscape(reason)
}

// alertCommand works with what is wrong with connections.
func alertCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "alert", Short: "See what is wrong with connections, and say that somebody looks after it"}
	at := func(suffix string) func([]string) string {
		return func(args []string) string { return "/v1/alerts/" + url.PathEscape(args[0]) + suffix }
	}
	var state, target, reason string
	why := func(f *pflag.FlagSet) { f.StringVar(&reason, "reason", "", "why, for the audit trail") }
	rules := func([]string) string { return "/v1/alert-rules" }
	policy := func([]string) string { return "/v1/alert-policy" }
	file := func(args []string) (any, error) { return readJSON(args[0]) }
	cmd.AddCommand(
		remoteCommand("list", "List alerts, newest first", 0, http.MethodGet, func([]string) string {
			q := url.Values{"limit": {"200"}}
			for name, v := range map[string]string{"state": state, "target": target} {
				if v != "" {
					q.Set(name, v)
				}
			}
			return "/v1/alerts?" + q.Encode()
		}, nil, func(f *pflag.FlagSet) {
			f.StringVar(&state, "state", "", "open, acknowledged or resolved")
			f.StringVar(&target, "target", "", "id of an integration or name of a provider")
		}),
		remoteCommand("get ID", "Show an alert", 1, http.MethodGet, at(""), nil, nil),
		remoteCommand("acknowledge ID", "Say that somebody looks after it; reminders and escalation stop", 1, http.MethodPost, at("/acknowledge"),
			func([]string) (any, error) { return map[string]any{"reason": reason}, nil }, why),
		remoteCommand("rules", "List what rules do otherwise than usual", 0, http.MethodGet, rules, nil, nil),
		remoteCommand("put-rule FILE", "Change a rule as the JSON in FILE says (the body of PUT /v1/alert-rules; - = standard input)", 1, http.MethodPut, rules, file, nil),
		remoteCommand("delete-rule ID", "Let a rule do as usual again", 1, http.MethodDelete,
			func(args []string) string { return withReason("/v1/alert-rules/"+url.PathEscape(args[0]), reason) }, nil, why),
		remoteCommand("policy", "Show when people are told again, and who else", 0, http.MethodGet, policy, nil, nil),
		remoteCommand("put-policy FILE", "Set reminders and escalation as the JSON in FILE says (the body of PUT /v1/alert-policy; - = standard input)", 1, http.MethodPut, policy, file, nil),
	)
	return cmd
}

// healthCommand shows how connections are observed to do.
func healthCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "health", Short: "See how integrations are observed to do, and why"}
	cmd.AddCommand(
		remoteCommand("list", "List the state of each integration with the reason of its last move", 0, http.MethodGet, func([]string) string { return "/v1/health?limit=200" }, nil, nil),
		remoteCommand("get ID", "Show the state of an integration, its reason, signals, last day and newest moves", 1, http.MethodGet,
			func(args []string) string { return "/v1/integrations/" + url.PathEscape(args[0]) + "/health" }, nil, nil),
	)
	return cmd
}

// silenceCommand works with times in which alerts are not told.
func silenceCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "silence", Short: "Have alerts noted and not told, once or again and again"}
	at := func(args []string) string { return "/v1/silences/" + url.PathEscape(args[0]) }
	var reason string
	cmd.AddCommand(
		remoteCommand("list", "List silences, newest first", 0, http.MethodGet, func([]string) string { return "/v1/silences?limit=200" }, nil, nil),
		remoteCommand("get ID", "Show a silence", 1, http.MethodGet, at, nil, nil),
		remoteCommand("create FILE", "Make a silence as the JSON in FILE says (the body of POST /v1/silences; - = standard input)", 1, http.MethodPost,
			func([]string) string { return "/v1/silences" }, func(args []string) (any, error) { return readJSON(args[0]) }, nil),
		remoteCommand("update ID FILE", "Change a silence as the JSON in FILE says (the body of PATCH /v1/silences/{id}; - = standard input)", 2, http.MethodPatch, at,
			func(args []string) (any, error) { return readJSON(args[1]) }, nil),
		remoteCommand("end ID", "End a silence; it stays in the list", 1, http.MethodDelete, func(args []string) string { return withReason(at(args), reason) }, nil,
			func(f *pflag.FlagSet) { f.StringVar(&reason, "reason", "", "why, for the audit trail") }),
	)
	return cmd
}

// objectiveCommand works with what is promised of connections.
func objectiveCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "objective", Short: "Work with what is promised of connections"}
	all := func([]string) string { return "/v1/objectives" }
	var reason string
	cmd.AddCommand(
		remoteCommand("list", "List objectives", 0, http.MethodGet, all, nil, nil),
		remoteCommand("put FILE", "Promise what the JSON in FILE says (the body of PUT /v1/objectives; - = standard input)", 1, http.MethodPut, all,
			func(args []string) (any, error) { return readJSON(args[0]) }, nil),
		remoteCommand("delete ID", "Take a promise back", 1, http.MethodDelete, func(args []string) string { return withReason("/v1/objectives/"+url.PathEscape(args[0]), reason) }, nil,
			func(f *pflag.FlagSet) { f.StringVar(&reason, "reason", "", "why, for the audit trail") }),
	)
	return cmd
}

// slaCommand shows what became of what was promised.
func slaCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "sla", Short: "Show what became of what was promised, and how far connections can be relied on"}
	cmd.AddCommand(
		remoteCommand("report PERIOD", "Show the report of a month such as 2026-11 or a year such as 2026", 1, http.MethodGet,
			func(args []string) string { return "/v1/sla/" + url.PathEscape(args[0]) }, nil, nil),
		remoteCommand("scores", "List how far connections can be relied on", 0, http.MethodGet, func([]string) string { return "/v1/scores?limit=200" }, nil, nil),
		remoteCommand("score ID", "Show how far a connection can be relied on, and why", 1, http.MethodGet,
			func(args []string) string { return "/v1/integrations/" + url.PathEscape(args[0]) + "/score" }, nil, nil),
		slaCSVCommand(),
	)
	return cmd
}

// slaCSVCommand prints a report for a spreadsheet.
func slaCSVCommand() *cobra.Command {
	r := &remote{}
	cmd := &cobra.Command{
		Use: "csv PERIOD", Short: "Print the report of a month or a year as CSV", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var report sla.Report
			if err := r.do(cmd, http.MethodGet, "/v1/sla/"+url.PathEscape(args[0]), nil, &report); err != nil {
				return err
			}
			return sla.WriteCSV(cmd.OutOrStdout(), report)
		},
	}
	settings(cmd, &app.Config{}, r.flags)
	return cmd
}
