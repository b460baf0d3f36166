package main

import (
	"net/http"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
)

// policyCommand changes parts of an integration's sync policy and leaves the others as they are.
func policyCommand() *cobra.Command {
	r := &remote{}
	var p domain.SyncPolicy
	var categories []string
	var edits, private, reason string
	cmd := &cobra.Command{
		Use: "policy ID", Short: "Set what a connection takes and shows, and who wins when both sides changed; flags that are not given stay",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.client()
			if err != nil {
				return err
			}
			defer c.Close()
			path := "/v1/integrations/" + args[0]
			var now domain.Integration
			if _, err := c.Do(cmd.Context(), http.MethodGet, path, nil, &now); err != nil {
				return err
			}
			for _, c := range categories {
				p.Filters.Categories = append(p.Filters.Categories, domain.Category(c))
			}
			p.EditConflicts, p.Private = domain.EditPolicy(edits), domain.PrivatePolicy(private)
			want := laid(now.Sync, p, cmd.Flags().Changed)
			if err := want.Validate("sync"); err != nil {
				return err
			}
			return r.call(cmd, http.MethodPatch, path, map[string]any{"sync": want, "version": now.Version, "reason": reason})
		},
	}
	settings(cmd, &app.Config{}, r.flags, func(f *pflag.FlagSet, _ *app.Config) {
		f.StringVar(&edits, "edit-conflicts", "", "manual, source_wins, newest_wins or keep_both")
		f.StringVar(&private, "private", "", "busy or skip")
		f.StringVar(&p.MirrorTitle, "mirror-title", "", "title of copies, with {title} and {category}")
		f.StringSliceVar(&categories, "category", nil, "only these categories; one empty value clears the filter")
		f.StringSliceVar(&p.Filters.IncludeLabels, "label", nil, "only entries with one of these categories or colours of the system")
		f.StringSliceVar(&p.Filters.ExcludeLabels, "not-label", nil, "no entries with one of these")
		f.StringVar(&p.Filters.TitleContains, "title", "", "only entries whose title contains this")
		f.StringVar(&p.Filters.TitleMatches, "title-matches", "", "only entries whose title matches this RE2 expression")
		f.StringVar(&p.Filters.TitleExcludes, "title-excludes", "", "no entries whose title matches this RE2 expression")
		f.BoolVar(&p.Filters.SkipDeclined, "skip-declined", false, "no declined entries")
		f.BoolVar(&p.Filters.SkipAllDay, "skip-all-day", false, "no all-day entries")
		f.BoolVar(&p.Filters.SkipFree, "skip-free", false, "no entries that leave the time free")
		f.StringSliceVar(&p.Filters.Kinds, "kind", nil, "only these types, such as default,out_of_office")
		f.StringVar(&reason, "reason", "", "why, for the audit trail")
		r.overrideFlag(f)
	})
	return cmd
}

// laid is a policy with the parts of another over it whose flags were given.
func laid(have, given domain.SyncPolicy, changed func(string) bool) domain.SyncPolicy {
	take := func(flag string, set func()) {
		if changed(flag) {
			set()
		}
	}
	h, g := &have.Filters, given.Filters
	take("edit-conflicts", func() { have.EditConflicts = given.EditConflicts })
	take("private", func() { have.Private = given.Private })
	take("mirror-title", func() { have.MirrorTitle = given.MirrorTitle })
	take("category", func() { h.Categories = nonEmpty(g.Categories) })
	take("label", func() { h.IncludeLabels = nonEmpty(g.IncludeLabels) })
	take("not-label", func() { h.ExcludeLabels = nonEmpty(g.ExcludeLabels) })
	take("title", func() { h.TitleContains = g.TitleContains })
	take("title-matches", func() { h.TitleMatches = g.TitleMatches })
	take("title-excludes", func() { h.TitleExcludes = g.TitleExcludes })
	take("skip-declined", func() { h.SkipDeclined = g.SkipDeclined })
	take("skip-all-day", func() { h.SkipAllDay = g.SkipAllDay })
	take("skip-free", func() { h.SkipFree = g.SkipFree })
	take("kind", func() { h.Kinds = nonEmpty(g.Kinds) })
	return have
}

func nonEmpty[T ~string](list []T) []T {
	var out []T
	for _, v := range list {
		if strings.TrimSpace(string(v)) != "" {
			out = append(out, v)
		}
	}
	return out
}

func editConflictCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "edit-conflict", Short: "List and decide edits made on both sides"}
	var choice, reason string
	var version int64
	cmd.AddCommand(
		remoteCommand("list", "List open edit conflicts", 0, http.MethodGet, func([]string) string { return "/v1/edit-conflicts?state=open&limit=200" }, nil, nil),
		remoteCommand("get ID", "Show both versions", 1, http.MethodGet, func(a []string) string { return "/v1/edit-conflicts/" + a[0] }, nil, nil),
		remoteCommand("resolve ID", "Choose a version, or keep both as two bookings", 1, http.MethodPost,
			func(a []string) string { return "/v1/edit-conflicts/" + a[0] + "/resolve" },
			func([]string) (any, error) {
				return map[string]any{"choice": choice, "reason": reason, "version": version}, nil
			},
			func(f *pflag.FlagSet) {
				f.StringVar(&choice, "choice", "", "source, copy or both")
				f.Int64Var(&version, "version", 0, "of the edit conflict as you saw it")
				f.StringVar(&reason, "reason", "", "why, for the audit trail")
			}),
	)
	return cmd
}
