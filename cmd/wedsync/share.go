package main

import (
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// shareCommand works with links by which people without an account see a wedding.
func shareCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "share", Short: "Share a wedding with the couple or a vendor by a link, list and revoke links"}
	at := func(args []string) string { return "/v1/bookings/" + url.PathEscape(args[0]) + "/shares" }
	var role, resource, label, title, expires, reason string
	cmd.AddCommand(
		remoteCommand("create BOOKING", "Make a link to a wedding; its address is shown this once", 1, http.MethodPost, at,
			func([]string) (any, error) {
				body := map[string]any{"role": role, "label": label, "reason": reason}
				for name, v := range map[string]string{"resource_id": resource, "title": title, "expires_at": expires} {
					if v != "" {
						body[name] = v
					}
				}
				return body, nil
			}, func(f *pflag.FlagSet) {
				f.StringVar(&role, "role", "couple", "couple, or vendor")
				f.StringVar(&resource, "resource", "", "the vendor's resource")
				f.StringVar(&label, "label", "", "for whom the link is")
				f.StringVar(&title, "title", "", "heading of the page")
				f.StringVar(&expires, "expires", "", "when the link ends, such as 2027-08-01T00:00:00Z; empty = 30 days after the wedding")
				f.StringVar(&reason, "reason", "", "why, for the audit trail")
			}),
		remoteCommand("list BOOKING", "List the links to a wedding, with how often they were opened", 1, http.MethodGet,
			func(args []string) string { return at(args) + "?limit=200" }, nil, nil),
		remoteCommand("revoke BOOKING LINK", "End a link for good", 2, http.MethodDelete,
			func(args []string) string {
				path := at(args) + "/" + url.PathEscape(args[1])
				if reason != "" {
					path += "?reason=" + url.QueryEscape(reason)
				}
				return path
			}, nil, func(f *pflag.FlagSet) { f.StringVar(&reason, "reason", "", "why, for the audit trail") }),
	)
	return cmd
}
