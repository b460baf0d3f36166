package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/weddingcare"
)

// weddingCommand works with the care for weddings.
func weddingCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "wedding", Short: "See how weddings are looked after, and have what they rest on checked"}
	cmd.AddCommand(weddingListCommand(),
		weddingText("show ID", "Show where the care for a wedding stands, and what the newest preflight found", "", showWedding),
		preflightCommand(),
		weddingText("handover ID", "Show the report of a wedding day", "/handover", func(w io.Writer, h *domain.HandOver) error {
			_, err := io.WriteString(w, weddingcare.HandOverText(*h))
			return err
		}),
		remoteCommand("log ID", "Show what happened on the day so far", 1, http.MethodGet,
			func(args []string) string { return weddingPath(args[0]) + "/log" }, nil, nil),
		remoteCommand("preflights ID", "List the preflights of a wedding, newest first", 1, http.MethodGet,
			func(args []string) string { return weddingPath(args[0]) + "/preflights?limit=50" }, nil, nil))
	return cmd
}

func weddingPath(id string) string { return "/v1/weddings/" + url.PathEscape(id) }

// shownWedding is a wedding as the API answers it.
type shownWedding struct {
	domain.WeddingCare
	Newest   *domain.Preflight `json:"newest_preflight"`
	HandOver *domain.HandOver  `json:"handover"`
}

// weddingText is a textCommand about one wedding.
func weddingText[T any](use, short, suffix string, print func(w io.Writer, answer *T) error) *cobra.Command {
	return textCommand(use, short, 1, http.MethodGet, func(args []string) string { return weddingPath(args[0]) + suffix }, print, nil)
}

func weddingListCommand() *cobra.Command {
	type weddings struct {
		Items []domain.WeddingCare `json:"items"`
	}
	var all bool
	path := func([]string) string {
		if all {
			return "/v1/weddings?limit=200"
		}
		return "/v1/weddings?limit=200&open=true"
	}
	return textCommand("list", "List the weddings to come, by their day", 0, http.MethodGet, path, func(out io.Writer, answer *weddings) error {
		for _, w := range answer.Items {
			if _, err := fmt.Fprintf(out, "%s  %-24s %-12s %s\n", w.BookingID, weddingcare.Moment(w.StartsAt, w.Zone), w.State, outcomeOf(w)); err != nil {
				return err
			}
		}
		return nil
	}, func(f *pflag.FlagSet) { f.BoolVar(&all, "all", false, "those that are over too") })
}

func outcomeOf(w domain.WeddingCare) string {
	if w.Preflight == "" {
		return "not checked yet"
	}
	return "preflight " + string(w.Preflight)
}

func showWedding(out io.Writer, w *shownWedding) error {
	at := func(t time.Time) string { return weddingcare.Moment(t, w.Zone) }
	_, err := fmt.Fprintf(out, "Wedding %s\n%s to %s (%s)\n\nstate      %s\npreflight  %s and %s\nfreeze     from %s\nday        from %s until %s\n", w.BookingID, at(w.StartsAt), at(w.EndsAt),
		w.Zone, w.State, at(w.PreflightWeek), at(w.PreflightFreeze), at(w.FreezeFrom), at(w.DayFrom), at(w.DayUntil))
	if err == nil && w.Newest != nil {
		_, err = io.WriteString(out, "\n"+weddingcare.PreflightText(*w.Newest, w.Zone))
	}
	if err == nil && w.HandOver != nil {
		_, err = io.WriteString(out, "\n"+weddingcare.HandOverText(*w.HandOver))
	}
	return err
}

// preflightWait is how long the command waits for a preflight to be made.
const preflightWait = 2 * time.Minute

// preflightCommand asks for a preflight, waits for it and prints it.
func preflightCommand() *cobra.Command {
	r := &remote{}
	var reason string
	var wait bool
	cmd := &cobra.Command{
		Use: "preflight ID", Short: "Have everything checked now that a wedding rests on, and show what was found", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.client()
			if err != nil {
				return err
			}
			defer c.Close()
			var asked domain.WeddingCare
			if _, err := c.Do(cmd.Context(), http.MethodPost, weddingPath(args[0])+"/preflight", map[string]any{"reason": reason}, &asked); err != nil {
				return err
			}
			if !wait {
				return nil
			}
			w, err := awaitPreflight(cmd, c, args[0], asked.PreflightID)
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), weddingcare.PreflightText(*w.Newest, w.Zone))
			return err
		},
	}
	settings(cmd, &app.Config{}, r.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.StringVar(&reason, "reason", "", "why, for the audit trail")
		f.BoolVar(&wait, "wait", true, "wait for the outcome and print it")
	})
	return cmd
}

func awaitPreflight(cmd *cobra.Command, c *apiclient.Client, id string, was domain.PreflightID) (w shownWedding, err error) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(preflightWait)
	defer late.Stop()
	for {
		w = shownWedding{}
		if _, err := c.Do(cmd.Context(), http.MethodGet, weddingPath(id), nil, &w); err != nil {
			return w, err
		}
		if w.Newest != nil && w.Newest.ID != was && w.WantedAt == nil {
			return w, nil
		}
		select {
		case <-cmd.Context().Done():
			return w, cmd.Context().Err()
		case <-late.C:
			return w, domain.E(domain.KindUnavailable, "the preflight was asked for and is not made yet; see it later by wedding show %s", id)
		case <-tick.C:
		}
	}
}
