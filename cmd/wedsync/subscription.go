package main

import (
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/domain"
)

func subscriptionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "subscription", Short: "Have outgoing webhooks sent, and work with their receivers"}
	at := func(suffix string) func([]string) string {
		return func(args []string) string { return "/v1/subscriptions/" + args[0] + suffix }
	}
	var (
		reason, description, from                 string
		topics, weddings, integrations, resources []string
		overlap                                   time.Duration
	)
	why := func(f *pflag.FlagSet) { f.StringVar(&reason, "reason", "", "why, for the audit trail") }
	add := func(args []string) (any, error) {
		return map[string]any{"url": args[0], "description": description, "reason": reason, "filter": domain.EventFilter{Topics: topics,
			Weddings: asIDs[domain.BookingID](weddings), Integrations: asIDs[domain.IntegrationID](integrations), Resources: asIDs[domain.ResourceID](resources)}}, nil
	}
	cmd.AddCommand(
		remoteCommand("list", "List subscriptions", 0, http.MethodGet, func([]string) string { return "/v1/subscriptions?limit=200" }, nil, nil),
		remoteCommand("get ID", "Show a subscription", 1, http.MethodGet, at(""), nil, nil),
		remoteCommand("attempts ID", "Show the last attempts, newest first", 1, http.MethodGet, at("/attempts?limit=50"), nil, nil),
		remoteCommand("add URL", "Send events to URL; prints the signing secret, once", 1, http.MethodPost, func([]string) string { return "/v1/subscriptions" }, add,
			func(f *pflag.FlagSet) {
				why(f)
				f.StringVar(&description, "description", "", "label for people; no personal data")
				f.StringSliceVar(&topics, "topics", nil, "topics such as delivery.dead, or delivery.* for all below one; empty = all")
				f.StringSliceVar(&weddings, "weddings", nil, "ids of bookings that events must name")
				f.StringSliceVar(&integrations, "integrations", nil, "ids of integrations that events must name")
				f.StringSliceVar(&resources, "resources", nil, "ids of resources that events must name")
			}),
		remoteCommand("pause ID", "Stop sending; the position is kept", 1, http.MethodPost, at("/pause"),
			func([]string) (any, error) { return map[string]any{"reason": reason}, nil }, why),
		remoteCommand("resume ID", "Go on after a pause or after it was disabled", 1, http.MethodPost, at("/resume"),
			func([]string) (any, error) { return map[string]any{"from": from, "reason": reason}, nil },
			func(f *pflag.FlagSet) {
				why(f)
				f.StringVar(&from, "from", "cursor", "cursor: send what was missed; now: leave it out")
			}),
		remoteCommand("rotate ID", "Add a signing secret, printed once, and let the others end", 1, http.MethodPost, at("/secrets"),
			func([]string) (any, error) {
				return map[string]any{"overlap_seconds": int64(overlap / time.Second), "reason": reason}, nil
			},
			func(f *pflag.FlagSet) {
				why(f)
				f.DurationVar(&overlap, "overlap", 24*time.Hour, "how long the secrets of before sign beside the new one, up to 720h")
			}),
		remoteCommand("remove ID", "End a subscription for good", 1, http.MethodDelete, at(""), nil, nil),
		remoteCommand("test ID", "Send a test message and show the answer", 1, http.MethodPost, at("/test"), nil, nil),
	)
	return cmd
}

func asIDs[T domain.AnyID](texts []string) []T {
	var out []T
	for _, s := range texts {
		out = append(out, T(s))
	}
	return out
}
