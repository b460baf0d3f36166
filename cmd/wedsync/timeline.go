package main

import (
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

func timelineCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "timeline", Short: "Work with the order of a wedding day"}
	at := func(args []string) string { return "/v1/bookings/" + url.PathEscape(args[0]) + "/timeline" }
	cmd.AddCommand(
		remoteCommand("show BOOKING", "Show the timeline of a wedding, with times and clashes", 1, http.MethodGet, at, nil, nil),
		remoteCommand("set BOOKING FILE", "Set it as the JSON in FILE says (the body of PUT /v1/bookings/{id}/timeline; - = standard input)", 2, http.MethodPut, at,
			func(args []string) (any, error) { return readJSON(args[1]) }, nil),
		remoteCommand("delete BOOKING", "Remove it, and cancel what it exported", 1, http.MethodDelete, at, nil, nil),
	)
	return cmd
}
