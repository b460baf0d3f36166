package reconcile

import (
	"regexp"
	"slices"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// filter is a connection's filters, ready for use.
type filter struct {
	domain.SyncFilters
	contains          string
	matches, excludes *regexp.Regexp
	broken            bool
}

func newFilter(f domain.SyncFilters) filter {
	out := filter{SyncFilters: f, contains: strings.ToLower(f.TitleContains)}
	compile := func(text string) *regexp.Regexp {
		if text == "" {
			return nil
		}
		re, err := regexp.Compile(text)
		out.broken = out.broken || err != nil
		return re
	}
	out.matches, out.excludes = compile(f.TitleMatches), compile(f.TitleExcludes)
	return out
}

// leavesOut says which filter keeps an entry from being a booking, "" when none does. A stored expression that no longer
// compiles lets everything through: what a person did not ask for must not withdraw bookings.
func (f filter) leavesOut(c domain.Change) string {
	switch {
	case f.broken:
		return ""
	case len(f.Categories) > 0 && !slices.Contains(f.Categories, c.Category):
		return "categories"
	case len(f.IncludeLabels) > 0 && !labelled(c, f.IncludeLabels):
		return "include_labels"
	case labelled(c, f.ExcludeLabels):
		return "exclude_labels"
	case f.contains != "" && !strings.Contains(strings.ToLower(c.Details.Title), f.contains):
		return "title_contains"
	case f.matches != nil && !f.matches.MatchString(c.Details.Title):
		return "title_matches"
	case f.excludes != nil && f.excludes.MatchString(c.Details.Title):
		return "title_excludes"
	case f.SkipDeclined && c.Declined:
		return "skip_declined"
	case f.SkipAllDay && c.When.Kind == domain.TimeAllDay:
		return "skip_all_day"
	case f.SkipFree && c.Free:
		return "skip_free"
	case len(f.Kinds) > 0 && !slices.Contains(f.Kinds, kindOf(c)):
		return "kinds"
	}
	return ""
}

func kindOf(c domain.Change) string {
	if c.Kind == "" {
		return domain.KindDefault
	}
	return c.Kind
}

func labelled(c domain.Change, words []string) bool {
	return slices.ContainsFunc(c.Labels, func(l string) bool {
		return slices.ContainsFunc(words, func(word string) bool { return strings.EqualFold(l, word) })
	})
}

// LeavesOut says which of a connection's filters keeps an entry from being a booking, "" when none does.
func LeavesOut(f domain.SyncFilters, c domain.Change) string { return newFilter(f).leavesOut(c) }
