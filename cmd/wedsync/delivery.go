package main

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/domain"
)

// choice is the filter that deliveries are listed and replayed by.
type choice struct {
	integration, state, eventType, entity, from, to string
}

func (c *choice) flags(f *pflag.FlagSet) {
	f.StringVar(&c.integration, "integration", "", "of this integration")
	f.StringVar(&c.state, "state", "", "in this state")
	f.StringVar(&c.eventType, "event-type", "", "the vendor's word for what happened")
	f.StringVar(&c.entity, "entity", "", "external id of the first entry in it")
	f.StringVar(&c.from, "from", "", "stored at or after this (RFC 3339)")
	f.StringVar(&c.to, "to", "", "stored before this (RFC 3339)")
}

// fields returns what is set, by the API's names.
func (c *choice) fields() (map[string]string, error) {
	out := map[string]string{}
	for name, v := range map[string]string{"integration": c.integration, "state": c.state, "event_type": c.eventType, "entity": c.entity, "from": c.from, "to": c.to} {
		if v == "" {
			continue
		}
		if name == "from" || name == "to" {
			if _, err := time.Parse(time.RFC3339, v); err != nil {
				return nil, domain.Invalid(name, "must be a time such as 2027-06-12T09:00:00Z")
			}
		}
		out[name] = v
	}
	return out, nil
}

func deliveryCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "delivery", Short: "Search received webhooks, and settle those that did not work"}
	at := func(suffix string) func([]string) string {
		return func(args []string) string { return "/v1/deliveries/" + url.PathEscape(args[0]) + suffix }
	}
	var reason string
	why := func(f *pflag.FlagSet) { f.StringVar(&reason, "reason", "", "why, for the audit trail") }
	because := func([]string) (any, error) { return map[string]any{"reason": reason}, nil }
	cmd.AddCommand(
		listDeliveriesCommand(),
		remoteCommand("show ID", "Show a webhook with its tries", 1, http.MethodGet, at(""), nil, nil),
		remoteCommand("schedule", "Show when webhooks are tried again", 0, http.MethodGet, func([]string) string { return "/v1/deliveries/schedule" }, nil, nil),
		riskyCommand("replay ID", "Hand a webhook in once more", 1, http.MethodPost, at("/replay"), because, why),
		remoteCommand("discard ID", "Settle a dead webhook that is not to be applied (--reason is required)", 1, http.MethodPost, at("/discard"), because, why),
	)
	return cmd
}

func listDeliveriesCommand() *cobra.Command {
	var c choice
	var replay, origin, after string
	var limit int
	var fault error
	path := func([]string) string {
		fields, err := c.fields()
		fault = err
		q := url.Values{"limit": {strconv.Itoa(limit)}}
		for name, v := range map[string]string{"replay": replay, "origin": origin, "after": after} {
			if v != "" {
				q.Set(name, v)
			}
		}
		for name, v := range fields {
			q.Set(name, v)
		}
		return "/v1/deliveries?" + q.Encode()
	}
	cmd := remoteCommand("list", "Search webhooks, newest first", 0, http.MethodGet, path, func(args []string) (any, error) {
		path(args)
		return nil, fault
	}, func(f *pflag.FlagSet) {
		c.flags(f)
		f.StringVar(&replay, "replay", "", "made by this replay")
		f.StringVar(&origin, "origin", "", "replays of this delivery")
		f.StringVar(&after, "after", "", "the next of the page before")
		f.IntVar(&limit, "limit", 50, "entries, 1 to 200")
	})
	return cmd
}

func replayCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "replay", Short: "Hand many webhooks in once more, or find out what that would do"}
	at := func(suffix string) func([]string) string {
		return func(args []string) string { return "/v1/replays/" + url.PathEscape(args[0]) + suffix }
	}
	var c choice
	var reason string
	var all, dry bool
	var rate int
	why := func(f *pflag.FlagSet) { f.StringVar(&reason, "reason", "", "why, for the audit trail") }
	because := func([]string) (any, error) { return map[string]any{"reason": reason}, nil }
	cmd.AddCommand(
		riskyCommand("start", "Replay what the filter chooses", 0, http.MethodPost, func([]string) string { return "/v1/replays" },
			func([]string) (any, error) {
				fields, err := c.fields()
				return map[string]any{"filter": fields, "all": all, "dry_run": dry, "rate": rate, "reason": reason}, err
			},
			func(f *pflag.FlagSet) {
				c.flags(f)
				why(f)
				f.BoolVar(&all, "all", false, "required for a filter that chooses everything")
				f.BoolVar(&dry, "dry-run", false, "only find out what would happen")
				f.IntVar(&rate, "rate", domain.DefaultReplayRate, "deliveries a second, 1 to 1000")
			}),
		remoteCommand("list", "List replays, newest first", 0, http.MethodGet, func([]string) string { return "/v1/replays?limit=200" }, nil, nil),
		remoteCommand("show ID", "Show a replay and its progress", 1, http.MethodGet, at(""), nil, nil),
		remoteCommand("pause ID", "Stop a replay for a while", 1, http.MethodPost, at("/pause"), because, why),
		riskyCommand("resume ID", "Let a paused replay go on", 1, http.MethodPost, at("/resume"), because, why),
		remoteCommand("cancel ID", "End a replay where it is; what it handed in stays", 1, http.MethodPost, at("/cancel"), because, why),
	)
	return cmd
}
