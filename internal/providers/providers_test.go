package providers_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
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

func TestEveryProviderSaysPlainlyWhatItCanAndCannotDo(t *testing.T) {
	t.Parallel()
	for _, r := range providers.All() {
		told := map[provider.AbilityName]bool{}
		for _, a := range r.Abilities {
			if told[a.Name] || len(a.How) < 10 || !strings.HasSuffix(a.How, ".") {
				t.Errorf("%s: %s is told twice, or without a sentence about how", r.Name, a.Name)
			}
			told[a.Name] = true
		}
		for _, name := range provider.AbilityNames() {
			if !told[name] {
				t.Errorf("%s does not say whether it can %s", r.Name, name)
			}
			delete(told, name)
		}
		if len(told) > 0 || len(r.Limits) == 0 {
			t.Errorf("%s has unknown abilities %v, or names no limits", r.Name, told)
		}
		for _, l := range r.Limits {
			if !strings.HasSuffix(l, ".") {
				t.Errorf("%s: the limit %q is no sentence", r.Name, l)
			}
		}
	}
}

func TestMappingsOfAProviderReadTheirOwnSamples(t *testing.T) {
	t.Parallel()
	for _, r := range providers.All() {
		if r.Mappings == nil {
			continue
		}
		for _, k := range r.Mappings.Kinds {
			have, err := r.Mappings.Read(json.RawMessage(`{}`), k.Name)
			if err != nil || len(have.Own) == 0 || !json.Valid(k.Sample) || k.Title == "" || k.Doc == "" {
				t.Errorf("%s, %s: %+v, %v", r.Name, k.Name, have, err)
			}
			same, err := r.Mappings.Change(json.RawMessage(`{}`), k.Name, have.InEffect)
			if err != nil || string(same) != "{}" {
				t.Errorf("%s, %s: a mapping that is the provider's own is stored: %s, %v", r.Name, k.Name, same, err)
			}
			for name := range have.Own {
				if !slices.Contains(r.Mappings.Fields, name) {
					t.Errorf("%s, %s: the field %s is not listed", r.Name, k.Name, name)
				}
			}
		}
	}
}

func TestUnknownNameIsInvalidAndNamesTheChoices(t *testing.T) {
	t.Parallel()
	_, err := providers.Get("telepathy")
	if domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != "provider" || !strings.Contains(err.Error(), "caldav") {
		t.Errorf("error %v, want KindInvalid on provider with the names", err)
	}
}

// TestEveryProviderRunsTheSuite finds the folder of each provider by its Open, and in it a test that hands the suite a harness of
// the provider's registration. What the suite must meet there is the suite's own matrix, see providertest.Hazard.
func TestEveryProviderRunsTheSuite(t *testing.T) {
	t.Parallel()
	for _, r := range providers.All() {
		_, name, ok := strings.Cut(runtime.FuncForPC(reflect.ValueOf(r.Open).Pointer()).Name(), "internal/providers/")
		folder, _, _ := strings.Cut(name, ".")
		if !ok || folder == "" {
			t.Errorf("%s: its folder is not known: %q", r.Name, name)
			continue
		}
		files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		runs := 0
		for _, file := range files {
			tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(tree, func(n ast.Node) bool {
				if call, is := n.(*ast.CallExpr); is && named(call.Fun, "providertest", "Run") {
					runs++
				}
				return true
			})
		}
		if runs == 0 {
			t.Errorf("%s: no test in internal/providers/%s calls providertest.Run", r.Name, folder)
		}
	}
}

func named(e ast.Expr, pkg, name string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg
}
