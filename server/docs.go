package server

import (
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"
)

type docsData struct {
	Version  string
	Intro    []template.HTML
	Groups   []docsGroup
	Problems []docsProblem
}

type docsGroup struct {
	Name, Anchor string
	Operations   []docsOperation
}

type docsOperation struct {
	ID, Method, Path, Summary, Description, Access string
	Parameters, Fields                             []docsField
	Answers                                        []docsAnswer
	Answer                                         []docsField
}

type docsField struct {
	Name, Where, Type, Doc string
	Required               bool
}

type docsAnswer struct{ Status, Doc string }

type docsProblem struct{ Code, Status, Doc string }

// problemDocs explains the codes that problems have; their type URIs point here.
var problemDocs = []docsProblem{
	{"invalid", "400, 422", "The request is wrong. errors names each field and its limit. The same request will never work."},
	{"unauthenticated", "401", "The token is missing, expired or not valid."},
	{"forbidden", "403", "The token's role does not allow this."},
	{"not_found", "404", "There is no such thing in your organisation."},
	{"gone", "410", "The feed was revoked."},
	{"method_not_allowed", "405", "The route has other methods; they are in the Allow header."},
	{"conflict", "409, 412", "It was changed in the meantime, or its state does not allow this. Read it again and decide anew."},
	{"frozen", "423", "A wedding is near or on, so this is refused until the time in freeze. An admin overrides it with a reason in the header Override-Freeze."},
	{"unknown_sources", "409", "Systems that bring bookings to the resource could not be read, so the time is unknown. sources names them; override confirms in spite of it."},
	{"too_large", "413", "The body is over its limit, which the text names."},
	{"unsupported_media_type", "415", "The body has another media type than the route takes."},
	{"version_required", "428", "A change must say which version it was made from."},
	{"rate_limited", "429", "Slow down; Retry-After says for how long."},
	{"permanent", "422", "An outside system refused for good."},
	{"gone_token", "409", "A cursor is no longer known; start from the beginning."},
	{"internal", "500", "A fault on our side. The cause is in the log under request_id."},
	{"unavailable", "503", "Postgres, Temporal or an outside system is away. Try again after Retry-After."},
}

func (s *Server) docs(c echo.Context) error {
	return s.show(c, http.StatusOK, "docs.html", frame{Title: "API", Page: s.docsData()})
}

func (s *Server) docsData() docsData {
	doc := s.api.OpenAPI()
	d := docsData{Version: doc.Info.Version, Problems: problemDocs}
	for _, p := range strings.Split(doc.Info.Description, "\n\n") {
		d.Intro = append(d.Intro, codeSpans(p))
	}
	for _, tag := range doc.Tags {
		if tag.Name == tagPages {
			continue // of no use to a program
		}
		g := docsGroup{Name: tag.Name, Anchor: anchor(tag.Name)}
		for _, r := range Routes() { // in the order of the table
			if item := doc.Paths[r.Path]; r.Tag == tag.Name && item != nil && !r.page {
				if op := operationOf(item, r.Method); op != nil {
					g.Operations = append(g.Operations, describe(doc, r, op))
				}
			}
		}
		d.Groups = append(d.Groups, g)
	}
	return d
}

func anchor(s string) string { return strings.ReplaceAll(strings.ToLower(s), " ", "-") }

// codeSpans escapes text and turns `…` into code.
func codeSpans(s string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(s, "`") {
		escaped := template.HTMLEscapeString(part)
		if i%2 == 1 {
			escaped = "<code>" + escaped + "</code>"
		}
		b.WriteString(escaped)
	}
	return template.HTML(b.String())
}

func describe(doc *huma.OpenAPI, r Route, op *huma.Operation) docsOperation {
	o := docsOperation{ID: r.ID, Method: r.Method, Path: r.Path, Summary: r.Summary, Access: string(r.Access),
		Description: strings.TrimSpace(strings.TrimPrefix(op.Description, "Access: "+string(r.Access)+"."))}
	for _, p := range op.Parameters {
		o.Parameters = append(o.Parameters, docsField{Name: p.Name, Where: p.In, Type: typeText(p.Schema), Doc: fieldDoc(p.Description, p.Schema), Required: p.Required})
	}
	if op.RequestBody != nil {
		o.Fields = fields(doc, op.RequestBody.Content["application/json"], "", 0)
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		answer := op.Responses[status]
		text := answer.Description
		if status == "default" {
			status, text = "others", "problem+json"
		}
		o.Answers = append(o.Answers, docsAnswer{Status: status, Doc: text})
	}
	if ok := op.Responses[strconv.Itoa(r.success())]; ok != nil {
		o.Answer = fields(doc, ok.Content["application/json"], "", 0)
	}
	return o
}

// fields lists the properties of a body, those of inner objects with their path.
func fields(doc *huma.OpenAPI, m *huma.MediaType, prefix string, depth int) []docsField {
	if m == nil || m.Schema == nil {
		return nil
	}
	return schemaFields(doc, m.Schema, prefix, depth)
}

func schemaFields(doc *huma.OpenAPI, schema *huma.Schema, prefix string, depth int) []docsField {
	if schema.Ref != "" {
		schema = doc.Components.Schemas.SchemaFromRef(schema.Ref)
	}
	if schema == nil || depth > 3 {
		return nil
	}
	if schema.Type == "array" && schema.Items != nil {
		return schemaFields(doc, schema.Items, strings.TrimSuffix(prefix, ".")+"[].", depth)
	}
	var out []docsField
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		p := schema.Properties[name]
		inner := p
		if p.Ref != "" {
			if inner = doc.Components.Schemas.SchemaFromRef(p.Ref); inner == nil {
				continue
			}
		}
		out = append(out, docsField{Name: prefix + name, Type: typeText(inner), Doc: fieldDoc(p.Description, inner), Required: slices.Contains(schema.Required, name)})
		out = append(out, schemaFields(doc, inner, prefix+name+".", depth+1)...)
	}
	return out
}

func typeText(s *huma.Schema) string {
	switch {
	case s == nil || s.Type == "":
		return "any"
	case s.Format != "":
		return s.Type + " " + s.Format
	case s.Type == "array" && s.Items != nil:
		return "list"
	}
	return s.Type
}

// fieldDoc puts the limits of a field behind its text.
func fieldDoc(text string, s *huma.Schema) string {
	var limits []string
	add := func(format string, args ...any) { limits = append(limits, fmt.Sprintf(format, args...)) }
	if s != nil {
		if len(s.Enum) > 0 {
			var words []string
			for _, v := range s.Enum {
				words = append(words, fmt.Sprint(v))
			}
			add("one of %s", strings.Join(words, ", "))
		}
		if s.MinLength != nil && s.MaxLength != nil {
			add("%d to %d characters", *s.MinLength, *s.MaxLength)
		} else if s.MaxLength != nil {
			add("at most %d characters", *s.MaxLength)
		}
		if s.Minimum != nil && s.Maximum != nil {
			add("%.0f to %.0f", *s.Minimum, *s.Maximum)
		} else if s.Minimum != nil {
			add("at least %.0f", *s.Minimum)
		}
		if s.MaxItems != nil {
			add("at most %d entries", *s.MaxItems)
		}
		if s.Default != nil {
			add("default %v", s.Default)
		}
	}
	if len(limits) == 0 {
		return text
	}
	if text != "" {
		text += "; "
	}
	return text + strings.Join(limits, "; ")
}
