package providers_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/providers"
)

func TestListHoldsCompleteProvidersOfDifferentNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range providers.All() {
		if seen[r.Name] {
			t.Errorf("%s is listed twice", r.Name)
		}
		seen[r.Name] = true
		if r.Title == "" || r.Doc == "" || r.Validate == nil || r.Open == nil || !json.Valid(r.SettingsSchema) {
			t.Errorf("%s lacks a title, doc, schema, Validate or Open", r.Name)
		}
		got, err := providers.Get(r.Name)
		if err != nil || got.Name != r.Name {
			t.Errorf("Get(%q) = %q, %v", r.Name, got.Name, err)
		}
	}
	if len(seen) == 0 {
		t.Error("the list is empty")
	}
}

func TestUnknownNameIsInvalidAndNamesTheChoices(t *testing.T) {
	t.Parallel()
	_, err := providers.Get("telepathy")
	if domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != "provider" || !strings.Contains(err.Error(), "caldav") {
		t.Errorf("error %v, want KindInvalid on provider with the names", err)
	}
}
