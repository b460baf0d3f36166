package provider_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

func TestSettingsAreReadStrictly(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct{ raw, want string }{
		"an object":        {`{"calendar":"a","days":3}`, ""},
		"nothing in it":    {`{}`, ""},
		"empty":            {``, "settings: must be a JSON object"},
		"null":             {`null`, "settings: must be a JSON object"},
		"a list":           {`[1]`, "settings: must be a JSON object"},
		"cut off":          {`{"calendar":`, "settings: must be a JSON object"},
		"an unknown field": {`{"calender":"a"}`, `settings: has the unknown field "calender"`},
		"a wrong type":     {`{"calendar":"a","days":"three"}`, "settings.days: must not be a string"},
		"two objects":      {`{"calendar":"a"}{}`, "settings: must be one JSON object"},
		"more behind":      {`{"calendar":"a"} x`, "settings: must be one JSON object"},
	} {
		var got struct {
			Calendar string `json:"calendar"`
			Days     int    `json:"days"`
		}
		err := provider.DecodeSettings(json.RawMessage(v.raw), &got)
		switch {
		case v.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case v.want != "" && (err == nil || !strings.Contains(err.Error(), v.want)):
			t.Errorf("%s: error %v, want %q", name, err, v.want)
		}
	}
}

func TestTheFirstRuleWithAWordDecidesTheCategory(t *testing.T) {
	t.Parallel()
	rules := []provider.CategoryRule{
		{Category: domain.CategoryWedding, Contains: []string{"Hochzeit", "wedding"}},
		{Category: domain.CategoryConsultation, Contains: []string{"tasting"}},
	}
	for _, v := range []struct {
		texts    []string
		fallback domain.Category
		want     domain.Category
	}{
		{[]string{"WEDDING tasting"}, "", domain.CategoryWedding},
		{[]string{"menu", "Tasting"}, "", domain.CategoryConsultation},
		{[]string{"dentist"}, "", domain.CategoryPersonal},
		{[]string{"dentist"}, domain.CategoryVendor, domain.CategoryVendor},
		{nil, "", domain.CategoryPersonal},
		{[]string{"wed", "ding"}, "", domain.CategoryPersonal}, // a word does not reach from one text into the next
	} {
		if got := provider.CategoryOf(rules, v.fallback, v.texts...); got != v.want {
			t.Errorf("%q with fallback %q: %q, want %q", v.texts, v.fallback, got, v.want)
		}
	}
}

func TestCategoryRulesAreBounded(t *testing.T) {
	t.Parallel()
	good := provider.CategoryRule{Category: domain.CategoryWedding, Contains: []string{"wedding"}}
	many := make([]provider.CategoryRule, provider.MaxCategoryRules+1)
	for i := range many {
		many[i] = good
	}
	rule := func(words ...string) []provider.CategoryRule {
		return []provider.CategoryRule{good, {Category: domain.CategoryWedding, Contains: words}}
	}
	for name, v := range map[string]struct {
		rules    []provider.CategoryRule
		fallback domain.Category
		want     string
	}{
		"none":                {nil, "", ""},
		"as many as may be":   {many[1:], domain.CategoryVendor, ""},
		"one too many":        {many, "", "settings.category_rules: at most 50, has 51"},
		"no such fallback":    {nil, "party", "settings.category_default: must be one of"},
		"no such category":    {[]provider.CategoryRule{{Category: "party", Contains: []string{"a"}}}, "", "settings.category_rules[0].category: must be one of"},
		"no word":             {rule(), "", "settings.category_rules[1].contains: must have 1 to 50 words, has 0"},
		"an empty word":       {rule("a", ""), "", "settings.category_rules[1].contains: each word must have 1 to 200 bytes"},
		"a word that is long": {rule(strings.Repeat("w", provider.MaxCategoryWord+1)), "", "each word must have 1 to 200 bytes"},
		"too many words":      {rule(strings.Split(strings.Repeat("w", provider.MaxCategoryWords+1), "")...), "", "has 51"},
	} {
		err := provider.CheckCategories(v.rules, v.fallback)
		switch {
		case v.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case v.want != "" && (err == nil || !strings.Contains(err.Error(), v.want)):
			t.Errorf("%s: error %v, want %q", name, err, v.want)
		}
	}
}

func TestSettingsAreComparedByWhatTheySay(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct {
		a, b string
		same bool
	}{
		"another order and other spaces":       {`{"a":1,"b":[true]}`, `{ "b": [true], "a": 1 }`, true},
		"another value":                        {`{"a":1}`, `{"a":2}`, false},
		"another order of a list":              {`[1,2]`, `[2,1]`, false},
		"numbers that a float cannot separate": {`{"id":9007199254740993}`, `{"id":9007199254740992}`, false},
		"nothing that can be read":             {``, `{}`, false},
		"twice the same that cannot be read":   {`{`, `{`, true},
	} {
		if got := provider.SameSettings(json.RawMessage(v.a), json.RawMessage(v.b)); got != v.same {
			t.Errorf("%s: %t, want %t", name, got, v.same)
		}
	}
}
