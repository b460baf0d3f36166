package openapitest

import (
	"errors"
	"regexp"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

var (
	ulidForm  = regexp.MustCompile(`^[0-9a-hjkmnp-tv-z]{26}$`)
	clockForm = regexp.MustCompile(`^([01]\d|2[0-3]):[0-5]\d:[0-5]\d$`)
)

// formats are those of OpenAPI documents that JSON Schema does not have. Unknown formats assert nothing.
var formats = []*jsonschema.Format{
	textFormat("ulid", ulidForm, "is not a lower-case ULID"),
	textFormat("wall-clock", clockForm, "is not a clock time HH:MM:SS"),
}

func textFormat(name string, form *regexp.Regexp, wrong string) *jsonschema.Format {
	return &jsonschema.Format{Name: name, Validate: func(v any) error {
		if s, ok := v.(string); ok && !form.MatchString(s) {
			return errors.New(wrong)
		}
		return nil
	}}
}

// closed is a member of a rewritten document: its shared schemas as they are where values are held against them.
const closed = "x-closed"

// rewriter makes JSON Schemas of the schemas of a document, in place.
type rewriter struct {
	root    map[string]any // the document as it was
	request bool
}

// document rewrites every schema of a document: the shared ones, and those inside operations.
func (r rewriter) document(v any) any {
	doc, _ := v.(map[string]any)
	components, _ := doc["components"].(map[string]any)
	schemas, _ := components["schemas"].(map[string]any)
	for name, s := range schemas {
		schemas[name] = r.schema(s)
	}
	for _, part := range []string{"parameters", "responses", "requestBodies"} {
		r.inside(components[part])
	}
	r.inside(doc["paths"])
	whole := make(map[string]any, len(schemas))
	for name := range schemas {
		whole[name] = r.used(map[string]any{"$ref": "#/components/schemas/" + escape(name)})
	}
	doc[closed] = whole
	return doc
}

// inside looks for members named schema in what is no schema itself.
func (r rewriter) inside(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			switch k {
			case "schema":
				v[k] = r.used(r.schema(x))
			case "example", "examples":
				delete(v, k)
			default:
				r.inside(x)
			}
		}
	case []any:
		for _, x := range v {
			r.inside(x)
		}
	}
}

// schema rewrites one schema without closing it, since it may be a part of another one.
func (r rewriter) schema(v any) any {
	s, ok := v.(map[string]any)
	if !ok {
		return v
	}
	if ref, is := s["$ref"].(string); is {
		return map[string]any{"$ref": ref} // OpenAPI 3.0 ignores what stands beside a reference
	}
	for _, k := range []string{"example", "default", "discriminator", "xml", "externalDocs", "title", "description"} {
		delete(s, k)
	}
	if props, is := s["properties"].(map[string]any); is {
		for name, p := range props {
			if forbidden := r.forbidden(p); forbidden {
				props[name] = false
			} else {
				props[name] = r.used(r.schema(p))
			}
		}
		if required, is := s["required"].([]any); is {
			s["required"] = slices.DeleteFunc(required, func(name any) bool {
				text, _ := name.(string)
				return props[text] == false
			})
		}
	}
	if items, is := s["items"]; is {
		s["items"] = r.used(r.schema(items))
	}
	for _, k := range []string{"additionalProperties", "not"} {
		if sub, is := s[k].(map[string]any); is {
			s[k] = r.schema(sub)
		}
	}
	for _, k := range []string{"allOf", "anyOf", "oneOf"} {
		if list, is := s[k].([]any); is {
			for i, sub := range list {
				list[i] = r.schema(sub)
			}
		}
	}
	for bound, limit := range map[string]string{"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"} {
		if exclusive, is := s[bound].(bool); is {
			delete(s, bound)
			if n, there := s[limit]; exclusive && there {
				s[bound] = n
				delete(s, limit)
			}
		}
	}
	if s["format"] == "time" {
		s["format"] = "wall-clock" // JSON Schema's has an offset, which these documents do not write
	}
	return nullable(s)
}

// nullable says in 2020-12 that null is a value too.
func nullable(s map[string]any) any {
	may, _ := s["nullable"].(bool)
	delete(s, "nullable")
	if !may {
		return s
	}
	if enum, is := s["enum"].([]any); is && !slices.Contains(enum, nil) {
		s["enum"] = append(enum, nil)
	}
	if kind, is := s["type"].(string); is {
		s["type"] = []any{kind, "null"}
		return s
	}
	return map[string]any{"anyOf": []any{s, map[string]any{"type": "null"}}}
}

// used closes a schema at a place where values are held against it.
func (r rewriter) used(v any) any {
	s, ok := v.(map[string]any)
	if !ok || !r.names(s, 0) {
		return v
	}
	if _, open := s["additionalProperties"]; open {
		return v
	}
	s["unevaluatedProperties"] = false
	return s
}

// names reports whether a rewritten schema names properties. One that does not is open on purpose.
func (r rewriter) names(s map[string]any, depth int) bool {
	if depth > 20 {
		return false
	}
	if _, is := s["$ref"]; is {
		target, _ := resolve(r.root, s)
		return target != nil && r.names(target, depth+1)
	}
	if props, _ := s["properties"].(map[string]any); len(props) > 0 {
		return true
	}
	for _, k := range []string{"allOf", "anyOf", "oneOf"} {
		list, _ := s[k].([]any)
		for _, sub := range list {
			if m, is := sub.(map[string]any); is && r.names(m, depth+1) {
				return true
			}
		}
	}
	return false
}

// forbidden reports whether a property may not be sent this way.
func (r rewriter) forbidden(v any) bool {
	mark := "writeOnly"
	if r.request {
		mark = "readOnly"
	}
	return r.marked(v, mark, 0)
}

func (r rewriter) marked(v any, mark string, depth int) bool {
	s, _ := resolve(r.root, v)
	if s == nil || depth > 5 {
		return false
	}
	if is, _ := s[mark].(bool); is {
		return true
	}
	all, _ := s["allOf"].([]any)
	return slices.ContainsFunc(all, func(sub any) bool { return r.marked(sub, mark, depth+1) })
}
