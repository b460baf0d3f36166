package custom

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/wedsync/wedsync/internal/domain"
)

// Bounds of a JSON Schema and of the work of one validation.
const (
	maxSchema      = 32 << 10  // bytes
	maxSchemaDepth = 32        // nested schemas after references are followed
	maxSchemaNodes = 5_000     // schemas after references are followed
	maxSchemaWork  = 5_000_000 // see bodySchema.bound
	maxSchemaTold  = 5         // places named in an error
)

const (
	schemaDialect = "https://json-schema.org/draft/2020-12/schema"
	schemaURL     = "wedsync:///body" // never fetched
)

// bodySchema is a compiled JSON Schema of bodies.
//
// The library has no limit of its own for the work of a validation, and alternatives inside alternatives multiply it.
// So references must lead to places in the same schema and never in a circle: then the schema is a finite tree, each
// of its nodes meets each value at most once, and the work has a bound that is known beforehand.
type bodySchema struct {
	schema *jsonschema.Schema
	weight []uint64        // by depth of the value: how much one value of that depth costs at most
	names  map[string]bool // member names that the schema itself mentions
}

type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("references to other documents are not followed")
}

// compileBodySchema checks a schema and makes it ready.
func compileBodySchema(raw json.RawMessage, path string) (*bodySchema, error) {
	if len(raw) > maxSchema {
		return nil, domain.Invalid(path, "at most %d bytes, has %d", maxSchema, len(raw))
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, domain.Invalid(path, "not JSON")
	}
	switch d := doc.(type) {
	case bool:
	case map[string]any:
		if name, there := d["$schema"]; there && name != schemaDialect {
			return nil, domain.Invalid(path+".$schema", "must be %s or left out", schemaDialect)
		}
	default:
		return nil, domain.Invalid(path, "must be a JSON Schema: an object, true or false")
	}
	out := &bodySchema{names: map[string]bool{}}
	w := schemaWalk{root: doc, path: path, out: out}
	if err := w.visit(doc, "", 0, 0); err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, domain.Invalid(path, "%s", schemaFault(err))
	}
	if out.schema, err = c.Compile(schemaURL); err != nil {
		return nil, domain.Invalid(path, "%s", schemaFault(err))
	}
	return out, nil
}

// schemaFault says where a schema is wrong. The schema was written by its author, so its own words may be repeated.
func schemaFault(err error) string {
	var wrong *jsonschema.SchemaValidationError
	if errors.As(err, &wrong) {
		var v *jsonschema.ValidationError
		if errors.As(wrong.Err, &v) {
			places := leaves(v, nil)
			return "is no valid JSON Schema: " + strings.Join(cutTo(places, maxSchemaTold, func(p place) string { return p.pointer(nil) + " " + p.keyword }), "; ")
		}
	}
	return "is no valid JSON Schema: " + issueText(err.Error())
}

// schemaWalk follows a schema as a validation does and adds up what it can cost.
type schemaWalk struct {
	root  any
	path  string
	out   *bodySchema
	nodes int
	refs  []string // being followed
}

// in place keywords look at the same value, the others at parts of it.
var (
	schemaLists = map[string]int{"allOf": 0, "anyOf": 0, "oneOf": 0, "prefixItems": 1}
	schemaOnes  = map[string]int{"not": 0, "if": 0, "then": 0, "else": 0, "additionalProperties": 1, "unevaluatedProperties": 1,
		"propertyNames": 1, "items": 1, "unevaluatedItems": 1, "contains": 1}
	schemaMaps = map[string]int{"dependentSchemas": 0, "properties": 1, "patternProperties": 1}
)

func (w *schemaWalk) visit(node any, at string, depth, nested int) error {
	wrong := func(format string, args ...any) error {
		return domain.Invalid(w.path, "at %s: %s", orRoot(at), fmt.Sprintf(format, args...))
	}
	if w.nodes++; w.nodes > maxSchemaNodes {
		return domain.Invalid(w.path, "more than %d schemas when references are followed", maxSchemaNodes)
	}
	if nested > maxSchemaDepth {
		return wrong("nested deeper than %d", maxSchemaDepth)
	}
	for len(w.out.weight) <= depth+1 {
		w.out.weight = append(w.out.weight, 0)
	}
	w.out.weight[depth]++
	obj, ok := node.(map[string]any)
	if !ok {
		return nil // true, false, or what the compiler refuses
	}
	for _, name := range []string{"$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$vocabulary"} {
		if _, there := obj[name]; there {
			return wrong("%s is not supported; use $defs and $ref to a place in this schema", name)
		}
	}
	if at != "" && obj["$schema"] != nil {
		return wrong("$schema belongs to the top")
	}
	if list, ok := obj["enum"].([]any); ok {
		w.out.weight[depth] += uint64(len(list))
	}
	if text, ok := obj["pattern"].(string); ok {
		if len(text) > maxRegexp {
			return wrong("pattern has more than %d bytes", maxRegexp)
		}
		w.out.weight[depth] += uint64(len(text))
	}
	if list, ok := obj["required"].([]any); ok {
		for _, v := range list {
			if s, ok := v.(string); ok {
				w.out.names[s] = true
			}
		}
		w.out.weight[depth] += uint64(len(list))
	}
	if ref, there := obj["$ref"]; there {
		if err := w.follow(ref, at, depth, nested, wrong); err != nil {
			return err
		}
	}
	for _, name := range sortedKeys(obj) {
		below, v := at+"/"+name, obj[name]
		if step, ok := schemaLists[name]; ok {
			list, _ := v.([]any)
			for i, one := range list {
				if err := w.visit(one, below+"/"+strconv.Itoa(i), depth+step, nested+1); err != nil {
					return err
				}
			}
		} else if step, ok := schemaOnes[name]; ok {
			if err := w.visit(v, below, depth+step, nested+1); err != nil {
				return err
			}
		} else if step, ok := schemaMaps[name]; ok {
			members, _ := v.(map[string]any)
			for _, key := range sortedKeys(members) {
				switch {
				case name == "properties":
					w.out.names[key] = true
				case len(key) > maxRegexp:
					return wrong("a pattern of patternProperties has more than %d bytes", maxRegexp)
				case name == "patternProperties":
					w.out.weight[depth+1] += uint64(len(key))
				}
				if err := w.visit(members[key], below+"/"+safeName(key), depth+step, nested+1); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (w *schemaWalk) follow(ref any, at string, depth, nested int, wrong func(string, ...any) error) error {
	name, ok := ref.(string)
	if !ok || name != "#" && !strings.HasPrefix(name, "#/") {
		return wrong("$ref must name a place in this schema, such as #/$defs/booking")
	}
	if slices.Contains(w.refs, name) || name == "#" {
		return wrong("$ref leads in a circle, which has no bound")
	}
	target := w.root
	for _, step := range strings.Split(strings.TrimPrefix(name, "#/"), "/") {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		switch t := target.(type) {
		case map[string]any:
			target = t[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(t) {
				return wrong("$ref names no place in this schema")
			}
			target = t[i]
		default:
			target = nil
		}
		if target == nil {
			return wrong("$ref names no place in this schema")
		}
	}
	w.refs = append(w.refs, name)
	defer func() { w.refs = w.refs[:len(w.refs)-1] }()
	return w.visit(target, strings.TrimPrefix(name, "#"), depth, nested+1)
}

func orRoot(at string) string {
	if at == "" {
		return "the top"
	}
	return at
}

// bound adds up what a validation of v can cost at most.
func (s *bodySchema) bound(v any) uint64 {
	var sum uint64
	var walk func(v any, depth int)
	walk = func(v any, depth int) {
		if depth >= len(s.weight) || sum > maxSchemaWork {
			return
		}
		switch v := v.(type) {
		case map[string]any:
			sum += s.weight[depth]
			for name, e := range v {
				sum += s.weight[min(depth+1, len(s.weight)-1)] * uint64(len(name)/64)
				walk(e, depth+1)
			}
		case []any:
			sum += s.weight[depth]
			for _, e := range v {
				walk(e, depth+1)
			}
		case string:
			sum += s.weight[depth] * uint64(1+len(v)/64)
		default:
			sum += s.weight[depth]
		}
	}
	walk(v, 0)
	return sum
}

// check reports the first places of a body that do not fit, as JSON Pointers with the keyword that they break. A member
// name that the schema does not mention may be anybody's, so it is shown as *.
func (s *bodySchema) check(v any) error {
	if s.bound(v) > maxSchemaWork {
		return domain.Invalid("body", "checking it against the schema would be more work than allowed")
	}
	err := s.schema.Validate(v)
	if err == nil {
		return nil
	}
	var wrong *jsonschema.ValidationError
	if !errors.As(err, &wrong) {
		return domain.Invalid("body", "does not fit the schema")
	}
	places := leaves(wrong, nil)
	told := cutTo(places, maxSchemaTold, func(p place) string { return p.pointer(s.names) + " (" + p.keyword + ")" })
	text := "does not fit the schema at " + strings.Join(told, ", ")
	if more := len(places) - len(told); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return domain.Invalid("body", "%s", text)
}

// place is where a value breaks a keyword.
type place struct {
	steps   []string
	keyword string
}

// leaves are the faults that have no further cause, at most a hundred.
func leaves(e *jsonschema.ValidationError, out []place) []place {
	if len(e.Causes) == 0 && len(out) < 100 {
		keyword := "schema"
		if k := e.ErrorKind.KeywordPath(); len(k) > 0 {
			keyword = k[0]
		}
		return append(out, place{e.InstanceLocation, keyword})
	}
	for _, cause := range e.Causes {
		out = leaves(cause, out)
	}
	return out
}

// pointer writes a JSON Pointer (RFC 6901); "/" stands for the whole body. nil names shows every step.
func (p place) pointer(names map[string]bool) string {
	if len(p.steps) == 0 {
		return "/"
	}
	var b strings.Builder
	for _, step := range p.steps {
		b.WriteByte('/')
		if _, err := strconv.ParseUint(step, 10, 31); names != nil && err != nil && !names[step] {
			step = "*"
		}
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(safeName(step)))
	}
	return b.String()
}

func cutTo[T any](list []T, n int, f func(T) string) []string {
	var out []string
	for _, e := range list[:min(n, len(list))] {
		if s := f(e); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
