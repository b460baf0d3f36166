package googlesim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Contract is the vendor's discovery document. It tells whether requests and answers have the form that it describes:
// methods, parameters, and properties with their types.
type Contract struct {
	ServicePath string                                         `json:"servicePath"`
	Parameters  map[string]schema                              `json:"parameters"`
	Schemas     map[string]schema                              `json:"schemas"`
	Resources   map[string]struct{ Methods map[string]method } `json:"resources"`
	methods     []method
}

type method struct {
	ID             string            `json:"id"`
	HTTPMethod     string            `json:"httpMethod"`
	Path           string            `json:"path"`
	Parameters     map[string]schema `json:"parameters"`
	Request        *schema           `json:"request"`
	Response       *schema           `json:"response"`
	Scopes         []string          `json:"scopes"`
	ParameterOrder []string          `json:"parameterOrder"`
	pattern        *regexp.Regexp
}

type schema struct {
	Ref                  string            `json:"$ref"`
	Type                 string            `json:"type"`
	Format               string            `json:"format"`
	Enum                 []string          `json:"enum"`
	Location             string            `json:"location"`
	Properties           map[string]schema `json:"properties"`
	AdditionalProperties *schema           `json:"additionalProperties"`
	Items                *schema           `json:"items"`
}

// ReadContract reads a discovery document.
func ReadContract(r io.Reader) (*Contract, error) {
	c := &Contract{}
	if err := json.NewDecoder(r).Decode(c); err != nil {
		return nil, fmt.Errorf("read discovery document: %w", err)
	}
	for _, res := range c.Resources {
		for _, m := range res.Methods {
			p := regexp.QuoteMeta("/" + c.ServicePath + m.Path)
			m.pattern = regexp.MustCompile("^" + regexp.MustCompile(`\\\{[a-zA-Z]+\\\}`).ReplaceAllString(p, "[^/]+") + "$")
			c.methods = append(c.methods, m)
		}
	}
	if len(c.methods) == 0 || len(c.Schemas) == 0 {
		return nil, fmt.Errorf("read discovery document: it names no methods or schemas")
	}
	// A literal path goes before one with a parameter in the same place.
	slices.SortFunc(c.methods, func(a, b method) int { return strings.Count(a.Path, "{") - strings.Count(b.Path, "{") })
	return c, nil
}

// Scopes returns the scopes of which a method needs one, nil for an unknown method such as calendar.events.list.
func (c *Contract) Scopes(id string) []string {
	for _, m := range c.methods {
		if m.ID == id {
			return m.Scopes
		}
	}
	return nil
}

// Wrap checks what goes through next and reports each breach in words.
func (c *Contract) Wrap(next http.Handler, report func(string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			report("the body of a request broke off")
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		m := c.method(r)
		if m == nil {
			report(fmt.Sprintf("%s %s is no method of the API", r.Method, r.URL.Path))
		} else {
			for _, breach := range c.request(*m, r.URL.Query(), body) {
				report(m.ID + ": request: " + breach)
			}
		}
		rec := &recorder{header: http.Header{}, status: http.StatusOK}
		next.ServeHTTP(rec, r)
		if m != nil && rec.status/100 == 2 && strings.HasPrefix(rec.header.Get("Content-Type"), "application/json") {
			for _, breach := range c.response(*m, rec.body.Bytes()) {
				report(m.ID + ": response: " + breach)
			}
		}
		rec.send(w, false)
	})
}

func (c *Contract) method(r *http.Request) *method {
	for _, m := range c.methods {
		if m.HTTPMethod == r.Method && m.pattern.MatchString(r.URL.EscapedPath()) {
			return &m
		}
	}
	return nil
}

func (c *Contract) request(m method, q url.Values, body []byte) []string {
	var out []string
	for name, values := range q {
		p, ok := m.Parameters[name]
		if !ok {
			p, ok = c.Parameters[name]
		}
		if !ok || p.Location != "query" {
			out = append(out, "no parameter "+name)
			continue
		}
		for _, v := range values {
			if why := p.text(v); why != "" {
				out = append(out, name+": "+why)
			}
		}
		if name == "fields" && m.Response != nil {
			tree, rest, ok := readMask(q.Get(name))
			if !ok || rest != "" {
				out = append(out, "fields cannot be read")
			}
			out = append(out, c.fields(*m.Response, tree, "fields")...)
		}
	}
	switch {
	case m.Request == nil && len(body) > 0:
		out = append(out, "a body where none belongs")
	case m.Request != nil:
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			return append(out, "the body is no JSON")
		}
		out = append(out, c.value(*m.Request, v, "body", true)...)
	}
	return out
}

func (c *Contract) response(m method, body []byte) []string {
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return []string{"the body is no JSON"}
	}
	if m.Response == nil {
		return []string{"a body where none belongs"}
	}
	return c.value(*m.Response, v, "body", false)
}

// fields checks that a selection names what exists.
func (c *Contract) fields(s schema, tree fieldMask, at string) []string {
	s = c.resolve(s)
	if s.Items != nil {
		return c.fields(*s.Items, tree, at)
	}
	var out []string
	for name, below := range tree {
		p, ok := s.Properties[name]
		if !ok && s.AdditionalProperties != nil {
			p, ok = *s.AdditionalProperties, true
		}
		if !ok {
			out = append(out, at+"/"+name+" does not exist")
			continue
		}
		out = append(out, c.fields(p, below, at+"/"+name)...)
	}
	return out
}

func (c *Contract) resolve(s schema) schema {
	if s.Ref != "" {
		return c.Schemas[s.Ref]
	}
	return s
}

// value checks a JSON value. null is taken in requests only, where it empties a field.
func (c *Contract) value(s schema, v any, at string, null bool) []string {
	s = c.resolve(s)
	wrong := []string{fmt.Sprintf("%s is a %T, want %s", at, v, s.Type)}
	switch v := v.(type) {
	case nil:
		if !null {
			return wrong
		}
	case map[string]any:
		if s.Type != "object" {
			return wrong
		}
		var out []string
		for name, below := range v {
			p, ok := s.Properties[name]
			if !ok && s.AdditionalProperties != nil {
				p, ok = *s.AdditionalProperties, true
			}
			if !ok {
				out = append(out, at+"."+name+" does not exist")
				continue
			}
			out = append(out, c.value(p, below, at+"."+name, null)...)
		}
		return out
	case []any:
		if s.Type != "array" || s.Items == nil {
			return wrong
		}
		var out []string
		for _, below := range v {
			out = append(out, c.value(*s.Items, below, at+"[]", null)...)
		}
		return out
	case bool:
		if s.Type != "boolean" {
			return wrong
		}
	case float64:
		if s.Type != "number" && s.Type != "integer" || s.Type == "integer" && v != float64(int64(v)) {
			return wrong
		}
	case string:
		if s.Type != "string" {
			return wrong
		}
		if why := s.text(v); why != "" {
			return []string{at + " " + why}
		}
	}
	return nil
}

// text checks what is written as text: a string, or any parameter.
func (s schema) text(v string) string {
	var err error
	switch {
	case len(s.Enum) > 0 && !slices.Contains(s.Enum, v):
		return fmt.Sprintf("must be one of %v", s.Enum)
	case s.Format == "date-time":
		_, err = time.Parse(time.RFC3339, v)
	case s.Format == "date":
		_, err = time.Parse(time.DateOnly, v)
	case s.Format == "int64" || s.Format == "int32" || s.Type == "integer":
		var n int64
		_, err = fmt.Sscan(v, &n)
	case s.Type == "boolean" && v != "true" && v != "false":
		return "must be true or false"
	}
	if err != nil {
		return fmt.Sprintf("is no %s%s", s.Type, s.Format)
	}
	return ""
}
