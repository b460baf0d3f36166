package custom

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/webhookauth"
)

func TestSchemaNamesEveryWebhookScheme(t *testing.T) {
	t.Parallel()
	var root struct {
		Defs map[string]struct {
			Properties map[string]struct{ Enum []string }
		} `json:"$defs"`
	}
	if err := json.Unmarshal(schema, &root); err != nil {
		t.Fatal(err)
	}
	named := slices.Sorted(slices.Values(root.Defs["verify"].Properties["scheme"].Enum))
	var want []string
	for _, s := range webhookauth.Schemes() {
		want = append(want, string(s.Scheme))
	}
	if diff := cmp.Diff(want, named); diff != "" {
		t.Errorf("(-program +schema)\n%s", diff)
	}
}

// TestSchemaHasExactlyTheFieldsOfSettings walks the schema beside the structs.
func TestSchemaHasExactlyTheFieldsOfSettings(t *testing.T) {
	t.Parallel()
	var root map[string]any
	if err := json.Unmarshal(schema, &root); err != nil {
		t.Fatal(err)
	}
	defs, _ := root["$defs"].(map[string]any)
	objects := 0
	var walk func(node any, typ reflect.Type, path string)
	walk = func(node any, typ reflect.Type, path string) {
		m, _ := node.(map[string]any)
		if ref, ok := m["$ref"].(string); ok {
			m, _ = defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		}
		for typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		if typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct {
			walk(m["items"], typ.Elem(), path+"[]")
			return
		}
		if typ.Kind() != reflect.Struct {
			return
		}
		objects++
		fields := jsonFields(typ)
		properties, _ := m["properties"].(map[string]any)
		if diff := cmp.Diff(sortedKeys(fields), sortedKeys(properties)); diff != "" {
			t.Errorf("%s (-struct +schema)\n%s", path, diff)
		}
		if m["additionalProperties"] != false {
			t.Errorf("%s: the schema lets unknown fields through, Validate does not", path)
		}
		for name, ft := range fields {
			walk(properties[name], ft, path+"."+name)
		}
	}
	walk(root, reflect.TypeFor[Settings](), "settings")
	if objects < 15 {
		t.Errorf("only %d objects compared", objects)
	}
}
