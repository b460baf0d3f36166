package main

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// maintenanceCommand works with windows in which connections rest.
func maintenanceCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "maintenance", Short: "Let connections rest when no wedding is near, and see that nothing is lost"}
	at := func(suffix string) func([]string) string {
		return func(args []string) string { return "/v1/maintenance/" + url.PathEscape(args[0]) + suffix }
	}
	var reason, state, from, until, platform, integration, when, starts, ends string
	var minutes, limit int
	var short, all bool
	why := func(f *pflag.FlagSet) { f.StringVar(&reason, "reason", "", "why, for the audit trail") }
	notice := func(f *pflag.FlagSet) {
		f.BoolVar(&short, "short-notice", false, "let it begin before the usual notice")
	}
	file := func(args []string) (any, error) { return readJSON(args[0]) }
	wishes := func([]string) string { return "/v1/maintenance-settings" }
	cmd.AddCommand(
		remoteCommand("propose", "Show the best times that weddings, settings and other windows leave free", 0, http.MethodGet, func([]string) string {
			return "/v1/maintenance-proposals?" + query(map[string]string{"duration_minutes": strconv.Itoa(minutes), "from": from, "until": until, "platform": platform,
				"integration": integration, "limit": strconv.Itoa(limit)})
		}, nil, func(f *pflag.FlagSet) {
			f.IntVar(&minutes, "minutes", 60, "how long the window is to be, 5 to 720")
			f.StringVar(&from, "from", "", "where the search begins, as RFC 3339; now if absent")
			f.StringVar(&until, "until", "", "where it ends; 30 days later if absent")
			f.StringVar(&platform, "platform", "", "for the connections of a provider")
			f.StringVar(&integration, "integration", "", "for one connection")
			f.IntVar(&limit, "limit", 5, "how many, 1 to 20")
		}),
		remoteCommand("list", "List windows, newest first", 0, http.MethodGet, func([]string) string {
			q := map[string]string{"limit": "200", "state": state}
			if !all && state == "" {
				q["open"] = "true"
			}
			return "/v1/maintenance?" + query(q)
		}, nil, func(f *pflag.FlagSet) {
			f.StringVar(&state, "state", "", "proposed, approved, announced, draining, running, replaying, done, cancelled or refused")
			f.BoolVar(&all, "all", false, "also those that have ended")
		}),
		remoteCommand("get ID", "Show a window, its connections, and what waits of each", 1, http.MethodGet, at(""), nil, nil),
		remoteCommand("create FILE", "Propose a window as the JSON in FILE says (the body of POST /v1/maintenance; - = standard input)", 1, http.MethodPost,
			func([]string) string { return "/v1/maintenance" }, file, nil),
		remoteCommand("approve ID", "Let a proposed window take place", 1, http.MethodPost, at("/approve"),
			func([]string) (any, error) { return map[string]any{"reason": reason, "short_notice": short}, nil },
			func(f *pflag.FlagSet) { why(f); notice(f) }),
		remoteCommand("cancel ID", "End a window; one that has begun lets its connections go on at once", 1, http.MethodPost, at("/cancel"),
			func([]string) (any, error) { return map[string]any{"reason": reason}, nil }, why),
		remoteCommand("reschedule ID", "Move a window, or make it longer or shorter", 1, http.MethodPost, at("/reschedule"), func([]string) (any, error) {
			body := map[string]any{"reason": reason, "short_notice": short}
			for name, v := range map[string]string{"starts_at": starts, "ends_at": ends} {
				if v != "" {
					body[name] = v
				}
			}
			return body, nil
		}, func(f *pflag.FlagSet) {
			why(f)
			notice(f)
			f.StringVar(&starts, "starts-at", "", "the new beginning, as RFC 3339; of a window that has not begun")
			f.StringVar(&ends, "ends-at", "", "the new end, as RFC 3339")
		}),
		remoteCommand("state", "Show whether maintenance may be at a time, why not, and when that changes", 0, http.MethodGet,
			func([]string) string { return "/v1/maintenance-state?" + query(map[string]string{"at": when}) }, nil,
			func(f *pflag.FlagSet) { f.StringVar(&when, "at", "", "as RFC 3339; now if absent") }),
		remoteCommand("settings", "Show what the organisation wants of maintenance", 0, http.MethodGet, wishes, nil, nil),
		remoteCommand("put-settings FILE", "Set it as the JSON in FILE says (the body of PUT /v1/maintenance-settings; - = standard input)", 1, http.MethodPut, wishes, file, nil),
		remoteCommand("announced", "List what providers announced of their own systems", 0, http.MethodGet, func([]string) string { return "/v1/provider-windows" }, nil, nil),
		remoteCommand("announce FILE", "Note what a provider announced as the JSON in FILE says (the body of POST /v1/provider-windows; - = standard input)", 1, http.MethodPost,
			func([]string) string { return "/v1/provider-windows" }, file, nil),
		remoteCommand("forget ID", "Forget what a provider announced", 1, http.MethodDelete,
			func(args []string) string { return withReason("/v1/provider-windows/"+url.PathEscape(args[0]), reason) }, nil, why),
	)
	return cmd
}
