package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
)

// batchItem is what the API says of one integration.
type batchItem struct {
	ID      string `json:"integration_id"`
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
	Reason  string `json:"reason"`
	State   string `json:"state"`
	RunID   string `json:"run_id"`
	Healthy *bool  `json:"healthy"`
	Health  *struct {
		State  string              `json:"state"`
		Reason domain.HealthReason `json:"reason"`
		Since  time.Time           `json:"since"`
	} `json:"health,omitempty"`
}

var batchActions = []string{"initialise", "pause", "resume", "resync", "health"}

func integrationsCommand() *cobra.Command {
	r := &remote{}
	var ids []string
	var provider, state, resource, reason string
	var full, asJSON bool
	cmd := &cobra.Command{
		Use:   "integrations " + strings.Join(batchActions, "|"),
		Short: "Act on all integrations of the organisation at once",
		Long: "Act on all integrations of the organisation at once, or on those that the flags choose. A line for each says what became of it:\n" +
			"done, already (it was so), refused with the reason, or failed (ask again). The exit status is 1 if one was refused, failed or is\n" +
			"not healthy.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(batchActions, args[0]) {
				return domain.Invalid("ACTION", "must be one of %s", strings.Join(batchActions, ", "))
			}
			c, err := r.client()
			if err != nil {
				return err
			}
			defer c.Close()
			filter := map[string]any{}
			if len(ids) > 0 {
				filter["ids"] = ids
			}
			for name, value := range map[string]string{"provider": provider, "state": state, "resource_id": resource} {
				if value != "" {
					filter[name] = value
				}
			}
			body := map[string]any{"action": args[0], "filter": filter, "reason": reason}
			if full {
				body["full"] = true
			}
			return batch(cmd.Context(), cmd.OutOrStdout(), c, body, asJSON)
		},
	}
	settings(cmd, &app.Config{}, r.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.StringSliceVar(&ids, "id", nil, "these integrations only; may be repeated")
		f.StringVar(&provider, "provider", "", "those of this provider only")
		f.StringVar(&state, "state", "", "those in this state only: active, paused, needs_reconnect or connecting")
		f.StringVar(&resource, "resource", "", "those of this resource only")
		f.BoolVar(&full, "full", false, "for resync: read everything instead of what changed")
		f.BoolVar(&asJSON, "json", false, "print the answers as they are")
		f.StringVar(&reason, "reason", "", "why, for the audit trail")
		r.overrideFlag(f)
	})
	return cmd
}

// batch asks page by page and prints a line for each integration.
func batch(ctx context.Context, out io.Writer, c *apiclient.Client, body map[string]any, asJSON bool) error {
	counts := map[string]int{}
	wrong := 0
	for {
		var answer struct {
			Action string         `json:"action"`
			Items  []batchItem    `json:"items"`
			Counts map[string]int `json:"counts"`
			Next   string         `json:"next,omitempty"`
		}
		if _, err := c.Do(ctx, http.MethodPost, "/v1/integrations:batch", body, &answer); err != nil {
			return err
		}
		if asJSON {
			if err := printJSON(out, answer); err != nil {
				return err
			}
		}
		for _, i := range answer.Items {
			word := i.Outcome
			if i.Healthy != nil {
				word = map[bool]string{true: "healthy", false: "unhealthy"}[*i.Healthy]
			}
			counts[word]++
			if word == "refused" || word == "failed" || word == "unhealthy" {
				wrong++
			}
			if asJSON {
				continue
			}
			line := fmt.Sprintf("%-9s %s %s (%s)", word, i.ID, i.Name, i.State)
			if i.RunID != "" {
				line += ", run " + i.RunID
			}
			if i.Reason != "" {
				line += ": " + i.Reason
			}
			if h := i.Health; h != nil {
				line += fmt.Sprintf("; %s since %s", h.State, h.Since.UTC().Format("2006-01-02 15:04 UTC"))
				if !strings.Contains(i.Reason, h.Reason.Text) {
					line += ": " + h.Reason.Text
				}
			}
			fmt.Fprintln(out, line)
		}
		if answer.Next == "" {
			break
		}
		body["after"] = answer.Next
	}
	if !asJSON {
		var sums []string
		for word, n := range counts {
			sums = append(sums, fmt.Sprintf("%d %s", n, word))
		}
		slices.Sort(sums)
		if len(sums) == 0 {
			sums = []string{"no integration was chosen"}
		}
		fmt.Fprintln(out, strings.Join(sums, ", "))
	}
	if wrong > 0 {
		return domain.E(domain.KindConflict, "%d of the integrations are not as they should be", wrong)
	}
	return nil
}
