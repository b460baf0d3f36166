package openapitest

import (
	"net/url"
	"strings"
	"testing"
)

const small = `{
  "openapi": "3.0.0",
  "paths": {
    "/thing": {
      "get": {"parameters": [{"$ref": "#/components/parameters/page"}, {"name": "sortBy", "in": "query", "schema": {"type": "string", "enum": ["id", "id desc"]}}],
        "responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Things"}}}}}},
      "post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
        "responses": {"201": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}}, "400": {"$ref": "#/components/responses/wrong"}}}
    },
    "/thing/{id}": {
      "delete": {"parameters": [{"name": "id", "in": "path", "required": true, "schema": {"$ref": "#/components/schemas/Id"}}], "responses": {"204": {"description": "gone"}}}
    },
    "/thing/-/special": {"get": {"responses": {"200": {"description": "ok"}}}}
  },
  "components": {
    "parameters": {"page": {"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 1}}},
    "responses": {"wrong": {"content": {"application/json": {"schema": {"type": "object", "properties": {"detail": {"type": "object"}}}}}}},
    "schemas": {
      "Id": {"type": "string", "format": "ulid", "readOnly": true},
      "Owner": {"type": "object", "properties": {"name": {"type": "string", "nullable": true}}},
      "Thing": {"type": "object", "required": ["id", "label"], "properties": {
        "id": {"$ref": "#/components/schemas/Id"}, "label": {"type": "string", "maxLength": 5}, "secret": {"type": "string", "writeOnly": true},
        "at": {"type": "string", "format": "time", "nullable": true}, "level": {"type": "string", "nullable": true, "enum": ["low", "high"]},
        "made": {"allOf": [{"readOnly": true}, {"type": "string", "format": "date-time", "nullable": true}]},
        "owner": {"nullable": true, "allOf": [{"$ref": "#/components/schemas/Owner"}]}, "count": {"type": "integer", "minimum": 0, "exclusiveMinimum": true}}},
      "List": {"type": "object", "required": ["items"], "properties": {"items": {"type": "array", "items": {"type": "object"}}}},
      "Things": {"allOf": [{"properties": {"items": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}}}, {"$ref": "#/components/schemas/List"}]}
    }
  }
}`

func parse(t *testing.T, o Options) *Document {
	t.Helper()
	o.Base = "/v2"
	d, err := Parse([]byte(small), o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func want(t *testing.T, name, fault string, faults []string) {
	t.Helper()
	all := strings.Join(faults, "\n")
	if fault == "" && all != "" || fault != "" && !strings.Contains(all, fault) {
		t.Errorf("%s: %q, want %q", name, all, fault)
	}
}

const id = "01h35ccwymj5ctckp8px1azhg6"

func TestRequestsAreHeldAgainstTheDocument(t *testing.T) {
	t.Parallel()
	d := parse(t, Options{})
	for name, c := range map[string]struct{ method, path, query, body, fault string }{
		"good":                 {"GET", "/v2/thing", "page=1&sortBy=id+desc", "", ""},
		"another base":         {"GET", "/v1/thing", "", "", "not below /v2"},
		"no such path":         {"GET", "/v2/things", "", "", "no such path"},
		"no such method":       {"PATCH", "/v2/thing", "", "", "no such method"},
		"invented parameter":   {"GET", "/v2/thing", "since=1", "", "no query parameter since"},
		"parameter too small":  {"GET", "/v2/thing", "page=0", "", "parameter page"},
		"parameter of a kind":  {"GET", "/v2/thing", "page=one", "", "parameter page"},
		"sort by something":    {"GET", "/v2/thing", "sortBy=name", "", "parameter sortBy"},
		"literal path first":   {"GET", "/v2/thing/-/special", "", "", ""},
		"id in the path":       {"DELETE", "/v2/thing/" + id, "", "", ""},
		"no ulid in the path":  {"DELETE", "/v2/thing/17", "", "", "parameter id"},
		"body where none is":   {"GET", "/v2/thing", "", "{}", "takes no body"},
		"no body":              {"POST", "/v2/thing", "", "", "a body is missing"},
		"creation":             {"POST", "/v2/thing", "", `{"label":"a","at":"14:00:00","level":null,"owner":null,"count":1}`, ""},
		"owner":                {"POST", "/v2/thing", "", `{"label":"a","owner":{"name":null}}`, ""},
		"unknown member":       {"POST", "/v2/thing", "", `{"label":"a","colour":"red"}`, "colour"},
		"unknown and wrong":    {"POST", "/v2/thing", "", `{"label":"abcdef","colour":"red"}`, "/label"},
		"unknown member below": {"POST", "/v2/thing", "", `{"label":"a","owner":{"names":"x"}}`, "names"},
		"read-only member":     {"POST", "/v2/thing", "", `{"label":"a","id":"` + id + `"}`, "/id"},
		"read-only by allOf":   {"POST", "/v2/thing", "", `{"label":"a","made":"2027-01-01T00:00:00Z"}`, "/made"},
		"required":             {"POST", "/v2/thing", "", `{}`, "label"},
		"too long":             {"POST", "/v2/thing", "", `{"label":"abcdef"}`, "/label"},
		"time with an offset":  {"POST", "/v2/thing", "", `{"label":"a","at":"14:00:00Z"}`, "/at"},
		"outside an enum":      {"POST", "/v2/thing", "", `{"label":"a","level":"mid"}`, "/level"},
		"null where none is":   {"POST", "/v2/thing", "", `{"label":null}`, "/label"},
		"exclusive bound":      {"POST", "/v2/thing", "", `{"label":"a","count":0}`, "/count"},
		"not JSON":             {"POST", "/v2/thing", "", `{`, "is not JSON"},
	} {
		query, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		want(t, name, c.fault, d.Request(c.method, c.path, query, "application/json", []byte(c.body)))
	}
	want(t, "content type", "content type", d.Request("POST", "/v2/thing", nil, "text/plain", []byte(`{"label":"a"}`)))
}

func TestAnswersAreHeldAgainstTheDocument(t *testing.T) {
	t.Parallel()
	d := parse(t, Options{Answers: map[int]Undeclared{401: {"Owner", "every operation needs a key"}}})
	for name, c := range map[string]struct {
		method, path string
		status       int
		body, fault  string
	}{
		"list":                {"GET", "/v2/thing", 200, `{"items":[{"id":"` + id + `","label":"a","made":null}]}`, ""},
		"item of the list":    {"GET", "/v2/thing", 200, `{"items":[{"id":"17","label":"a"}]}`, "/items/0/id"},
		"unknown in the item": {"GET", "/v2/thing", 200, `{"items":[{"id":"` + id + `","label":"a","x":1}]}`, "/items/0"},
		"write-only":          {"POST", "/v2/thing", 201, `{"id":"` + id + `","label":"a","secret":"x"}`, "/secret"},
		"required":            {"POST", "/v2/thing", 201, `{"label":"a"}`, "id"},
		"error":               {"POST", "/v2/thing", 400, `{"detail":{"anything":[1]}}`, ""},
		"undeclared, known":   {"GET", "/v2/thing", 401, `{"name":"x"}`, ""},
		"undeclared, wrong":   {"GET", "/v2/thing", 401, `{"nom":"x"}`, "nom"},
		"undeclared":          {"GET", "/v2/thing", 418, `{}`, "status 418 is not declared"},
		"no content":          {"DELETE", "/v2/thing/" + id, 204, "", ""},
		"content of none":     {"DELETE", "/v2/thing/" + id, 204, "{}", "has no body"},
	} {
		want(t, name, c.fault, d.Answer(c.method, c.path, c.status, "application/json", []byte(c.body)))
	}
	if n := d.Checked()["GET /thing"]; n != 6 {
		t.Errorf("%d exchanges of GET /thing were counted, want 6", n)
	}
}

func TestADocumentThatIsNotThereChecksNothingAndSaysSo(t *testing.T) {
	t.Parallel()
	d := Load(t, t.TempDir()+"/none.json", Options{})
	if d != nil || d.Request("GET", "/nothing", nil, "", nil) != nil || d.Answer("GET", "/nothing", 999, "", nil) != nil || d.Checked() != nil {
		t.Error("a missing document checks something")
	}
	for _, text := range []string{``, `[]`, `{}`, `{"openapi":"3.1.0","paths":{"/a":{}}}`, `{"openapi":"3.0.0"}`} {
		if _, err := Parse([]byte(text), Options{}); err == nil {
			t.Errorf("%q was taken for a document", text)
		}
	}
}
