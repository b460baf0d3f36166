package main

import (
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/domain"
)

// venueCommand keeps the places that an organisation knows.
func venueCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "venue", Short: "Make places known, so that the way between bookings can be measured"}
	all := func([]string) string { return "/v1/venues" }
	one := func(args []string) string { return "/v1/venues/" + url.PathEscape(args[0]) }
	var aliases []string
	var lat, lon float64
	var reason string
	cmd.AddCommand(
		remoteCommand("list", "List the known venues", 0, http.MethodGet, all, nil, nil),
		remoteCommand("show ID", "Show a venue", 1, http.MethodGet, one, nil, nil),
		remoteCommand("add NAME", "Make a venue known by the name that locations of bookings say", 1, http.MethodPost, all, func(args []string) (any, error) {
			p := domain.Point{Lat: lat, Lon: lon}
			if err := p.Validate("--"); err != nil {
				return nil, err
			}
			return map[string]any{"name": args[0], "aliases": aliases, "latitude": lat, "longitude": lon, "reason": reason}, nil
		}, func(f *pflag.FlagSet) {
			f.Float64Var(&lat, "latitude", 0, "in decimal degrees, north is positive")
			f.Float64Var(&lon, "longitude", 0, "in decimal degrees, east is positive")
			f.StringSliceVar(&aliases, "alias", nil, "another way in which it is written; may be repeated")
			f.StringVar(&reason, "reason", "", "why, for the audit trail")
		}),
		remoteCommand("set ID FILE", "Change it as the JSON in FILE says (the body of PATCH /v1/venues/{id}; - = standard input)", 2, http.MethodPatch, one,
			func(args []string) (any, error) { return readJSON(args[1]) }, nil),
		remoteCommand("delete ID", "Forget a venue", 1, http.MethodDelete, one, nil, nil),
	)
	return cmd
}

// blackoutCommand keeps days of a resource free of clients.
func blackoutCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "blackout", Short: "Keep days of a resource free of clients"}
	all := func(args []string) string { return "/v1/resources/" + url.PathEscape(args[0]) + "/blackouts" }
	var to, reason string
	var yearly bool
	cmd.AddCommand(
		remoteCommand("list RESOURCE", "List the days that are kept free", 1, http.MethodGet, all, nil, nil),
		remoteCommand("add RESOURCE FROM", "Keep days free, FROM being the first as YYYY-MM-DD; bookings on them become conflicts at once", 2, http.MethodPost, all,
			func(args []string) (any, error) {
				b := domain.Blackout{From: args[1], To: to, Yearly: yearly, Reason: reason}
				if to == "" {
					b.To = b.From
				}
				if err := b.Validate(""); err != nil {
					return nil, err
				}
				return map[string]any{"from": b.From, "to": b.To, "yearly": yearly, "reason": reason}, nil
			}, func(f *pflag.FlagSet) {
				f.StringVar(&to, "to", "", "last day, where there are several")
				f.BoolVar(&yearly, "yearly", false, "again every year from then on")
				f.StringVar(&reason, "reason", "", "why; no personal data")
			}),
		remoteCommand("remove RESOURCE ID", "Open the days again", 2, http.MethodDelete,
			func(args []string) string { return all(args) + "/" + url.PathEscape(args[1]) }, nil, nil),
	)
	return cmd
}

// bookingCommand says which bookings are one event.
func bookingCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "booking", Short: "Say which bookings are one event, and which are not"}
	at := func(suffix string) func([]string) string {
		return func(args []string) string { return "/v1/bookings/" + url.PathEscape(args[0]) + suffix }
	}
	var reason, other, entry, resource, from, to string
	why := func(f *pflag.FlagSet) {
		f.StringVar(&reason, "reason", "", "why, for the audit trail; no personal data")
	}
	cmd.AddCommand(
		remoteCommand("link BOOKING OTHER", "Say that OTHER is the same event as BOOKING, which goes on", 2, http.MethodPost, at("/link"),
			func(args []string) (any, error) { return map[string]any{"booking_id": args[1], "reason": reason}, nil }, why),
		remoteCommand("unlink BOOKING", "Say that a linked booking, or an entry of a system, is another event", 1, http.MethodPost, at("/unlink"),
			func([]string) (any, error) {
				body := map[string]any{"reason": reason}
				if other != "" {
					body["booking_id"] = other
				}
				if entry != "" {
					body["link_id"] = entry
				}
				return body, nil
			}, func(f *pflag.FlagSet) {
				why(f)
				f.StringVar(&other, "other", "", "the linked booking; without it BOOKING itself must be one")
				f.StringVar(&entry, "entry", "", "or an entry of BOOKING (copies[].id)")
			}),
		remoteCommand("suggestions", "List pairs that are probably one event, likeliest first", 0, http.MethodGet, func([]string) string {
			q := url.Values{}
			for name, v := range map[string]string{"resource": resource, "from": from, "to": to} {
				if v != "" {
					q.Set(name, v)
				}
			}
			if len(q) == 0 {
				return "/v1/link-suggestions"
			}
			return "/v1/link-suggestions?" + q.Encode()
		}, nil, func(f *pflag.FlagSet) {
			f.StringVar(&resource, "resource", "", "only of this resource")
			f.StringVar(&from, "from", "", "start of the window (RFC 3339); now where absent")
			f.StringVar(&to, "to", "", "end of the window, at most 92 days later")
		}),
	)
	return cmd
}
