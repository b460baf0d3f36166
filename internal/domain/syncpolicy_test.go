package domain_test

import (
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestWrongPolicyNamesItsField(t *testing.T) {
	t.Parallel()
	for path, p := range map[string]domain.SyncPolicy{
		"sync.edit_conflicts":            {EditConflicts: "loudest"},
		"sync.private":                   {Private: "show"},
		"sync.mirror_title":              {MirrorTitle: "{contact}"},
		"sync.filters.categories[1]":     {Filters: domain.SyncFilters{Categories: []domain.Category{domain.CategoryWedding, "party"}}},
		"sync.filters.include_labels[0]": {Filters: domain.SyncFilters{IncludeLabels: []string{""}}},
		"sync.filters.exclude_labels":    {Filters: domain.SyncFilters{ExcludeLabels: make([]string, 21)}},
		"sync.filters.kinds[0]":          {Filters: domain.SyncFilters{Kinds: []string{strings.Repeat("k", 101)}}},
		"sync.filters.title_contains":    {Filters: domain.SyncFilters{TitleContains: strings.Repeat("é", 101)}},
		"sync.filters.title_matches":     {Filters: domain.SyncFilters{TitleMatches: "("}},
		"sync.filters.title_excludes":    {Filters: domain.SyncFilters{TitleExcludes: strings.Repeat("a", 201)}},
	} {
		if err := p.Validate("sync"); domain.KindOf(err) != domain.KindInvalid || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	good := domain.SyncPolicy{EditConflicts: domain.EditManual, Private: domain.PrivateSkip, MirrorTitle: "[x] {title}",
		Filters: domain.SyncFilters{TitleMatches: "(?i)wedding|shoot", Kinds: []string{domain.KindDefault}}}
	if err := good.Validate("sync"); err != nil {
		t.Error(err)
	}
}
