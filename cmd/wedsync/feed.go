package main

import (
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// feedCommand publishes the calendar of a resource for people who subscribe to it by its address.
func feedCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "feed", Short: "Publish a resource's calendar, list and revoke what is published"}
	list := func(args []string) string { return "/v1/resources/" + args[0] + "/feeds" }
	var label, detail, reason string
	var past, future int
	cmd.AddCommand(
		remoteCommand("create RESOURCE", "Publish the calendar of a resource; its address is shown this once", 1, http.MethodPost, list,
			func([]string) (any, error) {
				return map[string]any{"label": label, "detail": detail, "past_days": past, "future_days": future, "reason": reason}, nil
			}, func(f *pflag.FlagSet) {
				f.StringVar(&label, "label", "Bookings", "name of the calendar as subscribers see it; no personal data")
				f.StringVar(&detail, "detail", "busy", "busy tells only that time is taken, titles adds titles and places of what is not private")
				f.IntVar(&past, "past-days", 30, "how far the feed goes back, in days")
				f.IntVar(&future, "future-days", 730, "how far the feed looks ahead, in days")
				f.StringVar(&reason, "reason", "", "why, for the audit trail")
			}),
		remoteCommand("list RESOURCE", "List the published calendars of a resource with their last readings", 1, http.MethodGet,
			func(args []string) string { return list(args) + "?limit=200" }, nil, nil),
		remoteCommand("revoke RESOURCE FEED", "End a published calendar for good", 2, http.MethodDelete,
			func(args []string) string {
				path := list(args) + "/" + args[1]
				if reason != "" {
					path += "?reason=" + url.QueryEscape(reason)
				}
				return path
			}, nil, func(f *pflag.FlagSet) { f.StringVar(&reason, "reason", "", "why, for the audit trail") }),
	)
	return cmd
}
