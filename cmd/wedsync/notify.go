package main

import (
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// recipientCommand works with the people who are told of what concerns them.
func recipientCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "recipient", Short: "Work with the people who are told of conflicts and broken connections"}
	at := func(args []string) string { return "/v1/recipients/" + url.PathEscape(args[0]) }
	all := func([]string) string { return "/v1/recipients" }
	var reason string
	var channels []string
	cmd.AddCommand(
		remoteCommand("list", "List the people who are told", 0, http.MethodGet, func([]string) string { return "/v1/recipients?limit=200" }, nil, nil),
		remoteCommand("get ID", "Show a person's addresses and preferences", 1, http.MethodGet, at, nil, nil),
		remoteCommand("create FILE", "Add a person as the JSON in FILE says (the body of POST /v1/recipients; - = standard input)", 1, http.MethodPost, all,
			func(args []string) (any, error) { return readJSON(args[0]) }, nil),
		remoteCommand("update ID FILE", "Change a person as the JSON in FILE says (the body of PATCH /v1/recipients/{id}; - = standard input)", 2, http.MethodPatch, at,
			func(args []string) (any, error) { return readJSON(args[1]) }, nil),
		remoteCommand("test ID", "Send a person a sample message, to see whether it arrives; notification list shows what became of it", 1, http.MethodPost,
			func(args []string) string { return at(args) + "/test" },
			func([]string) (any, error) {
				body := map[string]any{}
				if len(channels) > 0 {
					body["channels"] = channels
				}
				return body, nil
			}, func(f *pflag.FlagSet) {
				f.StringSliceVar(&channels, "channel", nil, "email, slack, webhook, live or pagerduty; may be repeated; without one every way for which there is an address")
			}),
		remoteCommand("delete ID", "End a person's notifications and wipe name and addresses", 1, http.MethodDelete,
			func(args []string) string {
				path := at(args)
				if reason != "" {
					path += "?reason=" + url.QueryEscape(reason)
				}
				return path
			}, nil, func(f *pflag.FlagSet) { f.StringVar(&reason, "reason", "", "why, for the audit trail") }),
	)
	return cmd
}

// notificationCommand shows who was told of what.
func notificationCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "notification", Short: "See who was told of what, and what became of it"}
	at := func(suffix string) func([]string) string {
		return func(args []string) string { return "/v1/notifications/" + url.PathEscape(args[0]) + suffix }
	}
	var state, recipient, subject, reason, kind string
	why := func(f *pflag.FlagSet) { f.StringVar(&reason, "reason", "", "why, for the audit trail") }
	because := func([]string) (any, error) { return map[string]any{"reason": reason}, nil }
	cmd.AddCommand(
		remoteCommand("list", "List notifications, newest first", 0, http.MethodGet, func([]string) string {
			q := url.Values{"limit": {"200"}}
			for name, v := range map[string]string{"state": state, "recipient": recipient, "subject": subject} {
				if v != "" {
					q.Set(name, v)
				}
			}
			return "/v1/notifications?" + q.Encode()
		}, nil, func(f *pflag.FlagSet) {
			f.StringVar(&state, "state", "", "queued, held, retrying, sent, failed or suppressed")
			f.StringVar(&recipient, "recipient", "", "id of a recipient")
			f.StringVar(&subject, "subject", "", "what it is about, such as conflict/ID")
		}),
		remoteCommand("get ID", "Show where a notification stands", 1, http.MethodGet, at(""), nil, nil),
		remoteCommand("acknowledge ID", "Say that somebody knows; reminders about it stop", 1, http.MethodPost, at("/acknowledge"), because, why),
		remoteCommand("resend ID", "Send it once more, at once", 1, http.MethodPost, at("/resend"), because, why),
		remoteCommand("preview", "See what a message would say; nothing is sent", 0, http.MethodPost, func([]string) string { return "/v1/notifications:preview" },
			func([]string) (any, error) {
				body := map[string]any{"kind": kind}
				for name, v := range map[string]string{"recipient": recipient, "subject": subject} {
					if v != "" {
						body[name] = v
					}
				}
				return body, nil
			}, func(f *pflag.FlagSet) {
				f.StringVar(&kind, "kind", "conflict_opened", "what is told, such as conflict_opened, conflict_reminder, needs_reconnect or sync_stale")
				f.StringVar(&recipient, "recipient", "", "id of a recipient whose name and zone to use")
				f.StringVar(&subject, "subject", "", "a real thing to tell of, such as conflict/ID; empty = a made-up one")
			}),
	)
	return cmd
}
