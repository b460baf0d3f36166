package openapitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Options says how a document is read.
type Options struct {
	// Base is the path below which the operations of the document lie, such as /api/v2.
	Base string
	// Answers are statuses that the vendor's servers give although the document does not declare them for an operation,
	// with the reason. Their bodies must be of the schema named, such as "Error"; "" is any body.
	Answers map[int]Undeclared
}

// Undeclared is an answer that a document leaves out.
type Undeclared struct{ Schema, Why string }

// Document is a vendor's description of its API. A nil Document checks nothing. It is used by several goroutines.
type Document struct {
	options Options
	raw     map[string]any
	paths   []template

	mu       sync.Mutex
	compiled map[string]*jsonschema.Schema
	compiler map[bool]*jsonschema.Compiler // by whether it is for requests
	checked  map[string]int                // exchanges by operation
}

// template is a path with parameters.
type template struct {
	path  string
	parts []string
}

// Load reads a document. One that is not there is nil, which the log says; one that cannot be read fails the test.
func Load(t testing.TB, path string, o Options) *Document {
	t.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Logf("requests and answers are NOT held against the vendor's document: there is no %s beside this checkout", path)
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	d, err := Parse(text, o)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return d
}

// Parse reads a document of OpenAPI 3.0.
func Parse(text []byte, o Options) (*Document, error) {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read OpenAPI document: %w", err)
	}
	raw, _ := value.(map[string]any)
	version, _ := raw["openapi"].(string)
	paths, _ := raw["paths"].(map[string]any)
	if !strings.HasPrefix(version, "3.0") || len(paths) == 0 {
		return nil, fmt.Errorf("not an OpenAPI 3.0 document with paths (version %q)", version)
	}
	d := &Document{options: o, raw: raw, compiled: map[string]*jsonschema.Schema{}, compiler: map[bool]*jsonschema.Compiler{}, checked: map[string]int{}}
	for p := range paths {
		d.paths = append(d.paths, template{p, strings.Split(strings.Trim(p, "/"), "/")})
	}
	// The most literal path first: /job/-/worksheet before /job/{id}/worksheet.
	slices.SortFunc(d.paths, func(a, b template) int {
		if n := strings.Count(a.path, "{") - strings.Count(b.path, "{"); n != 0 {
			return n
		}
		return strings.Compare(a.path, b.path)
	})
	for _, request := range []bool{true, false} {
		c := jsonschema.NewCompiler()
		c.DefaultDraft(jsonschema.Draft2020)
		c.AssertFormat()
		for _, f := range formats {
			c.RegisterFormat(f)
		}
		rewritten, err := clone(raw)
		if err != nil {
			return nil, err
		}
		if err := c.AddResource(location(request), rewriter{raw, request}.document(rewritten)); err != nil {
			return nil, fmt.Errorf("read OpenAPI document: %w", err)
		}
		d.compiler[request] = c
	}
	return d, nil
}

func location(request bool) string {
	if request {
		return "openapi:///request.json"
	}
	return "openapi:///answer.json"
}

func clone(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("copy OpenAPI document: %w", err)
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(text))
}

// Checked returns how many exchanges were held against the document, by operation such as "GET /job".
func (d *Document) Checked() map[string]int {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make(map[string]int, len(d.checked))
	for k, v := range d.checked {
		out[k] = v
	}
	return out
}

// find returns the template of a path, and its parameters.
func (d *Document) find(path string) (string, map[string]string, bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for _, t := range d.paths {
		if len(t.parts) != len(parts) {
			continue
		}
		params, same := map[string]string{}, true
		for i, p := range t.parts {
			if name, is := strings.CutPrefix(p, "{"); is {
				params[strings.TrimSuffix(name, "}")] = parts[i]
			} else if p != parts[i] {
				same = false
				break
			}
		}
		if same {
			return t.path, params, true
		}
	}
	return "", nil, false
}

// Request returns the faults of a request. An empty body is none.
func (d *Document) Request(method, path string, query url.Values, contentType string, body []byte) []string {
	if d == nil {
		return nil
	}
	where, op, faults := d.operation(method, path)
	if op == nil {
		return faults
	}
	_, params, _ := d.find(d.below(path))
	faults = append(faults, d.parameters(where, op, params, query)...)
	content, pointer := d.content(op["requestBody"], d.pointer(where)+"/requestBody")
	switch {
	case len(body) == 0 && content == "":
	case content == "":
		faults = append(faults, where+": takes no body")
	case len(body) == 0:
		faults = append(faults, where+": a body is missing")
	case !strings.HasPrefix(contentType, content):
		faults = append(faults, fmt.Sprintf("%s: content type %q, want %s", where, contentType, content))
	default:
		faults = append(faults, d.validate(where, "request", pointer, body)...)
	}
	return faults
}

// Answer returns the faults of an answer.
func (d *Document) Answer(method, path string, status int, contentType string, body []byte) []string {
	if d == nil {
		return nil
	}
	where, op, faults := d.operation(method, path)
	if op == nil {
		return faults
	}
	d.mu.Lock()
	d.checked[where]++
	d.mu.Unlock()
	responses, _ := op["responses"].(map[string]any)
	declared, there := responses[strconv.Itoa(status)]
	if !there {
		u, known := d.options.Answers[status]
		if !known {
			return []string{fmt.Sprintf("%s: status %d is not declared", where, status)}
		}
		if u.Schema == "" {
			return nil
		}
		return d.validate(where, "answer", "/"+closed+"/"+escape(u.Schema), body)
	}
	content, pointer := d.content(declared, d.pointer(where)+"/responses/"+strconv.Itoa(status))
	switch {
	case content == "" && len(body) == 0:
		return nil
	case content == "":
		return []string{fmt.Sprintf("%s: status %d has no body", where, status)}
	case !strings.HasPrefix(contentType, content):
		return []string{fmt.Sprintf("%s: status %d with content type %q, want %s", where, status, contentType, content)}
	}
	return d.validate(where, "answer", pointer, body)
}

func (d *Document) below(path string) string { return strings.TrimPrefix(path, d.options.Base) }

func (d *Document) pointer(where string) string {
	method, path, _ := strings.Cut(where, " ")
	return "/paths/" + escape(path) + "/" + strings.ToLower(method)
}

func escape(s string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(s) }

func (d *Document) operation(method, path string) (where string, op map[string]any, faults []string) {
	if !strings.HasPrefix(path, d.options.Base+"/") {
		return "", nil, []string{fmt.Sprintf("%s %s: not below %s", method, path, d.options.Base)}
	}
	t, _, ok := d.find(d.below(path))
	if !ok {
		return "", nil, []string{fmt.Sprintf("%s %s: no such path in the document", method, path)}
	}
	item := d.raw["paths"].(map[string]any)[t].(map[string]any)
	op, _ = item[strings.ToLower(method)].(map[string]any)
	if op == nil {
		return "", nil, []string{fmt.Sprintf("%s %s: no such method in the document", method, t)}
	}
	return method + " " + t, op, nil
}

// resolve follows references inside the document.
func resolve(root map[string]any, v any) (map[string]any, string) {
	pointer := ""
	for range 20 {
		m, _ := v.(map[string]any)
		ref, is := m["$ref"].(string)
		if !is {
			return m, pointer
		}
		pointer = strings.TrimPrefix(ref, "#")
		var at any = root
		for _, part := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
			part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
			in, _ := at.(map[string]any)
			at = in[part]
		}
		v = at
	}
	return nil, pointer
}

// content returns the JSON media type of a body and where its schema is.
func (d *Document) content(v any, at string) (media, pointer string) {
	m, ref := resolve(d.raw, v)
	if ref != "" {
		at = ref
	}
	list, _ := m["content"].(map[string]any)
	for name := range list {
		if strings.Contains(name, "json") {
			return name, at + "/content/" + escape(name) + "/schema"
		}
	}
	return "", ""
}

// parameters checks path and query.
func (d *Document) parameters(where string, op map[string]any, path map[string]string, query url.Values) []string {
	var faults []string
	known := map[string]bool{}
	list, _ := op["parameters"].([]any)
	for i, p := range list {
		m, ref := resolve(d.raw, p)
		if ref == "" {
			ref = fmt.Sprintf("%s/parameters/%d", d.pointer(where), i)
		}
		name, _ := m["name"].(string)
		values, there := []string(nil), false
		switch m["in"] {
		case "path":
			values, there = []string{path[name]}, path[name] != ""
		case "query":
			known[name] = true
			values, there = query[name], query.Has(name)
		default:
			continue
		}
		if required, _ := m["required"].(bool); required && !there {
			faults = append(faults, fmt.Sprintf("%s: parameter %s is missing", where, name))
		}
		schema, _ := resolve(d.raw, m["schema"])
		for _, v := range values {
			if there {
				faults = append(faults, d.validate(where, "parameter "+name, ref+"/schema", literal(schema, v))...)
			}
		}
	}
	for name := range query {
		if !known[name] {
			faults = append(faults, fmt.Sprintf("%s: the document has no query parameter %s", where, name))
		}
	}
	slices.Sort(faults)
	return faults
}

// literal writes a parameter as the JSON of its type.
func literal(schema map[string]any, v string) []byte {
	switch schema["type"] {
	case "integer", "number", "boolean":
		if json.Valid([]byte(v)) {
			return []byte(v)
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic("marshal a text: " + err.Error())
	}
	return b
}

func (d *Document) schema(request bool, pointer string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := location(request) + "#" + pointer
	if s := d.compiled[key]; s != nil {
		return s, nil
	}
	s, err := d.compiler[request].Compile(location(request) + "#" + (&url.URL{Path: pointer}).EscapedPath())
	if err == nil {
		d.compiled[key] = s
	}
	return s, err
}

func (d *Document) validate(where, part, pointer string, body []byte) []string {
	schema, err := d.schema(part != "answer", pointer)
	if err != nil {
		return []string{fmt.Sprintf("%s: the %s's schema cannot be used: %v", where, part, err)}
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return []string{fmt.Sprintf("%s: the %s is not JSON", where, part)}
	}
	err = schema.Validate(value)
	if err == nil {
		return nil
	}
	var wrong *jsonschema.ValidationError
	if !errors.As(err, &wrong) {
		return []string{fmt.Sprintf("%s: the %s: %v", where, part, err)}
	}
	all := leaves(wrong, nil)
	// Where one member is wrong, what evaluates the object has failed, and so all its members count as unknown. That says
	// something only by itself.
	if real := slices.DeleteFunc(slices.Clone(all), unknownMember); len(real) > 0 {
		all = real
	}
	var faults []string
	for _, f := range all {
		faults = append(faults, fmt.Sprintf("%s: the %s at /%s: %s", where, part, strings.Join(f.InstanceLocation, "/"), f.Error()))
	}
	return faults
}

func unknownMember(e *jsonschema.ValidationError) bool {
	return strings.HasSuffix(e.SchemaURL, "/unevaluatedProperties")
}

func leaves(e *jsonschema.ValidationError, out []*jsonschema.ValidationError) []*jsonschema.ValidationError {
	if len(e.Causes) == 0 {
		return append(out, e)
	}
	for _, c := range e.Causes {
		out = leaves(c, out)
	}
	return out
}
