package main

import (
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// conflictPolicyCommand sets what is decided about conflicts without asking each time.
func conflictPolicyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "Decide ahead what becomes of conflicts of two categories"}
	var rule, then, reason, category, other string
	var sources []string
	body := func() map[string]any {
		out := map[string]any{"rule": rule}
		if then != "" {
			out["then"] = then
		}
		if len(sources) > 0 {
			out["sources"] = sources
		}
		return out
	}
	at := func(args []string) string {
		return "/v1/conflict-policies/" + url.PathEscape(args[0]) + "/" + url.PathEscape(args[1])
	}
	flags := func(f *pflag.FlagSet) {
		f.StringVar(&rule, "rule", "", "manual, first_confirmed, source_priority, newest_wins, higher_category or keep_both")
		f.StringVar(&then, "then", "", "what becomes of the one that gives way: best (the default), tentative or cancel")
		f.StringSliceVar(&sources, "source", nil, "for source_priority: integrations, the most trusted first")
	}
	why := func(f *pflag.FlagSet) { f.StringVar(&reason, "reason", "", "why, for the audit trail") }
	cmd.AddCommand(
		remoteCommand("list", "List policies", 0, http.MethodGet, func([]string) string { return "/v1/conflict-policies" }, nil, nil),
		riskyCommand("set CATEGORY CATEGORY", "Set the policy for two categories; it acts on conflicts found from now on", 2, http.MethodPut, at,
			func([]string) (any, error) {
				out := body()
				out["reason"] = reason
				return out, nil
			}, func(f *pflag.FlagSet) { flags(f); why(f) }),
		remoteCommand("delete CATEGORY CATEGORY", "Leave conflicts of two categories to people again", 2, http.MethodDelete,
			func(args []string) string {
				if reason == "" {
					return at(args)
				}
				return at(args) + "?reason=" + url.QueryEscape(reason)
			}, nil, why),
		remoteCommand("preview", "Show what the policies would do with the open conflicts, or a policy that is not stored", 0, http.MethodPost,
			func([]string) string { return "/v1/conflict-policies/preview?limit=200" },
			func([]string) (any, error) {
				if rule == "" {
					return nil, nil
				}
				out := body()
				out["category"], out["other"] = category, other
				return out, nil
			}, func(f *pflag.FlagSet) {
				flags(f)
				f.StringVar(&category, "category", "", "with --rule: one category of the pair")
				f.StringVar(&other, "other", "", "with --rule: the other category")
			}),
		riskyCommand("apply", "Let the policies look at the conflicts that are open already", 0, http.MethodPost,
			func([]string) string { return "/v1/conflict-policies/apply" },
			func([]string) (any, error) { return map[string]any{"reason": reason}, nil }, why),
	)
	return cmd
}
