package custom

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestBodyThatDoesNotFitNamesThePlaces(t *testing.T) {
	t.Parallel()
	schema := `{"$defs":{"day":{"type":"string","pattern":"^[0-9]{4}-"}},"type":"object","required":["id","days"],
		"properties":{"id":{"type":"integer"},"a/b":{"const":1},"days":{"type":"array","maxItems":2,"items":{"$ref":"#/$defs/day"}},
		"kind":{"anyOf":[{"const":"wedding"},{"type":"null"}]}},"patternProperties":{"^x-":{"type":"number"}},"additionalProperties":{"type":"string"}}`
	s, err := compileBodySchema(json.RawMessage(schema), "settings.webhook.schema")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ body, want string }{
		{`{"id":1,"days":["2027-01-01"],"more":"x","x-n":1.5}`, ""},
		{`{"id":18446744073709551615,"days":[]}`, ""},
		{`{"id":"Marigold","days":[]}`, "body: does not fit the schema at /id (type)"},
		{`{"days":["soon"]}`, "body: does not fit the schema at / (required), /days/0 (pattern)"},
		{`[]`, "body: does not fit the schema at / (type)"},
		{`{"id":1,"days":[],"a/b":2}`, "body: does not fit the schema at /a~1b (const)"},
		{`{"id":1,"days":[],"marigold@example.org":5}`, "body: does not fit the schema at /* (type)"},
		{`{"id":1,"days":["","",""]}`, "body: does not fit the schema at /days (maxItems), /days/0 (pattern), /days/1 (pattern), /days/2 (pattern)"},
		{`{"id":1,"days":[],"kind":"Marigold"}`, "body: does not fit the schema at /kind (const), /kind (type)"},
		{`{"id":1,"days":[],"x-a":"1","x-b":"2","x-c":"3","x-d":"4","x-e":"5","x-f":"6"}`, "body: does not fit the schema at /* (type) and 5 more"},
	} {
		v, err := parseJSON([]byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if got := errText(s.check(v)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.body, got, c.want)
		}
	}
}

func TestWrongSchemasAreRefused(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"items":`, 40) + `{}` + strings.Repeat(`}`, 40)
	doubling := &strings.Builder{}
	for i := range 20 {
		fmt.Fprintf(doubling, `"d%d":{"anyOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, i+1, i+1)
	}
	for _, c := range []struct{ name, schema, text string }{
		{"number", `5`, "must be a JSON Schema"},
		{"null", `null`, "must be a JSON Schema"},
		{"wrong keyword", `{"type":"strnig"}`, "is no valid JSON Schema"},
		{"wrong pattern", `{"pattern":"("}`, "is no valid JSON Schema"},
		{"other draft", `{"$schema":"http://json-schema.org/draft-07/schema#"}`, "must be https://json-schema.org/draft/2020-12/schema"},
		{"remote reference", `{"$ref":"https://example.org/s.json"}`, "$ref must name a place in this schema"},
		{"file", `{"properties":{"a":{"$ref":"file:///etc/passwd"}}}`, "at /properties/a: $ref must name a place"},
		{"base", `{"$id":"https://example.org/","type":"object"}`, "$id is not supported"},
		{"dynamic", `{"$dynamicRef":"#x"}`, "$dynamicRef is not supported"},
		{"circle", `{"$defs":{"a":{"items":{"$ref":"#/$defs/a"}}},"$ref":"#/$defs/a"}`, "leads in a circle"},
		{"circle to the top", `{"properties":{"a":{"$ref":"#"}}}`, "leads in a circle"},
		{"no such place", `{"$ref":"#/$defs/b"}`, "names no place"},
		{"too deep", deep, "nested deeper than 32"},
		{"doubling", `{"$defs":{` + doubling.String() + `"d20":{}},"$ref":"#/$defs/d0"}`, ""},
		{"too large", `{"description":"` + strings.Repeat("x", maxSchema) + `"}`, "at most 32768 bytes"},
	} {
		err := Validate(hookPart(t, obj{"schema": json.RawMessage(c.schema)}), testSecrets)
		if domain.KindOf(err) != domain.KindInvalid || !strings.HasPrefix(errText(err), "settings.webhook.schema") || !strings.Contains(errText(err), c.text) {
			t.Errorf("%s: error %v, want %s", c.name, err, c.text)
		}
	}
}

// The bound is what keeps a small schema and a large body from holding a worker up.
func TestWorkOfASchemaIsBounded(t *testing.T) {
	t.Parallel()
	many := strings.TrimSuffix(strings.Repeat(`{"enum":["a","b","c","d"]},`, 400), ",")
	s, err := compileBodySchema(json.RawMessage(`{"items":{"anyOf":[`+many+`]}}`), "schema")
	if err != nil {
		t.Fatal(err)
	}
	list := func(n int) any {
		out := make([]any, n)
		for i := range out {
			out[i] = "z"
		}
		return out
	}
	began := time.Now()
	if err := s.check(list(99_999)); err == nil || !strings.Contains(err.Error(), "more work than allowed") {
		t.Errorf("error %v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("refusing took %s", took)
	}
	if err := s.check(list(3)); err == nil || !strings.Contains(err.Error(), "/0 (enum)") {
		t.Errorf("error %v", err)
	}
	long, err := compileBodySchema(json.RawMessage(`{"pattern":"`+strings.Repeat("(a|b)*", 160)+`$"}`), "schema")
	if err != nil {
		t.Fatal(err)
	}
	if err := long.check(strings.Repeat("ab", 1<<20)); err == nil || !strings.Contains(err.Error(), "more work than allowed") {
		t.Errorf("a long text against a long pattern: %v", err)
	}
}

func TestSchemaThatIsFalseTakesNothing(t *testing.T) {
	t.Parallel()
	if _, err := decodeWith(t, hookPart(t, obj{"schema": false}), `{`+entry+`}`, nil); errText(err) != "body: does not fit the schema at / (schema)" {
		t.Errorf("error %v", err)
	}
	if got, err := decodeWith(t, hookPart(t, obj{"schema": true}), `{`+entry+`}`, nil); err != nil || len(got.Changes) != 1 {
		t.Errorf("true: %+v %v", got, err)
	}
}
