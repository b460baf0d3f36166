package main

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
)

func holdCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "hold", Short: "Keep times for somebody who has not decided yet"}
	at := func(suffix string) func([]string) string {
		return func(args []string) string { return "/v1/holds/" + url.PathEscape(args[0]) + suffix }
	}
	var reason, override, state string
	var minutes int
	why := func(f *pflag.FlagSet) { f.StringVar(&reason, "reason", "", "why, for the audit trail") }
	cmd.AddCommand(
		placeHoldCommand(),
		remoteCommand("list", "List holds, newest first", 0, http.MethodGet, func([]string) string {
			return "/v1/holds?limit=200&" + query(map[string]string{"state": state})
		}, nil, func(f *pflag.FlagSet) {
			f.StringVar(&state, "state", "held", "held, confirmed, released, expired or lost")
		}),
		remoteCommand("show ID", "Show a hold, and which systems show it since when", 1, http.MethodGet, at(""), nil, nil),
		remoteCommand("extend ID", "Keep the time for longer, counted from now", 1, http.MethodPost, at("/extend"),
			func([]string) (any, error) {
				return map[string]any{"expires_in_minutes": minutes, "reason": reason}, nil
			},
			func(f *pflag.FlagSet) { why(f); f.IntVar(&minutes, "minutes", 2880, "how long, up to 129600") }),
		remoteCommand("release ID", "Give the time back", 1, http.MethodPost, at("/release"),
			func([]string) (any, error) { return map[string]any{"reason": reason}, nil }, why),
		remoteCommand("confirm ID", "Make it a confirmed booking; systems that are not fresh are read first", 1, http.MethodPost, at("/confirm"),
			func([]string) (any, error) { return map[string]any{"reason": reason, "override": override}, nil },
			func(f *pflag.FlagSet) {
				why(f)
				f.StringVar(&override, "override", "", "confirm although systems could not be read, and why")
			}),
	)
	return cmd
}

// placeHoldCommand may send a key, so that it can be repeated.
func placeHoldCommand() *cobra.Command {
	r := &remote{}
	var key string
	cmd := &cobra.Command{
		Use: "place FILE", Short: "Hold a time as the JSON in FILE says (the body of POST /v1/holds; - = standard input)", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := readJSON(args[0])
			if err != nil {
				return err
			}
			c, err := r.client()
			if err != nil {
				return err
			}
			defer c.Close()
			return placeHold(cmd, c, body, key)
		},
	}
	settings(cmd, &app.Config{}, r.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.StringVar(&key, "key", "", "chosen by you; the same key again answers with the same hold")
	})
	return cmd
}

func placeHold(cmd *cobra.Command, c *apiclient.Client, body any, key string) error {
	var out any
	if _, err := c.DoWithKey(cmd.Context(), http.MethodPost, "/v1/holds", key, body, &out); err != nil {
		return err
	}
	return printJSON(cmd.OutOrStdout(), out)
}

// query writes what is set as the parameters of a request.
func query(set map[string]string) string {
	q := url.Values{}
	for name, value := range set {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q.Encode()
}

func availabilityCommand() *cobra.Command {
	var from, to, category, zone string
	var minutes int
	return remoteCommand("availability RESOURCE[,RESOURCE...]", "Show when resources are free, and why not at other times", 1, http.MethodGet,
		func(args []string) string {
			return "/v1/availability?" + query(map[string]string{"resource": args[0], "from": from, "to": to, "category": category, "zone": zone,
				"duration_minutes": strconv.Itoa(minutes)})
		}, nil, func(f *pflag.FlagSet) {
			f.StringVar(&from, "from", "", "start of the window, such as 2027-06-01T00:00:00Z")
			f.StringVar(&to, "to", "", "end of the window, at most 400 days later")
			f.StringVar(&category, "category", "wedding", "wedding, engagement, vendor, consultation, travel, hold, maintenance or personal")
			f.IntVar(&minutes, "minutes", 480, "how long the booking is")
			f.StringVar(&zone, "zone", "", "IANA zone in which times are told; UTC where absent")
		})
}

func whoIsFreeCommand() *cobra.Command {
	var category, duration, skill, kind, zone, after string
	var limit int
	return remoteCommand("who-is-free DATE", "Show who is free on a date, such as 2027-06-12", 1, http.MethodGet,
		func(args []string) string {
			return "/v1/availability/search?" + query(map[string]string{"date": args[0], "category": category, "duration": duration, "skill": skill, "kind": kind,
				"zone": zone, "after": after, "limit": strconv.Itoa(limit)})
		}, nil, func(f *pflag.FlagSet) {
			f.StringVar(&category, "category", "wedding", "wedding, engagement, vendor, consultation, travel, hold, maintenance or personal")
			f.StringVar(&duration, "duration", "8h", "how long the booking is, such as 8h or 90m")
			f.StringVar(&skill, "skill", "", "skills that the resource must have, parted by commas")
			f.StringVar(&kind, "kind", "", "person, team or room")
			f.StringVar(&zone, "zone", "", "IANA zone in which the date is meant; the organisation's where absent")
			f.IntVar(&limit, "limit", 50, "resources shown, up to 200")
			f.StringVar(&after, "after", "", "the next of the page before")
		})
}

func suggestCommand() *cobra.Command {
	var booking, conflict, resource, category, start, end, zone, skill string
	var most int
	return remoteCommand("suggest", "Show other times, other resources and exchanges for a booking, for a conflict, or for a booking that does not exist yet", 0, http.MethodGet,
		func([]string) string {
			return "/v1/suggestions?" + query(map[string]string{"booking": booking, "conflict": conflict, "resource": resource, "category": category, "start": start,
				"end": end, "zone": zone, "skill": skill, "max": strconv.Itoa(most)})
		}, nil, func(f *pflag.FlagSet) {
			f.StringVar(&booking, "booking", "", "id of a booking")
			f.StringVar(&conflict, "conflict", "", "id of a conflict")
			f.StringVar(&resource, "resource", "", "resource of a booking that does not exist yet, with --category, --start and --end")
			f.StringVar(&category, "category", "", "its category")
			f.StringVar(&start, "start", "", "its start, such as 2027-06-05T12:00:00Z")
			f.StringVar(&end, "end", "", "its end")
			f.StringVar(&zone, "zone", "", "IANA zone whose clock it keeps on other dates")
			f.StringVar(&skill, "skill", "", "what another resource must have, parted by commas")
			f.IntVar(&most, "max", 5, "ways at most, of each sort")
		})
}
